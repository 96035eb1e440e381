"""Single values as declarations and parameters write them: one spelling for each type, and equality by value.

These are the spellings of bounds, bin edges, codings and program parameters, not those of files: a file's own
spellings are declared by its columns and read by `cells.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Literal, get_args

ColumnType = Literal["text", "integer", "decimal", "boolean", "date", "timestamp", "category"]
TYPES: tuple[ColumnType, ...] = get_args(ColumnType)
WORDS: frozenset[ColumnType] = frozenset({"text", "category"})
"""Types whose values are text."""
MISSING = "(missing)"
"""The category that missing cells become under the rule `category`."""
INTEGER_MAX = 2**63 - 1
DIGITS_MAX = 17
"""Significant digits of a decimal: a double tells 17 apart, so that more would be lost without a word."""
BOOLEANS: Mapping[str, bool] = {
    "true": True, "t": True, "yes": True, "y": True, "1": True,
    "false": False, "f": False, "no": False, "n": False, "0": False,
}  # fmt: skip
"""Spellings of booleans, in any case."""
EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?")
_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"
)

Scalar = int | float | bool | str
"""A value: days since 1970 of a date, microseconds since 1970 of a timestamp, text of text and category."""


def read_integer(text: str) -> int | None:
    """Return a whole number of at most 64 bits."""
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -INTEGER_MAX - 1 <= number <= INTEGER_MAX else None


def read_decimal(text: str) -> float | None:
    """Return a finite number of at most 17 significant digits; zero has no sign."""
    if not _DECIMAL.fullmatch(text):
        return None
    mantissa = re.split("[eE]", text, maxsplit=1)[0]
    if len(re.sub(r"[+.-]", "", mantissa).strip("0")) > DIGITS_MAX:
        return None
    number = float(text) + 0.0
    return number if abs(number) != float("inf") else None


def read_boolean(text: str) -> bool | None:
    """Return true or false for true, t, yes, y, 1, false, f, no, n, 0 in any case."""
    return BOOLEANS.get(text.lower())


def read_date(text: str) -> int | None:
    """Return the days since 1970 of YYYY-MM-DD."""
    found = _DAY.fullmatch(text)
    return None if found is None else day_number(int(found[1]), int(found[2]), int(found[3]))


def day_number(year: int, month: int, day: int) -> int | None:
    """Return the days since 1970 of a day of the Gregorian calendar, None when there is no such day."""
    try:
        return date(year, month, day).toordinal() - EPOCH_DAY
    except ValueError:
        return None


def read_timestamp(text: str) -> int | None:
    """Return the microseconds since 1970 of YYYY-MM-DD HH:MM[:SS[.ffffff]][zone]; UTC without a zone."""
    if not _MOMENT.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None


def _read_text(text: str) -> str | None:
    return text or None


_READERS: Mapping[ColumnType, Callable[[str], Scalar | None]] = {
    "text": _read_text,
    "category": _read_text,
    "integer": read_integer,
    "decimal": read_decimal,
    "boolean": read_boolean,
    "date": read_date,
    "timestamp": read_timestamp,
}
EXPECTED: Mapping[ColumnType, str] = {
    "text": "a text",
    "category": "a text",
    "integer": "a whole number of at most 64 bits, such as 12",
    "decimal": f"a finite number of at most {DIGITS_MAX} significant digits, such as 12.5",
    "boolean": "one of true, false, t, f, yes, no, y, n, 1, 0",
    "date": "a day as YYYY-MM-DD",
    "timestamp": "a time as YYYY-MM-DD HH:MM:SS, with Z or an offset such as +01:00 where it has a zone",
}


def read_literal(kind: ColumnType, text: str) -> Scalar | None:
    """Return the value of a text as a column of this type holds it, None when it is none."""
    return _READERS[kind](text)


def exact(text: str) -> Decimal:
    """Return a decimal literal without rounding, for comparing literals with one another."""
    return Decimal(text)
