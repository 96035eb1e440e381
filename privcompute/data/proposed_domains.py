"""Domains that are proposed for columns, for an owner to confirm: bounds of numbers and days, categories.

What a schema declares every member reads, and noise is scaled by it. So nothing is ever declared from cells
by itself, and bounds are not the least and the greatest cell, which are cells of single rows: they are
rounded outwards to 1, 2 or 5 with zeros, days to whole decades. What confirming still tells is said beside.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from privcompute.data.literals import EPOCH_DAY, ColumnType

BOUND_MAX = 10**15
"""Magnitude up to which a bound of numbers is proposed."""
CATEGORY_CHARS_MAX = 60
_DAY_US = 86_400_000_000
TELLS_BOUNDS = (
    "every member reads within which round numbers all values lie, which one row may decide; bounds that the "
    "subject has of itself, such as 0 to 120 years, tell nothing"
)
TELLS_CATEGORIES = "every member reads that each of them occurs, however rarely"


@dataclass(frozen=True, slots=True)
class ProposedDomain:
    """What a column may be declared to hold; texts as schema files have them."""

    low: str = ""
    high: str = ""
    """Both, or neither."""
    categories: tuple[str, ...] = ()

    @property
    def tells(self) -> str:
        """What confirming it tells others, "" where nothing is proposed."""
        return TELLS_CATEGORIES if self.categories else TELLS_BOUNDS if self.low else ""


NO_DOMAIN = ProposedDomain()


def bounds(kind: ColumnType, least: float, greatest: float) -> ProposedDomain:
    """Return round bounds around the least and greatest cell, as cells of this type are held."""
    if kind in ("integer", "decimal"):
        return _of_numbers(least, greatest)
    if kind == "date":
        return _of_years(least, greatest, "", "")
    if kind == "timestamp":
        return _of_years(least // _DAY_US, greatest // _DAY_US, " 00:00", " 23:59:59")
    return NO_DOMAIN


def _of_numbers(least: float, greatest: float) -> ProposedDomain:
    low, high = (-_round_up(-least) if least < 0 else 0), (_round_up(greatest) if greatest > 0 else 0)
    if max(-low, high) > BOUND_MAX:
        return NO_DOMAIN
    return ProposedDomain(str(low), str(high or 1 if low == 0 else high))


def _round_up(number: float) -> int:
    """Return the least of 1, 2 and 5 with zeros, or one of these, that is not below a positive number."""
    above = math.nextafter(number, math.inf) if number > 2**53 else number
    power: int = 10 ** max(0, math.floor(math.log10(max(above, 1))))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= above)


def _of_years(least: float, greatest: float, begins: str, ends: str) -> ProposedDomain:
    first, last = (date.fromordinal(int(day) + EPOCH_DAY).year for day in (least, greatest))
    low, high = max(1, first // 10 * 10), last // 10 * 10 + 9
    return ProposedDomain(f"{low:04d}-01-01{begins}", f"{high:04d}-12-31{ends}")


def categories(cells: Collection[str], missing: Collection[str]) -> ProposedDomain:
    """Return the words that a column of categories has, in order; nothing where one is long or odd."""
    words = sorted({cell.strip() for cell in cells} - {word.strip() for word in missing} - {""})
    if any(len(word) > CATEGORY_CHARS_MAX or not word.isprintable() for word in words):
        return NO_DOMAIN
    return ProposedDomain(categories=tuple(words))
