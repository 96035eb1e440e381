"""Events and effects of a replica: what happens to it, and what it wants done; plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chain.primitives.certificate import Certificate
from consensus.messages import Message
from consensus.votes import Evidence


@dataclass(frozen=True, slots=True)
class Head:
    """Head of the ledger when a replica starts: what is certified, and what is executed above that."""

    certificate: Certificate | None = None
    """That of the highest certified block; None at genesis."""
    headers: Mapping[int, bytes] = field(default_factory=dict)
    """Height -> header hash. It has every block that was executed above the certified one, and of the 2W
    blocks below that one those whose certificate is missing."""
    certificates: Mapping[int, Certificate] = field(default_factory=dict)
    """Height -> certificate of the last 2W heights up to the certified one, for peers that miss one."""
    payloads: Mapping[int, bytes] = field(default_factory=dict)
    """Height -> payload of every block that was executed above the certified one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposal that the application must check before this replica prepares it."""

    height: int
    view: int
    proposer: bytes
    """The primary of (view, height); a re-proposal may have been proposed by another one first."""
    payload: bytes
    digest: bytes
    parents: tuple[bytes, ...]
    """Payloads in flight just below, in order of height; the first follows the last executed block."""
    fresh: bool
    """False if it was prepared in an earlier view: then its age, view, base and proposer are not judged."""
    base: int
    """The height above which the view began."""


@dataclass(frozen=True, slots=True)
class Turn:
    """This replica is the primary of the next free height and may propose."""

    height: int
    view: int
    parents: tuple[bytes, ...]
    in_flight: int
    """How many heights are proposed and not yet delivered."""
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
    """What others owe this replica within a limited time; the view timer restarts when it changes."""

    kind: str
    """`progress`: a height that is to be delivered; `certificate`: that of an executed height, while nothing
    else is owed; `new-view`: the NEW-VIEW of a view that a quorum asked for."""
    view: int
    height: int
    """The last delivered height; for `certificate`, the last certified one."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The time for a wait ran out."""

    wait: Wait


@dataclass(frozen=True, slots=True)
class Retransmit:
    """It is time to retransmit: say where we stand, and repeat a view change that was not answered."""

    to: bytes | None = None
    """The peer that is told, or None for all."""


Event = Message | Proposed | Checked | Executed | Synced | Pending | Expired | Retransmit


@dataclass(slots=True)
class Effects:
    """What one step wants done, in this order; `put` is durable before anything is sent.

    Where there are both, `certified` is durable before `put`.
    """

    put: dict[bytes, bytes] = field(default_factory=dict)
    delete: list[bytes] = field(default_factory=list)
    """Keys of certified heights, which any later write may delete."""
    send: list[tuple[bytes | None, Message]] = field(default_factory=list)
    """(receiver, or None for everyone else, message)."""
    check: list[Candidate] = field(default_factory=list)
    deliver: list[tuple[int, bytes]] = field(default_factory=list)
    certified: list[Certificate] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
