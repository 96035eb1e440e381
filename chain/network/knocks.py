"""Connections that are no links yet: who has the next handshake, and who gives way; no IO, no clock.

There are two lanes, for networks where members are at home and for all others, each with slots of its own. A
slot that is wanted is taken from the network which has most, and among equals by chance: nobody can push a
given connection out for certain by coming often enough, as he could if the oldest went. Turns go to the
lanes alternately, and in a lane to networks by chance: every other one to those that had no handshake yet.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

from chain.network.spent import Spent

WAITING_MAX = 64
"""Connections of a lane whose handshake has not begun: a whole consortium that starts at once."""
SHAKING_MAX = 64
"""Handshakes under way in a lane: at 64 a second each has a second, however many come."""
HANDSHAKE_LEAST_S = 1.0
"""What a handshake may take before another takes its slot, but of a network that has more of them."""
FRESH_TURNS = 0.5
"""The part of turns that is for networks which had none. Not all: a member whose handshake failed once must
not wait until a crowd of new addresses has an end."""


@dataclass(eq=False, slots=True)
class Knock:
    """One connection that is no link yet."""

    network: str
    since: float
    """When it came, or when its handshake began; seconds."""


K = TypeVar("K", bound=Knock)


class HandshakeStart(NamedTuple, Generic[K]):
    """A handshake that begins, and the one that ends for it."""

    knock: K
    instead_of: K | None


class HandshakeQueue(Generic[K]):
    """One kind of networks."""

    def __init__(self, source: random.Random) -> None:
        """Begin empty; `source` is the chance by which equals are told apart."""
        self._random, self._spent = source, Spent()
        self.silent: dict[K, None] = {}
        self.ready: dict[K, None] = {}
        """Their first bytes are here."""
        self.shaking: dict[K, None] = {}
        """Their handshakes are under way, the oldest first."""

    def __iter__(self) -> Iterator[K]:
        return chain(self.silent, self.ready, self.shaking)

    def __len__(self) -> int:
        return len(self.silent) + len(self.ready) + len(self.shaking)

    def __contains__(self, knock: object) -> bool:
        return knock in self.silent or knock in self.ready or knock in self.shaking

    def come(self, knock: K) -> K | None:
        """Take a connection in; return the one that gives way to it, which may be itself."""
        self.silent[knock] = None
        if len(self.silent) + len(self.ready) <= WAITING_MAX:
            return None
        gone = self._of_most([*self.silent, *self.ready], but=knock)
        self.leave(gone)
        return gone

    def speak(self, knock: K) -> None:
        """Note that its first bytes are here: it wants a handshake."""
        del self.silent[knock]
        self.ready[knock] = None

    def leave(self, knock: K) -> None:
        """Forget a connection, in whatever state, if it is here."""
        for state in (self.silent, self.ready, self.shaking):
            state.pop(knock, None)

    def begin(self, now: float) -> HandshakeStart[K] | None:
        """Begin a handshake; None when nobody wants one, or there is no slot for it yet."""
        if not self.ready:
            return None
        network = self._next_network()
        knock = self._random.choice([knock for knock in self.ready if knock.network == network])
        gone = None
        if len(self.shaking) >= SHAKING_MAX:
            gone = self._overdue(network, now)
            if gone is None:
                return None
            del self.shaking[gone]
        del self.ready[knock]
        self._spent.count(network)
        knock.since = now
        self.shaking[knock] = None
        return HandshakeStart(knock, gone)

    def _next_network(self) -> str:
        networks = list(dict.fromkeys([knock.network for knock in self.ready]))
        fresh = [name for name in networks if name not in self._spent]
        return self._random.choice(fresh if fresh and self._random.random() < FRESH_TURNS else networks)

    def _of_most(self, waiting: Sequence[K], but: K) -> K:
        """Choose one of the network that has most slots, in whatever state.

        A newcomer goes only when its network has the most and nothing else that waits.
        """
        counts = Counter(knock.network for knock in self)
        most = max(counts[knock.network] for knock in waiting)
        found = [knock for knock in waiting if counts[knock.network] == most and knock is not but]
        return self._random.choice(found or [but])

    def _overdue(self, network: str, now: float) -> K | None:
        """Return the handshake that ends for one of a network; None when all have begun just now."""
        counts = Counter(knock.network for knock in self.shaking)
        crowd, most = counts.most_common(1)[0]
        if most > max(1, counts[network]):
            return _oldest(self.shaking, crowd)
        oldest = next(iter(self.shaking))
        return oldest if now - oldest.since >= HANDSHAKE_LEAST_S else None


class Knocks(Generic[K]):
    """Both lanes."""

    def __init__(self, source: random.Random) -> None:
        """Begin empty; `source` as for a lane."""
        self.known, self.others = HandshakeQueue[K](source), HandshakeQueue[K](source)
        self._known_is_next = True

    def __iter__(self) -> Iterator[K]:
        return chain(self.known, self.others)

    def __len__(self) -> int:
        return len(self.known) + len(self.others)

    @property
    def silent(self) -> Iterator[K]:
        """Return those that have said nothing."""
        return chain(self.known.silent, self.others.silent)

    @property
    def someone_is_ready(self) -> bool:
        """Tell whether anybody wants a handshake."""
        return bool(self.known.ready or self.others.ready)

    def come(self, knock: K, *, known: bool) -> K | None:
        """Take a connection in, in its lane; return the one that gives way to it, which may be itself."""
        return (self.known if known else self.others).come(knock)

    def speak(self, knock: K) -> None:
        """Note that its first bytes are here."""
        (self.known if knock in self.known.silent else self.others).speak(knock)

    def leave(self, knock: K) -> None:
        """Forget a connection, if it is here."""
        self.known.leave(knock)
        self.others.leave(knock)

    def begin(self, now: float) -> HandshakeStart[K] | None:
        """Begin a handshake: of the lane that did not have the last turn, if anybody there may."""
        lanes = (self.known, self.others) if self._known_is_next else (self.others, self.known)
        for lane in lanes:
            begun = lane.begin(now)
            if begun is not None:
                self._known_is_next = lane is self.others
                return begun
        return None


def _oldest(shaking: Iterable[K], network: str) -> K:
    return next(knock for knock in shaking if knock.network == network)
