"""Time and gas of one operation: a loop that repeats it, less the same loop without it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from chain.primitives.values import Value
from contracts.language.back.build_calls import enter
from contracts.language.back.builder import Function
from contracts.language.faults import Halt
from contracts.language.limits import EVENTS_MAX
from contracts.language.program import compile_source
from contracts.language.run.machine import Machine
from contracts.runtime import ContractRuntime
from contracts.testing import Memory
from tests.bench.gas.operations import HELPERS, Operation

COPIES = 8
SAMPLE_NS = 3_000_000
"""CPU time of one sample; the clock counts microseconds."""
TURNS_MAX = 4_000
PLENTY = 10**15


@dataclass(frozen=True, slots=True)
class Cost:
    """What one repetition of an operation costs."""

    group: str
    name: str
    gas: float
    ns: float
    size: int = 0
    """Bytes of arguments, which the ledger keeps."""

    @property
    def ns_per_gas(self) -> float:
        """The figure that should be equal for all operations."""
        return self.ns / max(self.gas, 1e-9)


def machine() -> Machine:
    """Return a machine that no cap stops: what is measured is time per gas."""
    made = Machine(PLENTY, Memory(), ContractRuntime())
    made.memory = made.written = PLENTY
    made.contract, made.org, made.running = "bench", "bank", ("bench",)
    return made


def main_of(setup: str, body: str, copies: int) -> Function:
    """Compile `main(n)`: the setup, then n turns of the body."""
    lines = [f"    {line}" for line in [*setup.split("\n"), "for turn in range(turns):"]]
    lines += [f"        {line}" for line in (body.split("\n") * copies or ["pass"])]
    return compile_source(HELPERS + "def main(turns: int):\n" + "\n".join(lines) + "\n").functions["main"]


def once(function: Function, *args: Value) -> tuple[int, int]:
    """Run a function on a fresh machine; return (CPU ns, gas)."""
    m = machine()
    frame = [m, None, *args, *function.padding]
    begin = time.process_time_ns()
    enter(m, function, frame)
    return time.process_time_ns() - begin, PLENTY - m.gas


def measure(operation: Operation, repeats: int) -> Cost:
    """Return the cost of one repetition: the least time of `repeats` samples, with and without it."""
    copies = 1 if operation.repeated.startswith(("for ", "while ")) else COPIES
    work = main_of(operation.setup, operation.repeated, copies)
    idle = main_of(operation.setup, "pass", 1)
    turns, spent, least_ns = 1, 0, max(SAMPLE_NS, once(idle, 1)[0])
    most = EVENTS_MAX // COPIES // 3 if operation.group in ("event", "filed") else TURNS_MAX
    while spent < least_ns and turns < most:
        turns *= 3
        spent = once(work, turns)[0] - once(idle, turns)[0]
    busy = [once(work, turns) for _ in range(repeats)]
    bare = [once(idle, turns) for _ in range(repeats)]
    ns, gas = (min(cost[part] for cost in busy) - min(cost[part] for cost in bare) for part in (0, 1))
    return Cost(operation.group, operation.name, gas / turns / copies, ns / turns / copies)


def exhaust(operation: Operation, gas: int) -> float:
    """Return the CPU ms that a transaction takes to spend its gas on one operation, under all caps."""
    lines = [f"    {line}" for line in [*operation.setup.split("\n"), "while True:"]]
    lines += [f"        {line}" for line in operation.repeated.split("\n") * COPIES]
    function = compile_source(HELPERS + "def main():\n" + "\n".join(lines) + "\n").functions["main"]
    m = Machine(gas, Memory(), ContractRuntime())
    m.contract, m.org, m.running = "bench", "bank", ("bench",)
    begin = time.process_time_ns()
    with suppress(Halt):
        enter(m, function, [m, None, *function.padding])
    return (time.process_time_ns() - begin) / 1e6


def least(work: Callable[[], int], repeats: int) -> tuple[float, int]:
    """Return (least CPU ns, gas) of a callable that returns the gas that it used."""
    best, gas = float(PLENTY), 0
    for _ in range(repeats):
        begin = time.process_time_ns()
        gas = work()
        best = min(best, time.process_time_ns() - begin)
    return best, gas
