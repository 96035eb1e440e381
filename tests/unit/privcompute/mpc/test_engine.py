"""Fixed point, shared values, rounds and the two engines' common interface, mostly in the clear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.errors import OutOfRange, PeerMisbehaved, ProgramFault
from privcompute.mpc import ring
from privcompute.mpc.local import run_local
from privcompute.mpc.plaintext_engine import MagnitudeExceeded, PlaintextEngine
from privcompute.mpc.rounds import Round, Steps, as_bytes, as_round, parallel
from privcompute.mpc.sharing import Shared, concatenate, stack

FIXED = settings(max_examples=50, deadline=None, derandomize=True)
reals = st.floats(-(2.0**29), 2.0**29, allow_nan=False, width=64)


def one(program: Callable[[PlaintextEngine], Steps[Any]]) -> Any:
    """Run a program at a single plaintext party."""
    return run_local([program(PlaintextEngine())]).results[0]


# --- fixed point -----------------------------------------------------------------------------------


@FIXED
@given(st.lists(reals, min_size=1, max_size=20))
def test_a_number_survives_encoding_within_half_an_ulp(values: list[float]) -> None:
    words = ring.encode(values, ring.FRACTION_BITS)
    assert np.max(np.abs(ring.decode(words, ring.FRACTION_BITS) - values)) <= 2.0 ** -(ring.FRACTION_BITS + 1)


@FIXED
@given(st.lists(st.integers(-(2**62) + 1, 2**62 - 1), min_size=1, max_size=20))
def test_an_integer_survives_encoding_exactly(values: list[int]) -> None:
    assert ring.decode(ring.encode(np.array(values), 0), 0).tolist() == values


@pytest.mark.parametrize(
    ("values", "fraction_bits", "bound", "expected"),
    [
        ([1.0, 2.0**30], 16, None, "age: row 1 holds 1073741824.0, allowed is between"),
        ([0.0, float("nan")], 16, None, "age: row 1 holds nan; fill or drop missing values"),
        ([float("inf")], 16, None, "age: row 0 holds inf"),
        ([1.5], 0, None, "age: row 0 holds 1.5, which is not an integer"),
        ([5, -101], 0, 100, "age: row 1 holds -101, allowed is between -100 and 100"),
        ([2**62], 0, None, "age: row 0 holds 4611686018427387904"),
        (["7"], 16, None, "age: values of type <U1; only numbers"),
        ([[1.0, 2.0], [3.0, 2.0**31]], 16, None, "age: row 1, 1 holds 2147483648.0"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_place_and_range(
    values: list[Any], fraction_bits: int, bound: float | None, expected: str
) -> None:
    with pytest.raises(OutOfRange) as caught:
        ring.encode(np.array(values), fraction_bits, "age", bound)
    assert expected in str(caught.value)


# --- local operations ------------------------------------------------------------------------------


def shared(values: Any, fraction_bits: int = 0, components: int = 2) -> Shared:
    """Share with all weight in the last component."""
    words = ring.encode(values, fraction_bits)
    parts = [np.full_like(words, 7)] * (components - 1)
    rest = words - np.uint64(7 * (components - 1))
    return Shared(np.stack([*parts, rest]), fraction_bits)


def opened(x: Shared) -> Any:
    """Add the components."""
    return ring.decode(x.words.sum(axis=0, dtype=np.uint64), x.fraction_bits)


A = np.arange(12).reshape(3, 4) - 5
B = np.array([3, -1, 4, 1])


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (lambda a, b: a + b, A + B),
        (lambda a, b: b - a, B - A),
        (lambda a, _: -a, -A),
        (lambda a, _: a[1], A[1]),
        (lambda a, _: a[:, 1:3], A[:, 1:3]),
        (lambda a, _: a[np.array([True, False, True])], A[[0, 2]]),
        (lambda a, _: a.T, A.T),
        (lambda a, _: a.reshape(2, -1), A.reshape(2, 6)),
        (lambda a, _: a.sum(0), A.sum(0)),
        (lambda a, _: a.sum(-1), A.sum(1)),
        (lambda a, _: a.sum(), A.sum()),
        (lambda a, _: a.cumsum(1), A.cumsum(1)),
        (lambda a, _: a.take([2, 0], axis=1), A[:, [2, 0]]),
        (lambda a, _: a.mul_public(np.array([[1], [2], [-3]])), A * np.array([[1], [2], [-3]])),
        (lambda _, b: b.broadcast_to((3, 4)), np.broadcast_to(B, (3, 4))),
        (lambda a, _: concatenate([a, a], axis=1), np.concatenate([A, A], axis=1)),
        (lambda _, b: stack([b, b], axis=1), np.stack([B, B], axis=1)),
    ],
)
def test_a_local_operation_agrees_with_numpy(operation: Callable[..., Shared], expected: Any) -> None:
    result = operation(shared(A), shared(B))
    assert result.shape == expected.shape
    assert np.array_equal(opened(result), expected)


def test_real_public_factors_add_fraction_bits_until_truncation() -> None:
    product = shared([2.0, -3.0], 16).mul_public(0.5)
    assert product.fraction_bits == 32
    assert opened(product).tolist() == [1.0, -1.5]
    assert opened(shared([3]).upscale(16)).tolist() == [3.0]


@pytest.mark.parametrize(
    "operation",
    [
        lambda: shared([1]) + shared([1.0], 16),
        lambda: concatenate([shared([1]), shared([1.0], 16)]),
        lambda: stack([shared([1]), shared([1.0], 16)]),
        lambda: shared([1.0], 16).upscale(0),
        lambda: shared([1]).sum(1),
    ],
)
def test_mixing_scales_or_axes_is_a_fault_of_the_program(operation: Callable[[], Any]) -> None:
    with pytest.raises(ProgramFault):
        operation()


# --- rounds ----------------------------------------------------------------------------------------


def echo(me: int, text: bytes) -> Steps[bytes]:
    received = yield Round({1 - me: text}, {1 - me: len(text)})
    again = yield Round({1 - me: bytes(received[1 - me])}, {1 - me: len(text)})
    return bytes(again[1 - me])


def test_protocols_side_by_side_share_their_rounds() -> None:
    run = run_local([parallel(echo(me, b"abc"), echo(me, b"defgh"), echo(me, b"")) for me in (0, 1)])
    assert run.results == ((b"abc", b"defgh", b""),) * 2
    assert run.rounds == (2, 2)
    assert run.sent_bytes == (16, 16)


def test_a_short_protocol_may_end_before_its_neighbour() -> None:
    def longer(me: int) -> Steps[int]:
        yield from echo(me, b"x")
        yield from echo(me, b"y")
        return me

    run = run_local([parallel(echo(me, b"abc"), longer(me)) for me in (0, 1)])
    assert run.results == ((b"abc", 0), (b"abc", 1))
    assert run.rounds == (4, 4)


def test_messages_of_unknown_length_cannot_be_merged() -> None:
    def loose(me: int) -> Steps[None]:
        yield {1 - me: b"?"}

    with pytest.raises(ProgramFault):
        run_local([parallel(loose(me)) for me in (0, 1)])


def test_the_short_form_waits_for_whom_it_sends_to() -> None:
    step = as_round({2: b"x"})
    assert (dict(step.receive), step.exact) == ({2: 1 << 20}, False)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (2, 3), ()])
def test_any_contiguous_array_is_a_message(shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype=np.uint64)
    assert as_bytes(array).tobytes() == array.tobytes()


def test_a_message_of_the_wrong_length_is_blamed_on_its_sender() -> None:
    def says(me: int, length: int) -> Steps[None]:
        yield Round({1 - me: bytes(length)}, {1 - me: 8})

    with pytest.raises(PeerMisbehaved, match="party 1 sent 9 bytes, expected 8") as caught:
        run_local([says(0, 8), says(1, 9)])
    assert caught.value.party == 1


def test_a_deadlock_is_named() -> None:
    def waits(me: int) -> Steps[None]:
        yield Round({}, {1 - me: 1})

    with pytest.raises(ProgramFault, match="party 0 waits for"):
        run_local([waits(0), waits(1)])


def test_a_message_that_nobody_reads_is_a_fault() -> None:
    def talks(me: int) -> Steps[None]:
        yield Round({1 - me: b"x"} if me else {}, {})

    with pytest.raises(ProgramFault, match="nobody read"):
        run_local([talks(0), talks(1)])


# --- the plaintext engine --------------------------------------------------------------------------


def test_the_plaintext_parties_agree_and_only_receivers_learn() -> None:
    def program(engine: PlaintextEngine) -> Steps[Any]:
        x = yield from engine.share(0, [1.5, -2.0] if engine.me == 0 else None, (2,), 16)
        y = yield from engine.share(2, [4.0, 0.5] if engine.me == 2 else None, (2,), 16)
        return (yield from engine.reveal((yield from engine.mul(x, y)), (1,)))

    run = run_local([program(PlaintextEngine(me, 3)) for me in range(3)])
    assert run.results[1].tolist() == [6.0, -1.0]
    assert run.results[0] is None
    assert run.results[2] is None


@pytest.mark.parametrize("method", ["mul", "dot", "matmul"])
def test_a_product_that_joint_engines_would_wrap_is_refused_in_the_clear(method: str) -> None:
    def program(engine: PlaintextEngine) -> Steps[Any]:
        x = engine.constant([2.0**16], 16)
        return (yield from getattr(engine, method)(x, x))

    with pytest.raises(MagnitudeExceeded, match=r"2\^64\.0, must stay below 2\^62"):
        one(program)


def test_division_by_zero_or_less_is_zero() -> None:
    def program(engine: PlaintextEngine) -> Steps[Any]:
        quotient = yield from engine.divide(engine.constant([1.0, 1.0, 1.0], 16), engine.constant([0, -3, 4]))
        return (yield from engine.reveal(quotient, (0,)))

    assert one(program).tolist() == [0.0, 0.0, 0.25]


def test_a_shape_that_differs_from_the_announced_one_is_a_fault() -> None:
    with pytest.raises(ProgramFault, match=r"shape \(2,\), announced \(3,\)"):
        one(lambda engine: engine.share(0, [1, 2], (3,), name="age"))
