"""A running agent whose co-party is hostile: it survives, names it, and never looks alive when it is not.

Two nodes and the agent of the bank are real processes; the bureau's agent key is in hostile hands.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from live import assent, assent_here

from chain.cli import processes
from chain.cli.consortium import node_url, start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.ledger.genesis import load_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from chain.primitives.settings import split_address
from chain.primitives.tls import client_context
from chain.primitives.values import Value
from privcompute.config import load_agent_config
from privcompute.job.meeting import Invitation, meet
from privcompute.job.slots import Slots
from privcompute.net.cancellation import Cancellation
from privcompute.net.hello import HELLO, JobHello
from privcompute.net.listener import PeerListener
from privcompute.net.peer_link import channel_tag
from privcompute.net.pulse import HEADER
from tests.unit.privcompute.net.leaves import MALFORMED, showing

pytestmark = pytest.mark.functional
PATIENCE_S = 30.0
OWN_LIMIT = "\n[policy]\njob_time_max_ms = 6000\nmin_joined_rows = 0\n"
"""What the bank allows a job, whatever deadlines the ledger shows for it."""
PLANTED = """
import sys
from privcompute.net import listener
from privcompute.cli.agent_commands import agent

def fail(*_):
    raise RuntimeError("planted")

listener.PeerListener._accept = fail
agent(["run", "--config", sys.argv[1]])
"""


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsortiumFolder]:
    """Two validators; the bank and the bureau share a column of identifiers."""
    folder = tmp_path_factory.mktemp("port")
    made = create_consortium(folder / "c", ["bank", "bureau"], ["bank", "bureau"], 0, "port")
    with made.org("bank").agent_config.open("a") as file:
        file.write(OWN_LIMIT)
    try:
        list(start_consortium(made, agents=False))
        for org, dataset in (("bank", "bank/loans"), ("bureau", "bureau/scores")):
            data = folder / f"{org}.csv"
            data.write_text("person\np1\np2\np3\n")
            say(made, org, "dataset", "register", dataset, data, "--id-column", "person", "--yes")
            words = ("--column", "person=join-only", "--purpose", "research", "--legal-basis", "consent")
            words += ("--because", "any receiver")
            words += ("--program", "private-join", "--receiver", "bureau", "--receiver", "bank", "--profile")
            words += ("dh-psi", "--co-party", "bank", "--membership", "bank", "--membership", "bureau")
            words += ("--expires", "30d", "--runs", "2", "--min-group", "1")
            say(made, "bureau", "grant", "request", f"bureau/g-{org}", "--dataset", dataset, *words)
            say(made, org, "grant", "approve", f"bureau/g-{org}")
        yield made
    finally:
        list(stop_consortium(made))


def say(consortium: ConsortiumFolder, org: str, *words: str | Path) -> str:
    done = assent_here(*words, "--as", consortium.org(org).path)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _as_hostile_agent(consortium: ConsortiumFolder, job: str) -> None:
    """Accept, meet and bind as the bureau's agent would."""
    org, genesis = consortium.org("bureau"), load_genesis(consortium.genesis)
    async with Client(node_url(org), genesis) as client:
        account = SigningClient(client, load_key(org.key("agent")), genesis.chain_id)
        await wait_for_state(client, job, "proposed")
        spec: Any = await client.state("jobs", "specs", job)
        code: dict[str, Value] = {"plan": spec["plan"]}
        await account.send("jobs", "accept", {"job": job, **code}, gas_limit=8_000_000)
        await wait_for_state(client, job, "accepted")
        await asyncio.to_thread(meet_bank, consortium, job)
        await account.send("jobs", "bind", {"job": job, "commitment": bytes(32)}, gas_limit=8_000_000)
        await wait_for_state(client, job, "running")


def meet_bank(consortium: ConsortiumFolder, job: str) -> None:
    """Say that the bureau has a slot for the job, until the bank has one."""
    bank, key = consortium.org("bank"), load_key(consortium.org("bureau").key("agent"))
    host, port = split_address(load_agent_config(bank.agent_config)[0].peers.listen)
    peers = {0: (host, port, load_key(bank.key("agent")).public)}
    with closing(PeerListener("127.0.0.1", 0, key, ())) as listener:
        invitation = Invitation(job, 1, 1, peers, PATIENCE_S)
        meet(invitation, key, listener, Slots(1, PATIENCE_S), Cancellation(), lambda *_: None)


async def wait_for_state(client: Client, job: str, wanted: str) -> Any:
    """Follow the ledger until a job is in a state."""
    async with asyncio.timeout(PATIENCE_S):
        async for _ in client.follow(contract="jobs", from_height=0):
            record: Any = await client.state("jobs", "jobs", job)
            if record is not None and record["state"] == wanted:
                return record
    raise AssertionError("the ledger ended")


def dial(bank: OrgFolder, key: PrivateKey, alter: Callable[[Any], Any] = lambda context: context) -> Any:
    """Connect to the bank's agent with the bureau's key."""
    address = split_address(load_agent_config(bank.agent_config)[0].peers.listen)
    context = alter(client_context(key, [load_key(bank.key("agent")).public]))
    raw = socket.create_connection(address, timeout=PATIENCE_S)
    return context.wrap_socket(raw, server_hostname=None)


def drip(bank: OrgFolder, key: PrivateKey, job: str, ended: threading.Event) -> None:
    """Open the link as the protocol says, then send a frame's header and one more byte from time to time."""
    mine = JobHello(bytes.fromhex(job), 1, 0)
    with dial(bank, key) as link, suppress(OSError):
        link.sendall(mine.encode())
        assert link.recv(HELLO.size)
        link.sendall(HEADER.pack(channel_tag(mine.job_id, 1, 0), 0, 0, 40))
        while not ended.wait(0.3):
            link.sendall(b"\0")


def agent_state(consortium: ConsortiumFolder, org: str) -> Any:
    shown = json.loads(assent("status", consortium.path, "--json").stdout)
    return next(agent for agent in shown["agents"] if agent["org"] == org)


def test_a_hostile_party_ends_one_job_by_name_within_the_owners_own_time(
    consortium: ConsortiumFolder,
) -> None:
    """Seven malformed leaves, then a link that drips: the ledger would let the job run for thirty days."""
    bank, genesis = consortium.org("bank"), load_genesis(consortium.genesis)
    key = load_key(consortium.org("bureau").key("agent"))
    processes.start(bank, "agent")
    words = ("--program", "private-join", "--purpose", "research", "--profile", "dh-psi")
    words += ("--parameters", json.dumps({"receivers": ["bank"], "tell_owners": False}))
    words += ("--input", "loans=bureau/g-bank", "--input", "scores=bureau/g-bureau")
    words += ("--deadline", "run=30d", "--json")
    job = json.loads(say(consortium, "bureau", "job", "propose", *words))["job"]
    asyncio.run(_as_hostile_agent(consortium, job))

    for made in MALFORMED.values():
        shown = made(key)
        with (
            suppress(OSError),
            dial(bank, key, lambda context, der=shown: showing(context, der, key)) as link,
        ):
            link.sendall(JobHello(bytes.fromhex(job), 1, 0).encode())
            link.recv(1)
    ended = threading.Event()
    dripping = threading.Thread(target=drip, args=(bank, key, job, ended))
    dripping.start()

    async def outcome() -> None:
        async with Client(node_url(bank), genesis) as client:
            await wait_for_state(client, job, "aborted")

    try:
        asyncio.run(outcome())
    finally:
        ended.set()
        dripping.join(PATIENCE_S)
    log = processes.log_tail(bank, "agent", 100)
    assert "abort with MPC_PEER_TIMEOUT (org bureau" in log
    assert ": party 1 took" in log
    assert f"dropped: key {key.public.hex()[:16]}: " in log
    assert agent_state(consortium, "bank")["state"] == "running"
    processes.stop(bank, "agent")


def test_an_agent_whose_listener_dies_ends_and_says_why(consortium: ConsortiumFolder) -> None:
    """A dead port must not look like a running agent: exit code, log and status tell."""
    bank = consortium.org("bank")
    address = split_address(load_agent_config(bank.agent_config)[0].peers.listen)
    with bank.log("agent").open("ab") as log:
        command = [sys.executable, "-c", PLANTED, str(bank.agent_config.resolve())]
        running = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        processes._write_pid(bank.pid("agent"), running.pid)
        processes.wait_until(
            bank, "agent", lambda: "ready" in processes.log_tail(bank, "agent", 1), PATIENCE_S
        )
        socket.create_connection(address).close()
        assert running.wait(PATIENCE_S) == 1
    finally:
        running.kill()
        running.wait()
    found = agent_state(consortium, "bank")
    assert found["state"] == "stopped"
    words = r"the agent stopped by itself at \S+ \S+ UTC: error \[mpc_listener_failed\]"
    assert re.search(words, found["stall"])
    assert "RuntimeError: planted" in found["stall"]
    assert "assent start" in assent("status", consortium.path).stdout
