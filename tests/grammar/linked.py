"""The same program with its functions in a library: its calls must come to the same, gas included."""

from __future__ import annotations

import re

from grammar import FUNCTIONS

from chain.primitives.runtimeport import Outcome
from contracts.language.ir import source_hash
from contracts.language.program import compile_library

LIBRARY = compile_library(FUNCTIONS)
_NAMES = re.compile(rf"\b({'|'.join(LIBRARY.signatures)})\b")


def linked(source: str) -> str | None:
    """Return a program that names a library for its functions; None where it does not hold them whole."""
    if source.count(FUNCTIONS) != 1:
        return None
    return f'lib = Library("{source_hash(FUNCTIONS).hex()}")\n' + _NAMES.sub(
        r"lib.\1", source.replace(FUNCTIONS, "")
    )


def unlike(one: Outcome, other: Outcome) -> list[str]:
    """Return in what two outcomes differ, besides lines."""
    names = ("status", "code", "result", "gas_used", "writes", "events")
    return [name for name in names if getattr(one, name) != getattr(other, name)]
