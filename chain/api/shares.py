"""Something bounded that clients share: newcomers are served, and what only waits is given up, oldest first.

No input or output and no clock. A *client* is a text: today where a connection comes from (`client_of`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any

LOOPBACK = "loopback"
"""The one client that everything on this machine is: whoever sends from 127.0.0.1 also has 127.0.0.2."""
NETWORK_BITS_V6 = 64
"""Who has one IPv6 address has all of its network."""

CALLER: ContextVar[str] = ContextVar("caller", default=LOOPBACK)
"""The client whose request is being answered."""


def client_of(peername: Any) -> str:
    """Return the client that a socket's peer name belongs to: an IPv4 address, or an IPv6 network."""
    try:
        address = ipaddress.ip_address(str(peername[0]).partition("%")[0])
    except (TypeError, IndexError, ValueError):
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return LOOPBACK
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, NETWORK_BITS_V6), strict=False))


@dataclass(slots=True, eq=False)
class Holding:
    """What one connection, answer or wait has of something shared."""

    client: str
    give_up: Callable[[], None]
    """Called when it must go for others; what it has is free at once."""
    rank: int | None = 0
    """Lower ranks go first; None: it is being worked on, and stays."""
    amount: int = 0
    since: int = field(default=0)


class Shares:
    """So much of something for all, and at most a part of it for one client."""

    def __init__(self, most: int, per_client: int, kept: int = 0) -> None:
        """`kept`: so many holdings of a rank stay as long as there are more of another: no kind starves."""
        self.most, self.per_client, self.kept = most, min(per_client, most), kept
        self.total = 0
        self.given_up = 0
        """Holdings that had to go for others so far."""
        self._by_client: dict[str, dict[Holding, None]] = {}
        self._amounts: dict[str, int] = {}
        self._order = count(1)

    def take(self, holding: Holding, amount: int) -> bool:
        """Add to what a holding has; False when there is no room even without all that may be given up.

        A client beyond its own part gives up its own holdings; else the client that has most gives up.
        """
        if amount == 0:
            return True
        client = holding.client
        while self._amounts.get(client, 0) + amount > self.per_client:
            if not self._give_up(client, holding):
                return False
        while self.total + amount > self.most:
            if not any(self._give_up(name, holding) for name in self._largest_first()):
                return False
        if holding.amount == 0:
            holding.since = next(self._order)
            self._by_client.setdefault(client, {})[holding] = None
        holding.amount += amount
        self._add(client, amount)
        return True

    def give_back(self, holding: Holding, amount: int | None = None) -> None:
        """Free a part of what a holding has, or all of it; more than it has is all."""
        part = holding.amount if amount is None else min(amount, holding.amount)
        if part == 0:
            return
        holding.amount -= part
        self._add(holding.client, -part)
        if holding.amount == 0:
            of_client = self._by_client[holding.client]
            del of_client[holding]
            if not of_client:
                del self._by_client[holding.client], self._amounts[holding.client]

    def renew(self, holding: Holding, rank: int | None) -> None:
        """Give a holding another rank and make it the youngest."""
        holding.rank, holding.since = rank, next(self._order)

    def largest(self) -> str:
        """Return the client that has most; "" when nobody has anything."""
        return max(self._amounts, key=self._amounts.__getitem__, default="")

    def _largest_first(self) -> list[str]:
        return sorted(self._amounts, key=self._amounts.__getitem__, reverse=True)

    def _add(self, client: str, amount: int) -> None:
        self.total += amount
        self._amounts[client] = self._amounts.get(client, 0) + amount

    def _give_up(self, client: str, but: Holding) -> bool:
        """Give up the oldest holding of a client's lowest rank; False when it has none that may go."""
        oldest: dict[int, Holding] = {}
        counts: dict[int, int] = {}
        for found in self._by_client.get(client, ()):
            rank = found.rank
            if rank is None or found is but:
                continue
            counts[rank] = counts.get(rank, 0) + 1
            if rank not in oldest or found.since < oldest[rank].since:
                oldest[rank] = found
        if not counts:
            return False
        crowded = [rank for rank, number in counts.items() if number > self.kept]
        victim = oldest[min(crowded) if crowded else max(counts, key=counts.__getitem__)]
        self.given_up += 1
        self.give_back(victim)
        victim.give_up()
        return True
