"""Which ports the kernel gives to outgoing connections: those may be taken while their node is down."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")


def warning_of(ports: Iterable[int], choose: str = "Name a --base-port") -> str:
    """Return a warning that names those of these ports that this host may give to others; empty when none.

    `choose` says how the command at hand lets others be chosen.
    """
    low, high = outgoing_range()
    kept = _reserved()
    risky = [port for port in sorted(ports) if low <= port <= high and port not in kept]
    if not risky:
        return ""
    named = ",".join(map(str, risky))
    return (
        f"warning: of these ports the host gives {named} to outgoing connections, too ({low} to {high}): "
        "while a node is down, another program may get its port, and it ends with port_busy. "
        f"{choose} below {low}, or keep them: sysctl -w net.ipv4.ip_local_reserved_ports={named}"
    )


def outgoing_range() -> tuple[int, int]:
    """Return the first and last port for outgoing connections; (1, 0), an empty range, where none is said."""
    try:
        low, high = RANGE.read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return 1, 0


def _reserved() -> frozenset[int]:
    """Return the ports that the operator keeps from them: "8080,9148-9150"."""
    kept: set[int] = set()
    try:
        for part in filter(None, RESERVED.read_text().strip().split(",")):
            first, _, last = part.partition("-")
            kept.update(range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        return frozenset()
    return frozenset(kept)
