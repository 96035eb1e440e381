"""Runs a page on three parties in memory, and in the clear, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.pages.page import trace
from contracts.pages.plan import Plan
from contracts.pages.tables import DatasetSchema
from privcompute.mpc.engine import Engine
from privcompute.mpc.local import LocalRun, run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.pages.columns import InputColumn
from privcompute.pages.evaluate import evaluate
from privcompute.pages.inputs import OwnDataset, PageRun, RowsOfJoin
from privcompute.pages.releases import PageOutputs, results

JOB = b"\x07" * 32
Columns = Mapping[str, NDArray[Any]]


class Data:
    """Datasets of owners: dataset -> (party, columns), with what schemas declare beside the types."""

    def __init__(
        self,
        owners: Mapping[str, int],
        columns: Mapping[str, Columns],
        types: Mapping[str, Mapping[str, str]],
        declared: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.owners, self.columns, self.types, self.declared = owners, columns, types, declared or {}

    def schemas(self) -> dict[str, DatasetSchema]:
        """Return the schemas for tracing; parties are owners."""
        return {
            name: DatasetSchema(f"party{self.owners[name]}", types, (), self._sizes(name))
            for name, types in self.types.items()
        }

    def _sizes(self, dataset: str) -> dict[str, int]:
        """Return how many categories columns of a dataset are declared with."""
        every = {column: self.declared.get(f"{dataset}.{column}", {}) for column in self.types[dataset]}
        return {column: len(more["categories"]) for column, more in every.items() if "categories" in more}

    def column(self, dataset: str, name: str) -> InputColumn:
        """Return a column as the ledger shows it."""
        more = self.declared.get(f"{dataset}.{name}", {})
        return InputColumn(name, self.types[dataset][name], "plain", **more)

    def runs(self, plan: Plan, min_group: int = 1, job: bytes = JOB) -> list[PageRun]:
        """Return the run of each of three parties, joins done in the clear."""
        names = [one.name for one in plan.datasets]
        rows = {
            f"n:{place}": len(next(iter(self.columns[name].values()))) for place, name in enumerate(names)
        }
        joined: dict[int, dict[str, RowsOfJoin]] = {place: {} for place in range(len(names))}
        for node in range(len(plan.graph)):
            if plan.graph.name(node) == "join":
                size = str(plan.graph.cells[node].shape[0])
                rows[size] = self._join(plan, node, size, joined)
        owners = tuple(self.owners[name] for name in names)
        columns = tuple(self.column(names[one.dataset], one.column) for one in plan.graph.columns)
        return [
            PageRun(
                job,
                owners,
                columns,
                rows,
                min_group,
                {
                    place: OwnDataset(self.columns[name], joined[place])
                    for place, name in enumerate(names)
                    if owners[place] == me
                },
            )
            for me in range(3)
        ]

    def _join(self, plan: Plan, node: int, size: str, joined: dict[int, dict[str, RowsOfJoin]]) -> int:
        keys: dict[tuple[Any, ...], list[int]] = {}
        for key in plan.graph.args[node]:
            keys.setdefault(plan.graph.cells[key].shape, []).append(key)
        tables = [self._rows(plan, columns) for columns in keys.values()]
        common = sorted(set.intersection(*[set(at) for at in tables]))
        for at in tables:
            for dataset in {where for where, _ in at.values()}:
                mine = [(place, at[key][1]) for place, key in enumerate(common) if at[key][0] == dataset]
                pairs = np.array(mine, np.int64).reshape(-1, 2)
                joined[dataset][size] = RowsOfJoin(pairs[:, 0], pairs[:, 1])
        return len(common)

    def _rows(self, plan: Plan, keys: list[int]) -> dict[tuple[Any, ...], tuple[int, int]]:
        """Return dataset and row of each id of a table, which may be a union."""
        found: dict[tuple[Any, ...], tuple[int, int]] = {}
        for part in zip(*[plan.graph.args[key] or (key,) for key in keys], strict=True):
            reads = [plan.graph.columns[int(plan.graph.attrs[column][0])] for column in part]
            table = self.columns[plan.datasets[reads[0].dataset].name]
            ids = zip(*[table[read.column].tolist() for read in reads], strict=True)
            found |= {each: (reads[0].dataset, row) for row, each in enumerate(ids)}
        return found


def on_rep3(plan: Plan, run: PageRun, me: int) -> Steps[Any]:
    """Evaluate at one party of rep3, and open all that releases leave."""
    engine = yield from Rep3Engine.start(me, run.job, bytes([me]) * ENTROPY_BYTES)
    return (yield from _opened(engine, plan, run))


def in_the_clear(plan: Plan, run: PageRun, me: int) -> Steps[Any]:
    """Evaluate at one party of the plaintext engine, and open all that releases leave."""
    return (yield from _opened(PlaintextEngine(me, 3), plan, run))


def _opened(engine: Engine, plan: Plan, run: PageRun) -> Steps[Any]:
    outputs: PageOutputs = yield from evaluate(engine, plan, run)
    opened = {}
    for name, value in outputs.shared.items():
        opened[name] = yield from engine.reveal(value, [0])
    return opened, outputs


def run_page(
    source: str, data: Data, *, clear: bool = False, min_group: int = 1, **parameters: Any
) -> tuple[dict[str, Any], LocalRun[Any]]:
    """Return the value of each release by name, and the run."""
    plan = trace(source, data.schemas(), parameters=parameters)
    return run_plan(plan, data, clear=clear, min_group=min_group)


def run_plan(
    plan: Plan, data: Data, *, clear: bool = False, min_group: int = 1, job: bytes = JOB
) -> tuple[dict[str, Any], LocalRun[Any]]:
    """Return the value of each release by name, and the run."""
    party = in_the_clear if clear else on_rep3
    runs = data.runs(plan, min_group, job)
    local = run_local([party(plan, run, me) for me, run in enumerate(runs)])
    opened, outputs = local.results[0]
    result = results(opened, outputs.public)
    return {one["name"]: one["value"] for one in result["figures"]}, local


def numbers(value: Any) -> NDArray[np.float64]:
    """Return a result's value as an array."""
    return np.array(value, dtype=object).astype(np.float64)
