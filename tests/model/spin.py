"""Runs Spin: from a model and its bounds to a verifier, and from the verifier's words to an outcome."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.model.bounds import Run

HERE = Path(__file__).parent
TRACE_LINES = 80
COMPILE_SECONDS_MAX = 600
BITSTATE_ENDS_S = 120
"""A bitstate search looks at the clock now and then."""
INSTALL = (
    "install both and run this again: `scripts/setup --with model` (Debian or Ubuntu, as root), "
    "or `apt-get install spin gcc`, or `brew install spin`"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one search may cost; a search that needs more has failed."""

    seconds: int
    megabytes: int
    depth: int
    """Steps of one path; a longer one cuts the search short, which is a failure."""
    bits: int
    """Bitstate: log2 of the number of bits."""
    bitstate_minutes: int
    """Bitstate: a search that is not done by then is partial, and says so."""


LIMITS = {
    "quick": Limits(seconds=900, megabytes=1_500, depth=100_000, bits=30, bitstate_minutes=15),
    "full": Limits(seconds=3_600, megabytes=15_000, depth=2_000_000, bits=35, bitstate_minutes=20),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one search found."""

    run: Run
    states: int
    depth: int
    seconds: float
    megabytes: int
    broken: str
    """The promise that was found broken, or empty."""
    cut: str
    """Why the search ended early, or empty."""
    coverage: str
    """`exhaustive`, or of a bitstate search the hash factor (above 100: probably all states), after `partial`
    if time ran out."""
    trace: tuple[str, ...] = ()
    """The steps that lead to a broken promise, where none may be."""

    @property
    def failure(self) -> str:
        """Say what is wrong, or return an empty string."""
        if self.run.breaks:
            if not self.broken:
                return f"the mutant was not caught ({self.cut or 'everything was searched'})"
            return "" if self.run.breaks in self.broken else f"caught by another promise: {self.broken}"
        return self.broken or self.cut


def missing() -> str:
    """Say what has to be installed, or return an empty string."""
    absent = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
    return f"{' and '.join(absent)}: not found; {INSTALL}" if absent else ""


def version() -> str:
    """Return Spin's version."""
    said = subprocess.run(["spin", "-V"], capture_output=True, text=True, check=True).stdout
    return said.removeprefix("Spin Version").split("--")[0].strip()


def search(run: Run, mode: str, folder: Path) -> Outcome:
    """Build the verifier of a run in an empty folder and run it within the limits of a mode."""
    limits = LIMITS[mode]
    _build(run, limits, folder)
    command = ["./pan", f"-m{limits.depth}"]
    seconds = limits.seconds
    if run.bitstate:
        command += [f"-w{limits.bits}", "-k3", f"-Q{limits.bitstate_minutes}"]
        seconds = limits.bitstate_minutes * 60 + BITSTATE_ENDS_S
    begin = time.monotonic()
    said, late = _run(command, folder, seconds)
    outcome = read(run, said, time.monotonic() - begin, f"not done in {seconds} s" if late else "")
    if outcome.broken and outcome.failure:
        return _with_trace(outcome, folder)
    return outcome


def _build(run: Run, limits: Limits, folder: Path) -> None:
    for source in (*HERE.glob("*.pml"), *HERE.glob("*.h"), *HERE.glob("*.c")):
        shutil.copy(source, folder)
    defines = [f"-D{item}" for item in run.defines]
    _must(["spin", "-a", *defines, f"{run.source}.pml"], folder)
    options = ["-DSAFETY", "-DNOREDUCE", f"-DMEMLIM={limits.megabytes}", "-w", "-I."]
    if run.bitstate:
        options.append("-DBITSTATE")
    # Most mutants are caught early: to compile well would take longer than to search.
    effort = "-O0" if run.breaks else "-O2"
    _must(["gcc", effort, *options, *defines, "-o", "pan", "pan.c"], folder)


def _must(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=COMPILE_SECONDS_MAX
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def _run(command: list[str], folder: Path, seconds: int) -> tuple[str, bool]:
    with (folder / "said").open("w+") as said:
        verifier = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        try:
            verifier.wait(timeout=seconds)
            late = False
        except subprocess.TimeoutExpired:
            late = True
        finally:
            verifier.kill()
            verifier.wait()
        said.seek(0)
        return said.read(), late


def _number(pattern: str, said: str) -> float:
    found = re.findall(pattern, said, re.MULTILINE)
    return float(found[-1]) if found else 0.0


def read(run: Run, said: str, seconds: float, late: str) -> Outcome:
    """Read what a verifier printed."""
    broken = re.search(r"^pan:\d+: (.*) \(at depth \d+\)", said, re.MULTILINE)
    words = broken.group(1) if broken else ""
    cut = late or _cut(said, run)
    if "States=" in said and "states, stored" not in said:
        states = int(_number(r"States=\s*([\d.e+]+)", said))
    else:
        states = int(_number(r"^\s*([\d.e+]+) states, stored", said))
    if run.bitstate:
        factor = _number(r"hash factor: ([\d.e+]+)", said)
        coverage = f"hash factor {factor:.0f}"
        if "Search not completed" in said:  # then a high factor says only that few states were visited
            coverage = f"partial, {coverage}"
    else:
        coverage = "" if words or cut else "exhaustive"
    if not words and not cut and "errors: 0" not in said:
        cut = f"the verifier ended without a result: {said[-300:].strip()!r}"
    return Outcome(
        run=run,
        states=states,
        depth=int(_number(r"depth reached (\d+)", said)),
        seconds=round(seconds, 1),
        megabytes=round(_number(r"^\s*([\d.]+)\s+total actual memory usage", said)),
        broken=words,
        cut="" if words else cut,
        coverage=coverage,
    )


def _cut(said: str, run: Run) -> str:
    for sign in ("max search depth too small", "reached -DMEMLIM bound", "out of memory"):
        if sign in said:
            return sign
    if "Search not completed" in said and not run.bitstate:
        return "search not completed"
    return ""


def _with_trace(outcome: Outcome, folder: Path) -> Outcome:
    done = subprocess.run(
        ["./pan", "-r"], cwd=folder, capture_output=True, text=True, check=False, timeout=COMPILE_SECONDS_MAX
    )
    steps = [line for line in done.stdout.splitlines() if re.match(r"^([A-Z]: |view \d)", line)]
    return Outcome(
        outcome.run,
        outcome.states,
        outcome.depth,
        outcome.seconds,
        outcome.megabytes,
        outcome.broken,
        outcome.cut,
        outcome.coverage,
        tuple(steps[-TRACE_LINES:]),
    )
