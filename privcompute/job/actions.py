"""Actions that a job's state machine asks for, and their completions: records without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from privcompute.causes import Filed

STAGES_MAX = 256


@dataclass(frozen=True, slots=True)
class CheckPhase:
    """Ask enforcement whether our grants and policy allow this phase: accepted, running or reveal."""

    phase: str


@dataclass(frozen=True, slots=True)
class PrepareInput:
    """Read our inputs, check their root, draw a nonce, keep the opening."""


@dataclass(frozen=True, slots=True)
class Meet:
    """Meet the other agents, until each of them has a slot for the job."""


@dataclass(frozen=True, slots=True)
class GiveSlotBack:
    """Let another job use our slot: this one does not begin."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Connect to the other agents and run every stage; outputs stay shared."""


@dataclass(frozen=True, slots=True)
class RecheckRun:
    """Ask enforcement again, while we meet or compute, whether our grants and policy still allow it."""


@dataclass(frozen=True, slots=True)
class VerifyTranscripts:
    """Compare the transcripts that the ledger shows with our own channels."""


@dataclass(frozen=True, slots=True)
class ReleaseShares:
    """Hand out what we hold to those who ask; gather and keep what is for us."""


@dataclass(frozen=True, slots=True)
class SignCertificate:
    """Rebuild the certificate's digest from proved state and sign it."""


@dataclass(frozen=True, slots=True)
class SendCall:
    """Call a method of `jobs`; `key` names the step, args exclude `job`."""

    key: str
    method: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StopComputing:
    """Close channels and stop the computation; what is sealed stays."""

    reason: str


@dataclass(frozen=True, slots=True)
class DestroyShares:
    """Stop computing, and destroy what is held of the outputs, here and on disk."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopJob:
    """Write evidence, then tell the ledger: `reject` while proposed, else `abort`."""

    method: str
    cause: Filed
    text: str


@dataclass(frozen=True, slots=True)
class FinishJob:
    """Nothing more will happen; clean up."""

    state: str


Action = (
    CheckPhase
    | PrepareInput
    | Meet
    | GiveSlotBack
    | Compute
    | RecheckRun
    | VerifyTranscripts
    | ReleaseShares
    | SignCertificate
    | SendCall
    | StopComputing
    | DestroyShares
    | StopJob
    | FinishJob
)


# --- completions: what the agent has done -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PhaseChecked:
    """Enforcement allows the phase; `plan` is the hash of what follows of the job's page."""

    phase: str
    plan: bytes


@dataclass(frozen=True, slots=True)
class InputPrepared:
    """Inputs are read and committed to."""

    commitment: bytes


@dataclass(frozen=True, slots=True)
class Met:
    """Every party has a slot for the job."""


@dataclass(frozen=True, slots=True)
class RunAllowed:
    """Enforcement allows the computation that has its turn; it is asked again after a while."""


@dataclass(frozen=True, slots=True)
class StageDone:
    """One stage of the computation ended; hashes chain from stage to stage."""

    stage: int
    kind: str
    hash: bytes
    previous: bytes
    sent: int
    rounds: int
    cpu_ms: int


@dataclass(frozen=True, slots=True)
class JoinJudged:
    """We know how many rows were joined, and whether they suffice for the job and for us."""

    suffices: bool


@dataclass(frozen=True, slots=True)
class ComputeDone:
    """Every stage ended; outputs are held in shares."""

    profile: str
    channels: Mapping[str, bytes]
    """Organisation -> hash of our channel with it, both directions."""
    stages: int
    """How many stages ran: the transcript goes on chain only after all of them."""


@dataclass(frozen=True, slots=True)
class TranscriptsVerified:
    """The ledger's transcripts agree with ours."""


@dataclass(frozen=True, slots=True)
class SharesReleased:
    """What is for us is here, and others may ask for theirs; `result` is set when we are a receiver."""

    result: ResultCommit | None


@dataclass(frozen=True, slots=True)
class ResultCommit:
    """What goes on chain about a result: its salted hash, never its values unless the program says so."""

    hash: bytes
    schema: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CertificateSigned:
    """The certificate digest, with our signature."""

    digest: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class CallSent:
    """The ledger executed the call of this step."""

    key: str


@dataclass(frozen=True, slots=True)
class CallRefused:
    """The ledger refused the call of this step with a stable code."""

    key: str
    code: str


@dataclass(frozen=True, slots=True)
class StepFailed:
    """An action failed; the cause goes on chain, `text` stays in our log."""

    cause: Filed
    text: str


Done = (
    PhaseChecked
    | InputPrepared
    | Met
    | RunAllowed
    | StageDone
    | JoinJudged
    | ComputeDone
    | TranscriptsVerified
    | SharesReleased
    | CertificateSigned
    | CallSent
    | CallRefused
    | StepFailed
)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What an agent knows of a job from before its restart; all empty for a new job."""

    commitment: bytes | None = None
    computing: bool = False
    """Traffic had begun."""
    result: ResultCommit | None = None
    computed: ComputeDone | None = None
    """The computation had ended, and what we hold is sealed on disk; without it, it is lost."""
    stages: tuple[StageDone, ...] = ()
    """The stages of that computation."""
