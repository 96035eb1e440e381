"""`scripts/campaign model`: searches of models of the protocol, and the mutants that they must catch."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from tests.model.bounds import FULL, QUICK, RUNS, Run
from tests.model.kept import Kept
from tests.model.spin import Outcome, missing, search, version

COLUMNS = "{:<32} {:>12} {:>6} {:>7} {:>6}  {}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("mode", type=click.Choice([QUICK, FULL]), default=FULL)
@click.option("--only", multiple=True, metavar="M1|M1/NAME", help="These runs alone; a prefix will do.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Searches at a time.")
@click.option("--list", "listing", is_flag=True, help="List the runs and what each mutant undoes.")
def model(mode: str, only: tuple[str, ...], jobs: int, listing: bool) -> None:
    """Search the models of consensus: quick in about a minute, full in hours.

    What a full search found on the same sources before is not searched again.

    Exit code 0: every promise holds within the bounds, and every mutant was caught. Exit code 1: not so, or a
    search was cut short. Exit code 2: Spin or gcc is missing. The last line is the result as JSON.
    """
    runs = chosen(mode, only)
    if listing:
        for run in runs:
            click.echo(f"{run.label}: {run.undoes or 'everything holds'} [{' '.join(run.defines)}]")
        return
    if why := missing():
        click.echo(f"model: {why}", err=True)
        sys.exit(2)
    click.echo(COLUMNS.format("run", "states", "depth", "seconds", "MB", "outcome"))
    outcomes = []
    for outcome in outcomes_of(runs, mode, jobs):
        outcomes.append(outcome)
        click.echo(line(outcome))
        for step in outcome.trace:
            click.echo(f"    {step}")
    failed = [outcome for outcome in outcomes if outcome.failure]
    click.echo(f"{len(outcomes)} searches, {len(failed)} failed")
    click.echo(json.dumps(result(mode, outcomes), ensure_ascii=False))
    sys.exit(1 if failed else 0)


def chosen(mode: str, only: tuple[str, ...]) -> list[Run]:
    """Return the runs of a mode whose label starts with one of `only`, or all."""
    of_mode = [run for run in RUNS if mode in run.modes]
    found = [run for run in of_mode if not only or run.label.startswith(only)]
    if not found:
        models = ", ".join(sorted({run.model for run in of_mode}))
        raise click.BadParameter(f"{' '.join(only)}: no such run; models: {models}; --list names the runs")
    return found


def outcomes_of(runs: list[Run], mode: str, jobs: int) -> Iterator[Outcome]:
    """Search each run in a folder of its own, `jobs` at a time, in order; full ones not twice."""
    kept = Kept(mode) if mode == FULL else None

    def one(run: Run) -> Outcome:
        if kept is not None and (before := kept.find(run)):
            return before
        with tempfile.TemporaryDirectory(prefix="assent-model-") as folder:
            outcome = search(run, mode, Path(folder))
        if kept is not None:
            kept.add(outcome)
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, runs)


def line(outcome: Outcome) -> str:
    """Return one line of the table; 80 columns unless something failed."""
    run = outcome.run
    if outcome.failure:
        said = f"FAILED: {outcome.failure}"
    else:
        said = "caught" if run.breaks else outcome.coverage.split(",")[0].replace("hash factor", "hash")
    return COLUMNS.format(
        run.label[:32], f"{outcome.states:,}", outcome.depth, outcome.seconds, outcome.megabytes, said
    )


def result(mode: str, outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the result as a campaign tells it (tests/campaigns/README.md)."""
    proper = [outcome for outcome in outcomes if not outcome.run.breaks]
    mutants = [outcome for outcome in outcomes if outcome.run.breaks]
    figures = {
        "spin": version(),
        "searches": len(outcomes),
        "mutants": len(mutants),
        "caught": sum(not outcome.failure for outcome in mutants),
        "states": sum(outcome.states for outcome in proper),
        "minutes of searching": round(sum(outcome.seconds for outcome in outcomes) / 60, 1),
    }
    said = {
        outcome.run.label: f"{outcome.states} states, {outcome.seconds} s, {outcome.megabytes} MB, "
        f"{outcome.failure or outcome.coverage}"
        for outcome in proper
    }
    return {
        "seeds": "none: searches, not samples",
        "size": f"{mode}: {len(proper)} searches of the models, {len(mutants)} of mutants",
        "figures": figures | said,
        "failures": [f"{item.run.label}: {item.failure}"[:300] for item in outcomes if item.failure],
    }


if __name__ == "__main__":
    model()
