"""Suppression of small groups, decided on secret counts."""

from __future__ import annotations

from privcompute.mpc.engine import Engine
from privcompute.mpc.rounds import Steps, parallel
from privcompute.mpc.sharing import Shared

_FAR = 1 << 40
"""Above every count: pushes small groups out of the search for the smallest large one."""


def shown_groups(engine: Engine, counts: Shared, min_group: int) -> Steps[Shared]:
    """Return 1 for each group that may be shown, 0 for each that is suppressed; `counts` (g,) integers.

    Suppressed are all groups below `min_group`. If these together still hold fewer rows than `min_group`,
    the total would give them away, so the smallest of the other groups (all of them on a tie) is
    suppressed too (complementary suppression, as in official statistics).
    """
    least = engine.constant(min_group)
    small = yield from engine.less_than(counts, least)
    hidden = yield from engine.dot(small, counts)
    nothing = engine.constant(0)
    exposed, any_small, smallest = yield from parallel(
        engine.less_than(hidden, least),
        engine.less_than(nothing, small.sum()),
        engine.minimum(counts + small.mul_public(_FAR)),
    )
    exposed = yield from engine.mul(exposed, any_small)
    large = engine.constant(1) - small
    is_smallest = yield from engine.equal(counts, smallest)
    also_hidden = yield from engine.mul(is_smallest, exposed)
    hidden_too = yield from engine.mul(also_hidden, large)
    return large - hidden_too
