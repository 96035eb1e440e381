"""`scripts/fuzz`: coverage-guided hostile bytes to every decoder and entry, one target after another."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from chain.client.console import print_table, print_text
from chain.primitives.errors import AssentError
from tests.fuzz.guard import feed
from tests.fuzz.targets import TARGETS


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", metavar="[TARGET]…", nargs=-1, type=click.Choice(sorted(TARGETS)))
@click.option(
    "--minutes", type=click.FloatRange(0.05, 10_000), default=1.0, show_default=True, help="For each."
)
@click.option("--seed", type=click.IntRange(1, 2**31), default=1, show_default=True)
@click.option("--input", "path", type=click.Path(path_type=Path, exists=True), help="Run one input again.")
def fuzz(names: tuple[str, ...], minutes: float, seed: int, path: Path | None) -> None:
    """Feed hostile bytes to TARGETs, by default to all; exit code 1 when one raised what it must not."""
    if path is not None:
        for name in names:
            _again(name, path)
        return
    work = Path(tempfile.mkdtemp(prefix="assent-fuzz-"))
    rows, failed = [], []
    for name in names or sorted(TARGETS):
        print_text(f"{name}: {minutes:g} minutes, seed {seed}")
        folder = work / name
        folder.mkdir()
        command = [sys.executable, "-m", "tests.fuzz.worker", name, folder, str(int(minutes * 60)), str(seed)]
        done = subprocess.run(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, text=True
        )
        runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.stdout)
        covered = re.findall(r"cov: (\d+)", done.stdout)
        rows.append([name, runs[-1] if runs else "?", covered[-1] if covered else "?", done.returncode])
        if done.returncode:
            failed.append(name)
            print_text(done.stdout[-6_000:])
            for found in sorted(item for item in folder.iterdir() if item.is_file()):
                print_text(f"again: scripts/fuzz {name} --input {found}")
    print_table("fuzz", ["target", "#inputs", "#coverage", "#exit code"], rows)
    sys.exit(1 if failed else 0)


def _again(name: str, path: Path) -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        feed(TARGETS[name], path.read_bytes())
    except AssentError as error:
        print_text(f"{name}: {error}")
    print_text(f"{name}: {path}: as declared")


if __name__ == "__main__":
    fuzz()
