"""What `assent job result` prints of a page's result: its figures, and tables of those by groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chain.client.console import print_table, print_text
from chain.primitives.visible import one_line

CELLS_SHOWN = 40
"""Of one table; `--json` prints all."""
HIDDEN = "hidden"


def print_figures(values: Any) -> None:
    """Print the releases of a page that are for one receiver."""
    figures = values["figures"]
    single = [[one["name"], _text(one["value"])] for one in figures if not one["axes"]]
    if single:
        print_table("figures", ["figure", "#value"], single)
    for one in figures:
        if one["axes"]:
            _print_table(one)
    if any(cell is None for one in figures for _, cell in cells(one["axes"], one["value"])):
        print_text(
            f"{HIDDEN}: figures over fewer than {values['min_group']} rows, or that would give them away"
        )


def _print_table(figure: Mapping[str, Any]) -> None:
    every = list(cells(figure["axes"], figure["value"]))
    rows = [[place, _text(cell)] for place, cell in every[:CELLS_SHOWN]]
    if len(every) > CELLS_SHOWN:
        rows.append([f"… {len(every) - CELLS_SHOWN:,} more; --json has all", ""])
    grouped = next((str(axis["of"]) for axis in figure["axes"] if "of" in axis), "cell")
    print_table(one_line(figure["name"]), [one_line(grouped), "#value"], rows)


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
