"""Frames: one byte of kind, four of length (big endian), then the body; every kind has a hard bound.

The bound is checked on the five header bytes, before any of the body is kept, so a claimed length costs
nothing (FISCO-BCOS 1951 buffered gigabytes for one). Memory grows with bytes that arrived, never with
bytes that were announced.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum

from chain.ledger.block import BATCH_TXS_MAX, TX_BYTES_MAX, Block
from chain.ledger.proof.anchor import Anchor
from chain.ledger.proof.proofs import SetChange
from chain.ledger.state.chunk import StateChunk
from chain.primitives.codec import max_bytes_of
from chain.primitives.errors import AssentError

HEADER_BYTES = 5
_HEADER = struct.Struct(">BI")
_SLACK_BYTES = 65_536


class Kind(IntEnum):
    """What a frame's body is."""

    HELLO = 1
    """Who speaks for which chain; the first frame of each side."""
    PING = 2
    PONG = 3
    BYE = 4
    """Why the sender closes, UTF-8: for the other side's log."""
    CONSENSUS = 16
    """Opaque to the network."""
    TXS = 32
    """Transactions pushed by the node that admitted them."""
    TX_IDS = 33
    """Ids of transactions that the sender has and the receiver may miss."""
    TX_REQUEST = 34
    TX_ANSWER = 35
    STATUS = 48
    """The sender's certified head: header and certificate."""
    BLOCKS_REQUEST = 49
    BLOCKS = 50
    ANCHOR_REQUEST = 51
    ANCHOR = 52
    """What proves the sender's certified height to whoever has the genesis."""
    CHUNK_REQUEST = 53
    CHUNK = 54
    """A part of the state of one height."""


TXS_BYTES_MAX = 1_048_576
ANCHOR_CHANGES_MAX = 8
"""Set changes in one answer; a chain with more is followed in several."""
IDS_PER_FRAME_MAX = 4_096
IDS_PER_REQUEST_MAX = 1_024
BOUNDS: Mapping[Kind, int] = {
    Kind.HELLO: 1_024,
    Kind.PING: 8,
    Kind.PONG: 8,
    Kind.BYE: 512,
    Kind.CONSENSUS: 16_777_216,
    Kind.TXS: TXS_BYTES_MAX + TX_BYTES_MAX + _SLACK_BYTES,
    Kind.TX_IDS: IDS_PER_FRAME_MAX * 34 + 64,
    Kind.TX_REQUEST: IDS_PER_REQUEST_MAX * 34 + 64,
    Kind.TX_ANSWER: TXS_BYTES_MAX + TX_BYTES_MAX + _SLACK_BYTES + IDS_PER_FRAME_MAX * 34,
    Kind.STATUS: 20_480,
    Kind.BLOCKS_REQUEST: 64,
    Kind.BLOCKS: max_bytes_of(Block) + _SLACK_BYTES,
    Kind.ANCHOR_REQUEST: 64,
    Kind.ANCHOR: ANCHOR_CHANGES_MAX * max_bytes_of(SetChange) + max_bytes_of(Anchor) + _SLACK_BYTES,
    Kind.CHUNK_REQUEST: 128,
    Kind.CHUNK: max_bytes_of(StateChunk) + 1_024,
}
"""Largest body per kind, in bytes."""

ANSWERS: Mapping[Kind, Kind] = {
    Kind.PING: Kind.PONG,
    Kind.TX_REQUEST: Kind.TX_ANSWER,
    Kind.BLOCKS_REQUEST: Kind.BLOCKS,
    Kind.ANCHOR_REQUEST: Kind.ANCHOR,
    Kind.CHUNK_REQUEST: Kind.CHUNK,
}
"""Request kind -> the kind that answers it. An answer is admitted only to a side that asked for it."""

assert BOUNDS[Kind.CONSENSUS] > BATCH_TXS_MAX * 40, "a full proposal must fit one consensus frame"


class NetworkError(AssentError):
    """Trouble between two nodes: the text names the peer, what happened and the remedy."""

    code = "network"


class ProtocolBreach(NetworkError):
    """A peer sent what the protocol forbids: it is disconnected; update or inspect that node."""

    code = "protocol_breach"


def encode_frame(kind: Kind, body: bytes) -> bytes:
    """Return one frame; exceeding the kind's bound is our own bug (ValueError)."""
    if len(body) > BOUNDS[kind]:
        raise ValueError(f"{kind.name} frame of {len(body)} bytes, at most {BOUNDS[kind]}")
    return _HEADER.pack(kind, len(body)) + body


class FrameReader:
    """Cuts a byte stream into frames; holds what it was fed and not asked for yet, and never pre-allocates.

    `admit(kind)` is asked once per header and may raise ProtocolBreach to refuse the body unread.
    """

    __slots__ = ("_admit", "_admitted", "_at", "_bounds", "_buffer")

    def __init__(
        self, admit: Callable[[Kind], None] | None = None, bounds: Mapping[Kind, int] = BOUNDS
    ) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._admit, self._bounds = admit, bounds
        self._admitted = False

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Take more of the stream; return `frames()`."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data
        return self.frames()

    def frames(self) -> Iterator[tuple[Kind, bytes]]:
        """Yield the frames that are whole, oldest first; raise ProtocolBreach on a forbidden header.

        Lazy, so that what a frame changes (a greeting) counts for the header after it. Who stops early finds
        the rest in the next iterator.
        """
        while len(self._buffer) - self._at >= HEADER_BYTES:
            kind, length = self._header(self._buffer, self._at)
            start = self._at + HEADER_BYTES
            end = start + length
            if end > len(self._buffer):
                return
            body = bytes(memoryview(self._buffer)[start:end])
            self._admitted = False
            self._at = end
            yield kind, body
        if self._at == len(self._buffer):
            self._buffer.clear()
            self._at = 0

    def _header(self, buffer: bytearray, at: int) -> tuple[Kind, int]:
        number, length = _HEADER.unpack_from(buffer, at)
        kind = _KINDS.get(number)
        if kind is None:
            raise ProtocolBreach(f"frame of unknown kind {number}: the peer speaks another protocol")
        if length > self._bounds[kind]:
            raise ProtocolBreach(f"{kind.name} frame claims {length} bytes, at most {self._bounds[kind]}")
        if not self._admitted:
            if self._admit is not None:
                self._admit(kind)
            self._admitted = True
        return kind, length


_KINDS: Mapping[int, Kind] = {int(kind): kind for kind in Kind}
