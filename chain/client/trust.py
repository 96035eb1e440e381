"""What an answer rests on, in words: below what a command prints, a reader learns whom to believe."""

from __future__ import annotations

from chain.client.client import Client


def trust_line(client: Client, height: int | None = None) -> str:
    """Say what a proved answer rests on."""
    if client.verifies:
        at = "" if height is None else f" at height {height}"
        return f"verified{at}: state proofs under certified headers, from the genesis on"
    return "not verified: the node's word; give --as ORGDIR or --genesis FILE to check it"


def word_line(client: Client, proved: str = "") -> str:
    """Say that an answer is the node's word; `proved` is the command that proves a part of it, if any."""
    if client.verifies:
        more = f"; proved is: {proved}" if proved else ""
        return f"the word of {client.url}, a node of this chain, not proved{more}"
    return (
        f"the word of {client.url}, of whatever chain it serves; give --as ORGDIR or --genesis FILE to ask "
        "only a node of your chain"
    )
