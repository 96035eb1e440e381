"""What an owner finds on its own data before it binds is what would end the run later, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chain.primitives.errors import AssentError
from privcompute.mpc.local import run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.rounds import Steps
from privcompute.programs.base import Context, InputColumn, InputRefused, JobInput, OwnData, OwnTable
from privcompute.programs.preflight import CODES
from privcompute.programs.registry import program
from privcompute.programs.work import CodeWork

Table = Mapping[str, NDArray[Any]]
ROWS = 60


def job(use: str = "aggregate", **declared: Any) -> tuple[JobInput, ...]:
    key = InputColumn("id", "text", "join")
    ours = (key, InputColumn("x", "decimal", use, **declared), InputColumn("y", "category", use))
    theirs = (key, InputColumn("z", "decimal", use), InputColumn("g", "category", use))
    return JobInput("bank/a", 0, ours), JobInput("bureau/b", 1, theirs)


def table(rows: int = ROWS, **changes: NDArray[Any]) -> dict[str, NDArray[Any]]:
    labels = np.array(["bad"] * (rows // 2) + ["good"] * (rows - rows // 2), dtype=object)
    columns = {"x": np.linspace(-1.0, 1.0, rows), "y": labels}
    return {**columns, **changes}


REGRESSION: dict[str, Any] = {"label": "bank/a/y", "positive": "bad", "features": ["bank/a/x", "bureau/b/z"]}
FIGURES: dict[str, Any] = {
    "columns": ["bank/a/x"],
    "statistics": ["sum", "variance"],
    "correlations": [["bank/a/x", "bureau/b/z"]],
    "groups": [{"by": "bank/a/y", "of": "bureau/b/z"}, {"by": "bureau/b/g", "of": "bank/a/x"}],
}


def codes(
    name: str,
    parameters: dict[str, Any],
    columns: Table,
    min_group: int = 5,
    inputs: tuple[JobInput, ...] | None = None,
    **known: Any,
) -> list[str]:
    inputs = inputs or job()
    parsed = program(name).check(parameters, inputs)
    rows = len(columns["x"])
    own = OwnTable(inputs, parsed, min_group, inputs[0], columns, rows, **known)
    work = CodeWork(program(name), parsed, inputs, (0,))
    return [one.code for one in work.findings(own)]


HUGE, WORDS = np.full(ROWS, 1e300), np.array([f"w{n}" for n in range(200)], dtype=object)


@pytest.mark.parametrize(
    ("name", "parameters", "columns", "expected"),
    [
        ("logistic-regression", REGRESSION, table(), []),
        ("joint-statistics", FIGURES, table(), []),
        ("logistic-regression", REGRESSION, table(10), ["DATA_TOO_FEW_ROWS", "DATA_CLASS_TOO_SMALL"]),
        ("logistic-regression", REGRESSION | {"positive": "awful"}, table(), ["DATA_CLASS_TOO_SMALL"]),
        ("logistic-regression", REGRESSION, table(x=HUGE), ["DATA_OUT_OF_RANGE"]),
        ("joint-statistics", FIGURES, table(x=HUGE), ["DATA_OUT_OF_RANGE"] * 3),
        ("joint-statistics", FIGURES, table(x=np.full(ROWS, 2.0**46 / 59)), ["DATA_OUT_OF_RANGE"] * 2),
        (
            "joint-statistics",
            FIGURES | {"min_category_rows": 1},
            table(200, y=WORDS),
            ["DATA_TOO_MANY_CATEGORIES"],
        ),
        (
            "joint-statistics",
            FIGURES | {"min_category_rows": 1},
            table(y=np.array([f"{n:030}" * 60 for n in range(ROWS)], dtype=object)),
            ["DATA_NAMES_TOO_LONG"],
        ),
    ],
)
def test_what_would_end_the_run_is_found_on_the_owners_own_data(
    name: str, parameters: dict[str, Any], columns: Table, expected: list[str]
) -> None:
    assert codes(name, parameters, columns) == expected


def test_a_finding_names_no_number_in_its_code_and_every_code_is_listed() -> None:
    assert all(code.startswith("DATA_") and not any(char.isdigit() for char in code) for code in CODES)


def test_rows_that_an_earlier_job_joined_are_judged_as_they_are() -> None:
    joined = np.arange(30, 60)
    assert codes("logistic-regression", REGRESSION, table(), joined=joined) == ["DATA_CLASS_TOO_SMALL"]
    assert codes("logistic-regression", REGRESSION, table(), joined=np.arange(10, 50)) == []
    few = codes("joint-statistics", FIGURES, table(), joined=joined, least_rows=31)
    assert few == ["DATA_TOO_FEW_ROWS"]


def test_a_declared_domain_answers_in_place_of_the_cells() -> None:
    """Other cells under the same declaration give the same answer, which tells nothing of them."""
    wide = job(low="0", high="1e300")
    answers = {
        tuple(codes("logistic-regression", REGRESSION, table(x=cells), inputs=wide))
        for cells in (np.linspace(0, 1, ROWS), HUGE)
    }
    assert answers == {("DATA_OUT_OF_RANGE",)}


def run(parameters: dict[str, Any], name: str, tables: list[Table], rows: int, inputs: Any) -> Any:
    parsed = program(name).check(parameters, inputs)

    def party(engine: PlaintextEngine) -> Steps[Any]:
        item = inputs[engine.me]
        own = {item.dataset: OwnData(tables[engine.me], np.arange(rows))}
        return (yield from program(name).run(engine, Context(bytes(32), inputs, parsed, rows, 5, own)))

    return run_local([party(PlaintextEngine(me, 2)) for me in range(2)]).results


FINE = {"z": np.linspace(5.0, 6.0, 200), "g": np.array(["a", "b"] * 100, dtype=object)}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_passes_does_not_fail_later_for_a_reason_of_data(data: st.DataObject) -> None:
    """Whatever rows are joined, as many as the job needs and with classes as large."""
    rows = data.draw(st.integers(24, 90))
    scale = 10.0 ** data.draw(st.integers(-300, 300))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=rows) * scale
    words = rng.choice([f"w{n}" for n in range(data.draw(st.integers(2, 80)))], rows).astype(object)
    name, parameters = data.draw(
        st.sampled_from([("joint-statistics", FIGURES), ("logistic-regression", REGRESSION)])
    )
    if name == "logistic-regression":
        words = np.where(words == "w0", "bad", words)
    columns = table(rows, x=cells, y=words)
    inputs = job()
    joined = data.draw(st.integers(20, rows))
    if codes(name, parameters, columns, joined=np.arange(joined)):
        return
    run(parameters | {"iterations": 2} if name == "logistic-regression" else parameters, name,
        [columns, FINE], joined, inputs)  # fmt: skip


@pytest.mark.parametrize("cells", [HUGE, np.full(ROWS, 2.0**46)])
def test_what_is_found_would_have_ended_the_run(cells: NDArray[Any]) -> None:
    tables: list[Table] = [table(x=cells), {name: column[:ROWS] for name, column in FINE.items()}]
    with pytest.raises(AssentError), np.errstate(all="ignore"):
        run(FIGURES, "joint-statistics", tables, ROWS, job())


def test_a_histogram_of_an_aggregate_column_has_edges_that_its_schema_declares() -> None:
    """Histograms whose edges differ a little name a person's value by the difference of their counts."""
    inputs = job(edges=("0", "1", "2.5"))
    histogram = {"column": "bank/a/x", "edges": ["0", "2.50"]}
    statistics = program("joint-statistics")
    statistics.check({"histograms": [histogram, {"column": "bank/a/x"}]}, inputs)
    with pytest.raises(InputRefused, match=r"edge 1.01 is not among .*\(0, 1, 2.5\)"):
        statistics.check({"histograms": [histogram | {"edges": ["0", "1.01"]}]}, inputs)
    with pytest.raises(InputRefused, match="needs two edges or more"):
        statistics.check({"histograms": [{"column": "bank/a/x"}]}, job())
    statistics.check({"histograms": [histogram]}, job("plain"))


def test_groups_are_those_that_a_schema_declares_whatever_the_data_hold() -> None:
    ours, theirs = job()
    declared = InputColumn("g", "category", "aggregate", categories=("c", "b", "a"), missing="category")
    inputs = (ours, JobInput(theirs.dataset, 1, (*theirs.columns[:2], declared)))
    outputs = run({"groups": [{"by": "bureau/b/g"}]}, "joint-statistics", [table(), FINE], 40, inputs)
    assert outputs[0].public["groups"][0]["categories"] == ["c", "b", "a", "(missing)"]


def test_a_label_whose_missing_cells_are_filled_is_refused() -> None:
    ours, theirs = job()
    filled = InputColumn("y", "category", "aggregate", missing="category")
    inputs = (JobInput(ours.dataset, 0, (*ours.columns[:2], filled)), theirs)
    with pytest.raises(InputRefused, match="become 'category', which is no label"):
        program("logistic-regression").check(REGRESSION, inputs)
