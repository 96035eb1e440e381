"""Proof of possession: the holder of a key signs whose it is to be, so that nobody registers another's key.

The contracts `orgs` and `governance` ask for it with every key that they register after genesis; the rule
that they check (`orgs.check_possession`) is `possession_digest`.
"""

from __future__ import annotations

from chain.primitives.crypto import Signer, digest, verify


def possession_digest(chain_id: bytes, org: str, public: bytes) -> bytes:
    """Return the 32 bytes that the holder of a key signs for it to be this organisation's on this chain."""
    return digest("assent/key-possession", chain_id, public, org.encode())


def prove_possession(key: Signer, chain_id: bytes, org: str) -> bytes:
    """Return the 64-byte signature by which a key's holder lets an organisation register it."""
    return key.sign(possession_digest(chain_id, org, key.public))


def proves_possession(public: bytes, proof: bytes, chain_id: bytes, org: str) -> bool:
    """Tell whether this proof holds; any bytes may be given."""
    return verify(public, possession_digest(chain_id, org, public), proof)
