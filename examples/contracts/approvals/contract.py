"""approvals: a grant is used for one purpose, and only while m of n approvers stand behind that use.

The owner of a dataset names the purposes and the approvers; each approver endorses one grant for one purpose
until a date, and may take it back at any moment. Changing the rule voids every endorsement.
"""

LIST_MAX = 16
TERM_MAX_MS = 31557600000  # a year

rules = Map(str, dict)  # dataset -> {owner, serial, purposes, approvers, threshold}
endorsements = Map(tuple[str, str], dict)  # (grant, approver) -> {serial, purpose, until}

datasets = Contract("datasets")
grants = Contract("grants")
orgs = Contract("orgs")

RuleSet = Event(dataset=subject, by=subject, serial=int, purposes=list, approvers=list[subject], threshold=int)
Endorsed = Event(grant=subject, dataset=subject, by=subject, purpose=str, until=int)
EndorsementTaken = Event(grant=subject, dataset=subject, by=subject, reason=str)


@export
def set_rule(dataset: str, purposes: list[str], approvers: list[str], threshold: int):
    """The owner says which purposes there are, who approves, and how many of them it takes."""
    org = steward()
    require(datasets.dataset_of(dataset)["owner"] == org, "NOT_OWNER")
    require(0 < len(purposes) <= LIST_MAX, "BAD_PURPOSES")
    require(0 < len(approvers) <= LIST_MAX and distinct(approvers), "BAD_APPROVERS")
    members = orgs.active_members()
    for name in approvers:
        require(name in members, "UNKNOWN_ORG")
    require(0 < threshold <= len(approvers), "BAD_THRESHOLD")
    old = rules.get(dataset)
    serial = 1 if old is None else old["serial"] + 1
    rules[dataset] = {
        "owner": org,
        "serial": serial,
        "purposes": purposes,
        "approvers": approvers,
        "threshold": threshold,
    }
    RuleSet(
        dataset="dataset:" + dataset,
        by="org:" + org,
        serial=serial,
        purposes=purposes,
        approvers=["org:" + name for name in approvers],
        threshold=threshold,
    )


@export
def endorse(grant: str, purpose: str, until: int) -> int:
    """An approver stands behind one use of one grant; returns how many do now."""
    org = steward()
    g = grants.grant_of(grant)
    rule = rule_of(g["dataset"])
    require(org in rule["approvers"], "NOT_APPROVER")
    require(org != g["grantee"], "OWN_REQUEST")
    require(purpose in rule["purposes"] and purpose == g["purpose"], "PURPOSE_NOT_LISTED")
    require(ctx.block_time < until <= ctx.block_time + TERM_MAX_MS, "BAD_TERM")
    endorsements[grant, org] = {"serial": rule["serial"], "purpose": purpose, "until": until}
    Endorsed(
        grant="grant:" + grant,
        dataset="dataset:" + g["dataset"],
        by="org:" + org,
        purpose=purpose,
        until=until,
    )
    return len(standing(grant, rule, purpose))


@export
def retract(grant: str, reason: str):
    """An approver no longer stands behind a grant; jobs that have not revealed are stopped by it."""
    org = steward()
    require(len(reason) <= 256, "TEXT_TOO_LONG")
    require((grant, org) in endorsements, "NOT_ENDORSED")
    g = grants.grant_of(grant)
    del endorsements[grant, org]
    EndorsementTaken(grant="grant:" + grant, dataset="dataset:" + g["dataset"], by="org:" + org, reason=reason)


@view
def allow(job: dict, phase: str) -> bool:
    """What grants ask at every phase; refuses with the reason as its code."""
    rule = rule_of(job["dataset"])
    require(job["purpose"] in rule["purposes"], "PURPOSE_NOT_LISTED")
    count = len(standing(job["grant"], rule, job["purpose"]))
    require(count >= rule["threshold"], "ENDORSEMENTS_MISSING")
    return True


@view
def standing_behind(grant: str) -> list:
    """The approvers whose endorsement of a grant counts now."""
    g = grants.grant_of(grant)
    return standing(grant, rule_of(g["dataset"]), g["purpose"])


@view
def rule_of(dataset: str) -> dict:
    rule = rules.get(dataset)
    require(rule is not None, "NO_RULE")
    return rule


def standing(grant: str, rule: dict, purpose: str) -> list:
    members = orgs.active_members()
    found = []
    for name in rule["approvers"]:
        vote = endorsements.get((grant, name))
        if vote is not None and name in members:
            if vote["serial"] == rule["serial"] and vote["purpose"] == purpose and ctx.block_time < vote["until"]:
                found.append(name)
    return found


def steward() -> str:
    require("admin" in ctx.roles or "steward" in ctx.roles, "KEY_ROLE_MISSING")
    return ctx.org


def distinct(items: list) -> bool:
    seen = {}
    for item in items:
        if item in seen:
            return False
        seen[item] = True
    return True
