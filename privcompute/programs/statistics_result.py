"""Result of `joint-statistics` from its opened outputs: decimal text, integers and null alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from chain.primitives.values import Value
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.programs.base import decimal_text

_ONE = 1 << FRACTION_BITS
"""Figures and sums are opened as integers in units of 2^-16."""


def statistics_value(opened: Mapping[str, NDArray[Any]], public: Value) -> Value:
    """Return the result as receivers keep it; `public` is what the run left beside the shares."""
    columns = {}
    for index, reference in enumerate(public["columns"]):
        texts = [decimal_text(int(value), _ONE) for value in opened[f"column{index}"].tolist()]
        columns[reference] = dict(zip(public["figures"], texts, strict=True))
    return {
        "rows": public["rows"],
        "min_group": public["min_group"],
        "columns": columns,
        "correlations": _correlation_values(opened, public),
        "histograms": [_histogram_value(opened, i, item) for i, item in enumerate(public["histograms"])],
        "groups": [_group_value(opened, i, item) for i, item in enumerate(public["groups"])],
    }


def _correlation_values(opened: Mapping[str, NDArray[Any]], public: Value) -> Value:
    if not public["correlations"]:
        return []
    values = opened["correlations"].tolist()
    return [
        {"columns": pair, "r": decimal_text(round(value), _ONE, 4)}
        for pair, value in zip(public["correlations"], values, strict=True)
    ]


def _histogram_value(opened: Mapping[str, NDArray[Any]], index: int, item: Value) -> Value:
    shown, counts = opened[f"histogram{index}.shown"].tolist(), opened[f"histogram{index}.counts"].tolist()
    return {**item, "counts": [count if show else None for show, count in zip(shown, counts, strict=True)]}


def _group_value(opened: Mapping[str, NDArray[Any]], index: int, item: Value) -> Value:
    shown, counts = opened[f"group{index}.shown"].tolist(), opened[f"group{index}.counts"].tolist()
    sums = opened[f"group{index}.sums"].tolist() if item["of"] is not None else [None] * len(shown)
    rows = []
    for label, show, count, total in zip(item["categories"], shown, counts, sums, strict=True):
        row: dict[str, Value] = {"category": label, "suppressed": not show}
        if show:
            row["count"] = count
        if show and total is not None:
            row |= {"sum": decimal_text(total, _ONE), "mean": decimal_text(total, _ONE * count)}
        rows.append(row)
    return {"by": item["by"], "of": item["of"], "categories": rows}
