"""Bytes of plans are read as anybody's, and say what was traced; gas and caps hold against hostile pages."""

from __future__ import annotations

import random

import pytest

from chain.primitives.errors import DecodeError
from contracts.language.faults import OutOfGas
from contracts.pages.faults import PageRefused
from contracts.pages.limits import Gas, PageLimits
from contracts.pages.page import trace
from contracts.pages.plan import Plan, decode_plan
from tests.unit.contracts.pages.draw import Draw
from tests.unit.contracts.pages.soundness import SCHEMAS

PAGE = '''"""A page with a join, groups, a loop and noise."""


def run(loans, people):
    rows = join(loans, people)
    release(mean(rows.people.i, by=rows.people.h), to="city", noise=laplace(epsilon=0.5))
    w = 0
    for step in repeat(7):
        w = w + sum(rows.loans.w) / (step + 1)
    release(w, to="auditor", exact=True)
    release(membership(rows), to="bank", exact=True)
'''


def plan() -> Plan:
    return trace(PAGE, SCHEMAS)


def test_a_plan_that_is_read_again_says_the_same_of_everything() -> None:
    one = plan()
    other = decode_plan(one.data)
    for name in ("data", "hash", "page_hash", "datasets", "asked", "uses", "releases", "leakage", "cost"):
        assert getattr(one, name) == getattr(other, name), name


def test_plans_of_random_pages_are_read_again() -> None:
    read = 0
    for seed in range(40):
        try:
            made = trace(Draw(seed).page(), SCHEMAS)
        except PageRefused:
            continue
        assert decode_plan(made.data).uses == made.uses
        read += 1
    assert read > 20


def test_changed_bytes_are_refused_or_are_another_plan_with_its_own_facts() -> None:
    data, drawn = plan().data, random.Random(3)
    refused = 0
    for _ in range(300):
        changed = bytearray(data)
        changed[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
        try:
            made = decode_plan(bytes(changed))
        except DecodeError:
            refused += 1
        else:
            assert made.data == changed
            assert made.hash != plan().hash
    assert refused > 100


@pytest.mark.parametrize("cut", [0, 1, 40, 200])
def test_cut_and_lengthened_bytes_are_refused(cut: int) -> None:
    for data in (plan().data[:cut], plan().data + bytes(1)):
        with pytest.raises(DecodeError):
            decode_plan(data)


def test_reading_a_plan_pays_before_it_works() -> None:
    with pytest.raises(OutOfGas):
        decode_plan(plan().data, Gas(2_000))


def test_tracing_stops_where_its_gas_ends_and_costs_the_same_each_time() -> None:
    meter = Gas(10**9)
    trace(PAGE, SCHEMAS, payer=meter)
    spent = 10**9 - meter.left
    trace(PAGE, SCHEMAS, payer=Gas(spent))
    for less in (spent - 1, spent // 2, 5_000, 0):
        with pytest.raises(OutOfGas):
            trace(PAGE, SCHEMAS, payer=Gas(less))


TWICE = "for i in range(900):\n        for j in range(900):\n            "


def gas_of(columns: int) -> int:
    """Return what it takes to trace a page that releases the sum of each of so many columns by itself."""
    lines = [f'    release(sum(a.c{each}), to="bank", exact=True, name="s{each}")' for each in range(columns)]
    meter = Gas(10**9)
    trace("\n".join(['"""Sums."""', "", "", "def run(a):", *lines, ""]), payer=meter)
    return 10**9 - meter.left


def test_a_release_pays_for_the_columns_that_it_uses_and_not_for_those_of_others() -> None:
    """Each paid for all columns of the page: 250 sums took 7.9 million gas, for a ninth of the time."""
    assert gas_of(200) < 2.2 * gas_of(100) < 5 * gas_of(50)
    assert gas_of(250) < 1_900_000


HOSTILE = {
    "loops in loops": "for i in range(999):\n        for j in range(999):\n            for k in range(999):\n"
    "                pass",
    "lists that double": "x = [1]\n    for i in range(60):\n        x = x + x",
    "shared structures": "x = [1]\n    for i in range(900):\n        x = [x, x]\n    y = x",
    "texts that double": 'x = "a"\n    for i in range(60):\n        x = x + x',
    "numbers that grow": "x = 3\n    for i in range(60):\n        x = x * x",
    "a node a turn": f"x = loans.w\n    {TWICE}x = x * loans.r",
    "powers of powers": f"x = loans.w\n    {TWICE}x = x ** 8",
    "nested comprehensions": "x = [a for a in range(999) for b in range(999) for c in range(999)]",
    "wide stacks": "x = stack([loans.w for i in range(999)])",
    "labels that creep through a loop": "\n    ".join(f"v{i} = real(loans.w)" for i in range(33))
    + "\n    for step in repeat(9):\n        "
    + "\n        ".join(f"v{i} = v{i + 1}" for i in range(32)),
    "a plan of many constants": "x = loans.w\n    for i in range(999):\n        for j in range(9):\n"
    "            x = x + (1000 * i + j)\n    y = sum(x)\n    release(y, to='bank', exact=True)",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_page_ends_at_a_cap_or_at_its_gas(name: str) -> None:
    source = f'"""A page."""\n\n\ndef run(loans, people):\n    {HOSTILE[name]}\n'
    with pytest.raises((PageRefused, OutOfGas)):
        trace(source, SCHEMAS, PageLimits(gas=4_000_000))


def test_the_caps_of_nodes_and_bytes_are_those_that_are_asked_for() -> None:
    for limits in (PageLimits(nodes=10), PageLimits(plan_bytes=200)):
        with pytest.raises(PageRefused, match="PLAN_SIZE"):
            trace(PAGE, SCHEMAS, limits)


def test_what_no_release_needs_is_not_in_the_plan() -> None:
    more = PAGE.replace(
        "    w = 0\n", "    w = 0\n    unused = sum(rows.loans.r) * greatest(rows.people.a)\n"
    )
    lean, other = plan(), trace(more, SCHEMAS)
    assert [one.column for one in other.graph.columns] == [one.column for one in lean.graph.columns]
    assert len(other.graph) == len(lean.graph)


JOIN = '''"""What two share."""


def run(loans, people):
    rows = join(loans, people)
    release(count(rows), to="bank", exact=True, name="in common")
    release(membership(rows), to=owner_of(loans), exact=True, name="which")
'''
MORE = {
    "a figure of a column": 'release(sum(rows.loans.r), to="bank", exact=True, name="more")',
    "rows that a column chooses": 'release(count(filter(rows, rows.loans.r > 1)), to="x", exact=True)',
    "rows told to nobody who joins": 'release(membership(rows), to="stranger", exact=True, name="more")',
    "what stays shares": 'keep(membership(rows), name="more")',
    "noise": 'release(count(rows), to="bank", noise=laplace(epsilon=1), name="more")',
}


def test_what_follows_of_joins_alone_runs_under_the_profile_of_joins_too() -> None:
    for more in ("", '    release(count(rows) * 2 - 1, to="x", exact=True, name="more")\n'):
        assert trace(JOIN + more, SCHEMAS).profiles == ("dh-psi", "rep3")


@pytest.mark.parametrize("what", MORE)
def test_whatever_needs_more_than_joins_needs_a_profile_with_arithmetic(what: str) -> None:
    assert trace(JOIN + "    " + MORE[what], SCHEMAS).profiles == ("rep3",)


def test_a_join_costs_no_more_under_the_profile_of_joins() -> None:
    joins, shares = trace(JOIN, SCHEMAS).cost
    sizes = {"n:0": 1_000, "n:1": 2_000, "n:join1": 1_000}
    assert (joins.profile, shares.profile) == ("dh-psi", "rep3")
    assert 0 < joins.rounds.value(sizes) <= shares.rounds.value(sizes)
    assert 0 < joins.sent.value(sizes) <= shares.sent.value(sizes)


def test_the_statement_says_what_joining_tells_and_to_whom_of_three_or_more() -> None:
    two = trace(JOIN, SCHEMAS).leakage
    assert "Owners that work together learn no more" in two
    assert "each subset of the owners" not in two
    three = trace(JOIN.replace("loans, people", "loans, people, more"))
    assert "how many rows each subset of the owners shares, but not which" in three.leakage
    assert (
        "Joining tells"
        not in trace(JOIN.split("def")[0] + "def run(loans):\n    keep(loans.r, name='r')\n", SCHEMAS).leakage
    )


def test_the_statement_says_of_exact_figures_and_of_no_others_what_their_differences_tell() -> None:
    page = '"""How many."""\n\n\ndef run(people):\n    release(count(people), to="bank", {}, name="n")\n'
    said = "Exact counts and sums of groups of rows that differ by fewer rows than the minimum group are not"
    assert said in trace(page.format("exact=True")).leakage
    assert said not in trace(page.format("noise=laplace(epsilon=0.5)")).leakage


def test_the_statement_promises_of_figures_that_need_plain_nothing_that_holds_of_sums_alone() -> None:
    page = '"""A figure."""\n\n\ndef run(people):\n    release({}, to="bank", exact=True, name="n")\n'
    told = trace(page.format("greatest(people.age)")).leakage
    assert "Exact figures that need plain of a column may tell single cells of it" in told
    assert "nothing hides these: people.age." in told
    assert "Exact counts and sums hide" not in told
    both = page + '    release(sum(people.age), to="bank", exact=True, name="m")\n'
    assert "Exact counts and sums hide" in trace(both.format("greatest(people.age)")).leakage
    assert "need plain" not in trace(page.format("sum(people.age)")).leakage


LOOP = (
    JOIN
    + """    far = sqrt(sum(rows.loans.w * rows.people.i))
    w = 1
    for step in repeat(7):
        w = far / (w + 1)
    release(w, to="auditor", exact=True, name="w")
"""
)


def test_a_loop_costs_its_turns_and_what_lies_before_it_once() -> None:
    """What a turn takes from outside is there when it begins: the loop waits for it, its turns do not."""
    (cost,) = trace(LOOP, SCHEMAS).cost
    sizes = {"n:0": 1_000, "n:1": 2_000, "n:join1": 1_000}
    division, root, product, share, join = 40, 51, 2, 1, 7
    assert cost.rounds.value(sizes) == join + share + product + root + 7 * division


def test_what_an_owner_computes_alone_costs_nobody_a_round() -> None:
    alone = trace(JOIN + "    release(log(1 + mean(rows.loans.w)), to='x', exact=True)\n", SCHEMAS).cost[0]
    assert alone.rounds == trace(JOIN, SCHEMAS).cost[1].rounds


def test_costs_are_formulas_of_rows() -> None:
    (cost,) = trace(LOOP, SCHEMAS).cost
    sizes = {"n:0": 1_000, "n:1": 2_000, "n:join1": 1_000, **{f"k:{i}": 3 for i in range(9)}}
    assert cost.profile == "rep3"
    assert cost.sent.value(sizes) < cost.sent.value(sizes | {"n:join1": 2_000})
    assert cost.memory.value(sizes) > 16 * 1_000


BEYOND = '''"""Cells that shares may not hold, under noise."""


def run(loans, people):
    rows = join(loans, people)
    bit = clip(rows.people.i, 0, 1)
    far = bit + 2305843009213693952 + 2305843009213693952 + 2305843009213693952 + 2305843009213693951
    part = real(clip(rows.people.i, 0 - 50000, 50000))
    release(sum({}), to="bank", noise=laplace(epsilon=0.01), name="s")
'''


@pytest.mark.parametrize(
    "cell",
    [
        "maximum(far, 0)", "minimum(far, 0)", "clip(far, 0 - 5, 5)", "abs(far)", "where(bit > 0, far, 0)",
        "part * part", "sigmoid(far)", "clip(rows.people.i * rows.people.i * rows.people.i, 0, 1)",
        "bins(far, edges=[0, 5, 9])[:, 0]", "where(bins(far, edges=[0, 5, 9])[:, 0], 1, 0)",
        "bit, by=bins(far, edges=[0, 5, 9])", "bit, where=bins(far, edges=[0, 5, 9])[:, 0]",
        "bit, where=~bins(far, edges=[0, 5, 9])[:, 0]",
    ],
)  # fmt: skip
def test_noise_covers_no_cell_that_may_leave_the_range_of_shares(cell: str) -> None:
    """There 2^63 - 1 and one more are far apart: one row would show through however much noise."""
    with pytest.raises(PageRefused, match="NOISE_UNBOUNDED"):
        trace(BEYOND.format(cell), SCHEMAS)
    assert trace(BEYOND.format("clip(bit + 7, 0, 5)"), SCHEMAS)
