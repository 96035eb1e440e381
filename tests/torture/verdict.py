"""What must hold afterwards, read from the stopped nodes' data directories, not from what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chain.ledger.block import header_hash
from chain.ledger.genesis import Genesis
from chain.ledger.ledger import Ledger
from chain.ledger.store.leveldb import LevelStore
from chain.primitives.certificate import check_certificate
from chain.primitives.errors import AssentError
from chain.primitives.runtimeport import map_key
from chain.primitives.values import decode_value
from contracts.runtime import ContractRuntime


class TortureFailed(AssentError):
    """The cluster broke a promise: the text says which; replay the seed and read the nodes' logs."""

    code = "torture_failed"


@dataclass(frozen=True, slots=True)
class Held:
    """What one stopped node's ledger holds, up to its certified height."""

    node: str
    first: int
    """Lowest height whose block is there; above 1 after a snapshot."""
    height: int
    hashes: Mapping[int, bytes]
    roots: Mapping[int, bytes]
    executed: Mapping[str, list[int]]
    """transaction id -> heights whose receipt is not `skipped`."""
    skipped: Mapping[str, int]
    """transaction id -> the last height whose receipt says `skipped` (expired, or a repetition)."""
    ok: int
    counted: int
    """Sum of the counters in the state."""


def read_ledger(node: str, data: Path, genesis: Genesis, contract: str, keys: int) -> Held:
    """Open a stopped node's data (its parts are checked against one another) and verify every height."""
    store = LevelStore(data)
    try:
        ledger = Ledger(store, genesis, ContractRuntime())
        top = ledger.certified_height
        hashes, roots, executed, ok = {}, {}, dict[str, list[int]](), 0
        first, skipped = 0, dict[str, int]()
        for height in range(1, top + 1):
            header, certificate = ledger.read.header(height), ledger.read.certificate(height)
            if header is None:
                raise TortureFailed(f"{node}: height {height} of {top} has no header")
            if certificate is None or certificate.header_hash != header_hash(header):
                raise TortureFailed(f"{node}: height {height} has no certificate of its header")
            check_certificate(certificate, genesis.chain_id, ledger.validator_keys_at(height))
            hashes[height], roots[height] = header_hash(header), header.state_root
            if ledger.read.payload(height) is None:
                continue
            first = first or height
            for receipt in ledger.read.receipts(height):
                if receipt.status == "skipped":
                    skipped[receipt.tx_id.hex()] = height
                else:
                    executed.setdefault(receipt.tx_id.hex(), []).append(height)
                    ok += receipt.status == "ok"
        counters = [
            ledger.read.state_at(contract, map_key("entries", f"k{number}"), top) for number in range(keys)
        ]
        counted = sum(int(decode_value(raw, max_bytes=64)) for raw in counters if raw is not None)  # type: ignore[arg-type]
        return Held(node, first, top, hashes, roots, executed, skipped, ok, counted)
    finally:
        store.close()


def judge(held: list[Held], certified: Mapping[str, int], proved: Mapping[str, int], extra: int) -> list[str]:
    """Return every broken promise; `extra` transactions of the set-up are ok and count nothing."""
    broken: list[str] = []
    top = min(item.height for item in held)
    if {item.height for item in held} != {top}:
        broken.append(f"heights differ: { {item.node: item.height for item in held} }")
    for height in range(1, top + 1):
        if len({item.hashes[height] for item in held}) != 1:
            broken.append(f"height {height}: headers differ")
        if len({item.roots[height] for item in held}) != 1:
            broken.append(f"height {height}: state roots differ")
    promised = dict(certified) | dict(proved)
    for item in held:
        twice = {tx_id: heights for tx_id, heights in item.executed.items() if len(heights) > 1}
        broken += [
            f"{item.node}: {tx_id} executed at {heights}" for tx_id, heights in list(twice.items())[:5]
        ]
        for tx_id, height in promised.items():
            if height < item.first or item.skipped.get(tx_id) == height:
                continue
            if item.executed.get(tx_id) != [height]:
                where = item.executed.get(tx_id)
                broken.append(f"{item.node}: {tx_id} was acknowledged at height {height}, is at {where}")
                if len(broken) > 20:
                    return broken
        if item.first == 1 and item.counted != item.ok - extra:
            broken.append(f"{item.node}: counters say {item.counted}, receipts {item.ok - extra}")
    if len({item.counted for item in held}) != 1:
        broken.append(f"counters differ: { {item.node: item.counted for item in held} }")
    return broken
