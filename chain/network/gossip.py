"""Transaction gossip as a pure state machine: frames and time in, effects out; times in milliseconds.

Push once, then announce. The node that admits a transaction pushes it, in batches, to every peer; in the
full mesh of a consortium (at most about twenty validators) each transaction crosses each wire once. Who
received one does not push it on: it announces the id, eight times over six minutes and only while the
transaction still waits, so gaps in the mesh, full queues and full pools heal (FISCO-BCOS 2124) and nothing
is re-gossiped for ever. That is too late for a primary that others wait for: they `forward` it what
waits. Whatever a proposal names and we miss is asked for, from one peer after another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chain.ledger.block import DecodedTransaction, Transaction
from chain.network.effects import Drop, Send
from chain.network.encodedtx import encoded_transaction_id, in_frames
from chain.network.frame import IDS_PER_FRAME_MAX, IDS_PER_REQUEST_MAX, TXS_BYTES_MAX, Kind, ProtocolBreach
from chain.network.messages import PushedTransactions, TransactionAnswer, TransactionIds
from chain.primitives.codec import decode, encode

PUSH_TXS = 256
PUSH_BYTES = 262_144
"""A push leaves when either is reached, or at the next `flush`."""
KNOWN_IDS_MAX = 16_384
VERIFYING_MAX = 65_536
WANTED_MAX = 65_536
OFFERS_MAX = 8_192
"""Announced ids remembered per peer."""
SOURCES_MAX = 4
ANSWER_TIMEOUT_MS = 1_000
RETRY_MS = 500
GIVE_UP_MS = 120_000
RELAY_AFTER_MS = (4_000, 6_000, 15_000, 60_000, 60_000, 60_000, 60_000, 60_000)
"""Waits before each announcement of a transaction that is still in the pool; then no more."""
RELAYS_MAX = 131_072
OFFENCE_POINTS = 20
DISCONNECT_POINTS = 100
"""Points fade by one a second: five forged transactions in a minute end the connection."""
EMPTY_OFFER_POINTS = 5
"""It announced ids and, asked for them, has none: now and then that happens, when all of them expired."""
EMPTY_OFFER_IDS = 16
"""From so many ids on an empty answer counts."""


class Pool(Protocol):
    """What the node has already."""

    def has(self, tx_id: bytes) -> bool:
        """Tell whether it is in the pool or final, so that only a proposal that names it needs it."""

    def waits(self, tx_id: bytes) -> bool:
        """Tell whether it is in the pool, not yet on the ledger."""

    def get(self, tx_id: bytes) -> bytes | None:
        """Return its encoding from the pool or a block; None when its bytes are not here, final or not."""


@dataclass(frozen=True, slots=True)
class Received:
    """A transaction that is new here, decoded once, its signature not yet verified."""

    peer: bytes
    candidate: DecodedTransaction


@dataclass(frozen=True, slots=True)
class GossipEffects:
    """What the node shall do, in this order."""

    send: tuple[Send, ...] = ()
    received: tuple[Received, ...] = ()
    """To verify and admit; each is answered by `admitted` or `refused`."""
    drop: tuple[Drop, ...] = ()


@dataclass(slots=True)
class _Known:
    """The latest ids a peer is known to hold: two generations, so forgetting costs nothing."""

    young: set[bytes] = field(default_factory=set)
    old: set[bytes] = field(default_factory=set)

    def add(self, tx_id: bytes) -> None:
        if len(self.young) >= KNOWN_IDS_MAX // 2:
            self.old, self.young = self.young, set()
        self.young.add(tx_id)

    def __contains__(self, tx_id: bytes) -> bool:
        return tx_id in self.young or tx_id in self.old


@dataclass(slots=True)
class _Peer:
    known: _Known = field(default_factory=_Known)
    asked: tuple[bytes, ...] = ()
    """Ids of the one request under way."""
    offered: bool = False
    """It announced all that it is asked for."""
    offers: dict[bytes, None] = field(default_factory=dict)
    """Ids it announced and we lacked: asked of it alone, at a tick."""
    answer_by: int = 0
    points: float = 0.0
    points_at: int = 0


@dataclass(slots=True)
class _Want:
    since: int
    not_before: int
    sources: list[bytes]
    """Whom to ask first."""
    tried: set[bytes] = field(default_factory=set)


class Gossip:
    """Spreads and fetches transactions among the connected peers."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._peers: dict[bytes, _Peer] = {}
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._verifying: dict[bytes, bytes] = {}
        self._wanted: dict[bytes, _Want] = {}
        self._relays: tuple[deque[tuple[int, bytes]], ...] = tuple(deque() for _ in RELAY_AFTER_MS)
        self.dropped = 0
        """Transactions, wants and relays given up because a bound was reached."""

    # --- peers --------------------------------------------------------------------------------

    def connected(self, peer: bytes) -> None:
        """Begin to gossip with a peer."""
        self._peers[peer] = _Peer()

    def disconnected(self, peer: bytes) -> None:
        """Forget a peer; what was asked of it is asked of others at the next tick."""
        self._peers.pop(peer, None)

    # --- from this node -----------------------------------------------------------------------

    def submitted(self, transactions: Iterable[tuple[bytes, bytes]], now: int) -> GossipEffects:
        """Push (id, encoding) pairs that this node admitted from its own clients."""
        for tx_id, encoded in transactions:
            self._outgoing.append(encoded)
            self._outgoing_bytes += len(encoded)
            self._schedule_relay(tx_id, 0, now)
            for peer in self._peers.values():
                peer.known.add(tx_id)
        full = len(self._outgoing) >= PUSH_TXS or self._outgoing_bytes >= PUSH_BYTES
        return self.flush() if full else GossipEffects()

    @property
    def unflushed(self) -> bool:
        """Tell whether `flush` has something to push."""
        return bool(self._outgoing)

    def flush(self) -> GossipEffects:
        """Push what gathered; call a few milliseconds after `submitted`."""
        peers = tuple(self._peers)
        bodies = [encode(PushedTransactions(part)) for part in in_frames(self._outgoing)] if peers else []
        self._outgoing, self._outgoing_bytes = [], 0
        return GossipEffects(send=tuple([Send(peers, Kind.TXS, body) for body in bodies]))

    def forward(self, encoded: Sequence[bytes], primary: bytes, *, widely: bool) -> GossipEffects:
        """Push waiting transactions to who should order them; `widely`, or without a link to it, to all.

        Not announced: a peer that announced them before, and does not answer, would have its second to do so.
        """
        peers = (primary,) if primary in self._peers and not widely else tuple(self._peers)
        bodies = [encode(PushedTransactions(part)) for part in in_frames(list(encoded))] if peers else []
        return GossipEffects(send=tuple([Send(peers, Kind.TXS, body) for body in bodies]))

    def admitted(self, tx_ids: Iterable[bytes], now: int) -> None:
        """Note that received transactions are in the pool."""
        for tx_id in tx_ids:
            self._verifying.pop(tx_id, None)
            self._wanted.pop(tx_id, None)
            self._schedule_relay(tx_id, 0, now)

    def refused(self, tx_id: bytes, now: int, *, forged: bool) -> GossipEffects:
        """Note that the pool refused a received transaction.

        `forged` means that no honest node would have sent it (its signature does not hold); a full pool, a
        transaction that has expired or a key revoked meanwhile is nobody's fault.
        """
        name = self._verifying.pop(tx_id, None)
        peer = self._peers.get(name) if name is not None else None
        if name is None or peer is None:
            return GossipEffects()
        self._settle(name, (tx_id,))
        if not forged:
            return GossipEffects()
        return GossipEffects(drop=self._blame(name, OFFENCE_POINTS, "sends forged transactions", now))

    def want(self, tx_ids: Iterable[bytes], sources: Sequence[bytes], now: int) -> GossipEffects:
        """Fetch transactions that a proposal names, asking `sources` (its sender) first."""
        for tx_id in tx_ids:
            if tx_id in self._verifying or self._pool.get(tx_id) is not None:
                continue
            found = self._wanted.get(tx_id)
            if found is not None:
                found.sources = [*dict.fromkeys([*sources, *found.sources])][:SOURCES_MAX]
            elif len(self._wanted) < WANTED_MAX:
                self._wanted[tx_id] = _Want(now, now, list(sources)[:SOURCES_MAX])
            else:
                self.dropped += 1
        return self._ask(now)

    def forget(self, tx_ids: Iterable[bytes]) -> None:
        """Stop fetching: the proposal that named them is superseded."""
        for tx_id in tx_ids:
            self._wanted.pop(tx_id, None)

    def holders(self, tx_ids: Sequence[bytes]) -> list[bytes]:
        """Return the connected peers that are known to hold some of these."""
        return [name for name, peer in self._peers.items() if any(item in peer.known for item in tx_ids)]

    # --- from peers and the clock -------------------------------------------------------------

    def on_frame(self, peer: bytes, kind: Kind, body: bytes, now: int) -> GossipEffects:
        """Handle one of the TX frames; raise DecodeError or ProtocolBreach when the peer is at fault."""
        if peer not in self._peers:
            return GossipEffects()
        if kind is Kind.TXS:
            return GossipEffects(received=self._take(peer, decode(PushedTransactions, body).transactions))
        if kind is Kind.TX_IDS:
            self._on_announcement(peer, decode(TransactionIds, body).ids)
            return GossipEffects()
        if kind is Kind.TX_REQUEST:
            return self._on_request(peer, decode(TransactionIds, body).ids)
        if kind is Kind.TX_ANSWER:
            return self._on_answer(peer, decode(TransactionAnswer, body), now)
        raise ProtocolBreach(f"{kind.name} is not a gossip frame")

    def tick(self, now: int) -> GossipEffects:
        """Announce what still waits, and ask anew what nobody answered; call a few times a second."""
        for name, peer in self._peers.items():
            if peer.asked and now >= peer.answer_by:
                self._settle(name, peer.asked)
                peer.asked = ()
        for tx_id in [tx_id for tx_id, want in self._wanted.items() if now - want.since > GIVE_UP_MS]:
            del self._wanted[tx_id]
            self.dropped += 1
        return GossipEffects(send=self._announce(now) + self._ask(now).send + self._accept_offers(now))

    # --- inside -------------------------------------------------------------------------------

    def _blame(self, name: bytes, points: int, why: str, now: int) -> tuple[Drop, ...]:
        """Count an offence; the one that is too many ends the connection."""
        peer = self._peers[name]
        peer.points = max(0.0, peer.points - (now - peer.points_at) / 1000) + points
        peer.points_at = now
        return (Drop(name, why),) if peer.points >= DISCONNECT_POINTS else ()

    def _take(self, name: bytes, transactions: Iterable[bytes]) -> tuple[Received, ...]:
        """Decode what is new here; every transaction is decoded once, duplicates cost one hash."""
        known, fresh = self._peers[name].known, dict[bytes, Received]()
        for encoded in transactions:
            tx_id = encoded_transaction_id(encoded)
            known.add(tx_id)
            if tx_id in self._verifying or tx_id in fresh or self._is_needless(tx_id):
                continue
            if len(self._verifying) + len(fresh) >= VERIFYING_MAX:
                self.dropped += 1
                continue
            fresh[tx_id] = Received(name, DecodedTransaction(decode(Transaction, encoded), tx_id, encoded))
        # Only a batch that decodes whole counts: what is marked here is sure to be handed over.
        self._verifying.update(dict.fromkeys(fresh, name))
        return tuple(fresh.values())

    def _is_needless(self, tx_id: bytes) -> bool:
        """Tell whether its bytes are of no use: of a final one, only a proposal that names it needs them."""
        wanted = tx_id in self._wanted
        return self._pool.get(tx_id) is not None if wanted else self._pool.has(tx_id)

    def _on_announcement(self, name: bytes, ids: tuple[bytes, ...]) -> None:
        peer = self._peers[name]
        for tx_id in ids:
            peer.known.add(tx_id)
            if tx_id in self._verifying or self._pool.has(tx_id):
                continue
            if len(peer.offers) < OFFERS_MAX:
                peer.offers[tx_id] = None
            else:
                self.dropped += 1

    def _on_request(self, name: bytes, ids: tuple[bytes, ...]) -> GossipEffects:
        found: list[bytes] = []
        missing: list[bytes] = []
        size = 0
        for tx_id in ids[:IDS_PER_REQUEST_MAX]:
            encoded = self._pool.get(tx_id) if size < TXS_BYTES_MAX else None
            if encoded is not None:
                found.append(encoded)
                size += len(encoded)
                self._peers[name].known.add(tx_id)
            elif size < TXS_BYTES_MAX:
                missing.append(tx_id)
        body = encode(TransactionAnswer(tuple(found), tuple(missing)))
        return GossipEffects(send=(Send((name,), Kind.TX_ANSWER, body),))

    def _on_answer(self, name: bytes, answer: TransactionAnswer, now: int) -> GossipEffects:
        peer = self._peers[name]
        received = self._take(name, answer.transactions)
        useful = {item.candidate.id for item in received}.intersection(peer.asked)
        # A large answer leaves some out, without naming them missing: those are asked of the same peer
        # again, but only of one whose answers bring something.
        self._settle(name, answer.missing if useful else peer.asked)
        drop: tuple[Drop, ...] = ()
        if peer.offered and not answer.transactions and len(peer.asked) >= EMPTY_OFFER_IDS:
            drop = self._blame(name, EMPTY_OFFER_POINTS, "announces transactions that it does not have", now)
        peer.asked = ()
        return GossipEffects(send=self._ask(now).send, received=received, drop=drop)

    def _settle(self, name: bytes, ids: Iterable[bytes]) -> None:
        """Note that a peer had its turn with these ids."""
        for tx_id in ids:
            if tx_id in self._wanted and tx_id not in self._verifying:
                self._wanted[tx_id].tried.add(name)

    def _ask(self, now: int) -> GossipEffects:
        """Give every wanted id that nobody is asked for to a free peer that has not failed on it.

        Who announced an id and keeps it back must not hold up a proposal that names it: a request for what
        was announced does not count.
        """
        busy = {tx_id for peer in self._peers.values() if not peer.offered for tx_id in peer.asked}
        batches: dict[bytes, list[bytes]] = {}
        for tx_id, want in list(self._wanted.items()):
            if tx_id in busy or tx_id in self._verifying or now < want.not_before:
                continue
            if self._is_needless(tx_id):
                del self._wanted[tx_id]
                continue
            name = self._choose(tx_id, want, batches, now)
            if name is not None:
                batches.setdefault(name, []).append(tx_id)
        return GossipEffects(send=tuple([self._request(name, ids, now) for name, ids in batches.items()]))

    def _choose(self, tx_id: bytes, want: _Want, batches: dict[bytes, list[bytes]], now: int) -> bytes | None:
        first = [name for name in want.sources if name in self._peers]
        others = [name for name in self._peers if name not in first]
        others.sort(key=lambda name: tx_id not in self._peers[name].known)
        untried = [name for name in first if name not in want.tried]  # they have it: wait for their turn
        untried = untried or [name for name in others if name not in want.tried]
        if not untried:
            want.tried.clear()
            want.not_before = now + RETRY_MS
            return None
        free = (name for name in untried if not self._peers[name].asked)
        return next((name for name in free if len(batches.get(name, ())) < IDS_PER_REQUEST_MAX), None)

    def _accept_offers(self, now: int) -> tuple[Send, ...]:
        """Ask peers that nothing urgent is asked of for what they announced."""
        busy, sends = self._busy(), []
        for name, peer in self._peers.items():
            if peer.asked:
                continue
            ids: list[bytes] = []
            later: list[bytes] = []  # asked of another, who may never answer
            while peer.offers and len(ids) < IDS_PER_REQUEST_MAX:
                tx_id, _ = peer.offers.popitem()
                if tx_id not in self._verifying and not self._pool.has(tx_id):
                    (later if tx_id in busy else ids).append(tx_id)
            peer.offers.update(dict.fromkeys(later))
            if ids:
                busy.update(ids)
                sends.append(self._request(name, ids, now))
                peer.offered = True
        return tuple(sends)

    def _busy(self) -> set[bytes]:
        return {tx_id for peer in self._peers.values() for tx_id in peer.asked}

    def _request(self, name: bytes, ids: list[bytes], now: int) -> Send:
        peer = self._peers[name]
        peer.asked, peer.answer_by, peer.offered = tuple(ids), now + ANSWER_TIMEOUT_MS, False
        return Send((name,), Kind.TX_REQUEST, encode(TransactionIds(tuple(ids))))

    def _schedule_relay(self, tx_id: bytes, stage: int, now: int) -> None:
        if len(self._relays[stage]) >= RELAYS_MAX:
            self.dropped += 1
            return
        self._relays[stage].append((now + RELAY_AFTER_MS[stage], tx_id))

    def _announce(self, now: int) -> tuple[Send, ...]:
        """Announce due ids that still wait, to whom they may be news; the later rounds go to all."""
        news: dict[bytes, list[bytes]] = {name: [] for name in self._peers}
        last = len(RELAY_AFTER_MS) - 1
        for stage, queue in enumerate(self._relays):
            while queue and queue[0][0] <= now:
                _, tx_id = queue.popleft()
                if not self._pool.waits(tx_id):
                    continue
                for name, peer in self._peers.items():
                    if stage > 0 or tx_id not in peer.known:
                        news[name].append(tx_id)
                if stage < last:
                    self._schedule_relay(tx_id, stage + 1, now)
        return tuple(
            [
                Send((name,), Kind.TX_IDS, encode(TransactionIds(tuple(ids[at : at + IDS_PER_FRAME_MAX]))))
                for name, ids in news.items()
                for at in range(0, len(ids), IDS_PER_FRAME_MAX)
            ]
        )
