"""Words that several parts of Assent say alike."""

from __future__ import annotations

OUTSIDE = "not a member"
"""Role, in what a node says of itself, of one that the ledger does not list."""
SPEAKS_TLS = "this port speaks TLS"
"""Begins what a node says to whoever asks its RPC port of TLS in the clear."""

_UNITS = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000))


def duration(ms: int) -> str:
    """Return "7 days", "90 minutes", "20 ms": milliseconds in the largest unit that divides them."""
    for unit, length in _UNITS:
        if ms and ms % length == 0:
            return counted(ms // length, unit)
    return f"{ms:,} ms"


def counted(number: int, noun: str) -> str:
    """Return "1 transaction", "2 transactions": a regular noun after its number."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
