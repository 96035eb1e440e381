"""One job in a running agent: drives its state machine, carries out the actions, keeps memory and logs.

The loop never blocks: every action is a task of its own that answers with a completion. Calls to the ledger
leave in the order in which the machine asked for them. Computing happens in a worker thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chain.primitives.errors import AssentError
from chain.primitives.values import Value
from privcompute.data.datasets import OpenedDataset
from privcompute.job import steps as job_steps
from privcompute.job.actions import (
    Action,
    Check,
    Checked,
    Compute,
    ComputeDone,
    Destroy,
    Done,
    Failed,
    Finish,
    Prepare,
    Prepared,
    Refused,
    Release,
    Released,
    Send,
    Sent,
    Sign,
    StageDone,
    Stop,
    Verified,
    Verify,
)
from privcompute.job.chain_reader import send_until_known
from privcompute.job.enforcement import Refusal
from privcompute.job.machine import JobMachine
from privcompute.job.runner import JobRun
from privcompute.job.steps import Parts, now_ms
from privcompute.job.store import JobFile, JobFileError, Progress
from privcompute.job.view import JobView

TICK_S = 1.0
QUEUE_MAX = 1_024
PROGRESS_EVERY_MS = 250

log = logging.getLogger("assent.agent")
_Item = JobView | Done
T = TypeVar("T")


class JobTask:
    """Everything one agent does for one job; `run` ends when the job is over for us."""

    def __init__(self, parts: Parts, job: str, initiator: str = "") -> None:
        """Continue a job that was written down, or begin one; `initiator` is who proposed it, if known."""
        self._parts, self.job = parts, job
        try:
            self._file = parts.jobs.load(job)
        except JobFileError as error:
            log.error("job %s: %s", job[:8], error)
            self._file = JobFile(job, computing=True)
        self._machine = JobMachine(parts.org, self._file.recovered())
        self._queue: asyncio.Queue[_Item] = asyncio.Queue(QUEUE_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending = asyncio.Lock()
        self._reading = self._read_again = False
        self._opened: OpenedDataset | None = None
        self._run: JobRun | None = None
        self._worker: asyncio.Future[Any] | None = None
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=f"job-{job[:8]}")
        """A thread of its own: jobs that wait for their peers must not use up those of the others."""
        self._computed: ComputeDone | None = None
        self._destroyed = ""
        self._holds_slot = False
        self._progress = Progress(job)
        self._refused_busy = False
        self._initiator = initiator

    @property
    def view(self) -> JobView | None:
        """The job as the ledger last showed it."""
        return self._machine.view

    @property
    def initiator(self) -> str:
        """The organisation that proposed the job; "" while it is not known."""
        return self._initiator if self.view is None else self.view.initiator

    def poke(self) -> None:
        """Read the job from our node again, soon; several pokes make one read."""
        if self._reading:
            self._read_again = True
            return
        self._reading = True
        self._spawn(self._read())

    def refuse_as_busy(self) -> None:
        """Reject the job instead of checking it: the agent has as many as it takes."""
        self._refused_busy = True

    async def run(self) -> None:
        """Work until the job is over for us, or this task is cancelled."""
        self.poke()
        try:
            while not self._machine.finished:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):  # wait_for of Python 3.11 can swallow a cancellation
                        item = await self._queue.get()
                    self._take(item)
                self._carry_out(self._machine.on_time(now_ms()))
        finally:
            await self._clean_up()

    def _take(self, item: _Item) -> None:
        if isinstance(item, JobView):
            self._note_state(item)
            self._carry_out(self._machine.on_view(item))
            return
        if isinstance(item, ComputeDone):
            self._computed = item
            self._record("computed", {"profile": item.profile, "channels": dict(item.channels)})
            self._say("computed; the result stays in shares until every owner approves")
        if isinstance(item, StageDone):
            self._note_stage(item)
        self._carry_out(self._machine.on_done(item))

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send():
                    self._spawn(self._send(action))
                case Stop():
                    self._spawn(self._stop(action))
                case Destroy(reason):
                    self._destroy(reason)
                case Finish(state):
                    self._post(step="finished", state=state)
                    self._say(f"over: {state}")
                case _:
                    self._spawn(self._answer(action))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> None:
        try:
            while True:
                self._read_again = False
                view = await self._parts.reader.job(self.job)
                if view is not None:
                    await self._queue.put(view)
                if not self._read_again:
                    return
        except AssentError as error:
            await self._queue.put(Failed(error.code.upper(), str(error)))
        finally:
            self._reading = False

    # --- steps ------------------------------------------------------------------------------------

    async def _answer(self, action: Action) -> None:
        """Do one step and put its completion, or its failure, on the queue."""
        view = self.view
        if view is None:
            return
        try:
            done = await self._step(action, view)
        except Refusal as refusal:
            done = self._refusal(action, refusal)
        except AssentError as error:
            await asyncio.sleep(job_steps.others_first_s(error))
            done = Failed(job_steps.reason_of(error, view), str(error))
        except Exception as error:
            log.exception("job %s: internal error", self.job[:8])
            done = Failed(job_steps.reason_of(error, view), repr(error))
        await self._queue.put(done)

    def _refusal(self, action: Action, refusal: Refusal) -> Done:
        """The ledger may have moved on while we checked: then the next view decides, not this refusal."""
        if isinstance(action, Check) and refusal.reason == "WRONG_STATE":
            return Refused(f"check-{action.phase}", refusal.reason)
        return Failed(refusal.reason, str(refusal))

    async def _step(self, action: Action, view: JobView) -> Done:
        match action:
            case Check(phase):
                return await self._check(view, phase)
            case Prepare():
                return await self._prepare(view)
            case Compute():
                return await self._compute(view)
            case Verify():
                if self._computed is None:
                    raise Refusal("AGENT_RESTARTED", "nothing was computed here")
                await job_steps.verify_transcripts(self._parts, view, self._computed)
                return Verified()
            case Release():
                return await self._release(view)
            case Sign():
                return await job_steps.sign_certificate(self._parts, view)
        raise TypeError(f"not a step: {action}")

    async def _check(self, view: JobView, phase: str) -> Checked:
        if self._refused_busy and phase == "accepted":
            raise Refusal("AGENT_BUSY", "this agent has as many jobs as agent.toml allows; propose later")
        wait_ms = self._parts.config.policy.reveal_wait_ms
        if phase == "reveal" and wait_ms:
            self._post(step="waiting before the reveal")
            self._say(f"approves the reveal in {wait_ms / 1_000:.0f} s at the earliest (agent.toml)")
            await asyncio.sleep(wait_ms / 1_000)
        self._post(step=f"checking grants and policy ({phase})")
        checked = await job_steps.check(self._parts, view, phase)
        self._parts.accept_peers()
        self._say(f"our node shows it as authorised ({phase})")
        return checked

    async def _prepare(self, view: JobView) -> Prepared:
        self._post(step="reading data")
        self._opened = await job_steps.read_input(self._parts, view)
        if self._opened is None:
            raise Refusal("NOT_DATA_OWNER", "we own none of the inputs")
        nonce = job_steps.fresh_nonce()
        commitment, opening = job_steps.bind(view, self._parts.org, self._opened, nonce)
        self._remember(nonce=nonce.hex(), commitment=commitment.hex())
        self._record("bound", opening)
        local = self._opened.local
        self._say(f"data of {local.id} version {local.version} read, root as registered")
        return Prepared(commitment)

    async def _compute(self, view: JobView) -> ComputeDone:
        self._post(step="waiting for earlier jobs")
        await self._parts.slot.acquire()
        self._holds_slot = True
        try:
            return await self._compute_now(view)
        finally:
            if self._worker is None or self._worker.done():
                self._free_slot()  # what follows waits for others' decisions, which may take days

    async def _compute_now(self, view: JobView) -> ComputeDone:
        if self._opened is None:
            self._opened = await job_steps.read_input(self._parts, view)
        plan = await job_steps.make_plan(self._parts, view, self._opened)
        loop = asyncio.get_running_loop()
        self._run = JobRun(
            plan,
            self._parts.key,
            self._parts.listener,
            on_stage=lambda done: _later(loop, self._queue.put_nowait, done),
            on_progress=lambda *seen: _later(loop, self._on_progress, *seen),
        )
        if self._destroyed:
            raise Refusal("STOPPED", f"not started: {self._destroyed}")
        self._remember(computing=True)
        self._post(step="connecting")
        others = [one.org for one in view.spec.participants if one.org != self._parts.org]
        self._say(f"connecting to {', '.join(others)}")
        done = await self._in_worker(self._run.compute)
        job_steps.keep_join(self._parts, self.job, self._run.joined_ids())
        return done

    async def _release(self, view: JobView) -> Released:
        await job_steps.assert_revealed(self._parts, view)
        if self._run is None or self._destroyed:
            raise Refusal("SHARES_DESTROYED", f"no shares left to release: {self._destroyed or 'restarted'}")
        self._post(step="releasing shares")
        values = await self._in_worker(self._run.release)
        job_steps.keep_join(self._parts, self.job, self._run.joined_ids())
        result = None
        if values is not None:
            result, salt = job_steps.keep_result(self._parts, view, values)
            made = {"hash": result.hash.hex(), "schema": result.schema, "metrics": dict(result.metrics)}
            self._remember(released=True, result=made)
            self._record("result", {"hash": result.hash, "salt": salt, "schema": result.schema})
            self._say(f"result received and stored ({view.spec.profile}); its salted hash goes on chain")
        else:
            self._remember(released=True)
            self._record("released", {"receivers": list(view.spec.receivers)})
            self._say(f"shares released to {', '.join(view.spec.receivers)}")
        return Released(result)

    # --- the ledger -------------------------------------------------------------------------------

    async def _send(self, send: Send) -> None:
        async with self._sending:
            args: dict[str, Value] = {"job": self.job, **send.args}
            code = await send_until_known(self._parts.account, "jobs", send.method, args)
        if code:
            self._say(f"the ledger refused {send.key}: {code}")
            await self._queue.put(Refused(send.key, code))
        else:
            self._say(f"{send.key} is on the ledger")
            await self._queue.put(Sent(send.key))
        self.poke()

    async def _stop(self, stop: Stop) -> None:
        reason = stop.reason[: job_steps.REASON_CHARS_MAX]
        log.warning("job %s: %s with %s: %s", self.job[:8], stop.method, reason, stop.detail)
        self._post(step=stop.method, reason=f"{reason}: {stop.detail}")
        entry = self._record(stop.method, {"reason": reason, "detail": stop.detail})
        args: dict[str, Value] = {"job": self.job, "reason": reason}
        if stop.method == "abort":
            args["evidence"] = entry
        code = await send_until_known(self._parts.account, "jobs", stop.method, args)
        if code:
            self._say(f"the ledger refused {stop.method}: {code}")
        self.poke()

    # --- the worker thread ------------------------------------------------------------------------

    async def _in_worker(self, work: Callable[[], T]) -> T:
        worker = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._worker = worker
        return await asyncio.shield(worker)

    def _on_progress(self, stage: str, done: int, total: int) -> None:
        """Show progress a few times a second at most."""
        recent = now_ms() - self._progress.updated_ms < PROGRESS_EVERY_MS
        if stage == self._progress.step and done < total and recent:
            return
        self._post(step=stage, done=done, total=total)

    def _destroy(self, reason: str) -> None:
        self._destroyed = self._destroyed or reason
        if self._run is not None:
            self._run.destroy(reason)

    def _free_slot(self) -> None:
        if self._holds_slot:
            self._holds_slot = False
            self._parts.slot.release()

    async def _clean_up(self) -> None:
        """Stop the worker, forget shares, give the slot back; a finished job leaves no file behind."""
        self._destroy("agent stopped")
        for task in list(self._tasks):
            task.cancel()
        worker = [] if self._worker is None else [self._worker]
        await asyncio.gather(*worker, *self._tasks, return_exceptions=True)
        if self._run is not None:
            self._run.close()
        self._opened = None
        self._free_slot()
        self._threads.shutdown(wait=False)
        if self._machine.finished:
            self._parts.jobs.remove(self.job)
            self._parts.reader.forget(self.job)

    # --- memory and words -------------------------------------------------------------------------

    def _remember(self, **changes: Any) -> None:
        self._file = self._parts.jobs.update(self._file, **changes)

    def _record(self, kind: str, body: dict[str, Value]) -> bytes:
        return self._parts.evidence.append(now_ms(), self.job, kind, body).hash

    def _note_state(self, view: JobView) -> None:
        if view.state != self._progress.state:
            self._say(f"{view.spec.program} for {view.spec.purpose}: {view.state}")
            self._post(state=view.state)

    def _note_stage(self, done: StageDone) -> None:
        stage = {"kind": done.kind, "bytes": done.sent, "rounds": done.rounds, "cpu_ms": done.cpu_ms}
        self._progress.stages.append(stage)
        self._record("stage", {"stage": done.stage, "hash": done.hash, "previous": done.previous, **stage})
        self._say(
            f"stage {done.stage} ({done.kind}) done: {done.sent:,} bytes sent, {done.rounds:,} rounds, "
            f"{done.cpu_ms:,} ms of CPU"
        )

    def _post(self, **changes: Any) -> None:
        progress = self._progress
        if "step" in changes:
            progress.done = progress.total = 0
        for name, value in changes.items():
            setattr(progress, name, value)
        self._parts.board.post(progress, now_ms())

    def _say(self, text: str) -> None:
        log.info("job %s: %s", self.job[:8], text)


def _later(loop: asyncio.AbstractEventLoop, call: Callable[..., Any], *args: Any) -> None:
    """Call back from the worker thread; a loop that is closing has no more use for it."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *args)
