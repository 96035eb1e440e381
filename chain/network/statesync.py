"""Catching up by state, as a pure state machine: the state of a certified height from several peers at once.

A height is believed when its anchor holds (`chain.ledger.proof.anchor`), a chunk when it hashes to what is
known of its path; so peers are equal, rubbish costs its sender the connection, and what one does not answer
another is asked. Nothing is applied before all of it is here; then the node installs it and goes on by
blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from chain.ledger.genesis import Genesis
from chain.ledger.history.snapshot import SnapshotConflicts, SnapshotTooOld, StateLoad
from chain.ledger.proof.anchor import Anchor, TrustedSets
from chain.network.effects import Send
from chain.network.frame import Kind, ProtocolBreach
from chain.network.messages import AnchorAnswer, AnchorRequest, ChunkAnswer, ChunkRequest
from chain.primitives.codec import decode, encode

PIPELINE = 4
"""Chunks asked of one peer at a time."""
ANCHORS_AT_ONCE = 3
REQUEST_TIMEOUT_MS = 5_000
STALL_MS = 20_000
"""Without a new chunk for so long, the height is given up: its state was pruned, or nobody can serve it."""
RETRY_MS, RETRY_MAX_MS = 250, 8_000
STATE_KINDS = frozenset({Kind.ANCHOR, Kind.CHUNK})


class Loads(Protocol):
    """What this needs of the ledger: where a fetched state goes."""

    def begin(self, sets: TrustedSets, anchor: Anchor) -> StateLoad:
        """Start to load the state of an anchor (`StateLoad.begin`)."""

    def resume(self) -> StateLoad | None:
        """Return what a former process began, or None."""

    def abandon(self, load: StateLoad) -> None:
        """Forget what was fetched."""


@dataclass(slots=True)
class _Peer:
    anchor_by: int = 0
    """When the anchor asked for must be here; 0 when none is."""
    asked: dict[bytes, int] = field(default_factory=dict)
    """Path -> when its chunk must be here."""
    failures: int = 0
    not_before: int = 0

    def fail(self, now: int) -> None:
        self.failures = min(self.failures + 1, 16)
        self.not_before = now + min(RETRY_MAX_MS, RETRY_MS << (self.failures - 1))


class StateSync:
    """Fetches the state of one certified height at a time."""

    def __init__(self, loads: Loads, genesis: Genesis) -> None:
        """Go on with a load that a former process began, if any."""
        self._loads, self._sets = loads, TrustedSets(genesis)
        self._peers: dict[bytes, _Peer] = {}
        self._load = loads.resume()
        self._anchor_from = b""
        """Who proved the height of the load under way."""
        self._handed = False
        """The state is complete, and the node installs it."""
        self._moved_at = 0
        self.trouble = ""

    @property
    def busy(self) -> bool:
        """Tell whether a state is being fetched or installed: blocks wait."""
        return self._load is not None

    @property
    def progress(self) -> tuple[int, float] | None:
        """Return (height, share fetched 0..1) of the state under way, None when there is none."""
        return None if self._load is None else (self._load.height, self._load.loader.known_share)

    # --- events -------------------------------------------------------------------------------

    def connected(self, peer: bytes) -> None:
        """Take a peer into account."""
        self._peers[peer] = _Peer()

    def disconnected(self, peer: bytes) -> None:
        """Forget a peer; what it was asked for is asked of others."""
        self._peers.pop(peer, None)

    def on_frame(self, name: bytes, kind: Kind, body: bytes, now: int, above: int) -> None:
        """Take an answer; an anchor counts when it lies above a height. Raises when the peer is at fault."""
        peer = self._peers.get(name)
        if peer is None:
            return
        if kind is Kind.ANCHOR:
            self._on_anchor(name, peer, decode(AnchorAnswer, body), now, above)
        else:
            self._on_chunk(peer, decode(ChunkAnswer, body), now)

    def installed(self) -> None:
        """Note that the state is the ledger's, or turned out not to be needed."""
        self._load, self._handed = None, False

    def step(self, now: int, wanted_from: Iterable[bytes]) -> tuple[tuple[Send, ...], StateLoad | None]:
        """Return what to send, and a complete state to install, once.

        `wanted_from` are the peers that claim to be so far ahead that a state is wanted; empty when none is.
        """
        self._time_out(now)
        if self._load is None:
            return self._ask_anchor(now, wanted_from), None
        if self._load.complete and not self._handed:
            self._handed = True
            return (), self._load
        if not self._handed and now - self._moved_at > STALL_MS and self._moved_at:
            self._loads.abandon(self._load)
            self._load = None
            if self._anchor_from in self._peers:
                self._peers[self._anchor_from].fail(now)  # another may prove a height that others serve
            return (), None
        self._moved_at = self._moved_at or now
        return (() if self._handed else self._ask_chunks(now)), None

    # --- answers ------------------------------------------------------------------------------

    def _on_anchor(self, name: bytes, peer: _Peer, answer: AnchorAnswer, now: int, above: int) -> None:
        if not peer.anchor_by:
            return  # too late
        peer.anchor_by = 0
        followed = self._sets.followed
        self._sets.follow([change for change in answer.changes if change.first > followed])
        anchor = answer.anchor
        if anchor is None:
            if not answer.changes:
                peer.fail(now)
            return
        self._sets.check_anchor(anchor)
        if self._load is not None:
            return
        if anchor.header.height <= above:
            peer.fail(now)  # its claim was empty: it proves less than would make a state worth fetching
            return
        try:
            self._load = self._loads.begin(self._sets, anchor)
            self._moved_at, self._anchor_from, self.trouble = now, name, ""
        except SnapshotConflicts as error:
            self.trouble = str(error)
        except SnapshotTooOld:
            return  # the ledger went past it meanwhile

    def _on_chunk(self, peer: _Peer, answer: ChunkAnswer, now: int) -> None:
        load = self._load
        if load is None or answer.height != load.height or answer.path not in peer.asked:
            return  # too late
        del peer.asked[answer.path]
        if answer.chunk is None:
            peer.fail(now)
            return
        if answer.chunk.path != answer.path:
            raise ProtocolBreach("a chunk of state of another path than was asked for")
        load.take(answer.chunk)
        peer.failures = peer.not_before = 0
        self._moved_at = now

    # --- requests -----------------------------------------------------------------------------

    def _time_out(self, now: int) -> None:
        for peer in self._peers.values():
            late = [path for path, by in peer.asked.items() if now >= by]
            for path in late:
                del peer.asked[path]
            if late or (peer.anchor_by and now >= peer.anchor_by):
                peer.anchor_by = 0
                peer.fail(now)

    def _idle(self, now: int) -> list[bytes]:
        ready = [name for name, peer in self._peers.items() if now >= peer.not_before]
        return sorted(ready, key=lambda name: self._peers[name].failures)

    def _ask_anchor(self, now: int, wanted_from: Iterable[bytes]) -> tuple[Send, ...]:
        """Ask a few at once, since one may be silent; the first anchor that holds is taken."""
        wanted = set(wanted_from)
        room = ANCHORS_AT_ONCE - sum(1 for peer in self._peers.values() if peer.anchor_by)
        names = [name for name in self._idle(now) if name in wanted and not self._peers[name].anchor_by]
        sends = []
        for name in names[: max(0, room)]:
            self._peers[name].anchor_by = now + REQUEST_TIMEOUT_MS
            sends.append(Send((name,), Kind.ANCHOR_REQUEST, encode(AnchorRequest(self._sets.followed))))
        return tuple(sends)

    def _ask_chunks(self, now: int) -> tuple[Send, ...]:
        """Ask every idle peer for the next paths, in turns, so that all of them are equally busy."""
        load = self._load
        assert load is not None
        under_way = {path for peer in self._peers.values() for path in peer.asked}
        paths = iter([path for path in load.loader.wanted() if path not in under_way])
        idle = self._idle(now)
        sends: list[Send] = []
        for _ in range(PIPELINE):
            for name in idle:
                peer = self._peers[name]
                path = next(paths, None) if len(peer.asked) < PIPELINE else None
                if path is not None:
                    peer.asked[path] = now + REQUEST_TIMEOUT_MS
                    body = encode(ChunkRequest(load.height, path))
                    sends.append(Send((name,), Kind.CHUNK_REQUEST, body))
        return tuple(sends)
