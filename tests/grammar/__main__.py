"""`scripts/fuzz-contracts --programs N --seed S`: generate programs, check what must hold, report."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent))

from campaign import UNLIKE, Campaign, Finding, seeds
from grammar import Writer


@click.command()
@click.option("--programs", type=click.IntRange(1), default=1_000, show_default=True)
@click.option("--seed", default="0", show_default=True, help="The same makes the same programs.")
@click.option("--one", metavar="KIND:SEED", help="Print and judge one program again.")
@click.option("--python", help="Interpreter of the other host, such as one that scripts/pythons prepared.")
@click.option("--keep-going", is_flag=True, help="Report every finding rather than stop at the first.")
def main(programs: int, seed: str, one: str | None, python: str | None, keep_going: bool) -> None:
    """Judge generated contracts by what must hold of any contract; exits 1 when something does not."""
    if one is not None:
        kind, _, its_seed = one.partition(":")
        click.echo(Writer(kind, its_seed).program())
        todo, programs = [(kind, its_seed)], 1
    else:
        todo = list(seeds(seed, programs))
    findings, started = 0, time.monotonic()
    host = UNLIKE if python is None else replace(UNLIKE, python=python)
    with Campaign(host) as campaign:
        for place, (kind, its_seed) in enumerate(todo, 1):
            try:
                campaign.run(kind, its_seed)
            except Finding as finding:
                findings += 1
                click.echo(f"FINDING (again with --one {kind}:{its_seed})\n{finding}")
                if not keep_going:
                    break
            if place % 5_000 == 0:
                click.echo(
                    f"{place} programs, {findings} findings, {time.monotonic() - started:.0f} s", err=True
                )
        tally = campaign.tally
    for verdict, count in sorted(tally.verdicts.items(), key=lambda item: -item[1]):
        click.echo(f"{count:8} {verdict}")
    click.echo(f"{tally.programs} programs of seed {seed}, {findings} findings")
    click.echo(f"{tally.compared} results and exceptions confirmed by CPython")
    click.echo(f"{tally.linked} came to the same with their functions in a library")
    if tally.gas:
        mean = 1e9 * tally.seconds / tally.gas
        click.echo(
            f"time per gas: mean {mean:.0f} ns, most {1e9 * tally.slowest:.0f} ns (seed {tally.slowest_seed})"
        )
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
