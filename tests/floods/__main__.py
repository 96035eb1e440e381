"""`python -m tests.floods`: real nodes under every known attack on their ports, beside honest clients."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import click
import uvloop

from chain.client.console import print_lines, print_text
from chain.primitives.errors import AssentError
from tests.floods.arena import ACCESS, ORGS, found_arena
from tests.floods.attackers import ROOT
from tests.floods.catalogue import ALL, ATTACKS
from tests.floods.judge import HEADER, broken, judge_beside, line, misses
from tests.floods.measure import Row, measure
from tests.floods.stories import stop_agents
from tests.lifeline import lifeline

ASK_S = 5.0
BASE_PORT = 25_000


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, help="Only these attacks; `all` is all of them at once.")
@click.option("--seconds", type=click.FloatRange(2, 600), default=11.0, show_default=True, help="Per attack.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Replays the attackers' chance.")
@click.option("--base-port", type=click.IntRange(0, 65_000), default=BASE_PORT, show_default=True)
@click.option(
    "--access",
    type=click.Choice(ACCESS),
    default=ACCESS[0],
    show_default=True,
    help="Ports for clients: open on loopback, or with TLS and principals, to strangers or to who may read.",
)
@click.option("--list", "as_list", is_flag=True, help="Say what each attack sends, and end.")
@click.option("--json", "as_json", is_flag=True, help="The last line is one JSON object.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the JSON here, too.")
def floods(
    only: tuple[str, ...],
    seconds: float,
    seed: int | None,
    base_port: int,
    access: str,
    as_list: bool,
    as_json: bool,
    output: Path | None,
) -> None:
    """Attack four real validators in every known way, one after another and all at once.

    Exit code 0: an honest client waits at most three times as long as undisturbed, no victim needs more than
    300 MiB, every attacker with a key is named within 10 s, /health answers, no node ends, all recover.
    """
    if as_list:
        print_lines("\n".join(_described()))
        return
    if unknown := sorted(set(only) - set(ATTACKS) - {ALL}):
        raise click.BadParameter(f"{', '.join(unknown)}; there are: {', '.join([*ATTACKS, ALL])}")
    chosen = list(only) or [*ATTACKS, ALL]
    seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    work = Path(tempfile.mkdtemp(prefix="assent-floods-"))
    print_text(f"floods: {len(chosen)} measurements of {seconds:g} s, seed {seed}; {work}")
    try:
        with lifeline():
            report = uvloop.run(_campaign(work, chosen, seconds, seed, base_port, output, access))
    except AssentError as error:
        report = {"seed": seed, "rows": [], "misses": [f"[{error.code}] {error}"]}
    for text in report["misses"]:
        print_text(f"MISSED {text}")
    _write(output, report)
    if report["misses"]:
        print_text(f"seed {seed}; the nodes' folders: {work}")
    else:
        shutil.rmtree(work)
    if as_json:
        print(json.dumps(report, separators=(",", ":")))
    sys.exit(1 if report["misses"] else 0)


async def _campaign(
    folder: Path,
    chosen: list[str],
    seconds: float,
    seed: int,
    base_port: int,
    output: Path | None,
    access: str,
) -> dict[str, Any]:
    """Measure one attack after another; what is known so far is in `output` after each."""
    began, rows, failed = time.monotonic(), list[Row](), list[str]()
    timeout, connector = aiohttp.ClientTimeout(total=ASK_S), aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        arena = found_arena(folder, base_port, session, access)
        try:
            await arena.open()
            print_lines("\n".join(HEADER))
            for name in chosen:
                attacks = [ATTACKS[name]] if name != ALL else [a for a in ATTACKS.values() if a.with_others]
                try:
                    rows.append(await measure(arena, name, attacks, seconds, seed))
                    judge_beside(rows[-1], rows)
                    print_text(line(rows[-1]))
                except AssentError as error:  # one measurement less; the others are worth having
                    failed.append(f"{name}: not measured: [{error.code}] {error}")
                    print_text(f"{name:<19}not measured")
                    arena.dirty |= set(ORGS)
                report = _report(rows, failed, seconds, seed, time.monotonic() - began) | {"access": access}
                _write(output, report | {"misses": [*report["misses"], "not finished"]})
        finally:
            for node in arena.nodes.values():
                node.kill()
            await stop_agents(arena)
    return _report(rows, failed, seconds, seed, time.monotonic() - began) | {"access": access}


def _report(rows: list[Row], failed: list[str], seconds: float, seed: int, took_s: float) -> dict[str, Any]:
    missed = [f"{row.name}: {text}" for row in rows for text in [*misses(row), *broken(row)]]
    return {
        "commit": _commit(),
        "seed": seed,
        "seconds": seconds,
        "took_s": round(took_s),
        "cores": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        "misses": [*failed, *missed],
        "rows": [row.as_json() for row in rows],
    }


def _write(output: Path | None, report: dict[str, Any]) -> None:
    if output is not None:
        output.write_text(json.dumps(report, indent=1) + "\n")


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _described() -> list[str]:
    found = []
    for name, attack in ATTACKS.items():
        story = (attack.__doc__ or "").splitlines()[0]
        found.append(f"{name} ({attack.port} port, {attack.who}): {story}")
        found.append(f"    sends {attack.sends}; bound: {attack.bound}")
    return found


if __name__ == "__main__":
    floods()
