"""The engines that this release has: the rules by which a contract's source becomes a program.

An engine is a whole: syntax, IR, gas, caps, host functions. A contract names for ever the one it was
proposed under, so a node of any later release replays it exactly, by an engine that it kept. An engine is
never changed once a chain has used it; what changes is added under the next number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from contracts.language.faults import HostTrouble
from contracts.language.library import Find, Library
from contracts.language.limits import ENGINE
from contracts.language.program import Program, Watcher, compile_library, compile_source
from contracts.language.run.machine import Machine


@dataclass(frozen=True, slots=True)
class Compilers:
    """The compilers of one engine, for contracts and for libraries; both raise ContractRejected.

    Of a contract: (source, name for diagnostics, what watches lines, who pays, where its libraries are). Of a
    library, the last is for how many tokens there is room.
    """

    contract: Callable[[str, str, Watcher | None, Machine | None, Find], Program]
    library: Callable[[str, str, Watcher | None, Machine | None, int], Library]


ENGINES: Mapping[int, Compilers] = {ENGINE: Compilers(compile_source, compile_library)}
CURRENT = ENGINE
"""Compiles what genesis installs and what members propose. Every member must use the same: a release that
brings a second engine makes it current by a feature of the chain, not by being installed."""


def engine_of(number: int, contract: str) -> Compilers:
    """Return an engine; raise HostTrouble, which stops the node, when this release does not have it."""
    found = ENGINES.get(number)
    if found is None:
        raise HostTrouble(
            f"{contract} runs on engine {number}, this release has {sorted(ENGINES)}: "
            "install a release of Assent that has it and start the node again; nothing was executed"
        )
    return found
