"""No value of a row changes whether a run ends, its rounds or the lengths of its messages.

A run that fails for one row's value tells everybody that some row has it: exactly, whatever noise is asked
for, and by a page that needs no more than `aggregate-only`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contracts.pages.page import trace
from privcompute.pages import own
from tests.unit.privcompute.pages.running import Data, run_plan
from tests.unit.privcompute.pages.test_noised import data, figures, page, traced

WANTED = 1234
AMOUNTS = data().columns["loans"]["amount"]
NONE = np.where(AMOUNTS == WANTED, WANTED + 1, AMOUNTS)
ONE = np.where(np.arange(len(NONE)) == 7, WANTED, NONE)
FAR = f"v = where(rows.loans.amount == {WANTED}, {{}}, 0)"
NOISED = 'release(noised(count({}), laplace(epsilon=0.001)), to="bank", noised=True, name="it")'
NOISY = 'release(count({}), to="bank", noise=laplace(epsilon=0.001), name="it")'
EXACT = 'release({}, to="bank", exact=True, name="it")'
LATE = int(data().columns["loans"]["late"].sum())
INFINITE = f"e = exp(real(where(rows.loans.amount == {WANTED}, 1000, 0)))\n    v = e * e * e"

CRAFTED = {
    "a whole number that is shared": (FAR.format(2**47), NOISED.format("v > rows.people.age")),
    "a product of whole numbers": (FAR.format(2**40) + f" * {2**40}", NOISED.format("v > 0")),
    "a product in units of its own": (FAR.format(2**61) + " * 8", NOISED.format("v > rows.people.age")),
    "a real that is shared": (FAR.format(2**50) + " / 3", NOISED.format("v > rows.people.age")),
    "an infinite real": (INFINITE, NOISED.format("v > rows.people.age")),
    "what is no number": (INFINITE, "w = v - v", NOISED.format("w < rows.people.age")),
    "a release with noise": (FAR.format(2**47), NOISY.format("v > rows.people.age")),
    "in each turn of a loop": (
        FAR.format(2**47),
        "w = 0",
        "for turn in repeat(3):",
        "    w = clip(noised(count(v > w), laplace(epsilon=0.001)), -9, 9)",
        'release(w, to="bank", noised=True, name="it")',
    ),
    "an exact figure": (FAR.format(2**47), EXACT.format("count(v > rows.people.age)")),
    "an exact sum": (FAR.format(2**61), EXACT.format("sum(v) * 4 + sum(v)")),
    "an exact mean": (FAR.format(2**61) + " / 3", EXACT.format("mean(v)")),
    "an exact sum of infinite reals": (INFINITE, EXACT.format("sum(v)")),
    "a running sum": (FAR.format(2**61) + " * 6", EXACT.format("greatest(running_sum(v))")),
    "bins of one's own": (
        FAR.format(2**61) + " * 6",
        EXACT.format("count(rows, by=bins(v, edges=[0, 1, 9]))"),
    ),
}


def ran(body: tuple[str, ...], amounts: Any) -> tuple[Any, ...]:
    """Return what everybody sees of a run: rounds and bytes of each party."""
    of = data(loans_amount=amounts)
    _, local = run_plan(traced(*body, of=of), of)
    return tuple(local.rounds), tuple(local.sent_bytes)


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_range_does_not_tell_whether_some_row_has_a_value(name: str) -> None:
    assert ran(CRAFTED[name], ONE) == ran(CRAFTED[name], NONE)


@pytest.mark.parametrize("noise", ["noised({}, laplace(epsilon=10))", "{}"])
def test_a_crafted_range_does_not_tell_whether_a_sum_reaches_a_limit(noise: str) -> None:
    how = "noised=True" if "noised" in noise else "noise=laplace(epsilon=10)"
    seen = set()
    for late in (LATE - 1, LATE, LATE + 1):
        total = noise.format(f"sum(where(rows.loans.late, {2**46 // late}, 0))")
        seen.add(ran((f'release({total}, to="bank", {how}, name="it")',), AMOUNTS))
    assert len(seen) == 1


@pytest.mark.parametrize("amount", [0, WANTED, 2**45, -(2**45), 2**46, 2**62, -(2**63), 2**63 - 1])
def test_a_run_ends_alike_for_any_cell_of_a_column(amount: int) -> None:
    """Its owner judges columns before it binds; a run itself tells nothing of them."""
    cells = np.where(np.arange(len(NONE)) == 7, amount, NONE)
    body = (EXACT.format("count(rows.loans.amount > rows.people.age)"),)
    assert ran(body, cells) == ran(body, NONE)


# --- and what is in range is right -------------------------------------------------------------------------
def test_sums_of_reals_with_noise_are_right_beyond_what_floats_hold_exactly() -> None:
    """Up to 6 * 10^7 in each of 6,000 rows: more than 2^37, where this ended a run before."""
    of = data(6_000)
    plan = traced(
        "large = clip(rows.loans.amount, 0, 1000) * 60000.5",
        'release(sum(large), to="bank", noise=laplace(epsilon=10), name="it")',
        of=of,
    )
    exact = float((of.columns["loans"]["amount"].clip(0, 1000) * 60_000.5).sum())
    assert exact > 2**37
    assert float(figures(plan, of)["it"]["value"]) == pytest.approx(exact, rel=0.005)


def test_exact_sums_of_whole_numbers_are_right_up_to_the_words_of_shares() -> None:
    of = data(loans_amount=np.full(60, 2**45))
    found, _ = run_plan(traced(EXACT.format("sum(rows.loans.amount)"), of=of), of)
    assert found["it"] == 60 * 2**45
    found, _ = run_plan(traced(EXACT.format("sum(rows.loans.amount) * 8000"), of=of), of)
    assert found["it"] == (60 * 2**45 * 8000 + 2**63) % 2**64 - 2**63, "beyond them it is another number"


def test_reals_are_shared_cell_by_cell_within_their_range() -> None:
    cells = np.array([np.nan, np.inf, -np.inf, 1e300, 2.0**46, -1.5, 2**-17, 3 * 2**-17])
    most = int(own.REAL_MOST) << 16
    said = own.words(cells, "real").view(np.int64).tolist()
    assert said == [0, most, -most, most, most, -3 << 15, 0, 2]
    assert own.words(np.array([-(2**63), 2**63 - 1]), "integer").view(np.int64).tolist() == [
        -(2**63),
        2**63 - 1,
    ]


def test_what_is_no_number_is_clipped_like_any_other() -> None:
    """Bounds hold for it, too: noise is scaled by them."""
    cells = np.array([np.nan, np.inf, 7.0])
    missing = Data(
        {"loans": 0, "people": 1},
        {"loans": {"id": np.arange(3), "rate": cells}, "people": {"id": np.arange(3)}},
        {"loans": {"id": "integer", "rate": "decimal"}, "people": {"id": "integer"}},
    )
    source = page(EXACT.format("clip(rows.loans.rate, 5, 9)"))
    found, _ = run_plan(trace(source, missing.schemas()), missing)
    assert [float(one) for one in found["it"]] == [5, 9, 7]
