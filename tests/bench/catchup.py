"""The measurement behind `scripts/bench catchup`: a new and a wiped node join a long chain, all real."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil

from chain.cli import processes
from chain.cli.consortium import node_url
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.client.answers import NodeUnreachable, RpcError
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.ledger.genesis import load_genesis
from chain.primitives.keyfile import load_key
from tests.bench.forge import CONTRACT, Forge

ORGS = ["north", "east", "south", "west"]
HONEST, RUBBISH, JOINER = ORGS[:2], ORGS[2], ORGS[3]
READY_S, JOIN_MAX_S, POLL_S, PACE_S = 30.0, 600.0, 0.1, 0.05


def measure(
    transactions: int, keys: int, per_block: int, ways: list[str], progress: Callable[[str], None]
) -> dict[str, Any]:
    """Make the chain, run three of its four validators, and let the fourth join in each way."""
    with tempfile.TemporaryDirectory(prefix="assent-bench-") as folder:
        consortium = create_consortium(Path(folder) / "c", ORGS, [], 0, "bench")
        progress(f"making a chain of {transactions} transactions and {keys} keys")
        figures = _make_history(consortium, transactions, keys, per_block)
        rubbish = None
        try:
            for name in HONEST:
                processes.start(consortium.org(name), "node")
            rubbish = _start_rubbish(consortium.org(RUBBISH))
            figures["joins"] = [
                item for way in ways for item in asyncio.run(_join(consortium, way, progress))
            ]
            return figures
        finally:
            if rubbish is not None:
                rubbish.terminate()
                rubbish.wait(processes.STOP_WAIT_S)
            for org in consortium.orgs:
                processes.stop(org, "node")


def _make_history(
    consortium: ConsortiumFolder, transactions: int, keys: int, per_block: int
) -> dict[str, Any]:
    begin = time.perf_counter()
    forge = Forge(consortium, consortium.org(ORGS[0]).path / "data")
    forge.deploy()
    forge.fill(transactions, keys, per_block, lambda _done, _all: None)
    height = forge.ledger.head.height
    forge.close()
    for name in [*HONEST[1:], RUBBISH]:
        shutil.copytree(consortium.org(ORGS[0]).path / "data", consortium.org(name).path / "data")
    return {
        "transactions": transactions,
        "keys": keys,
        "height": height,
        "made_in_s": round(time.perf_counter() - begin, 1),
    }


def _start_rubbish(org: OrgFolder) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.bench.rubbish", str(org.node_config.resolve())]
    with org.log("node").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


async def _join(
    consortium: ConsortiumFolder, way: str, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Let the fourth validator join as a new one, then wipe it and let it join again."""
    joiner = consortium.org(JOINER)
    own = joiner.node_config.read_text()
    joiner.node_config.write_text(f"{own}\n[sync]\nsnapshot_blocks = {8 if way == 'snapshot' else 0}\n")
    results = []
    try:
        async with _load(consortium):
            for state in ("new", "wiped"):
                progress(f"a {state} node joins by {way}")
                results.append({"way": way, "node": state} | await _time_join(consortium, joiner))
                processes.stop(joiner, "node")
                shutil.rmtree(joiner.path / "data")
    finally:
        joiner.node_config.write_text(own)
        joiner.key("node").with_suffix(".voted").unlink(missing_ok=True)
    return results


@contextlib.asynccontextmanager
async def _load(consortium: ConsortiumFolder) -> AsyncIterator[None]:
    """Keep the chain moving: one transaction at a time, as fast as they are certified."""
    org = consortium.org(HONEST[0])
    admin, chain_id = load_key(org.key("admin")), load_genesis(consortium.genesis).chain_id
    async with Client(node_url(org)) as client:
        await _until(lambda: _height(client, -1), READY_S, org)
        account = SigningClient(client, admin, chain_id)
        sending = asyncio.create_task(_send_for_ever(account))
        try:
            yield
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending


async def _send_for_ever(account: SigningClient) -> None:
    number = 0
    while True:
        await account.send(CONTRACT, "put", {"key": f"load-{number % 100}", "value": str(number)})
        number += 1
        await asyncio.sleep(PACE_S)


async def _time_join(consortium: ConsortiumFolder, joiner: OrgFolder) -> dict[str, Any]:
    """Return when the node had caught up, and when it took part in certifying a new height, in s."""
    async with Client(node_url(consortium.org(HONEST[0]))) as honest, Client(node_url(joiner)) as client:
        target = await honest.head()
        key = load_key(joiner.key("node")).public.hex()
        begin = time.perf_counter()
        processes.start(joiner, "node")
        running = processes.find(joiner, "node")
        await _until(lambda: _height(client, target - 1), JOIN_MAX_S, joiner)
        caught_up = time.perf_counter() - begin
        await _until(lambda: _signed(client, key, target), JOIN_MAX_S, joiner)
        certified = time.perf_counter() - begin
        info, sync = await client.request("getNodeInfo"), await client.request("getSyncStatus")
        return {
            "caught_up_s": round(caught_up, 2),
            "certifies_s": round(certified, 2),
            "height": info["height"],
            "blocks_from": info["blocksFrom"],
            "trouble": sync["trouble"],
            **_spent(running),
        }


def _spent(running: psutil.Process | None) -> dict[str, float]:
    if running is None:
        return {}
    cpu = running.cpu_times()
    rss_mb = running.memory_info().rss / 1e6
    return {"cpu_s": round(cpu.user + cpu.system, 2), "rss_mb": round(rss_mb, 1)}


async def _height(client: Client, above: int) -> bool:
    return await client.head() > above


async def _signed(client: Client, key: str, above: int) -> bool:
    head = await client.head()
    block = await client.request("getBlockByNumber", height=head)
    return head > above and key in block["signers"]


async def _until(holds: Callable[[], Any], seconds: float, org: OrgFolder) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(NodeUnreachable, RpcError):
            if await holds():
                return
        if time.monotonic() > deadline:
            tail = processes.log_tail(org, "node", 8)
            raise processes.ProcessError(f"{org.name}: not ready after {seconds:.0f} s:\n{tail}")
        await asyncio.sleep(POLL_S)
