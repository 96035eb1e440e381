"""What accounts are charged with, and who learns which rows are joined, follow of the plan alone."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest

from contracts.pages.facts import brief_facts, whole_facts
from contracts.pages.faults import PageRefused
from contracts.pages.limits import LAPLACE_DELTA, Gas
from contracts.pages.zcdp import RHO_UNIT, log_up, rho_of_gaussian, rho_of_laplace

COLUMNS: dict[str, dict[str, list[Any]]] = {
    "loans": {
        "id": ["text", 0, 0, None, None, "refuse"],
        "amount": ["integer", 0, 4, "0", "100", "refuse"],
        "kind": ["category", 3, 0, None, None, "refuse"],
        "paid": ["boolean", 0, 0, None, None, "refuse"],
        "free": ["integer", 0, 0, None, None, "refuse"],
    },
    "people": {
        "id": ["text", 0, 0, None, None, "refuse"],
        "age": ["integer", 0, 0, "0", "120", "refuse"],
        "home": ["category", 5, 0, None, None, "refuse"],
        "word": ["text", 0, 0, None, None, "refuse"],
    },
}
OWNERS = {"loans": "bank", "people": "city"}
EACH = -(-LAPLACE_DELTA.numerator * 10**18 // LAPLACE_DELTA.denominator)
"""Units of delta of one number with discrete Laplace noise."""


def page(*lines: str, takes: str = "loans, people") -> str:
    body = "\n    ".join(lines)
    return f'"""A page."""\n\n\ndef run({takes}):\n    {body}\n'


def registered(*names: str) -> list[Any]:
    return [{"name": one, "owner": OWNERS[one], "key": ["id"], "columns": COLUMNS[one]} for one in names]


def facts(*lines: str, takes: str = "loans, people", initiator: str = "") -> dict[str, Any]:
    source = page(*lines, takes=takes)
    return brief_facts(source, registered(*takes.split(", ")), {}, Gas(10**8), initiator)


JOIN = "rows = join(loans, people)"
NONE = {"epsilon": 0, "delta": 0, "rho": 0, "figures": {}}


def test_noise_charges_each_dataset_with_a_part_in_it_with_all_of_it() -> None:
    found = facts(
        JOIN,
        'release(sum(rows.loans.amount, by=rows.people.home), to="x", noise=laplace(epsilon=0.5))',
        'release(count(loans, by=loans.kind), to="x", noise=laplace(epsilon=0.25))',
    )["charges"]
    assert found["people"] == {"epsilon": 500_000_000, "delta": 5 * EACH, "rho": 125 * 10**15, "figures": {}}
    assert found["loans"] == {
        "epsilon": 750_000_000,
        "delta": 8 * EACH,
        "rho": 125 * 10**15 + 31_250 * 10**12,
        "figures": {},
    }


def test_gaussian_noise_charges_its_delta_and_the_rho_it_is_scaled_by() -> None:
    found = facts(
        'release(sum(loans.amount), to="x", noise=gaussian(epsilon=1, delta=0.000001))', takes="loans"
    )["charges"]["loans"]
    rho = rho_of_gaussian(Fraction(1), Fraction(1, 10**6))
    assert found == {"epsilon": 10**9, "delta": 10**12, "rho": rho * RHO_UNIT, "figures": {}}


def test_what_is_charged_is_rounded_up() -> None:
    found = facts('release(count(loans.paid), to="x", noise=laplace(epsilon=1 / 3))', takes="loans")
    assert found["charges"]["loans"]["epsilon"] == 333_333_334
    assert found["charges"]["loans"]["rho"] == -(-(10**18) // 18)


def test_noise_on_what_is_joined_alone_charges_those_who_are_joined() -> None:
    found = facts(JOIN, 'release(count(rows), to="x", noise=laplace(epsilon=1))')["charges"]
    assert (
        found["loans"]
        == found["people"]
        == {
            "epsilon": 10**9,
            "delta": EACH,
            "rho": 5 * 10**17,
            "figures": {},
        }
    )
    alone = facts('release(count(loans), to="x", noise=laplace(epsilon=1))', takes="loans")["charges"]
    assert alone["loans"]["epsilon"] == 10**9


def test_an_exact_release_charges_each_column_with_each_number_it_follows_from() -> None:
    found = facts(
        JOIN,
        'release(mean(rows.loans.amount, by=rows.people.home), to="x", exact=True)',
        'release(count(people, by=people.home), to="x", exact=True)',
        'release(count(people, by=people.home), to="y", exact=True)',
        'release(count(loans, by=bins(loans.amount)), to="x", exact=True)',
    )["charges"]
    assert found["loans"]["figures"] == {"amount": 10 + 4}
    assert found["people"]["figures"] == {"home": 10 + 5 + 5}
    assert found["loans"]["epsilon"] == 0


def test_booleans_have_two_groups() -> None:
    found = facts('release(count(loans, by=one_hot(loans.paid)), to="x", exact=True)', takes="loans")
    assert found["charges"]["loans"]["figures"] == {"paid": 2}


def test_what_needs_plain_is_charged_with_what_leaves() -> None:
    """It may follow of any number of sums, of which an owner that granted single cells is not charged."""
    found = facts('release(sum(loans.amount * loans.free * loans.free), to="x", exact=True)', takes="loans")
    assert found["charges"]["loans"]["figures"] == {"amount": 1, "free": 1}
    rows = facts('release(loans.amount, to="x", exact=True)', takes="loans")
    assert rows["charges"]["loans"] == NONE


def test_sizes_of_joins_and_what_stays_shares_are_charged_to_nobody() -> None:
    found = facts(
        JOIN,
        'release(count(rows), to="x", exact=True)',
        'release(membership(rows), to="bank", exact=True)',
        'keep(sum(rows.people.age), name="kept")',
    )
    assert found["charges"] == {"loans": NONE, "people": NONE}


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('release(count(people, by=one_hot(people.word)), to="x", exact=True)', "categories of people.word"),
        ('release(count(loans, by=bins(loans.free)), to="x", exact=True)', "bins of loans.free"),
        (
            'release(count(loans, by=bins(loans.free)), to="x", noise=laplace(epsilon=1))',
            "bins of loans.free",
        ),
        ('release(sum(loans.free), to="x", noise=laplace(epsilon=1))', "loans.free, whose schema"),
        ('release(mean(loans.free), to="x", noise=gaussian(epsilon=1, delta=0.001))', "loans.free, whose"),
    ],
)
def test_a_job_on_a_domain_that_is_not_registered_is_refused_by_its_name(line: str, named: str) -> None:
    with pytest.raises(PageRefused, match=rf"DOMAIN_NOT_REGISTERED: .*{named}"):
        facts(line)
    whole_facts(page(line), [], {}, Gas(10**8))


@pytest.mark.parametrize(
    ("noise", "code"),
    [
        ("laplace(epsilon=0)", "NOISE: epsilon = 0; instead: an epsilon above 0"),
        ("laplace(epsilon=-1)", "NOISE: epsilon = -1; instead: an epsilon above 0"),
        ("laplace(epsilon=11)", "NOISE: epsilon = 11; instead: an epsilon above 0, at most 10"),
        (
            "gaussian(epsilon=1, delta=0)",
            "NOISE: delta = 0, the chance that noise hides nobody; instead: a delta",
        ),
        ("gaussian(epsilon=1, delta=0.5)", "NOISE: delta = 0.5, .*; instead: a delta above 0, at most 0.001"),
        ("gaussian(epsilon=1, delta=1/999)", "NOISE: delta = 1/999, .* at most 0.001"),
    ],
)
def test_noise_that_hides_nobody_is_refused_by_its_number(noise: str, code: str) -> None:
    with pytest.raises(PageRefused, match=code):
        facts(f'release(sum(loans.amount), to="x", noise={noise})', takes="loans")


def test_what_is_not_registered_is_refused_at_the_line_of_its_release() -> None:
    first = 'release(count(loans), to="x", exact=True)\n    '
    for line in (
        'release(sum(loans.free), to="x", noise=laplace(epsilon=1))',
        'release(count(loans, by=bins(loans.free)), to="x", exact=True)',
    ):
        with pytest.raises(PageRefused, match=r"^page.py:\d+:5: DOMAIN_NOT_REGISTERED") as caught:
            facts(first + line)
        written = page(first + line).splitlines()[caught.value.diagnostics[0].line - 1]
        assert written.strip() == line


def test_noise_without_rows_behind_it_is_refused() -> None:
    with pytest.raises(PageRefused, match="NOISE_WITHOUT_ROWS"):
        facts('release(ones(3), to="x", noise=gaussian(epsilon=1, delta=0.001))', takes="loans")


# --- membership --------------------------------------------------------------------------------------------
def test_every_other_owner_of_joined_data_learns_which_rows_are_joined() -> None:
    found = facts(JOIN, 'release(count(rows), to="x", exact=True)')
    assert found["membership"] == {"loans": ["city"], "people": ["bank"]}


def test_a_dataset_that_is_not_joined_tells_nobody() -> None:
    found = facts('release(count(loans), to="x", exact=True)', 'release(count(people), to="x", exact=True)')
    assert found["membership"] == {"loans": [], "people": []}


def test_a_receiver_whom_a_release_tells_learns_it_of_all_that_is_joined() -> None:
    found = facts(JOIN, 'release(membership(rows), to="x", exact=True)')
    assert found["membership"] == {"loans": ["city", "x"], "people": ["bank", "x"]}
    summed = facts(JOIN, 'release(sum(rows.people.age, where=rows.loans.paid), to="x", exact=True)')
    assert summed["membership"] == {"loans": ["city"], "people": ["bank"]}


def test_an_owner_learns_nothing_of_its_own_rows_by_its_own_second_dataset() -> None:
    given = [one | {"owner": "bank"} for one in registered("loans", "people")]
    source = page(JOIN, 'release(count(rows), to="x", exact=True)')
    assert brief_facts(source, given, {}, Gas(10**8))["membership"] == {"loans": [], "people": []}


# --- the initiator -----------------------------------------------------------------------------------------
def test_columns_of_the_initiator_count_as_those_of_a_receiver() -> None:
    chosen = 'release(sum(rows.people.age, where=rows.loans.paid), to="x", exact=True)'
    assert facts(JOIN, chosen)["uses"]["people"]["age"] == "aggregate"
    assert facts(JOIN, chosen, initiator="city")["uses"]["loans"]["paid"] == "plain"
    mine = facts(JOIN, chosen, initiator="bank")
    assert mine["uses"]["people"]["age"] == "plain"
    assert mine["plan"] == facts(JOIN, chosen)["plan"], "what is computed is the same for everybody"
    assert mine["membership"] == {"loans": ["city", "x"], "people": ["bank", "x"]}


# --- what votes see ----------------------------------------------------------------------------------------
def test_votes_see_charges_as_formulas_and_membership_by_datasets() -> None:
    source = page(
        JOIN,
        'release(mean(rows.loans.amount, by=rows.people.home), to="x", exact=True)',
        'release(count(loans, by=loans.kind), to="x", noise=laplace(epsilon=0.25))',
    )
    found: Any = whole_facts(source, [], {}, Gas(10**8))
    assert found["membership"] == {"loans": ["people"], "people": ["loans"]}
    assert found["charges"]["people"]["figures"] == {"home": "2 * categories of people.home"}
    assert found["charges"]["loans"] == {
        "epsilon": 250_000_000,
        "delta": f"{EACH:,} * categories of loans.kind",
        "rho": 31_250 * 10**12,
        "figures": {"amount": "2 * categories of people.home"},
    }


# --- zero-concentrated privacy -----------------------------------------------------------------------------
def test_rho_of_gaussian_is_the_greatest_with_the_bound_and_never_more() -> None:
    with localcontext() as context:
        context.prec = 60
        for epsilon in ("0.001", "0.1", "1", "3", "100"):
            for delta in ("1e-18", "0.000001", "0.01", "0.5", "0.999999"):
                e, d = Decimal(epsilon), Decimal(delta)
                log = -d.ln()
                exact = ((log + e).sqrt() - log.sqrt()) ** 2
                found = rho_of_gaussian(Fraction(epsilon), Fraction(delta))
                made = Decimal(found.numerator) / found.denominator
                assert made <= exact
                assert exact - made <= Decimal("1.1e-18") + exact * Decimal("1e-20") / log
                assert made + 2 * (made * log).sqrt() <= e


def test_logarithms_are_above_the_true_ones_by_little() -> None:
    with localcontext() as context:
        context.prec = 60
        for number in (Fraction(3, 2), Fraction(2), Fraction(10), Fraction(10**18), Fraction(2**128 - 1, 7)):
            true = (Decimal(number.numerator) / number.denominator).ln()
            off = Decimal(log_up(number)) / 2**96 - true
            assert 0 <= off < Decimal(2) ** -79


def test_rho_of_laplace_is_half_of_the_square_rounded_up() -> None:
    assert rho_of_laplace(Fraction(1)) == Fraction(1, 2)
    assert (
        rho_of_laplace(Fraction(1, 3))
        > Fraction(1, 18)
        > rho_of_laplace(Fraction(1, 3)) - Fraction(1, 10**18)
    )
