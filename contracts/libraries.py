"""The library shelf: where the runtime finds a contract's libraries, on the ledger or among kept code.

A contract that is proposed pays for each library what compiling it costs, whatever this node keeps of it, so
the gas is the same on every node. Code in force is compiled once after a start and unpaid, and its libraries
with it: one copy for all the contracts that name it (`programs.Programs`).
"""

from __future__ import annotations

from contracts.engines import engine_of
from contracts.language.faults import Reverted
from contracts.language.library import Find, Library
from contracts.language.limits import GAS_STATE_READ, SOURCE_TOKENS_MAX
from contracts.language.program import Watcher
from contracts.language.run.machine import Machine
from contracts.programs import Programs
from contracts.versions import Directory


class Shelf:
    """A finder of the libraries on the ledger, as the transaction of a machine sees them."""

    def __init__(self, directory: Directory, programs: Programs, watcher: Watcher | None) -> None:
        """Look through a directory; what a kept program names is not compiled again."""
        self._directory = directory
        self._programs = programs
        self._watcher = watcher

    def for_proposal(self, machine: Machine, engine: int) -> Find:
        """Return a `Find` of the libraries that a proposed contract may name, at the machine's expense."""

        def find(wanted: bytes, room: int) -> Library | None:
            machine.charge(GAS_STATE_READ)
            if not self._directory.offers_library(machine, wanted):
                text = f"library {wanted.hex()} is not on the ledger, or its publisher has withdrawn it"
                raise Reverted("UNKNOWN_LIBRARY", f"{text}: publish it (assent contract publish FILE)")
            machine.charge(GAS_STATE_READ)
            source = self._directory.source(machine, wanted)
            if source is None:
                return None
            machine.charge(len(source.encode()) >> 5)
            return engine_of(engine, _name(wanted)).library(
                source, _name(wanted), self._watcher, machine, room
            )

        return find

    def in_force(self, machine: Machine, engine: int) -> Find:
        """Return a `Find` of the libraries of code in force; what is not kept is compiled, unpaid."""

        def find(wanted: bytes, _: int) -> Library | None:
            kept = self._programs.library(wanted, engine)
            if kept is not None:
                return kept
            source = self._directory.source(machine, wanted)
            if source is None:
                return None
            compile_ = engine_of(engine, _name(wanted)).library
            return compile_(source, _name(wanted), self._watcher, None, SOURCE_TOKENS_MAX)

        return find


def _name(source_hash: bytes) -> str:
    return f"library {source_hash.hex()[:16]}"
