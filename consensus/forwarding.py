"""Forwarding (PBFT, 4.1): when a backup sends what it waits for to the primary, which owes it from then on.

A transaction that waits here need not be known to the primary: a liar can show it to the backups alone. So a
backup that sees no proposal forwards what has waited longest (Castro and Liskov, OSDI 1999, section 4.1: "the
backup relays the request to the primary"), and what is measured of the primary begins then, or with its
proposal. In calm the primary has what waits, and its proposal is here before anything is forwarded.

The first time it goes to the primary, and then to everybody: the link to the primary may be dead, and a
silent primary is replaced only where others wait for the same.
"""

from __future__ import annotations

from consensus.settings import Timing

SHARE = 32
"""The first time comes after the timeout divided by this: late enough for a proposal to come, early enough to
leave the primary nearly all of its time. Each later one doubles what has passed: five before a timeout."""


class Forwarding:
    """When to forward during one wait for a proposal; all times in ms."""

    def __init__(self, timing: Timing) -> None:
        """Wait for nothing yet."""
        self._first = max(1, timing.timeout_ms // SHARE)
        self._begun = 0
        self.due = self._first
        """When to forward (again)."""
        self.offered = False
        """Whether it was forwarded: from then on the primary has no excuse."""

    def begin(self, now: int) -> None:
        """Begin to wait for another height, or for the same height of another primary."""
        self._begun, self.due, self.offered = now, now + self._first, False

    def done(self, now: int) -> None:
        """Note that what waits was forwarded."""
        self.due, self.offered = now + max(self._first, now - self._begun), True
