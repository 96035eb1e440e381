"""Commitments open to what was committed and to nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.codec import decode, encode
from chain.primitives.errors import ProofInvalid
from privcompute.data.commitments import (
    RowOpening,
    challenged_rows,
    check_opening,
    commit_rows,
    input_commitment,
    open_row,
    result_commitment,
    size_bucket,
)

SEED = bytes(range(32))
COMMON = settings(max_examples=40, deadline=None, derandomize=True)


@COMMON
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=33), st.data())
def test_every_row_opens_under_the_root_and_no_other_row_does(rows: list[bytes], data: st.DataObject) -> None:
    commitment = commit_rows(SEED, rows)
    index = data.draw(st.integers(0, len(rows) - 1))
    opening = decode(RowOpening, encode(open_row(SEED, rows, commitment, index)))
    check_opening(commitment.root, opening)
    for wrong in (
        replace(opening, row=opening.row + b"x"),
        replace(opening, salt=bytes(32)),
        replace(opening, index=opening.index + 1),
    ):
        with pytest.raises(ProofInvalid, match=f"row {wrong.index}"):
            check_opening(commitment.root, wrong)


def test_equal_rows_have_different_leaves() -> None:
    leaves = commit_rows(SEED, [b"same", b"same"]).leaves
    assert leaves[0] != leaves[1]


def test_the_root_of_three_rows_is_the_one_computed_by_hand_with_hashlib() -> None:
    root = commit_rows(SEED, [b"a", b"b", b"c"]).root
    assert root.hex() == "27fdefffe7741590e0441b593d1d3409946c6c4d0d78643e565a0d2dc638a49e"


@COMMON
@given(st.binary(min_size=32, max_size=32), st.integers(1, 500), st.integers(0, 60))
def test_a_challenge_selects_distinct_rows(challenge: bytes, count: int, wanted: int) -> None:
    chosen = challenged_rows(challenge, count, wanted)
    assert len(set(chosen)) == len(chosen) == min(count, wanted)
    assert all(0 <= row < count for row in chosen)


def test_input_and_result_commitments_bind_every_part() -> None:
    base = (b"n" * 32, b"r" * 32, ["a", "b"], "", 5)
    changed = [
        (b"m" * 32, *base[1:]),
        (base[0], b"q" * 32, *base[2:]),
        (*base[:2], ["b", "a"], *base[3:]),
        (*base[:3], "x", 5),
        (*base[:4], 6),
    ]
    assert len({input_commitment(*parts) for parts in [base, *changed]}) == 6
    results = [(b"s" * 32, b"h" * 32, {"auc": 1}), (b"s" * 32, b"h" * 32, {"auc": 2})]
    results += [(b"s" * 32, b"i" * 32, {"auc": 1}), (b"t" * 32, b"h" * 32, {"auc": 1})]
    assert len({result_commitment(*parts) for parts in results}) == len(results)


def test_the_size_bucket_hides_the_exact_count() -> None:
    assert size_bucket(501) == size_bucket(1000) == "<=1000"
    assert size_bucket(10**8) == ">10000000"
