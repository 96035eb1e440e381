"""How every history begins: data of three owners, two policies in force, grants to two users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.rules import model_datasets as data
from tests.rules.draw import DAY_MS, Dice
from tests.rules.draw_schemas import IDS, SCHEMA
from tests.rules.model import Step
from tests.rules.model_accounts import ACCOUNT_CHANGES_A_DAY_MAX
from tests.rules.model_eyes import PENDING_A_DAY_MAX
from tests.rules.model_governance import ROTATIONS_A_DAY_MAX
from tests.rules.model_grants import GRANT_CHANGES_A_DAY_MAX, PARTNER_VERSIONS_MAX, REQUESTS_A_DAY_MAX
from tests.rules.model_libraries import LIBRARIES_A_DAY_MAX
from tests.rules.model_schemas import PARTS_A_DAY_MAX
from tests.rules.model_uses import FREE_RETURNS_A_DAY_MAX
from tests.rules.model_voting import PROPOSALS_A_DAY_MAX, RETRACTIONS_A_DAY_MAX
from tests.rules.policies import SOURCES
from tests.schemas import declaring, seal_of

OWNERS = ("bank", "bureau", "registry")
USERS = ("bank", "rival")
VOTERS = ("bank", "bureau", "registry", "regulator", "rival")
SPEND = "day.spend"
"""A step that is no call: what an organisation has done today, set on both sides."""
ANSWERED = "day.answered"
"""Another: how many runs a grant took back today, and with which versions its data were joined."""
DAILY: dict[str, dict[str, int]] = {
    "orgs": {"pending": PENDING_A_DAY_MAX},
    "datasets": {
        "registrations": data.REGISTRATIONS_A_DAY_MAX,
        "versions": data.VERSIONS_A_DAY_MAX,
        "parts": PARTS_A_DAY_MAX,
        "changes": data.CHANGES_A_DAY_MAX,
    },
    "accounts": {"changes": ACCOUNT_CHANGES_A_DAY_MAX},
    "grants": {"requests": REQUESTS_A_DAY_MAX, "changes": GRANT_CHANGES_A_DAY_MAX},
    "governance": {
        "proposals": PROPOSALS_A_DAY_MAX,
        "retractions": RETRACTIONS_A_DAY_MAX,
        "rotations": ROTATIONS_A_DAY_MAX,
    },
    "lifecycle": {
        "proposals": PROPOSALS_A_DAY_MAX,
        "libraries": LIBRARIES_A_DAY_MAX,
        "retractions": RETRACTIONS_A_DAY_MAX,
    },
    "programs": {"proposals": PROPOSALS_A_DAY_MAX, "retractions": RETRACTIONS_A_DAY_MAX},
}
CONSTRAINTS = {"id": "join-only", "income": "aggregate-only", "age": "plain"}


def prelude(dice: Dice) -> Iterator[Step]:
    """Yield the first calls."""

    def call(who: str, target: str, **args: Any) -> Step:
        return Step(100, 1, who, target, args)

    for owner in OWNERS:
        others = dice.often(0.4)
        schema = SCHEMA if owner != "registry" or dice.often(0.9) else [dice.pick(IDS), *SCHEMA[1:]]
        ((_, first),) = declaring(schema)
        yield call(owner, "datasets.declare", **first)
        yield call(
            owner, "datasets.register", id=f"{owner}/data", schema=seal_of(schema), root=dice.bytes32(),
            size_bucket="1-10",
            approvers=[owner, *(other for other in OWNERS if other != owner)] if others else [owner],
            threshold=2 if others else 1, description="",
        )  # fmt: skip
        if dice.often(0.7):
            caps = {"epsilon": 40 * 10**9, "grantee_epsilon": dice.pick((4 * 10**9, 20 * 10**9))}
            yield call(owner, "accounts.set_caps", id=f"{owner}/data", caps=caps)
    for name in ("yes", dice.pick(("counts", "not-at-reveal", "with-init"))):
        source, trait = SOURCES[name]
        arguments = dict.fromkeys(trait.init or (), 1)
        yield call(
            "bank", "lifecycle.propose", name=f"p-{name}", source=source, arguments=arguments, terms={}
        )
        sealed = dice.model.proposals[f"p-{name}", 1].hash
        for voter in VOTERS[1:4]:
            yield call(voter, "lifecycle.approve", name=f"p-{name}", seq=1, hash=sealed)
        yield call("rival", "lifecycle.commit", name=f"p-{name}", seq=1)
    for user in USERS:
        for owner in OWNERS:
            grant = f"{user}/g-{owner}"
            yield call(
                user, "grants.request", id=grant, dataset=f"{owner}/data", version=1,
                columns=dict(CONSTRAINTS), purpose="credit-risk", legal_basis="consent", asked_because="",
                programs=["statistics", "private-join"],
                receivers=["bank", "rival", "bureau"], co_parties=list(VOTERS),
                membership=list(VOTERS) if dice.often(0.85) else ["bank"], profile="rep3", not_before=0,
                expires=dice.model.time + 60 * DAY_MS, quota_runs=dice.chance.randint(2, 30), min_group=10,
                run_epsilon=dice.pick((4 * 10**9, 4 * 10**9, 10**9)), policy=dice.pick(("", "", "p-yes")),
            )  # fmt: skip
            source = dice.model.datasets[f"{owner}/data"]
            for voter in source.approvers[: source.threshold]:
                yield call(voter, "grants.approve", id=grant, terms={})


def spent(dice: Dice, contract: str) -> Iterator[Step]:
    """Yield how little is left of everybody's day: by calls alone few histories would meet its bounds."""
    for org in dice.model.members() if contract in DAILY else ():
        acts = {act: most - dice.chance.randint(0, 1) for act, most in DAILY[contract].items()}
        yield Step(0, 0, org, SPEND, {"org": org, "contract": contract, "acts": acts})
    for grant in dice.model.grants if contract == "jobs" else ():
        count = FREE_RETURNS_A_DAY_MAX - dice.chance.randint(0, 1)
        joined = [dice.bytes32() for _ in range(PARTNER_VERSIONS_MAX - dice.chance.randint(0, 2))]
        yield Step(0, 0, "", ANSWERED, {"grant": grant, "returned": count, "joined": joined})
