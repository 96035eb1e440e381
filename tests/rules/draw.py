"""What a history does next: mostly what somebody would plausibly do now, some of it hostile."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.rules.chain import public
from tests.rules.model import Model, Step

Drawn = tuple[str, str, dict[str, Any]] | None
"""(signer, target, arguments), or None when nothing of the kind can be tried now; "?" signs questions."""
Draw = Callable[["Dice"], Drawn]
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
ODD_VALUES: tuple[Any, ...] = (0, -1, 1, 2**63, "", "x" * 257, "Not/An-Id", "é", b"", bytes(31), bytes(32))


class Dice:
    """Chance, and what is known of the history so far."""

    def __init__(self, seed: int, model: Model) -> None:
        """Start a history's chance."""
        self.chance = random.Random(seed)
        self.model = model
        self.names: dict[bytes, str] = {}
        self.plans: dict[tuple[str, bytes], list[dict[str, Any]]] = {}
        """(owner, seal) -> columns that are to follow the first part of a schema."""
        self.fresh = 0
        self.fickle = 0.04
        """How often a vote on a proposal is taken back."""
        self.busy = ""
        """An organisation that does most of what is done, up to the bounds of what one may have; or none."""

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
        if self.busy and self.model.is_member(self.busy) and self.often(0.7):
            return self.busy
        return str(self.pick(self.model.members()) or "bank")

    def org(self) -> str:
        """Return some organisation, mostly an active one."""
        return self.member() if self.often(0.9) else str(self.pick(self.model.orgs))


def step(dice: Dice, kinds: Mapping[Draw, float], times: Callable[[Dice], tuple[int, int, Drawn]]) -> Step:
    """Return the next call of a history; `times` says how much later it is, and what is worth trying then."""
    ms, blocks, drawn = times(dice)
    draws, weights = list(kinds), list(kinds.values())
    while drawn is None:
        drawn = dice.chance.choices(draws, weights)[0](dice)
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
