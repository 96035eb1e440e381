"""What a history does next: mostly what somebody would plausibly do now, some of it hostile."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.rules.chain import public
from tests.rules.model import Model, Step

Draw = Callable[["Dice"], "tuple[str, str, dict[str, Any]] | None"]
"""Returns (signer, target, arguments), or None when nothing of the kind can be tried now."""
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
ANY_ROLE: tuple[str, ...] = ()
ODD_VALUES: tuple[Any, ...] = (0, -1, 1, 2**63, "", "x" * 257, "Not/An-Id", "é", b"", bytes(31), bytes(32))


class Dice:
    """Chance, and what is known of the history so far."""

    def __init__(self, seed: int, model: Model) -> None:
        """Start a history's chance."""
        self.chance = random.Random(seed)
        self.model = model
        self.names: dict[bytes, str] = {}
        self.fresh = 0

    def pick(self, items: Any) -> Any:
        """Return one of some items, None of none."""
        items = list(items)
        return self.chance.choice(items) if items else None

    def some(self, items: Any, most: int = 3) -> list[Any]:
        """Return a few of some items, none twice."""
        items = list(items)
        return self.chance.sample(items, min(len(items), self.chance.randint(1, most)))

    def often(self, share: float) -> bool:
        """Tell whether something of this probability happens."""
        return self.chance.random() < share

    def bytes32(self) -> bytes:
        """Return a hash nobody has used."""
        return self.chance.randbytes(32)

    def name(self, base: str) -> str:
        """Return a name that has not been used."""
        self.fresh += 1
        return f"{base}{self.fresh}"

    # --- who

    def learn(self, name: str) -> bytes:
        """Return the key of a name, and remember whose it is."""
        key = public(name)
        self.names[key] = name
        return key

    def signer(self, org: str, *roles: str) -> str:
        """Return the name of a key with which an organisation can do what these roles (or admin) may."""
        wanted = {"admin", *roles}
        keys = [key for key in self.model.keys_of(org) if wanted & set(key.roles) and key.key in self.names]
        fitting = [key for key in keys if set(roles) & set(key.roles)] if self.often(0.7) else []
        found = self.pick(fitting or keys)
        return self.names[found.key] if found else org

    def member(self) -> str:
        """Return an active organisation."""
        return str(self.pick(self.model.members()) or "bank")

    def org(self) -> str:
        """Return some organisation, mostly an active one."""
        return self.member() if self.often(0.9) else str(self.pick(self.model.orgs))


def now_or_later(dice: Dice) -> tuple[int, int]:
    """Return how many milliseconds and blocks pass before the next call."""
    lot = dice.chance.random()
    if lot < 0.25:
        return 0, 0
    if lot < 0.92:
        return 100, 1
    if lot < 0.945:
        return dice.chance.randint(MINUTE_MS, HOUR_MS), dice.chance.randint(1, 30)
    if lot < 0.955:
        return dice.chance.randint(HOUR_MS, 3 * DAY_MS), dice.chance.randint(1, 300)
    if lot < 0.965:
        ahead = [height - dice.model.height for height in _heights(dice.model)]
        blocks = dice.pick([height for height in ahead if 0 < height < 3_000])
        return 100, max(1, (blocks or 1) + dice.chance.randint(-1, 1))
    ahead = sorted(moment - dice.model.time for moment in _moments(dice.model))
    near = [ms for ms in ahead if 1 < ms < 40 * DAY_MS][:6]
    ms = dice.pick(near)
    return (100, 1) if ms is None else (ms + dice.chance.randint(-1, 1), dice.chance.randint(0, 2))


def _moments(model: Model) -> list[int]:
    """Return block times at which something is over."""
    found = [job.deadline for job in model.jobs.values() if not job.final]
    found += [d.until for disputes in model.disputes.values() for d in disputes if d.status == "open"]
    for grant in model.grants.values():
        if grant.status == "requested":
            found.append(grant.decide_by)
        elif grant.status in ("active", "suspended"):
            found += [grant.terms["expires"], grant.terms["not_before"]]
    found += [p.expires for p in model.proposals.values() if p.committed_at is None]
    found += list(model.said.values())
    found += [at + 2_592_000_000 for at in model.cast.values()]
    return found


def _heights(model: Model) -> list[int]:
    """Return heights at which something begins or is over."""
    found = [stop.until for stop in model.stops.values()]
    found += [start for ran in model.ran.values() for _, start in ran]
    for proposal in model.proposals.values():
        if proposal.committed_at is None:
            found.append(proposal.content.get("not_before", 0) or proposal.content.get("active_at", 0))
    return found


def step(dice: Dice, kinds: Mapping[Draw, float]) -> Step:
    """Return the next call of a history."""
    ms, blocks = now_or_later(dice)
    draws, weights = list(kinds), list(kinds.values())
    while True:
        drawn = dice.chance.choices(draws, weights)[0](dice)
        if drawn is not None:
            break
    who, target, args = drawn
    asks = who == "?"
    made = Step(ms, blocks, dice.pick(dice.names.values()) if asks else who, target, args, asks)
    return hostile(dice, made) if dice.often(0.06) else made


def hostile(dice: Dice, made: Step) -> Step:
    """Return the call as somebody else would make it, or with a value at the edge."""
    if made.asks or dice.often(0.5):
        return replace(made, who=dice.pick(dice.names.values()) if dice.often(0.95) else "nobody")
    plain = [name for name, value in made.args.items() if type(value) in (int, str, bytes)]
    name = dice.pick(plain)
    if name is None or made.target == "lifecycle.propose":
        return made
    value = made.args[name]
    odd = [other for other in ODD_VALUES if type(other) is type(value)]
    if type(value) is int:
        odd += [value - 1, value + 1]
    return replace(made, args={**made.args, name: dice.pick(odd)})
