"""Runner of one job's computation: it connects, joins, computes, and leaves what it holds to be sealed.

`connect` sends nothing about data. `compute` ends with outputs that nobody knows, and with commitments to
them that everybody has: the holding, which the agent seals and hands out (holding.py) only when its own node
shows the job revealed. A pure join (`kind` psi) is held back in the same way: the positions of the common
rows, which tell the owners their rows, stay with the matcher.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chain.primitives.crypto import HASH_BYTES, ZERO_HASH, PrivateKey
from chain.primitives.errors import DecodeError
from chain.primitives.values import decode_value, encode_value
from privcompute.data.tables import TypedTable
from privcompute.errors import HoldersDiffer, PeerMisbehaved, PeerTooLarge, ProgramFault, TooFewRows
from privcompute.job.actions import STAGES_MAX, ComputeDone, JoinJudged, StageDone
from privcompute.job.enforcement import JobRefusal
from privcompute.job.holding import HeldShares, component_commitments, labels_of
from privcompute.job.view import JobSpec, stage_hash
from privcompute.mpc.protocols.psi import ROWS_MAX, Matching, PsiSpec, match, private_join
from privcompute.mpc.protocols.psi_return import SALT_BYTES, JoinReturn, write_matching
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import OPEN_MESSAGE_BYTES_MAX, OnProgress, Round, Steps
from privcompute.net.cancellation import Cancellation
from privcompute.net.links import Links, run_party
from privcompute.net.listener import PeerListener
from privcompute.net.transport import Peer, connect_peers
from privcompute.programs.base import Context, JobInput, JobProgram, Outputs, OwnData
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
    def join(self) -> PsiSpec | None:
        """The join whose way back is the release; None of a job that computes on joined rows."""
        return join_spec(self.job_bytes, self.inputs) if self.program.kind == JOIN_KIND else None


def start_engine(profile: str, me: int, job: bytes) -> Steps[Rep3Engine]:
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


def exchange_commitments(
    me: int, parties: int, own: Mapping[str, bytes], labels: Callable[[int], frozenset[str]]
) -> Steps[dict[str, bytes]]:
    """Tell every party what we commit to, one round; return the commitments of all, by label.

    Two holders of one thing name the same hash, or the job ends before anything is revealed. `labels` says
    what each party commits to. Raises PeerMisbehaved, and HoldersDiffer when two others contradict each
    other.
    """
    others = [party for party in range(parties) if party != me]
    message = encode_value(dict(own))
    awaited = dict.fromkeys(others, OPEN_MESSAGE_BYTES_MAX)
    received = yield Round(dict.fromkeys(others, message), awaited, exact=False)
    said = {party: _commitments(party, bytes(received[party]), labels(party)) for party in others}
    agreed = dict(own)
    for party in others:
        for label, made in said[party].items():
            if agreed.setdefault(label, made) != made:
                if label in own:
                    raise PeerMisbehaved(
                        party,
                        f"party {party} holds another {label} than we do: the shares differ",
                    )
                raise HoldersDiffer(f"{label}: parties {', '.join(map(str, others))} hold different ones")
    return agreed


def _commitments(party: int, message: bytes, labels: frozenset[str]) -> dict[str, bytes]:
    try:
        made = decode_value(message, max_bytes=OPEN_MESSAGE_BYTES_MAX)
    except DecodeError as error:
        raise PeerMisbehaved(party, f"commitments of party {party}: {error}") from None
    hashes = isinstance(made, dict) and all(
        isinstance(one, bytes) and len(one) == HASH_BYTES for one in made.values()
    )
    if not hashes or frozenset(made) != labels:
        raise PeerMisbehaved(party, f"party {party} commits to other things than {', '.join(sorted(labels))}")
    return dict(made)


class JobRun:
    """One run. `connect` and `compute` block, so a worker thread calls them."""

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
        self._stages: list[StageDone] = []
        self._commitments: dict[str, bytes] = {}
        self._matched: NDArray[np.int64] | None = None
        self.at = "connect"
        """The stage in which the run is, or was when it failed."""

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

    def compute(self) -> HeldShares:
        """Run every stage; return what we hold. Raises PeerFault, JobRefusal, Cancelled, …"""
        plan = self.plan
        if plan.program.kind == JOIN_KIND:
            return self._hold_join(self._stage("match", self._match()))
        rows = self._stage("join", self._join())
        engine = self._stage("setup", start_engine(plan.spec.profile, plan.me, plan.job_bytes))
        outputs: Outputs = self._stage("compute", plan.program.run(engine, self._context(rows)))
        components = engine.components(plan.job_bytes, outputs.shared, outputs.public)
        commitments = self._seal(component_commitments(components))
        return HeldShares(self._done(), tuple(self._stages), commitments, components)

    def destroy(self, reason: str) -> None:
        """Stop whatever runs, from any thread."""
        self._cancellation.cancel(reason)

    def close(self) -> None:
        """Close the links; call when no worker thread is inside."""
        self._matched = None
        if self._links is not None:
            self._links.close()
            self._links = None

    def joined_ids(self) -> list[str]:
        """Return our own identifiers that all owners hold, in the joint order; empty before the join."""
        if self._matched is None:
            return []
        ids = self._identifiers()
        return [ids[row] for row in self._matched.tolist()]

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
            self._matched, rows = matched, len(matched)
        rows = yield from self._agree_on_rows(rows)
        self._require_rows(rows)
        return rows

    def _match(self) -> Steps[Matching | None]:
        """Match the owners' lists; where the matcher finds too few rows, nobody learns which they are."""
        plan = self.plan
        if plan.me not in plan.owners:
            return None
        matching = yield from match(
            join_spec(plan.job_bytes, plan.inputs),
            plan.me,
            self._identifiers(),
            random=secrets.token_bytes,
            progress=self._on_progress,
            check_size=self._check_size,
        )
        if matching.cardinality is not None:
            self._require_rows(matching.cardinality)
        return matching

    def _hold_join(self, matching: Matching | None) -> HeldShares:
        plan, join = self.plan, self.plan.join
        if matching is None or join is None:
            commitments = self._seal({})
            return HeldShares(self._done(), tuple(self._stages), commitments, {})
        salt = secrets.token_bytes(SALT_BYTES)
        commitments = self._seal(JoinReturn(join, plan.me, matching, salt, {}).own_commitments())
        return HeldShares(
            self._done(),
            tuple(self._stages),
            commitments,
            {},
            write_matching(matching),
            salt,
            tuple(self._identifiers()),
        )

    def _seal(self, own: Mapping[str, bytes]) -> dict[str, bytes]:
        """Run the last stage: everybody commits to what it holds, and the stage's hash covers that."""
        plan = self.plan

        def agree() -> Steps[None]:
            self._commitments = yield from exchange_commitments(
                plan.me, plan.parties, own, lambda party: labels_of(party, plan.join)
            )

        self._stage("seal", agree())
        return self._commitments

    def _context(self, rows: int) -> Context:
        plan, own = self.plan, {}
        if plan.dataset is not None and plan.table is not None and self._matched is not None:
            own[plan.dataset] = OwnData(plan.table.data, self._matched)
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
        return run_party(protocol, self._links, len(self._stages))

    def _stage(self, kind: str, protocol: Steps[T]) -> T:
        """Run one stage and report its hash, which covers every channel up to here."""
        links, number = self._links, len(self._stages)
        if links is None or number >= STAGES_MAX:
            raise ProgramFault(f"stage {number}: no links, or more than {STAGES_MAX} stages")
        self.at = kind
        self._on_progress(kind, 0, 0)
        sent, rounds, cpu = links.sent_bytes, links.rounds, time.process_time()
        result = self._run(protocol)
        sent, rounds = links.sent_bytes - sent, links.rounds - rounds
        cpu_ms = int((time.process_time() - cpu) * 1000)
        previous = self._stages[-1].hash if self._stages else ZERO_HASH
        channels, made = self._channels(), self._commitments
        done = stage_hash(self.plan.job, number, kind, previous, channels, sent, rounds, made)
        self._stages.append(StageDone(number, kind, done, previous, sent, rounds, cpu_ms))
        self._on_stage(self._stages[-1])
        return result

    def _done(self) -> ComputeDone:
        return ComputeDone(self.plan.spec.profile, self._channels(), len(self._stages))

    def _channels(self) -> dict[str, bytes]:
        if self._links is None:
            raise ProgramFault("no links: the run was destroyed")
        return {
            one.org: self._links.channel_hash(self.plan.me, index)
            for index, one in enumerate(self.plan.spec.participants)
            if index != self.plan.me
        }
