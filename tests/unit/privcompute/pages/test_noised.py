"""Noise inside a computation, among three parties: how much in each turn, anew in each, and on what."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.pages import limits
from contracts.pages.page import trace
from contracts.pages.plan import Plan
from contracts.pages.sensitivity import greatest
from contracts.pages.zcdp import rho_of_gaussian
from privcompute.mpc.local import run_local
from privcompute.pages import noise, own, steps
from privcompute.pages.columns import InputRefused
from privcompute.pages.costing import estimate_of
from privcompute.pages.inputs import size_of
from privcompute.pages.making import JOINTLY
from privcompute.pages.placing import SECRET, place
from privcompute.pages.releases import results
from privcompute.pages.restricting import restrict
from tests.unit.privcompute.mpc.drawing import each_its_own, fits_gaussian, fits_laplace
from tests.unit.privcompute.pages.running import Data, numbers, on_rep3, run_plan

ROWS, BINS, TURNS = 60, 900, 6
EDGES = f"[{', '.join(str(edge) for edge in range(BINS + 1))}]"
GAUSSIAN, LAPLACE = "gaussian(epsilon=2, delta=0.0001)", "laplace(epsilon=2)"


def data(rows: int = ROWS, **changed: Any) -> Data:
    """Loans of party 0 and people of party 1, with one id."""
    ids = np.array([f"p{row}" for row in range(rows)])
    drawn = np.random.default_rng(4)
    amount, age = drawn.integers(0, 2_000, rows), drawn.integers(18, 91, rows)
    late = drawn.random(rows) < 1 / (1 + np.exp(-(amount - 1_000) / 300 + (age - 50) / 20))
    loans = {"id": ids, "amount": amount, "late": late}
    people = {"id": ids, "age": age, "kind": drawn.choice(["a", "b"], rows)}
    every: dict[str, dict[str, Any]] = {"loans": loans, "people": people}
    for name, cells in changed.items():
        table, column = name.split("_")
        every[table][column] = cells
    return Data(
        {"loans": 0, "people": 1},
        every,
        {
            "loans": {"id": "text", "amount": "integer", "late": "boolean"},
            "people": {"id": "text", "age": "integer", "kind": "category"},
        },
        {"people.kind": {"categories": ("a", "b")}},
    )


def page(*body: str) -> str:
    lines = "\n    ".join(["rows = join(loans, people)", *body])
    return f'"""A page."""\n\n\ndef run(loans, people):\n    {lines}\n'


def traced(*body: str, of: Data | None = None) -> Plan:
    return trace(page(*body), (of or data()).schemas())


def counts_of_turns(how: str, turns: int = TURNS) -> Plan:
    """Return a page that keeps a histogram with noise of each turn."""
    return traced(
        f"each = stack([{', '.join(map(str, range(turns)))}])",
        f"found = zeros(({BINS}, {turns}))",
        f"for turn in repeat({turns}):",
        f"    n = noised(count(rows, by=bins(rows.loans.amount, edges={EDGES})), {how})",
        "    found = found + where((each == turn)[None, :], n[:, None], 0)",
        'release(found, to="bank", noised=True, name="it")',
    )


def noise_of_turns(how: str) -> list[NDArray[np.int64]]:
    """Return the noise of each turn."""
    amounts = data().columns["loans"]["amount"]
    exact = np.bincount(amounts[amounts <= BINS].clip(0, BINS - 1), minlength=BINS)
    found = numbers(figures(counts_of_turns(how), data())["it"]["value"])
    return [np.rint(turn - exact).astype(np.int64) for turn in found.T]


def figures(plan: Plan, of: Data, min_group: int = 1) -> dict[str, Any]:
    """Return the result's figures by name."""
    opened, outputs = run_local(
        [on_rep3(plan, run, me) for me, run in enumerate(of.runs(plan, min_group))]
    ).results[0]
    return {one["name"]: one for one in results(opened, outputs.public)["figures"]}


MODEL = (
    "a = ((clip(rows.loans.amount, 0, 2000) - 1000) / 1000)[:, None]",
    "b = ((clip(rows.people.age, 18, 90) - 54) / 36)[:, None]",
    "x = concat([real(membership(rows))[:, None], a, b, one_hot(rows.people.kind)])",
    "w = zeros(shape(x)[1])",
    "for turn in repeat(12):",
    "    error = sigmoid(x @ w) - rows.loans.late",
    "    w = clip(w - 3 * noised(x.T @ error, {}) / count(rows), -4, 4)",
    'release(w, to="bank", noised=True, name="weights")',
)


def model(how: str, *more: str) -> Plan:
    """Return a page that fits a logistic regression with noise."""
    return traced(*[line.format(how) for line in MODEL], *more)


# --- how much noise, and whose ---------------------------------------------------------------------------
def test_each_turn_has_gaussian_noise_scaled_for_all_turns() -> None:
    (each,) = noise.noise_within(counts_of_turns(GAUSSIAN)).values()
    rho = rho_of_gaussian(Fraction(2), Fraction(1, 10_000))
    assert 2 * each.size == pytest.approx(float(TURNS * 2 / (2 * rho)), rel=1e-5)
    assert TURNS * 2 / (2 * 2 * each.size) <= rho, "all turns together spend no more"
    assert fits_gaussian(np.concatenate(noise_of_turns(GAUSSIAN)), each.size, 3)


def test_each_turn_has_laplace_noise_scaled_for_all_turns() -> None:
    assert fits_laplace(np.concatenate(noise_of_turns(LAPLACE)), Fraction(2 * TURNS, 2))


@pytest.mark.parametrize("how", [GAUSSIAN, LAPLACE])
def test_each_turn_draws_noise_of_its_own(how: str) -> None:
    assert each_its_own(noise_of_turns(how))


def test_a_sum_that_a_loop_does_not_change_gets_noise_in_each_turn_all_the_same() -> None:
    plan = counts_of_turns(GAUSSIAN)
    prepared = steps.prepare(plan, 1).steps
    homes = {step.name: step.home for step in prepared if step.name in ("group_count", "noise")}
    assert homes["group_count"] == -1
    assert prepared[homes["noise"]].name == "repeat"


@pytest.mark.parametrize("how", ["gaussian(epsilon=0.0000001, delta=0.000001)", "laplace(epsilon=0.0000001)"])
def test_noise_beyond_what_a_computation_holds_is_refused_before_anything_runs(how: str) -> None:
    with pytest.raises(
        InputRefused, match=r"noised\(…\) number 1: epsilon = .* more noise than shares hold; ask"
    ):
        run_plan(model(how), data())


def test_counts_have_no_more_noise_inside_a_computation_than_their_bounds_say() -> None:
    """What is divided by rows is bounded by that, so more is refused; sums of greater numbers have room."""
    with pytest.raises(InputRefused, match="more noise than shares hold"):
        noise.noise_within(counts_of_turns("laplace(epsilon=0.00001)"))
    wide = "noised(sum(clip(rows.loans.amount, 0, 2000)), laplace(epsilon=0.001))"
    (each,) = noise.noise_within(traced(f'release({wide}, to="bank", noised=True)')).values()
    assert 42 * each.size > limits.NOISED_MOST


def test_the_least_epsilon_that_a_refusal_names_runs() -> None:
    with pytest.raises(InputRefused) as refused:
        run_plan(model("laplace(epsilon=0.0000001)"), data())
    least = float(str(refused.value).split("an epsilon of ")[1].split()[0])
    (each,) = noise.noise_within(model(f"laplace(epsilon={least * 1.01:.10f})")).values()
    assert 0.9 < 42 * each.size / 2**16 / limits.NOISED_MOST < 1, (
        "noise is below the power of two of 42 scales"
    )


# --- what it stands on -------------------------------------------------------------------------------------
def test_a_descent_with_little_noise_is_that_in_the_clear() -> None:
    """With an epsilon of 10 and many rows, noise moves coefficients by little."""
    plan, of = model("gaussian(epsilon=10, delta=0.001)"), data(4_000)
    clear, _ = run_plan(model("gaussian(epsilon=10, delta=0.001)"), of, clear=True)
    found = numbers(figures(plan, of)["weights"]["value"])
    assert np.abs(found - numbers(clear["weights"])).max() < 0.2
    assert found[1] > 1.5, "larger loans are late"


def test_products_of_one_owners_own_columns_are_done_on_shares() -> None:
    plan = traced(
        "x = stack([clip(rows.loans.amount, 0, 2000) / 2000, real(rows.loans.late)])",
        f'release(noised(x.T @ (clip(rows.loans.amount, 0, 5) / 7), {LAPLACE}), to="bank", noised=True)',
    )
    placed = place(steps.prepare(plan, 1), [0, 1], [one.dataset for one in plan.graph.columns])
    (product,) = [place for place, step in enumerate(placed.steps) if step.name == "matmul"]
    assert (placed.places[product], placed.steps[product].attrs) == (SECRET, JOINTLY)


NEIGHBOURS = {
    "a product over rows": ("x.T @ error", "loans_amount", (-(10**6), 10**6)),
    "a sum of products": ("sum(x * error[:, None])", "loans_amount", (-(10**6), 10**6)),
    "another's column": ("x.T @ error", "people_age", (18, 90)),
    "a category": ("x.T @ error", "people_kind", ("a", "b")),
    "the label": ("x.T @ error", "loans_late", (False, True)),
}
FIRST_TURN = (
    *MODEL[:3],
    "w = stack([0.5, -1, 2, 0, 1])",
    "error = sigmoid(x @ w) - rows.loans.late",
)


def first_turn(total: str) -> Plan:
    return traced(*FIRST_TURN, f'release(noised({total}, {LAPLACE}), to="bank", noised=True, name="it")')


def moved(name: str) -> tuple[Plan, list[float]]:
    """Return, in units, how far one row moves what noise stands on, whatever the row holds.

    With one seed noise is the same, so the difference of two runs is that of the sums.
    """
    total, column, cells = NEIGHBOURS[name]
    plan, (table, key) = first_turn(total), column.split("_")
    found = []
    for far in cells:
        changed = data().columns[table][key].copy()
        changed[7] = far
        found.append(numbers(figures(plan, data(**{column: changed}))["it"]["value"]))
    gap = np.abs(found[0] - found[1]) * 2**16
    return plan, [float(gap.sum()), float(np.sqrt((gap**2).sum()))]


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_one_row_changes_what_noise_stands_on_by_no_more_than_its_sensitivity(name: str) -> None:
    plan, (l1, l2) = moved(name)
    told = greatest(plan.graph, plan.datasets, plan.noised[0].atom)
    assert 0 < l1 <= float(told[0]) * 2**16 + 1
    assert l2 <= float(told[1]) * 2**16 + 1


# --- what is said, and what it costs -----------------------------------------------------------------------
def test_a_result_says_of_what_follows_from_noise_how_much_there_was() -> None:
    more = (
        'release(count((x @ w > 0) == rows.loans.late), to="bank", noise=laplace(epsilon=0.5), name="right")'
    )
    found = figures(model(GAUSSIAN, more), data(), min_group=20)
    weights, right = found["weights"], found["right"]
    assert (weights["kind"], weights["mechanism"], weights["epsilon"], weights["delta"]) == (
        "dp", "gaussian", "2", "0.0001",
    )  # fmt: skip
    assert weights["interval"] == {"level": "0.95", "low": None, "high": None, "cut": False}
    assert (right["kind"], right["mechanism"], right["epsilon"]) == ("dp", "laplace", "0.5")
    assert right["interval"]["low"] <= right["value"] <= right["interval"]["high"]


def test_noise_in_turns_takes_no_rounds_of_its_own_and_costs_are_stated() -> None:
    plan = model(GAUSSIAN)
    _, local = run_plan(plan, data())
    (run, *_) = data().runs(plan)
    placed = restrict(place(steps.prepare(plan, 1), [0, 1], [one.dataset for one in plan.graph.columns]))
    names = {size for cells in plan.graph.cells for size in cells.shape if isinstance(size, str)}
    sizes = {size: size_of(run, size) for size in names}
    took = max(local.rounds) - 2
    assert took == pytest.approx(estimate_of(placed, "rep3", sizes).rounds, rel=0.3)
    (cost,) = plan.cost
    assert took == pytest.approx(cost.rounds.value(sizes) - 7, rel=0.3)
    assert max(local.sent_bytes) == pytest.approx(cost.sent.value(sizes), rel=0.4)


# --- planted faults ----------------------------------------------------------------------------------------
def test_noise_that_is_scaled_for_one_turn_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = noise._drawn
    monkeypatch.setattr(noise, "_drawn", lambda how, *of: whole(_for_one(how), *of))
    rho = rho_of_gaussian(Fraction(2), Fraction(1, 10_000))
    assert not fits_gaussian(np.concatenate(noise_of_turns(GAUSSIAN)), TURNS / (2 * rho), 3)
    assert not fits_laplace(np.concatenate(noise_of_turns(LAPLACE)), Fraction(TURNS))


def _for_one(how: Any) -> Any:
    return noise._Covering(how.name, how.mechanism, how.epsilon, how.delta, 1, how.less)


def test_noise_that_turns_share_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = steps._Preparing.with_noise
    monkeypatch.setattr(
        steps._Preparing,
        "with_noise",
        lambda self, figure, drawn, cells, _: whole(self, figure, drawn, cells, -1),
    )
    assert not each_its_own(noise_of_turns(GAUSSIAN))


def test_a_clip_that_is_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = own._work
    monkeypatch.setattr(
        own, "_work", lambda name, x, attrs: x[0] if name == "clip" else whole(name, x, attrs)
    )
    plan, (l1, _) = moved("a product over rows")
    assert l1 > 2 * float(greatest(plan.graph, plan.datasets, plan.noised[0].atom)[0]) * 2**16
