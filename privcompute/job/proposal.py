"""Obstacles to a proposal: everything on the ledger that would refuse a job now, not only the first of it.

Contract `jobs` refuses a proposal by the first rule that it breaks. These are the same rules over proved
rows, all of them at once, so that a requester learns each thing to mend before anybody is told of the job
(contracts/system/README.md, jobs and grants; a test holds every code of `propose` against them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chain.client.calls import SEE_CODES, remedy
from chain.primitives.values import Value, encode_value
from privcompute.causes import CAUSES
from privcompute.data.declared import Identifier, identifiers_differ
from privcompute.job.enforcement import following_faults, grant_faults
from privcompute.job.view import JobSpec
from privcompute.pages.derived import Following

DAY_MS = 86_400_000
OPEN_JOBS_MAX, PROPOSALS_A_DAY_MAX = 256, 1_000
"""Of one initiator."""
OPEN_JOBS_OF_GRANT_MAX = 64
FREE_RETURNS_A_DAY_MAX, FREE_RETURNS_MAX = 3, 12
SPEC_BYTES_MAX, PARAMETERS_BYTES_MAX = 32_768, 8_192
COLUMNS_MAX, PARTICIPANTS_MAX, MIN_GROUP_MAX = 1_024, 8, 1_000_000_000
DEADLINE_MIN_MS, DEADLINE_MAX_MS = 1_000, 2_592_000_000
TOO_FEW, SUFFICES = "too few", "suffices"
"""Outcomes of a join that owners have judged."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing that would refuse a job, or end it later."""

    about: str
    """The grant, dataset, organisation or part of the spec."""
    code: str
    says: str
    do: str
    """What to do about it; "" where `says` tells it."""


@dataclass(frozen=True, slots=True)
class ProposalFacts:
    """Rows of the ledger that decide about a proposal; None, or no entry, where the state has none."""

    now_ms: int
    """Block time."""
    initiator: str
    proposals: Value
    """`jobs.initiators` of the initiator."""
    orgs: Mapping[str, Value]
    """Of the initiator and of every participant."""
    program: Value
    """Of contract `programs`."""
    profiles: Mapping[str, Value]
    """Those of the job and of its grants."""
    grants: Mapping[str, Value]
    standing: Mapping[str, Value]
    open_jobs: Mapping[str, Value]
    partners: Mapping[str, Value]
    returns: Mapping[str, Value]
    """Each by grant."""
    datasets: Mapping[str, Value]
    keys: Mapping[str, Value]
    """Dataset -> the columns of its key, in the version that the job names."""
    identifiers: Mapping[str, Value]
    """Dataset -> what that version declares of them."""
    joined: bytes
    """The hash that names the versions that are joined."""
    join: Value
    """What owners have said of these versions (`jobs.joins`)."""

    @property
    def ranks(self) -> Mapping[str, int]:
        """Profile -> rank."""
        return {name: one["rank"] for name, one in self.profiles.items() if one is not None}


def remedy_of(code: str) -> str:
    """Return what to do about a code of the ledger or of an agent."""
    found = remedy("jobs", code)
    return CAUSES[code].remedy if found == SEE_CODES and code in CAUSES else found


def obstacle(about: str, code: str, says: str) -> Obstacle:
    """Return an obstacle with the remedy of its code."""
    return Obstacle(about, code, says, remedy_of(code))


def proposal_obstacles(spec: JobSpec, facts: ProposalFacts) -> list[Obstacle]:
    """Return everything for which contract `jobs` would refuse the proposal, but what policies say."""
    return [
        *_of_initiator(facts),
        *_of_shape(spec),
        *_of_program(spec, facts),
        *_of_parties(spec, facts),
        *(found for one in spec.inputs for found in _of_grant(one.grant, spec, facts)),
        *_of_join(spec, facts),
    ]


def _of_initiator(facts: ProposalFacts) -> Iterator[Obstacle]:
    org, record = facts.initiator, facts.orgs.get(facts.initiator)
    count = facts.proposals or {"open": 0, "day": 0, "today": 0}
    if record is None or record["status"] != "active":
        yield obstacle(org, "ORG_NOT_ACTIVE", "it proposes the job, and is no active member")
    elif "user" not in record["roles"]:
        yield obstacle(org, "ORG_ROLE_MISSING", "only an organisation with the role user proposes jobs")
    if count["open"] >= OPEN_JOBS_MAX:
        yield obstacle(org, "TOO_MANY_JOBS_OF_ORG", f"{count['open']} jobs of it are open")
    if count["day"] == facts.now_ms // DAY_MS and count["today"] >= PROPOSALS_A_DAY_MAX:
        yield obstacle(org, "TOO_MANY_JOBS_TODAY", f"it proposed {count['today']} jobs today")


def _of_shape(spec: JobSpec) -> Iterator[Obstacle]:
    size, parameters = len(encode_value(dict(spec.raw))), len(encode_value(dict(spec.parameters)))
    columns, names = sum(len(one.columns) for one in spec.inputs), [one.org for one in spec.participants]
    late = [
        f"{name} {ms} ms"
        for name, ms in spec.raw["deadlines"].items()
        if not DEADLINE_MIN_MS <= ms <= DEADLINE_MAX_MS
    ]
    twice = sorted({one.grant for one in spec.inputs if [o.grant for o in spec.inputs].count(one.grant) > 1})
    again = sorted({one for one in spec.receivers if spec.receivers.count(one) > 1})
    judged = (
        (size <= SPEC_BYTES_MAX, "SPEC_TOO_LONG", f"{size} bytes, at most {SPEC_BYTES_MAX}"),
        (
            parameters <= PARAMETERS_BYTES_MAX,
            "BAD_PARAMETERS",
            f"parameters of {parameters} bytes, at most {PARAMETERS_BYTES_MAX}: shorten them",
        ),
        (
            1 <= spec.min_group <= MIN_GROUP_MAX,
            "BAD_MIN_GROUP",
            f"min_group {spec.min_group}, from 1 to {MIN_GROUP_MAX}",
        ),
        (columns <= COLUMNS_MAX, "TOO_MANY_COLUMNS", f"{columns} columns, at most {COLUMNS_MAX}"),
        (not twice, "BAD_INPUTS", f"{', '.join(twice)}: named twice; name each grant once"),
        (
            2 <= len(names) <= PARTICIPANTS_MAX and len(names) == len(set(names)),
            "BAD_PARTICIPANTS",
            f"{', '.join(names)}: 2 to {PARTICIPANTS_MAX} participants, each named once",
        ),
        (not again, "BAD_RECEIVERS", f"{', '.join(again)}: named twice; name each receiver once"),
        (not late, "BAD_DEADLINES", f"{', '.join(late)}; from {DEADLINE_MIN_MS} ms to {DEADLINE_MAX_MS} ms"),
    )
    yield from (obstacle("the job", code, text) for holds, code, text in judged if not holds)


def _of_program(spec: JobSpec, facts: ProposalFacts) -> Iterator[Obstacle]:
    name, record = spec.program, facts.program
    if record is None:
        yield obstacle(name, "UNKNOWN_PROGRAM", "the members agreed on no program of this name")
        return
    if record["status"] != "active":
        yield obstacle(name, "PROGRAM_NOT_ACTIVE", "the members retired it")
    # What follows of the page, agents and their own judgement say: uses, receivers and profiles too.
    if record["page"] != spec.page:
        yield obstacle(name, "PAGE_DIFFERS", "the members agreed on another page under this name")


def _of_parties(spec: JobSpec, facts: ProposalFacts) -> Iterator[Obstacle]:
    owners = [grant["owner"] for one in spec.inputs if (grant := facts.grants.get(one.grant)) is not None]
    for one in spec.participants:
        record = facts.orgs.get(one.org)
        if record is None or record["status"] != "active":
            yield obstacle(one.org, "ORG_NOT_ACTIVE", "it takes part, and is no active member")
            continue
        if not record["agent_key"]:
            text = "it has registered no agent; its operator does it with: assent org set-agent"
            yield obstacle(one.org, "NO_AGENT", text)
        elif record["agent_key"] != one.agent_key:
            yield obstacle(one.org, "AGENT_KEY_MISMATCH", "its agent has another key than the job names")
        fits = {
            "owner": one.org in owners,
            "compute": "compute" in record["roles"],
            "receiver": one.org in spec.receivers,
        }
        if not fits.get(one.role, False):
            text = f"it cannot take part as {one.role}: an organisation that computes has the role compute"
            yield obstacle(one.org, "PARTICIPANT_ROLE", text)
    names = {one.org for one in spec.participants}
    for owner in sorted({*owners} - names):
        yield obstacle(owner, "OWNER_NOT_PARTICIPANT", "it owns an input, and takes no part")
    yield from _of_profile(spec, facts.profiles.get(spec.profile), owners)


def _of_profile(spec: JobSpec, profile: Value, owners: Sequence[str]) -> Iterator[Obstacle]:
    if profile is None:
        return
    count, least, most = len(spec.participants), profile["parties_min"], profile["parties_max"]
    if not least <= count <= most:
        text = f"it runs among {least} to {most} participants, receivers included; the job has {count}"
        yield obstacle(spec.profile, "PROFILE_PARTIES", text)
    for owner in sorted(set(owners)):
        if owners.count(owner) > profile["datasets_max"]:
            text = f"{owners.count(owner)} datasets of {owner}, at most {profile['datasets_max']}"
            yield obstacle(spec.profile, "PROFILE_DATASETS", text)


def _of_grant(name: str, spec: JobSpec, facts: ProposalFacts) -> Iterator[Obstacle]:
    """What refuses the use of one grant; runs and sets of versions that are left count here."""
    one = next(item for item in spec.inputs if item.grant == name)
    grant, standing = facts.grants.get(name), facts.standing.get(name)
    for fault in grant_faults(one, spec, facts.initiator, grant, standing, facts.ranks, facts.now_ms):
        yield obstacle(name, fault.reason, str(fault).removeprefix(f"{fault.reason}: "))
    dataset = facts.datasets.get(one.dataset)
    if dataset is None or dataset["status"] != "active":
        status = "unknown" if dataset is None else dataset["status"]
        yield obstacle(one.dataset, "DATASET_NOT_ACTIVE", f"it is {status}")
    if grant is None or standing is None:
        return
    left = what_is_left(name, facts)
    if left.runs <= 0:
        yield obstacle(name, "QUOTA_EXHAUSTED", f"all {grant['quota_runs']} runs are used or held")
    if len(facts.open_jobs.get(name) or ()) >= OPEN_JOBS_OF_GRANT_MAX:
        yield obstacle(name, "TOO_MANY_JOBS", f"{OPEN_JOBS_OF_GRANT_MAX} jobs under it are open")
    if left.sets <= 0 and facts.joined and facts.joined not in (facts.partners.get(name) or ()):
        text = f"its version was joined with {grant['partner_versions']} other sets of versions, and no more"
        yield obstacle(name, "PARTNER_VERSIONS", text)


def following_obstacles(spec: JobSpec, facts: ProposalFacts, follows: Following) -> Iterator[Obstacle]:
    """Yield what grants refuse of what follows of the page."""
    for one in spec.inputs:
        for fault in following_faults(one, facts.grants.get(one.grant), follows):
            yield obstacle(one.grant, fault.reason, str(fault).removeprefix(f"{fault.reason}: "))


def _of_join(spec: JobSpec, facts: ProposalFacts) -> Iterator[Obstacle]:
    joined: list[tuple[str, Identifier]] = []
    for one in spec.inputs:
        names, key = sorted(c for c, use in one.columns.items() if use == "join"), facts.keys.get(one.dataset)
        if not names or key is None:
            continue
        if names != sorted(key):
            text = f"it is joined by its key, {', '.join(key)}; the job names {', '.join(names)} as join"
            yield obstacle(one.dataset, "JOIN_NOT_BY_KEY", text)
        joined.append((one.dataset, facts.identifiers[one.dataset]))
    for other in joined[1:]:
        difference = identifiers_differ(joined[0], other)
        if difference is not None:
            yield obstacle(other[0], "IDENTIFIERS_DIFFER", difference)
    if facts.join is None:
        return
    if facts.join["outcome"] == TOO_FEW:
        text = f"these versions joined fewer than {facts.join['min_group']} rows, or an owner's own minimum"
        yield obstacle("the join", "JOIN_TOO_SMALL", text)
    if spec.min_group > facts.join["min_group"]:
        asked = facts.join["min_group"]
        text = f"the job asks for {spec.min_group} joined rows; these versions were asked for {asked}"
        yield obstacle("the join", "JOIN_NOT_JUDGED", text)


# --- what is left of a grant ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GrantLeft:
    """What is left of a grant; each may be 0 or less."""

    runs: int
    sets: int
    """Sets of dataset versions with which its version may still be joined for the first time."""
    answers_today: int
    answers: int
    """Refusals about data that cost no run, on this day (UTC) and ever."""


def what_is_left(name: str, facts: ProposalFacts) -> GrantLeft:
    """Return what is left of a grant whose rows the state has."""
    grant, standing = facts.grants[name], facts.standing[name]
    row = facts.returns.get(name) or {"day": 0, "today": 0, "ever": 0}
    today = row["today"] if row["day"] == facts.now_ms // DAY_MS else 0
    ever = FREE_RETURNS_MAX - row["ever"]
    return GrantLeft(
        runs=grant["quota_runs"] - standing["used"] - standing["reserved"],
        sets=grant["partner_versions"] - len(facts.partners.get(name) or ()),
        answers_today=max(0, min(FREE_RETURNS_A_DAY_MAX - today, ever)),
        answers=max(0, ever),
    )


def join_said(spec: JobSpec, join: Value) -> str:
    """Say what is known of how many rows the versions of a job join."""
    if join is None:
        return (
            "no job has joined these versions yet: the first that does asks, once for all, whether they join "
            f"{spec.min_group} rows"
        )
    asked = join["min_group"]
    if join["outcome"] == SUFFICES:
        return f"these versions join enough rows: they were asked for {asked}, and no job may ask for more"
    if join["outcome"] == TOO_FEW:
        return f"these versions join too few rows: they were asked for {asked}, and are not joined again"
    return f"a job asked whether these versions join {asked} rows, and not every owner has answered"
