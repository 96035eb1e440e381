"""Authorisations to use columns of a dataset: requested, approved m-of-n, narrowed, suspended, revoked.

`guard` is the one place that decides whether a job may use a grant; `jobs` asks it at every phase.
"""

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
TEXT_MAX = 256
LIST_MAX = 32
COLUMNS_MAX = 256
LIVE_JOBS_MAX = 64
RUNS_MAX = 1000000
MIN_GROUP_MAX = 1000000000
TERM_MAX_MS = 315576000000
DECIDE_MS = 2592000000

USES = {
    "plain": ("plain", "join", "aggregate", "compare", "encrypted"),
    "join-only": ("join",),
    "aggregate-only": ("aggregate", "encrypted"),
    "compare-only": ("compare",),
    "encrypted-only": ("encrypted",),
}
STRICTER = {
    "plain": ("plain", "join-only", "aggregate-only", "compare-only", "encrypted-only"),
    "join-only": ("join-only",),
    "aggregate-only": ("aggregate-only", "encrypted-only"),
    "compare-only": ("compare-only",),
    "encrypted-only": ("encrypted-only",),
}
TERMS = (
    "columns",
    "programs",
    "receivers",
    "co_parties",
    "profile",
    "not_before",
    "expires",
    "quota_runs",
    "min_group",
    "policy",
)

grants = Map(str, dict)
profiles = Map(str, dict)

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
    programs=list,
    receivers=list,
    co_parties=list,
    profile=str,
    not_before=int,
    expires=int,
    runs=int,
    min_group=int,
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
    grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject, expires=int, runs=int
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
GrantRejected = Event(grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject, reason=str)
GrantWithdrawn = Event(grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject)
GrantNarrowed = Event(grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject, terms=dict)
GrantSuspended = Event(grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject, reason=str)
GrantResumed = Event(grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject)
GrantRevoked = Event(
    grant=subject,
    dataset=subject,
    owner=subject,
    grantee=subject,
    by=subject,
    reason=str,
    stopped=list,
    too_late=list,
    revealed=int,
)
GrantExpired = Event(grant=subject, dataset=subject, owner=subject, grantee=subject, by=subject)
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


@init
def setup(profiles: list):
    for entry in profiles:
        add_profile(entry)


def add_profile(entry: dict):
    check_id(entry["name"])
    require(entry["rank"] >= 0 and entry["parties"] >= 2, "BAD_PROFILE")
    check_text(entry["adversary"])
    profiles[entry["name"]] = entry


# --- requests and decisions -----------------------------------------------------------------------


@export
def request(
    id: str,
    dataset: str,
    version: int,
    columns: dict,
    purpose: str,
    legal_basis: str,
    programs: list,
    receivers: list,
    co_parties: list,
    profile: str,
    not_before: int,
    expires: int,
    quota_runs: int,
    min_group: int,
    policy: str,
):
    org = steward()
    check_id(id)
    check_id(purpose)
    check_text(legal_basis)
    require(orgs.has_role(org, "user"), "ORG_ROLE_MISSING")
    require(id not in grants, "GRANT_EXISTS")
    source = datasets.dataset_of(dataset)
    require(source["status"] == "active", "DATASET_NOT_ACTIVE")
    data = datasets.version_of(dataset, version)
    check_columns(columns, data["schema"])
    check_programs(programs)
    require(len(receivers) > 0, "BAD_RECEIVERS")
    check_orgs(receivers)
    check_orgs(co_parties)
    require(profile in profiles, "UNKNOWN_PROFILE")
    check_term(not_before, expires)
    check_amounts(quota_runs, min_group)
    check_policy(policy)
    grants[id] = {
        "id": id,
        "dataset": dataset,
        "version": version,
        "root": data["root"],
        "owner": source["owner"],
        "grantee": org,
        "columns": columns,
        "purpose": purpose,
        "legal_basis": legal_basis,
        "programs": programs,
        "receivers": receivers,
        "co_parties": co_parties,
        "profile": profile,
        "not_before": not_before,
        "expires": expires,
        "min_group": min_group,
        "policy": policy,
        "quota": {"runs": quota_runs, "used": 0, "reserved": 0},
        "status": "requested",
        "approvals": [],
        "rejections": [],
        "requested_at": ctx.block_time,
        "decide_by": min(ctx.block_time + DECIDE_MS, expires),
        "active_since": 0,
        "ended_at": 0,
        "reason": "",
        "live": {},
        "revealed": 0,
    }
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
        programs=programs,
        receivers=receivers,
        co_parties=co_parties,
        profile=profile,
        not_before=not_before,
        expires=expires,
        runs=quota_runs,
        min_group=min_group,
        policy=policy,
    )


@export
def approve(id: str, terms: dict) -> str:
    """Approve a request, perhaps narrowed; at the dataset's threshold the grant becomes active."""
    org = steward()
    g = requested(id)
    source = datasets.dataset_of(g["dataset"])
    approvers = source["approvers"]
    require(org in approvers, "NOT_APPROVER")
    if org == g["grantee"]:
        # Nobody approves their own request, except a sole approver's use of its own data.
        require(org == g["owner"] and approvers == [org], "OWN_REQUEST")
    require(org not in g["approvals"] and org not in g["rejections"], "ALREADY_VOTED")
    apply_terms(g, terms)
    g["approvals"] = g["approvals"] + [org]
    valid = [voter for voter in g["approvals"] if voter in approvers]
    GrantApproved(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + org,
        approvals=valid,
        threshold=source["threshold"],
        terms=terms,
    )
    if len(valid) >= source["threshold"]:
        g["status"] = "active"
        g["active_since"] = ctx.block_time
        GrantActivated(
            grant="grant:" + id,
            dataset="dataset:" + g["dataset"],
            owner="org:" + g["owner"],
            grantee="org:" + g["grantee"],
            by="org:" + org,
            expires=g["expires"],
            runs=g["quota"]["runs"],
        )
    grants[id] = g
    return g["status"]


@export
def reject(id: str, reason: str) -> str:
    """Vote against a request: final at the owner's word, or when the threshold is out of reach."""
    org = steward()
    check_text(reason)
    g = requested(id)
    source = datasets.dataset_of(g["dataset"])
    approvers = source["approvers"]
    require(org in approvers or org == g["owner"], "NOT_APPROVER")
    require(org not in g["approvals"] and org not in g["rejections"], "ALREADY_VOTED")
    g["rejections"] = g["rejections"] + [org]
    against = [voter for voter in g["rejections"] if voter in approvers]
    GrantRejectVoted(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + org,
        reason=reason,
        rejections=g["rejections"],
    )
    if org == g["owner"] or len(against) > len(approvers) - source["threshold"]:
        end(g, "rejected", reason)
        GrantRejected(
            grant="grant:" + id,
            dataset="dataset:" + g["dataset"],
            owner="org:" + g["owner"],
            grantee="org:" + g["grantee"],
            by="org:" + org,
            reason=reason,
        )
    grants[id] = g
    return g["status"]


@export
def withdraw(id: str):
    org = steward()
    g = requested(id)
    require(g["grantee"] == org, "NOT_REQUESTER")
    end(g, "withdrawn", "")
    grants[id] = g
    GrantWithdrawn(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + org,
    )


# --- the owner's hand on an active grant ----------------------------------------------------------


@export
def narrow(id: str, terms: dict):
    """Tighten an active or suspended grant; widening is a new grant."""
    g = owned(id)
    apply_terms(g, terms)
    grants[id] = g
    GrantNarrowed(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + ctx.org,
        terms=terms,
    )


@export
def suspend(id: str, reason: str):
    check_text(reason)
    g = owned(id)
    require(g["status"] == "active", "WRONG_STATE")
    g["status"] = "suspended"
    g["reason"] = reason
    grants[id] = g
    GrantSuspended(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + ctx.org,
        reason=reason,
    )


@export
def resume(id: str):
    g = owned(id)
    require(g["status"] == "suspended", "WRONG_STATE")
    g["status"] = "active"
    g["reason"] = ""
    grants[id] = g
    GrantResumed(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + ctx.org,
    )


@export
def revoke(id: str, reason: str):
    """End a grant for good. Jobs not yet revealed stop; for revealed ones it is recorded as too late."""
    check_text(reason)
    g = owned(id)
    end(g, "revoked", reason)
    grants[id] = g
    live = g["live"]
    GrantRevoked(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + ctx.org,
        reason=reason,
        stopped=[job for job in live if live[job] != "revealed"],
        too_late=[job for job in live if live[job] == "revealed"],
        revealed=g["revealed"],
    )


@export
def expire(id: str):
    """Record that time ran out; the guard refuses an expired grant whether or not this was called."""
    g = grant_of(id)
    waiting = g["status"] == "requested"
    require(waiting or g["status"] == "active" or g["status"] == "suspended", "WRONG_STATE")
    require(ctx.block_time >= (g["decide_by"] if waiting else g["expires"]), "TOO_EARLY")
    end(g, "expired", "")
    grants[id] = g
    GrantExpired(
        grant="grant:" + id,
        dataset="dataset:" + g["dataset"],
        owner="org:" + g["owner"],
        grantee="org:" + g["grantee"],
        by="org:" + ctx.org,
    )


# --- the guard, and what jobs does with it --------------------------------------------------------


@view
def covers(id: str, use: dict, phase: str) -> str:
    """Ask the guard without changing anything: returns the owner, or reverts with the refusal."""
    g = grant_of(id)
    guard(g, use, phase)
    return g["owner"]


@export(nested=True)
def check(id: str, use: dict, phase: str) -> dict:
    """Guard a phase that takes nothing; returns the owner and the root of the dataset version."""
    jobs_only()
    g = grant_of(id)
    guard(g, use, phase)
    if phase == "proposed":
        tell(g, use["job"], phase, "")
    return {"owner": g["owner"], "root": g["root"]}


@export(nested=True)
def reserve(id: str, use: dict):
    jobs_only()
    g = grant_of(id)
    guard(g, use, "accepted")
    job = use["job"]
    require(job not in g["live"], "WRONG_STATE")
    g["live"][job] = "reserved"
    g["quota"]["reserved"] += 1
    grants[id] = g
    tell(g, job, "reserved", "run reserved")


@export(nested=True)
def consume(id: str, use: dict):
    jobs_only()
    g = grant_of(id)
    guard(g, use, "running")
    job = use["job"]
    require(g["live"].get(job, "") == "reserved", "WRONG_STATE")
    g["live"][job] = "running"
    g["quota"]["reserved"] -= 1
    g["quota"]["used"] += 1
    grants[id] = g
    tell(g, job, "running", "run used")
    if g["quota"]["used"] == g["quota"]["runs"]:
        GrantExhausted(
            grant="grant:" + id,
            dataset="dataset:" + g["dataset"],
            owner="org:" + g["owner"],
            grantee="org:" + g["grantee"],
            by=ctx.origin,
        )


@export(nested=True)
def reveal(id: str, use: dict, final: bool):
    """Guard the reveal; `final` marks the moment after which a revocation comes too late."""
    jobs_only()
    g = grant_of(id)
    guard(g, use, "reveal")
    job = use["job"]
    require(g["live"].get(job, "") == "running", "WRONG_STATE")
    if final:
        g["live"][job] = "revealed"
        g["revealed"] += 1
        grants[id] = g
    tell(g, job, "revealed" if final else "reveal-approved", "")


@export(nested=True)
def record(id: str, job: str, phase: str):
    jobs_only()
    tell(grant_of(id), job, phase, "")


@export(nested=True)
def finish(id: str, job: str, outcome: str):
    """Close a job under this grant; only a run that was reserved and never used returns."""
    jobs_only()
    g = grant_of(id)
    held = g["live"].get(job, "")
    note = ""
    if held != "":
        note = "run spent"
        if held == "reserved":
            g["quota"]["reserved"] -= 1
            note = "run returned"
        g["live"] = {other: g["live"][other] for other in g["live"] if other != job}
        grants[id] = g
    tell(g, job, outcome, note)


def guard(g: dict, use: dict, phase: str):
    require(use["initiator"] == g["grantee"], "NOT_GRANTEE")
    guard_status(g)
    require(use["dataset"] == g["dataset"], "DATASET_NOT_GRANTED")
    require(use["version"] == g["version"], "VERSION_NOT_GRANTED")
    require(use["purpose"] == g["purpose"], "PURPOSE_MISMATCH")
    require(use["program"] in g["programs"], "PROGRAM_NOT_GRANTED")
    guard_columns(g["columns"], use["columns"])
    require(rank(use["profile"]) >= rank(g["profile"]), "PROFILE_TOO_WEAK")
    require(use["min_group"] >= g["min_group"], "GROUP_TOO_SMALL")
    for org in use["participants"]:
        allowed = org in g["co_parties"] or org == g["owner"] or org == g["grantee"]
        require(allowed, "CO_PARTY_NOT_GRANTED")
    for org in use["receivers"]:
        require(org in g["receivers"], "RECEIVER_NOT_GRANTED")
    if use["job"] not in g["live"]:
        quota = g["quota"]
        require(quota["used"] + quota["reserved"] < quota["runs"], "QUOTA_EXHAUSTED")
        require(len(g["live"]) < LIVE_JOBS_MAX, "TOO_MANY_JOBS")
    if g["policy"] != "":
        require(yes(Contract(g["policy"]).allow(job=use, phase=phase)), "POLICY_DENIED")


def yes(answer: bool) -> bool:
    # The typed parameter refuses an answer that is not a bool (1 == True).
    return answer


def guard_status(g: dict):
    status = g["status"]
    require(status != "revoked", "GRANT_REVOKED")
    require(status != "suspended", "GRANT_SUSPENDED")
    require(status != "expired", "GRANT_EXPIRED")
    require(status == "active", "GRANT_NOT_ACTIVE")
    require(ctx.block_time < g["expires"], "GRANT_EXPIRED")
    require(ctx.block_time >= g["not_before"], "GRANT_NOT_YET_VALID")
    require(datasets.usable(g["dataset"]), "DATASET_NOT_ACTIVE")


def guard_columns(granted: dict, columns: dict):
    for name in columns:
        require(name in granted, "COLUMN_NOT_GRANTED")
        require(columns[name] in USES[granted[name]], "CONSTRAINT_VIOLATED")


def tell(g: dict, job: str, phase: str, note: str):
    quota = g["quota"]
    GrantUsed(
        grant="grant:" + g["id"],
        dataset="dataset:" + g["dataset"],
        job="job:" + job,
        owner="org:" + g["owner"],
        by=ctx.origin,
        phase=phase,
        used=quota["used"],
        reserved=quota["reserved"],
        runs=quota["runs"],
        note=note,
    )


# --- views ----------------------------------------------------------------------------------------


@view
def grant_of(id: str) -> dict:
    g = grants.get(id)
    require(g is not None, "UNKNOWN_GRANT")
    return g


@view
def state_of(id: str) -> str:
    """The status, or `expired` / `exhausted` where time or quota make an active grant so."""
    g = grant_of(id)
    if g["status"] != "active":
        return g["status"]
    if ctx.block_time >= g["expires"]:
        return "expired"
    quota = g["quota"]
    return "exhausted" if quota["used"] >= quota["runs"] else "active"


@view
def profile_of(name: str) -> dict:
    entry = profiles.get(name)
    require(entry is not None, "UNKNOWN_PROFILE")
    return entry


def rank(name: str) -> int:
    return profile_of(name)["rank"]


# --- narrowing ------------------------------------------------------------------------------------


def apply_terms(g: dict, terms: dict):
    for name in terms:
        require(name in TERMS, "BAD_TERMS")
        if name == "quota_runs":
            narrow_quota(g["quota"], terms[name])
        elif name == "columns":
            narrow_columns(g["columns"], terms[name])
            g["columns"] = terms[name]
        elif name == "programs" or name == "receivers" or name == "co_parties":
            narrow_list(g[name], terms[name], name == "co_parties")
            g[name] = terms[name]
        else:
            narrow_value(name, g[name], terms[name])
            g[name] = terms[name]
    require(g["not_before"] < g["expires"], "BAD_TERM")


def narrow_quota(quota: dict, runs: int):
    require(0 < runs <= quota["runs"], "NOT_NARROWER")
    require(runs >= quota["used"] + quota["reserved"], "QUOTA_IN_USE")
    quota["runs"] = runs


def narrow_columns(before: dict, after: dict):
    require(len(after) > 0, "NOT_NARROWER")
    for column in after:
        require(column in before, "NOT_NARROWER")
        require(after[column] in STRICTER[before[column]], "NOT_NARROWER")


def narrow_list(before: list, after: list, may_be_empty: bool):
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
    elif name == "expires":
        check_int(after)
        require(after <= before, "NOT_NARROWER")
    else:
        check_int(after)
        require(after >= before, "NOT_NARROWER")
        require(name != "min_group" or after <= MIN_GROUP_MAX, "BAD_MIN_GROUP")


# --- small checks ---------------------------------------------------------------------------------


def requested(id: str) -> dict:
    g = grant_of(id)
    require(g["status"] == "requested", "WRONG_STATE")
    require(ctx.block_time < g["decide_by"], "DEADLINE_PASSED")
    return g


def owned(id: str) -> dict:
    org = steward()
    g = grant_of(id)
    require(g["owner"] == org, "NOT_OWNER")
    require(g["status"] == "active" or g["status"] == "suspended", "WRONG_STATE")
    return g


def end(g: dict, status: str, reason: str):
    g["status"] = status
    g["reason"] = reason
    g["ended_at"] = ctx.block_time


def steward() -> str:
    require("admin" in ctx.roles or "steward" in ctx.roles, "KEY_ROLE_MISSING")
    return ctx.org


def jobs_only():
    require(ctx.caller == "contract:jobs", "JOBS_ONLY")


def check_columns(columns: dict, schema: list):
    require(0 < len(columns) <= COLUMNS_MAX, "UNKNOWN_COLUMN")
    names = {column["name"]: True for column in schema}
    for column in columns:
        require(column in names, "UNKNOWN_COLUMN")
        require(columns[column] in USES, "BAD_CONSTRAINT")


def check_programs(programs: list):
    require(0 < len(programs) <= LIST_MAX and distinct(programs), "BAD_PROGRAMS")
    for program in programs:
        check_id(program)


def check_orgs(names: list):
    require(len(names) <= LIST_MAX and distinct(names), "BAD_ORGS")
    members = orgs.active_members()
    for name in names:
        require(name in members, "UNKNOWN_ORG")


def check_term(not_before: int, expires: int):
    require(ctx.block_time < expires <= ctx.block_time + TERM_MAX_MS, "BAD_TERM")
    require(0 <= not_before < expires, "BAD_TERM")


def check_amounts(runs: int, min_group: int):
    require(0 < runs <= RUNS_MAX, "BAD_QUOTA")
    require(0 < min_group <= MIN_GROUP_MAX, "BAD_MIN_GROUP")


def check_policy(policy: str):
    require(policy == "" or lifecycle.is_active(policy), "UNKNOWN_POLICY")


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


def check_id(id: str):
    require(0 < len(id) <= 64, "BAD_ID")
    require(id[0].isalnum() and id.strip(ID_LETTERS) == "", "BAD_ID")


def check_text(text: str):
    require(len(text) <= TEXT_MAX, "TEXT_TOO_LONG")
