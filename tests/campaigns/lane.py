"""The campaigns that are programs of their own: one row each.

A program tells its result as a JSON object on the last line of its output: `seeds`, `size`, `figures` and
`failures` as in record.py. It passes if it exits with 0 and names no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.campaigns import record
from tests.campaigns.edits import ROOT

LAST_LINE_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Program:
    """A campaign that is a program."""

    name: str
    what: str
    module: str
    """Run without options, it is a full run."""


PROGRAMS = (
    Program(
        "disclosure",
        "attacks on results, beside the guess that knowledge allows",
        "tests.campaigns.disclosure",
    ),
    Program("kill", "agents hit at every stage of a job, and what it comes to", "tests.campaigns.kill"),
    Program("model", "models of the protocol, exhaustively, and mutants of each", "tests.model"),
    Program("noise", "a million draws of noise on shares, and planted faults", "tests.campaigns.noise"),
    Program("pages", "random pages traced and interpreted, and planted faults", "tests.campaigns.pages"),
    Program("ports", "floods against all ports, and honest clients meanwhile", "tests.campaigns.ports"),
    Program("planted", "faults planted into production code are seen", "tests.campaigns.planted"),
    Program("rules", "system contracts beside a model of their rules, and planted faults", "tests.rules"),
    Program("torture", "real processes under load, faults, floods and a liar", "tests.campaigns.torture"),
)


class NoResult(Exception):
    """A program that ended without telling a result."""


def run(program: Program, more: Sequence[str], tell: Callable[[str], None]) -> record.Entry:
    """Run a program, passing its output on; return its entry, or raise NoResult."""
    commit, dirty = record.commit()
    begin, last = time.monotonic(), ""
    words = [sys.executable, "-m", program.module, *more]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if last:
                tell(last)
            last = line.rstrip("\n")[:LAST_LINE_MAX]
    try:
        result = json.loads(last)
        failures = tuple(result["failures"])
        seeds, size, figures = result["seeds"], result["size"], result["figures"]
    except (ValueError, TypeError, KeyError) as error:
        tell(last)
        raise NoResult(
            f"{' '.join(words[1:])}: exit {process.returncode}, its last line is no result ({error!r}); "
            "see tests/campaigns/README.md"
        ) from None
    good = process.returncode == 0 and not failures
    if not good and not failures:
        failures = (f"exit status {process.returncode}",)
    return record.Entry(
        commit=commit,
        dirty=dirty,
        date=record.today(),
        seeds=str(seeds),
        size=str(size),
        minutes=round((time.monotonic() - begin) / 60, 1),
        figures=figures,
        outcome="passed" if good else "failed",
        failures=failures,
    )
