"""Rounds of protocols: a protocol is a generator of rounds, which a driver carries out.

It yields one `Round` per communication step and is resumed with what arrived, so the same code runs in
memory under a seed (local.py) and over TLS (privcompute/net). Protocols are composed with `yield from`, and
`parallel` runs several side by side in the rounds of the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from privcompute.errors import ProgramFault

OPEN_MESSAGE_BYTES_MAX = 1 << 20
"""A message whose sender alone knows its length is no longer (1 MiB)."""

T = TypeVar("T")
Message = bytes | bytearray | memoryview | NDArray[Any]
"""Anything C-contiguous that holds bytes; numpy arrays are sent without a copy."""
Received = Mapping[int, memoryview]
"""Party -> its message."""
OnProgress = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all); 0 in all when nobody knows."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Report to nobody."""
    del stage, done, total


@dataclass(frozen=True, slots=True)
class Round:
    """One communication step: messages to send, and the messages to wait for."""

    send: Mapping[int, Message]
    receive: Mapping[int, int]
    """Party -> length in bytes of its message: exact, or the greatest accepted when `exact` is false."""
    exact: bool = True


Steps = Generator[Round | Mapping[int, Message], Received, T]
"""A protocol that returns T.

`received = yield Round(send={1: a}, receive={2: 800})` sends `a` to party 1 and waits for exactly 800
bytes from party 2. The short form `received = yield {1: a, 2: b}` sends both and waits for one message,
of any length up to OPEN_MESSAGE_BYTES_MAX, from each party named. Every party of a protocol makes the same
number of yields. Received bytes are read-only views; anything malformed in them is the peer's fault.
"""


def as_bytes(message: Message) -> memoryview:
    """Return the bytes of a message as a flat view, without a copy."""
    view = memoryview(message) if isinstance(message, (bytes, bytearray, memoryview)) else message.data
    return view.cast("B") if view.nbytes else memoryview(b"")


def as_round(step: Round | Mapping[int, Message]) -> Round:
    """Return a yielded step in its long form."""
    if isinstance(step, Round):
        return step
    return Round(step, dict.fromkeys(step, OPEN_MESSAGE_BYTES_MAX), exact=False)


def parallel(*protocols: Steps[Any]) -> Steps[tuple[Any, ...]]:
    """Run protocols side by side, merging their rounds: as many rounds as the longest of them takes.

    Every protocol must yield exact `Round`s, so that a merged message can be split again.
    """
    results: list[Any] = [None] * len(protocols)
    answers: dict[int, Received | None] = dict.fromkeys(range(len(protocols)))
    while True:
        steps: dict[int, Round] = {}
        for index, answer in answers.items():
            try:
                step = as_round(next(protocols[index]) if answer is None else protocols[index].send(answer))
            except StopIteration as stop:
                results[index] = stop.value
                continue
            if not step.exact:
                raise ProgramFault("parallel: a protocol that does not know its message lengths")
            steps[index] = step
        if not steps:
            return tuple(results)
        received = yield merge(list(steps.values()))
        answers = dict(zip(steps, split(list(steps.values()), received), strict=True))


def merge(steps: Sequence[Round]) -> Round:
    """Return one round that carries several exact ones, each party's messages one after another."""
    if len(steps) == 1:
        return steps[0]
    send: dict[int, list[memoryview]] = {}
    receive: dict[int, int] = {}
    for step in steps:
        for party, message in step.send.items():
            send.setdefault(party, []).append(as_bytes(message))
        for party, length in step.receive.items():
            receive[party] = receive.get(party, 0) + length
    return Round({party: b"".join(parts) for party, parts in send.items()}, receive)


def split(steps: Sequence[Round], received: Received) -> list[Received]:
    """Return what each of merged rounds received."""
    if len(steps) == 1:
        return [received]
    offsets = dict.fromkeys(received, 0)
    answers: list[Received] = []
    for step in steps:
        answer: dict[int, memoryview] = {}
        for party, length in step.receive.items():
            answer[party] = received[party][offsets[party] : offsets[party] + length]
            offsets[party] += length
        answers.append(answer)
    return answers
