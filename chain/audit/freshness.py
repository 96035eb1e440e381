"""How far an answer reaches, and how fresh that is: head statements of a quorum of the validators.

An idle chain makes no blocks, so the age of a header says nothing. Whoever certified a height and whoever
made a quorum of statements have an honest validator in common. So when a quorum states heights of at most H,
no validator that speaks truth knew of a certified height above H at the earliest of the times stated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chain.audit.records import Stated
from chain.primitives.certificate import quorum
from chain.primitives.errors import ProofInvalid
from chain.primitives.headstatement import HeadStatement


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a quorum of head statements comes to."""

    newest: int
    """The highest height that any of them states."""
    as_of: int
    """The earliest of their times, milliseconds since the epoch."""


def judge_statements(
    statements: Sequence[Stated], chain_id: bytes, validators: Sequence[bytes]
) -> Freshness | None:
    """Return what statements come to, None for none; raise ProofInvalid unless a quorum made them."""
    if not statements:
        return None
    nodes = [one.node for one in statements]
    if nodes != sorted(set(nodes)) or not set(nodes) <= set(validators):
        raise ProofInvalid("head statements: not of distinct validators in the order of keys")
    if len(nodes) != quorum(len(validators)):
        raise ProofInvalid(
            f"head statements: {len(nodes)} of {len(validators)} validators, expected a quorum, "
            f"{quorum(len(validators))}"
        )
    for one in statements:
        signed = HeadStatement(chain_id, one.height, one.header_hash, one.time, one.node, one.signature)
        if not signed.holds():
            raise ProofInvalid(f"head statements: the signature of {one.node.hex()[:16]} does not hold")
    return Freshness(max(one.height for one in statements), min(one.time for one in statements))


def stale(fresh: Freshness | None, last: int, now: int, max_age: int | None) -> str:
    """Return why what reaches height `last` is not known to be so fresh; "" where it is, or nobody asks.

    `now` is in milliseconds since the epoch, `max_age` in seconds. A time ahead of ours is far away, too.
    """
    if max_age is None:
        return ""
    if fresh is None:
        return "no quorum of validators said how far the chain is; name their nodes by --head"
    if fresh.newest > last:
        return f"it reaches height {last}, and the chain had gone on to height {fresh.newest}"
    age = abs(now - fresh.as_of)
    if age > 1_000 * max_age:
        return f"what the validators said is {age // 1_000} s away from now, at most {max_age} s are allowed"
    return ""
