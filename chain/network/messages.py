"""The records that nodes exchange: greeting, transaction gossip, catch-up by blocks and by state."""

from __future__ import annotations

from typing import Annotated

from chain.ledger.block import TX_BYTES_MAX, Block, Header
from chain.ledger.proof.anchor import Anchor
from chain.ledger.proof.proofs import SetChange
from chain.ledger.state.chunk import Path, StateChunk
from chain.network.frame import ANCHOR_CHANGES_MAX, BOUNDS, IDS_PER_FRAME_MAX, Kind
from chain.primitives.certificate import Certificate
from chain.primitives.codec import U64, Bound, Hash, max_bytes_of, record

NETWORK_VERSION = 1
BLOCKS_PER_ANSWER_MAX = 128

EncodedTransaction = Annotated[bytes, Bound(1, TX_BYTES_MAX + 128)]
EncodedBlock = Annotated[bytes, Bound(1, max_bytes_of(Block))]
Ids = Annotated[tuple[Hash, ...], Bound(0, IDS_PER_FRAME_MAX)]


@record("hello", max_bytes=BOUNDS[Kind.HELLO])
class Hello:
    """First frame of each side of a connection."""

    chain_id: Hash
    version: U64
    """NETWORK_VERSION of the sender."""
    session: Annotated[bytes, Bound(8, 8)]
    """Random per process: a new one proves that the peer restarted and its older connection is dead."""
    listen: Annotated[str, Bound(0, 255)]
    """"host:port" where the sender accepts connections; for people, never dialled unasked."""
    height: U64
    """Certified height the sender claims: shown, never trusted."""


@record("txs", max_bytes=BOUNDS[Kind.TXS])
class PushedTransactions:
    """Encoded transactions, pushed."""

    transactions: Annotated[tuple[EncodedTransaction, ...], Bound(0, IDS_PER_FRAME_MAX)]


@record("tx-ids", max_bytes=BOUNDS[Kind.TX_IDS])
class TransactionIds:
    """Ids of transactions that the sender has (announcement), or misses (request)."""

    ids: Ids


@record("tx-answer", max_bytes=BOUNDS[Kind.TX_ANSWER])
class TransactionAnswer:
    """Requested transactions, and the requested ids that the sender cannot serve now."""

    transactions: Annotated[tuple[EncodedTransaction, ...], Bound(0, IDS_PER_FRAME_MAX)]
    missing: Ids


@record("sync-status", max_bytes=BOUNDS[Kind.STATUS])
class SyncStatus:
    """The sender's certified head; worth as much as its certificate."""

    header: Header
    certificate: Certificate
    blocks_from: U64
    """The sender's pruned-below height, as it claims: it has the blocks from there on."""


@record("blocks-request", max_bytes=BOUNDS[Kind.BLOCKS_REQUEST])
class BlocksRequest:
    """Ask for consecutive blocks; the answer may hold fewer, or none."""

    first: U64
    count: Annotated[int, Bound(1, BLOCKS_PER_ANSWER_MAX)]


@record("blocks", max_bytes=BOUNDS[Kind.BLOCKS])
class Blocks:
    """Encoded blocks from `first` upwards, answering one request."""

    first: U64
    blocks: Annotated[tuple[EncodedBlock, ...], Bound(0, BLOCKS_PER_ANSWER_MAX)]


@record("anchor-request", max_bytes=BOUNDS[Kind.ANCHOR_REQUEST])
class AnchorRequest:
    """Ask for what proves the receiver's certified height."""

    followed: U64
    """The height from which the newest validator set that the sender knows is in force; 0 for genesis."""


@record("anchor-answer", max_bytes=BOUNDS[Kind.ANCHOR])
class AnchorAnswer:
    """The next validator sets and, once there are no more, the anchor."""

    changes: Annotated[tuple[SetChange, ...], Bound(0, ANCHOR_CHANGES_MAX)]
    anchor: Anchor | None
    """None when more changes follow, or when the sender has nothing certified."""


@record("chunk-request", max_bytes=BOUNDS[Kind.CHUNK_REQUEST])
class ChunkRequest:
    """Ask for a part of the state of a height."""

    height: U64
    path: Path


@record("chunk-answer", max_bytes=BOUNDS[Kind.CHUNK])
class ChunkAnswer:
    """What was asked for; no chunk where the sender does not have that state."""

    height: U64
    path: Path
    chunk: StateChunk | None
