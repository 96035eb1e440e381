"""The campaign `planted`: each fault planted into production code is caught, by which seed."""

from __future__ import annotations

import json
import logging
import sys

from tests.simulation import planted


def main() -> int:
    """Try every plant; print a line each, then the result."""
    logging.disable(logging.CRITICAL)
    caught: dict[str, int] = {}
    failures = []
    for name in planted.PLANTS:
        try:
            found = planted.seeds_until_caught(name)
        except (
            RuntimeError
        ) as error:  # it says what is wrong with this plant; the others are tried all the same
            failures.append(str(error)[:300])
            print(failures[-1], flush=True)
            continue
        if found is None:
            failures.append(f"{name}: not caught by seeds 0..{planted.SEEDS_MAX - 1}")
            print(failures[-1], flush=True)
        else:
            caught[name] = found[0] - 1
            print(f"{name}: seed {caught[name]}", flush=True)
    result = {
        "seeds": f"0..{planted.SEEDS_MAX - 1}",
        "size": f"{len(planted.PLANTS)} planted faults, each until a seed shows it",
        "figures": {"planted": len(planted.PLANTS), "caught": len(caught)} | caught,
        "failures": failures,
    }
    print(json.dumps(result))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
