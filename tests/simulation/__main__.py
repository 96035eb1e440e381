"""`scripts/simulate`: whole clusters on virtual time under random faults, checked at every event."""

from __future__ import annotations

import sys
import time

import click

from tests.simulation import planted
from tests.simulation.campaign import SCHEDULES, replay_command, run, run_schedules
from tests.simulation.storm import STEPS, Outcome

LINE_EVERY_S = 10.0
SEEDS = 100


class Seeds(click.ParamType):
    """`A:B` (A included, B not), or one seed."""

    name = "A:B"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """Return the seeds."""
        first, colon, last = value.partition(":")
        try:
            low = int(first or 0)
            high = int(last) if colon else low + 1
        except ValueError:
            self.fail(
                f"{value!r}: expected A:B or one seed, numbers from 0 upwards, such as 0:500", param, ctx
            )
        if not 0 <= low < high:
            self.fail(f"{value!r}: expected 0 <= A < B", param, ctx)
        return range(low, high)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--seeds",
    type=Seeds(),
    help="Seeds A (included) to B, or one; by default 0:100, and 0:500 with --planted.",
)
@click.option(
    "--nodes", type=click.IntRange(1, 20), help="Validators; drawn by seed from 1, 4, 5, 7, 10 by default."
)
@click.option(
    "--steps",
    type=click.IntRange(1, 100_000),
    default=STEPS,
    show_default=True,
    help="Faults; about one a virtual second.",
)
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option(
    "--planted",
    "planting",
    metavar="NAME|all|list",
    help="Plant a known fault into the production code and count the seeds until it is caught.",
)
@click.option(
    "--schedules",
    "scheduled",
    type=click.Choice(SCHEDULES),
    help="Bare replicas under schedules instead: all partitions of two rounds around two copies of one "
    "validator (twins), longer ones (twins-drawn), small mutations of what one replica says (byzzfuzz); "
    "--seeds picks by number.",
)
def simulate(
    seeds: range | None,
    nodes: int | None,
    steps: int,
    jobs: int,
    planting: str | None,
    scheduled: str | None,
) -> None:
    """Run clusters of production nodes on virtual time under random faults.

    Exit code 0: every promise held at every event of every seed. Exit code 1: a promise was broken; the
    seed and the command that replays it are printed.
    """
    if planting is not None:
        sys.exit(planted.main(planting, seeds or range(planted.SEEDS_MAX)))
    if scheduled is not None:
        sys.exit(_run_schedules(scheduled, seeds, jobs))
    seeds = seeds or range(SEEDS)
    begin, told = time.monotonic(), time.monotonic()
    done: list[Outcome] = []
    failed = 0
    for outcome in run(seeds, nodes, steps, jobs):
        done.append(outcome)
        if outcome.failure:
            failed += 1
            click.echo(f"seed {outcome.seed} ({outcome.nodes} nodes) FAILED {outcome.failure}")
            click.echo(f"  replay: {replay_command(outcome, nodes, steps)}")
        elif len(seeds) <= 10:
            click.echo(_line(outcome))
        if time.monotonic() - told > LINE_EVERY_S:
            told = time.monotonic()
            click.echo(f"{len(done)} of {len(seeds)} seeds, {failed} failed", err=True)
    click.echo(_summary(done, failed, time.monotonic() - begin))
    sys.exit(1 if failed else 0)


def _run_schedules(kind: str, numbers: range | None, jobs: int) -> int:
    begin, done, failed = time.monotonic(), 0, 0
    for number, words, failure in run_schedules(kind, numbers, jobs):
        done += 1
        if failure:
            failed += 1
            click.echo(f"{kind} {number} FAILED: {failure}\n  {words}")
            click.echo(f"  replay: scripts/simulate --schedules {kind} --seeds {number}")
    click.echo(f"{done} schedules ({kind}), {failed} failed, in {time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


def _line(outcome: Outcome) -> str:
    return (
        f"seed {outcome.seed}: {outcome.nodes} nodes, height {outcome.height}, {outcome.transactions} "
        f"transactions, {outcome.frames} frames in {outcome.virtual_s:.0f} virtual s "
        f"({outcome.cpu_s:.1f} s of CPU), recovered in {outcome.recovery_s:.1f} s, trace {outcome.trace}"
    )


def _summary(done: list[Outcome], failed: int, wall_s: float) -> str:
    cpu = sum(outcome.cpu_s for outcome in done)
    slowest = max(done, key=lambda outcome: outcome.recovery_s)
    return (
        f"{len(done)} seeds, {failed} failed: {sum(o.height for o in done)} blocks, "
        f"{sum(o.transactions for o in done)} transactions, {sum(o.frames for o in done)} frames, "
        f"{sum(o.virtual_s for o in done) / 3600:.1f} virtual hours in {wall_s:.0f} s "
        f"({60 * len(done) / cpu:.0f} seeds a minute a core); slowest recovery {slowest.recovery_s:.1f} s "
        f"(seed {slowest.seed})"
    )


if __name__ == "__main__":
    simulate()
