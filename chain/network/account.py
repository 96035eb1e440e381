"""What a member costs this node: frames and time in, verdicts out; no clock and no socket.

One account a key, not a connection. A kind of frame has a share of each second and a burst (`prices`). What
goes beyond is not handled: a request waits for its turn, anything else is dropped unread, and the protocol
repeats what matters. What goes far beyond, or on for seconds, is an offence: whoever keeps the account closes
the connection. Answers are charged to the request, so a small question with a large answer is dear.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from chain.network.frame import Kind
from chain.network.prices import ALL, CONNECTION, USELESS, Price
from chain.primitives.codec import tag_in_front

WAITING_MAX = 16
"""Requests of a member that wait for their turn; an honest one has six under way, and six given up."""
DEBT_MAX = 3
"""Times the burst: what was spent beyond that is forgiven."""
PAUSE_MAX_S = 1.0
"""A link is not read for at most so long at a time."""
NEWS_S = 60.0
"""How long the status tells of frames that were not handled."""
Request = tuple[str, Kind, bytes]
"""Name of the price, kind and body."""


class Moment(NamedTuple):
    """When something happens; none of the three ever goes back."""

    now: float
    """Seconds of the clock."""
    worked: float
    """Seconds of work that this thread could have done (`chain.primitives.pace`): shares are its parts."""
    height: int
    """The certified height."""


class FrameVerdict(Enum):
    """What to do with a frame."""

    HANDLE = 1
    WAIT = 2
    """It is kept, and comes out of `due` when its turn has come."""
    DROP = 3


class _Level:
    """What was spent under one price: of its share (`owed`), and of the patience with more (`pressed`)."""

    __slots__ = ("_last", "owed", "pressed", "price")

    def __init__(self, price: Price, when: Moment) -> None:
        self.price, self._last = price, when
        self.owed = self.pressed = 0.0

    def pass_time(self, when: Moment) -> None:
        """Refill the share by what passed since the last call; patience goes by the clock of others."""
        price, last = self.price, self._last
        self._last = when
        progress = price.height_ms * max(0, when.height - last.height)
        self.owed = max(0.0, self.owed - price.share_ms * (when.worked - last.worked) - progress)
        tolerated = price.patience * (price.share_ms * (when.now - last.now) + progress)
        self.pressed = max(0.0, self.pressed - tolerated)

    def owe(self, ms: float) -> None:
        """Spend, but never so much that the kind is not heard for long after."""
        self.owed = min(self.owed + ms, DEBT_MAX * self.price.burst_ms)

    @property
    def full(self) -> bool:
        return self.owed >= self.price.burst_ms

    @property
    def intolerable(self) -> bool:
        return self.pressed > self.price.burst_ms * self.price.patience


class PeerAccount:
    """The account of one key."""

    def __init__(self, prices: Mapping[str, Price], when: Moment) -> None:
        """Begin with nothing spent."""
        self._levels = {name: _Level(price, when) for name, price in prices.items()}
        self._waiting: deque[Request] = deque()
        self._dropped: dict[str, tuple[float, int]] = {}
        """Name -> (when frames were dropped last, how many in a row of at most NEWS_S)."""
        self.spent_s: dict[str, float] = {}
        """Processor seconds that its frames took, by name."""
        self.dropped: Counter[str] = Counter()
        """Frames of it that were not handled, by name."""
        self.offence = ""
        """Why its connection must end: what went too far, and the amount; empty while nothing did."""

    def name(self, kind: Kind, body: bytes) -> str:
        """Return what a frame is charged as: consensus messages by their tags, before they are decoded."""
        tag = tag_in_front(body) if kind is Kind.CONSENSUS else ""
        return tag if tag in self._levels else kind.name

    def take(self, name: str, kind: Kind, body: bytes, when: Moment) -> FrameVerdict:
        """Judge a frame; after anything but HANDLE, see `offence`."""
        level = self._levels.get(name)
        if level is None:
            return FrameVerdict.HANDLE
        level.pass_time(when)
        self._levels[ALL].pass_time(when)
        price = level.price.of(len(body))
        if not self._is_full(level) and not (level.price.waits and self._waiting):
            verdict = FrameVerdict.HANDLE
            self._owe(level, price)
        elif level.price.waits and len(self._waiting) < WAITING_MAX:
            verdict = FrameVerdict.WAIT
            self._waiting.append((name, kind, body))
        else:
            verdict = FrameVerdict.DROP
            self.dropped[name] += 1
            since, count = self._dropped.get(name, (when.now, 0))
            self._dropped[name] = (when.now, 1 if when.now - since > NEWS_S else count + 1)
        self._press(name, price)
        return verdict

    @property
    def waits(self) -> bool:
        """Tell whether requests wait for their turn."""
        return bool(self._waiting)

    def due(self, when: Moment) -> Request | None:
        """Return the next request whose turn has come, if any."""
        if not self._waiting:
            return None
        level = self._levels[self._waiting[0][0]]
        level.pass_time(when)
        self._levels[ALL].pass_time(when)
        if self._is_full(level):
            return None
        request = self._waiting.popleft()
        self._owe(level, level.price.of(len(request[2])))
        return request

    def forget_requests(self) -> None:
        """Drop what waits: nobody is there any more to take the answers."""
        self._waiting.clear()

    def charge(self, name: str, ms: float, *, blamed: bool) -> None:
        """Add to what was spent under a price; `blamed` when no honest member causes it."""
        level = self._levels.get(name)
        if level is not None:
            self._owe(level, ms)
            if blamed:
                self._press(name, ms)

    def spent(self, name: str, size: int, seconds: float, when: Moment, *, useful: bool) -> float:
        """Note what handling a frame of a size took; return for how many seconds to read no further.

        What a frame took beyond its price is charged, too, unless it may be the price of progress.
        """
        self.spent_s[name] = self.spent_s.get(name, 0.0) + seconds
        level = self._levels.get(name)
        if level is not None and level.price.measured:
            self._owe(level, max(0.0, seconds * 1_000 - level.price.of(size)))
        if useful:
            return 0.0
        level = self._levels[USELESS]
        level.pass_time(when)
        self.charge(USELESS, seconds * 1_000, blamed=True)
        beyond = level.owed - level.price.burst_ms
        return min(PAUSE_MAX_S, beyond / level.price.share_ms) if beyond > 0 else 0.0

    def pardon(self) -> None:
        """Forget an offence: it was punished."""
        self.offence = ""
        for level in self._levels.values():
            level.pressed = 0.0

    def news(self, now: float) -> str:
        """Return what was not handled lately, for operators; empty when nothing was."""
        lately = [(name, count) for name, (at, count) in self._dropped.items() if now - at <= NEWS_S]
        if not lately:
            return ""
        told = ", ".join(f"{count} {name}" for name, count in lately)
        return f"sends more than its share; not handled lately: {told}"

    # --- inside -------------------------------------------------------------------------------

    def _is_full(self, level: _Level) -> bool:
        return level.full or (not level.price.height_ms and self._levels[ALL].full)

    def _owe(self, level: _Level, ms: float) -> None:
        level.owe(ms)
        if not level.price.height_ms:
            self._levels[ALL].owe(ms)

    def _press(self, name: str, ms: float) -> None:
        level, everything = self._levels[name], self._levels[ALL]
        level.pressed += ms
        if not level.price.height_ms:
            everything.pressed += ms
        for which, found in ((name, level), (ALL, everything)):
            if found.intolerable and not self.offence:
                self.offence = self._describe(which, found)

    def _describe(self, name: str, level: _Level) -> str:
        price = level.price
        what = _WORDS.get(name, f"{name} frames worth")
        told = f"{what} {level.pressed:.0f} ms of this node's time, beyond {price.share_ms:.0f} ms a second"
        dropped = self._dropped.get(name, (0.0, 0))[1]
        return f"too much: {told}" + (f"; {dropped} of them were not handled" if dropped else "")


_WORDS = {
    USELESS: "frames that brought nothing and took",
    ALL: "frames of all kinds worth",
    CONNECTION: "connections worth",
}
