"""`assent bench`: what the ledger and the joint computation cost here, against one signature verification."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import click

from chain.api.console import console, json_option, print_json, print_table, reports_errors
from chain.primitives.crypto import PrivateKey, verify


@click.group()
def bench() -> None:
    """Measure speed; every time is also given as a ratio to one Ed25519 verification of the same run."""


def verification_us(repeats: int = 2_000) -> float:
    """Return the median-of-five time of one Ed25519 verification in microseconds."""
    key = PrivateKey(bytes(32))
    message = bytes(32)
    signature = key.sign(message)
    rounds = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(repeats):
            verify(key.public, message, signature)
        rounds.append((time.perf_counter() - begin) / repeats * 1e6)
    return sorted(rounds)[2]


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {"python": platform.python_version(), "cores": os.cpu_count(), "machine": platform.machine()}


def report(
    title: str, figures: dict[str, Any], rows: list[list[Any]], output: Path | None, as_json: bool
) -> None:
    """Print a table (or JSON) and keep the JSON in a file when one is named."""
    if output is not None:
        output.write_text(json.dumps(figures, indent=1) + "\n")
    if as_json:
        print_json(figures)
        return
    print_table(title, ["measure", "#value", "unit", "#× Ed25519 verify"], rows)
    if output is not None:
        console.print(f"JSON written to {output}")


output_option = click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the JSON here.")


@bench.command("chain")
@click.option("--transactions", type=click.IntRange(1_000, 10_000_000), default=20_000, show_default=True)
@click.option(
    "--outstanding", type=click.IntRange(1, 100_000), default=1_500, show_default=True, help="Most in flight."
)
@output_option
@json_option
@reports_errors
def bench_chain(transactions: int, outstanding: int, output: Path | None, as_json: bool) -> None:
    """Four validators on loopback under sustained load of one contract call a transaction."""
    from chain.cli.bench_chain import measure

    figures: dict[str, Any] = {"machine": machine(), "verify_us": round(verification_us(), 2)}
    figures |= measure(transactions, outstanding)
    unit = figures["verify_us"]
    measured: list[tuple[str, float, str, float]] = [
        ("throughput (sustained)", figures["per_second"], "tx/s", 1e6 / figures["per_second"]),
        ("latency p50", figures["latency_ms"]["p50"], "ms", figures["latency_ms"]["p50"] * 1e3),
        ("latency p99", figures["latency_ms"]["p99"], "ms", figures["latency_ms"]["p99"] * 1e3),
        *(
            (f"CPU a transaction, {name}", cost, "µs", cost)
            for name, cost in figures["cpu_us_per_tx"].items()
        ),
    ]
    figures["ratios"] = {name: round(cost_us / unit, 2) for name, _, _, cost_us in measured}
    rows: list[list[Any]] = [[*item[:3], figures["ratios"][item[0]]] for item in measured]
    rows += [["transactions a block (mean)", figures["per_block"], "tx", ""]]
    rows += [["one Ed25519 verification", unit, "µs", 1.0]]
    report(
        f"{transactions} transactions, 4 validators, {figures['machine']['cores']} cores",
        figures,
        rows,
        output,
        as_json,
    )


@bench.command("catchup")
@click.option("--transactions", type=click.IntRange(100, 10_000_000), default=100_000, show_default=True)
@click.option("--keys", type=click.IntRange(1, 10_000_000), default=100_000, show_default=True)
@click.option("--per-block", type=click.IntRange(1, 1_000), default=200, show_default=True)
@click.option("--way", type=click.Choice(["both", "snapshot", "blocks"]), default="both", show_default=True)
@output_option
@json_option
@reports_errors
def bench_catchup(
    transactions: int, keys: int, per_block: int, way: str, output: Path | None, as_json: bool
) -> None:
    """A new and a wiped validator join a long chain; one of their three peers serves rubbish."""
    from chain.cli.bench_catchup import measure

    ways = ["snapshot", "blocks"] if way == "both" else [way]
    figures: dict[str, Any] = {"machine": machine(), "verify_us": round(verification_us(), 2)}
    figures |= measure(transactions, keys, per_block, ways, lambda what: click.echo(what, err=True))
    rows: list[list[Any]] = [
        [f"{item['node']} node, by {item['way']}: {what}", item[field], unit, ""]
        for item in figures["joins"]
        for what, field, unit in (
            ("caught up", "caught_up_s", "s"),
            ("certifies new heights", "certifies_s", "s"),
            ("CPU", "cpu_s", "s"),
            ("memory", "rss_mb", "MB"),
        )
    ]
    report(
        f"{figures['height']} heights, {transactions} transactions, {keys} keys, {os.cpu_count()} cores",
        figures,
        rows,
        output,
        as_json,
    )


@bench.command("mpc")
@click.option("--repeats", type=click.IntRange(3, 10_000), default=50, show_default=True)
@output_option
@json_option
@reports_errors
def bench_mpc(repeats: int, output: Path | None, as_json: bool) -> None:
    """Three parties over TLS on loopback, profile rep3: the operations that programs are made of."""
    from privcompute.bench import run

    figures: dict[str, Any] = {"machine": machine(), "verify_us": round(verification_us(), 2)}
    figures |= run(repeats)
    rows = []
    for name, item in figures["operations"].items():
        note = f"ms  (p99 {item['p99_ms']}; a party sends {item['bytes']} B in {item['rounds']} rounds)"
        rows.append([name, item["median_ms"], note, item["verifications"]])
    report("rep3, 3 parties over TLS 1.3 on loopback", figures, rows, output, as_json)
