"""A page for jobs of tests: it uses of each dataset the columns that its parameters say, as they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PAGE = '''"""How many people all who join know; of further columns what `uses` says, dataset by dataset."""


def told(cells, use, receiver, name):
    if use == "encrypted":
        keep(cells, name=name)
    if use == "noisy":
        release(sum(clip(cells, 0, 9)), to=receiver, noise=laplace(epsilon=1), name=name)
    if use == "aggregate":
        release(sum(cells), to=receiver, exact=True, name=name)
    if use == "plain":
        release(cells, to=receiver, exact=True, name=name)


def joins(listed):
    return len([column for column, use in listed if use == "join"]) > 0


def run(*tables, receivers=("bank",), uses=(), on="", figures=("mean",)):
    joining = [table for place, table in enumerate(tables) if len(uses) == 0 or joins(uses[place])]
    rows = tables[0]
    if len(joining) > 1:
        rows = join(joining) if on == "" else join(joining, on=on)
    for receiver in receivers:
        release(count(rows), to=receiver, exact=True, name="people")
    for place, listed in enumerate(uses):
        one = tables[place]
        joined = len(joining) > 1 and joins(listed)
        for column, use in listed:
            cells = rows[name_of(one)][column] if joined else one[column]
            told(cells, use, receivers[0], name_of(one) + "." + column)
'''


def parameters_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with which the receivers and uses of a job follow of the page."""
    uses = [[[column, use] for column, use in one["columns"].items()] for one in spec["inputs"]]
    return {"receivers": sorted(spec["receivers"]), "uses": uses, "figures": ["mean"]}
