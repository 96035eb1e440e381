"""Amounts of disclosure accounts as people write them: the ledger has whole numbers of small units."""

from __future__ import annotations

from decimal import Decimal, DecimalException

from privcompute.cli.common import UsageFault

EPSILON_DIGITS, DELTA_DIGITS = 9, 18
"""Decimal places in which the ledger counts."""
_EXAMPLES = {0: "200", EPSILON_DIGITS: "0.5", DELTA_DIGITS: "1e-6"}


def parse_amount(text: str, option: str, digits: int, most: int) -> int:
    """Return a decimal in units of 10^-digits; raise UsageFault for what is none, or out of range."""
    allowed = f"a number from 0 to {show_amount(most, digits)}, with at most {digits} decimal places"
    if not digits:
        allowed = f"a whole number from 0 to {most:,}"
    try:
        scaled = Decimal(text.strip()).scaleb(digits)
        whole = int(scaled) if scaled.is_finite() and 0 <= scaled <= most else -1
    except (DecimalException, ValueError):
        whole, scaled = -1, Decimal(0)
    if whole < 0 or whole != scaled:
        raise UsageFault(f"{option} {text[:40]!r}: give {allowed}, such as {_EXAMPLES[digits]}")
    return whole


def show_amount(amount: int, digits: int) -> str:
    """Return an amount as people write it: 0.5, or 1e-06 where it is small."""
    value = Decimal(amount).scaleb(-digits)
    if 0 < value < Decimal("0.001"):
        return f"{value.normalize():E}".lower().replace("e-0", "e-")
    return f"{value.normalize():f}"
