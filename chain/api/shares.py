"""Shares of something bounded, as connections or memory: newcomers are served, what only waits gives way.

No input or output and no clock. A *client* is a text: a principal, or where nobody has said who asks the
network that a connection comes from (`chain.primitives.networks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf

CALLER: ContextVar[str] = ContextVar("caller", default="")
"""The client whose request is being answered."""


@dataclass(slots=True, eq=False)
class Holding:
    """A holding: what one connection, answer or wait has of something shared."""

    client: str
    give_up: Callable[[], None]
    """Called when it must go for others; what it has is free at once."""
    rank: int | None = 0
    """Lower ranks go first; None stays. `Shares.renew` changes it."""
    amount: int = 0


class _Held:
    """What one client has, by rank; of a rank the oldest first."""

    __slots__ = ("amount", "lowest", "ranks")

    def __init__(self) -> None:
        self.amount = 0
        self.ranks: dict[int | None, dict[Holding, None]] = {}
        self.lowest = inf
        """Of the ranks that may go."""

    def add(self, holding: Holding) -> None:
        self.ranks.setdefault(holding.rank, {})[holding] = None
        if holding.rank is not None and holding.rank < self.lowest:
            self.lowest = holding.rank

    def remove(self, holding: Holding) -> None:
        of_rank = self.ranks[holding.rank]
        del of_rank[holding]
        if not of_rank:
            del self.ranks[holding.rank]
            self.lowest = min((rank for rank in self.ranks if rank is not None), default=inf)

    def victim(self, but: Holding, kept: int) -> Holding | None:
        """Return the oldest of the lowest rank that has more than `kept`, else of that which has most."""
        counts = {rank: len(found) for rank, found in self.ranks.items() if rank is not None}
        while counts:
            crowded = [rank for rank, number in counts.items() if number > kept]
            rank = min(crowded) if crowded else max(counts, key=counts.__getitem__)
            victim = next((found for found in self.ranks[rank] if found is not but), None)
            if victim is not None:
                return victim
            del counts[rank]
        return None


class Shares:
    """Bounded amount of something for all clients, of which one client may have at most a part."""

    def __init__(self, most: int, per_client: int, kept: int = 0) -> None:
        """`kept`: so many holdings of a rank stay as long as there are more of another: no kind starves."""
        self.most, self.per_client, self.kept = most, min(per_client, most), kept
        self.total = 0
        self._clients: dict[str, _Held] = {}

    def take(self, holding: Holding, amount: int) -> bool:
        """Add to a holding; return False when there is no room even without all that may be given up.

        A client beyond its own part gives up its own holdings; else the client that has most gives up, of
        those that have equally much the one with the lowest rank.
        """
        if amount == 0:
            return True
        client = holding.client
        while self._of(client) + amount > self.per_client:
            if not self._give_up(client, holding):
                return False
        while self.total + amount > self.most:
            if not any(self._give_up(name, holding) for name in self._largest_first()):
                return False
        held = self._clients.setdefault(client, _Held())
        if holding.amount == 0:
            held.add(holding)
        holding.amount += amount
        held.amount += amount
        self.total += amount
        return True

    def give_back(self, holding: Holding, amount: int | None = None) -> None:
        """Free a part of what a holding has, or all of it; more than it has is all."""
        part = holding.amount if amount is None else min(amount, holding.amount)
        if part == 0:
            return
        held = self._clients[holding.client]
        holding.amount -= part
        held.amount -= part
        self.total -= part
        if holding.amount == 0:
            held.remove(holding)
            if not held.ranks:
                del self._clients[holding.client]

    def move(self, holding: Holding, client: str) -> bool:
        """Let a holding be another client's; return False, and free it, when that one has no room for it."""
        amount = holding.amount
        self.give_back(holding)
        holding.client = client
        return self.take(holding, amount)

    def renew(self, holding: Holding, rank: int | None) -> None:
        """Give a holding a rank, as the youngest of that rank."""
        if holding.amount:
            held = self._clients[holding.client]
            held.remove(holding)
            holding.rank = rank
            held.add(holding)
        holding.rank = rank

    def largest(self) -> str:
        """Return the client that has most; "" when nobody has anything."""
        return max(self._clients, key=self._of, default="")

    def _of(self, client: str) -> int:
        held = self._clients.get(client)
        return 0 if held is None else held.amount

    def _largest_first(self) -> Iterator[str]:
        """Yield who has most; the others in order only if they are asked for, which is rare."""
        first = min(self._clients, key=self._order, default=None)
        if first is not None:
            yield first
            yield from sorted(self._clients.keys() - {first}, key=self._order)

    def _order(self, client: str) -> tuple[int, float]:
        held = self._clients[client]
        return -held.amount, held.lowest

    def _give_up(self, client: str, but: Holding) -> bool:
        """Give up one holding of a client; False when it has none that may go."""
        held = self._clients.get(client)
        victim = None if held is None else held.victim(but, self.kept)
        if victim is None:
            return False
        self.give_back(victim)
        victim.give_up()
        return True
