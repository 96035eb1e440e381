"""Which history a node holds, and what it answers when asked for what it does not: never a wrong "none"."""

from __future__ import annotations

from chain.ledger import rows
from chain.ledger.rows import Held
from chain.ledger.store import Reader
from chain.primitives.codec import decode
from chain.primitives.errors import AssentError


class UnknownHeight(AssentError):
    """A height that this node does not have yet: it is above the head."""

    code = "unknown_height"


class NotHeld(AssentError):
    """History that this node pruned, or never had because it began from a snapshot: ask another node."""

    code = "not_held"


class Holding:
    """The row `held` of a store, and the errors that follow from it."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def now(self) -> Held:
        """Return from which heights on this node holds what."""
        row = self._reader.get(rows.HELD_KEY)
        return Held() if row is None else decode(Held, row)

    def require_blocks(self, height: int, what: str = "") -> None:
        """Raise NotHeld when the block of a height is no longer here, or never was."""
        held = self.now()
        if height < held.blocks:
            what = what or f"height {height}"
            raise NotHeld(f"{what}: {_blocks_from(held)}")

    def require_state(self, height: int) -> None:
        """Raise NotHeld when the state of a height is no longer here, or never was."""
        held = self.now()
        if height < held.state:
            raise NotHeld(
                f"height {height}: this node holds states from height {held.state} on; ask a node that holds "
                "older ones"
            )

    def missing_header(self, height: int) -> AssentError:
        """Return the error for a header that is not here: NotHeld below what is held, else UnknownHeight."""
        held = self.now()
        if height < held.headers:
            return NotHeld(
                f"height {height}: this node holds headers from height {held.headers} on; ask a node that "
                "holds older ones"
            )
        return UnknownHeight(f"height {height}: not here; it is above the head")

    def missing_transaction(self, tx_id: bytes) -> NotHeld | None:
        """Return the error for an id without a receipt here; None on a node that holds every block."""
        held = self.now()
        if not held.blocks:
            return None
        return NotHeld(f"transaction {tx_id.hex()}: older, or not executed yet; {_blocks_from(held)}")


def _blocks_from(held: Held) -> str:
    archive = f"; older ones were archived in {held.archive}" if held.archive else ""
    return f"this node holds blocks from height {held.blocks} on{archive}; ask a node that holds older ones"
