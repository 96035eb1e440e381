"""Enforcement: an agent refuses every job that its own node does not show as authorised.

The contracts guard the same rules; an owner asks again because the contracts cannot know this owner's local
policy or its data, and because data must not depend on anybody else's node. Facts
come from proved state. What a policy contract decides cannot be proved by state alone: it shows in the state
of the job, which only advances when the contract agreed.

Codes are those of contracts/system/README.md; privcompute/AGENT.md lists those that only an agent uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chain.primitives.errors import AssentError
from chain.primitives.values import Value
from privcompute.config import LocalPolicy
from privcompute.data.datasets import LocalDataset
from privcompute.errors import Fact
from privcompute.job.view import ACCEPTED, COMPUTED, PROPOSED, RUNNING, GrantedInput, JobSpec, JobView
from privcompute.pages.derived import Following, epsilon_text

ALLOWED_USES: Mapping[str, frozenset[str]] = {
    "plain": frozenset({"plain", "join", "aggregate", "noisy", "compare", "encrypted"}),
    "join-only": frozenset({"join"}),
    "exact-aggregate": frozenset({"aggregate", "noisy", "compare", "encrypted"}),
    "aggregate-only": frozenset({"noisy", "compare", "encrypted"}),
    "compare-only": frozenset({"compare", "encrypted"}),
    "encrypted-only": frozenset({"encrypted"}),
}
"""Column constraint -> uses that it allows (contracts/system/README.md, grants)."""

_STATE_OF_PHASE = {"accepted": PROPOSED, "meeting": ACCEPTED, "running": RUNNING, "reveal": COMPUTED}
_LIVE_OF_PHASE = {"meeting": ("reserved",), "running": ("reserved", "used"), "reveal": ("used",)}
"""What a job holds of a grant: its run is used when the first owner begins the join."""
_STATUS_CODES = {
    "revoked": "GRANT_REVOKED",
    "suspended": "GRANT_SUSPENDED",
    "expired": "GRANT_EXPIRED",
}


class JobRefusal(AssentError):
    """This agent will not take the step; `reason` and `detail` are what the ledger may see (causes.py)."""

    code = "refused"

    def __init__(self, reason: str, text: str, **detail: Fact) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class ProvedFacts:
    """Facts that our node proves, at one certified head or later; None where the state has no entry."""

    view: JobView
    grants: Mapping[str, Value]
    standing: Mapping[str, Value]
    """Grant -> {status, used, reserved, …}; None while it is requested."""
    held: Mapping[str, Value]
    """Grant -> what this job holds of it: reserved, used or revealed; None while it is proposed."""
    datasets: Mapping[str, Value]
    versions: Mapping[tuple[str, int], Value]
    """(dataset, version) -> record."""
    orgs: Mapping[str, Value]
    """Of the initiator and every participant."""
    program: Value
    """Of contract `programs`."""
    ranks: Mapping[str, int]
    """Profile -> rank; a higher one is stronger."""


@dataclass(frozen=True, slots=True)
class OwnFacts:
    """Facts that this agent knows by itself: its key, its records and its policy."""

    org: str
    agent_key: bytes
    datasets: Mapping[tuple[str, int], LocalDataset]
    """(dataset, version) -> our record of it."""
    policy: LocalPolicy


def check_job(phase: str, facts: ProvedFacts, own: OwnFacts, now_ms: int) -> None:
    """Raise JobRefusal unless everything allows this phase (accepted, meeting, running or reveal)."""
    view = facts.view
    _require(
        view.state == _STATE_OF_PHASE[phase], "WRONG_STATE", f"the job is {view.state}, not ready for {phase}"
    )
    _check_parties(facts, own)
    _check_program(facts)
    _check_policy(view, own.policy)
    inputs = view.inputs_of(own.org)
    _require(len(inputs) <= 1, "PROFILE_DATASETS", f"{len(inputs)} inputs of {own.org}; propose one")
    for one in inputs:
        _check_grant(phase, one, facts, own, now_ms)
        _check_dataset(one, facts, own)


def _check_parties(facts: ProvedFacts, own: OwnFacts) -> None:
    spec = facts.view.spec
    mine = _found(spec.participant(own.org), "NOT_PARTICIPANT", f"{own.org} has no part in this job")
    for org in (facts.view.initiator, *[one.org for one in spec.participants]):
        record = facts.orgs.get(org)
        active = record is not None and record["status"] == "active"
        _require(active, "ORG_NOT_ACTIVE", f"{org} is no active member", org=org)
    for one in spec.participants:
        _require(
            facts.orgs[one.org]["agent_key"] == one.agent_key,
            "AGENT_KEY_MISMATCH",
            f"the agent key of {one.org} is not the one registered now",
            org=one.org,
        )
    _require(
        mine.agent_key == own.agent_key,
        "AGENT_KEY_MISMATCH",
        "the job names another agent key for us than this agent holds",
        org=own.org,
    )


def _check_program(facts: ProvedFacts) -> None:
    spec = facts.view.spec
    record = _found(facts.program, "UNKNOWN_PROGRAM", f"our node shows no program {spec.program}")
    _require(record["status"] == "active", "PROGRAM_NOT_ACTIVE", f"program {spec.program} is retired")
    _require(
        record["page"] == spec.page,
        "PAGE_DIFFERS",
        f"program {spec.program} is page {record['page'].hex()[:16]}…, the job names {spec.page.hex()[:16]}…",
    )


def _check_policy(view: JobView, policy: LocalPolicy) -> None:
    purpose = view.spec.purpose
    _require(
        purpose not in policy.refused_purposes,
        "LOCAL_PURPOSE_REFUSED",
        f"agent.toml refuses purpose {purpose}",
    )
    involved = {one.org for one in view.spec.participants} | {view.initiator, *view.spec.receivers}
    refused = sorted(involved & set(policy.refused_organisations))
    _require(not refused, "LOCAL_ORGANISATION_REFUSED", f"agent.toml refuses {', '.join(refused)}")


def _check_grant(phase: str, one: GrantedInput, facts: ProvedFacts, own: OwnFacts, now_ms: int) -> None:
    """Raise for the first thing in which one of our own grants does not allow the job."""
    view, grant = facts.view, facts.grants.get(one.grant)
    of_ours = grant is None or grant["owner"] == own.org
    _require(of_ours, "UNKNOWN_GRANT", f"grant {one.grant} is not of our data", grant=one.grant)
    standing = facts.standing.get(one.grant)
    for fault in grant_faults(one, view.spec, view.initiator, grant, standing, facts.ranks, now_ms):
        raise fault
    _check_quota(phase, grant, standing, facts)


def grant_faults(
    one: GrantedInput,
    spec: JobSpec,
    initiator: str,
    grant: Value,
    standing: Value,
    ranks: Mapping[str, int],
    now_ms: int,
) -> Iterator[JobRefusal]:
    """Yield every fault that the guard of contract `grants` finds in the use of one input, in its order.

    `grant` and `standing` are its proved rows, None where there are none. Runs that are left are not counted.
    """
    name = f"grant {one.grant}"
    if grant is None:
        yield JobRefusal("UNKNOWN_GRANT", f"our node shows no {name}", grant=one.grant)
        return
    status = "requested" if standing is None else standing["status"]
    judged = (
        (grant["grantee"] == initiator, "NOT_GRANTEE", f"{name} is not for {initiator}"),
        (status == "active", _STATUS_CODES.get(status, "GRANT_NOT_ACTIVE"), f"{name} is {status}"),
        (now_ms < grant["expires"], "GRANT_EXPIRED", f"{name} expired at {grant['expires']} ms"),
        (now_ms >= grant["not_before"], "GRANT_NOT_YET_VALID", f"{name} starts {grant['not_before']} ms"),
        (grant["dataset"] == one.dataset, "DATASET_NOT_GRANTED", f"{name} is for {grant['dataset']}"),
        (grant["version"] == one.version, "VERSION_NOT_GRANTED", f"{name} is for version {grant['version']}"),
        (grant["purpose"] == spec.purpose, "PURPOSE_MISMATCH", f"{name} is for {grant['purpose']}"),
        (spec.program in grant["programs"], "PROGRAM_NOT_GRANTED", f"{name} does not allow {spec.program}"),
    )
    yield from (JobRefusal(code, text, grant=one.grant) for holds, code, text in judged if not holds)
    yield from _column_faults(one, grant)
    yield from _terms_faults(one, spec, grant, ranks)


def _column_faults(one: GrantedInput, grant: Value) -> Iterator[JobRefusal]:
    for column, use in one.columns.items():
        constraint = grant["columns"].get(column)
        if constraint is None:
            text = f"grant {one.grant} does not cover {column!r}"
            yield JobRefusal("COLUMN_NOT_GRANTED", text, grant=one.grant, column=column)
        elif use not in ALLOWED_USES.get(constraint, frozenset()):
            yield JobRefusal(
                "CONSTRAINT_VIOLATED",
                f"column {column!r} is {constraint}; the job wants to use it as {use}",
                grant=one.grant,
                column=column,
                use=use,
                allowed=constraint,
            )


def _terms_faults(
    one: GrantedInput, spec: JobSpec, grant: Value, ranks: Mapping[str, int]
) -> Iterator[JobRefusal]:
    name, profile, least = f"grant {one.grant}", grant["profile"], grant["min_group"]
    if ranks.get(spec.profile, -1) < ranks.get(profile, 2**63):
        text = f"{name} asks for {profile} or stronger, the job runs {spec.profile}"
        yield JobRefusal("PROFILE_TOO_WEAK", text, grant=one.grant, profile=profile)
    if spec.min_group < least:
        yield JobRefusal("MIN_GROUP_TOO_LOW", f"{name} asks for {least}", grant=one.grant, least=least)
    allowed = {*grant["co_parties"], grant["owner"], grant["grantee"]}
    strangers = sorted({party.org for party in spec.participants} - allowed)
    if strangers:
        text = f"{name} does not allow {', '.join(strangers)}"
        yield JobRefusal("CO_PARTY_NOT_GRANTED", text, grant=one.grant, org=strangers[0])
    outside = sorted(set(spec.receivers) - set(grant["receivers"]))
    if outside:
        text = f"{name} lets no result go to {', '.join(outside)}"
        yield JobRefusal("RECEIVER_NOT_GRANTED", text, grant=one.grant, org=outside[0])


def following_faults(one: GrantedInput, grant: Value, follows: Following) -> Iterator[JobRefusal]:
    """Yield what an input's grant refuses of what follows of the page."""
    if grant is None:
        return
    allowed = (*grant["membership"], grant["owner"])
    for org in follows.membership.get(one.name, ()):
        if org not in allowed:
            text = f"grant {one.grant} does not let {org} learn which rows of {one.dataset} are joined"
            yield JobRefusal("MEMBERSHIP_NOT_GRANTED", text, grant=one.grant, org=org)
    epsilon, most = follows.epsilon.get(one.name, 0), grant["run_epsilon"]
    if epsilon > most:
        asked, least = epsilon_text(epsilon), epsilon_text(most)
        text = f"grant {one.grant} lets a run take epsilon {least} of {one.dataset}, this job takes {asked}"
        yield JobRefusal("EPSILON_NOT_GRANTED", text, grant=one.grant, granted=least, asked=asked)


def check_following(facts: ProvedFacts, org: str, follows: Following) -> None:
    """Raise JobRefusal unless our own grants allow what follows of the page."""
    for one in facts.view.inputs_of(org):
        for fault in following_faults(one, facts.grants.get(one.grant), follows):
            raise fault


def _check_quota(phase: str, grant: Value, standing: Value, facts: ProvedFacts) -> None:
    held, most = facts.held.get(grant["id"]), grant["quota_runs"]
    taken = standing["used"] + standing["reserved"]
    if phase in _LIVE_OF_PHASE:
        _require(
            held in _LIVE_OF_PHASE[phase],
            "QUOTA_EXHAUSTED",
            f"grant {grant['id']} shows no run for this job",
            grant=grant["id"],
        )
    else:
        _require(
            held is not None or taken < most,
            "QUOTA_EXHAUSTED",
            f"grant {grant['id']}: {taken} of {most} runs are used or held",
            grant=grant["id"],
        )


def _check_dataset(one: GrantedInput, facts: ProvedFacts, own: OwnFacts) -> None:
    dataset, key = facts.datasets.get(one.dataset), (one.dataset, one.version)
    name = f"{one.dataset} version {one.version}"
    known: dict[str, Fact] = {"dataset": one.dataset, "version": one.version}
    _require(
        dataset is not None and dataset["status"] == "active" and dataset["owner"] == own.org,
        "DATASET_NOT_ACTIVE",
        f"dataset {one.dataset} is not active as ours",
        dataset=one.dataset,
    )
    local, version = own.datasets.get(key), facts.versions.get(key)
    _require(local is not None, "DATASET_NOT_HELD", f"this agent holds no record of {name}", **known)
    _require(
        local is not None and version is not None and version["root"] == local.root,
        "ROOT_MISMATCH",
        f"the root registered for {name} is not the one this agent computed",
        **known,
    )
    names = () if local is None else local.schema.key
    joined = {column for column, use in one.columns.items() if use == "join"}
    _require(  # a page may use a dataset without joining it
        joined == set(names) or not joined,
        "JOIN_NOT_BY_KEY",
        f"{name} is joined by its key, {', '.join(map(repr, names)) or 'which it lacks'}; the job names "
        f"{', '.join(map(repr, sorted(joined))) or 'no column'} with use 'join'",
        dataset=one.dataset,
    )


def _require(holds: bool, reason: str, text: str, **detail: Fact) -> None:
    if not holds:
        raise JobRefusal(reason, text, **detail)


def _found(value: Any, reason: str, text: str) -> Any:
    if value is None:
        raise JobRefusal(reason, text)
    return value
