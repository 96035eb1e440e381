"""Tracing a page: from its text to its plan, and back from bytes."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chain.primitives.crypto import digest
from contracts.pages.builder import Builder
from contracts.pages.faults import Misplaced, PageRefused, Unfit
from contracts.pages.limits import DATASETS_MAX, NAME_MAX, Gas, PageLimits
from contracts.pages.parameters import Parameter
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


@dataclass(frozen=True, slots=True)
class Traced:
    """A plan, and what of its page no plan holds."""

    plan: Plan
    says: str
    """The page's docstring."""
    parameters: Mapping[str, Parameter]
    """What the public parameters were."""
    name: str
    """What refusals call the page."""
    places: tuple[ast.AST, ...]
    """Where on the page each release stands."""

    def line_of(self, release: int) -> int:
        """Return the line of the page on which a release stands."""
        return int(getattr(self.places[release], "lineno", 1))

    def refused(self, unfit: Unfit) -> PageRefused:
        """Return the refusal of what is known of the whole plan alone, at the release that it is about."""
        place: ast.AST = ast.Pass()
        if unfit.release is not None:
            place = self.places[unfit.release]
        return PageRefused(self.name, [unfit.at(place)])


def trace(
    source: str,
    schemas: Mapping[str, DatasetSchema] | None = None,
    limits: PageLimits | None = None,
    payer: Payer | None = None,
    name: str = "page.py",
    *,
    parameters: Mapping[str, object] | None = None,
    initiator: str = "",
) -> Plan:
    """Return the plan of a page; raise PageRefused with code, line and remedy, or OutOfGas.

    `schemas` has what is registered of each dataset of `run`, by its name on the page, those of `*name` in
    their order; without them columns may be of any kind, and each dataset counts as an owner of its own.
    `parameters` has values of public parameters (int, Fraction, bool, str, lists of these); defaults stand
    for the others. `initiator` is who asks for the computation, "" for nobody in particular: what it owns
    counts in exact figures as what a receiver owns. The payer, by default a meter of `limits.gas`, pays
    before each step.
    """
    return trace_whole(source, schemas, limits, payer, name, parameters=parameters, initiator=initiator).plan


def trace_whole(
    source: str,
    schemas: Mapping[str, DatasetSchema] | None = None,
    limits: PageLimits | None = None,
    payer: Payer | None = None,
    name: str = "page.py",
    *,
    parameters: Mapping[str, object] | None = None,
    initiator: str = "",
) -> Traced:
    """Return, as `trace`, the plan with docstring and parameters."""
    limits = limits or PageLimits()
    payer = payer or Gas(limits.gas)
    page = read_page(source, name, payer)
    names = page.named(None if schemas is None else [*schemas])
    _check_datasets(page, names, schemas, name)
    build = Builder(payer, limits, len(names))
    tracer = Tracer(page, build, Tables(build, names, schemas), parameters or {})
    try:
        tracer.trace()
    except Misplaced as found:
        raise PageRefused(name, [found.diagnostic]) from None
    datasets = [DatasetRead(each, schemas[each].owner if schemas else each) for each in names]
    plan = _complete(source, tracer, initiator, datasets, limits, name)
    places = tuple([tracer.place_of(place) for place in range(len(plan.asked))])
    return Traced(plan, page.says, tracer.parameters, name, places)


def _complete(
    source: str,
    tracer: Tracer,
    initiator: str,
    datasets: list[DatasetRead],
    limits: PageLimits,
    name: str,
) -> Plan:
    page, build = tracer.page, tracer.build
    kept: list[int] = []
    try:
        graph, asked, kept = pruned(build.graph, tracer.asked, build.payer)
        plan = complete(page_hash(source), initiator, datasets, graph, asked, build.payer)
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
        elif unfit.node is not None:
            place = tracer.noised[kept[unfit.node]]
        raise PageRefused(name, [unfit.at(place)]) from None
    return plan


def _check_datasets(
    page: PageTree, names: Sequence[str], schemas: Mapping[str, DatasetSchema] | None, name: str
) -> None:
    run = page.functions["run"]
    places: dict[str, ast.AST] = {arg.arg: arg for arg in run.args.args}
    found = []
    if not 1 <= len(names) <= DATASETS_MAX:
        reason = f"{len(names)} datasets are given, a page takes 1 to {DATASETS_MAX}"
        found.append(Unfit("DATASET", reason, "fewer datasets").at(run))
    for each in names:
        fault = _dataset_fault(each, schemas)
        if fault is not None:
            found.append(fault.at(places.get(each, run)))
    if found:
        raise PageRefused(name, found)


def _dataset_fault(name: str, schemas: Mapping[str, DatasetSchema] | None) -> Unfit | None:
    if not 0 < len(name) <= NAME_MAX:
        return Unfit("DATASET", f"a dataset's name of {len(name)} characters", f"1 to {NAME_MAX} characters")
    if schemas is None:
        return None
    schema = schemas.get(name)
    if schema is None:
        listed = ", ".join(sorted(schemas)) or "none"
        return Unfit("DATASET", f"no dataset is given for {name}", f"one of those given: {listed}")
    wrong = next((kind for kind in schema.columns.values() if kind not in COLUMN_KINDS), None)
    if wrong is not None:
        return Unfit("DATASET", f"{name} has a column of type {wrong!r}", ", ".join(COLUMN_KINDS))
    return None
