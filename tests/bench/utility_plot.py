"""The plot of what noise costs: lines on logarithmic axes, as an SVG of text and strokes alone.

It is written here since no library of plots is among the dependencies, and these are four panels of lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP = 340, 220, 56, 34
PANEL_W, PANEL_H = WIDTH + LEFT + 44, HEIGHT + TOP + 44
COLOURS = ("#b3261e", "#d9822b", "#2b6cb0", "#1b7f4b")
"""By epsilon, from the least to the greatest."""


def drawn(figures: Mapping[str, Any], panels: Sequence[tuple[str, str, float]]) -> str:
    """Return an SVG with a panel for each (figure, unit, useful error): median error by rows and epsilon."""
    found = [_panel(figures, *panel, place) for place, panel in enumerate(panels)]
    width, height = 2 * PANEL_W, PANEL_H * math.ceil(len(panels) / 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        f' font-size="11">\n<rect width="{width}" height="{height}" fill="#ffffff"/>\n'
        + "\n".join(found)
        + "\n</svg>\n"
    )


def _panel(figures: Mapping[str, Any], name: str, unit: str, useful: float, place: int) -> str:
    rows = [row for row in figures["errors"] if row["figure"] == name and row["median"] is not None]
    sizes = sorted({row["rows"] for row in rows})
    errors = [max(row["median"], useful / 100) for row in rows]
    low, high = _decade(min(*errors, useful), math.floor), _decade(max(*errors, useful), math.ceil)

    def x(size: float) -> float:
        return LEFT + WIDTH * (math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0]))

    def y(error: float) -> float:
        return TOP + HEIGHT * (1 - math.log(max(error, low) / low) / math.log(high / low))

    title = escape(f"{name}, {unit}" if unit else name)
    parts = [f'<text x="{LEFT}" y="{TOP - 14}" font-weight="bold">{title}</text>']
    parts += [
        f'<text x="{x(size):.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{size:,}</text>'
        f'<path d="M{x(size):.1f} {TOP}V{TOP + HEIGHT}" stroke="#e5e5e5"/>'
        for size in (sizes[0], 831, 5_000, sizes[-1])
    ]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        at = y(10.0**power)
        parts.append(
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
            f'<path d="M{LEFT} {at:.1f}H{LEFT + WIDTH}" stroke="#e5e5e5"/>'
        )
    parts.append(
        f'<path d="M{LEFT} {y(useful):.1f}H{LEFT + WIDTH}" stroke="#555" stroke-dasharray="4 3"/>'
        f'<text x="{LEFT + WIDTH}" y="{y(useful) - 4:.1f}" text-anchor="end" fill="#555">useful below</text>'
    )
    for colour, epsilon in zip(COLOURS, sorted({row["epsilon"] for row in rows}), strict=False):
        points = [(row["rows"], row["median"]) for row in rows if row["epsilon"] == epsilon]
        line = " ".join(f"{x(size):.1f},{y(error):.1f}" for size, error in sorted(points))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        size, error = max(points)
        parts.append(
            f'<text x="{x(size) + 4:.1f}" y="{y(error) + 4:.1f}" fill="{colour}">ε {epsilon:g}</text>'
        )
    parts.append(
        f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 32}" text-anchor="middle">joined rows</text>'
    )
    across, down = (place % 2) * PANEL_W, place // 2 * PANEL_H
    return f'<g transform="translate({across} {down})">\n' + "\n".join(parts) + "\n</g>"


def _decade(number: float, rounded: Any) -> float:
    return float(10.0 ** rounded(math.log10(number)))
