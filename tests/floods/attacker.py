"""The process of an attacker: `python -m tests.floods.attacker NAME…`.

It reads the target from standard input, whose end stops it, and writes its tallies to standard output.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
import traceback
from typing import Any

import uvloop

from tests.floods.attack import Attack
from tests.floods.catalogue import ATTACKS
from tests.floods.http import SENT
from tests.floods.target import GRACE_S, Clock, Tally, Target, raise_descriptor_limit

SOURCE_FIRST = 66
"""Attackers connect from 127.0.0.66 on; honest clients from 127.0.0.1."""


async def attack(attacks: list[Attack], target: Target) -> dict[str, Any]:
    """Run attacks together until they end, or standard input does; return their tallies by name."""
    names = [made.name for made in attacks]
    tallies = {name: Tally() for name in names}
    tasks = [asyncio.create_task(_one(made, _own(made, target), tallies[made.name])) for made in attacks]

    def stop() -> None:
        for task in tasks:
            task.cancel()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop)
    done = await asyncio.gather(*tasks, return_exceptions=True)
    shown = {name: tally.as_json() for name, tally in tallies.items()}
    for name, result in zip(names, done, strict=True):
        if isinstance(result, Exception):  # the kit's own fault: the campaign must fail, not pass
            shown[name]["broken"] = "".join(traceback.format_exception(result))[-2_000:]
    return shown


def _own(made: Attack, target: Target) -> Target:
    """Give each attack an address of its own: what bounds one must not spare the victim another."""
    return dataclasses.replace(target, source=f"127.0.0.{SOURCE_FIRST + list(ATTACKS).index(made.name)}")


async def _one(made: Attack, target: Target, tally: Tally) -> None:
    async with asyncio.timeout(target.seconds + GRACE_S):
        await made.run(target, Clock(target.seconds), tally)


def _line() -> str:
    """Read one line and nothing beyond it; end when whoever started this process is gone."""
    text = bytearray()
    while not text.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            sys.exit(1)
        text += byte
    return text.decode()


def main() -> None:
    """Read the target, prepare, say "ready", wait for a line, attack, print one line of JSON."""
    names = sys.argv[1:]
    assert set(names) <= set(ATTACKS), f"no attack {sorted(set(names) - set(ATTACKS))}"
    raise_descriptor_limit()
    target = Target.decode(_line())
    if target.secret:
        SENT["Authorization"] = f"Bearer {target.secret}"
    attacks = [ATTACKS[name]() for name in names]
    for made in attacks:
        made.prepare(target)
    print("ready", flush=True)
    _line()
    print(json.dumps(uvloop.run(attack(attacks, target))), flush=True)


if __name__ == "__main__":
    main()
