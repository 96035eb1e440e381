"""Compares two valid audit packages of one chain: the same content, parts of one history, or a fork."""

from __future__ import annotations

from dataclasses import dataclass

from chain.audit.records import Contents
from chain.ledger.block import EventEntry
from chain.primitives.words import counted


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two packages say of one another."""

    same: bool
    """They have the same content."""
    forks: tuple[tuple[int, bytes, bytes], ...]
    """Heights of which both have a certified header, and not the same: (height, hash, hash)."""
    contradictions: tuple[int, ...]
    """Heights at which both cover the same subject, and have other events of it."""
    shared: int
    """Headers that both have, and that are the same."""

    @property
    def agree(self) -> bool:
        """Whether both can be of one history."""
        return not self.forks and not self.contradictions

    def lines(self) -> list[str]:
        """Say it for people."""
        if not self.agree:
            forks = [
                f"height {height}: two certified headers, {one.hex()} and {other.hex()}"
                for height, one, other in self.forks
            ]
            other = [f"height {height}: other events of the same subject" for height in self.contradictions]
            return [
                *forks,
                *other,
                "validators signed two histories: whoever signed both broke the rules; keep both files, "
                "they are the evidence",
            ]
        if self.same:
            return ["they have the same content"]
        return [f"nothing contradicts: {counted(self.shared, 'header')} of both are the same"]


def compare(one: Contents, other: Contents) -> Comparison:
    """Return what two valid packages of one chain say of one another."""
    both = sorted(one.hashes.keys() & other.hashes.keys())
    forks = [
        (height, one.hashes[height], other.hashes[height])
        for height in both
        if one.hashes[height] != other.hashes[height]
    ]
    return Comparison(
        same=one.content_hash == other.content_hash,
        forks=tuple(forks),
        contradictions=tuple(_contradictions(one, other)),
        shared=len(both) - len(forks),
    )


def _contradictions(one: Contents, other: Contents) -> list[int]:
    if one.subject != other.subject:
        return []
    low, high = max(one.first, other.first), min(one.last, other.last)
    mine, theirs = [_by_height(item, low, high) for item in (one, other)]
    return sorted(
        [height for height in mine.keys() | theirs.keys() if mine.get(height) != theirs.get(height)]
    )


def _by_height(contents: Contents, low: int, high: int) -> dict[int, list[EventEntry]]:
    found: dict[int, list[EventEntry]] = {}
    for entry in contents.entries:
        if low <= entry.height <= high:
            found.setdefault(entry.height, []).append(entry)
    return found
