"""Bloom filter of recently decided transaction ids: it spares reads of the store for every new transaction.

There are two filters of fixed size, each for up to `VALIDITY_WINDOW_MAX` heights. An id that neither knows
was not decided in the last `VALIDITY_WINDOW_MAX` heights. An older id has expired, so nobody needs to know
whether it was decided.
"""

from __future__ import annotations

from collections.abc import Iterable

from chain.ledger.validity_window import NAMESPACE, VALIDITY_WINDOW_MAX, read_summary, summary_key
from chain.primitives.runtimeport import StateReader

BITS = 1 << 23
"""1 MiB a filter: at 1,000 ids a height, seven answers of each in a thousand are a needless "perhaps"."""
_MASK = BITS - 1


class RecentIds:
    """Bloom filter of the ids of recent heights; one thread adds, any thread asks."""

    __slots__ = ("_former", "_heights", "_now")

    def __init__(self) -> None:
        self._now, self._former = bytearray(BITS // 8), bytearray(BITS // 8)
        self._heights = 0

    def add(self, ids: Iterable[bytes]) -> None:
        """Take note of the ids that the next height decided."""
        if self._heights == VALIDITY_WINDOW_MAX:
            self._now, self._former, self._heights = bytearray(BITS // 8), self._now, 0
        self._heights += 1
        bits = self._now
        for tx_id in ids:
            word = int.from_bytes(tx_id[:12])
            first, second, third = word & _MASK, word >> 32 & _MASK, word >> 64 & _MASK
            bits[first >> 3] |= 1 << (first & 7)
            bits[second >> 3] |= 1 << (second & 7)
            bits[third >> 3] |= 1 << (third & 7)

    @classmethod
    def of(cls, state: StateReader, head: int) -> RecentIds:
        """Return the ids of the last `VALIDITY_WINDOW_MAX` heights, as the state of the head keeps them."""
        recent = cls()
        for height in range(max(0, head - VALIDITY_WINDOW_MAX + 1), head + 1):
            recent.add(read_summary(height, state.get(NAMESPACE, summary_key(height))).tx_ids())
        return recent

    def __contains__(self, tx_id: bytes) -> bool:
        """Tell whether an id may have been decided: never False for one of the validity window."""
        word = int.from_bytes(tx_id[:12])
        first, now, former = word & _MASK, self._now, self._former
        if not (now[first >> 3] | former[first >> 3]) >> (first & 7) & 1:  # most ids are new
            return False
        second, third = word >> 32 & _MASK, word >> 64 & _MASK
        for bits in (now, former):
            if (
                bits[first >> 3] >> (first & 7) & 1
                and bits[second >> 3] >> (second & 7) & 1
                and bits[third >> 3] >> (third & 7) & 1
            ):
                return True
        return False
