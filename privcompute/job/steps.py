"""Steps of a job: check, read and bind the input, plan the run, verify, keep the result, sign."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence

from chain.primitives.crypto import PrivateKey
from chain.primitives.values import Value
from privcompute.causes import LEDGER_REFUSED
from privcompute.config import LocalPolicy
from privcompute.data.commitments import input_commitment
from privcompute.data.datasets import DatasetError, DatasetStore, LocalDataset, OpenedDataset, open_dataset
from privcompute.data.exposed import ExposedStore
from privcompute.data.results import JoinStore, ResultStore, StoredResult, make_result
from privcompute.job.actions import CertificateSigned, ComputeDone, PhaseChecked, ResultCommit
from privcompute.job.chain_reader import ChainReader, send_until_known
from privcompute.job.enforcement import JobRefusal, OwnFacts, check_following, check_job
from privcompute.job.environment import AgentIdentity, AgentStores, OwnNode
from privcompute.job.exposure import Exposure, first_of
from privcompute.job.holding import shares_digest
from privcompute.job.inputs import asked_groups, check_delta, input_column, judge_own_data
from privcompute.job.meeting import Invitation
from privcompute.job.profiles import check_runnable
from privcompute.job.runner import RunPlan
from privcompute.job.size import check_size, size_of
from privcompute.job.view import RUNNING, JobView, certificate_digest, mismatched_channels
from privcompute.job.works import DeclaredInput, work_of
from privcompute.pages.derived import following_of
from privcompute.pages.work import PageWork

NONCE_BYTES = 32
OUTPUT = "page/1"
"""Schema of the results of jobs."""
LEDGER_POLL_S = 1.0
MEETING_SHARE = 0.9
"""Of the time that is left to begin a job: who waited in vain has the rest to say for whom."""
SHARES_METRIC = "shares"
"""What a receiver says on the ledger of the shares that it opened, and everybody compares."""
GRACE_MS = 60_000
"""A span outlives the ledger's own deadline by this, so that the ledger's clock decides, not ours."""


async def check(
    identity: AgentIdentity,
    reader: ChainReader,
    datasets: DatasetStore,
    view: JobView,
    phase: str,
    now_ms: int,
) -> PhaseChecked:
    """Judge a phase by proved facts and local policy; raise JobRefusal or what the page objects to."""
    facts = await reader.facts(view, identity.org)
    held = {
        (one.dataset, one.version): _held(datasets, one.dataset, one.version)
        for one in view.inputs_of(identity.org)
    }
    own = OwnFacts(
        org=identity.org,
        agent_key=identity.key.public,
        datasets={key: local for key, local in held.items() if local is not None},
        policy=identity.policy,
    )
    check_job(phase, facts, own, now_ms)
    check_runnable(view.spec)
    work = await job_work(reader, view)
    check_following(facts, identity.org, following_of(work.plan))
    work.least_rows(view.spec.min_group)
    check_size(
        size_of(work, view.spec, view.initiator, facts.versions), view.spec, identity.org, identity.policy
    )
    return PhaseChecked(phase, work.plan.hash)


def _held(datasets: DatasetStore, dataset: str, version: int) -> LocalDataset | None:
    try:
        return datasets.load(dataset, version)
    except DatasetError:
        return None


async def job_work(reader: ChainReader, view: JobView) -> PageWork:
    """Return what the parties of a job run, from what our node proves: a page is traced anew.

    Raises JobRefusal where the job says anything that does not follow, and what the page objects to.
    """
    declared = []
    for one, owner in zip(view.spec.inputs, view.owners, strict=True):
        found = await reader.columns(one.dataset, one.version, sorted(one.columns))
        columns = []
        for name, column in found.items():
            if column is None:
                raise JobRefusal(
                    "UNKNOWN_COLUMN",
                    f"dataset {one.dataset} has no column {name!r}",
                    dataset=one.dataset,
                    column=name,
                )
            columns.append(input_column(column, one.columns[name]))
        key = await reader.key(one.dataset, one.version)
        declared.append(DeclaredInput(owner, key, tuple(columns)))
    source = await reader.page(view.spec)
    booking = await reader.state("accounts", "bookings", view.id)
    return await asyncio.to_thread(work_of, view, declared, source, booking)


async def read_input(org: str, datasets: DatasetStore, view: JobView) -> OpenedDataset | None:
    """Read and verify our dataset in a worker thread; None when we own no input."""
    own = view.inputs_of(org)
    if not own:
        return None
    local = datasets.load(own[0].dataset, own[0].version)
    return await asyncio.to_thread(open_dataset, local)


async def judge_input(
    identity: AgentIdentity, reader: ChainReader, stores: AgentStores, view: JobView, opened: OpenedDataset
) -> None:
    """Judge our own data before we bind; raise JobRefusal with a code that tells others no number."""
    work, least = await job_work(reader, view), identity.policy.min_joined_rows
    place = _place_of(view, identity.org)
    check_delta(view.spec.inputs[place], opened.table.rows, await delta_of(reader, view, place))
    exposure = await exposure_of(reader, identity.policy, stores.exposed, view, work, place)
    await asyncio.to_thread(judge_own_data, work, view.spec, opened, stores.joins, least, exposure)


async def delta_of(reader: ChainReader, view: JobView, place: int) -> int:
    """Return the delta, in 10^-18, that figures with noise of a dataset have, all that is reserved included.

    It is 0 for a job without noise about it.
    """
    booking = await reader.state("accounts", "bookings", view.id)
    one = view.spec.inputs[place]
    charges = [] if booking is None else booking["charges"]
    if not any(charge["delta"] for charge in charges if charge["dataset"] == one.dataset):
        return 0
    first = first_of(await reader.state("accounts", "begun", one.dataset), one.version)
    account = await reader.state("accounts", "accounts", (one.dataset, first))
    return 0 if account is None else int(account["spent"]["delta"] + account["reserved"]["delta"])


async def exposure_of(
    reader: ChainReader,
    policy: LocalPolicy,
    store: ExposedStore,
    view: JobView,
    work: PageWork,
    place: int,
) -> Exposure:
    """Return what exact figures take of one of our datasets, but for what its grant gives as `plain`."""
    one = view.spec.inputs[place]
    grant = await reader.state("grants", "grants", one.grant)
    granted = {} if grant is None else grant["columns"]
    uses = {name: use for name, use in work.exact_uses(place).items() if granted.get(name) != "plain"}
    first = first_of(await reader.state("accounts", "begun", one.dataset), one.version)
    return Exposure(
        job=view.id,
        dataset=one.dataset,
        version=one.version,
        account=f"{one.dataset}@{first}",
        min_group=view.spec.min_group,
        uses=uses,
        groups=asked_groups(work, view.spec, place),
        pages_max=policy.exact_pages,
        store=store,
    )


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


async def make_plan(
    identity: AgentIdentity,
    reader: ChainReader,
    stores: AgentStores,
    view: JobView,
    opened: OpenedDataset | None,
    now_ms: int,
) -> RunPlan:
    """Gather what a run needs; the spec's deadlines bound its spans, and so does this owner's policy."""
    policy, work = identity.policy, await job_work(reader, view)
    place = None if opened is None else _place_of(view, identity.org)
    exposure = None
    if place is not None:
        exposure = await exposure_of(reader, policy, stores.exposed, view, work, place)
    compute_ms = max(0, view.deadline_ms - now_ms)
    return RunPlan(
        job=view.id,
        spec=view.spec,
        initiator=view.initiator,
        work=work,
        me=[one.org for one in view.spec.participants].index(identity.org),
        peers=await reader.peers(view.spec, identity.org),
        place=place,
        table=None if opened is None else opened.table,
        exposure=exposure,
        min_joined_rows=policy.min_joined_rows if opened is not None else 0,
        max_party_rows=policy.max_party_rows,
        compute_s=min(compute_ms + GRACE_MS, policy.job_time_max_ms) / 1_000,
    )


def _place_of(view: JobView, org: str) -> int:
    return view.owners.index(org)


async def invite(identity: AgentIdentity, reader: ChainReader, view: JobView, now_ms: int) -> Invitation:
    """Gather what it takes to meet the other parties before the ledger's deadline for it."""
    return Invitation(
        job=view.id,
        height=view.entered_height,
        me=[one.org for one in view.spec.participants].index(identity.org),
        peers=await reader.peers(view.spec, identity.org),
        meet_s=max(0.0, (view.deadline_ms - now_ms) / 1_000 * MEETING_SHARE),
    )


async def begin_join(node: OwnNode, job: str) -> None:
    """Return when our node proves that a join was announced, by us if by nobody before; raise JobRefusal.

    Until then nothing about our data leaves: what ends without an announcement returns its runs.
    """
    while True:
        current = await node.reader.job(job)
        if current is None or current.is_final:
            raise JobRefusal("STOPPED", "the job ended before data moved")
        if current.state == RUNNING and current.join_height > 0:
            return
        code = "WRONG_STATE"
        if current.state == RUNNING:
            code = await send_until_known(node.account, "jobs", "begin_join", {"job": job})
        if code in ("WRONG_STATE", "DEADLINE_PASSED"):
            await asyncio.sleep(LEDGER_POLL_S)  # disputed, or over: its end, or its return, will show
        elif code:
            raise JobRefusal(LEDGER_REFUSED, f"begin_join: {code}", step="begin_join", code=code)


async def verify_transcripts(org: str, reader: ChainReader, view: JobView, done: ComputeDone) -> None:
    """Raise JobRefusal unless both ends of every channel agree, and ours are what we saw ourselves."""
    shown = await reader.transcripts(view)
    if dict(shown[org]) != dict(done.channels):
        raise JobRefusal(
            "TRANSCRIPT_MISMATCH", "the ledger shows other channel hashes for us than we committed"
        )
    differing = mismatched_channels(shown)
    if differing:
        raise JobRefusal(
            "TRANSCRIPT_MISMATCH",
            f"{differing[0][0]} and {differing[0][1]} name different hashes",
            org=differing[0][0],
            other=differing[0][1],
        )


async def assert_revealed(reader: ChainReader, view: JobView) -> None:
    """The reveal gate: raise JobRefusal unless our own node proves, now, that every owner approved."""
    current = await reader.job(view.id)
    if current is None or not current.may_release:
        state = "unknown" if current is None else current.state
        raise JobRefusal("NOT_REVEALED", f"our node shows the job as {state}; the shares stay here")


def keep_joined(joins: JoinStore, view: JobView, joined: Mapping[bytes, Sequence[str]]) -> None:
    """Write down which of our own rows the job joined, by the hash that names the versions of each join."""
    joins.save(view.id, joined)


def release_seconds(identity: AgentIdentity, view: JobView, now_ms: int) -> float:
    """Return how long a release may take here: until the state's deadline, or as long as the owner allows."""
    left_ms = max(0, view.deadline_ms - now_ms)
    return min(left_ms + GRACE_MS, identity.policy.job_time_max_ms) / 1_000


def keep_result(
    results: ResultStore, view: JobView, values: Value, commitments: Mapping[str, bytes]
) -> tuple[ResultCommit, bytes]:
    """Store a result under a fresh salt; return what goes on chain, and the salt (NotWritten)."""
    salt, shares = fresh_nonce(), shares_digest(commitments)
    result = result_of(view, values, shares, salt)
    results.save(result)
    return ResultCommit(result.hash, result.schema, {SHARES_METRIC: shares.hex()}), salt


def result_of(view: JobView, values: Value, shares: bytes, salt: bytes) -> StoredResult:
    """Return a receiver's result, with the commitment that its salt makes."""
    spec = view.spec
    return make_result(view.id, spec.program, spec.profile, OUTPUT, values, shares=shares, salt=salt)


async def sign_certificate(
    key: PrivateKey, reader: ChainReader, view: JobView, commitments: Mapping[str, bytes]
) -> CertificateSigned:
    """Rebuild the certificate's digest from proved state and sign it with the agent key.

    Raises JobRefusal when a receiver's result does not name the shares that everybody committed to.
    """
    records = await reader.records(view)
    for org, result in records.results.items():
        named = result["metrics"].get(SHARES_METRIC)
        if commitments and named != shares_digest(commitments).hex():
            raise JobRefusal(
                "RESULT_OF_OTHER_SHARES", f"the result of {org} names other shares than were opened"
            )
    digest = certificate_digest(view, records)
    return CertificateSigned(digest, key.sign(digest))
