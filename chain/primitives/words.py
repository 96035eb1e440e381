"""Words that follow a number."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return "1 transaction", "2 transactions": a regular noun after its number."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
