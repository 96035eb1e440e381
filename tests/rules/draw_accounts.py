"""Calls about disclosure accounts: an owner's caps, new accounts, and what is left."""

from __future__ import annotations

from typing import Any

from tests.page_of_uses import parameters_of
from tests.rules.draw import DAY_MS, Dice, Drawn
from tests.rules.model_accounts import CAPS_MOST
from tests.rules.model_jobs import ALLOWED

USUAL = {
    "epsilon": (0, 2 * 10**9, 8 * 10**9, 40 * 10**9),
    "grantee_epsilon": (10**9, 2 * 10**9, 10 * 10**9, 20 * 10**9),
    "delta": (0, 10**6, 2 * 10**6, 10**13),
    "grantee_delta": (0, 10**6, 2 * 10**6, 10**13),
    "figures": (1, 60, 2, 400),
    "grantee_figures": (1, 30, 2, 400),
}
ODD: tuple[dict[str, Any], ...] = (
    {},
    {"rows": 1},
    {"epsilon": -1},
    {"delta": 10**15 + 1},
    {"epsilon": 10**9, "figures": 10**6 + 1},
)


def set_caps(dice: Dice) -> Drawn:
    """Let an owner set caps, or only lower them."""
    ident = dice.pick(dice.model.datasets)
    owner = dice.model.datasets[ident].owner
    names = dice.some(sorted(CAPS_MOST), 2)
    caps = {name: dice.pick(USUAL[name][-2:] if dice.often(0.7) else USUAL[name]) for name in names}
    if dice.often(0.1):
        caps = dice.pick(ODD)
    method = "set_caps" if dice.often(0.7) else "lower_caps"
    if method == "lower_caps" and dice.often(0.7):
        now = dice.model.caps_for(ident)
        caps = {name: dice.chance.randint(now[name] // 8, now[name]) for name in names}
    who = owner if dice.often(0.97) else dice.member()
    return dice.signer(who, "steward"), f"accounts.{method}", {"id": ident, "caps": caps}


def begin(dice: Dice) -> Drawn:
    """Let an owner begin an account, mostly with a version of which nothing is charged."""
    model = dice.model
    ident = dice.pick(model.datasets)
    newest = len(model.versions[ident])
    version = newest if dice.often(0.7) else dice.chance.randint(0, newest + 1)
    reason = dice.pick(("other people", " ", "x" * 257)) if dice.often(0.15) else "other people"
    args = {"id": ident, "version": version, "reason": reason}
    who = model.datasets[ident].owner if dice.often(0.97) else dice.member()
    return dice.signer(who, "steward"), "accounts.begin", args


def ask(dice: Dice) -> Drawn:
    """Ask what is given away, and what is left."""
    model = dice.model
    job = dice.pick(model.jobs)
    if job is not None and dice.often(0.3):
        return "?", f"accounts.{dice.pick(('booking_of', 'stands'))}", {"job": job}
    charges = dice.pick([charges for _, charges in model.charged.values()])
    if charges is not None and dice.often(0.2):
        return "?", "accounts.fault_of", {"grantee": dice.pick(("bank", "rival")), "charges": charges}
    ident = dice.pick(model.datasets)
    version = dice.chance.randint(1, len(model.versions[ident]) + dice.often(0.05))
    method = dice.pick(("caps_of", "account_of", "share_of", "left"))
    args: dict[str, Any] = {"id": ident}
    if method != "caps_of":
        args["version"] = version
    if method in ("share_of", "left"):
        args["grantee"] = dice.pick(("bank", "rival"))
    if method == "left":
        args["columns"] = dice.some(("id", "age", "income"))
    return "?", f"accounts.{method}", args


def spend(dice: Dice) -> Drawn:
    """Propose a job that is charged: a figure with noise of each owner's income, now and then one without."""
    model = dice.model
    usable = [
        g for g in model.grants.values() if g.status == "active" and "statistics" in g.terms["programs"]
    ]
    org = dice.pick(sorted({grant.grantee for grant in usable}))
    kin = [g for g in usable if g.grantee == org and {"id", "income"} <= g.terms["columns"].keys()]
    by_owner = {grant.owner: grant for grant in kin if model.datasets[grant.dataset].status == "active"}
    chosen = sorted(by_owner) if dice.often(0.3) else dice.some(sorted(by_owner), 3)
    names = list(dict.fromkeys([*chosen, org]))
    if org is None or len(chosen) < 2 or len(names) != 3:
        return None
    uses = {"id": "join", "income": "noisy"} | ({"age": "aggregate"} if dice.often(0.5) else {})
    parts = [
        {"grant": grant.id, "dataset": grant.dataset, "version": grant.version, "columns": uses}
        for grant in (by_owner[name] for name in chosen)
    ]
    spec: dict[str, Any] = {
        "program": "statistics",
        "purpose": by_owner[chosen[0]].purpose,
        "profile": "rep3",
        "min_group": max(by_owner[name].terms["min_group"] for name in chosen),
        "inputs": [{**part, "name": f"d{place}"} for place, part in enumerate(parts)],
        "receivers": [org],
        "participants": [
            {
                "org": name,
                "role": "owner" if name in chosen else "receiver",
                "agent_key": model.orgs[name].agent_key,
            }
            for name in names
        ],
        "deadlines": dict.fromkeys(ALLOWED.values(), 20 * DAY_MS) | {"bind": DAY_MS},
        "nonce": dice.chance.randbytes(16),
    }
    spec["parameters"] = parameters_of(spec)
    found = model.followed(spec, org)
    if isinstance(found, str):
        return None
    spec |= {name: found[name] for name in ("page", "plan")}
    return dice.signer(org, "steward", "agent"), "jobs.propose", {"spec": spec}
