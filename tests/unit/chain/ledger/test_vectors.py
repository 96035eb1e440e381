"""Golden bytes: every record of the ledger encodes as it did when data was first written.

A change here is a change of format: raise FORMAT_VERSION or PROTOCOL_VERSION and keep reading the old bytes.
Write the file anew with: python tests/unit/chain/ledger/test_vectors.py
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from chain.ledger import block, genesis, schedule, validity_window
from chain.ledger.block import Skip, entry_hash, header_hash, rolling_hash, skip_digest, transaction_id
from chain.ledger.history import snapshot
from chain.ledger.proof import anchor, proofs
from chain.ledger.proof.proofs import SetChange
from chain.ledger.schedule import PassedOver, ValidatorSet
from chain.ledger.state import bucket, chunk, inner, node, proof, state
from chain.ledger.store import rows
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.port import FORMAT_VERSION
from chain.ledger.testing import ToyChain, toy_decision, toy_genesis
from chain.primitives.certificate import Certificate, payload_digest
from chain.primitives.codec import _TAGS, decode, encode, tag_of
from chain.primitives.runtimeport import Event, map_key

PATH = Path(__file__).parents[3] / "vectors" / "ledger_records.json"
MODULES = (anchor, block, genesis, proofs, rows, schedule, snapshot, chunk, proof, validity_window)


def examples() -> dict[str, Any]:
    """Return one example of each record, all from one small deterministic chain."""
    chain = ToyChain()
    move = chain.call("move", {"source": "a", "target": "b", "subject": "dataset:x"})
    chain.add(move, chain.call("fail", {"code": "NO"}, sender="bureau"))
    chain.add(chain.call("move", {"source": "b", "target": "c", "subject": "dataset:x"}))
    read, prove = chain.ledger.read, chain.ledger.prove
    receipt, batch, certificate = read.receipt(move.id), read.batch(1), read.certificate(1)
    assert receipt is not None
    proved = prove.receipt(move.id)
    assert proved is not None
    whole = toy_genesis()
    change = SetChange(9, whole.validator_keys, prove.header(1))
    anchored = anchor.make_anchor(read, 2, 8)
    skip = Skip(1, payload_digest(read.payload(1) or b""), 0, (move.id,), "kills every node")
    items = [
        move.tx.body,
        move.tx,
        batch,
        receipt,
        receipt.events[0],
        read.header(1),
        read.entries(first=1, limit=1).entries[0],
        read.block(1),
        certificate,
        whole.limits,
        whole.validators[0],
        whole.orgs[0].keys[0],
        whole.orgs[0],
        whole.contracts[0],
        genesis.make_init_args({"toy": {"answer": 42}})[0],
        whole,
        prove.header(1),
        proved.path,
        proved,
        prove.transaction(move.id),
        prove.state("toy", map_key("values", "a"), 1),
        prove.state("toy", map_key("values", "a"), 1).proof,
        prove.history("dataset:x", 2, 2),
        read.head(),
        ValidatorSet(whole.validators),
        PassedOver(((whole.validators[0].public_key, 1_040),)),
        validity_window.read_summary(
            1, read.state(validity_window.NAMESPACE, validity_window.summary_key(1))
        ),
        rows.PrunedBelow(blocks=5, state=4, headers=2, swept=1, archive="archive"),
        rows.Cleared(below=5, until=7, compacted=900, size=70_000),
        change,
        skip,
        toy_decision(whole, skip),
        anchored,
        snapshot.Loading(anchored, (change,), installing=True),
        chunk.StateChunk(b"0a", 3, (bytes(32), bytes(32)), ((b"k" * 32, b"v" * 32),), ((b"\3toyk", b"v"),)),
    ]
    return {tag_of(type(item)): item for item in items}


def hashes(items: dict[str, Any]) -> dict[str, str]:
    """Return every hash that the formats define, over the examples."""
    entry = entry_hash(items["entry"])
    return {
        "chain id": items["genesis"].chain_id.hex(),
        "transaction id": transaction_id(items["tx-body"]).hex(),
        "header hash": header_hash(items["header"]).hex(),
        "entry hash": entry.hex(),
        "skip digest": skip_digest(items["genesis"].chain_id, items["skip"]).hex(),
        "rolling hash": rolling_hash(bytes(32), entry, 1).hex(),
        "state key hash": node.state_key_hash("toy", map_key("values", "a")).hex(),
        "state value hash": node.state_value_hash(b"\x01").hex(),
        "bucket hash": bucket.bucket_hash(bytes(64), bytes(64)).hex(),
        "node hash": inner.inner_hash(3, bytes(64)).hex(),
    }


def rows_hash() -> str:
    """Return a hash over every row and every record that a small chain keeps.

    Among the records are full ones and deltas of a bucket and of an inner node, values, and stale lists.
    """
    chain = ToyChain()
    chain.add(chain.call("move", {"source": "a", "target": "b", "subject": "dataset:x"}))
    chain.add(*[chain.call("put", {"key": key, "value": "x" * (10 * key % 300)}) for key in range(900)])
    chain.add(*[chain.call("put", {"key": key, "value": 7}) for key in range(7)])
    assert isinstance(chain.store, MemoryStore)
    kept = [*chain.store.iterate()]
    for records in chain.store._generations.held.values():
        kept += sorted(records.items())
    assert kinds_of_nodes(chain, 3) == {(inner, delta) for inner in (True, False) for delta in (True, False)}
    return sha256(b"".join(key + b"=" + value + b"\n" for key, value in kept)).hexdigest()


def kinds_of_nodes(chain: ToyChain, height: int) -> set[tuple[bool, bool]]:
    """Return (is an inner node, its last record is a delta) of the nodes of two heights' trees."""
    load = state.node_loader(chain.store)
    found = set[tuple[bool, bool]]()
    for at in (height - 1, height):
        root = chain.ledger.read.tree_root(at)
        assert root is not None
        for _, where, leaves in (root, *inner.children_of(load(root[1], b"", root[0])).values()):
            found.add((not leaves, chain.store.record(where)[0] > 0))
    return found


EXAMPLES = examples()
VECTORS: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {"records": {}, "hashes": {}}


@pytest.mark.parametrize("tag", EXAMPLES)
def test_a_record_has_its_golden_bytes(tag: str) -> None:
    golden = bytes.fromhex(VECTORS["records"][tag])
    assert encode(EXAMPLES[tag]) == golden
    assert decode(type(EXAMPLES[tag]), golden) == EXAMPLES[tag]


def test_every_hash_is_pinned() -> None:
    assert hashes(EXAMPLES) == VECTORS["hashes"]


def test_every_record_of_the_ledger_has_golden_bytes() -> None:
    names = {module.__name__ for module in MODULES} | {Certificate.__module__, Event.__module__}
    declared = {tag for cls, (tag, _) in _TAGS.items() if cls.__module__ in names}
    assert declared == set(VECTORS["records"]) == set(EXAMPLES)


def test_the_rows_and_records_of_a_store_are_pinned() -> None:
    """A directory written by this format is read by it: rows and records of a small chain."""
    assert VECTORS["format"] == FORMAT_VERSION
    assert rows_hash() == VECTORS["rows"]


if __name__ == "__main__":
    document = {
        "about": "Bytes and hashes of the ledger's records (tests/unit/chain/ledger/test_vectors.py)",
        "format": FORMAT_VERSION,
        "rows": rows_hash(),
        "hashes": hashes(EXAMPLES),
        "records": {tag: encode(item).hex() for tag, item in EXAMPLES.items()},
    }
    PATH.write_text(json.dumps(document, indent=1) + "\n")
