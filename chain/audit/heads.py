"""Gathers head statements: asks nodes how far they are, and chooses a quorum of what validators said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chain.audit.freshness import Freshness, judge_statements, stale
from chain.audit.records import Stated
from chain.audit.source import EvidenceSource
from chain.audit.text import utc
from chain.audit.trail import Reach, moment
from chain.primitives.certificate import quorum
from chain.primitives.errors import AssentError
from chain.primitives.headstatement import HeadStatement, head_from_json

CATCH_UP_TRIES, CATCH_UP_S = 20, 0.1
"""How often, and after how long, a node is asked again that lags behind what others state."""


class Paged(Protocol):
    """A node whose pages can be asked for."""

    @property
    def url(self) -> str:
        """Its address, which errors name."""

    async def page(self, path: str) -> dict[str, Any]:
        """Return a page as JSON; raise AssentError."""


async def gather_heads(nodes: Sequence[Paged], chain_id: bytes) -> tuple[list[HeadStatement], list[str]]:
    """Return the statements of these nodes that hold, and why others have none, a text a node."""
    said = await asyncio.gather(*[_ask(node, chain_id) for node in nodes])
    return [one for one in said if isinstance(one, HeadStatement)], [
        one for one in said if isinstance(one, str)
    ]


async def _ask(node: Paged, chain_id: bytes) -> HeadStatement | str:
    try:
        stated = head_from_json(await node.page("/head"))
    except AssentError as error:
        return f"{node.url}: {error}"
    except (KeyError, TypeError, ValueError):
        return f"{node.url}: it makes no head statement"
    if stated.chain_id != chain_id:
        return f"{node.url}: its head statement is of another chain"
    if not stated.holds():
        return f"{node.url}: the signature of its head statement does not hold"
    return stated


def choose_quorum(said: Iterable[HeadStatement], validators: Sequence[bytes]) -> list[Stated]:
    """Return the freshest statements of a quorum of these validators in key order; none without one."""
    latest: dict[bytes, HeadStatement] = {}
    for one in said:
        if one.node in validators and one.time >= latest.get(one.node, one).time:
            latest[one.node] = one
    chosen = sorted(latest.values(), key=lambda one: -one.time)[: quorum(len(validators))]
    if len(chosen) < quorum(len(validators)):
        return []
    chosen.sort(key=lambda one: one.node)
    return [Stated(one.node, one.height, one.header_hash, one.time, one.signature) for one in chosen]


@dataclass(frozen=True, slots=True)
class Heard:
    """What nodes said of the head of the chain, and why others said nothing."""

    said: tuple[HeadStatement, ...]
    notes: tuple[str, ...]

    def newest(self) -> int:
        """Return the highest height that any of them states, 0 without one."""
        return max([one.height for one in self.said], default=0)

    def freshness(self, reach: Reach) -> Freshness | None:
        """Return what the statements of a quorum come to, None without a quorum."""
        chosen = choose_quorum(self.said, reach.validators) if reach.proved else []
        return judge_statements(chosen, reach.chain_id, reach.validators)

    def stale(self, reach: Reach, now: int, max_age: int | None) -> str:
        """Return why an answer is not known to be so fresh, "" where it is, or nobody asks."""
        return stale(self.freshness(reach), reach.last, now, max_age)

    def lines(self, reach: Reach) -> list[str]:
        """Say how fresh an answer is known to be."""
        fresh, notes = self.freshness(reach), list(self.notes)
        if not reach.proved:
            return []
        if fresh is not None:
            more = "" if fresh.newest <= reach.last else ", so there is more than is shown"
            return [
                f"at {moment(fresh.as_of)} a quorum of the validators knew of no height above "
                f"{fresh.newest}{more}",
                *notes,
            ]
        known = {one.node for one in self.said} & set(reach.validators)
        needed = quorum(len(reach.validators))
        return [
            f"not known how fresh: {len(known)} of {len(reach.validators)} validators said how far the chain "
            f"is, {needed} would tell; name their nodes by --head",
            *notes,
        ]

    def json(self, reach: Reach) -> dict[str, Any]:
        """Say the same for programs."""
        fresh = self.freshness(reach)
        if fresh is None:
            return {"fresh_at": None, "newest": None}
        return {"fresh_at": utc(fresh.as_of), "newest": fresh.newest}


async def catch_up(source: EvidenceSource, heard: Heard) -> None:
    """Wait a little until a node holds what others stated; what it then lacks is said to be stale."""
    for _ in range(CATCH_UP_TRIES):
        if await source.head() >= heard.newest():
            return
        await asyncio.sleep(CATCH_UP_S)


def reach_text(reach: Reach) -> str:
    """Say how far an answer reaches."""
    chain = f"of chain {reach.chain_id.hex()}" if reach.proved else "as the node says"
    return f"complete from height {reach.first} up to height {reach.last}, {moment(reach.time)}, {chain}"


def reach_json(reach: Reach) -> dict[str, Any]:
    """Say the same for programs."""
    return {
        "chain": reach.chain_id.hex() or None,
        "from": reach.first,
        "to": reach.last,
        "time": utc(reach.time),
        "proved": reach.proved,
    }
