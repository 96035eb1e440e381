"""The figures of `scripts/bench calls`: the gas of the calls of a data use, beside another version's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from chain.primitives.errors import ConfigError
from tests.bench import path

SECONDS_MAX = 120
"""Time for the path of another version; it takes three."""


def measure_calls(against: Path | None) -> dict[str, dict[str, float]]:
    """Return {call: {gas}}, with {before, ratio} of the version in a checkout for the calls that it knows."""
    before = {} if against is None else _other(against)
    found: dict[str, dict[str, float]] = {}
    for call, gas in path.measure().items():
        found[call] = {"gas": gas}
        if call in before:
            found[call] |= {"before": before[call], "ratio": round(gas / before[call], 3)}
    return found


def _other(checkout: Path) -> dict[str, int]:
    """Go the same path with another version's interpreter and contracts, in a process of its own."""
    if not (checkout / "contracts" / "runtime.py").is_file():
        raise ConfigError(f"{checkout}: no checkout of Assent; make one with: git worktree add DIRECTORY REV")
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(Path(path.__file__).resolve())],
            env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{checkout}: its contracts take more than {SECONDS_MAX} s for this path") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise ConfigError(f"{checkout}: its contracts do not go this path: {last}")
    figures: dict[str, int] = json.loads(done.stdout)
    return figures
