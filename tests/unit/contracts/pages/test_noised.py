"""Noise inside a computation: what it covers, what follows from it, what accounts are charged with."""

from __future__ import annotations

import importlib
import json
import random
import re
from dataclasses import replace
from fractions import Fraction
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.pages import charges, sensitivity
from contracts.pages.charges import Charge
from contracts.pages.facts import whole_facts
from contracts.pages.faults import PageRefused, Unfit
from contracts.pages.limits import DEFAULT_PAGE_GAS, LAPLACE_DELTA, Gas
from contracts.pages.page import trace
from contracts.pages.plan import Plan, decode_plan
from contracts.pages.releases import against
from contracts.pages.zcdp import RHO_UNIT, rho_of_gaussian, rho_of_laplace
from privcompute.pages.clear import ClearRun
from tests.unit.contracts.pages.test_sensitivity import (
    OWNERS,
    SCHEMAS,
    Rows,
    drawn,
    replaced,
    world,
)

OPENDP = json.loads((Path(__file__).parents[3] / "vectors/opendp_turns.json").read_text(encoding="utf-8"))
GAUSSIAN, LAPLACE = "gaussian(epsilon=1, delta=0.000001)", "laplace(epsilon=1)"
FEATURES = (
    "real(membership(rows))[:, None]",
    "clip(rows.loans.w, -1, 1)[:, None]",
    "((clip(rows.people.a, 0, 9) - 4) / 5)[:, None]",
    "stack([where(rows.people.b, 1, 0), where(rows.loans.m, 1, 0)])",
    "one_hot(rows.people.h)",
    "one_hot(rows.loans.k)",
    "bins(rows.people.i)",
)
ERRORS = (
    "sigmoid(x @ w) - rows.loans.m",
    "sigmoid(sum(x * w[None, :], axis=1)) - rows.loans.m",
    "clip(x @ w, -1, 1) - where(rows.people.b, 1, 0)",
    "where(lot(rows, 0.5), sigmoid(x @ w) - rows.people.b, 0)",
    'where(rows.people.h == "x", sigmoid(x @ w), 0) - 0.5',
)
SUMS = ("x.T @ error", "sum(x * error[:, None])", "sum(x * error[:, None], where=rows.loans.m)")
TURNS = 3


def page(*statements: str) -> str:
    lines = "\n    ".join(["rows = join(loans, people)", *statements])
    return f'"""A page."""\n\n\ndef run(loans, people):\n    {lines}\n'


def descent(features: list[str], error: str, total: str, noise: str = GAUSSIAN, turns: int = TURNS) -> str:
    """Return a page that takes noisy steps of coefficients, within -2 and 2."""
    return page(
        f"x = concat([{', '.join(features)}])",
        "w = zeros(shape(x)[1])",
        f"for turn in repeat({turns}):",
        f"    error = {error}",
        f"    w = clip(w - noised({total}, {noise}) / count(rows), -2, 2)",
        'release(w, to="bank", noised=True, name="weights")',
    )


def sums_of_turns(plan: Plan, rows: Rows, told: list[NDArray[Any]]) -> list[NDArray[np.float64]]:
    """Return what noise is added to in each turn, where what it makes of that in all turns is given."""
    run, seen = ClearRun(plan, world(rows)), list[NDArray[np.float64]]()
    whole = run.value

    def value(node: int, name: str, args: tuple[int, ...], attrs: tuple[str, ...]) -> Any:
        if name == "noised":
            seen.append(np.asarray(run.values[args[0]], np.float64))
            return told[len(seen) - 1]
        return whole(node, name, args, attrs)

    run.value = value  # type: ignore[method-assign]
    run.every()
    return seen


def reaches(seed: int) -> tuple[float, float]:
    """Return how much of l1 and l2 one row's values of one owner's columns changed at most; assert no more.

    Of a page that is drawn, over rows that are drawn, with anything that noise may have made of the turns.
    """
    chance, numbers = random.Random(seed), np.random.default_rng(seed)
    features = chance.sample(FEATURES, chance.randint(1, 4))
    source = descent(features, chance.choice(ERRORS), chance.choice(SUMS))
    plan = trace(source, SCHEMAS)
    (one,) = plan.noised
    shape = _shape(plan, drawn(chance))
    found = (0.0, 0.0)
    for _ in range(12):
        told = [numbers.normal(0, 4, shape) for _ in range(TURNS)]
        rows, name = drawn(chance), chance.choice(["loans", "people"])
        other = replaced(rows, name, drawn(chance)[name][0])
        columns = sensitivity.columns_of(plan.graph, plan.datasets, OWNERS[name])
        l1, l2 = map(float, sensitivity.sensitivity(one.atom, columns))
        for before, after in zip(*[sums_of_turns(plan, each, told) for each in (rows, other)], strict=True):
            gap = np.abs(before - after)
            assert float(gap.sum()) <= l1 + 1e-9, source
            assert float((gap**2).sum()) ** 0.5 <= l2 + 1e-9, source
            if l1:
                found = (
                    max(found[0], float(gap.sum()) / l1),
                    max(found[1], float((gap**2).sum()) ** 0.5 / l2),
                )
    return found


def _shape(plan: Plan, rows: Rows) -> tuple[int, ...]:
    """Return the shape of the sum that gets noise, on these rows."""
    run = ClearRun(plan, world(rows))
    run.every()
    return np.shape(run.values[plan.noised[0].node])


# --- what it covers ----------------------------------------------------------------------------------------
def test_one_row_changes_no_turn_of_drawn_descents_by_more_than_noise_is_scaled_by() -> None:
    """Of one row's values of one owner's columns, whatever noise made of others; some by nearly that."""
    found = [reaches(seed) for seed in range(60)]
    assert max(l1 for l1, _ in found) > 0.85
    assert max(l2 for _, l2 in found) > 0.85


def test_a_product_over_rows_changes_by_its_columns_and_once_by_all_categories_of_one() -> None:
    (one,) = trace(descent([*FEATURES[:3], FEATURES[4]], ERRORS[0], SUMS[0]), SCHEMAS).noised
    l1, l2 = sensitivity.sensitivity(one.atom, -1)
    assert float(l1) == pytest.approx(8, abs=0.01)
    assert float(l2) == pytest.approx(4, abs=0.01)
    assert (l1 >= 8, l2 >= 4) == (True, True)


@pytest.mark.parametrize("total", SUMS)
def test_groups_of_bits_that_overlap_change_each(total: str) -> None:
    (one,) = trace(descent([FEATURES[3]], ERRORS[0], total), SCHEMAS).noised
    assert float(sensitivity.sensitivity(one.atom, -1)[1]) == pytest.approx(2 * sqrt(2), abs=0.01)


X = "x = stack([clip(rows.loans.w, -1, 1), real(rows.loans.m)])"
STEP = f"w = clip(w - noised(x.T @ (sigmoid(x @ w) - rows.loans.m), {GAUSSIAN}){{}} / count(rows), -2, 2)"
LOOP = "for turn in repeat(8):"
WEIGHTS = 'release(w, to="bank", noised=True, name="weights")'


def steps_of(*more: str, before: tuple[str, ...] = (), step: str = STEP.format("")) -> str:
    """Return a descent of two features, with more in its body."""
    inside = [f"    {line}" for line in (*more, step)]
    return page(X, "w = zeros(2)", *before, LOOP, *inside, WEIGHTS)


ALIKE = {
    "a sum of all coefficients": steps_of("total = total + w", before=("total = zeros(2)",)),
    "a counter": steps_of("n = n + 1", before=("n = 0",)),
    "a delay line": steps_of(
        "c = b", "b = a", "a = w", before=("a = zeros(2)", "b = zeros(2)", "c = zeros(2)")
    ),
    "a rate that decays": steps_of(step=STEP.format(" / (1 + turn)")),
    "scores as a sum along features": steps_of(
        step=STEP.format("").replace("x @ w", "sum(x * w[None, :], axis=1)")
    ),
}
"""Descents whose features, errors and coefficients are those of the plain one."""


@pytest.mark.parametrize("name", ALIKE)
def test_what_a_loop_does_besides_changes_no_bound_of_its_descent(name: str) -> None:
    plain, found = (trace(each, SCHEMAS).noised[0].atom for each in (steps_of(), ALIKE[name]))
    assert sensitivity.sensitivity(found, -1) == sensitivity.sensitivity(plain, -1)


def test_a_share_with_noise_bounds_what_follows_of_it() -> None:
    """Noise on a count is less than 2^25, as noise on reals is: what is divided by rows stays in range."""
    source = page(
        "share = clip(noised(count(rows.loans.m), laplace(epsilon=1)) / count(rows), 0, 1)",
        'release(noised(sum(clip(rows.people.d, 0, 1) - share), laplace(epsilon=1)), to="bank", noised=True)',
    )
    l1, _ = sensitivity.sensitivity(trace(source, SCHEMAS).noised[1].atom, -1)
    assert 2 <= l1 < 2.001


FAR = "v = clip(rows.people.a, 0, 9) * 1000000000 * 1000000000"
REFUSED = {
    "sums of bins of what leaves the range of shares": page(
        FAR, 'release(noised(sum(bins(v, edges=[0, 1, 2])), laplace(epsilon=1)), to="bank", noised=True)'
    ),
    "products with bins of what leaves the range of shares": page(
        FAR,
        "x = concat([clip(rows.loans.w, -1, 1)[:, None], bins(v, edges=[0, 1, 2])])",
        'release(noised(x.T @ clip(rows.loans.w, -1, 1), laplace(epsilon=1)), to="bank", noised=True)',
    ),
    "what still grows in a loop": page(
        X,
        "w = zeros(2)",
        "v = zeros(2)",
        "for turn in repeat(3):",
        "    v = v + w",
        "    w = clip(w - noised(x.T @ (sigmoid(x @ v) - rows.loans.m), laplace(epsilon=1)), -2, 2)",
        WEIGHTS,
    ),
    "features that nothing bounds": descent(["(rows.people.a * 1)[:, None]"], ERRORS[0], SUMS[0]).replace(
        "rows.people.a * 1", "rows.people.a * rows.people.a * rows.people.a * rows.people.t * rows.people.t"
    ),
    "coefficients that nothing bounds": descent([*FEATURES[1:3]], ERRORS[0], SUMS[0])
    .replace("clip(w -", "(w -")
    .replace("count(rows), -2, 2)", "count(rows))"),
    "errors that nothing bounds": descent([*FEATURES[1:3]], "exp(x @ w) - rows.loans.m", SUMS[0]),
    "means without noise in every row": descent(
        ["(clip(rows.people.a, 0, 9) - mean(clip(rows.people.a, 0, 9)))[:, None]"], ERRORS[0], SUMS[0]
    ),
    "products beyond the range of shares": descent(
        ["clip(rows.loans.w, -1, 1)[:, None] * 70"], ERRORS[0], SUMS[0]
    ),
    "a mean": page(
        'release(noised(mean(clip(rows.people.a, 0, 9)), laplace(epsilon=1)), to="bank", noised=True)'
    ),
    "the greatest": page(
        'release(noised(greatest(rows.people.a), laplace(epsilon=1)), to="bank", noised=True)'
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_nothing_bounds_is_refused_where_noise_is_asked_for(name: str) -> None:
    with pytest.raises(PageRefused) as refused:
        trace(REFUSED[name], SCHEMAS)
    (found,) = refused.value.diagnostics
    assert found.rule == "NOISE_UNBOUNDED"
    assert "noised(" in REFUSED[name].splitlines()[found.line - 1]


# --- before domains are registered ------------------------------------------------------------------------
ROOT = Path(__file__).parents[4]
PAGES = {
    **dict(re.findall(r"(?s)```python (\S+\.py)\n(.*?)```", (ROOT / "docs/pages.md").read_text("utf-8"))),
    **{path.name: path.read_text("utf-8") for path in (ROOT / "examples/german_credit").glob("*.py")},
    **{path.name: path.read_text("utf-8") for path in (ROOT / "contracts/system/pages").glob("*.py")},
}


@pytest.mark.parametrize(
    "name", sorted(name for name in PAGES if "def run(" in PAGES[name] and "import" not in PAGES[name])
)
def test_pages_of_guides_and_examples_can_be_proposed(name: str) -> None:
    """Programs are proposed before anybody knows which datasets they run on."""
    assert whole_facts(PAGES[name], [], {}, Gas(DEFAULT_PAGE_GAS))["charges"]


REGISTERED = descent(
    ["rows.loans.w[:, None]", "((rows.people.a - 4) / 5)[:, None]"], "sigmoid(x @ w) - rows.loans.m", SUMS[0]
)
WITHOUT = {name: replace(schema, bounds={}) for name, schema in SCHEMAS.items()}
WAITING = {
    "features": REGISTERED,
    "a product that only a domain keeps in range": page(
        "v = clip(rows.people.a * 1000000000 * 1000000000, 0, 1)",
        'release(noised(sum(v), laplace(epsilon=1)), to="bank", noised=True)',
    ),
    "a square that only a domain keeps in range": page(
        "v = clip(rows.people.a * rows.people.a, 0, 1)",
        'release(sum(v), to="bank", noise=laplace(epsilon=1))',
    ),
    "bins of what only a domain keeps in range": page(
        "v = bins(rows.people.a * 1000000000, edges=[0, 1, 2])",
        'release(count(rows, by=v), to="bank", noise=laplace(epsilon=1))',
    ),
    "rows chosen by what only a domain keeps in range": page(
        "u = where(bins(rows.people.a * 1000000000, edges=[0, 1])[:, 0], 1, 0)",
        'release(sum(u), to="bank", noise=laplace(epsilon=1))',
    ),
}


@pytest.mark.parametrize("name", WAITING)
def test_what_a_domain_bounds_waits_for_it(name: str) -> None:
    """Such a page is proposed; a job of datasets whose domains are not registered is refused."""
    assert trace(WAITING[name]).hash
    with pytest.raises((PageRefused, Unfit), match=r"no low and high|nothing bounds|that something bounds"):
        settled(trace(WAITING[name], WITHOUT))


def settled(plan: Plan) -> None:
    """Raise for sums with noise whose rows nothing bounds yet."""
    for atom in [atom for one in plan.releases for atom in one.noise_on] + [one.atom for one in plan.noised]:
        sensitivity.greatest(plan.graph, plan.datasets, atom)


def test_with_the_domain_its_bounds_are_those_of_a_clip() -> None:
    (low, high), (least, most) = SCHEMAS["loans"].bounds["w"], SCHEMAS["people"].bounds["a"]
    clipped = REGISTERED.replace("rows.loans.w[", f"clip(rows.loans.w, {low}, {high})[")
    clipped = clipped.replace("rows.people.a -", f"clip(rows.people.a, {least}, {most}) -")
    one, other = (trace(source, SCHEMAS).noised[0].atom for source in (REGISTERED, clipped))
    assert sensitivity.sensitivity(one, -1) == sensitivity.sensitivity(other, -1)


# --- what follows from it ----------------------------------------------------------------------------------
def test_coefficients_need_no_more_than_columns_for_noise() -> None:
    plan = trace(descent([*FEATURES[:5]], ERRORS[0], SUMS[0]), SCHEMAS)
    assert {use.use for use in plan.uses} == {"noisy", "join"}
    (release,) = plan.releases
    assert (release.kind, release.columns, len(release.noised)) == ("figure", (), 5)
    assert decode_plan(plan.data).hash == plan.hash


def test_what_else_has_a_part_in_a_figure_keeps_its_way() -> None:
    source = descent([*FEATURES[1:3]], ERRORS[0], SUMS[0]) + (
        '    release(count(x @ w > rows.people.d), to="bank", exact=True, name="above")\n'
        '    release(count(x @ w > rows.people.d), to="bank", noise=laplace(epsilon=0.5), name="about")\n'
        '    release(x @ w, to="bank", exact=True, name="scores")\n'
        '    keep(w, name="weights")\n'
    )
    plan = trace(source, SCHEMAS)
    uses: dict[str, dict[str, str]] = {one.name: {} for one in plan.releases}
    for use in plan.uses:
        before = uses[plan.releases[use.release].name].get(use.column, "")
        uses[plan.releases[use.release].name][use.column] = "plain" if before == "plain" else use.use
    assert uses["above"] == {"w": "plain", "a": "plain", "d": "plain", "m": "noisy", "id": "join"}
    assert uses["about"] == {"w": "noisy", "a": "noisy", "d": "noisy", "m": "noisy", "id": "join"}
    assert uses["scores"] == {"w": "plain", "a": "plain", "m": "noisy", "id": "join"}
    granted = {("loans", "m"): "encrypted-only"}
    assert ("m", "noisy") in {(one.column, one.use) for one in against(plan.uses, plan.releases, granted)}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('release(sum(clip(rows.people.a, 0, 9)), to="bank", noised=True)', "no noise is in this"),
        (
            'release(total + count(rows.people.b), to="bank", noised=True)',
            "follows from sums without noise, too",
        ),
        ('release(total, to="bank", exact=True)', "the noise of this is in it already"),
        ('release(total, to="bank")', "instead: one of noise=laplace"),
        ('release(total, to="bank", exact=True, noised=True)', "instead: one of noise=laplace"),
        (
            'release(noised(count(rows.people.b), 1), to="bank", noised=True)',
            "noised takes noise, not a number",
        ),
        (
            'release(noised(count(rows), laplace(epsilon=1)), to="bank", noised=True)',
            "how many rows are joined",
        ),
        (
            'release(noised(count(rows.people.b), laplace(epsilon=11)), to="bank", noised=True)',
            "epsilon = 11",
        ),
        (
            'release(noised(rows.people.a, laplace(epsilon=1)), to="bank", noised=True)',
            "cells of single rows",
        ),
        (
            "b = sum(clip(rows.people.a, 0, 9))\n    for turn in repeat(2):\n"
            "        total = total + b * noised(count(rows.people.b), laplace(epsilon=1))\n"
            '    release(total * b, to="bank", noise=laplace(epsilon=1))',
            "follows from a sum that this release adds noise to",
        ),
    ],
)
def test_a_release_says_truly_whether_noise_is_in_it(line: str, reason: str) -> None:
    with pytest.raises(PageRefused, match=reason):
        trace(page("total = noised(count(rows.loans.m), laplace(epsilon=1))", line), SCHEMAS)


DRAWS = ("    w = noised(count(rows.loans.m), laplace(epsilon=1))",)
SUM = "s = sum(clip(rows.people.a, 0, 9))"
NOISE = 'noise=laplace(epsilon=1), name="it")'
ANEW = {
    "a loop that draws noise beside": (
        SUM,
        "w = 0",
        "u = 0",
        LOOP,
        *DRAWS,
        "    u = u + s",
        f'release(u, to="bank", {NOISE}',
    ),
    "noise in a loop inside": (
        SUM,
        "w = 0",
        "u = 0",
        LOOP,
        "    for inner in repeat(2):",
        f"    {DRAWS[0]}",
        "    u = u + s",
        f'release(w + u, to="bank", {NOISE}',
    ),
    "a loop that draws noise, of which nothing else is used": (
        "late = sum(real(rows.loans.m))",
        X,
        "w = zeros(2)",
        "moved = 0 * late",
        LOOP,
        f"    {STEP.format('')}",
        "    moved = moved * 0.5 + late",
        WEIGHTS,
        f'release(moved, to="bank", {NOISE}',
    ),
}


@pytest.mark.parametrize("name", ANEW)
def test_a_release_does_no_loop_anew_that_draws_noise(name: str) -> None:
    with pytest.raises(PageRefused, match="or its loop, follows from a sum that this release adds noise to"):
        trace(page(*ANEW[name]), SCHEMAS)


def test_a_loop_without_the_sum_is_not_done_anew() -> None:
    """Another figure may use the sum, and noise, in a loop of its own."""
    body = (SUM, "w = 0", LOOP, *DRAWS, f'release(s / count(rows), to="bank", {NOISE}')
    more = 'release(w, to="bank", noised=True, name="w")', 'keep(s * w, name="kept")'
    assert len(trace(page(*body, *more), SCHEMAS).noised) == 1


def test_two_calls_draw_noise_of_their_own() -> None:
    one = "noised(count(rows.people.b), laplace(epsilon=0.25))"
    plan = trace(page(f'release({one} + {one}, to="bank", noised=True)'), SCHEMAS)
    assert len(plan.noised) == 2
    assert plan.charges["people"].epsilon == 5 * 10**8


# --- what accounts are charged with ------------------------------------------------------------------------
def charge(noise: str, turns: int) -> Charge:
    return trace(descent([*FEATURES[:3]], ERRORS[0], SUMS[0], noise, turns), SCHEMAS).charges["people"]


def test_all_turns_together_are_charged_with_the_epsilon_that_is_asked_for() -> None:
    rho = rho_of_gaussian(Fraction(1), Fraction(1, 10**6))
    for turns in (1, 40):
        found = charge(GAUSSIAN, turns)
        assert (found.epsilon, found.delta.value({}), found.rho) == (10**9, 10**12, rho * RHO_UNIT)
    found = charge(LAPLACE, 40)
    each = -(-LAPLACE_DELTA.numerator * 10**18 // LAPLACE_DELTA.denominator)
    assert (found.epsilon, found.delta.value({})) == (10**9, 3 * 40 * each)
    assert found.rho == 40 * rho_of_laplace(Fraction(1, 40)) * RHO_UNIT


def test_only_those_whose_columns_are_covered_are_charged() -> None:
    source = page('release(noised(sum(clip(loans.w, 0, 1)), laplace(epsilon=1)), to="bank", noised=True)')
    found = trace(source, SCHEMAS).charges
    assert found["loans"].epsilon == 10**9
    assert found["people"] == Charge()


def test_what_stays_shares_is_charged_as_what_leaves() -> None:
    kept = descent([*FEATURES[:3]], ERRORS[0], SUMS[0]).replace(
        'release(w, to="bank", noised=True, name="weights")', 'keep(w, name="weights")'
    )
    plan = trace(kept, SCHEMAS)
    assert {use.use for use in plan.uses} == {"encrypted", "join"}
    assert plan.charges["people"].epsilon == 10**9


@pytest.mark.parametrize("case", OPENDP["turns"])
def test_turns_compose_as_opendp_composes_as_many_gaussians(case: dict[str, Any]) -> None:
    """OpenDP's are of the scale that two parts of our noise have in each turn, for one that changes by 1."""
    found = charge(f"gaussian(epsilon={case['epsilon']}, delta={case['delta']:.9f})", case["turns"])
    assert found.rho / RHO_UNIT == pytest.approx(case["rho"], rel=1e-9)
    assert found.rho / RHO_UNIT >= case["rho"] * (1 - 1e-9)
    assert case["composed"] <= case["epsilon"]
    assert found.epsilon / 10**9 >= case["composed"]


# --- planted faults ----------------------------------------------------------------------------------------
def test_a_charge_for_one_turn_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = charges._spent

    def of_one(mechanism: str, epsilon: str, delta: str, numbers: Any, turns: int = 1) -> Any:
        return whole(mechanism, str(Fraction(epsilon) / turns), delta, numbers)

    monkeypatch.setattr(charges, "_spent", of_one)
    case = next(one for one in OPENDP["turns"] if one["epsilon"] == 1 and one["turns"] == 20)
    with pytest.raises(AssertionError):
        test_turns_compose_as_opendp_composes_as_many_gaussians(case)


@pytest.mark.parametrize(
    "fault", ["one side of a product", "errors of one sign", "one category moves by one"]
)
def test_a_sensitivity_that_forgets_is_found(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    labels = importlib.import_module("contracts.pages.labels")
    whole, choices = labels.through, sensitivity._of_choices

    def through(name: str, parts: Any, real: bool) -> Any:
        if name == "multiply" and fault == "one side of a product":
            return parts[0]
        made = whole(name, parts, real)
        if name == "multiply" and fault == "errors of one sign" and made is not None:
            return labels.Interval(max(made.low, Fraction(0)), made.high)
        return made

    monkeypatch.setattr(labels, "through", through)
    if fault == "one category moves by one":
        monkeypatch.setattr(sensitivity, "_of_choices", lambda *of: tuple(one / 4 for one in choices(*of)))
    with pytest.raises(AssertionError):
        test_one_row_changes_no_turn_of_drawn_descents_by_more_than_noise_is_scaled_by()
