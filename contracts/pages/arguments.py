"""Reading the arguments of the functions that pages call."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from contracts.pages.faults import Unfit
from contracts.pages.limits import NAME_MAX
from contracts.pages.values import PageTable, Secret, TablePart, said_kind


def whole(value: object, least: int, most: int, what: str) -> int:
    """Return a whole public number within a range, or raise Unfit."""
    if isinstance(value, Secret):
        raise Unfit("SECRET_NUMBER", f"{what} is {said_kind(value)}", "a public number")
    if not isinstance(value, Fraction) or value.denominator != 1 or not least <= value <= most:
        shown = str(value)[:40] if isinstance(value, Fraction) else said_kind(value)
        raise Unfit("ARGUMENT", f"{what} is {shown}", f"a whole number from {least} to {most}")
    return int(value)


def a_number(value: object, what: str) -> Fraction:
    """Return a public number, or raise Unfit."""
    if isinstance(value, Secret):
        raise Unfit("SECRET_NUMBER", f"{what} is {said_kind(value)}", "a public number")
    if not isinstance(value, Fraction):
        raise Unfit("ARGUMENT", f"{what} is {said_kind(value)}", "a number")
    return value


def a_text(value: object, what: str, most: int = NAME_MAX) -> str:
    """Return a public text that may be a name of at most so many characters, or raise Unfit."""
    if not isinstance(value, str) or not 0 < len(value) <= most:
        shown = f"a text of {len(value)} characters" if isinstance(value, str) else said_kind(value)
        raise Unfit("ARGUMENT", f"{what} is {shown}", f"a text of 1 to {most} characters")
    return value


def unfit_arguments(
    name: str,
    free: Sequence[str],
    names: Sequence[str],
    required: Sequence[str],
    given: int,
    named: Sequence[str],
) -> str:
    """Say what is wrong with a call, "" if nothing: `given` values without a name, then named ones.

    `free` are the arguments that need no name; the last may be `*name` for any number.
    """
    several = bool(free) and free[-1].startswith("*")
    taken = set(free[:given])
    strange = next((one for one in named if one not in names), None)
    twice = next((one for one in named if one in taken), None)
    missing = [one for one in required if one not in taken and one not in named]
    if strange is not None:
        return f"{name} has no argument {strange[:NAME_MAX]}"
    if twice is not None:
        return f"{name} is given {twice} twice"
    if given > len(free) and not several:
        return f"{name} is given {given} values, and takes {len(free)}"
    return f"{name} is not given {' and '.join(missing).replace('*', '')}" if missing else ""


def some_cells(value: object, what: str) -> Secret:
    """Return cells, or raise Unfit."""
    if isinstance(value, Secret):
        return value
    if isinstance(value, (PageTable, TablePart)):
        raise Unfit("VALUE", f"{what} takes cells, not a table", "a column of it: loans.amount")
    raise Unfit(
        "VALUE", f"{what} takes cells, not {said_kind(value)}", "a column, or what is computed of some"
    )


def a_table(value: object, what: str) -> PageTable:
    """Return a table, or raise Unfit."""
    if isinstance(value, PageTable):
        return value
    if isinstance(value, TablePart):
        return value.table
    raise Unfit("VALUE", f"{what} takes a table, not {said_kind(value)}", "a parameter of run, or a join")


def some_items(values: object, what: str) -> list[Any]:
    """Return the items of a list that has some, or raise Unfit."""
    if not isinstance(values, (list, tuple)) or not values:
        raise Unfit("ARGUMENT", f"{what} takes a list, not {said_kind(values)}", f"{what}([x, y])")
    return list(values)


def walked(x: object) -> list[object]:
    """Return the items of a list, or raise Unfit."""
    if not isinstance(x, (list, tuple)):
        raise Unfit("ARGUMENT", f"{said_kind(x)} is walked", "a list")
    return list(x)
