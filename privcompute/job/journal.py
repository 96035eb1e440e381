"""Journal of one job: it writes durable memory, sealed shares, evidence, progress and log lines.

What a step of the job stands on raises NotWritten when the disk is full, and the step is tried again. The
rest must not hold a job up: entries of evidence that tell of what happened wait in memory for the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chain.primitives.errors import DecodeError
from chain.primitives.values import Value
from privcompute.data.private_files import NotWritten
from privcompute.data.sealed import SealedError
from privcompute.job.actions import Recovered, StageDone
from privcompute.job.environment import AgentStores
from privcompute.job.holding import HeldShares
from privcompute.job.store import JobFile, JobFileError, JobProgress
from privcompute.job.view import JobView

PROGRESS_EVERY_MS = 250
UNWRITTEN_MAX = 1_024
"""Entries of one job that wait for a disk: beyond its stages there are a few."""

log = logging.getLogger("assent.agent")


class JobJournal:
    """Writer of everything that one job leaves on disk and in the log."""

    def __init__(self, job: str, stores: AgentStores, now_ms: Callable[[], int]) -> None:
        """Read what was written down of the job, or begin; a damaged file counts as a run that was lost."""
        self._job, self._stores, self._now_ms = job, stores, now_ms
        try:
            self._file = stores.jobs.load(job)
        except JobFileError as error:
            log.error("job %s: %s", job[:8], error)
            self._file = JobFile(job, computing=True)
        except NotWritten as error:
            log.error("job %s: %s; it goes on, and is written down as soon as that works", job[:8], error)
            self._file = JobFile(job)
        self.holding = self._unsealed()
        """What we hold of the outputs; None before they are computed, and when it is lost."""
        self._progress = JobProgress(job)
        self._unwritten: list[tuple[int, str, dict[str, Value]]] = []

    def _unsealed(self) -> HeldShares | None:
        if self._job not in self._stores.held.jobs():
            if self._file.commitments:
                log.error(
                    "job %s: our sealed shares are missing from %s", self._job[:8], self._stores.held.folder
                )
            return None
        try:
            return HeldShares.decode(self._stores.held.load(self._job))
        except (SealedError, DecodeError) as error:
            log.error("job %s: %s", self._job[:8], error)
            return None

    def recovered(self) -> Recovered:
        """Return what the state machine starts from."""
        known, holding = self._file.recovered(), self.holding
        if holding is None:
            return known
        return replace(known, computing=True, computed=holding.computed, stages=holding.stages)

    @property
    def commitments(self) -> dict[str, bytes]:
        """What all participants committed to; empty before the end of computing, and when it is lost."""
        if self.holding is not None:
            return dict(self.holding.commitments)
        return {label: bytes.fromhex(made) for label, made in self._file.commitments.items()}

    def remember(self, **changes: Any) -> None:
        """Write changed fields of the job's file, durably (NotWritten)."""
        self._file = self._stores.jobs.update(self._file, **changes)

    def hold(self, holding: HeldShares) -> None:
        """Seal what we hold, durably (NotWritten)."""
        self._stores.held.save(self._job, holding.encode())
        self.holding = holding
        self.remember(commitments={label: made.hex() for label, made in holding.commitments.items()})

    def destroy(self, reason: str) -> None:
        """Destroy what we hold."""
        self.holding = None
        if self._stores.held.destroy(self._job):
            self.say(f"our shares of the output are destroyed: {reason}")

    def forget(self) -> None:
        """Remove the file of a job that is over."""
        self._stores.jobs.remove(self._job)

    def record(self, kind: str, body: dict[str, Value]) -> bytes:
        """Append to the evidence log what a step stands on; return the hash of the entry (NotWritten)."""
        while self._unwritten:
            self._append(*self._unwritten[0])
            del self._unwritten[0]
        return self._append(self._now_ms(), kind, body)

    def note(self, kind: str, body: dict[str, Value]) -> None:
        """Append to the evidence log what happened; while the disk is full, it waits for the next entry."""
        try:
            self.record(kind, body)
        except NotWritten as error:
            log.error("job %s: %s; the entry waits in memory", self._job[:8], error)
            if len(self._unwritten) < UNWRITTEN_MAX:
                self._unwritten.append((self._now_ms(), kind, body))

    def _append(self, now_ms: int, kind: str, body: dict[str, Value]) -> bytes:
        return self._stores.evidence.append(now_ms, self._job, kind, body).hash

    def say(self, text: str) -> None:
        """Write one line to the agent's log."""
        log.info("job %s: %s", self._job[:8], text)

    def post(self, **changes: Any) -> None:
        """Show changed fields of `JobProgress` on the status board; a new step begins at 0."""
        progress = self._progress
        if "step" in changes:
            progress.done = progress.total = 0
        for name, value in changes.items():
            setattr(progress, name, value)
        try:
            self._stores.board.post(progress, self._now_ms())
        except OSError as error:  # it only tells how far we are
            log.warning("job %s: no progress shown: %s", self._job[:8], error)

    def post_units(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage has come, a few times a second at most; `stage: what` is a part of a stage."""
        recent = self._now_ms() - self._progress.updated_ms < PROGRESS_EVERY_MS
        same = stage.partition(":")[0] == self._progress.step.partition(":")[0]
        if same and done < total and recent:
            return
        self.post(step=stage, done=done, total=total)

    def note_state(self, view: JobView) -> None:
        """Say and show a state of the ledger that is new."""
        if view.state != self._progress.state:
            self.say(f"{view.spec.program} for {view.spec.purpose}: {view.state}")
            self.post(state=view.state)

    def note_stage(self, done: StageDone) -> None:
        """Record a stage that ended, and say what it cost."""
        stage = {"kind": done.kind, "bytes": done.sent, "rounds": done.rounds, "cpu_ms": done.cpu_ms}
        self._progress.stages.append(stage)
        self.note("stage", {"stage": done.stage, "hash": done.hash, "previous": done.previous, **stage})
        self.say(
            f"stage {done.stage} ({done.kind}) done: {done.sent:,} bytes sent, {done.rounds:,} rounds, "
            f"{done.cpu_ms:,} ms of CPU"
        )
