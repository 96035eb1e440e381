"""What happens to a replica (events) and what it wants done (effects): plain data, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chain.primitives.certificate import Certificate
from consensus.messages import Message
from consensus.votes import Evidence


@dataclass(frozen=True, slots=True)
class Head:
    """Where the ledger stands when a replica starts."""

    certificate: Certificate | None = None
    """Of the highest certified block; None at genesis."""
    headers: Mapping[int, bytes] = field(default_factory=dict)
    """Height -> header hash of every block executed above the certified one, without holes; and of those
    among the 2W below it whose certificate is missing."""
    certificates: Mapping[int, Certificate] = field(default_factory=dict)
    """Height -> certificate of the 2W heights up to the certified one, as far as held: peers may lack one."""
    payloads: Mapping[int, bytes] = field(default_factory=dict)
    """Height -> payload of every block executed above the certified one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposal that the application must check before this replica prepares it."""

    height: int
    view: int
    proposer: bytes
    """The primary of (view, height); for a re-proposal not necessarily who first proposed it."""
    payload: bytes
    digest: bytes
    parents: tuple[bytes, ...]
    """Payloads in flight just below, in height order; the first follows the last executed block."""
    fresh: bool
    """False: prepared in an earlier view already, so judge neither its age nor view, base or proposer."""
    base: int
    """The height above which the view began."""


@dataclass(frozen=True, slots=True)
class Turn:
    """This replica is the primary of the next free height and may propose."""

    height: int
    view: int
    parents: tuple[bytes, ...]
    in_flight: int
    """Heights proposed and not yet delivered."""
    base: int
    """The height above which the view began."""


# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Proposed:
    """The application made a payload for our turn."""

    height: int
    view: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Checked:
    """The application judged a candidate."""

    height: int
    view: int
    digest: bytes
    valid: bool


@dataclass(frozen=True, slots=True)
class Executed:
    """The application executed a delivered payload, durably."""

    height: int
    header_hash: bytes


@dataclass(frozen=True, slots=True)
class Synced:
    """Block sync brought the ledger to this certified height."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Pending:
    """Requests wait to be ordered, or none does any more."""

    waiting: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Something this replica gives others a limited time for; the timer restarts when it changes."""

    kind: str
    """`progress`: a height to be delivered; `certificate`: that of an executed height, when nothing else is
    owed; `new-view`: the NEW-VIEW of a view a quorum asked for."""
    view: int
    height: int
    """Delivered so far; for `certificate`, certified."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The time for a wait ran out."""

    wait: Wait


@dataclass(frozen=True, slots=True)
class Nudge:
    """Time to repair: say where we stand, and repeat a view change that is not answered."""

    to: bytes | None = None
    """One peer, or None for all."""


Event = Message | Proposed | Checked | Executed | Synced | Pending | Expired | Nudge


@dataclass(slots=True)
class Effects:
    """What one step wants done, in this order; `put` must be durable before anything is sent.

    `certified` must be durable before `put`, if both are there.
    """

    put: dict[bytes, bytes] = field(default_factory=dict)
    delete: list[bytes] = field(default_factory=list)
    """Keys of certified heights: may be deleted with any later write."""
    send: list[tuple[bytes | None, Message]] = field(default_factory=list)
    """(receiver, or None for everyone else, message)."""
    check: list[Candidate] = field(default_factory=list)
    deliver: list[tuple[int, bytes]] = field(default_factory=list)
    certified: list[Certificate] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
