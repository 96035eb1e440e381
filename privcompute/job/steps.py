"""The steps that a job's state machine asks for, each one function over the agent's parts."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chain.api.client import Account
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from chain.primitives.values import Value
from privcompute.config import AgentConfig, AgentFiles
from privcompute.data.commitments import input_commitment
from privcompute.data.datasets import DatasetError, DatasetStore, LocalDataset, OpenedDataset, open_dataset
from privcompute.data.evidence import EvidenceLog
from privcompute.data.private_files import job_file, write_private
from privcompute.data.results import ResultStore, make_result
from privcompute.errors import PartiesStalled, PeerFault, PeerGone, PortCrowded, TimeOver
from privcompute.job.actions import Checked, ComputeDone, ResultCommit, Signed
from privcompute.job.chain_reader import ChainReader
from privcompute.job.enforcement import Own, Refusal, check_job
from privcompute.job.runner import Plan, check_runnable
from privcompute.job.store import JobStore, StatusBoard
from privcompute.job.view import REVEALED, JobView, certificate_digest, mismatched_channels
from privcompute.net.listener import PeerListener
from privcompute.programs.base import InputColumn, JobInput, Program
from privcompute.programs.registry import PROGRAMS

NONCE_BYTES = 32
REASON_CHARS_MAX = 128
OTHERS_FIRST_S = 3.0
"""Long enough for an abort of another agent to be certified and read."""
GRACE_MS = 60_000
"""A span outlives the ledger's own deadline by this, so that the ledger's clock decides, not ours."""


@dataclass(slots=True)
class Parts:
    """What every job of an agent shares."""

    config: AgentConfig
    files: AgentFiles
    key: PrivateKey
    reader: ChainReader
    account: Account
    listener: PeerListener
    datasets: DatasetStore
    results: ResultStore
    jobs: JobStore
    board: StatusBoard
    evidence: EvidenceLog
    slot: asyncio.Lock
    """One job computes at a time; jobs take it in the order in which the ledger started them."""
    code_hashes: Mapping[str, bytes]
    """Program -> code hash, taken when the agent started: of the code that runs, not of later files."""
    accept_peers: Callable[[], None]
    """Admit the agents of the participants of all our open jobs."""

    @property
    def org(self) -> str:
        """The organisation this agent acts for."""
        return self.config.organisation


def others_first_s(error: Exception) -> float:
    """Return how long to wait before a failure is reported: whoever knows better whose it is goes first.

    A party that we caught ourselves is named at once. One whose link broke may have stopped because of a
    third party, and says so on the ledger. A failure that names nobody waits for all of these.
    """
    if isinstance(error, PeerGone):
        return OTHERS_FIRST_S
    return 2 * OTHERS_FIRST_S if isinstance(error, PartiesStalled | PortCrowded | TimeOver) else 0.0


def now_ms() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def reason_of(error: Exception, view: JobView | None) -> str:
    """Return the short public reason of a failure: a stable code, and the organisation if it is a peer."""
    if isinstance(error, Refusal):
        return error.reason
    if isinstance(error, PeerFault) and view is not None and error.party < len(view.spec.participants):
        return f"{error.code.upper()}: {view.spec.participants[error.party].org}"
    if isinstance(error, AssentError):
        return error.code.upper()
    return f"INTERNAL_{type(error).__name__}"[:REASON_CHARS_MAX]


async def check(parts: Parts, view: JobView, phase: str) -> Checked:
    """Judge a phase by proved facts and local policy; raise Refusal or what the program objects to."""
    facts = await parts.reader.facts(view, parts.org)
    program = PROGRAMS.get(view.spec.program)
    held = {
        (one.dataset, one.version): _held(parts, one.dataset, one.version)
        for one in view.inputs_of(parts.org)
    }
    own = Own(
        org=parts.org,
        agent_key=parts.key.public,
        code_hash=parts.code_hashes.get(view.spec.program),
        datasets={key: local for key, local in held.items() if local is not None},
        policy=parts.config.policy,
    )
    check_job(phase, facts, own, now_ms())
    check_runnable(view.spec)
    if program is None:
        raise Refusal("PROGRAM_NOT_INSTALLED", f"{view.spec.program} is not installed here")
    await program_inputs(parts, view, program)
    return Checked(phase, parts.code_hashes[program.id])


def _held(parts: Parts, dataset: str, version: int) -> LocalDataset | None:
    try:
        return parts.datasets.load(dataset, version)
    except DatasetError:
        return None


async def program_inputs(
    parts: Parts, view: JobView, program: Program
) -> tuple[tuple[JobInput, ...], object]:
    """Return the inputs as programs see them, with the parameters that the program accepts."""
    names = [one.org for one in view.spec.participants]
    inputs = []
    for one, owner in zip(view.spec.inputs, view.owners, strict=True):
        version = await parts.reader.state("datasets", "versions", (one.dataset, one.version))
        types = {column["name"]: column["type"] for column in (version or {"schema": []})["schema"]}
        missing = sorted(set(one.columns) - set(types))
        if missing:
            raise Refusal("UNKNOWN_COLUMN", f"dataset {one.dataset} has no column {missing[0]!r}")
        columns = tuple(InputColumn(name, types[name], use) for name, use in sorted(one.columns.items()))
        inputs.append(JobInput(one.dataset, names.index(owner), columns))
    return tuple(inputs), program.check(view.spec.parameters, inputs)


async def read_input(parts: Parts, view: JobView) -> OpenedDataset | None:
    """Read and verify our dataset in a worker thread; None when we own no input."""
    own = view.inputs_of(parts.org)
    if not own:
        return None
    local = parts.datasets.load(own[0].dataset, own[0].version)
    return await asyncio.to_thread(open_dataset, local)


def bind(view: JobView, org: str, opened: OpenedDataset, nonce: bytes) -> tuple[bytes, dict[str, Value]]:
    """Return the commitment to our input, and its opening for our evidence log."""
    columns = sorted(view.inputs_of(org)[0].columns)
    local = opened.local
    commitment = input_commitment(nonce, local.root, columns, "", local.rows)
    return commitment, {
        "commitment": commitment,
        "nonce": nonce,
        "dataset": local.id,
        "version": local.version,
        "root": local.root,
        "columns": list(columns),
        "filter": "",
        "rows": local.rows,
    }


def fresh_nonce() -> bytes:
    """Return 32 secret random bytes."""
    return secrets.token_bytes(NONCE_BYTES)


async def make_plan(parts: Parts, view: JobView, opened: OpenedDataset | None) -> Plan:
    """Gather what a run needs; the spec's deadlines bound its spans, and so does this owner's policy."""
    program = PROGRAMS[view.spec.program]
    inputs, parameters = await program_inputs(parts, view, program)
    policy, release_ms = parts.config.policy, view.spec.raw["deadlines"]["commit"]
    compute_ms = max(0, view.deadline_ms - now_ms())
    return Plan(
        job=view.id,
        spec=view.spec,
        program=program,
        parameters=parameters,
        inputs=inputs,
        me=[one.org for one in view.spec.participants].index(parts.org),
        peers=await parts.reader.peers(view.spec, parts.org),
        dataset=None if opened is None else opened.local.id,
        table=None if opened is None else opened.table,
        min_joined_rows=policy.min_joined_rows if opened is not None else 0,
        max_party_rows=policy.max_party_rows,
        compute_s=min(compute_ms + GRACE_MS, policy.job_time_max_ms) / 1_000,
        release_s=min(release_ms + GRACE_MS, policy.job_time_max_ms) / 1_000,
    )


async def verify_transcripts(parts: Parts, view: JobView, done: ComputeDone) -> None:
    """Raise Refusal unless both ends of every channel agree, and ours are what we saw ourselves."""
    shown = await parts.reader.transcripts(view)
    if dict(shown[parts.org]) != dict(done.channels):
        raise Refusal("TRANSCRIPT_MISMATCH", "the ledger shows other channel hashes for us than we committed")
    differing = mismatched_channels(shown)
    if differing:
        raise Refusal("TRANSCRIPT_MISMATCH", f"{differing[0][0]} and {differing[0][1]} name different hashes")


async def assert_revealed(parts: Parts, view: JobView) -> None:
    """The reveal gate: raise Refusal unless our own node proves, now, that every owner approved."""
    current = await parts.reader.job(view.id)
    if current is None or current.state != REVEALED or not set(current.owners) <= current.reveals:
        state = "unknown" if current is None else current.state
        raise Refusal("NOT_REVEALED", f"our node shows the job as {state}; the shares stay here")


def keep_join(parts: Parts, job: str, ids: Sequence[str]) -> None:
    """Write down which of our own rows a job matched, in the joint order."""
    if ids:
        content = {"job": job, "ids": list(ids)}
        write_private(job_file(parts.files.joins, job), json.dumps(content).encode())


def keep_result(parts: Parts, view: JobView, values: Value) -> tuple[ResultCommit, bytes]:
    """Store a result under a fresh salt; return what goes on chain and the salt for our evidence."""
    program = PROGRAMS[view.spec.program]
    salt = fresh_nonce()
    result = make_result(view.id, program.id, view.spec.profile, program.output, values, salt)
    parts.results.save(result)
    return ResultCommit(result.hash, program.output, {}), salt


async def sign_certificate(parts: Parts, view: JobView) -> Signed:
    """Rebuild the certificate's digest from proved state and sign it with the agent key."""
    digest = certificate_digest(view, await parts.reader.records(view))
    return Signed(digest, parts.key.sign(digest))
