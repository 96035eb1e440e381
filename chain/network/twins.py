"""Keys that two processes use at once: as their connections show it, and as others say it of ours; no IO."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

TWIN_S = 600.0
"""So long a key counts as used twice after the last sign of it: longer than any ban keeps signs away."""
SESSIONS_MAX = 4
"""Processes of one key that are remembered, the latest."""
WORD_CHARS_MAX = 300


@dataclass(slots=True)
class _Process:
    """What is known of one process of a key."""

    endpoint: str
    first: float
    """When it was first admitted."""
    last: float


class Twins:
    """Which members' keys run in two processes; times are seconds of the loop.

    A process greets with a session of its own. One that connects after another was admitted, and had been
    admitted before that one, lived before and after it: a restart never looks like that.
    """

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._processes: dict[bytes, dict[bytes, _Process]] = {}
        self._seen: dict[bytes, tuple[float, str]] = {}
        self._said: dict[bytes, tuple[float, str]] = {}

    def forget_others(self, members: Collection[bytes]) -> None:
        """Forget every key that is no member's any more."""
        self._processes = {key: found for key, found in self._processes.items() if key in members}
        self._seen = {key: found for key, found in self._seen.items() if key in members}
        self._said = {key: found for key, found in self._said.items() if key in members}

    def greeted(self, key: bytes, session: bytes, endpoint: str, opened_at: float, now: float) -> None:
        """Note a process of a member that is admitted: where it is, and when its connection began."""
        known = self._processes.setdefault(key, {})
        found = known.setdefault(session, _Process(endpoint, now, now))
        between = [each for each in known.values() if found.last < each.first <= opened_at]
        found.endpoint, found.last = endpoint, now
        if between:
            endpoints = sorted({endpoint, *[each.endpoint for each in between]})
            self._seen[key] = (now, " and ".join(endpoints))
        elif self.of(key, now):
            self._seen[key] = (now, self._seen[key][1])
        while len(known) > SESSIONS_MAX:
            del known[min(known, key=lambda each: known[each].last)]

    def of(self, key: bytes, now: float) -> str:
        """Return where the processes of a member's key are; empty while it is not known to run twice."""
        at, endpoints = self._seen.get(key, (0.0, ""))
        return endpoints if endpoints and now - at <= TWIN_S else ""

    def told(self, peer: bytes, words: str, now: float) -> None:
        """Note that a member says that our own key runs twice, and where."""
        self._said[peer] = (now, words[:WORD_CHARS_MAX])

    def of_own(self, now: float) -> dict[bytes, str]:
        """Return who says that our own key runs twice, and where."""
        return {peer: words for peer, (at, words) in self._said.items() if now - at <= TWIN_S}
