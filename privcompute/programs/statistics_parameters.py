"""Parameters of `joint-statistics`, and what they ask of the inputs and of each owner's own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from chain.primitives.settings import within
from chain.primitives.values import Value
from privcompute.data.literals import MISSING
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.programs.base import (
    ColumnReference,
    ColumnReferences,
    Finding,
    InputColumn,
    InputRefused,
    JobInput,
    OwnTable,
    Parameters,
    decimal_within,
    find_column,
    need_join,
    need_numeric,
    need_use,
)
from privcompute.programs.encoding import CATEGORIES_MAX, categories
from privcompute.programs.preflight import (
    CELL_BOUND,
    OUT_OF_RANGE,
    category_finding,
    cells_finding,
    magnitude,
    names_finding,
)

PROGRAM_ID = "joint-statistics"
Statistic = Literal["sum", "mean", "variance", "std", "min", "max"]
SINGLE_CELL = frozenset({"min", "max"})
"""Statistics that show one row's cell: they need the use `plain`."""
ONE = 1 << FRACTION_BITS
FIGURE_BOUND = 2.0**46


class Histogram(Parameters):
    """Counts of a numeric column between edges: edge i <= value < edge i + 1, the last edge included."""

    column: ColumnReference
    edges: Annotated[
        tuple[Annotated[Decimal, decimal_within("-1e12", "1e12")], ...],
        pydantic.Field(max_length=65, strict=False),
    ] = ()
    """Of the column's declared edges, two or more; empty: all of them."""

    @pydantic.model_validator(mode="after")
    def _ascending(self) -> Histogram:
        if any(left >= right for left, right in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges in ascending order, each only once")
        return self


class Grouping(Parameters):
    """Rows counted, and a numeric column summed, for each category of another column."""

    by: ColumnReference
    of: ColumnReference | None = None
    """A numeric column, of the same or another owner; without it rows are only counted."""


class StatisticsParameters(Parameters):
    """Parameters: the figures to compute, at least one."""

    columns: ColumnReferences = ()
    """Numeric columns to describe by `statistics` and `quantiles`."""
    statistics: Annotated[tuple[Statistic, ...], pydantic.Field(max_length=6, strict=False)] = ("mean", "std")
    quantiles: Annotated[
        tuple[Annotated[Decimal, decimal_within("0", "1")], ...],
        pydantic.Field(max_length=32, strict=False),
    ] = ()
    """Fractions, interpolated linearly between neighbouring cells."""
    correlations: Annotated[
        tuple[
            Annotated[
                tuple[ColumnReference, ...],
                pydantic.Field(min_length=2, max_length=2, strict=False),
            ],
            ...,
        ],
        pydantic.Field(max_length=128, strict=False),
    ] = ()
    """Pairs of numeric columns (Pearson)."""
    histograms: Annotated[tuple[Histogram, ...], pydantic.Field(max_length=32, strict=False)] = ()
    groups: Annotated[tuple[Grouping, ...], pydantic.Field(max_length=32, strict=False)] = ()
    min_group: Annotated[int, within(1, 1_000_000, "rows")] = 1
    """Smallest group or bin to show; a grant's stricter minimum prevails."""
    min_category_rows: Annotated[int, within(1, 1_000_000, "rows")] = 5
    """Categories with fewer rows in the owner's dataset are merged into one."""


def check_statistics(parameters: StatisticsParameters, inputs: Sequence[JobInput]) -> None:
    """Raise InputRefused unless something is asked for, and each figure fits its declared column."""
    need_join(inputs, PROGRAM_ID)
    asked = (parameters.columns, parameters.correlations, parameters.histograms, parameters.groups)
    if not any(asked):
        raise InputRefused(f"{PROGRAM_ID}: no figure asked for; name columns, correlations or groups")
    if parameters.columns and not (parameters.statistics or parameters.quantiles):
        raise InputRefused(f"{PROGRAM_ID}: columns without statistics or quantiles; name at least one")
    for reference in parameters.columns:
        for name in parameters.statistics:
            need_numeric(inputs, reference, "plain" if name in SINGLE_CELL else "aggregate", name)
        if parameters.quantiles:
            need_numeric(inputs, reference, "plain", "quantile")
    for pair in parameters.correlations:
        for reference in pair:
            need_numeric(inputs, reference, "aggregate", "correlation")
    for histogram in parameters.histograms:
        bin_edges(need_numeric(inputs, histogram.column, "aggregate", "histogram"), histogram)
    for group in parameters.groups:
        declared = len(need_use(inputs, group.by, "aggregate", "grouping").categories)
        if declared > CATEGORIES_MAX:
            raise InputRefused(
                f"column {group.by}: declares {declared} categories, groups take at most {CATEGORIES_MAX}"
            )
        if group.of is not None:
            need_numeric(inputs, group.of, "aggregate", "a sum by group")


def bin_edges(column: InputColumn, histogram: Histogram) -> tuple[Decimal, ...]:
    """Return the edges of a histogram: declared ones, so that no two histograms differ by a single row's bin.

    A column used as `plain`, whose cells may be shown, takes other edges too.
    """
    declared = tuple(Decimal(edge) for edge in column.edges)
    edges = histogram.edges or declared
    strange = [str(edge) for edge in edges if edge not in declared]
    if len(edges) < 2:
        raise InputRefused(f"column {histogram.column}: a histogram needs two edges or more; {_EDGES}")
    if strange and column.use != "plain":
        raise InputRefused(
            f"column {histogram.column}: edge {strange[0]} is not among the edges that its schema declares "
            f"({', '.join(column.edges) or 'none'}), as use {column.use!r} asks; {_EDGES}"
        )
    return edges


def histogram_edges(inputs: Sequence[JobInput], histogram: Histogram) -> tuple[Decimal, ...]:
    """Return the edges of a histogram of a job."""
    return bin_edges(find_column(inputs, histogram.column)[1], histogram)


_EDGES = "its owner registers a version whose schema declares edges"


def least_rows(parameters: StatisticsParameters, min_group: int) -> int:
    """Return the least number of joined rows: the smallest group that may be shown, and never below two."""
    return max(2, min_group, parameters.min_group)


def judge(own: OwnTable) -> list[Finding]:
    """Return what would end the job later, as an owner sees it in its own rows before it binds."""
    parameters: StatisticsParameters = own.parameters
    found: list[Finding] = []
    for reference, column in _mine(own, parameters.columns):
        found += _judge_figures(own, reference, column)
    for reference, column in _mine(own, [name for pair in parameters.correlations for name in pair]):
        found += cells_finding(own, reference, column, CELL_BOUND)
    for reference, column in _mine(own, [group.of for group in parameters.groups if group.of]):
        found += cells_finding(own, reference, column, (2.0**61 / own.rows - 1) / ONE)
    grouped = _mine(own, [group.by for group in parameters.groups])
    for reference, column in grouped:
        if not column.categories:
            found += category_finding(own, reference, column.name, parameters.min_category_rows)
    if grouped and not found:
        mine = own_categories(own.columns, grouped, parameters.min_category_rows)
        found += names_finding(mine, [], 0)
    return found


def _mine(own: OwnTable, references: Sequence[str]) -> list[tuple[str, InputColumn]]:
    """Return those of the columns that the judging owner owns, each once."""
    found = {name: find_column(own.inputs, name) for name in sorted(set(references))}
    return [(name, column) for name, (item, column) in found.items() if item.dataset == own.item.dataset]


def _judge_figures(own: OwnTable, reference: str, column: InputColumn) -> list[Finding]:
    """Bound each figure over any rows that may be joined: every set of at least as many as the job needs."""
    parameters: StatisticsParameters = own.parameters
    cells = own.columns[column.name].astype(np.float64)
    least = least_rows(parameters, own.min_group)
    with np.errstate(over="ignore", invalid="ignore"):
        span = float(cells.max() - cells.min())
        bounds = {
            "sum": max(float(cells[cells > 0].sum()), -float(cells[cells < 0].sum())),
            "variance": min(span * span / 4, float(((cells - cells.mean()) ** 2).sum()) / least),
            "std": span / 2,
        }
    one = magnitude(column, cells)
    greatest = max([one, *[bounds.get(name, one) for name in parameters.statistics]])
    if greatest < FIGURE_BOUND * (1 - 1e-9):
        return []
    return [Finding(OUT_OF_RANGE, f"column {reference}: a figure may be beyond 2^46; rescale the column")]


def own_categories(
    whole: Mapping[str, NDArray[Any]], columns: Sequence[tuple[str, InputColumn]], least_rows: int
) -> dict[str, Value]:
    """Return reference -> categories: those that the schema declares, else those of the owner's dataset."""
    return {
        reference: list(declared_categories(column) or categories(whole[column.name], least_rows, reference))
        for reference, column in columns
    }


def declared_categories(column: InputColumn) -> tuple[str, ...]:
    """Return the declared categories, with that of missing cells; a rule `category` makes one."""
    if not column.categories:
        return ()
    return (*column.categories, MISSING) if column.missing == "category" else column.categories
