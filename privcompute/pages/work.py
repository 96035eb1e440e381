"""The plan of a page as a job's work: its private joins, the run of one party, and for whom outputs are.

A page may join several sets of datasets, or none: each set is joined once, however often the page joins
it, and rows that are used without a join are told to all parties. Outputs are kept apart by receiver, so that
each is handed the releases that are for it, and no others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.values import Value
from contracts.pages.plan import Plan
from contracts.pages.releases import SHARES
from contracts.pages.types import is_rows
from privcompute.errors import ProgramFault
from privcompute.mpc.engine import Engine
from privcompute.mpc.rounds import OnProgress, Steps, no_progress
from privcompute.mpc.sharing import Shared
from privcompute.pages.apart import check_many
from privcompute.pages.columns import InputColumn, InputRefused, JobInput
from privcompute.pages.costing import estimate_of
from privcompute.pages.estimate import Estimate, of_join
from privcompute.pages.evaluate import SHARED_BOUND, check_plan, evaluate
from privcompute.pages.groups import questions
from privcompute.pages.inputs import OwnDataset, PageRun, RowsOfJoin, size_of
from privcompute.pages.judging import Finding, OwnTable, cells_finding, judged
from privcompute.pages.placing import place
from privcompute.pages.releases import PageOutputs
from privcompute.pages.restricting import RestrictedSteps, restrict
from privcompute.pages.steps import prepare

KEPT = "kept"
"""The audience of what stays shares: nobody is handed it."""
PROFILE = "rep3"
"""Whose steps on shares are estimated; under `dh-psi` there are none."""
_VIEWS = frozenset({"align", "rows", "real", "grid", "transpose", "spread"})
"""What leaves cells as they are: a column behind them is shared as its owner has it."""


@dataclass(frozen=True, slots=True)
class WorkRun:
    """One party's run of a job's work; all but our own data and `progress` is the same at every party."""

    job: bytes
    """32 bytes: seed of public choices."""
    min_group: int
    joined: tuple[int, ...]
    """How many rows each of `PageWork.joined` has."""
    told: Mapping[int, int] = field(default_factory=dict)
    """How many rows each input of `PageWork.told` has."""
    place: int | None = None
    """Which input is ours; None where none is."""
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False)
    """Our own table: whole columns (privcompute/data/tables.py)."""
    matched: Mapping[int, NDArray[Any]] = field(default_factory=dict, repr=False)
    """Join -> its rows in our table, in the joint order."""
    progress: OnProgress = no_progress


@dataclass(frozen=True, slots=True)
class Outputs:
    """Outputs of a run at one party: shares to open at the reveal, and values that all parties know."""

    shared: Mapping[str, Shared]
    public: Value
    """A contract value (labels, row counts) that `results` needs; the same at every party."""


@dataclass(frozen=True, slots=True)
class ExactUse:
    """What exact figures of a page take of a column that they do not need as `plain`."""

    figures: int
    rows: frozenset[str]
    """The names of the numbers of rows that they are over, as the plan has them."""


@dataclass(frozen=True, slots=True)
class PageWork:
    """Work of a page; `of_plan` makes it."""

    plan: Plan
    inputs: tuple[JobInput, ...]
    places: tuple[int, ...]
    """Which input each dataset of the plan is."""
    receivers: Mapping[str, int]
    """Organisation -> party, of every receiver."""
    joined: tuple[tuple[int, ...], ...]
    sizes: Mapping[str, int]
    """Name of a join's rows in the plan, such as `n:join1` -> which of `joined` it is."""
    told: tuple[int, ...]
    columns: tuple[InputColumn, ...]
    """What is declared of each column of the plan."""

    @property
    def owners(self) -> tuple[int, ...]:
        """The party of each dataset of the plan."""
        return tuple(self.inputs[at].owner for at in self.places)

    def least_rows(self, min_group: int) -> int:
        """Return the fewest rows that a join, or a dataset that is used without one, has."""
        return max(1, min_group)

    def findings(self, own: OwnTable) -> list[Finding]:
        """Return what of an owner's own columns leaves the range of shares, whatever rows are joined."""
        at = self.inputs.index(own.item)
        found: list[Finding] = []
        for number in sorted(self._shared_raw(own.min_group)):
            read = self.plan.graph.columns[number]
            if self.places[read.dataset] == at and read.kind in ("integer", "real"):
                column = self.columns[number]
                if own.columns[column.name].dtype.kind in "if":
                    found += cells_finding(own, f"{own.item.dataset}/{column.name}", column, SHARED_BOUND)
        return judged(self.least_rows(own.min_group), own, found)

    def _shared_raw(self, min_group: int) -> set[int]:
        """Return the columns whose cells are shared as they are."""
        placed, found = self.placed(min_group), set()
        for step in placed.steps:
            if step.name != "share":
                continue
            behind = step.args[0]
            while placed.steps[behind].name in _VIEWS:
                behind = placed.steps[behind].args[0]
            if placed.steps[behind].name == "column":
                found.add(int(placed.steps[behind].attrs[0]))
        return found

    def placed(self, min_group: int) -> RestrictedSteps:
        """Return the steps of the plan as the parties do them."""
        datasets = [one.dataset for one in self.plan.graph.columns]
        return restrict(place(prepare(self.plan, min_group), self.owners, datasets))

    def exact_uses(self, place: int) -> dict[str, ExactUse]:
        """Return what the page's exact figures take of the columns of an input."""
        sizes, plan = self.sizes_for([1] * len(self.inputs)), self.plan
        plain = {(use.release, use.dataset, use.column) for use in plan.uses if use.use == "plain"}
        found: dict[str, ExactUse] = {}
        for number, release in enumerate(plan.releases):
            if release.mechanism or release.kind not in ("count", "sum", "figure"):
                continue
            for column in release.columns:
                read = plan.graph.columns[column]
                single = (number, plan.datasets[read.dataset].name, read.column) in plain
                if self.places[read.dataset] == place and not single:
                    before = found.get(read.column, ExactUse(0, frozenset()))
                    figures = before.figures + release.figures.value(sizes)
                    found[read.column] = ExactUse(figures, before.rows | frozenset(release.rows))
        return found

    def exact_groups(self, place: int) -> bytes:
        """Return a hash of the groups that exact figures are over; b"" if none is about an input."""
        asked, datasets = questions(self.plan)
        return asked if place in [self.places[number] for number in datasets] else b""

    def rows_named(
        self, place: int, table_rows: int, matched: Mapping[int, NDArray[np.int64]]
    ) -> dict[str, NDArray[np.int64]]:
        """Return the rows of an input, by the names that the plan has for numbers of rows that it is in.

        `matched` are its rows in each join.
        """
        found = {name: matched[which] for name, which in self.sizes.items() if which in matched}
        every = np.arange(table_rows, dtype=np.int64)
        for release in self.plan.releases:
            for name in release.rows:
                if not name.startswith("n:join"):
                    parts = [self.places[int(part)] for part in name.removeprefix("n:").split("+")]
                    if place in parts:
                        found[name] = every
        return found

    def estimate(self, rows: Sequence[int], aided: Collection[int] = ()) -> Estimate:
        """Return what the joins and the plan take; all of the smallest dataset of a join are joined.

        `aided` are the joins that a party without joined data aids.
        """
        sizes = self.sizes_for(rows)
        brought = [sum(rows[at] for at in places) for places in self.joined]
        by_aid = sum(brought[number] for number in aided)
        joins = of_join(sum(brought) - by_aid, sum(map(len, self.joined)), by_aid)
        return joins + estimate_of(self.placed(2), PROFILE, sizes)

    def sizes_for(self, rows: Sequence[int]) -> dict[str, int]:
        """Return all sizes where inputs bring so many rows; raise InputRefused for what is not declared."""
        joined = [min(rows[at] for at in places) for places in self.joined]
        run = self._run(WorkRun(bytes(32), 1, tuple(joined), {at: rows[at] for at in self.told}))
        names = {size for cells in self.plan.graph.cells for size in cells.shape if isinstance(size, str)}
        return {name: size_of(run, name) for name in names}

    def run(self, engine: Engine, run: WorkRun) -> Steps[Mapping[str, Outputs]]:
        """Evaluate the plan; raise what `evaluate` does."""
        made = yield from evaluate(engine, self.plan, self._run(run))
        return self._by_audience(made)

    def _run(self, run: WorkRun) -> PageRun:
        rows = {f"n:{number}": run.told.get(at, 0) for number, at in enumerate(self.places)}
        rows |= {name: run.joined[which] for name, which in self.sizes.items()}
        own: dict[int, OwnDataset] = {}
        if run.place is not None:
            joined = {
                name: RowsOfJoin(np.arange(len(run.matched[which])), run.matched[which])
                for name, which in self.sizes.items()
                if which in run.matched
            }
            own[self.places.index(run.place)] = OwnDataset(run.columns, joined)
        return PageRun(run.job, self.owners, self.columns, rows, run.min_group, own, run.progress)

    def _by_audience(self, made: PageOutputs) -> dict[str, Outputs]:
        """Part what a run left by who is to have it; all know which releases there are, and for whom."""
        shared: dict[str, dict[str, Shared]] = {str(party): {} for party in sorted(self.receivers.values())}
        for name, value in made.shared.items():
            asked = self.plan.asked[int(name.removeprefix("release").partition(".")[0])]
            shared[str(self.receivers[asked.receiver])][name] = value
        said = {str(party): self._public(made, org) for org, party in self.receivers.items()}
        outputs = {audience: Outputs(values, said[audience]) for audience, values in shared.items()}
        if made.kept:
            outputs[KEPT] = Outputs(dict(made.kept), {"plan": self.plan.hash})
        return outputs

    def _public(self, made: PageOutputs, org: str) -> Any:
        mine = [one for one in made.public["releases"] if one["receiver"] == org]
        return {**made.public, "releases": mine}


def of_plan(
    plan: Plan,
    inputs: Sequence[tuple[str, JobInput]],
    keys: Sequence[tuple[str, ...]],
    parties: Mapping[str, int],
) -> PageWork:
    """Return the work of a plan; `inputs` are (name on the page, input), in the order of the spec.

    `keys` has the registered key of each input, `parties` the number of every participant. Raises
    InputRefused for what no job runs: noise, texts that leave, a join with a union or by other columns than
    the key, columns whose domain is not declared.
    """
    check_plan(plan)
    names = [name for name, _ in inputs]
    places = tuple(names.index(one.name) for one in plan.datasets)
    items = tuple(item for _, item in inputs)
    sets = {name: tuple(sorted(places[one] for one in found)) for name, found in _joins(plan).items()}
    _check_keys(plan, [keys[at] for at in places])
    joined = tuple(dict.fromkeys(sets.values()))
    work = PageWork(
        plan=plan,
        inputs=items,
        places=places,
        receivers={one.receiver: parties[one.receiver] for one in plan.asked if one.receiver != SHARES},
        joined=joined,
        sizes={name: joined.index(found) for name, found in sets.items()},
        told=tuple(sorted({places[one] for one in _unjoined(plan)})),
        columns=tuple(_declared(items[places[read.dataset]], read.column) for read in plan.graph.columns),
    )
    sizes = work.sizes_for([1] * len(items))
    check_many(work.placed(2).steps, lambda size: size if isinstance(size, int) else sizes[size])
    return work


def _joins(plan: Plan) -> dict[str, list[int]]:
    """Return the datasets of each join, by the name of its rows."""
    graph, found = plan.graph, {}
    for node in range(len(graph)):
        if graph.name(node) != "join":
            continue
        sizes = dict.fromkeys(str(graph.cells[key].shape[0]) for key in graph.args[node])
        union = next((size for size in sizes if "+" in size), None)
        if union is not None:
            parts = ", ".join(plan.datasets[int(part)].name for part in union[2:].split("+"))
            raise InputRefused(
                f"the page joins a union ({parts}) with other data, which no profile does yet: join each of"
                " them on its own, and add up what they give"
            )
        found[str(graph.cells[node].shape[0])] = [int(size[2:]) for size in sizes]
    return found


def _check_keys(plan: Plan, keys: Sequence[tuple[str, ...]]) -> None:
    """Raise InputRefused for a join by other columns than the keys, or in orders that do not match."""
    graph = plan.graph
    for node in range(len(graph)):
        if graph.name(node) != "join":
            continue
        orders: dict[int, list[int]] = {}
        for arg in graph.args[node]:
            read = graph.columns[int(graph.attrs[arg][0])]
            key, name = keys[read.dataset], plan.datasets[read.dataset].name
            if read.column not in key:
                raise InputRefused(
                    f"the page joins {name} by {read.column!r}; a job joins by the registered key,"
                    f" {', '.join(map(repr, key)) or 'which it lacks'}: leave out on=, or name these"
                )
            orders.setdefault(read.dataset, []).append(key.index(read.column))
        whole = all(sorted(order) == list(range(len(keys[at]))) for at, order in orders.items())
        if not whole or len({tuple(order) for order in orders.values()}) > 1:
            raise InputRefused(
                "the page joins by some columns of a key, or by columns in another order than those of the"
                " others: name all columns of each key in the registered order, or leave out on="
            )


def _unjoined(plan: Plan) -> set[int]:
    """Return the datasets that are computed on without a join: all parties are told their rows."""
    graph, found = plan.graph, set()
    for node in range(len(graph)):
        if graph.name(node) in ("column", "append", "join", "align"):
            continue
        for cells in (graph.cells[node], *[graph.cells[arg] for arg in graph.args[node]]):
            for size in cells.shape:
                if is_rows(size) and not str(size).startswith("n:join"):
                    found |= {int(part) for part in str(size)[2:].split("+")}
    for asked in plan.asked:
        for size in graph.cells[asked.value].shape:
            if is_rows(size) and not str(size).startswith("n:join"):
                found |= {int(part) for part in str(size)[2:].split("+")}
    return found


def _declared(item: JobInput, name: str) -> InputColumn:
    column = item.column(name)
    if column is None:
        raise ProgramFault(f"{item.dataset}: the plan reads column {name!r}, and the job does not name it")
    return column
