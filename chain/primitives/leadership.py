"""Who proposes: the primary of a view and height, among the validators that are not passed over.

Pure functions, shared by consensus, which follows them, and the ledger, which keeps who is passed over.
"""

from __future__ import annotations

from collections.abc import Sequence

from chain.primitives.certificate import fault_bound

PASSED_OVER_HEIGHTS = 1_024
"""For so many heights a validator that was replaced as primary is passed over; then it is forgotten."""


def leaders(validators: tuple[bytes, ...], passed_over: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the validators that may lead, in primary order: all but the latest f of `passed_over`.

    `passed_over` has the latest charged last; whoever is not in the set does not count. At least n - f stay,
    so that at most f leaders in a row are faulty.
    """
    charged = [key for key in passed_over if key in validators]
    most = fault_bound(len(validators))
    latest = set(charged[-most:]) if most else set[bytes]()
    return tuple([key for key in validators if key not in latest]) if latest else validators


def primary(candidates: Sequence[bytes], view: int, height: int, rotation: int) -> bytes:
    """Return who proposes `height` in `view`: candidates[(view + height // rotation) mod their number]."""
    return candidates[(view + height // rotation) % len(candidates)]
