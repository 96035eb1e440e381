"""Inputs of a job as programs see them, and the judgement of an owner's own data before it binds.

What an owner finds on its own data ends the job before anything is bound: others learn the code of the first
finding and no number. What depends on rows that are joined is judged on them only where an earlier job over
the same versions joined them already, which is remembered here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from chain.primitives.values import encode_value
from privcompute.data.datasets import OpenedDataset
from privcompute.data.results import JoinStore
from privcompute.data.schema import Column
from privcompute.job.enforcement import JobRefusal
from privcompute.job.view import JobSpec
from privcompute.programs.base import Finding, InputColumn, JobInput, JobProgram, OwnTable
from privcompute.programs.preflight import preflight

log = logging.getLogger("assent.agent")


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
    joined = sorted(f"{one.dataset}@{one.version}" for one in spec.inputs if "join" in one.columns.values())
    return sha256(encode_value(["assent/joined-versions", joined])).digest()


def own_findings(
    program: JobProgram,
    parameters: Any,
    inputs: Sequence[JobInput],
    spec: JobSpec,
    opened: OpenedDataset,
    joins: JoinStore,
    least_rows: int,
) -> list[Finding]:
    """Return everything on our own data that would end the job later; the texts are for us alone."""
    (item,) = [one for one in inputs if one.dataset == opened.local.id]
    table = opened.table
    ids = joins.rows_of(joined_versions(spec))
    own = OwnTable(
        inputs=tuple(inputs),
        parameters=parameters,
        min_group=spec.min_group,
        item=item,
        columns=table.data,
        rows=table.rows,
        joined=None if ids is None else np.flatnonzero(np.isin(np.array(table.ids), np.array(ids))),
        least_rows=least_rows,
    )
    return preflight(program, own)


def judge_own_data(
    program: JobProgram,
    parameters: Any,
    inputs: Sequence[JobInput],
    spec: JobSpec,
    opened: OpenedDataset,
    joins: JoinStore,
    least_rows: int,
) -> None:
    """Raise JobRefusal with the code of the first thing on our own data that would end the job later.

    Its text, and those of all others, are for our own log.
    """
    findings = own_findings(program, parameters, inputs, spec, opened, joins, least_rows)
    for one in findings:
        log.warning("own data of %s: %s: %s", opened.local.id, one.code, one.text)
    if findings:
        raise JobRefusal(findings[0].code, findings[0].text)
