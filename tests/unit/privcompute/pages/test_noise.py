"""Releases with noise: how much they have, what it stands on, what is said of it, what it costs."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.pages.limits import LAPLACE_DELTA
from contracts.pages.page import trace
from contracts.pages.plan import Plan
from contracts.pages.sensitivity import greatest
from contracts.pages.zcdp import rho_of_gaussian
from privcompute.mpc import noise as drawing
from privcompute.mpc.local import run_local
from privcompute.pages import noise, noisy, steps
from privcompute.pages.columns import InputRefused
from privcompute.pages.costing import estimate_of
from privcompute.pages.inputs import size_of
from privcompute.pages.intervals import formula_of, interval
from privcompute.pages.placing import SECRET, place
from privcompute.pages.releases import results
from privcompute.pages.restricting import restrict
from tests.unit.privcompute.mpc.drawing import each_its_own, fits_gaussian, fits_laplace
from tests.unit.privcompute.pages.running import Data, numbers, on_rep3, run_plan

ROWS = 60
BINS = 900
EDGES = f"[{', '.join(str(edge) for edge in range(BINS + 1))}]"
LAPLACE = "noise=laplace(epsilon=0.5)"
GAUSSIAN = "noise=gaussian(epsilon=2, delta=0.0001)"


def data(**changed: Any) -> Data:
    """Loans of party 0 and people of party 1, with one id."""
    ids = np.array([f"p{row}" for row in range(ROWS)])
    numbers = np.random.default_rng(4)
    loans = {
        "id": ids,
        "amount": numbers.integers(0, 2_000, ROWS),
        "rate": numbers.normal(3.0, 2.0, ROWS),
    }
    people = {"id": ids, "age": numbers.integers(18, 91, ROWS), "kind": numbers.choice(["a", "b"], ROWS)}
    every = {"loans": loans, "people": people}
    for name, cells in changed.items():
        table, column = name.split("_")
        every[table][column] = cells
    return _Bounded(
        {"loans": 0, "people": 1},
        every,
        {
            "loans": {"id": "text", "amount": "integer", "rate": "decimal"},
            "people": {"id": "text", "age": "integer", "kind": "category"},
        },
        {"people.kind": {"categories": ("a", "b")}},
    )


class _Bounded(Data):
    def schemas(self) -> Any:
        """Return schemas in which ages have a domain."""
        found = super().schemas()
        return found | {"people": replace(found["people"], bounds={"age": ("18", "90")})}


def page(*body: str) -> str:
    lines = "\n    ".join(["rows = join(loans, people)", *body])
    return f'"""A page."""\n\n\ndef run(loans, people):\n    {lines}\n'


def told(figure: str, how: str, name: str = "it") -> str:
    return f'release({figure}, to="bank", {how}, name="{name}")'


def traced(*body: str, of: Data | None = None) -> Plan:
    return trace(page(*body), (of or data()).schemas())


def bins(how: str, name: str = "it") -> str:
    return told(f"count(rows, by=bins(rows.loans.amount, edges={EDGES}))", how, name)


def counts(of: Data) -> NDArray[np.int64]:
    amounts = of.columns["loans"]["amount"]
    return np.bincount(amounts[amounts <= BINS].clip(0, BINS - 1), minlength=BINS)


def noise_on_bins(how: str) -> NDArray[np.int64]:
    """Return the noise of six histograms."""
    found = figures(traced(*[bins(how, f"bins {number}") for number in range(6)]), data())
    apart = [numbers(one["value"]).astype(np.int64) - counts(data()) for one in found.values()]
    return np.concatenate(apart)


def figures(plan: Plan, of: Data, min_group: int = 1) -> dict[str, Any]:
    """Return the result's figures by name."""
    runs = of.runs(plan, min_group)
    opened, outputs = run_local([on_rep3(plan, run, me) for me, run in enumerate(runs)]).results[0]
    return {one["name"]: one for one in results(opened, outputs.public)["figures"]}


# --- how much noise ----------------------------------------------------------------------------------------
def test_a_histogram_has_laplace_noise_of_the_scale_that_its_sensitivity_asks_for() -> None:
    """A row that moves from one bin to another changes two counts by one each: l1 is 2."""
    assert fits_laplace(noise_on_bins(LAPLACE), 2 / Fraction(1, 2))


def test_a_histogram_has_gaussian_noise_of_which_two_parts_suffice() -> None:
    (each,) = noise.noise_of(traced(bins(GAUSSIAN)), 0).values()
    rho = rho_of_gaussian(Fraction(2), Fraction(1, 10_000))
    assert 2 * each.size == pytest.approx(float(2 / (2 * rho)), rel=1e-5)
    assert 2 * each.size >= 2 / (2 * rho)
    assert fits_gaussian(noise_on_bins(GAUSSIAN), each.size, 3)


def test_several_sums_of_one_release_share_its_epsilon() -> None:
    mean, alone = (traced(told(f"{what}(rows.people.age)", LAPLACE)) for what in ("mean", "sum"))
    scales = [one.size for one in noise.noise_of(mean, 0).values()]
    assert scales == [2 * noise.noise_of(alone, 0).popitem()[1].size, Fraction(2) / Fraction(1, 2)]


def test_reals_have_noise_in_steps_of_their_shares() -> None:
    plan = traced(told("sum(clip(rows.loans.rate, 0, 4))", LAPLACE))
    (each,) = noise.noise_of(plan, 0).values()
    assert each.size == 4 * 2**16 / Fraction(1, 2)


def test_a_count_of_joined_rows_has_noise_though_it_follows_of_no_values() -> None:
    (each,) = noise.noise_of(traced(told("count(rows)", LAPLACE)), 0).values()
    assert each.size == 2


@pytest.mark.parametrize(
    ("figure", "how"),
    [
        ("sum(clip(rows.loans.rate, 0, 100000))", "noise=laplace(epsilon=0.000001)"),
        ("sum(clip(rows.loans.rate, 0, 100000))", "noise=gaussian(epsilon=0.00001, delta=0.000001)"),
        ("count(rows)", "noise=laplace(epsilon=0.000000000001)"),
        ("count(rows)", "noise=gaussian(epsilon=0.000000000001, delta=0.000001)"),
    ],
)
def test_noise_beyond_what_shares_hold_is_refused_before_anything_runs(figure: str, how: str) -> None:
    plan = traced(told(figure, how))
    with pytest.raises(
        InputRefused, match=r"release 'it': epsilon = .* more noise than shares hold; ask for"
    ):
        run_plan(plan, data())


def test_the_least_epsilon_that_a_refusal_names_runs() -> None:
    plan = traced(told("sum(clip(rows.loans.rate, 0, 100000))", "noise=laplace(epsilon=0.000001)"))
    with pytest.raises(InputRefused) as refused:
        run_plan(plan, data())
    least = float(str(refused.value).split("an epsilon of ")[1].split()[0])
    plan = traced(told("sum(clip(rows.loans.rate, 0, 100000))", f"noise=laplace(epsilon={least * 1.01:.8f})"))
    assert noise.noise_of(plan, 0).popitem()[1].size <= drawing.SCALE_MAX


def test_releases_that_do_too_much_anew_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noisy, "AGAIN_MAX", 5)
    body = [told("mean(rows.people.age) * 2", LAPLACE, name) for name in "ab"]
    assert len(figures(traced(*body[:1]), data())) == 1
    with pytest.raises(InputRefused, match=r"at most 5: release several figures at once with stack"):
        run_plan(traced(*body), data())


def test_a_sum_of_a_column_without_a_domain_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputRefused, match=r"release 'it': .* declares no low and high; clip\("):
        run_plan(traced(told("sum(rows.loans.amount)", LAPLACE)), data())


# --- what it stands on -------------------------------------------------------------------------------------
def test_noise_on_one_owners_own_figure_is_drawn_jointly() -> None:
    plan = traced(told("sum(clip(loans.amount, 0, 9))", LAPLACE))
    placed = place(steps.prepare(plan, 1), [0, 1], [one.dataset for one in plan.graph.columns])
    (drawn,) = [place for place, step in enumerate(placed.steps) if step.name == "noise"]
    assert placed.places[drawn] == SECRET
    (added,) = [step for step in placed.steps if drawn in step.args]
    assert placed.steps[added.args[0]].name == "share"


def test_an_exact_figure_is_exact_beside_one_with_noise_of_the_same_sum() -> None:
    exact = "exact=True"
    plan = traced(
        bins(LAPLACE, "noisy"), bins(exact, "exact"), bins(LAPLACE, "again"), bins(GAUSSIAN, "normal")
    )
    found = figures(plan, data())
    assert found["exact"]["value"] == counts(data()).tolist()
    apart = [numbers(found[name]["value"]) - counts(data()) for name in ("noisy", "again", "normal")]
    assert each_its_own([one.astype(np.int64) for one in apart])


def test_figures_with_noise_are_shown_over_however_few_rows_and_hidden_exact_ones_stay_hidden() -> None:
    body = [
        told("count(rows, by=one_hot(rows.people.kind))", how, how[:5]) for how in (LAPLACE, "exact=True")
    ]
    found = figures(traced(*body), data(), min_group=ROWS + 1)
    assert None not in found["noise"]["value"]
    assert found["exact"]["value"] == [None, None]


def test_what_follows_of_noise_follows_in_loops_and_choices_too() -> None:
    body = [
        "total = sum(clip(rows.loans.amount, 0, 100)) * 1",
        "for turn in repeat(3):",
        "    total = total * 2",
        told("where(total > 0, total, 0)", "noise=laplace(epsilon=10)"),
        told("sum(clip(rows.loans.amount, 0, 100))", "exact=True", "exact"),
    ]
    found = figures(traced(*body), data())
    apart = float(found["it"]["value"]) / 8 - found["exact"]["value"]
    assert apart == round(apart)
    assert 0 < abs(apart) < 45 * 10


NEIGHBOURS = {
    "a sum of clipped reals": ("sum(clip(rows.loans.rate, -1, 2.3))", "loans_rate"),
    "a sum of clipped whole numbers": ("sum(clip(loans.amount, 0, 10))", "loans_amount"),
    "a sum by groups": ("sum(clip(rows.loans.rate, 0, 2.3), by=one_hot(rows.people.kind))", "loans_rate"),
    "a product": ("sum(clip(rows.loans.rate, 0, 2.3) * rows.people.age)", "loans_rate"),
    "a registered domain": ("mean(rows.people.age)", "people_age"),
    "groups": ("sum(clip(rows.loans.rate, 0, 2.3), by=bins(rows.loans.rate, edges=[0, 1, 9]))", "loans_rate"),
    "squares": ("mean(clip(rows.loans.rate, 0, 2.3) * clip(rows.loans.rate, 0, 2.3))", "loans_rate"),
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_one_row_changes_what_noise_stands_on_by_no_more_than_its_sensitivity(name: str) -> None:
    """With one seed noise is the same, so the difference of two runs is that of the sums."""
    figure, column = NEIGHBOURS[name]
    plan, table = traced(told(figure, LAPLACE)), column.split("_")[0]
    before = data()
    cells = before.columns[table][column.split("_")[1]]
    for far in (-1_000_000, 1_000_000):
        moved = cells.copy()
        moved[7] = far
        found = [_atoms(plan, of) for of in (before, data(**{column: moved}))]
        for atom in plan.releases[0].noise_on:
            l1, _ = greatest(plan.graph, plan.datasets, atom)
            unit = 2**16 if plan.graph.cells[atom.node].kind == "real" else 1
            place = sorted(one.node for one in plan.releases[0].noise_on).index(atom.node)
            assert int(np.abs(found[0][place] - found[1][place]).sum()) <= l1 * unit


def _atoms(plan: Plan, of: Data) -> list[NDArray[np.int64]]:
    opened, _ = run_local([on_rep3(plan, run, me) for me, run in enumerate(of.runs(plan, 1))]).results[0]
    kept = [opened[name] for name in opened if ".atom" in name] or [opened["release0"]]
    return [np.asarray(one) for one in kept]


def test_an_owner_adds_up_its_reals_as_shares_hold_them_whatever_the_others_are() -> None:
    """Added up as floats, the small cell would be rounded away."""
    rows, large = 64_000, 2.0**25
    cells = np.concatenate([[0.0], np.full(rows // 2, large), np.full(rows // 2, -large)])
    moved = cells.copy()
    moved[0] = 2.0**-16
    assert (moved * 1.0).sum() != 2.0**-16 + cells.sum()
    source = f"""sum(clip(loans.rate, {-int(large)}, {int(large)}))"""
    page = f'"""A page."""\n\n\ndef run(loans):\n    {told(source, "noise=laplace(epsilon=10)")}\n'
    found = []
    for column in (cells, moved):
        of = Data({"loans": 0}, {"loans": {"rate": column}}, {"loans": {"rate": "decimal"}})
        found.append(_atoms(trace(page, of.schemas()), of)[0])
    assert int(found[1] - found[0]) == 1


# --- what is said ------------------------------------------------------------------------------------------
def test_a_result_says_which_figures_have_noise_and_how_much() -> None:
    body = [
        bins(LAPLACE, "bins"),
        told("mean(rows.people.age)", GAUSSIAN, "mean"),
        told("count(rows)", "exact=True", "rows"),
    ]
    found = figures(traced(*body), data())
    assert {name: one["kind"] for name, one in found.items()} == {"bins": "dp", "mean": "dp", "rows": "exact"}
    assert (found["bins"]["epsilon"], found["bins"]["mechanism"]) == ("0.5", "laplace")
    assert Fraction(found["bins"]["delta"]) >= BINS * LAPLACE_DELTA
    assert (found["mean"]["epsilon"], found["mean"]["delta"]) == ("2", "0.0001")
    assert "interval" not in found["rows"]
    low, high = (Fraction(found["mean"]["interval"][end]) for end in ("low", "high"))
    assert low < Fraction(found["mean"]["value"]) < high


FORMULAS = {
    "a count": "count(rows.loans.rate > 2)",
    "a histogram": "count(rows, by=bins(rows.loans.amount, edges=[0, 500, 1000, 2000]))",
    "a sum of reals": "sum(clip(rows.loans.rate, 0, 4))",
    "a mean": "mean(rows.people.age)",
    "means by groups": "mean(clip(rows.loans.rate, 0, 4), by=one_hot(rows.people.kind))",
    "a deviation": "sqrt(mean(rows.people.age * rows.people.age) - mean(rows.people.age) * 50)",
    "a logarithm and a choice": "log(where(sum(rows.people.age) > 5, sum(rows.people.age), 5))",
    "odds": "sigmoid(sum(clip(rows.loans.rate, 0, 4)) / count(rows))",
}


@pytest.mark.parametrize("how", [LAPLACE, "noise=gaussian(epsilon=0.5, delta=0.00001)"])
@pytest.mark.parametrize("name", FORMULAS)
def test_intervals_hold_the_figure_without_noise_in_95_of_100_draws(name: str, how: str) -> None:
    plan = traced(told(FORMULAS[name], how))
    exact = trace(page(told(FORMULAS[name], "exact=True")), data().schemas())
    truth = numbers(figures(exact, data())["it"]["value"])
    real = plan.graph.cells[plan.asked[0].value].kind == "real"
    run = data().runs(plan)[0]
    formula = formula_of(plan, 0, run)
    sums = _without_noise(plan)
    draws, held = 300, 0
    entropy = np.random.default_rng(9).bytes
    each = [noise.noise_of(plan, 0)[node] for node in sorted(noise.noise_of(plan, 0))]
    for _ in range(draws):
        atoms = [total + _drawn(one, total.shape, entropy) for one, total in zip(each, sums, strict=True)]
        said = interval(formula, atoms, real=real)
        low, high = (_ends(said[end], far) for end, far in (("low", -math.inf), ("high", math.inf)))
        # What follows on shares errs by some ulp.
        held += int(np.ravel((low - 0.001 <= truth) & (truth <= high + 0.001))[0])
    assert held >= 0.95 * draws - 2.5 * math.sqrt(0.05 * 0.95 * draws)
    if name in ("a count", "a sum of reals", "a histogram"):
        assert held <= 0.99 * draws, "no wider than it must be"


def _without_noise(plan: Plan) -> list[NDArray[np.int64]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("privcompute.mpc.rep3_engine.thresholds", lambda _: (0,))
        patch.setattr("privcompute.mpc.rep3_engine.gaussians", lambda _, count, __: np.zeros(count, np.int64))
        return _atoms(plan, data())


def _drawn(one: noise.Noise, shape: tuple[int, ...], entropy: Any) -> NDArray[np.int64]:
    count = math.prod(shape)
    if one.mechanism == "gaussian":
        return drawing.gaussians(one.size, 3 * count, entropy).reshape(3, *shape).sum(axis=0)
    words = np.frombuffer(entropy(8 * one.words * count), "<u8").reshape(-1, 2, count)
    return drawing.laplace_of(words, one.size).reshape(shape)


def _ends(value: Any, far: float) -> NDArray[np.float64]:
    if isinstance(value, list):
        return np.array([_ends(one, far) for one in value])
    return np.array(far if value is None else float(value))


def test_what_no_interval_can_be_said_of_says_none() -> None:
    body = [
        "total = sum(clip(rows.loans.amount, 0, 100)) * 1",
        "for turn in repeat(3):",
        "    total = total * 2",
        told("total", LAPLACE),
    ]
    said = figures(traced(*body), data())["it"]["interval"]
    assert said == {"level": "0.95", "low": None, "high": None, "cut": False}


@pytest.mark.parametrize(
    ("figure", "drawn", "low", "high"),
    [
        ("count(rows)", [-500], 0, 0),
        ("count(rows)", [10**6], None, None),
        ("sum(clip(rows.loans.rate, 0, 4))", [-(10**9)], 0, 0),
        ("sum(clip(rows.loans.rate, -1, 4))", [-(10**9)], None, None),
        ("mean(rows.loans.rate > 2)", [10**6, 3], 0, 1),
        ("mean(clip(rows.loans.rate, 1, 4))", [10**9, 20], 0, 4),
        ("mean(clip(rows.loans.rate, 1, 4), by=one_hot(rows.people.kind))", None, 0, 4),
        ("sum(clip(rows.loans.rate, 1, 4)) / count(rows.loans.rate > 2)", [10**9, 20], 0, None),
    ],
)
def test_intervals_are_cut_to_what_rows_can_give_and_say_so(
    figure: str, drawn: list[int] | None, low: float | None, high: float | None
) -> None:
    plan = traced(told(figure, LAPLACE))
    run = data().runs(plan)[0]
    rows = joined(run)
    formula = formula_of(plan, 0, run)
    shapes = [plan.graph.cells[node].shape for node in sorted(noise.noise_of(plan, 0))]
    sums = [np.full(_sizes(run, shape), 10**9) for shape in shapes]
    if drawn is not None:
        sums = [np.array(cell) for cell in drawn]
    real = plan.graph.cells[plan.asked[0].value].kind == "real"
    said = interval(formula, sums, real=real)
    assert said["cut"] is True
    ends = [np.ravel(_ends(said[end], math.nan)) for end in ("low", "high")]
    if figure == "count(rows)" and low is None:
        assert [end.tolist() for end in ends] == [[rows], [rows]], "no more than joined rows"
    elif figure.startswith("sum(clip(rows.loans.rate, -1"):
        assert [end.tolist() for end in ends] == [[-rows], [-rows]]
    else:
        assert low is None or ends[0].min() >= low
        assert high is None or ends[1].max() <= high


def test_an_interval_of_what_is_possible_is_not_cut() -> None:
    plan = traced(told("count(rows)", LAPLACE))
    run = data().runs(plan)[0]
    far = noise.reach(noise.noise_of(plan, 0)[plan.asked[0].value], Fraction(1, 20))
    said = interval(formula_of(plan, 0, run), [np.array(joined(run) // 2)], real=False)
    middle = joined(run) // 2
    wide = far > middle
    assert said["cut"] is wide
    assert (said["low"], said["high"]) == (max(0, middle - far), min(joined(run), middle + far))


def _sizes(run: Any, shape: Any) -> tuple[int, ...]:
    return tuple(size_of(run, size) for size in shape)


def test_the_reach_of_noise_is_the_least_that_it_exceeds_with_a_chance() -> None:
    for scale in (Fraction(1, 3), Fraction(4), Fraction(1000)):
        p = math.exp(-1 / scale)
        least = noise.reach(noise.Noise("laplace", scale), Fraction(1, 20))
        chances = [2 * p ** (far + 1) / (1 + p) for far in (least - 1, least)]
        assert chances[1] <= 0.05
        assert least == 0 or chances[0] > 0.05
    far = noise.reach(noise.Noise("gaussian", Fraction(100)), Fraction(1, 20))
    assert far == math.ceil(1.96 * math.sqrt(300) + 0.5)


# --- what it costs -----------------------------------------------------------------------------------------
COSTS = {
    "means": [
        told("mean(rows.people.age)", LAPLACE),
        told("mean(clip(rows.loans.rate, 0, 4))", GAUSSIAN, "b"),
    ],
    "one count": [told("count(rows)", LAPLACE)],
    "products": [told("sum(clip(rows.loans.rate, 0, 400) * rows.people.age)", LAPLACE)],
    "beside exact": [
        told("mean(rows.people.age)", LAPLACE),
        told("mean(rows.people.age)", "exact=True", "b"),
    ],
    "very many": [bins(LAPLACE, f"bins {number}") for number in range(6)],
}


@pytest.mark.parametrize("name", COSTS)
def test_rounds_of_a_run_with_noise_are_those_that_are_stated_within_a_tenth(name: str) -> None:
    plan = traced(*COSTS[name])
    _, local = run_plan(plan, data())
    (run, *_) = data().runs(plan)
    datasets = [one.dataset for one in plan.graph.columns]
    placed = restrict(place(steps.prepare(plan, 1), [0, 1], datasets))
    names = {size for cells in plan.graph.cells for size in cells.shape if isinstance(size, str)}
    sizes = {size: size_of(run, size) for size in names}
    openings = len(placed.left) + sum(len(left.atoms) for left in placed.left)
    took = max(local.rounds) - 1 - openings
    assert estimate_of(placed, "rep3", sizes).rounds == pytest.approx(took, rel=0.1, abs=1)
    (cost,) = [one for one in plan.cost if one.profile == "rep3"]
    joining = 2 * 2 + 3
    assert cost.rounds.value(sizes) - joining * ("join" in page()) == pytest.approx(took, rel=0.1, abs=1)


# --- planted faults ----------------------------------------------------------------------------------------
def test_noise_that_is_added_before_clipping_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise on a sum that is then brought within bounds is none where the sum is beyond them."""
    whole = steps._WithNoise._noisy

    def clipped(self: Any, node: int) -> int:
        made = whole(self, node)
        return int(self.made.add("clip", (made,), ("0", "1"), self.graph.cells[node]))

    monkeypatch.setattr(steps._WithNoise, "_noisy", clipped)
    assert not fits_laplace(noise_on_bins(LAPLACE), Fraction(4))


def test_noise_that_two_releases_share_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "attrs_of", lambda each, _, node: noise.attrs_of(each, 0, node))
    monkeypatch.setattr(steps.Making, "add", _once(steps.Making.add))
    found = figures(traced(bins(LAPLACE, "a"), bins(LAPLACE, "b")), data())
    assert found["a"]["value"] == found["b"]["value"]
    assert not each_its_own([np.array(found[name]["value"]) - counts(data()) for name in "ab"])


def _once(add: Any) -> Any:
    def wrapped(self: Any, name: str, args: Any, attrs: Any, cells: Any, home: Any = None) -> int:
        known = self._known.get((name, args, attrs)) if name == "noise" else None
        return add(self, name, args, attrs, cells, home) if known is None else known

    return wrapped


def test_a_sensitivity_of_four_fifths_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "greatest", lambda *of: tuple(part * Fraction(4, 5) for part in greatest(*of)))
    assert not fits_laplace(noise_on_bins(LAPLACE), Fraction(4))


def joined(run: Any) -> int:
    """Return how many rows the join of a run has."""
    return int(next(rows for name, rows in run.rows.items() if name.startswith("n:join")))
