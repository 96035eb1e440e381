"""The machine: meter, context, overlay of writes and events of one transaction while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from chain.primitives.runtimeport import Event, StateKey, StateReader
from chain.primitives.values import Value
from contracts.language.faults import LimitExceeded, OutOfGas
from contracts.language.limits import ALLOCATION_MAX, MEM_TEXT, MEM_WIDE, TEXT_MAX, WRITTEN_BYTES_MAX

Frame = list[Any]
"""[machine, returned value, local 0, local 1, …]"""
Closure = Callable[[Frame], Any]

Kept = tuple[dict[StateKey, bytes | None], list[Event], dict[str, int], int]
"""Writes, events, events in histories of others, and bytes that may still be written."""

RESULT, LOCALS = 1, 2
NO_CHAIN = bytes(32).hex()
"""Chain id where there is no chain, and in genesis, whose hash the chain id is."""


class Services(Protocol):
    """The port to the runtime around a running contract: other contracts, and what serves some of genesis."""

    def remote(
        self, machine: Machine, contract: str, method: str, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """Call a method of another contract within this transaction."""

    def compile_source(self, machine: Machine, source: str) -> Value:
        """Check and compile a source; revert when it is refused (contract `lifecycle` only)."""

    def compile_library(self, machine: Machine, source: str) -> Value:
        """Check and compile a library; revert when it is refused (contract `lifecycle` only)."""

    def start(self, machine: Machine, contract: str, source_hash: bytes, args: Value, kind: str) -> Value:
        """Run @init or @migrate of a stored source as `contract` (contract `lifecycle` only)."""

    def trace_page(
        self, machine: Machine, source: str, datasets: Value, parameters: Value, initiator: str
    ) -> Value:
        """Derive what follows of a page; revert when it is refused (contract `programs` only)."""


class Unset:
    """The value of a local before its first assignment."""


UNSET = Unset()


class Machine:
    """The state of one running transaction; it is discarded afterwards."""

    __slots__ = (
        "asked",
        "block_time",
        "caller",
        "chain_id",
        "contract",
        "depth",
        "events",
        "foreign",
        "gas",
        "height",
        "memory",
        "nested",
        "org",
        "origin",
        "read_only",
        "roles",
        "running",
        "services",
        "signer",
        "stack",
        "state",
        "tx_id",
        "writes",
        "written",
    )

    def __init__(self, gas: int, state: StateReader, services: Services) -> None:
        """Start with this much gas over this state; the runtime fills in the context."""
        self.gas = gas
        self.memory = ALLOCATION_MAX
        self.written = WRITTEN_BYTES_MAX
        self.depth = 0
        self.stack = 0
        self.state = state
        self.services = services
        self.writes: dict[StateKey, bytes | None] = {}
        self.events: list[Event] = []
        self.foreign: dict[str, int] = {}
        self.running: tuple[str, ...] = ()
        self.read_only = False
        self.asked = False
        """Whether this is a question from outside the chain, which changes nothing and is not recorded."""
        self.nested = False
        self.contract = self.caller = self.origin = self.signer = self.org = self.tx_id = ""
        self.chain_id = NO_CHAIN
        self.roles: tuple[str, ...] = ()
        self.height = self.block_time = 0

    def keep(self) -> Kept:
        """Return what the transaction has done to the ledger so far."""
        return dict(self.writes), list(self.events), dict(self.foreign), self.written

    def restore(self, kept: Kept) -> None:
        """Take back what was done to the ledger since `keep`; gas and memory stay spent."""
        self.writes, self.events, self.foreign, self.written = kept

    def charge(self, gas: int) -> None:
        """Pay this much gas before working; raise OutOfGas when there is less."""
        self.gas -= gas
        if self.gas < 0:
            raise OutOfGas

    def allocate(self, size: int) -> None:
        """Book bytes of the transaction's cumulative allocation; raise LimitExceeded beyond the cap."""
        self.memory -= size
        if self.memory < 0:
            raise _full()

    def text(self, length: int, narrow: bool = True) -> None:
        """Pay for making a text of this many characters or bytes, and refuse one over the cap.

        `narrow` tells that every character takes one byte (bytes, or all ASCII); else each counts as four.
        """
        if length > TEXT_MAX:
            raise LimitExceeded("TEXT_LENGTH", f"{length} characters, at most {TEXT_MAX}")
        size = length if narrow else MEM_WIDE * length
        self.gas -= size >> 8
        if self.gas < 0:
            raise OutOfGas
        self.memory -= MEM_TEXT + size
        if self.memory < 0:
            raise _full()


def _full() -> LimitExceeded:
    return LimitExceeded("ALLOCATION", "the transaction allocated more than 8 MiB in total")
