"""Differences between groups of one family: figures of groups that differ by few rows tell of these rows.

A sum of figures with whole factors rests on the rows that do not cancel. How many these are at least follows
from the numbers of rows that each two groups share, which are one matrix product of bits; so it is decided on
shares, whoever owns the keys. Where one owner has all keys it runs the same in the clear. A set of groups is
hidden where one of its groups is too near to those of earlier sets, or to sums of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.pages.types import Size
from privcompute.errors import ProgramFault
from privcompute.mpc.engine import Engine
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.rounds import Steps, parallel
from privcompute.mpc.sharing import Shared, concatenate, stack
from privcompute.pages.columns import InputRefused
from privcompute.pages.making import PlanStep
from privcompute.pages.normals import Factors, normals, reach, signs
from privcompute.pages.suppression import shown_groups

GROUPS_MAX = 64
"""Groups of a family, if they are of one grouping."""
BASIS_MAX = 12
"""Groups of two groupings, but for the last of each, all rows among them: 265,000 sums of them."""
SPREAD_MAX = 7
"""Groups of more groupings and conditions, all rows among them: 252,000 sums, each compared thrice."""
ROWS_AT_ONCE = 1 << 15
"""Rows whose bits are multiplied at a time: bounds memory at about 60 MB."""
COMPARED_AT_ONCE = 1 << 17
_SUMS_AT_ONCE = 1 << 15
_FAR = 1 << 40
"""Beyond every number of rows: sums and differences with a hidden figure are near to nothing."""
Places = NDArray[np.intp]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """One argument of a step `apart`: the bits of a set's groups, or of the rows that they are of."""

    role: str
    """`every`: groups that all rows of the mask are in; `some`: groups of which rows are in one or none;
    `other`: any groups, which are judged beside one another, too; `mask`: the rows that a set's groups are
    of."""
    set: int
    name: int
    """What tells equal definitions: two of one name are never compared; 0 is all rows."""
    mask: int
    """The name of the rows that its groups are of."""

    def text(self) -> str:
        """Return it as an attribute of a step has it."""
        return f"{self.role}:{self.set}:{self.name}:{self.mask}"


def judged_sets(text: str) -> tuple[JudgedSet, ...]:
    """Return what attributes say."""
    parts = [one.split(":") for one in text.split()]
    return tuple(JudgedSet(role, int(number), int(name), int(mask)) for role, number, name, mask in parts)


@dataclass(frozen=True, slots=True)
class Checks:
    """What is compared, as places of groups among all of a family; group 0 is all rows."""

    pairs: tuple[Places, Places]
    """The group of the earlier set first."""
    pair_sets: Places
    """Which set each hides."""
    triples: tuple[Places, Places, Places]
    """A group, and the two that are taken from it."""
    triple_sets: Places
    disjoint: NDArray[np.bool_]
    """By triple, whether the two are groups of one set, which together may well be the third."""
    unions: tuple[tuple[Places, int, int], ...]
    """Groups of a set that may leave rows out, the group that they are of, and the set."""
    sets: int
    grouped: tuple[tuple[int, int], ...]
    """First and last but one group of each argument whose groups exclude one another."""
    basis: Places
    """All rows, and groups of which none follows from others by what they mean."""
    sums: ComparedSums


@dataclass(frozen=True, slots=True)
class ComparedSums:
    """Sums of figures of a basis that are compared beside pairs and threes."""

    factors: Factors
    """(sums, basis)."""
    reach: Places
    """How often a row may count in a sum, at most."""
    sets: Places
    """Which set each hides."""
    may_vanish: NDArray[np.bool_]
    """Whether it rests on what groupings leave out, of which there may be no row."""

    def __len__(self) -> int:
        return len(self.factors)

    @property
    def several(self) -> Places:
        """Which of them may count a row more than once."""
        return np.flatnonzero(self.reach > 1)


@lru_cache(maxsize=64)
def checks_of(widths: tuple[int, ...], sets: tuple[JudgedSet, ...]) -> Checks:
    """Return what is compared where each argument has so many groups."""
    number, name, cluster = [0], [(0, 0)], [-1]
    unions: list[tuple[Places, int, int]] = []
    grouped: list[tuple[int, int]] = []
    total: dict[int, tuple[int, int]] = {}
    """Argument of groups -> the name of what they make up together, which hiding small ones minds."""
    for argument, (width, one) in enumerate(zip(widths, sets, strict=True)):
        first = len(number)
        number += [one.set] * width
        name += [(one.name, group) for group in range(width)]
        cluster += [argument if one.role in ("every", "some") else -1 - len(number) - group
                    for group in range(width)]  # fmt: skip
        if one.role in ("every", "some"):
            grouped.append((first, first + width))
            total[argument] = (one.mask, 0)
        if one.role == "some" and (one.mask, 0) in name:
            unions.append((np.arange(first, first + width), name.index((one.mask, 0)), one.set))
    count = len(number)
    loose = [
        False,
        *[one.role == "other" for width, one in zip(widths, sets, strict=True) for _ in range(width)],
    ]
    pairs = [
        (i, j)
        for i, j in combinations(range(count), 2)
        if name[i] != name[j]
        and total.get(cluster[j]) != name[i]
        and (number[i] != number[j] or (loose[i] and loose[j]))
    ]
    triples, disjoint = [], []
    for three in combinations(range(count), 3):
        if len({name[at] for at in three}) < 3:
            continue
        if len({number[at] for at in three}) == 1 and not all(loose[at] for at in three):
            continue
        for turn in range(3):
            p, q, r = three[turn], three[turn - 1], three[turn - 2]
            together = cluster[q] == cluster[r]
            if together and total.get(cluster[q]) == name[p]:
                continue
            triples.append((p, q, r))
            disjoint.append(together)
    columns = np.array(pairs, np.intp).reshape(-1, 2).T
    threes = np.array(triples, np.intp).reshape(-1, 3).T
    numbers = np.array(number, np.intp)
    return Checks(
        (columns[0], columns[1]),
        numbers[columns].max(axis=0, initial=0),
        (threes[0], threes[1], threes[2]),
        numbers[threes].max(axis=0, initial=0),
        np.array(disjoint, np.bool_),
        tuple(unions),
        max(number) + 1,
        tuple(grouped),
        basis_of(widths, sets),
        _sums(widths, sets, numbers),
    )


def basis_of(widths: tuple[int, ...], sets: tuple[JudgedSet, ...]) -> Places:
    """Return the groups from which others follow: all but the last of those that make up their rows."""
    return np.array([0, *[place for place, _ in _of_basis(widths, sets)]], np.intp)


def _of_basis(widths: tuple[int, ...], sets: tuple[JudgedSet, ...]) -> list[tuple[int, int]]:
    """Return (place, argument) of each group of the basis but all rows."""
    found, names, first = [], {(0, 0)}, 1
    for argument, (width, one) in enumerate(zip(widths, sets, strict=True)):
        for group in range(width - (one.role == "every")):
            if (one.name, group) not in names:
                names.add((one.name, group))
                found.append((first + group, argument))
        first += width
    return found


def _families(widths: tuple[int, ...], sets: tuple[JudgedSet, ...]) -> int:
    """Return how many families of groups there are of which any two are apart or one in the other."""
    found: dict[int, int] = {}
    for width, one in zip(widths, sets, strict=True):
        mine = width if one.role == "other" else 1
        found[one.set] = max(found.get(one.set, 0), mine)
    return sum(found.values())


def _basis_max(widths: tuple[int, ...], sets: tuple[JudgedSet, ...]) -> int:
    return BASIS_MAX if _families(widths, sets) <= 2 else SPREAD_MAX


def _sums(widths: tuple[int, ...], sets: tuple[JudgedSet, ...], numbers: Places) -> ComparedSums:
    """Return the sums that are compared: of two families with factors of -1, 0 and 1, else all normals."""
    listed = _of_basis(widths, sets)
    of_sets = np.array([0, *[numbers[place] for place, _ in listed]], np.intp)
    arguments = np.array([-1, *[argument for _, argument in listed]])
    count, two = len(listed), _families(widths, sets) <= 2
    if _families(widths, sets) < 2 or 1 + count > _basis_max(widths, sets):
        none = np.zeros(0, np.intp)
        return ComparedSums(np.zeros((0, 1 + count), np.int8), none, none, np.zeros(0, np.bool_))
    factors = signs(count) if two else normals(count)
    grouped = [np.flatnonzero(arguments == one) for one, said in enumerate(sets) if said.role != "other"]
    most, zeros = (
        (np.ones(len(factors), np.int64), np.full(len(factors), count)) if two else reach(factors, grouped)
    )
    used = factors != 0
    kept = (used.sum(axis=1) > 3) | (np.abs(factors).max(axis=1, initial=0) > 1)
    kept &= zeros >= count
    factors, used = factors[kept], used[kept]
    left_out = np.isin(arguments, [one for one, said in enumerate(sets) if said.role in ("some", "mask")])
    even = np.ones(len(factors), np.bool_)
    for one, said in enumerate(sets):
        if said.role == "some":
            some = factors[:, arguments == one]
            even &= (some == some[:, :1]).all(axis=1)
    return ComparedSums(
        factors,
        most[kept].astype(np.intp),
        np.where(used, of_sets, 0).max(axis=1, initial=0),
        even & ~used[:, ~left_out & (arguments >= 0)].any(axis=1),
    )


def check_many(steps: Sequence[PlanStep], size: Callable[[Size], int]) -> None:
    """Raise InputRefused for a family of more groups than are judged; `size` says how large an axis is."""
    for step in steps:
        if step.name == "apart":
            widths, sets = tuple(_width(steps[arg], size) for arg in step.args), judged_sets(step.attrs[2])
            several = _families(widths, sets) > 1
            count = len(basis_of(widths, sets)) if several else 1 + sum(widths)
            most = _basis_max(widths, sets) if several else GROUPS_MAX
            if count > most:
                raise InputRefused(
                    f"the page releases exact {step.attrs[3]} over {count} groups of rows (all rows among"
                    f" them, the last of each grouping not); at most {most} are judged beside one another:"
                    f" {GROUPS_MAX} of one grouping alone, {BASIS_MAX} of two, {SPREAD_MAX} of more"
                    " groupings and conditions: ask for noise, group by fewer categories or bins, or release"
                    " fewer figures"
                )


def compared(steps: Sequence[PlanStep], step: PlanStep, size: Callable[[Size], int]) -> int:
    """Return how many comparisons a step takes."""
    checks = checks_of(tuple(_width(steps[arg], size) for arg in step.args), judged_sets(step.attrs[2]))
    sums = len(checks.sums) + 2 * len(checks.sums.several) + int(checks.sums.may_vanish.sum())
    return 2 * len(checks.pair_sets) + 4 * len(checks.triple_sets) + sums


def _width(step: PlanStep, size: Callable[[Size], int]) -> int:
    return math.prod(size(one) for one in step.cells.shape[1:])


def apart(
    engine: Engine, bits: Sequence[Shared], sets: tuple[JudgedSet, ...], spans: Sequence[Span], least: int
) -> Steps[Shared]:
    """Return for each set 1 if what its groups differ by from those of earlier sets is `least` rows or more.

    `bits` (rows,) or (rows, groups) of each argument; `spans` are the rows of each owner that is judged
    alone. Equal groups of two definitions differ by no row, and hide the later set, too: that they are equal
    would tell of the rows by which they could differ. Groups of one set that make up a third one may do so.
    """
    flat = [one.reshape(len(one), -1) for one in bits]
    checks = checks_of(tuple(one.shape[1] for one in flat), sets)
    near = []
    for start, stop in spans:
        shared = yield from _in_common(engine, [one[start:stop] for one in flat])
        near.append((yield from _near(engine, shared, checks, least)))
    places = np.tile(
        np.concatenate(
            [checks.pair_sets, checks.triple_sets, [number for *_, number in checks.unions], checks.sums.sets]
        ),
        len(near),
    )
    together = concatenate(near)
    found = stack([together[np.flatnonzero(places == number)].sum() for number in range(checks.sets)])
    return engine.constant(1) - (yield from engine.less_than(engine.constant(0), found))


def apart_alone(
    bits: Sequence[NDArray[np.int64]], sets: tuple[JudgedSet, ...], spans: Sequence[Span], least: int
) -> NDArray[np.int64]:
    """Return the same of bits that one party knows."""
    engine = PlaintextEngine()
    work = apart(engine, [engine.constant(one) for one in bits], sets, spans, least)
    try:
        next(work)
    except StopIteration as end:
        return np.asarray(end.value.words[0]).astype(np.int64)
    raise ProgramFault("a computation of one party sent something")


def _in_common(engine: Engine, bits: Sequence[Shared]) -> Steps[Shared]:
    """Return how many rows each two groups have in common; group 0 is all rows."""
    rows = len(bits[0])
    total: Shared | None = None
    for start in range(0, rows, ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, rows)
        every = engine.constant(np.ones((stop - start, 1), np.int64))
        block = concatenate([every, *[one[start:stop] for one in bits]], axis=1)
        made = yield from engine.matmul(block.T, block)
        total = made if total is None else total + made
    if total is None:
        raise ProgramFault("groups of no rows")
    return total


def _near(engine: Engine, shared: Shared, checks: Checks, least: int) -> Steps[Shared]:
    """Return for each check 1 where it finds too few rows between groups that would all be shown."""
    shown = yield from _shown_alone(engine, shared, checks, least)
    both = yield from engine.mul(shown.reshape(-1, 1), shown.reshape(1, -1))
    parts = [(yield from _near_pairs(engine, shared, both, checks, least))]
    if len(checks.triple_sets):
        parts.append((yield from _near_triples(engine, shared, shown, both, checks, least)))
    if checks.unions:
        parts.append((yield from _left_out(engine, shared, shown, checks, least)))
    if len(checks.sums):
        parts.append((yield from _near_sums(engine, shared, shown, checks, least)))
    return concatenate(parts)


def _shown_alone(engine: Engine, shared: Shared, checks: Checks, least: int) -> Steps[Shared]:
    """Return 1 for each group that would be shown if there were no others than those of its set."""
    places = np.arange(len(shared))
    counts = shared[places, places]
    large = engine.constant(1) - (yield from engine.less_than(counts, engine.constant(least)))
    sets = yield from parallel(
        *[shown_groups(engine, counts[first:stop], least) for first, stop in checks.grouped]
    )
    parts: list[Shared] = []
    done = 0
    for (first, stop), shown in zip(checks.grouped, sets, strict=True):
        parts += [large[done:first], shown]
        done = stop
    return concatenate([*parts, large[done:]])


def _near_pairs(engine: Engine, shared: Shared, both: Shared, checks: Checks, least: int) -> Steps[Shared]:
    i, j = checks.pairs
    rows = shared[i, i] + shared[j, j] - shared[i, j].mul_public(2)
    below = yield from _less(engine, rows, engine.constant([least]))
    return (yield from engine.mul(below, both[i, j]))


def _near_triples(
    engine: Engine, shared: Shared, shown: Shared, both: Shared, checks: Checks, least: int
) -> Steps[Shared]:
    """Judge what is left of a group without two others.

    Rows in both of these and not in the group count twice, so four times in the sum of squares: how many
    there are at most is bounded by what the two share, and by what each has beyond the group.
    """
    p, q, r = checks.triples
    squares = (
        shared[p, p] + shared[q, q] + shared[r, r]
        - shared[p, q].mul_public(2) - shared[p, r].mul_public(2) + shared[q, r].mul_public(2)
    )  # fmt: skip
    apart_from = np.flatnonzero(checks.disjoint)
    some = squares[apart_from]
    below = yield from _less(engine, some, engine.constant([least]))
    none = yield from _less(engine, some, engine.constant([1]))
    crossing = np.flatnonzero(~checks.disjoint)
    p2, q2, r2 = p[crossing], q[crossing], r[crossing]
    beyond = squares[crossing] - engine.constant([least])
    twice = stack([shared[q2, r2], shared[q2, q2] - shared[p2, q2], shared[r2, r2] - shared[p2, r2]])
    bounded = yield from _less(
        engine, beyond.broadcast_to(twice.shape).reshape(-1), twice.mul_public(3).reshape(-1)
    )
    bounded = bounded.reshape(3, -1)
    least_of = yield from engine.mul(bounded[0], bounded[1])
    least_of = yield from engine.mul(least_of, bounded[2])
    order = np.argsort(np.concatenate([apart_from, crossing]), kind="stable")
    near = concatenate([below - none, least_of])[order]
    three = yield from engine.mul(both[p, q], shown[r])
    return (yield from engine.mul(near, three))


def _near_sums(engine: Engine, shared: Shared, shown: Shared, checks: Checks, least: int) -> Steps[Shared]:
    """Judge sums of several figures by how many rows they rest on at least.

    Where a row counts as c, a whole number of at most r, these are no fewer than the sum of c^2 / r^2, nor
    than that of (3 c - c^2) / 2 or (-3 c - c^2) / 2, of which none is above 1, and all are 0 where c is.
    """
    kept, sums = checks.basis, checks.sums
    far = (engine.constant(1) - shown[kept]).mul_public(_FAR)
    counts, squares = _moments(shared[np.ix_(kept, kept)], far, sums.factors)
    near = yield from _less(engine, squares, engine.constant(sums.reach.astype(np.int64) ** 2 * least))
    twice = sums.several
    if len(twice):
        three, some = counts[twice].mul_public(3), squares[twice]
        bound = engine.constant([2 * least])
        above = yield from _less(engine, three - some, bound)
        below = yield from _less(
            engine, engine.constant(np.zeros(len(twice), np.int64)) - three - some, bound
        )
        both = yield from engine.mul(above, below)
        both = yield from engine.mul(both, near[twice])
        order = np.argsort(np.concatenate([np.flatnonzero(sums.reach <= 1), twice]), kind="stable")
        near = concatenate([near[np.flatnonzero(sums.reach <= 1)], both])[order]
    vanish = np.flatnonzero(sums.may_vanish)
    if len(vanish):
        none = yield from _less(engine, squares[vanish], engine.constant([1]))
        rest = np.flatnonzero(~sums.may_vanish)
        some = yield from engine.mul(near[vanish], engine.constant(1) - none)
        near = concatenate([near[rest], some])[np.argsort(np.concatenate([rest, vanish]), kind="stable")]
    return near


def _moments(shared: Shared, far: Shared, factors: Factors) -> tuple[Shared, Shared]:
    """Return the sums of what rows count in each sum of figures, and of its square: local.

    `shared` are the rows that two groups have in common, the first being all rows; `far` is added for each
    group that is used.
    """
    components, size = shared.words.shape[:2]
    common = shared.words.reshape(components, size * size)
    counts, squares = [], []
    for start in range(0, len(factors), _SUMS_AT_ONCE):
        some = factors[start : start + _SUMS_AT_ONCE].astype(np.int64)
        pairs = (some[:, :, None] * some[:, None, :]).reshape(len(some), -1).astype(np.uint64)
        used = (some != 0).astype(np.uint64)
        counts.append(shared.words[:, 0] @ some.astype(np.uint64).T)
        squares.append(common @ pairs.T + far.words @ used.T)
    return Shared(np.concatenate(counts, axis=1), 0), Shared(np.concatenate(squares, axis=1), 0)


def _left_out(engine: Engine, shared: Shared, shown: Shared, checks: Checks, least: int) -> Steps[Shared]:
    """Judge the rows that are in none of a set's groups, where all of these would be shown."""
    rows, missing = [], []
    for groups, mask, _ in checks.unions:
        within = shared[np.ix_(groups, groups)].sum()
        rows.append(within - shared[groups, mask].sum().mul_public(2) + shared[mask, mask])
        missing.append(engine.constant(len(groups)) - shown[groups].sum())
    left = stack(rows)
    below = yield from _less(engine, left, engine.constant([least]))
    none = yield from _less(engine, left, engine.constant([1]))
    every = yield from _less(engine, stack(missing), engine.constant([1]))
    return (yield from engine.mul(below - none, every))


def _less(engine: Engine, x: Shared, y: Shared) -> Steps[Shared]:
    """Return 1 where x < y, at most COMPARED_AT_ONCE at a time; y of one cell is compared with all."""
    if not x.size:
        return engine.constant(np.zeros(0, np.int64))
    parts: list[Any] = []
    for start in range(0, len(x), COMPARED_AT_ONCE):
        stop = start + COMPARED_AT_ONCE
        parts.append((yield from engine.less_than(x[start:stop], y if len(y) == 1 else y[start:stop])))
    return concatenate(parts)
