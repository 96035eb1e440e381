"""What makes the simulation fast without changing what it does: pure functions remembered for the process.

A signature that a key has just made holds; a signature checked by one node need not be computed again for
the next; bytes decode to the same frozen record for every node; compiled contracts are shared.
"""

from __future__ import annotations

from functools import cache, lru_cache
from hashlib import sha256

import chain.ledger.block
import chain.ledger.schedule
import chain.primitives.certificate
import consensus.authenticity
import consensus.driver
import contracts.engines
from chain.primitives import crypto
from consensus import messages
from contracts.engines import Compilers
from contracts.runtime import ContractRuntime

RUNTIME = ContractRuntime()
_HELD_MAX = 400_000
_held: dict[tuple[bytes, bytes, bytes], bool] = {}
_verify = crypto.verify


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """`chain.primitives.crypto.verify`, remembered."""
    key = (public, message, signature)
    known = _held.get(key)
    if known is None:
        if len(_held) >= _HELD_MAX:
            _held.clear()
        known = _held[key] = _verify(public, message, signature)
    return known


class Key:
    """A signer whose signatures are known to hold."""

    __slots__ = ("_key", "public")

    def __init__(self, name: str) -> None:
        self._key = crypto.PrivateKey(sha256(b"simulation/" + name.encode()).digest())
        self.public = self._key.public

    def sign(self, message: bytes) -> bytes:
        signature = _sign(self._key, message)
        _held[self.public, message, signature] = True
        return signature


@lru_cache(maxsize=65_536)
def _sign(key: crypto.PrivateKey, message: bytes) -> bytes:
    return key.sign(message)  # Ed25519 is deterministic


@lru_cache(maxsize=256)
def key(name: str) -> Key:
    """Return the key that belongs to a name."""
    return Key(name)


decode_message = lru_cache(maxsize=8_192)(messages.decode_message)


@cache
def install() -> None:
    """Put the remembered functions where the production code looks for them; once a process."""
    chain.ledger.schedule._read_nodes = lru_cache(maxsize=256)(chain.ledger.schedule._read_nodes)
    for module in (chain.ledger.block, chain.primitives.certificate, consensus.authenticity):
        module.verify = verify
    consensus.driver.decode_message = decode_message
    remembered = lru_cache(maxsize=64)
    for engine, make in contracts.engines.ENGINES.items():
        compilers = Compilers(remembered(make.contract), remembered(make.library))
        contracts.engines.ENGINES[engine] = compilers
