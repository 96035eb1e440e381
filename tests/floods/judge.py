"""The bars, and the table."""

from __future__ import annotations

from collections.abc import Sequence

from tests.floods.catalogue import ALL
from tests.floods.control import SpinAll
from tests.floods.measure import Row

RATIO_MAX = 3.0
RSS_MAX_MIB = 300.0
NAMED_MAX_S = 10.0
HEALTH_P95_MS = 1_000.0
SOCKETS_REFUSED_MAX = 0.1
HEADER = (
    "                   calm ms    under ms    ratio  RSS CPU   log named closed back",
    "attack             p50/p95     p50/p95           MiB   %  kB/s     s           s",
)


def slowest_ms(row: Row) -> float:
    """Return the median latency under attack, at the place where it is worse."""
    return max(under[0] for under in row.under_ms.values())


def judge_beside(row: Row, rows: Sequence[Row]) -> None:
    """Note in the row of all attacks what as many processes take that send nothing; the bar stays."""
    control = next((item for item in rows if item.name == SpinAll.name), None)
    if row.name == ALL and control is not None:
        row.control_ms = slowest_ms(control)


def misses(row: Row) -> list[str]:
    """Return every bar that a measurement missed, in words."""
    if row.is_control:
        return []
    found = [f"{where} ended by itself" for where in row.deaths]
    if row.ratio > RATIO_MAX:
        beside = f" (its control: {row.control_ms:.0f} ms)" if row.control_ms else ""
        found.append(f"latency {row.ratio:.1f} × undisturbed, at most {RATIO_MAX:.0f}{beside}")
    largest = max(row.rss_mib.values(), default=0.0)
    if largest > RSS_MAX_MIB:
        found.append(f"{largest:.0f} MiB of memory, at most {RSS_MAX_MIB:.0f}")
    if row.must_be_named and (row.named_s is None or row.named_s > NAMED_MAX_S):
        when = "never" if row.named_s is None else f"after {row.named_s} s"
        found.append(f"the attacker's key was named {when}, at most {NAMED_MAX_S:.0f} s")
    if row.port == "rpc" and row.health_bad:
        found.append(f"/health answered otherwise than 200: {row.health_bad}")
    if row.port == "rpc" and row.health_p95_ms > HEALTH_P95_MS:
        found.append(f"/health took {row.health_p95_ms:.0f} ms at p95, at most {HEALTH_P95_MS:.0f}")
    if row.port == "rpc" and row.sockets[0] > SOCKETS_REFUSED_MAX * row.sockets[1]:
        found.append(f"{row.sockets[0]} of {row.sockets[1]} honest WebSockets were refused")
    if row.back_s is None:
        found.append("no recovery within 90 s")
    found += [text for tally in row.tallies.values() for text in tally["missed"]]
    found += [row.facts["missed"]] if "missed" in row.facts else []
    return found


def broken(row: Row) -> list[str]:
    """Return faults of the kit itself: they fail a campaign, whatever the bars say."""
    return [
        f"{name}: {tally['broken'].strip().splitlines()[-1]}"
        for name, tally in row.tallies.items()
        if "broken" in tally
    ]


def line(row: Row) -> str:
    """Return a row of the table, at most 80 characters."""
    place = max(row.places, key=lambda item: row.under_ms[item][0] / row.calm_ms[item][0])
    calm, under = row.calm_ms[place], row.under_ms[place]
    named = "-" if not row.must_be_named else "never" if row.named_s is None else f"{row.named_s:.1f}"
    closed = sum(tally.get("closed", 0) + tally.get("refused", 0) for tally in row.tallies.values())
    back = "never" if row.back_s is None else f"{row.back_s:.1f}"
    mark = "!" if misses(row) else " "
    return (
        f"{row.name:<18} {calm[0]:>3.0f}/{calm[1]:<4.0f}{under[0]:>6.0f}/{under[1]:<5.0f}"
        f"{row.ratio:>7.1f}{max(row.rss_mib.values(), default=0):>5.0f}{100 * row.cpu_share:>4.0f}"
        f"{row.log_bytes_per_s / 1000:>6.1f}{named:>6}{closed:>6}{back:>6}{mark}"
    )


def table(rows: Sequence[Row]) -> str:
    """Return the whole table and what was missed, every line at most 80 characters."""
    lines = [*HEADER, *[line(row) for row in rows], ""]
    for row in rows:
        lines += [f"{row.name}: {text}"[:80] for text in [*misses(row), *broken(row)]]
    return "\n".join(lines)
