"""Calls about declared schemas: most are completed, some are left as they are or cleared away."""

from __future__ import annotations

from typing import Any

from tests.rules.draw import Dice, Drawn
from tests.schemas import column, key_of, seal_of

SCHEMA = [column("id", "text", "identifier"), column("income", "decimal"), column("age", "integer")]
IDS = (
    column("id", "text", "identifier", normalise=["trim"]),
    column("id", "integer", "identifier"),
    column("id", "category", "identifier"),
    column("id"),
)
ODD: tuple[dict[str, Any], ...] = (
    {"type": "money"}, {"name": " x"}, {"missing": "mean", "type": "text"}, {"unit": "kg", "type": "date"},
    {"categories": ["a", "a"], "type": "text"}, {"edges": ["1"]}, {"normalise": ["upper"]},
    {"sensitivity": "identifier"}, {"coding": [["1", "a"], ["1", "b"]]}, {"high": "1", "type": "boolean"},
    {"name": "id"},
)  # fmt: skip


def declare(dice: Dice) -> Drawn:
    """Begin a schema; what is to follow is kept with the dice."""
    org = dice.member()
    columns = [*SCHEMA, *[column(f"x{number}", "decimal") for number in range(dice.chance.randint(0, 3))]]
    if dice.often(0.3):
        columns[0] = dice.pick(IDS)
    columns[1] = columns[1] | {"unit": dice.pick(("", "EUR", "USD"))}
    if dice.often(0.1):
        columns[-1] = columns[-1] | dice.pick(ODD)
    cut = dice.chance.randint(1, len(columns))
    seal = seal_of(columns)
    dice.plans[org, seal] = columns[cut:]
    args = {"schema": seal, "key": key_of(columns), "columns": columns[:cut]}
    if dice.often(0.04):
        args |= dice.pick(({"columns": []}, {"key": ["id", "id"]}, {"key": []}, {"schema": bytes(32)}))
    return dice.signer(org, "steward"), "datasets.declare", args


def go_on(dice: Dice) -> Drawn:
    """Add to a draft, or withdraw it."""
    model = dice.model
    drafts = [known for known in model.schemas.values() if known.status != "sealed" or dice.often(0.02)]
    known = dice.pick(drafts)
    if known is None:
        return None
    rest = dice.plans.get((known.owner, known.seal), [])
    there = {one["name"] for one in known.columns}
    rest = [one for one in rest if one["name"] not in there]
    if known.status == "withdrawn" or not rest or dice.often(0.15):
        org = known.owner if dice.often(0.9) else dice.member()
        return dice.signer(org, "steward"), "datasets.withdraw", {"owner": known.owner, "schema": known.seal}
    columns = rest if dice.often(0.7) else rest[:1]
    args = {"schema": known.seal, "part": len(known.parts), "columns": columns}
    return dice.signer(known.owner, "steward"), "datasets.extend", args


def sealed(dice: Dice, org: str) -> bytes:
    """Return the seal of one of an organisation's schemas, mostly a sealed one."""
    own = [known for known in dice.model.schemas.values() if known.owner == org]
    fine = [known.seal for known in own if known.status == "sealed"]
    if fine and dice.often(0.95):
        return fine[0] if dice.often(0.5) else dice.pick(fine)
    return dice.pick([known.seal for known in own]) or dice.bytes32()
