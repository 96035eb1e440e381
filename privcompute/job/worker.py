"""Worker of one job: it has a thread of its own, meets the other parties, and holds slot and run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from chain.primitives.crypto import PrivateKey
from privcompute.job.enforcement import JobRefusal
from privcompute.job.environment import ComputePlace
from privcompute.job.holding import HeldShares
from privcompute.job.meeting import Invitation, OnWait, meet
from privcompute.job.runner import JobRun, OnStage, RunPlan
from privcompute.mpc.rounds import OnProgress
from privcompute.net.cancellation import Cancellation

T = TypeVar("T")


class JobWorker:
    """Worker that runs a job's blocking computation beside the event loop."""

    def __init__(self, job: str, place: ComputePlace, key: PrivateKey) -> None:
        self._place, self._key = place, key
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=f"job-{job[:8]}")
        """A thread of its own: jobs that wait for their peers must not use up those of the others."""
        self._run: JobRun | None = None
        self._busy: asyncio.Future[Any] | None = None
        self._job = job
        self._meeting: Cancellation | None = None
        self._destroyed = ""
        """Why it was stopped; "" while it was not."""

    async def meet(self, invitation: Invitation, on_wait: OnWait) -> None:
        """Wait until every party has a slot for the job. Raises what `meet` does."""
        self.give_slot_back()
        switch, place = Cancellation(), self._place
        if self._destroyed:
            switch.cancel(self._destroyed)
        self._meeting = switch
        await self._in_thread(
            lambda: meet(invitation, self._key, place.listener, place.slots, switch, on_wait)
        )

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Use the job's slot, and give it back when the thread is idle.

        What follows a computation waits for others' decisions, which may take days.
        """
        if self._meeting is not None:
            self._meeting.cancel("the job has begun")
            await self.stopped()
        self._place.slots.take(self._job)
        try:
            yield
        finally:
            if self._busy is None or self._busy.done():
                self.give_slot_back()

    def give_slot_back(self) -> None:
        """Let another job compute in this one's slot, if it has one."""
        self._place.slots.give_back(self._job)

    def begin(self, plan: RunPlan, on_stage: OnStage, on_progress: OnProgress) -> None:
        """Set up the run; both callbacks come from the thread. Raises JobRefusal after `destroy`."""
        self._run = JobRun(plan, self._key, self._place.listener, on_stage, on_progress)
        if self._destroyed:
            raise JobRefusal("STOPPED", f"not started: {self._destroyed}")

    async def connect(self) -> None:
        """Connect to the other agents."""
        await self._in_thread(self._needed().connect)

    async def compute(self) -> HeldShares:
        """Run every stage; return what we hold of the outputs, in shares."""
        return await self._in_thread(self._needed().compute)

    @property
    def at(self) -> str:
        """The stage in which the run is, or was when it failed; "wait" before it began."""
        return "wait" if self._run is None else self._run.at

    def joined_ids(self) -> dict[bytes, list[str]]:
        """Return our own identifiers that all owners of a join hold, by the versions that were joined."""
        return {} if self._run is None else self._run.joined_ids()

    def destroy(self, reason: str) -> None:
        """Stop whatever runs."""
        self._destroyed = self._destroyed or reason
        if self._meeting is not None:
            self._meeting.cancel(reason)
        if self._run is not None:
            self._run.destroy(reason)

    async def stopped(self) -> None:
        """Wait until the thread is idle, however its work ended."""
        if self._busy is not None:
            await asyncio.gather(self._busy, return_exceptions=True)

    def close(self) -> None:
        """Close the links, give the slot back, and end the thread, which must be idle."""
        if self._run is not None:
            self._run.close()
        self.give_slot_back()
        self._threads.shutdown(wait=False)

    def _needed(self) -> JobRun:
        assert self._run is not None, "begin comes first"
        return self._run

    async def _in_thread(self, work: Callable[[], T]) -> T:
        busy = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._busy = busy
        return await asyncio.shield(busy)
