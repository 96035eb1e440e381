"""What exact figures of an owner's columns may still tell: its agent's limits, over jobs and versions.

Three limits go with an account and each of its columns that a grant does not give as `plain`. Over all jobs
the sum of figures * 2 * min_group / rows is at most 1, rows being the fewest that a job's figures were over:
so many random sums leave whoever reads them with the guess that the margins allow. Two sets of rows differ by
none or by `min_group` and more, so that a figure of one job without that of another is of no fewer; rows of
another version differ by so many at any rate, since that nothing changed tells something, too. And one page
asks about groups of rows, since nobody can judge those of two beside one another: which figure is hidden
follows from all that a page asks, and from their order.

A job takes its part before anything of ours is shared, and gives it back if it ends before this agent
approved that its result is opened. Without that approval no agent hands out a share of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

import numpy as np
from numpy.typing import NDArray

from privcompute.data.exposed import (
    SETS_MAX,
    ExposedStore,
    Marks,
    Taken,
    TakenOfColumn,
    marks_of,
    rows_apart,
)
from privcompute.data.tables import TypedTable
from privcompute.errors import Fact
from privcompute.job.enforcement import JobRefusal
from privcompute.pages.work import ExactUse

SPENT, TOO_NEAR, ASKED = "EXACT_FIGURES_SPENT", "EXACT_ROWS_TOO_NEAR", "EXACT_GROUPS_ASKED"
CODES = (SPENT, TOO_NEAR, ASKED)
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a job's exact figures take of one of our datasets."""

    job: str
    dataset: str
    version: int
    account: str
    """What names the account; a new version continues it."""
    min_group: int
    uses: Mapping[str, ExactUse]
    """By column, of those that the grant does not give as `plain`."""
    groups: bytes
    """A hash of all groups that figures are over, versions and the smallest group; b"" for all rows alone."""
    pages_max: int
    """How many pages may ask about groups, each for others than those before."""
    store: ExposedStore = field(repr=False)

    def check_groups(self) -> None:
        """Raise JobRefusal for groups that cannot be judged beside those of earlier jobs."""
        if self.uses and self.groups:
            self._asked(self._before())

    def check_figures(self, rows: int) -> None:
        """Raise JobRefusal when figures over so many rows are more than earlier jobs left.

        It is asked before anybody knows which rows these are.
        """
        if self.uses:
            before = self._before()
            for column in self.uses:
                self._part(before, column, rows)

    def judge(self, table: TypedTable, rows: Mapping[str, Rows]) -> None:
        """Judge and remember the rows that figures are over, before anything of them is shared.

        `rows` are our own, by the name that the plan has for their number. Raises JobRefusal, NotWritten.
        """
        if not self.uses:
            return
        with self.store.alone():
            before = self._before()
            asked = self._asked(before)
            taken: dict[str, TakenOfColumn] = {}
            for column, sets in self._sets(table, rows):
                part = self._part(before, column, min(map(len, sets), default=table.rows))
                self._check_near(before, column, sets)
                names = [self.store.keep_set(self.account, column, self.version, marks) for marks in sets]
                taken[column] = TakenOfColumn(part, frozenset(names))
            self.store.take(self.account, self.job, Taken(asked, taken))

    def objections(self, count: int, table: TypedTable, rows: Mapping[str, Rows]) -> list[JobRefusal]:
        """Return everything for which a job would be refused, of `count` rows; nothing is remembered.

        `rows` are as in `judge`, as far as they are known; nothing is said of others.
        """
        before = self._before()
        checks: list[Callable[[], None]] = [self.check_groups, partial(self.check_figures, count)]
        checks += [
            partial(self._check_near, before, column, sets) for column, sets in self._sets(table, rows)
        ]
        found = []
        for check in checks:
            try:
                check()
            except JobRefusal as refusal:
                found.append(refusal)
        return found

    def _sets(self, table: TypedTable, rows: Mapping[str, Rows]) -> Iterator[tuple[str, list[Marks]]]:
        """Yield each column with the marks of each set of rows that its figures are over."""
        ids = table.ids if table.schema.key else [str(row) for row in range(table.rows)]
        for column in sorted(self.uses):
            cells = table.data[column]
            places = [rows[name].tolist() for name in sorted(self.uses[column].rows) if name in rows]
            yield column, [marks_of([ids[row] for row in at], cells[at]) for at in places]

    def _before(self) -> Taken:
        """Return what jobs but this one took."""
        return self.store.memory(self.account).without(self.job)

    def _asked(self, before: Taken) -> tuple[bytes, ...]:
        """Return what this job asks about groups; raise JobRefusal where that is too much."""
        if not self.groups or self.groups in before.asked:
            return (self.groups,) if self.groups else ()
        if len(before.asked) >= self.pages_max:
            raise JobRefusal(
                ASKED,
                f"{self.dataset}: exact figures over other groups, or of other versions, were asked for"
                f" {len(before.asked)} times; agent.toml allows {self.pages_max} (policy.exact_pages)",
                dataset=self.dataset,
                version=self.version,
            )
        return (self.groups,)

    def _part(self, before: Taken, column: str, rows: int) -> Fraction:
        """Return what the figures of a column take of its limit; raise JobRefusal when that is not left."""
        figures, gone = self.uses[column].figures, before.columns.get(column, TakenOfColumn()).part
        part = Fraction(2 * figures * self.min_group, max(rows, 1))
        if gone + part > 1:
            left = int((1 - gone) * rows / (2 * self.min_group))
            raise self._refusal(
                SPENT,
                column,
                f"{figures} exact figures; {rows} rows and groups of {self.min_group} leave {left}"
                f" after earlier jobs, which took {float(gone):.1%} of the limit",
            )
        return part

    def _check_near(self, before: Taken, column: str, sets: Sequence[Marks]) -> None:
        """Raise JobRefusal for sets of rows too near to those before, or to one another."""
        known = [self.store.set_of(name) for name in before.columns.get(column, TakenOfColumn()).sets]
        for marks in sets:
            for version, other in known:
                apart = rows_apart(marks, other)
                if apart < self.min_group and (apart > 0 or version != self.version):
                    raise self._refusal(
                        TOO_NEAR,
                        column,
                        f"its {len(marks)} rows differ by {apart} from those of version {version} that exact"
                        f" figures were over, and groups have {self.min_group} or more",
                    )
            known.append((self.version, marks))
        if len(known) > SETS_MAX:
            raise self._refusal(SPENT, column, f"exact figures were over {SETS_MAX} different sets of rows")

    def _refusal(self, code: str, column: str, text: str) -> JobRefusal:
        known: dict[str, Fact] = {"dataset": self.dataset, "version": self.version, "column": column}
        return JobRefusal(code, f"column {self.dataset}/{column}: {text}", **known)


def first_of(begun: Sequence[int] | None, version: int) -> int:
    """Return the first version of the account that a version is in, as contract `accounts` says it."""
    return max([1, *[first for first in begun or () if first <= version]])
