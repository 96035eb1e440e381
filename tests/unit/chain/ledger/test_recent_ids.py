"""The Bloom filter of recent ids: it never forgets one of the validity window."""

from __future__ import annotations

import random

import pytest

from chain.ledger import recent_ids
from chain.ledger.recent_ids import RecentIds


def test_no_id_of_the_last_window_is_forgotten_and_few_others_are_taken_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recent_ids, "VALIDITY_WINDOW_MAX", 5)
    monkeypatch.setattr(recent_ids, "BITS", 1 << 14)
    monkeypatch.setattr(recent_ids, "_MASK", (1 << 14) - 1)
    source, recent = random.Random(7), RecentIds()
    heights: list[list[bytes]] = []
    for _ in range(23):
        heights.append([source.randbytes(32) for _ in range(50)])
        recent.add(heights[-1])
        assert all(tx_id in recent for height in heights[-5:] for tx_id in height)
    strangers = [source.randbytes(32) for _ in range(2_000)]
    assert sum(tx_id in recent for tx_id in strangers) < 40
    assert not any(tx_id in recent for tx_id in heights[0][:5]), "two windows later it is forgotten"
