"""Normalisation of identifiers: ordered steps, the same bytes at every party.

Two owners' identifiers mean the same only if both make them by the same steps. Unicode grows, but what it
says of an assigned character stays (Unicode Standard Annex #15, and the stability policy of case folding): so
a character that this Python does not know is refused, and no two versions make different texts of one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from privcompute.data.literals import day_number

STEPS_MAX = 8
_BLANKS = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
_UNASSIGNED = "Cn"
_PHONE_DIGITS = range(7, 16)
"""Digits of a telephone number with its country code (ITU-T E.164 has at most 15)."""
_ORDERS = {"ymd": (0, 1, 2), "dmy": (2, 1, 0), "mdy": (2, 0, 1)}
_PARTS = re.compile(r"([0-9]{1,4})([-/. ])([0-9]{1,2})\2([0-9]{1,4})")
Step = Callable[[str], str | None]
"""Text -> text, None where the step makes nothing of it."""


def is_blank(char: str) -> bool:
    """Return whether a character is a blank, or invisible: spaces of all kinds, controls, zero-width ones."""
    return unicodedata.category(char) in _BLANKS


def trim(text: str) -> str:
    """Return text without blanks and invisible characters at both ends."""
    start, end = 0, len(text)
    while start < end and is_blank(text[start]):
        start += 1
    while end > start and is_blank(text[end - 1]):
        end -= 1
    return text[start:end]


def _spaces(text: str) -> str:
    return "".join([char for char in text if not is_blank(char)])


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _casefold(text: str) -> str:
    return _nfc(_nfc(text).casefold())


def _digits(text: str) -> str:
    kept = [char for char in text if unicodedata.category(char) == "Nd"]
    return "".join([str(unicodedata.decimal(char)) for char in kept])


def _letters_and_digits(text: str) -> str:
    return "".join([char for char in text if char.isalnum()])


def _no_leading_zeros(text: str) -> str:
    return text.lstrip("0") or text[-1:]


def _phone(country: str) -> Step:
    def step(text: str) -> str | None:
        shown = trim(_nfkc(text))
        international = shown.startswith(("+", "00"))
        digits = _digits(shown.replace("(0)", "") if international else shown)
        if international:
            number = digits[2:] if shown.startswith("00") else digits
        else:
            number = country + digits.removeprefix("0")
        return f"+{number}" if len(number) in _PHONE_DIGITS else None

    return step


def _date(order: str) -> Step:
    places = _ORDERS[order]

    def step(text: str) -> str | None:
        found = _PARTS.fullmatch(text)
        if found is None:
            return None
        parts = (found[1], found[3], found[4])
        year, month, day = (parts[place] for place in places)
        if len(year) != 4 or day_number(int(year), int(month), int(day)) is None:
            return None
        return f"{year}-{int(month):02}-{int(day):02}"

    return step


_STEPS: Mapping[str, Step] = {
    "trim": trim,
    "spaces": _spaces,
    "nfc": _nfc,
    "nfkc": _nfkc,
    "casefold": _casefold,
    "digits": _digits,
    "alphanumeric": _letters_and_digits,
    "leading-zeros": _no_leading_zeros,
    "date:ymd": _date("ymd"),
    "date:dmy": _date("dmy"),
    "date:mdy": _date("mdy"),
}
MEANINGS: Mapping[str, str] = {
    "trim": "remove blanks and invisible characters at both ends",
    "spaces": "remove them everywhere",
    "nfc": "compose accents (Unicode NFC)",
    "nfkc": "the same, and full-width or other compatible forms become usual ones (Unicode NFKC)",
    "casefold": "ignore case (Unicode case folding, then NFC)",
    "digits": "keep digits alone, of any script, as 0 to 9",
    "alphanumeric": "keep letters and digits alone",
    "leading-zeros": "remove zeros at the front",
    "phone:CC": "a telephone number as +COUNTRY…; CC is the country of numbers without one, such as phone:49",
    "date:ymd": "a day written year, month, day becomes YYYY-MM-DD",
    "date:dmy": "the same for day, month, year",
    "date:mdy": "the same for month, day, year",
}


def step_of(name: str) -> Step | None:
    """Return a step by its name, None when there is none of that name."""
    phone = re.fullmatch(r"phone:([1-9][0-9]{0,2})", name)
    return _phone(phone[1]) if phone else _STEPS.get(name)


def normalise(text: str, steps: Sequence[Step]) -> str | None:
    """Return a text after these steps; None where one makes nothing of it, or a character is unknown here."""
    if not text.isascii() and any(unicodedata.category(char) == _UNASSIGNED for char in text):
        return None
    current: str | None = text
    for step in steps:
        current = step(current) if current else None
    return current or None
