"""Attacks on results: each asks what one person's answer is, as well as we know how to ask it.

Everybody has an answer, yes or no; the person sought is `target`. The receiver knows who is joined, how many
say yes, every registered category of everybody, and what an attack says besides. A trial returns what the
attacker says, and what it would say from that knowledge alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privcompute.data.exposed import ExposedStore
from privcompute.data.schema import Column
from privcompute.job.enforcement import JobRefusal
from privcompute.job.exposure import Exposure
from privcompute.job.inputs import check_delta
from privcompute.job.joining import join_of
from privcompute.job.view import GrantedInput
from privcompute.mpc.local import run_local
from privcompute.mpc.protocols.psi import private_join
from privcompute.mpc.rounds import Steps
from privcompute.pages.columns import JobInput
from privcompute.pages.judging import OwnTable, judged
from privcompute.pages.work import ExactUse
from tests.campaigns.consortium import Consortium, Dataset
from tests.campaigns.ledger import Refused

LEAST = 10
"""The smallest group of every grant."""
KNOWN = LEAST // 2 - 1
"""Members of a group whose answers an attacker may know beforehand."""
ROWS = 80
YES = '(rows.people.y == "yes")'


@dataclass(frozen=True, slots=True)
class Said:
    """What an attacker says of a trial, and what it is held against."""

    answer: int | None
    """None where the figures tell it nothing: it then guesses."""
    guess: int
    truth: int
    code: str = ""
    """What refused the job, or the last of several."""
    bound: float = 0.0
    """How often whoever knows as much is right by theory, at most; 0 where `guess` is one's own."""


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack of one kind."""

    name: str
    knows: str
    trial: Callable[[World], Said]
    trials: int = 200
    """More where the attack does better or worse than the guess by chance alone."""


class World:
    """One trial: three owners, of whom `clubs` is an accomplice, and a person whose answer is sought."""

    def __init__(self, random: np.random.Generator, folder: Path) -> None:
        self.random = random
        self.consortium = Consortium(folder, random, LEAST, frozenset({"clubs"}))
        self.ids = np.array([f"p{number:03}" for number in range(ROWS)], dtype=object)
        self.target = int(random.integers(ROWS))
        self.yes = random.random(ROWS) < 0.5
        self.kind = random.integers(0, 3, ROWS)
        self.rare = np.arange(ROWS) == self.target

    # --- datasets -------------------------------------------------------------------------------------------
    @property
    def truth(self) -> int:
        """The answer of the person sought."""
        return int(self.yes[self.target])

    def people(
        self, yes: NDArray[np.bool_] | None = None, keep: NDArray[np.bool_] | None = None, **granted: str
    ) -> Dataset:
        """Return the victim's dataset; `granted` says of columns what they are granted as."""
        yes, keep = self.yes if yes is None else yes, np.ones(ROWS, bool) if keep is None else keep
        cells = {
            "id": self.ids[keep], "y": texts(yes, "yes", "no")[keep],
            "score": yes.astype(np.int64)[keep], "twice": 2 * yes.astype(np.int64)[keep],
        }  # fmt: skip
        columns = (key(), category("y", "no", "yes"), number("score", 1), number("twice", 2))
        return Dataset("people", columns, cells, granted=granted)

    def homes(self) -> Dataset:
        """Return an honest owner's dataset; one registered category holds the person sought alone."""
        kinds = np.array(["a", "b", "c"], dtype=object)[self.kind]
        cells = {"id": self.ids, "kind": kinds, "rare": texts(self.rare, "rare", "usual")}
        return Dataset(
            "homes", (key(), category("kind", "a", "b", "c"), category("rare", "rare", "usual")), cells
        )

    def clubs(self, *bits: NDArray[np.bool_], keep: NDArray[np.bool_] | None = None, **more: Any) -> Dataset:
        """Return the accomplice's dataset: columns g0, g1, … that say in or out, and others as they are."""
        keep = np.ones(ROWS, bool) if keep is None else keep
        cells = {"id": self.ids[keep]} | {
            f"g{n}": texts(one, "in", "out")[keep] for n, one in enumerate(bits)
        }
        columns = [key(), *[category(f"g{n}", "in", "out") for n in range(len(bits))]]
        for name, numbers in more.items():
            cells[name] = numbers[keep]
            columns.append(Column(name, "integer"))
        return Dataset("clubs", tuple(columns), cells)

    # --- asking ---------------------------------------------------------------------------------------------
    def ask(
        self, *figures: str, receiver: str = "auditor", noise: str = "", **datasets: Dataset
    ) -> dict[str, Any]:
        """Return figures f0, f1, … of a page over the joined datasets, with noise if asked; raise Refused."""
        kind = f"noise={noise}" if noise else "exact=True"
        held = {"people": self.people(), "homes": self.homes(), "clubs": self.clubs()} | datasets
        body = "\n".join(
            f'    release({figure}, to="{receiver}", {kind}, name="f{number}")'
            for number, figure in enumerate(figures)
        )
        names = ", ".join(held)
        page = f'"""Figures."""\n\n\ndef run({names}):\n    rows = join({names})\n{body}\n'
        return self.consortium.job(page, held, receiver)

    def coin(self) -> int:
        """Return a guess of somebody who knows nothing."""
        return int(self.random.integers(2))

    def majority(self, among: NDArray[np.bool_] | None = None) -> int:
        """Return the guess of whoever knows how many among some say yes."""
        some = self.yes if among is None else self.yes[among]
        share = some.mean()
        return self.coin() if share == 0.5 else int(share > 0.5)

    def said(self, answer: int | None, code: str = "", guess: int | None = None) -> Said:
        """Return what the attacker says."""
        return Said(answer, self.majority() if guess is None else guess, self.truth, code)


def key() -> Column:
    """Return the column of identifiers."""
    return Column("id", "text")


def number(name: str, most: int) -> Column:
    """Return a column of whole numbers from 0 on."""
    return Column(name, "integer", low="0", high=str(most))


def category(name: str, *categories: str) -> Column:
    """Return a column of registered categories."""
    return Column(name, "category", categories=categories)


def texts(bits: NDArray[np.bool_], yes: str, no: str) -> NDArray[Any]:
    """Return bits as categories."""
    return np.where(bits, yes, no).astype(object)


def difference(whole: Any, rest: Any) -> int | None:
    """Return what a figure without another says of the one person between them, if both are shown."""
    if whole is None or rest is None:
        return None
    left = round(float(whole) - float(rest))
    return left if left in (0, 1) else None


def tried(world: World, ask: Callable[[], int | None], guess: int | None = None) -> Said:
    """Return what comes of asking, or the code that refuses it."""
    try:
        return world.said(ask(), guess=guess)
    except Refused as refused:
        return world.said(None, refused.code, guess)


# --- differences within a page --------------------------------------------------------------------------
MOST = '(rows.homes.rare == "usual")'


def _differencing(world: World) -> Said:
    def ask() -> int | None:
        found = world.ask("sum(rows.people.score)", f"sum(rows.people.score, where={MOST})")
        return difference(found["f0"], found["f1"])

    return tried(world, ask)


def _hidden_total(world: World) -> Said:
    """The figure of the rest, moved to where a mark might be forgotten."""
    rest = f"sum(rows.people.score, where={MOST})"
    words = (
        f"stack([{rest}, {rest}]).T[0]", f"sum(stack([{rest}, 0 * {rest}]))",
        f"greatest(stack([{rest}, 0 * {rest}]))", f"where({rest} > 0, {rest}, 0)",
    )  # fmt: skip
    word = words[int(world.random.integers(len(words)))]

    def ask() -> int | None:
        found = world.ask("sum(rows.people.score)", word)
        return difference(found["f0"], found["f1"])

    return tried(world, ask)


def _three_figures(world: World) -> Said:
    """All rows without two conditions that leave one person out."""
    a = '(rows.homes.kind == "a")'

    def ask() -> int | None:
        found = world.ask(
            f"sum(rows.people.score, where={a} & {MOST})", f"sum(rows.people.score, where=~{a} & {MOST})",
            "sum(rows.people.score)",
        )  # fmt: skip
        both = None if None in (found["f0"], found["f1"]) else found["f0"] + found["f1"]
        return difference(found["f2"], both)

    return tried(world, ask)


def _parts(world: World) -> Said:
    """As many groups of an accomplice as figures allow, which hold everybody but one; the total is known."""
    part = world.random.integers(0, 4, ROWS)
    bits = [(part == number) & ~world.rare for number in range(4)]

    def ask() -> int | None:
        figures = [f'sum(rows.people.score, where=rows.clubs.g{number} == "in")' for number in range(4)]
        found = world.ask(*figures, clubs=world.clubs(*bits))
        values = [found[f"f{number}"] for number in range(4)]
        return None if None in values else difference(world.yes.sum(), sum(values))

    return tried(world, ask)


def _zero_cells(world: World) -> Said:
    """Whether leaving the person out changes who says yes: shown and equal means no."""

    def ask() -> int | None:
        found = world.ask(f"count({YES})", f"count({YES} & {MOST})")
        if found["f0"] is None or found["f1"] is None:
            return None
        return difference(found["f0"], found["f1"])

    return tried(world, ask)


_WORDS = (
    ("sum(rows.people.score)", f"sum(rows.people.twice, where={MOST}) / 2"),
    (f"count({YES})", f"sum(rows.people.score, where={MOST})"),
    (
        "sum(rows.people.score, by=rows.homes.kind)",
        f"sum(rows.people.twice, by=rows.homes.kind, where={MOST}) / 2",
    ),
    (f"sum({YES}, by=rows.homes.kind)", f"sum({YES} & {MOST}, by=rows.homes.kind)"),
    (f"sum({YES}, by=rows.homes.kind)", f"sum({YES}, by=rows.homes.kind, where={MOST})"),
    (f"mean({YES}) * count(rows)", f"mean({YES}, where={MOST}) * (count(rows) - 1)"),
    ("sum(rows.people.score * rows.people.score)", f"sum(rows.people.score, where={MOST})"),
)


def _other_words(world: World) -> Said:
    first, second = _WORDS[int(world.random.integers(len(_WORDS)))]

    def ask() -> int | None:
        found = world.ask(first, second)
        one, other = np.array(found["f0"], object), np.array(found["f1"], object)
        if None in one.flat or None in other.flat:
            return None
        return difference(one.astype(float).sum(), other.astype(float).sum())

    return tried(world, ask)


def _twin_groupings(world: World) -> Said:
    """Two groupings of an accomplice that agree about everybody but one."""
    first = world.random.random(ROWS) < 0.5
    second = first ^ world.rare

    def ask() -> int | None:
        clubs = world.clubs(first, second)
        found = world.ask(
            "sum(rows.people.score, by=rows.clubs.g0)",
            "sum(rows.people.score, by=rows.clubs.g1)",
            clubs=clubs,
        )
        if None in (*found["f0"], *found["f1"]):
            return None
        change = found["f0"][0] - found["f1"][0]
        return abs(int(change)) if abs(change) in (0, 1) else None

    return tried(world, ask)


# --- reconstruction -------------------------------------------------------------------------------------
def reconstruct(world: World, groupings: int) -> Said:
    """Random groupings of an accomplice, solved for everybody's answer (Dinur and Nissim 2003).

    The guess reads the figure that tells most by itself: how many say yes in a group that the person is in.
    """
    bits = [world.random.random(ROWS) < 0.5 for _ in range(groupings)]
    guess = world.majority()
    try:
        figures = [f"sum(rows.people.score, by=rows.clubs.g{number})" for number in range(groupings)]
        found = world.ask(*figures, clubs=world.clubs(*bits))
    except Refused as refused:
        return world.said(None, refused.code, guess)
    shown = [(one, found[f"f{number}"]) for number, one in enumerate(bits) if None not in found[f"f{number}"]]
    total = float(world.yes.sum())
    rows = np.array([np.ones(ROWS), *[one.astype(float) for one, _ in shown]])
    sums = np.array([total, *[float(values[0]) for _, values in shown]])
    mean = total / ROWS
    solved = np.linalg.lstsq(rows, sums - mean * rows.sum(axis=1), rcond=None)[0]
    value = mean + solved[world.target]
    answer = world.coin() if abs(value - 0.5) < 1e-9 else int(value > 0.5)
    odds = [_log_odds(total, ROWS)]
    for one, values in shown:
        mine = one[world.target]
        odds.append(_log_odds(float(values[0 if mine else 1]), int((one == mine).sum())))
    most = max(odds, key=abs)
    return world.said(answer, guess=world.coin() if abs(most) < 1e-9 else int(most > 0))


def _log_odds(yes: float, rows: int) -> float:
    return math.log((yes + 0.5) / (rows - yes + 0.5))


def _reconstruction_whole(world: World) -> Said:
    return reconstruct(world, 31)


def _reconstruction_allowed(world: World) -> Said:
    return reconstruct(world, ROWS // (2 * LEAST) // 2)


def _twice_the_total(world: World) -> Said:
    """All are in two of an accomplice's four groups, but the person: it is missing from twice the total."""
    bits = np.array([world.random.permutation(4) < 2 for _ in range(ROWS)]).T
    out = int(np.flatnonzero(bits[:, world.target])[0])
    bits[out, world.target] = False

    def ask() -> int | None:
        figures = [f'sum(rows.people.score, where=rows.clubs.g{number} == "in")' for number in range(4)]
        found = world.ask(*figures, clubs=world.clubs(*bits))
        values = [found[f"f{number}"] for number in range(4)]
        return None if None in values else difference(2 * world.yes.sum(), sum(values))

    return tried(world, ask)


def _overlapping(world: World) -> Said:
    """Two groups of one figure that an accomplice makes, which differ by the person."""
    first = world.random.random(ROWS) < 0.5

    def ask() -> int | None:
        figure = 'sum(rows.people.score, by=stack([rows.clubs.g0 == "in", rows.clubs.g1 == "in"]))'
        found = world.ask(figure, clubs=world.clubs(first & ~world.rare, first | world.rare))["f0"]
        return difference(found[1], found[0])

    return tried(world, ask)


def _limits(world: World) -> Said:
    """Limits of an accomplice that half pass and half miss, but the person, whose answer decides."""
    passes = (world.random.random(ROWS) < 0.5) & ~world.rare
    limits = np.where(world.rare, 0, np.where(passes, -1, 2))

    def ask() -> int | None:
        people = world.people(score="compare-only")
        figure = "count(rows.people.score > rows.clubs.w)"
        value = world.ask(figure, people=people, clubs=world.clubs(w=limits))["f0"]
        return None if value is None else round(float(value)) - int(passes.sum())

    return tried(world, ask)


def _crafted_groups(world: World) -> Said:
    """The smallest group that may be shown: the person, others whose answers are known, and some more."""
    members = world.rare.copy()
    others = world.random.permutation(np.flatnonzero(~world.rare))
    members[others[: LEAST - 1]] = True
    unknown = members.copy()
    unknown[others[:KNOWN]] = False

    def ask() -> int | None:
        figure = 'sum(rows.people.score, where=rows.clubs.g0 == "in")'
        value = world.ask(figure, clubs=world.clubs(members))["f0"]
        if value is None:
            return None
        left = float(value) - world.yes[others[:KNOWN]].sum()
        share = left / unknown.sum()
        return world.coin() if share == 0.5 else int(share > 0.5)

    return tried(world, ask, guess=world.majority(unknown))


# --- what needs other grants ----------------------------------------------------------------------------
def _own_keys(world: World) -> Said:
    """Groups that the receiver itself brings: 19 and one, and all without one."""

    def ask() -> int | None:
        found = world.ask(
            "sum(rows.people.score)", 'sum(rows.people.score, where=rows.clubs.g0 == "in")',
            receiver="clubs", clubs=world.clubs(~world.rare),
        )  # fmt: skip
        return difference(found["f0"], found["f1"])

    return tried(world, ask)


def _weights(world: World) -> Said:
    """One sum with powers of two as weights has everybody's answer in its bits."""
    weights = np.where(world.rare, 1, 2 * world.random.integers(0, 1_000, ROWS))

    def ask() -> int | None:
        value = world.ask("sum(rows.people.score * rows.clubs.w)", clubs=world.clubs(w=weights))["f0"]
        return None if value is None else int(value) % 2

    return tried(world, ask)


def _features(world: World) -> Said:
    """A column that is 1 for one person: its coefficient is that person's answer."""
    marks = world.rare.astype(np.int64)

    def ask() -> int | None:
        value = world.ask("real(rows.clubs.w) @ real(rows.people.score)", clubs=world.clubs(w=marks))["f0"]
        return None if value is None else round(float(value))

    return tried(world, ask)


def _shifted_bins(world: World) -> Said:
    """Two histograms whose edges differ by one value."""

    def ask() -> int | None:
        found = world.ask(
            "count(rows, by=bins(rows.people.score, edges=[0, 0.5, 2]))",
            "count(rows, by=bins(rows.people.score, edges=[0, 1, 2]))",
        )
        return None if found["f0"] is None else world.coin()

    return tried(world, ask)


# --- oracles --------------------------------------------------------------------------------------------
def _suppression(world: World) -> Said:
    """A group whose yes is about as frequent as the smallest group: shown or hidden is told of the person."""
    others = world.random.permutation(np.flatnonzero(~world.rare))
    known = [at for at in others if world.yes[at]][:KNOWN]
    free = [at for at in others if at not in known][: 2 * (LEAST - KNOWN) - 1]
    members = world.rare.copy()
    members[[*known, *free]] = True
    unknown = members.copy()
    unknown[known] = False

    def ask() -> int | None:
        value = world.ask(f'count({YES} & (rows.clubs.g0 == "in"))', clubs=world.clubs(members))["f0"]
        if value is None:
            return 0
        share = (float(value) - len(known)) / unknown.sum()
        return world.coin() if share == 0.5 else int(share > 0.5)

    return tried(world, ask, guess=world.majority(unknown))


def _preflight(world: World) -> Said:
    """Whether the person is in the victim's data, by twelve free answers about how many rows there are.

    An owner that ends a job before it binds says why: too few rows, more figures than they allow, or a delta
    above one over them. So one answer may tell between which of four numbers they are.
    """
    there = bool(world.random.integers(2))
    rows = 30 + int(world.random.integers(0, 21)) + there
    low, high = 1, 101
    for _ in range(12):
        if high - low > 1:
            cuts = [low + (high - low) * part // 4 for part in (1, 2, 3)]
            cuts[1] -= cuts[1] % 2  # two rows allow a figure
            edges = [low, *sorted(cuts), high]
            told = _told(world.consortium.folder, rows, edges[1:4])
            low, high = edges[told], edges[told + 1]
    return Said(_from_rows(world, low), _from_rows(world, rows), int(there))


def _told(folder: Path, rows: int, cuts: Sequence[int]) -> int:
    """Return how many of three numbers of rows are reached, as one job's refusal tells, or its absence."""
    name = "people/people"
    uses = {"score": ExactUse(cuts[1] // 2, frozenset({"n:join1"}))}
    exposure = Exposure("job", name, 1, name, 1, uses, b"", 1, ExposedStore(folder))
    try:
        check_delta(GrantedInput("", name, 1, {}, "people"), rows, 10**18 // max(1, cuts[2] - 1))
        if judged(cuts[0], OwnTable(cuts[0], JobInput(name, 0, ()), {}, rows), []):
            return 0
        exposure.check_figures(rows)
    except JobRefusal as refusal:
        return {"DELTA_ABOVE_ROWS": 3, "EXACT_FIGURES_SPENT": 1}[refusal.reason]
    return 2


def _from_rows(world: World, rows: int) -> int:
    """Return whether the person is there, as far as rows tell: 30 to 50 are without."""
    return 1 if rows > 50 else 0 if rows == 30 else world.coin()


def _membership(world: World, known: int, decoys: int) -> Said:
    """Join the person, known members and people who are nowhere with the data; ask three times."""
    there, few = bool(world.random.integers(2)), list[int]()
    ids = [str(one) for one in world.ids]
    held = [one for at, one in enumerate(ids) if at != world.target or there]
    members = [one for at, one in enumerate(ids) if at != world.target][:known]
    mine = [ids[world.target], *members, *[f"nobody{number}" for number in range(decoys)]]

    def party(me: int, job: bytes) -> Steps[Any]:
        def check(rows: int) -> None:
            few.extend([rows] if me == 1 else [])
            if rows < LEAST:
                raise Refused("ROWS_BELOW_MIN_GROUP")

        spec = join_of(job, (0, 1), 0, ({1}, {1}))
        return private_join(
            spec, me, (held, mine)[me], random=world.random.bytes, workers=1, check_common=check,
            check_size=lambda _, rows: None if rows >= LEAST else check(rows),
        )  # fmt: skip

    code = ""
    for number in range(3):
        try:
            run_local([party(me, bytes([number]) * 32) for me in range(2)])
        except Refused as refused:
            code = refused.code
    answer = few[0] - known if few and decoys else None
    return Said(answer, world.coin(), int(there), code)


def _one_row(world: World) -> Said:
    return _membership(world, 0, 0)


def _decoys(world: World) -> Said:
    return _membership(world, KNOWN, LEAST)


# --- accomplices and unions -----------------------------------------------------------------------------
def _union(world: World, figure: str, receiver: str, wards: Mapping[str, NDArray[np.bool_]]) -> Any:
    """Ask over rows of two hospitals; the person sought is in the ward `rare` of the victim's."""
    held = {}
    for owner, rare in wards.items():
        yes = world.yes if owner == "people" else np.ones(len(rare), bool)
        cells = {"score": yes.astype(np.int64), "ward": texts(rare, "rare", "usual")}
        held[owner] = Dataset(owner, (Column("score", "integer"), category("ward", "rare", "usual")), cells)
    names = ", ".join(held)
    page = (
        f'"""Figures."""\n\n\ndef run({names}):\n    rows = union({names})\n'
        f'    release({figure}, to="{receiver}", exact=True, name="f0")\n'
    )
    return world.consortium.job(page, held, receiver)["f0"]


def _accomplice_rows(world: World) -> Said:
    """An accomplice brings rows of its own until the group is large enough."""
    brought = np.arange(ROWS) < LEAST + 9

    def ask() -> int | None:
        found = _union(
            world, "sum(rows.score, by=rows.ward)", "auditor", {"people": world.rare, "clubs": brought}
        )
        return None if found[0] is None else int(found[0]) - int(brought.sum())

    return tried(world, ask)


# --- several jobs ---------------------------------------------------------------------------------------
def _two_jobs(world: World) -> Said:
    def ask() -> int | None:
        whole = world.ask("sum(rows.people.score)")["f0"]
        return difference(whole, world.ask(f"sum(rows.people.score, where={MOST})")["f0"])

    return tried(world, ask)


def _pooling(world: World) -> Said:
    """Grantees who put together what each was told."""

    def ask() -> int | None:
        whole = world.ask("sum(rows.people.score)", receiver="auditor")["f0"]
        a = world.ask(f'sum(rows.people.score, where=(rows.homes.kind == "a") & {MOST})', receiver="press")[
            "f0"
        ]
        b = world.ask(f'sum(rows.people.score, where=~(rows.homes.kind == "a") & {MOST})', receiver="court")[
            "f0"
        ]
        return difference(whole, None if None in (a, b) else a + b)

    return tried(world, ask)


def _changed_keys(world: World) -> Said:
    """An accomplice moves the person to another group between two jobs."""
    first = world.random.random(ROWS) < 0.5

    def ask() -> int | None:
        figure = "sum(rows.people.score, by=rows.clubs.g0)"
        one = world.ask(figure, clubs=world.clubs(first))["f0"]
        other = world.ask(figure, clubs=replace(world.clubs(first ^ world.rare), version=2))["f0"]
        if None in (*one, *other):
            return None
        change = abs(int(one[0] - other[0]))
        return change if change in (0, 1) else None

    return tried(world, ask)


def _near_join(world: World) -> Said:
    """An accomplice leaves the person out of its next version."""

    def ask() -> int | None:
        whole = world.ask("sum(rows.people.score)")["f0"]
        rest = world.ask("sum(rows.people.score)", clubs=replace(world.clubs(keep=~world.rare), version=2))[
            "f0"
        ]
        return difference(whole, rest)

    return tried(world, ask)


def _two_versions(world: World) -> Said:
    """The victim's next version differs in the answer of the person sought, who said no before."""
    before = world.yes & ~world.rare

    def ask() -> int | None:
        first = world.ask("sum(rows.people.score)", people=world.people(before))["f0"]
        second = world.ask("sum(rows.people.score)", people=replace(world.people(), version=2))["f0"]
        return difference(second, first)

    return tried(world, ask)


# --- noise -------------------------------------------------------------------------------------------------
_SUM = "sum(rows.people.score)"
GRANTEES = ("auditor", "press", "court", "museum")


def _noisy(
    world: World, jobs: Sequence[tuple[str, Sequence[str]]], noise: str, known: int = 0, **datasets: Dataset
) -> Said:
    """Take the mean of noisy figures by somebody who knows all but one answer, until accounts end it.

    Nobody who knows everything but one of two equally likely answers is right more often than what accounts
    are charged with allows. `known` is what the figure is without the person.
    """
    values: list[float] = []
    code = ""
    for receiver, figures in jobs:
        try:
            found = world.ask(*figures, receiver=receiver, noise=noise, **datasets)
            values.extend(float(value) for value in found.values())
        except Refused as refused:
            code = refused.code
    answer = int(float(np.mean(values)) - known > 0.5) if values else None
    bound = world.consortium.ledger.right_at_most("people/people")
    return replace(world.said(answer, "" if values else code), bound=bound)


def _sums(jobs: Sequence[tuple[str, Sequence[str]]], noise: str) -> Callable[[World], Said]:
    def trial(world: World) -> Said:
        return _noisy(world, jobs, noise, int(world.yes.sum() - world.truth))

    return trial


def _noisy_weights(world: World) -> Said:
    """Weights of an accomplice that leave the person alone in the sum."""
    figure = "sum(clip(clip(rows.people.score, 0, 1) * clip(rows.clubs.w, 0, 1), 0, 1))"
    clubs = world.clubs(w=world.rare.astype(np.int64))
    return _noisy(world, [("auditor", [figure])], "laplace(epsilon=1)", clubs=clubs)


def _noisy_limits(world: World) -> Said:
    """Limits of an accomplice that nobody passes, but the person may."""
    people, clubs = world.people(score="compare-only"), world.clubs(w=np.where(world.rare, 0, 2))
    jobs = [("auditor", ["count(rows.people.score > rows.clubs.w)"])]
    return _noisy(world, jobs, "laplace(epsilon=1)", people=people, clubs=clubs)


def _overflow(world: World) -> Said:
    """Numbers so large that one more is far away on shares: noise of any size would not hide which it was."""
    marks = world.rare.astype(np.int64)

    def ask() -> int | None:
        far = " + ".join(["2305843009213693952"] * 3 + ["2305843009213693951"])
        figure = f"sum(maximum(where(rows.clubs.w > 0, rows.people.score, 0) + {far}, 0))"
        value = world.ask(figure, noise="laplace(epsilon=0.01)", clubs=world.clubs(w=marks))["f0"]
        return int(abs(float(value)) > 2.0**40)

    return tried(world, ask)


ONE, HALF = "laplace(epsilon=1)", "laplace(epsilon=0.5)"
ATTACKS = (
    Attack("one figure with noise", "every other answer; epsilon 1", _sums([("auditor", [_SUM])], ONE), 500),
    Attack(
        "a small epsilon",
        "every other answer; epsilon 0.1",
        _sums([("auditor", [_SUM])], "laplace(epsilon=0.1)"),
        1_000,
    ),
    Attack(
        "gaussian noise",
        "every other answer; epsilon 1, delta 0.000001",
        _sums([("auditor", [_SUM])], "gaussian(epsilon=1, delta=0.000001)"),
        500,
    ),
    Attack(
        "averaging", "every other answer; epsilon 1 three times", _sums([("auditor", [_SUM] * 3)], ONE), 200
    ),
    Attack(
        "averaging over two jobs",
        "every other answer; epsilon 0.5 twice",
        _sums([("auditor", [_SUM])] * 2, HALF),
        200,
    ),
    Attack(
        "grantees that pool noise",
        "every other answer; epsilon 0.5 each",
        _sums([(receiver, [_SUM]) for receiver in GRANTEES[:2]], HALF),
        200,
    ),
    Attack(
        "averaging until accounts end it",
        "every other answer; four grantees, epsilon 1 four times each",
        _sums([(receiver, [_SUM]) for receiver in GRANTEES for _ in range(4)], ONE),
        100,
    ),
    Attack("crafted weights with noise", "weights that leave one person; epsilon 1", _noisy_weights, 500),
    Attack(
        "crafted limits with noise", "limits that only one person may pass; epsilon 1", _noisy_limits, 500
    ),
    Attack("overflow under noise", "weights that leave one person; epsilon 0.01", _overflow),
    Attack("differencing", "who is rare", _differencing),
    Attack("difference of three figures", "who is rare", _three_figures),
    Attack("parts of all but one", "all parts, the total", _parts),
    Attack("twice the total", "who is in which two of four groups, the total", _twice_the_total),
    Attack("overlapping groups of one figure", "both groups", _overlapping),
    Attack("zero cells", "who is rare; what is hidden", _zero_cells),
    Attack("the same in other words", "who is rare", _other_words),
    Attack("marks that are forgotten", "who is rare", _hidden_total),
    Attack("twin groupings", "both groupings", _twin_groupings),
    Attack("linear reconstruction", "31 random groupings", _reconstruction_whole),
    Attack("reconstruction within the limit", "2 random groupings", _reconstruction_allowed, 600),
    Attack("crafted groups", f"{KNOWN} answers of the group, its sum", _crafted_groups, 500),
    Attack("crafted keys", "keys of its own", _own_keys),
    Attack("crafted weights", "weights of an accomplice", _weights),
    Attack("crafted limits", "limits that all pass or miss but one", _limits),
    Attack("crafted features", "a column of an accomplice", _features),
    Attack("shifted bins", "edges of its own", _shifted_bins),
    Attack("suppression oracle", f"{KNOWN} answers of the group, its count", _suppression, 500),
    Attack("preflight oracle", "who else is in the data, to within 20", _preflight, 1_000),
    Attack("one-row membership", "nothing of the victim's rows", _one_row),
    Attack("decoys and abort probing", f"{KNOWN} members of the join", _decoys),
    Attack("accomplice rows", "all rows of the accomplice", _accomplice_rows),
    Attack("differencing over two jobs", "who is rare", _two_jobs),
    Attack("several grantees that pool", "who is rare", _pooling),
    Attack("keys that change between jobs", "both groupings", _changed_keys),
    Attack("near-identical joins", "who was left out", _near_join),
    Attack("two versions of a dataset", "the answer before", _two_versions),
)
