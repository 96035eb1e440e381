"""What releases leave: shares to open, and the result that a receiver makes of what was opened to it.

Results hold no floats: whole numbers are integers, reals decimal text with six digits after the point, in
steps of 2^-16; what may not be shown is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.values import Value
from contracts.pages.plan import Plan
from contracts.pages.releases import SHARES
from contracts.pages.types import Shape
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.mpc.sharing import Shared
from privcompute.pages.columns import InputRefused
from privcompute.pages.inputs import PageRun, categories_of, size_of
from privcompute.pages.making import PlanStep
from privcompute.pages.restricting import RestrictedSteps

_ONE = 1 << FRACTION_BITS


@dataclass(frozen=True, slots=True)
class PageOutputs:
    """What a run of a plan leaves at one party."""

    shared: Mapping[str, Shared]
    """Whole numbers to open, in units of 2^-16 where they stand for reals: `release0`, `release0.shown`, …"""
    kept: Mapping[str, Shared]
    """What stays shares, by the name that the page gives it."""
    public: Value
    """What every party knows of the releases and `results` needs."""


def check_releases(plan: Plan) -> None:
    """Raise InputRefused for releases that cannot be run: those with noise, and texts."""
    for asked in plan.asked:
        if asked.mechanism:
            raise InputRefused(
                f"release {asked.name!r} asks for {asked.mechanism} noise, which this version cannot draw"
                " inside the computation; it does not run without: ask for an exact release, or leave it out"
            )
        if plan.graph.cells[asked.value].kind == "text":
            raise InputRefused(
                f"release {asked.name!r} is of texts, which leave no computation; release one_hot(column),"
                ' or bits such as column == "a"'
            )


def outputs_of(
    plan: Plan, run: PageRun, placed: RestrictedSteps, shared: Mapping[str, Shared]
) -> PageOutputs:
    """Return the outputs of a run from the shares of each release."""
    opened: dict[str, Shared] = {}
    kept: dict[str, Shared] = {}
    said: list[Value] = []
    for number, asked in enumerate(plan.asked):
        name, value = f"release{number}", shared[f"release{number}"]
        if asked.receiver == SHARES:
            kept[asked.name] = value
            continue
        opened[name] = Shared(value.words, 0)
        left = placed.left[number]
        if left.shown is not None:
            opened[f"{name}.shown"] = shared[f"{name}.shown"]
        cells = plan.graph.cells[asked.value]
        said.append(
            {
                "number": number,
                "name": asked.name,
                "receiver": asked.receiver,
                "kind": plan.releases[number].kind,
                "real": cells.kind == "real",
                "axes": _axes(
                    plan, run, cells.shape, None if left.groups is None else placed.steps[left.groups]
                ),
            }
        )
    return PageOutputs(opened, kept, {"plan": plan.hash, "min_group": run.min_group, "releases": said})


def _axes(plan: Plan, run: PageRun, shape: Shape, groups: PlanStep | None) -> list[Value]:
    """Say what stands along each axis of a result."""
    axes: list[Value] = []
    for axis, size in enumerate(shape):
        if axis == 0 and groups is not None:
            axes.append(_groups(plan, run, groups))
        elif isinstance(size, str) and size.startswith("n:"):
            axes.append({"rows": size[2:]})
        else:
            axes.append({"size": size_of(run, size)})
    return axes


def _groups(plan: Plan, run: PageRun, groups: PlanStep) -> Value:
    if groups.name == "cut":
        return {"edges": groups.attrs[0].split(";")}
    place = int(groups.attrs[0])
    read, column = plan.graph.columns[place], run.columns[place]
    name = f"{plan.datasets[read.dataset].name}.{read.column}"
    if groups.name == "one_hot":
        return {"categories": list(categories_of(column)), "of": name}
    return {"edges": list(column.edges), "of": name}


def results(opened: Mapping[str, NDArray[Any]], public: Value) -> Value:
    """Return the result of what was opened to one receiver, release by release in the order of the page."""
    figures: list[Value] = []
    for one in public["releases"]:
        name = f"release{one['number']}"
        if name not in opened:
            continue
        cells = np.asarray(opened[name])
        shown = _each(opened.get(f"{name}.shown", 1), cells)
        value = _said(cells.tolist(), shown.tolist(), one["real"])
        figures.append({"name": one["name"], "kind": one["kind"], "axes": one["axes"], "value": value})
    return {"plan": public["plan"].hex(), "min_group": public["min_group"], "figures": figures}


def _said(cells: Any, shown: Any, real: bool) -> Value:
    if isinstance(cells, list):
        return [_said(cell, bit, real) for cell, bit in zip(cells, shown, strict=True)]
    if not shown:
        return None
    return decimal_text(int(cells), _ONE) if real else int(cells)


def _each(shown: Any, cells: NDArray[Any]) -> NDArray[Any]:
    """Return whether each cell is shown: bits along the first axis, or along all of them."""
    bits = np.asarray(shown)
    if 0 < bits.ndim < cells.ndim:
        bits = bits.reshape(*bits.shape, *[1] * (cells.ndim - bits.ndim))
    return np.broadcast_to(bits, cells.shape)


def decimal_text(numerator: int, denominator: int, digits: int = 6) -> str:
    """Return a quotient of integers as decimal text, rounded half away from zero: no floats in results."""
    sign = "-" if (numerator < 0) != (denominator < 0) and numerator else ""
    scaled = (abs(numerator) * 10**digits * 2 + abs(denominator)) // (2 * abs(denominator))
    whole, fraction = divmod(scaled, 10**digits)
    return f"{sign if scaled else ''}{whole}.{fraction:0{digits}d}"
