"""A node under the usual limit of open files: attacked with idle connections it goes on committing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from chain.cli.consortium import node_url
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.ledger.genesis import load_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from chain.primitives.possession import prove_possession
from chain.primitives.settings import split_address

pytestmark = pytest.mark.functional
USUAL_LIMIT = 1_024
IDLE = 1_010
ANSWERS_S = 60


@pytest.fixture
def alone(tmp_path: Path) -> ConsortiumFolder:
    """A chain of one validator."""
    return create_consortium(tmp_path / "c", ["bank"], [], 0, "files")


@contextlib.contextmanager
def running(consortium: ConsortiumFolder, limits: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the node under limits of its own (`ulimit` of a shell)."""
    org = consortium.orgs[0]
    command = f'{limits}; exec "{sys.executable}" -m chain.cli.main node run --config "{org.node_config}"'
    with org.log("node").open("ab") as log:
        process = subprocess.Popen(["bash", "-c", command], stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(ANSWERS_S)


async def until_healthy(process: subprocess.Popen[bytes], url: str) -> None:
    while process.poll() is None:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(urllib.request.urlopen, url + "/health", timeout=5)
            return
    raise AssertionError("the node ended")


def soft_limit(process: subprocess.Popen[bytes]) -> int:
    """The limit of open files that a process runs under now."""
    limits = Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    return next(int(line.split()[3]) for line in limits if line.startswith("Max open files"))


async def commit(consortium: ConsortiumFolder, count: int) -> None:
    org, genesis = consortium.orgs[0], load_genesis(consortium.genesis)
    async with Client(node_url(org), genesis, timeout_s=ANSWERS_S) as client:
        account = SigningClient(client, load_key(org.key("admin")), genesis.chain_id)
        for _ in range(count):
            key = PrivateKey.generate()
            proof = prove_possession(key, genesis.chain_id, org.name)
            await account.send("orgs", "add_key", {"key": key.public, "roles": ["steward"], "proof": proof})


async def test_a_node_under_the_usual_limit_commits_among_a_thousand_idle_connections(
    alone: ConsortiumFolder,
) -> None:
    url = node_url(alone.orgs[0])
    address = split_address(url.removeprefix("http://"))
    with running(alone, f"ulimit -Sn {USUAL_LIMIT}") as process:
        await until_healthy(process, url)
        idle = [socket.create_connection(address, timeout=ANSWERS_S) for _ in range(IDLE)]
        try:
            await commit(alone, 3)
            await until_healthy(process, url)
            assert len(os.listdir(f"/proc/{process.pid}/fd")) < USUAL_LIMIT // 2
            assert soft_limit(process) > USUAL_LIMIT
            assert process.poll() is None
        finally:
            for connection in idle:
                connection.close()
    assert f", raised from {USUAL_LIMIT}\n" in alone.orgs[0].log("node").read_text()


async def test_a_soft_limit_that_is_too_low_is_raised_and_said(alone: ConsortiumFolder) -> None:
    with running(alone, "ulimit -Sn 200") as process:
        await until_healthy(process, node_url(alone.orgs[0]))
        soft = soft_limit(process)
        await commit(alone, 1)
    assert f"the limit is {soft}, raised from 200\n" in alone.orgs[0].log("node").read_text()
    assert 200 < soft <= 2_048


def test_a_node_that_cannot_have_the_files_it_needs_does_not_start_and_says_why(
    alone: ConsortiumFolder,
) -> None:
    with running(alone, "ulimit -n 1200") as process:
        assert process.wait(ANSWERS_S) != 0
    said = alone.orgs[0].log("node").read_text()
    assert "too_few_descriptors" in said
    for part in ("the hard limit of this process is 1200", "LimitNOFILE=", "or lower rpc.max_connections"):
        assert part in said
