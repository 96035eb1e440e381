"""What releases leave: shares to open, and the result that a receiver makes of what was opened to it.

Results hold no floats: whole numbers are integers, reals decimal text with six digits after the point, in
steps of 2^-16; what may not be shown is null. A figure is `exact` or `dp`; one with noise says its mechanism,
epsilon and delta, and between what the figure without noise lies with 95 % (intervals.py). It is shown as it
is, however few rows it is over: noise hides each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.values import Value
from contracts.pages.plan import Plan
from contracts.pages.releases import SHARES, Release
from contracts.pages.types import Shape
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.mpc.sharing import Shared
from privcompute.pages.columns import InputRefused
from privcompute.pages.inputs import PageRun, categories_of, size_of
from privcompute.pages.intervals import formula_of, interval
from privcompute.pages.making import PlanStep
from privcompute.pages.noise import noise_of, noise_within
from privcompute.pages.restricting import RestrictedSteps

CUT = (
    "intervals end at what is possible: a count is from 0 to the number of rows, a mean within the bounds of "
    "its cells; a figure with noise may lie beyond"
)
"""What people read beside intervals of which something was cut off."""
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
    """Raise InputRefused for releases that cannot be run: texts, and those whose noise cannot be drawn."""
    noise_within(plan)
    for number, asked in enumerate(plan.asked):
        noise_of(plan, number)
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
        for place in range(len(left.atoms)):
            opened[atom_name(number, place)] = Shared(shared[atom_name(number, place)].words, 0)
        said.append(
            {
                "number": number,
                "name": asked.name,
                "receiver": asked.receiver,
                "kind": _kind(plan.releases[number]),
                "real": cells.kind == "real",
                "axes": _axes(
                    plan, run, cells.shape, None if left.groups is None else placed.steps[left.groups]
                ),
                "noise": formula_of(plan, number, run) if asked.mechanism else None,
            }
        )
    return PageOutputs(opened, kept, {"plan": plan.hash, "min_group": run.min_group, "releases": said})


def _kind(release: Release) -> str:
    """Return `dp` or `exact` of a figure; of cells by row, what they are."""
    exact = "exact" if release.kind in ("count", "sum", "figure") else release.kind
    return "dp" if release.mechanism else exact


def atom_name(number: int, place: int) -> str:
    """Return what a sum or count with noise is called among outputs."""
    return f"release{number}.atom{place}"


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
        figure = {"name": one["name"], "kind": one["kind"], "axes": one["axes"], "value": value}
        figures.append(figure if one["noise"] is None else figure | _with_noise(opened, one, one["noise"]))
    return {"plan": public["plan"].hex(), "min_group": public["min_group"], "figures": figures}


def noise_text(figure: Mapping[str, Any]) -> str:
    """Return in words how the noise of a result's figure was drawn, "" for a figure without."""
    if figure["kind"] != "dp":
        return ""
    return f"{figure['mechanism']} noise, epsilon {figure['epsilon']}, delta {figure['delta']}"


def _with_noise(opened: Mapping[str, NDArray[Any]], one: Value, noise: Value) -> dict[str, Value]:
    """Return what a figure with noise says beside its value."""
    number = one["number"]
    atoms = [
        opened[name] for place in range(len(noise["atoms"])) if (name := atom_name(number, place)) in opened
    ]
    said = {name: noise[name] for name in ("mechanism", "epsilon", "delta")}
    return said | {"interval": interval(noise, atoms or [opened[f"release{number}"]], real=one["real"])}


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
