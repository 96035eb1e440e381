"""A trial warns of all that lies beyond its range on shares, and shows hidden figures wherever they stand."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.pages.page import trace
from privcompute.pages.columns import InputColumn
from privcompute.pages.trial import Sample, Trial, try_out


def tried(body: str, x: list[int], min_group: int = 1) -> Trial:
    """Try a page on a dataset of one owner with x and a group, and one of another with y, which is 1."""
    n = len(x)
    a = Sample(
        "bank",
        (
            InputColumn("id", "integer", "plain"),
            InputColumn("x", "integer", "plain"),
            InputColumn("ward", "category", "plain", categories=("A", "B")),
        ),
        ("id",),
        {"id": np.arange(n), "x": np.array(x), "ward": np.array(["A"] * (n - 1) + ["B"])},
    )
    b = Sample(
        "registry",
        (InputColumn("id", "integer", "plain"), InputColumn("y", "integer", "plain")),
        ("id",),
        {"id": np.arange(n), "y": np.ones(n, np.int64)},
    )
    source = f'"""A trial."""\n\n\ndef run(a, b):\n    rows = join(a, b)\n{body}\n'
    plan = trace(source, {"a": a.schema(), "b": b.schema()})
    return try_out(plan, [a, b], min_group, bytes)


@pytest.mark.parametrize(
    ("says", "x", "warned"),
    [
        ("sum(rows.b.y) / sum(rows.a.x * rows.b.y)", 2**29, "the divisor of 'divide' reaches 2.15e+09"),
        (
            "sum(rows.a.x * rows.b.y) / sum(rows.b.y * 3000000)",
            2**43,
            "what 'divide' divides reaches 3.52e+13",
        ),
        ("sqrt(sum(rows.a.x * rows.b.y))", 2**45, "a value of 'sum' reaches 1.41e+14"),
        ("sqrt(sum(rows.a.x * rows.b.y))", 2**40, ""),
        ("mean(rows.a.x * rows.b.y)", 2**29, ""),
    ],
)
def test_a_warning_judges_what_goes_into_divisions_and_functions(says: str, x: int, warned: str) -> None:
    trial = tried(f'    release({says}, to="bank", exact=True, name="it")', [x] * 4)
    assert len(trial.warnings) == bool(warned)
    assert not warned or (trial.warnings[0].startswith(warned) and "below" in trial.warnings[0])
    if not warned:
        assert trial.figures[0].difference <= 2.0**-20 * abs(float(trial.figures[0].clear))


def test_a_warning_judges_every_turn_of_a_loop() -> None:
    body = """    w = sum(rows.a.x * rows.b.y)
    for step in repeat(2):
        w = where(step == 0, w * 100000000000000, w * 0)
    release(w, to="bank", exact=True, name="it")"""
    assert any(one.startswith("a value of") for one in tried(body, [9, 9]).warnings)


@pytest.mark.parametrize(
    "says", ["stack([n, m])", "stack([n, m]).T", "stack([stack([n, m]), stack([m, n])])"]
)
def test_hidden_groups_in_figures_of_several_axes_are_hidden_in_the_trial(says: str) -> None:
    body = f"""    by = rows.a.ward
    n, m = count(rows, by=by), sum(rows.a.x * rows.b.y, by=by)
    release({says}, to="bank", exact=True, name="it")"""
    (figure,) = tried(body, [1, 2, 3, 4], min_group=2).figures
    assert figure.joint.shape == figure.clear.shape
