"""One member of four floods the three others at once: they go on without it, and all of them name it."""

from __future__ import annotations

import asyncio
import contextlib
import os

import pytest
from live import assent, rpc

from chain.cli import processes
from chain.cli.consortium import node_url
from chain.cli.layout import ConsortiumFolder
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.ledger.genesis import Genesis, Validator, load_genesis
from chain.network.frame import Kind, encode_frame
from chain.network.messages import NETWORK_VERSION, Hello, TransactionIds
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from chain.primitives.settings import split_address
from chain.primitives.tls import client_context

pytestmark = pytest.mark.functional
LIMIT_S = 120.0


def hello(genesis: Genesis) -> bytes:
    said = Hello(genesis.chain_id, NETWORK_VERSION, os.urandom(8), "x:1", 0)
    return encode_frame(Kind.HELLO, encode(said))


async def flood(genesis: Genesis, key: PrivateKey, victim: Validator) -> None:
    """Announce transactions that do not exist as fast as the victim reads, for ever; come back when cut."""
    host, port = split_address(victim.address)
    ids = tuple(os.urandom(32) for _ in range(4_096))
    frame = encode_frame(Kind.TX_IDS, encode(TransactionIds(ids)))
    while True:
        with contextlib.suppress(OSError):
            tls = client_context(key, [victim.public_key])
            _, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname="")
            try:
                writer.write(hello(genesis))
                while not writer.transport.is_closing():
                    writer.write(frame)
                    await writer.drain()
                    await asyncio.sleep(0)
            finally:
                writer.transport.abort()
        await asyncio.sleep(0)


def offences(consortium: ConsortiumFolder, key: bytes) -> list[str]:
    """What the three honest nodes say of the fourth."""
    found = [rpc(org, "getPeers")["result"] for org in consortium.orgs[:3]]
    return [peer["offence"] for peers in found for peer in peers if peer["key"] == key.hex()]


async def test_a_member_that_floods_all_others_stops_nothing_and_is_named_by_all(
    consortium: ConsortiumFolder,
) -> None:
    genesis, fourth = load_genesis(consortium.genesis), consortium.orgs[3]
    key, bank = load_key(fourth.key("node")), consortium.orgs[0]
    processes.stop(fourth, "node")
    victims = [item for item in genesis.validators if item.public_key != key.public]
    floods = [asyncio.create_task(flood(genesis, key, victim)) for victim in victims]
    try:
        async with asyncio.timeout(LIMIT_S), Client(node_url(bank), timeout_s=LIMIT_S) as client:
            account = SigningClient(client, load_key(bank.key("admin")), genesis.chain_id)
            told: list[str] = []
            while not told or not all("TX_IDS" in offence for offence in told):
                await account.send("orgs", "org_of", {"id": bank.name})
                told = await asyncio.to_thread(offences, consortium, key.public)
    finally:
        for task in floods:
            task.cancel()
        await asyncio.gather(*floods, return_exceptions=True)
    assert len(told) == 3
    shown = assent("status", consortium.path).stdout
    for org in consortium.orgs[:3]:
        assert f"{org.name} has trouble with {fourth.name}-node" in shown
