"""What `assent job result` prints of a page's result: its figures, and tables of those by groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chain.client.console import print_folded, print_table, print_text
from chain.primitives.visible import one_line
from privcompute.pages.releases import CUT, noise_text

CELLS_SHOWN = 40
"""Of one table; `--json` prints all."""
HIDDEN = "hidden"
INTERVAL = "#95 % interval"
"""Between what a figure lies without its noise."""


def print_figures(values: Any) -> None:
    """Print the releases of a page that are for one receiver."""
    figures = values["figures"]
    single = [one for one in figures if not one["axes"]]
    plain = [[one["name"], _text(one["value"])] for one in single if not noise_text(one)]
    if plain:
        print_table("figures", ["figure", "#value"], plain)
    for noise in sorted({noise_text(one) for one in single} - {""}):
        rows = [
            [one["name"], _text(one["value"]), *_ends(one, [one["value"]])]
            for one in single
            if noise_text(one) == noise
        ]
        print_table(f"figures with {noise}", ["figure", "#value", INTERVAL], rows)
    for one in figures:
        if one["axes"]:
            _print_table(one)
    if any(one["interval"]["cut"] for one in figures if noise_text(one)):
        print_folded(CUT)
    if any(cell is None for one in figures for _, cell in cells(one["axes"], one["value"])):
        print_text(
            f"{HIDDEN}: figures over fewer than {values['min_group']} rows, or that would give them away"
        )


def _print_table(figure: Mapping[str, Any]) -> None:
    every = list(cells(figure["axes"], figure["value"]))
    noise = noise_text(figure)
    ends = _ends(figure, every) if noise else []
    rows = [[place, _text(cell), *ends[at : at + 1]] for at, (place, cell) in enumerate(every[:CELLS_SHOWN])]
    if len(every) > CELLS_SHOWN:
        rows.append([f"… {len(every) - CELLS_SHOWN:,} more; --json has all", "", *([""] if noise else [])])
    grouped = next((str(axis["of"]) for axis in figure["axes"] if "of" in axis), "cell")
    columns = [one_line(grouped), "#value", *([INTERVAL] if noise else [])]
    print_table(one_line(figure["name"]), columns, rows)
    if noise:
        print_text(noise)


def _ends(figure: Mapping[str, Any], every: Sequence[Any]) -> list[str]:
    """Return the interval of each cell of a figure with noise, as text."""
    low, high = (figure["interval"][end] for end in ("low", "high"))
    if low is None and high is None:
        return ["not known"] * len(every)
    pairs = zip(cells(figure["axes"], low), cells(figure["axes"], high), strict=True)
    return [f"{_end(least)} … {_end(most)}" for (_, least), (_, most) in pairs]


def _end(end: Any) -> str:
    return "any" if end is None else _text(end)


def cells(axes: Sequence[Mapping[str, Any]], value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each cell of a figure with what its place is called, along the first axis first."""
    if not axes:
        yield "", value
        return
    if value is None:
        yield "all", None
        return
    for number, part in enumerate(value):
        for rest, cell in cells(axes[1:], part):
            yield ", ".join(word for word in (_called(axes[0], number), rest) if word), cell


def _called(axis: Mapping[str, Any], number: int) -> str:
    if "categories" in axis:
        return str(axis["categories"][number])
    if "edges" in axis:
        return f"{axis['edges'][number]} … {axis['edges'][number + 1]}"
    return f"row {number + 1}" if "rows" in axis else str(number + 1)


def _text(cell: Any) -> str:
    return HIDDEN if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell)
