"""Computations: proposed under grants, accepted, bound, run, revealed, committed, certified.

All transitions of a job are here; whether a grant allows one is decided in `grants.guard` alone.
"""

TEXT_MAX = 256
ZERO_HASH = b"\x00" * 32
ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
USES = ("plain", "join", "aggregate", "compare", "encrypted")
SPEC_KEYS = 9
INPUTS_MAX = 8
PARTICIPANTS_MAX = 8
PARAMETERS_BYTES_MAX = 8192
METRICS_BYTES_MAX = 4096
STAGES_MAX = 256
DISPUTES_MAX = 16
DISPUTE_MS = 604800000
DEADLINE_MIN_MS = 1000
DEADLINE_MAX_MS = 2592000000
CERTIFICATE_DOMAIN = "assent/job-certificate/1"

# The states that wait for something, and the deadline of the spec that bounds each.
WAITING = {
    "proposed": "accept",
    "accepted": "bind",
    "running": "run",
    "computed": "reveal",
    "revealed": "commit",
    "committed": "certify",
}
BY_CONTRACT = ("TRANSCRIPT_MISMATCH", "EQUIVOCATION")

programs = Map(str, dict)
program_votes = Map(bytes, list)
specs = Map(str, dict)
jobs = Map(str, dict)
bindings = Map(str, dict)
stages = Map(str, dict)
stage_heads = Map(str, dict)
transcripts = Map(str, dict)
results = Map(str, dict)
signatures = Map(str, bytes)
certificates = Map(str, dict)
disputes = Map(str, dict)

orgs = Contract("orgs")
grants = Contract("grants")

ProgramVoted = Event(by=subject, program=str, votes=list)
ProgramSet = Event(by=subject, program=str, status=str, code_hash=bytes)
JobProposed = Event(
    job=subject,
    by=subject,
    program=str,
    purpose=str,
    profile=str,
    inputs=list,
    participants=list,
    receivers=list,
    deadline=int,
)
JobAccepted = Event(job=subject, by=subject, code_hash=bytes)
JobReady = Event(job=subject, by=subject, deadline=int)
JobRejected = Event(job=subject, by=subject, reason=str)
JobBound = Event(job=subject, by=subject, commitment=bytes)
JobRunning = Event(job=subject, by=subject, deadline=int)
StageCommitted = Event(job=subject, by=subject, stage=int, kind=str, hash=bytes)
TranscriptCommitted = Event(job=subject, by=subject, channels=dict)
JobComputed = Event(job=subject, by=subject, deadline=int)
RevealApproved = Event(job=subject, by=subject)
JobRevealed = Event(job=subject, by=subject, deadline=int)
ResultCommitted = Event(job=subject, by=subject, hash=bytes, schema=str, metrics=dict)
JobCommitted = Event(job=subject, by=subject, deadline=int, digest=bytes)
JobSigned = Event(job=subject, by=subject, signature=bytes)
JobCertified = Event(job=subject, by=subject, digest=bytes)
JobAborted = Event(job=subject, by=subject, phase=str, missing=list, reason=str, evidence=bytes)
JobExpired = Event(job=subject, by=subject, phase=str, missing=list)
JobDisputed = Event(job=subject, by=subject, against=subject, number=int, kind=str, evidence=bytes, until=int)
DisputeResolved = Event(job=subject, by=subject, number=int, outcome=str, evidence=bytes)
DisputeLapsed = Event(job=subject, by=subject, number=int)


# --- programs -------------------------------------------------------------------------------------


@init
def setup(programs: list):
    for program in programs:
        set_program(program, "")


@export
def vote_program(program: dict) -> bool:
    """Vote for a program record; at a majority of organisations it is set."""
    org = member("admin", "admin")
    check_program(program)
    ballot = sha256(encode(program))
    votes = program_votes.get(ballot, [])
    require(org not in votes, "ALREADY_VOTED")
    present = orgs.active_members()
    votes = [voter for voter in votes if voter in present] + [org]
    ProgramVoted(by="org:" + org, program=program["id"], votes=votes)
    if len(votes) <= len(present) // 2:
        program_votes[ballot] = votes
        return False
    if ballot in program_votes:
        del program_votes[ballot]
    set_program(program, org)
    return True


def set_program(program: dict, org: str):
    check_program(program)
    known = programs.get(program["id"])
    if known is not None:
        known["status"] = program["status"]
        # What a grant names must not change under it: a new version is a new id.
        require(known == program, "PROGRAM_FIXED")
    programs[program["id"]] = program
    by = "contract:jobs" if org == "" else "org:" + org
    ProgramSet(by=by, program=program["id"], status=program["status"], code_hash=program["code_hash"])


def check_program(program: dict):
    require(len(program) == 7, "BAD_PROGRAM")
    check_id(program["id"])
    check_text(program["kind"])
    check_hash(program["code_hash"])
    require(len(program["leakage"]) <= 4096, "TEXT_TOO_LONG")
    require(0 < len(program["uses"]) <= len(USES), "BAD_PROGRAM")
    for use in program["uses"]:
        require(use in USES, "BAD_PROGRAM")
    require(0 < len(program["profiles"]) <= 16, "BAD_PROGRAM")
    for profile in program["profiles"]:
        check_id(profile)
    require(program["status"] in ("active", "retired"), "BAD_PROGRAM")


# --- proposal -------------------------------------------------------------------------------------


@export
def propose(spec: dict) -> str:
    """Propose a computation; the id is the hex SHA-256 of the encoded spec."""
    org = member("steward", "agent")
    require(orgs.has_role(org, "user"), "ORG_ROLE_MISSING")
    check_spec(spec)
    job = sha256(encode(spec)).hex()
    require(job not in jobs, "JOB_EXISTS")
    owners = []
    roots = []
    for number in range(len(spec["inputs"])):
        found = grants.check(
            id=spec["inputs"][number]["grant"], use=use_of(job, spec, org, number), phase="proposed"
        )
        owners.append(found["owner"])
        roots.append(found["root"])
    check_participants(spec, owners)
    specs[job] = spec
    j = {
        "id": job,
        "program": spec["program"],
        "initiator": org,
        "state": "proposed",
        "deadline": 0,
        "since": 0,
        "height": 0,
        "roots": roots,
        "owners": owners,
        "accepted": [],
        "bound": [],
        "transcripts": [],
        "reveals": [],
        "results": [],
        "signed": [],
        "running_height": 0,
        "revealed_height": 0,
        "ended_at": 0,
        "disputes": 0,
        "open_disputes": 0,
        "resume": "",
    }
    enter(j, spec, "proposed")
    jobs[job] = j
    JobProposed(
        job="job:" + job,
        by="org:" + org,
        program=spec["program"],
        purpose=spec["purpose"],
        profile=spec["profile"],
        inputs=spec["inputs"],
        participants=party_names(spec),
        receivers=spec["receivers"],
        deadline=j["deadline"],
    )
    return job


def check_spec(spec: dict):
    require(len(spec) == SPEC_KEYS + 1, "BAD_SPEC")
    for name in ("program", "parameters", "purpose", "profile", "min_group"):
        require(name in spec, "BAD_SPEC")
    for name in ("inputs", "participants", "receivers", "deadlines", "nonce"):
        require(name in spec, "BAD_SPEC")
    check_id(spec["program"])
    program = programs.get(spec["program"])
    require(program is not None, "UNKNOWN_PROGRAM")
    require(program["status"] == "active", "UNKNOWN_PROGRAM")
    check_parameters(spec["parameters"])
    check_id(spec["purpose"])
    require(spec["profile"] in program["profiles"], "PROFILE_NOT_OFFERED")
    require(spec["min_group"] >= 1, "BAD_MIN_GROUP")
    check_inputs(spec["inputs"], program["uses"])
    check_deadlines(spec["deadlines"])
    check_nonce(spec["nonce"])


def check_parameters(parameters: dict):
    require(len(encode(parameters)) <= PARAMETERS_BYTES_MAX, "BAD_PARAMETERS")


def check_inputs(inputs: list, uses: list):
    require(0 < len(inputs) <= INPUTS_MAX, "BAD_INPUTS")
    seen = {}
    for item in inputs:
        require(len(item) == 4, "BAD_INPUTS")
        require(item["grant"] not in seen, "BAD_INPUTS")
        seen[item["grant"]] = True
        check_uses(item["columns"], uses)
        check_id(item["dataset"])
        require(item["version"] >= 1, "BAD_INPUTS")


def check_uses(columns: dict, uses: list):
    require(len(columns) > 0, "BAD_INPUTS")
    for name in columns:
        require(columns[name] in uses, "USE_NOT_OFFERED")


def check_deadlines(deadlines: dict):
    require(len(deadlines) == len(WAITING), "BAD_DEADLINES")
    for state in WAITING:
        require(WAITING[state] in deadlines, "BAD_DEADLINES")
        require(DEADLINE_MIN_MS <= deadlines[WAITING[state]] <= DEADLINE_MAX_MS, "BAD_DEADLINES")


def check_nonce(nonce: bytes):
    require(len(nonce) == 16, "BAD_NONCE")


def check_participants(spec: dict, owners: list):
    parties = spec["participants"]
    receivers = spec["receivers"]
    require(2 <= len(parties) <= PARTICIPANTS_MAX, "BAD_PARTICIPANTS")
    names = {}
    for party in parties:
        require(len(party) == 3 and party["org"] not in names, "BAD_PARTICIPANTS")
        names[party["org"]] = True
        record = orgs.org_of(party["org"])
        require(record["status"] == "active", "UNKNOWN_ORG")
        require(record["agent_key"] != b"", "NO_AGENT")
        require(record["agent_key"] == party["agent_key"], "AGENT_KEY_MISMATCH")
        role = party["role"]
        fits = role == "owner" and party["org"] in owners
        fits = fits or (role == "compute" and "compute" in record["roles"])
        fits = fits or (role == "receiver" and party["org"] in receivers)
        require(fits, "PARTICIPANT_ROLE")
    for owner in owners:
        require(owner in names, "OWNER_NOT_PARTICIPANT")
    require(0 < len(receivers) <= PARTICIPANTS_MAX, "BAD_RECEIVERS")
    seen = {}
    for receiver in receivers:
        require(receiver in names and receiver not in seen, "BAD_RECEIVERS")
        seen[receiver] = True


# --- acceptance and inputs ------------------------------------------------------------------------


@export
def accept(job: str, code_hash: bytes) -> str:
    """Take part: checks every grant again and reserves a run of each of one's own."""
    org = member("agent", "agent")
    j = waiting(job, "proposed")
    spec = specs[job]
    party = party_of(spec, org)
    require(org not in j["accepted"], "ALREADY_ACCEPTED")
    require(orgs.org_of(org)["agent_key"] == party["agent_key"], "AGENT_KEY_MISMATCH")
    require(programs[j["program"]]["code_hash"] == code_hash, "CODE_HASH_MISMATCH")
    for number in range(len(j["owners"])):
        grant = spec["inputs"][number]["grant"]
        use = use_of(job, spec, j["initiator"], number)
        if j["owners"][number] == org:
            grants.reserve(id=grant, use=use)
        else:
            grants.check(id=grant, use=use, phase="accepted")
    j["accepted"].append(org)
    JobAccepted(job="job:" + job, by="org:" + org, code_hash=code_hash)
    if len(j["accepted"]) == len(spec["participants"]):
        enter(j, spec, "accepted")
        JobReady(job="job:" + job, by="org:" + org, deadline=j["deadline"])
    jobs[job] = j
    return j["state"]


@export
def reject(job: str, reason: str):
    org = member("steward", "agent")
    check_text(reason)
    j = waiting(job, "proposed")
    party_of(specs[job], org)
    close(j, "rejected")
    jobs[job] = j
    JobRejected(job="job:" + job, by="org:" + org, reason=reason)


@export
def bind(job: str, commitment: bytes) -> str:
    """Commit to one's inputs before any traffic; the last owner's starts the run and uses it up."""
    org = member("agent", "agent")
    check_hash(commitment)
    known = bindings.get(job + "/" + org)
    if known is not None:
        require(known["commitment"] == commitment, "ALREADY_BOUND")
        return jobs[job]["state"]
    j = waiting(job, "accepted")
    require(org in j["owners"], "NOT_DATA_OWNER")
    bindings[job + "/" + org] = {"commitment": commitment, "height": ctx.height}
    j["bound"].append(org)
    JobBound(job="job:" + job, by="org:" + org, commitment=commitment)
    if len(j["bound"]) == len(unique(j["owners"])):
        spec = specs[job]
        for number in range(len(j["owners"])):
            use = use_of(job, spec, j["initiator"], number)
            grants.consume(id=spec["inputs"][number]["grant"], use=use)
        j["running_height"] = ctx.height
        enter(j, spec, "running")
        JobRunning(job="job:" + job, by="org:" + org, deadline=j["deadline"])
    jobs[job] = j
    return j["state"]


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
    """Commit one finished stage; a second commit that differs is kept as evidence."""
    org = member("agent", "agent")
    check_id(kind)
    check_hash(hash)
    key = job + "/" + org + "/" + str(stage)
    known = stages.get(key)
    if known is not None:
        if known["hash"] == hash and known["kind"] == kind and known["previous"] == previous:
            return jobs[job]["state"]
        return equivocation(job, org, [known["hash"], hash])
    j = waiting(job, "running")
    party_of(specs[job], org)
    require(org not in j["transcripts"], "TRANSCRIPT_CLOSED")
    head = stage_heads.get(job + "/" + org, {"count": 0, "hash": ZERO_HASH})
    require(stage == head["count"], "STAGE_NOT_CONTIGUOUS")
    require(stage < STAGES_MAX, "TOO_MANY_STAGES")
    require(previous == head["hash"], "STAGE_CHAIN_BROKEN")
    require(bytes_sent >= 0 and rounds >= 0 and cpu_ms >= 0, "BAD_STAGE")
    stages[key] = {
        "stage": stage,
        "kind": kind,
        "hash": hash,
        "previous": previous,
        "bytes": bytes_sent,
        "rounds": rounds,
        "cpu_ms": cpu_ms,
        "height": ctx.height,
    }
    stage_heads[job + "/" + org] = {"count": stage + 1, "hash": hash}
    StageCommitted(job="job:" + job, by="org:" + org, stage=stage, kind=kind, hash=hash)
    return j["state"]


@export
def commit_transcript(job: str, profile: str, channels: dict) -> str:
    """Commit the hash of every channel; both ends must name the same, or the job is disputed."""
    org = member("agent", "agent")
    known = transcripts.get(job + "/" + org)
    if known is not None:
        if known == channels:
            return jobs[job]["state"]
        return equivocation(job, org, [known, channels])
    j = waiting(job, "running")
    spec = specs[job]
    party_of(spec, org)
    require(profile == spec["profile"], "PROFILE_MISMATCH")
    require(job + "/" + org in stage_heads, "STAGE_MISSING")
    check_channels(channels, spec, org)
    transcripts[job + "/" + org] = channels
    TranscriptCommitted(job="job:" + job, by="org:" + org, channels=channels)
    for other in j["transcripts"]:
        theirs = transcripts[job + "/" + other][org]
        if theirs != channels[other]:
            evidence = sha256(encode([org, channels[other], other, theirs]))
            open_dispute(j, "TRANSCRIPT_MISMATCH", other, evidence)
    j["transcripts"].append(org)
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
    j = waiting(job, "computed")
    require(org in j["owners"], "NOT_DATA_OWNER")
    j["reveals"].append(org)
    final = len(j["reveals"]) == len(unique(j["owners"]))
    spec = specs[job]
    RevealApproved(job="job:" + job, by="org:" + org)
    for number in range(len(j["owners"])):
        if final or j["owners"][number] == org:
            use = use_of(job, spec, j["initiator"], number)
            grants.reveal(id=spec["inputs"][number]["grant"], use=use, final=final)
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
    known = results.get(job + "/" + org)
    if known is not None:
        if known["hash"] == hash and known["schema"] == schema and known["metrics"] == metrics:
            return jobs[job]["state"]
        return equivocation(job, org, [known["hash"], hash])
    j = waiting(job, "revealed")
    spec = specs[job]
    require(org in spec["receivers"], "NOT_RECEIVER")
    results[job + "/" + org] = {
        "hash": hash,
        "schema": schema,
        "metrics": metrics,
        "height": ctx.height,
    }
    j["results"].append(org)
    ResultCommitted(job="job:" + job, by="org:" + org, hash=hash, schema=schema, metrics=metrics)
    if len(j["results"]) == len(spec["receivers"]):
        enter(j, spec, "committed")
        tell_grants(j, spec, "committed")
        digest = sha256(encode(body_of(j, spec)))
        JobCommitted(job="job:" + job, by="org:" + org, deadline=j["deadline"], digest=digest)
    jobs[job] = j
    return j["state"]


@export
def certify(job: str, digest: bytes, signature: bytes) -> str:
    """Sign the outcome with the agent key named in the spec; the last signature makes the certificate."""
    org = member("agent", "agent")
    j = job_of(job)
    if org in j["signed"] and signatures[job + "/" + org] == signature:
        return j["state"]
    j = waiting(job, "committed")
    spec = specs[job]
    party = party_of(spec, org)
    body = body_of(j, spec)
    require(digest == sha256(encode(body)), "DIGEST_MISMATCH")
    require(verify_signature(party["agent_key"], digest, signature), "BAD_SIGNATURE")
    require(org not in j["signed"], "ALREADY_SIGNED")
    signatures[job + "/" + org] = signature
    j["signed"].append(org)
    JobSigned(job="job:" + job, by="org:" + org, signature=signature)
    if len(j["signed"]) == len(spec["participants"]):
        certificates[job] = {
            "body": body,
            "digest": digest,
            "signatures": {name: signatures[job + "/" + name] for name in j["signed"]},
            "height": ctx.height,
        }
        close(j, "certified")
        JobCertified(job="job:" + job, by="org:" + org, digest=digest)
    jobs[job] = j
    return j["state"]


def body_of(j: dict, spec: dict) -> dict:
    """What the participants sign: every commitment of the job."""
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
                "columns": item["columns"],
                "root": j["roots"][number],
            }
        )
    heads = {name: stage_heads[job + "/" + name] for name in names}
    outcomes = {name: results[job + "/" + name] for name in spec["receivers"]}
    return {
        "domain": CERTIFICATE_DOMAIN,
        "job": job,
        "program": spec["program"],
        "code_hash": programs[spec["program"]]["code_hash"],
        "parameters": sha256(encode(spec["parameters"])),
        "purpose": spec["purpose"],
        "profile": spec["profile"],
        "min_group": spec["min_group"],
        "initiator": j["initiator"],
        "inputs": inputs,
        "participants": spec["participants"],
        "receivers": spec["receivers"],
        "bindings": {name: bindings[job + "/" + name]["commitment"] for name in j["bound"]},
        "stages": {name: [heads[name]["count"], heads[name]["hash"]] for name in names},
        "transcripts": {name: transcripts[job + "/" + name] for name in names},
        "results": {
            name: {
                "hash": outcomes[name]["hash"],
                "schema": outcomes[name]["schema"],
                "metrics": outcomes[name]["metrics"],
            }
            for name in spec["receivers"]
        },
        "running_height": j["running_height"],
        "revealed_height": j["revealed_height"],
    }


# --- other ends -----------------------------------------------------------------------------------


@export
def abort(job: str, reason: str, evidence: bytes):
    """End a job before its time; once it runs, with the hash of one's evidence."""
    org = member("steward", "agent")
    check_text(reason)
    j = job_of(job)
    require(not is_final(j), "WRONG_STATE")
    if org != j["initiator"]:
        party_of(specs[job], org)
    if evidence != b"":
        check_hash(evidence)
    require(evidence != b"" or j["state"] in ("proposed", "accepted"), "EVIDENCE_REQUIRED")
    phase = j["state"]
    absent = missing(job)
    close(j, "aborted")
    jobs[job] = j
    JobAborted(
        job="job:" + job, by="org:" + org, phase=phase, missing=absent, reason=reason, evidence=evidence
    )


@export
def expire(job: str):
    """End a job whose state has passed its deadline; anyone may."""
    j = job_of(job)
    require(not is_final(j), "WRONG_STATE")
    require(ctx.block_time > j["deadline"], "TOO_EARLY")
    phase = j["state"]
    absent = missing(job)
    close(j, "expired")
    jobs[job] = j
    JobExpired(job="job:" + job, by="org:" + ctx.org, phase=phase, missing=absent)


def close(j: dict, outcome: str):
    j["state"] = outcome
    j["since"] = ctx.block_time
    j["height"] = ctx.height
    j["deadline"] = 0
    j["ended_at"] = ctx.block_time
    spec = specs[j["id"]]
    for item in spec["inputs"]:
        grants.finish(id=item["grant"], job=j["id"], outcome=outcome)


# --- disputes -------------------------------------------------------------------------------------


@export
def report(job: str, kind: str, against: str, evidence: bytes) -> int:
    """Dispute a job: an open one stops, an ended one keeps its state and gains a record."""
    org = member("steward", "agent")
    check_id(kind)
    check_hash(evidence)
    j = job_of(job)
    spec = specs[job]
    if not orgs.has_role(org, "auditor"):
        party_of(spec, org)
    party_of(spec, against)
    number = open_dispute(j, kind, against, evidence)
    jobs[job] = j
    return number


@export
def resolve(job: str, number: int, outcome: str, evidence: bytes) -> str:
    """Decide a dispute as a neutral auditor: upheld aborts an open job, dismissed lets it go on."""
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
    require(outcome in ("upheld", "dismissed"), "BAD_OUTCOME")
    require(outcome == "upheld" or d["kind"] not in BY_CONTRACT, "NOT_DISMISSIBLE")
    settle_dispute(j, d, outcome, org, evidence)
    if j["state"] == "disputed":
        if outcome == "upheld":
            close(j, "aborted")
        elif j["open_disputes"] == 0:
            enter(j, spec, j["resume"])
            j["resume"] = ""
    jobs[job] = j
    DisputeResolved(job="job:" + job, by="org:" + org, number=number, outcome=outcome, evidence=evidence)
    return j["state"]


@export
def lapse(job: str, number: int):
    """Record that nobody decided a dispute in time; anyone may."""
    d = dispute_of(job, number)
    require(d["status"] == "open", "WRONG_STATE")
    require(ctx.block_time > d["until"], "TOO_EARLY")
    j = job_of(job)
    settle_dispute(j, d, "lapsed", "", b"")
    jobs[job] = j
    DisputeLapsed(job="job:" + job, by="org:" + ctx.org, number=number)


def settle_dispute(j: dict, d: dict, outcome: str, org: str, evidence: bytes):
    d["status"] = outcome
    d["resolved_by"] = org
    d["resolution"] = evidence
    disputes[d["job"] + "/" + str(d["number"])] = d
    j["open_disputes"] -= 1


def equivocation(job: str, org: str, both: list) -> str:
    """Record that a party said two different things at one place."""
    j = job_of(job)
    open_dispute(j, "EQUIVOCATION", org, sha256(encode(both)))
    jobs[job] = j
    return j["state"]


def open_dispute(j: dict, kind: str, against: str, evidence: bytes) -> int:
    if is_final(j):
        require(ctx.block_time <= j["ended_at"] + DISPUTE_MS, "DEADLINE_PASSED")
    require(j["disputes"] < DISPUTES_MAX, "TOO_MANY_DISPUTES")
    number = j["disputes"] + 1
    until = ctx.block_time + DISPUTE_MS
    j["disputes"] = number
    j["open_disputes"] += 1
    disputes[j["id"] + "/" + str(number)] = {
        "job": j["id"],
        "number": number,
        "kind": kind,
        "by": ctx.org,
        "against": against,
        "evidence": evidence,
        "status": "open",
        "opened_at": ctx.block_time,
        "until": until,
        "resolved_by": "",
        "resolution": b"",
    }
    if j["state"] in WAITING:
        j["resume"] = j["state"]
        j["state"] = "disputed"
        j["since"] = ctx.block_time
        j["height"] = ctx.height
        j["deadline"] = until
    JobDisputed(
        job="job:" + j["id"],
        by="org:" + ctx.org,
        against="org:" + against,
        number=number,
        kind=kind,
        evidence=evidence,
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
    """The organisations that the current state waits for."""
    j = job_of(id)
    spec = specs[id]
    state = j["resume"] if j["state"] == "disputed" else j["state"]
    if state == "proposed":
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
    d = disputes.get(job + "/" + str(number))
    require(d is not None, "UNKNOWN_DISPUTE")
    return d


def waiting(job: str, state: str) -> dict:
    j = job_of(job)
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


def tell_grants(j: dict, spec: dict, phase: str):
    for item in spec["inputs"]:
        grants.record(id=item["grant"], job=j["id"], phase=phase)


def use_of(job: str, spec: dict, initiator: str, number: int) -> dict:
    """What a grant's guard, and its policy contract, are told about one input of a job."""
    item = spec["inputs"][number]
    return {
        "job": job,
        "grant": item["grant"],
        "initiator": initiator,
        "program": spec["program"],
        "purpose": spec["purpose"],
        "profile": spec["profile"],
        "min_group": spec["min_group"],
        "parameters": spec["parameters"],
        "dataset": item["dataset"],
        "version": item["version"],
        "columns": item["columns"],
        "participants": party_names(spec),
        "receivers": spec["receivers"],
        "inputs": spec["inputs"],
    }


def party_of(spec: dict, org: str) -> dict:
    found = None
    for party in spec["participants"]:
        if party["org"] == org:
            found = party
    require(found is not None, "NOT_PARTICIPANT")
    return found


def party_names(spec: dict) -> list:
    return [party["org"] for party in spec["participants"]]


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
