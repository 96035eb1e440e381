"""What exact figures may still tell of an owner's columns: how many there are, and over which rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privcompute.data.exposed import ExposedError, ExposedStore, marks_of, rows_apart
from privcompute.data.schema import Column, Schema
from privcompute.data.tables import TypedTable
from privcompute.job.enforcement import JobRefusal
from privcompute.job.exposure import Exposure, first_of
from privcompute.pages.work import ExactUse

ROWS = 200
WHOLE = "n:join1"
NEAR = "EXACT_ROWS_TOO_NEAR"


def table(*, changed: int = 0) -> TypedTable:
    """People with incomes, of whom the first few have another one than at first."""
    incomes = np.arange(ROWS) * 10
    incomes[:changed] += 1
    ids = np.array([f"p{number}" for number in range(ROWS)], dtype=object)
    schema = Schema((Column("id", "text"), Column("income", "integer")), ("id",))
    return TypedTable(schema, {"id": ids, "income": incomes}, {})


def exposure(
    folder: Path, figures: int = 1, before: Mapping[str, int] | None = None, **more: Any
) -> Exposure:
    given: dict[str, Any] = {
        "dataset": "a/people",
        "version": 2,
        "account": "a/people",
        "min_group": 10,
        "uses": {"income": ExactUse(figures, frozenset({WHOLE}))},
        "before": before or {},
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
    assert said(lambda: exposure(tmp_path, figures, {"income": before}).check_figures(rows)) == code


def test_the_smallest_set_of_rows_bounds_the_figures_of_later_jobs(tmp_path: Path) -> None:
    assert judged(tmp_path, range(60)) == ""
    assert said(lambda: exposure(tmp_path, 4).check_figures(ROWS)) == "EXACT_FIGURES_SPENT"
    assert said(lambda: exposure(tmp_path, 3).check_figures(ROWS)) == ""


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
    store.remember("a/people", "income", 1, marks)
    assert store.least_rows("a/people", "age") is None
    assert store.least_rows("a/peoplei", "ncome") is None
    assert store.least_rows("a/people", "income") == 2


def test_a_damaged_memory_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    store = ExposedStore(tmp_path)
    store.remember("a/people", "income", 1, marks_of(["a", "b"], np.array([1, 2])))
    (path,) = tmp_path.glob("*/*.rows")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ExposedError, match=r"restore it from backup"):
        list(store.sets("a/people", "income"))


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
