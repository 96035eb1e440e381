"""What the members cost and what they were refused for, by key: connections come and go, this stays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from chain.network.account import FrameVerdict, Moment, PeerAccount, Request
from chain.network.bans import Ban, Bans
from chain.network.frame import Kind
from chain.network.prices import ANSWER_KIB_MS, CONNECTION, Price
from chain.primitives.pace import Pace, Times

_NONE: Mapping[str, float] = MappingProxyType({})


class Conduct:
    """An account and the bans of every member.

    `now()` is in seconds, `head()` the certified height, `times` says what part of a processor there is.
    """

    def __init__(
        self, prices: Mapping[str, Price], now: Callable[[], float], head: Callable[[], int], times: Times
    ) -> None:
        """Begin with nothing known of anybody."""
        self._prices, self._now, self._head = prices, now, head
        self._pace = Pace(times)
        self._worked, self._worked_at = 0.0, 0.0
        self._accounts: dict[bytes, PeerAccount] = {}
        self._bans = Bans()
        self._served: tuple[bytes, str, int] | None = None
        """Whose frame is being handled, what it is charged as, and its size."""

    def forget_others(self, members: Collection[bytes]) -> None:
        """Forget the keys that are no members any more."""
        self._accounts = {key: account for key, account in self._accounts.items() if key in members}
        self._bans.forget_others(members)

    @property
    def pace(self) -> float:
        """Return the part of a processor, 0 … 1, that this thread gets when it wants one."""
        return self._pace.value

    def tick(self) -> None:
        """See how busy the machine is; about twice a second."""
        when = self._moment()
        self._worked, self._worked_at = when.worked, when.now
        self._pace.sample()

    # --- frames -------------------------------------------------------------------------------

    def name(self, key: bytes, kind: Kind, body: bytes) -> str:
        """Return what a frame of a member is charged as."""
        return self._account(key).name(kind, body)

    def take(self, key: bytes, name: str, kind: Kind, body: bytes) -> FrameVerdict:
        """Judge a frame of a member."""
        return self._account(key).take(name, kind, body, self._moment())

    def connects(self, key: bytes) -> bool:
        """Charge a connection; tell whether it is within the member's share."""
        return self.take(key, CONNECTION, Kind.HELLO, b"") is FrameVerdict.HANDLE

    def due(self, key: bytes) -> Request | None:
        """Return a request of a member whose turn has come, if any."""
        return self._account(key).due(self._moment())

    def waits(self, key: bytes) -> bool:
        """Tell whether requests of a member wait for their turn."""
        return key in self._accounts and self._accounts[key].waits

    def gone(self, key: bytes) -> None:
        """Drop the requests of a member that is not connected any more."""
        if key in self._accounts:
            self._accounts[key].forget_requests()

    def begin(self, key: bytes, name: str, size: int) -> None:
        """Begin to handle a frame: what is sent to its sender until `end` is the answer to it."""
        self._served = (key, name, size)

    def sent(self, key: bytes, size: int) -> None:
        """Charge so many bytes to the frame that they answer, if they do."""
        if self._served is not None and self._served[0] == key:
            self.charge(key, self._served[1], ANSWER_KIB_MS * size / 1_024, blamed=False)

    def end(self, seconds: float, *, useful: bool) -> float:
        """End the frame, which took so many seconds of processor; return the seconds to read no further."""
        assert self._served is not None
        (key, name, size), self._served = self._served, None
        if key not in self._accounts:
            return 0.0  # what the frame brought about removed its sender
        return self._accounts[key].spent(name, size, seconds, self._moment(), useful=useful)

    def charge(self, key: bytes, name: str, ms: float, *, blamed: bool) -> None:
        """Charge a member for work that became known later, or is an answer."""
        if key in self._accounts:
            self._accounts[key].charge(name, ms, blamed=blamed)

    def spent_s(self, key: bytes) -> Mapping[str, float]:
        """Return the processor seconds that a member's frames took, by name."""
        return dict(self._accounts[key].spent_s) if key in self._accounts else _NONE

    def dropped(self, key: bytes) -> Mapping[str, int]:
        """Return how many frames of a member were not handled, by name."""
        return dict(self._accounts[key].dropped) if key in self._accounts else {}

    # --- offences -----------------------------------------------------------------------------

    def offence(self, key: bytes) -> str:
        """Return why a member's connection must end; empty while it need not."""
        return self._accounts[key].offence if key in self._accounts else ""

    def ban(self, key: bytes, reason: str) -> Ban | None:
        """Refuse a member for a while; return the ban, None when it is refused already."""
        if self.banned_s(key):
            return None
        if key in self._accounts:
            self._accounts[key].pardon()
        return self._bans.add(key, reason, self._now())

    def banned_s(self, key: bytes) -> float:
        """Return for how many more seconds a member is refused."""
        return self._bans.left(key, self._now())

    def story(self, key: bytes) -> str:
        """Return what a member did of late that it should not, for people; empty when nothing."""
        now = self._now()
        ban = self._bans.recent(key, now)
        if ban is None:
            return self._accounts[key].news(now) if key in self._accounts else ""
        left = ban.until - now
        when = f"refused for {left:.0f} s more" if left > 0 else f"was refused {now - ban.began:.0f} s ago"
        return f"{when} (time {ban.count} of late): {ban.reason}"

    def _account(self, key: bytes) -> PeerAccount:
        if key not in self._accounts:
            self._accounts[key] = PeerAccount(self._prices, self._moment())
        return self._accounts[key]

    def _moment(self) -> Moment:
        now = self._now()
        if not self._worked_at:
            self._worked_at = now
        return Moment(now, self._worked + (now - self._worked_at) * self._pace.value, self._head())
