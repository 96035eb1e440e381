"""Acts that several keys saw, in an audit package: counted again from the transactions that it proves.

An auditor need not believe contract `orgs`: the transactions say what was called, by whom, and when.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chain.audit.records import Caused, Contents
from chain.audit.text import shown, utc
from chain.audit.trail import value_of
from chain.ledger.block import EventEntry
from chain.primitives.acts import ACTS, CALLS, PENDING_MS
from chain.primitives.errors import DecodeError, ProofInvalid
from chain.primitives.runtimeport import OK, RESULT_BYTES_MAX, map_key
from chain.primitives.values import Value, decode_value

ORGS = "orgs"
_NOTES = frozenset({(ORGS, "ActPending"), (ORGS, "ActSeen"), (ORGS, "ActLapsed")})
"""Events of a call that is noted, and not done."""
SEEN_MAX = 32
"""Keys that one event may name: an organisation has no more."""


@dataclass(frozen=True, slots=True)
class ActSeen:
    """An act that was done when its last key had made the call, as contract `orgs` announced it."""

    entry: EventEntry
    org: str
    act: str
    call: str
    digest: bytes
    needed: int
    seen: tuple[tuple[bytes, bytes], ...]
    """(key, transaction) of each key that counted, the last of which did it."""

    def __str__(self) -> str:
        return f"{shown(self.call)} of {shown(self.org)} at height {self.entry.height}"


def acts_done(entries: Iterable[EventEntry]) -> list[ActSeen]:
    """Return the acts that a history says several keys did; raise ProofInvalid for a malformed one."""
    found = []
    for entry in entries:
        if (entry.event.contract, entry.event.name) == (ORGS, "ActSeen"):
            try:
                one = _read(entry)
            except (DecodeError, LookupError, TypeError, ValueError) as error:
                raise ProofInvalid(
                    f"entry at height {entry.height}: its ActSeen cannot be read ({type(error).__name__})"
                ) from None
            found += [] if one is None else [one]
    return found


def _read(entry: EventEntry) -> ActSeen | None:
    fields = _fields(entry)
    if fields["done"] is not True:
        return None
    seen = [(_bytes(one["key"]), _bytes(one["tx"])) for one in fields["seen"]]
    if not 0 < len(seen) <= SEEN_MAX or type(fields["needed"]) is not int:
        raise ValueError("seen")
    org = str(fields["org"]).removeprefix("org:")
    act, call, digest = str(fields["act"]), str(fields["call"]), _bytes(fields["digest"])
    return ActSeen(entry, org, act, call, digest, fields["needed"], tuple(seen))


def _fields(entry: EventEntry) -> dict[str, Any]:
    value = decode_value(entry.event.fields, max_bytes=RESULT_BYTES_MAX)
    if not isinstance(value, dict):
        raise TypeError("fields")
    return value


def _bytes(value: Value) -> bytes:
    if type(value) is not bytes or len(value) != 32:
        raise ValueError("32 bytes")
    return value


def transactions_named(entries: Iterable[EventEntry]) -> list[bytes]:
    """Return the transactions by which keys saw what was done; some may lie before the range."""
    return list(dict.fromkeys(tx_id for one in acts_done(entries) for _, tx_id in one.seen))


# --- the checks, over what is proved


def check_act(contents: Contents, one: ActSeen) -> None:
    """Raise ProofInvalid unless so many distinct keys of the organisation made this call in time."""
    keys = [key for key, _ in one.seen]
    if len(set(keys)) != len(keys) or len(keys) < one.needed:
        raise ProofInvalid(f"{one}: {len(set(keys))} distinct keys, {one.needed} were asked for")
    if one.seen[-1][1] != one.entry.tx_id:
        raise ProofInvalid(f"{one}: the last transaction that it names is not the one that did it")
    times = [_check_call(contents, one, key, tx_id) for key, tx_id in one.seen]
    if not 0 <= times[-1] - min(times) < PENDING_MS:
        raise ProofInvalid(f"{one}: more than three days lie between its first key and its last")


def _check_call(contents: Contents, one: ActSeen, key: bytes, tx_id: bytes) -> int:
    """Return the block time at which a key made this very call, and ended not before it was done."""
    found = contents.caused.get(tx_id)
    what = f"{one}: transaction {tx_id.hex()[:16]}"
    if found is None:
        raise ProofInvalid(f"{what}, by which a key saw it, is not in the package")
    if found.sender != key:
        raise ProofInvalid(f"{what} is signed by another key than {key.hex()[:16]}")
    if f"{found.contract}.{found.method}" != one.call or found.digest != one.digest:
        raise ProofInvalid(f"{what} is another call, or has other arguments")
    record = _key_record(contents, key)
    roles = record.get("roles", [])
    if record.get("org") != one.org:
        raise ProofInvalid(f"{what}: its key is of another organisation")
    counts = "agent" not in roles and {"admin", ACTS.get(one.act)} & set(roles)
    if one.needed > 1 and not counts:
        raise ProofInvalid(
            f"{what}: its key has roles {shown(roles)}, which do not count for {shown(one.act)}"
        )
    since, until = record.get("since", 0), record.get("until", 0)
    if since > found.height or (until and until < one.entry.height):
        raise ProofInvalid(f"{what}: its key signed at heights {since}..{until or ''}, the act is of another")
    return contents.time(found.height, what)


def _key_record(contents: Contents, key: bytes) -> dict[str, Any]:
    place = (contents.last, ORGS, map_key("keys", key.hex()))
    if place not in contents.states:
        raise ProofInvalid(f"key {key.hex()[:16]}: the package does not show whose it is")
    value = value_of(contents.states[place])
    return value if isinstance(value, dict) else {}


def check_none_alone(contents: Contents) -> None:
    """Raise ProofInvalid where an organisation did by fewer keys what it asked more for.

    The whole history of an organisation says so: what it asked, and each call that its keys made. It is read
    by the table of acts that the first version of `orgs` has, so nothing is said once another was in force.
    """
    if not contents.subject.startswith("org:") or contents.first > 0 or not _first_orgs(contents):
        return
    org = contents.subject.removeprefix("org:")
    asked: dict[str, int] = {}
    done = {one.entry.tx_id: one for one in acts_done(contents.entries)}
    met: set[bytes] = set()
    for entry in contents.entries:
        item = contents.caused.get(entry.tx_id)
        if item is not None and item.status == OK and entry.tx_id not in met:
            met.add(entry.tx_id)
            _check_alone(contents, org, asked, item, done.get(entry.tx_id))
        if (entry.event.contract, entry.event.name) == (ORGS, "EyesSet"):
            _ask(asked, entry)


def _check_alone(
    contents: Contents, org: str, asked: dict[str, int], item: Caused, one: ActSeen | None
) -> None:
    """A call of an act was done by keys enough, or came to nothing but a note that it waits."""
    call = f"{item.contract}.{item.method}"
    k = asked.get(CALLS.get(call, ""), 1)
    if k == 1 or _key_record(contents, item.sender).get("org") != org:
        return
    if one is None and not (item.kinds and item.kinds <= _NOTES):
        raise ProofInvalid(
            f"{call} at height {item.height}: done by one key, though {shown(org)} asked for {k}"
        )
    if one is not None and one.needed < k:
        raise ProofInvalid(f"{one}: done by {one.needed} keys, though {k} were asked for")


def _ask(asked: dict[str, int], entry: EventEntry) -> None:
    try:
        fields = _fields(entry)
        if not fields["about"]:  # what is asked of one dataset is more, never less
            asked[str(fields["act"])] = int(fields["k"])
    except (DecodeError, LookupError, TypeError, ValueError) as error:
        raise ProofInvalid(
            f"entry at height {entry.height}: its EyesSet cannot be read ({type(error).__name__})"
        ) from None


def _first_orgs(contents: Contents) -> bool:
    """Tell whether the version of `orgs` that genesis installed is all that the package shows of it."""
    records = [
        value_of(value)
        for (_, namespace, key), value in contents.states.items()
        if (namespace, key) == ("lifecycle", map_key("active", ORGS))
    ]
    return all(isinstance(one, dict) and one.get("seq") == 1 and not one.get("next") for one in records)


# --- words


def report_lines(contents: Contents) -> Sequence[str]:
    """Return the report's section; empty when nothing was done by several keys."""
    found = acts_done(contents.entries)
    if not found:
        return []
    lines = ["Acts that several keys saw before they were done", ""]
    for one in found:
        lines.append(f"- {one}: {len(one.seen)} keys, {one.needed} asked for, digest {one.digest.hex()}")
        for key, tx_id in one.seen:
            call = contents.caused.get(tx_id)
            if call is None:
                raise ProofInvalid(f"{one}: transaction {tx_id.hex()[:16]} is not in the package")
            time = utc(contents.time(call.height, str(one)))
            lines.append(f"    key {key.hex()}, transaction {tx_id.hex()}, height {call.height}, {time}")
    return lines
