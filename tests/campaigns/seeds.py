"""The campaign `seeds`: the simulator over thousands of seeds, in parts, which a later run continues."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.campaigns import record
from tests.campaigns.verdicts import fingerprint

SEEDS = 5_000
PART = 20
"""Seeds after which what was found is written down."""
STORE = record.PARTS / "seeds.jsonl"


@dataclass(frozen=True, slots=True)
class Part:
    """What came of some seeds in a row."""

    sources: str
    """Digest of all that the simulator imports."""
    commit: str
    """Where it ran first: who continues may check it out."""
    first: int
    seeds: int
    blocks: int
    transactions: int
    virtual_s: float
    cpu_s: float
    recovery_s: float
    """The slowest."""
    nodes: dict[str, int]
    """Validators of the cluster -> seeds."""
    failures: list[str]
    """The command that replays a seed, and what it broke."""


def read(path: Path) -> list[Part]:
    """Return all parts on record, of whatever sources."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Part(**json.loads(line)) for line in lines]


def write(path: Path, parts: Iterable[Part]) -> None:
    """Put these parts on record in the place of all others."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(asdict(part)) + "\n" for part in parts))


def run(
    seeds: int, jobs: int, tell: Callable[[str], None], path: Path = STORE
) -> tuple[dict[str, int | float], list[str]]:
    """Run seeds 0 to `seeds`, but those that ran on these very sources; return figures and failures."""
    sources, kept = fingerprint("simulator")[:16], read(path)
    done = {part.first: part for part in kept if part.sources == sources}
    for commit, ran in Counter(part.commit for part in kept if part.sources != sources).items():
        tell(f"{ran} parts ran on other sources, at {commit[:10]}: they say nothing of these")
    for first in range(0, seeds, PART):
        if first in done and done[first].seeds >= min(PART, seeds - first):
            continue
        done[first] = _part(sources, range(first, min(first + PART, seeds)), jobs)
        kept.append(done[first])
        write(path, kept)
        for failure in done[first].failures:
            tell(f"FAILED {failure}")
        tell(f"{first + done[first].seeds} of {seeds}")
    if seeds >= SEEDS:
        write(path, (done[first] for first in sorted(done)))
    ran = [done[first] for first in range(0, seeds, PART)]
    return figures(ran), [failure for part in ran for failure in part.failures]


def _part(sources: str, seeds: range, jobs: int) -> Part:
    from tests.simulation.campaign import replay_command
    from tests.simulation.campaign import run as simulate
    from tests.simulation.storm import STEPS

    found = list(simulate(seeds, jobs=jobs))
    return Part(
        sources=sources,
        commit=record.commit()[0],
        first=seeds.start,
        seeds=len(found),
        blocks=sum(outcome.height for outcome in found),
        transactions=sum(outcome.transactions for outcome in found),
        virtual_s=round(sum(outcome.virtual_s for outcome in found), 1),
        cpu_s=round(sum(outcome.cpu_s for outcome in found), 1),
        recovery_s=round(max(outcome.recovery_s for outcome in found), 1),
        nodes=dict(Counter(str(outcome.nodes) for outcome in found)),
        failures=[f"{replay_command(o, None, STEPS)}: {o.failure}"[:300] for o in found if o.failure],
    )


def figures(parts: Sequence[Part]) -> dict[str, int | float]:
    """Return what the campaign counts."""
    sizes = sum((Counter(part.nodes) for part in parts), Counter[str]())
    return {
        "seeds": sum(part.seeds for part in parts),
        "blocks": sum(part.blocks for part in parts),
        "transactions": sum(part.transactions for part in parts),
        "virtual hours": round(sum(part.virtual_s for part in parts) / 3600, 1),
        "cpu minutes": round(sum(part.cpu_s for part in parts) / 60, 1),
        "slowest recovery s": max(part.recovery_s for part in parts),
        "failed": sum(len(part.failures) for part in parts),
    } | {f"seeds with n = {size}": sizes[size] for size in sorted(sizes, key=int)}
