"""`scripts/campaign`: campaigns of full size, their results on record."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from tests.campaigns import lane, mutants, record, seeds
from tests.campaigns.equivalent import EQUIVALENT
from tests.campaigns.verdicts import STAGES, Verdicts

WIDTH = 80


def _tell(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a campaign of full size and put its result into docs/campaigns.json.

    Exit code 0: it found nothing. Exit code 1: it names what failed. A part of a campaign (fewer seeds,
    fewer mutants) is no result; what it found stays in docs/campaigns/ for a later run to continue.
    """


def jobs_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Take --jobs."""
    return click.option(
        "--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes."
    )(command)


@main.command("list")
def list_campaigns() -> None:
    """Show every campaign and what its last full run found."""
    entries = record.load()
    texts = {
        "mutants": "one-line mutants of consensus/ are caught, or argued equivalent",
        "seeds": "whole clusters on virtual time under random faults",
    }
    texts |= {program.name: program.what for program in lane.PROGRAMS}
    for name, what in texts.items():
        _tell(f"{name:9} {what}"[:WIDTH])
        entry = entries.get(name)
        if entry is None:
            _tell(f"{'':9} never run in full")
            continue
        where = f"{entry.commit[:10]}{' with changes' if entry.dirty else ''}"
        _tell(f"{'':9} {entry.outcome} on {entry.date}, {where}, {entry.minutes:g} minutes")
        _wrapped([f"{key} {value}" for key, value in entry.figures.items()])
        for failure in entry.failures[:5]:
            _tell(f"{'':9} ! {failure}"[:WIDTH])


def _wrapped(words: Sequence[str]) -> None:
    line = ""
    for word in words:
        if line and len(line) + len(word) + 12 > WIDTH:
            _tell(f"{'':10}{line},")
            line = ""
        line += f"{', ' if line else ''}{word}"
    _tell(f"{'':10}{line}"[:WIDTH])


@main.command("mutants")
@click.option(
    "--only", multiple=True, metavar="NAME", help="This mutant (or all whose name holds this); repeatable."
)
@click.option(
    "--sample",
    type=click.IntRange(0, 10_000),
    default=mutants.SAMPLE,
    show_default=True,
    help="Generated mutants; 0 for those by hand alone.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Chooses the sample.")
@click.option(
    "--seeds",
    "most",
    type=click.IntRange(1, 10_000),
    default=mutants.SEEDS,
    show_default=True,
    help="Seeds of the simulator for each that tests do not catch.",
)
@click.option(
    "--until", type=click.Choice(STAGES), default=STAGES[-1], show_default=True, help="The last hurdle."
)
@click.option("--hand/--no-hand", default=True, help="With the mutants by hand.")
@click.option("--thorough", is_flag=True, help="The simulator also tries mutants argued to be equivalent.")
@jobs_option
def run_mutants(
    only: tuple[str, ...],
    sample: int,
    seed: int,
    most: int,
    until: str,
    hand: bool,
    thorough: bool,
    jobs: int,
) -> None:
    """Change one line of consensus/ at a time, and see who notices."""
    by_hand, stale = mutants.by_hand() if hand or only else ([], [])
    chosen = by_hand + (mutants.generated(10**6 if only else sample, seed) if sample else [])
    if only:
        chosen = [mutant for mutant in chosen if any(name in mutant.name for name in only)]
        if not chosen:
            raise click.UsageError(f"{', '.join(only)}: no mutant has such a name")
    plan = mutants.Plan(chosen, stale, most, jobs, STAGES[: STAGES.index(until) + 1], thorough)
    commit, dirty = record.commit()
    begin = time.monotonic()
    try:
        outcome = mutants.run(plan, _tell)
    except mutants.Unsound as error:
        raise click.ClickException(str(error)) from None
    figures = mutants.figures(plan, outcome)
    for line in stale:
        _tell(f"STALE  {line}")
    for name in outcome.refuted:
        _tell(f"REFUTED  {name}: take it out of tests/campaigns/equivalent.py")
    for mutant in outcome.survivors:
        argued = " (another change than the one argued about)" if mutant.name in EQUIVALENT else ""
        _tell(f"SURVIVES  {mutant.name}{argued}, {mutant.file}:{mutant.lines[0]}")
        _tell(f"    {mutant.before}  →  {mutant.after}")
    _tell(", ".join(f"{key} {value}" for key, value in figures.items()))
    full = not only and hand and sample >= mutants.SAMPLE and most >= mutants.SEEDS and until == STAGES[-1]
    good = mutants.passed(plan, outcome)
    if full:
        Verdicts.load(mutants.store()).keep({mutant.key for mutant in chosen})
        failures = [f"survives: {m.name}: {m.before} → {m.after}"[:300] for m in outcome.survivors]
        failures += [f"stale: {line}"[:300] for line in stale] + [f"refuted: {n}" for n in outcome.refuted]
        size = f"{len(chosen)} mutants, at most {most} seeds of the simulator each"
        _keep("mutants", commit, dirty, f"sample of seed {seed}", size, begin, figures, failures)
    sys.exit(0 if good else 1)


@main.command("seeds")
@click.option("--seeds", "count", type=click.IntRange(1, 10**6), default=seeds.SEEDS, show_default=True)
@jobs_option
def run_seeds(count: int, jobs: int) -> None:
    """Run the simulator over many seeds; what ran on the same sources before is not run again."""
    commit, dirty = record.commit()
    begin = time.monotonic()
    figures, failures = seeds.run(count, jobs, _tell)
    _tell(", ".join(f"{key} {value}" for key, value in figures.items()))
    if count >= seeds.SEEDS:
        size = f"{count} seeds over n of 1, 4, 5, 7, 10"
        _keep("seeds", commit, dirty, f"0..{count - 1}", size, begin, figures, failures)
    sys.exit(1 if failures else 0)


def _keep(
    name: str,
    commit: str,
    dirty: bool,
    chosen: str,
    size: str,
    begin: float,
    figures: dict[str, Any],
    failures: list[str],
) -> None:
    entry = record.Entry(
        commit=commit,
        dirty=dirty,
        date=record.today(),
        seeds=chosen,
        size=size,
        minutes=round((time.monotonic() - begin) / 60, 1),
        figures=figures,
        outcome="failed" if failures else "passed",
        failures=tuple(failures),
    )
    _save(name, entry)


def _save(name: str, entry: record.Entry) -> None:
    record.save(name, entry)
    _tell(f"{name}: {entry.outcome}; in {record.BOOK.relative_to(record.ROOT)}")
    if entry.dirty:
        _tell("the tree differs from its commit: commit, and run again before anyone quotes this")


def is_full(more: Sequence[str]) -> bool:
    """Tell whether options leave a program's run whole: how many processes share it changes nothing."""
    return not more or (more[0] == "--jobs" and len(more) == 2) or (more[0][:7] == "--jobs=" and not more[1:])


def _command(program: lane.Program) -> click.Command:
    told = "With options other than --jobs N, all of which the program gets, nothing is recorded."

    @click.command(
        program.name,
        help=f"{program.what.capitalize()}. {told}",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )
    @click.argument("more", nargs=-1, type=click.UNPROCESSED)
    def run(more: tuple[str, ...]) -> None:
        try:
            entry = lane.run(program, more, _tell)
        except lane.NoResult as error:
            raise click.ClickException(str(error)) from None
        _tell(", ".join(f"{key} {value}" for key, value in entry.figures.items()))
        for failure in entry.failures:
            _tell(f"! {failure}")
        if is_full(more):
            _save(program.name, entry)
        sys.exit(0 if entry.outcome == "passed" else 1)

    return run


for _program in lane.PROGRAMS:
    main.add_command(_command(_program))


if __name__ == "__main__":
    main()
