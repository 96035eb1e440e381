"""A job that is too large however few rows there may be is refused before anybody reads data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from privcompute.config import LocalPolicy
from privcompute.data.commitments import SIZE_BUCKETS, bucket_rows, size_bucket
from privcompute.job.enforcement import JobRefusal
from privcompute.job.size import JobSize, check_size, size_of
from privcompute.pages.columns import InputColumn, JobInput
from tests.unit.privcompute.job.standing import standard_work
from tests.unit.privcompute.job.test_enforcement import SPEC

RUN_S = 600
TIMED = replace(SPEC, raw={"deadlines": {"run": RUN_S * 1_000}})
INPUTS = [
    JobInput(one.dataset, owner, (InputColumn("id", "text", "join"),))
    for owner, one in enumerate(SPEC.inputs)
]


def sized(*buckets: Any, asks: str = "registry") -> JobSize | None:
    """Return the size of a join of two owners beside a third, who asked for it unless another did."""
    rows = {
        (one.dataset, one.version): {"size_bucket": bucket}
        for one, bucket in zip(SPEC.inputs, buckets, strict=True)
    }
    return size_of(standard_work("private-join", INPUTS, {"receivers": ["bank"]}), SPEC, asks, rows)


def refusal(size: JobSize | None, **policy: Any) -> JobRefusal:
    with pytest.raises(JobRefusal) as caught:
        check_size(size, TIMED, "bank", LocalPolicy(**policy))
    return caught.value


@pytest.mark.parametrize("rows", [1, 10, 11, 999, 1_000, 1_001, 9_999_999])
def test_a_coarse_size_holds_the_rows_it_was_made_of(rows: int) -> None:
    bounds = bucket_rows(size_bucket(rows))
    assert bounds is not None
    assert bounds[0] <= rows <= bounds[1] <= 10 * max(10, rows)


@pytest.mark.parametrize(
    "text", ["", "100-1000", "<=101", "<=1e3", ">10000000", "<= 100", "x" * 256, 5, None]
)
def test_a_text_that_is_no_coarse_size_bounds_nothing(text: Any) -> None:
    """It is the word of an owner, who may write what it likes."""
    assert bucket_rows(text) is None
    size = sized("<=100", text)
    assert size is None
    check_size(size, TIMED, "bank", LocalPolicy(max_party_rows=1))


def test_a_party_that_brings_more_rows_than_we_take_is_named_at_once() -> None:
    caught = refusal(sized("<=10000000", "<=100000"), max_party_rows=10_000)
    assert (caught.reason, caught.detail) == ("MPC_PEER_TOO_LARGE", {"org": "bureau", "limit": 10_000})
    check_size(sized("<=100", "<=100000"), TIMED, "bank", LocalPolicy(max_party_rows=10_001))
    check_size(sized("<=1000000", "<=100"), TIMED, "bank", LocalPolicy(max_party_rows=10_000))


def test_a_job_that_cannot_end_in_time_is_refused_with_the_time_that_it_has() -> None:
    large = sized("<=10000000", "<=10000000")
    assert refusal(large, max_party_rows=SIZE_BUCKETS[-1], job_time_max_ms=60_000).detail == {"limit": 60}
    check_size(large, TIMED, "bank", LocalPolicy(max_party_rows=SIZE_BUCKETS[-1]))


def test_a_job_that_needs_more_memory_than_we_allow_is_refused() -> None:
    """Half of the estimate counts, since measured runs took as little."""
    large = sized("<=10000000", "<=10000000")
    assert large is not None
    least = math.ceil(large.least.memory / 2 / 2**20)
    assert least > 256
    allowed = {"max_party_rows": SIZE_BUCKETS[-1], "job_memory_max_mib": least}
    check_size(large, TIMED, "bank", LocalPolicy(**allowed))
    caught = refusal(large, **(allowed | {"job_memory_max_mib": least - 1}))
    assert (caught.reason, caught.detail) == ("JOB_TOO_LARGE", {"limit": least - 1})


def test_a_third_party_without_an_interest_makes_a_join_of_two_dozens_of_times_faster() -> None:
    among, aided = sized("<=10000000", "<=10000000"), sized("<=10000000", "<=10000000", asks="bank")
    assert among is not None
    assert aided is not None
    assert among.most.seconds > 30 * aided.most.seconds
    assert among.most.memory > 2 * aided.most.memory
    check_size(aided, TIMED, "bank", LocalPolicy(max_party_rows=SIZE_BUCKETS[-1], job_time_max_ms=60_000))


def test_a_job_that_may_end_in_time_is_not_refused() -> None:
    """Ten times as many rows might be too many: that shows once the parties join them."""
    size = sized("<=1000000", "<=1000000")
    assert size is not None
    assert size.least.least_s < 20 < size.most.seconds
    check_size(size, TIMED, "bank", LocalPolicy(job_time_max_ms=20_000))
