"""Runs `assent` as usual, but for one bug: a call that mentions HUNGER takes that many bytes of the host.

    python hungry_node.py LIMIT node run --config node.toml

LIMIT is how many bytes of address space the kernel grants this process; 0 leaves it as it is. So one release
dies of a transaction on hosts with little memory, by the kernel's refusal, and executes it on others.
"""

from __future__ import annotations

import resource
import sys
import time

from chain.cli.main import main
from chain.primitives.runtimeport import Call, Outcome, StateReader
from contracts.runtime import ContractRuntime

HUNGER = 3_500_000_000
WORD = b"hungry"
SWAPS_S = 1.0
"""A host out of memory takes a while to say so; meanwhile its votes are on their way."""
execute = ContractRuntime.execute


def hungry(self: ContractRuntime, call: Call, state: StateReader) -> Outcome:
    """Run a call, after taking what it should not need."""
    if WORD in call.args:
        try:
            len(bytearray(HUNGER))
        except MemoryError:
            time.sleep(SWAPS_S)
            raise
    return execute(self, call, state)


if __name__ == "__main__":
    limit = int(sys.argv.pop(1))
    if limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    ContractRuntime.execute = hungry  # type: ignore[method-assign]
    main()
