"""Which connections a node has: admission, one link per peer, what operators see. No sockets here."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from chain.network.frame import Kind, NetworkError
from chain.network.link import Link
from chain.network.messages import NETWORK_VERSION, Hello
from chain.primitives.errors import AssentError

log = logging.getLogger("assent.network")

BAN_S = 30.0
BREACH_BAN_S = 10.0
"""How long a peer is refused after a frame that the handler found at fault."""


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


class Handler(Protocol):
    """What the node does with its peers' frames; called in the event loop, must not block."""

    def on_connected(self, peer: bytes, hello: Hello) -> None:
        """A peer was admitted (called once until `on_disconnected`)."""

    def on_disconnected(self, peer: bytes, reason: str) -> None:
        """A peer is gone."""

    def on_frame(self, peer: bytes, kind: Kind, body: bytes) -> None:
        """One frame; raising an AssentError disconnects the peer with its text as the reason."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What an operator wants to know of one member."""

    key: bytes
    address: str
    """Where it is connected; its configured address while it is not."""
    connected: bool
    connected_s: float
    round_trip_ms: float | None
    height: int
    """Height it claimed when greeting."""
    queued_bytes: int
    bytes_in: int
    bytes_out: int
    frames: Mapping[str, int]
    """Frames received on this connection, by kind."""
    drops: Mapping[str, int]
    """Frames to it that full queues dropped, by kind, since the node started."""
    trouble: str
    """Why there is no connection; empty when there is one."""
    away_s: float = 0.0
    """How long there has been none."""


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
    ) -> None:
        self._own_key, self._chain_id, self._session = own_key, chain_id, session
        self._handler, self._head, self._now = handler, head, now
        self.listen = ""
        self.members: dict[bytes, str] = {}
        """Accepted key -> address to dial, or ""; without our own key."""
        self.links: dict[bytes, Link] = {}
        """The admitted link of each connected peer."""
        self.greeting: set[Link] = set()
        """Links that are not admitted yet, or closing."""
        self.disconnects: Counter[str] = Counter()
        """Connections closed so far, by code."""
        self._trouble: dict[bytes, str] = {}
        self._away_since: dict[bytes, float] = {}
        self._drops: dict[bytes, Counter[str]] = {}
        self._banned_until: dict[bytes, float] = {}
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
        self._banned_until = {key: at for key, at in self._banned_until.items() if key in self.members}

    def ban(self, peer: bytes, reason: str, ban_s: float) -> None:
        """Close a peer's link and refuse it for a while."""
        if peer not in self.members:
            return
        self._ban(peer, reason, ban_s)
        if peer in self.links:
            self.links[peer].close(reason, "disconnected")

    def banned_s(self, peer: bytes) -> float:
        """Return for how many more seconds a peer is refused."""
        return max(0.0, self._banned_until.get(peer, 0.0) - self._now())

    def failed(self, peer: bytes, why: str) -> None:
        """Note why there is no connection with a peer; logged when it is news."""
        if not peer or self.banned_s(peer):
            return
        if peer not in self.members:
            log.info("connection refused: %s", why)
        elif self._trouble.get(peer) != why:
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
        if self.banned_s(link.peer):
            raise NotMember("refused for a while after a breach of the protocol")
        return Hello(self._chain_id, NETWORK_VERSION, self._session, self.listen, self._head())

    def greeted(self, link: Link, hello: Hello) -> None:
        """Admit a peer that serves our chain, settling duplicate connections."""
        self._check_hello(link, hello)
        other = self.links.get(link.peer)
        if other is not None and not self._replaces(link, hello, other):
            raise Duplicate("a connection with this node exists")
        self.links[link.peer] = link
        self.greeting.discard(link)
        self._trouble.pop(link.peer, None)
        self._away_since.pop(link.peer, None)
        if link in self._waiters:
            self._waiters[link].set_result(None)
        if other is not None:
            self.greeting.add(other)
            other.close("a newer connection with this node took over", Duplicate.code)
            return
        self._gone[link.peer] = asyncio.Event()
        log.info("connected to %s at %s", link.peer.hex()[:16], link.address)
        self._handler.on_connected(link.peer, hello)

    def received(self, link: Link, kind: Kind, body: bytes) -> None:
        """Hand a frame on, unless a newer link of the same peer took over."""
        if self.links.get(link.peer) is not link:
            return
        try:
            self._handler.on_frame(link.peer, kind, body)
        except AssentError as error:
            self._ban(link.peer, str(error), BREACH_BAN_S)
            raise

    def closed(self, link: Link) -> None:
        """Forget a link; tell the handler if it was the peer's current one."""
        self.greeting.discard(link)
        self.disconnects[link.code] += 1
        if link.peer in self.members:
            self._drops.setdefault(link.peer, Counter()).update(link.outbox.drops)
        waiter = self._waiters.get(link)
        if waiter is not None and not waiter.done():
            waiter.set_exception(NetworkError(link.reason))
        if self.links.get(link.peer) is not link:
            if link.code != Duplicate.code and link.peer not in self.links:
                self.failed(link.peer, link.reason)
            return
        del self.links[link.peer]
        if link.peer in self.members:
            self._trouble.setdefault(link.peer, link.reason)
        log.info("disconnected from %s at %s: %s", link.peer.hex()[:16], link.address, link.reason)
        self._gone.pop(link.peer).set()
        self._handler.on_disconnected(link.peer, link.reason)

    # --- inside -------------------------------------------------------------------------------

    def _ban(self, peer: bytes, reason: str, ban_s: float) -> None:
        self._banned_until[peer] = self._now() + ban_s
        self._trouble[peer] = f"refused for {ban_s:.0f} s: {reason}"

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
        if link is None or link.closing:
            why = self._trouble.get(peer, link.reason if link else "not connected yet")
            away_s = self._now() - self._away_since.setdefault(peer, self._now())
            return PeerStatus(peer, self.members[peer], False, 0.0, None, 0, 0, 0, 0, {}, drops, why, away_s)
        return PeerStatus(
            key=peer,
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
            trouble="",
        )
