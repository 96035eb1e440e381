"""Public parameters of pages: numbers, texts, booleans, and lists of these.

Whoever traces a page gives them by name; each has a default in `def run(…, *, name=default)`, whose kind it
keeps. On the ledger and in files a number that is not whole stands as `{"number": "3/10"}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction

from contracts.pages.faults import Unfit
from contracts.pages.limits import (
    GAS_ITEM,
    GAS_PAGE_BYTE,
    PARAMETER_DEPTH_MAX,
    PARAMETER_ITEMS_MAX,
    PARAMETERS_MAX,
    TEXT_MAX,
)
from contracts.pages.numbers import bounded, number_text, plain_text, read_number
from contracts.pages.paying import Payer

Parameter = Fraction | bool | str | tuple["Parameter", ...]
_NUMBER = "number"
_WHOLE_MAX = 2**53
"""Whole numbers up to here stand as they are; greater ones would not survive other readers of JSON."""
_KINDS = "a number, a text, a boolean, or a list of these"


class ParameterReader:
    """Reads values of parameters, and counts their items over all of them."""

    def __init__(self, payer: Payer) -> None:
        """Begin without items."""
        self.payer = payer
        self.items = 0

    def read(self, value: object, depth: int = 0) -> Parameter:
        """Return a checked value; lists become tuples. Raise Unfit for what no parameter is."""
        self.items += 1
        self.payer.charge(GAS_ITEM)
        if self.items > PARAMETER_ITEMS_MAX:
            raise _unfit(f"parameters of more than {PARAMETER_ITEMS_MAX} items together", "shorter lists")
        if isinstance(value, (list, tuple)):
            if depth == PARAMETER_DEPTH_MAX:
                raise _unfit(f"lists inside more than {PARAMETER_DEPTH_MAX - 1} others", "flatter lists")
            return tuple([self.read(item, depth + 1) for item in value])
        if isinstance(value, str):
            if len(value) > TEXT_MAX:
                raise _unfit(f"a text of {len(value)} characters", f"at most {TEXT_MAX}")
            self.payer.charge(GAS_PAGE_BYTE * len(value))
            return value
        if isinstance(value, bool):
            return value
        if isinstance(value, (int, Fraction)):
            return bounded(Fraction(value))
        if isinstance(value, Mapping) and [*value] == [_NUMBER] and isinstance(value[_NUMBER], str):
            return read_number(value[_NUMBER])
        raise _unfit(f"a value of type {type(value).__name__}", f'{_KINDS}; 0.3 as {{"number": "3/10"}}')


def given(
    values: Mapping[str, object], known: Mapping[str, Parameter], reader: ParameterReader
) -> dict[str, Parameter]:
    """Return the value of every known parameter: the one that is given, else its default; raise Unfit."""
    if len(values) > PARAMETERS_MAX:
        raise _unfit(f"{len(values)} parameters are given", f"at most {PARAMETERS_MAX}")
    strange = next((name for name in values if name not in known), None)
    if strange is not None:
        listed = ", ".join(known) or "none"
        raise _unfit(
            f"this page has no parameter {str(strange)[:40]!r}", f"one of those that it has: {listed}"
        )
    return {name: _one(name, values, default, reader) for name, default in known.items()}


def _one(name: str, values: Mapping[str, object], default: Parameter, reader: ParameterReader) -> Parameter:
    if name not in values:
        return default
    try:
        value = reader.read(values[name])
    except Unfit as unfit:
        raise _unfit(f"parameter {name}: {unfit.args[0]}", unfit.instead) from None
    if type(value) is not type(default):
        raise _unfit(f"parameter {name} is {_said(value)}", f"{_said(default)}, as its default is")
    return value


def as_value(parameter: Parameter) -> object:
    """Return a parameter as the ledger and files hold it."""
    if isinstance(parameter, tuple):
        return [as_value(item) for item in parameter]
    if isinstance(parameter, Fraction):
        whole = parameter.denominator == 1 and abs(parameter) <= _WHOLE_MAX
        return int(parameter) if whole else {_NUMBER: number_text(parameter)}
    return parameter


def said_value(value: object) -> str:
    """Return a parameter, or what the ledger holds of one, as people write it: 0.5 in place of 1/2."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(said_value(item) for item in value)}]"
    if isinstance(value, dict) and {*value} == {_NUMBER} and isinstance(value[_NUMBER], str):
        try:
            return plain_text(read_number(value[_NUMBER]))
        except Unfit:  # whoever wrote it, it is shown as it stands
            return str(value[_NUMBER])
    if isinstance(value, Fraction):
        return plain_text(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (str, bool)) else str(value)


def _said(parameter: Parameter) -> str:
    kinds = {Fraction: "a number", bool: "a boolean", str: "a text", tuple: "a list"}
    return kinds[type(parameter)]


def _unfit(reason: str, instead: str) -> Unfit:
    return Unfit("PARAMETER", reason, instead)
