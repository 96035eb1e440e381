"""Failures that others had, with real processes: crash loops, cut-off logs, full disks, full pools."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from live import ORGS, rpc

from chain.cli import processes
from chain.cli.consortium import node_url, start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.ledger.block import TransactionBody, sign_transaction
from chain.ledger.genesis import load_genesis
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from chain.primitives.possession import prove_possession
from chain.primitives.values import encode_value

pytestmark = pytest.mark.functional
ANSWERS_S = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose consortium is stopped at the end."""
    yield tmp_path / "c"
    if (tmp_path / "c").exists():
        made = ConsortiumFolder(tmp_path / "c", tuple(OrgFolder(tmp_path / "c" / name) for name in ORGS))
        list(stop_consortium(made))


def alive(org: OrgFolder) -> bool:
    try:
        with urllib.request.urlopen(node_url(org) + "/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def start(org: OrgFolder) -> None:
    processes.start(org, "node")
    processes.wait_until(org, "node", lambda: alive(org), ANSWERS_S)


def ended(org: OrgFolder) -> str:
    """Wait until a started node has ended by itself; return its last words."""
    processes.start(org, "node")
    found = processes.find(org, "node")
    if found is not None:
        found.wait(ANSWERS_S)
    return processes.log_tail(org, "node", 4)


def commit(consortium: ConsortiumFolder, name: str) -> int:
    """Add a key to an organisation through its node; return the height of the certified receipt."""
    org = consortium.org(name)

    async def work() -> int:
        async with Client(node_url(org), load_genesis(consortium.genesis), timeout_s=20) as client:
            account = SigningClient(client, load_key(org.key("admin")), await client.chain_id())
            key = PrivateKey.generate()
            proof = prove_possession(key, account.chain_id, name)
            added = {"key": key.public, "roles": ["steward"], "proof": proof}
            return (await account.send("orgs", "add_key", added)).height

    return asyncio.run(work())


def newest_log(org: OrgFolder) -> Path:
    return max((org.path / "data").glob("*.log"), key=lambda path: int(path.stem))


def test_27_a_node_that_crashes_again_and_again_hangs_nobody(folder: Path) -> None:
    """FISCO-BCOS 4417: each of its starts opens connections, greets and dies; the others go on."""
    consortium = create_consortium(folder, ORGS, [], 0, "loop")
    list(start_consortium(consortium, agents=False))
    looping = consortium.org("registry")
    for _ in range(4):
        processes.kill(looping, "node")
        start(looping)
        assert commit(consortium, "bank") > 0
    top = commit(consortium, "bureau")
    processes.wait_until(looping, "node", lambda: rpc(looping, "getBlockNumber")["result"] >= top, ANSWERS_S)


def test_28_30_a_validator_whose_log_was_cut_refuses_and_rejoins_from_nothing(folder: Path) -> None:
    """tendermint 3295 and 3418: it says what is gone and the way out, and votes on nothing it may have."""
    consortium = create_consortium(folder, ORGS, [], 0, "cut")
    list(start_consortium(consortium, agents=False))
    org, other = consortium.org("registry"), consortium.org(ORGS[-1])
    processes.stop(other, "node")  # of the three that are left, nothing is certified without the one below
    top = max([commit(consortium, "bank") for _ in range(4)])
    processes.wait_until(org, "node", lambda: rpc(org, "getBlockNumber")["result"] >= top, ANSWERS_S)
    processes.kill(org, "node")
    start(other)
    os.truncate(newest_log(org), newest_log(org).stat().st_size - 6_000)  # the last height or two
    words = ended(org)
    assert "error [votes_damaged]" in words
    assert "remove the data directory and start again" in words
    shutil.rmtree(org.path / "data")
    start(org)
    processes.wait_until(org, "node", lambda: rpc(org, "getBlockNumber")["result"] >= top, ANSWERS_S)
    assert commit(consortium, "registry") > top
    seats_again(consortium, org)


def seats_again(consortium: ConsortiumFolder, org: OrgFolder) -> None:
    """`assent start` moves the seat of a node that lost its votes to the key that it made and proves."""
    processes.wait_until(org, "node", lambda: rpc(org, "getNodeInfo")["result"]["spareKey"] != "", ANSWERS_S)
    spare = rpc(org, "getNodeInfo")["result"]["spareKey"]
    lines = list(start_consortium(consortium, agents=False))
    assert f"its seat moves to its new key {spare[:16]}" in "\n".join(lines)

    def seated() -> bool:
        try:
            info = rpc(org, "getNodeInfo")["result"]
        except OSError:  # it begins anew under its other key
            return False
        return bool((info["key"], info["role"], info["spareKey"]) == (spare, "validator", ""))

    processes.wait_until(org, "node", seated, ANSWERS_S)


def test_32_a_node_killed_while_it_writes_starts_from_what_it_finds(folder: Path) -> None:
    """FISCO-BCOS 4576: a healthy directory is never refused, wherever SIGKILL fell (indy-node 1618 too)."""
    consortium = create_consortium(folder, ["solo"], [], 0, "solo")
    org = consortium.org("solo")
    height = 0
    for _ in range(4):
        start(org)
        assert rpc(org, "getBlockNumber")["result"] >= height
        height = commit(consortium, "solo")
        send_without_waiting(consortium, 50, 300)
        processes.kill(org, "node")
    start(org)
    assert rpc(org, "getBlockNumber")["result"] >= height
    processes.stop(org, "node")


def send_without_waiting(consortium: ConsortiumFolder, count: int, size: int) -> list[Any]:
    """Send calls whose arguments have about `size` bytes; return what the node says of each."""
    org = consortium.orgs[0]
    genesis, key = load_genesis(consortium.genesis), load_key(org.key("admin"))
    args = encode_value({"key": bytes(size), "roles": [], "proof": b""})
    signed = [
        sign_transaction(
            TransactionBody(
                genesis.chain_id, key.public, "orgs", "add_key", args, 100_000, os.urandom(16), 300
            ),
            key,
        )
        for _ in range(count)
    ]
    answer = rpc(org, "sendTransactions", transactions=[encode(tx).hex() for tx in signed])
    result: list[Any] = answer["result"]
    return result


def test_a_full_disk_stops_a_node_with_the_reason_and_room_brings_it_back(folder: Path) -> None:
    """By a limit on file sizes: the kernel refuses the write, as it does when a disk is full."""
    consortium = create_consortium(folder, ["solo"], [], 0, "solo")
    org = consortium.org("solo")
    start(org)
    height = commit(consortium, "solo")
    running = processes.find(org, "node")
    assert running is not None
    limit = max(newest_log(org).stat().st_size, org.log("node").stat().st_size) + 20_000
    running.rlimit(psutil.RLIMIT_FSIZE, (limit, running.rlimit(psutil.RLIMIT_FSIZE)[1]))
    for _ in range(30):
        if processes.find(org, "node") is None:
            break
        try:
            send_without_waiting(consortium, 5, 2_000)
        except OSError:
            break
    running.wait(ANSWERS_S)
    words = processes.log_tail(org, "node", 4)
    assert "error [storage_failed]" in words
    assert "free space of the disk" in words
    start(org)
    assert rpc(org, "getBlockNumber")["result"] >= height
    assert commit(consortium, "solo") > height
    processes.stop(org, "node")


def test_35_a_pool_that_is_full_refuses_and_its_memory_stays_bounded(folder: Path) -> None:
    """tendermint 8775: no quorum, so nothing leaves the pool; large transactions come until it is full."""
    consortium = create_consortium(folder, ORGS, [], 0, "pool")
    org = consortium.org("bank")
    start(org)
    refused = 0
    while not refused:
        answers = send_without_waiting(consortium, 50, 60_000)
        refused = sum(item.get("error", {}).get("code") in ("pool_full", "sender_full") for item in answers)
        assert all("id" in item or item["error"]["code"] == "pool_full" for item in answers)
    for _ in range(5):
        send_without_waiting(consortium, 50, 60_000)
    running = processes.find(org, "node")
    assert running is not None
    assert running.memory_info().rss < 400 * 1_048_576
    os.kill(running.pid, signal.SIGTERM)
    running.wait(ANSWERS_S)
