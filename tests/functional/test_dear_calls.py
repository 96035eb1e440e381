"""Four validators of little memory execute the dearest transactions that the chain allows, and start again.

Every process has 1.5 GB of address space from the kernel. The contract came in by vote, as any would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from live import ORGS, rpc

from chain.cli import processes
from chain.cli.consortium import node_url, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.client.answers import RpcError
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.ledger.block import Receipt, transaction_id
from chain.ledger.genesis import load_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from chain.primitives.possession import prove_possession
from chain.primitives.values import Value

pytestmark = pytest.mark.functional
LIMIT_KB = 1_500_000
ANSWERS_S = 60.0
GAS = 10_000_000
GROWTH_MAX = 64 * 1024 * 1024
"""What one call may take; blocks, sources and pools that the calls leave are in it."""
SINK = """
@view
def take(x: Value) -> int:
    return 1
"""
DEAR = """
kept = Map(int, Value)
one = Var(Value, 0)
Seen = Event(x=Value)
sink = Contract("sink")

def shared(text: str, rows: int) -> Value:
    a = [text * 65536] * 1000
    return [a] * rows

@export
def digest(text: str, rows: int) -> str:
    return sha256(encode(shared(text, rows))).hex()

@export
def result(text: str, rows: int) -> Value:
    return shared(text, rows)

@export
def keep(text: str, rows: int):
    kept[1] = shared(text, rows)

@export
def keep_one(text: str, rows: int):
    one.set(shared(text, rows))

@export
def emit(text: str, rows: int):
    Seen(x=shared(text, rows))

@export
def pass_on(text: str, rows: int) -> int:
    return sink.take(shared(text, rows))

@export
def gather(text: str, rows: int) -> int:
    held = []
    while True:
        held.append(encode([text * 16000]))

@export
def numbers(text: str, rows: int) -> int:
    x = 2 ** 4000
    return len([[x + i + j for i in range(9999)] for j in range(rows)])

@view
def look(text: str, rows: int) -> Value:
    return shared(text, rows)
"""
METHODS = ("digest", "result", "keep", "keep_one", "emit", "pass_on", "gather", "numbers")
TEXTS = ("x", "\N{GRINNING FACE}")
CAPS = "TEXT_LENGTH ENCODED_BYTES RESULT_BYTES WRITTEN_BYTES EVENT_BYTES COPY_BYTES ELEMENTS ALLOCATION"
ENDS = {("limit", code) for code in CAPS.split()}
DENSE = (
    "@export\ndef f(a, b):\n" + "    [[[[[[[[[[[[a]]]]]]]]]]]]\n" * 900,
    "@export\ndef f(a, b):\n    a" + ";a" * 11_900 + "\n",
    "@export\ndef f(a, b):\n    f'" + "{a}" * 8_000 + "'\n",
    "".join(f"c{n} = ({n}, {n})\n" for n in range(2_000)),
)


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[ConsortiumFolder]:
    """Four organisations; whatever of them runs is stopped at the end."""
    made = create_consortium(tmp_path / "c", ORGS, ORGS[:3], 0, "dear")
    yield made
    list(stop_consortium(made))


def start(*orgs: OrgFolder) -> None:
    """Start nodes with little memory."""
    for org in orgs:
        node = f'exec "{sys.executable}" -m chain.cli.main node run --config "{org.node_config.resolve()}"'
        log = (os.POSIX_SPAWN_OPEN, 1, str(org.log("node")), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        command = ["bash", "-c", f"ulimit -v {LIMIT_KB}; {node}"]
        streams = [log, (os.POSIX_SPAWN_DUP2, 1, 2)]
        pid = os.posix_spawn("/bin/bash", command, os.environ, file_actions=streams, setsid=True)
        org.pid("node").write_text(f"{pid}\n")


def height(org: OrgFolder) -> int:
    """Return a node's certified height, -1 while it does not answer."""
    try:
        return int(rpc(org, "getBlockNumber")["result"])
    except OSError:
        return -1


def wait_for(consortium: ConsortiumFolder, least: int) -> None:
    for org in consortium.orgs:
        processes.wait_until(org, "node", lambda org=org: height(org) >= least, ANSWERS_S)  # type: ignore[misc]


def peak(org: OrgFolder) -> int:
    """Return the most bytes that a node held so far."""
    running = processes.find(org, "node")
    assert running is not None, processes.log_tail(org, "node", 5)
    lines = Path(f"/proc/{running.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1_024 for line in lines if line.startswith("VmHWM"))


class Members:
    """The organisations, each sending by its own node."""

    def __init__(self, consortium: ConsortiumFolder) -> None:
        self._consortium, self._genesis = consortium, load_genesis(consortium.genesis)
        self._stack = contextlib.AsyncExitStack()
        self.accounts: dict[str, SigningClient] = {}

    async def __aenter__(self) -> Members:
        for org in self._consortium.orgs:
            client = Client(node_url(org), self._genesis, timeout_s=ANSWERS_S)
            await self._stack.enter_async_context(client)
            self.accounts[org.name] = SigningClient(
                client, load_key(org.key("admin")), self._genesis.chain_id
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def call(self, org: str, contract: str, method: str, **args: Value) -> Receipt:
        """Send a call at the highest gas limit; return its receipt, whatever it says."""
        account = self.accounts[org]
        tx = await account.build(contract, method, args, gas_limit=GAS)
        await account.client.submit(tx)
        receipt = await account.client.wait(transaction_id(tx.body), ANSWERS_S)
        assert receipt is not None, f"no block holds {contract}.{method} {args}"
        return receipt

    async def adopt(self, name: str, source: str) -> None:
        """Take a contract through the votes of three; return when it runs."""
        content = {"name": name, "source": source, "arguments": {}, "terms": {}}
        assert (await self.call("bank", "lifecycle", "propose", **content)).status == "ok"
        proposal = await self.accounts["bank"].client.view(
            "lifecycle", "proposal_of", {"name": name, "seq": 1}
        )
        for org in ("bureau", "registry"):
            approved = await self.call(org, "lifecycle", "approve", name=name, seq=1, hash=proposal["hash"])
            assert approved.status == "ok"
        committed = await self.call("bank", "lifecycle", "commit", name=name, seq=1)
        assert committed.status == "ok"
        await self.call("bank", "lifecycle", "none")  # a height more, from which it runs

    async def add_key(self) -> None:
        """Commit what any member might."""
        key, chain_id = PrivateKey.generate(), await self.accounts["bank"].client.chain_id()
        proof = prove_possession(key, chain_id, "bank")
        done = await self.call("bank", "orgs", "add_key", key=key.public, proof=proof, roles=["steward"])
        assert done.status == "ok"


async def spend(members: Members) -> None:
    """Send the dearest calls of every kind, at once as they fill blocks, and ask the same of a view."""
    senders = cycle(members.accounts)
    calls = [
        members.call(next(senders), "dear", method, text=text, rows=rows)
        for method in METHODS
        for text in TEXTS
        for rows in (1, 70, 9_999)
    ]
    for receipt in await asyncio.gather(*calls):
        assert (receipt.status, receipt.code) in ENDS
    dense = [
        members.call(org, "lifecycle", "propose", name=f"dense{n}", source=source, arguments={}, terms={})
        for n, source in enumerate(DENSE)
        for org in ("bank", "bureau")
    ]
    assert {receipt.status for receipt in await asyncio.gather(*dense)} == {"ok"}
    for account in members.accounts.values():
        for text in TEXTS:
            with pytest.raises(RpcError, match="RESULT_BYTES"):
                await account.client.view("dear", "look", {"text": text, "rows": 70})


async def test_validators_of_little_memory_survive_the_dearest_transactions_and_a_restart(
    consortium: ConsortiumFolder,
) -> None:
    start(*consortium.orgs)
    wait_for(consortium, 1)
    async with Members(consortium) as members:
        await members.adopt("sink", SINK)
        await members.adopt("dear", DEAR)
        idle = {org.name: peak(org) for org in consortium.orgs}
        await spend(members)
        await members.add_key()
        for org in consortium.orgs:
            assert peak(org) - idle[org.name] <= GROWTH_MAX, org.name
    list(stop_consortium(consortium))
    start(*consortium.orgs)
    wait_for(consortium, 1)
    async with Members(consortium) as members:
        await spend_again(members)


async def spend_again(members: Members) -> None:
    for text in TEXTS:
        assert (await members.call("bank", "dear", "digest", text=text, rows=70)).code == "ENCODED_BYTES"
    await members.add_key()
