"""Days and moments as public numbers: what dates and timestamps of datasets are counted in."""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction

from contracts.pages.faults import Unfit
from contracts.pages.values import said_kind

DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
_MOMENT = re.compile(r"(.{10})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?Z?", re.ASCII)


def day_number(text: object) -> Fraction:
    """Return the days since 1970 of "2024-01-31", which may lie before; raise Unfit for anything else."""
    found = _DAY.fullmatch(text) if isinstance(text, str) else None
    try:
        if found is not None:
            return Fraction(date(int(found[1]), int(found[2]), int(found[3])).toordinal() - _EPOCH)
    except ValueError:
        pass
    raise Unfit("DATE", f"{_said(text)} is no day", 'a day of the calendar, such as day("2024-01-31")')


def moment_number(text: object) -> Fraction:
    """Return the seconds since 1970, UTC, of "2024-01-31 12:00" or "2024-01-31T12:00:05Z"; raise Unfit."""
    found = _MOMENT.fullmatch(text) if isinstance(text, str) else None
    if found is not None and _DAY.fullmatch(found[1]):
        hour, minute, second = int(found[2]), int(found[3]), int(found[4] or 0)
        if hour < 24 and minute < 60 and second < 60:
            return day_number(found[1]) * DAY_SECONDS + hour * 3_600 + minute * 60 + second
    instead = 'a moment in UTC, such as moment("2024-01-31 12:00")'
    raise Unfit("DATE", f"{_said(text)} is no moment", instead)


def _said(text: object) -> str:
    return repr(text[:40]) if isinstance(text, str) else said_kind(text)
