"""Listening and dialling: keeps one TLS 1.3 link to every reachable member."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from chain.network.backoff import CAP_S, Backoff
from chain.network.doorway import SILENT_MAX_S, Doorway
from chain.network.frame import Kind, NetworkError, encode_frame
from chain.network.link import HELLO_MAX_S, Link
from chain.network.peerstatus import PeerStatus
from chain.network.prices import PRICES, Price
from chain.network.registry import Handler, NotMember, Registry
from chain.primitives.acceptor import cannot_listen, listening
from chain.primitives.crypto import PrivateKey
from chain.primitives.networks import UNKNOWN, network_of
from chain.primitives.settings import join_address, split_address
from chain.primitives.tls import client_context, server_context

log = logging.getLogger("assent.network")

QUEUE_BYTES = 16_777_216
BACKLOG = 1_024
"""Connections that the kernel keeps while this process is busy."""
TICK_S = 0.5
CONNECT_MAX_S = 5.0
SHUTDOWN_MAX_S = 1.0
OWN_ADDRESS = (
    "this is the address of this node itself, which runs under another key: the ledger lists one that it "
    "had before, or another member's address is wrong"
)


class PeerManager:
    """The connections of one node; every frame of an admitted peer goes to `handler`.

    `members` maps each accepted 32-byte key to its "host:port", or to "" when it is never dialled; our own
    key may be among them. `introducers` are accepted whatever the members are. `head()` is the certified
    height put into greetings, `source` drives jitter and chance at the port, `prices`
    bound what a member may cost.
    """

    def __init__(
        self,
        key: PrivateKey,
        chain_id: bytes,
        listen: str,
        members: Mapping[bytes, str],
        handler: Handler,
        *,
        head: Callable[[], int],
        source: random.Random,
        introducers: Mapping[bytes, str] = MappingProxyType({}),
        queue_bytes: int = QUEUE_BYTES,
        prices: Mapping[str, Price] = PRICES,
    ) -> None:
        self._key, self._random, self._queue_bytes = key, source, queue_bytes
        self._registry = Registry(key.public, chain_id, os.urandom(8), handler, head, _now, prices)
        self._registry.listen = listen
        self._introducers = introducers
        self._registry.set_members({**introducers, **members})
        self._server_tls, self._client_tls = self._contexts()
        self._listener: socket.socket | None = None
        self._doorway: Doorway | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._dialers: dict[bytes, tuple[str, asyncio.Task[None]]] = {}
        self._ticked_at = 0.0

    async def start(self) -> None:
        """Listen and begin to dial; raise CannotListen naming the address, PortBusy when it is taken."""
        host, port = split_address(self.listen)
        try:
            self._listener = listening(host, port, BACKLOG, silent_s=SILENT_MAX_S)
        except OSError as error:
            raise cannot_listen("network.listen", self.listen, error) from None
        self._registry.listen = join_address(host, self._listener.getsockname()[1])
        self._ticked_at = _now()
        self._doorway = Doorway(
            self._listener,
            self._welcome,
            self._registry.refuse,
            lambda: self._registry.pace,
            self._registry.whereabouts,
            self._random,
        )
        self._doorway.open()
        self._spawn(self._tick_for_ever())
        self._dial_members()

    async def close(self) -> None:
        """Close every connection cleanly, within about a second, and free the port."""
        tasks = [*self._tasks, *[task for _, task in self._dialers.values()]]
        self._dialers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._doorway is not None:
            await self._doorway.close()
        if self._listener is not None:
            self._listener.close()
        links = {*self._registry.links.values(), *self._registry.greeting}
        for link in links:
            link.close("the node stops", "stopped")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_MAX_S):
                await asyncio.gather(*[link.lost.wait() for link in links])
        for link in links:
            link.abort("the node stops", "stopped")

    @property
    def listen(self) -> str:
        """Return the address listened on; after `start` with the real port when port 0 was asked for."""
        return self._registry.listen

    @property
    def connected(self) -> tuple[bytes, ...]:
        """Return the keys of the connected peers."""
        return tuple(self._registry.links)

    @property
    def disconnects(self) -> Mapping[str, int]:
        """Return the connections closed so far, by code."""
        return self._registry.disconnects

    @property
    def refused_by(self) -> frozenset[bytes]:
        """Return the members that ended our last connection before a greeting: they may not know our key."""
        return frozenset(self._registry.refused_by)

    @property
    def twins(self) -> Mapping[bytes, str]:
        """Return the members whose key two processes use, and where those are."""
        return self._registry.twins()

    @property
    def own_twins(self) -> Mapping[bytes, str]:
        """Return which members say that our own key runs in another process too, and where."""
        return self._registry.own_twins()

    def peers(self) -> tuple[PeerStatus, ...]:
        """Return the status of every member but ourselves, by key."""
        return self._registry.status()

    def set_members(self, members: Mapping[bytes, str]) -> None:
        """Replace the accepted set; connections of removed keys are closed at once."""
        self._registry.set_members({**self._introducers, **members})
        self._server_tls, self._client_tls = self._contexts()
        self._dial_members()

    def send(self, peer: bytes, kind: Kind, body: bytes) -> bool:
        """Queue one frame; False when the peer is not connected or its queue dropped the frame."""
        return self.multicast((peer,), kind, body) == 1

    def broadcast(self, kind: Kind, body: bytes) -> int:
        """Queue one frame for every connected peer; return how many took it."""
        frame = encode_frame(kind, body)
        return sum([link.send(kind, frame) for link in list(self._registry.links.values())])

    def multicast(self, peers: Iterable[bytes], kind: Kind, body: bytes) -> int:
        """Queue one frame for some peers; return how many took it."""
        frame = encode_frame(kind, body)
        links = [self._registry.links[peer] for peer in peers if peer in self._registry.links]
        for link in links:
            self._registry.sent(link.peer, len(frame))
        return sum([link.send(kind, frame) for link in links])

    def disconnect(self, peer: bytes, reason: str) -> None:
        """Close a peer's connection and refuse it for a while, longer each time."""
        self._registry.ban(peer, reason)

    def charge(self, peer: bytes, name: str, ms: float, *, blamed: bool) -> None:
        """Charge a peer for work that became known after its frame was handled."""
        self._registry.charge(peer, name, ms, blamed=blamed)

    def tick(self, now: float) -> None:
        """Ping, time out and renew budgets of all links; runs by itself every TICK_S once started."""
        elapsed, self._ticked_at = now - self._ticked_at, now
        self._registry.tick()
        if self._doorway is not None:
            self._doorway.tick()
        for link in [*self._registry.links.values(), *self._registry.greeting]:
            link.tick(now, elapsed)

    # --- inside -------------------------------------------------------------------------------

    def _contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        accepted = list(self._registry.members)
        return server_context(self._key, accepted), client_context(self._key, accepted)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("network task failed", exc_info=task.exception())

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.tick(_now())

    async def _welcome(self, accepted: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: self._link(dialled=False),
                accepted,
                ssl=self._server_tls,
                ssl_handshake_timeout=HELLO_MAX_S,
                ssl_shutdown_timeout=SHUTDOWN_MAX_S,
            )
        except (OSError, TimeoutError) as error:
            accepted.close()
            self._registry.refuse(NotMember.code, address, _tls_trouble(error))

    def _link(self, *, dialled: bool) -> Link:
        return Link(self._registry, dialled=dialled, now=_now(), queue_bytes=self._queue_bytes)

    def _dial_members(self) -> None:
        if self._listener is None:
            return
        wanted = {peer: address for peer, address in self._registry.members.items() if address}
        for peer, (address, task) in list(self._dialers.items()):
            if wanted.get(peer) != address:
                task.cancel()
                del self._dialers[peer]
        for peer, address in wanted.items():
            if peer not in self._dialers:
                self._dialers[peer] = (address, self._spawn(self._keep_dialling(peer, address)))

    async def _keep_dialling(self, peer: bytes, address: str) -> None:
        backoff = Backoff(self._random)
        while True:
            await self._registry.gone(peer)
            await asyncio.sleep(self._registry.banned_s(peer))
            while self._registry.answers_otherwise(peer):
                await asyncio.sleep(TICK_S)
            began = _now()
            try:
                async with asyncio.timeout(CONNECT_MAX_S):
                    await self._dial(peer, address)
                await self._registry.gone(peer)
                if _now() - began > CAP_S:  # a link that breaks at once is one more failure
                    backoff.reset()
            except (OSError, TimeoutError, NetworkError) as error:
                if peer not in self._registry.links:
                    own = address == self.listen
                    self._registry.failed(peer, OWN_ADDRESS if own else _dial_trouble(error))
            await asyncio.sleep(backoff.next())

    async def _dial(self, peer: bytes, address: str) -> None:
        host, port = split_address(address)
        loop = asyncio.get_running_loop()
        if network_of(host) == UNKNOWN:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._registry.whereabouts.resolved(peer, [str(each[4][0]) for each in found])
        _, link = await loop.create_connection(
            lambda: self._link(dialled=True),
            host,
            port,
            ssl=self._client_tls,
            server_hostname="",
            ssl_handshake_timeout=CONNECT_MAX_S,
            ssl_shutdown_timeout=SHUTDOWN_MAX_S,
        )
        if link.peer != peer:
            link.close(f"expected key {peer.hex()[:16]} at {address}", NotMember.code)
            raise NotMember(f"key {link.peer.hex()[:16]} answers, not {peer.hex()[:16]}: check the address")
        await self._registry.admitted(link)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _tls_trouble(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its key is not among the members"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason}"
    return str(error) or type(error).__name__


def _dial_trouble(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: the node is not running, or listens elsewhere"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_MAX_S:.0f} s"
    return _tls_trouble(error)
