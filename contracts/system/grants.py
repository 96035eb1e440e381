"""Authorisations to use columns of a dataset: requested, approved m-of-n, narrowed, suspended, revoked.

`guard` decides whether a job may use a grant; `jobs` asks it for every input at every phase. A grant's record
changes only with its terms: its standing, votes and open jobs are in rows of their own, so that no decision and no
step of a job writes more for a long grant than for a short one. An id is "requester/name".
"""

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
NAME_MAX = 63
TEXT_MAX = 256
LIST_MAX = 32
COLUMNS_MAX = 256
# All names of a grant's columns together: whatever names them, an event or a narrowing, fits in one transaction.
NAMES_BYTES_MAX = 16384
RUNS_MAX = 1000000
MIN_GROUP_MAX = 1000000000
# Epsilon is counted in 10^-9.
RUN_EPSILON_MAX = 1000 * 10**9
TERM_MAX_MS = 315576000000
DECIDE_MS = 2592000000
DAY_MS = 86400000
# What one requester may have open, in all and on one dataset, and how often it may ask in a day.
REQUESTS_MAX = 256
REQUESTS_OF_DATASET_MAX = 16
REQUESTS_A_DAY_MAX = 500
REQUESTS_OF_DATASET_A_DAY_MAX = 32
# Narrowings, resumptions and votes taken back, in a day: others' histories are told of these.
CHANGES_A_DAY_MAX = 500
# What a suspension has to walk: active grants of a dataset, open jobs of a grant.
GRANTS_MAX = 256
OPEN_JOBS_MAX = 64
# Runs that a grant takes back of jobs for which its owner answered about its data: in a day (UTC), and ever.
FREE_RETURNS_A_DAY_MAX = 3
FREE_RETURNS_MAX = 12
# Sets of dataset versions with which a grant's version is joined, unless its terms say fewer.
PARTNER_VERSIONS_MAX = 3
# Subjects that one event can name beside those that it always names; jobs that one change of a dataset names.
NAMED_MAX = 11
CONCERNED_MAX = 14
CONCERNED_JOBS_MAX = 256

USES = {
    "plain": ("plain", "join", "aggregate", "noisy", "compare", "encrypted"),
    "join-only": ("join",),
    "exact-aggregate": ("aggregate", "noisy", "compare", "encrypted"),
    "aggregate-only": ("noisy", "compare", "encrypted"),
    "compare-only": ("compare", "encrypted"),
    "encrypted-only": ("encrypted",),
}
STRICTER = {
    "plain": ("plain", "join-only", "exact-aggregate", "aggregate-only", "compare-only", "encrypted-only"),
    "join-only": ("join-only",),
    "exact-aggregate": ("exact-aggregate", "aggregate-only", "compare-only", "encrypted-only"),
    "aggregate-only": ("aggregate-only", "compare-only", "encrypted-only"),
    "compare-only": ("compare-only", "encrypted-only"),
    "encrypted-only": ("encrypted-only",),
}
TERMS = (
    "columns",
    "programs",
    "receivers",
    "co_parties",
    "membership",
    "profile",
    "not_before",
    "expires",
    "quota_runs",
    "min_group",
    "run_epsilon",
    "partner_versions",
    "policy",
)

grants = Map(str, dict)  # grant -> what was requested and agreed
profiles = Map(str, dict)
ballots = Map(str, dict)  # grant -> {approvals: {org: hash of terms}, rejections: [org]}, while requested
offers = Map(tuple[str, bytes], dict)  # (grant, hash of terms) -> terms that somebody approved
standing = Map(str, dict)  # grant -> {status, …, used, reserved, revealed}; none while it is requested
open_jobs = Map(str, list)  # grant -> its open jobs, from their proposal on
live = Map(tuple[str, str], str)  # (grant, open job) -> reserved, used or revealed; none while proposed
returns = Map(str, dict)  # grant -> {day, today, ever: runs that it took back after an answer about the data}
partners = Map(str, list)  # grant -> hashes of the sets of dataset versions with which its version was joined
active_grants = Map(str, list)  # dataset -> its active and suspended grants
asked = Map(str, dict)  # requester -> {dataset: its open requests}
asked_today = Map(tuple[str, str], dict)  # (requester, dataset) -> {day, count}
daily = Map(str, dict)  # org -> {day, act: how often on that day}; the next day's first act overwrites it

orgs = Contract("orgs")
datasets = Contract("datasets")
lifecycle = Contract("lifecycle")

GrantRequested = Event(
    grant=subject,
    dataset=subject,
    owner=subject,
    grantee=subject,
    by=subject,
    version=int,
    columns=dict,
    purpose=str,
    legal_basis=str,
    asked_because=str,
    programs=list,
    receivers=list,
    co_parties=list,
    membership=list,
    profile=str,
    not_before=int,
    expires=int,
    runs=int,
    min_group=int,
    run_epsilon=int,
    policy=str,
)
GrantApproved = Event(
    grant=subject,
    dataset=subject,
    owner=subject,
    grantee=subject,
    by=subject,
    approvals=list,
    threshold=int,
    terms=dict,
)
GrantActivated = Event(
    grant=subject,
    dataset=subject,
    owner=subject,
    grantee=subject,
    by=subject,
    approvals=list,
    terms=dict,
    expires=int,
    runs=int,
)
GrantRejectVoted = Event(
    grant=subject,
    dataset=subject,
    owner=subject,
    grantee=subject,
    by=subject,
    reason=str,
    rejections=list,
)
GrantVoteRetracted = Event(
    grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject, vote=str
)
GrantRejected = Event(grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject, reason=str)
GrantWithdrawn = Event(grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject)
GrantNarrowed = Event(
    grant=subject,
    dataset=subject,
    owner=subject,
    grantee=subject,
    by=subject,
    terms=dict,
    jobs=list[subject],
)
GrantSuspended = Event(
    grant=subject,
    dataset=subject,
    owner=subject,
    grantee=subject,
    by=subject,
    reason=str,
    jobs=list[subject],
)
GrantResumed = Event(
    grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject, jobs=list[subject]
)
GrantRevoked = Event(
    grant=subject,
    dataset=subject,
    owner=subject,
    grantee=subject,
    by=subject,
    reason=str,
    stopped=list[subject],
    too_late=list[subject],
    revealed=int,
)
GrantExpired = Event(
    grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject, jobs=list[subject]
)
GrantExhausted = Event(grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject)
GrantUsed = Event(
    grant=subject,
    dataset=subject,
    job=subject,
    owner=subject,
    by=subject,
    phase=str,
    used=int,
    reserved=int,
    runs=int,
    note=str,
)
# A change told in the histories of grants and open jobs that its own event could not name.
UsesConcerned = Event(by=subject, about=str, cause=str, reason=str, concerned=list[subject], unnamed=int)


@init
def setup(profiles: list):
    for entry in profiles:
        add_profile(entry)


def add_profile(entry: dict):
    check_id(entry["name"])
    require(entry["rank"] >= 0 and 2 <= entry["parties_min"] <= entry["parties_max"], "BAD_PROFILE")
    require(entry["datasets_max"] >= 1, "BAD_PROFILE")
    check_text(entry["adversary"])
    profiles[entry["name"]] = entry


# --- requests ---------------------------------------------------------------------------------------------


@export
def request(
    id: str,
    dataset: str,
    version: int,
    columns: dict[str, str],
    purpose: str,
    legal_basis: str,
    asked_because: str,
    programs: list[str],
    receivers: list[str],
    co_parties: list[str],
    membership: list[str],
    profile: str,
    not_before: int,
    expires: int,
    quota_runs: int,
    min_group: int,
    run_epsilon: int,
    policy: str,
):
    org = steward()
    check_own_id(id, org)
    check_id(purpose)
    check_text(legal_basis)
    check_text(asked_because)
    require(orgs.has_role(org, "user"), "ORG_ROLE_MISSING")
    require(id not in grants, "GRANT_EXISTS")
    check_columns(columns)
    source = datasets.offer_of(dataset, version, list(columns))
    check_programs(programs)
    require(len(receivers) > 0, "BAD_RECEIVERS")
    members = orgs.active_members()
    check_orgs(receivers, members)
    check_orgs(co_parties, members)
    check_orgs(membership, members)
    require(profile in profiles, "UNKNOWN_PROFILE")
    check_term(not_before, expires)
    check_amounts(quota_runs, min_group, run_epsilon)
    check_policy(policy)
    g = {
        "id": id,
        "dataset": dataset,
        "version": version,
        "root": source["root"],
        "owner": source["owner"],
        "grantee": org,
        "columns": columns,
        "purpose": purpose,
        "legal_basis": legal_basis,
        "asked_because": asked_because,
        "programs": programs,
        "receivers": receivers,
        "co_parties": co_parties,
        "membership": membership,
        "profile": profile,
        "not_before": not_before,
        "expires": expires,
        "quota_runs": quota_runs,
        "min_group": min_group,
        "run_epsilon": run_epsilon,
        "partner_versions": PARTNER_VERSIONS_MAX,
        "policy": policy,
        "requested_at": ctx.block_time,
        "decide_by": min(ctx.block_time + DECIDE_MS, expires),
    }
    require(len(eligible(g, source, members)) >= source["threshold"], "THRESHOLD_OUT_OF_REACH")
    count_request(org, dataset)
    grants[id] = g
    GrantRequested(
        grant="grant:" + id,
        dataset="dataset:" + dataset,
        owner="org:" + source["owner"],
        grantee="org:" + org,
        by="org:" + org,
        version=version,
        columns=columns,
        purpose=purpose,
        legal_basis=legal_basis,
        asked_because=asked_because,
        programs=programs,
        receivers=receivers,
        co_parties=co_parties,
        membership=membership,
        profile=profile,
        not_before=not_before,
        expires=expires,
        runs=quota_runs,
        min_group=min_group,
        run_epsilon=run_epsilon,
        policy=policy,
    )


def count_request(org: str, dataset: str):
    open_requests = asked.get(org, {})
    require(sum(open_requests.values()) < REQUESTS_MAX, "TOO_MANY_REQUESTS")
    of_dataset = open_requests.get(dataset, 0)
    require(of_dataset < REQUESTS_OF_DATASET_MAX, "TOO_MANY_REQUESTS_OF_DATASET")
    today = ctx.block_time // DAY_MS
    row = asked_today.get((org, dataset), {"day": today, "count": 0})
    count = row["count"] if row["day"] == today else 0
    require(count < REQUESTS_OF_DATASET_A_DAY_MAX, "TOO_MANY_REQUESTS_OF_DATASET_TODAY")
    require(count_today(org, "requests") <= REQUESTS_A_DAY_MAX, "TOO_MANY_REQUESTS_TODAY")
    asked_today[org, dataset] = {"day": today, "count": count + 1}
    open_requests[dataset] = of_dataset + 1
    asked[org] = open_requests


def count_change(org: str):
    """Ending something is never counted, so what is suspended or voted again and again is bounded by these."""
    require(count_today(org, "changes") <= CHANGES_A_DAY_MAX, "TOO_MANY_CHANGES_TODAY")


def count_today(org: str, act: str) -> int:
    """Count an act that stays for ever at nobody's vote; returns how many an organisation did today."""
    day = ctx.block_time // DAY_MS
    row = daily.get(org, {"day": day})
    if row["day"] != day:
        row = {"day": day}
    row[act] = row.get(act, 0) + 1
    daily[org] = row
    return row[act]


def forget_request(g: dict, ballot: dict):
    """A request that is decided gives its place back, and its votes, those in `ballots`, lapse with it."""
    open_requests = asked[g["grantee"]]
    left = open_requests.pop(g["dataset"]) - 1
    if left > 0:
        open_requests[g["dataset"]] = left
    asked[g["grantee"]] = open_requests
    if has_votes(ballot):
        del ballots[g["id"]]
        for offer in distinct_values(ballot["approvals"]):
            del offers[g["id"], offer]


# --- votes: each is for exact terms, those requested or narrower ones ---------------------------------------


@export
def approve(id: str, terms: dict) -> str:
    """Approve a request on exactly these terms; at the dataset's threshold for them the grant becomes active."""
    org = steward()
    g = requested(id)
    source = datasets.approvers_of(g["dataset"])
    require(source["status"] != "retired", "DATASET_NOT_ACTIVE")
    require(org in source["approvers"], "NOT_APPROVER")
    members = orgs.active_members()
    counting = eligible(g, source, members)
    require(org in counting, "OWN_REQUEST")
    ballot = ballot_of(id)
    require(org not in ballot["approvals"] and org not in ballot["rejections"], "ALREADY_VOTED")
    offered: dict = {}
    if len(terms) > 0:
        offered = normal_terms(g, terms)
        apply_terms(g, offered)
        require(ctx.block_time < g["expires"], "BAD_TERM")
    offer = sha256(encode(offered))
    valid = backers(ballot, offer, counting) + [org]
    GrantApproved(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + org,
        approvals=valid,
        threshold=source["threshold"],
        terms=offered,
    )
    if len(valid) >= source["threshold"]:
        activate(g, ballot, offered, valid, members)
        return "active"
    if offer not in distinct_values(ballot["approvals"]):
        offers[id, offer] = offered
    ballot["approvals"][org] = offer
    ballots[id] = ballot
    return "requested"


@export
def reject(id: str, reason: str) -> str:
    """Vote against a request: final at the owner's word, or when the threshold is out of reach."""
    org = steward()
    check_text(reason)
    g = requested(id)
    source = datasets.approvers_of(g["dataset"])
    require(org in source["approvers"] or org == g["owner"], "NOT_APPROVER")
    ballot = ballot_of(id)
    require(org not in ballot["approvals"] and org not in ballot["rejections"], "ALREADY_VOTED")
    against = ballot["rejections"] + [org]
    GrantRejectVoted(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + org,
        reason=reason,
        rejections=against,
    )
    if org == g["owner"] or out_of_reach(g, source, against):
        turn_down(g, ballot, reason)
        return "rejected"
    ballot["rejections"] = against
    ballots[id] = ballot
    return "requested"


@export
def retract(id: str) -> str:
    """Take one's vote back while the request is open; one may vote again. Returns what the vote was."""
    org = steward()
    g = requested(id)
    ballot = ballot_of(id)
    vote = "approval"
    if org in ballot["approvals"]:
        offer = ballot["approvals"].pop(org)
        if offer not in distinct_values(ballot["approvals"]):
            del offers[id, offer]
    else:
        require(org in ballot["rejections"], "NOT_VOTED")
        ballot["rejections"].remove(org)
        vote = "rejection"
    count_change(org)
    if has_votes(ballot):
        ballots[id] = ballot
    else:
        del ballots[id]
    GrantVoteRetracted(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + org,
        vote=vote,
    )
    return vote


@export
def settle(id: str) -> str:
    """Decide a request whose votes suffice, or never can, since approvers or members changed; anyone may."""
    g = requested(id)
    source = datasets.approvers_of(g["dataset"])
    ballot = ballot_of(id)
    if out_of_reach(g, source, ballot["rejections"]):
        turn_down(g, ballot, "the threshold is out of reach")
        return "rejected"
    members = orgs.active_members()
    counting = eligible(g, source, members)
    for offer in distinct_values(ballot["approvals"]):
        valid = backers(ballot, offer, counting)
        terms = offers[id, offer]
        in_time = ctx.block_time < terms.get("expires", g["expires"])
        if len(valid) >= source["threshold"] and in_time and can_answer(terms.get("policy", "")):
            apply_terms(g, terms)
            activate(g, ballot, terms, valid, members)
            return "active"
    require(False, "NOT_DECIDED")


@export
def withdraw(id: str):
    org = steward()
    g = requested(id)
    require(g["grantee"] == org, "NOT_REQUESTER")
    forget_request(g, ballot_of(id))
    end(g, standing_of(id), "withdrawn", "")
    GrantWithdrawn(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + org,
    )


def eligible(g: dict, source: dict, members: list) -> list:
    """The approvers whose word counts now: active members, and nobody on a request of its own.

    A sole approver may use its own data.
    """
    sole = g["owner"] == g["grantee"] and source["approvers"] == [g["owner"]]
    return [org for org in source["approvers"] if org in members and (sole or org != g["grantee"])]


def can_answer(policy: str) -> bool:
    """Tell whether an offer may become a grant: one that names a policy that cannot answer waits, and hides none."""
    return policy == "" or lifecycle.policy_fault(policy) == ""


def out_of_reach(g: dict, source: dict, against: list) -> bool:
    """Tell whether the request can never succeed; a suspended member may come back, an expelled one cannot."""
    if source["status"] == "retired" or is_gone(g["grantee"]):
        return True
    sole = g["owner"] == g["grantee"] and source["approvers"] == [g["owner"]]
    left = 0
    for org in source["approvers"]:
        if org not in against and (sole or org != g["grantee"]) and not is_gone(org):
            left += 1
    return left < source["threshold"]


def is_gone(org: str) -> bool:
    return orgs.org_of(org)["status"] == "expelled"


def backers(ballot: dict, offer: bytes, counting: list) -> list:
    approvals = ballot["approvals"]
    return [org for org in approvals if approvals[org] == offer and org in counting]


def activate(g: dict, ballot: dict, terms: dict, valid: list, members: list):
    """Put a grant in force whose terms are already those agreed on; `ballot` is the one that is stored."""
    require(g["grantee"] in members, "ORG_NOT_ACTIVE")
    listed = active_grants.get(g["dataset"], [])
    require(len(listed) < GRANTS_MAX, "TOO_MANY_GRANTS")
    forget_request(g, ballot)
    if len(terms) > 0:
        grants[g["id"]] = g
    standing[g["id"]] = {
        "status": "active",
        "approvals": valid,
        "active_since": ctx.block_time,
        "ended_at": 0,
        "reason": "",
        "used": 0,
        "reserved": 0,
        "revealed": 0,
    }
    active_grants[g["dataset"]] = listed + [g["id"]]
    GrantActivated(
        grant="grant:" + g["id"],
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + ctx.org,
        approvals=valid,
        terms=terms,
        expires=g["expires"],
        runs=g["quota_runs"],
    )


def turn_down(g: dict, ballot: dict, reason: str):
    forget_request(g, ballot)
    end(g, standing_of(g["id"]), "rejected", reason)
    GrantRejected(
        grant="grant:" + g["id"],
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + ctx.org,
        reason=reason,
    )


def ballot_of(id: str) -> dict:
    return ballots.get(id, {"approvals": {}, "rejections": []})


def has_votes(ballot: dict) -> bool:
    """Tell whether a ballot stands in the state: one without votes does not."""
    return len(ballot["approvals"]) > 0 or len(ballot["rejections"]) > 0


# --- the owner's hand on an active grant ----------------------------------------------------------


@export
def narrow(id: str, terms: dict):
    """Tighten an active or suspended grant; widening is a new grant."""
    g = owned(id)
    s = in_force(id)
    before = g["quota_runs"]
    apply_terms(g, terms)
    require(ctx.block_time < g["expires"], "BAD_TERM")
    require(g["quota_runs"] >= s["used"] + s["reserved"], "QUOTA_IN_USE")
    count_change(g["owner"])
    grants[id] = g
    named = open_jobs.get(id, [])
    GrantNarrowed(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + g["owner"],
        terms=terms,
        jobs=job_subjects(named[:NAMED_MAX]),
    )
    concern("grant:" + id, "GrantNarrowed", "", "job:", named[NAMED_MAX:], 0, "org:" + g["owner"])
    if s["used"] == g["quota_runs"] < before:
        tell_exhausted(g, "org:" + g["owner"])


@export
def suspend(id: str, reason: str):
    check_text(reason)
    g = owned(id)
    s = standing_of(id)
    require(s["status"] == "active", "WRONG_STATE")
    s["status"] = "suspended"
    s["reason"] = reason
    standing[id] = s
    named = open_jobs.get(id, [])
    GrantSuspended(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + g["owner"],
        reason=reason,
        jobs=job_subjects(named[:NAMED_MAX]),
    )
    concern("grant:" + id, "GrantSuspended", reason, "job:", named[NAMED_MAX:], 0, "org:" + g["owner"])


@export
def resume(id: str):
    g = owned(id)
    s = standing_of(id)
    require(s["status"] == "suspended", "WRONG_STATE")
    count_change(g["owner"])
    s["status"] = "active"
    s["reason"] = ""
    standing[id] = s
    named = open_jobs.get(id, [])
    GrantResumed(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + g["owner"],
        jobs=job_subjects(named[:NAMED_MAX]),
    )
    concern("grant:" + id, "GrantResumed", "", "job:", named[NAMED_MAX:], 0, "org:" + g["owner"])


@export
def revoke(id: str, reason: str):
    """End a grant for good. Jobs not yet revealed stop; for revealed ones it is recorded as too late."""
    check_text(reason)
    g = owned(id)
    s = in_force(id)
    end(g, s, "revoked", reason)
    listed = open_jobs.get(id, [])
    late = [job for job in listed if live.get((id, job), "") == "revealed"]
    stopped = [job for job in listed if job not in late]
    room = max(0, NAMED_MAX - len(stopped))
    by = "org:" + g["owner"]
    GrantRevoked(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by=by,
        reason=reason,
        stopped=job_subjects(stopped[:NAMED_MAX]),
        too_late=job_subjects(late[:room]),
        revealed=s["revealed"],
    )
    if len(listed) > NAMED_MAX:
        concern("grant:" + id, "GrantRevoked: stopped", reason, "job:", stopped[NAMED_MAX:], 0, by)
        concern("grant:" + id, "GrantRevoked: too late", reason, "job:", late[room:], 0, by)


@export
def expire(id: str):
    """Record that time ran out; the guard refuses an expired grant whether or not this was called."""
    org = ctx.org
    g = record_of(id)
    waiting = id not in standing
    s = standing_of(id) if waiting else in_force(id)
    require(ctx.block_time >= (g["decide_by"] if waiting else g["expires"]), "TOO_EARLY")
    if waiting:
        forget_request(g, ballot_of(id))
    end(g, s, "expired", "")
    named = open_jobs.get(id, [])
    GrantExpired(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + org,
        jobs=job_subjects(named[:NAMED_MAX]),
    )
    concern("grant:" + id, "GrantExpired", "", "job:", named[NAMED_MAX:], 0, "org:" + org)


# --- what a change concerns -------------------------------------------------------------------------------


@export(nested=True)
def dataset_changed(dataset: str, cause: str, reason: str, by: str):
    """Tell the active grants of a dataset, and their open jobs, that the dataset changed."""
    require(ctx.caller == "contract:datasets", "DATASETS_ONLY")
    listed = active_grants.get(dataset, [])
    jobs: list = []
    unnamed = 0
    for grant in listed:
        for job in open_jobs.get(grant, []):
            if len(jobs) < CONCERNED_JOBS_MAX:
                jobs.append(job)
            else:
                unnamed += 1
    concern("dataset:" + dataset, cause, reason, "grant:", listed, 0, by)
    concern("dataset:" + dataset, cause, reason, "job:", jobs, unnamed, by)


def concern(about: str, cause: str, reason: str, kind: str, ids: list, unnamed: int, by: str):
    """Name grants or jobs, in as many events as they need; `unnamed` says how many found no room."""
    for start in range(0, len(ids), CONCERNED_MAX):
        UsesConcerned(
            by=by,
            about=about,
            cause=cause,
            reason=reason,
            concerned=[kind + id for id in ids[start : start + CONCERNED_MAX]],
            unnamed=unnamed,
        )


def job_subjects(jobs: list) -> list:
    return ["job:" + job for job in jobs]


# --- the guard, and what jobs does with it --------------------------------------------------------


@view
def covers(id: str, use: dict, phase: str) -> str:
    """Ask the guard without changing anything: returns the owner, or reverts with the refusal."""
    g = record_of(id)
    held = live.get((id, use["job"]), "")
    listed = open_jobs.get(id, []) if phase == "proposed" else []
    guard(g, standing_of(id), use, phase, held, listed, [])
    return g["owner"]


# `jobs` says what a job is in `use`, once for all inputs; each of `use["inputs"]` in turn completes it to what
# `covers` is asked about one grant. `fit` remembers, within one call, the policies that can answer.


@export(nested=True)
def admit(use: dict, joined: bytes, by: str) -> dict:
    """Guard a proposal and list the job as open; returns {owners, roots} of its inputs' grants.

    `joined` names the dataset versions that it joins, b"" for none.
    """
    jobs_only()
    owners = []
    roots = []
    fit: list = []
    for item in use["inputs"]:
        use.update(item)
        id = item["grant"]
        g = record_of(id)
        listed = open_jobs.get(id, [])
        s = standing_of(id)
        guard(g, s, use, "proposed", "", listed, fit)
        guard_partners(g, joined)
        open_jobs[id] = listed + [use["job"]]
        tell(g, s, use["job"], "proposed", "", by)
        owners.append(g["owner"])
        roots.append(g["root"])
    guard_profile(profile_of(use["profile"]), use["participants"], owners)
    return {"owners": owners, "roots": roots}


@export(nested=True)
def reserve(use: dict, org: str):
    """Guard the acceptance, and reserve a run under each grant whose owner accepts."""
    jobs_only()
    job = use["job"]
    fit: list = []
    for item in use["inputs"]:
        use.update(item)
        id = item["grant"]
        g = record_of(id)
        held = live.get((id, job), "")
        s = standing_of(id)
        guard(g, s, use, "accepted", held, [], fit)
        if g["owner"] == org:
            require(held == "", "WRONG_STATE")
            live[id, job] = "reserved"
            s["reserved"] += 1
            standing[id] = s
            tell(g, s, job, "reserved", "run reserved", "org:" + org)


@export(nested=True)
def begin(use: dict, by: str):
    """Guard the start; the runs stay reserved until data move."""
    jobs_only()
    job = use["job"]
    fit: list = []
    for item in use["inputs"]:
        use.update(item)
        id = item["grant"]
        g = record_of(id)
        held = live.get((id, job), "")
        s = standing_of(id)
        guard(g, s, use, "running", held, [], fit)
        require(held == "reserved", "WRONG_STATE")
        tell(g, s, job, "running", "", by)


@export(nested=True)
def consume(ids: list, job: str, joined: bytes, by: str):
    """Use the reserved runs up, before a byte of data moves: all of these grants are still in force."""
    jobs_only()
    for id in ids:
        g = record_of(id)
        s = standing_of(id)
        guard_status(g, s["status"])
        require(live.get((id, job), "") == "reserved", "WRONG_STATE")
        guard_partners(g, joined)
        known = partners.get(id, [])
        if joined != b"" and joined not in known:
            partners[id] = known + [joined]
        live[id, job] = "used"
        s["reserved"] -= 1
        spend(g, s, by)
        tell(g, s, job, "joining", "run used", by)


def spend(g: dict, s: dict, by: str):
    s["used"] += 1
    standing[g["id"]] = s
    if s["used"] == g["quota_runs"]:
        tell_exhausted(g, by)


@export(nested=True)
def reveal(use: dict, ids: list, final: bool, by: str):
    """Guard the reveal under these of the job's grants; `final` marks when a revocation comes too late."""
    jobs_only()
    job = use["job"]
    fit: list = []
    for item in use["inputs"]:
        id = item["grant"]
        if id in ids:
            use.update(item)
            g = record_of(id)
            held = live.get((id, job), "")
            s = standing_of(id)
            guard(g, s, use, "reveal", held, [], fit)
            require(held == "used", "WRONG_STATE")
            if final:
                live[id, job] = "revealed"
                s["revealed"] += 1
                standing[id] = s
            tell(g, s, job, "revealed" if final else "reveal-approved", "", by)


@export(nested=True)
def record(ids: list, job: str, phase: str, by: str):
    jobs_only()
    for id in ids:
        tell(record_of(id), standing_of(id), job, phase, "", by)


@export(nested=True)
def finish(ids: list, job: str, outcome: str, answered: list, by: str) -> list:
    """Close a job under these grants; a run that it never used returns. Returns the grants that took one back.

    Of jobs for which its owner has `answered` about its data, by binding or refusing to, a grant takes back three
    runs a day and twelve ever, and the others are spent.
    """
    jobs_only()
    returned = []
    for id in ids:
        held = live.get((id, job), "")
        g = record_of(id)
        s = standing_of(id)
        note = ""
        if held == "reserved":
            s["reserved"] -= 1
            if g["owner"] in answered and not takes_back(id):
                spend(g, s, by)
                note = "run spent"
            else:
                standing[id] = s
                returned.append(id)
                note = "run returned"
        elif held != "":
            note = "run spent"
        if held != "":
            del live[id, job]
        open_jobs[id] = [other for other in open_jobs[id] if other != job]
        tell(g, s, job, outcome, note, by)
    return returned


@export(nested=True)
def give_back(ids: list, job: str, by: str) -> list:
    """Take back the runs that an ended job had used, where the day allows it; returns the grants that did."""
    jobs_only()
    returned = []
    for id in ids:
        if takes_back(id):
            s = standing_of(id)
            s["used"] -= 1
            standing[id] = s
            returned.append(id)
            tell(record_of(id), s, job, "returned", "run returned", by)
    return returned


def takes_back(id: str) -> bool:
    """Count one more run that returns today; False when as many have returned, today or ever, as may."""
    day = ctx.block_time // DAY_MS
    row = returns.get(id, {"day": day, "today": 0, "ever": 0})
    today = row["today"] if row["day"] == day else 0
    if today >= FREE_RETURNS_A_DAY_MAX or row["ever"] >= FREE_RETURNS_MAX:
        return False
    returns[id] = {"day": day, "today": today + 1, "ever": row["ever"] + 1}
    return True


def guard_partners(g: dict, joined: bytes):
    """Refuse one set of dataset versions more than the grant's version may be joined with."""
    known = partners.get(g["id"], [])
    require(joined == b"" or joined in known or len(known) < g["partner_versions"], "PARTNER_VERSIONS")


def guard(g: dict, s: dict, use: dict, phase: str, held: str, listed: list, fit: list):
    """Revert unless the grant allows this use now.

    `s` is its standing, `held` what the job has of it, `listed` its open jobs when one is proposed.
    """
    require(use["initiator"] == g["grantee"], "NOT_GRANTEE")
    guard_status(g, s["status"])
    require(use["dataset"] == g["dataset"], "DATASET_NOT_GRANTED")
    require(use["version"] == g["version"], "VERSION_NOT_GRANTED")
    require(use["purpose"] == g["purpose"], "PURPOSE_MISMATCH")
    fault = terms_fault(g, s, use, held)
    if fault != "":
        guard_terms(fault)
    require(len(listed) < OPEN_JOBS_MAX, "TOO_MANY_JOBS")
    policy = g["policy"]
    if policy != "":
        if policy not in fit:
            check_policy(policy)
            fit.append(policy)
        require(yes(Contract(policy).allow(job=use, phase=phase)), "POLICY_DENIED")


def guard_profile(profile: dict, participants: list, owners: list):
    """Refuse what no agent can run: how many take part, and how many datasets an owner brings."""
    fits = profile["parties_min"] <= len(participants) <= profile["parties_max"]
    require(fits, "PROFILE_PARTIES")
    for owner in owners:
        require(owners.count(owner) <= profile["datasets_max"], "PROFILE_DATASETS")


def terms_fault(g: dict, s: dict, use: dict, held: str) -> str:
    """Say which term of a grant refuses this use; "" when none does. Owners narrow terms while jobs are open."""
    if use["program"] not in g["programs"]:
        return "PROGRAM_NOT_GRANTED"
    for name in use["columns"]:
        if name not in g["columns"]:
            return "COLUMN_NOT_GRANTED"
        if use["columns"][name] not in USES[g["columns"][name]]:
            return "CONSTRAINT_VIOLATED"
    if use["profile"] != g["profile"] and rank(use["profile"]) < rank(g["profile"]):
        return "PROFILE_TOO_WEAK"
    if use["min_group"] < g["min_group"]:
        return "MIN_GROUP_TOO_LOW"
    for org in use["participants"]:
        if org not in g["co_parties"] and org != g["owner"] and org != g["grantee"]:
            return "CO_PARTY_NOT_GRANTED"
    for org in use["receivers"]:
        if org not in g["receivers"]:
            return "RECEIVER_NOT_GRANTED"
    for org in use["membership"][use["name"]]:
        if org not in g["membership"] and org != g["owner"]:
            return "MEMBERSHIP_NOT_GRANTED"
    if use["epsilon"][use["name"]] > g["run_epsilon"]:
        return "EPSILON_NOT_GRANTED"
    if held == "" and s["used"] + s["reserved"] >= g["quota_runs"]:
        return "QUOTA_EXHAUSTED"
    return ""


def guard_terms(fault: str):
    require(fault != "PROGRAM_NOT_GRANTED", "PROGRAM_NOT_GRANTED")
    require(fault != "COLUMN_NOT_GRANTED", "COLUMN_NOT_GRANTED")
    require(fault != "CONSTRAINT_VIOLATED", "CONSTRAINT_VIOLATED")
    require(fault != "PROFILE_TOO_WEAK", "PROFILE_TOO_WEAK")
    require(fault != "MIN_GROUP_TOO_LOW", "MIN_GROUP_TOO_LOW")
    require(fault != "CO_PARTY_NOT_GRANTED", "CO_PARTY_NOT_GRANTED")
    require(fault != "RECEIVER_NOT_GRANTED", "RECEIVER_NOT_GRANTED")
    require(fault != "MEMBERSHIP_NOT_GRANTED", "MEMBERSHIP_NOT_GRANTED")
    require(fault != "EPSILON_NOT_GRANTED", "EPSILON_NOT_GRANTED")
    require(fault != "QUOTA_EXHAUSTED", "QUOTA_EXHAUSTED")


def yes(answer: bool) -> bool:
    # The typed parameter refuses an answer that is not a bool (1 == True).
    return answer


def guard_status(g: dict, status: str):
    if status != "active":
        require(status != "revoked", "GRANT_REVOKED")
        require(status != "suspended", "GRANT_SUSPENDED")
        require(status != "expired", "GRANT_EXPIRED")
        require(False, "GRANT_NOT_ACTIVE")
    require(ctx.block_time < g["expires"], "GRANT_EXPIRED")
    require(ctx.block_time >= g["not_before"], "GRANT_NOT_YET_VALID")
    require(datasets.usable(g["dataset"]), "DATASET_NOT_ACTIVE")


def tell(g: dict, s: dict, job: str, phase: str, note: str, by: str):
    GrantUsed(
        grant="grant:" + g["id"],
        dataset="dataset:" + g["dataset"],
        job="job:" + job,
        owner="org:" + g["owner"],
        by=by,
        phase=phase,
        used=s["used"],
        reserved=s["reserved"],
        runs=g["quota_runs"],
        note=note,
    )


def tell_exhausted(g: dict, by: str):
    GrantExhausted(
        grant="grant:" + g["id"],
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by=by,
    )


# --- views ----------------------------------------------------------------------------------------


@view
def grant_of(id: str) -> dict:
    """What was requested and agreed, with its standing."""
    g = record_of(id)
    s = standing_of(id)
    g.update({name: s[name] for name in ("status", "approvals", "active_since", "ended_at", "reason")})
    return g


@view
def runs_of(id: str) -> dict:
    """{used, reserved, revealed}."""
    record_of(id)
    s = standing_of(id)
    return {name: s[name] for name in ("used", "reserved", "revealed")}


def record_of(id: str) -> dict:
    g = grants.get(id)
    require(g is not None, "UNKNOWN_GRANT")
    return g


def standing_of(id: str) -> dict:
    s = standing.get(id)
    if s is not None:
        return s
    return {
        "status": "requested",
        "approvals": [],
        "active_since": 0,
        "ended_at": 0,
        "reason": "",
        "used": 0,
        "reserved": 0,
        "revealed": 0,
    }


@view
def open_jobs_of(id: str) -> list:
    """The jobs under this grant that have not ended, in the order in which they were proposed."""
    record_of(id)
    return open_jobs.get(id, [])


@view
def ballot_for(id: str) -> list:
    """The votes on a request: [{org, vote: "approval"|"rejection", terms}]."""
    record_of(id)
    ballot = ballot_of(id)
    votes = []
    for org, offer in ballot["approvals"].items():
        votes.append({"org": org, "vote": "approval", "terms": offers[id, offer]})
    for org in ballot["rejections"]:
        votes.append({"org": org, "vote": "rejection", "terms": {}})
    return votes


@view
def stand(use: dict) -> bool:
    """Tell whether the grants of a job's inputs would let its next step pass now; what policies say is not asked."""
    if not lifecycle.is_active("datasets"):
        return False
    fit: list = []
    for item in use["inputs"]:
        use.update(item)
        id = item["grant"]
        g = record_of(id)
        s = standing_of(id)
        in_term = g["not_before"] <= ctx.block_time < g["expires"]
        if s["status"] != "active" or not in_term or not datasets.usable(g["dataset"]):
            return False
        if terms_fault(g, s, use, live.get((id, use["job"]), "")) != "":
            return False
        policy = g["policy"]
        if policy != "" and policy not in fit:
            if lifecycle.policy_fault(policy) != "":
                return False
            fit.append(policy)
    return True


@view
def state_of(id: str) -> str:
    """What the grant is now: its status, or `expired` where time ended it, `exhausted` where no run is left."""
    g = record_of(id)
    s = standing_of(id)
    status = s["status"]
    if status == "requested":
        return "expired" if ctx.block_time >= g["decide_by"] else status
    if status != "active" and status != "suspended":
        return status
    if ctx.block_time >= g["expires"]:
        return "expired"
    return "exhausted" if status == "active" and s["used"] >= g["quota_runs"] else status


@view
def profile_of(name: str) -> dict:
    entry = profiles.get(name)
    require(entry is not None, "UNKNOWN_PROFILE")
    return entry


def rank(name: str) -> int:
    return profile_of(name)["rank"]


# --- narrowing ------------------------------------------------------------------------------------


def normal_terms(g: dict, terms: dict) -> dict:
    """Leave out what is as requested, so that the same terms are always one offer."""
    for name in terms:
        require(name in TERMS, "BAD_TERMS")
    return {name: terms[name] for name in terms if not same(terms[name], g[name])}


def same(one: Value, other: Value) -> bool:
    """Tell whether two values are one and the same: 1 and True are equal, and not the same."""
    return one == other and encode(one) == encode(other)


def apply_terms(g: dict, terms: dict):
    for name in terms:
        require(name in TERMS, "BAD_TERMS")
        if name == "columns":
            narrow_columns(g["columns"], terms[name])
        elif name == "programs" or name == "receivers" or name == "co_parties" or name == "membership":
            narrow_list(g[name], terms[name], name == "co_parties" or name == "membership")
        else:
            narrow_value(name, g[name], terms[name])
        g[name] = terms[name]
    require(g["not_before"] < g["expires"], "BAD_TERM")


def narrow_columns(before: dict, after: dict[str, str]):
    require(len(after) > 0, "NOT_NARROWER")
    for column in after:
        require(column in before, "NOT_NARROWER")
        require(after[column] in STRICTER[before[column]], "NOT_NARROWER")


def narrow_list(before: list, after: list[str], may_be_empty: bool):
    require(may_be_empty or len(after) > 0, "NOT_NARROWER")
    require(distinct(after), "NOT_NARROWER")
    for item in after:
        require(item in before, "NOT_NARROWER")


def narrow_value(name: str, before: Value, after: Value):
    if name == "policy":
        require(before == "" or after == before, "NOT_NARROWER")
        check_policy(after)
    elif name == "profile":
        require(rank(after) >= rank(before), "NOT_NARROWER")
    elif name == "expires" or name == "quota_runs" or name == "partner_versions" or name == "run_epsilon":
        check_int(after)
        require(after <= before, "NOT_NARROWER")
        require(name == "expires" or name == "run_epsilon" or after > 0, "NOT_NARROWER")
    else:
        check_int(after)
        require(after >= before, "NOT_NARROWER")
        require(name != "min_group" or after <= MIN_GROUP_MAX, "BAD_MIN_GROUP")


# --- small checks ---------------------------------------------------------------------------------


def requested(id: str) -> dict:
    g = record_of(id)
    require(id not in standing, "WRONG_STATE")
    require(ctx.block_time < g["decide_by"], "DEADLINE_PASSED")
    return g


def owned(id: str) -> dict:
    org = steward()
    g = record_of(id)
    require(g["owner"] == org, "NOT_OWNER")
    return g


def in_force(id: str) -> dict:
    """The standing of a grant that is active or suspended."""
    s = standing_of(id)
    require(s["status"] == "active" or s["status"] == "suspended", "WRONG_STATE")
    return s


def end(g: dict, s: dict, status: str, reason: str):
    if s["status"] == "active" or s["status"] == "suspended":
        listed = active_grants[g["dataset"]]
        active_grants[g["dataset"]] = [other for other in listed if other != g["id"]]
    s["status"] = status
    s["reason"] = reason
    s["ended_at"] = ctx.block_time
    standing[g["id"]] = s


def steward() -> str:
    require("admin" in ctx.roles or "steward" in ctx.roles, "KEY_ROLE_MISSING")
    return ctx.org


def jobs_only():
    require(ctx.caller == "contract:jobs", "JOBS_ONLY")


def check_columns(columns: dict):
    require(0 < len(columns) <= COLUMNS_MAX, "BAD_COLUMNS")
    taken = 0
    for column in columns:
        require(columns[column] in USES, "BAD_CONSTRAINT")
        taken += len(column.encode())
    require(taken <= NAMES_BYTES_MAX, "BAD_COLUMNS")


def check_programs(programs: list):
    require(0 < len(programs) <= LIST_MAX and distinct(programs), "BAD_PROGRAMS")
    for program in programs:
        check_id(program)


def check_orgs(names: list, members: list):
    require(len(names) <= LIST_MAX and distinct(names), "BAD_ORGS")
    for name in names:
        require(name in members, "UNKNOWN_ORG")


def check_term(not_before: int, expires: int):
    require(ctx.block_time < expires <= ctx.block_time + TERM_MAX_MS, "BAD_TERM")
    require(0 <= not_before < expires, "BAD_TERM")


def check_amounts(quota_runs: int, min_group: int, run_epsilon: int):
    require(0 < quota_runs <= RUNS_MAX, "BAD_QUOTA")
    require(0 < min_group <= MIN_GROUP_MAX, "BAD_MIN_GROUP")
    require(0 <= run_epsilon <= RUN_EPSILON_MAX, "BAD_EPSILON")


def check_policy(policy: str):
    """A policy must be able to answer, when it is set and whenever it is asked."""
    fault = "" if policy == "" else lifecycle.policy_fault(policy)
    if fault != "":
        require(fault != "POLICY_UNKNOWN", "POLICY_UNKNOWN")
        require(fault != "POLICY_SYSTEM", "POLICY_SYSTEM")
        require(fault != "POLICY_NOT_ACTIVE", "POLICY_NOT_ACTIVE")
        require(fault != "POLICY_FROZEN", "POLICY_FROZEN")
        require(False, "POLICY_SHAPE")


def check_int(value: int):
    # The typed parameter refuses anything that is not an int.
    require(value >= 0, "BAD_TERM")


def distinct(items: list) -> bool:
    seen = {}
    for item in items:
        if item in seen:
            return False
        seen[item] = True
    return True


def distinct_values(entries: dict) -> list:
    found = []
    for value in entries.values():
        if value not in found:
            found.append(value)
    return found


def check_own_id(id: str, org: str):
    """An id is "org/name", and only that organisation creates it."""
    requester, slash, name = id.partition("/")
    require(slash == "/" and 0 < len(name) <= NAME_MAX, "BAD_ID")
    require(name[0].isalnum() and name.strip(ID_LETTERS) == "", "BAD_ID")
    require(requester == org, "ID_NOT_OWN")


def check_id(id: str):
    require(0 < len(id) <= 64, "BAD_ID")
    require(id[0].isalnum() and id.strip(ID_LETTERS) == "", "BAD_ID")


def check_text(text: str):
    require(len(text) <= TEXT_MAX, "TEXT_TOO_LONG")
