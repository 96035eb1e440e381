"""Size of a job before it begins: how many rows each input brings by its registration, and what that takes.

A registration tells the least power of ten that holds a dataset's rows. So there are at least a tenth of them
and one more: a job that is too large even then is refused before anybody reads data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from chain.primitives.values import Value
from privcompute.config import LocalPolicy
from privcompute.data.commitments import bucket_rows
from privcompute.job.enforcement import JobRefusal
from privcompute.job.joining import aided_joins
from privcompute.job.view import JobSpec
from privcompute.pages.estimate import Estimate
from privcompute.pages.work import PageWork

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class JobSize:
    """Size of a job as far as registrations tell it."""

    rows: Mapping[str, tuple[int, int]]
    """Dataset -> fewest and most rows."""
    least: Estimate
    most: Estimate


def size_of(
    work: PageWork, spec: JobSpec, initiator: str, versions: Mapping[tuple[str, int], Value]
) -> JobSize | None:
    """Return the size of a job, None where a version does not tell how many rows it has."""
    rows: dict[str, tuple[int, int]] = {}
    for one in spec.inputs:
        version = versions.get((one.dataset, one.version))
        known = None if version is None else bucket_rows(version["size_bucket"])
        if known is None:
            return None
        rows[one.dataset] = known
    fewest, most = ([bounds[place] for bounds in rows.values()] for place in (0, 1))
    aided = aided_joins(work, spec, initiator)
    return JobSize(rows, work.estimate(fewest, aided), work.estimate(most, aided))


def check_size(size: JobSize | None, spec: JobSpec, org: str, policy: LocalPolicy) -> None:
    """Raise JobRefusal when a job is beyond what we let one take, however few rows there may be."""
    if size is None:
        return
    for dataset, (fewest, _) in size.rows.items():
        owner = dataset.partition("/")[0]
        if owner != org and fewest > policy.max_party_rows:
            raise JobRefusal(
                "MPC_PEER_TOO_LARGE",
                f"{dataset} has at least {fewest} rows, this agent takes at most {policy.max_party_rows} of "
                "another party (policy.max_party_rows)",
                org=owner,
                limit=policy.max_party_rows,
            )
    check_time(size, min(policy.job_time_max_ms, spec.raw["deadlines"]["run"]) // 1_000)
    check_memory(size, policy.job_memory_max_mib)


def check_memory(size: JobSize, limit_mib: int) -> None:
    """Raise JobRefusal when a job takes more memory than so many MiB, as far as measured."""
    least = math.ceil(size.least.least_memory / MIB)
    if least > limit_mib:
        raise JobRefusal(
            "JOB_TOO_LARGE",
            f"join and page take {least:,} MiB at least beside one's own table, and this agent allows "
            f"{limit_mib:,} MiB (policy.job_memory_max_mib)",
            limit=limit_mib,
        )


def check_time(size: JobSize, limit_s: int) -> None:
    """Raise JobRefusal when a job takes longer than so many seconds, as far as measured."""
    if size.least.least_s > limit_s:
        raise JobRefusal(
            "JOB_TOO_LONG",
            f"join and page take {size.least.least_s:,.0f} s at least, and the job has {limit_s} s: the "
            "shorter of its deadline run and policy.job_time_max_ms",
            limit=limit_s,
        )
