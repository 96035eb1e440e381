"""Programs: pages of Python that members approved, each with what the ledger itself derived of it.

Members vote on a page and on facts that follow of it, not on what its author says of it. An id stands for one
page for ever; what a job does under it follows from the page, its parameters and the datasets' schemas alone.
"""

ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
TEXT_MAX = 256
OPEN_MAX = 32
# What an organisation does in a day (UTC) that begins a history, or that histories of others are told of.
PROPOSALS_A_DAY_MAX = 200
RETRACTIONS_A_DAY_MAX = 200
DAY_MS = 86400000
INPUTS_MAX = 8

pages = Map(bytes, str)  # hash of a page -> its text
facts = Map(bytes, dict)  # hash of a page -> what follows of it with its defaults, whatever the datasets
page_uses = Map(bytes, int)  # hash of a page -> open proposals and programs that it stands in
proposals = Map(int, dict)
latest = Var(int, 0)
open_of = Map(str, int)
programs = Map(str, dict)
retirements = Map(str, dict)  # id -> {org: [block time of its vote to retire, and at which that lapses]}
daily = Map(str, dict)  # org -> {day, act: how often on that day}; the next day's first act overwrites it

governance = Contract("governance")
datasets = Contract("datasets")

ProgramProposed = Event(
    program=subject, by=subject, seq=int, page=bytes, plan=bytes, hash=bytes, reason=str
)
ProgramApproved = Event(program=subject, by=subject, seq=int, hash=bytes, votes=list, needed=int)
ProgramRetracted = Event(program=subject, by=subject, seq=int, hash=bytes, votes=list)
ProgramWithdrawn = Event(program=subject, by=subject, seq=int)
ProgramExpired = Event(program=subject, by=subject, seq=int)
ProgramCommitted = Event(program=subject, by=subject, seq=int, page=bytes, plan=bytes, votes=list)
ProgramRetireVoted = Event(program=subject, by=subject, reason=str, votes=list, needed=int)
ProgramRetireRetracted = Event(program=subject, by=subject, votes=list)
ProgramRetired = Event(program=subject, by=subject, reason=str, votes=list)


@init
def setup(pages: dict[str, str]):
    """Take over the programs that genesis was agreed to begin with: {id: text of the page}."""
    for id in pages:
        check_id(id)
        found = trace_page(pages[id], [], {}, "")
        hold_page(found, pages[id])
        put_program(id, 0, found["page"], found["plan"], "genesis", [])


# --- proposals -------------------------------------------------------------------------------------------


@export
def propose(id: str, source: str, reason: str) -> int:
    """Derive what follows of a page and store it; the proposal is the proposer's vote. Returns its number."""
    org = admin()
    check_id(id)
    check_text(reason)
    require(id not in programs, "PROGRAM_EXISTS")
    require(open_of.get(org, 0) < OPEN_MAX, "TOO_MANY_PROPOSALS")
    require(count_today(org, "proposals") <= PROPOSALS_A_DAY_MAX, "TOO_MANY_PROPOSALS_TODAY")
    require(governance.stands(org, ctx.block_time), "KEYS_REPLACED")  # in the block of the replacement itself
    found = trace_page(source, [], {}, "")
    hold_page(found, source)
    seq = latest.get() + 1
    latest.set(seq)
    open_of[org] = open_of.get(org, 0) + 1
    content = {"seq": seq, "id": id, "page": found["page"], "plan": found["plan"]}
    proposal = content.copy()
    proposal.update({
        "hash": sha256(encode(content)),
        "reason": reason,
        "by": org,
        "votes": [org],
        "proposed_at": ctx.block_time,
        "expires": ctx.block_time + governance.terms_of()["proposal_ms"],
    })
    proposals[seq] = proposal
    ProgramProposed(
        program="program:" + id,
        by="org:" + org,
        seq=seq,
        page=found["page"],
        plan=found["plan"],
        hash=proposal["hash"],
        reason=reason,
    )
    return seq


@export
def approve(seq: int, hash: bytes):
    """Vote for a proposal; its hash covers the page and its plan, so all that follows of it."""
    org = admin()
    proposal = in_time(seq)
    require(proposal["hash"] == hash, "HASH_MISMATCH")
    require(governance.stands(org, proposal["proposed_at"]), "KEYS_REPLACED")
    require(org not in proposal["votes"], "ALREADY_VOTED")
    proposal["votes"] = proposal["votes"] + [org]
    proposals[seq] = proposal
    ProgramApproved(
        program="program:" + proposal["id"],
        by="org:" + org,
        seq=seq,
        hash=hash,
        votes=proposal["votes"],
        needed=governance.votes_needed("program"),
    )


@export
def retract(seq: int):
    """Take back one's vote for an open proposal; it may be given again."""
    org = admin()
    proposal = in_time(seq)
    require(org in proposal["votes"], "NOT_VOTED")
    count_retraction(org)
    proposal["votes"] = [voter for voter in proposal["votes"] if voter != org]
    proposals[seq] = proposal
    ProgramRetracted(
        program="program:" + proposal["id"],
        by="org:" + org,
        seq=seq,
        hash=proposal["hash"],
        votes=proposal["votes"],
    )


@export
def withdraw(seq: int):
    """Take back one's own proposal; it leaves the state with its page, and stays in the events."""
    org = admin()
    proposal = in_time(seq)
    require(proposal["by"] == org, "NOT_PROPOSER")
    forget(proposal)
    ProgramWithdrawn(program="program:" + proposal["id"], by="org:" + org, seq=seq)


@export
def expire(seq: int):
    """Say that the time of an undecided proposal is over; it leaves the state, as when withdrawn."""
    proposal = proposal_of(seq)
    require(ctx.block_time > proposal["expires"] or is_void(proposal), "TOO_EARLY")
    forget(proposal)
    ProgramExpired(program="program:" + proposal["id"], by="org:" + ctx.org, seq=seq)


@export
def commit(seq: int):
    """Make an approved page a program: jobs may name its id from now on. Votes are counted now."""
    org = admin()
    proposal = in_time(seq)
    counted = governance.tally("program", proposal["votes"], proposal["proposed_at"])
    require(counted["passed"], "NOT_ENOUGH_VOTES")
    id: str = proposal["id"]
    require(id not in programs, "PROGRAM_EXISTS")
    leave_open(proposal)
    put_program(id, seq, proposal["page"], proposal["plan"], proposal["by"], counted["counted"])
    ProgramCommitted(
        program="program:" + id,
        by="org:" + org,
        seq=seq,
        page=proposal["page"],
        plan=proposal["plan"],
        votes=counted["counted"],
    )


def put_program(id: str, seq: int, page: bytes, plan: bytes, by: str, votes: list):
    programs[id] = {
        "id": id,
        "seq": seq,
        "page": page,
        "plan": plan,
        "by": by,
        "approved_by": votes,
        "height": ctx.height,
        "status": "active",
    }


def leave_open(proposal: dict):
    """A proposal that is decided leaves the state: what members decided on is in the program's record."""
    open_of[proposal["by"]] = open_of[proposal["by"]] - 1
    del proposals[proposal["seq"]]


def forget(proposal: dict):
    leave_open(proposal)
    let_go_page(proposal["page"])


def hold_page(found: dict, source: str):
    """Count one more user of a page, and keep it with what follows of it."""
    page: bytes = found["page"]
    uses = page_uses.get(page, 0)
    page_uses[page] = uses + 1
    if uses == 0:
        pages[page] = source
        facts[page] = found


def let_go_page(page: bytes):
    """Count one user of a page less; a page that nobody uses leaves the state."""
    uses = page_uses[page] - 1
    if uses > 0:
        page_uses[page] = uses
    else:
        del page_uses[page]
        del pages[page]
        del facts[page]


# --- retiring --------------------------------------------------------------------------------------------


@export
def retire(id: str, reason: str):
    """Vote to end a program for good; at the number that the policy asks it starts nothing more, at any phase."""
    org = admin()
    check_text(reason)
    program = program_of(id)
    require(program["status"] == "active", "WRONG_STATE")
    votes = live_votes(id)
    require(org not in votes, "ALREADY_VOTED")
    require(governance.stands(org, ctx.block_time), "KEYS_REPLACED")  # in the block of the replacement itself
    votes[org] = [ctx.block_time, ctx.block_time + governance.terms_of()["proposal_ms"]]
    counted = governance.tally("program", list(votes), ctx.block_time)
    ProgramRetireVoted(
        program="program:" + id,
        by="org:" + org,
        reason=reason,
        votes=list(votes),
        needed=counted["needed"],
    )
    if not counted["passed"]:
        retirements[id] = votes
        return
    if id in retirements:
        del retirements[id]
    program["status"] = "retired"
    programs[id] = program
    ProgramRetired(program="program:" + id, by="org:" + org, reason=reason, votes=counted["counted"])


@export
def retract_retirement(id: str):
    """Take back one's vote to retire a program."""
    org = admin()
    program_of(id)
    votes = live_votes(id)
    require(org in votes, "NOT_VOTED")
    count_retraction(org)
    votes.pop(org)
    if len(votes) > 0:
        retirements[id] = votes
    else:
        del retirements[id]
    ProgramRetireRetracted(program="program:" + id, by="org:" + org, votes=list(votes))


def live_votes(id: str) -> dict:
    """Votes to retire that count; those of keys that members replaced since are void."""
    votes = retirements.get(id, {})
    said = {org: times[0] for org, times in votes.items() if ctx.block_time <= times[1]}
    return {org: votes[org] for org in governance.standing(said)}


# --- views -----------------------------------------------------------------------------------------------


@view
def proposal_of(seq: int) -> dict:
    proposal = proposals.get(seq)
    require(proposal is not None, "UNKNOWN_PROPOSAL")
    return proposal


@view
def program_of(id: str) -> dict:
    program = programs.get(id)
    require(program is not None, "UNKNOWN_PROGRAM")
    return program


@view
def page_of(hash: bytes) -> str:
    source = pages.get(hash)
    require(source is not None, "UNKNOWN_PAGE")
    return source


@view
def facts_of(hash: bytes) -> dict:
    """What follows of a page with its defaults: uses, releases, leakage, costs (contracts/pages/facts.py)."""
    found = facts.get(hash)
    require(found is not None, "UNKNOWN_PAGE")
    return found


@view
def is_active(id: str) -> bool:
    program = programs.get(id)
    return program is not None and program["status"] == "active"


@view
def readiness(seq: int) -> dict:
    """What a proposal still needs: {counted, missing, needed, passed, expires, due}."""
    proposal = proposal_of(seq)
    found = governance.tally("program", proposal["votes"], proposal["proposed_at"])
    free = ctx.block_time <= proposal["expires"] and not is_void(proposal) and proposal["id"] not in programs
    return {
        "counted": found["counted"],
        "missing": found["missing"],
        "needed": found["needed"],
        "passed": found["passed"],
        "expires": proposal["expires"],
        "due": found["passed"] and free,
    }


@view
def retiring(id: str) -> dict:
    """Who votes to retire a program now: {counted, needed}."""
    program_of(id)
    counted = governance.tally("program", list(live_votes(id)), ctx.block_time)
    return {"counted": counted["counted"], "needed": counted["needed"]}


@view
def derive(id: str, inputs: list[dict], parameters: dict, initiator: str) -> dict:
    """What follows of an initiator's job, its uses, who learns what and what accounts are charged.

    It is {page, plan, uses: {name: {column: use}}, receivers, profiles, membership: {name: [org]}, charges:
    {name: {epsilon, delta, rho, figures: {column: number}}}} (contracts/pages/facts.py). An input is {name: on the
    page, dataset, version, columns: those that the page may see}.
    """
    program = program_of(id)
    require(0 < len(inputs) <= INPUTS_MAX, "BAD_INPUTS")
    seen = {}
    schemas = []
    for item in inputs:
        require(len(item) == 4, "BAD_INPUTS")
        found = schema_of(item["name"], item["dataset"], item["version"], item["columns"])
        require(found["name"] not in seen, "BAD_INPUTS")
        seen[found["name"]] = True
        schemas.append(found)
    return trace_page(pages[program["page"]], schemas, parameters, initiator)


def schema_of(name: str, dataset: str, version: int, columns: list[str]) -> dict:
    found = datasets.declared_of(dataset, version, columns)
    found["name"] = name
    return found


# --- checks ----------------------------------------------------------------------------------------------


def in_time(seq: int) -> dict:
    proposal = proposal_of(seq)
    require(ctx.block_time <= proposal["expires"], "DEADLINE_PASSED")
    require(not is_void(proposal), "KEYS_REPLACED")
    return proposal


def is_void(proposal: dict) -> bool:
    """Tell whether members replaced the admin keys of the proposer meanwhile."""
    return not governance.stands(proposal["by"], proposal["proposed_at"])


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


def admin() -> str:
    require("admin" in ctx.roles, "KEY_ROLE_MISSING")
    return ctx.org


def check_id(id: str):
    require(0 < len(id) <= 64, "BAD_ID")
    require(id[0].isalnum() and id.strip(ID_LETTERS) == "", "BAD_ID")


def check_text(text: str):
    require(len(text) <= TEXT_MAX, "TEXT_TOO_LONG")
