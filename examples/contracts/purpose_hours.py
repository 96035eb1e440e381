"""A consortium's authorisation policy: for which purposes, for whom, in which hours, over how many rows.

Grants that name this contract ask `allow` at every guarded step of a job. Each purpose on the list has one
rule; a rule is set, changed or removed when a majority of the member organisations vote for the same words.
"""

PHASES_IN_HOURS = ("proposed", "accepted", "running")
MS_PER_MINUTE = 60000
MINUTES_PER_DAY = 1440
DAYS_PER_WEEK = 7
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
LIST_MAX = 32

rules = Map(str, dict)
ballots = Map(bytes, list)

orgs = Contract("orgs")

RuleVoted = Event(by=subject, contract=subject, purpose=str, votes=list)
RuleSet = Event(by=subject, contract=subject, purpose=str, rule=dict)
RuleRemoved = Event(by=subject, contract=subject, purpose=str)


@init
def setup(initial: dict):
    for purpose in initial:
        put_rule(purpose, initial[purpose])


@view
def allow(job: dict, phase: str) -> bool:
    """What grants asks at every guarded step of a job."""
    return why(job, phase) == ""


@view
def why(job: dict, phase: str) -> str:
    """The reason why a step is not allowed, or an empty text."""
    rule = rules.get(job["purpose"])
    if rule is None:
        return "PURPOSE_NOT_LISTED"
    if job["min_group"] < rule["min_group"]:
        return "TOO_FEW_ROWS"
    for org in job["receivers"]:
        if len(rule["receivers"]) > 0 and org not in rule["receivers"]:
            return "RECEIVER_NOT_LISTED"
    for org in job["participants"]:
        if org in rule["excluded"]:
            return "PARTY_EXCLUDED"
    if phase in PHASES_IN_HOURS and not in_hours(rule):
        return "OUTSIDE_HOURS"
    return ""


@export
def vote_rule(purpose: str, rule: dict) -> bool:
    """Vote for a purpose's rule; it is set when a majority has voted for the same one."""
    check_rule(rule)
    if not vote(purpose, encode([purpose, rule])):
        return False
    put_rule(purpose, rule)
    return True


@export
def vote_removal(purpose: str) -> bool:
    """Vote to take a purpose off the list."""
    require(purpose in rules, "PURPOSE_NOT_LISTED")
    if not vote(purpose, encode([purpose, None])):
        return False
    del rules[purpose]
    RuleRemoved(by="org:" + ctx.org, contract="contract:" + ctx.contract, purpose=purpose)
    return True


@view
def rule_of(purpose: str) -> dict:
    rule = rules.get(purpose)
    require(rule is not None, "PURPOSE_NOT_LISTED")
    return rule


def vote(purpose: str, text: bytes) -> bool:
    require("admin" in ctx.roles, "KEY_ROLE_MISSING")
    ballot = sha256(text)
    members = orgs.active_members()
    votes = [org for org in ballots.get(ballot, []) if org in members]
    require(ctx.org not in votes, "ALREADY_VOTED")
    votes.append(ctx.org)
    RuleVoted(by="org:" + ctx.org, contract="contract:" + ctx.contract, purpose=purpose, votes=votes)
    decided = len(votes) > len(members) // 2
    if not decided:
        ballots[ballot] = votes
    elif ballot in ballots:
        del ballots[ballot]
    return decided


def put_rule(purpose: str, rule: dict):
    check_rule(rule)
    rules[purpose] = rule
    RuleSet(by="contract:" + ctx.contract, contract="contract:" + ctx.contract, purpose=purpose, rule=rule)


def check_rule(rule: dict):
    require(len(rule) == 6, "BAD_RULE")
    require(rule["min_group"] >= 1, "BAD_RULE")
    require(len(rule["receivers"]) <= LIST_MAX and len(rule["excluded"]) <= LIST_MAX, "BAD_RULE")
    require(0 <= rule["opens"] < rule["closes"] <= MINUTES_PER_DAY, "BAD_RULE")
    require(0 < len(rule["weekdays"]) <= DAYS_PER_WEEK, "BAD_RULE")
    for day in rule["weekdays"]:
        require(0 <= day < DAYS_PER_WEEK, "BAD_RULE")


def in_hours(rule: dict) -> bool:
    """Whether block time (UTC) lies between opening and closing minute on one of the rule's weekdays."""
    minutes = ctx.block_time // MS_PER_MINUTE
    weekday = (minutes // MINUTES_PER_DAY + EPOCH_WEEKDAY) % DAYS_PER_WEEK
    minute = minutes % MINUTES_PER_DAY
    return weekday in rule["weekdays"] and rule["opens"] <= minute < rule["closes"]
