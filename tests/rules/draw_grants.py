"""Calls about requests, votes on them, and grants in force."""

from __future__ import annotations

from typing import Any

from tests.rules.draw import DAY_MS, HOUR_MS, Dice, Drawn
from tests.rules.model_grants import Grant
from tests.rules.terms import USES, stricter

PROGRAMS = ("statistics", "scoring")
CONSTRAINTS = tuple(USES)


def request(dice: Dice) -> Drawn:
    """Ask for the use of a dataset."""
    model = dice.model
    users = [org for org in model.members() if model.has(org, "user")]
    org = dice.pick(users) if users and dice.often(0.95) else dice.member()
    if dice.busy in users and dice.often(0.8):
        org = dice.busy
    usable = [d.id for d in model.datasets.values() if d.status == "active"]
    dataset = dice.pick(usable) if usable and dice.often(0.95) else dice.pick(model.datasets)
    if dice.busy == org and dice.often(0.8):
        dataset = next(iter(usable), dataset)
    versions = model.versions[dataset]
    version = dice.chance.randint(1, len(versions)) if dice.often(0.97) else len(versions) + 1
    schema = model.schemas[model.datasets[dataset].owner, versions[-1].schema]
    names = [column["name"] for column in schema.columns]
    members = model.members()
    args = {
        "id": f"{org}/{dice.name('g')}" if dice.often(0.97) else dice.pick(model.grants) or "x",
        "dataset": dataset,
        "version": version,
        "columns": {name: dice.pick(CONSTRAINTS) for name in dice.some(names)},
        "purpose": dice.pick(("credit-risk", "credit-risk", "research")),
        "legal_basis": "consent",
        "asked_because": dice.pick(("", "", "a wish")),
        "programs": dice.some(PROGRAMS, 2) if dice.often(0.97) else [],
        "receivers": dice.some(members, len(members)) if dice.often(0.98) else [],
        "co_parties": members if dice.often(0.7) else dice.some(members),
        "membership": members if dice.often(0.7) else dice.some(members),
        "profile": dice.pick(("dealer", "rep3", "rep3")) if dice.often(0.98) else "none",
        "not_before": model.time + HOUR_MS if dice.often(0.07) else 0,
        "expires": model.time + dice.pick((HOUR_MS, 10 * DAY_MS, 60 * DAY_MS, 60 * DAY_MS)),
        "quota_runs": dice.chance.randint(1, 4),
        "min_group": dice.chance.randint(1, 10),
        "run_epsilon": dice.pick((10**9, 10**9, 3 * 10**9, 10**8, 0)) if dice.often(0.98) else 10**12 + 1,
        "policy": _policy(dice),
    }
    if dice.often(0.03):
        args["expires"] = model.time
    return dice.signer(org, "steward"), "grants.request", args


def _policy(dice: Dice) -> str:
    if dice.often(0.5):
        return ""
    mine = [name for name, known in dice.model.deployed.items() if not known.system]
    good = [name for name in mine if dice.model.policy_fault(name) == ""]
    return str(dice.pick(good) or "") if dice.often(0.9) else str(dice.pick([*mine, "grants", "nothing"]))


def _requested(dice: Dice) -> Grant | None:
    waiting = [grant for grant in dice.model.grants.values() if grant.status == "requested"]
    found = dice.pick(waiting[-5:]) if waiting and dice.often(0.95) else dice.pick(dice.model.grants.values())
    return found if isinstance(found, Grant) else None


def approve(dice: Dice) -> Drawn:
    """Approve a request, mostly as an approver that has not voted."""
    grant = _requested(dice)
    if grant is None:
        return None
    source = dice.model.datasets[grant.dataset]
    left = [org for org in source.approvers if org not in dice.model.votes[grant.id]]
    org = dice.pick(left) if left and dice.often(0.9) else dice.member()
    args: dict[str, Any] = {"id": grant.id, "terms": narrower(dice, grant) if dice.often(0.25) else {}}
    offers = [vote.terms for vote in dice.model.votes[grant.id].values() if vote.terms is not None]
    if offers and dice.often(0.6):
        args["terms"] = dice.pick(offers)
    return dice.signer(org, "steward"), "grants.approve", args


def narrower(dice: Dice, grant: Grant) -> dict[str, Any]:
    """Return some terms that narrow a grant, now and then ones that do not."""
    terms = grant.terms
    columns = {
        name: dice.pick([other for other in CONSTRAINTS if stricter(constraint, other)])
        for name, constraint in terms["columns"].items()
        if dice.often(0.7)
    }
    choice: dict[str, Any] = {
        "columns": columns or dict(terms["columns"]),
        "programs": dice.some(terms["programs"]),
        "receivers": dice.some(terms["receivers"], 6),
        "co_parties": dice.some(terms["co_parties"], 6),
        "membership": dice.some(terms["membership"], 6),
        "profile": dice.pick(("dealer", "rep3", "ot2")),
        "not_before": terms["not_before"] + dice.pick((0, HOUR_MS)),
        "expires": dice.model.time + dice.pick((-1, 0, 1, HOUR_MS, DAY_MS)),
        "quota_runs": dice.chance.randint(0, terms["quota_runs"] + 1),
        "min_group": terms["min_group"] + dice.chance.randint(-1, 2),
        "run_epsilon": terms["run_epsilon"] // 2 + dice.pick((-1, 0, 1, 10**9)),
        "partner_versions": dice.chance.randint(0, 4),
        "policy": _policy(dice),
    }
    common = ("quota_runs", "columns", "min_group", "receivers", "partner_versions")
    names = dice.some(common, 1) if dice.often(0.6) else dice.some(choice, 2)
    found = {name: choice[name] for name in names}
    return found if dice.often(0.98) else {"price": 1}


def other_vote(dice: Dice) -> Drawn:
    """Reject, take a vote back, settle or withdraw a request."""
    grant = _requested(dice)
    if grant is None:
        return None
    source, votes = dice.model.datasets[grant.dataset], dice.model.votes[grant.id]
    method = dice.chance.choices(("reject", "retract", "settle", "withdraw", "expire"), (3, 3, 5, 1, 1))[0]
    args: dict[str, Any] = {"id": grant.id}
    if method == "settle" or method == "expire":
        return dice.signer(dice.member(), "steward"), f"grants.{method}", args
    org = {"reject": dice.pick(source.approvers), "retract": dice.pick(votes), "withdraw": grant.grantee}[
        method
    ]
    if method == "reject":
        args["reason"] = "no"
        if dice.often(0.5):
            org = dice.pick(
                [other for other in source.approvers if other not in votes and other != grant.owner]
            )
    return dice.signer(org or dice.member(), "steward"), f"grants.{method}", args


def grant_step(dice: Dice) -> Drawn:
    """Let the owner act on a grant."""
    live = [grant for grant in dice.model.grants.values() if grant.status in ("active", "suspended")]
    grant = dice.pick(live) if live and dice.often(0.95) else dice.pick(dice.model.grants.values())
    if grant is None:
        return None
    taken_of = [other for other in live if other.id in dice.model.jobs_of]
    if taken_of and dice.often(0.5):
        grant = dice.pick(taken_of)
    if grant.status == "suspended" and dice.often(0.7):
        return dice.signer(grant.owner, "steward"), "grants.resume", {"id": grant.id}
    method = dice.chance.choices(("narrow", "suspend", "resume", "revoke", "expire"), (6, 2, 1, 0.7, 1.5))[0]
    args: dict[str, Any] = {"id": grant.id}
    if method == "narrow":
        args["terms"] = narrower(dice, grant)
        if dice.often(0.35):
            runs = dice.model.runs_of(grant.id)
            taken = runs["used"] + runs["reserved"]
            args["terms"] = {"quota_runs": max(0, taken + dice.chance.randint(-1, 1))}
    elif method in ("suspend", "revoke"):
        args["reason"] = "audit"
    elif method == "expire" and dice.often(0.7):
        over = [other for other in live if dice.model.time >= other.terms["expires"]]
        args["id"] = (dice.pick(over) or grant).id
    return dice.signer(grant.owner, "steward"), f"grants.{method}", args
