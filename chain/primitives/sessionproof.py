"""Proof of a member's key to the RPC port of one node: what its holder signs to open a session there.

The signature holds for one chain, one node, one certificate of its port and one challenge of that node, so
whoever is shown it can use it nowhere else, and nobody a second time.
"""

from __future__ import annotations

from chain.primitives.crypto import digest

CHALLENGE_BYTES = 40


def session_digest(chain_id: bytes, node: bytes, certificate: bytes, challenge: bytes) -> bytes:
    """Return the 32 bytes to sign.

    `node` is the node's public key, `certificate` the SHA-256 of what it shows in TLS (RFC 5929, 4), 32 zero
    bytes without TLS, and `challenge` the CHALLENGE_BYTES that it gave.
    """
    return digest("assent/rpc-session", chain_id, node, certificate, challenge)
