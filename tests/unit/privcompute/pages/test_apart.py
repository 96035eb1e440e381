"""Figures of groups that differ by few rows are not shown beside one another: pairs, and one without two."""

from __future__ import annotations

from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.pages.page import trace
from privcompute.mpc.local import run_local
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.pages.apart import (
    BASIS_MAX,
    GROUPS_MAX,
    SPREAD_MAX,
    JudgedSet,
    apart,
    apart_alone,
    checks_of,
)
from privcompute.pages.columns import InputRefused
from privcompute.pages.normals import normals
from tests.unit.privcompute.pages.running import Data, run_page

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)
LEAST = 5


def drawn(seed: int, rows: int = 60) -> list[np.ndarray[Any, Any]]:
    """Two groupings and two conditions, some of which differ by few rows from others."""
    random = np.random.default_rng(seed)
    first = random.integers(0, random.integers(2, 4), rows)
    second = first.copy()
    moved = random.random(rows) < random.choice([0.02, 0.1, 0.5])
    second[moved] = random.integers(0, second.max() + 1, int(moved.sum()))
    condition = random.random(rows) < random.choice([0.3, 0.7, 0.97])
    other = condition ^ (random.random(rows) < random.choice([0.03, 0.3]))
    groups = [one[:, None] == np.arange(one.max() + 1)[None, :] for one in (first, second)]
    return [one.astype(np.int64) for one in (*groups, condition, other)]


SETS = (
    JudgedSet("every", 1, 11, 0),
    JudgedSet("every", 2, 12, 0),
    JudgedSet("other", 3, 13, 13),
    JudgedSet("other", 4, 14, 14),
)


@PROPERTY
@given(st.integers(0, 10_000))
def test_what_two_or_three_figures_leave_rests_on_the_least_number_of_rows(seed: int) -> None:
    bits = drawn(seed)
    far = apart_alone(bits, SETS, [(0, 60)], LEAST)
    groups = [(0, np.ones(60, np.int64))]
    for one, cells in zip(SETS, bits, strict=True):
        columns = cells.reshape(60, -1).T
        counts = columns.sum(axis=1)
        if far[one.set] and (one.role == "other" or (counts >= LEAST).all()):
            groups += [(one.set, column) for column in columns if column.sum() >= LEAST]
    for (a, x), (b, y) in combinations(groups, 2):
        assert a == b or a == 0 or np.count_nonzero(x != y) >= LEAST
    for (a, x), (b, y), (c, z) in permutations(groups, 3):
        left = np.count_nonzero(x - y - z)
        assert left >= LEAST or (left == 0 and b == c) or (a == 0 and b == c)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_sets_are_far_apart_on_shares_as_in_the_clear(seed: int) -> None:
    bits = drawn(seed)
    spans = [(0, 25), (25, 60)]

    def party(me: int) -> Steps[Any]:
        engine = yield from Rep3Engine.start(me, bytes(32), bytes([me]) * ENTROPY_BYTES)
        shares = []
        for one in bits:
            shares.append((yield from engine.share(0, one if me == 0 else None, one.shape)))
        found = yield from apart(engine, shares, SETS, spans, LEAST)
        return (yield from engine.reveal(found, [0]))

    found = run_local([party(me) for me in range(3)]).results[0]
    assert found.tolist() == apart_alone(bits, SETS, spans, LEAST).tolist()


def test_as_many_groups_as_are_judged_take_no_more_comparisons_than_stated() -> None:
    two = (JudgedSet("every", 1, 1, 0), JudgedSet("every", 2, 2, 0))
    checks = checks_of((7, BASIS_MAX - 6), two)
    assert len(checks.pair_sets) + len(checks.triple_sets) + len(checks.sums) < 266_000
    assert set(checks.sums.reach.tolist()) == {1}
    some = tuple(JudgedSet("other", number, number, number) for number in range(1, SPREAD_MAX - 1))
    assert len(checks_of((1,) * (SPREAD_MAX - 2), some).sums) < 3_300
    assert len(normals(SPREAD_MAX - 1)) == 252_434
    alone = checks_of((GROUPS_MAX - 1,), (JudgedSet("every", 1, 1, 0),))
    assert len(alone.triple_sets) + len(alone.sums) < 4_000


@pytest.mark.parametrize(("groups", "planes"), [(1, 2), (2, 6), (3, 20), (4, 140), (5, 3_254)])
def test_all_hyperplanes_through_points_of_a_cube_are_listed_once(groups: int, planes: int) -> None:
    """How many there are is sequence A007847; each goes through as many points as it takes to fix it."""
    factors = normals(groups).astype(int)
    assert len(np.unique(factors, axis=0)) == planes
    assert not any((-one).tolist() in factors.tolist() for one in factors[:50])
    points = np.array([(1, *point) for point in product((0, 1), repeat=groups)])
    for one in factors[:: max(1, planes // 50)]:
        assert np.linalg.matrix_rank(points[points @ one == 0]) == groups


def conditions(*bits: np.ndarray[Any, Any]) -> list[bool]:
    """Return which conditions are shown of rows in groups of ten, each a figure of its own."""
    sets = tuple(JudgedSet("other", number, number, number) for number in range(1, len(bits) + 1))
    found = apart_alone([one.astype(np.int64) for one in bits], sets, [(0, len(bits[0]))], 10)
    return [bool(one) for one in found[1:]]


def some_of(random: np.random.Generator, rows: int, groups: int, many: int) -> np.ndarray[Any, Any]:
    """Put each row into so many of some groups, at random: (groups, rows)."""
    return np.array([random.permutation(groups) < many for _ in range(rows)]).T


@pytest.mark.parametrize(("groups", "many"), [(3, 2), (4, 2), (5, 2), (5, 3)])
def test_groups_that_each_row_is_in_as_often_but_one_row_are_not_all_shown(groups: int, many: int) -> None:
    """Twice (three times) the total without all groups is one row's; factors of 1 show nothing."""
    bits = some_of(np.random.default_rng(1), 200, groups, many)
    out = int(np.flatnonzero(bits[:, 7])[0])
    bits[out, 7] = False
    assert (many - bits.sum(axis=0) != 0).sum() == 1
    shown = conditions(*bits)
    assert shown[:2] == [True, True]
    assert not all(shown)


def test_a_figure_that_counts_twice_beside_others_once_tells_of_no_single_row() -> None:
    """In the first group, or in exactly two of three others: 2 a + b + c + d = 2 for all rows but one."""
    random = np.random.default_rng(2)
    first = random.random(300) < 0.5
    rest = some_of(random, 300, 3, 2) & ~first
    rest[:, 5] ^= [True, False, False]
    assert (2 * first + rest.sum(axis=0) != 2).sum() == 1
    assert not all(conditions(first, *rest))


def test_rows_that_a_sum_counts_twice_are_not_taken_for_four() -> None:
    """Five rows that count twice have 20 as the sum of squares, and are five."""
    random = np.random.default_rng(3)
    a, b = random.random(300) < 0.5, random.random(300) < 0.5
    few = np.arange(300) < 5
    # a + b - c - d, with c and d as a and b but for the few, of which a and b have all and c and d none
    swap = random.random(300) < 0.5
    c, d = np.where(swap, a, b) & ~few, np.where(swap, b, a) & ~few
    a, b = a | few, b | few
    left = a.astype(int) + b - c - d
    assert set(left.tolist()) == {0, 2}
    assert np.count_nonzero(left) == 5
    assert not all(conditions(a, b, c, d))


def test_the_last_bin_counts_where_rows_may_be_in_none() -> None:
    """Four groupings of a single bin that together hold all rows but one."""
    part = np.random.default_rng(4).integers(0, 4, 200)
    bits = [((part == number) & (np.arange(200) != 9)).astype(np.int64)[:, None] for number in range(4)]
    sets = tuple(JudgedSet("some", number, number, 0) for number in range(1, 5))
    assert apart_alone(bits, sets, [(0, 200)], 10)[1:].tolist() == [1, 1, 1, 0]


def test_two_groupings_by_bins_that_leave_no_row_out_are_both_shown() -> None:
    random = np.random.default_rng(5)
    bits = [(random.integers(0, 3, 200)[:, None] == np.arange(3)).astype(np.int64) for _ in range(2)]
    sets = (JudgedSet("some", 1, 1, 0), JudgedSet("some", 2, 2, 0))
    assert apart_alone(bits, sets, [(0, 200)], 10)[1:].tolist() == [1, 1]
    bits[1][3] = 0  # one row that only the second grouping leaves out
    assert apart_alone(bits, sets, [(0, 200)], 10)[1:].tolist() == [1, 0]


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_random_conditions_are_shown(groups: int) -> None:
    """As many as a page may ask about: with 2 * 10 rows a figure, balanced conditions hide nothing."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        assert all(conditions(*(random.random((groups, 20 * (groups + 1))) < 0.5))), seed


@PROPERTY
@given(st.integers(0, 10_000))
def test_no_sum_or_difference_of_any_figures_rests_on_few_rows(seed: int) -> None:
    """Three and more conditions, some of which leave few people out together."""
    random = np.random.default_rng(seed)
    parts = random.integers(0, 5, 60)
    bits = [((parts == part) ^ (random.random(60) < 0.02)).astype(np.int64) for part in range(4)]
    sets = tuple(JudgedSet("other", number, number, number) for number in range(1, 5))
    far = apart_alone(bits, sets, [(0, 60)], LEAST)
    shown = [np.ones(60, np.int64)]
    shown += [one for number, one in enumerate(bits, 1) if far[number] and one.sum() >= LEAST]
    for factors in product(range(-3, 4), repeat=len(shown)):
        rows = np.count_nonzero(np.array(factors) @ np.array(shown))
        assert not any(factors) or rows >= LEAST


# --- pages ------------------------------------------------------------------------------------------------
ROWS = 100
IDS = np.array([f"p{number:03}" for number in range(ROWS)])
TARGET = 37


def page(*releases: tuple[str, str]) -> str:
    lines = [f'    release({value}, to="bank", exact=True, name="{name}")' for name, value in releases]
    return '"""Page."""\n\n\ndef run(a, b, c):\n    rows = join(a, b, c)\n' + "\n".join(lines) + "\n"


def data(seed: int = 3) -> Data:
    """`rare` holds one person; `twin` is `kind` but for one person."""
    random = np.random.default_rng(seed)
    x = random.integers(1_000, 9_000, ROWS)
    kind = np.array(["u", "v"], dtype=object)[(np.arange(ROWS) >= 40).astype(int)]
    twin = kind.copy()
    twin[TARGET] = "v"
    rare = np.array(["no"] * ROWS, dtype=object)
    rare[TARGET] = "yes"
    columns = {
        "a": {"id": IDS, "x": x, "y": x // 12, "k": random.permutation(kind)},
        "b": {"id": IDS, "kind": kind, "rare": rare, "age": random.integers(20, 70, ROWS)},
        "c": {
            "id": IDS,
            "twin": twin,
            "half": np.array(["l", "r"], dtype=object)[random.integers(0, 2, ROWS)],
        },
    }
    types = {
        "a": {"id": "text", "x": "integer", "y": "integer", "k": "category"},
        "b": {"id": "text", "kind": "category", "rare": "category", "age": "integer"},
        "c": {"id": "text", "twin": "category", "half": "category"},
    }
    declared: dict[str, Any] = {
        "a.k": {"categories": ("u", "v")},
        "b.kind": {"categories": ("u", "v")},
        "b.rare": {"categories": ("no", "yes")},
        "b.age": {"edges": ("20", "45", "70", "71")},
        "c.twin": {"categories": ("u", "v")},
        "c.half": {"categories": ("l", "r")},
    }
    return Data({"a": 0, "b": 1, "c": 2}, columns, types, declared)


def found(*releases: tuple[str, str], least: int = 10, clear: bool = True) -> dict[str, Any]:
    return run_page(page(*releases), data(), clear=clear, min_group=least)[0]


@pytest.mark.parametrize("clear", [True, False])
def test_a_total_hides_the_sum_of_all_rows_but_one(clear: bool) -> None:
    said = found(
        ("all", "sum(rows.a.x)"),
        ("others", 'sum(rows.a.x, where=~(rows.b.rare == "yes"))'),
        ("mean of others", 'mean(rows.a.x, where=rows.b.rare == "no")'),
        ("many others", 'count(rows.b.rare == "no")'),
        clear=clear,
    )
    assert said["all"] == int(data().columns["a"]["x"].sum())
    assert (said["others"], said["mean of others"], said["many others"]) == (None, None, None)


def test_all_rows_are_judged_beside_a_figure_whether_their_own_is_released_or_not() -> None:
    assert found(("others", 'sum(rows.a.x, where=rows.b.rare == "no")'))["others"] is None
    assert found(("half", 'sum(rows.a.x, where=rows.c.half == "l")'))["half"] is not None


@pytest.mark.parametrize("clear", [True, False])
def test_groups_of_two_owners_that_differ_by_one_row_are_not_shown_beside_one_another(clear: bool) -> None:
    said = found(
        ("of b", "sum(rows.a.x, by=rows.b.kind)"), ("of c", "sum(rows.a.x, by=rows.c.twin)"), clear=clear
    )
    assert None not in said["of b"]
    assert said["of c"] == [None, None]


@pytest.mark.parametrize("clear", [True, False])
def test_groups_of_one_figure_that_overlap_are_judged_beside_one_another(clear: bool) -> None:
    """Two groups of one stack differ by the target alone."""
    near = 'stack([rows.b.kind == "u", rows.c.twin == "u"])'
    far = 'stack([rows.b.kind == "u", rows.c.half == "l"])'
    said = found(("near", f"sum(rows.a.x, by={near})"), clear=clear)
    assert said["near"] == [None, None]
    assert None not in found(("far", f"sum(rows.a.x, by={far})"), clear=clear)["far"]


def test_cells_of_two_groupings_exclude_one_another() -> None:
    """As many cells as of one grouping; one that is too small hides another, or the total would tell it."""
    cells = "one_hot(rows.b.kind)[:, :, None] & one_hot(rows.c.half)[:, None, :]"
    said = found(("cells", f"sum({cells})"))["cells"]
    assert [None in line for line in said] == [False, False]


def test_a_group_hides_what_two_others_leave_of_it() -> None:
    """All rows without those of two conditions leave the one person that is in neither."""
    left = 'rows.b.kind == "u"'
    said = found(
        ("first", f"sum(rows.a.x, where={left})"),
        ("second", 'sum(rows.a.x, where=(rows.b.kind == "v") & (rows.b.rare == "no"))'),
        ("third", 'sum(rows.a.x, where=rows.c.half == "l")'),
    )
    assert said["first"] is not None
    assert said["third"] is not None
    without = found(
        ("first", f'sum(rows.a.x, where=({left}) & (rows.b.rare == "no"))'),
        ("second", 'sum(rows.a.x, where=rows.b.kind == "v")'),
    )
    assert without["first"] is not None
    assert without["second"] is None


def test_four_figures_that_leave_one_person_are_not_all_shown() -> None:
    parts = ('(rows.b.kind == "u")', '(rows.b.kind == "v") & (rows.c.half == "l")', '~(rows.c.half == "l")')
    most = '(rows.b.rare == "no")'
    first, second = f"{parts[0]} & {most}", f"{parts[1]} & {most}"
    third = f'(rows.b.kind == "v") & {parts[2]} & {most}'
    said = found(*[(str(at), f"sum(rows.a.x, where={one})") for at, one in enumerate((first, second, third))])
    assert (said["0"] is None, said["1"] is None, said["2"] is None) == (False, False, True)


def test_equal_groups_of_two_definitions_hide_the_later_since_equality_would_tell() -> None:
    """Whether the target is one of the kind shows in whether leaving it out changes the group."""
    kinds = ("u", "v")
    for kind in kinds:
        said = found(
            ("kind", f'sum(rows.a.x, where=rows.c.twin == "{kind}")'),
            ("but one", f'sum(rows.a.x, where=(rows.c.twin == "{kind}") & (rows.b.rare == "no"))'),
        )
        assert said["kind"] is not None
        assert said["but one"] is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sum(rows.a.x, where={kind})", "sum(rows.a.y, where={kind} & {most})"),
        ("sum({one}, by=rows.b.kind)", "count({one} & {kind} & {most})"),
        ("sum({one}, by=rows.b.kind)", "sum({one} & {most}, by=rows.b.kind)"),
        ("sum({one}, where={kind})", "sum({one} & {kind} & {most})"),
        ("sum({one}, by=rows.b.kind)", "count(~({one} & {kind} & {most}))"),
        ("sum({one}, by=rows.b.kind)", "count({most} & ~({kind} & {one}))"),
        ("count({one} & {kind})", "sum(~{one}, where={kind} & {most})"),
        ("sum({one}, by=rows.b.kind)", "count({one} & {kind} & {most} & {one})"),
        ("mean({one}, where={kind})", "mean({one}, where={kind} & {most})"),
    ],
)
def test_one_question_in_other_words_is_judged_beside_the_first(first: str, second: str) -> None:
    """Whatever is summed or counted, the later figure is of the same people but for the target."""
    words = {"kind": '(rows.b.kind == "u")', "most": '(rows.b.rare == "no")', "one": '(rows.a.k == "u")'}
    said = found(("first", first.format(**words)), ("second", second.format(**words)))
    shown = said["first"]
    assert shown is not None
    assert not isinstance(shown, list) or None not in shown
    hidden = said["second"]
    assert hidden is None or hidden == [None, None]


def test_a_column_in_several_nested_conditions_is_refused_with_the_way_to_write_it() -> None:
    nested = '~((rows.a.k == "u") & (rows.b.kind == "u")) & ~((rows.a.k == "u") & (rows.c.half == "l"))'
    with pytest.raises(InputRefused, match=r"a\.k into several parts of the kind ~\(… & …\)"):
        found(("it", f"count({nested})"))


def test_one_definition_is_never_compared_with_itself() -> None:
    said = found(
        ("mean", "mean(rows.a.x, by=rows.b.kind)"),
        ("sum", "sum(rows.a.x, by=rows.b.kind)"),
        ("again", 'sum(rows.a.x, where=rows.c.half == "l")'),
        ("and again", 'mean(rows.a.x, where=rows.c.half == "l")'),
    )
    assert None not in (*said["mean"], *said["sum"], said["again"], said["and again"])


def test_sums_of_other_columns_are_not_judged_beside_one_another() -> None:
    said = found(
        ("x", 'sum(rows.a.x, where=rows.b.kind == "u")'), ("age", 'sum(rows.b.age, where=rows.c.twin == "u")')
    )
    assert None not in said.values()


def test_a_page_of_more_groups_than_are_judged_is_refused_before_it_runs() -> None:
    many = [(f"f{number}", f"sum(rows.a.x, where=rows.b.age > {number})") for number in range(2)]
    assert trace(page(*many), data().schemas())
    where = '(rows.c.half == "l") & (rows.b.kind == "u") & (rows.a.k == "{}")'
    stacked = [
        (f"f{number}", f"sum(rows.a.x, by=rows.b.kind, where={where.format(number)})")
        for number in range(GROUPS_MAX // 3 + 1)
    ]
    with pytest.raises(InputRefused, match=r"at most 7 are judged beside one another: 64 .* ask for noise"):
        found(*stacked)


# --- rows of several owners -------------------------------------------------------------------------------
def of_union(line: str, wards: dict[str, list[int]], receiver: str, clear: bool, least: int = 10) -> Any:
    """Release a figure of patients of several hospitals; `wards` says how many each has in each ward."""
    owners = {name: place for place, name in enumerate(wards)}
    columns = {
        name: {
            "ward": np.repeat(["n", "s", "w"], counts),
            "cost": np.arange(sum(counts)) + 100 * owners[name],
        }
        for name, counts in wards.items()
    }
    types = {name: {"ward": "category", "cost": "integer"} for name in wards}
    declared = {f"{name}.ward": {"categories": ("n", "s", "w")} for name in wards}
    source = (
        f'"""Page."""\n\n\ndef run({", ".join(wards)}):\n    rows = union({", ".join(wards)})\n'
        f'    release({line}, to="{receiver}", exact=True, name="it")\n'
    )
    return run_page(source, Data(owners, columns, types, declared), clear=clear, min_group=least)[0]["it"]


@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize("line", ["count(rows, by=rows.ward)", "sum(rows.cost, by=rows.ward)"])
def test_the_rows_of_a_receiver_never_count_and_each_other_owner_has_enough_alone(
    line: str, clear: bool
) -> None:
    wards = {"a": [30, 30, 30], "b": [30, 9, 40]}
    first, second, third = of_union(line, wards, "party0", clear)
    assert (first, second) == (None, None), "9 of b are few, so the smallest other one of b goes with it"
    assert third is not None
    assert None not in of_union(line, wards, "party1", clear), "a has enough in each"
    assert None in of_union(line, wards, "party2", clear)


def test_rows_of_two_others_are_not_added_up() -> None:
    wards = {"a": [30, 30, 30], "b": [8, 40, 40], "c": [8, 40, 40]}
    assert of_union("count(rows, by=rows.ward)", wards, "party0", clear=True)[0] is None


@pytest.mark.parametrize("clear", [True, False])
def test_a_difference_is_judged_by_each_other_owner_alone(clear: bool) -> None:
    wards = {"a": [30, 30, 30], "b": [30, 30, 1]}
    line = 'stack([sum(rows.cost), sum(rows.cost, where=~(rows.ward == "w"))])'
    assert of_union(line, wards, "party0", clear)[1] is None
    assert None not in of_union(line, wards, "party1", clear)
