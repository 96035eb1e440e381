"""Blame: whom a party names that has waited too long, from what it sees of the others; no IO, no clock.

A party that is late may itself wait for a third one. Each says so by pulses, so we follow "waits for" from
those who are late to us to the end. Who is alive there and waits for nobody is slow; from whom nothing comes
is silent; whose connection ended is gone. Rounds go one way: who waits for a party is never ahead of it, so
honest parties wait in no circle, and none waits for one that has sent it everything. A circle, or a party
that does not hear another which we do hear, is therefore a lie of one of them or a fault of their link: both
are named, since nobody else can know. Every party follows the same chain, so they name the same end, whoever
reports first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from privcompute.net.pulse import PULSE_S, Pulse

SILENT_S = 5 * PULSE_S
"""A party of which nothing has come for so long is not heard."""


class Cause(IntEnum):
    """Why a job does not go on; what is surer stands first."""

    GONE = 1
    """The party's connection ended."""
    CUT_OFF = 2
    """Nothing comes from any other party: the network of the one named is the likeliest to have failed."""
    SILENT = 3
    """Nothing comes from the party, to nobody."""
    SLOW = 4
    """The party is alive, waits for nobody, and does not get on."""
    DENIES = 5
    """The party says that it waits for us, who have sent it all that we owe."""
    LINK = 6
    """One of two does not hear the other, whom others hear."""
    CIRCLE = 7
    """The parties say that they wait for one another."""


@dataclass(frozen=True, slots=True, order=True)
class Suspicion:
    """Why the job stands still, and whose doing it is: of several parties, one at least."""

    cause: Cause
    parties: tuple[int, ...]
    step: int = 0
    """The step of a slow party: when it has done a further one, that is another suspicion."""


@dataclass(frozen=True, slots=True)
class Witness:
    """What we see of another party."""

    pulse: Pulse
    """The last that it said."""
    silence_s: float
    """How long nothing has come from it."""
    gone: bool = False
    inside_frame: bool = False
    """Part of a frame for us has come: it waits for nobody else, whatever it says."""

    @property
    def heard(self) -> bool:
        """Something came lately."""
        return not self.gone and self.silence_s < SILENT_S


def accuse(me: int, late: Iterable[int], seen: Mapping[int, Witness]) -> frozenset[Suspicion]:
    """Return who keeps us waiting: the ends of every chain that begins with a party that is `late` to us."""
    found: set[Suspicion] = set()
    visited: set[int] = set()

    def follow(party: int, path: tuple[int, ...]) -> None:
        if party in path:
            circle = path[path.index(party) :]
            found.add(Suspicion(Cause.CIRCLE, tuple(sorted(circle))))
        elif party not in visited:
            visited.add(party)
            ends, further = _look_at(me, party, seen)
            found.update(ends)
            for other in sorted(further):
                follow(other, (*path, party))

    for party in sorted(late):
        follow(party, ())
    return frozenset(found)


def _look_at(me: int, party: int, seen: Mapping[int, Witness]) -> tuple[set[Suspicion], frozenset[int]]:
    """Return whom this party's state accuses, and for whom it waits in its turn."""
    it = seen[party]
    names = it.pulse.waits - {me, party}
    if it.pulse.stops and names:
        link = {Suspicion(Cause.LINK, tuple(sorted(it.pulse.waits)))} if party in it.pulse.waits else set()
        return link, frozenset() if link else names
    if it.pulse.stops or it.gone:
        return {Suspicion(Cause.GONE, (party,))}, frozenset()
    if not it.heard:
        return {_unheard(me, party, seen)}, frozenset()
    if it.inside_frame or not it.pulse.waits:
        return {Suspicion(Cause.SLOW, (party,), it.pulse.step)}, frozenset()
    unheard = {other for other in names - it.pulse.hears if seen[other].heard}
    ends = {Suspicion(Cause.LINK, tuple(sorted((party, other)))) for other in unheard}
    if me in it.pulse.waits:
        ends.add(Suspicion(Cause.DENIES, (party,)))
    return ends, names - unheard


def _unheard(me: int, party: int, seen: Mapping[int, Witness]) -> Suspicion:
    """Judge a party that we do not hear by what the others say of it."""
    others = [it for other, it in seen.items() if other != party]
    if others and not any(it.heard for it in others) and not any(it.gone for it in others):
        return Suspicion(Cause.CUT_OFF, (me,))
    if any(it.heard and party in it.pulse.hears for it in others):
        return Suspicion(Cause.LINK, tuple(sorted((me, party))))
    return Suspicion(Cause.SILENT, (party,))


class Inquest:
    """How long each suspicion has stood without a break, in one wait of ours."""

    def __init__(self) -> None:
        self._since: dict[Suspicion, float] = {}

    def forget(self) -> None:
        """Begin anew: what stood before shows nothing, since we ourselves stood still."""
        self._since.clear()

    def standing(self, suspicions: frozenset[Suspicion], now: float, patience_s: float) -> list[Suspicion]:
        """Return those that have stood for so long, of the surest cause alone; GONE needs no time."""
        self._since = {one: self._since.get(one, now - _earlier_s(one)) for one in suspicions}
        ripe = [
            one for one, since in self._since.items() if one.cause is Cause.GONE or now - since >= patience_s
        ]
        surest = min((one.cause for one in ripe), default=None)
        return sorted(one for one in ripe if one.cause is surest)


def _earlier_s(suspicion: Suspicion) -> float:
    """Who is silent has been so for a while when it shows."""
    return SILENT_S if suspicion.cause in (Cause.SILENT, Cause.CUT_OFF) else 0.0
