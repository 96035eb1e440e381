"""Settings of `node.toml` do in a running node what its sample says of them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from live import rpc

from chain.api.client import Client
from chain.cli import processes
from chain.cli.consortium import node_url, start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.ledger.block import TransactionBody, sign_transaction
from chain.ledger.genesis import load_genesis
from chain.primitives.keyfile import load_key
from chain.primitives.values import encode_value

pytestmark = pytest.mark.functional
HEIGHTS = 1_150
"""Beyond the least `keep_blocks` and a step of pruning."""


def test_a_running_node_prunes_and_archives_what_is_beyond_keep_blocks(tmp_path: Path) -> None:
    """`keep_blocks` was read and nothing came of it: the disks of running nodes filled."""
    made = create_consortium(tmp_path / "c", ["solo"], [], 0, "prunes")
    solo = made.org("solo")
    with solo.node_config.open("a") as config:
        config.write(
            '\n[storage]\nkeep_blocks = 1000\narchive_dir = "old"\n[consensus]\nbatch_interval_ms = 1\n'
        )
    admin, chain_id = load_key(solo.key("admin")), load_genesis(made.genesis).chain_id
    list(start_consortium(made, agents=False))
    try:

        async def fill() -> int:
            async with Client(node_url(solo)) as client:
                top = 0
                for _ in range(20 * HEIGHTS):
                    body = TransactionBody(
                        chain_id=chain_id, sender=admin.public, contract="orgs", method="none",
                        args=encode_value({}), gas_limit=100_000, nonce=os.urandom(16), valid_until=top + 100,
                    )  # fmt: skip
                    await client.submit(sign_transaction(body, admin))
                    top = await client.head()
                    if top >= HEIGHTS:
                        break
                return top

        assert asyncio.run(fill()) >= HEIGHTS
        pruned = lambda: rpc(solo, "getNodeInfo")["result"]["blocksFrom"] >= 100  # noqa: E731
        processes.wait_until(solo, "node", pruned, 60)
        assert list((solo.path / "old").iterdir())
        gone = rpc(solo, "getBlockByNumber", height=50)
        assert gone["error"]["data"]["code"] == "not_held"
    finally:
        list(stop_consortium(made))


def test_a_debug_log_tells_heights_and_sighup_opens_the_log_anew(tmp_path: Path) -> None:
    """`log.level` changed nothing; SIGHUP, which log rotation sends, killed the node."""
    made = create_consortium(tmp_path / "c", ["solo"], [], 0, "logs")
    solo = made.org("solo")
    with solo.node_config.open("a") as config:
        config.write('\n[log]\nlevel = "debug"\n')
    list(start_consortium(made, agents=False))
    try:
        log, kept = solo.log("node"), solo.path / "node.log.1"
        told = lambda: "height 1 is certified" in log.read_text()  # noqa: E731
        processes.wait_until(solo, "node", told, 60)
        log.rename(kept)
        running = processes.find(solo, "node")
        assert running is not None
        os.kill(running.pid, signal.SIGHUP)
        processes.wait_until(solo, "node", lambda: log.exists() and "log reopened" in log.read_text(), 60)
        assert log.stat().st_mode & 0o777 == 0o600
        assert "log reopened" not in kept.read_text()
        assert rpc(solo, "getBlockNumber")["result"] >= 1
        for path in [solo.pid("node"), *(solo.path / "data").rglob("*")]:
            assert path.stat().st_mode & 0o022 == 0, path
    finally:
        list(stop_consortium(made))
    assert "stopped at height" in log.read_text()
