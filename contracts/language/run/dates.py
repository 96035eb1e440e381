"""Dates: functions between milliseconds since 1970, as `ctx.block_time` counts them, and the calendar in UTC.

`datetime` computes on the proleptic Gregorian calendar, alike on every host; what it reads of texts differs
between versions, so texts are read here. Years 1 to 9999.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import date, timedelta

from chain.primitives.values import Value
from contracts.language.faults import Reverted
from contracts.language.limits import GAS_DATE, MEM_CONTAINER, MEM_ITEM
from contracts.language.run.machine import Machine
from contracts.language.run.payments import need

DAY_MS = 24 * 60 * 60 * 1000
_EPOCH = date(1970, 1, 1)
_FIRST = (date.min - _EPOCH).days
_LAST = (date.max - _EPOCH).days
_TEXT_MAX = 24
_TEXT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{3}))?Z)?"
)
FORMS = '"2024-05-01", "2024-05-01T12:00:00Z" or "2024-05-01T12:00:00.250Z"'


def _outside() -> Reverted:
    return Reverted("VALUE_ERROR", "a date lies in the years 1 to 9999")


def _day_of(m: Machine, time: Value, what: str) -> tuple[date, int]:
    """Return the day of a time, and the milliseconds since it began."""
    m.charge(GAS_DATE)
    days, rest = divmod(need(time, int, what), DAY_MS)
    if not _FIRST <= days <= _LAST:
        raise _outside()
    return _EPOCH + timedelta(days), rest


def _time_of(day: date, rest: int = 0) -> int:
    return (day - _EPOCH).days * DAY_MS + rest


def parse(m: Machine, text: Value) -> int:
    """`date.parse(text)`: the milliseconds of a day's beginning, or of a time of day in UTC."""
    m.charge(GAS_DATE)
    found = _TEXT.fullmatch(text) if len(need(text, str, "date.parse")) <= _TEXT_MAX else None
    if found is None:
        raise Reverted("VALUE_ERROR", f"date.parse takes {FORMS}")
    year, month, day, hours, minutes, seconds, milliseconds = [int(part or 0) for part in found.groups()]
    if not (year > 0 and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]):
        raise Reverted("VALUE_ERROR", "date.parse: there is no such day")
    if hours > 23 or minutes > 59 or seconds > 59:
        raise Reverted("VALUE_ERROR", "date.parse: there is no such time of day")
    return _time_of(date(year, month, day), ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds)


def iso(m: Machine, time: Value) -> str:
    """`date.iso(ms)`: "2024-05-01T12:00:00.250Z"."""
    day, rest = _day_of(m, time, "date.iso")
    m.text(_TEXT_MAX)
    seconds, milliseconds = divmod(rest, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{milliseconds:03}"
    return f"{day.isoformat()}T{clock}Z"


def day_text(m: Machine, time: Value) -> str:
    """`date.day(ms)`: "2024-05-01"."""
    day, _ = _day_of(m, time, "date.day")
    m.text(10)
    return day.isoformat()


def parts(m: Machine, time: Value) -> tuple[int, int, int]:
    """`date.parts(ms)`: (year, month, day)."""
    day, _ = _day_of(m, time, "date.parts")
    m.allocate(MEM_CONTAINER + 3 * MEM_ITEM)
    return day.year, day.month, day.day


def weekday(m: Machine, time: Value) -> int:
    """`date.weekday(ms)`: 0 on a Monday, 6 on a Sunday."""
    return _day_of(m, time, "date.weekday")[0].weekday()


def add_days(m: Machine, time: Value, count: Value) -> int:
    """`date.add_days(ms, n)`: the same time of day, n days later, or earlier when n is negative."""
    _day_of(m, time, "date.add_days")
    later = time + need(count, int, "date.add_days: the days") * DAY_MS
    if not _FIRST <= later // DAY_MS <= _LAST:
        raise _outside()
    return int(later)


def add_months(m: Machine, time: Value, count: Value) -> int:
    """`date.add_months(ms, n)`: the same day n months later, or the last of a month that is too short."""
    day, rest = _day_of(m, time, "date.add_months")
    months = day.year * 12 + day.month - 1 + need(count, int, "date.add_months: the months")
    year, month = months // 12, months % 12 + 1
    if not 1 <= year <= 9999:
        raise _outside()
    return _time_of(date(year, month, min(day.day, monthrange(year, month)[1])), rest)


FUNCTIONS: dict[tuple[str, str], Callable[..., Value]] = {
    ("date", "add_days"): add_days,
    ("date", "add_months"): add_months,
    ("date", "day"): day_text,
    ("date", "iso"): iso,
    ("date", "parse"): parse,
    ("date", "parts"): parts,
    ("date", "weekday"): weekday,
}
