"""What code runs: proposals, approvals by organisations, activation, access, freezing and revocation."""

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
# Parts of the state that the ledger writes itself.
RESERVED = ("executed", "schedule", "subjects")
UNFREEZABLE = ("orgs", "lifecycle", "governance")
ARGUMENTS_BYTES_MAX = 16384
ACCESS_BYTES_MAX = 4096
TEXT_MAX = 256
AHEAD_MAX = 1000000
OPEN_MAX = 32
# What an organisation does in a day (UTC) that begins a history, or that histories of others are told of.
PROPOSALS_A_DAY_MAX = 200
LIBRARIES_A_DAY_MAX = 200
RETRACTIONS_A_DAY_MAX = 200
DAY_MS = 86400000
# Libraries that one organisation has on the ledger, and the bytes of their sources together.
LIBRARIES_MAX = 32
LIBRARY_BYTES_MAX = 524288
# What members vote about a version that is in force; each vote lapses as a proposal does.
BALLOTS = ("freeze", "unfreeze", "revoke")
KEY_ROLES = ("admin", "steward", "agent")
# The method of a policy contract, as `grants` calls it: allow(job: dict, phase: str) -> bool.
POLICY_JOB_HINTS = ("dict", "dict[str, Value]", "Value")
POLICY_PHASE_HINTS = ("str", "Value")
# Memory that the compiled code in force takes in every node (contracts/programs.py).
CODE_BYTES_MAX = 201326592

active = Map(str, dict)
sources = Map(bytes, str)
source_uses = Map(bytes, int)
proposals = Map(str, dict)
numbers = Map(str, dict)  # name -> {latest, open: proposals, versions: how many of `versions`, code: bytes in force}
open_of = Map(str, int)
history = Map(str, dict)
versions = Map(str, list)
orders = Map(str, dict)  # name -> {Map that was ever ordered: type of its keys}
names = Map(int, str)
name_count = Var(int, 0)
ballots = Map(str, dict)
lone_freezes = Map(str, dict)
code_bytes = Var(int, 0)
libraries = Map(bytes, dict)  # hash of the source -> who published it; `open`: proposals that name it
library_totals = Map(str, dict)  # organisation -> {count, bytes}
daily = Map(str, dict)  # org -> {day, act: how often on that day}; the next day's first act overwrites it

orgs = Contract("orgs")
governance = Contract("governance")

ContractProposed = Event(
    contract=subject, by=subject, seq=int, source_hash=bytes, ir_hash=bytes, hash=bytes, active_at=int
)
ContractApproved = Event(contract=subject, by=subject, seq=int, hash=bytes, votes=list, needed=int)
ContractRetracted = Event(contract=subject, by=subject, seq=int, hash=bytes, votes=list)
ContractWithdrawn = Event(contract=subject, by=subject, seq=int)
ContractCommitted = Event(
    contract=subject, by=subject, seq=int, source_hash=bytes, active_at=int, votes=list, access=dict
)
ContractExpired = Event(contract=subject, by=subject, seq=int)
ContractFreezeVoted = Event(contract=subject, by=subject, seq=int, reason=str, votes=list)
ContractFrozen = Event(contract=subject, by=subject, seq=int, reason=str, until=int)
ContractUnfreezeVoted = Event(contract=subject, by=subject, seq=int, votes=list)
ContractUnfrozen = Event(contract=subject, by=subject, seq=int)
ContractRevokeVoted = Event(contract=subject, by=subject, seq=int, reason=str, votes=list)
ContractRevoked = Event(contract=subject, by=subject, seq=int, reason=str)
ContractVoteRetracted = Event(contract=subject, by=subject, seq=int, ballot=str, votes=list)
ContractAccessSet = Event(contract=subject, by=subject, access=dict)
LibraryPublished = Event(library=subject, by=subject, source_hash=bytes, ir_hash=bytes, bytes=int)
LibraryWithdrawn = Event(library=subject, by=subject, source_hash=bytes)


# --- proposals -------------------------------------------------------------------------------------------


@export
def propose(name: str, source: str, arguments: dict, terms: dict) -> int:
    """Compile and store a new version, inactive; the proposal is the proposer's vote.

    `terms` may hold `active_at`, the height from which it runs, and `access`, who may call which method.
    """
    org = admin()
    check_id(name)
    require(name not in RESERVED, "NAME_RESERVED")
    require(open_of.get(org, 0) < OPEN_MAX, "TOO_MANY_PROPOSALS")
    require(count_today(org, "proposals") <= PROPOSALS_A_DAY_MAX, "TOO_MANY_PROPOSALS_TODAY")
    require(governance.stands(org, ctx.block_time), "KEYS_REPLACED")  # in the block of the replacement itself
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
    seq = enter_open(name, org, source_hash, source)
    hold_libraries(compiled["libraries"])
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
        "libraries": compiled["libraries"],
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
    require(governance.stands(org, proposal["proposed_at"]), "KEYS_REPLACED")
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
def retract(name: str, seq: int):
    """Take back one's vote for an open proposal; it may be given again."""
    org = admin()
    proposal = open_proposal(name, seq)
    require(org in proposal["votes"], "NOT_VOTED")
    count_retraction(org)
    proposal["votes"] = [voter for voter in proposal["votes"] if voter != org]
    proposals[proposal_key(name, seq)] = proposal
    ContractRetracted(
        contract="contract:" + name,
        by="org:" + org,
        seq=seq,
        hash=proposal["hash"],
        votes=proposal["votes"],
    )


@export
def withdraw(name: str, seq: int):
    """Take back one's own proposal; it leaves the state with its source, and stays in the events."""
    org = admin()
    proposal = open_proposal(name, seq)
    require(proposal["by"] == org, "NOT_PROPOSER")
    forget(proposal)
    ContractWithdrawn(contract="contract:" + name, by="org:" + org, seq=seq)


@export
def commit(name: str, seq: int) -> int:
    """Put an approved version in force from a later height on; its @init or @migrate runs now, or nothing changes.

    Returns that height: the proposal's, at the earliest the next one.
    """
    org = admin()
    proposal = open_proposal(name, seq)
    current = current_of(name)
    counted = tally(current, proposal["votes"], proposal["proposed_at"])
    require(counted["passed"], "NOT_ENOUGH_VOTES")
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
        "approved_by": counted["counted"],
        "access": access_of(proposal, current),
        "policy": answers_policy(proposal["abi"]),
        "libraries": proposal["libraries"],
    }
    proposal["votes"] = counted["counted"]
    proposal["status"] = "committed"
    proposals[proposal_key(name, seq)] = proposal
    number = leave_open(proposal)
    # A version without @migrate follows one that runs on until then: nodes keep both.
    runs_on = serves_until(current, proposal)
    keep_orders(name, proposal["abi"])
    total = count_code(number, version["size"] + (current["size"] if runs_on else 0))
    require(total <= CODE_BYTES_MAX, "CODE_FULL")
    note_version(name, number, version)
    numbers[name] = number
    install(name, version, current, proposal)
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
        count = name_count.get()
        names[count] = name
        name_count.set(count + 1)
    else:
        record["system"] = current["system"]
    if serves_until(current, proposal):
        current["next"] = version
        record = current
    active[name] = record
    entry = version.copy()
    entry.update({"name": name, "by": proposal["by"], "committed_at": ctx.height})
    history[proposal_key(name, version["seq"])] = entry
    if current is None:
        call_init(name, version["source_hash"], proposal["arguments"])
    elif migrates(proposal):
        call_migrate(name, version["source_hash"], proposal["arguments"])
    else:
        require(len(proposal["arguments"]) == 0, "UNKNOWN_METHOD")


def serves_until(current: dict | None, proposal: dict) -> bool:
    """Whether the version before serves up to the height of this one: it has begun, and its state needs no change."""
    return current is not None and has_begun(current) and not migrates(proposal)


def note_version(name: str, number: dict, version: dict):
    """List what runs from when on; a version that has not begun gives its place to the newer one."""
    drop_unbegun(name, number)
    versions[version_key(name, number["versions"])] = [version["seq"], version["active_at"]]
    number["versions"] += 1


def drop_unbegun(name: str, number: dict):
    """Take the version that has not begun, if there is one, from the list of what ran, runs or will run."""
    count = number["versions"]
    if count > 0 and versions[version_key(name, count - 1)][1] > ctx.height:
        del versions[version_key(name, count - 1)]
        number["versions"] = count - 1


def keep_orders(name: str, abi: dict):
    """Once a Map is ordered it stays so, with keys of one type: a version that did not keep its order up to date
    would leave keys in it that are gone, or that do not compare with its own."""
    kept = orders.get(name, {})
    before = len(kept)
    ordered: list = abi.get("ordered", [])
    for map, hints in abi["maps"].items():
        if map in kept:
            require(map in ordered and kept[map] == hints[0], "ORDER_CHANGED")
        elif map in ordered:
            kept[map] = hints[0]
    if len(kept) > before:
        orders[name] = kept


def count_code(number: dict, size: int) -> int:
    """Count the code in force of a contract; return that of all: nodes would compile more at every call, unpaid."""
    total = code_bytes.get() - number["code"] + size
    number["code"] = size
    code_bytes.set(total)
    return total


def migrates(proposal: dict) -> bool:
    kinds = [method["kind"] for method in proposal["abi"]["methods"].values()]
    return "migrate" in kinds


def earliest_commit(proposal: dict, current: dict | None) -> int:
    """A @migrate changes the state that the old version works on: it must not run before its time."""
    return proposal["active_at"] - 1 if current is not None and migrates(proposal) else 0


@export
def expire(name: str, seq: int):
    """Say that the time of an undecided proposal is over; it leaves the state, as when withdrawn."""
    proposal = proposal_of(name, seq)
    require(proposal["status"] == "open", "WRONG_STATE")
    require(ctx.block_time > proposal["expires"] or is_void(proposal), "TOO_EARLY")
    forget(proposal)
    ContractExpired(contract="contract:" + name, by="org:" + ctx.org, seq=seq)


def count_retraction(org: str):
    """A vote can be given again once it was taken back, so this bounds both."""
    require(count_today(org, "retractions") <= RETRACTIONS_A_DAY_MAX, "TOO_MANY_RETRACTIONS_TODAY")


def count_today(org: str, act: str) -> int:
    """Count an act that stays for ever at nobody's vote; returns how many an organisation did today."""
    day = ctx.block_time // DAY_MS
    row = daily.get(org, {"day": day})
    if row["day"] != day:
        row = {"day": day}
    row[act] = row.get(act, 0) + 1
    daily[org] = row
    return row[act]


def enter_open(name: str, org: str, source_hash: bytes, source: str) -> int:
    """Book one more open proposal and its source; return its number."""
    number = numbers.get(name, {"latest": 0, "open": 0, "versions": 0, "code": 0})
    number["latest"] += 1
    number["open"] += 1
    numbers[name] = number
    open_of[org] = open_of.get(org, 0) + 1
    use_source(source_hash, source)
    return number["latest"]


def leave_open(proposal: dict) -> dict:
    """Book one proposal less as open; returns the row of its contract's numbers, for the caller to store."""
    open_of[proposal["by"]] = open_of[proposal["by"]] - 1
    number = numbers[proposal["name"]]
    number["open"] -= 1
    let_go_libraries(proposal["libraries"])
    return number


def forget(proposal: dict):
    """Take an undecided proposal out of the state: else one member alone could fill it."""
    name = proposal["name"]
    number = leave_open(proposal)
    del proposals[proposal_key(name, proposal["seq"])]
    if number["versions"] == 0 and number["open"] == 0 and name not in active:
        del numbers[name]
    else:
        numbers[name] = number
    release_source(proposal["source_hash"])
    for library in proposal["libraries"].values():
        release_source(library)


def use_source(source_hash: bytes, source: str):
    """Count one more user of a source: an open proposal, a committed version, or who published it as a library."""
    uses = source_uses.get(source_hash, 0)
    source_uses[source_hash] = uses + 1
    if uses == 0:
        sources[source_hash] = source


def release_source(source_hash: bytes):
    """Count one user less; a source that nobody uses leaves the state."""
    uses = source_uses[source_hash] - 1
    if uses > 0:
        source_uses[source_hash] = uses
    else:
        del source_uses[source_hash]
        del sources[source_hash]


# --- libraries -------------------------------------------------------------------------------------------


@export
def publish(source: str) -> bytes:
    """Put a library on the ledger; returns its hash, by which contracts that are proposed may name it."""
    org = admin()
    compiled = compile_library(source)
    source_hash: bytes = compiled["source_hash"]
    found = libraries.get(source_hash)
    require(found is None or found["withdrawn"], "LIBRARY_EXISTS")
    if found is None:
        use_source(source_hash, source)
    else:
        # Its publisher took it back while proposals name it: whoever publishes it now has it on its account.
        count_library(found["by"], -1, -found["bytes"])
    size = len(source.encode())
    total = count_library(org, 1, size)
    require(total["count"] <= LIBRARIES_MAX, "TOO_MANY_LIBRARIES")
    require(total["bytes"] <= LIBRARY_BYTES_MAX, "LIBRARIES_TOO_LONG")
    require(count_today(org, "libraries") <= LIBRARIES_A_DAY_MAX, "TOO_MANY_LIBRARIES_TODAY")
    libraries[source_hash] = {
        "by": org,
        "bytes": size,
        "ir_hash": compiled["ir_hash"],
        "engine": compiled["engine"],
        "size": compiled["size"],
        "published_at": ctx.height,
        "open": 0 if found is None else found["open"],
        "withdrawn": False,
    }
    LibraryPublished(
        library="library:" + source_hash.hex(),
        by="org:" + org,
        source_hash=source_hash,
        ir_hash=compiled["ir_hash"],
        bytes=size,
    )
    return source_hash


@export
def withdraw_library(source_hash: bytes):
    """Take back a library: no new proposal may name it; those that do, and versions in force, keep it."""
    org = admin()
    found = library_of(source_hash)
    require(found["by"] == org, "NOT_PUBLISHER")
    require(not found["withdrawn"], "WRONG_STATE")
    found["withdrawn"] = True
    keep_or_drop(source_hash, found)
    LibraryWithdrawn(library="library:" + source_hash.hex(), by="org:" + org, source_hash=source_hash)


def hold_libraries(named: dict[str, bytes]):
    """Let a proposal hold the libraries that its source names."""
    for source_hash in named.values():
        source_uses[source_hash] += 1
        found = libraries[source_hash]
        found["open"] += 1
        libraries[source_hash] = found


def let_go_libraries(named: dict[str, bytes]):
    """A proposal is open no more; its version, if it was committed, goes on using their sources."""
    for source_hash in named.values():
        found = libraries[source_hash]
        found["open"] -= 1
        keep_or_drop(source_hash, found)


def keep_or_drop(source_hash: bytes, found: dict):
    """Store the record of a library, or drop it: withdrawn, and of no open proposal.

    It stays on its publisher's account that long, or one member could fill the state with what it withdraws.
    """
    if not found["withdrawn"] or found["open"] > 0:
        libraries[source_hash] = found
        return
    del libraries[source_hash]
    count_library(found["by"], -1, -found["bytes"])
    release_source(source_hash)


def count_library(org: str, count: int, size: int) -> dict:
    """Book libraries of an organisation, and the bytes of their sources; return how many it has now."""
    total = library_totals.get(org, {"count": 0, "bytes": 0})
    total["count"] += count
    total["bytes"] += size
    library_totals[org] = total
    return total


@view
def library_of(source_hash: bytes) -> dict:
    """What is known of a library that is on the ledger; `withdrawn`: no new proposal may name it."""
    found = libraries.get(source_hash)
    require(found is not None, "UNKNOWN_LIBRARY")
    return found


# --- access ----------------------------------------------------------------------------------------------


@export(nested=True)
def set_access(name: str, access: dict):
    """Change who may call which method, as governance decided."""
    require(ctx.caller == "contract:governance", "GOVERNANCE_ONLY")
    record = check_access(name, access)
    record["access"] = access
    active[name] = record
    ContractAccessSet(contract="contract:" + name, by=ctx.origin, access=access)


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
        require(len(lists) == 2 and "orgs" in lists and "roles" in lists, "BAD_ACCESS")
        allowed: list = lists["orgs"]
        roles: list = lists["roles"]
        for org in allowed:
            require(org in members, "UNKNOWN_ORG")
        for role in roles:
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
def freeze(name: str, seq: int, reason: str):
    """Stop version `seq`: one organisation may, for a while and once a version; by its policy, for good."""
    org = admin()
    check_text(reason)
    record = version_of(name, seq)
    require(name not in UNFREEZABLE, "SYSTEM_PROTECTED")
    require(not (record["status"] == "frozen" and record["frozen_until"] == 0), "WRONG_STATE")
    votes = cast("freeze", record, org)
    ContractFreezeVoted(contract="contract:" + name, by="org:" + org, seq=seq, reason=reason, votes=votes)
    if tally(record, votes, ctx.block_time)["passed"]:
        stop(record, org, reason, 0)
    elif not record["system"] and org not in lone_of(record):
        until = ctx.height + governance.terms_of()["freeze_blocks"]
        set_lone(record, org, until)
        # The members may have shortened such freezes meanwhile: one that began before lasts as long as it would have.
        stop(record, org, reason, max(lone_of(record).values()))


@export
def unfreeze(name: str, seq: int):
    """Vote to let version `seq` run again; anyone's word suffices once the freeze has lapsed."""
    org = admin()
    record = version_of(name, seq)
    require(record["status"] == "frozen", "WRONG_STATE")
    if is_frozen(record):
        votes = cast("unfreeze", record, org)
        ContractUnfreezeVoted(contract="contract:" + name, by="org:" + org, seq=seq, votes=votes)
        if not tally(record, votes, ctx.block_time)["passed"]:
            return
        drop_ballot("freeze", name)
    resume(record, org)


@export
def revoke(name: str, seq: int, reason: str):
    """Vote to end a contract for good, because of version `seq`; its state stays readable."""
    org = admin()
    check_text(reason)
    record = version_of(name, seq)
    require(not record["system"], "SYSTEM_PROTECTED")
    votes = cast("revoke", record, org)
    ContractRevokeVoted(contract="contract:" + name, by="org:" + org, seq=seq, reason=reason, votes=votes)
    if tally(record, votes, ctx.block_time)["passed"]:
        record["status"] = "revoked"
        record["frozen_until"] = 0
        record["next"] = {}
        active[name] = record
        for ballot in BALLOTS:
            drop_ballot(ballot, name)
        number = numbers[name]
        count_code(number, 0)
        drop_unbegun(name, number)
        numbers[name] = number
        ContractRevoked(contract="contract:" + name, by="org:" + org, seq=seq, reason=reason)


@export
def retract_vote(name: str, seq: int, ballot: str):
    """Take back one's vote to freeze, unfreeze or revoke; with a vote to freeze, one's own freeze ends."""
    org = admin()
    require(ballot in BALLOTS, "UNKNOWN_BALLOT")
    record = version_of(name, seq)
    votes = live_votes(ballot, record)
    own = lone_of(record).get(org, 0) if ballot == "freeze" else 0
    require(org in votes or own > ctx.height, "NOT_VOTED")
    count_retraction(org)
    votes.pop(org, None)
    ballots[ballot_key(ballot, name)] = {"seq": seq, "votes": votes}
    voters = list(votes.keys())
    ContractVoteRetracted(contract="contract:" + name, by="org:" + org, seq=seq, ballot=ballot, votes=voters)
    if own > ctx.height:
        end_lone(record, org)


def version_of(name: str, seq: int) -> dict:
    """The record of the version that runs, or will first run; a vote about another one reverts."""
    record = contract_of(name)
    require(record["status"] != "revoked", "WRONG_STATE")
    require(record["seq"] == seq, "WRONG_VERSION")
    return record


def live_votes(ballot: str, record: dict) -> dict:
    """Who votes so about this version: {org: [block time at which it was cast, and at which it lapses]}.

    Votes of keys that members replaced since are void: who had them may have given them.
    """
    found = ballots.get(ballot_key(ballot, record["name"]))
    if found is None or found["seq"] != record["seq"]:
        return {}
    said = {org: times[0] for org, times in found["votes"].items() if ctx.block_time <= times[1]}
    return {org: found["votes"][org] for org in governance.standing(said)}


def cast(ballot: str, record: dict, org: str) -> list:
    """Add a vote; return who votes so now."""
    votes = live_votes(ballot, record)
    require(org not in votes, "ALREADY_VOTED")
    require(governance.stands(org, ctx.block_time), "KEYS_REPLACED")  # in the block of the replacement itself
    votes[org] = [ctx.block_time, ctx.block_time + governance.terms_of()["proposal_ms"]]
    ballots[ballot_key(ballot, record["name"])] = {"seq": record["seq"], "votes": votes}
    return list(votes.keys())


def drop_ballot(ballot: str, name: str):
    if ballot_key(ballot, name) in ballots:
        del ballots[ballot_key(ballot, name)]


def lone_of(record: dict) -> dict:
    """Who froze this version by its own word, and up to which height; 0 once it took that back."""
    found = lone_freezes.get(record["name"])
    return found["orgs"] if found is not None and found["seq"] == record["seq"] else {}


def set_lone(record: dict, org: str, until: int):
    froze = lone_of(record)
    froze[org] = until
    lone_freezes[record["name"]] = {"seq": record["seq"], "orgs": froze}


def end_lone_freezes(record: dict):
    """What members decided together, or the last of them took back, leaves no freeze of one's own."""
    for org in lone_of(record):
        set_lone(record, org, 0)


def end_lone(record: dict, org: str):
    """End an organisation's own freeze; those of others last as long as they would have."""
    set_lone(record, org, 0)
    if record["status"] != "frozen" or record["frozen_until"] == 0:
        return
    until = max(lone_of(record).values())
    if until > ctx.height:
        record["frozen_until"] = until
        active[record["name"]] = record
    else:
        resume(record, org)


def stop(record: dict, org: str, reason: str, until: int):
    name = record["name"]
    record["status"] = "frozen"
    record["frozen_until"] = until
    active[name] = record
    # Votes to lift an earlier freeze do not lift this one; those that confirmed it are spent.
    drop_ballot("unfreeze", name)
    if until == 0:
        drop_ballot("freeze", name)
        end_lone_freezes(record)
    seq = record["seq"]
    ContractFrozen(contract="contract:" + name, by="org:" + org, seq=seq, reason=reason, until=until)


def resume(record: dict, org: str):
    name = record["name"]
    record["status"] = "active"
    record["frozen_until"] = 0
    active[name] = record
    drop_ballot("unfreeze", name)
    end_lone_freezes(record)
    ContractUnfrozen(contract="contract:" + name, by="org:" + org, seq=record["seq"])


def ballot_key(ballot: str, name: str) -> str:
    return ballot + "/" + name


# --- views -----------------------------------------------------------------------------------------------


@view
def proposal_of(name: str, seq: int) -> dict:
    """An open or a committed proposal; one that was withdrawn or has expired is in the events alone."""
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
    """Tell whether its methods answer at this height: begun, not frozen, not revoked."""
    record = current_of(name)
    return record is not None and has_begun(record) and not is_frozen(record)


@view
def policy_fault(name: str) -> str:
    """Say why this contract cannot answer as the policy of a grant now; "" when it can."""
    record = current_of(name)
    if record is None:
        return "POLICY_UNKNOWN"
    if record["system"]:
        return "POLICY_SYSTEM"
    if record["active_at"] > ctx.height or record["status"] == "revoked":
        return "POLICY_NOT_ACTIVE"
    if record["status"] == "frozen" and is_frozen(record):
        return "POLICY_FROZEN"
    return "" if record["policy"] else "POLICY_SHAPE"


@view
def votes_needed(name: str) -> int:
    """Organisations whose votes decide about this contract, by governance's policy."""
    return governance.votes_needed(kind_of(active.get(name)))


@view
def readiness(name: str, seq: int) -> dict:
    """Who has approved, who is missing, and whether votes, time and height let it be committed (`due`).

    Its @init or @migrate may still revert.
    """
    proposal = proposal_of(name, seq)
    current = current_of(name)
    found = tally(current, proposal["votes"], proposal["proposed_at"])
    found["status"] = status_of(proposal, current)
    found["expires"] = proposal["expires"]
    found["from_height"] = max(0, earliest_commit(proposal, current))
    found["due"] = (
        found["status"] == "open" and found["passed"] and ctx.height + 1 >= found["from_height"]
    )
    return found


# --- parts -----------------------------------------------------------------------------------------------


def status_of(proposal: dict, current: dict | None) -> str:
    """`open`, `committed`, or why one that is open can not be committed any more: `expired`, `void`, `stale`."""
    if proposal["status"] != "open":
        return proposal["status"]
    if ctx.block_time > proposal["expires"]:
        return "expired"
    if is_void(proposal):
        return "void"
    stale = current is not None and (proposal["seq"] <= newest_seq(current) or current["status"] == "revoked")
    return "stale" if stale else "open"


def is_void(proposal: dict) -> bool:
    """Tell whether members replaced the admin keys of the proposer meanwhile."""
    return not governance.stands(proposal["by"], proposal["proposed_at"])


def current_of(name: str) -> dict | None:
    """The stored record, once the version that was to follow has taken its place."""
    record = active.get(name)
    if record is None or len(record["next"]) == 0 or record["next"]["active_at"] > ctx.height:
        return record
    record.update(record["next"])
    record.update({"status": "active", "frozen_until": 0, "next": {}})
    return record


def has_begun(record: dict) -> bool:
    return record["status"] != "revoked" and record["active_at"] <= ctx.height


def is_frozen(record: dict) -> bool:
    lapsed = 0 < record["frozen_until"] < ctx.height
    return record["status"] == "frozen" and not lapsed


def answers_policy(abi: dict) -> bool:
    """Tell whether it can be asked `allow(job={…}, phase="…")` and answers with a bool."""
    method = abi["methods"].get("allow")
    if method is None or not method["nested"] or method["returns"] != "bool":
        return False
    hints = {name: hint for name, hint in method["params"]}
    if sorted(hints.keys()) != ["job", "phase"]:
        return False
    return hints["job"] in POLICY_JOB_HINTS and hints["phase"] in POLICY_PHASE_HINTS


def newest_seq(record: dict) -> int:
    return record["next"]["seq"] if len(record["next"]) > 0 else record["seq"]


def tally(record: dict | None, votes: list, asked_at: int) -> dict:
    """What governance says of these votes about a contract with this record, or about a new one, asked then."""
    return governance.tally(kind_of(record), votes, asked_at)


def kind_of(record: dict | None) -> str:
    """What decides about a contract with this record, or about a new one."""
    return "system_contract" if record is not None and record["system"] else "contract"


def open_proposal(name: str, seq: int) -> dict:
    proposal = proposal_of(name, seq)
    require(proposal["status"] == "open", "WRONG_STATE")
    require(ctx.block_time <= proposal["expires"], "DEADLINE_PASSED")
    require(not is_void(proposal), "KEYS_REPLACED")
    return proposal


def proposal_key(name: str, seq: int) -> str:
    return name + "/" + str(seq)


def version_key(name: str, place: int) -> str:
    return name + "/" + str(place)


def admin() -> str:
    require("admin" in ctx.roles, "KEY_ROLE_MISSING")
    return ctx.org


def check_id(id: str):
    require(0 < len(id) <= 64, "BAD_ID")
    require(id[0].isalnum() and id.strip(ID_LETTERS) == "", "BAD_ID")


def check_text(text: str):
    require(len(text) <= TEXT_MAX, "TEXT_TOO_LONG")
