"""A cluster that meets a block nobody can execute, and the operators who get it past that.

The trap stands in for whatever kills every node alike: it raises MemoryError where the interpreter would run
one transaction. It is planted in the runtime that the simulated machines are given; operators use the code of
the commands on the disks of stopped machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from chain.ledger.block import DecodedTransaction, Skip
from chain.ledger.ledger import Ledger
from chain.node.execution_queue import ExecutionFailed
from chain.node.signedskips import SignedSkips
from chain.node.skipsigning import StoppedValidator, apply_skip
from chain.node.skipvote import Named, SkipVote
from chain.primitives.runtimeport import Call, Outcome, StateReader
from contracts.runtime import ContractRuntime
from tests.simulation import machine as machine_module
from tests.simulation.chain_under_test import CLIENTS, Shape, transaction
from tests.simulation.clockwork import Violation
from tests.simulation.cluster import Cluster
from tests.simulation.machine import Machine
from tests.simulation.shortcuts import RUNTIME

TRAP = "trap"
REASON = "no node has memory enough for it"


class TrappedRuntime(ContractRuntime):
    """The production runtime with one transaction in it that no host can run."""

    def execute(self, call: Call, state: StateReader) -> Outcome:
        if TRAP.encode() in call.args:
            raise MemoryError("planted: this transaction takes more memory than any host has")
        return super().execute(call, state)


class StuckCluster(Cluster):
    """A cluster whose machines die of the trap, and start again while somebody lets them."""

    def __init__(self, seed: int, shape: Shape, patch: pytest.MonkeyPatch, *, byzantine: int = 0) -> None:
        self._patch = patch
        patch.setattr(machine_module, "RUNTIME", TrappedRuntime())
        super().__init__(seed, shape, byzantine=byzantine)
        self.deaths = dict.fromkeys((machine.index for machine in self.honest), 0)
        """Honest machine -> how often it died of the trap."""
        self.running = frozenset(machine.index for machine in self.machines)
        """Machines that somebody lets start."""

    def boot_if_down(self, machine: Machine) -> None:
        if machine.index in self.running:
            super().boot_if_down(machine)

    def stopped(self, machine: Machine, error: BaseException) -> None:
        if not (machine.honest and isinstance(error, ExecutionFailed)):
            super().stopped(machine, error)
            return
        if not isinstance(error.__cause__, MemoryError):
            raise Violation(f"{machine} cannot execute: {error}") from error
        self.deaths[machine.index] += 1
        machine.crash(power=False)
        self.after(self.random.randint(200, 3_000), self.boot_if_down, machine)

    # --- what happens -----------------------------------------------------------------------------

    def trap(self) -> DecodedTransaction:
        """Send the transaction that nobody can execute, with others around it, to every honest machine."""
        until = max(self.checks.headers, default=0) + self.shape.validity
        args = {"name": CLIENTS[0], "amount": 1, "entry": f"{TRAP}/0"}
        found = transaction(self.genesis.chain_id, 10**6, CLIENTS[0], "tally", "add", dict(args), until)
        for machine in self.honest:
            self.submit(machine, 2)
            self.give(machine, [found])
            self.submit(machine, 2)
        return found

    def grow(self, height: int, limit_ms: int, machines: Sequence[Machine] | None = None) -> bool:
        """Send calls until these machines (all honest ones) certified a height; tell whether they did."""
        watched = self.honest if machines is None else machines

        def reached() -> bool:
            return all(machine.settled_height >= height for machine in watched)

        end = self.now + limit_ms
        while self.now < end and not reached():
            for machine in self.honest:
                self.submit(machine)
            self.run(1_000, reached)
        return reached()

    def die(self, times: int, limit_ms: int) -> None:
        """Run until every honest machine has died of the trap so often."""
        if not self.run(limit_ms, lambda: min(self.deaths.values()) >= times):
            raise Violation(f"deaths of the trap: {self.deaths}, expected {times} of each")

    def mend(self) -> None:
        """Give every machine that starts from now on memory enough."""
        self._patch.setattr(machine_module, "RUNTIME", RUNTIME)

    def halt(self) -> None:
        """Stop every process, as operators do, and start none."""
        self.running = frozenset()
        for machine in self.machines:
            if machine.up:
                machine.crash(power=False)

    def go_on(self, machines: Sequence[Machine] | None = None) -> None:
        """Start these again, or all."""
        chosen = self.machines if machines is None else machines
        self.running = frozenset(machine.index for machine in chosen)
        self.start()

    # --- operators --------------------------------------------------------------------------------

    def ledger_of(self, machine: Machine) -> Ledger:
        """Open the ledger of a stopped machine, as a command does."""
        assert not machine.up
        return Ledger(machine.disk, self.genesis, TrappedRuntime())

    def operator(self, machine: Machine, folder: Path) -> StoppedValidator:
        """Return what a stopped machine's operator has before him; what its key signs is kept in a folder."""
        machine.signed = SignedSkips(folder / f"node{machine.index}.key")
        return StoppedValidator(self.ledger_of(machine), machine.key, machine.marker, machine.signed)

    def heads(self) -> set[int]:
        """Return the heights that the honest machines have executed."""
        return {self.ledger_of(machine).head.height for machine in self.honest}


def sign(operator: StoppedValidator, tx_ids: Sequence[bytes], attempt: int = 0) -> SkipVote:
    """Sign a skip of the surest batch that a stopped validator knows."""
    batch = operator.next.batches[0]
    skip = Skip(operator.next.height, batch.digest, attempt, tuple(tx_ids), REASON)
    return operator.sign(skip, operator.ordered(skip.height, skip.batch))


def apply(cluster: StuckCluster, machine: Machine, votes: Sequence[SkipVote]) -> bool:
    """Store the decision of some votes at a stopped machine; raise SkipRefused."""
    named: list[Named] = [(f"vote {number}", vote) for number, vote in enumerate(votes)]
    return apply_skip(cluster.ledger_of(machine), named)[1]
