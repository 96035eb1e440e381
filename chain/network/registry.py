"""Which connections a node has: admission, one link per peer, what operators see. No sockets here."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import thread_time
from typing import Protocol

from chain.network.account import FrameVerdict
from chain.network.conduct import Conduct
from chain.network.frame import Kind, NetworkError, ProtocolBreach
from chain.network.link import REFUSED, Link
from chain.network.messages import NETWORK_VERSION, Hello
from chain.network.peerstatus import PeerStatus
from chain.network.prices import PRICES, Price
from chain.network.refusals import Refusals
from chain.network.twins import Twins
from chain.network.whereabouts import Whereabouts
from chain.primitives.errors import AssentError
from chain.primitives.pace import Times, thread_times
from chain.primitives.visible import one_line

log = logging.getLogger("assent.network")

GREETINGS_MAX = 3
"""Connections of a member that are not admitted yet, or not closed yet: both may dial at once."""


class WrongChain(NetworkError):
    """The peer serves another chain: give both nodes the same genesis file."""

    code = "wrong_chain"


class WrongVersion(NetworkError):
    """The peer speaks another protocol version: run the same release on both nodes."""

    code = "wrong_version"


class NotMember(NetworkError):
    """A key outside the membership, or refused for a while: governance admits keys."""

    code = "not_member"


class Duplicate(NetworkError):
    """A second connection with the same peer: the other one stays."""

    code = "duplicate"


class RunsTwice(NetworkError):
    """A key that two processes use: stop one, for they may sign votes that conflict."""

    code = "runs_twice"


class Handler(Protocol):
    """What the node does with its peers' frames; called in the event loop, must not block."""

    def on_connected(self, peer: bytes, hello: Hello) -> None:
        """Take note of a peer that was admitted; called once until `on_disconnected`."""

    def on_disconnected(self, peer: bytes, reason: str) -> None:
        """Take note that a peer is gone, and why."""

    def on_frame(self, peer: bytes, kind: Kind, body: bytes) -> bool:
        """Handle one frame of an admitted peer; tell whether it was of any use.

        Raising an AssentError disconnects the peer with its text as the reason.
        """


class Registry:
    """Admits links and keeps one per peer; the LinkOwner of all of them.

    `head()` is the certified height put into greetings; `now()` is loop time in seconds.
    """

    def __init__(
        self,
        own_key: bytes,
        chain_id: bytes,
        session: bytes,
        handler: Handler,
        head: Callable[[], int],
        now: Callable[[], float],
        prices: Mapping[str, Price] = PRICES,
        times: Times = thread_times,
    ) -> None:
        self._own_key, self._chain_id, self._session = own_key, chain_id, session
        self._handler, self._head, self._now = handler, head, now
        self._conduct = Conduct(prices, now, head, times)
        self.listen = ""
        self.members: dict[bytes, str] = {}
        """Accepted key -> address to dial, or ""; without our own key."""
        self.links: dict[bytes, Link] = {}
        """The admitted link of each connected peer."""
        self.greeting: set[Link] = set()
        """Links that are not admitted yet, or closing."""
        self.disconnects: Counter[str] = Counter()
        """Connections closed so far, by code."""
        self.refused_by: set[bytes] = set()
        """Members that ended our last connection before they greeted: they may not know our key."""
        self._trouble: dict[bytes, str] = {}
        self._away_since: dict[bytes, float] = {}
        self._drops: dict[bytes, Counter[str]] = {}
        self.refusals, self.whereabouts, self._twins = Refusals(), Whereabouts(), Twins()
        self._waiters: dict[Link, asyncio.Future[None]] = {}
        self._gone: dict[bytes, asyncio.Event] = {}

    def set_members(self, members: Mapping[bytes, str]) -> None:
        """Replace the membership and close the links of removed keys."""
        self.members = {key: address for key, address in members.items() if key != self._own_key}
        for peer, link in list(self.links.items()):
            if peer not in self.members:
                link.close("its key was removed from the members", NotMember.code)
        self._away_since = {key: at for key, at in self._away_since.items() if key in self.members}
        self._trouble = {key: why for key, why in self._trouble.items() if key in self.members}
        self._drops = {key: drops for key, drops in self._drops.items() if key in self.members}
        self.refused_by &= self.members.keys()
        self._conduct.forget_others(self.members)
        self.whereabouts.set_members(self.members)
        self._twins.forget_others(self.members)

    def ban(self, peer: bytes, reason: str, code: str = "disconnected") -> None:
        """Close a peer's link and refuse it for a while, longer each time."""
        if peer not in self.members:
            return
        made = self._conduct.ban(peer, reason)
        if made is not None:
            log.warning(
                "%s (%s) is refused for %.0f s, time %d of late: %s",
                peer.hex()[:16], self.members[peer] or "no address", made.until - made.began, made.count,
                reason,
            )  # fmt: skip
        if peer in self.links:
            self.links[peer].close(reason, code)

    @property
    def pace(self) -> float:
        """Return the part of a processor, 0 … 1, that this thread gets when it wants one."""
        return self._conduct.pace

    def banned_s(self, peer: bytes) -> float:
        """Return for how many more seconds a peer is refused."""
        return self._conduct.banned_s(peer)

    def twins(self) -> Mapping[bytes, str]:
        """Return the members whose key two processes use, and where those are."""
        found = {key: self._twins.of(key, self._now()) for key in self.members}
        return {key: endpoints for key, endpoints in found.items() if endpoints}

    def own_twins(self) -> Mapping[bytes, str]:
        """Return which members say that our own key runs in another process too, and where."""
        return self._twins.of_own(self._now())

    def sent(self, peer: bytes, size: int) -> None:
        """Charge what is sent to a peer while its frame is handled: the answer to it."""
        self._conduct.sent(peer, size)

    def charge(self, peer: bytes, name: str, ms: float, *, blamed: bool) -> None:
        """Charge a peer for work that became known after its frame was handled."""
        self._conduct.charge(peer, name, ms, blamed=blamed)
        self._punish(peer)

    def tick(self) -> None:
        """See how busy the machine is, and tell of refused connections; a few times a second."""
        self._conduct.tick()
        told = self.refusals.due(self._now())
        if told:
            log.info("%s", told)

    def refuse(self, cause: str, address: str, why: str) -> None:
        """Count a connection that nobody was admitted by."""
        self.disconnects[cause] += 1
        self.refusals.note(cause, address, why)

    def failed(self, peer: bytes, why: str) -> None:
        """Note why there is no connection with a member; logged when it is news."""
        if peer in self.members and not self.banned_s(peer) and self._trouble.get(peer) != why:
            self._trouble[peer] = why
            log.info("no connection with %s (%s): %s", peer.hex()[:16], self.members[peer], why)

    async def admitted(self, link: Link) -> None:
        """Wait until a link is admitted; raise NetworkError with the reason when it closes instead."""
        if self.links.get(link.peer) is link:
            return
        if link.closing:
            raise NetworkError(link.reason)
        waiter = self._waiters[link] = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self._waiters.pop(link, None)

    def answers_otherwise(self, peer: bytes) -> bool:
        """Tell whether another key is connected at a member's address: a seat that moves has two for a while.

        To dial there would only end the connection that stands: the node there takes it for a newer one.
        """
        address = self.members.get(peer)
        return any(self.members.get(key) == address for key in self.links if key != peer)

    async def gone(self, peer: bytes) -> None:
        """Wait until a peer has no link."""
        while peer in self._gone:
            await self._gone[peer].wait()

    def status(self) -> tuple[PeerStatus, ...]:
        """Return the status of every member but ourselves, by key."""
        return tuple([self._status(peer) for peer in sorted(self.members)])

    # --- LinkOwner ----------------------------------------------------------------------------

    def opened(self, link: Link) -> Hello:
        """Check the key of a fresh connection and return our greeting."""
        self.greeting.add(link)
        if link.peer not in self.members:
            raise NotMember(f"key {link.peer.hex()[:16]} is not among the members")
        self._make_room(link)
        self._take_connection(link.peer)
        return Hello(self._chain_id, NETWORK_VERSION, self._session, self.listen, self._head())

    def greeted(self, link: Link, hello: Hello) -> None:
        """Admit a peer that serves our chain, settling duplicate connections."""
        self._check_hello(link, hello)
        self._refuse_banned(link.peer)
        other = self.links.get(link.peer)
        if other is not None and not self._replaces(link, hello, other):
            raise Duplicate("a connection with this node exists")
        self.links[link.peer] = link
        endpoint = f"{link.host} (it listens at {one_line(hello.listen)})"
        self._twins.greeted(link.peer, hello.session, endpoint, link.opened_at, self._now())
        if not link.dialled:
            self.whereabouts.came(link.peer, link.host)
        self.greeting.discard(link)
        self._trouble.pop(link.peer, None)
        self.refused_by.discard(link.peer)
        self._away_since.pop(link.peer, None)
        if link in self._waiters:
            self._waiters[link].set_result(None)
        if other is not None:
            self.greeting.add(other)
            if endpoints := self._twins.of(link.peer, self._now()):
                other.close(f"two processes use this key, at {endpoints}", RunsTwice.code)
            else:
                other.close("a newer connection with this node took over", Duplicate.code)
            return
        self._gone[link.peer] = asyncio.Event()
        log.debug("connected to %s at %s", link.peer.hex()[:16], link.address)
        self._handler.on_connected(link.peer, hello)

    def received(self, link: Link, kind: Kind, body: bytes) -> None:
        """Hand a frame on, unless a newer link of the same peer took over or the share is spent."""
        if self.links.get(link.peer) is not link:
            return
        name = self._conduct.name(link.peer, kind, body)
        verdict = self._take(link.peer, name, kind, body)
        if verdict is FrameVerdict.HANDLE:
            self._handle(link, name, kind, body)
        elif verdict is FrameVerdict.WAIT:
            link.serve_later()

    def serve(self, link: Link) -> bool:
        """Handle a request that waited, if its turn has come; tell whether others wait."""
        if self.links.get(link.peer) is not link:
            return False
        request = self._conduct.due(link.peer)
        if request is not None:
            self._handle(link, *request)
        return self._conduct.waits(link.peer)

    def grants(self, link: Link, kind: Kind, body: bytes) -> bool:
        """Tell whether a frame that the link answers itself is within the peer's share."""
        return (
            self.links.get(link.peer) is link
            and self._take(link.peer, kind.name, kind, body) is FrameVerdict.HANDLE
        )

    def offended(self, link: Link, error: AssentError) -> None:
        """Refuse a member for a while whose frame is at fault; settings that differ are no fault."""
        if not isinstance(error, NetworkError) or isinstance(error, ProtocolBreach):
            self.ban(link.peer, str(error), error.code)

    def closed(self, link: Link) -> None:
        """Forget a link; tell the handler if it was the peer's current one."""
        self.greeting.discard(link)
        self.disconnects[link.code] += 1
        if link.told == RunsTwice.code and link.peer in self.members:
            self._twins.told(link.peer, link.reason.partition(f"{RunsTwice.code}: ")[2], self._now())
        if link.peer in self.members:
            self._drops.setdefault(link.peer, Counter()).update(link.outbox.drops)
        if link.code == REFUSED and link.peer in self.members:
            self.refused_by.add(link.peer)
        waiter = self._waiters.get(link)
        if waiter is not None and not waiter.done():
            waiter.set_exception(NetworkError(link.reason))
        if self.links.get(link.peer) is not link:
            if link.code not in (Duplicate.code, RunsTwice.code) and link.peer not in self.links:
                self._tell_refused(link)
            return
        del self.links[link.peer]
        self._conduct.gone(link.peer)
        if link.peer in self.members:
            self._trouble.setdefault(link.peer, link.reason)
        log.debug("disconnected from %s at %s: %s", link.peer.hex()[:16], link.address, link.reason)
        self._gone.pop(link.peer).set()
        self._handler.on_disconnected(link.peer, link.reason)

    # --- inside -------------------------------------------------------------------------------

    def _make_room(self, link: Link) -> None:
        """Close the oldest of a member's connections that were not admitted, where it has too many."""
        own = [each for each in self.greeting if each.peer == link.peer]
        for each in sorted(own, key=lambda each: each.opened_at)[:-GREETINGS_MAX]:
            each.abort("newer connections with this node took over", Duplicate.code)

    def _take_connection(self, peer: bytes) -> None:
        self._refuse_banned(peer)
        within = self._conduct.connects(peer)
        self._punish(peer)
        self._refuse_banned(peer)
        if not within:
            raise NotMember("connects too often: wait a second between two attempts")

    def _refuse_banned(self, peer: bytes) -> None:
        if self.banned_s(peer):
            if endpoints := self._twins.of(peer, self._now()):
                raise RunsTwice(f"two processes use this key, at {endpoints}")
            raise NotMember(self._conduct.story(peer))

    def _take(self, peer: bytes, name: str, kind: Kind, body: bytes) -> FrameVerdict:
        verdict = self._conduct.take(peer, name, kind, body)
        self._punish(peer)
        return verdict

    def _punish(self, peer: bytes) -> None:
        if offence := self._conduct.offence(peer):
            self.ban(peer, offence, "over_share")

    def _handle(self, link: Link, name: str, kind: Kind, body: bytes) -> None:
        """Let the node handle a frame, and note what that took."""
        began, useful = thread_time(), True
        self._conduct.begin(link.peer, name, len(body))
        try:
            useful = self._handler.on_frame(link.peer, kind, body)
        finally:
            pause = self._conduct.end(thread_time() - began, useful=useful)
            if pause:
                link.slow_down(self._now() + pause)
            self._punish(link.peer)

    def _tell_refused(self, link: Link) -> None:
        if link.peer in self.members:
            self.failed(link.peer, link.reason)
        else:
            self.refusals.note(link.code, link.address, link.reason)

    def _check_hello(self, link: Link, hello: Hello) -> None:
        if hello.chain_id != self._chain_id:
            raise WrongChain(
                f"chain {hello.chain_id.hex()} at {link.address}, ours is {self._chain_id.hex()}: "
                "give both nodes the same genesis file"
            )
        if hello.version != NETWORK_VERSION:
            raise WrongVersion(
                f"network protocol version {hello.version} at {link.address}, ours is {NETWORK_VERSION}: "
                "run the same release on both nodes"
            )

    def _replaces(self, link: Link, hello: Hello, other: Link) -> bool:
        """Decide between two links of one peer so that both ends keep the same one.

        A new session means that the peer restarted, and a second link in one direction that it gave up
        the first. Otherwise both dialled at once: the link dialled by the smaller key stays.
        """
        if other.closing or other.hello is None or other.hello.session != hello.session:
            return True
        return link.dialled == other.dialled or link.dialled == (self._own_key < link.peer)

    def _status(self, peer: bytes) -> PeerStatus:
        link, drops = self.links.get(peer), Counter(self._drops.get(peer, {}))
        offence = self._conduct.story(peer)
        known = PeerStatus(
            key=peer,
            address=self.members[peer],
            connected=False,
            connected_s=0.0,
            round_trip_ms=None,
            height=0,
            queued_bytes=0,
            bytes_in=0,
            bytes_out=0,
            frames={},
            drops=drops,
            trouble=offence,
            spent_s=self._conduct.spent_s(peer),
            unhandled=self._conduct.dropped(peer),
            refused_s=self.banned_s(peer),
            offence=offence,
        )
        if link is None or link.closing:
            why = self._trouble.get(peer, link.reason if link else "not connected yet")
            if self.banned_s(peer):
                why = offence
            away_s = self._now() - self._away_since.setdefault(peer, self._now())
            return replace(known, trouble=why, away_s=away_s)
        return replace(
            known,
            address=link.address,
            connected=True,
            connected_s=self._now() - link.opened_at,
            round_trip_ms=None if link.round_trip_s is None else link.round_trip_s * 1000,
            height=link.hello.height if link.hello else 0,
            queued_bytes=link.outbox.queued_bytes,
            bytes_in=link.bytes_in,
            bytes_out=link.bytes_out,
            frames=dict(link.frames),
            drops=drops + link.outbox.drops,
        )
