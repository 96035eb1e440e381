"""The campaign `seeds`: the simulator over thousands of seeds, in parts, which a later run continues."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

from tests.campaigns.verdicts import FOLDER, fingerprint

SEEDS = 5_000
PART = 100
"""Seeds after which what was found is written down."""


def run(seeds: int, jobs: int, tell: Callable[[str], None]) -> tuple[dict[str, int | float], list[str]]:
    """Run seeds 0 to `seeds`, but those that ran on these very sources; return figures and failures."""
    from tests.simulation.campaign import replay_command
    from tests.simulation.campaign import run as simulate
    from tests.simulation.storm import STEPS, Outcome

    path = FOLDER / f"seeds-{fingerprint('simulator')[:16]}.jsonl"
    path.parent.mkdir(exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    done = {item.seed: item for item in (Outcome(**json.loads(line)) for line in lines)}
    for first in range(0, seeds, PART):
        part = [seed for seed in range(first, min(first + PART, seeds)) if seed not in done]
        if not part:
            continue
        found = list(simulate(range(part[0], part[-1] + 1), jobs=jobs))
        with path.open("a") as file:
            for outcome in found:
                file.write(json.dumps(asdict(outcome)) + "\n")
                if outcome.failure:
                    tell(f"seed {outcome.seed} FAILED {outcome.failure}")
        done |= {outcome.seed: outcome for outcome in found}
        tell(f"{first + PART} of {seeds}")
    ran = [done[seed] for seed in range(seeds)]
    figures: dict[str, int | float] = {
        "seeds": len(ran),
        "blocks": sum(outcome.height for outcome in ran),
        "transactions": sum(outcome.transactions for outcome in ran),
        "virtual hours": round(sum(outcome.virtual_s for outcome in ran) / 3600, 1),
        "cpu minutes": round(sum(outcome.cpu_s for outcome in ran) / 60, 1),
        "slowest recovery s": round(max(outcome.recovery_s for outcome in ran), 1),
        "failed": sum(bool(outcome.failure) for outcome in ran),
    }
    for size in sorted({outcome.nodes for outcome in ran}):
        figures[f"seeds with n = {size}"] = sum(outcome.nodes == size for outcome in ran)
    wrong = [f"{replay_command(o, None, STEPS)}: {o.failure}"[:300] for o in ran if o.failure]
    return figures, wrong
