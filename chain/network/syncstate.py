"""What catch-up by blocks needs, asks for and remembers of its peers; milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chain.ledger.block import Block, Header
from chain.ledger.history.snapshot import StateLoad
from chain.network.effects import Drop, Send
from chain.network.serving import BlockSource
from chain.primitives.certificate import Certificate

RETRY_MS, RETRY_MAX_MS = 250, 8_000


class Chain(BlockSource, Protocol):
    """What sync needs of the ledger and the membership, beside what it serves."""

    def height(self) -> int:
        """Return the certified height, 0 at genesis."""

    def head(self) -> tuple[Header, Certificate] | None:
        """Return the certified head, or None at genesis."""

    def validators(self, height: int) -> Sequence[bytes] | None:
        """Return the set that certifies a height, or None while that is not final.

        It must be known for the height above `height()`.
        """

    def blocks_from(self) -> int:
        """Return the pruned-below height: the blocks from there on are here."""


@dataclass(frozen=True, slots=True)
class SyncEffects:
    """What the node shall do."""

    send: tuple[Send, ...] = ()
    apply: tuple[Block, ...] = ()
    """Checked blocks in order, each handed over once, the next lot only when the ledger has these. Skip what
    the ledger has already; at the end call `applied`, at the first failure `rejected` (and stop there)."""
    drop: tuple[Drop, ...] = ()
    install: StateLoad | None = None
    """A complete state to put in the place of the ledger's; call `installed` at the end."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """Where catch-up stands, for operators."""

    height: int
    proved_height: int
    """Highest height that a peer proved by a certificate."""
    buffered_blocks: int
    requests: int
    snapshot: tuple[int, float] | None
    """(height, share fetched 0..1) of a state that is being fetched."""
    trouble: str
    """Why it does not move; empty when nothing is known to be wrong."""
    sources: tuple[bytes, ...] = ()
    """Peers that blocks are asked of now."""


@dataclass(slots=True)
class Peer:
    """One peer: what it proved or claimed, and what it was asked for."""

    proved: int = 0
    claimed: int = 0
    blocks_from: int = 0
    """Its pruned-below height, as it claims: it has the blocks from there on."""
    first: int = 0
    """First height of the request under way, 0 for none."""
    count: int = 0
    answer_by: int = 0
    failures: int = 0
    not_before: int = 0

    @property
    def best(self) -> int:
        """Return the height that makes it worth asking."""
        return max(self.proved, self.claimed)

    def fail(self, now: int) -> None:
        """Ask others for a while, and believe no claim until the next status."""
        self.failures = min(self.failures + 1, 16)
        self.not_before = now + min(RETRY_MAX_MS, RETRY_MS << (self.failures - 1))
        self.first = self.claimed = 0


@dataclass(slots=True)
class BufferedBlock:
    """A block that waits for those below it."""

    block: Block
    peer: bytes
    size: int
    checked: bool


@dataclass(slots=True)
class Progress:
    """When the ledger's height last moved, and how far blocks were handed over."""

    height: int = -1
    moved_at: int = 0
    handed: int = 0
    served_by: dict[int, bytes] = field(default_factory=dict)
    rejected_by: set[bytes] = field(default_factory=set)
