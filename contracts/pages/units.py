"""Units of dates and timestamps, which keep a page from comparing days with seconds: that is 0 in every row.

A unit is of a column whose schema says its type, of `day(…)` and `moment(…)`, and of what stays a day or a
moment; what is multiplied, or is a difference, has none, and goes with anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Self

from contracts.pages.faults import Unfit

DAYS, SECONDS = "days", "seconds"
UNIT_OF_TYPE: Mapping[str, str] = {"date": DAYS, "timestamp": SECONDS}
_MEETING = frozenset(
    {"less", "less_equal", "equal", "add", "subtract", "minimum", "maximum", "where", "compare"}
)
"""Primitives, and the comparison of public numbers, whose operands are of one unit."""
_KEEPING = frozenset(
    {
        *("align", "append", "take", "spread", "transpose", "stack", "concat", "first", "shift", "sort"),
        *("clip", "minimum", "maximum", "where", "greatest", "least", "add", "subtract"),
    }
)
"""Primitives that make days of days and seconds of seconds."""


class Dated(Fraction):
    """A public number of days or seconds since 1970; what is computed of it is a number without a unit."""

    __slots__ = ("unit",)
    unit: str

    def __new__(cls, number: Fraction, unit: str) -> Self:
        """Make it of a number."""
        made = super().__new__(cls, number)
        made.unit = unit
        return made


def check_units(name: str, units: Sequence[str]) -> None:
    """Raise Unfit where days meet seconds in a primitive; a unit that is not known, "", meets anything."""
    if name in _MEETING and DAYS in units and SECONDS in units:
        raise Unfit(
            "UNIT",
            "days meet seconds: dates are counted in days, timestamps in seconds",
            'day("2024-01-31") beside a date, moment("2024-01-31 12:00") beside a timestamp; of two columns, '
            "date * 86400",
        )


def unit_kept(name: str, units: Sequence[str]) -> str:
    """Return the unit of what a primitive makes of cells with these units; "" for none."""
    known = [unit for unit in units if unit]
    if name not in _KEEPING or len(set(known)) != 1:
        return ""
    difference = name in ("add", "subtract") and len(known) > 1
    return "" if difference else known[0]
