"""Records in bulk against Python's own bytes and sets; few words and small ones, so that ties abound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.mpc.protocols.records import Records, in_all, is_rising, places_in, records_of, sorting

PROPERTY = settings(max_examples=200, deadline=None, derandomize=True)
WIDTH = 16
record = st.tuples(st.integers(0, 3), st.integers(0, 2**64 - 1) | st.integers(0, 2)).map(
    lambda words: b"".join(word.to_bytes(8, "big") for word in words)
)
records = st.lists(record, max_size=20)
rising = st.sets(record, max_size=20).map(sorted)


def bytes_of(made: Records) -> bytes:
    return made.astype(">u8").tobytes()


def joined(items: list[bytes]) -> bytes:
    return b"".join(items)


@PROPERTY
@given(records)
def test_records_are_sorted_as_bytes_are(items: list[bytes]) -> None:
    made = records_of(joined(items), WIDTH)
    assert bytes_of(made[sorting(made)]) == joined(sorted(items))
    assert bytes_of(made) == joined(items)


@PROPERTY
@given(records)
def test_a_list_rises_when_it_is_sorted_and_holds_nothing_twice(items: list[bytes]) -> None:
    assert is_rising(records_of(joined(items), WIDTH)) == (items == sorted(set(items)))


@PROPERTY
@given(rising, rising)
def test_each_record_is_found_where_it_stands(held: list[bytes], sought: list[bytes]) -> None:
    found = places_in(records_of(joined(held), WIDTH), records_of(joined(sought), WIDTH))
    assert found.tolist() == [held.index(one) if one in held else -1 for one in sought]


@PROPERTY
@given(st.lists(rising, min_size=1, max_size=4))
def test_what_all_lists_hold_is_what_their_sets_share(lists: list[list[bytes]]) -> None:
    common = in_all([records_of(joined(one), WIDTH) for one in lists])
    assert bytes_of(common) == joined(sorted(set(lists[0]).intersection(*lists[1:])))


@pytest.mark.parametrize("word", [0, 1])
def test_records_that_agree_in_all_words_but_one_are_different(word: int) -> None:
    """Planted near collisions: a match takes all 128 bits."""
    one = np.arange(2_000, dtype=np.uint64).reshape(-1, 2)
    other = one.copy()
    other[:, word] += np.uint64(10_000)
    assert in_all([one, other]).size == 0
    assert in_all([one, one]).tolist() == one.tolist()
