"""Pruned history: the heights below which a node has nothing any more, and the errors that say so."""

from __future__ import annotations

from chain.ledger.store import rows
from chain.ledger.store.port import Reader
from chain.ledger.store.rows import PrunedBelow
from chain.primitives.codec import decode
from chain.primitives.errors import AssentError


class UnknownHeight(AssentError):
    """A height that this node does not have yet: it is above the head."""

    code = "unknown_height"


class NotHeld(AssentError):
    """History that this node pruned, or never had because it began from a snapshot: ask another node."""

    code = "not_held"


class PrunedHistory:
    """What a store has pruned, or never had because it began from a snapshot, and the errors that follow."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def below(self) -> PrunedBelow:
        """Return the heights below which this node has pruned what, as of now."""
        row = self._reader.get(rows.HELD_KEY)
        return PrunedBelow() if row is None else decode(PrunedBelow, row)

    def require_blocks(self, height: int, what: str = "") -> None:
        """Raise NotHeld when the block of a height is no longer here, or never was."""
        pruned = self.below()
        if height < pruned.blocks:
            what = what or f"height {height}"
            raise NotHeld(f"{what}: {_blocks_from(pruned)}")

    def require_state(self, height: int) -> None:
        """Raise NotHeld when the state of a height is no longer here, or never was."""
        pruned = self.below()
        if height < pruned.state:
            raise NotHeld(
                f"height {height}: this node holds states from height {pruned.state} on; ask a node that "
                "holds older ones"
            )

    def missing_header(self, height: int) -> AssentError:
        """Return the error for a header that is not here: NotHeld below what is held, else UnknownHeight."""
        pruned = self.below()
        if height < pruned.headers:
            return NotHeld(
                f"height {height}: this node holds headers from height {pruned.headers} on; ask a node that "
                "holds older ones"
            )
        return UnknownHeight(f"height {height}: not here; it is above the head")

    def missing_transaction(self, tx_id: bytes) -> NotHeld | None:
        """Return the error for an id without a receipt here; None on a node that holds every block."""
        pruned = self.below()
        if not pruned.blocks:
            return None
        return NotHeld(f"transaction {tx_id.hex()}: older, or not executed yet; {_blocks_from(pruned)}")


def _blocks_from(pruned: PrunedBelow) -> str:
    archive = f"; older ones were archived in {pruned.archive}" if pruned.archive else ""
    return f"this node holds blocks from height {pruned.blocks} on{archive}; ask a node that holds older ones"
