"""Runner of one job's computation: it connects, joins, computes, and leaves what it holds to be sealed.

`connect` sends nothing about data. `compute` ends with outputs that nobody knows, and with commitments to
them that everybody has: the holding, which the agent seals and hands out (holding.py) only when its own node
shows the job revealed.
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
from privcompute.job import joining
from privcompute.job.actions import STAGES_MAX, ComputeDone, JoinJudged, StageDone
from privcompute.job.enforcement import JobRefusal
from privcompute.job.exposure import Exposure
from privcompute.job.holding import HeldShares, component_commitments, component_label, labels_of
from privcompute.job.inputs import versions_of
from privcompute.job.view import JobSpec, stage_hash
from privcompute.mpc import join_engine, rep3_engine
from privcompute.mpc.join_engine import JoinEngine
from privcompute.mpc.protocols.aided import AidedSpec, aided_join, help_join
from privcompute.mpc.protocols.psi import ROWS_MAX, PsiSpec, private_join
from privcompute.mpc.rep3_engine import Rep3Engine
from privcompute.mpc.rounds import OPEN_MESSAGE_BYTES_MAX, OnProgress, Round, Steps
from privcompute.net.cancellation import Cancellation
from privcompute.net.links import Links, run_party
from privcompute.net.listener import PeerListener
from privcompute.net.transport import Peer, connect_peers
from privcompute.pages.work import Outputs, PageWork, WorkRun

T = TypeVar("T")
OnStage = Callable[[StageDone | JoinJudged], None]
COUNT_BYTES = 8


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Plan of a run; all parties have the same but for `me`, `place`, `table` and the bounds below."""

    job: str
    spec: JobSpec
    initiator: str
    work: PageWork
    me: int
    peers: Mapping[int, Peer]
    """Participant index -> address and key of its agent, as registered on chain."""
    place: int | None
    """Which input is ours, None when we own none."""
    table: TypedTable | None = field(repr=False)
    exposure: Exposure | None
    """What exact figures take of our data; None where we own none."""
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
        return tuple(sorted({item.owner for item in self.work.inputs}))

    def join_of(self, number: int) -> PsiSpec | AidedSpec:
        """Return one of the job's joins."""
        return joining.spec_of(self.job_bytes, self.work, self.spec, self.initiator, number)

    def owners_of(self, number: int) -> tuple[int, ...]:
        """Return the parties whose data one of the job's joins is of, ascending."""
        return joining.owners_of(self.work, number)

    def stage_of(self, number: int) -> str:
        """Return the kind of the stage of one of the job's joins."""
        return joining.join_stage(number, isinstance(self.join_of(number), AidedSpec))

    @property
    def joins_ours(self) -> tuple[int, ...]:
        """Which of the job's joins our data take part in."""
        return tuple(number for number, places in enumerate(self.work.joined) if self.place in places)


def start_engine(profile: str, me: int, parties: int, job: bytes) -> Steps[Rep3Engine | JoinEngine]:
    """Set up the engine of a profile with fresh secret randomness."""
    if profile == join_engine.PROFILE:
        return (yield from JoinEngine.start(me, parties, secrets.token_bytes(join_engine.SALT_BYTES)))
    if profile != rep3_engine.PROFILE:
        raise JobRefusal("PROFILE_NOT_RUN", f"profile {profile} has no engine here", profile=profile)
    return (yield from Rep3Engine.start(me, job, secrets.token_bytes(rep3_engine.ENTROPY_BYTES)))


def tell_rows(me: int, parties: int, told: Mapping[int, int], rows: int, most: int) -> Steps[dict[int, int]]:
    """Tell every party how many rows we bring to be used without a join; return what each owner says.

    `told` maps inputs to their owners, of which each has one; `rows` are ours, if we have any.
    """
    others = [party for party in range(parties) if party != me]
    ours = rows.to_bytes(COUNT_BYTES, "big")
    send = dict.fromkeys(others, ours) if me in told.values() else {}
    received = yield Round(send, {party: COUNT_BYTES for party in told.values() if party != me})
    said = {party: int.from_bytes(message, "big") for party, message in received.items()} | {me: rows}
    for party in received:
        check_rows(party, said[party], most)
    return {place: said[owner] for place, owner in told.items()}


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
        self._matched: dict[int, NDArray[np.int64]] = {}
        """Join -> our rows in it, in the joint order."""
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
        plan, work = self.plan, self.plan.work
        joined = [
            self._stage(plan.stage_of(number), self._join(number)) for number in range(len(work.joined))
        ]
        told = self._stage("rows", self._tell_rows()) if work.told else {}
        self._judge_exposure()
        engine = self._stage("setup", self._start_engine())
        run = self._work_run(tuple(joined), told)
        outputs: Mapping[str, Outputs] = self._stage("compute", work.run(engine, run))
        components: dict[str, bytes] = {}
        for audience, made in outputs.items():
            records = engine.components(plan.job_bytes, made.shared, made.public)
            components |= {component_label(number, audience): one for number, one in records.items()}
        commitments = self._seal(component_commitments(components), tuple(outputs))
        return HeldShares(self._done(), tuple(self._stages), commitments, components)

    def destroy(self, reason: str) -> None:
        """Stop whatever runs, from any thread."""
        self._cancellation.cancel(reason)

    def close(self) -> None:
        """Close the links; call when no worker thread is inside."""
        self._matched = {}
        if self._links is not None:
            self._links.close()
            self._links = None

    def joined_ids(self) -> dict[bytes, list[str]]:
        """Return our own identifiers that all owners of a join hold, in the joint order.

        By the hash that names the versions that were joined; empty before the join.
        """
        plan = self.plan
        if not self._matched:
            return {}
        ids = self._identifiers()
        return {
            versions_of(plan.spec, plan.work, number): [ids[row] for row in rows.tolist()]
            for number, rows in self._matched.items()
        }

    def _judge_exposure(self) -> None:
        """Judge, and remember, what exact figures will be over; nothing is shared yet."""
        plan = self.plan
        if plan.exposure is not None and plan.table is not None and plan.place is not None:
            rows = plan.work.rows_named(plan.place, plan.table.rows, self._matched)
            plan.exposure.judge(plan.table, rows)

    # --- stages -----------------------------------------------------------------------------------

    def _join(self, number: int) -> Steps[int]:
        plan, spec = self.plan, self.plan.join_of(number)
        owners, most = plan.owners_of(number), plan.max_party_rows
        aids = isinstance(spec, AidedSpec) and spec.helper == plan.me
        if number not in plan.joins_ours and not aids:
            rows = yield from agree_on_rows(plan.me, plan.parties, owners, None, most)
            self._require_rows(number, rows)
            return rows

        def agree(common: int) -> Steps[None]:
            """Go on to which rows are common when all owners hold that these are enough."""
            yield from agree_on_rows(plan.me, plan.parties, owners, common, most)

        terms = dict[str, Any](
            random=secrets.token_bytes,
            progress=self._on_progress,
            check_size=lambda party, rows: self._check_size(number, party, rows),
            check_common=lambda common: self._require_rows(number, common),
            agree=agree,
        )
        if isinstance(spec, PsiSpec):
            matched = yield from private_join(spec, plan.me, self._identifiers(), **terms)
        elif aids:
            return (yield from help_join(spec, **terms))
        else:
            matched = yield from aided_join(spec, plan.me, self._identifiers(), **terms)
        self._matched[number] = matched
        return len(matched)

    def _tell_rows(self) -> Steps[dict[int, int]]:
        plan = self.plan
        told = {place: plan.work.inputs[place].owner for place in plan.work.told}
        ours = 0 if plan.table is None else plan.table.rows
        rows = yield from tell_rows(plan.me, plan.parties, told, ours, plan.max_party_rows)
        least = plan.work.least_rows(plan.spec.min_group)
        for place, count in rows.items():
            if count < least:
                raise TooFewRows(
                    "ROWS_BELOW_MIN_GROUP",
                    f"{count} rows of {plan.work.inputs[place].dataset}, the job asks for at least {least}",
                    least=least,
                )
        return rows

    def _seal(self, own: Mapping[str, bytes], audiences: tuple[str, ...]) -> dict[str, bytes]:
        """Run the last stage: everybody commits to what it holds, and the stage's hash covers that."""
        plan = self.plan

        def agree() -> Steps[None]:
            self._commitments = yield from exchange_commitments(
                plan.me,
                plan.parties,
                own,
                lambda party: labels_of(plan.spec.profile, party, audiences),
            )

        self._stage("seal", agree())
        return self._commitments

    def _start_engine(self) -> Steps[Rep3Engine | JoinEngine]:
        plan = self.plan
        return start_engine(plan.spec.profile, plan.me, plan.parties, plan.job_bytes)

    def _work_run(self, joined: tuple[int, ...], told: Mapping[int, int]) -> WorkRun:
        plan = self.plan
        return WorkRun(
            job=plan.job_bytes,
            min_group=plan.spec.min_group,
            joined=joined,
            told=told,
            place=plan.place,
            columns={} if plan.table is None else plan.table.data,
            matched=dict(self._matched),
            progress=self._on_progress,
        )

    def _identifiers(self) -> list[str]:
        if self.plan.table is None:
            raise ProgramFault("an owner without a table")
        return self.plan.table.ids

    def _check_size(self, number: int, party: int, rows: int) -> None:
        """Go on if a party brings no more rows than we take, and no fewer than may be common."""
        check_rows(party, rows, self.plan.max_party_rows)
        if rows < self.plan.work.least_rows(self.plan.spec.min_group):
            self._require_rows(number, rows)

    def _require_rows(self, number: int, rows: int) -> None:
        """Go on if a join has rows enough; the ledger learns it of the last, or of the first that has not."""
        plan, least = self.plan, self.plan.spec.min_group
        minimum = plan.min_joined_rows if number in plan.joins_ours else 0
        suffices = rows >= max(minimum, least)
        if plan.me in plan.owners and (not suffices or number == len(plan.work.joined) - 1):
            self._on_stage(JoinJudged(suffices))
        if suffices:
            if plan.exposure is not None and number in plan.joins_ours:
                plan.exposure.check_figures(rows)
            return
        # How many rows there are stays here: who files it would tell whom they are about.
        if rows < least:
            raise TooFewRows(
                "ROWS_BELOW_MIN_GROUP", f"{rows} joined rows, the job asks for at least {least}", least=least
            )
        raise TooFewRows(
            "ROWS_BELOW_OWNER_MINIMUM",
            f"{rows} joined rows, this owner asks for {minimum} or more",
            least=minimum,
        )

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
