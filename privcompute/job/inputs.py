"""Inputs of a job as pages see them, and the judgement of an owner's own data before it binds.

What an owner finds on its own data ends the job before anything is bound: others learn the code of the first
finding and no number. What depends on rows that are joined is judged on them only where an earlier job over
the same versions joined them already, which is remembered here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from chain.primitives.values import encode_value
from privcompute.data.datasets import OpenedDataset
from privcompute.data.results import JoinStore
from privcompute.data.schema import Column
from privcompute.job.enforcement import JobRefusal
from privcompute.job.exposure import Exposure
from privcompute.job.view import GrantedInput, JobSpec
from privcompute.pages.columns import InputColumn
from privcompute.pages.judging import Finding, OwnTable
from privcompute.pages.work import PageWork

log = logging.getLogger("assent.agent")
_DELTA_UNIT = 10**18
"""What the ledger counts as a delta of one."""


def input_column(column: Column, use: str) -> InputColumn:
    """Return a declared column with the use that a job declares for it."""
    return InputColumn(
        name=column.name,
        type=column.type,
        use=use,
        missing=column.missing,
        coding=column.coding,
        low=column.low,
        high=column.high,
        categories=column.categories,
        edges=column.edges,
    )


def joined_versions(spec: JobSpec) -> bytes:
    """Return the hash that names the dataset versions that a job joins, as contract `jobs` computes it."""
    return _versions([one for one in spec.inputs if "join" in one.columns.values()])


def versions_of(spec: JobSpec, work: PageWork, number: int) -> bytes:
    """Return the hash that names the dataset versions of one of a job's joins."""
    return _versions([spec.inputs[place] for place in work.joined[number]])


def asked_groups(work: PageWork, spec: JobSpec, place: int) -> bytes:
    """Return a hash of the groups of a job's exact figures, its versions and smallest group; b"" for none."""
    asked = work.exact_groups(place)
    if not asked:
        return b""
    inputs = sorted([one.name, one.dataset, str(one.version)] for one in spec.inputs)
    return sha256(encode_value(["assent/exact-groups", asked, spec.min_group, inputs])).digest()


def _versions(inputs: Sequence[GrantedInput]) -> bytes:
    joined = sorted(f"{one.dataset}@{one.version}" for one in inputs)
    return sha256(encode_value(["assent/joined-versions", joined])).digest()


def own_findings(
    work: PageWork, spec: JobSpec, opened: OpenedDataset, joins: JoinStore, least_rows: int
) -> list[Finding]:
    """Return everything on our own data that would end the job later; the texts are for us alone."""
    return work.findings(_own_table(work, spec, opened, joins, least_rows))


def _own_table(
    work: PageWork, spec: JobSpec, opened: OpenedDataset, joins: JoinStore, least_rows: int
) -> OwnTable:
    place = [one.dataset for one in work.inputs].index(opened.local.id)
    table = opened.table
    joined: NDArray[np.int64] | None = None
    for number, places in enumerate(work.joined):
        ids = joins.rows_of(versions_of(spec, work, number)) if place in places else None
        if ids is not None:
            rows = np.flatnonzero(np.isin(np.array(table.ids), np.array(ids)))
            joined = rows if joined is None or len(rows) < len(joined) else joined
    return OwnTable(
        min_group=spec.min_group,
        item=work.inputs[place],
        columns=table.data,
        rows=table.rows,
        joined=joined,
        least_rows=least_rows if any(place in places for places in work.joined) else 0,
    )


def exposure_findings(
    work: PageWork, spec: JobSpec, opened: OpenedDataset, joins: JoinStore, exposure: Exposure
) -> list[Finding]:
    """Return everything for which limits of exact figures end the job, as far as joined rows are known."""
    own = _own_table(work, spec, opened, joins, 0)
    place, table = work.inputs.index(own.item), opened.table
    matched = {}
    for number, places in enumerate(work.joined):
        ids = joins.rows_of(versions_of(spec, work, number)) if place in places else None
        if ids is not None:
            matched[number] = np.flatnonzero(np.isin(np.array(table.ids), np.array(ids)))
    rows = work.rows_named(place, table.rows, matched)
    count = own.rows if own.joined is None else len(own.joined)
    said = exposure.objections(count, table, rows)
    return [Finding(one.reason, str(one).removeprefix(f"{one.reason}: ")) for one in said]


def check_delta(one: GrantedInput, rows: int, delta: int) -> None:
    """Raise JobRefusal where the chance that noise fails is above one in so many rows; delta is in 10^-18.

    A mechanism that shows one row in full, drawn at random, has a delta of 1 / rows.
    """
    if delta * rows > _DELTA_UNIT:
        raise JobRefusal(
            "DELTA_ABOVE_ROWS",
            f"{one.dataset}: figures with noise have a delta of {delta / _DELTA_UNIT:.3g} in all, with this"
            f" job; {rows} rows allow {1 / rows:.3g}",
            dataset=one.dataset,
            version=one.version,
        )


def judge_own_data(
    work: PageWork,
    spec: JobSpec,
    opened: OpenedDataset,
    joins: JoinStore,
    least_rows: int,
    exposure: Exposure | None = None,
) -> None:
    """Raise JobRefusal with the code of the first thing on our own data that would end the job later.

    Its text, and those of all others, are for our own log.
    """
    own = _own_table(work, spec, opened, joins, least_rows)
    findings = work.findings(own)
    for one in findings:
        log.warning("own data of %s: %s: %s", opened.local.id, one.code, one.text)
    if findings:
        raise JobRefusal(findings[0].code, findings[0].text)
    if exposure is not None:
        exposure.check_groups()
        exposure.check_figures(own.rows if own.joined is None else len(own.joined))
