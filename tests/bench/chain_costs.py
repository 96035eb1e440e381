"""What a validator costs besides its work on transactions: disk, memory, idling, starting, a dead primary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from chain.cli import processes
from chain.cli.consortium import node_url, why_not_ready
from chain.cli.layout import OrgFolder
from chain.client.client import Client

IDLE_S = 10.0
READY_S = 60.0
BLOCK_BYTES = 512
"""What `st_blocks` counts in, whatever the file system (POSIX leaves it open, Linux does not)."""


def disk_bytes(folder: Path) -> int:
    """Return what the files below a folder take on the disk; those that vanish meanwhile count nothing."""
    taken = 0
    for path in folder.rglob("*"):
        try:
            taken += path.stat().st_blocks * BLOCK_BYTES
        except FileNotFoundError:
            continue  # a storage engine replaces its files
    return taken


def cpu_s(org: OrgFolder) -> float:
    """Return the CPU seconds, user and system, that a running node has used."""
    spent = _running(org).cpu_times()
    return float(spent.user + spent.system)


def resident_mib(org: OrgFolder) -> tuple[float, float]:
    """Return the resident memory of a running node, and how much of it are files that are mapped.

    LevelDB maps its tables: these pages are the kernel's cache of files, which it takes back at need.
    """
    memory = _running(org).memory_info()
    return float(memory.rss / 2**20), float(memory.shared / 2**20)


def _running(org: OrgFolder) -> Any:
    running = processes.find(org, "node")
    if running is None:
        raise processes.ProcessError(f"{org.name}: the node stopped:\n{processes.log_tail(org, 'node', 5)}")
    return running


async def idle_share(orgs: Sequence[OrgFolder]) -> float:
    """Return the mean share of a core that a node uses while nobody asks for anything."""
    before, begin = sum(map(cpu_s, orgs)), time.monotonic()
    await asyncio.sleep(IDLE_S)
    return (sum(map(cpu_s, orgs)) - before) / len(orgs) / (time.monotonic() - begin)


def start_s(org: OrgFolder) -> float:
    """Stop a node cleanly and start it again; return the seconds until it says that it is ready."""
    processes.stop(org, "node")
    begin = time.monotonic()
    processes.start(org, "node")
    processes.wait_until(org, "node", lambda: not why_not_ready(org), READY_S)
    return time.monotonic() - begin


async def _info(org: OrgFolder) -> dict[str, Any]:
    async with Client(node_url(org)) as client:
        found: dict[str, Any] = await client.request("getNodeInfo")
    return found


async def recovery_s(orgs: Sequence[OrgFolder], certify: Callable[[OrgFolder], Awaitable[None]]) -> float:
    """Kill the primary and start it again; return the seconds until the others certified what came then.

    `certify` sends one transaction to a node and returns when it is certified there.
    """
    said = [await _info(org) for org in orgs]
    primary = orgs[[info["name"] for info in said].index(said[0]["primary"])]
    other = next(org for org in orgs if org is not primary)
    processes.kill(primary, "node")
    begin = time.monotonic()
    await certify(other)
    taken = time.monotonic() - begin
    await asyncio.to_thread(start_s, primary)
    return taken
