"""What code runs: proposals, approvals by organisations, activation, freezing and revocation."""

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
RESERVED = ("executed", "schedule", "subjects")
UNFREEZABLE = ("orgs", "lifecycle")
ARGUMENTS_BYTES_MAX = 16384
TEXT_MAX = 256

active = Map(str, dict)
sources = Map(bytes, str)
proposals = Map(str, dict)
latest = Map(str, int)
history = Map(str, dict)
freezes = Map(str, dict)
revocations = Map(str, list)
proposal_lifetime = Var(int, 0)
freeze_length = Var(int, 0)

orgs = Contract("orgs")

ContractProposed = Event(contract=subject, by=subject, seq=int, source_hash=bytes, ir_hash=bytes)
ContractApproved = Event(contract=subject, by=subject, seq=int, source_hash=bytes, votes=list, needed=int)
ContractWithdrawn = Event(contract=subject, by=subject, seq=int)
ContractCommitted = Event(contract=subject, by=subject, seq=int, source_hash=bytes, active_at=int)
ContractExpired = Event(contract=subject, by=subject, seq=int)
ContractFreezeVoted = Event(contract=subject, by=subject, reason=str, votes=list)
ContractFrozen = Event(contract=subject, by=subject, reason=str, until=int)
ContractUnfreezeVoted = Event(contract=subject, by=subject, votes=list)
ContractUnfrozen = Event(contract=subject, by=subject)
ContractRevokeVoted = Event(contract=subject, by=subject, reason=str, votes=list)
ContractRevoked = Event(contract=subject, by=subject, reason=str)


@init
def setup(proposal_ms: int, freeze_blocks: int):
    require(proposal_ms > 0 and freeze_blocks > 0, "BAD_TERM")
    proposal_lifetime.set(proposal_ms)
    freeze_length.set(freeze_blocks)


@export
def propose(name: str, source: str, arguments: dict) -> int:
    """Compile and store a new version, inactive; the proposal is the proposer's vote."""
    org = admin()
    check_id(name)
    require(name not in RESERVED, "NAME_RESERVED")
    require(len(encode(arguments)) <= ARGUMENTS_BYTES_MAX, "ARGUMENTS_TOO_LONG")
    current = active.get(name)
    require(current is None or current["status"] != "revoked", "CONTRACT_REVOKED")
    compiled = compile_contract(source)
    source_hash = compiled["source_hash"]
    seq = latest.get(name, 0 if current is None else current["seq"]) + 1
    if source_hash not in sources:
        sources[source_hash] = source
    latest[name] = seq
    proposals[proposal_key(name, seq)] = {
        "name": name,
        "seq": seq,
        "source_hash": source_hash,
        "ir_hash": compiled["ir_hash"],
        "engine": compiled["engine"],
        "abi": compiled["abi"],
        "arguments": arguments,
        "by": org,
        "votes": [org],
        "needed": votes_needed(name),
        "proposed_at": ctx.block_time,
        "expires": ctx.block_time + proposal_lifetime.get(),
        "status": "open",
        "active_at": 0,
    }
    ContractProposed(
        contract="contract:" + name,
        by="org:" + org,
        seq=seq,
        source_hash=source_hash,
        ir_hash=compiled["ir_hash"],
    )
    return seq


@export
def approve(name: str, seq: int, source_hash: bytes):
    org = admin()
    proposal = open_proposal(name, seq)
    require(proposal["source_hash"] == source_hash, "HASH_MISMATCH")
    require(org not in proposal["votes"], "ALREADY_VOTED")
    proposal["votes"] = proposal["votes"] + [org]
    proposals[proposal_key(name, seq)] = proposal
    ContractApproved(
        contract="contract:" + name,
        by="org:" + org,
        seq=seq,
        source_hash=source_hash,
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
    """Activate an approved version at the next height; its @init or @migrate runs now, or nothing changes."""
    org = admin()
    proposal = open_proposal(name, seq)
    require(count(proposal["votes"]) >= votes_needed(name), "NOT_ENOUGH_VOTES")
    current = active.get(name)
    if current is not None:
        require(current["status"] != "revoked", "CONTRACT_REVOKED")
        require(seq > current["seq"], "STALE_SEQ")
    source_hash = proposal["source_hash"]
    record = {
        "name": name,
        "seq": seq,
        "source_hash": source_hash,
        "ir_hash": proposal["ir_hash"],
        "engine": proposal["engine"],
        "active_at": ctx.height + 1,
        "status": "active",
        "system": is_system(name),
        "frozen_until": 0,
        "approved_by": proposal["votes"],
    }
    active[name] = record
    history[proposal_key(name, seq)] = record
    if name in freezes:
        del freezes[name]
    proposal["active_at"] = ctx.height + 1
    close(proposal, "committed")
    if current is None:
        call_init(name, source_hash, proposal["arguments"])
    else:
        call_migrate(name, source_hash, proposal["arguments"])
    ContractCommitted(
        contract="contract:" + name,
        by="org:" + org,
        seq=seq,
        source_hash=source_hash,
        active_at=ctx.height + 1,
    )
    return ctx.height + 1


@export
def expire(name: str, seq: int):
    proposal = proposal_of(name, seq)
    require(proposal["status"] == "open", "WRONG_STATE")
    require(ctx.block_time > proposal["expires"], "TOO_EARLY")
    close(proposal, "expired")
    ContractExpired(contract="contract:" + name, by="org:" + ctx.org, seq=seq)


@export
def freeze(name: str, reason: str):
    """Stop a contract: one organisation may, for a while and once a version; a majority for good."""
    org = admin()
    check_text(reason)
    record = contract_of(name)
    require(name not in UNFREEZABLE, "SYSTEM_PROTECTED")
    require(record["status"] != "revoked", "WRONG_STATE")
    case = freezes.get(name)
    if case is None:
        case = {"voted": [], "votes": [], "undo": [], "by": org, "reason": reason, "until": 0}
    require(org not in case["voted"], "ALREADY_VOTED")
    case["voted"] = case["voted"] + [org]
    case["votes"] = case["votes"] + [org]
    confirmed = count(case["votes"]) >= votes_needed(name)
    case["until"] = 0 if confirmed else ctx.height + freeze_length.get()
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
        if count(case["undo"]) < votes_needed(name):
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
    if count(votes) >= votes_needed(name):
        record["status"] = "revoked"
        record["frozen_until"] = 0
        active[name] = record
        ContractRevoked(contract="contract:" + name, by="org:" + org, reason=reason)


@view
def proposal_of(name: str, seq: int) -> dict:
    proposal = proposals.get(proposal_key(name, seq))
    require(proposal is not None, "UNKNOWN_PROPOSAL")
    return proposal


@view
def contract_of(name: str) -> dict:
    record = active.get(name)
    require(record is not None, "UNKNOWN_CONTRACT")
    return record


@view
def is_active(name: str) -> bool:
    record = active.get(name)
    if record is None or record["status"] == "revoked":
        return False
    lapsed = 0 < record["frozen_until"] < ctx.height
    return record["status"] == "active" or lapsed


@view
def votes_needed(name: str) -> int:
    """Organisations whose votes decide: a majority, or a quorum (PBFT's) for a system contract."""
    n = len(orgs.active_members())
    if is_system(name):
        return (n + (n - 1) // 3) // 2 + 1
    return n // 2 + 1


def is_system(name: str) -> bool:
    record = active.get(name)
    return record is not None and record["system"]


def count(votes: list) -> int:
    """Votes of organisations that are still members."""
    present = orgs.active_members()
    return len([org for org in votes if org in present])


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
