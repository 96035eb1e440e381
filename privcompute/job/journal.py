"""Journal of one job: it writes durable memory, evidence, progress and log lines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from chain.primitives.values import Value
from privcompute.job.actions import Recovered, StageDone
from privcompute.job.environment import AgentStores
from privcompute.job.store import JobFile, JobFileError, JobProgress
from privcompute.job.view import JobView

PROGRESS_EVERY_MS = 250

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
        self._progress = JobProgress(job)

    def recovered(self) -> Recovered:
        """Return what the state machine starts from."""
        return self._file.recovered()

    def remember(self, **changes: Any) -> None:
        """Write changed fields of the job's file, durably."""
        self._file = self._stores.jobs.update(self._file, **changes)

    def forget(self) -> None:
        """Remove the file of a job that is over."""
        self._stores.jobs.remove(self._job)

    def record(self, kind: str, body: dict[str, Value]) -> bytes:
        """Append to the evidence log; return the hash of the entry."""
        return self._stores.evidence.append(self._now_ms(), self._job, kind, body).hash

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
        self._stores.board.post(progress, self._now_ms())

    def post_units(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage has come, a few times a second at most."""
        recent = self._now_ms() - self._progress.updated_ms < PROGRESS_EVERY_MS
        if stage == self._progress.step and done < total and recent:
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
        self.record("stage", {"stage": done.stage, "hash": done.hash, "previous": done.previous, **stage})
        self.say(
            f"stage {done.stage} ({done.kind}) done: {done.sent:,} bytes sent, {done.rounds:,} rounds, "
            f"{done.cpu_ms:,} ms of CPU"
        )
