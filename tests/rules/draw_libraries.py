"""Libraries that a history publishes, takes back, and asks about."""

from __future__ import annotations

from tests.rules.draw import Dice, Drawn
from tests.rules.policies import BROKEN, LIBRARIES, SHARED, SOURCES


def publish(dice: Dice) -> Drawn:
    """Publish a library, mostly the one that contracts name."""
    source = SHARED if dice.often(0.4) else dice.pick(LIBRARIES)
    if dice.often(0.03):
        source = dice.pick((BROKEN, SOURCES["yes"][0]))
    return dice.signer(dice.member()), "lifecycle.publish", {"source": source}


def withdraw(dice: Dice) -> Drawn:
    """Take a library back."""
    offered = [key for key, found in dice.model.published.items() if not found.withdrawn]
    key = dice.pick(offered) if offered and dice.often(0.95) else dice.pick(dice.model.published)
    if key is None:
        return None
    org = dice.model.published[key].by if dice.often(0.95) else dice.member()
    return dice.signer(org), "lifecycle.withdraw_library", {"source_hash": key}
