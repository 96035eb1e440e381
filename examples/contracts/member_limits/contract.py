"""member_limits: a blocklist and rate limits that hold for the whole consortium.

A majority of the members blocks an organisation, lifts the block, or sets how many jobs an organisation may
start in a window of time. A blocked organisation neither starts jobs, nor takes part, nor receives results.
"""

REASON_MAX = 256
VOTE_MS = 1209600000  # two weeks: an older vote no longer counts
WINDOW_MIN_MS = 60000
WINDOW_MAX_MS = 2678400000  # 31 days
RUNS_MAX = 1000000

blocked = Map(str, dict)  # org -> {since, reason}
ballots = Map(bytes, dict)  # hash of a motion -> {organisation that voted for it: when}
limits = Map(str, dict)  # org, or "*" for every one without its own -> {runs, window_ms}
started = Map(tuple[str, int, int], int)  # (org, window_ms, number of the window) -> jobs started in it
counted = Map(str, bool)  # job -> counted already, whatever number of grants it has

orgs = Contract("orgs")

MotionVoted = Event(by=subject, about=subject | None, kind=str, votes=list, needed=int)
Blocked = Event(org=subject, by=subject, reason=str)
Unblocked = Event(org=subject, by=subject)
LimitSet = Event(org=subject | None, by=subject, runs=int, window_ms=int)
JobCounted = Event(org=subject, job=subject, count=int, runs=int)


@init
def setup(runs: int, window_ms: int):
    """The limit of every organisation that has none of its own."""
    put_limit("*", runs, window_ms)


@export
def vote_block(org: str, reason: str) -> bool:
    """Vote to block an organisation; it has no vote on itself. True when it is blocked."""
    require(len(reason) <= REASON_MAX, "TEXT_TOO_LONG")
    require(org in orgs.active_members(), "UNKNOWN_ORG")
    require(org not in blocked, "ALREADY_BLOCKED")
    if not vote("block", org, [org, reason]):
        return False
    blocked[org] = {"since": ctx.block_time, "reason": reason}
    Blocked(org="org:" + org, by="org:" + ctx.org, reason=reason)
    return True


@export
def vote_unblock(org: str) -> bool:
    """Vote to lift a block; True when it is lifted."""
    require(org in blocked, "NOT_BLOCKED")
    if not vote("unblock", org, [org, blocked[org]["since"]]):
        return False
    del blocked[org]
    Unblocked(org="org:" + org, by="org:" + ctx.org)
    return True


@export
def vote_limit(org: str, runs: int, window_ms: int) -> bool:
    """Vote for the limit of an organisation, or of all others with "*"; True when it is set."""
    check_limit(runs, window_ms)
    require(org == "*" or org in orgs.active_members(), "UNKNOWN_ORG")
    if not vote("limit", org, [org, runs, window_ms]):
        return False
    put_limit(org, runs, window_ms)
    return True


@export(nested=True)
def allow(job: dict, phase: str) -> bool:
    """What grants ask at every phase; a job counts when it starts running, once."""
    org = job["initiator"]
    require(org not in blocked, "ORG_BLOCKED")
    for name in job["participants"]:
        require(name not in blocked, "PARTICIPANT_BLOCKED")
    for name in job["receivers"]:
        require(name not in blocked, "RECEIVER_BLOCKED")
    if phase == "reveal" or job["job"] in counted:
        return True
    limit = limit_of(org)
    place = (org, limit["window_ms"], ctx.block_time // limit["window_ms"])
    count = started.get(place, 0)
    require(count < limit["runs"], "RATE_EXCEEDED")
    # Only the guard counts: anyone may ask, and a question must not use up another's limit.
    if phase == "running" and ctx.caller == "contract:grants":
        started[place] = count + 1
        counted[job["job"]] = True
        JobCounted(org="org:" + org, job="job:" + job["job"], count=count + 1, runs=limit["runs"])
    return True


@view
def limit_of(org: str) -> dict:
    own = limits.get(org)
    return limits["*"] if own is None else own


@view
def left_of(org: str) -> int:
    """How many jobs an organisation may still start in this window; 0 when it is blocked."""
    if org in blocked:
        return 0
    limit = limit_of(org)
    count = started.get((org, limit["window_ms"], ctx.block_time // limit["window_ms"]), 0)
    return max(0, limit["runs"] - count)


@view
def block_of(org: str) -> dict | None:
    return blocked.get(org)


def vote(kind: str, about: str, motion: list) -> bool:
    require("admin" in ctx.roles, "KEY_ROLE_MISSING")
    require(kind == "limit" or ctx.org != about, "OWN_CASE")
    ballot = sha256(encode([kind, motion]))
    members = orgs.active_members()
    old = ballots.get(ballot, {})
    votes = {org: old[org] for org in old if org in members and ctx.block_time < old[org] + VOTE_MS}
    require(ctx.org not in votes, "ALREADY_VOTED")
    votes[ctx.org] = ctx.block_time
    needed = len(members) // 2 + 1
    subject_of = None if about == "*" else "org:" + about
    MotionVoted(by="org:" + ctx.org, about=subject_of, kind=kind, votes=list(votes), needed=needed)
    if len(votes) < needed:
        ballots[ballot] = votes
        return False
    if ballot in ballots:
        del ballots[ballot]
    return True


def put_limit(org: str, runs: int, window_ms: int):
    check_limit(runs, window_ms)
    limits[org] = {"runs": runs, "window_ms": window_ms}
    LimitSet(
        org=None if org == "*" else "org:" + org,
        by="contract:" + ctx.contract,
        runs=runs,
        window_ms=window_ms,
    )


def check_limit(runs: int, window_ms: int):
    require(0 <= runs <= RUNS_MAX, "BAD_LIMIT")
    require(WINDOW_MIN_MS <= window_ms <= WINDOW_MAX_MS, "BAD_LIMIT")
