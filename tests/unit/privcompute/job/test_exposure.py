"""What exact figures may still tell of an owner's columns: how many there are, and over which rows."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privcompute.data.exposed import ExposedError, ExposedStore, Taken, marks_of, rows_apart
from privcompute.data.schema import Column, Schema
from privcompute.data.tables import TypedTable
from privcompute.job.enforcement import JobRefusal
from privcompute.job.exposure import Exposure, first_of
from privcompute.pages.work import ExactUse

ROWS = 200
WHOLE = "n:join1"
NUMBERS = count()
NEAR = "EXACT_ROWS_TOO_NEAR"


def table(*, changed: int = 0) -> TypedTable:
    """People with incomes, of whom the first few have another one than at first."""
    incomes = np.arange(ROWS) * 10
    incomes[:changed] += 1
    ids = np.array([f"p{number}" for number in range(ROWS)], dtype=object)
    schema = Schema((Column("id", "text"), Column("income", "integer")), ("id",))
    return TypedTable(schema, {"id": ids, "income": incomes}, {})


def exposure(folder: Path, figures: int = 1, **more: Any) -> Exposure:
    given: dict[str, Any] = {
        "job": f"{next(NUMBERS):064x}",
        "dataset": "a/people",
        "version": 2,
        "account": "a/people",
        "min_group": 10,
        "uses": {"income": ExactUse(figures, frozenset({WHOLE}))},
        "groups": b"",
        "pages_max": 1,
        "store": ExposedStore(folder),
    }
    return Exposure(**given | more)


def said(work: Any) -> str:
    """Return the code of what work raises, "" for nothing; it names the column and no number."""
    try:
        work()
    except JobRefusal as refusal:
        named = refusal.detail | {"version": 2} == {"dataset": "a/people", "version": 2, "column": "income"}
        return refusal.reason if named else f"{refusal.reason} {refusal.detail}"
    return ""


def judged(folder: Path, rows: Any, changed: int = 0, **more: Any) -> str:
    """Return the code that refuses a job over these rows; what is not refused counts."""
    found = exposure(folder, **more)
    return said(lambda: found.judge(table(changed=changed), {WHOLE: np.asarray(rows, np.int64)}))


@pytest.mark.parametrize(
    ("figures", "before", "rows", "code"),
    [(5, 0, 100, ""), (6, 0, 100, "EXACT_FIGURES_SPENT"), (5, 0, 99, "EXACT_FIGURES_SPENT"),
     (2, 3, 100, ""), (2, 4, 100, "EXACT_FIGURES_SPENT")],
)  # fmt: skip
def test_figures_are_at_most_half_the_rows_by_the_smallest_group(
    tmp_path: Path, figures: int, before: int, rows: int, code: str
) -> None:
    for _ in range(before):
        assert judged(tmp_path, range(rows)) == ""
    assert said(lambda: exposure(tmp_path, figures).check_figures(rows)) == code
    assert judged(tmp_path, range(rows), figures=figures) == code


@pytest.mark.parametrize(("small", "figures", "left"), [(20, 1, 0), (40, 1, 5), (60, 1, 6), (60, 2, 3)])
def test_a_small_join_takes_its_own_part_of_the_limit_and_no_more(
    tmp_path: Path, small: int, figures: int, left: int
) -> None:
    """2 * 10 * figures / rows of the limit: a third for a figure over 60 rows, of 200 rows a tenth."""
    assert judged(tmp_path, range(small), figures=figures) == ""
    assert said(lambda: exposure(tmp_path, left + 1).check_figures(ROWS)) == "EXACT_FIGURES_SPENT"
    assert left == 0 or said(lambda: exposure(tmp_path, left).check_figures(ROWS)) == ""


def test_figures_of_other_minimum_groups_take_by_their_own(tmp_path: Path) -> None:
    assert judged(tmp_path, range(100), min_group=25) == ""
    assert judged(tmp_path, range(100), min_group=10, figures=2) == ""
    assert judged(tmp_path, range(100), min_group=10) == "EXACT_FIGURES_SPENT"


def test_thirds_of_the_limit_add_up_to_all_of_it(tmp_path: Path) -> None:
    assert [judged(tmp_path, range(60)) for _ in range(4)] == ["", "", "", "EXACT_FIGURES_SPENT"]


def test_what_a_job_took_comes_back_if_it_ends_before_its_result_may_be_opened(tmp_path: Path) -> None:
    """An aborted job leaves the limit, the groups and the rows as they were."""
    first = exposure(tmp_path, 5, groups=b"a")
    first.judge(table(), {WHOLE: np.arange(100)})
    assert judged(tmp_path, range(100)) == "EXACT_FIGURES_SPENT"
    assert said(lambda: exposure(tmp_path, groups=b"b").check_groups()) == ASKED
    first.store.free(first.job)
    assert not list(tmp_path.glob("*/*.rows"))
    assert judged(tmp_path, range(1, 100), figures=4, groups=b"b") == ""


def test_what_a_job_took_stays_once_its_result_may_be_opened_however_it_ends(tmp_path: Path) -> None:
    first = exposure(tmp_path, 5, groups=b"a")
    first.judge(table(), {WHOLE: np.arange(100)})
    for _ in range(2):
        first.store.settle(first.job)
        first.store.free(first.job)
    assert judged(tmp_path, range(100)) == "EXACT_FIGURES_SPENT"
    assert said(lambda: exposure(tmp_path, groups=b"b").check_groups()) == ASKED


def test_what_one_job_gives_back_another_still_holds(tmp_path: Path) -> None:
    one, other = exposure(tmp_path, 1, groups=b"a"), exposure(tmp_path, 1, groups=b"a")
    for each in (one, other):
        each.judge(table(), {WHOLE: np.arange(100)})
    one.store.free(one.job)
    assert judged(tmp_path, range(1, 100)) == "EXACT_ROWS_TOO_NEAR"
    assert said(lambda: exposure(tmp_path, groups=b"b").check_groups()) == ASKED
    assert said(lambda: exposure(tmp_path, 4).check_figures(100)) == ""


def test_a_job_that_is_judged_again_takes_once(tmp_path: Path) -> None:
    one = exposure(tmp_path, 3)
    for _ in range(3):
        one.judge(table(), {WHOLE: np.arange(100)})
    one.store.settle(one.job)
    assert said(lambda: exposure(tmp_path, 2).check_figures(100)) == ""


@pytest.mark.parametrize(
    ("fewer", "code"), [(0, ""), (1, "EXACT_ROWS_TOO_NEAR"), (9, "EXACT_ROWS_TOO_NEAR"), (10, "")]
)
def test_rows_of_two_jobs_are_the_same_or_differ_by_a_group(tmp_path: Path, fewer: int, code: str) -> None:
    assert judged(tmp_path, range(100)) == ""
    assert judged(tmp_path, range(fewer, 100)) == code


def test_one_row_for_another_is_two_rows_apart(tmp_path: Path) -> None:
    assert judged(tmp_path, range(100)) == ""
    assert judged(tmp_path, [*range(1, 100), 150]) == "EXACT_ROWS_TOO_NEAR"


@pytest.mark.parametrize(
    ("changed", "code"),
    [(0, "EXACT_ROWS_TOO_NEAR"), (1, "EXACT_ROWS_TOO_NEAR"), (9, "EXACT_ROWS_TOO_NEAR"), (10, "")],
)
def test_a_version_in_which_few_cells_are_others_is_too_near(tmp_path: Path, changed: int, code: str) -> None:
    """Both versions hold the same people: the difference of two sums is what one person's cell grew by."""
    assert judged(tmp_path, range(100)) == ""
    assert judged(tmp_path, range(100), changed=changed, version=3) == code


def test_what_is_refused_is_not_remembered(tmp_path: Path) -> None:
    assert judged(tmp_path, range(100)) == ""
    assert judged(tmp_path, range(1, 100)) == "EXACT_ROWS_TOO_NEAR"
    assert judged(tmp_path, range(11, 100)) == "", "far from the first, near to the one that was refused"


def test_all_objections_are_told_at_once_and_nothing_of_them_is_remembered(tmp_path: Path) -> None:
    """What an owner reads before its agent judges: the limits stay as they were."""
    assert judged(tmp_path, range(100), groups=b"first") == ""
    asked = exposure(tmp_path, figures=8, groups=b"second")
    for _ in range(2):
        found = asked.objections(100, table(), {WHOLE: np.arange(1, 100)})
        assert [one.reason for one in found] == [
            "EXACT_GROUPS_ASKED",
            "EXACT_FIGURES_SPENT",
            "EXACT_ROWS_TOO_NEAR",
        ]
    assert [one.reason for one in asked.objections(100, table(), {})] == [
        "EXACT_GROUPS_ASKED",
        "EXACT_FIGURES_SPENT",
    ], "which rows join is not known before a first job"
    assert judged(tmp_path, range(100), groups=b"first") == ""


def test_two_joins_of_one_job_are_held_against_one_another(tmp_path: Path) -> None:
    uses = {"income": ExactUse(1, frozenset({WHOLE, "n:join2"}))}
    both = exposure(tmp_path, uses=uses)
    rows = {WHOLE: np.arange(100), "n:join2": np.arange(1, 100)}
    assert said(lambda: both.judge(table(), rows)) == "EXACT_ROWS_TOO_NEAR"


def test_other_accounts_and_columns_are_others(tmp_path: Path) -> None:
    store = ExposedStore(tmp_path)
    marks = marks_of(["a", "b"], np.array([1, 2]))
    places = (("a/people", "income"), ("a/people", "age"), ("a/peoplei", "ncome"), ("a/people", "income"))
    names = {store.keep_set(*place, 1, marks) for place in places}
    assert len(names) == 3
    store.take("a/people", "j", Taken((b"a",)))
    assert store.memory("a/peoplei").without("").asked == ()
    assert store.memory("a/people").without("").asked == (b"a",)


def test_a_damaged_memory_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    store = ExposedStore(tmp_path)
    name = store.keep_set("a/people", "income", 1, marks_of(["a", "b"], np.array([1, 2])))
    (path,) = tmp_path.glob("*/*.rows")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ExposedError, match=r"restore it from backup"):
        store.set_of(name)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"open": {}, "settled": {"asked": [], "columns": {"x": {"part": "1/0", "sets": []}}}}'],
)
def test_a_memory_that_no_agent_wrote_is_an_error_with_a_remedy(tmp_path: Path, content: bytes) -> None:
    store = ExposedStore(tmp_path)
    store.take("a/people", "j", Taken())
    (path,) = tmp_path.glob("*/given.json")
    path.write_bytes(content)
    for work in (lambda: store.memory("a/people"), lambda: store.settle("j"), lambda: store.free("j")):
        with pytest.raises(ExposedError, match=r"restore it from backup"):
            work()


def test_rows_apart_are_counted_once_each() -> None:
    ids = [f"p{number}" for number in range(50)]
    one = marks_of(ids, np.arange(50))
    other = marks_of(ids[2:], np.where(np.arange(2, 50) == 7, 0, np.arange(2, 50)))
    assert rows_apart(one, one[::-1]) == 0
    assert rows_apart(one, other) == rows_apart(other, one) == 3


ASKED = "EXACT_GROUPS_ASKED {'dataset': 'a/people', 'version': 2}"


def test_one_page_asks_about_groups_and_may_ask_again(tmp_path: Path) -> None:
    assert judged(tmp_path, range(100), groups=b"a") == ""
    assert judged(tmp_path, range(100), groups=b"a") == ""
    assert judged(tmp_path, range(100)) == "", "all rows are no group"
    assert judged(tmp_path, range(100), groups=b"b") == ASKED
    assert said(lambda: exposure(tmp_path, groups=b"b").check_groups()) == ASKED
    assert said(lambda: exposure(tmp_path, groups=b"a").check_groups()) == ""


def test_an_owner_may_let_more_pages_ask_about_groups(tmp_path: Path) -> None:
    assert judged(tmp_path, range(100), groups=b"a") == ""
    assert judged(tmp_path, range(100), groups=b"b", pages_max=2) == ""
    assert judged(tmp_path, range(100), groups=b"c", pages_max=2) == ASKED


def test_columns_that_are_granted_as_they_are_have_no_limits(tmp_path: Path) -> None:
    free = exposure(tmp_path, uses={}, groups=b"a")
    free.check_groups()
    free.judge(table(), {WHOLE: np.arange(5)})
    assert judged(tmp_path, range(100), groups=b"b") == ""


def test_a_version_belongs_to_the_last_account_that_began_with_it_or_before() -> None:
    assert [first_of([3, 5], version) for version in (1, 2, 3, 4, 5, 9)] == [1, 1, 3, 3, 5, 5]
    assert first_of(None, 4) == 1
