"""The engine port: what programs compute with, and how protocols talk.

A *protocol* is a generator. It yields one `Round` per communication step and is resumed with what arrived,
so the same code runs in memory under a seed (local.py) and over sockets (transport.py). Programs compose
protocols with `yield from`:

    def mean(engine: Engine, x: Shared) -> Steps[Shared]:
        return (yield from engine.scale(x.sum(), 1 / len(x)))

Local operations are methods of `Shared` (`x + y`, `x[mask]`, `x.sum(0)`, `x.mul_public(3)`) and the
functions `concatenate` and `stack`. Everything that costs communication is a method of `Engine`. Programs
return `Shared` outputs and never open them: `reveal` is a separate, later protocol that the agent runs once
the ledger has approved it (reveal gate).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from numpy.typing import NDArray

from privcompute.errors import ProgramFault
from privcompute.ring import FRACTION_BITS
from privcompute.sharing import Shared, concatenate, stack

__all__ = [
    "Accuracy",
    "Engine",
    "Message",
    "Received",
    "Round",
    "Shared",
    "Steps",
    "as_bytes",
    "as_round",
    "concatenate",
    "parallel",
    "stack",
]

OPEN_MESSAGE_BYTES_MAX = 1 << 20
"""A message whose sender alone knows its length is no longer (1 MiB)."""

T = TypeVar("T")
Message = bytes | bytearray | memoryview | NDArray[Any]
"""Anything C-contiguous that holds bytes; numpy arrays are sent without a copy."""
Received = Mapping[int, memoryview]
Accuracy = Literal["training", "scoring"]


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


class Engine(Protocol):
    """Arithmetic on secrets among `parties` computing parties, of which this process is number `me`.

    Comparisons return integer secrets 0 or 1. Shapes broadcast as in numpy. Products of two fixed-point
    secrets are truncated to 16 fraction bits; a product with an integer secret is exact. Values, products
    and sums stay inside the ranges of ring.py: inputs are checked, intermediate values are the program's
    duty, and the plaintext engine checks them all. Errors are stated in ulp = 2^-16.
    """

    @property
    def profile(self) -> str:
        """Name of the security profile, printed on every result."""

    @property
    def me(self) -> int:
        """Index of this party, 0 … parties - 1."""

    @property
    def parties(self) -> int:
        """Number of computing parties."""

    def constant(self, values: Any, fraction_bits: int = 0) -> Shared:
        """Return public numbers as a shared value (local)."""

    def share(
        self,
        owner: int,
        values: Any | None,
        shape: tuple[int, ...],
        fraction_bits: int = 0,
        *,
        name: str = "values",
        bound: float | None = None,
    ) -> Steps[Shared]:
        """Share the owner's array (None at the others); OutOfRange at the owner names `name` and the value.

        `bound` (exclusive magnitude) narrows the allowed range; defaults are those of ring.py. An owner
        index of `parties` or more is an outside owner (guest.py).
        """

    def mul(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Product, elementwise. Fixed by fixed: within 1 ulp, unbiased, exact when representable."""

    def dot(self, x: Shared, y: Shared, axis: int = -1) -> Steps[Shared]:
        """Sum of products along an axis, one truncation for the whole sum: within 1 ulp."""

    def matmul(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Matrix product of 1- or 2-dimensional secrets: within 1 ulp; traffic is the size of the result."""

    def truncate(self, x: Shared, fraction_bits: int = FRACTION_BITS) -> Steps[Shared]:
        """Drop fraction bits down to `fraction_bits`: within 1 ulp, unbiased."""

    def scale(self, x: Shared, factor: Any) -> Steps[Shared]:
        """Product of x with public reals, truncated to 16 fraction bits: within 1 ulp beyond the
        rounding of the factor to 16 fraction bits."""

    def less_than(self, x: Shared, y: Shared) -> Steps[Shared]:
        """1 where x < y, else 0: exact."""

    def less_than_zero(self, x: Shared) -> Steps[Shared]:
        """1 where x < 0, else 0: exact."""

    def equal(self, x: Shared, y: Shared) -> Steps[Shared]:
        """1 where x = y, else 0: exact, on all 64 bits."""

    def select(self, bit: Shared, x: Shared, y: Shared) -> Steps[Shared]:
        """x where bit is 1, y where it is 0: exact."""

    def maximum(self, x: Shared, axis: int = -1) -> Steps[Shared]:
        """Greatest element along an axis, exact, in a logarithmic number of comparisons."""

    def minimum(self, x: Shared, axis: int = -1) -> Steps[Shared]:
        """Least element along an axis, exact, in a logarithmic number of comparisons."""

    def divide(self, x: Shared, y: Shared) -> Steps[Shared]:
        """x / y as fixed point, for 0 < y < 2^30 and |x / y| < 2^15; exactly 0 where y <= 0.

        Integers are read as numbers of value below 2^30. Error at most 4 ulp + 2^-24 |x / y|.
        """

    def sqrt(self, x: Shared) -> Steps[Shared]:
        """Square root for 0 <= x < 2^30: error at most 2 ulp + 2^-24 of the root; 0 for negative x."""

    def inverse_sqrt(self, x: Shared) -> Steps[Shared]:
        """1 / sqrt(x) for 0 < x < 2^30: error at most 2 ulp + 2^-24 of the value; 0 for x <= 0."""

    def sigmoid(self, x: Shared, accuracy: Accuracy = "training") -> Steps[Shared]:
        """1 / (1 + e^-x): piecewise; maximum errors are stated in protocols/sigmoid.py."""

    def sort(self, keys: Shared, *columns: Shared) -> Steps[tuple[Shared, ...]]:
        """Return keys (n,) in ascending order and the columns (n, …) rearranged alike; nothing is learnt."""

    def shuffle(self, *columns: Shared) -> Steps[tuple[Shared, ...]]:
        """Return columns (n, …) under one secret random permutation that no party knows."""

    def reveal(self, x: Shared, to: Sequence[int]) -> Steps[NDArray[Any] | None]:
        """Open x to the parties in `to`: float64 or int64 there, None elsewhere."""


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
        received = yield _merge(list(steps.values()))
        answers = dict(zip(steps, _split(list(steps.values()), received), strict=True))


def _merge(steps: Sequence[Round]) -> Round:
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


def _split(steps: Sequence[Round], received: Received) -> list[Received]:
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
