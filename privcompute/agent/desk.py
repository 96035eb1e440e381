"""Desk of an agent: it hands what is held of revealed jobs to the participants that ask for it.

Each time it asks its own node first: the job must be revealed, or have been certified, or have run out of
time after its reveal, no longer ago than agent.toml says, and whoever asks must be a participant that
something of it is for. What it hands out is what was
sealed, byte for byte. It also sweeps: what is held of a job that ended otherwise, or too long ago, is
destroyed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from chain.primitives.errors import AssentError
from chain.primitives.visible import error_text
from privcompute.data.private_files import NotWritten
from privcompute.data.sealed import SealedError
from privcompute.job.environment import JobEnvironment
from privcompute.job.holding import HeldShares
from privcompute.job.release import make_offer
from privcompute.job.view import JobView
from privcompute.net.asking import hand_over, release_id
from privcompute.net.hello import JobHello
from privcompute.net.tls_stream import TlsStream

WAIT_S = 0.5
SWEEP_S = 60.0
ASKED_AT_ONCE = 16
"""Answers under way: whoever comes beyond them waits at the port, and asks again."""
DELIVERIES_MAX = 64
"""How often one participant gets what is held of one job, in one life of the agent."""

log = logging.getLogger("assent.agent")


class NothingForThem(AssentError):
    """Somebody asks for what it may not have, or what is not here: the code tells it why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.told = code


class ReleaseDesk:
    """Answers those who ask at the agent's port for what is held of a job."""

    def __init__(self, environment: JobEnvironment) -> None:
        self._identity, self._stores = environment.identity, environment.stores
        self._reader, self._place, self._now_ms = (
            environment.node.reader,
            environment.place,
            environment.now_ms,
        )
        self._waiting = ThreadPoolExecutor(1, thread_name_prefix="desk")
        self._sending = ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="hand-over")
        self._stopped = False
        self._answers: set[asyncio.Task[None]] = set()
        self._delivered: Counter[tuple[str, int]] = Counter()
        self._kept: dict[str, JobView] = {}
        """Jobs that ended after their reveal, and that something is held of still."""

    async def run(
        self, is_open: Callable[[str], bool], take_up: Callable[[str], None], on_swept: Callable[[], None]
    ) -> None:
        """Serve until cancelled. `take_up` gets jobs that are not over and that `is_open` does not know.

        `on_swept` is called when it may have changed of whose jobs something is held.
        """
        swept = -SWEEP_S
        try:
            while True:
                if time.monotonic() >= swept + SWEEP_S:
                    swept = time.monotonic()
                    await self.sweep(is_open, take_up)
                    on_swept()
                if len(self._answers) >= ASKED_AT_ONCE:
                    await asyncio.wait(self._answers, return_when=asyncio.FIRST_COMPLETED)
                await self._take_one()
        finally:
            for task in self._answers:
                task.cancel()
            self._waiting.shutdown(wait=False, cancel_futures=True)
            self._sending.shutdown(wait=False, cancel_futures=True)

    def keep(self, view: JobView | None) -> None:
        """Go on handing out what is held of a job whose task has ended after it was revealed."""
        if view is not None and view.is_final and view.may_release and view.id in self._stores.held.jobs():
            self._kept[view.id] = view

    def views(self) -> Iterator[JobView]:
        """Yield the jobs that are over, and whose participants may ask still."""
        yield from self._kept.values()

    async def sweep(self, is_open: Callable[[str], bool], take_up: Callable[[str], None]) -> None:
        """Destroy what is held for nobody any more; what is held of a job that goes on is taken up."""
        for job in self._stores.held.jobs():
            if is_open(job):
                continue
            view = await self._reader.job(job)
            if view is not None and not view.is_final:
                take_up(job)
            elif view is not None and self._is_due(view):
                self._kept[job] = view
            elif view is not None:
                self._kept.pop(job, None)
                self._reader.forget(job)
                self._stores.held.destroy(job)
                log.info("job %s: what was held of it is destroyed: %s", job[:8], view.state)

    def _is_due(self, view: JobView) -> bool:
        until_ms = view.ended_ms + self._identity.policy.keep_shares_ms
        return view.may_release and (not view.is_final or self._now_ms() < until_ms)

    async def _take_one(self) -> None:
        known = {
            release_id(bytes.fromhex(job)): job for job in {*self._stores.held.jobs(), *self._place.offers}
        }
        taking = asyncio.get_running_loop().run_in_executor(
            self._waiting,
            self._place.listener.take,
            lambda hello: not self._stopped and hello.job_id in known,
            WAIT_S,
        )
        try:
            taken = await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._stopped = True
            left = await taking
            if left is not None:
                left[2].close()
            raise
        if taken is not None:
            hello, key, stream = taken
            task = asyncio.create_task(self._answer(known[hello.job_id], hello, key, stream))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _answer(self, job: str, hello: JobHello, key: bytes, stream: TlsStream) -> None:
        content: Mapping[str, bytes] | str
        try:
            content = await self._handed(job, hello, key)
        except NothingForThem as refusal:
            log.warning(
                "job %s: party %d gets nothing: %s", job[:8], hello.sender, f"{refusal.told}: {refusal}"
            )
            content = refusal.told
        except AssentError as error:
            log.error("job %s: party %d gets nothing: %s", job[:8], hello.sender, error)
            content = error.code.upper()
        except BaseException:  # the agent stops, or a fault of our own: whoever asked need not wait for it
            stream.close()
            raise
        try:
            await asyncio.get_running_loop().run_in_executor(self._sending, hand_over, stream, hello, content)
        except (OSError, AssentError) as error:
            log.warning(
                "job %s: party %d left before it had its part: %s", job[:8], hello.sender, error_text(error)
            )
            return
        if isinstance(content, Mapping) and content:
            self._note(job, hello.sender)

    async def _handed(self, job: str, hello: JobHello, key: bytes) -> Mapping[str, bytes]:
        view = await self._reader.job(job)
        if view is None or not self._is_due(view):
            raise NothingForThem(
                "NOT_REVEALED", f"our node shows the job as {'unknown' if view is None else view.state}"
            )
        participants = view.spec.participants
        if hello.sender >= len(participants) or participants[hello.sender].agent_key != key:
            raise NothingForThem("NOT_PARTICIPANT", "whoever asks is not that participant's agent")
        if self._delivered[job, hello.sender] >= DELIVERIES_MAX:
            raise NothingForThem("ASKED_TOO_OFTEN", f"it has had its part {DELIVERIES_MAX} times")
        offer = self._place.offers.get(job)
        if offer is None:
            held = await asyncio.to_thread(self._unsealed, job)
            offer = make_offer(view, self._identity.org, held)
        if offer is None:
            raise NothingForThem("SHARES_LOST", "what we held of the job is missing or damaged")
        return offer.to(hello.sender, view.receiver_parties)

    def _unsealed(self, job: str) -> HeldShares | None:
        try:
            return HeldShares.decode(self._stores.held.load(job))
        except SealedError as error:
            log.error("job %s: %s", job[:8], error)
            return None

    def _note(self, job: str, party: int) -> None:
        self._delivered[job, party] += 1
        if self._delivered[job, party] == 1:
            log.info("job %s: our part is with party %d", job[:8], party)
            with contextlib.suppress(NotWritten):  # the ledger and the receiver's log show it as well
                self._stores.evidence.append(self._now_ms(), job, "released", {"party": party})
