"""The domain that an owner registered for a column, as public numbers: whole days, whole seconds, fractions.

A bound is a text of the ledger, which anybody may have written; what is no number bounds nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from contracts.pages.calendar import day_number
from contracts.pages.faults import Unfit
from contracts.pages.numbers import bounded, number_text

_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,64}(?:\.[0-9]{0,64})?|\.[0-9]{1,64})(?:[eE][+-]?[0-9]{1,2})?", re.ASCII
)
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def domain_of(kind: str, low: str | None, high: str | None) -> tuple[str, str]:
    """Return both bounds of a column of this type as canonical numbers, ("", "") unless both bound it."""
    try:
        ends = [_number(kind, text) for text in (low, high) if text is not None]
    except (Unfit, ValueError, OverflowError):
        return "", ""
    if len(ends) < 2 or ends[0] > ends[1]:
        return "", ""
    return number_text(ends[0]), number_text(ends[1])


def _number(kind: str, text: str) -> Fraction:
    """Return a bound as cells of its column are counted; raise Unfit, ValueError or OverflowError."""
    if kind == "date":
        return day_number(text)
    if kind == "timestamp":
        return Fraction(_seconds(text))
    if kind not in ("integer", "decimal") or not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return bounded(Fraction(text))


def _seconds(text: str) -> int:
    """Return the whole seconds since 1970 of a moment, without parts of one; UTC where it has no zone."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    zone = "+00:00" if found[3] in (None, "Z") else found[3]
    return (datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}") - _EPOCH) // _SECOND
