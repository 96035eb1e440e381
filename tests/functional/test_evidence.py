"""A validator that signs two things for one slot is convicted: kept, listed, exported, put on the ledger."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest
from live import assent, rpc

from chain.cli import processes
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.ledger.genesis import Genesis, load_genesis
from chain.network.frame import Kind
from chain.network.manager import PeerManager
from chain.network.messages import Hello
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from consensus.messages import UNSIGNED, Prepare, payload_digest, sign

pytestmark = pytest.mark.functional


class Connected:
    """Notes that the victim let us in."""

    def __init__(self) -> None:
        self.peer = asyncio.Event()

    def on_connected(self, peer: bytes, hello: Hello) -> None:  # noqa: ARG002
        self.peer.set()

    def on_disconnected(self, peer: bytes, reason: str) -> None:
        pass

    def on_frame(self, peer: bytes, kind: Kind, body: bytes) -> None:
        pass


async def contradict(genesis: Genesis, key: PrivateKey, org: OrgFolder, height: int) -> None:
    """Connect to a node under a validator's key, prepare two payloads for one slot, wait until it knows."""
    victim = load_key(org.key("node")).public
    (address,) = [item.address for item in genesis.validators if item.public_key == victim]
    handler = Connected()
    peers = PeerManager(
        key,
        genesis.chain_id,
        "127.0.0.1:0",
        {victim: address},
        handler,
        head=lambda: 0,
        source=random.Random(1),
    )
    await peers.start()
    try:
        async with asyncio.timeout(20):
            await handler.peer.wait()
        for payload in (b"one", b"other"):
            vote = Prepare(0, height, payload_digest(payload), key.public, UNSIGNED)
            peers.send(victim, Kind.CONSENSUS, encode(sign(vote, key, genesis.chain_id)))
        async with asyncio.timeout(20):
            while not (await asyncio.to_thread(rpc, org, "getEvidence"))["result"]:
                await asyncio.sleep(processes.POLL_S)
    finally:
        await peers.close()


def test_a_double_vote_ends_on_the_ledger_with_the_name_of_its_node(
    consortium: ConsortiumFolder, tmp_path: Path
) -> None:
    bank, regulator = consortium.org("bank"), consortium.org("regulator")
    genesis, key = load_genesis(consortium.genesis), load_key(regulator.key("node"))
    processes.stop(regulator, "node")
    height = rpc(bank, "getBlockNumber")["result"] + 1
    asyncio.run(contradict(genesis, key, bank, height))
    listed = assent("node", "evidence", "list", "--as", bank.path, "--json")
    (found,) = json.loads(listed.stdout)
    assert (found["accused"], found["kind"], found["slot"]) == ("regulator-node", "prepare", [0, height])
    exported = assent("node", "evidence", "export", tmp_path / "proof", "--as", bank.path)
    files = sorted((tmp_path / "proof").iterdir())
    assert [file.name for file in files] == [f"regulator-node.prepare.{part}" for part in ("first", "second")]
    assert f"assent validator report {files[0]} {files[1]}" in exported.stdout
    reported = assent("validator", "report", *files, "--as", consortium.org("bureau").path)
    assert reported.returncode == 0, reported.stderr
    shown = json.loads(assent("validator", "evidence", "--as", bank.path, "--json").stdout)
    assert [(item["node"], item["org"], item["kind"]) for item in shown] == [
        ("regulator-node", "regulator", "prepare")
    ]
    trail = assent("audit", "trail", "node:regulator-node", "--as", bank.path)
    assert "EvidenceReported" in trail.stdout, trail.stdout + trail.stderr
