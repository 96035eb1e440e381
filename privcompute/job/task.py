"""Task of one job in a running agent: it drives the state machine, carries out actions and sends calls.

The loop never blocks: every action is a task of its own that answers with a completion. Calls to the ledger
leave in the order in which the machine asked for them. Computing happens in a worker thread (worker.py), and
what the job leaves behind is written by its journal (journal.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from chain.primitives.crypto import digest
from chain.primitives.errors import AssentError
from chain.primitives.values import Value, encode_value
from privcompute.data.datasets import OpenedDataset
from privcompute.data.private_files import NotWritten
from privcompute.errors import Cancelled
from privcompute.job import failures, release, steps
from privcompute.job.actions import (
    Action,
    CallRefused,
    CallSent,
    CheckPhase,
    Compute,
    ComputeDone,
    DestroyShares,
    Done,
    FinishJob,
    GiveSlotBack,
    InputPrepared,
    Meet,
    Met,
    PhaseChecked,
    PrepareInput,
    RecheckRun,
    ReleaseShares,
    ResultCommit,
    RunAllowed,
    SendCall,
    SharesReleased,
    SignCertificate,
    StageDone,
    StepFailed,
    StopComputing,
    StopJob,
    TranscriptsVerified,
    VerifyTranscripts,
)
from privcompute.job.chain_reader import send_until_known
from privcompute.job.enforcement import JobRefusal
from privcompute.job.environment import JobEnvironment
from privcompute.job.journal import JobJournal
from privcompute.job.machine import RECHECK, JobMachine
from privcompute.job.view import COMPUTED, RUNNING, JobView
from privcompute.job.worker import JobWorker

TICK_S = 1.0
WRITE_AGAIN_S = (0.5, 10.0)
"""First and greatest pause before a write is tried again that a full disk refused."""
QUEUE_MAX = 1_024
STAGES: Mapping[type[Action], str] = {
    CheckPhase: "check",
    RecheckRun: "check",
    PrepareInput: "data",
    VerifyTranscripts: "compare",
    ReleaseShares: "release",
    SignCertificate: "sign",
}
"""Step -> the stage that is filed when it fails; a run names its own."""

KEPT_BYTES_MAX = 1_048_576
"""Longest message of a peer that the evidence log keeps whole; of a longer one it keeps the hash."""

T = TypeVar("T")
log = logging.getLogger("assent.agent")
_Item = JobView | Done


class JobTask:
    """Task of one job; `run` ends when the job is over for this agent."""

    def __init__(
        self, environment: JobEnvironment, job: str, on_checked: Callable[[], None], initiator: str = ""
    ) -> None:
        """Continue a job that was written down, or begin one.

        `on_checked` is called when a phase is allowed, and before we meet: the agents of the other
        participants may come.
        `initiator` is the organisation that proposed the job, if known.
        """
        self.job = job
        self._identity, self._node = environment.identity, environment.node
        self._stores, self._now_ms = environment.stores, environment.now_ms
        self._place = environment.place
        self._on_checked, self._initiator = on_checked, initiator
        self._journal = JobJournal(job, environment.stores, environment.now_ms)
        self._worker = JobWorker(job, environment.place, environment.identity.key)
        self._machine = JobMachine(environment.identity.org, self._journal.recovered())
        self._queue: asyncio.Queue[_Item] = asyncio.Queue(QUEUE_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending = asyncio.Lock()
        self._reading = self._read_again = False
        self._opened: OpenedDataset | None = None
        self._refused_busy = False
        self._waits_for = ""

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
                self._carry_out(self._machine.on_time(self._now_ms()))
        finally:
            await self._clean_up()

    def _take(self, item: _Item) -> None:
        if isinstance(item, JobView):
            self._journal.note_state(item)
            if item.state == COMPUTED:
                self._worker.close()  # everybody has what we sent: all transcripts are in
            self._carry_out(self._machine.on_view(item))
            return
        if isinstance(item, ComputeDone):
            self._journal.note("computed", {"profile": item.profile, "channels": dict(item.channels)})
            self._journal.say("computed; the result stays in shares until every owner approves")
        if isinstance(item, StageDone):
            self._journal.note_stage(item)
        self._carry_out(self._machine.on_done(item))

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case SendCall():
                    self._spawn(self._send(action))
                case StopJob():
                    self._spawn(self._stop(action))
                case StopComputing(reason):
                    self._worker.destroy(reason)
                case DestroyShares(reason):
                    self._worker.destroy(reason)
                    self._place.offers.pop(self.job, None)
                    self._journal.destroy(reason)
                case GiveSlotBack():
                    self._worker.give_slot_back()
                case FinishJob(state):
                    self._journal.post(step="finished", state=state)
                    self._journal.say(f"over: {state}")
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
                view = await self._node.reader.job(self.job)
                if view is not None:
                    await self._queue.put(view)
                if not self._read_again:
                    return
        except AssentError as error:
            await self._queue.put(StepFailed(failures.cause_of(error), str(error)))
        finally:
            self._reading = False

    # --- steps ------------------------------------------------------------------------------------

    async def _answer(self, action: Action) -> None:
        """Do one step and put its completion, or its failure, on the queue."""
        view = self.view
        if view is None:
            return
        try:
            done = await self._until_written(lambda: self._step(action, view))
        except JobRefusal as refusal:
            done = self._refusal(action, refusal) or self._failed(action, refusal, view)
        except AssentError as error:
            await asyncio.sleep(failures.others_first_s(error))
            done = self._failed(action, error, view)
        except Exception as error:
            log.exception("job %s: internal error", self.job[:8])
            done = self._failed(action, error, view)
        await self._queue.put(done)

    def _failed(self, action: Action, error: Exception, view: JobView) -> StepFailed:
        stage = self._worker.at if isinstance(action, Compute) else STAGES.get(type(action), "")
        text = str(error) if isinstance(error, AssentError) else repr(error)
        return StepFailed(failures.cause_of(error, self._identity.org, view, stage), text)

    async def _until_written(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do some work again and again while the disk refuses what it writes; the job's end cancels us."""
        pause, greatest = WRITE_AGAIN_S
        while True:
            try:
                return await work()
            except NotWritten as error:
                log.error(
                    "job %s: %s; trying again in %.1f s, until the job ends", self.job[:8], error, pause
                )
                self._journal.post(step="waiting for room on the disk", reason=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, greatest)

    def _refusal(self, action: Action, refusal: JobRefusal) -> Done | None:
        """The ledger may have moved on while we checked: then the next view decides, not this refusal."""
        if refusal.reason == "WRONG_STATE":
            match action:
                case CheckPhase(phase):
                    return CallRefused(f"check-{phase}", refusal.reason)
                case Compute():
                    return CallRefused("compute", refusal.reason)
                case RecheckRun():
                    return CallRefused(RECHECK, refusal.reason)
        if refusal.reason == "NOT_REVEALED":
            return CallRefused("release", "WRONG_STATE")
        return None

    async def _step(self, action: Action, view: JobView) -> Done:
        match action:
            case CheckPhase(phase):
                return await self._check(view, phase)
            case PrepareInput():
                return await self._prepare(view)
            case Meet():
                return await self._meet(view)
            case Compute():
                return await self._compute(view)
            case RecheckRun():
                await self._judge(view, "running" if view.state == RUNNING else "meeting")
                return RunAllowed()
            case VerifyTranscripts():
                held = self._journal.holding
                if held is None:
                    raise JobRefusal("AGENT_RESTARTED", "nothing was computed here")
                await steps.verify_transcripts(self._identity.org, self._node.reader, view, held.computed)
                return TranscriptsVerified()
            case ReleaseShares():
                return await self._release(view)
            case SignCertificate():
                return await steps.sign_certificate(
                    self._identity.key, self._node.reader, view, self._journal.commitments
                )
        raise TypeError(f"not a step: {action}")

    async def _check(self, view: JobView, phase: str) -> PhaseChecked:
        if self._refused_busy and phase == "accepted":
            raise JobRefusal("AGENT_BUSY", "this agent has as many jobs as agent.toml allows; propose later")
        wait_ms = self._identity.policy.reveal_wait_ms
        if phase == "reveal" and wait_ms:
            self._journal.post(step="waiting before the reveal")
            self._journal.say(f"approves the reveal in {wait_ms / 1_000:.0f} s at the earliest (agent.toml)")
            await asyncio.sleep(wait_ms / 1_000)
        self._journal.post(step=f"checking grants and policy ({phase})")
        checked = await self._judge(view, phase)
        if phase == "reveal":  # once this agent approves, shares of the result may leave
            await asyncio.to_thread(self._stores.exposed.settle, self.job)
        self._on_checked()
        self._journal.say(f"our node shows it as authorised ({phase})")
        return checked

    async def _judge(self, view: JobView, phase: str) -> PhaseChecked:
        return await steps.check(
            self._identity, self._node.reader, self._stores.datasets, view, phase, self._now_ms()
        )

    async def _prepare(self, view: JobView) -> InputPrepared:
        self._journal.post(step="reading data")
        self._opened = await self._read_input(view)
        if self._opened is None:
            raise JobRefusal("NOT_DATA_OWNER", "we own none of the inputs")
        self._journal.post(step="judging own data")
        await steps.judge_input(self._identity, self._node.reader, self._stores, view, self._opened)
        nonce = steps.fresh_nonce()
        commitment, opening = steps.bind(view, self._identity.org, self._opened, nonce)
        self._journal.remember(nonce=nonce.hex(), commitment=commitment.hex())
        self._journal.record("bound", opening)
        local = self._opened.local
        self._journal.say(f"data of {local.id} version {local.version} read, root as registered")
        return InputPrepared(commitment)

    async def _read_input(self, view: JobView) -> OpenedDataset | None:
        return await steps.read_input(self._identity.org, self._stores.datasets, view)

    async def _meet(self, view: JobView) -> Met:
        self._journal.post(step="meeting the other agents")
        self._on_checked()  # a restarted agent, too, lets the others in
        invitation = await steps.invite(self._identity, self._node.reader, view, self._now_ms())
        loop = asyncio.get_running_loop()
        with contextlib.suppress(Cancelled):  # the ledger shows that it goes on without a meeting, or is over
            await self._worker.meet(invitation, on_wait=lambda *who: _later(loop, self._note_wait, *who))
            self._journal.say("all parties have met, and have a slot for this job")
        return Met()

    def _note_wait(self, parties: tuple[int, ...], what: str) -> None:
        """Show for whom we wait, and keep no data in memory meanwhile."""
        self._opened = None
        if self.view is not None:
            orgs = [self.view.spec.participants[party].org for party in parties]
            step = f"waiting for {', '.join(orgs)} {what}"
            if step != self._waits_for:
                self._waits_for = step
                self._journal.post(step=step)
                self._journal.say(step)

    async def _compute(self, view: JobView) -> ComputeDone:
        async with self._worker.slot():
            await self._queue.put(RunAllowed())
            if self._opened is None:
                self._opened = await self._read_input(view)
            plan = await steps.make_plan(
                self._identity, self._node.reader, self._stores, view, self._opened, self._now_ms()
            )
            loop = asyncio.get_running_loop()
            self._worker.begin(
                plan,
                on_stage=lambda done: _later(loop, self._queue.put_nowait, done),
                on_progress=lambda *seen: _later(loop, self._journal.post_units, *seen),
            )
            self._journal.post(step="connecting")
            others = [one.org for one in view.spec.participants if one.org != self._identity.org]
            self._journal.say(f"connecting to {', '.join(others)}")
            await self._worker.connect()
            if self._identity.org in view.owners:
                self._journal.post(step="announcing the join")
                await steps.begin_join(self._node, self.job)
            # From here on we send: our memory knows it first, and the machine before the thread starts.
            await self._written(lambda: self._journal.remember(computing=True))
            self._machine.note_sending()
            holding = await self._worker.compute()
        await self._written(lambda: self._journal.hold(holding))
        joined = self._worker.joined_ids()
        await self._written(lambda: steps.keep_joined(self._stores.joins, view, joined))
        return holding.computed

    async def _written(self, write: Callable[[], object]) -> None:
        """Write once something that cannot be made again, for as long as it takes."""
        await self._until_written(lambda: asyncio.to_thread(write))

    async def _release(self, view: JobView) -> SharesReleased:
        await steps.assert_revealed(self._node.reader, view)
        self._journal.post(step="releasing shares")
        me, commitments = view.party[self._identity.org], self._journal.commitments
        offer = release.make_offer(view, self._identity.org, self._journal.holding)
        if offer is not None:
            self._place.offers[self.job] = offer
        self._on_checked()  # others may ask, also after a restart
        stored = self._journal.recovered().result
        if stored is not None:
            return SharesReleased(stored)
        seconds = steps.release_seconds(self._identity, view, self._now_ms())
        peers = await self._node.reader.peers(view.spec, self._identity.org)
        most = None if offer is None else offer.bytes_max
        with release.Asker(view, me, peers, self._identity.key, most) as asker:
            try:
                values = await release.gather_result(asker, view, me, offer, commitments, seconds)
            except release.ShareDiffers as lie:
                self._journal.record("lie", _evidence_of(lie, view))
                raise
        return SharesReleased(None if values is None else self._keep(view, values))

    def _keep(self, view: JobView, values: Value) -> ResultCommit:
        result, salt = steps.keep_result(self._stores.results, view, values, self._journal.commitments)
        self._journal.record("result", {"hash": result.hash, "salt": salt, "schema": result.schema})
        made = {"hash": result.hash.hex(), "schema": result.schema, "metrics": dict(result.metrics)}
        self._journal.remember(result=made)
        self._journal.say(f"result received and stored ({view.spec.profile}); its salted hash goes on chain")
        return result

    # --- the ledger -------------------------------------------------------------------------------

    async def _send(self, send: SendCall) -> None:
        async with self._sending:
            args: dict[str, Value] = {"job": self.job, **send.args}
            code = await send_until_known(self._node.account, "jobs", send.method, args)
        if code:
            self._journal.say(f"the ledger refused {send.key}: {code}")
            await self._queue.put(CallRefused(send.key, code))
        else:
            self._journal.say(f"{send.key} is on the ledger")
            await self._queue.put(CallSent(send.key))
        self.poke()

    async def _stop(self, stop: StopJob) -> None:
        cause: dict[str, Value] = {"cause": stop.cause.code, "detail": dict(stop.cause.detail)}
        log.warning("job %s: %s with %s: %s", self.job[:8], stop.method, stop.cause, stop.text)
        self._journal.post(step=stop.method, reason=f"{stop.cause.code}: {stop.text}")
        entry = self._evidence(stop.method, {**cause, "text": stop.text})
        args: dict[str, Value] = {"job": self.job, **cause}
        if stop.method == "abort":
            args["evidence"] = entry
        async with self._sending:  # what we state of the join goes first
            code = await send_until_known(self._node.account, "jobs", stop.method, args)
        if code:
            self._journal.say(f"the ledger refused {stop.method}: {code}")
        self.poke()

    def _evidence(self, kind: str, body: dict[str, Value]) -> bytes:
        """Record why we end a job; on a full disk the entry follows later, and the ledger is told now."""
        try:
            return self._journal.record(kind, body)
        except NotWritten:
            self._journal.note(kind, body)
            return digest("assent/evidence-unwritten", encode_value(body))

    async def _give_back_figures(self) -> None:
        """Free what exact figures took of a job whose result nobody could open; else it counts."""
        try:
            await asyncio.to_thread(self._stores.exposed.free, self.job)
        except AssentError as error:
            log.error("job %s: what its exact figures took stays counted: %s", self.job[:8], error)

    async def _clean_up(self) -> None:
        """Stop the worker, give the turn back; a finished job leaves no file behind but what it promised."""
        self._worker.destroy("agent stopped")
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(self._worker.stopped(), *self._tasks, return_exceptions=True)
        self._worker.close()
        self._place.offers.pop(self.job, None)
        self._opened = None
        if self._machine.finished:
            await self._give_back_figures()
            self._journal.forget()
            self._node.reader.forget(self.job)


def _later(loop: asyncio.AbstractEventLoop, call: Callable[..., Any], *args: Any) -> None:
    """Call back from the worker thread; a loop that is closing has no more use for it."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *args)


def _evidence_of(lie: release.ShareDiffers, view: JobView) -> dict[str, Value]:
    """Return what shows that a holder handed out another share than it committed to."""
    given = lie.given if len(lie.given) <= KEPT_BYTES_MAX else digest("assent/output-component", lie.given)
    party = view.spec.participants[lie.party].org
    return {"party": party, "label": lie.label, "committed": lie.committed, "given": given}
