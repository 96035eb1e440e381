"""Who founds the consortium of these tests, with which nodes and limits."""

from __future__ import annotations

from hashlib import sha256

from chain.primitives.crypto import PrivateKey
from chain.primitives.possession import REGISTRATION, Purpose, prove_possession
from chain.primitives.values import Value

ORGS: dict[str, list[str]] = {
    "bank": ["owner", "user", "compute"],
    "bureau": ["owner", "compute"],
    "registry": ["owner", "compute"],
    "regulator": ["auditor"],
    "rival": ["user", "owner", "compute"],
}
CHAIN_ID = bytes(range(32))
VALIDATING = ("bank", "bureau", "registry", "regulator")
LIMITS: dict[str, Value] = {
    "block_txs": 1_000,
    "block_bytes": 4_194_304,
    "tx_bytes": 132_224,
    "tx_gas_default": 1_000_000,
    "tx_gas_max": 10_000_000,
    "block_gas": 50_000_000,
    "validity_window": 600,
    "max_clock_skew_ms": 5_000,
}


class Refused(Exception):
    """A call that reverted; the first argument is its code."""


def seeded(name: str) -> PrivateKey:
    """Return the key that belongs to a name."""
    return PrivateKey(sha256(name.encode()).digest())


def proof_of(key: PrivateKey, org: str, purpose: Purpose = REGISTRATION) -> bytes:
    """Return the proof by which a key may be registered for this organisation on this chain."""
    return prove_possession(key, CHAIN_ID, org, purpose)


def node_of(org: str, **over: Value) -> dict[str, Value]:
    """Return an organisation's node as governance lists it."""
    plain: dict[str, Value] = {
        "org": org,
        "name": f"{org}-node",
        "public_key": seeded(f"{org}/node").public,
        "address": "127.0.0.1:30300",
        "role": "validator",
    }
    return {**plain, **over}


def seat_of(org: str, key: PrivateKey | None = None, **over: Value) -> dict[str, Value]:
    """Return what a proposal to add an organisation's node says: the node, and the proof of its key."""
    key = key or seeded(f"{org}/node")
    return {**node_of(org, public_key=key.public), "proof": proof_of(key, org), **over}
