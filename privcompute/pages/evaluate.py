"""Evaluating a plan on the engine port: each step where its value may be known, independent ones together.

`evaluate` leaves shares alone: what releases leave, to be opened once the ledger approves it. It costs the
rounds of the longest way through the plan. A value is let go when the last step that takes it is done.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.pages.numbers import read_number
from contracts.pages.plan import Plan
from privcompute.errors import ProgramFault
from privcompute.mpc.engine import Engine
from privcompute.mpc.noise import NOISE_WORDS
from privcompute.mpc.rounds import Steps, parallel
from privcompute.mpc.sharing import Shared, concatenate
from privcompute.pages import own, public
from privcompute.pages.apart import Span, apart, apart_alone, check_many, judged_sets
from privcompute.pages.columns import InputRefused
from privcompute.pages.folds import VIEWS, fold, ordered, scattered, shown_each, view
from privcompute.pages.inputs import (
    PageRun,
    categories_of,
    cells_of_kind,
    check_cells,
    lot,
    shape_of,
    size_of,
)
from privcompute.pages.joint import bits_for, cellwise, in_shares
from privcompute.pages.making import CELLWISE, PlanStep
from privcompute.pages.noise import draw, of_attrs
from privcompute.pages.owned import OwnCells, OwnedRows, Parts, hashed, spread
from privcompute.pages.placing import PARTS, PUBLIC, SECRET, place
from privcompute.pages.public import PublicCells, by_row, everywhere
from privcompute.pages.regions import Regions
from privcompute.pages.releases import PageOutputs, atom_name, check_releases, outputs_of
from privcompute.pages.restricting import Axes, RestrictedSteps, restrict
from privcompute.pages.schedule import WorkPlan, schedule, together
from privcompute.pages.steps import prepare

STAGE = "page"
"""What progress is reported as, with the primitive of the step that ended."""
SHARED_BOUND = 2.0**46
"""Columns that are shared as they are lie below it, which their owner judges before it binds (work.py)."""
_EVERY_WORD = 2.0**64


Value = PublicCells | OwnCells | Parts | Shared | tuple[Shared, ...]


def evaluate(engine: Engine, plan: Plan, run: PageRun) -> Steps[PageOutputs]:
    """Evaluate a plan; return what its releases leave, in shares, and what finishing them needs.

    Raises InputRefused for what a page or a schema lacks. No value of a row makes it raise anything, nor
    changes its rounds or the lengths of its messages.
    """
    check_plan(plan)
    columns = [one.dataset for one in plan.graph.columns]
    placed = restrict(place(prepare(plan, run.min_group), run.owners, columns))
    check_many(placed.steps, lambda size: size_of(run, size))
    evaluation = _Evaluation(engine, plan, run, placed)
    yield from evaluation.region(-1)
    shared = {
        name: in_shares(engine, evaluation.operand(step), placed.steps[step].cells.kind)
        for step, name in _outputs(placed)
    }
    return outputs_of(plan, run, placed, shared)


def check_plan(plan: Plan) -> None:
    """Raise InputRefused for a plan that cannot be run, whoever brings data."""
    check_releases(plan)
    for column in plan.graph.columns:
        if column.kind == "any":
            raise InputRefused(
                f"column {column.column}: its type is not known; trace the page with its datasets' schemas"
            )


def _outputs(placed: RestrictedSteps) -> list[tuple[int, str]]:
    found = []
    for number, left in enumerate(placed.left):
        found.append((left.value, f"release{number}"))
        if left.shown is not None:
            found.append((left.shown, f"release{number}.shown"))
        found += [(atom, atom_name(number, place)) for place, atom in enumerate(left.atoms)]
    return found


class _Evaluation:
    def __init__(self, engine: Engine, plan: Plan, run: PageRun, placed: RestrictedSteps) -> None:
        self.engine, self.plan, self.run, self.placed = engine, plan, run, placed
        self.steps = placed.steps
        self.shapes = [
            shape_of(run, step.cells, step.name, [choice is not None for choice in worked])
            for step, worked in zip(self.steps, placed.worked, strict=True)
        ]
        self.values: dict[int, Value] = {}
        self.chosen: dict[int, NDArray[np.intp]] = {}
        """The rows of each choice that was made."""
        self.turns: dict[int, int] = {}
        self.carried: dict[int, tuple[Shared, ...]] = {}
        self.regions = Regions(placed)
        self.schedules: dict[int, WorkPlan] = {}
        """By loop."""
        self.done = 0
        self.total = self.regions.total(self.steps)
        lots = [(step.attrs, number) for number, step in enumerate(self.steps) if step.name == "lot"]
        self.lots = {number: count for count, (_, number) in enumerate(lots)}

    def region(self, loop: int) -> Steps[None]:
        """Do the steps of one turn of a loop, or all outside of loops."""
        uses = dict(self.regions.uses.get(loop, {}))

        def done(place: int) -> None:
            self.done += 1
            if self.steps[place].name != "repeat":
                self.run.progress(f"{STAGE}: {self.steps[place].name}", self.done, self.total)
            for need in self.regions.needs[place]:
                if need in uses:
                    uses[need] -= 1
                    if uses[need] == 0:
                        self.values.pop(need, None)

        if loop not in self.schedules:
            members = self.regions.members.get(loop, ())
            needs = {place: self.regions.needs[place] for place in members}
            self.schedules[loop] = schedule(needs, {place: self._weight(place) for place in members})
        yield from together(self.schedules[loop], self._do, done)

    def _weight(self, place: int) -> int:
        """Return how many cells a step is on, or words where it draws noise."""
        step, cells = self.steps[place], math.prod(self.shapes[place])
        return min(cells * of_attrs(step.attrs).words, NOISE_WORDS) if step.name == "noise" else cells

    def _do(self, place: int) -> Steps[None]:
        step = self.steps[place]
        if step.name == "repeat":
            self.values[place] = yield from self._loop(place, step)
        else:
            self.values[place] = yield from self._value(place, step)

    def _loop(self, place: int, step: PlanStep) -> Steps[tuple[Shared, ...]]:
        kinds = [self.steps[arg].cells.kind for arg in step.args]
        ends = self.regions.ends[place]
        self.carried[place] = self._operands(step.args, kinds)
        for turn in range(int(step.attrs[0])):
            self.turns[place] = turn
            yield from self.region(place)
            self.carried[place] = self._operands(ends, kinds)
        return self.carried.pop(place)

    def _operands(self, args: Sequence[int], kinds: Sequence[str]) -> tuple[Shared, ...]:
        return tuple(
            in_shares(self.engine, self.operand(arg), kind) for arg, kind in zip(args, kinds, strict=True)
        )

    def operand(self, place: int) -> Shared | PublicCells:
        """Return a value in shares, or public."""
        value = self.values[place]
        if isinstance(value, (Shared, PublicCells)):
            return value
        raise ProgramFault(f"step {place} ({self.steps[place].name}): its value is not in shares")

    # --- one step ---------------------------------------------------------------------------------------
    def _value(self, place: int, step: PlanStep) -> Steps[Value]:
        where = self.placed.places[place]
        if step.name in ("carry", "after", "again"):
            return self._of_loop(step)
        if step.name == "rows":
            return self._rows(step)
        if where == PUBLIC:
            made = self._public(place, step)
            if place in self.placed.choices:
                self.chosen[place] = np.flatnonzero(made.cells)
            return made
        if where == SECRET:
            return self._scattered(place, (yield from self._secret(place, step)))
        if where == PARTS or step.name == "align":
            return self._parts(place, step)
        return self._own(where, step)

    def _rows(self, step: PlanStep) -> Value:
        """Return the chosen rows of a value, along each axis that has a choice."""
        value = self.values[step.args[0]]
        for text, choice in zip(step.attrs, step.args[1:], strict=True):
            axis, rows = int(text), self.chosen[choice]
            if isinstance(value, Shared):
                value = value.take(rows, axis)
            elif isinstance(value, PublicCells):
                value = value.taken(rows, axis)
            elif isinstance(value, OwnCells):
                cells = None if value.cells is None else value.cells.take(rows, axis)
                value = OwnCells(value.party, cells)
        return value

    def _shape(self, place: int, axes: Axes) -> tuple[int, ...]:
        """Return a step's shape on chosen rows."""
        pairs = zip(self.shapes[place], axes, strict=True)
        return tuple(size if choice is None else len(self.chosen[choice]) for size, choice in pairs)

    def _scattered(self, place: int, value: Value) -> Value:
        """Return a value with the rows that it keeps: those that it was not computed on are 0."""
        worked, stored = self.placed.worked[place], self.placed.stored[place]
        for axis, choice in enumerate(worked):
            if isinstance(value, Shared) and choice != stored[axis] and choice is not None:
                value = scattered(value, self.chosen[choice], self.shapes[place][axis], axis)
        return value

    def _of_loop(self, step: PlanStep) -> Value:
        if step.name == "again":
            return ()
        if step.name == "carry":
            return self.carried[step.args[0]][int(step.attrs[0])]
        value = self.values[step.args[0]]
        if not isinstance(value, tuple):
            raise ProgramFault("a loop that left nothing")
        return value[int(step.attrs[0])]

    def _public(self, place: int, step: PlanStep) -> PublicCells:
        shape = self.shapes[place]
        if step.name in ("number", "fill"):
            return everywhere(read_number(step.attrs[0]), shape)
        if step.name == "join":
            return everywhere(Fraction(1), shape)
        if step.name == "step":
            return everywhere(Fraction(self.turns[step.args[0]]), ())
        if step.name == "position":
            return by_row(np.arange(shape[0]))
        if step.name == "lot":
            return by_row(lot(self.run.job, self.lots[place], shape[0], read_number(step.attrs[1])))
        x = [self._public_arg(arg) for arg in step.args]
        if step.name == "shown":
            return by_row(own.shown(x[0].whole(), self.run.min_group))
        return public.compute(step.name, x, step.attrs, shape)

    def _public_arg(self, arg: int) -> PublicCells:
        value = self.values[arg]
        if not isinstance(value, PublicCells):
            raise ProgramFault(f"step {arg} ({self.steps[arg].name}): its value is not public")
        return value

    def _own(self, party: int, step: PlanStep) -> OwnCells:
        if party != self.engine.me:
            return OwnCells(party, None)
        if step.name == "column":
            read = self.plan.graph.columns[int(step.attrs[0])]
            cells = own.numbers(
                cells_of_kind(self.run.own[read.dataset].columns[read.column], step.cells.kind)
            )
            if read.low:
                cells = own.compute("clip", [cells], (read.low, read.high), step.cells.kind)
            return OwnCells(party, cells)
        x = [self._own_arg(arg) for arg in step.args]
        if step.name == "shown":
            return OwnCells(party, own.shown(x[0], self.run.min_group))
        if step.name == "shown_each":
            parts = [
                own.shown(x[0][start:stop].sum(0), self.run.min_group) for start, stop in self._spans(step)
            ]
            return OwnCells(party, np.min(parts, axis=0))
        if step.name == "apart":
            sets = judged_sets(step.attrs[2])
            return OwnCells(party, apart_alone(x, sets, self._spans(step), self.run.min_group))
        if step.name in ("one_hot", "bins"):
            return OwnCells(party, self._keys(step, x[0]))
        if step.name in ("sum", "group_sum") and self.steps[step.args[0]].name == "grid":
            return OwnCells(party, own.units_sum(step.name, x, step.attrs))
        return OwnCells(party, own.compute(step.name, x, step.attrs, step.cells.kind))

    def _spans(self, step: PlanStep) -> list[Span]:
        """Return the rows that are judged alone: those of each dataset of a union, or all."""
        rows, protected = step.attrs[:2]
        if not protected:
            return [(0, size_of(self.run, rows))]
        spans, start = [], 0
        for part in rows.partition(":")[2].split("+"):
            stop = start + self.run.rows[f"n:{part}"]
            if part in protected.split("+"):
                spans.append((start, stop))
            start = stop
        return spans

    def _own_arg(self, arg: int) -> NDArray[Any]:
        value = self.values[arg]
        if isinstance(value, PublicCells):
            return value.reals() if self.steps[arg].cells.kind == "real" else value.whole()
        if isinstance(value, OwnCells) and value.cells is not None:
            return value.cells
        raise ProgramFault(f"step {arg} ({self.steps[arg].name}): its value is not this party's")

    def _keys(self, step: PlanStep, cells: NDArray[Any]) -> NDArray[np.int64]:
        column = self.run.columns[int(step.attrs[0])]
        if step.name == "one_hot":
            texts = cells if cells.dtype.kind == "U" else np.where(cells > 0, "true", "false")
            return own.one_hot(texts, categories_of(column)).astype(np.int64)
        return own.cut(cells, [float(edge) for edge in column.edges]).astype(np.int64)

    # --- rows of several owners -------------------------------------------------------------------------
    def _parts(self, place: int, step: PlanStep) -> Value:
        if step.name == "append":
            return self._appended(step)
        value = self.values[step.args[0]]
        if step.name == "align":
            return self._aligned(place, step)
        if not isinstance(value, Parts):
            raise ProgramFault(f"step {place} ({step.name}): not of several owners")
        return Parts(tuple([self._of_part(step, part) for part in value.parts]), value.joined)

    def _of_part(self, step: PlanStep, part: OwnedRows) -> OwnedRows:
        if part.cells is None:
            return part
        if step.name in ("one_hot", "bins"):
            cells = self._keys(step, part.cells)
        else:
            cells = own.compute(step.name, [part.cells], step.attrs, step.cells.kind)
        return OwnedRows(part.party, cells, part.places, part.length)

    def _appended(self, step: PlanStep) -> Parts:
        parts = []
        for arg in step.args:
            value = self.values[arg]
            if not isinstance(value, OwnCells):
                raise ProgramFault("a union of what is no column")
            rows = self.shapes[arg][0]
            parts.append(OwnedRows(value.party, value.cells, None, rows))
        return Parts(tuple(parts), joined=False)

    def _aligned(self, place: int, step: PlanStep) -> Value:
        """Return the rows of a join of a column, or of the columns of a union."""
        source, rows = self.values[step.args[0]], self.shapes[place][0]
        name = str(step.cells.shape[0])
        datasets = [int(each) for each in str(self.steps[step.args[0]].cells.shape[0])[2:].split("+")]
        if isinstance(source, OwnCells):
            if source.cells is None:
                return source
            return OwnCells(source.party, self._own_rows(source.cells, datasets, name, rows))
        if not isinstance(source, Parts):
            raise ProgramFault("rows of a join of what is no column")
        parts = []
        for part, dataset in zip(source.parts, datasets, strict=True):
            if part.cells is None:
                parts.append(OwnedRows(part.party, None, None, rows))
                continue
            joined = self.run.own[dataset].joined[name]
            parts.append(OwnedRows(part.party, part.cells[joined.rows], joined.places, rows))
        return Parts(tuple(parts), joined=True)

    def _own_rows(self, cells: NDArray[Any], datasets: Sequence[int], name: str, rows: int) -> NDArray[Any]:
        made = np.zeros((rows, *cells.shape[1:]), cells.dtype)
        start = 0
        for dataset in datasets:
            joined = self.run.own[dataset].joined[name]
            made[joined.places] = cells[start + joined.rows]
            start += self.run.rows[f"n:{dataset}"]
        return made

    # --- shares -----------------------------------------------------------------------------------------
    def _secret(self, place: int, step: PlanStep) -> Steps[Value]:
        engine, cells, shape = self.engine, step.cells, self._shape(place, self.placed.worked[place])
        check_cells(step.name, shape)
        if step.name == "share":
            return (yield from self._shared(place, step))
        if step.name == "noise":
            return (yield from draw(engine, of_attrs(step.attrs), shape, cells.kind))
        if step.name == "sorted":
            value = self.values[step.args[0]]
            if not isinstance(value, tuple):
                raise ProgramFault("a sort that left nothing")
            return value[int(step.attrs[0])]
        x = [self.operand(arg) for arg in step.args]
        if step.name == "sort":
            count = int(step.attrs[0])
            rows = x[1 + count] if len(x) > 1 + count else None
            return (yield from ordered(engine, x[0], x[1 : 1 + count], rows))
        if step.name in CELLWISE:
            return (yield from cellwise(engine, step.name, x, step.attrs, cells, shape))
        if step.name in VIEWS:
            return view(engine, step.name, x, step.attrs, cells)
        if step.name in ("apart", "shown_each"):
            bits, least = [in_shares(engine, one, "integer") for one in x], self.run.min_group
            if step.name == "apart":
                sets = judged_sets(step.attrs[2])
                return (yield from apart(engine, bits, sets, self._spans(step), least))
            return (yield from shown_each(engine, bits[0], self._spans(step), least))
        made = yield from fold(engine, step.name, x, step.attrs, cells, self.run.min_group)
        return in_shares(engine, made, cells.kind)

    def _shared(self, place: int, step: PlanStep) -> Steps[Shared]:
        value = self.values[step.args[0]]
        if isinstance(value, OwnCells):
            shape = self._shape(place, self.placed.worked[place])
            return (yield from self._share(value.party, value.cells, shape, step.cells.kind))
        if not isinstance(value, Parts):
            raise ProgramFault(f"step {place}: nothing to share")
        tail, kind = self.shapes[place][1:], step.cells.kind
        parts = yield from parallel(
            *[self._share(part.party, spread(part), (part.length, *tail), kind) for part in value.parts]
        )
        if not value.joined:
            return concatenate(list(parts))
        total: Shared = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def _share(
        self, party: int, cells: NDArray[Any] | None, shape: tuple[int, ...], kind: str
    ) -> Steps[Shared]:
        """Share cells as the words that stand for them: whatever they hold, there are some."""
        if cells is not None:
            cells = own.words(hashed(cells) if kind == "text" else cells, kind)
        made = yield from self.engine.share(party, cells, shape, bound=_EVERY_WORD)
        return Shared(made.words, bits_for(kind))
