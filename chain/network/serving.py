"""Answering peers that catch up: blocks, anchors and chunks of state.

How many a second a peer may have is a matter of its account (`chain.network.account`).
"""

from __future__ import annotations

from typing import Protocol

from chain.ledger.proof.anchor import Anchor
from chain.ledger.proof.proofs import SetChange
from chain.ledger.pruned import NotHeld
from chain.ledger.state.chunk import StateChunk
from chain.network.effects import Send
from chain.network.frame import ANCHOR_CHANGES_MAX, Kind
from chain.network.messages import (
    AnchorAnswer,
    AnchorRequest,
    Blocks,
    BlocksRequest,
    ChunkAnswer,
    ChunkRequest,
)
from chain.primitives.codec import decode, encode

RANGE_BLOCKS = 32
ANSWER_BYTES = 1_048_576
"""An answer ends with the block that reaches this."""
REQUEST_KINDS = frozenset({Kind.BLOCKS_REQUEST, Kind.ANCHOR_REQUEST, Kind.CHUNK_REQUEST})


class BlockSource(Protocol):
    """What is served, out of the ledger."""

    def block(self, height: int) -> bytes | None:
        """Return the encoded block, with its certificate, or None where it is not here."""

    def set_changes(self, above: int, limit: int) -> tuple[SetChange, ...]:
        """Return the proved validator sets in force from a height above this one; raise NotHeld."""

    def anchor(self) -> Anchor | None:
        """Return what proves the certified height, None where a part of it is not here."""

    def chunk(self, height: int, path: bytes) -> StateChunk | None:
        """Return a chunk of the state of a height, None where it is not here or nothing stands there."""


class Server:
    """Answers requests out of the ledger."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source

    def answer(self, peer: bytes, kind: Kind, body: bytes) -> Send:
        """Return the answer to one of `REQUEST_KINDS`; raise DecodeError."""
        if kind is Kind.ANCHOR_REQUEST:
            return Send((peer,), Kind.ANCHOR, encode(self._anchor(decode(AnchorRequest, body))))
        if kind is Kind.CHUNK_REQUEST:
            wanted = decode(ChunkRequest, body)
            chunk = self._source.chunk(wanted.height, wanted.path)
            return Send((peer,), Kind.CHUNK, encode(ChunkAnswer(wanted.height, wanted.path, chunk)))
        return Send((peer,), Kind.BLOCKS, encode(self._blocks(decode(BlocksRequest, body))))

    def _anchor(self, request: AnchorRequest) -> AnchorAnswer:
        try:
            changes = self._source.set_changes(request.followed, ANCHOR_CHANGES_MAX)
        except NotHeld:
            return AnchorAnswer((), None)  # a header in between is not here: another can prove more
        more = len(changes) == ANCHOR_CHANGES_MAX
        return AnchorAnswer(changes, None if more else self._source.anchor())

    def _blocks(self, request: BlocksRequest) -> Blocks:
        blocks: list[bytes] = []
        size = 0
        for height in range(request.first, request.first + min(request.count, RANGE_BLOCKS)):
            encoded = self._source.block(height) if size < ANSWER_BYTES else None
            if encoded is None:
                break
            blocks.append(encoded)
            size += len(encoded)
        return Blocks(request.first, tuple(blocks))
