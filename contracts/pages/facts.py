"""What the ledger says of a page: the facts that follow of its plan, as values that contracts hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from chain.primitives.values import Value, encode_value
from contracts.language.faults import Diagnostic
from contracts.pages.charges import booked, said_of, unsized, wanted
from contracts.pages.cost import Cost
from contracts.pages.faults import PageRefused, Unfit
from contracts.pages.leakage import size_names
from contracts.pages.limits import (
    FACTS_BYTES_MAX,
    GAS_COST,
    GAS_FACT,
    PAGES,
    PARAMETER_ITEMS_MAX,
)
from contracts.pages.page import Traced, trace_whole
from contracts.pages.parameters import as_value
from contracts.pages.paying import Payer
from contracts.pages.plan import Plan
from contracts.pages.releases import SHARES, Release, least_constraint
from contracts.pages.sensitivity import greatest
from contracts.pages.tables import DatasetSchema

_SAYS_MAX = 1_024
"""Characters of a page's docstring among its facts."""
SINGLE_USE: Mapping[str, str] = {
    "join-only": "join",
    "encrypted-only": "encrypted",
    "compare-only": "compare",
    "aggregate-only": "noisy",
    "exact-aggregate": "aggregate",
    "plain": "plain",
}
"""The use that stands for all uses of a column which a constraint covers, as job specs have it."""


def brief_facts(
    source: str, datasets: Value, parameters: Value, payer: Payer, initiator: str = ""
) -> dict[str, Value]:
    """Return what a job of an initiator under a page is held against; raise PageRefused, or OutOfGas.

    `{page, plan: hashes, uses: {dataset: {column: use}}, receivers: [org], profiles: [name], membership:
    {dataset: [org]}, charges: {dataset: {epsilon, delta, rho, figures: {column: number}}}}`; `datasets` as in
    `schemas_of`, units of charges as in `charges.py`.
    """
    return stated_facts(source, datasets, parameters, payer, initiator)[0]


def stated_facts(
    source: str, datasets: Value, parameters: Value, payer: Payer, initiator: str = ""
) -> tuple[dict[str, Value], str]:
    """Return `brief_facts`, and who learns what in words."""
    traced = trace_whole(
        source,
        schemas_of(datasets),
        payer=payer,
        parameters=parameters_of(parameters),
        initiator=initiator,
    )
    return brief_of(traced, payer, datasets != []), traced.plan.leakage


def whole_facts(source: str, datasets: Value, parameters: Value, payer: Payer) -> dict[str, Value]:
    """Return all that follows, besides what `brief_facts` says; at most FACTS_BYTES_MAX when encoded."""
    traced = trace_whole(source, schemas_of(datasets), payer=payer, parameters=parameters_of(parameters))
    plan = traced.plan
    payer.charge(GAS_COST * len(plan.graph))
    payer.charge(GAS_FACT * sum(4 + len(one.columns) + len(one.keys) for one in plan.releases))
    said = size_names(plan.graph, plan.datasets)
    facts = brief_of(traced, payer, False) | {
        "pages": PAGES,
        "says": traced.says[:_SAYS_MAX],
        "datasets": [each.name for each in plan.datasets],
        "parameters": {name: as_value(value) for name, value in traced.parameters.items()},
        "nodes": len(plan.graph),
        "bytes": len(plan.data),
        "releases": [_release(plan, one, said) for one in plan.releases],
        "leakage": plan.leakage,
        "cost": {one.profile: _cost(one, said) for one in plan.cost},
    }
    size = len(encode_value(facts))
    if size > FACTS_BYTES_MAX:
        reason = f"facts of {size} bytes follow of this page, at most {FACTS_BYTES_MAX}"
        raise _refused(Unfit("FACTS", reason, "fewer releases, or fewer columns, by its defaults"))
    return facts


def brief_of(traced: Traced, payer: Payer, registered: bool = True) -> dict[str, Value]:
    """Return what `brief_facts` says of a page that is traced already.

    Without `registered` schemas, charges have formulas of what is not known yet (`charges.said_of`). With
    them, raise PageRefused (DOMAIN_NOT_REGISTERED), at the release, where noise or an account needs a domain
    that is not registered.
    """
    plan = traced.plan
    payer.charge(GAS_FACT * (4 + len(plan.uses)))
    uses: dict[tuple[str, str], set[str]] = {}
    for use in plan.uses:
        uses.setdefault((use.dataset, use.column), set()).add(use.use)
    found: dict[str, Value] = {each.name: {} for each in plan.datasets}
    for (dataset, column), several in sorted(uses.items()):
        found[dataset][column] = SINGLE_USE[least_constraint(sorted(several))]
    return {
        "page": plan.page_hash,
        "plan": plan.hash,
        "uses": found,
        "receivers": sorted({one.receiver for one in plan.releases} - {SHARES}),
        "profiles": [*plan.profiles],
        "membership": dict(plan.membership),
        "charges": charges_said(traced, payer) if registered else charges_as_formulas(plan, payer),
    }


def charges_as_formulas(plan: Plan, payer: Payer) -> dict[str, Value]:
    """Return what a plan takes of accounts, where sizes are not known yet (`charges.said_of`)."""
    payer.charge(GAS_FACT * sum(4 + len(one.columns) for one in plan.releases))
    said = size_names(plan.graph, plan.datasets)
    return {name: said_of(charge, said) for name, charge in plan.charges.items()}


def charges_said(traced: Traced, payer: Payer) -> dict[str, Value]:
    """Return what a plan takes of accounts in numbers; raise PageRefused for what is not registered."""
    plan = traced.plan
    payer.charge(GAS_FACT * sum(4 + len(one.columns) for one in plan.releases))
    said = size_names(plan.graph, plan.datasets)
    for place, one in enumerate(plan.releases):
        try:
            for atom in one.noise_on:
                payer.charge(GAS_FACT * (len(plan.graph.columns) + len(atom.parts)))
                greatest(plan.graph, plan.datasets, atom)
        except Unfit as unfit:
            unfit.release = place
            raise traced.refused(unfit) from None
    try:
        for atom in [inside.atom for inside in plan.noised]:
            payer.charge(GAS_FACT * (len(plan.graph.columns) + len(atom.parts)))
            greatest(plan.graph, plan.datasets, atom)
        return {name: booked(charge, said) for name, charge in plan.charges.items()}
    except Unfit as unfit:
        unfit.release = unsized(plan.releases)
        raise traced.refused(unfit) from None


def wanted_of(traced: Traced) -> list[tuple[int, str]]:
    """Return (line, what) of all that jobs need registered and that no schema tells here."""
    plan = traced.plan
    found = wanted(
        plan.graph, plan.datasets, plan.releases, plan.noised, size_names(plan.graph, plan.datasets)
    )
    return [(traced.line_of(place), what) for place, what in found]


def _release(plan: Plan, one: Release, said: Callable[[str], str]) -> dict[str, Value]:
    def names(columns: Sequence[int]) -> list[Value]:
        reads = [plan.graph.columns[column] for column in columns]
        return [[plan.datasets[read.dataset].name, read.column] for read in reads]

    return {
        "receiver": one.receiver,
        "name": one.name,
        "kind": one.kind,
        "noise": [one.mechanism, one.epsilon, one.delta] if one.mechanism else [],
        "cells": one.cells.text(said),
        "figures": one.figures.text(said),
        "columns": names(sorted({*one.columns, *one.noised})),
        "chosen_by": names(one.keys),
        "membership": one.membership,
    }


def _cost(cost: Cost, said: Callable[[str], str]) -> dict[str, Value]:
    return {
        "rounds": cost.rounds.text(said),
        "sent": cost.sent.text(said),
        "memory": cost.memory.text(said),
    }


# --- what contracts give ---------------------------------------------------------------------------------


def schemas_of(datasets: Value) -> dict[str, DatasetSchema] | None:
    """Read `[{name, owner, key: [column], columns: {name: [type, categories, bins, low, high, missing]}}]`.

    `categories` and `bins` count those that are registered, 0 for none; `low` and `high` are texts or None,
    `missing` is the rule for missing cells. Return None for []; raise PageRefused for anything else.
    """
    if datasets == []:
        return None
    found: dict[str, DatasetSchema] = {}
    for item in datasets if type(datasets) is list else [None]:
        if type(item) is not dict or {*item} != {"columns", "key", "name", "owner"} or item["name"] in found:
            raise _refused(Unfit("DATASET", "a dataset is not given as it is registered", "each name once"))
        columns = item["columns"]
        found[item["name"]] = DatasetSchema(
            item["owner"],
            {name: declared[0] for name, declared in columns.items()},
            tuple(item["key"]),
            {name: declared[1] for name, declared in columns.items() if declared[1]},
            {name: declared[2] for name, declared in columns.items() if declared[2]},
            {name: (declared[3], declared[4]) for name, declared in columns.items()},
            frozenset(name for name, declared in columns.items() if declared[5] == "mean"),
        )
    return found


def parameters_of(parameters: Value) -> dict[str, object]:
    """Return public parameters by name, as `trace` takes them; raise PageRefused for anything else."""
    if type(parameters) is not dict or any(type(name) is not str for name in parameters):
        raise _refused(Unfit("PARAMETER", "parameters are no dict of names", f"up to {PARAMETER_ITEMS_MAX}"))
    return dict(parameters)


def _refused(unfit: Unfit) -> PageRefused:
    return PageRefused("page.py", [Diagnostic(unfit.rule, 1, 1, str(unfit), unfit.instead)])
