"""`scripts/torture`: real nodes under load are killed, paused, cut off and starved; nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import uvloop

from chain.client.console import print_lines, print_table, print_text
from chain.primitives.errors import AssentError
from tests.lifeline import lifeline
from tests.torture.campaign import Settings, run
from tests.torture.report import RESTART_MAX_S


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", type=click.FloatRange(0.1, 10_000), default=10.0, show_default=True)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), help="Replays a plan of faults; random by default."
)
@click.option("--nodes", "count", type=click.IntRange(4, 10), default=4, show_default=True)
@click.option(
    "--rate",
    type=click.FloatRange(1, 10_000),
    default=100.0,
    show_default=True,
    help="Transactions a second.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the report as JSON here.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Work here and keep everything; else a temporary folder, kept on failure.",
)
@click.option(
    "--mount/--no-mount",
    default=os.geteuid() == 0,
    help="Fill a small tmpfs for `full disk` (needs root, whose default it is), or limit file sizes.",
)
@click.option("--liar", is_flag=True, help="One of the validators is Byzantine, a real process with its key.")
@click.option("--floods", is_flag=True, help="The ports of honest nodes are attacked meanwhile.")
def torture(
    minutes: float,
    seed: int | None,
    count: int,
    rate: float,
    output: Path | None,
    folder: Path | None,
    mount: bool,
    liar: bool,
    floods: bool,
) -> None:
    """Torture a cluster of real nodes for a while, then check every promise in their ledgers.

    Exit code 0: every acknowledged transaction is on every node exactly once, all roots agree, all
    certificates verify, every restart took under 5 seconds. Exit code 1: a promise was broken; the seed and
    the command that replays it are printed.
    """
    seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    settings = Settings(seed, minutes * 60, count, rate, mount, liar, floods)
    work = Path(tempfile.mkdtemp(prefix="assent-torture-")) if folder is None else folder
    began = time.monotonic()

    def say(text: str) -> None:
        print_text(f"{time.monotonic() - began:7.1f} s  {text}")

    print_text(f"torture: {count} nodes, {minutes:g} minutes, {rate:g} transactions a second, seed {seed}")
    try:
        with lifeline():
            report = uvloop.run(run(work, settings, say))
    except AssentError as error:
        report = {"seed": seed, "broken": [f"[{error.code}] {error}"]}
    report["replay"] = f"scripts/torture --minutes {minutes:g} --seed {seed} --nodes {count} --rate {rate:g}"
    report["replay"] += " --mount" if mount else " --no-mount"
    report["replay"] += (" --liar" if liar else "") + (" --floods" if floods else "")
    if output is not None:
        output.write_text(json.dumps(report, indent=1) + "\n")
    _show(report)
    if report["broken"]:
        print_lines(f"seed {seed}; replay: {report['replay']}\nthe nodes' folders: {work}")
        sys.exit(1)
    if folder is None:
        shutil.rmtree(work)


def _show(report: dict[str, Any]) -> None:
    if "height" in report:
        restart, latency = report["restart_s"], report["latency_ms"]
        own = report["restart_without_waiting_s"]
        largest = ", ".join(f"{name} {memory['max']:.0f}" for name, memory in report["rss_mib"].items())
        waits = " / ".join(f"{latency.get(name, 0):.0f}" for name in ("p50", "p99", "max"))
        rows = [
            ["heights certified", report["height"]],
            ["sent / certified / proved to a client",
             f"{report['sent']} / {report['certified']} / {report['proved']}"],
            ["latency ms p50 / p99 / max", waits],
            ["faults", ", ".join(f"{kind} {n}" for kind, n in sorted(report["faults"].items()))],
            ["floods", ", ".join(f"{name} {n}" for name, n in sorted(report["floods"].items())) or "none"],
            [f"lies of {report['liar']}" if report["liar"] else "lies",
             ", ".join(f"{name} {n}" for name, n in sorted(report["lies"].items())) or "none"],
            ["full disk by", report["full_disk_by"] or "not this time"],
            [f"restarts (at most {RESTART_MAX_S:.0f} s), p50 / p90 / max",
             f"{restart['count']}: " + " / ".join(f"{restart.get(k, 0):.2f}" for k in ("p50", "p90", "max"))],
            ["… of it not waiting for a core", " / ".join(f"{value:.2f}" for value in own.values())],
            ["longest standstill, s", report["longest_standstill_s"]],
            ["calm after the faults, s", report["calm_s"]],
            ["RSS MiB, largest a node", largest],
        ]  # fmt: skip
        rows += [[what, number] for what, number in sorted(report["outcomes"].items())]
        print_table("torture", ["measure", "value"], rows)
    for line in report["broken"]:
        print_lines(f"BROKEN: {line}")
    if not report["broken"]:
        print_text("clean: everything acknowledged is on every node exactly once, and every proof holds")


if __name__ == "__main__":
    torture()
