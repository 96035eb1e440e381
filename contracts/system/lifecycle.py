"""What code runs: proposals, approvals by organisations, activation, access, freezing and revocation."""

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
# Parts of the state that the ledger writes itself.
RESERVED = ("executed", "schedule", "subjects")
UNFREEZABLE = ("orgs", "lifecycle", "governance")
ARGUMENTS_BYTES_MAX = 16384
ACCESS_BYTES_MAX = 4096
TEXT_MAX = 256
AHEAD_MAX = 1000000
KEY_ROLES = ("admin", "steward", "agent")
# Memory that the compiled code in force takes in every node (contracts/programs.py).
CODE_BYTES_MAX = 201326592

active = Map(str, dict)
sources = Map(bytes, str)
proposals = Map(str, dict)
latest = Map(str, int)
history = Map(str, dict)
versions = Map(str, list)
names = Map(int, str)
name_count = Var(int, 0)
code_of = Map(str, int)
code_bytes = Var(int, 0)
freezes = Map(str, dict)
revocations = Map(str, list)

orgs = Contract("orgs")
governance = Contract("governance")

ContractProposed = Event(
    contract=subject, by=subject, seq=int, source_hash=bytes, ir_hash=bytes, hash=bytes, active_at=int
)
ContractApproved = Event(contract=subject, by=subject, seq=int, hash=bytes, votes=list, needed=int)
ContractWithdrawn = Event(contract=subject, by=subject, seq=int)
ContractCommitted = Event(
    contract=subject, by=subject, seq=int, source_hash=bytes, active_at=int, votes=list, access=dict
)
ContractExpired = Event(contract=subject, by=subject, seq=int)
ContractFreezeVoted = Event(contract=subject, by=subject, reason=str, votes=list)
ContractFrozen = Event(contract=subject, by=subject, reason=str, until=int)
ContractUnfreezeVoted = Event(contract=subject, by=subject, votes=list)
ContractUnfrozen = Event(contract=subject, by=subject)
ContractRevokeVoted = Event(contract=subject, by=subject, reason=str, votes=list)
ContractRevoked = Event(contract=subject, by=subject, reason=str)
ContractAccessSet = Event(contract=subject, by=subject, access=dict)


# --- proposals -------------------------------------------------------------------------------------------


@export
def propose(name: str, source: str, arguments: dict, terms: dict) -> int:
    """Compile and store a new version, inactive; the proposal is the proposer's vote.

    `terms` may hold `active_at`, the height from which it runs, and `access`, who may call which method.
    """
    org = admin()
    check_id(name)
    require(name not in RESERVED, "NAME_RESERVED")
    require(len(encode(arguments)) <= ARGUMENTS_BYTES_MAX, "ARGUMENTS_TOO_LONG")
    current = current_of(name)
    require(current is None or current["status"] != "revoked", "CONTRACT_REVOKED")
    for term in terms.keys():
        require(term in ("active_at", "access"), "BAD_TERMS")
    active_at: int = terms.get("active_at", 0)
    require(0 <= active_at <= ctx.height + AHEAD_MAX, "BAD_HEIGHT")
    compiled = compile_contract(source)
    access = terms.get("access")
    if access is not None:
        require(current is None or not current["system"], "SYSTEM_PROTECTED")
        check_lists(access, compiled["abi"])
    source_hash = compiled["source_hash"]
    seq = latest.get(name, 0) + 1
    if source_hash not in sources:
        sources[source_hash] = source
    latest[name] = seq
    content = {
        "name": name,
        "seq": seq,
        "source_hash": source_hash,
        "ir_hash": compiled["ir_hash"],
        "engine": compiled["engine"],
        "arguments": arguments,
        "active_at": active_at,
        "access": access,
    }
    proposal = content.copy()
    proposal.update({
        "hash": sha256(encode(content)),
        "abi": compiled["abi"],
        "by": org,
        "size": compiled["size"],
        "votes": [org],
        "proposed_at": ctx.block_time,
        "expires": ctx.block_time + governance.terms_of()["proposal_ms"],
        "status": "open",
    })
    proposals[proposal_key(name, seq)] = proposal
    ContractProposed(
        contract="contract:" + name,
        by="org:" + org,
        seq=seq,
        source_hash=source_hash,
        ir_hash=compiled["ir_hash"],
        hash=proposal["hash"],
        active_at=active_at,
    )
    return seq


@export
def approve(name: str, seq: int, hash: bytes):
    """Vote for a proposal; its hash covers source, arguments, height and access."""
    org = admin()
    proposal = open_proposal(name, seq)
    require(proposal["hash"] == hash, "HASH_MISMATCH")
    require(org not in proposal["votes"], "ALREADY_VOTED")
    proposal["votes"] = proposal["votes"] + [org]
    proposals[proposal_key(name, seq)] = proposal
    ContractApproved(
        contract="contract:" + name,
        by="org:" + org,
        seq=seq,
        hash=hash,
        votes=proposal["votes"],
        needed=votes_needed(name),
    )


@export
def withdraw(name: str, seq: int):
    org = admin()
    proposal = open_proposal(name, seq)
    require(proposal["by"] == org, "NOT_PROPOSER")
    close(proposal, "withdrawn")
    ContractWithdrawn(contract="contract:" + name, by="org:" + org, seq=seq)


@export
def commit(name: str, seq: int) -> int:
    """Put an approved version in force from a later height on; its @init or @migrate runs now, or nothing changes.

    Returns that height: the proposal's, at the earliest the next one.
    """
    org = admin()
    proposal = open_proposal(name, seq)
    require(tally(name, proposal["votes"])["passed"], "NOT_ENOUGH_VOTES")
    current = current_of(name)
    if current is not None:
        require(current["status"] != "revoked", "CONTRACT_REVOKED")
        require(seq > newest_seq(current), "STALE_SEQ")
        require(ctx.height >= earliest_commit(proposal, current), "TOO_EARLY")
    version = {
        "seq": seq,
        "source_hash": proposal["source_hash"],
        "ir_hash": proposal["ir_hash"],
        "engine": proposal["engine"],
        "size": proposal["size"],
        "active_at": max(proposal["active_at"], ctx.height + 1),
        "approved_by": proposal["votes"],
        "access": access_of(proposal, current),
    }
    # A version without @migrate follows one that runs on until then: nodes keep both.
    runs_on = current is not None and not migrates(proposal)
    keep_code(name, version["size"] + (current["size"] if runs_on else 0))
    install(name, version, current, proposal)
    close(proposal, "committed")
    ContractCommitted(
        contract="contract:" + name,
        by="org:" + org,
        seq=seq,
        source_hash=version["source_hash"],
        active_at=version["active_at"],
        votes=proposal["votes"],
        access=version["access"],
    )
    return version["active_at"]


def install(name: str, version: dict, current: dict | None, proposal: dict):
    record = version.copy()
    record.update({"name": name, "status": "active", "frozen_until": 0, "system": False, "next": {}})
    if current is None:
        names[name_count.get()] = name
        name_count.set(name_count.get() + 1)
    else:
        record["system"] = current["system"]
    if current is not None and not migrates(proposal):
        # The state needs no change, so the old version serves up to the height at which this one begins.
        current["next"] = version
        record = current
    active[name] = record
    entry = version.copy()
    entry.update({"name": name, "by": proposal["by"], "committed_at": ctx.height})
    history[proposal_key(name, version["seq"])] = entry
    begun = [run for run in versions.get(name, []) if run[1] <= ctx.height]
    versions[name] = begun + [[version["seq"], version["active_at"]]]
    if current is None:
        call_init(name, version["source_hash"], proposal["arguments"])
    elif migrates(proposal):
        call_migrate(name, version["source_hash"], proposal["arguments"])
    else:
        require(len(proposal["arguments"]) == 0, "UNKNOWN_METHOD")


def keep_code(name: str, size: int):
    """Count the code in force of a contract; code beyond what nodes keep would be compiled at every call, unpaid."""
    total = code_bytes.get() - code_of.get(name, 0) + size
    require(total <= CODE_BYTES_MAX, "CODE_FULL")
    code_of[name] = size
    code_bytes.set(total)


def migrates(proposal: dict) -> bool:
    kinds = [method["kind"] for method in proposal["abi"]["methods"].values()]
    return "migrate" in kinds


def earliest_commit(proposal: dict, current: dict | None) -> int:
    """A @migrate changes the state that the old version works on: it must not run before its time."""
    return proposal["active_at"] - 1 if current is not None and migrates(proposal) else 0


@export
def expire(name: str, seq: int):
    proposal = proposal_of(name, seq)
    require(proposal["status"] == "open", "WRONG_STATE")
    require(ctx.block_time > proposal["expires"], "TOO_EARLY")
    close(proposal, "expired")
    ContractExpired(contract="contract:" + name, by="org:" + ctx.org, seq=seq)


# --- access ----------------------------------------------------------------------------------------------


@export
def set_access(name: str, access: dict):
    """Change who may call which method, as governance decided."""
    require(ctx.caller == "contract:governance", "GOVERNANCE_ONLY")
    record = check_access(name, access)
    record["access"] = access
    active[name] = record
    ContractAccessSet(contract="contract:" + name, by="org:" + ctx.org, access=access)


@view
def check_access(name: str, access: dict) -> dict:
    """Revert unless these lists could be set now."""
    record = contract_of(name)
    require(not record["system"], "SYSTEM_PROTECTED")
    require(record["status"] != "revoked", "WRONG_STATE")
    require(len(record["next"]) == 0, "UPGRADE_PENDING")
    check_lists(access, proposal_of(name, record["seq"])["abi"])
    return record


def check_lists(access: dict, abi: dict):
    """{method: {"orgs": […], "roles": […]}}; an empty list leaves that side open."""
    require(len(encode(access)) <= ACCESS_BYTES_MAX, "ACCESS_TOO_LONG")
    members = orgs.active_members()
    for method, lists in access.items():
        require(method in abi["methods"], "UNKNOWN_METHOD")
        require(abi["methods"][method]["kind"] == "export", "UNKNOWN_METHOD")
        require(sorted(lists.keys()) == ["orgs", "roles"], "BAD_ACCESS")
        for org in lists["orgs"]:
            require(org in members, "UNKNOWN_ORG")
        for role in lists["roles"]:
            require(role in KEY_ROLES, "BAD_ROLE")


def access_of(proposal: dict, current: dict | None) -> dict:
    """The proposal's lists; if it says nothing, those in force for the methods that still exist."""
    if proposal["access"] is not None:
        return proposal["access"]
    if current is None:
        return {}
    kept = current["next"]["access"] if len(current["next"]) > 0 else current["access"]
    methods = proposal["abi"]["methods"]
    return {
        method: lists
        for method, lists in kept.items()
        if method in methods and methods[method]["kind"] == "export"
    }


# --- freezing and revoking -------------------------------------------------------------------------------


@export
def freeze(name: str, reason: str):
    """Stop a contract: one organisation may, for a while and once a version; by its policy, for good."""
    org = admin()
    check_text(reason)
    record = contract_of(name)
    require(name not in UNFREEZABLE, "SYSTEM_PROTECTED")
    require(record["status"] != "revoked", "WRONG_STATE")
    case = freeze_of(record)
    if case is None:
        case = {"voted": [], "votes": [], "undo": [], "by": org, "reason": reason, "until": 0}
        case["seq"] = record["seq"]
    require(org not in case["voted"], "ALREADY_VOTED")
    case["voted"] = case["voted"] + [org]
    case["votes"] = case["votes"] + [org]
    confirmed = tally(name, case["votes"])["passed"]
    case["until"] = 0 if confirmed else ctx.height + governance.terms_of()["freeze_blocks"]
    freezes[name] = case
    ContractFreezeVoted(contract="contract:" + name, by="org:" + org, reason=reason, votes=case["votes"])
    if confirmed or not record["system"]:
        record["status"] = "frozen"
        record["frozen_until"] = case["until"]
        active[name] = record
        ContractFrozen(contract="contract:" + name, by="org:" + org, reason=reason, until=case["until"])


@export
def unfreeze(name: str):
    org = admin()
    record = contract_of(name)
    require(record["status"] == "frozen", "WRONG_STATE")
    case = freezes[name]
    until = case["until"]
    lapsed = until > 0 and ctx.height > until
    alone = until > 0 and case["votes"] == [org]
    if not lapsed and not alone:
        require(org not in case["undo"], "ALREADY_VOTED")
        case["undo"] = case["undo"] + [org]
        ContractUnfreezeVoted(contract="contract:" + name, by="org:" + org, votes=case["undo"])
        if not tally(name, case["undo"])["passed"]:
            freezes[name] = case
            return
    if alone:
        case["votes"] = []
    if lapsed or alone:
        # `voted` stays: no organisation may freeze the same version alone twice.
        freezes[name] = case
    else:
        del freezes[name]
    record["status"] = "active"
    record["frozen_until"] = 0
    active[name] = record
    ContractUnfrozen(contract="contract:" + name, by="org:" + org)


@export
def revoke(name: str, reason: str):
    """Vote to end a contract for good; its state stays readable."""
    org = admin()
    check_text(reason)
    record = contract_of(name)
    require(not record["system"], "SYSTEM_PROTECTED")
    require(record["status"] != "revoked", "WRONG_STATE")
    votes = revocations.get(name, [])
    require(org not in votes, "ALREADY_VOTED")
    votes = votes + [org]
    revocations[name] = votes
    ContractRevokeVoted(contract="contract:" + name, by="org:" + org, reason=reason, votes=votes)
    if tally(name, votes)["passed"]:
        record["status"] = "revoked"
        record["frozen_until"] = 0
        record["next"] = {}
        active[name] = record
        keep_code(name, 0)
        ContractRevoked(contract="contract:" + name, by="org:" + org, reason=reason)


def freeze_of(record: dict) -> dict | None:
    case = freezes.get(record["name"])
    return case if case is not None and case["seq"] == record["seq"] else None


# --- views -----------------------------------------------------------------------------------------------


@view
def proposal_of(name: str, seq: int) -> dict:
    proposal = proposals.get(proposal_key(name, seq))
    require(proposal is not None, "UNKNOWN_PROPOSAL")
    return proposal


@view
def contract_of(name: str) -> dict:
    """The record of a contract, with the version that runs at this height (or will first run)."""
    record = current_of(name)
    require(record is not None, "UNKNOWN_CONTRACT")
    return record


@view
def is_active(name: str) -> bool:
    record = current_of(name)
    if record is None or record["status"] == "revoked":
        return False
    lapsed = 0 < record["frozen_until"] < ctx.height
    return record["status"] == "active" or lapsed


@view
def votes_needed(name: str) -> int:
    """Organisations whose votes decide about this contract, by governance's policy."""
    return tally(name, [])["needed"]


@view
def readiness(name: str, seq: int) -> dict:
    """Who has approved, who is missing, and from when on the proposal can be committed."""
    proposal = proposal_of(name, seq)
    found = tally(name, proposal["votes"])
    late = proposal["status"] == "open" and ctx.block_time > proposal["expires"]
    current = current_of(name)
    stale = current is not None and (seq <= newest_seq(current) or current["status"] == "revoked")
    found["status"] = "expired" if late else "stale" if stale and proposal["status"] == "open" else proposal["status"]
    found["expires"] = proposal["expires"]
    found["from_height"] = max(0, earliest_commit(proposal, current))
    found["committable"] = (
        found["status"] == "open" and found["passed"] and ctx.height + 1 >= found["from_height"]
    )
    return found


# --- parts -----------------------------------------------------------------------------------------------


def current_of(name: str) -> dict | None:
    """The stored record, once the version that was to follow has taken its place."""
    record = active.get(name)
    if record is None or len(record["next"]) == 0 or record["next"]["active_at"] > ctx.height:
        return record
    record.update(record["next"])
    record.update({"status": "active", "frozen_until": 0, "next": {}})
    return record


def newest_seq(record: dict) -> int:
    return record["next"]["seq"] if len(record["next"]) > 0 else record["seq"]


def tally(name: str, votes: list) -> dict:
    record = active.get(name)
    system = record is not None and record["system"]
    return governance.tally("system_contract" if system else "contract", votes)


def open_proposal(name: str, seq: int) -> dict:
    proposal = proposal_of(name, seq)
    require(proposal["status"] == "open", "WRONG_STATE")
    require(ctx.block_time <= proposal["expires"], "DEADLINE_PASSED")
    return proposal


def close(proposal: dict, status: str):
    proposal["status"] = status
    proposals[proposal_key(proposal["name"], proposal["seq"])] = proposal


def proposal_key(name: str, seq: int) -> str:
    return name + "/" + str(seq)


def admin() -> str:
    # A contract called by a member must not act in the member's name.
    require(ctx.caller == "org:" + ctx.org, "DIRECT_ONLY")
    require("admin" in ctx.roles, "KEY_ROLE_MISSING")
    return ctx.org


def check_id(id: str):
    require(0 < len(id) <= 64, "BAD_ID")
    require(id[0].isalnum() and id.strip(ID_LETTERS) == "", "BAD_ID")


def check_text(text: str):
    require(len(text) <= TEXT_MAX, "TEXT_TOO_LONG")
