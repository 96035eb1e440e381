"""A consortium in memory for attacks on results: from the text of a page to what a receiver reads.

It goes the way of a job: the plan and uses that follow of the page, the grants, the accounts, what owners'
agents say before they bind, the joins with the sizes that owners ask for, what the agents say of exact
figures, and the run among three parties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.crypto import digest
from chain.primitives.errors import AssentError
from contracts.pages.faults import PageRefused
from privcompute.data.exposed import ExposedStore
from privcompute.data.schema import Column, Schema
from privcompute.data.tables import TypedTable
from privcompute.job.enforcement import JobRefusal
from privcompute.job.exposure import Exposure
from privcompute.job.inputs import check_delta, input_column
from privcompute.job.view import GrantedInput
from privcompute.mpc.local import run_local
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.pages.columns import JobInput
from privcompute.pages.derived import PageInput, derive, not_granted
from privcompute.pages.judging import TOO_FEW_ROWS
from privcompute.pages.releases import results
from privcompute.pages.work import PageWork, WorkRun, of_plan
from tests.campaigns.ledger import Refused, TrialLedger

PARTIES = 3
EXACT = "exact-aggregate"
"""The constraint of a grant that allows exact sums and counts over registered groups, and no more."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset of one organisation, by its columns; `id` is the key."""

    owner: str
    columns: Sequence[Column]
    cells: Mapping[str, NDArray[Any]] = field(repr=False)
    version: int = 1
    granted: Mapping[str, str] = field(default_factory=dict)
    """Column -> the constraint of its grant, where that is another than of all the others."""

    def table(self) -> TypedTable:
        """Return it as the owner's agent reads it."""
        key = ("id",) if "id" in self.cells else ()
        return TypedTable(Schema(tuple(self.columns), key), dict(self.cells), {})


@dataclass
class Consortium:
    """Owners with their agents' memories, and what the ledger counts."""

    folder: Path
    """Of the agents' memories."""
    random: np.random.Generator
    min_group: int
    plain: frozenset[str] = frozenset()
    """Owners that grant everything as it is: accomplices."""
    ledger: TrialLedger = field(default_factory=TrialLedger)
    jobs: int = 0
    """How many were asked for."""

    def job(self, page: str, datasets: Mapping[str, Dataset], receiver: str) -> dict[str, Any]:
        """Return the figures of a job that its receiver asks for; raise Refused with what ends it."""
        try:
            self.jobs += 1
            work, charges = self._work(page, datasets, receiver)
            of_accounts = {f"{one.owner}/{name}": charges[name] for name, one in datasets.items()}
            self.ledger.charge(of_accounts, receiver)
            return self._run(work, datasets)
        except PageRefused as refused:
            raise Refused(refused.diagnostics[0].rule) from refused
        except JobRefusal as refused:
            self.ledger.give_back()
            raise Refused(refused.reason) from refused
        except AssentError as error:
            raise Refused(error.code.upper()) from error

    def _work(
        self, page: str, datasets: Mapping[str, Dataset], receiver: str
    ) -> tuple[PageWork, Mapping[str, Any]]:
        """Return what runs, and what accounts are charged with."""
        orgs = list(dict.fromkeys([one.owner for one in datasets.values()] + [receiver]))
        parties = {org: number for number, org in enumerate(orgs)}
        columns = {
            name: tuple(input_column(column, "") for column in one.columns) for name, one in datasets.items()
        }
        keys = {name: one.table().schema.key for name, one in datasets.items()}
        pages = [PageInput(name, one.owner, keys[name], columns[name]) for name, one in datasets.items()]
        derived = derive(page, pages, {}, receiver)
        if not_granted(derived, self._constraints(datasets)):
            raise Refused("CONSTRAINT_VIOLATED")
        inputs = [(name, JobInput(name, parties[one.owner], columns[name])) for name, one in datasets.items()]
        return of_plan(derived.plan, inputs, [keys[name] for name in datasets], parties), derived.charges

    def _constraints(self, datasets: Mapping[str, Dataset]) -> dict[tuple[str, str], str]:
        def granted(one: Dataset, column: str) -> str:
            usual = "plain" if one.owner in self.plain else "join-only" if column == "id" else EXACT
            return one.granted.get(column, usual)

        pairs = [(name, one, column.name) for name, one in datasets.items() for column in one.columns]
        return {(name, column): granted(one, column) for name, one, column in pairs}

    def _run(self, work: PageWork, datasets: Mapping[str, Dataset]) -> dict[str, Any]:
        tables = {name: one.table() for name, one in datasets.items()}
        self._judge_before(work, datasets, tables)
        places = {name: at for at, name in enumerate(datasets)}
        matched = [self._join([list(tables.values())[at] for at in joined]) for joined in work.joined]
        mine = {
            at: {number: matched[number][joined.index(at)]
                 for number, joined in enumerate(work.joined) if at in joined}
            for at in places.values()
        }  # fmt: skip
        self._judge(work, datasets, tables, mine)
        counts = tuple(len(rows[0]) for rows in matched)
        told = {at: list(tables.values())[at].rows for at in work.told}
        if min([*counts, *told.values()], default=self.min_group) < self.min_group:
            raise Refused("ROWS_BELOW_MIN_GROUP")
        runs = [
            WorkRun(
                bytes(32), self.min_group, counts, told, at,
                {} if at is None else list(tables.values())[at].data, {} if at is None else mine[at],
            )
            for at in [next((at for at, one in enumerate(work.inputs) if one.owner == me), None)
                       for me in range(PARTIES)]
        ]  # fmt: skip
        return self._opened(work, runs)

    def _join(self, tables: Sequence[TypedTable]) -> list[NDArray[np.int64]]:
        """Return each table's rows of a join, in an order that nobody chooses."""
        places = [{key: row for row, key in enumerate(table.ids)} for table in tables]
        common = sorted(set.intersection(*[set(one) for one in places]))
        order = self.random.permutation(len(common))
        if len(common) < self.min_group:
            raise Refused("ROWS_BELOW_MIN_GROUP")
        return [np.array([one[common[at]] for at in order], np.int64) for one in places]

    def _exposures(self, work: PageWork, datasets: Mapping[str, Dataset]) -> list[Exposure]:
        found = []
        for at, (name, one) in enumerate(datasets.items()):
            if one.owner in self.plain:
                continue
            account, given = f"{one.owner}/{name}", one.granted
            uses = {
                column: use for column, use in work.exact_uses(at).items() if given.get(column) != "plain"
            }
            store = ExposedStore(self.folder / one.owner)
            asked = work.exact_groups(at)
            if asked:
                versions = sorted([name, each.owner, each.version] for name, each in datasets.items())
                asked = digest("groups", repr((asked, versions)).encode())
            job = f"{self.jobs:064x}"
            found.append(Exposure(job, account, one.version, account, self.min_group, uses, asked, 1, store))
        return found

    def _judge_before(
        self, work: PageWork, datasets: Mapping[str, Dataset], tables: Mapping[str, TypedTable]
    ) -> None:
        """Ask the agents of owners that are no accomplices what they say before they bind."""
        for name, one in datasets.items():
            if one.owner not in self.plain:
                account, rows = f"{one.owner}/{name}", tables[name].rows
                item = GrantedInput("", account, one.version, {}, name)
                check_delta(item, rows, self.ledger.delta_of(account))
                if rows < self.min_group:
                    raise Refused(TOO_FEW_ROWS)
        for exposure in self._exposures(work, datasets):
            exposure.check_groups()
            exposure.check_figures(tables[exposure.dataset.partition("/")[2]].rows)

    def _judge(
        self,
        work: PageWork,
        datasets: Mapping[str, Dataset],
        tables: Mapping[str, TypedTable],
        mine: Mapping[int, Mapping[int, NDArray[np.int64]]],
    ) -> None:
        """Ask the agents of owners that are no accomplices, as they would ask themselves."""
        names = [name for name, one in datasets.items() if one.owner not in self.plain]
        for name, exposure in zip(names, self._exposures(work, datasets), strict=True):
            at = list(datasets).index(name)
            for rows in mine[at].values():
                exposure.check_figures(len(rows))
            exposure.judge(tables[name], work.rows_named(at, tables[name].rows, mine[at]))

    def _opened(self, work: PageWork, runs: Sequence[WorkRun]) -> dict[str, Any]:
        seeds = [self.random.bytes(ENTROPY_BYTES) for _ in range(PARTIES)]

        def party(me: int) -> Steps[Any]:
            engine = yield from Rep3Engine.start(me, bytes(32), seeds[me])
            outputs = yield from work.run(engine, runs[me])
            found: dict[str, Any] = {}
            for audience in sorted(outputs):
                opened = {}
                for name, value in outputs[audience].shared.items():
                    opened[name] = yield from engine.reveal(value, [0])
                found[audience] = (opened, outputs[audience].public)
            return found

        said = run_local([party(me) for me in range(PARTIES)]).results[0]
        figures: dict[str, Any] = {}
        for opened, public in said.values():
            figures |= {one["name"]: one["value"] for one in results(opened, public)["figures"]}
        return figures
