"""A plan in the clear, on numpy: written from docs/pages.md, and apart from what runs on shares.

Authors see it beside a run on shares (`assent program run`), and tests hold that run against it. Everything
is float64, nothing is hidden, and no noise is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.pages.plan import Plan

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ClearData:
    """The data of a run: dataset -> column -> cells; registered categories and edges by `dataset.column`."""

    data: Mapping[str, Mapping[str, Array]]
    domains: Mapping[str, list[Any]] = field(default_factory=dict)
    lots: Mapping[tuple[str, ...], Array] = field(default_factory=dict)
    """Bits of each lot, by what the plan says of it: its rows and its share."""
    joined: Mapping[str, Mapping[int, tuple[Array, Array]]] = field(default_factory=dict)
    """By the name of a join's rows, for each dataset the places of its rows in the join, and these rows; a
    join that is not here keeps the rows of its first dataset, with a bit for those that all hold."""


def evaluate(plan: Plan, world: ClearData) -> dict[str, tuple[Array, Array | None]]:
    """Return (cells, rows that count) of each release, by receiver and name."""
    values = ClearRun(plan, world).every()
    return {
        f"{one.receiver}: {one.name}": (values[one.value], None if one.rows is None else values[one.rows])
        for one in plan.asked
    }


def evaluate_nodes(plan: Plan, world: ClearData) -> tuple[list[Any], dict[int, float]]:
    """Return the value of every node, of a loop's last turn, and how far each with numbers reaches in all."""
    run = ClearRun(plan, world)
    with np.errstate(all="ignore"):
        return run.every(), run.reach


class ClearRun:
    """The values of a plan in the clear, node by node; a subclass may put others in their place."""

    def __init__(self, plan: Plan, world: ClearData) -> None:
        """Begin with no value."""
        self.plan, self.world, self.graph = plan, world, plan.graph
        self.reach: dict[int, float] = {}
        self.values: list[Any] = [None] * len(plan.graph)
        self.turn: dict[int, int] = {}
        self.carried: dict[int, list[Array]] = {}

    def every(self) -> list[Any]:
        """Compute all values, turn by turn; return them, of a loop's last turn."""
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
                self._note(node)
            node += 1
        return self.values

    def _note(self, node: int) -> None:
        value = self.values[node]
        if self.graph.cells[node].kind in ("real", "integer") and value is not None and np.size(value):
            reach = float(np.max(np.nan_to_num(np.abs(np.asarray(value, np.float64)), nan=np.inf)))
            self.reach[node] = max(reach, self.reach.get(node, 0.0))

    def value(self, node: int, name: str, args: tuple[int, ...], attrs: tuple[str, ...]) -> Any:
        """Return the value of a node, once those that it takes are there."""
        x = [self.values[arg] for arg in args]
        if name == "column":
            return self._cells(int(attrs[0]))
        if name == "number":
            return np.float64(Fraction(attrs[0]))
        if name == "fill":
            return np.full(
                [self._size(part) for part in attrs[1].split(";") if part], float(Fraction(attrs[0]))
            )
        if name == "position":
            return np.arange(self._size(attrs[0]))
        if name == "lot":
            return self.world.lots[attrs]
        if name == "step":
            return np.float64(self.turn[args[0]])
        if name == "carry":
            return self.carried[args[0]][int(attrs[0])]
        if name == "after":
            return self.carried[self.graph.args[args[0]][0]][int(attrs[0])]
        if name == "join":
            return self._join(node, args)
        if name == "align":
            return self._aligned(args[1], x[0], self.graph.cells[args[0]].shape[0])
        if name in ("one_hot", "bins"):
            return self._groups(node, name, x[0])
        return _work(name, x, attrs)

    def _ids(self, args: tuple[int, ...]) -> list[list[Any]]:
        """Return the ids of each table of a join: tuples of as many columns of each."""
        tables: dict[Any, list[Any]] = {}
        for arg in args:
            tables.setdefault(self.graph.cells[arg].shape, []).append(self.values[arg].tolist())
        return [list(zip(*columns, strict=True)) for columns in tables.values()]

    def _join(self, node: int, args: tuple[int, ...]) -> Array:
        joined = self.world.joined.get(str(self.graph.cells[node].shape[0]))
        if joined is not None:
            return np.ones(
                1 + max((int(places.max()) for places, _ in joined.values() if len(places)), default=-1)
            )
        first, *others = self._ids(args)
        return np.array([float(all(key in other for other in map(set, others))) for key in first])

    def _cells(self, place: int) -> Array:
        read = self.graph.columns[place]
        cells = self.world.data[self.plan.datasets[read.dataset].name][read.column]
        return cells if cells.dtype.kind in "US" else cells.astype(float)

    def _size(self, text: str) -> int:
        if text.isdigit():
            return int(text)
        for node, value in enumerate(self.values):
            if text in self.graph.cells[node].shape and value is not None:
                return int(np.shape(value)[self.graph.cells[node].shape.index(text)])
        return sum(
            len(next(iter(self.world.data[self.plan.datasets[int(part)].name].values())))
            for part in text[2:].split("+")
        )

    def _aligned(self, join: int, cells: Array, rows: object) -> Array:
        """Rows stand in the order of the join; where an id is missing, anything may stand."""
        empty: Any = "" if cells.dtype.kind in "US" else 0.0
        joined = self.world.joined.get(str(self.graph.cells[join].shape[0]))
        if joined is not None:
            made = np.full(len(self.values[join]), empty, cells.dtype)
            start = 0
            for dataset in map(int, str(rows)[2:].split("+")):
                places, mine = joined[dataset]
                made[places] = cells[start + mine]
                start += self._size(f"n:{dataset}")
            return made
        args = self.graph.args[join]
        shapes = list(dict.fromkeys(self.graph.cells[arg].shape for arg in args))
        keys = self._ids(args)
        table = keys[[shape[0] for shape in shapes].index(str(rows))]
        found = {key: place for place, key in enumerate(table)}
        return np.array([cells[found[key]] if key in found else empty for key in keys[0]])

    def _groups(self, node: int, name: str, cells: Array) -> Array:
        source = node
        while self.graph.name(source) != "column":
            source = self.graph.args[source][0]
        read = self.graph.columns[int(self.graph.attrs[source][0])]
        domain = self.world.domains[f"{self.plan.datasets[read.dataset].name}.{read.column}"]
        if name == "one_hot":
            cells = cells if cells.dtype.kind in "US" else np.where(cells > 0, "true", "false")
            return np.asarray(cells[:, None] == np.array(domain)[None, :], dtype=float)
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
    simple: dict[str, Callable[..., Any]] = {
        "real": lambda a: a, "noised": lambda a: a, "add": lambda a, b: a + b, "subtract": lambda a, b: a - b,
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
        if not len(kept):
            return np.zeros(np.shape(x[0])[1:])
        return kept.max(axis=0) if name == "greatest" else kept.min(axis=0)
    if name == "sort":
        order = np.lexsort((x[0], 1 - x[2])) if len(x) == 3 else np.argsort(x[0], kind="stable")
        return x[1][order]
    missing = max(0, int(attrs[0]) - len(x[0]))
    return np.concatenate([x[0][: int(attrs[0])], np.zeros((missing, *np.shape(x[0])[1:]))])
