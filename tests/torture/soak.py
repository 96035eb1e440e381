"""`scripts/soak`: many transactions at full speed, and whether each node's memory stays flat and small."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click
import psutil

from chain.client.console import print_table, print_text
from tests.bench.chain import Plan, measure
from tests.lifeline import lifeline

RSS_MAX_MIB = 400.0
WARM_UP = 0.3
"""Share of the samples before the memory must be flat: pools, caches and LevelDB's buffers fill."""
GROWTH_MAX_MIB = 25.0
"""Between the first and the last tenth of what follows the warm-up."""
SAMPLE_S = 1.0
KEYS = 1_000


class Sampler:
    """Notes once a second the resident memory of every node that this process has started."""

    def __init__(self) -> None:
        self.samples: dict[str, list[tuple[float, float]]] = {}
        """Node -> (seconds, MiB)."""
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            at = round(time.monotonic() - self._began, 1)
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    words = child.cmdline()
                    if words[-2:-1] == ["--config"] and child.status() != psutil.STATUS_ZOMBIE:
                        size = round(child.memory_info().rss / 1_048_576, 1)
                        self.samples.setdefault(Path(words[-1]).parent.name, []).append((at, size))


def judge(samples: list[tuple[float, float]]) -> dict[str, float]:
    """Return the largest size, the growth after the warm-up, and its pace, in MiB (an hour)."""
    sizes = [size for _, size in samples]
    flat = samples[int(len(samples) * WARM_UP) :]
    tenth = max(1, len(flat) // 10)
    first = sum(size for _, size in flat[:tenth]) / tenth
    last = sum(size for _, size in flat[-tenth:]) / tenth
    hours = max(1e-9, (flat[-1][0] - flat[0][0]) / 3_600)
    return {
        "max": max(sizes),
        "after_warm_up": round(first, 1),
        "end": round(last, 1),
        "growth": round(last - first, 1),
        "growth_an_hour": round((last - first) / hours, 1),
    }


def soak(transactions: int, outstanding: int) -> dict[str, Any]:
    """Run four validators under full load; return figures of speed and memory."""
    plan = Plan(transactions, outstanding, half_load_s=0, keys=KEYS, profile=False)
    with Sampler() as sampler:
        (figures,) = measure([plan], print_text)
    figures["memory_mib"] = {name: judge(samples) for name, samples in sampler.samples.items()}
    every = max(1, len(next(iter(sampler.samples.values()))) // 200)
    figures["samples_mib"] = {name: samples[::every] for name, samples in sampler.samples.items()}
    figures["broken"] = [
        f"{name}: {what}"
        for name, found in figures["memory_mib"].items()
        for what, bad in (
            (f"{found['max']} MiB, at most {RSS_MAX_MIB:.0f}", found["max"] > RSS_MAX_MIB),
            (f"grew by {found['growth']} MiB after the warm-up", found["growth"] > GROWTH_MAX_MIB),
        )
        if bad
    ]
    return figures


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--transactions", type=click.IntRange(10_000, 100_000_000), default=1_000_000, show_default=True
)
@click.option("--outstanding", type=click.IntRange(1, 100_000), default=1_500, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the figures as JSON here.")
def main(transactions: int, outstanding: int, output: Path | None) -> None:
    """Send TRANSACTIONS at full speed to four nodes; exit code 1 if a node's memory grows or is too large."""
    with lifeline():
        figures = soak(transactions, outstanding)
    if output is not None:
        output.write_text(json.dumps(figures, indent=1) + "\n")
    rows = [
        [name, found["after_warm_up"], found["end"], found["growth"], found["growth_an_hour"], found["max"]]
        for name, found in figures["memory_mib"].items()
    ]
    full = figures["full_load"]
    title = f"{full['transactions']} transactions in {full['seconds']} s, {full['per_second']} a second"
    print_table(f"soak: {title}; RSS in MiB", ["node", "#warm", "#end", "#growth", "#an hour", "#max"], rows)
    for line in figures["broken"]:
        print_text(f"BROKEN: {line}")
    sys.exit(1 if figures["broken"] else 0)


if __name__ == "__main__":
    main()
