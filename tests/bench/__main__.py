"""`scripts/bench`: what the ledger and joint computation cost here, against one signature verification."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import click

from chain.client.console import (
    json_option,
    print_json,
    print_lines,
    print_table,
    print_text,
    reports_errors,
    speaking,
)
from chain.primitives.crypto import PrivateKey, verify

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(context_settings=SETTINGS)
def main() -> None:
    """Measure speed; every time is also given as a ratio to one Ed25519 verification of the same run."""


def verification_us(repeats: int = 2_000) -> float:
    """Return the median-of-five CPU time of one Ed25519 verification in microseconds."""
    key = PrivateKey(bytes(32))
    message = bytes(32)
    signature = key.sign(message)
    rounds = []
    for _ in range(5):
        begin = time.thread_time()
        for _ in range(repeats):
            verify(key.public, message, signature)
        rounds.append((time.thread_time() - begin) / repeats * 1e6)
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
        print_text(f"JSON written to {output}")


output_option = click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the JSON here.")


@main.command("chain")
@click.option("--transactions", type=click.IntRange(1_000, 10_000_000), default=20_000, show_default=True)
@click.option(
    "--outstanding",
    type=click.IntRange(100, 100_000),
    default=3_000,
    show_default=True,
    help="Most in flight.",
)
@click.option(
    "--half-load", type=click.FloatRange(0, 3_600), default=10, show_default=True,
    help="Seconds at half the measured rate; 0 leaves them out.",
)  # fmt: skip
@click.option(
    "--keys", type=click.IntRange(1_000, 10_000_000), multiple=True, default=(1_000,), show_default=True,
    help="State entries before the load; give it twice to compare, by loads in turns.",
)  # fmt: skip
@click.option(
    "--rate", "rates", type=click.IntRange(50, 100_000), multiple=True, default=(1_000,), show_default=True,
    help="Transactions a second that are kept up after half load; repeatable.",
)  # fmt: skip
@click.option("--profile", is_flag=True, help="Sample one node with py-spy and say where its time goes.")
@output_option
@json_option
@reports_errors
def bench_chain(
    transactions: int,
    outstanding: int,
    half_load: float,
    keys: tuple[int, ...],
    rates: tuple[int, ...],
    profile: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Four validators on loopback: throughput, latency at half of it, CPU a transaction, by size of state."""
    from tests.bench.chain import Plan, measure
    from tests.bench.chain_load import share_error

    before = verification_us()
    plans = [Plan(transactions, outstanding, half_load, size, profile, rates, costs=True) for size in keys]
    runs = measure(plans, lambda what: print_text(what, err=True))
    unit = round((before + verification_us()) / 2, 2)
    figures: dict[str, Any] = {"machine": machine(), "verify_us": unit, "runs": runs}
    rows: list[list[Any]] = []
    for run in runs:
        rows += _chain_rows(run, unit)
    if len(runs) > 1:
        first, last = runs[0]["full_load"], runs[-1]["full_load"]
        figures["throughput_share"] = share = round(last["per_second"] / first["per_second"], 3)
        rows.append([f"throughput at {keys[-1]} keys, of that at {keys[0]}", round(100 * share, 1), "%", ""])
        if len(first["round_s"]) > 1:
            error = round(share_error(first["round_s"], last["round_s"]), 3)
            figures["throughput_share_error"] = error
            rows.append(["its standard error, from pairs of rounds", round(100 * error, 1), "%", ""])
    rows.append(["one Ed25519 verification (CPU)", unit, "µs", 1.0])
    title = f"{transactions} transactions, 4 validators, {figures['machine']['cores']} cores"
    report(title, figures, rows, output, as_json)


def _chain_rows(run: dict[str, Any], unit: float) -> list[list[Any]]:
    full, half = run["full_load"], run.get("half_load")
    rows: list[list[Any]] = [
        [f"state of {run['keys']} keys", "", "", ""],
        ["full load: throughput", full["per_second"], "tx/s", ""],
        *_load_rows("full load", full, unit),
        ["CPU a transaction of the load", full["load_us_per_tx"], "µs", ""],
        ["one verification beside the load", run["verify_loaded_us"], "µs", ""],
    ]
    if half is not None:
        rows += _load_rows(f"half load ({half['rate']:.0f} tx/s)", half, unit)
    for rate, steady in run["rates"].items():
        rows += _load_rows(f"{rate} tx/s", steady, unit) if steady else []
    costs = run["costs"]
    rows += [
        ["disk a transaction, indexes too", costs["disk_bytes_per_tx"], "bytes", ""],
        ["memory, largest of four nodes", costs["resident_mib"], "MiB", ""],
        ["of it mapped files", costs["mapped_mib"], "MiB", ""],
        ["CPU of an idle node", round(100 * costs["idle_cpu_share"], 2), "% of a core", ""],
        ["start until ready", costs["start_s"], "s", ""],
        ["primary killed: next certified in", costs["recovery_s"], "s", ""],
    ]
    shares = run.get("profile", {})
    return rows + [[f"profile: {part}", round(100 * share, 1), "%", ""] for part, share in shares.items()]


def _load_rows(name: str, load: dict[str, Any], unit: float) -> list[list[Any]]:
    mean = sum(load["cpu_us_per_tx"].values()) / len(load["cpu_us_per_tx"])
    load["cpu_verifications"] = round(mean / unit, 2)
    return [
        [f"{name}: latency p50", load["latency_ms"]["p50"], "ms", ""],
        [f"{name}: latency p99", load["latency_ms"]["p99"], "ms", ""],
        [f"{name}: a block holds", load["per_block"], "tx", ""],
        [f"{name}: CPU a tx a node", round(mean, 1), "µs", load["cpu_verifications"]],
    ]


@main.command("catchup")
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
    from tests.bench.catchup import measure

    ways = ["snapshot", "blocks"] if way == "both" else [way]
    figures: dict[str, Any] = {"machine": machine(), "verify_us": round(verification_us(), 2)}
    figures |= measure(transactions, keys, per_block, ways, lambda what: print_text(what, err=True))
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


@main.command("mpc")
@click.option("--repeats", type=click.IntRange(3, 10_000), default=50, show_default=True)
@output_option
@json_option
@reports_errors
def bench_mpc(repeats: int, output: Path | None, as_json: bool) -> None:
    """Three parties over TLS on loopback, profile rep3: the operations that programs are made of."""
    from tests.bench.mpc import run

    figures: dict[str, Any] = {"machine": machine(), "verify_us": round(verification_us(), 2)}
    figures |= run(repeats)
    rows = []
    for name, item in figures["operations"].items():
        note = f"ms  (p99 {item['p99_ms']}; a party sends {item['bytes']} B in {item['rounds']} rounds)"
        rows.append([name, item["median_ms"], note, item["verifications"]])
    report("rep3, 3 parties over TLS 1.3 on loopback", figures, rows, output, as_json)


@main.command("psi")
@click.option("--rows", type=click.IntRange(10, 10_000_000), default=100_000, show_default=True)
@click.option("--protocol", type=click.Choice(["aided", "dh-psi"]), default="aided", show_default=True)
@output_option
@json_option
@reports_errors
def bench_psi(rows: int, protocol: str, output: Path | None, as_json: bool) -> None:
    """Private join of two owners' Parquet files, three parties over TLS on loopback; half is common."""
    from tests.bench.psi import run

    unit = round(verification_us(), 2)
    figures: dict[str, Any] = {"machine": machine(), "verify_us": unit, "load": os.getloadavg()[0]}
    figures |= run(rows, protocol)
    table: list[list[Any]] = [
        ["from files to common rows", figures["total_s"], "s", round(figures["total_s"] * 1e6 / unit)]
    ]
    for name, party in zip(("first owner", "second owner", "third party"), figures["parties"], strict=True):
        table.append([f"{name}: processor", party["cpu_s"], "s", round(party["cpu_s"] * 1e6 / unit)])
        table.append([f"{name}: memory at most", party["memory_mb"], "MB", ""])
        table.append([f"{name}: sends", party["sent_bytes"], "bytes", ""])
    report(f"{protocol}, {rows:,} rows of each of two owners", figures, table, output, as_json)


@main.command("pages")
@click.option("--repeats", type=click.IntRange(1, 100), default=5, show_default=True)
@output_option
@json_option
@reports_errors
def bench_pages(repeats: int, output: Path | None, as_json: bool) -> None:
    """Three parties over TLS on loopback, profile rep3: standard pages on the demo's data, once joined."""
    from tests.bench.pages import run

    unit = round(verification_us(), 2)
    figures: dict[str, Any] = {"machine": machine(), "verify_us": unit, "runs": run(repeats)}
    rows: list[list[Any]] = []
    for name, item in figures["runs"].items():
        note = f"s  (a party sends {item['bytes']:,} B in {item['rounds']:,} rounds)"
        rows.append([name, item["seconds"], note, round(item["seconds"] * 1e6 / unit)])
        rows.append([f"{name}, CPU of all", item["cpu_seconds"], "s", ""])
    report("pages, rep3, 3 parties over TLS 1.3 on loopback", figures, rows, output, as_json)


@main.command("utility")
@click.option("--seeds", type=click.IntRange(1, 1_000), default=20, show_default=True, help="Runs of each.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a plot (SVG) here.")
@output_option
@json_option
@reports_errors
def bench_utility(seeds: int, plot: Path | None, output: Path | None, as_json: bool) -> None:
    """What noise costs: errors of pages at epsilon 0.1 to 3, and from how many rows they say something."""
    from tests.bench.utility import measure, plot_of, text_of

    found = measure(seeds, lambda what: print_text(what, err=True))
    if output is not None:
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        output.write_text(text.replace('{"figure"', '\n{"figure"') + "\n", encoding="utf-8")
    if plot is not None:
        plot.write_text(plot_of(found), encoding="utf-8")
    if as_json:
        print_json(found)
    else:
        print_lines(text_of(found))


@main.command("calls")
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIRECTORY",
    help="A checkout of another version, to compare with.",
)
@output_option
@json_option
@reports_errors
def bench_calls(against: Path | None, output: Path | None, as_json: bool) -> None:
    """Gas of every call on the path of a data use, from the founding to a certificate (a few seconds)."""
    from tests.bench.calls import measure_calls

    calls = measure_calls(against)
    rows: list[list[Any]] = [
        [name, cost["gas"], cost.get("before", ""), cost.get("ratio", "")] for name, cost in calls.items()
    ]
    if output is not None:
        output.write_text(json.dumps({"calls": calls}, indent=2) + "\n", encoding="utf-8")
    if as_json:
        print_json({"calls": calls})
    else:
        print_table("calls of a data use", ["call", "#gas", "#other version", "#ratio"], rows)


@main.command("gas")
@click.option("--repeats", type=click.IntRange(2, 100), default=5, show_default=True, help="Least time of.")
@output_option
@json_option
@reports_errors
def bench_gas(repeats: int, output: Path | None, as_json: bool) -> None:
    """Time per unit of gas of every operation class, and what the typical call costs (a minute or two)."""
    from tests.bench.gas.figures import measure_gas

    figures: dict[str, Any] = {"machine": machine(), "verify_us": round(verification_us(), 2)}
    figures |= measure_gas(repeats)
    unit = figures["verify_us"]
    rows: list[list[Any]] = [
        [
            f"{cost['group']}: {cost['name']}",
            cost["ns_per_gas"],
            f"ns/gas  ({cost['gas']:.0f} gas)",
            cost["ratio"],
        ]
        for cost in [*figures["costs"][:15], *figures["costs"][-15:]]
    ]
    typical, spent = figures["typical_call_us"], figures["default_limit_ms"]
    slowest = max(spent, key=lambda name: spent[name])
    summary: list[list[Any]] = [
        [f"median of {figures['classes']} classes", figures["median_ns_per_gas"], "ns/gas", 1.0],
        ["classes within 3 of the median", figures["within_3"], "classes", ""],
        ["classes within 5 of the median", figures["within_5"], "classes", ""],
        [f"1,000,000 gas spent on: {slowest}", spent[slowest], "ms", ""],
        ["typical call, contract", typical["contract"], "µs", round(typical["contract"] / unit, 2)],
        [
            "typical call, plain Python",
            typical["plain_python"],
            "µs",
            round(typical["plain_python"] / unit, 2),
        ],
        ["one Ed25519 verification", unit, "µs", 1.0],
    ]
    if not as_json:
        print_table(
            "the 15 slowest and the 15 fastest classes", ["class", "#value", "unit", "#× median"], rows
        )
    report("gas", figures, summary, output, as_json)


if __name__ == "__main__":
    with speaking():
        main(prog_name="scripts/bench")
