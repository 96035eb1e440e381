"""Whether a node says whose key an attack comes with: in its log, its peers or its evidence."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.floods.arena import Arena

POLL_S = 0.25
INNOCENT = re.compile(
    r"connected to |no connection with |closed by the peer|connection lost|took over|"
    r"refused before the greeting|connection refused|not connected yet|silent for|the node stops|"
    r"no greeting within|no answer within"
)
"""What a node also says of a peer that did nothing wrong."""
READ_BYTES_MAX = 4_194_304
"""Of a log, a poll."""


@dataclass(slots=True)
class Named:
    """When a node first blamed a key, and in which words."""

    seconds: float | None = None
    words: str = ""


async def watch_name(arena: Arena, victim: str, key: bytes, node_name: str, found: Named) -> None:
    """Poll until the victim blames the key or node; note the seconds since the call and the words."""
    began, log = time.monotonic(), arena.nodes[victim].log
    offset = log.stat().st_size if log.exists() else 0
    marks = (key.hex()[:16], node_name)
    while found.seconds is None:
        words, offset = _in_log(log, offset, marks)
        words = words or _in_peers(await arena.ask(victim, "getPeers"), key)
        words = words or _in_evidence(await arena.ask(victim, "getEvidence"), key)
        if words:
            found.seconds, found.words = round(time.monotonic() - began, 1), words[:200]
            return
        await asyncio.sleep(POLL_S)


def blames(text: str, marks: tuple[str, ...]) -> bool:
    """Tell whether a line names one of the marks for something that it did."""
    return any(mark in text for mark in marks) and INNOCENT.search(text) is None


def _in_log(log: Path, offset: int, marks: tuple[str, ...]) -> tuple[str, int]:
    try:
        with log.open("rb") as file:
            file.seek(offset)
            new = file.read(READ_BYTES_MAX)
    except OSError:
        return "", offset
    whole = new[: new.rfind(b"\n") + 1]
    lines = whole.decode(errors="replace").splitlines()
    return next((line for line in lines if blames(line, marks)), ""), offset + len(whole)


def _in_peers(peers: Any, key: bytes) -> str:
    for peer in peers or ():
        if peer["key"] == key.hex():
            said = [str(value) for name, value in peer.items() if name in ("trouble", "offence", "blamed")]
            text = "; ".join(part for part in said if part)
            if text and INNOCENT.search(text) is None:
                return f"getPeers: {text}"
    return ""


def _in_evidence(evidence: Any, key: bytes) -> str:
    for item in evidence or ():
        if item["key"] == key.hex():
            return f"getEvidence: two {item['kind']} messages at {item['slot']}"
    return ""
