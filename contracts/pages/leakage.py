"""The leakage statement of a plan, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from contracts.pages.graph import Graph
from contracts.pages.labels import bits_of
from contracts.pages.mechanisms import DRAWN
from contracts.pages.membership import membership_of
from contracts.pages.noised import NoisedSum
from contracts.pages.numbers import plain_text, read_number
from contracts.pages.releases import USES, DatasetRead, Derived, Release, least_constraint

_KINDS = {
    "rows": "cells of single rows ({cells})",
    "bits": "bits of single rows ({cells})",
    "membership": "which rows belong ({cells})",
    "count": "counts ({cells})",
    "sum": "figures that follow from unweighted sums and counts ({cells})",
    "figure": "other figures ({cells})",
    "shares": "nothing, it stays shares ({cells})",
}

_PARTS = {
    "join": "joins",
    "encrypted": "what stays shares",
    "noisy": "figures with noise",
    "compare": "counts of comparisons",
    "aggregate": "exact counts and sums",
    "plain": "exact figures of any form",
}
"""Use of a column -> what it has a part in."""
_OF_DIFFERENCES = (
    "Exact counts and sums of groups of rows that differ by fewer rows than the minimum group are not shown"
    " beside one another, nor are figures of which a sum or difference rests on so few."
)
_OF_EXACT = (
    "Exact counts and sums hide what one row holds only from somebody who knows the totals and fewer than"
    " half as many members of a group as the minimum group asks for."
)
_OF_PLAIN = (
    "Exact figures that need plain of a column may tell single cells of it, to whoever receives them; nothing"
    " hides these: {columns}."
)
_OF_NOISE = (
    "Figures with noise hide it from everybody: whatever else somebody knows, an epsilon of e makes no guess"
    " about one row's values of one owner more than exp(e) times as likely, a chance of delta aside; epsilons"
    " of several figures add up."
)
_TOLD = "Which rows are joined is told by the releases above that say so."
_UNTOLD = "Which rows are joined is told by no release."
_BY_JOINING = (
    "Joining tells everybody in a job how many rows each join has, and every owner of joined data which of"
    " its own rows these are and how many rows each of the others brings. Owners that work together learn no"
    " more of anybody else's rows, under dh-psi as under every profile. An owner that brings ids which it"
    " does not rightly hold learns whether all the others hold them."
)
_OF_SUBSETS = (
    "Of joins of three or more, one of the owners, which neither asked for the job nor receives of it if"
    " there is such a one, and whoever works with it, also learns how many rows each subset of the owners"
    " shares, but not which."
)
_OF_AIDED = (
    "Under rep3, a join of two owners is aided by a third party that holds none of the joined data, did not"
    " ask for the job and receives nothing of it, if there is one. It compares keyed digests of their ids, so"
    " it also learns how many rows each of them brings, but no id and not which rows are joined. If it works"
    " together with one of the two, they can test guesses against all ids of the other."
)
"""What joins tell (privcompute/mpc/protocols, psi.py and aided.py)."""


def size_names(graph: Graph, datasets: Sequence[DatasetRead]) -> Callable[[str], str]:
    """Return what names a size for a reader."""

    def said(size: str) -> str:
        kind, _, place = size.partition(":")
        if kind == "n" and place.startswith("join"):
            return f"rows of {place}"
        if kind == "n":
            return f"rows of {'+'.join(datasets[int(part)].name for part in place.split('+'))}"
        read = graph.columns[int(place)]
        return f"{'categories' if kind == 'k' else 'bins'} of {datasets[read.dataset].name}.{read.column}"

    return said


def statement(graph: Graph, datasets: Sequence[DatasetRead], derived: Derived) -> str:
    """Return who learns what: lines for releases, what hides a row in them, joins, then each column."""
    said = size_names(graph, datasets)

    def listed(columns: Sequence[int]) -> str:
        reads = [graph.columns[column] for column in columns]
        return ", ".join(f"{datasets[read.dataset].name}.{read.column}" for read in reads)

    lines = [_of_release(release, said, listed) for release in derived.releases]
    lines += [_of_noised(one, listed) for one in derived.noised]
    lines += _of_exact(derived)
    noisy = derived.noised or any(release.mechanism for release in derived.releases)
    lines += [_OF_NOISE] if noisy else []
    joined = [
        len({graph.cells[key].shape for key in graph.args[node]})
        for node in range(len(graph))
        if graph.name(node) == "join"
    ]
    if joined:
        shown = any(release.membership for release in derived.releases)
        lines += [_TOLD if shown else _UNTOLD, _BY_JOINING]
        lines += [_OF_SUBSETS] if max(joined) > 2 else []
        lines += [_OF_AIDED] if min(joined) == 2 else []
        told = membership_of(graph, datasets, derived.releases)
        lines += [
            f"Which rows of {name} are joined is learnt by {', '.join(orgs)}."
            for name, orgs in told.items()
            if orgs
        ]
    return "\n".join([*lines, *_of_columns(derived)])


def _of_noised(one: NoisedSum, listed: Callable[[Sequence[int]], str]) -> str:
    """Say what a sum that gets noise inside the computation takes, whatever becomes of it."""
    often = f" in each of {one.turns} turns" if one.turns > 1 else ""
    delta = f", delta {plain_text(read_number(one.delta))}" if one.delta else ""
    together = " for all of them together" if one.turns > 1 else ""
    return (
        f"Noise is drawn inside the computation{often}, on sums of {listed(bits_of(one.columns))}:"
        f" {one.mechanism}, epsilon {plain_text(read_number(one.epsilon))}{delta}{together}."
    )


def _of_exact(derived: Derived) -> list[str]:
    """Say what hides a row in figures without noise: sums and counts have a form, plain figures have none."""
    bare = [use for use in derived.uses if use.use == "plain" and _is_exact(derived.releases[use.release])]
    plain = {use.release for use in bare}
    formed = any(_is_exact(one) and place not in plain for place, one in enumerate(derived.releases))
    columns = ", ".join(sorted({f"{use.dataset}.{use.column}" for use in bare}))
    said = [_OF_DIFFERENCES, _OF_EXACT] if formed else []
    return said + ([_OF_PLAIN.format(columns=columns)] if columns else [])


def _is_exact(release: Release) -> bool:
    """Tell whether a release is of figures without noise."""
    return release.kind in ("count", "sum", "figure") and not release.mechanism


def _of_release(release: Release, said: Callable[[str], str], listed: Callable[[Sequence[int]], str]) -> str:
    what = _KINDS[release.kind].format(cells=release.cells.text(said))
    text = f"{release.receiver or 'Nobody'} learns {release.name}: {what}"
    if release.columns:
        text += f"; of {listed(release.columns)}"
    if release.keys:
        text += f"; rows chosen by {listed(release.keys)}"
    if release.identifiers:
        text += f"; over rows joined by {listed(release.identifiers)}"
    if release.membership:
        text += "; it tells which rows are joined"
    if release.noised:
        text += f"; of sums with noise inside the computation of {listed(release.noised)}"
    if release.mechanism in DRAWN:
        text += f"; {release.mechanism} noise, epsilon {plain_text(read_number(release.epsilon))}"
        text += f", delta {plain_text(read_number(release.delta))}" if release.delta else ""
        several = (
            f"split over {len(release.noise_on)} sums and counts"
            if len(release.noise_on) > 1
            else "on one sum or count"
        )
        text += f", {several}, which it learns with noise"
    elif _is_exact(release):
        text += f"; exact, booked by number: {release.figures.text(said)} for each column"
    return text + "."


def _of_columns(derived: Derived) -> list[str]:
    wanted: dict[tuple[str, str], list[str]] = {}
    for use in derived.uses:
        wanted.setdefault((use.dataset, use.column), []).append(use.use)
    return [
        f"{dataset}.{column} has a part in {_parts_of(uses)}: a grant needs {least_constraint(uses)}."
        for (dataset, column), uses in sorted(wanted.items())
    ]


def _parts_of(uses: Sequence[str]) -> str:
    return " and ".join([_PARTS[use] for use in USES if use in uses])
