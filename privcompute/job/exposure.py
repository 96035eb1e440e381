"""What exact figures of an owner's columns may still tell: its agent's limits, over jobs and versions.

Three limits go with an account and each of its columns that a grant does not give as `plain`. There are at
most floor(rows / (2 min_group)) exact figures, rows being the fewest that any of them was over: so many
random sums leave whoever reads them with the guess that the margins allow. Two sets of rows differ by none
or by `min_group` and more, so that a figure of one job without that of another is of no fewer; rows of
another version differ by so many at any rate, since that nothing changed tells something, too. And one page
asks about groups of rows, since nobody can judge those of two beside one another: which figure is hidden
follows from all that a page asks, and from their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from privcompute.data.exposed import SETS_MAX, ExposedStore, marks_of, rows_apart
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

    dataset: str
    version: int
    account: str
    """What names the account; a new version continues it."""
    min_group: int
    uses: Mapping[str, ExactUse]
    """By column, of those that the grant does not give as `plain`."""
    before: Mapping[str, int]
    """Figures that the account gave away before this job, by column."""
    groups: bytes
    """A hash of all groups that figures are over, versions and the smallest group; b"" for all rows alone."""
    pages_max: int
    """How many pages may ask about groups, each for others than those before."""
    store: ExposedStore = field(repr=False)

    def check_groups(self) -> None:
        """Raise JobRefusal for groups that cannot be judged beside those of earlier jobs."""
        if self.uses and self.groups:
            self._asked()

    def _asked(self) -> list[bytes]:
        """Return what will have been asked about groups; raise JobRefusal when that is too much."""
        asked = self.store.asked(self.account)
        if self.groups in asked:
            return asked
        if len(asked) >= self.pages_max:
            raise JobRefusal(
                ASKED,
                f"{self.dataset}: exact figures over other groups, or of other versions, were asked for"
                f" {len(asked)} times; agent.toml allows {self.pages_max} (policy.exact_pages)",
                dataset=self.dataset,
                version=self.version,
            )
        return [*asked, self.groups]

    def check_figures(self, rows: int) -> None:
        """Raise JobRefusal when figures over so many rows, or fewer in an earlier job, are too many.

        It is asked before anybody knows which rows these are.
        """
        for column, use in self.uses.items():
            earlier = self.store.least_rows(self.account, column)
            least = rows if earlier is None else min(rows, earlier)
            most, asked = least // (2 * self.min_group), self.before.get(column, 0) + use.figures
            if asked > most:
                raise self._refusal(
                    SPENT,
                    column,
                    f"{asked} exact figures in all, {self.before.get(column, 0)} of them before this job;"
                    f" {least} rows and groups of {self.min_group} allow {most}",
                )

    def judge(self, table: TypedTable, rows: Mapping[str, Rows]) -> None:
        """Judge and remember the rows that figures are over, before anything of them is shared.

        `rows` are our own, by the name that the plan has for their number. Raises JobRefusal, NotWritten.
        """
        with self.store.alone():
            if self.uses and self.groups:
                self.store.remember_asked(self.account, self._asked())
            for column, sets in self._sets(table, rows):
                self._check_near(column, sets)
                for marks in sets:
                    self.store.remember(self.account, column, self.version, marks)

    def objections(self, count: int, table: TypedTable, rows: Mapping[str, Rows]) -> list[JobRefusal]:
        """Return everything for which a job would be refused, of `count` rows; nothing is remembered.

        `rows` are as in `judge`, as far as they are known; nothing is said of others.
        """
        checks: list[Callable[[], None]] = [self.check_groups, partial(self.check_figures, count)]
        checks += [partial(self._check_near, column, sets) for column, sets in self._sets(table, rows)]
        found = []
        for check in checks:
            try:
                check()
            except JobRefusal as refusal:
                found.append(refusal)
        return found

    def _sets(
        self, table: TypedTable, rows: Mapping[str, Rows]
    ) -> Iterator[tuple[str, list[NDArray[np.uint64]]]]:
        """Yield each column with the marks of each set of rows that its figures are over."""
        ids = table.ids if table.schema.key else [str(row) for row in range(table.rows)]
        for column in sorted(self.uses):
            cells = table.data[column]
            places = [rows[name].tolist() for name in sorted(self.uses[column].rows) if name in rows]
            yield column, [marks_of([ids[row] for row in at], cells[at]) for at in places]

    def _check_near(self, column: str, sets: Sequence[NDArray[np.uint64]]) -> None:
        known = list(self.store.sets(self.account, column))
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
