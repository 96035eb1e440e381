"""Driver in memory: all parties of a protocol run in one thread, for tests and references."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from privcompute.errors import PeerMisbehaved, ProgramFault
from privcompute.mpc.rounds import Received, Round, Steps, as_bytes, as_round

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LocalRun(Generic[T]):
    """Results and costs of a run in memory."""

    results: tuple[T, ...]
    """What each party's generator returned."""
    sent_bytes: tuple[int, ...]
    """Payload bytes that each party sent, frame headers excluded."""
    rounds: tuple[int, ...]
    """Steps in which each party sent or waited for something."""


class _Party(Generic[T]):
    def __init__(self, protocol: Steps[T]) -> None:
        self.protocol = protocol
        self.waiting: Round | None = None
        self.result: T | None = None
        self.done = False
        self.sent_bytes = 0
        self.rounds = 0

    def resume(self, received: Received | None) -> Mapping[int, memoryview]:
        """Run to the next step and return what it sends."""
        try:
            step = next(self.protocol) if received is None else self.protocol.send(received)
        except StopIteration as stop:
            self.result, self.done, self.waiting = stop.value, True, None
            return {}
        self.waiting = as_round(step)
        outgoing = {party: as_bytes(message) for party, message in self.waiting.send.items()}
        self.sent_bytes += sum(view.nbytes for view in outgoing.values())
        self.rounds += bool(outgoing or self.waiting.receive)
        return outgoing


def run_local(protocols: Sequence[Steps[T]]) -> LocalRun[T]:
    """Run one generator per party to its end; raise what a party raises, or ProgramFault on a deadlock."""
    parties = [_Party(protocol) for protocol in protocols]
    wires: dict[tuple[int, int], deque[bytes]] = defaultdict(deque)
    for index in range(len(parties)):
        _post(wires, index, parties[index].resume(None))
    while not all(party.done for party in parties):
        ready = [i for i, party in enumerate(parties) if party.waiting and _arrived(wires, i, party.waiting)]
        if not ready:
            raise ProgramFault(f"deadlock: {_describe(parties)}")
        for index in ready:
            step = parties[index].waiting
            if step is not None:
                _post(wires, index, parties[index].resume(_collect(wires, index, step)))
    left = {pair: len(queue) for pair, queue in wires.items() if queue}
    if left:
        raise ProgramFault(f"messages that nobody read, by (sender, receiver): {left}")
    return LocalRun(
        tuple(cast(T, party.result) for party in parties),
        tuple(party.sent_bytes for party in parties),
        tuple(party.rounds for party in parties),
    )


def _post(
    wires: dict[tuple[int, int], deque[bytes]], sender: int, outgoing: Mapping[int, memoryview]
) -> None:
    for receiver, view in outgoing.items():
        wires[sender, receiver].append(bytes(view))


def _arrived(wires: dict[tuple[int, int], deque[bytes]], receiver: int, step: Round) -> bool:
    return all(wires[sender, receiver] for sender in step.receive)


def _collect(wires: dict[tuple[int, int], deque[bytes]], receiver: int, step: Round) -> Received:
    received = {}
    for sender, length in step.receive.items():
        message = wires[sender, receiver].popleft()
        if len(message) > length or (step.exact and len(message) != length):
            raise PeerMisbehaved(sender, f"party {sender} sent {len(message)} bytes, expected {length}")
        received[sender] = memoryview(message)
    return received


def _describe(parties: Sequence[_Party[T]]) -> str:
    waits = [
        "done" if party.waiting is None else f"waits for {sorted(party.waiting.receive)}" for party in parties
    ]
    return "; ".join(f"party {index} {text}" for index, text in enumerate(waits))
