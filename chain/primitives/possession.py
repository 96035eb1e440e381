"""Proof of possession: the holder of a key signs whose it is to be, so that nobody registers another's key.

The contracts `orgs` and `governance` ask for it with every key that they register after genesis; the rule
that they check (`orgs.check_possession`) is `possession_digest`. A key that members put in the place of all
admin keys of an organisation has a proof for that alone (`orgs.check_replacement`).
"""

from __future__ import annotations

from typing import Final, Literal

from chain.primitives.crypto import Signer, digest, verify

Purpose = Literal["assent/key-possession", "assent/admin-replacement"]
"""What a proof lets be done with a key; a proof for one purpose is none for the other."""
REGISTRATION: Final = "assent/key-possession"
REPLACEMENT: Final = "assent/admin-replacement"


def possession_digest(chain_id: bytes, org: str, public: bytes, purpose: Purpose = REGISTRATION) -> bytes:
    """Return the 32 bytes that the holder of a key signs for it to be this organisation's on this chain."""
    return digest(purpose, chain_id, public, org.encode())


def prove_possession(key: Signer, chain_id: bytes, org: str, purpose: Purpose = REGISTRATION) -> bytes:
    """Return the 64-byte signature by which a key's holder lets it be registered for an organisation."""
    return key.sign(possession_digest(chain_id, org, key.public, purpose))


def proves_possession(
    public: bytes, proof: bytes, chain_id: bytes, org: str, purpose: Purpose = REGISTRATION
) -> bool:
    """Tell whether this proof holds; any bytes may be given."""
    return verify(public, possession_digest(chain_id, org, public, purpose), proof)
