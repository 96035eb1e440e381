"""Golden bytes of every record that nodes exchange; a change is a change of protocol (NETWORK_VERSION).

Write the file anew with: python tests/unit/chain/network/test_vectors.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chain.ledger.proof.anchor import make_anchor
from chain.ledger.proof.proofs import SetChange
from chain.ledger.testing import ToyChain
from chain.network import messages
from chain.network.messages import (
    NETWORK_VERSION,
    AnchorAnswer,
    AnchorRequest,
    Blocks,
    BlocksRequest,
    ChunkAnswer,
    ChunkRequest,
    Hello,
    PushedTransactions,
    SyncStatus,
    TransactionAnswer,
    TransactionIds,
)
from chain.node.ports import SyncChain
from chain.primitives.codec import _TAGS, decode, encode, tag_of

PATH = Path(__file__).parents[3] / "vectors" / "network_records.json"


def examples() -> dict[str, Any]:
    """Return one example of each record."""
    chain = ToyChain()
    call = chain.call("put", {"key": 1, "value": 1})
    chain.add(call)
    chain.add()
    read = chain.ledger.read
    header, certificate = SyncChain(chain.ledger).head() or (None, None)
    assert header is not None
    assert certificate is not None
    change = SetChange(9, chain.genesis.validator_keys, chain.ledger.prove.header(1))
    chunk = SyncChain(chain.ledger).chunk(2, b"")
    assert chunk is not None
    items = [
        Hello(chain.genesis.chain_id, NETWORK_VERSION, bytes(8), "127.0.0.1:30300", 7),
        PushedTransactions((call.raw,)),
        TransactionIds((call.id,)),
        TransactionAnswer((call.raw,), (bytes(32),)),
        SyncStatus(header, certificate, 1),
        BlocksRequest(1, 32),
        Blocks(1, (encode(read.block(1)),)),
        AnchorRequest(9),
        AnchorAnswer((change,), make_anchor(read, 2, 8)),
        ChunkRequest(2, b"0"),
        ChunkAnswer(2, b"", chunk),
    ]
    return {tag_of(type(item)): item for item in items}


EXAMPLES = examples()
VECTORS: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {"records": {}}


@pytest.mark.parametrize("tag", EXAMPLES)
def test_a_record_has_its_golden_bytes(tag: str) -> None:
    golden = bytes.fromhex(VECTORS["records"][tag])
    assert encode(EXAMPLES[tag]) == golden
    assert decode(type(EXAMPLES[tag]), golden) == EXAMPLES[tag]


def test_every_record_of_the_network_has_golden_bytes() -> None:
    declared = {tag for cls, (tag, _) in _TAGS.items() if cls.__module__ == messages.__name__}
    assert declared == set(VECTORS["records"]) == set(EXAMPLES)
    assert VECTORS["version"] == NETWORK_VERSION


if __name__ == "__main__":
    document = {
        "about": "Bytes of the records that nodes exchange (tests/unit/chain/network/test_vectors.py)",
        "version": NETWORK_VERSION,
        "records": {tag: encode(item).hex() for tag, item in EXAMPLES.items()},
    }
    PATH.write_text(json.dumps(document, indent=1) + "\n")
