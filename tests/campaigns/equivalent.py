"""Mutants that no test can notice, each with the argument why. The campaign fails on any other survivor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Argument:
    """Why a mutant behaves as the original does; it holds for exactly this change."""

    before: str
    after: str
    why: str


EQUIVALENT: dict[str, Argument] = {}
