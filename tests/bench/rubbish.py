"""A validator that votes as it should and serves rubbish to whoever catches up: for measurements only."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from pathlib import Path

import uvloop

from chain.config import load_node_config
from chain.ledger.genesis import load_genesis
from chain.network.frame import Kind
from chain.network.manager import PeerManager
from chain.node.node import Node

SPOILT = frozenset({Kind.BLOCKS, Kind.ANCHOR, Kind.CHUNK})


class RubbishPeers(PeerManager):
    """Flips one bit in every answer to a node that catches up."""

    def multicast(self, peers: Iterable[bytes], kind: Kind, body: bytes) -> int:
        """Queue one frame for some peers; return how many took it."""
        if kind in SPOILT and body:
            at = random.randrange(len(body))
            body = body[:at] + bytes([body[at] ^ 1 << random.randrange(8)]) + body[at + 1 :]
        return super().multicast(peers, kind, body)


def main() -> None:
    """Run the node of a configuration file, with these peers."""
    config, files = load_node_config(Path(sys.argv[1]))
    node = Node(config, files, load_genesis(files.genesis), peers=RubbishPeers)
    uvloop.run(node.run())


if __name__ == "__main__":
    main()
