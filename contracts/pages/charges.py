"""What releases take from the accounts of the datasets whose columns have a part in them.

A release with noise takes its whole epsilon from each of them: one row's values of one owner's columns are
replaced, whoever else has a part in it. An exact one takes figures from each column: as many as the counts
and sums that it follows from have numbers, or, of a column that it needs as `plain`, as many as leave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from contracts.pages.faults import Unfit
from contracts.pages.formulas import Formula, cells_of, whole
from contracts.pages.graph import Graph
from contracts.pages.limits import LAPLACE_DELTA
from contracts.pages.numbers import read_number
from contracts.pages.releases import ColumnUse, DatasetRead, Release
from contracts.pages.zcdp import RHO_UNIT, rho_of_gaussian, rho_of_laplace

EPSILON_UNIT, DELTA_UNIT = 10**9, 10**18
"""Units of what is charged, in one."""
_NONE = whole(0)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a plan takes from the account of one dataset."""

    epsilon: int = 0
    """In 10^-9, rounded up for each release."""
    rho: int = 0
    """In 10^-18, rounded up for each release."""
    delta: Formula = _NONE
    """In 10^-18, rounded up for each release."""
    figures: Mapping[str, Formula] = field(default_factory=dict)
    """By column."""


def charges_of(
    graph: Graph, datasets: Sequence[DatasetRead], releases: Sequence[Release], uses: Sequence[ColumnUse]
) -> dict[str, Charge]:
    """Return the charge of each dataset of a plan, by its name."""
    found = {dataset.name: Charge() for dataset in datasets}
    plain = {(use.release, use.dataset, use.column) for use in uses if use.use == "plain"}
    for place, release in enumerate(releases):
        if release.mechanism:
            epsilon, rho, delta = _spent(graph, release)
            for dataset in _with_part(graph, release):
                name = datasets[dataset].name
                before = found[name]
                found[name] = Charge(
                    before.epsilon + epsilon, before.rho + rho, before.delta + delta, before.figures
                )
        elif release.kind in ("count", "sum", "figure"):
            for column in release.columns:
                read = graph.columns[column]
                name = datasets[read.dataset].name
                single = (place, name, read.column) in plain
                _add_figures(found, name, read.column, release.cells if single else release.figures)
    return found


def _add_figures(found: dict[str, Charge], name: str, column: str, figures: Formula) -> None:
    before = found[name]
    more = dict(before.figures)
    more[column] = more.get(column, _NONE) + figures
    found[name] = Charge(before.epsilon, before.rho, before.delta, more)


def _with_part(graph: Graph, release: Release) -> list[int]:
    """Return the datasets whose columns have a part: as values, else as identifiers, else by their rows."""
    columns = release.columns or release.identifiers
    if columns:
        return sorted({graph.columns[column].dataset for column in columns})
    named = [part for rows in release.rows for part in rows.removeprefix("n:").split("+")]
    return sorted({int(part) for part in named})


def _spent(graph: Graph, release: Release) -> tuple[int, int, Formula]:
    """Return (epsilon, rho, delta) of a release with noise, each in its unit."""
    epsilon = read_number(release.epsilon)
    spent = ceil(epsilon * EPSILON_UNIT)
    if release.mechanism == "gaussian":
        delta = read_number(release.delta)
        rho = int(rho_of_gaussian(epsilon, delta) * RHO_UNIT)
        return spent, rho, whole(ceil(delta * DELTA_UNIT))
    numbers = _NONE
    for atom in release.noise_on:
        numbers += cells_of(graph.cells[atom.node].shape)
    return spent, int(rho_of_laplace(epsilon) * RHO_UNIT), numbers.times(ceil(LAPLACE_DELTA * DELTA_UNIT))


def booked(charge: Charge, said: Callable[[str], str]) -> dict[str, int | dict[str, int]]:
    """Return a charge in whole numbers; raise Unfit where a size of its figures is not registered."""
    figures = {name: _number(formula, said) for name, formula in sorted(charge.figures.items())}
    return {
        "epsilon": charge.epsilon,
        "delta": _number(charge.delta, said),
        "rho": charge.rho,
        "figures": figures,
    }


def _number(formula: Formula, said: Callable[[str], str]) -> int:
    try:
        return formula.value({})
    except KeyError as unknown:
        reason = f"{said(str(unknown.args[0]))} are not registered, and the account is charged by them"
        instead = "a version whose schema declares categories or edges of that column, or bins(x, edges=[…])"
        raise Unfit("DOMAIN_NOT_REGISTERED", reason, instead) from None


def said_of(charge: Charge, said: Callable[[str], str]) -> dict[str, int | str | dict[str, str]]:
    """Return a charge for readers who do not know all sizes yet: numbers that depend on them as formulas."""
    return {
        "epsilon": charge.epsilon,
        "delta": charge.delta.text(said),
        "rho": charge.rho,
        "figures": {name: formula.text(said) for name, formula in sorted(charge.figures.items())},
    }
