"""The agent's process, and its composition root: configuration, keys, files, sockets and clocks meet here."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.ledger.genesis import load_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.descriptors import budget_descriptors
from chain.primitives.errors import AssentError, ConfigError, Exit
from chain.primitives.keyfile import load_key
from chain.primitives.reopening import reopen_log_on_hangup
from chain.primitives.settings import split_address
from privcompute.agent.agent import Agent
from privcompute.clock import now_ms
from privcompute.config import AgentConfig, AgentFiles, load_agent_config, node_access
from privcompute.data.datasets import DatasetStore
from privcompute.data.evidence import EvidenceLog
from privcompute.data.exposed import ExposedStore
from privcompute.data.results import JoinStore, ResultStore
from privcompute.data.sealed import SealedStore
from privcompute.job.chain_reader import ChainReader
from privcompute.job.environment import AgentIdentity, AgentStores, ComputePlace, JobEnvironment, OwnNode
from privcompute.job.store import JobStore, StatusBoard
from privcompute.net.listener import OPENINGS_MAX, PENDING_MAX, PeerListener

DESCRIPTORS_PER_JOB = 11
"""Links to seven peers, and the two ends of the pipes that stop the worker and its connecting."""
DESCRIPTORS_BESIDE = 256
"""For files, the node's connections and the libraries."""

log = logging.getLogger("assent.agent")


class AgentRunning(AssentError):
    """A second agent on one data folder: stop the first, or give this one a folder of its own."""

    code = "agent_running"
    exit = Exit.CONFIG


def descriptor_parts(config: AgentConfig) -> dict[str, int]:
    """Return what needs how many open files, from the bounds that this agent keeps."""
    return {
        "connections that have not proved a key": OPENINGS_MAX,
        "connections that no job has claimed": PENDING_MAX,
        "jobs (policy.max_waiting_jobs)": DESCRIPTORS_PER_JOB * config.policy.max_waiting_jobs,
        "files, the node and libraries": DESCRIPTORS_BESIDE,
    }


@contextmanager
def _only_agent(files: AgentFiles) -> Iterator[None]:
    """Hold the data folder for this process."""
    files.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(files.data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise AgentRunning(
            f"{files.data_dir}: another agent uses this folder; stop it, or set files.data_dir to another"
        ) from None
    finally:
        os.close(descriptor)


async def _check_registered(reader: ChainReader, config: AgentConfig, key: PrivateKey) -> None:
    """Raise ConfigError unless the ledger lists this key as the organisation's agent."""
    record = await reader.state("orgs", "orgs", config.organisation)
    if record is None:
        raise ConfigError(f"organisation = {config.organisation!r}: the ledger has no such member")
    if record["agent_key"] != key.public:
        raise ConfigError(
            f"files.key: the ledger lists another agent key for {config.organisation}; use that key file, or "
            "register this one with: assent org set-agent"
        )


def _environment(
    config: AgentConfig, files: AgentFiles, key: PrivateKey, node: OwnNode, listener: PeerListener
) -> JobEnvironment:
    """Return what the agent's jobs have in common."""
    policy = config.policy
    return JobEnvironment(
        identity=AgentIdentity(config.organisation, key, policy),
        node=node,
        stores=AgentStores(
            datasets=DatasetStore(files.datasets),
            results=ResultStore(files.results),
            joins=JoinStore(files.joins),
            exposed=ExposedStore(files.exposed),
            held=SealedStore(files.held, key),
            jobs=JobStore(files.jobs),
            board=StatusBoard(files.status),
            evidence=EvidenceLog(files.evidence),
        ),
        place=ComputePlace.under(policy, listener),
        now_ms=now_ms,
    )


@asynccontextmanager
async def open_agent(config: AgentConfig, files: AgentFiles) -> AsyncIterator[Agent]:
    """Open everything an agent needs; its port comes last, so that one that listens is one that can work."""
    key, genesis = load_key(files.key), load_genesis(files.genesis)
    host, port = split_address(config.peers.listen)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_only_agent(files))
        async with Client(config.node, genesis, access=node_access(config, files, key)) as client:
            reader = ChainReader(client)
            await _check_registered(reader, config, key)
            listener = stack.enter_context(contextlib.closing(PeerListener(host, port, key, ())))
            node = OwnNode(reader, SigningClient(client, key, genesis.chain_id))
            environment = _environment(config, files, key, node, listener)
            environment.stores.evidence.append(now_ms(), "", "started", {"organisation": config.organisation})
            yield Agent(environment, client, files.cursor)


async def _until_told(config: AgentConfig, files: AgentFiles) -> None:
    work = asyncio.ensure_future(_serve(config, files))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work
    log.info("agent of %s stopped", config.organisation)


async def _serve(config: AgentConfig, files: AgentFiles) -> None:
    async with open_agent(config, files) as agent:
        await agent.run()


def run_agent(path: Path) -> None:
    """Run the agent of a configuration file until SIGTERM or SIGINT; faults of the set-up are raised."""
    config, files = load_agent_config(path)
    logging.basicConfig(
        level=config.log.level.upper(), format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    reopen_log_on_hangup()
    spare = DESCRIPTORS_PER_JOB * (config.policy.max_waiting_jobs - 1)
    budget_descriptors(descriptor_parts(config), lower="policy.max_waiting_jobs", spare=spare)
    asyncio.run(_until_told(config, files))
