"""What one party sees: every byte that it receives is masked by a key that it does not hold.

A party of index i holds keys i and i + 1. Two runs with the same inputs, the same keys at i and another key
i + 2 must hand it bytes that differ like independent random bytes; and two runs with different inputs hand
it bytes with the same statistics. This does not prove the protocols secure (the papers do); it catches a
mask that was forgotten, drawn twice, or drawn from the wrong key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privcompute.mpc.local import run_local
from privcompute.mpc.prg import Stream
from privcompute.mpc.protocols.rep3 import Party
from privcompute.mpc.rep3_engine import Rep3Engine
from privcompute.mpc.rounds import Round, Steps, as_round
from privcompute.mpc.sharing import Shared

ROWS = 2_000
Operation = Callable[[Rep3Engine, Shared, Shared], Steps[Any]]
OPERATIONS: dict[str, Operation] = {
    "share": lambda *_: _nothing(),
    "mul": lambda e, x, y: e.mul(Shared(x.words), Shared(y.words)),
    "fixed mul": lambda e, x, y: e.mul(x, y),
    "square": lambda e, x, _: e.mul(x, x),
    "truncate": lambda e, x, _: e.truncate(x.mul_public(1.0)),
    "less_than": lambda e, x, y: e.less_than(x, y),
    "equal": lambda e, x, y: e.equal(x, y),
    "select": lambda e, x, y: e.select(Shared(x.words), x, y),
    "divide": lambda e, x, y: e.divide(x, y),
    "sqrt": lambda e, x, _: e.sqrt(x),
    "sigmoid": lambda e, x, _: e.sigmoid(x[:200]),
    "maximum": lambda e, x, _: e.maximum(x),
    "sort": lambda e, x, y: e.sort(x[:64], y[:64]),
    "laplace": lambda e, *_: e.laplace(Fraction(5), (200,)),
    "gaussian": lambda e, *_: e.gaussian(Fraction(5), (200,)),
}


def _nothing() -> Steps[None]:
    yield Round({}, {})


def party(me: int, keys: tuple[bytes, bytes, bytes]) -> Party:
    return Party(me, Stream(keys[me]), Stream(keys[(me + 1) % 3]), Stream(bytes([me]) * 32))


def key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def recorded(protocol: Steps[Any], into: list[bytes]) -> Steps[Any]:
    """Run a protocol and keep everything that it receives."""
    try:
        step = next(protocol)
        while True:
            received = yield as_round(step)
            into.extend(bytes(received[sender]) for sender in sorted(received))
            step = protocol.send(received)
    except StopIteration as stop:
        return stop.value


def view_of(
    observer: int, operation: Operation, x: NDArray[Any], y: NDArray[Any], keys: tuple[bytes, bytes, bytes]
) -> bytes:
    """Return the bytes that one party receives while two others (or it) share x and y and compute."""

    def program(me: int) -> Steps[Any]:
        engine = Rep3Engine(party(me, keys))
        left = yield from engine.share(0, x if me == 0 else None, x.shape, 16)
        right = yield from engine.share(1, y if me == 1 else None, y.shape, 16)
        both = yield from engine.share(2, x if me == 2 else None, x.shape, 16)
        yield from operation(engine, left + both, right)

    seen: list[bytes] = []
    protocols = [recorded(program(me), seen) if me == observer else program(me) for me in range(3)]
    run_local(protocols)
    return b"".join(seen)


def deviations(data: bytes) -> float:
    """Return by how many standard deviations the number of set bits differs from one half."""
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    return float(abs(bits.sum() - bits.size / 2) / (bits.size / 4) ** 0.5)


@pytest.mark.parametrize("observer", [0, 1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_everything_received_is_masked_by_a_key_that_the_receiver_lacks(name: str, observer: int) -> None:
    x, y = np.full(ROWS, 3.0), np.full(ROWS, 5.0)
    fixed = [key("a"), key("b"), key("c")]
    other = list(fixed)
    other[(observer + 2) % 3] = key("another")
    first = view_of(observer, OPERATIONS[name], x, y, (fixed[0], fixed[1], fixed[2]))
    second = view_of(observer, OPERATIONS[name], x, y, (other[0], other[1], other[2]))
    assert len(first) == len(second)
    difference = np.frombuffer(first, np.uint8) ^ np.frombuffer(second, np.uint8)
    assert deviations(difference.tobytes()) < 6
    # A single message left unmasked would be a stretch of equal bytes.
    equal = np.flatnonzero(difference == 0)
    longest = max((len(run) for run in np.split(equal, np.flatnonzero(np.diff(equal) != 1) + 1)), default=0)
    assert longest <= 6


@pytest.mark.parametrize("observer", [0, 1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_view_looks_the_same_whatever_the_inputs_are(name: str, observer: int) -> None:
    keys = (key("a"), key("b"), key("c"))
    zeros, large = np.zeros(ROWS), np.full(ROWS, 1_000.0)
    for x, y in ((zeros, zeros), (large, large)):
        assert deviations(view_of(observer, OPERATIONS[name], x, y, keys)) < 6


def test_lengths_do_not_depend_on_the_inputs() -> None:
    numbers = np.random.default_rng(3)
    keys = (key("a"), key("b"), key("c"))
    for operation in OPERATIONS.values():
        views = [
            view_of(1, operation, x, y, keys)
            for x, y in ((np.zeros(ROWS), np.zeros(ROWS)), (numbers.normal(size=ROWS), numbers.random(ROWS)))
        ]
        assert len(views[0]) == len(views[1])


def test_a_stream_never_repeats_and_is_the_same_at_both_holders() -> None:
    one, two = Stream(key("k")), Stream(key("k"))
    pieces = [one.draw((n,), np.uint8) for n in (1, 15, 16, 17, 3_000_000, 5)]
    whole = two.draw((sum(piece.size for piece in pieces),), np.uint8)
    assert np.array_equal(np.concatenate(pieces), whole)
    blocks = whole[: whole.size // 16 * 16].reshape(-1, 16).view("S16")
    assert np.unique(blocks).size == blocks.size
