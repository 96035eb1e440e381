"""Account of what a client of the RPC port took of the event loop, of turns, connections and pages; no clock.

What an account says of the future changes only when something is taken, so it is reckoned then: whoever
looks for the next turn among hundreds of clients compares numbers.
"""

from __future__ import annotations

from math import exp, inf, log

DEBT_MAX_S, PAUSE_S = 0.010, 0.002
"""So much may be spent above the share before a pause, and so long is one: timers are in milliseconds."""
USED_S, LIGHT_S, FORGET_S = 2.0, 0.010, 0.000_1
"""What a client took lately while others waited is reckoned over about two seconds; so little of it is light
however many clients there are, or nothing."""


class Bucket:
    """Token bucket: it refills at a rate a second, holds one second's worth, and owes at most as much."""

    __slots__ = ("_filled", "_left", "_rate")

    def __init__(self, per_second: float, now: float) -> None:
        self._left = self._rate = max(1.0, per_second)
        self._filled = now

    def take(self, now: float, price: float = 1.0) -> None:
        """Take `price` tokens, even if fewer are left."""
        self._left = max(-self._rate, self.left(now) - price)
        self._filled = now

    def left(self, now: float) -> float:
        """Return how many tokens are left; below 0 when more were taken than there were."""
        return min(self._rate, self._left + (now - self._filled) * self._rate)

    def wait(self, now: float, credit_s: float = 0.0) -> float:
        """Return the seconds until one token is left, `credit_s` sooner on credit; 0 or less when one is."""
        return (1 - self.left(now)) / self._rate - credit_s

    def until_half(self, now: float) -> float:
        """Return the seconds until half of the bucket is full; 0 or less when it is."""
        return 0.5 - self.left(now) / self._rate

    def is_full(self, now: float) -> bool:
        """Tell whether the bucket is full again."""
        return self.left(now) >= self._rate


class ShareAccount:
    """Account of what was taken of a share of the loop's time, and of turns, and is not made up for yet."""

    __slots__ = ("_debt", "_debt_max", "_half_at", "_price", "_reckoned", "_turns", "free_at", "order")

    def __init__(self, share: float, turns: float, debt_max: float, now: float) -> None:
        """A part of the loop's time, turns a second; more than `debt_max` seconds are never owed."""
        self._debt, self._price, self._debt_max, self._reckoned = 0.0, 1 / share - 1, debt_max, now
        self._turns = Bucket(turns, now)
        self.free_at = self._half_at = now
        """From when on there is a turn, and from when on half of a second's turns are left."""
        self.order = -inf
        """Grows with what was used lately while others waited; compared with that of others at any time."""

    def spent(self, seconds: float, now: float, *, wanted: bool = True) -> None:
        """Add seconds of the loop that just passed; `wanted` tells whether anybody else waited for them.

        What nobody else wanted is owed as ever, but does not put anybody behind those who come later.
        """
        others = max(0.0, now - self._reckoned - seconds)
        debt = max(0.0, self._debt - others) + seconds * self._price
        self._debt, self._reckoned = min(debt, self._debt_max), now
        used = self.used(now) + seconds if wanted else 0.0
        if used > 0:
            self.order = log(used) + now / USED_S
        self._reckon(now)

    def set_share(self, share: float) -> None:
        """Set which part of the loop's time (0 to 1) the account has from now on."""
        self._price = 1 / share - 1

    def count(self, now: float) -> None:
        """Take one turn from the bucket of turns."""
        self._turns.take(now)
        self._reckon(now)

    def _reckon(self, now: float) -> None:
        self.free_at = now + self.pause(now)
        self._half_at = now + self._turns.until_half(now)

    def is_light(self, now: float, most: float) -> bool:
        """Tell whether no more than so many seconds were used lately, and no more than half of the turns."""
        return self._half_at <= now and self.order - now / USED_S <= log(most)

    def debt(self, now: float) -> float:
        """Return the seconds for which others must have the loop until nothing is owed."""
        return max(0.0, self._debt - (now - self._reckoned))

    def pause(self, now: float, credit: float = 1.0, credit_s: float = 0.0) -> float:
        """Return the seconds until there is a turn; 0 or less when there is one.

        With a credit so many times as much may be owed, and the turns of so many seconds to come.
        """
        debt, most = self.debt(now), credit * DEBT_MAX_S
        rest = debt - most + PAUSE_S if debt > most else 0.0
        return max(rest, self._turns.wait(now, credit_s))

    def used(self, now: float) -> float:
        """Return the seconds spent lately while others waited; those of `USED_S` ago count a third."""
        return exp(self.order - now / USED_S)

    def owes_nothing(self, now: float) -> bool:
        """Tell whether nothing is owed."""
        return self.debt(now) <= 0 and self.used(now) < FORGET_S and self._turns.is_full(now)


class ClientAccount(ShareAccount):
    """Account of one client, which also counts what takes no turn: its connections and pages."""

    __slots__ = ("connections", "pages", "silent")

    def __init__(
        self,
        share: float,
        turns: float,
        debt_max: float,
        now: float,
        *,
        connections: float,
        silent: float,
        pages: float,
    ) -> None:
        """As for an account, and how many of each it may have a second."""
        super().__init__(share, turns, debt_max, now)
        self.connections, self.silent = Bucket(connections, now), Bucket(silent, now)
        self.pages = Bucket(pages, now)

    def owes_nothing(self, now: float) -> bool:
        """Tell whether nothing is owed."""
        buckets = (self.connections, self.silent, self.pages)
        return super().owes_nothing(now) and all(bucket.is_full(now) for bucket in buckets)
