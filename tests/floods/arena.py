"""The consortium under attack: four real validators, started and stopped at will, and what they cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from chain.api.tokens import SCOPE_NAMES, Token, save_tokens, secret_hash
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.client.access import NodeAccess
from chain.client.client import Client
from chain.config import load_node_config
from chain.ledger.block import Transaction, TransactionBody, sign_transaction, transaction_id
from chain.ledger.genesis import Genesis, load_genesis
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from chain.primitives.values import encode_value
from privcompute.config import load_agent_config
from tests.deploying import deploy_contract
from tests.floods.honest import Honest
from tests.floods.target import FloodsFailed, Target
from tests.torture.load import CONTRACT, SOURCE, counter_call
from tests.torture.nodes import NodeProcess

ORGS = ["bank", "bureau", "registry", "regulator"]
MEMBER = "regulator"
"""Whose node's key the attacker holds; its node is stopped while the key is used."""
PARTICIPANT = "registry"
"""Whose agent's key the attacker holds."""
DESCRIPTORS = 1_024
"""The usual soft limit, under which every node is started."""
FINALS = 1_024
BATCH = 128
READY_S = 120.0
SETTLE_S = 120.0
SETTLED = 5
"""Transactions in a row, each faster than SETTLED_MS, before anything is measured."""
SETTLED_MS = 2_000.0
SAMPLE_S = 0.2
PRESSURE = 400
PRESSURE_BYTES = 60_000


OPEN, STRANGER, READ = "open", "stranger", "read"
ACCESS = (OPEN, STRANGER, READ)
"""Ports on loopback that ask nobody who he is; ports with TLS and principals that attackers without a token
reach; and such that attackers with a token of scope `read` reach."""
HONEST, READER = "assent_honest", "assent_reader"
"""The secrets of the two tokens."""


@dataclass(slots=True)
class Cost:
    """What one node used while it was watched."""

    rss_mib: float = 0.0
    """The largest."""
    cpu_s: float = 0.0
    log_bytes: int = 0


@dataclass(slots=True)
class Arena:
    """The nodes by organisation, and whether each has been attacked since its start."""

    consortium: ConsortiumFolder
    genesis: Genesis
    nodes: dict[str, NodeProcess]
    session: aiohttp.ClientSession
    dirty: set[str] = field(default_factory=set)
    finals: tuple[str, ...] = ()
    job: str = ""
    """Id of the computation that agents are about to begin."""
    access: str = OPEN
    """Whether the ports for clients are guarded, and what attackers have: one of ACCESS."""
    fields: dict[str, str] = field(default_factory=dict)
    """What requests of honest clients have beside the usual header."""
    deaths: list[str] = field(default_factory=list)
    """Nodes that ended by themselves, with the end of their logs."""

    async def open(self) -> None:
        """Start every node, deploy the contract, and make the transactions that attackers ask for."""
        await self.run_only(ORGS)
        keys = {org: self.admin(org) for org in ORGS}
        urls = {org: node.url for org, node in self.nodes.items()}
        await deploy_contract(urls, keys, self.genesis.chain_id, CONTRACT, SOURCE, self._client)
        self.finals = tuple(await self._many_transactions())

    def _client(self, url: str) -> Client:
        if self.access == OPEN:
            return Client(url)
        named = frozenset(self.genesis.validator_keys)
        access = NodeAccess(token=lambda: HONEST, nodes=named)
        return Client(url, self.genesis, access=access)

    def admin(self, org: str) -> PrivateKey:
        """Return the key that signs an organisation's transactions."""
        return load_key(self.nodes[org].org.key("admin"))

    async def ask(self, org: str, method: str, **params: Any) -> Any:
        """Call one RPC method; None when the node does not answer with a result."""
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError):
            async with self.session.post(self.nodes[org].url + "/", json=call) as answer:
                return (await answer.json(content_type=None)).get("result")
        return None

    async def _many_transactions(self) -> list[str]:
        height = await self.ask("bank", "getBlockNumber")
        made = [
            counter_call(self.admin("bank"), self.genesis.chain_id, n, int(height)) for n in range(FINALS)
        ]
        ids = [transaction_id(tx.body).hex() for tx in made]
        for first in range(0, FINALS, BATCH):
            part = [encode(tx).hex() for tx in made[first : first + BATCH]]
            if await self.ask("bank", "sendTransactions", transactions=part) is None:
                raise FloodsFailed(f"the first transactions were not taken: {self.nodes['bank'].tail()}")
        deadline = time.monotonic() + SETTLE_S
        while not await self.ask("bank", "getTransactionReceipt", id=ids[-1], waitMs=2_000):
            if time.monotonic() > deadline:
                raise FloodsFailed("the first transactions have no receipt after a minute")
        return ids

    # --- starting and stopping --------------------------------------------------------------------

    async def run_only(self, orgs: list[str]) -> None:
        """Have these nodes run and no others, each as if never attacked; wait until they are ready."""
        self.bury()
        for org in [*self.dirty, *[org for org in ORGS if org not in orgs]]:
            if self.nodes[org].running:
                await self.nodes[org].stop()
        self.dirty.clear()
        for org in orgs:
            if not self.nodes[org].running:
                self.nodes[org].spawn()
        await asyncio.gather(*[self._ready(org, len(orgs) - 1) for org in orgs])

    async def _ready(self, org: str, peers: int) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            info = await self.ask(org, "getNodeInfo")
            if info is not None and info["peers"] >= peers:
                return
            if not self.nodes[org].running:
                raise FloodsFailed(f"{org} ended while starting:\n{self.nodes[org].tail()}")
            if time.monotonic() > deadline:
                raise FloodsFailed(f"{org} is not ready after {READY_S:.0f} s:\n{self.nodes[org].tail()}")
            await asyncio.sleep(0.1)

    def bury(self) -> None:
        """Note which nodes ended by themselves."""
        for org, node in self.nodes.items():
            if node.process is not None and node.process.poll() not in (None, 0):
                self.deaths.append(f"{org}: exit code {node.process.poll()}: {node.tail(2)}")
                node.process = None

    async def settle(self, honest: dict[str, Honest]) -> None:
        """Wait until transactions are certified in time everywhere (a view change may be under way)."""
        deadline = time.monotonic() + SETTLE_S
        for org, client in honest.items():
            good = 0
            while good < SETTLED:
                good = good + 1 if await client.probe() < SETTLED_MS else 0
                if time.monotonic() > deadline:
                    raise FloodsFailed(
                        f"no undisturbed pace at {org} after {SETTLE_S:.0f} s: {client.last_refusal}"
                    )

    async def primary(self, running: list[str]) -> str:
        """Return the organisation that proposes now; the first one when it is not among the running."""
        info = await self.ask(running[0], "getNodeInfo")
        org = str(info["primary"]).removesuffix("-node") if info else running[0]
        return org if org in running else running[0]

    async def press_storage(self, org: str) -> int:
        """Send large transactions through a node until LevelDB needs new files; return how many it took."""
        key, taken = self.admin(org), 0
        height = int(await self.ask(org, "getBlockNumber") or 0)
        for _ in range(PRESSURE // 20):
            made = [self._large(key, height) for _ in range(20)]
            answer = await self.ask(org, "sendTransactions", transactions=[encode(tx).hex() for tx in made])
            taken += sum("id" in item for item in answer or ())
            await asyncio.sleep(0.05)
        return taken

    def _large(self, key: PrivateKey, height: int) -> Transaction:
        args = encode_value({"entry": "x" * PRESSURE_BYTES})
        body = TransactionBody(
            self.genesis.chain_id, key.public, CONTRACT, "add", args, 100_000, os.urandom(16), height + 300
        )
        return sign_transaction(body, key)

    # --- what is attacked -------------------------------------------------------------------------

    def target(self, victims: list[str], seconds: float, seed: int) -> Target:
        """Describe the nodes to an attacker."""
        honest = [org for org in ORGS if org != MEMBER]
        configs = {org: load_node_config(self.nodes[org].org.node_config)[0] for org in honest}
        agents = {org: load_agent_config(self.nodes[org].org.agent_config)[0] for org in honest}
        return Target(
            genesis=str(self.consortium.genesis),
            rpc={org: config.rpc.listen for org, config in configs.items()},
            peer={org: config.network.listen for org, config in configs.items()},
            agent={org: config.peers.listen for org, config in agents.items()},
            victims=tuple(victims),
            keys={
                "member": str(self.nodes[MEMBER].org.key("node")),
                "participant": str(self.nodes[PARTICIPANT].org.key("agent")),
            },
            finals=self.finals,
            source="127.0.0.1",
            seconds=seconds,
            seed=seed,
            tls=self.access != OPEN,
            secret=READER if self.access == READ else "",
        )

    # --- what it costs ----------------------------------------------------------------------------

    async def watch(self, costs: dict[str, Cost]) -> None:
        """Note the largest memory of every running node, five times a second, until cancelled."""
        while True:
            for org, node in self.nodes.items():
                found = costs.setdefault(org, Cost())
                found.rss_mib = max(found.rss_mib, self.rss_mib(node))
            await asyncio.sleep(SAMPLE_S)

    @staticmethod
    def rss_mib(node: NodeProcess) -> float:
        """Return the resident memory of a node, 0 when it does not run."""
        with contextlib.suppress(psutil.Error):
            if node.running and node.process is not None:
                return round(psutil.Process(node.process.pid).memory_info().rss / 1_048_576, 1)
        return 0.0

    @staticmethod
    def cpu_s(node: NodeProcess) -> float:
        """Return the processor seconds that a node has used since its start."""
        with contextlib.suppress(psutil.Error):
            if node.running and node.process is not None:
                times = psutil.Process(node.process.pid).cpu_times()
                return float(times.user + times.system)
        return 0.0

    @staticmethod
    def log_bytes(node: NodeProcess) -> int:
        """Return the size of the log of a node's present run."""
        with contextlib.suppress(OSError):
            return node.log.stat().st_size
        return 0


def _guard(org: OrgFolder) -> None:
    """Have a node ask by TLS who asks, and give a token to honest clients and one to attackers."""
    for path, plain, guarded in (
        (org.node_config, "[rpc]", "[rpc]\ntls = true\nprincipals = true"),
        (org.agent_config, 'node = "http:', 'node = "https:'),
    ):
        if path.exists():
            path.write_text(path.read_text().replace(plain, guarded))
    scopes = {"honest": (HONEST, SCOPE_NAMES), "attacker": (READER, ("read",))}
    tokens = [
        Token(name=name, secret_sha256=secret_hash(secret).hex(), scopes=may, created=0, expires=2**53)
        for name, (secret, may) in scopes.items()
    ]
    save_tokens(org.path / "rpc-tokens.json", tuple(tokens))


def found_arena(folder: Path, base_port: int, session: aiohttp.ClientSession, access: str = OPEN) -> Arena:
    """Make the consortium's folder; nothing runs yet. Nodes will have the usual descriptor limit."""
    consortium = create_consortium(folder / "c", ORGS, ORGS[:3], base_port, "floods")
    nodes = {}
    for org in consortium.orgs:
        if access != OPEN:
            _guard(org)
        config, files = load_node_config(org.node_config)
        url = f"http{'s' if access != OPEN else ''}://{config.rpc.listen}"
        nodes[org.name] = NodeProcess(org.name, org, url, files.data_dir, descriptors=DESCRIPTORS)
    fields = {} if access == OPEN else {"Authorization": f"Bearer {HONEST}"}
    session.headers.update(fields)
    return Arena(consortium, load_genesis(consortium.genesis), nodes, session, access=access, fields=fields)
