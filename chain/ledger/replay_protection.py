"""Replay protection: a transaction that was decided already is not executed again."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Protocol


class MayKnow(Protocol):
    """A set of ids that may answer yes for an id that it does not hold, never no for one that it does."""

    def __contains__(self, tx_id: bytes, /) -> bool:
        """Tell whether an id may be in it."""


def is_replayed(tx_id: bytes, in_batch: Container[bytes], before: Callable[[bytes], bool]) -> bool:
    """Tell whether an id was decided already: `in_batch` earlier in this batch, or `before` it."""
    return tx_id in in_batch or before(tx_id)


def was_decided(tx_id: bytes, recent: MayKnow, is_final: Callable[[bytes], bool]) -> bool:
    """Tell whether the ledger holds a final receipt for an id, which is read only if `recent` may know it.

    Ids decided before the validity window are in neither; their transactions have expired.
    """
    return tx_id in recent and is_final(tx_id)
