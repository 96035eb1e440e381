"""What releases take from the accounts of the datasets whose columns have a part in them.

A release with noise takes its whole epsilon from each of them: one row's values of one owner's columns are
replaced, whoever else has a part in it. So does a sum that gets noise inside the computation, in all its
turns together, whatever becomes of it; what follows from it alone takes nothing more. An exact release takes
figures from each column: as many as the counts and sums that it follows from have numbers, or, of a column
that it needs as `plain`, as many as leave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from contracts.pages.faults import Unfit
from contracts.pages.formulas import Formula, cells_of, whole
from contracts.pages.graph import Graph
from contracts.pages.labels import bits_of
from contracts.pages.limits import LAPLACE_DELTA
from contracts.pages.mechanisms import DRAWN
from contracts.pages.noised import NoisedSum
from contracts.pages.numbers import read_number
from contracts.pages.releases import ColumnUse, DatasetRead, Release
from contracts.pages.spreads import Domain
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
    graph: Graph,
    datasets: Sequence[DatasetRead],
    releases: Sequence[Release],
    uses: Sequence[ColumnUse],
    noised: Sequence[NoisedSum],
) -> dict[str, Charge]:
    """Return the charge of each dataset of a plan, by its name."""
    found = {dataset.name: Charge() for dataset in datasets}
    for one in noised:
        numbers = cells_of(graph.cells[one.node].shape).times(one.turns)
        spent = _spent(one.mechanism, one.epsilon, one.delta, numbers, one.turns)
        parts = sorted({graph.columns[column].dataset for column in bits_of(one.columns)})
        _add_spent(found, [datasets[part].name for part in parts], spent)
    plain = {(use.release, use.dataset, use.column) for use in uses if use.use == "plain"}
    for place, release in enumerate(releases):
        if release.mechanism in DRAWN:
            numbers = _NONE
            for atom in release.noise_on:
                numbers += cells_of(graph.cells[atom.node].shape)
            spent = _spent(release.mechanism, release.epsilon, release.delta, numbers)
            _add_spent(found, [datasets[part].name for part in _with_part(graph, release)], spent)
        elif release.mechanism:
            continue
        elif release.kind in ("count", "sum", "figure"):
            for column in release.columns:
                read = graph.columns[column]
                name = datasets[read.dataset].name
                single = (place, name, read.column) in plain
                _add_figures(found, name, read.column, release.cells if single else release.figures)
    return found


def _add_spent(found: dict[str, Charge], names: Sequence[str], spent: tuple[int, int, Formula]) -> None:
    epsilon, rho, delta = spent
    for name in names:
        before = found[name]
        found[name] = Charge(before.epsilon + epsilon, before.rho + rho, before.delta + delta, before.figures)


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


def _spent(
    mechanism: str, epsilon: str, delta: str, numbers: Formula, turns: int = 1
) -> tuple[int, int, Formula]:
    """Return (epsilon, rho, delta) of noise on so many numbers, in all turns together, each in its unit."""
    whole_epsilon = read_number(epsilon)
    spent = ceil(whole_epsilon * EPSILON_UNIT)
    if mechanism == "gaussian":
        rho = int(rho_of_gaussian(whole_epsilon, read_number(delta)) * RHO_UNIT)
        return spent, rho, whole(ceil(read_number(delta) * DELTA_UNIT))
    rho = int(turns * rho_of_laplace(whole_epsilon / turns) * RHO_UNIT)
    return spent, rho, numbers.times(ceil(LAPLACE_DELTA * DELTA_UNIT))


def unsized(releases: Sequence[Release]) -> int | None:
    """Return the first release that has sizes which are not registered; None where all have."""
    charged = [place for place, one in enumerate(releases) if one.kind in ("count", "sum", "figure")]
    sizes = {
        place: {name for product, _ in (*one.figures.parts, *one.cells.parts) for name in product}
        for place, one in enumerate(releases)
    }
    return next((place for place in charged if sizes[place]), None)


def wanted(
    graph: Graph,
    datasets: Sequence[DatasetRead],
    releases: Sequence[Release],
    noised: Sequence[NoisedSum],
    said: Callable[[str], str],
) -> list[tuple[int, str]]:
    """Return (release, what has to be registered) of what jobs need and no schema tells here, each once."""
    found: dict[tuple[int, str], None] = {}
    inside = {part.spread for one in noised for part in one.atom.parts}
    for place, one in enumerate(releases):
        drawn = {part.spread for atom in one.noise_on for part in atom.parts}
        for spread in drawn | inside:
            if isinstance(spread, Domain) and (spread in drawn or spread.column in one.noised):
                read = graph.columns[spread.column]
                found[place, f"low and high of {datasets[read.dataset].name}.{read.column}"] = None
        if one.mechanism or one.kind in ("count", "sum", "figure"):
            names = [name for product, _ in (*one.figures.parts, *one.cells.parts) for name in product]
            found |= {(place, said(name)): None for name in names}
    return sorted(found)


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
