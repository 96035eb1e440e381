"""Runner of one job's computation: it connects, joins, computes, holds the shares and releases them.

`connect` sends nothing about data. `compute` ends with outputs that nobody knows. They stay in this object
until `release`, which the agent calls only when its own node shows the job revealed, or until `destroy`. A
pure join (`kind` psi) is held back in the same way: its last messages, which tell the owners their rows, are
part of the release.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chain.primitives.crypto import ZERO_HASH, PrivateKey
from chain.primitives.values import Value
from privcompute.data.tables import TypedTable
from privcompute.errors import PeerMisbehaved, PeerTooLarge, ProgramFault, TooFewRows
from privcompute.job.actions import STAGES_MAX, ComputeDone, JoinJudged, StageDone
from privcompute.job.enforcement import JobRefusal
from privcompute.job.view import JobSpec, stage_hash
from privcompute.mpc.engine import Engine
from privcompute.mpc.protocols.psi import ROWS_MAX, Matching, match, private_join, release
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import OnProgress, Round, Steps
from privcompute.net.cancellation import Cancellation
from privcompute.net.links import Links, run_party
from privcompute.net.listener import PeerListener
from privcompute.net.transport import Peer, connect_peers
from privcompute.programs.base import Context, JobInput, JobProgram, Outputs, OwnData, open_outputs
from privcompute.programs.join import join_spec

T = TypeVar("T")
OnStage = Callable[[StageDone | JoinJudged], None]
COUNT_BYTES = 8
JOIN_KIND = "psi"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Plan of a run; all parties have the same but for `me`, `dataset`, `table` and the bounds below."""

    job: str
    spec: JobSpec
    program: JobProgram
    parameters: Any
    """What `program.check` returned."""
    inputs: tuple[JobInput, ...]
    me: int
    peers: Mapping[int, Peer]
    """Participant index -> address and key of its agent, as registered on chain."""
    dataset: str | None
    """The dataset that we bring, None when we own none."""
    table: TypedTable | None = field(repr=False)
    min_joined_rows: int
    max_party_rows: int
    """Most rows that we let another party bring."""
    compute_s: float
    """Bound on connecting and computing together."""
    release_s: float
    """Bound on the release, from its beginning."""

    @property
    def job_bytes(self) -> bytes:
        """The 32-byte job id."""
        return bytes.fromhex(self.job)

    @property
    def parties(self) -> int:
        """Number of participants."""
        return len(self.spec.participants)

    @property
    def owners(self) -> tuple[int, ...]:
        """Indices of the participants that bring data, ascending."""
        return tuple(sorted({item.owner for item in self.inputs}))

    @property
    def receivers(self) -> tuple[int, ...]:
        """Indices of the participants that learn the result."""
        names = [one.org for one in self.spec.participants]
        return tuple(sorted(names.index(org) for org in self.spec.receivers))


def start_engine(profile: str, me: int, job: bytes) -> Steps[Engine]:
    """Set up the engine of a profile with fresh secret randomness."""
    if profile != "rep3":
        raise JobRefusal(
            "PROFILE_NOT_RUN", f"profile {profile} has no engine for this program here", profile=profile
        )
    return (yield from Rep3Engine.start(me, job, secrets.token_bytes(ENTROPY_BYTES)))


def check_rows(party: int, rows: int, most: int) -> None:
    """Raise PeerTooLarge when a party says that it brings more rows than we take."""
    if rows > most:
        raise PeerTooLarge(
            party,
            f"party {party} brings {rows} rows, this agent takes at most {most}; raise policy.max_party_rows"
            " in agent.toml (up to 300 bytes of memory a row), or ask for a smaller dataset",
            most,
        )


def agree_on_rows(
    me: int, parties: int, owners: tuple[int, ...], rows: int | None, most: int = ROWS_MAX
) -> Steps[int]:
    """Tell every party the number of joined rows, at most `most`; check that all owners say the same."""
    others = [party for party in range(parties) if party != me]
    send = dict.fromkeys(others, (rows or 0).to_bytes(COUNT_BYTES, "big")) if me in owners else {}
    received = yield Round(send, {party: COUNT_BYTES for party in owners if party != me})
    for party, message in received.items():
        told = int.from_bytes(message, "big")
        if rows is None:
            check_rows(party, told, most)
            rows = told
        if told != rows:
            raise PeerMisbehaved(party, f"party {party} counts {told} joined rows, another counts {rows}")
    if rows is None:
        raise ProgramFault("a join without owners")
    return rows


class JobRun:
    """One run. `compute` and `release` block, so a worker thread calls them."""

    def __init__(
        self,
        plan: RunPlan,
        key: PrivateKey,
        listener: PeerListener,
        on_stage: OnStage,
        on_progress: OnProgress,
    ) -> None:
        self.plan = plan
        self._key, self._listener = key, listener
        self._on_stage, self._on_progress = on_stage, on_progress
        self._cancellation = Cancellation()
        self._links: Links | None = None
        self._engine: Engine | None = None
        self._outputs: Outputs | None = None
        self._matching: Matching | None = None
        self._stages = 0
        self._previous = ZERO_HASH
        self.at = "connect"
        """The stage in which the run is, or was when it failed."""
        self.matched: NDArray[np.int64] | None = None
        """Our own joined rows, once we may know them."""

    def connect(self) -> None:
        """Connect to the other agents; nothing about data is sent. Raises PeerFault, Cancelled, …"""
        plan = self.plan
        self._links = connect_peers(
            plan.job_bytes,
            plan.me,
            plan.peers,
            self._key,
            self._listener,
            time.monotonic() + plan.compute_s,
            cancellation=self._cancellation,
        )

    def compute(self) -> ComputeDone:
        """Run every stage; outputs stay shared. Raises PeerFault, JobRefusal, Cancelled, …"""
        plan = self.plan
        if plan.program.kind == JOIN_KIND:
            self._stage("match", self._match())
        else:
            rows = self._stage("join", self._join())
            self._engine = self._stage("setup", start_engine(plan.spec.profile, plan.me, plan.job_bytes))
            self._outputs = self._stage("compute", plan.program.run(self._engine, self._context(rows)))
        return ComputeDone(plan.spec.profile, self._channels(), self._stages)

    def release(self) -> Value | None:
        """Send our output shares to the receivers; return the result if we are one of them."""
        is_join, self.at = self.plan.program.kind == JOIN_KIND, "release"
        if self._links is not None:
            self._links.allow_until(time.monotonic() + self.plan.release_s)
        return self._run(self._release_join() if is_join else self._open())

    def destroy(self, reason: str) -> None:
        """Stop whatever runs, from any thread; the shares are forgotten when `close` follows."""
        self._cancellation.cancel(reason)

    def close(self) -> None:
        """Forget shares and close the links; call when no worker thread is inside."""
        self._outputs = self._matching = self._engine = self.matched = None
        if self._links is not None:
            self._links.close()
            self._links = None

    def joined_ids(self) -> list[str]:
        """Return our own identifiers that all owners hold, in the joint order; empty before the join."""
        if self.matched is None:
            return []
        ids = self._identifiers()
        return [ids[row] for row in self.matched.tolist()]

    # --- stages -----------------------------------------------------------------------------------

    def _join(self) -> Steps[int]:
        plan = self.plan
        rows: int | None = None
        if plan.me in plan.owners:
            matched = yield from private_join(
                join_spec(plan.job_bytes, plan.inputs),
                plan.me,
                self._identifiers(),
                random=secrets.token_bytes,
                progress=self._on_progress,
                check_size=self._check_size,
                check_common=self._require_rows,
            )
            self.matched, rows = matched, len(matched)
        rows = yield from self._agree_on_rows(rows)
        self._require_rows(rows)
        return rows

    def _match(self) -> Steps[None]:
        """Match the owners' lists; where the matcher finds too few rows, nobody learns which they are."""
        plan = self.plan
        if plan.me not in plan.owners:
            return
        self._matching = yield from match(
            join_spec(plan.job_bytes, plan.inputs),
            plan.me,
            self._identifiers(),
            random=secrets.token_bytes,
            progress=self._on_progress,
            check_size=self._check_size,
        )
        if self._matching.cardinality is not None:
            self._require_rows(self._matching.cardinality)

    def _release_join(self) -> Steps[Value | None]:
        plan = self.plan
        rows: int | None = None
        if self._matching is not None and plan.table is not None:
            matched = yield from release(
                join_spec(plan.job_bytes, plan.inputs), plan.me, self._matching, rows=plan.table.rows
            )
            self.matched, rows = matched, len(matched)
            self._judge(rows)
        rows = yield from self._agree_on_rows(rows)
        return plan.program.finish({}, {"rows": rows}) if plan.me in plan.receivers else None

    def _open(self) -> Steps[Value | None]:
        engine, outputs = self._engine, self._outputs
        if engine is None or outputs is None:
            raise ProgramFault("there is nothing to release: the shares were destroyed")
        opened = yield from open_outputs(engine, outputs.shared, self.plan.receivers)
        return None if opened is None else self.plan.program.finish(opened, outputs.public)

    def _context(self, rows: int) -> Context:
        plan, own = self.plan, {}
        if plan.dataset is not None and plan.table is not None and self.matched is not None:
            own[plan.dataset] = OwnData(plan.table.data, self.matched)
        return Context(
            job=plan.job_bytes,
            inputs=plan.inputs,
            parameters=plan.parameters,
            rows=rows,
            min_group=plan.spec.min_group,
            own=own,
            progress=self._on_progress,
        )

    def _identifiers(self) -> list[str]:
        if self.plan.table is None:
            raise ProgramFault("an owner without a table")
        return self.plan.table.ids

    def _check_size(self, party: int, rows: int) -> None:
        check_rows(party, rows, self.plan.max_party_rows)

    def _agree_on_rows(self, rows: int | None) -> Steps[int]:
        plan = self.plan
        return agree_on_rows(plan.me, plan.parties, plan.owners, rows, plan.max_party_rows)

    def _require_rows(self, rows: int) -> None:
        if self._judge(rows):
            return
        # How many rows there are stays here: who files it would tell whom they are about.
        least = self.plan.spec.min_group
        if rows < least:
            raise TooFewRows(
                "ROWS_BELOW_MIN_GROUP", f"{rows} joined rows, the job asks for at least {least}", least=least
            )
        least = self.plan.min_joined_rows
        raise TooFewRows(
            "ROWS_BELOW_OWNER_MINIMUM",
            f"{rows} joined rows, this owner asks for {least} or more",
            least=least,
        )

    def _judge(self, rows: int) -> bool:
        """Tell whether so many joined rows suffice, and the ledger too, if we are an owner."""
        suffices = rows >= max(self.plan.min_joined_rows, self.plan.spec.min_group)
        if self.plan.me in self.plan.owners:
            self._on_stage(JoinJudged(suffices))
        return suffices

    # --- accounting -------------------------------------------------------------------------------

    def _run(self, protocol: Steps[T]) -> T:
        if self._links is None:
            raise ProgramFault("no links: the run was destroyed")
        return run_party(protocol, self._links, self._stages)

    def _stage(self, kind: str, protocol: Steps[T]) -> T:
        """Run one stage and report its hash, which covers every channel up to here."""
        links = self._links
        if links is None or self._stages >= STAGES_MAX:
            raise ProgramFault(f"stage {self._stages}: no links, or more than {STAGES_MAX} stages")
        self.at = kind
        self._on_progress(kind, 0, 0)
        sent, rounds, cpu = links.sent_bytes, links.rounds, time.process_time()
        result = self._run(protocol)
        sent, rounds = links.sent_bytes - sent, links.rounds - rounds
        cpu_ms = int((time.process_time() - cpu) * 1000)
        done = stage_hash(self.plan.job, self._stages, kind, self._previous, self._channels(), sent, rounds)
        self._on_stage(StageDone(self._stages, kind, done, self._previous, sent, rounds, cpu_ms))
        self._stages, self._previous = self._stages + 1, done
        return result

    def _channels(self) -> dict[str, bytes]:
        if self._links is None:
            raise ProgramFault("no links: the run was destroyed")
        return {
            one.org: self._links.channel_hash(self.plan.me, index)
            for index, one in enumerate(self.plan.spec.participants)
            if index != self.plan.me
        }
