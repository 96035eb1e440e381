"""The process of an attacker: `python -m tests.floods.attacker NAME…`; target on stdin, tallies on stdout."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from typing import Any

import uvloop

from tests.floods.attack import ATTACKS, Attack
from tests.floods.catalogue import LISTED
from tests.floods.target import Clock, Tally, Target, raise_descriptor_limit

GRACE_S = 20.0
"""An attack that goes on so long after its end is broken off."""


async def attack(names: list[str], target: Target) -> dict[str, Any]:
    """Run attacks together; return their tallies by name."""
    tallies = {name: Tally() for name in names}
    done = await asyncio.gather(
        *[_one(ATTACKS[name](), target, tallies[name]) for name in names], return_exceptions=True
    )
    shown = {name: tally.as_json() for name, tally in tallies.items()}
    for name, result in zip(names, done, strict=True):
        if isinstance(result, BaseException):  # the kit's own fault: the campaign must fail, not pass
            shown[name]["broken"] = "".join(traceback.format_exception(result))[-2_000:]
    return shown


async def _one(made: Attack, target: Target, tally: Tally) -> None:
    async with asyncio.timeout(target.seconds + GRACE_S):
        await made.run(target, Clock(target.seconds), tally)


def main() -> None:
    """Say "ready", wait for the target, attack, print one line of JSON."""
    names = sys.argv[1:]
    assert LISTED
    assert set(names) <= set(ATTACKS), f"no attack {sorted(set(names) - set(ATTACKS))}"
    raise_descriptor_limit()
    print("ready", flush=True)
    target = Target.decode(sys.stdin.readline())
    print(json.dumps(uvloop.run(attack(names, target))), flush=True)


if __name__ == "__main__":
    main()
