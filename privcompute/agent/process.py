"""The agent process: follows its own node, keeps one task per open job, serves the peers' port.

This is the composition root of an agent: configuration, keys, files, sockets and clocks meet here.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from chain.api.client import Account, Client
from chain.ledger.block import EventEntry
from chain.ledger.genesis import load_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.descriptors import budget_descriptors
from chain.primitives.errors import AssentError, ConfigError, Exit
from chain.primitives.execution import RESULT_BYTES_MAX
from chain.primitives.files import read_bounded
from chain.primitives.keyfile import load_key
from chain.primitives.reopening import reopen_log_on_hangup
from chain.primitives.settings import split_address
from chain.primitives.values import decode_value
from privcompute.config import AgentConfig, AgentFiles, load_agent_config
from privcompute.data.datasets import DatasetStore
from privcompute.data.evidence import EvidenceLog
from privcompute.data.private_files import write_private
from privcompute.data.results import ResultStore
from privcompute.job.chain_reader import ChainReader
from privcompute.job.steps import Parts, now_ms
from privcompute.job.store import JobStore, StatusBoard
from privcompute.job.task import JobTask
from privcompute.net.listener import OPENINGS_MAX, PENDING_MAX, PeerListener
from privcompute.programs.registry import PROGRAMS

JOB_SUBJECT = re.compile(r"job:([0-9a-f]{64})")
CURSOR_BYTES_MAX = 4_096
PROPOSED_EVENT = "JobProposed"
OPEN_JOBS_MAX = 10_000
DESCRIPTORS_PER_JOB = 9
"""Links to seven peers, and the two ends of the pipe that stops the worker."""
DESCRIPTORS_BESIDE = 256
"""For files, the node's connections and the libraries."""

log = logging.getLogger("assent.agent")


class AgentRunning(AssentError):
    """A second agent on one data folder: stop the first, or give this one a folder of its own."""

    code = "agent_running"
    exit = Exit.CONFIG


class Agent:
    """Follows the contract `jobs` and runs this organisation's part of every job."""

    def __init__(self, parts: Parts, client: Client) -> None:
        """`parts` is everything that jobs share."""
        self._parts, self._client = parts, client
        self._jobs: dict[str, JobTask] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._cursor = _read_cursor(parts.files.cursor)

    async def run(self) -> None:
        """Work until cancelled. Raises ListenerFailed when the port has died."""
        for job in self._parts.jobs.unfinished():
            self._begin(job)
        resumed = f", {len(self._jobs)} unfinished jobs" if self._jobs else ""
        log.info(
            "agent of %s ready: peers at %s:%d, node %s, from height %d%s",
            self._parts.org,
            *self._parts.listener.address,
            self._client.url,
            self._cursor,
            resumed,
        )
        listening = asyncio.wrap_future(self._parts.listener.ended)
        following = asyncio.create_task(self._follow())
        try:
            await asyncio.wait({listening, following}, return_when=asyncio.FIRST_COMPLETED)
            for ended in (listening, following):
                if ended.done():
                    ended.result()  # an agent that nobody can reach must not look as if it ran
        finally:
            listening.cancel()
            following.cancel()
            for task in self._running:
                task.cancel()
            await asyncio.gather(listening, following, *self._running, return_exceptions=True)

    async def _follow(self) -> None:
        async for entry in self._client.follow(contract="jobs", from_height=self._cursor):
            self._on_event(entry)
            self._advance(entry.height)

    def _on_event(self, entry: EventEntry) -> None:
        for subject in entry.event.subjects:
            named = JOB_SUBJECT.fullmatch(subject)
            if named is None:
                continue
            known = self._jobs.get(named[1])
            if known is not None:
                known.poke()
            elif entry.event.name == PROPOSED_EVENT and self._is_ours(entry):
                self._begin(named[1], _proposer(entry))

    def _is_ours(self, entry: EventEntry) -> bool:
        fields = decode_value(entry.event.fields, max_bytes=RESULT_BYTES_MAX)
        return isinstance(fields, dict) and f"org:{self._parts.org}" in fields.get("participants", ())

    def _begin(self, job: str, initiator: str = "") -> None:
        if len(self._jobs) >= OPEN_JOBS_MAX:
            log.error("job %s: ignored, %d jobs are open already", job[:8], OPEN_JOBS_MAX)
            return
        task = JobTask(self._parts, job, initiator)
        policy = self._parts.config.policy
        of_one = sum(other.initiator == initiator != "" for other in self._jobs.values())
        if len(self._jobs) >= policy.max_waiting_jobs or of_one >= policy.max_jobs_per_organisation:
            task.refuse_as_busy()
        self._jobs[job] = task
        running = asyncio.create_task(self._work(job, task), name=f"job {job[:8]}")
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _work(self, job: str, task: JobTask) -> None:
        try:
            await task.run()
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("job %s: its task failed; it is taken up again when the agent restarts", job[:8])
        finally:
            self._jobs.pop(job, None)
            self.accept_peers()

    def _advance(self, height: int) -> None:
        """Remember how far we followed; the last height is read again after a restart."""
        if height != self._cursor:
            self._cursor = height
            write_private(self._parts.files.cursor, json.dumps({"height": height}).encode())

    def accept_peers(self) -> None:
        """Admit exactly the agents that take part in our open jobs."""
        views = [task.view for task in self._jobs.values() if task.view is not None]
        keys = {one.agent_key for view in views for one in view.spec.participants}
        self._parts.listener.accept_keys(keys - {self._parts.key.public})


def _proposer(entry: EventEntry) -> str:
    """Return the organisation that a proposal is by; "" when its event does not say."""
    return next((text[4:] for text in entry.event.subjects if text.startswith("org:")), "")


def descriptor_parts(config: AgentConfig) -> dict[str, int]:
    """Return what needs how many open files, from the bounds that this agent keeps."""
    return {
        "connections that have not proved a key": OPENINGS_MAX,
        "connections that no job has claimed": PENDING_MAX,
        "jobs (policy.max_waiting_jobs)": DESCRIPTORS_PER_JOB * config.policy.max_waiting_jobs,
        "files, the node and libraries": DESCRIPTORS_BESIDE,
    }


def _read_cursor(path: Path) -> int:
    """Return the height to follow from; 0 when nothing usable is written down (reading twice is harmless)."""
    try:
        return max(0, int(json.loads(read_bounded(path, CURSOR_BYTES_MAX))["height"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0


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


@asynccontextmanager
async def open_agent(config: AgentConfig, files: AgentFiles) -> AsyncIterator[Agent]:
    """Open everything an agent needs, in the order in which faults are cheapest to report."""
    key, genesis = load_key(files.key), load_genesis(files.genesis)
    host, port = split_address(config.peers.listen)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_only_agent(files))
        listener = stack.enter_context(contextlib.closing(PeerListener(host, port, key, ())))
        async with Client(config.node, genesis) as client:
            reader = ChainReader(client)
            await _check_registered(reader, config, key)
            parts = Parts(
                config=config,
                files=files,
                key=key,
                reader=reader,
                account=Account(client, key, genesis.chain_id),
                listener=listener,
                datasets=DatasetStore(files.datasets),
                results=ResultStore(files.results),
                jobs=JobStore(files.jobs),
                board=StatusBoard(files.status),
                evidence=EvidenceLog(files.evidence),
                slot=asyncio.Lock(),
                code_hashes={name: program.code_hash() for name, program in PROGRAMS.items()},
                accept_peers=lambda: agent.accept_peers(),
            )
            agent = Agent(parts, client)
            parts.evidence.append(now_ms(), "", "started", {"organisation": config.organisation})
            yield agent


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
