"""The scratch machine, on which module-level constants are computed: nothing is around it."""

from __future__ import annotations

from typing import Any

from chain.primitives.values import Value
from contracts.language.faults import HostTrouble
from contracts.language.limits import CONSTANT_ALLOCATION_MAX, CONSTANT_GAS
from contracts.language.run.machine import Machine


class _Nowhere:
    """The surroundings of a constant expression: the lowering lets none of them reach state or contracts."""

    def get(self, *_: Any, **__: Any) -> bytes | None:
        """There is no state."""
        return None

    def remote(self, *_: Any, **__: Any) -> Value:
        """There are no contracts."""
        raise HostTrouble("a constant expression called a contract")

    compile_source = compile_library = start = trace_page = remote


def scratch_machine(gas: int = CONSTANT_GAS) -> Machine:
    """Return a machine with this much gas, CONSTANT_ALLOCATION_MAX bytes, no state and no context."""
    made = Machine(gas, _Nowhere(), _Nowhere())
    made.memory = CONSTANT_ALLOCATION_MAX
    return made
