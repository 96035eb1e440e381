"""The engines that this release has: the rules by which a contract's source becomes a program.

An engine is a whole: syntax, IR, gas, caps, host functions. A contract names for ever the one it was
proposed under, so a node of any later release replays it exactly, by an engine that it kept. An engine is
never changed once a chain has used it; what changes is added under the next number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from contracts.language.faults import HostTrouble
from contracts.language.limits import ENGINE
from contracts.language.machine import Machine
from contracts.language.program import Program, Watcher, compile_source

Compile = Callable[[str, str, Watcher | None, Machine | None], Program]
"""(source, name for diagnostics, what watches lines, who pays) -> program; raises ContractRejected."""

ENGINES: Mapping[int, Compile] = {ENGINE: compile_source}
CURRENT = ENGINE
"""Compiles what genesis installs and what members propose. Every member must use the same: a release that
brings a second engine makes it current by a feature of the chain, not by being installed."""


def engine_of(number: int, contract: str) -> Compile:
    """Return an engine; raise HostTrouble, which stops the node, when this release does not have it."""
    found = ENGINES.get(number)
    if found is None:
        raise HostTrouble(
            f"contract {contract} runs on engine {number}, this release has {sorted(ENGINES)}: "
            "install a release of Assent that has it and start the node again; nothing was executed"
        )
    return found
