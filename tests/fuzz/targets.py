"""What hostile bytes are fed to: every decoder and entry that takes bytes from a peer, a client or a file.

A target returns, or raises one of the declared errors (`AssentError`); anything else is a defect. Seeds are
good bytes, made from a small chain, so that variants get far.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from chain.api.faultlog import FaultLog
from chain.api.lane import Lane
from chain.api.methods.table import method_table
from chain.api.metrics import Metrics
from chain.api.principals import LOCAL
from chain.api.rpc import Calls
from chain.api.sessions import MemberSessions
from chain.api.streams import Streams
from chain.api.waits import Waits
from chain.audit.container import HASH_BYTES, HEAD_BYTES, MAGIC
from chain.audit.package import build_package
from chain.audit.verify import verify_bytes
from chain.config import NodeConfig, RpcSection
from chain.founding.cards import card_from_bytes, card_to_bytes
from chain.founding.consent import consent_from_bytes, consent_to_bytes, give_consent
from chain.founding.draft import draft_from_bytes, draft_to_bytes
from chain.ledger import block, genesis, validity_window
from chain.ledger.batches import check_proposal
from chain.ledger.genesis import genesis_from_json, genesis_to_json
from chain.ledger.history import snapshot
from chain.ledger.ledger import Ledger
from chain.ledger.proof import anchor, proofs
from chain.ledger.proof.anchor import TrustedSets, make_anchor
from chain.ledger.state import chunk, proof
from chain.ledger.state.bucket import ELSEWHERE, address_held, leaf_in, leaves_of, pack_bucket
from chain.ledger.state.chunk import StateChunk, StateLoader, make_chunk
from chain.ledger.state.delta import (
    BUCKET_DELTAS_MAX,
    NODE_DELTAS_MAX,
    addresses_of,
    child_entry,
    delta_record,
    full_record,
    hash_of,
    leaf_entry,
    node_at,
)
from chain.ledger.state.inner import children_of, pack_inner
from chain.ledger.state.node import DELTAS_AT, LEAVES_AT
from chain.ledger.state.state import node_loader
from chain.ledger.store import rows
from chain.ledger.store.records import PendingRecords
from chain.ledger.testing import ToyChain
from chain.mempool.mempool import Mempool
from chain.mempool.refusals import TransactionRefused
from chain.network import messages as wire
from chain.network.encodedtx import encoded_transaction_id
from chain.network.frame import FrameReader, Kind, encode_frame
from chain.network.gossip import Gossip
from chain.network.messages import (
    AnchorAnswer,
    AnchorRequest,
    Blocks,
    BlocksRequest,
    ChunkAnswer,
    ChunkRequest,
    Hello,
    PushedTransactions,
    SyncStatus,
    TransactionIds,
)
from chain.network.statesync import StateSync
from chain.network.sync import BlockSync
from chain.node.ports import GossipPool, StateLoads, SyncChain
from chain.primitives import certificate
from chain.primitives.codec import decode, encode, max_bytes_of, tag_of
from chain.primitives.errors import AssentError, DecodeError
from chain.primitives.jsonvalue import from_json, to_json
from chain.primitives.settings import parse_toml
from chain.primitives.values import decode_value, encode_value
from consensus import messages as consensus_messages
from consensus import votes
from consensus.messages import decode_message
from contracts.runtime import ContractRuntime
from tests.simulation.replicas import Cluster
from tests.unit.chain.founding import founders

PEER = b"\x07" * 32


@dataclass(frozen=True, slots=True)
class Target:
    """One entry: `run` takes hostile bytes, `seeds` returns good ones."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    limit: int = 200_000
    """Longest input worth trying."""


@cache
def chain() -> ToyChain:
    """A small certified chain."""
    made = ToyChain()
    for number in range(4):
        made.add(
            made.call("put", {"key": f"k{number}", "value": [number, "x", b"y"]}),
            made.call("fail", {"code": "NO"}),
        )
    return made


def pool_of(ledger: Ledger) -> Mempool:
    """A fresh pool over a ledger."""
    chain_id, limits = ledger.genesis.chain_id, ledger.genesis.limits
    return Mempool(chain_id, limits, ledger.signer_refusal, ledger.read.is_final)


# --- records and values ---------------------------------------------------------------------------


@cache
def _records() -> tuple[type, ...]:
    modules = (
        anchor, block, certificate, consensus_messages, genesis, proofs, rows, snapshot, chunk,
        proof, votes, validity_window, wire,
    )  # fmt: skip
    found = {item for module in modules for item in vars(module).values() if _is_record(item)}
    return tuple(sorted(found, key=tag_of))


def _is_record(item: Any) -> bool:
    try:
        return isinstance(item, type) and bool(tag_of(item))
    except KeyError:
        return False


def run_record(data: bytes) -> None:
    """First byte: which record class; the rest must decode to exactly what encodes to it."""
    cls = _records()[data[0] % len(_records())] if data else Hello
    item = decode(cls, data[1:])
    if encode(item) != data[1:] or len(data) - 1 > max_bytes_of(cls):
        raise AssertionError(f"{cls.__name__}: decodes but does not encode to the same bytes")


def record_seeds() -> list[bytes]:
    """One good record of most classes."""
    made = chain()
    read, top = made.ledger.read, made.ledger.certified_height
    tx_id = read.transactions(2)[0]
    items: list[Any] = [
        read.header(2), read.certificate(2), read.block(2), read.batch(2), tx_id, *read.receipts(2),
        made.genesis, made.ledger.prove.header(2), made.ledger.prove.state("toy", b"values/\xa2k1", top),
        made.ledger.prove.receipt(read.receipts(2)[0].tx_id), make_anchor(read, top, 8), read.head(),
    ]  # fmt: skip
    places = {cls: place for place, cls in enumerate(_records())}
    return [bytes([places[type(item)]]) + encode(item) for item in items if type(item) in places]


def run_value(data: bytes) -> None:
    """A contract value, its JSON and back."""
    value = decode_value(data, max_bytes=65_536)
    if encode_value(value) != data:
        raise AssertionError("a value decodes but does not encode to the same bytes")
    from_json(json.loads(json.dumps(to_json(value))))


def value_seeds() -> list[bytes]:
    """Values of every kind."""
    values = [
        None,
        True,
        -5,
        2**70,
        -(2**4000),
        "é",
        b"\x00\xff",
        [1, [2, ()]],
        (1, ("a",)),
        {"a": {1: b""}, 7: []},
    ]
    return [encode_value(value) for value in [*values, values]]


# --- what peers send ------------------------------------------------------------------------------


class _Peers:
    """Gossip and catch-up, by blocks and by state, of a fresh node that is fed by one peer."""

    def __init__(self) -> None:
        made = ToyChain()
        genesis, ledger = made.genesis, made.ledger
        self.gossip = Gossip(GossipPool(pool_of(ledger), ledger))
        states = StateSync(StateLoads(ledger), genesis)
        self.sync = BlockSync(SyncChain(ledger), genesis.chain_id, follow=True, states=states, snapshot_lag=1)
        self.gossip.connected(PEER)
        self.sync.connected(PEER, 0)

    def take(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.HELLO:
            decode(Hello, body)
        elif kind is Kind.CONSENSUS:
            decode_message(body)
        elif kind in (Kind.TXS, Kind.TX_IDS, Kind.TX_REQUEST, Kind.TX_ANSWER):
            self.gossip.on_frame(PEER, kind, body, 0)
        elif kind not in (Kind.PING, Kind.PONG, Kind.BYE):
            self.sync.on_frame(PEER, kind, body, 0)
            self.sync.tick(10_000)


def run_frame(data: bytes) -> None:
    """A peer's byte stream, cut in two at an odd place, each body to the part that it is for."""
    peers, reader = _Peers(), FrameReader()
    for part in (data[: len(data) // 3], data[len(data) // 3 :]):
        for kind, body in reader.feed(part):
            try:
                peers.take(kind, body)
            except AssentError:
                continue
    if len(reader._buffer) - reader._at > len(data):
        raise AssertionError("the reader holds more than it was given")


def frame_seeds() -> list[bytes]:
    """A stream of each kind."""
    made = chain()
    header, cert, good = made.ledger.read.header(3), made.ledger.read.certificate(3), encode(made.block(3))
    call = made.call("put", {"key": "z", "value": 1})
    anchor_bytes, chunk_bytes = (seed[1:] for seed in chunk_seeds()[:2])
    assert header is not None
    assert cert is not None
    bodies = {
        Kind.HELLO: encode(Hello(bytes(32), 1, bytes(8), "x:1", 3)),
        Kind.PING: bytes(8),
        Kind.BYE: b"so long",
        Kind.CONSENSUS: consensus_seeds()[0],
        Kind.TXS: encode(PushedTransactions((call.raw,))),
        Kind.TX_IDS: encode(TransactionIds((bytes(32), call.id))),
        Kind.TX_REQUEST: encode(TransactionIds((call.id,))),
        Kind.STATUS: encode(SyncStatus(header, cert, 1)),
        Kind.BLOCKS_REQUEST: encode(BlocksRequest(1, 3)),
        Kind.BLOCKS: encode(Blocks(3, (good,))),
        Kind.ANCHOR_REQUEST: encode(AnchorRequest(0)),
        Kind.ANCHOR: encode(AnchorAnswer((), decode(anchor.Anchor, anchor_bytes))),
        Kind.CHUNK_REQUEST: encode(ChunkRequest(made.ledger.head.height, b"")),
        Kind.CHUNK: encode(ChunkAnswer(made.ledger.head.height, b"", decode(StateChunk, chunk_bytes))),
    }
    assert bodies.keys() == set(Kind) - {Kind.PONG, Kind.TX_ANSWER}
    frames = {kind: encode_frame(kind, body) for kind, body in bodies.items()}
    catch_up = (Kind.STATUS, Kind.ANCHOR, Kind.CHUNK)
    return [*frames.values(), b"".join(frames[kind] for kind in catch_up)]


@cache
def _cluster() -> tuple[Cluster, list[bytes]]:
    """A cluster in the middle of its work, and the messages that crossed so far."""
    cluster, seen = Cluster(4, seed=3), list[bytes]()

    def note(_a: Any, _b: Any, message: Any) -> bool:
        seen.append(encode(message))
        return True

    cluster.filters = [note]
    for _ in range(3):
        cluster.submit(3)
        cluster.run_for(400)
    cluster.filters = [lambda _a, _b, message: note(_a, _b, message) and type(message).__name__ != "Commit"]
    cluster.submit(3)
    cluster.run_for(9_000)
    return cluster, seen


def consensus_seeds() -> list[bytes]:
    """Some of each kind of message, view changes and new views among them."""
    kinds: dict[str, list[bytes]] = {}
    for raw in _cluster()[1]:
        kinds.setdefault(type(decode_message(raw)).__name__, []).append(raw)
    return [raw for items in kinds.values() for raw in (items[0], items[len(items) // 2], items[-1])]


def run_consensus(data: bytes) -> None:
    """A message from a peer to a replica in the middle of its work."""
    cluster = _cluster()[0]
    node = cluster.nodes[0]
    assert node.driver is not None
    node.driver.on_message(cluster.nodes[1].key.public, data, cluster.now)


def run_transaction(data: bytes) -> None:
    """What a client or peer sends as a transaction, and what a primary sends as a batch."""
    made = chain()
    pool = pool_of(made.ledger)
    try:
        encoded_transaction_id(data)
        candidate = pool.prepare(data)
        pool.admit(candidate, made.ledger.head.height, verified=candidate.signature_holds)
    except (TransactionRefused, DecodeError):
        check_proposal(data, made.ledger.head.height + 1, made.genesis.limits)


def transaction_seeds() -> list[bytes]:
    """Signed transactions and batches."""
    made = chain()
    calls = [
        made.call("put", {"key": "a", "value": [1, 2]}),
        made.call("announce", {"subjects": ["org:bank"]}),
    ]
    return [*[call.raw for call in calls], made.payload(calls), made.payload([])]


def run_chunk(data: bytes) -> None:
    """What a peer serves of a snapshot: an anchor, or a chunk of the state."""
    made = chain()
    if data[:1] == b"a":
        TrustedSets(made.genesis).check_anchor(decode(anchor.Anchor, data[1:]))
        return
    header = made.ledger.head_header
    StateLoader(header.height, header.state_root).take(decode(StateChunk, data[1:]), PendingRecords(0))


def chunk_seeds() -> list[bytes]:
    """The anchor of the small chain, the root's chunk, and the node there in place of its entries."""
    made = chain()
    read, head = made.ledger.read, made.ledger.head
    root, load = read.tree_root(head.height), node_loader(made.store)
    assert root is not None
    chunk = make_chunk(load, read.entry_at_leaf, root, b"")
    assert chunk is not None
    node = load(root[1], b"", root[0])
    assert node[LEAVES_AT], "few enough to stand in one bucket"
    leaves = tuple((key, hashed) for key, hashed, _ in leaves_of(node))
    return [b"a" + encode(make_anchor(read, head.height, made.genesis.limits.consensus_window)),
            b"c" + encode(chunk), b"c" + encode(StateChunk(b"", 0, (), leaves, ()))]  # fmt: skip


# --- what the disk brings -------------------------------------------------------------------------


def run_node(data: bytes) -> None:
    """Records, each behind its length (2 bytes), at the addresses 0, 1, ...; each read as a node."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data) and len(records) < 16:
        size = int.from_bytes(data[at : at + 2], "big")
        records[len(records).to_bytes(8, "big")] = data[at + 2 : at + 2 + size]
        at += 2 + size
    for where in records:
        _read_node(records, where)


def _read_node(records: dict[bytes, bytes], where: bytes) -> None:
    read: list[bytes] = []

    def record(place: bytes) -> bytes:
        read.append(place)
        return records.get(place, b"")

    node = node_at(record, where)
    chain_of_records = list(addresses_of(record, where))
    if len(read) > 2 * (NODE_DELTAS_MAX + 1) or len(chain_of_records) > NODE_DELTAS_MAX + 1:
        raise AssertionError("more records are read than a node may have")
    if node is None:
        return
    hash_of(node)
    if node[DELTAS_AT] > (BUCKET_DELTAS_MAX if node[LEAVES_AT] else NODE_DELTAS_MAX):
        raise AssertionError("a node of more deltas than its kind may have is read")
    if chain_of_records != read[: node[DELTAS_AT] + 1]:
        raise AssertionError("other places are listed than those that were read")
    if not node[LEAVES_AT]:
        if pack_inner(children_of(node))[LEAVES_AT:] != node[LEAVES_AT:]:
            raise AssertionError("an inner node is not made of its children")
        return
    leaves = list(leaves_of(node))
    if pack_bucket(leaves)[LEAVES_AT:] != node[LEAVES_AT:]:
        raise AssertionError("a bucket is not made of its leaves")
    for key, _, held in leaves:
        address_held(held)
        if leaf_in(node, key) is None:
            raise AssertionError("a leaf is not found by its key")


def node_seeds() -> list[bytes]:
    """A bucket and an inner node with as many deltas as they may have, a full record each, and a loop."""
    keys = [bytes([16 * i]) * 32 for i in range(8)]
    bucket = pack_bucket([(key, key, ELSEWHERE + bytes(8)) for key in keys])
    inner = pack_inner({16 * i: (key, bytes(8), i) for i, key in enumerate(keys)})
    made: list[list[bytes]] = []
    for node in (bucket, inner):
        made.append([full_record(node)])
        for number in range(BUCKET_DELTAS_MAX if node is bucket else NODE_DELTAS_MAX):
            node[:DELTAS_AT] = number.to_bytes(8, "big")
            entry = (
                leaf_entry(number, bytes(32), b"\0held")
                if node is bucket
                else child_entry(16 * number, (bytes(32), bytes(8), 1))
            )
            made[-1].append(delta_record(node, number + 1, entry))
    loop = [bytes([1]) + (1 - place).to_bytes(8, "big") for place in range(2)]
    return [
        b"".join(len(record).to_bytes(2, "big") + record for record in records) for records in (*made, loop)
    ]


# --- what clients and files bring -----------------------------------------------------------------


@cache
def _rpc() -> tuple[Calls, asyncio.AbstractEventLoop]:
    ledger = _story()[0].ledger
    pool = pool_of(ledger)

    async def submit(encoded: Any) -> list[Any]:
        found: list[Any] = []
        for raw in encoded:
            try:
                found.append(pool.prepare(raw))
            except TransactionRefused as refusal:
                found.append(refusal)
        return found

    streams = Streams(ledger)
    said = SimpleNamespace(info=dict, consensus=dict, peers=list, sync=dict, evidence=lambda *_: [])
    node: Any = SimpleNamespace(
        ledger=ledger, pool=pool, runtime=ContractRuntime(), status=said, streams=streams, submit=submit,
        waits=Waits(256), lane=Lane(),
        sessions=MemberSessions(ledger, bytes(32), "all", lambda: 0),
    )  # fmt: skip
    config = RpcSection(request_timeout_ms=100)
    calls = Calls(config, method_table(node), 4_000_000, Metrics(), FaultLog(time.monotonic))
    return calls, asyncio.new_event_loop()


class _Anybody:
    """A caller without bounds."""

    principal, address = LOCAL, "127.0.0.1"
    drop_calls: Callable[[], None] | None = None

    async def turn(self) -> None: ...

    def count(self) -> None: ...

    def charge(self, _amount: int) -> bool:
        return True

    def read(self) -> None: ...

    def hold(self, _amount: int) -> bool:
        return True


def run_rpc(data: bytes) -> None:
    """One request body; every answer is a result or a declared JSON-RPC error, never "internal error"."""
    calls, loop = _rpc()
    answer = json.loads(loop.run_until_complete(calls.answer(data, _Anybody())))
    for item in answer if isinstance(answer, list) else [answer]:
        if item.get("error", {}).get("code") == -32603:
            raise AssertionError(f"internal error for {data[:300]!r}")
    json.dumps(answer)


def rpc_seeds() -> list[bytes]:
    """A call of every method."""
    ledger = _story()[0].ledger
    receipt = ledger.read.receipts(2)[0]
    tx = encode(ledger.read.transactions(2)[0]).hex()
    entry = {"contract": "datasets", "map": "datasets", "key": "bank/credit"}
    calls: dict[str, dict[str, Any]] = {
        "rpc.discover": {}, "getChallenge": {},
        "openSession": {"key": "ab" * 32, "challenge": "ab" * 40, "signature": "ab" * 64},
        "getBlockNumber": {}, "getBlockByNumber": {"height": 2}, "getHeader": {"height": 2},
        "getBlockByHash": {"hash": ledger.head.header_hash.hex()}, "getGenesis": {}, "getSealerList": {},
        "getPeers": {}, "getTransaction": {"id": receipt.tx_id.hex(), "withProof": True},
        "getTransactionReceipt": {"id": receipt.tx_id.hex(), "withProof": True, "waitMs": 1},
        "sendTransaction": {"transaction": tx, "mode": "sync"}, "sendTransactions": {"transactions": [tx]},
        "call": {"contract": "datasets", "method": "get", "args": {"dataset": "bank/credit"}},
        "getCode": {"contract": "policy"}, "getABI": {"contract": "policy"},
        "getState": {**entry, "withProof": True},
        "getStateRange": {"contract": "orgs", "map": "orgs", "limit": 2},
        "getEvents": {"fromHeight": 0, "toHeight": 3, "limit": 5}, "getHistory": {"subject": "org:bank"},
        "getTotalTransactionCount": {}, "getPendingTxSize": {},
    }  # fmt: skip
    one = [{"jsonrpc": "2.0", "id": 1, "method": name, "params": params} for name, params in calls.items()]
    return [*[json.dumps(item).encode() for item in one], json.dumps(one[:3]).encode()]


def run_genesis(data: bytes) -> None:
    """A genesis file's content."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    genesis_from_json(document, "genesis.json")


def genesis_seeds() -> list[bytes]:
    """A good file, and a small one without its chain id."""
    document = genesis_to_json(chain().genesis)
    return [
        json.dumps(document).encode(),
        json.dumps({k: v for k, v in document.items() if k != "chain_id"}).encode(),
    ]


FOUNDING_FILES: tuple[Callable[[bytes, str], object], ...] = (
    card_from_bytes,
    draft_from_bytes,
    consent_from_bytes,
)


def run_founding(data: bytes) -> None:
    """A card, a draft or a signature of another founder, as the first byte says."""
    FOUNDING_FILES[data[0] % len(FOUNDING_FILES) if data else 0](data[1:], "a file")


def founding_seeds() -> list[bytes]:
    """One of each, whole."""
    draft = founders.draft_of("bank", "bureau")
    consent = give_consent(draft, "bank", founders.key("bank admin"))
    files = (card_to_bytes(draft.cards[0]), draft_to_bytes(draft), consent_to_bytes(consent))
    return [bytes([kind]) + file for kind, file in enumerate(files)]


def run_config(data: bytes) -> None:
    """A node.toml."""
    parse_toml("node.toml", data, NodeConfig)


def config_seeds() -> list[bytes]:
    """Settings of each table."""
    return [
        b'[network]\nlisten = "127.0.0.1:1"\nsend_queue_bytes = 1048576\n[rpc]\nlisten = "[::1]:80"\n',
        b'[files]\ndata_dir = "d"\n[mempool]\nmax_bytes = 1048576\n[log]\nlevel = "info"\n',
        b'[solo]\norganisation = "a"\n',
    ]


@cache
def _story() -> tuple[Any, bytes]:
    from tests.unit.chain.audit.conftest import Story

    told = Story()
    told.tell()
    return told, asyncio.run(build_package(told.source, told.genesis, "dataset:bank/credit"))


def run_audit(data: bytes) -> None:
    """A whole file, or (first byte `r`) one record exchanged in a package whose hash was made anew."""
    told, package = _story()
    if data[:1] == b"r":
        data = _exchanged(package, data[1:])
    verify_bytes(data, told.genesis)


def _exchanged(package: bytes, change: bytes) -> bytes:
    records = _cut(package)
    if len(change) > 2:
        at = int.from_bytes(change[:2], "big") % len(records)
        records[at] = records[at][:1] + (len(change) - 2).to_bytes(4, "big") + change[2:]
    whole = MAGIC + b"".join(records)
    return whole + sha256(whole).digest()


def _cut(package: bytes) -> list[bytes]:
    found, at = [], len(MAGIC)
    while at < len(package) - HASH_BYTES:
        size = HEAD_BYTES + int.from_bytes(package[at + 1 : at + HEAD_BYTES], "big")
        found.append(package[at : at + size])
        at += size
    return found


def audit_seeds() -> list[bytes]:
    """The package, and the first records of every kind."""
    _, package = _story()
    seeds, seen = [package], Counter[int]()
    for place, record in enumerate(_cut(package)):
        seen[record[0]] += 1
        if seen[record[0]] <= 4:
            seeds.append(b"r" + place.to_bytes(2, "big") + record[HEAD_BYTES:])
    return seeds


TARGETS = {
    target.name: target
    for target in (
        Target("record", run_record, record_seeds),
        Target("value", run_value, value_seeds),
        Target("frame", run_frame, frame_seeds),
        Target("consensus", run_consensus, consensus_seeds),
        Target("transaction", run_transaction, transaction_seeds),
        Target("chunk", run_chunk, chunk_seeds),
        Target("node", run_node, node_seeds),
        Target("rpc", run_rpc, rpc_seeds),
        Target("genesis", run_genesis, genesis_seeds),
        Target("founding", run_founding, founding_seeds),
        Target("config", run_config, config_seeds),
        Target("audit", run_audit, audit_seeds),
    )
}
