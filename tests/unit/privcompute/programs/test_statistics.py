"""Every figure of joint-statistics against numpy within its stated error, and what must not be shown."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privcompute.errors import OutOfRange, PeerMisbehaved, TooFewRows
from privcompute.mpc.engine import Engine
from privcompute.mpc.local import run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.rep3_engine import Rep3Engine
from privcompute.mpc.rounds import Round, Steps
from privcompute.programs.base import Context, InputColumn, JobInput, OwnData
from privcompute.programs.statistics import PROGRAM
from tests.unit.privcompute.opened import open_outputs

ROWS = 120
FIGURE_ERROR = 2.0**-17 + 1e-6
CORRELATION_ERROR = 2.0**-14

INPUTS = (
    JobInput(
        "bank/loans",
        0,
        (
            InputColumn("id", "id", "join"),
            InputColumn("amount", "integer", "plain"),
            InputColumn("rate", "decimal", "plain"),
        ),
    ),
    JobInput(
        "bureau/homes", 1, (InputColumn("id", "id", "join"), InputColumn("housing", "text", "aggregate"))
    ),
    JobInput("registry/people", 2, (InputColumn("id", "id", "join"), InputColumn("age", "integer", "plain"))),
)


@pytest.fixture(scope="module")
def tables() -> dict[str, dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(17)
    age = rng.integers(18, 80, ROWS)
    return {
        "bank/loans": {
            "amount": 100 * age + rng.integers(250, 18_424, ROWS),
            "rate": rng.normal(0.04, 0.01, ROWS),
        },
        "bureau/homes": {"housing": np.array(["own"] * 70 + ["rent"] * 34 + ["free"] * 16, dtype=object)},
        "registry/people": {"age": age},
    }


def compute(
    tables: Mapping[str, Mapping[str, NDArray[Any]]],
    parameters: dict[str, Any],
    *,
    rows: NDArray[np.int64] | None = None,
    min_group: int = 1,
    engines: Sequence[Engine] | None = None,
) -> Any:
    chosen = np.arange(ROWS) if rows is None else rows
    parsed = PROGRAM.check(parameters, INPUTS)
    parties: Sequence[Engine] = engines or [PlaintextEngine(index, 3) for index in range(3)]

    def party(engine: Engine) -> Steps[Any]:
        own = {
            item.dataset: OwnData(tables[item.dataset], chosen) for item in INPUTS if item.owner == engine.me
        }
        context = Context(bytes(32), INPUTS, parsed, len(chosen), min_group, own)
        outputs = yield from PROGRAM.run(engine, context)
        opened = yield from open_outputs(engine, outputs.shared, [0])
        return None if opened is None else PROGRAM.finish(opened, outputs.public)

    results = run_local([party(engine) for engine in parties]).results
    assert results[1:] == (None, None)
    return results[0]


def test_figures_of_one_column_match_numpy(tables: dict[str, dict[str, NDArray[Any]]]) -> None:
    rows = np.random.default_rng(3).permutation(ROWS)[:90]
    parameters = {
        "columns": ["bank/loans/amount", "bank/loans/rate", "registry/people/age"],
        "statistics": ["sum", "mean", "variance", "std", "min", "max"],
        "quantiles": ["0.1", "0.5", "0.99"],
    }
    found = compute(tables, parameters, rows=rows)
    assert found["rows"] == 90
    for reference, figures in found["columns"].items():
        dataset, _, column = reference.rpartition("/")
        cells = tables[dataset][column][rows].astype(float)
        expected = [cells.sum(), cells.mean(), cells.var(), cells.std(), cells.min(), cells.max()]
        expected += np.quantile(cells, [0.1, 0.5, 0.99]).tolist()
        assert np.allclose([float(text) for text in figures.values()], expected, rtol=0, atol=FIGURE_ERROR)
        assert list(figures)[-3:] == ["quantile 0.1", "quantile 0.5", "quantile 0.99"]


def test_correlations_across_owners_match_numpy(tables: dict[str, dict[str, NDArray[Any]]]) -> None:
    pairs = [
        ["bank/loans/amount", "registry/people/age"],
        ["registry/people/age", "bank/loans/rate"],
        ["registry/people/age", "registry/people/age"],
    ]
    found = compute(tables, {"correlations": pairs})["correlations"]
    columns = {
        name: tables[name.rpartition("/")[0]][name.rpartition("/")[2]] for pair in pairs for name in pair
    }
    for item in found:
        left, right = item["columns"]
        expected = np.corrcoef(columns[left], columns[right])[0, 1]
        assert abs(float(item["r"]) - expected) < CORRELATION_ERROR
    assert found[2]["r"] == "1.0000"


def test_groups_across_owners_are_exact(tables: dict[str, dict[str, NDArray[Any]]]) -> None:
    parameters = {
        "groups": [{"by": "bureau/homes/housing", "of": "bank/loans/amount"}, {"by": "bureau/homes/housing"}]
    }
    found = compute(tables, parameters)["groups"]
    housing, amount = tables["bureau/homes"]["housing"], tables["bank/loans"]["amount"]
    for item in found[0]["categories"]:
        cells = amount[housing == item["category"]]
        assert item["count"] == len(cells)
        assert float(item["sum"]) == cells.sum()
        assert float(item["mean"]) == pytest.approx(cells.mean(), abs=1e-6)
    assert [set(item) for item in found[1]["categories"]] == [{"category", "suppressed", "count"}] * 3


def test_sums_of_reals_by_group_stay_within_their_error(tables: dict[str, dict[str, NDArray[Any]]]) -> None:
    found = compute(tables, {"groups": [{"by": "bureau/homes/housing", "of": "bank/loans/rate"}]})["groups"][
        0
    ]
    for item in found["categories"]:
        cells = tables["bank/loans"]["rate"][tables["bureau/homes"]["housing"] == item["category"]]
        assert abs(float(item["sum"]) - cells.sum()) <= len(cells) * FIGURE_ERROR


@pytest.mark.parametrize("by_grant", [True, False])
def test_a_group_below_the_minimum_is_suppressed_with_the_next_smallest(
    tables: dict[str, dict[str, NDArray[Any]]], by_grant: bool
) -> None:
    parameters = {
        "groups": [{"by": "bureau/homes/housing", "of": "bank/loans/amount"}],
        "min_group": 1 if by_grant else 20,
    }
    found = compute(tables, parameters, min_group=20 if by_grant else 1)
    assert found["min_group"] == 20
    shown = {item["category"]: item for item in found["groups"][0]["categories"]}
    assert shown["free"] == {"category": "free", "suppressed": True}
    assert shown["rent"] == {"category": "rent", "suppressed": True}
    assert shown["own"]["count"] == 70


def test_nothing_of_a_suppressed_group_is_in_the_opened_outputs(
    tables: dict[str, dict[str, NDArray[Any]]],
) -> None:
    """The shares themselves hold zeros: suppression does not rely on the receiver looking away."""
    parameters = {
        "groups": [{"by": "bureau/homes/housing", "of": "bank/loans/amount"}],
        "histograms": [{"column": "registry/people/age", "edges": ["18", "20", "50", "81"]}],
        "min_group": 20,
    }
    parsed = PROGRAM.check(parameters, INPUTS)
    engines = [PlaintextEngine(party, 3) for party in range(3)]

    def party(engine: Engine) -> Steps[Any]:
        own = {
            item.dataset: OwnData(tables[item.dataset], np.arange(ROWS))
            for item in INPUTS
            if item.owner == engine.me
        }
        return (yield from PROGRAM.run(engine, Context(bytes(32), INPUTS, parsed, ROWS, 1, own)))

    shared = run_local([party(engine) for engine in engines]).results[0].shared
    for kind in ("group0", "histogram0"):
        hidden = shared[f"{kind}.shown"].words[0] == 0
        assert hidden.any()
        assert np.all(shared[f"{kind}.counts"].words[0][hidden] == 0)
    assert np.all(shared["group0.sums"].words[0][shared["group0.shown"].words[0] == 0] == 0)


def test_histograms_count_as_numpy_does(tables: dict[str, dict[str, NDArray[Any]]]) -> None:
    edges = ["18", "35", "50.5", "79"]
    found = compute(tables, {"histograms": [{"column": "registry/people/age", "edges": edges}]})[
        "histograms"
    ][0]
    expected = np.histogram(tables["registry/people"]["age"], [float(edge) for edge in edges])[0]
    assert found["counts"] == expected.tolist()
    assert found["edges"] == edges


def test_three_parties_on_shares_find_the_same_figures(tables: dict[str, dict[str, NDArray[Any]]]) -> None:
    parameters = {
        "columns": ["bank/loans/amount", "registry/people/age"],
        "quantiles": ["0.5"],
        "correlations": [["bank/loans/amount", "registry/people/age"]],
        "histograms": [{"column": "registry/people/age", "edges": ["18", "20", "50", "81"]}],
        "groups": [{"by": "bureau/homes/housing", "of": "bank/loans/amount"}],
        "min_group": 20,
    }
    entropy = random.Random(5).randbytes
    engines = run_local([Rep3Engine.start(me, bytes(32), entropy(64)) for me in range(3)]).results
    joint, clear = compute(tables, parameters, engines=engines), compute(tables, parameters)
    left, right = joint.pop("correlations")[0], clear.pop("correlations")[0]
    assert abs(float(left["r"]) - float(right["r"])) < 2 * CORRELATION_ERROR
    assert joint == clear


def test_too_few_joined_rows_end_the_run(tables: dict[str, dict[str, NDArray[Any]]]) -> None:
    with pytest.raises(TooFewRows, match=r"4 joined rows, .* at least 5"):
        compute(tables, {"columns": ["registry/people/age"]}, rows=np.arange(4), min_group=5)


def test_a_column_too_large_for_exact_sums_is_named(tables: dict[str, dict[str, NDArray[Any]]]) -> None:
    large = {**tables, "bank/loans": {**tables["bank/loans"], "amount": np.full(ROWS, 2**45)}}
    with pytest.raises(OutOfRange, match="bank/loans/amount"):
        compute(large, {"groups": [{"by": "bureau/homes/housing", "of": "bank/loans/amount"}]})
    huge = {**tables, "bank/loans": {**tables["bank/loans"], "amount": np.full(ROWS, 2**46)}}
    with pytest.raises(OutOfRange, match="column bank/loans/amount: a figure is beyond"):
        compute(huge, {"columns": ["bank/loans/amount"]})


def test_categories_in_a_form_that_is_not_agreed_name_the_owner(
    tables: dict[str, dict[str, NDArray[Any]]],
) -> None:
    parsed = PROGRAM.check({"groups": [{"by": "bureau/homes/housing"}]}, INPUTS)
    context = Context(
        bytes(32), INPUTS, parsed, ROWS, 1, {"bank/loans": OwnData(tables["bank/loans"], np.arange(ROWS))}
    )

    def liar() -> Steps[None]:
        yield Round({0: b"\x81\xb4bureau/homes/housing\x91\x01", 2: b"\x80"}, {})

    def listener() -> Steps[None]:
        yield Round({}, {1: 100}, exact=False)

    with pytest.raises(PeerMisbehaved, match="party 1 announced no usable categories"):
        run_local([PROGRAM.run(PlaintextEngine(0, 3), context), liar(), listener()])


def test_progress_ends_at_its_total(tables: dict[str, dict[str, NDArray[Any]]]) -> None:
    seen: list[tuple[str, int, int]] = []
    parsed = PROGRAM.check(
        {"columns": ["registry/people/age"], "groups": [{"by": "bureau/homes/housing"}]}, INPUTS
    )
    own = {name: OwnData(columns, np.arange(ROWS)) for name, columns in tables.items()}
    alone = tuple(JobInput(item.dataset, 0, item.columns) for item in INPUTS)
    context = Context(bytes(32), alone, parsed, ROWS, 1, own, lambda *step: seen.append(step))
    run_local([PROGRAM.run(PlaintextEngine(), context)])
    assert seen[0] == ("statistics", 0, 2)
    assert seen[-1] == ("statistics", 2, 2)
