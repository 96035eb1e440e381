"""View of a job: records that are parsed from proved state of the contract `jobs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from chain.primitives.crypto import ZERO_HASH
from chain.primitives.errors import AssentError
from chain.primitives.values import Value, encode_value

PROPOSED, ACCEPTED, RUNNING = "proposed", "accepted", "running"
COMPUTED, REVEALED, COMMITTED, DISPUTED = "computed", "revealed", "committed", "disputed"
CERTIFIED, EXPIRED = "certified", "expired"
FINAL = frozenset({CERTIFIED, "rejected", "aborted", EXPIRED})
_RELEASED = frozenset({REVEALED, COMMITTED, CERTIFIED})
CERTIFICATE_DOMAIN = "assent/job-certificate/3"


class JobMalformed(AssentError):
    """A job record that this agent cannot read: it was written by a newer contract, update the agent."""

    code = "job_malformed"


@dataclass(frozen=True, slots=True)
class GrantedInput:
    """One dataset version that a job reads under a grant; `columns` maps names to uses."""

    grant: str
    dataset: str
    version: int
    columns: Mapping[str, str]
    name: str
    """What the page calls it."""


@dataclass(frozen=True, slots=True)
class Participant:
    """One organisation in a job; its position in the spec is its index."""

    org: str
    role: str
    """owner, compute or receiver."""
    agent_key: bytes


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Specification of a job as it was proposed; `raw` is the exact value that the job id hashes."""

    program: str
    parameters: Mapping[str, Any]
    purpose: str
    profile: str
    min_group: int
    inputs: tuple[GrantedInput, ...]
    participants: tuple[Participant, ...]
    receivers: tuple[str, ...]
    raw: Mapping[str, Any]
    page: bytes
    """Hash of the page that the job runs."""
    plan: bytes
    """Hash of the plan that follows of it."""

    def participant(self, org: str) -> Participant | None:
        """Return an organisation's part, None when it has none."""
        return next((one for one in self.participants if one.org == org), None)


@dataclass(frozen=True, slots=True)
class JobView:
    """One job at one certified height."""

    id: str
    spec: JobSpec
    state: str
    entered_height: int
    """Height at which the job entered this state: it may have left it and come back between two reads."""
    initiator: str
    deadline_ms: int
    """Block time at which the current state may be expired by anyone."""
    owners: tuple[str, ...]
    """The owner of each input, in the order of the inputs."""
    roots: tuple[bytes, ...]
    accepted: frozenset[str]
    bound: frozenset[str]
    transcripts: frozenset[str]
    reveals: frozenset[str]
    results: frozenset[str]
    signed: frozenset[str]
    running_height: int
    revealed_height: int
    ended_ms: int = 0
    """Block time of its end; 0 before."""
    join_height: int = 0
    """When an owner announced that data move; 0 while none has: nobody has sent any."""
    disclaimed: frozenset[str] = frozenset()
    """Owners that have stated, of a job that ended, that they sent nothing."""
    disputes: int = 0
    """How many there have been."""

    @property
    def is_final(self) -> bool:
        """No further step is possible."""
        return self.state in FINAL

    @property
    def may_release(self) -> bool:
        """Every owner approved, and nothing has ended the job since but its certificate or a deadline.

        A receiver that could not write in time has its result still, unless somebody disputed the job.
        """
        late = self.state == EXPIRED and self.revealed_height > 0 and self.disputes == 0
        return (self.state in _RELEASED or late) and set(self.owners) <= self.reveals

    @property
    def party(self) -> Mapping[str, int]:
        """Index of each participant."""
        return {one.org: index for index, one in enumerate(self.spec.participants)}

    @property
    def receiver_parties(self) -> tuple[int, ...]:
        """Indices of the receivers, ascending."""
        return tuple(sorted(self.party[org] for org in self.spec.receivers))

    def inputs_of(self, org: str) -> tuple[GrantedInput, ...]:
        """Return the inputs that an organisation owns."""
        return tuple(one for one, owner in zip(self.spec.inputs, self.owners, strict=True) if owner == org)


def job_id_of(spec: Value) -> str:
    """Return hex SHA-256 of the encoded spec, as the contract computes it."""
    return sha256(encode_value(spec)).hexdigest()


def parse_spec(job: str, raw: Value) -> JobSpec:
    """Read a spec from state; raise JobMalformed when it does not hash to the job's id."""
    if job_id_of(raw) != job:
        raise JobMalformed(f"job {job[:12]}: the stored spec does not hash to the job's id")
    try:
        return JobSpec(
            program=raw["program"],
            parameters=dict(raw["parameters"]),
            purpose=raw["purpose"],
            profile=raw["profile"],
            min_group=raw["min_group"],
            inputs=tuple(
                GrantedInput(one["grant"], one["dataset"], one["version"], dict(one["columns"]), one["name"])
                for one in raw["inputs"]
            ),
            participants=tuple(
                Participant(one["org"], one["role"], one["agent_key"]) for one in raw["participants"]
            ),
            receivers=tuple(raw["receivers"]),
            raw=raw,
            page=raw["page"],
            plan=raw["plan"],
        )
    except (KeyError, TypeError) as error:
        raise JobMalformed(f"job {job[:12]}: spec without {error}; update this agent") from None


def parse_view(spec: JobSpec, raw: Value) -> JobView:
    """Read a record of `jobs.jobs`."""
    try:
        return JobView(
            id=raw["id"],
            spec=spec,
            state=raw["state"],
            entered_height=raw["height"],
            initiator=raw["initiator"],
            deadline_ms=raw["deadline"],
            owners=tuple(raw["owners"]),
            roots=tuple(raw["roots"]),
            accepted=frozenset(raw["accepted"]),
            bound=frozenset(raw["bound"]),
            transcripts=frozenset(raw["transcripts"]),
            reveals=frozenset(raw["reveals"]),
            results=frozenset(raw["results"]),
            signed=frozenset(raw["signed"]),
            running_height=raw["running_height"],
            revealed_height=raw["revealed_height"],
            ended_ms=raw["ended_at"],
            join_height=raw["join_height"],
            disclaimed=frozenset(raw["disclaimed"]),
            disputes=raw["disputes"],
        )
    except (KeyError, TypeError) as error:
        raise JobMalformed(f"job record without {error}; update this agent") from None


@dataclass(frozen=True, slots=True)
class CertificateRecords:
    """Records that the job certificate covers; each was read with a proof."""

    bindings: Mapping[str, bytes]
    stages: Mapping[str, tuple[int, bytes]]
    transcripts: Mapping[str, Mapping[str, bytes]]
    results: Mapping[str, Value]
    """org -> {hash, schema, metrics}."""


def mismatched_channels(transcripts: Mapping[str, Mapping[str, bytes]]) -> list[tuple[str, str]]:
    """Return the pairs of organisations whose ends of a channel name different hashes."""
    return [
        (one, other)
        for one in sorted(transcripts)
        for other in sorted(transcripts)
        if one < other and transcripts[one].get(other) != transcripts[other].get(one)
    ]


def certificate_digest(view: JobView, records: CertificateRecords) -> bytes:
    """Return the digest that every participant signs, rebuilt from what our own node proves.

    The columns stand in the spec, whose hash is the job's id; metrics enter by their hash.
    """
    spec = view.spec
    body: dict[str, Value] = {
        "domain": CERTIFICATE_DOMAIN,
        "job": view.id,
        "program": spec.program,
        "page": spec.page,
        "plan": spec.plan,
        "parameters": sha256(encode_value(spec.raw["parameters"])).digest(),
        "purpose": spec.purpose,
        "profile": spec.profile,
        "min_group": spec.min_group,
        "initiator": view.initiator,
        "inputs": [
            {
                "grant": one.grant,
                "dataset": one.dataset,
                "version": one.version,
                "root": root,
            }
            for one, root in zip(spec.inputs, view.roots, strict=True)
        ],
        "participants": [
            {"org": one.org, "role": one.role, "agent_key": one.agent_key} for one in spec.participants
        ],
        "receivers": list(spec.receivers),
        "bindings": dict(records.bindings),
        "stages": {org: [count, last] for org, (count, last) in records.stages.items()},
        "transcripts": {org: dict(channels) for org, channels in records.transcripts.items()},
        "results": {
            org: {**result, "metrics": sha256(encode_value(result["metrics"])).digest()}
            for org, result in records.results.items()
        },
        "running_height": view.running_height,
        "revealed_height": view.revealed_height,
    }
    return sha256(encode_value(body)).digest()


def stage_hash(
    job: str,
    stage: int,
    kind: str,
    previous: bytes,
    channels: Mapping[str, bytes],
    sent: int,
    rounds: int,
    commitments: Mapping[str, bytes],
) -> bytes:
    """Return the hash that commits one stage: what ran, after what, and what every channel carried so far.

    `commitments` are those to the outputs, which the last stage makes; before it there are none. All the rest
    is on the ledger, where the channels of the last stage are those of the transcript: whoever is shown the
    commitments can tell that they are what a participant committed.
    """
    content = ["assent/stage/2", job, stage, kind, previous or ZERO_HASH, dict(channels), sent, rounds]
    return sha256(encode_value([*content, dict(commitments)])).digest()
