"""Calls about acts that several keys see."""

from __future__ import annotations

from tests.rules.draw import Dice, Drawn
from tests.rules.model_eyes import ACTS, OF_DATASETS


def set_eyes(dice: Dice) -> Drawn:
    """Ask for more keys, or for fewer."""
    org = dice.member()
    act = dice.pick(ACTS) if dice.often(0.97) else "lunch"
    act = "keys" if dice.busy == org and dice.often(0.4) else act
    mine = [name for name, known in dice.model.datasets.items() if known.owner == org]
    dataset = ""
    if mine and dice.often(0.7 if act in OF_DATASETS else 0.05):
        dataset = dice.pick(mine) if dice.often(0.9) else dice.pick(dice.model.datasets)
    args = {"act": act, "dataset": dataset, "k": dice.pick((1, 1, 2, 2, 2, 3, 4))}
    return dice.signer(org), "orgs.set_eyes", args


def see(dice: Dice) -> Drawn:
    """Make a call that waits, mostly by another key, now and then with something else in it."""
    place = dice.pick(list(dice.model.pending)[-8:])
    if place is None:
        return None
    row = dice.model.pending[place]
    known = {one.key for one in row.seen} if dice.often(0.85) else set()
    roles = ACTS[row.act] if dice.often(0.95) else {"agent", "admin", "steward"}
    able = [
        key.key for key in dice.model.keys_of(place[0]) if roles & set(key.roles) and key.key not in known
    ]
    signers = [dice.names[key] for key in able if key in dice.names]
    if not signers:
        return None
    return dice.pick(signers), row.call, dict(row.args)


def drop(dice: Dice) -> Drawn:
    """Take back what waits."""
    place = dice.pick(list(dice.model.pending))
    if place is None:
        return None
    digest = place[1] if dice.often(0.95) else dice.bytes32()
    return dice.signer(place[0], "steward"), "orgs.drop", {"digest": digest, "reason": "not so"}
