"""How long a member is refused after an offence: longer each time, within bounds; seconds, no clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

FIRST_S = 10.0
LONGEST_S = 300.0
"""Bounded: should this node have been wrong, or the member have been mended, they find together again."""
FORGET_S = 600.0
"""So long without an offence, after the last ban ended, and the next one counts as the first."""


@dataclass(frozen=True, slots=True)
class Ban:
    """The latest of a key."""

    reason: str
    began: float
    until: float
    count: int
    """How many there were without FORGET_S of peace between them."""


class Bans:
    """The bans of members by key; they outlive connections, not the process."""

    def __init__(self) -> None:
        """Begin with none."""
        self._bans: dict[bytes, Ban] = {}

    def add(self, key: bytes, reason: str, now: float) -> Ban:
        """Refuse a key from now on; what it does while it is refused prolongs nothing."""
        last = self.recent(key, now)
        if last is not None and now < last.until:
            return last
        count = 1 if last is None else last.count + 1
        length = min(LONGEST_S, FIRST_S * 2 ** min(count - 1, 16))
        self._bans[key] = made = Ban(reason, now, now + length, count)
        return made

    def left(self, key: bytes, now: float) -> float:
        """Return for how many more seconds a key is refused."""
        ban = self._bans.get(key)
        return 0.0 if ban is None else max(0.0, ban.until - now)

    def recent(self, key: bytes, now: float) -> Ban | None:
        """Return the latest ban of a key, unless it is forgotten."""
        ban = self._bans.get(key)
        return None if ban is None or now - ban.until > FORGET_S else ban

    def forget_others(self, members: Collection[bytes]) -> None:
        """Forget the keys that are no members any more."""
        self._bans = {key: ban for key, ban in self._bans.items() if key in members}
