"""A page on sample files of one host: in the clear, and among three parties in memory.

Joins are matched in the clear, since one host has all data anyway; every dataset is at one of three parties
in turn. What is opened is compared figure by figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.values import Value
from contracts.pages.plan import Plan
from contracts.pages.releases import SHARES
from contracts.pages.tables import DatasetSchema
from contracts.pages.types import COLUMN_KINDS
from privcompute.mpc.local import run_local
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import OnProgress, Steps, no_progress
from privcompute.pages.clear import ClearData, evaluate_nodes
from privcompute.pages.columns import InputColumn, InputRefused
from privcompute.pages.evaluate import evaluate
from privcompute.pages.inputs import (
    OwnDataset,
    PageRun,
    RowsOfJoin,
    categories_of,
    cells_of_kind,
    lot,
    size_of,
)
from privcompute.pages.releases import PageOutputs, noise_text, results

PARTIES = 3
JOB = bytes(32)
"""The job of a trial: the same lots are drawn every time."""
_MOST: Mapping[str, float] = {"real": 2.0**30, "integer": 2.0**46}
_KINDS: Mapping[str, str] = {"real": "reals", "integer": "whole numbers"}
_TAKEN: Mapping[str, tuple[tuple[str, float], ...]] = {
    "divide": (("what 'divide' divides", 2.0**45), ("the divisor of 'divide'", 2.0**30)),
}
"""What primitives take, and below what it lies where it is whole numbers."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A dataset of a trial: its columns, with categories that are declared or else seen, and its cells."""

    owner: str
    columns: tuple[InputColumn, ...]
    key: tuple[str, ...]
    cells: Mapping[str, NDArray[Any]] = field(repr=False)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.cells.values())))

    def schema(self) -> DatasetSchema:
        """Return what a page is traced with: columns of types that pages know."""
        known = [column for column in self.columns if column.type in COLUMN_KINDS]
        return DatasetSchema(
            self.owner,
            {column.name: column.type for column in known},
            self.key,
            {column.name: len(categories_of(column)) for column in known if categories_of(column)},
            {column.name: len(column.edges) - 1 for column in known if len(column.edges) > 1},
            {column.name: (column.low, column.high) for column in known},
            frozenset(column.name for column in known if column.missing == "mean"),
        )


@dataclass(frozen=True, slots=True)
class Beside:
    """One figure of a trial, both ways."""

    name: str
    receiver: str
    axes: list[Value]
    clear: NDArray[np.float64]
    joint: NDArray[np.float64]
    """NaN where it may not be shown."""
    noise: str = ""
    """How its noise was drawn, in words; "" for a figure without."""
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    """Of a figure with noise, between what it lies without: NaN where nothing bounds it."""
    cut: bool = False
    """Whether an end lay beyond what is possible."""

    @property
    def difference(self) -> float:
        """The greatest difference of a cell that is shown."""
        apart = np.abs(self.joint - self.clear)
        return float(np.nanmax(apart)) if np.any(~np.isnan(apart)) else 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial found."""

    figures: tuple[Beside, ...]
    kept: Mapping[str, tuple[int, ...]]
    """What stays shares, with its shape."""
    rows: Mapping[str, int]
    """How many rows each dataset and join has."""
    rounds: int
    sent: int
    """Bytes that the heaviest party sent."""
    warnings: tuple[str, ...]


def try_out(
    plan: Plan,
    samples: Sequence[Sample],
    min_group: int,
    entropy: Callable[[int], bytes],
    progress: OnProgress = no_progress,
) -> Trial:
    """Run a plan both ways; raise what a run raises."""
    runs = runs_of(plan, samples, min_group, progress)
    local = run_local([_party(plan, run, me, entropy(ENTROPY_BYTES)) for me, run in enumerate(runs)])
    opened, outputs = local.results[0]
    said = {one["name"]: one for one in results(opened, outputs.public)["figures"]}
    values, reach = evaluate_nodes(plan, _clear_data(plan, samples, runs[0], _joined_of(runs)))
    figures = []
    for asked in plan.asked:
        if asked.receiver == SHARES:
            continue
        one = said[asked.name]
        clear = np.asarray(values[asked.value], np.float64)
        joint = _said(one["value"], clear.shape)
        low = high = None
        cut = False
        if "interval" in one:
            low, high = (_said(one["interval"][end], clear.shape) for end in ("low", "high"))
            cut = bool(one["interval"]["cut"])
        how = noise_text(one)
        figures.append(Beside(asked.name, asked.receiver, one["axes"], clear, joint, how, low, high, cut))
    kept = {name: value.shape for name, value in outputs.kept.items()}
    warnings = tuple(_too_large(plan, reach))
    return Trial(tuple(figures), kept, runs[0].rows, max(local.rounds), max(local.sent_bytes), warnings)


def _said(value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a result's value as an array: NaN in every cell of what is hidden, in whatever depth."""
    if value is None or not shape:
        return np.full(shape, np.nan if value is None else float(value))
    return np.array([_said(one, shape[1:]) for one in value], np.float64).reshape(shape)


def _party(plan: Plan, run: PageRun, me: int, entropy: bytes) -> Steps[tuple[dict[str, Any], PageOutputs]]:
    engine = yield from Rep3Engine.start(me, run.job, entropy)
    outputs = yield from evaluate(engine, plan, run)
    opened: dict[str, Any] = {}
    for name, value in outputs.shared.items():
        opened[name] = yield from engine.reveal(value, [0])
    return opened, outputs


def runs_of(
    plan: Plan, samples: Sequence[Sample], min_group: int = 1, progress: OnProgress = no_progress
) -> list[PageRun]:
    """Return each party's run, with joins matched in the clear; the first party reports progress."""
    rows = {f"n:{place}": sample.rows for place, sample in enumerate(samples)}
    joined: list[dict[str, RowsOfJoin]] = [{} for _ in samples]
    for node in range(len(plan.graph)):
        if plan.graph.name(node) == "join":
            size = str(plan.graph.cells[node].shape[0])
            rows[size] = _match(plan, node, size, samples, joined)
    owners = tuple(place % PARTIES for place in range(len(samples)))
    columns = tuple(_declared(samples[read.dataset], read.column) for read in plan.graph.columns)
    own = [OwnDataset(sample.cells, joined[place]) for place, sample in enumerate(samples)]
    return [
        PageRun(
            JOB, owners, columns, rows, min_group,
            {place: one for place, one in enumerate(own) if owners[place] == me},
            progress if me == 0 else no_progress,
        )
        for me in range(PARTIES)
    ]  # fmt: skip


def _declared(sample: Sample, name: str) -> InputColumn:
    return next(column for column in sample.columns if column.name == name)


def _match(
    plan: Plan, node: int, size: str, samples: Sequence[Sample], joined: Sequence[dict[str, RowsOfJoin]]
) -> int:
    """Match the rows of a join in the order of its first table; return how many there are."""
    graph = plan.graph
    tables: dict[Any, list[int]] = {}
    for key in graph.args[node]:
        tables.setdefault(graph.cells[key].shape, []).append(key)
    places = [_ids(plan, keys, samples) for keys in tables.values()]
    common = [key for key in places[0] if all(key in other for other in places[1:])]
    if not common:
        raise InputRefused("no id is in all datasets that are joined; look at the columns that join(…) names")
    for at in places:
        for dataset in {dataset for dataset, _ in at.values()}:
            mine = [(place, at[key][1]) for place, key in enumerate(common) if at[key][0] == dataset]
            pairs = np.array(mine, np.int64).reshape(-1, 2)
            joined[dataset][size] = RowsOfJoin(pairs[:, 0], pairs[:, 1])
    return len(common)


def _ids(
    plan: Plan, keys: Sequence[int], samples: Sequence[Sample]
) -> dict[tuple[str, ...], tuple[int, int]]:
    """Return dataset and row of each id of a table, which may be a union."""
    graph = plan.graph
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for part in zip(*[graph.args[key] or (key,) for key in keys], strict=True):
        reads = [graph.columns[int(graph.attrs[column][0])] for column in part]
        dataset = reads[0].dataset
        cells = [samples[dataset].cells[read.column].tolist() for read in reads]
        for row, parts in enumerate(zip(*cells, strict=True)):
            found[tuple(map(str, parts))] = (dataset, row)
    return found


def _joined_of(runs: Sequence[PageRun]) -> dict[str, dict[int, tuple[Any, Any]]]:
    found: dict[str, dict[int, tuple[Any, Any]]] = {}
    for run in runs:
        for place, one in run.own.items():
            for size, rows in one.joined.items():
                found.setdefault(size, {})[place] = (rows.places, rows.rows)
    return found


def _clear_data(
    plan: Plan, samples: Sequence[Sample], run: PageRun, joined: dict[str, dict[int, tuple[Any, Any]]]
) -> ClearData:
    data: dict[str, dict[str, NDArray[Any]]] = {}
    domains: dict[str, list[Any]] = {}
    for place, read in enumerate(plan.graph.columns):
        name = plan.datasets[read.dataset].name
        cells = samples[read.dataset].cells[read.column]
        data.setdefault(name, {})[read.column] = cells_of_kind(cells, read.kind)
        column = run.columns[place]
        domains[f"{name}.{read.column}"] = (
            [float(edge) for edge in column.edges] if column.edges else list(categories_of(column))
        )
    lots: dict[tuple[str, ...], NDArray[np.float64]] = {}
    for node in range(len(plan.graph)):
        attrs = plan.graph.attrs[node]
        if plan.graph.name(node) == "lot":
            drawn = lot(run.job, len(lots), size_of(run, attrs[0]), Fraction(attrs[1]))
            lots[attrs] = drawn.astype(np.float64)
    return ClearData(data, domains, lots, joined)


def _too_large(plan: Plan, reach: Mapping[int, float]) -> list[str]:
    """Return a warning for each primitive that takes or gives what lies beyond its range on shares."""
    graph = plan.graph
    found: dict[str, str] = {}
    for node in sorted(reach):
        name, kind = graph.name(node), graph.cells[node].kind
        if reach[node] >= _MOST[kind]:
            found[name] = _beyond(f"a value of {name!r}", reach[node], _MOST[kind], kind)
        for (part, most), arg in zip(_TAKEN.get(name, ()), graph.args[node], strict=False):
            if graph.cells[arg].kind == "integer" and reach.get(arg, 0.0) >= most:
                found[part] = _beyond(part, reach[arg], most, "integer")
    return [found[key] for key in sorted(found)]


def _beyond(what: str, reach: float, most: float, kind: str) -> str:
    return (
        f"{what} reaches {reach:.3g}; shares hold {_KINDS[kind]} below {most:.3g} there, and beyond figures"
        " are wrong and nothing tells: rescale its columns, if it is not one owner's own below 2^46"
    )
