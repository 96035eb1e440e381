"""Tracing a page: from its text to its plan, and back from bytes."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from chain.primitives.crypto import digest
from contracts.language.faults import Diagnostic
from contracts.pages.builder import Builder
from contracts.pages.faults import Misplaced, PageRefused, Unfit
from contracts.pages.limits import NAME_MAX, Gas, PageLimits
from contracts.pages.paying import Payer
from contracts.pages.plan import Plan, complete
from contracts.pages.pruning import pruned
from contracts.pages.reading import PageTree, read_page
from contracts.pages.releases import DatasetRead
from contracts.pages.tables import DatasetSchema, Tables
from contracts.pages.tracer import Tracer
from contracts.pages.types import COLUMN_KINDS


def page_hash(source: str) -> bytes:
    """Return the 32-byte hash of a page's text."""
    return digest("assent/pages/page", source.encode())


def trace(
    source: str,
    schemas: Mapping[str, DatasetSchema] | None = None,
    limits: PageLimits | None = None,
    payer: Payer | None = None,
    name: str = "page.py",
) -> Plan:
    """Return the plan of a page; raise PageRefused with code, line and remedy, or OutOfGas.

    `schemas` has what is registered of each parameter of `run`; without them columns may be of any kind, and
    each parameter counts as an owner of its own. The payer, by default a meter of `limits.gas`, pays before
    each step.
    """
    limits = limits or PageLimits()
    payer = payer or Gas(limits.gas)
    page = read_page(source, name, payer)
    _check_schemas(page, schemas, name)
    build = Builder(payer, limits, len(page.datasets))
    tracer = Tracer(page, build, Tables(build, page.datasets, schemas))
    try:
        tracer.trace()
    except Misplaced as found:
        raise PageRefused(name, [found.diagnostic]) from None
    datasets = [DatasetRead(each, schemas[each].owner if schemas else each) for each in page.datasets]
    return _complete(source, tracer, datasets, limits, name)


def _complete(
    source: str, tracer: Tracer, datasets: list[DatasetRead], limits: PageLimits, name: str
) -> Plan:
    page, build = tracer.page, tracer.build
    try:
        graph, asked = pruned(build.graph, tracer.asked, build.payer)
        plan = complete(page_hash(source), datasets, graph, asked, build.payer)
        if len(plan.data) > limits.plan_bytes:
            raise Unfit(
                "PLAN_SIZE",
                f"a plan of {len(plan.data)} bytes, at most {limits.plan_bytes}",
                "repeat(n), or stack([…])",
            )
    except Unfit as unfit:
        place: ast.AST = page.functions["run"]
        if unfit.release is not None:
            place = tracer.place_of(unfit.release)
        raise PageRefused(name, [unfit.at(place)]) from None
    return plan


def _check_schemas(page: PageTree, schemas: Mapping[str, DatasetSchema] | None, name: str) -> None:
    run = page.functions["run"]
    found = [
        Diagnostic(
            "DATASET",
            run.lineno,
            arg.col_offset + 1,
            f"a dataset's name of {len(arg.arg)} characters",
            "less",
        )
        for arg in run.args.args
        if len(arg.arg) > NAME_MAX
    ]
    for arg in run.args.args:
        schema = None if schemas is None else schemas.get(arg.arg)
        if schemas is not None and schema is None:
            given = ", ".join(sorted(schemas)) or "none"
            reason = f"no dataset is given for {arg.arg}"
            found.append(
                Diagnostic("DATASET", arg.lineno, arg.col_offset + 1, reason, f"one of those given: {given}")
            )
        wrong = next(
            (kind for kind in (schema.columns.values() if schema else ()) if kind not in COLUMN_KINDS), None
        )
        if wrong is not None:
            reason = f"{arg.arg} has a column of type {wrong!r}"
            found.append(
                Diagnostic("DATASET", arg.lineno, arg.col_offset + 1, reason, ", ".join(COLUMN_KINDS))
            )
    if found:
        raise PageRefused(name, found)
