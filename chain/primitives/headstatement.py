"""Head statement: what a node signs of where its chain is, and when it said so; anybody may ask for it.

One statement is one node's word. An idle chain makes no blocks, so the age of its newest header says nothing:
the time of the statement does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chain.primitives.crypto import Signer, digest, verify


@dataclass(frozen=True, slots=True)
class HeadStatement:
    """A node's signed word of the newest certified header that it has."""

    chain_id: bytes
    height: int
    header_hash: bytes
    time: int
    """The node's clock, in milliseconds since 1970."""
    node: bytes
    """Its public key."""
    signature: bytes

    def holds(self) -> bool:
        """Tell whether the signature is the node's."""
        signed = _digest(self.chain_id, self.height, self.header_hash, self.time)
        return verify(self.node, signed, self.signature)


def _digest(chain_id: bytes, height: int, header_hash: bytes, time: int) -> bytes:
    return digest("assent/head", chain_id, height.to_bytes(8), header_hash, time.to_bytes(8))


def sign_head(key: Signer, chain_id: bytes, height: int, header_hash: bytes, time: int) -> HeadStatement:
    """Return a node's statement; hashes have 32 bytes, height and time are below 2^64."""
    signature = key.sign(_digest(chain_id, height, header_hash, time))
    return HeadStatement(chain_id, height, header_hash, time, key.public, signature)


def head_to_json(statement: HeadStatement) -> dict[str, Any]:
    """Return a statement as `/head` answers it."""
    return {
        "chainId": statement.chain_id.hex(),
        "height": statement.height,
        "header": statement.header_hash.hex(),
        "time": statement.time,
        "node": statement.node.hex(),
        "signature": statement.signature.hex(),
    }


def head_from_json(found: Any) -> HeadStatement:
    """Read what `/head` answered, a stranger's word; raise ValueError, TypeError or KeyError."""
    height, time = found["height"], found["time"]
    numbers = (height, time)
    if any(type(number) is not int or not 0 <= number < 2**64 for number in numbers):
        raise ValueError("height and time are whole numbers below 2^64")
    names = ("chainId", "header", "node", "signature")
    chain_id, header, node, signature = (bytes.fromhex(found[name]) for name in names)
    return HeadStatement(chain_id, height, header, time, node, signature)
