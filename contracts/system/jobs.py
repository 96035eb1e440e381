"""Computations: proposed under grants, accepted, bound, run, revealed, committed, certified.

All transitions of a job are here; whether a grant allows one is decided in `grants.guard` alone, and what a
job needs beside its grants in `guard_job`. Whatever the contract itself finds against a party ends the job at
once; what a member reports holds it until a neutral auditor decides, or its deadline passes.
"""

TEXT_MAX = 256
ZERO_HASH = b"\x00" * 32
ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
SPEC_KEYS = [
    "deadlines",
    "inputs",
    "min_group",
    "nonce",
    "parameters",
    "page",
    "participants",
    "plan",
    "profile",
    "program",
    "purpose",
    "receivers",
]
INPUT_KEYS = ["columns", "dataset", "grant", "name", "version"]
# A spec is copied to every grant and policy that is asked: these keep the dearest step within a transaction.
SPEC_BYTES_MAX = 32768
INPUTS_MAX = 8
COLUMNS_MAX = 1024
PARTICIPANTS_MAX = 8
PARAMETERS_BYTES_MAX = 8192
MIN_GROUP_MAX = 1000000000
METRICS_BYTES_MAX = 4096
STAGES_MAX = 256
FIGURE_MAX = 2**63
OPEN_JOBS_MAX = 256
# Each proposal, and each end, is told in the histories of the owners whose grants it uses.
PROPOSALS_A_DAY_MAX = 1000
DAY_MS = 86400000
REPORTS_MAX = 2
DISPUTE_MS = 604800000
DEADLINE_MIN_MS = 1000
DEADLINE_MAX_MS = 2592000000
# What is reserved for a job in accounts waits so long for its owners to bind.
BIND_MAX_MS = 86400000
CAUSE_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
CAUSE_MAX = 64
# Why a party ended a job: a code and facts in small pieces, of which none has room for data.
DETAIL_MAX = 8
DETAIL_LETTERS = "abcdefghijklmnopqrstuvwxyz_"
DETAIL_NAME_MAX = 32
DETAIL_TEXT_MAX = 128
CERTIFICATE_DOMAIN = "assent/job-certificate/3"

# The states that wait for something, and the deadline of the spec that bounds each.
WAITING = {
    "proposed": "accept",
    "accepted": "bind",
    "running": "run",
    "computed": "reveal",
    "revealed": "commit",
    "committed": "certify",
}
# Those of them whose steps `guard_job` and the grants may refuse.
GUARDED = ("proposed", "accepted", "computed")

specs = Map(str, dict)
# job -> what grants are asked of its plan, by input: {membership: who learns which rows are joined, epsilon: what it
# takes of the account}
derived = Map(str, dict)
jobs = Map(str, dict)
initiators = Map(str, dict)  # org -> {open: its jobs, day, today: what it proposed on that day}
# hash of the dataset versions joined -> {min_group, outcome: "", "suffices" or "too few", said: [org], job}
joins = Map(bytes, dict)
bindings = Map(tuple[str, str], dict)
stages = Map(tuple[str, str, int], dict)
stage_heads = Map(tuple[str, str], dict)
transcripts = Map(tuple[str, str], dict)
results = Map(tuple[str, str], dict)
signatures = Map(tuple[str, str], bytes)
certificates = Map(str, dict)
ends = Map(str, dict)  # job that ended without a certificate -> who ended it when, and what is said to be the cause
disputes = Map(tuple[str, int], dict)
reports = Map(tuple[str, str], int)  # (job, reporter) -> how many
equivocations = Map(tuple[str, str], int)  # (job, party) -> number of the dispute

orgs = Contract("orgs")
datasets = Contract("datasets")
programs = Contract("programs")
accounts = Contract("accounts")
grants = Contract("grants")

JobProposed = Event(
    job=subject,
    by=subject,
    program=subject,
    purpose=str,
    profile=str,
    inputs=list,
    participants=list[subject],
    receivers=list,
    deadline=int,
    page=bytes,
    plan=bytes,
)
JobAccepted = Event(job=subject, by=subject, plan=bytes)
JobReady = Event(job=subject, by=subject, deadline=int)
JobRejected = Event(job=subject, by=subject, cause=str, detail=dict)
JobBound = Event(job=subject, by=subject, commitment=bytes)
JobRunning = Event(job=subject, by=subject, deadline=int)
JoinBegun = Event(job=subject, by=subject)
JoinJudged = Event(job=subject, by=subject, joined=bytes, suffices=bool, outcome=str)
StageCommitted = Event(job=subject, by=subject, stage=int, kind=str, hash=bytes)
TranscriptCommitted = Event(job=subject, by=subject, channels=dict)
JobComputed = Event(job=subject, by=subject, deadline=int)
RevealApproved = Event(job=subject, by=subject)
JobRevealed = Event(job=subject, by=subject, deadline=int)
ResultCommitted = Event(job=subject, by=subject, hash=bytes, schema=str, metrics=dict)
JobCommitted = Event(job=subject, by=subject, deadline=int, digest=bytes)
JobSigned = Event(job=subject, by=subject, signature=bytes)
JobCertified = Event(job=subject, by=subject, digest=bytes)
JobAborted = Event(
    job=subject,
    by=subject,
    phase=str,
    missing=list[subject],
    cause=str,
    detail=dict,
    evidence=bytes,
)
JobExpired = Event(job=subject, by=subject, phase=str, missing=list[subject])
ReleaseDisclaimed = Event(job=subject, by=subject, returned=list)
JobDisputed = Event(
    job=subject,
    by=subject,
    against=list[subject],
    number=int,
    kind=str,
    origin=str,
    evidence=bytes,
    status=str,
    until=int,
)
DisputeResolved = Event(
    job=subject,
    by=subject,
    against=list[subject],
    number=int,
    outcome=str,
    blamed=list[subject],
    evidence=bytes,
    state=str,
    deadline=int,
)
DisputeLapsed = Event(job=subject, by=subject, against=list[subject], number=int, outcome=str)


# --- proposal -------------------------------------------------------------------------------------


@export
def propose(spec: dict) -> str:
    """Propose a computation; the id is the hex SHA-256 of the encoded spec."""
    org = member("steward", "agent")
    require(orgs.has_role(org, "user"), "ORG_ROLE_MISSING")
    encoded = encode(spec)
    require(len(encoded) <= SPEC_BYTES_MAX, "SPEC_TOO_LONG")
    follows = check_spec(spec, org)
    job = sha256(encoded).hex()
    require(job not in jobs, "JOB_EXISTS")
    count_proposal(org)
    derived[job] = {"membership": follows["membership"], "epsilon": epsilons_of(follows)}
    found = grants.admit(use=use_of(job, spec, org), joined=joined_of(spec), by="org:" + org)
    owners: list = found["owners"]
    check_roles(spec, owners)
    check_joined(spec)
    accounts.admit(job=job, grantee=org, charges=charges_of(spec, owners, follows))
    specs[job] = spec
    j = {
        "id": job,
        "program": spec["program"],
        "initiator": org,
        "state": "proposed",
        "deadline": 0,
        "since": 0,
        "height": 0,
        "roots": found["roots"],
        "owners": owners,
        "accepted": [],
        "bound": [],
        "transcripts": [],
        "reveals": [],
        "results": [],
        "signed": [],
        "running_height": 0,
        "join_height": 0,
        "revealed_height": 0,
        "ended_at": 0,
        "returned": [],
        "disclaimed": [],
        "disputes": 0,
        "open_disputes": 0,
        "resume": "",
    }
    enter(j, spec, "proposed")
    jobs[job] = j
    JobProposed(
        job="job:" + job,
        by="org:" + org,
        program="program:" + spec["program"],
        purpose=spec["purpose"],
        profile=spec["profile"],
        inputs=spec["inputs"],
        participants=org_subjects(party_names(spec)),
        receivers=spec["receivers"],
        deadline=j["deadline"],
        page=spec["page"],
        plan=spec["plan"],
    )
    return job


def count_proposal(org: str):
    count = initiators.get(org, {"open": 0, "day": 0, "today": 0})
    require(count["open"] < OPEN_JOBS_MAX, "TOO_MANY_JOBS_OF_ORG")
    day = ctx.block_time // DAY_MS
    if count["day"] != day:
        count["day"] = day
        count["today"] = 0
    require(count["today"] < PROPOSALS_A_DAY_MAX, "TOO_MANY_JOBS_TODAY")
    count["open"] += 1
    count["today"] += 1
    initiators[org] = count


def check_spec(spec: dict, org: str) -> dict:
    """Refuse what is no spec; returns what follows of its page."""
    require(has_only(spec, SPEC_KEYS), "BAD_SPEC")
    check_id(spec["program"])
    require(programs.program_of(spec["program"])["status"] == "active", "PROGRAM_NOT_ACTIVE")
    check_parameters(spec["parameters"])
    check_id(spec["purpose"])
    check_group(spec["min_group"])
    check_inputs(spec["inputs"])
    check_parties(spec["participants"], spec["receivers"])
    found = check_page(spec, org)
    require(spec["profile"] in found["profiles"], "PROFILE_NOT_OFFERED")
    check_deadlines(spec["deadlines"])
    check_nonce(spec["nonce"])
    return found


def check_page(spec: dict, org: str) -> dict:
    """What a job does follows of its page, its parameters and what its datasets declare: nobody's word."""
    check_hash(spec["page"])
    check_hash(spec["plan"])
    inputs = []
    for item in spec["inputs"]:
        inputs.append(
            {
                "name": item["name"],
                "dataset": item["dataset"],
                "version": item["version"],
                "columns": list(item["columns"]),
            }
        )
    found = programs.derive(
        id=spec["program"], inputs=inputs, parameters=spec["parameters"], initiator=org
    )
    require(found["page"] == spec["page"] and found["plan"] == spec["plan"], "PLAN_DIFFERS")
    for item in spec["inputs"]:
        require(item["columns"] == found["uses"][item["name"]], "USES_DIFFER")
    require(sorted(spec["receivers"]) == found["receivers"], "RECEIVERS_DIFFER")
    return found


def epsilons_of(follows: dict) -> dict:
    """What the plan takes as epsilon of the account of each input's dataset."""
    charges: dict = follows["charges"]
    return {name: charges[name]["epsilon"] for name in charges}


def charges_of(spec: dict, owners: list, follows: dict) -> list:
    """What the plan charges the account of each input's dataset; `accounts` keeps what is charged at all."""
    found = []
    for item, owner in zip(spec["inputs"], owners):
        charge: dict = follows["charges"][item["name"]]
        charge.update({
            "input": item["name"],
            "grant": item["grant"],
            "dataset": item["dataset"],
            "version": item["version"],
            "owner": owner,
        })
        found.append(charge)
    return found


def has_only(record: dict, names: list) -> bool:
    """Tell whether a record has exactly these fields; a key that is no text is none of them."""
    for name in names:
        if name not in record:
            return False
    return len(record) == len(names)


def check_parameters(parameters: dict):
    require(len(encode(parameters)) <= PARAMETERS_BYTES_MAX, "BAD_PARAMETERS")


def check_group(min_group: int):
    require(1 <= min_group <= MIN_GROUP_MAX, "BAD_MIN_GROUP")


def check_inputs(inputs: list[dict]):
    require(0 < len(inputs) <= INPUTS_MAX, "BAD_INPUTS")
    seen = {}
    columns = 0
    for item in inputs:
        require(has_only(item, INPUT_KEYS), "BAD_INPUTS")
        check_input(item["grant"], item["dataset"], item["version"])
        require(item["grant"] not in seen, "BAD_INPUTS")
        seen[item["grant"]] = True
        check_columns(item["columns"])
        columns += len(item["columns"])
    require(columns <= COLUMNS_MAX, "TOO_MANY_COLUMNS")


def check_joined(spec: dict):
    """Datasets are joined by all columns of their keys, and by identifiers that their owners declare alike.

    How many rows such versions join is asked once: what has an answer is neither asked again nor asked for more.
    """
    joined = []
    for item in spec["inputs"]:
        names = [name for name, use in item["columns"].items() if use == "join"]
        if len(names) > 0:
            joined.append([item["dataset"], item["version"], names])
    fault = datasets.join_fault(joined)
    require(fault != "JOIN_NOT_BY_KEY", "JOIN_NOT_BY_KEY")
    require(fault == "", "IDENTIFIERS_DIFFER")
    guard_joined(spec)


def joined_of(spec: dict) -> bytes:
    """The hash that names the dataset versions that a job joins, whatever their order; b"" for fewer than two."""
    joined = []
    for item in spec["inputs"]:
        if "join" in list(item["columns"].values()):
            joined.append(item["dataset"] + "@" + str(item["version"]))
    return sha256(encode(["assent/joined-versions", sorted(joined)])) if len(joined) > 1 else b""


def guard_joined(spec: dict):
    row = joins.get(joined_of(spec))
    if row is not None:
        require(row["outcome"] != "too few", "JOIN_TOO_SMALL")
        require(spec["min_group"] <= row["min_group"], "JOIN_NOT_JUDGED")


def ask_joined(joined: bytes, j: dict, spec: dict):
    """Note which job asks first, or anew for fewer rows, whether these versions join enough."""
    row = joins.get(joined)
    if joined != b"" and (row is None or row["outcome"] == ""):
        joins[joined] = {"min_group": spec["min_group"], "outcome": "", "said": [], "job": j["id"]}


def check_input(grant: str, dataset: str, version: int):
    # The typed parameters refuse what only compares equal, such as True for version 1.
    require(len(grant) > 0 and len(dataset) > 0 and version >= 1, "BAD_INPUTS")


def check_columns(columns: dict[str, str]):
    require(len(columns) > 0, "BAD_INPUTS")


def check_deadlines(deadlines: dict[str, int]):
    require(len(deadlines) == len(WAITING), "BAD_DEADLINES")
    for state in WAITING:
        require(WAITING[state] in deadlines, "BAD_DEADLINES")
        most = BIND_MAX_MS if state == "accepted" else DEADLINE_MAX_MS
        require(DEADLINE_MIN_MS <= deadlines[WAITING[state]] <= most, "BAD_DEADLINES")


def check_nonce(nonce: bytes):
    require(len(nonce) == 16, "BAD_NONCE")


def check_parties(parties: list[dict], receivers: list[str]):
    require(2 <= len(parties) <= PARTICIPANTS_MAX, "BAD_PARTICIPANTS")
    names = {}
    for party in parties:
        require(has_only(party, ["agent_key", "org", "role"]), "BAD_PARTICIPANTS")
        org: str = party["org"]
        require(org not in names, "BAD_PARTICIPANTS")
        names[org] = True
    require(0 < len(receivers) <= PARTICIPANTS_MAX, "BAD_RECEIVERS")
    seen = {}
    for receiver in receivers:
        require(receiver in names and receiver not in seen, "BAD_RECEIVERS")
        seen[receiver] = True


def check_roles(spec: dict, owners: list):
    """Every party is a member that fits its role, with the agent that it has now; every owner is a party."""
    names = party_names(spec)
    agents = orgs.agents_of(names)
    for party, agent_key in zip(spec["participants"], agents):
        guard_party(party, agent_key)
        require(agent_key != b"", "NO_AGENT")
        role = party["role"]
        fits = role == "owner" and party["org"] in owners
        fits = fits or (role == "compute" and orgs.has_role(party["org"], "compute"))
        fits = fits or (role == "receiver" and party["org"] in spec["receivers"])
        require(fits, "PARTICIPANT_ROLE")
    for owner in owners:
        require(owner in names, "OWNER_NOT_PARTICIPANT")


# --- what a job needs beside its grants, asked at every phase -----------------------------------------------


def guard_job(j: dict, spec: dict):
    """The program is in force; initiator and parties (receivers are parties) are members with these agents."""
    require(in_force(spec), "PROGRAM_NOT_ACTIVE")
    agents = agents_now(j, spec)
    require(agents[-1] is not None, "ORG_NOT_ACTIVE")
    for party, agent_key in zip(spec["participants"], agents):
        guard_party(party, agent_key)


def in_force(spec: dict) -> bool:
    return programs.is_active(spec["program"])


def agents_now(j: dict, spec: dict) -> list:
    """The agent keys that `orgs` has of the participants, and of an initiator that is none of them, last."""
    names = party_names(spec)
    if j["initiator"] not in names:
        names.append(j["initiator"])
    return orgs.agents_of(names)


def unfit(j: dict, spec: dict) -> list:
    """The organisations for which `guard_job` would refuse everybody's step now."""
    agents = agents_now(j, spec)
    found = [party["org"] for party, key in zip(spec["participants"], agents) if key != party["agent_key"]]
    if agents[-1] is None and j["initiator"] not in party_names(spec):
        found.append(j["initiator"])
    return found


def guard_party(party: dict, agent_key: bytes | None):
    require(agent_key is not None, "ORG_NOT_ACTIVE")
    require(agent_key == party["agent_key"], "AGENT_KEY_MISMATCH")


# --- acceptance and inputs ------------------------------------------------------------------------


@export
def accept(job: str, plan: bytes) -> str:
    """Take part: checks every grant again and reserves runs of one's own; the last one, all that accounts are charged."""
    org = member("agent", "agent")
    j = waiting(job_of(job), "proposed")
    spec = specs[job]
    party_of(spec, org)
    require(org not in j["accepted"], "ALREADY_ACCEPTED")
    guard_job(j, spec)
    require(spec["plan"] == plan, "PLAN_DIFFERS")
    grants.reserve(use=use_of(job, spec, j["initiator"]), org=org)
    j["accepted"].append(org)
    last = len(j["accepted"]) == len(spec["participants"])
    accounts.reserve(job=job, org=org, last=last, by="org:" + org)
    JobAccepted(job="job:" + job, by="org:" + org, plan=plan)
    if last:
        enter(j, spec, "accepted")
        JobReady(job="job:" + job, by="org:" + org, deadline=j["deadline"])
    jobs[job] = j
    return j["state"]


@export
def reject(job: str, cause: str, detail: dict[str, Value]):
    """Refuse to take part, with a code and the facts that say why."""
    org = member("steward", "agent")
    check_cause(cause, detail)
    j = waiting(job_of(job), "proposed")
    spec = specs[job]
    party_of(spec, org)
    close(j, spec, "rejected", "org:" + org, [])
    put_end(j, "proposed", "party", [], cause, detail, b"")
    jobs[job] = j
    JobRejected(job="job:" + job, by="org:" + org, cause=cause, detail=detail)


@export
def bind(job: str, commitment: bytes) -> str:
    """Commit to one's inputs before any traffic; the last owner's starts the run."""
    org = member("agent", "agent")
    check_hash(commitment)
    known = bindings.get((job, org))
    if known is not None:
        require(known["commitment"] == commitment, "ALREADY_BOUND")
        return jobs[job]["state"]
    j = waiting(job_of(job), "accepted")
    require(org in j["owners"], "NOT_DATA_OWNER")
    bindings[job, org] = {"commitment": commitment, "height": ctx.height}
    j["bound"].append(org)
    JobBound(job="job:" + job, by="org:" + org, commitment=commitment)
    if without(j["owners"], j["bound"]) == []:
        spec = specs[job]
        guard_job(j, spec)
        guard_joined(spec)
        grants.begin(use=use_of(job, spec, j["initiator"]), by="org:" + org)
        j["running_height"] = ctx.height
        enter(j, spec, "running")
        JobRunning(job="job:" + job, by="org:" + org, deadline=j["deadline"])
    jobs[job] = j
    return j["state"]


@export
def begin_join(job: str) -> str:
    """Announce one's first message about data: the first announcement uses the runs up.

    An owner sends nothing before its own node shows this, so what ends without it moved no data.
    """
    org = member("agent", "agent")
    j = job_of(job)
    require(org in j["owners"], "NOT_DATA_OWNER")
    if j["join_height"] == 0:
        waiting(j, "running")
        spec = specs[job]
        require(in_force(spec), "PROGRAM_NOT_ACTIVE")
        joined = joined_of(spec)
        guard_joined(spec)
        grants.consume(ids=grant_ids(spec), job=job, joined=joined, by="org:" + org)
        accounts.consume(job=job, by="org:" + org)
        ask_joined(joined, j, spec)
        j["join_height"] = ctx.height
        jobs[job] = j
        JoinBegun(job="job:" + job, by="org:" + org)
    return j["state"]


@export
def judge_join(job: str, suffices: bool) -> str:
    """State whether the rows that were joined suffice for this job's minimum group, and for oneself.

    The first job that asks is answered for good, when all owners agree or one denies; returns the outcome.
    """
    org = member("agent", "agent")
    j = job_of(job)
    require(org in j["owners"], "NOT_DATA_OWNER")
    require(j["join_height"] > 0, "JOIN_NOT_BEGUN")
    in_dispute_time(j)
    joined = joined_of(specs[job])
    row = joins.get(joined)
    require(row is not None, "NOTHING_JOINED")
    if row["job"] != job or row["outcome"] != "" or org in row["said"]:
        return row["outcome"]
    row["said"].append(org)
    if not suffices:
        row["outcome"] = "too few"
    elif without(j["owners"], row["said"]) == []:
        row["outcome"] = "suffices"
    joins[joined] = row
    JoinJudged(job="job:" + job, by="org:" + org, joined=joined, suffices=suffices, outcome=row["outcome"])
    return row["outcome"]


# --- the run: stages and transcripts --------------------------------------------------------------


@export
def commit_stage(
    job: str,
    stage: int,
    kind: str,
    hash: bytes,
    previous: bytes,
    bytes_sent: int,
    rounds: int,
    cpu_ms: int,
) -> str:
    """Commit one finished stage; a second commit that differs in anything is an equivocation."""
    org = member("agent", "agent")
    check_id(kind)
    check_hash(hash)
    check_hash(previous)
    require(0 <= stage < STAGES_MAX, "TOO_MANY_STAGES")
    for figure in (bytes_sent, rounds, cpu_ms):
        require(0 <= figure < FIGURE_MAX, "BAD_STAGE")
    said: dict = {
        "stage": stage,
        "kind": kind,
        "hash": hash,
        "previous": previous,
        "bytes": bytes_sent,
        "rounds": rounds,
        "cpu_ms": cpu_ms,
    }
    known = stages.get((job, org, stage))
    if known is not None:
        known.pop("height")
        return again(job, org, known, said)
    j = waiting(job_of(job), "running")
    party_of(specs[job], org)
    require(j["join_height"] > 0, "JOIN_NOT_BEGUN")
    require(org not in j["transcripts"], "TRANSCRIPT_CLOSED")
    head = stage_heads.get((job, org), {"count": 0, "hash": ZERO_HASH})
    require(stage == head["count"], "STAGE_NOT_CONTIGUOUS")
    require(previous == head["hash"], "STAGE_CHAIN_BROKEN")
    said["height"] = ctx.height
    stages[job, org, stage] = said
    stage_heads[job, org] = {"count": stage + 1, "hash": hash}
    StageCommitted(job="job:" + job, by="org:" + org, stage=stage, kind=kind, hash=hash)
    return j["state"]


@export
def commit_transcript(job: str, profile: str, channels: dict[str, bytes]) -> str:
    """Commit the hash of every channel; both ends must name the same, or the job ends with a dispute."""
    org = member("agent", "agent")
    j = job_of(job)
    spec = specs[job]
    party_of(spec, org)
    known = transcripts.get((job, org))
    if known is None:
        waiting(j, "running")
    require(profile == spec["profile"], "PROFILE_MISMATCH")
    check_channels(channels, spec, org)
    if known is not None:
        return again(job, org, known, channels)
    require((job, org) in stage_heads, "STAGE_MISSING")
    transcripts[job, org] = channels
    TranscriptCommitted(job="job:" + job, by="org:" + org, channels=channels)
    others = j["transcripts"]
    j["transcripts"] = others + [org]
    for other in others:
        theirs = transcripts[job, other][org]
        if theirs != channels[other]:
            evidence = sha256(encode([org, channels[other], other, theirs]))
            find(j, spec, "TRANSCRIPT_MISMATCH", [other, org], evidence, "open")
    if j["state"] == "running" and len(j["transcripts"]) == len(spec["participants"]):
        enter(j, spec, "computed")
        JobComputed(job="job:" + job, by="org:" + org, deadline=j["deadline"])
    jobs[job] = j
    return j["state"]


def check_channels(channels: dict, spec: dict, org: str):
    require(len(channels) == len(spec["participants"]) - 1, "BAD_CHANNELS")
    for party in spec["participants"]:
        if party["org"] != org:
            require(party["org"] in channels, "BAD_CHANNELS")
            check_hash(channels[party["org"]])


# --- reveal, result, certificate ------------------------------------------------------------------


@export
def approve_reveal(job: str) -> str:
    """Allow the result to be opened; the last owner's approval checks every grant again."""
    org = member("agent", "agent")
    j = job_of(job)
    if org in j["reveals"]:
        return j["state"]
    waiting(j, "computed")
    require(org in j["owners"], "NOT_DATA_OWNER")
    spec = specs[job]
    guard_job(j, spec)
    j["reveals"].append(org)
    final = without(j["owners"], j["reveals"]) == []
    RevealApproved(job="job:" + job, by="org:" + org)
    ids = [item["grant"] for item, owner in zip(spec["inputs"], j["owners"]) if final or owner == org]
    grants.reveal(use=use_of(job, spec, j["initiator"]), ids=ids, final=final, by="org:" + org)
    if final:
        j["revealed_height"] = ctx.height
        enter(j, spec, "revealed")
        JobRevealed(job="job:" + job, by="org:" + org, deadline=j["deadline"])
    jobs[job] = j
    return j["state"]


@export
def commit_result(job: str, hash: bytes, schema: str, metrics: dict) -> str:
    """Commit H(salt, canonical result) as a receiver; the metrics are public."""
    org = member("agent", "agent")
    check_hash(hash)
    check_text(schema)
    require(len(encode(metrics)) <= METRICS_BYTES_MAX, "BAD_METRICS")
    said: dict = {"hash": hash, "schema": schema, "metrics": metrics}
    known = results.get((job, org))
    if known is not None:
        known.pop("height")
        return again(job, org, known, said)
    j = waiting(job_of(job), "revealed")
    spec = specs[job]
    require(org in spec["receivers"], "NOT_RECEIVER")
    said["height"] = ctx.height
    results[job, org] = said
    j["results"].append(org)
    ResultCommitted(job="job:" + job, by="org:" + org, hash=hash, schema=schema, metrics=metrics)
    if len(j["results"]) == len(spec["receivers"]):
        enter(j, spec, "committed")
        grants.record(ids=grant_ids(spec), job=job, phase="committed", by="org:" + org)
        digest = sha256(encode(body_of(j, spec)))
        JobCommitted(job="job:" + job, by="org:" + org, deadline=j["deadline"], digest=digest)
    jobs[job] = j
    return j["state"]


@export
def certify(job: str, digest: bytes, signature: bytes) -> str:
    """Sign the outcome with the agent key named in the spec; the last signature makes the certificate."""
    org = member("agent", "agent")
    j = job_of(job)
    if org in j["signed"] and signatures[job, org] == signature:
        return j["state"]
    waiting(j, "committed")
    spec = specs[job]
    party = party_of(spec, org)
    require(org not in j["signed"], "ALREADY_SIGNED")
    body = body_of(j, spec)
    require(digest == sha256(encode(body)), "DIGEST_MISMATCH")
    require(verify_signature(party["agent_key"], digest, signature), "BAD_SIGNATURE")
    signatures[job, org] = signature
    j["signed"].append(org)
    JobSigned(job="job:" + job, by="org:" + org, signature=signature)
    if len(j["signed"]) == len(spec["participants"]):
        certificates[job] = {
            "body": body,
            "digest": digest,
            "signatures": {name: signatures[job, name] for name in j["signed"]},
            "height": ctx.height,
        }
        close(j, spec, "certified", "org:" + org, [])
        JobCertified(job="job:" + job, by="org:" + org, digest=digest)
    jobs[job] = j
    return j["state"]


def body_of(j: dict, spec: dict) -> dict:
    """What the participants sign. Columns stand in the spec, whose hash is the job's id; metrics as a hash."""
    job = j["id"]
    names = party_names(spec)
    inputs = []
    for number in range(len(j["owners"])):
        item = spec["inputs"][number]
        inputs.append(
            {
                "grant": item["grant"],
                "dataset": item["dataset"],
                "version": item["version"],
                "root": j["roots"][number],
            }
        )
    heads = {name: stage_heads[job, name] for name in names}
    outcomes = {name: results[job, name] for name in spec["receivers"]}
    return {
        "domain": CERTIFICATE_DOMAIN,
        "job": job,
        "program": spec["program"],
        "page": spec["page"],
        "plan": spec["plan"],
        "parameters": sha256(encode(spec["parameters"])),
        "purpose": spec["purpose"],
        "profile": spec["profile"],
        "min_group": spec["min_group"],
        "initiator": j["initiator"],
        "inputs": inputs,
        "participants": spec["participants"],
        "receivers": spec["receivers"],
        "bindings": {name: bindings[job, name]["commitment"] for name in j["bound"]},
        "stages": {name: [heads[name]["count"], heads[name]["hash"]] for name in names},
        "transcripts": {name: transcripts[job, name] for name in names},
        "results": {
            name: {
                "hash": outcomes[name]["hash"],
                "schema": outcomes[name]["schema"],
                "metrics": sha256(encode(outcomes[name]["metrics"])),
            }
            for name in spec["receivers"]
        },
        "running_height": j["running_height"],
        "revealed_height": j["revealed_height"],
    }


# --- other ends -----------------------------------------------------------------------------------


@export
def abort(job: str, cause: str, detail: dict[str, Value], evidence: bytes):
    """End a job before its time, saying why; once it runs, with the hash of one's evidence."""
    org = member("steward", "agent")
    check_cause(cause, detail)
    j = job_of(job)
    require(not is_final(j), "WRONG_STATE")
    spec = specs[job]
    if org != j["initiator"]:
        party_of(spec, org)
    if evidence != b"":
        check_hash(evidence)
    # A dispute changes nothing about how far the job had come.
    reached = j["resume"] if j["state"] == "disputed" else j["state"]
    require(evidence != b"" or reached in ("proposed", "accepted"), "EVIDENCE_REQUIRED")
    # Before its deadline nobody is late.
    late = ctx.block_time > j["deadline"]
    absent = absent_of(j, spec) if late else []
    # An owner that ends a job where it should bind has answered something about its data, as one that bound has.
    refused = [org] if reached == "accepted" and org != j["initiator"] else []
    stop(j, spec, absent, "party", cause, detail, evidence, refused)
    jobs[job] = j


def check_cause(cause: str, detail: dict):
    """A code, and facts by name: texts, numbers and truths that are short. What they mean is for who reads them."""
    require(0 < len(cause) <= CAUSE_MAX, "BAD_CAUSE")
    require(cause[0].isalpha() and cause.strip(CAUSE_LETTERS) == "", "BAD_CAUSE")
    require(len(detail) <= DETAIL_MAX, "BAD_DETAIL")
    for name in detail:
        require(0 < len(name) <= DETAIL_NAME_MAX and name.strip(DETAIL_LETTERS) == "", "BAD_DETAIL")
        check_fact(detail[name])


def check_fact(fact: Value):
    if isinstance(fact, str):
        require(len(fact) <= DETAIL_TEXT_MAX, "BAD_DETAIL")
    elif isinstance(fact, int):
        require(-FIGURE_MAX < fact < FIGURE_MAX, "BAD_DETAIL")
    else:
        require(isinstance(fact, bool), "BAD_DETAIL")


@export
def expire(job: str):
    """End a job whose state has passed its deadline; anyone may."""
    org = ctx.org
    j = job_of(job)
    require(not is_final(j), "WRONG_STATE")
    require(ctx.block_time > j["deadline"], "TOO_EARLY")
    phase = j["state"]
    spec = specs[job]
    absent = absent_of(j, spec)
    close(j, spec, "expired", "org:" + org, [])
    put_end(j, phase, "deadline", absent, "DEADLINE_PASSED", {}, b"")
    jobs[job] = j
    JobExpired(job="job:" + job, by="org:" + org, phase=phase, missing=org_subjects(absent))


@export
def disclaim(job: str) -> str:
    """State that one sent nothing about one's data; when all owners but the initiator did, the runs return."""
    org = member("agent", "agent")
    j = job_of(job)
    require(org in j["owners"], "NOT_DATA_OWNER")
    require(org != j["initiator"], "OWN_CASE")
    if org in j["disclaimed"]:
        return j["state"]
    stopped = j["state"] == "aborted" or j["state"] == "expired"
    require(stopped and j["join_height"] > 0, "WRONG_STATE")
    in_dispute_time(j)
    # Whoever committed a stage has sent, whatever it says now.
    require((job, org) not in stage_heads, "STAGE_COMMITTED")
    j["disclaimed"].append(org)
    if without(j["owners"], j["disclaimed"] + [j["initiator"]]) == []:
        j["returned"] = grants.give_back(ids=grant_ids(specs[job]), job=job, by="org:" + org)
        accounts.give_back(job=job, returned=j["returned"], by="org:" + org)
    jobs[job] = j
    ReleaseDisclaimed(job="job:" + job, by="org:" + org, returned=j["returned"])
    return j["state"]


def stop(
    j: dict, spec: dict, absent: list, origin: str, cause: str, detail: dict, evidence: bytes, refused: list
):
    """Abort a job; `origin` says whose word the cause is: a party's, an auditor's, or the contract's own."""
    phase = j["state"]
    by = "org:" + ctx.org
    close(j, spec, "aborted", by, refused)
    put_end(j, phase, origin, absent, cause, detail, evidence)
    JobAborted(
        job="job:" + j["id"],
        by=by,
        phase=phase,
        missing=org_subjects(absent),
        cause=cause,
        detail=detail,
        evidence=evidence,
    )


def put_end(j: dict, phase: str, origin: str, absent: list, cause: str, detail: dict, evidence: bytes):
    ends[j["id"]] = {
        "state": j["state"],
        "phase": phase,
        "origin": origin,
        "by": ctx.org,
        "cause": cause,
        "detail": detail,
        "missing": absent,
        "evidence": evidence,
        "height": ctx.height,
    }


def close(j: dict, spec: dict, outcome: str, by: str, refused: list):
    """End a job; of the grants of owners that bound, or `refused` to, runs return as the grant allows.

    What an account reserves comes back with the run; from the first join on it is spent.
    """
    j["state"] = outcome
    j["since"] = ctx.block_time
    j["height"] = ctx.height
    j["deadline"] = 0
    j["ended_at"] = ctx.block_time
    j["resume"] = ""
    count = initiators[j["initiator"]]
    count["open"] -= 1
    initiators[j["initiator"]] = count
    answered = j["bound"] + refused
    j["returned"] = grants.finish(
        ids=grant_ids(spec), job=j["id"], outcome=outcome, answered=answered, by=by
    )
    if j["join_height"] == 0:
        accounts.finish(job=j["id"], returned=j["returned"], by=by)


# --- disputes: what members report ------------------------------------------------------------------------


@export
def report(job: str, kind: str, against: str, evidence: bytes) -> int:
    """Dispute a job: an open one waits for a neutral auditor, an ended one keeps its state and gains a record."""
    org = member("steward", "agent")
    check_id(kind)
    check_hash(evidence)
    j = job_of(job)
    spec = specs[job]
    if not orgs.has_role(org, "auditor"):
        party_of(spec, org)
    party_of(spec, against)
    require(against != org, "OWN_CASE")
    in_dispute_time(j)
    # A state whose time is over does not come back by a dispute: anyone expires the job, which can be reported then.
    require(j["state"] not in WAITING or ctx.block_time <= j["deadline"], "DEADLINE_PASSED")
    count = reports.get((job, org), 0)
    require(count < REPORTS_MAX, "TOO_MANY_REPORTS")
    reports[job, org] = count + 1
    number = put_dispute(j, kind, "report", org, [against], evidence, "open")
    if j["state"] in WAITING:
        j["resume"] = j["state"]
        j["state"] = "disputed"
        j["since"] = ctx.block_time
        j["height"] = ctx.height
        j["deadline"] = ctx.block_time + DISPUTE_MS
    jobs[job] = j
    return number


@export
def resolve(job: str, number: int, outcome: str, blamed: list[str], evidence: bytes) -> str:
    """Decide a dispute as a neutral auditor: upheld ends an open job, dismissed lets it go on.

    `blamed` names who did it, of those that the dispute is against: nobody, where nobody can tell which end of
    a channel lied.
    """
    org = member("steward", "steward")
    check_hash(evidence)
    require(orgs.has_role(org, "auditor"), "ORG_ROLE_MISSING")
    d = dispute_of(job, number)
    j = job_of(job)
    spec = specs[job]
    neutral = org != d["by"] and org != j["initiator"] and org not in party_names(spec)
    require(neutral, "NOT_NEUTRAL")
    require(d["status"] == "open", "WRONG_STATE")
    require(ctx.block_time <= d["until"], "DEADLINE_PASSED")
    require(outcome == "upheld" or outcome == "dismissed", "BAD_OUTCOME")
    require(outcome == "upheld" or d["origin"] == "report", "NOT_DISMISSIBLE")
    check_blamed(d, outcome, blamed)
    settle_dispute(j, d, outcome, blamed, org, evidence)
    if j["state"] == "disputed":
        if outcome == "upheld":
            detail = {"dispute": number, "kind": d["kind"]}
            stop(j, spec, [], "auditor", "DISPUTE_UPHELD", detail, evidence, [])
        elif j["open_disputes"] == 0 and ctx.block_time <= j["deadline"]:
            enter(j, spec, j["resume"])
            j["resume"] = ""
    jobs[job] = j
    DisputeResolved(
        job="job:" + job,
        by="org:" + org,
        against=org_subjects(d["against"]),
        number=number,
        outcome=outcome,
        blamed=org_subjects(blamed),
        evidence=evidence,
        state=j["state"],
        deadline=j["deadline"],
    )
    return j["state"]


def check_blamed(d: dict, outcome: str, blamed: list):
    for org in blamed:
        require(org in d["against"], "BAD_BLAME")
    require(len(blamed) == len(unique(blamed)), "BAD_BLAME")
    if d["origin"] == "report":
        require((len(blamed) == 1) == (outcome == "upheld"), "BAD_BLAME")


@export
def lapse(job: str, number: int):
    """Record that nobody decided a dispute in time; anyone may. What the contract found stands all the same."""
    org = ctx.org
    d = dispute_of(job, number)
    require(d["status"] == "open", "WRONG_STATE")
    require(ctx.block_time > d["until"], "TOO_EARLY")
    j = job_of(job)
    outcome = "lapsed" if d["origin"] == "report" else "upheld"
    settle_dispute(j, d, outcome, [], "", b"")
    jobs[job] = j
    DisputeLapsed(
        job="job:" + job,
        by="org:" + org,
        against=org_subjects(d["against"]),
        number=number,
        outcome=outcome,
    )


def settle_dispute(j: dict, d: dict, outcome: str, blamed: list, org: str, evidence: bytes):
    d["status"] = outcome
    d["blamed"] = blamed
    d["resolved_by"] = org
    d["resolution"] = evidence
    disputes[d["job"], d["number"]] = d
    j["open_disputes"] -= 1


# --- disputes: what the contract finds ----------------------------------------------------------------------


def again(job: str, org: str, known: dict, said: dict) -> str:
    """A repeated commit: the same one changes nothing, another one is an equivocation, recorded once a party."""
    j = job_of(job)
    if encode(known) == encode(said):  # 1 and True are equal, and other results
        return j["state"]
    require((job, org) not in equivocations, "ALREADY_RECORDED")
    in_dispute_time(j)
    evidence = sha256(encode([known, said]))
    equivocations[job, org] = find(j, specs[job], "EQUIVOCATION", [org], evidence, "upheld")
    jobs[job] = j
    return j["state"]


def find(j: dict, spec: dict, kind: str, against: list, evidence: bytes, status: str) -> int:
    """Record what the contract itself found: it ends an open job at once, and waits for nobody's decision."""
    number = put_dispute(j, kind, "contract", "", against, evidence, status)
    if not is_final(j):
        stop(j, spec, [], "contract", kind, {"dispute": number}, evidence, [])
    return number


def in_dispute_time(j: dict):
    if is_final(j):
        require(ctx.block_time <= j["ended_at"] + DISPUTE_MS, "DEADLINE_PASSED")


def put_dispute(
    j: dict, kind: str, origin: str, by: str, against: list, evidence: bytes, status: str
) -> int:
    number = j["disputes"] + 1
    until = ctx.block_time + DISPUTE_MS
    j["disputes"] = number
    if status == "open":
        j["open_disputes"] += 1
    disputes[j["id"], number] = {
        "job": j["id"],
        "number": number,
        "kind": kind,
        "origin": origin,
        "by": by,
        "against": against,
        "evidence": evidence,
        "status": status,
        "blamed": against if status == "upheld" else [],
        "opened_at": ctx.block_time,
        "until": until,
        "resolved_by": "",
        "resolution": b"",
    }
    JobDisputed(
        job="job:" + j["id"],
        by="org:" + ctx.org,
        against=org_subjects(against),
        number=number,
        kind=kind,
        origin=origin,
        evidence=evidence,
        status=status,
        until=until,
    )
    return number


# --- views and small helpers ----------------------------------------------------------------------


@view
def job_of(id: str) -> dict:
    j = jobs.get(id)
    require(j is not None, "UNKNOWN_JOB")
    return j


@view
def spec_of(id: str) -> dict:
    spec = specs.get(id)
    require(spec is not None, "UNKNOWN_JOB")
    return spec


@view
def missing(id: str) -> list:
    """Whom the current state waits for (`waits_for`); nobody while a dispute holds the job."""
    j = job_of(id)
    return waits_for(j, specs[id])


def absent_of(j: dict, spec: dict) -> list:
    """Whom the end of a late job names: nobody before all have accepted, since who never agreed owes no step.

    Nor for a silence before the first owner binds: until then the agents meet, and only they know who did not come.
    """
    if j["state"] == "accepted" and len(j["bound"]) == 0:
        return unfit(j, spec)
    return [] if j["state"] == "proposed" else waits_for(j, spec)


def waits_for(j: dict, spec: dict) -> list:
    """Who keeps the job from going on: whoever let a step of others be refused, else those whose step is not in.

    Nobody, where the program, a grant or an account lets no step pass: that is no party's silence.
    """
    state = j["state"]
    if state in GUARDED:
        causes = unfit(j, spec)
        if len(causes) > 0:
            return causes
        use = use_of(j["id"], spec, j["initiator"])
        if not in_force(spec) or not grants.stand(use):
            return []
    if state == "proposed":
        if not accounts.stands(job=j["id"]):
            return []
        return without(party_names(spec), j["accepted"])
    if state == "accepted":
        return without(unique(j["owners"]), j["bound"])
    if state == "running":
        return without(party_names(spec), j["transcripts"])
    if state == "computed":
        return without(unique(j["owners"]), j["reveals"])
    if state == "revealed":
        return without(spec["receivers"], j["results"])
    if state == "committed":
        return without(party_names(spec), j["signed"])
    return []


@view
def certificate_body(job: str) -> dict:
    j = job_of(job)
    require(j["state"] == "committed" or j["state"] == "certified", "WRONG_STATE")
    return body_of(j, specs[job])


@view
def dispute_of(job: str, number: int) -> dict:
    d = disputes.get((job, number))
    require(d is not None, "UNKNOWN_DISPUTE")
    return d


def waiting(j: dict, state: str) -> dict:
    """The job, which must be in this state and within its time."""
    require(j["state"] == state, "WRONG_STATE")
    require(ctx.block_time <= j["deadline"], "DEADLINE_PASSED")
    return j


def enter(j: dict, spec: dict, state: str):
    j["state"] = state
    j["since"] = ctx.block_time
    j["height"] = ctx.height
    j["deadline"] = ctx.block_time + spec["deadlines"][WAITING[state]]


def is_final(j: dict) -> bool:
    return j["state"] not in WAITING and j["state"] != "disputed"


def use_of(job: str, spec: dict, initiator: str) -> dict:
    """What the grants' guards are told about a job; `grants` adds the input that each grant is asked about."""
    row = derived[job]
    return {
        "job": job,
        "initiator": initiator,
        "program": spec["program"],
        "purpose": spec["purpose"],
        "profile": spec["profile"],
        "min_group": spec["min_group"],
        "parameters": spec["parameters"],
        "participants": party_names(spec),
        "receivers": spec["receivers"],
        "membership": row["membership"],
        "epsilon": row["epsilon"],
        "inputs": spec["inputs"],
    }


def grant_ids(spec: dict) -> list:
    return [item["grant"] for item in spec["inputs"]]


def party_of(spec: dict, org: str) -> dict:
    found = None
    for party in spec["participants"]:
        if party["org"] == org:
            found = party
    require(found is not None, "NOT_PARTICIPANT")
    return found


def party_names(spec: dict) -> list:
    return [party["org"] for party in spec["participants"]]


def org_subjects(names: list) -> list:
    return ["org:" + name for name in names]


def unique(items: list) -> list:
    kept = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return kept


def without(items: list, gone: list) -> list:
    return [item for item in items if item not in gone]


def member(role: str, other: str) -> str:
    fits = role in ctx.roles or other in ctx.roles or "admin" in ctx.roles
    require(fits, "KEY_ROLE_MISSING")
    return ctx.org


def check_id(id: str):
    require(0 < len(id) <= 64, "BAD_ID")
    require(id[0].isalnum() and id.strip(ID_LETTERS) == "", "BAD_ID")


def check_hash(hash: bytes):
    require(len(hash) == 32, "BAD_HASH")


def check_text(text: str):
    require(len(text) <= TEXT_MAX, "TEXT_TOO_LONG")
