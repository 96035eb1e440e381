"""The campaign `pages`: random pages through the tracer and a brute-force reference, and planted faults.

Faults are planted into the tracer, its tables of labels and of releases, one at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable

from tests.unit.contracts.pages.plants import PLANTS, noticed
from tests.unit.contracts.pages.soundness import Found, compared

PAGES = 14_000
"""About a quarter of them is refused."""
COMPARED_MIN = 10_000
"""Pages that a run of full size compares, or it fails."""
AT_ONCE = 500
SHOWN = 20
"""Pages that differ, of which the result tells."""


def main() -> int:
    """Compare pages, then try every plant; print a line on the way for each, then the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plants", type=int, default=len(PLANTS), help="how many of the planted faults")
    given = parser.parse_args()
    seeds = range(given.seed, given.seed + given.pages)
    figures, failures = compare(seeds)
    more, missed = plant([*PLANTS][: given.plants])
    result = {
        "seeds": f"{seeds.start}..{seeds.stop - 1}",
        "size": f"{len(seeds)} random pages, {given.plants} planted faults",
        "figures": figures | more,
        "failures": failures + missed,
    }
    print(json.dumps(result))
    return 1 if result["failures"] else 0


def compare(seeds: range) -> tuple[dict[str, int], list[str]]:
    """Compare one page a seed; return figures, and what failed."""
    whole = Found()
    for first in range(seeds.start, seeds.stop, AT_ONCE):
        stop = min(first + AT_ONCE, seeds.stop)
        whole = whole.joined(compared(range(first, stop)))
        print(f"seeds {seeds.start}..{stop - 1}: {len(whole.differ)} differ", flush=True)
    figures = {"pages": len(seeds), "equal": whole.equal, "wider": whole.wider, "refused": whole.refused}
    failures = [f"seed {seed}: {text}"[:300] for seed, text in whole.differ[:SHOWN]]
    agreed = whole.equal + whole.wider
    if len(seeds) >= PAGES and agreed + len(whole.differ) < COMPARED_MIN:
        failures.append(f"only {agreed} pages were compared, too many were refused: mend what draws them")
    return figures | {"differ": len(whole.differ)}, failures


def plant(names: Iterable[str]) -> tuple[dict[str, int], list[str]]:
    """Plant faults, one at a time; return figures, and those that nothing noticed."""
    shown: Counter[str] = Counter()
    missed = []
    for name in names:
        found = noticed(PLANTS[name])
        print(f"{name}: {found or 'not noticed'}", flush=True)
        shown["planted"] += 1
        if not found:
            missed.append(f"planted fault not noticed: {name}")
            continue
        shown["caught"] += 1
        shown["caught by random pages" if found.startswith("random") else "caught by attacks"] += 1
    return dict(shown), missed


if __name__ == "__main__":
    sys.exit(main())
