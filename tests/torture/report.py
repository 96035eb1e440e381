"""The verdict over one campaign as one JSON-ready record: what was done, what was measured, what broke."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.torture import verdict
from tests.torture.load import CONTRACT, KEYS
from tests.torture.nodes import NodeProcess

if TYPE_CHECKING:
    from tests.torture.campaign import Campaign

RESTART_MAX_S = 5.0
"""Without the time in which other processes had the cores."""
RSS_MAX_MIB = 400.0
"""Of an honest node, as in `scripts/soak`."""


async def report(campaign: Campaign, calm_s: float | None, errors: list[str]) -> dict[str, Any]:
    """Stop the nodes and read their ledgers, unless something broke before; return the record."""
    nodes, load = campaign.nodes, campaign.load
    broken = [campaign.failure] if campaign.failure else []
    broken += [f"the campaign itself failed: {error}" for error in errors]
    if not broken:
        campaign.say("stopping every node, then reading every ledger")
        await asyncio.gather(*[node.stop() for node in nodes])
        held = [
            await asyncio.to_thread(
                verdict.read_ledger, node.name, node.data, campaign.genesis, CONTRACT, KEYS
            )
            for node in campaign.honest
        ]
        broken += verdict.judge(held, load.certified, load.proved, campaign.setup)
    made = [start for node in campaign.honest for start in node.starts]
    starts, own = sorted(s.answers_s for s in made), sorted(s.answers_s - s.waited_s for s in made)
    slow = [s for s in made if s.answers_s - s.waited_s > RESTART_MAX_S]
    broken += [
        f"{s.node} took {s.answers_s} s to answer after {s.why}, at most {RESTART_MAX_S}" for s in slow
    ]
    unexpected = [line for node in campaign.honest for line in _tracebacks(node)]
    broken += [f"a node's log has a traceback: {line}" for line in unexpected]
    broken += [f"{name} told the truth, and a node holds evidence against it" for name in campaign.accused]
    broken += [
        f"{node.name} needed {size:.0f} MiB, at most {RSS_MAX_MIB:.0f}"
        for node in campaign.honest
        if (size := max([size for _, size in node.rss_mib], default=0.0)) > RSS_MAX_MIB
    ]
    return {
        "seed": campaign.settings.seed,
        "nodes": len(nodes),
        "seconds": campaign.settings.seconds,
        "rate": campaign.settings.rate,
        "liar": None if campaign.liar is None else campaign.liar.name,
        "lies": _lies(campaign),
        "floods": dict(campaign.floods),
        "broken": broken,
        "height": load.height,
        "sent": load.submitted,
        "certified": len(load.certified),
        "proved": len(load.proved),
        "refused": load.refused,
        "lost_unacknowledged": load.lost,
        "latency_ms": _cuts([1000 * item for item in load.latency_s]),
        "faults": dict(campaign.done),
        "outcomes": dict(campaign.outcomes),
        "full_disk_by": campaign.disk,
        "restart_s": _cuts(starts) | {"count": len(starts), "each": [asdict(start) for start in made]},
        "restart_without_waiting_s": _cuts(own),
        "longest_standstill_s": round(max(campaign.stalls_s, default=0.0), 1),
        "calm_s": None if calm_s is None else round(calm_s, 2),
        "rss_mib": {node.name: _memory(node) for node in nodes},
        "unnamed_connections": campaign.wires.strangers,
    }


def _cuts(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {}
    return {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    }


def _memory(node: NodeProcess) -> dict[str, Any]:
    sizes = [size for _, size in node.rss_mib]
    return {
        "max": max(sizes, default=0.0),
        "last": sizes[-1] if sizes else 0.0,
        "samples": node.rss_mib[::10],
    }


def _lies(campaign: Campaign) -> dict[str, int]:
    """Return how many frames the liar changed, added or kept back, by mood, as its log says at its end."""
    told: Counter[str] = Counter()
    for path in [] if campaign.liar is None else sorted(campaign.liar.org.path.glob("node-*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("lies: "):
                told.update(json.loads(line.removeprefix("lies: ")))
    return dict(told)


def _tracebacks(node: NodeProcess) -> list[str]:
    found = []
    for path in sorted(node.org.path.glob("node-*.log")):
        text = path.read_text(errors="replace")
        if "Traceback (most recent call last)" in text:
            place = text[text.index("Traceback (most recent call last)") :].splitlines()
            found.append(f"{path.parent.name}/{path.name}: " + " / ".join(place[-1:]))
    return found
