"""One organisation's agent: follows the jobs of its node, and keeps one task per open job."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path

from chain.client.client import Client
from chain.ledger.block import EventEntry
from chain.primitives.errors import AssentError
from chain.primitives.files import read_bounded
from chain.primitives.runtimeport import RESULT_BYTES_MAX
from chain.primitives.values import decode_value
from privcompute.agent.desk import ReleaseDesk
from privcompute.data.private_files import NotWritten, write_private
from privcompute.job.environment import JobEnvironment
from privcompute.job.restoring import restore_result
from privcompute.job.task import JobTask
from privcompute.job.view import JobView

JOB_SUBJECT = re.compile(r"job:([0-9a-f]{64})")
CURSOR_BYTES_MAX = 4_096
PROPOSED_EVENT = "JobProposed"
OPEN_JOBS_MAX = 10_000

log = logging.getLogger("assent.agent")


class Agent:
    """Follows the contract `jobs` and runs this organisation's part of every job."""

    def __init__(self, environment: JobEnvironment, client: Client, cursor: Path) -> None:
        """Follow `client`; the file `cursor` says from which height on."""
        self._environment, self._client = environment, client
        self._identity, self._listener = environment.identity, environment.place.listener
        self._jobs: dict[str, JobTask] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._cursor_file, self._cursor = cursor, _read_cursor(cursor)
        self._desk = ReleaseDesk(environment)
        self._restoring: set[str] = set()

    async def run(self) -> None:
        """Work until cancelled. Raises ListenerFailed when the port has died."""
        for job in self._environment.stores.jobs.unfinished():
            self._begin(job)
        resumed = f", {len(self._jobs)} unfinished jobs" if self._jobs else ""
        log.info(
            "agent of %s ready: peers at %s:%d, node %s, from height %d%s",
            self._identity.org,
            *self._listener.address,
            self._client.url,
            self._cursor,
            resumed,
        )
        listening = asyncio.wrap_future(self._listener.ended)
        following = asyncio.create_task(self._follow())
        handing_out = asyncio.create_task(
            self._desk.run(self._jobs.__contains__, self._begin, self._on_swept)
        )
        parts = (listening, following, handing_out)
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for ended in parts:
                if ended.done():
                    ended.result()  # an agent that nobody can reach must not look as if it ran
        finally:
            for task in (*parts, *self._running):
                task.cancel()
            await asyncio.gather(*parts, *self._running, return_exceptions=True)

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
        return isinstance(fields, dict) and f"org:{self._identity.org}" in fields.get("participants", ())

    def _begin(self, job: str, initiator: str = "") -> None:
        if len(self._jobs) >= OPEN_JOBS_MAX:
            log.error("job %s: ignored, %d jobs are open already", job[:8], OPEN_JOBS_MAX)
            return
        task = JobTask(self._environment, job, self._accept_peers, initiator)
        policy = self._identity.policy
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
            self._desk.keep(task.view)
            self._accept_peers()

    def _on_swept(self) -> None:
        """Admit those who may ask still, and look after our own results of those jobs."""
        self._accept_peers()
        for view in self._desk.views():
            if view.id not in self._restoring:
                self._restoring.add(view.id)
                running = asyncio.create_task(self._restore(view), name=f"result {view.id[:8]}")
                self._running.add(running)
                running.add_done_callback(self._running.discard)

    async def _restore(self, view: JobView) -> None:
        try:
            await restore_result(self._environment, view)
        except AssentError as error:
            log.error("job %s: its result is not made again: %s", view.id[:8], error)
        finally:
            self._restoring.discard(view.id)

    def _advance(self, height: int) -> None:
        """Remember how far we followed; the last height is read again after a restart."""
        if height != self._cursor:
            self._cursor = height
            try:
                write_private(self._cursor_file, json.dumps({"height": height}).encode())
            except NotWritten as error:  # after a restart more is read again
                log.error("%s", error)

    def _accept_peers(self) -> None:
        """Admit exactly the agents that take part in our open jobs, or may ask for what we hold of others."""
        views = [task.view for task in self._jobs.values() if task.view is not None]
        views += self._desk.views()
        keys = {one.agent_key for view in views for one in view.spec.participants}
        self._listener.accept_keys(keys - {self._identity.key.public})


def _proposer(entry: EventEntry) -> str:
    """Return the organisation that a proposal is by; "" when its event does not say."""
    return next((text[4:] for text in entry.event.subjects if text.startswith("org:")), "")


def _read_cursor(path: Path) -> int:
    """Return the height to follow from; 0 when nothing usable is written down (reading twice is harmless)."""
    try:
        return max(0, int(json.loads(read_bounded(path, CURSOR_BYTES_MAX))["height"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0
