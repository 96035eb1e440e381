"""Schedule: which validators and limits are in force from which height on, as governance decided.

The contract `governance` keeps the members' wish (`nodes`, `limits`). A block of height h that writes it
announces: the change is in force from height h + W on (W: consensus window), so that every replica knows the
set of each height in flight. What would break the chain is not followed, at every replica alike.

The schedule is part of the state, in a namespace that no contract can have: state proofs, snapshots and
rebuilds carry it, and the header of height h names the set in force at h + W.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated

from chain.ledger.genesis import FIXED_LIMITS, GOVERNANCE_CONTRACT, Genesis, Limits, Validator, check_limits
from chain.ledger.state.state import NewestState, entries
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.port import Store
from chain.ledger.store.records import Row
from chain.primitives.certificate import VALIDATORS_MAX, Epoch
from chain.primitives.codec import U64, Bound, PublicKey, decode, encode, record
from chain.primitives.errors import ConfigError, DecodeError
from chain.primitives.runtimeport import StateKey, map_key, var_key
from chain.primitives.values import Value, decode_value, encode_value

NAMESPACE = "schedule"
VALIDATOR, OBSERVER = "validator", "observer"
VALUE_BYTES_MAX = 1_048_576
REMEMBERED_MAX = 64
NODES_MALFORMED, NO_VALIDATOR, TOO_MANY_VALIDATORS, NOT_DISTINCT = (
    "NODES_MALFORMED",
    "NO_VALIDATOR",
    "TOO_MANY_VALIDATORS",
    "NOT_DISTINCT",
)
LIMITS_MALFORMED, LIMIT_FIXED, LIMIT_RANGE = "LIMITS_MALFORMED", "LIMIT_FIXED", "LIMIT_RANGE"
SETS = "validators"
"""Entries of sets are those of a Map of this name: height from which it is in force (8 bytes) -> set."""
_REFUSED = b"refused"
_SETS, _LIMITS, _PASSED = (map_key(name, bytes(8))[:-8] for name in (SETS, "limits", "passed-over"))
_NODES_KEY, _LIMITS_KEY = (GOVERNANCE_CONTRACT, var_key("nodes")), (GOVERNANCE_CONTRACT, var_key("limits"))


@record("validator-set", max_bytes=131_072)
class ValidatorSet:
    """Who certifies headers from some height on, in primary order."""

    validators: Annotated[tuple[Validator, ...], Bound(1, VALIDATORS_MAX)]


@record("passed-over", max_bytes=8_192)
class PassedOver:
    """Who does not lead from some height on, and up to which height, the latest charged last."""

    charges: Annotated[tuple[tuple[PublicKey, U64], ...], Bound(0, VALIDATORS_MAX)]


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of governance's list of nodes."""

    node: Validator
    role: str
    """`validator`, or `observer`: follows without voting."""


@dataclass(frozen=True, slots=True)
class SetFrom:
    """A validator set and the height from which it is in force."""

    first: int
    validators: tuple[Validator, ...]

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Public keys in primary order."""
        return tuple([validator.public_key for validator in self.validators])


@dataclass(frozen=True, slots=True)
class LimitsFrom:
    """Limits and the height from which they are in force."""

    first: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class PassedFrom:
    """Who does not lead, and the height from which that is in force."""

    first: int
    charges: tuple[tuple[bytes, int], ...]
    """(key, last height), the latest charged last."""


@dataclass(slots=True)
class Announcement:
    """What one block does to the schedule."""

    entries: dict[StateKey, bytes] = field(default_factory=dict)
    """State entries to write with the block."""
    sets: tuple[SetFrom, ...] = ()
    """At most one, as are `limits` and `passed`."""
    limits: tuple[LimitsFrom, ...] = ()
    passed: tuple[PassedFrom, ...] = ()
    listed: bool = False
    """Whether governance's list of nodes was written."""
    refused: bool = False
    """Whether a wish is not followed."""


class _Refused(Exception):
    """A wish of governance that is not followed; the text is its stable code."""


class Schedule:
    """The schedule of one ledger; safe in any thread.

    The newest entries are kept in memory, so that they can be asked for whatever happens to the rows below.
    """

    __slots__ = ("_limits", "_passed", "_sets", "_store", "revision")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.revision = 0
        """Grows with every block that changes sets, limits or the list of nodes."""
        self._sets: tuple[SetFrom, ...] = ()
        self._limits: tuple[LimitsFrom, ...] = ()
        self._passed: tuple[PassedFrom, ...] = ()

    def load(self) -> None:
        """Take what the state says; call when the ledger opens, or after its state was replaced."""
        self._sets = tuple(_set_from(*row) for row in self._newest(_SETS))
        self._limits = tuple(_limits_from(*row) for row in self._newest(_LIMITS))
        self._passed = tuple(_passed_from(*row) for row in self._newest(_PASSED))
        self.revision += 1
        if not self._sets or not self._limits or not self._passed:
            raise DataDamaged("ledger: no validator set or limits are stored; run `assent node rebuild`")

    def extend(self, announced: Announcement) -> None:
        """Take over what a block announced, once it is stored."""
        self._sets = (*self._sets, *announced.sets)[-REMEMBERED_MAX:]
        self._limits = (*self._limits, *announced.limits)[-REMEMBERED_MAX:]
        self._passed = (*self._passed, *announced.passed)[-REMEMBERED_MAX:]
        self.revision += bool(announced.sets or announced.limits or announced.refused or announced.listed)

    def set_at(self, height: int) -> SetFrom:
        """Return who certifies this height; above head + W, as far as is known."""
        index = bisect_right(self._sets, height, key=_first)
        return self._sets[index - 1] if index else _set_from(*self._entry(_SETS, height))

    def coming(self, height: int) -> tuple[SetFrom, ...]:
        """Return the set in force at a height near the head, and those announced above it."""
        sets = self._sets
        return sets[max(0, bisect_right(sets, height, key=_first) - 1) :]

    def epoch_at(self, height: int) -> Epoch:
        """Return the run of heights with one set that this height belongs to."""
        found = self.set_at(height)
        return Epoch(found.first, found.keys)

    def limits_at(self, height: int) -> Limits:
        """Return the limits in force at a height; above head + W, as far as is known."""
        index = bisect_right(self._limits, height, key=_first)
        found = self._limits[index - 1] if index else _limits_from(*self._entry(_LIMITS, height))
        return found.limits

    def passed_from(self, height: int) -> PassedFrom:
        """Return who was charged when it comes to a height, forgotten ones included."""
        index = bisect_right(self._passed, height, key=_first)
        return self._passed[index - 1] if index else _passed_from(*self._entry(_PASSED, height))

    def passed_over(self, height: int) -> tuple[bytes, ...]:
        """Return who does not lead at a height, the latest charged last; final up to head + W."""
        return tuple([key for key, until in self.passed_from(height).charges if until >= height])

    def sets(self, first: int = 0) -> list[SetFrom]:
        """Return every set that comes into force at height `first` or later, in order."""
        prefix = rows.state_key(NAMESPACE, _SETS)
        return [_set_from(*row) for row in self._entries(prefix, start=rows.at(prefix, first))]

    def newest(self) -> int:
        """Return the highest height from which something announced is in force."""
        return max(self._sets[-1].first, self._limits[-1].first)

    def nodes(self) -> tuple[Listed, ...]:
        """Return governance's list as the newest state has it; empty on a chain without that contract."""
        raw = NewestState(self._store).get(*_NODES_KEY)
        try:
            return () if raw is None else _read_nodes(raw)
        except _Refused:
            return ()  # `refusal` tells

    def never_again(self, key: bytes) -> bool:
        """Tell whether a key held a seat and never will again: the newest state says that it was given up."""
        raw = NewestState(self._store).get(GOVERNANCE_CONTRACT, map_key("seats", key.hex()))
        seat = None if raw is None else decode_value(raw, max_bytes=VALUE_BYTES_MAX)
        return isinstance(seat, dict) and seat.get("status") in ("retired", "left")

    def refusal(self) -> Value:
        """Return {height, what, code} of the newest wish that was not followed, or None."""
        raw = NewestState(self._store).get(NAMESPACE, _REFUSED)
        return None if raw is None else decode_value(raw, max_bytes=256)

    def _newest(self, kind: bytes) -> list[Row]:
        return self._entries(rows.state_key(NAMESPACE, kind), newest=REMEMBERED_MAX)

    def _entry(self, kind: bytes, height: int) -> Row:
        prefix = rows.state_key(NAMESPACE, kind)
        stop = rows.at(prefix, height) + b"\0"
        found = self._entries(prefix, stop=stop, newest=1)
        if not found:
            raise DataDamaged(
                f"ledger: what held at height {height} is not stored; run `assent node rebuild`"
            )
        return found[0]

    def _entries(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        newest: int | None = None,
    ) -> list[Row]:
        """Return entries of the newest state in key order; with `newest`, the last so many."""
        with closing(self._store.snapshot()) as snapshot:
            found = list(
                entries(snapshot, prefix, start=start, stop=stop, reverse=newest is not None, limit=newest)
            )
        return found if newest is None else found[::-1]


def _first(item: SetFrom | LimitsFrom | PassedFrom) -> int:
    return item.first


def _set_from(key: bytes, row: bytes) -> SetFrom:
    return SetFrom(rows.height_of(key), decode(ValidatorSet, row).validators)


def _limits_from(key: bytes, row: bytes) -> LimitsFrom:
    return LimitsFrom(rows.height_of(key), decode(Limits, row))


def _passed_from(key: bytes, row: bytes) -> PassedFrom:
    return PassedFrom(rows.height_of(key), decode(PassedOver, row).charges)


def founding(genesis: Genesis) -> Announcement:
    """Return the schedule that height 0 begins with."""
    announced = Announcement()
    _put_set(announced, SetFrom(0, genesis.validators))
    _put_limits(announced, LimitsFrom(0, genesis.limits))
    put_passed(announced, PassedFrom(0, ()))
    return announced


def announce(
    schedule: Schedule, genesis: Genesis, height: int, writes: Mapping[StateKey, bytes | None]
) -> Announcement:
    """Return what follows for the schedule from what the block of a height wrote; mostly nothing.

    `schedule` is that of the state below.
    """
    first = height + genesis.limits.consensus_window
    announced = Announcement()
    if (raw := writes.get(_NODES_KEY)) is not None:
        announced.listed = True
        try:
            wished = SetFrom(first, _chosen(_read_nodes(raw)))
            if wished.validators != schedule.set_at(first).validators:
                _put_set(announced, wished)
        except _Refused as refused:
            _refuse(announced, height, "validators", refused)
    if (raw := writes.get(_LIMITS_KEY)) is not None:
        try:
            limits = _read_limits(raw, genesis.limits)
            if limits != schedule.limits_at(first):
                _put_limits(announced, LimitsFrom(first, limits))
        except _Refused as refused:
            _refuse(announced, height, "limits", refused)
    return announced


def _put_set(announced: Announcement, item: SetFrom) -> None:
    announced.sets = (item,)
    announced.entries[NAMESPACE, rows.at(_SETS, item.first)] = encode(ValidatorSet(item.validators))


def _put_limits(announced: Announcement, item: LimitsFrom) -> None:
    announced.limits = (item,)
    announced.entries[NAMESPACE, rows.at(_LIMITS, item.first)] = encode(item.limits)


def put_passed(announced: Announcement, item: PassedFrom) -> None:
    """Let a block say who is passed over."""
    announced.passed = (item,)
    announced.entries[NAMESPACE, rows.at(_PASSED, item.first)] = encode(PassedOver(item.charges))


def _refuse(announced: Announcement, height: int, what: str, refused: _Refused) -> None:
    note = {"height": height, "what": what, "code": str(refused)}
    announced.entries[NAMESPACE, _REFUSED] = encode_value(note)
    announced.refused = True


def _read_nodes(raw: bytes) -> tuple[Listed, ...]:
    """Read governance's list of nodes from its state value."""
    try:
        value = decode_value(raw, max_bytes=VALUE_BYTES_MAX)
        return tuple([_listed(item) for item in value])
    except (DecodeError, KeyError, TypeError):
        raise _Refused(NODES_MALFORMED) from None


def _listed(item: Mapping[str, Value]) -> Listed:
    node = Validator(item["org"], item["name"], item["public_key"], item["address"])
    if item["role"] not in (VALIDATOR, OBSERVER):
        raise _Refused(NODES_MALFORMED)
    return Listed(decode(Validator, encode(node)), item["role"])  # decoding checks the bounds


def _chosen(nodes: tuple[Listed, ...]) -> tuple[Validator, ...]:
    """Return the validators of the list, if a chain can go on with them."""
    validators = tuple([item.node for item in nodes if item.role == VALIDATOR])
    if not validators:
        raise _Refused(NO_VALIDATOR)
    if len(validators) > VALIDATORS_MAX:
        raise _Refused(TOO_MANY_VALIDATORS)
    for values in ({item.node.public_key for item in nodes}, {item.node.name for item in nodes}):
        if len(values) != len(nodes):
            raise _Refused(NOT_DISTINCT)
    return validators


def _read_limits(raw: bytes, founding: Limits) -> Limits:
    """Return the limits of genesis with governance's in their place."""
    try:
        value = decode_value(raw, max_bytes=VALUE_BYTES_MAX)
        fixed = asdict(founding)
        if any(name in FIXED_LIMITS and number != fixed[name] for name, number in value.items()):
            raise _Refused(LIMIT_FIXED)
        limits = replace(founding, **value)
    except (DecodeError, AttributeError, TypeError):
        raise _Refused(LIMITS_MALFORMED) from None
    try:
        return check_limits(decode(Limits, encode(limits)), "limits")
    except (DecodeError, ConfigError, TypeError, OverflowError):
        raise _Refused(LIMIT_RANGE) from None
