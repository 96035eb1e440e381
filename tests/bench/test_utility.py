"""The measure of what noise costs: its noise is that of agents, and the document says what was measured."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privcompute.pages.noise import noise_of, noise_within
from tests.bench.pages import credit
from tests.bench.utility import (
    EPSILONS,
    MEASURES,
    Drawn,
    NoisyRun,
    figures_of,
    measured,
    pages,
    plot_of,
    text_of,
    useful_from,
)

DOCS = Path(__file__).parents[2] / "docs"
KEPT: dict[str, Any] = json.loads((DOCS / "utility.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data() -> Drawn:
    return Drawn(credit())


def test_the_document_quotes_what_was_measured_in_80_columns() -> None:
    said = text_of(KEPT)
    assert said in (DOCS / "utility.md").read_text(encoding="utf-8")
    assert max(map(len, said.splitlines())) <= 80
    assert plot_of(KEPT) == (DOCS / "utility.svg").read_text(encoding="utf-8")
    assert {row["figure"] for row in KEPT["errors"]} == {one.name for one in MEASURES}


def test_noise_of_the_measure_is_as_large_as_agents_draw_it(data: Drawn) -> None:
    plan = pages()["rates"].plan(data.schemas, 1.0)
    run = NoisyRun(plan, data.world(plan, data.rows, 1), np.random.default_rng(1))
    (node, each), *_ = noise_of(plan, 2).items()
    drawn = run.drawn(each, node, (20_000,))
    assert drawn.std() == pytest.approx(math.sqrt(2) * float(each.size), rel=0.03)
    model = pages()["model"].plan(data.schemas, 1.0)
    run = NoisyRun(model, data.world(model, data.rows, 1), np.random.default_rng(1))
    ((node, each),) = noise_within(model).items()
    drawn = run.drawn(each, node, (20_000,)) * 2**16
    assert drawn.std() == pytest.approx(math.sqrt(3 * float(each.size)), rel=0.03)


def test_figures_without_chance_are_those_without_noise(data: Drawn) -> None:
    plan = pages()["statistics"].plan(data.schemas, 1.0)
    world = data.world(plan, data.rows, 1)
    clear, again = figures_of(plan, world, None), figures_of(plan, world, None)
    noisy = figures_of(plan, world, np.random.default_rng(1))
    assert clear["rows by history.housing"].sum() == data.rows == noisy["rows in common"]
    assert all(np.array_equal(clear[name], again[name]) for name in clear)
    assert not np.array_equal(
        clear["bins of residents.age_in_years"], noisy["bins of residents.age_in_years"]
    )


def test_more_epsilon_and_more_rows_leave_less_error(data: Drawn) -> None:
    page, measures = pages()["statistics"], [one for one in MEASURES if one.page == "statistics"]

    def error(rows: int, epsilon: float) -> float:
        return float(np.median(measured(data, page, measures, rows, epsilon, 9)["people by age"]))

    assert error(831, 3.0) < error(831, 0.1)
    assert error(5_000, 0.5) < error(400, 0.5)


def test_rows_are_useful_from_where_all_larger_ones_are() -> None:
    one = MEASURES[0]
    errors = {100: 9.0, 200: 1.0, 400: 7.0, 831: 2.0}
    found = [
        {"figure": one.name, "rows": rows, "epsilon": epsilon, "quarters": [0.0, error * factor]}
        for epsilon, factor in zip(EPSILONS, (9.0, 1.0, 1.0, 0.1), strict=True)
        for rows, error in errors.items()
    ]
    assert useful_from(one, found) == {"0.1": None, "0.5": 831, "1": 831, "3": 100}


def test_the_plot_is_text_and_strokes_alone() -> None:
    names = {part.tag.rpartition("}")[2] for part in ET.fromstring(plot_of(KEPT)).iter()}
    assert names == {"svg", "rect", "g", "text", "path", "polyline"}
