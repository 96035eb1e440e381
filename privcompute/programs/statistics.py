"""`joint-statistics`: figures over the rows that several owners share.

A figure of one owner's column over the joined rows (mean, quantile, …) needs nothing of the others but the
join, so its owner computes it exactly and shares the figure alone, one secret instead of a column; like
every output it stays shared until the reveal. Figures across owners (correlations, groups) and the decision
which groups are large enough to be shown are computed on shares. Errors: figures are rounded to 2^-17;
correlations to 2^-14; counts and sums of whole numbers are exact, sums of reals within rows · 2^-17.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.values import Value
from privcompute.errors import OutOfRange, PeerMisbehaved
from privcompute.mpc.engine import Engine
from privcompute.mpc.protocols.psi import PSI_LEAKAGE
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.mpc.rounds import Steps, parallel
from privcompute.mpc.sharing import Shared, stack
from privcompute.programs.base import (
    Context,
    InputColumn,
    JobProgram,
    Outputs,
    announce,
    find_column,
    need_rows,
    split_reference,
)
from privcompute.programs.encoding import CATEGORIES_MAX, one_hot
from privcompute.programs.statistics_parameters import (
    FIGURE_BOUND,
    ONE,
    PROGRAM_ID,
    StatisticsParameters,
    check_statistics,
    declared_categories,
    histogram_edges,
    judge,
    least_rows,
    own_categories,
)
from privcompute.programs.statistics_result import statistics_value
from privcompute.programs.suppression import shown_groups

_FIGURES: Mapping[str, Callable[[NDArray[np.float64]], Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "variance": np.var,
    "std": np.std,
    "min": np.min,
    "max": np.max,
}


LEAKAGE = (
    "Receivers learn the requested figures, the number of joined rows, the categories of the columns that "
    "groups are formed by, and which groups and bins were suppressed. A group or bin with fewer rows than "
    "the minimum is suppressed inside the computation; so is the smallest other one when the suppressed rows "
    "together would still be fewer than the minimum. min, max and quantiles show cells of single rows and "
    "need the use 'plain'. Several jobs over overlapping rows can be subtracted from one another; quotas "
    "bound how many there are. All participants learn the number of joined rows and those categories. The "
    "join leaks this: " + PSI_LEAKAGE
)


class _Owner:
    """Finds who owns a column, and this party's own cells of it."""

    def __init__(self, engine: Engine, context: Context) -> None:
        self.me = engine.me
        self.context = context

    def party(self, reference: str) -> int:
        """Return the party that owns a column."""
        return find_column(self.context.inputs, reference)[0].owner

    def cells(self, reference: str) -> NDArray[Any] | None:
        """Return this party's cells in the canonical order, None when another party owns the column."""
        if self.party(reference) != self.me:
            return None
        dataset, name = split_reference(reference)
        return self.context.own[dataset].aligned(name)

    def reals(self, reference: str) -> NDArray[np.float64] | None:
        """Like `cells`, as reals."""
        cells = self.cells(reference)
        return None if cells is None else cells.astype(np.float64)


def _run(engine: Engine, context: Context) -> Steps[Outputs]:
    parameters: StatisticsParameters = context.parameters
    least = max(context.min_group, parameters.min_group)
    need_rows(context, least_rows(parameters, context.min_group), "statistics with this minimum group")
    owner = _Owner(engine, context)
    shared: dict[str, Shared] = {}
    total = len(parameters.correlations) + len(parameters.histograms) + len(parameters.groups) + 1
    context.progress("statistics", 0, total)
    shared |= yield from _describe(engine, owner, parameters)
    shared |= yield from _correlate(engine, owner, parameters)
    context.progress("statistics", 1 + len(parameters.correlations), total)
    shared |= yield from _histograms(engine, owner, parameters, least)
    labels = yield from _announce_categories(engine, owner, parameters)
    context.progress("statistics", total - len(parameters.groups), total)
    shared |= yield from _groups(engine, owner, parameters, labels, least)
    context.progress("statistics", total, total)
    return Outputs(shared, _public(parameters, context, least, labels))


def _describe(engine: Engine, owner: _Owner, parameters: StatisticsParameters) -> Steps[dict[str, Shared]]:
    """Share each column's figures as integers in units of 2^-16, computed by its owner."""
    size = len(parameters.statistics) + len(parameters.quantiles)
    steps = [
        engine.share(
            owner.party(reference),
            _figures(owner.reals(reference), parameters, reference),
            (size,),
            name=f"figures of {reference}",
        )
        for reference in parameters.columns
    ]
    shared = yield from parallel(*steps)
    return {f"column{index}": value for index, value in enumerate(shared)}


def _figures(
    cells: NDArray[np.float64] | None, parameters: StatisticsParameters, reference: str
) -> NDArray[np.int64] | None:
    if cells is None:
        return None
    figures = [float(_FIGURES[name](cells)) for name in parameters.statistics]
    if parameters.quantiles:
        figures += np.quantile(cells, [float(level) for level in parameters.quantiles]).tolist()
    if not all(abs(figure) < FIGURE_BOUND for figure in figures):
        raise OutOfRange(f"column {reference}: a figure is beyond 2^46; rescale the column")
    return np.array([round(figure * ONE) for figure in figures], np.int64)


def _correlate(engine: Engine, owner: _Owner, parameters: StatisticsParameters) -> Steps[dict[str, Shared]]:
    """Return Pearson's r of each pair, within 2^-14; 0 for a constant column.

    It is the mean product of the two columns, which their owners standardised.
    """
    names = sorted({reference for pair in parameters.correlations for reference in pair})
    rows = owner.context.rows
    columns = yield from parallel(
        *[
            engine.share(
                owner.party(name), _standardised(owner.reals(name)), (rows,), FRACTION_BITS, name=name
            )
            for name in names
        ]
    )
    by_name = dict(zip(names, columns, strict=True))
    sums = yield from parallel(
        *[engine.dot(by_name[left], by_name[right]) for left, right in parameters.correlations]
    )
    if not sums:
        return {}
    # In units of 2^-16, because 1 / rows alone would be rounded too coarsely.
    return {"correlations": (yield from engine.scale(stack(list(sums)), ONE / rows))}


def _standardised(cells: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    if cells is None:
        return None
    deviation = cells.std()
    return (cells - cells.mean()) / deviation if deviation > 0 else np.zeros(len(cells))


def _histograms(
    engine: Engine, owner: _Owner, parameters: StatisticsParameters, least: int
) -> Steps[dict[str, Shared]]:
    shared: dict[str, Shared] = {}
    for index, histogram in enumerate(parameters.histograms):
        cells = owner.reals(histogram.column)
        edges = [float(edge) for edge in histogram_edges(owner.context.inputs, histogram)]
        own = None if cells is None else np.histogram(cells, edges)[0]
        counts = yield from engine.share(owner.party(histogram.column), own, (len(edges) - 1,))
        shown = yield from shown_groups(engine, counts, least)
        shared[f"histogram{index}.shown"] = shown
        shared[f"histogram{index}.counts"] = yield from engine.mul(shown, counts)
    return shared


def _announce_categories(
    engine: Engine, owner: _Owner, parameters: StatisticsParameters
) -> Steps[dict[str, tuple[str, ...]]]:
    """Return the categories of every column that groups are formed by, as its owner announces them."""
    columns = sorted({group.by for group in parameters.groups})
    if not columns:
        return {}
    inputs = owner.context.inputs
    mine: dict[str, Value] = {}
    for reference in columns:
        item, column = find_column(inputs, reference)
        if item.owner == engine.me:
            whole = owner.context.own[item.dataset].columns
            mine |= own_categories(whole, [(reference, column)], parameters.min_category_rows)
    announced = yield from announce(engine, sorted({owner.party(name) for name in columns}), mine)
    return {
        name: _categories(announced[owner.party(name)], owner.party(name), name, find_column(inputs, name)[1])
        for name in columns
    }


def _categories(value: Value, party: int, reference: str, column: InputColumn) -> tuple[str, ...]:
    labels = value.get(reference) if type(value) is dict else None
    labels = labels if type(labels) is list and all(type(label) is str for label in labels) else []
    if declared_categories(column) not in ((), tuple(labels)):
        labels = []
    if 1 <= len(labels) <= CATEGORIES_MAX + 1 and len(set(labels)) == len(labels):
        return tuple(labels)
    raise PeerMisbehaved(party, f"party {party} announced no usable categories of {reference}")


def _groups(
    engine: Engine,
    owner: _Owner,
    parameters: StatisticsParameters,
    labels: Mapping[str, tuple[str, ...]],
    least: int,
) -> Steps[dict[str, Shared]]:
    shared: dict[str, Shared] = {}
    hot: dict[str, Shared] = {}
    shown: dict[str, Shared] = {}
    for by, listed in labels.items():
        cells = owner.cells(by)
        own = None if cells is None else one_hot(cells, listed)
        shape = (owner.context.rows, len(listed))
        hot[by] = yield from engine.share(owner.party(by), own, shape, name=by, bound=2.0)
        shown[by] = yield from shown_groups(engine, hot[by].sum(0), least)
    for index, group in enumerate(parameters.groups):
        shared[f"group{index}.shown"] = shown[group.by]
        shared[f"group{index}.counts"] = yield from engine.mul(shown[group.by], hot[group.by].sum(0))
        if group.of is not None:
            values = yield from _share_exactly(engine, owner, group.of)
            sums = yield from engine.matmul(hot[group.by].T, values)
            shared[f"group{index}.sums"] = yield from engine.mul(shown[group.by], sums)
    return shared


def _share_exactly(engine: Engine, owner: _Owner, reference: str) -> Steps[Shared]:
    """Share a numeric column as integers in units of 2^-16, small enough that no sum of rows can wrap."""
    cells, rows = owner.reals(reference), owner.context.rows
    own = None if cells is None else np.rint(cells * ONE)
    bound = 2.0**61 / rows
    return (
        yield from engine.share(
            owner.party(reference), own, (rows,), name=f"{reference} in units of 2^-16", bound=bound
        )
    )


def _public(
    parameters: StatisticsParameters, context: Context, least: int, labels: Mapping[str, tuple[str, ...]]
) -> Value:
    return {
        "rows": context.rows,
        "min_group": least,
        "columns": list(parameters.columns),
        "figures": [*parameters.statistics, *[f"quantile {level}" for level in parameters.quantiles]],
        "correlations": [list(pair) for pair in parameters.correlations],
        "histograms": [
            {"column": item.column, "edges": [str(edge) for edge in histogram_edges(context.inputs, item)]}
            for item in parameters.histograms
        ],
        "groups": [
            {"by": item.by, "of": item.of, "categories": list(labels[item.by])} for item in parameters.groups
        ],
    }


PROGRAM = JobProgram(
    id=PROGRAM_ID,
    kind="mpc",
    version=1,
    summary="Private join, then statistics over columns of different owners.",
    leakage=LEAKAGE,
    uses=("join", "aggregate", "plain"),
    profiles=("rep3",),
    parameters=StatisticsParameters,
    output="joint-statistics/1",
    output_fields={
        "rows": "rows that all owners hold",
        "min_group": "smallest group shown",
        "columns": "figures of each column",
        "correlations": "Pearson's r of each pair",
        "histograms": "counts between the edges; null where suppressed",
        "groups": "count, sum and mean by category; suppressed where too small",
    },
    sources=(
        "programs/statistics.py",
        "programs/statistics_parameters.py",
        "programs/statistics_result.py",
        "data/literals.py",
        "programs/preflight.py",
        "programs/encoding.py",
        "programs/suppression.py",
        "programs/join.py",
    ),
    checker=check_statistics,
    least_rows=least_rows,
    judge=judge,
    run=_run,
    finish=statistics_value,
)
