"""A real node whose mouth lies: `python -m tests.torture.liar CONFIG SEED`; the rest is production code."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import uvloop

from chain.cli.node import set_up_logging
from chain.config import load_node_config
from chain.ledger.genesis import Genesis, load_genesis
from chain.network.frame import Kind
from chain.network.manager import PeerManager
from chain.network.registry import Handler
from chain.node.node import Node
from chain.primitives.crypto import PrivateKey
from tests.torture.lies import Liar

VOLUNTEER_S = 0.3
DELAYED_MAX = 4_096
"""Frames that wait to be late; more leave at once."""


class Ears:
    """Hands every frame on to the node, after a liar has heard it."""

    def __init__(self, node: Handler, liar: Liar) -> None:
        self._node, self._liar = node, liar
        self.on_connected, self.on_disconnected = node.on_connected, node.on_disconnected

    def on_frame(self, peer: bytes, kind: Kind, body: bytes) -> Any:
        """Listen, then do as the node does."""
        self._liar.hear(kind, body)
        return self._node.on_frame(peer, kind, body)


class LyingPeers(PeerManager):
    """The connections of a Byzantine node."""

    genesis: Genesis
    source: random.Random

    def __init__(self, key: PrivateKey, *args: Any, **options: Any) -> None:
        """Take what `PeerManager` takes."""
        self.liar = Liar(key, self.genesis, self.source, asyncio.get_running_loop().time())
        self._delayed = 0
        chain_id, listen, members, node = args
        super().__init__(key, chain_id, listen, members, Ears(node, self.liar), **options)
        self._talking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen and dial as every node does, and begin to volunteer lies."""
        await super().start()
        self._talking = asyncio.create_task(self._volunteer_for_ever())

    async def close(self) -> None:
        """Close, and say on standard error how often it lied in which mood."""
        if self._talking is not None:
            self._talking.cancel()
        print(f"lies: {json.dumps(self.liar.told)}", file=sys.stderr, flush=True)
        await super().close()

    def send(self, peer: bytes, kind: Kind, body: bytes) -> bool:
        """Say something else, or the same later, or nothing."""
        loop = asyncio.get_running_loop()
        for wait, said_kind, said in self.liar.say(peer, kind, body, loop.time()):
            if wait and self._delayed < DELAYED_MAX:
                self._delayed += 1
                loop.call_later(wait, self._late, peer, said_kind, said)
            else:
                super().multicast((peer,), said_kind, said)
        return True

    def _late(self, peer: bytes, kind: Kind, body: bytes) -> None:
        self._delayed -= 1
        super().multicast((peer,), kind, body)

    def broadcast(self, kind: Kind, body: bytes) -> int:
        """Tell every peer, but not every peer the same."""
        return self.multicast(self.connected, kind, body)

    def multicast(self, peers: Iterable[bytes], kind: Kind, body: bytes) -> int:
        """Tell some peers, but not every one the same."""
        return sum([self.send(peer, kind, body) for peer in list(peers)])

    async def _volunteer_for_ever(self) -> None:
        while True:
            await asyncio.sleep(VOLUNTEER_S)
            for peer, (kind, body) in self.liar.volunteer(self.connected, asyncio.get_running_loop().time()):
                super().multicast((peer,), kind, body)


async def _run(path: Path, seed: int) -> None:
    config, files = load_node_config(path)
    set_up_logging(config.log.level)
    LyingPeers.genesis = load_genesis(files.genesis)
    LyingPeers.source = random.Random(f"{seed} liar")
    await Node(config, files, LyingPeers.genesis, peers=LyingPeers).run()


def main() -> None:
    """Run the node of a configuration file, with these peers."""
    uvloop.run(_run(Path(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
