"""What an answer rests on, in words: below what a command prints, a reader learns whom to believe."""

from __future__ import annotations

from chain.client.answers import height_of, reading
from chain.client.client import Client
from chain.primitives.words import OUTSIDE


def trust_line(client: Client, height: int | None = None) -> str:
    """Say what a proved answer rests on."""
    if client.verifies:
        at = "" if height is None else f" at height {height}"
        return f"verified{at}: state proofs under certified headers, from the genesis on"
    return "not verified: the node's word; give --as ORGDIR or --genesis FILE to check it"


async def word_line(client: Client, proved: str = "") -> str:
    """Say that an answer is the node's word, of which height, and why it may be old.

    `proved` is the command that proves a part of it, if any.
    """
    info = await client.request("getNodeInfo")
    with reading(client.url, "getNodeInfo"):
        height = height_of(client.url, info["height"])
        role, stall, peers = str(info["role"]), str(info["stall"]), int(info["peers"])
    whose = "a node of this chain" if client.verifies else "of whatever chain it serves,"
    more = f"; proved is: {proved}" if proved else ""
    if not client.verifies:
        more = "; give --as ORGDIR or --genesis FILE to ask only a node of your chain"
    line = f"the word of {client.url}, {whose} at height {height}, not proved{more}"
    if cause := _cut_off(role, stall, peers):
        line += f"; what came later is not in it: {cause}. Ask a node that follows the chain: --node http://HOST:PORT"
    return line


def _cut_off(role: str, stall: str, peers: int) -> str:
    """Return why a node does not follow the chain, or an empty text."""
    if role == OUTSIDE and peers == 0:
        return "this node is no member's yet, or no longer; others let it in once members have voted for it"
    return stall.rstrip(".")
