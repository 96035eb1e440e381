"""A plaintext evaluator of plans on numpy, written from the page docs/pages.md and not from the tracer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.pages.plan import Plan

Array = NDArray[Any]


@dataclass
class World:
    """The data of a run: dataset -> column -> cells; registered categories and edges by `dataset.column`."""

    data: Mapping[str, Mapping[str, Array]]
    domains: Mapping[str, list[Any]] = field(default_factory=dict)
    lots: Array | None = None


def evaluate(plan: Plan, world: World) -> dict[str, tuple[Array, Array | None]]:
    """Return (cells, rows that count) of each release, by receiver and name."""
    values = _Run(plan, world).every()
    return {
        f"{one.receiver}: {one.name}": (values[one.value], None if one.rows is None else values[one.rows])
        for one in plan.asked
    }


def evaluate_nodes(plan: Plan, world: World) -> list[Any]:
    """Return the value of every node; those of a loop's body are of its last turn."""
    return _Run(plan, world).every()


class _Run:
    def __init__(self, plan: Plan, world: World) -> None:
        self.plan, self.world, self.graph = plan, world, plan.graph
        self.values: list[Any] = [None] * len(plan.graph)
        self.turn: dict[int, int] = {}
        self.carried: dict[int, list[Array]] = {}

    def every(self) -> list[Any]:
        node = 0
        while node < len(self.graph):
            name, args = self.graph.name(node), self.graph.args[node]
            if name == "repeat":
                self.turn[node], self.carried[node] = 0, [self.values[arg] for arg in args]
            elif name == "again":
                loop = args[0]
                self.turn[loop] += 1
                self.carried[loop] = [self.values[arg] for arg in args[1:]]
                if self.turn[loop] < int(self.graph.attrs[loop][0]):
                    node = loop + 1
                    continue
            else:
                self.values[node] = self.value(node, name, args, self.graph.attrs[node])
            node += 1
        return self.values

    def value(self, node: int, name: str, args: tuple[int, ...], attrs: tuple[str, ...]) -> Any:
        x = [self.values[arg] for arg in args]
        if name == "column":
            return self.cells(int(attrs[0]))
        if name == "number":
            return np.float64(Fraction(attrs[0]))
        if name == "fill":
            return np.full(
                [self.size(part) for part in attrs[1].split(";") if part], float(Fraction(attrs[0]))
            )
        if name == "position":
            return np.arange(self.size(attrs[0]))
        if name == "lot":
            assert self.world.lots is not None
            return self.world.lots
        if name == "step":
            return np.float64(self.turn[args[0]])
        if name == "carry":
            return self.carried[args[0]][int(attrs[0])]
        if name == "after":
            return self.carried[self.graph.args[args[0]][0]][int(attrs[0])]
        if name == "join":
            others = [set(other.tolist()) for other in x[1:]]
            return np.array([float(all(key in other for other in others)) for key in x[0].tolist()])
        if name == "align":
            return self.aligned(args[1], x[0], self.graph.cells[args[0]].shape[0])
        if name in ("one_hot", "bins"):
            return self.groups(node, name, x[0])
        return _work(name, x, attrs)

    def cells(self, place: int) -> Array:
        read = self.graph.columns[place]
        cells = self.world.data[self.plan.datasets[read.dataset].name][read.column]
        return cells if cells.dtype.kind in "US" else cells.astype(float)

    def size(self, text: str) -> int:
        if text.isdigit():
            return int(text)
        for node, value in enumerate(self.values):
            if text in self.graph.cells[node].shape and value is not None:
                return int(np.shape(value)[self.graph.cells[node].shape.index(text)])
        return sum(
            len(next(iter(self.world.data[self.plan.datasets[int(part)].name].values())))
            for part in text[2:].split("+")
        )

    def aligned(self, join: int, cells: Array, rows: object) -> Array:
        """Rows stand in the order of the first dataset; where an id is missing, anything may stand."""
        keys = [self.values[arg].tolist() for arg in self.graph.args[join]]
        mine = next(
            k
            for k, arg in zip(keys, self.graph.args[join], strict=True)
            if self.graph.cells[arg].shape[0] == rows
        )
        empty = "" if cells.dtype.kind in "US" else 0.0
        places = {key: place for place, key in enumerate(mine)}
        return np.array([cells[places[key]] if key in places else empty for key in keys[0]])

    def groups(self, node: int, name: str, cells: Array) -> Array:
        source = node
        while self.graph.name(source) != "column":
            source = self.graph.args[source][0]
        read = self.graph.columns[int(self.graph.attrs[source][0])]
        domain = self.world.domains[f"{self.plan.datasets[read.dataset].name}.{read.column}"]
        if name == "one_hot":
            return (cells[:, None] == np.array(domain)[None, :]).astype(float)
        return _cut(cells, domain)


def _cut(cells: Array, edges: list[Any]) -> Array:
    pairs = list(pairwise(edges))
    return np.stack(
        [(cells >= low) & ((cells <= high) if high == edges[-1] else (cells < high)) for low, high in pairs],
        axis=-1,
    ).astype(float)


def _safe(cells: Array, work: Any) -> Array:
    return np.where(cells > 0, work(np.where(cells > 0, cells, 1.0)), 0.0)


def _work(name: str, x: list[Any], attrs: tuple[str, ...]) -> Any:
    simple = {
        "real": lambda a: a, "add": lambda a, b: a + b, "subtract": lambda a, b: a - b,
        "multiply": lambda a, b: a * b, "negative": lambda a: -a, "absolute": abs,
        "divide": lambda a, b: np.where(b > 0, a / np.where(b > 0, b, 1.0), 0.0),
        "minimum": np.minimum, "maximum": np.maximum, "exp": np.exp,
        "sqrt": lambda a: _safe(a, np.sqrt), "log": lambda a: _safe(a, np.log),
        "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
        "less": lambda a, b: 1.0 * (a < b), "less_equal": lambda a, b: 1.0 * (a <= b),
        "equal": lambda a, b: 1.0 * (a == b), "and": lambda a, b: a * b, "or": lambda a, b: a + b - a * b,
        "not": lambda a: 1 - a, "where": lambda bit, a, b: np.where(bit > 0, a, b),
        "transpose": np.transpose, "stack": lambda *a: np.stack(a, axis=-1),
        "concat": lambda *a: np.concatenate(a, axis=-1), "append": lambda *a: np.concatenate(a),
        "matmul": lambda a, b: a @ b, "running_sum": lambda a: np.cumsum(a, axis=0),
        "shift": lambda a: np.concatenate([np.zeros_like(a[:1]), a[:-1]]),
    }  # fmt: skip
    if name in simple:
        return simple[name](*x)
    if name == "is":
        return 1.0 * (x[0] == attrs[0])
    if name == "clip":
        return np.clip(x[0], float(Fraction(attrs[0])), float(Fraction(attrs[1])))
    if name == "cut":
        return _cut(x[0], [float(Fraction(part)) for part in attrs[0].split(";")])
    if name == "take":
        return np.take(x[0], int(attrs[1]), axis=int(attrs[0]))
    if name == "spread":
        return np.expand_dims(x[0], int(attrs[0]))
    return _folded(name, x, attrs)


def _folded(name: str, x: list[Any], attrs: tuple[str, ...]) -> Any:
    if name == "sum":
        axis = int(attrs[0])
        shape = [1] * np.ndim(x[0])
        shape[axis] = -1
        return (x[0] * (x[1].reshape(shape) if len(x) == 2 else 1)).sum(axis=axis)
    if name == "group_count":
        return (x[0] * (x[1][:, None] if len(x) == 2 else 1)).sum(axis=0)
    if name == "group_sum":
        return (x[1] * (x[2][:, None] if len(x) == 3 else 1)).T @ x[0]
    if name in ("greatest", "least"):
        kept = x[0][x[1] > 0] if len(x) == 2 else x[0]
        return kept.max(axis=0) if name == "greatest" else kept.min(axis=0)
    if name == "sort":
        order = np.lexsort((x[0], 1 - x[2])) if len(x) == 3 else np.argsort(x[0], kind="stable")
        return x[1][order]
    assert name == "first", name
    return x[0][: int(attrs[0])]
