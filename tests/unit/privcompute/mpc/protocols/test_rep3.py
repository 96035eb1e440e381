"""Replicated sharing: arithmetic, truncation, bits and comparisons against numpy, and what they cost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privcompute.errors import OutOfRange, PeerMisbehaved, ProgramFault
from privcompute.mpc.local import LocalRun, run_local
from privcompute.mpc.protocols import boolean, rep3
from privcompute.mpc.protocols.truncate import truncate
from privcompute.mpc.rep3_engine import Rep3Engine
from privcompute.mpc.rounds import Round, Steps
from privcompute.mpc.sharing import Shared

SEED = 20_240
JOB = hashlib.sha256(b"job").digest()
FIXED = settings(max_examples=30, deadline=None, derandomize=True)
words = st.integers(0, 2**64 - 1)
EDGES = np.array(
    [0, 1, 2, 2**16, 2**32, 2**62, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64 - 2**32], dtype=np.uint64
)
Program = Callable[[Rep3Engine], Steps[Any]]
WordsProgram = Callable[[rep3.Party], Steps[Any]]


def entropy(me: int, seed: int = SEED) -> bytes:
    return hashlib.shake_256(b"%d/%d" % (seed, me)).digest(rep3.ENTROPY_BYTES)


def run(program: Program, seed: int = SEED) -> LocalRun[Any]:
    """Run an engine program at the three parties; results are what each returned."""

    def party(me: int) -> Steps[Any]:
        engine = yield from Rep3Engine.start(me, JOB, entropy(me, seed))
        return (yield from program(engine))

    return run_local([party(me) for me in range(3)])


def run_words(program: WordsProgram, seed: int = SEED) -> NDArray[np.uint64]:
    """Run a protocol on words and open its result to everybody."""

    def party(me: int) -> Steps[Any]:
        one = yield from rep3.start(me, JOB, entropy(me, seed))
        result = yield from program(one)
        return (yield from rep3.reveal(me, result, (0, 1, 2)))

    results = run_local([party(me) for me in range(3)]).results
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    return np.asarray(results[0])


def evaluate(program: Program, seed: int = SEED) -> Any:
    """Run a program and open its output to party 0."""

    def opening(engine: Rep3Engine) -> Steps[Any]:
        output = yield from program(engine)
        return (yield from engine.reveal(output, (0,)))

    return run(opening, seed).results[0]


def given_by(engine: Rep3Engine, owner: int, values: Any, fraction_bits: int = 0) -> Steps[Shared]:
    array = np.asarray(values)
    return (yield from engine.share(owner, array if engine.me == owner else None, array.shape, fraction_bits))


# --- sharing and arithmetic ------------------------------------------------------------------------


@pytest.mark.parametrize("owner", [0, 1, 2])
@FIXED
@given(st.lists(words, min_size=1, max_size=8))
def test_what_any_owner_shares_is_what_opens(owner: int, values: list[int]) -> None:
    array = np.array(values, dtype=np.uint64)
    opened = run_words(lambda p: rep3.share(p, owner, array if p.me == owner else None, array.shape))
    assert np.array_equal(opened, array)


@FIXED
@given(st.lists(st.tuples(words, words), min_size=1, max_size=8))
def test_products_are_exact_in_the_ring(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(column, dtype=np.uint64) for column in zip(*pairs, strict=True))

    def program(p: rep3.Party) -> Steps[Any]:
        left = yield from rep3.share(p, 0, x if p.me == 0 else None, x.shape)
        right = yield from rep3.share(p, 2, y if p.me == 2 else None, y.shape)
        return (yield from rep3.mul(p, left, right))

    assert np.array_equal(run_words(program), x * y)


@pytest.mark.parametrize(
    ("left", "right"),
    [((3, 4), (4, 2)), ((3, 4), (4,)), ((4,), (4, 2)), ((4,), (4,)), ((1, 1), (1, 1))],
)
def test_matrix_products_agree_with_numpy(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    numbers = np.random.default_rng(SEED)
    x, y = numbers.integers(-1000, 1000, left), numbers.integers(-1000, 1000, right)

    def program(engine: Rep3Engine) -> Steps[Shared]:
        return (
            yield from engine.matmul((yield from given_by(engine, 0, x)), (yield from given_by(engine, 1, y)))
        )

    assert np.array_equal(evaluate(program), x @ y)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_inner_products_run_along_any_axis(axis: int) -> None:
    numbers = np.random.default_rng(SEED)
    x, y = numbers.normal(size=(5, 7)), numbers.normal(size=(5, 7))

    def program(engine: Rep3Engine) -> Steps[Shared]:
        left, right = (yield from given_by(engine, 0, x, 16)), (yield from given_by(engine, 1, y, 16))
        return (yield from engine.dot(left, right, axis))

    assert np.max(np.abs(evaluate(program) - (x * y).sum(axis))) < 2.0**-12


def test_secrets_without_axes_compute_without_warnings() -> None:
    def program(engine: Rep3Engine) -> Steps[Shared]:
        x = yield from engine.share(1, -3.0 if engine.me == 1 else None, (), 16)
        total = (yield from given_by(engine, 0, [1.0, 2.5], 16)).sum()
        product = yield from engine.mul(x, total)
        return (yield from engine.select((yield from engine.less_than(product, x)), product, x))

    assert evaluate(program) == -10.5


def test_select_takes_the_first_where_the_bit_is_set() -> None:
    def program(engine: Rep3Engine) -> Steps[Shared]:
        bit = yield from given_by(engine, 0, [1, 0, 1])
        x, y = engine.constant([1.5, 2.5, 3.5], 16), engine.constant([-1.0, -2.0, -3.0], 16)
        return (yield from engine.select(bit, x, y))

    assert evaluate(program).tolist() == [1.5, -2.0, 3.5]


def test_only_the_parties_named_learn_an_opened_value() -> None:
    def program(engine: Rep3Engine) -> Steps[Any]:
        x = yield from given_by(engine, 0, [5, 6])
        return (yield from engine.reveal(x, (2,)))

    results = run(program).results
    assert [None if r is None else r.tolist() for r in results] == [None, None, [5, 6]]


def test_an_owner_checks_its_values_before_anything_is_sent() -> None:
    def program(engine: Rep3Engine) -> Steps[Any]:
        value = [2.0**31] if engine.me == 1 else None
        return (yield from engine.share(1, value, (1,), 16, name="bureau.income"))

    with pytest.raises(OutOfRange, match=r"bureau\.income: row 0 holds 2147483648\.0"):
        run(program)


def test_a_message_of_the_wrong_length_names_its_sender() -> None:
    def liar() -> Steps[Any]:
        yield from rep3.start(1, JOB, entropy(1))
        yield Round({0: bytes(9)}, {2: 8})

    def honest(me: int) -> Steps[Any]:
        party = yield from rep3.start(me, JOB, entropy(me))
        yield from rep3.reshare(party, np.zeros(1, dtype=np.uint64))

    with pytest.raises(PeerMisbehaved) as caught:
        run_local([honest(0), liar(), honest(2)])
    assert caught.value.party == 1


# --- truncation ------------------------------------------------------------------------------------


def truncated(values: NDArray[np.int64], bits: int, seed: int = SEED) -> NDArray[np.int64]:
    def program(p: rep3.Party) -> Steps[Any]:
        x = yield from rep3.share(p, 1, values.view(np.uint64) if p.me == 1 else None, values.shape)
        return (yield from truncate(p, rep3.additive(p, x), bits))

    return run_words(program, seed).view(np.int64)


@pytest.mark.parametrize("bits", [1, 14, 16, 17, 30, 32, 48])
def test_truncation_errs_by_less_than_a_unit_up_to_the_last_magnitude(bits: int) -> None:
    """No wrap at all: 60,000 values next to 2^62 would meet ABY3's failure (here 1 in 4) for certain."""
    numbers = np.random.default_rng(bits)
    edge = np.array([0, 1, -1, 2**62 - 1, -(2**62) + 1, 2**61, -(2**61)])
    big = numbers.integers(2**62 - 2**40, 2**62, 30_000)
    values = np.concatenate([edge, big, -big, numbers.integers(-(2**40), 2**40, 1_000)])
    quotient, remainder = np.divmod(values, 1 << bits)
    error = truncated(values, bits) - quotient
    assert set(np.unique(error)) <= {0, 1}
    assert not error[remainder == 0].any()


def test_truncation_is_unbiased_and_exact_on_whole_numbers() -> None:
    values = np.full(40_000, (5 << 16) + (1 << 14))
    rounded_up = np.mean(truncated(values, 16) - 5)
    assert abs(rounded_up - 0.25) < 5 * (0.25 * 0.75 / 40_000) ** 0.5
    whole = np.arange(-500, 500) << 16
    assert np.array_equal(truncated(whole, 16), whole >> 16)


def test_fixed_point_products_err_by_at_most_an_ulp() -> None:
    numbers = np.random.default_rng(SEED)
    x = np.concatenate([numbers.normal(size=2_000) * 2**14, [2.0**14.9, -(2.0**14.9)]])
    y = np.concatenate([numbers.normal(size=2_000), [2.0**15, 2.0**15]])

    def program(engine: Rep3Engine) -> Steps[Shared]:
        left, right = (yield from given_by(engine, 0, x, 16)), (yield from given_by(engine, 1, y, 16))
        return (yield from engine.mul(left, right))

    exact = np.rint(x * 2**16) * np.rint(y * 2**16) / 2.0**32
    assert np.max(np.abs(evaluate(program) - exact)) <= 2.0**-16


@pytest.mark.parametrize("bits", [0, 49])
def test_truncation_by_an_unsupported_number_of_bits_is_refused(bits: int) -> None:
    with pytest.raises(ProgramFault, match=f"truncation by {bits} bits"):
        truncated(np.zeros(1, dtype=np.int64), bits)


# --- bits ------------------------------------------------------------------------------------------


def from_words(values: NDArray[np.uint64], protocol: Callable[[rep3.Party, Any], Steps[Any]]) -> Any:
    def program(p: rep3.Party) -> Steps[Any]:
        x = yield from rep3.share(p, 0, values if p.me == 0 else None, values.shape)
        return (yield from protocol(p, x))

    return run_words(program)


def sign_bit(p: rep3.Party, x: Any) -> Steps[Any]:
    return (yield from boolean.inject(p, (yield from boolean.sign(p, x))))


def zero_bit(p: rep3.Party, x: Any) -> Steps[Any]:
    return (yield from boolean.inject(p, (yield from boolean.is_zero(p, x))))


def there_and_back(p: rep3.Party, x: Any) -> Steps[Any]:
    return (yield from boolean.compose(p, (yield from boolean.decompose(p, x))))


def lowest(p: rep3.Party, x: Any) -> Steps[Any]:
    bits = yield from boolean.decompose(p, x)
    return (yield from boolean.compose(p, (yield from boolean.lowest_one(p, bits))))


@pytest.mark.parametrize(
    ("protocol", "reference"),
    [
        (sign_bit, lambda x: x >> np.uint64(63)),
        (zero_bit, lambda x: (x == 0).astype(np.uint64)),
        (there_and_back, lambda x: x),
        (lowest, lambda x: x & np.negative(x)),
    ],
    ids=["sign", "is_zero", "decompose_compose", "lowest_one"],
)
@FIXED
@given(st.lists(st.one_of(words, st.sampled_from(EDGES.tolist())), min_size=1, max_size=12))
def test_bit_protocols_agree_with_the_machine(
    protocol: Callable[..., Steps[Any]],
    reference: Callable[[NDArray[np.uint64]], NDArray[np.uint64]],
    values: list[int],
) -> None:
    array = np.array(values, dtype=np.uint64)
    assert np.array_equal(from_words(array, protocol), reference(array))


def test_every_single_carry_chain_is_followed() -> None:
    """The addends 2^i - 1 and 1, and their complements, send a carry through every prefix of the word."""
    places = np.arange(64, dtype=np.uint64)
    values = np.concatenate([np.uint64(1) << places, (np.uint64(1) << places) - np.uint64(1), EDGES])
    assert np.array_equal(from_words(values, there_and_back), values)
    assert np.array_equal(from_words(values, sign_bit), values >> np.uint64(63))


def test_interleaving_is_its_own_inverse_and_keeps_the_ends() -> None:
    values = np.random.default_rng(SEED).integers(0, 2**64, 100, dtype=np.uint64)
    assert np.array_equal(boolean.interleave(boolean.interleave(values)), values)
    ends = np.array([1, 2**63], dtype=np.uint64)
    assert np.array_equal(boolean.interleave(ends), ends)


@pytest.mark.parametrize("method", ["less_than", "equal"])
def test_comparisons_of_edge_magnitudes_are_exact(method: str) -> None:
    values = np.array([0, 1, -1, 2**61, -(2**61), 2**62 - 1, -(2**62) + 1])
    x, y = np.repeat(values, len(values)), np.tile(values, len(values))

    def program(engine: Rep3Engine) -> Steps[Shared]:
        left, right = (yield from given_by(engine, 2, x)), (yield from given_by(engine, 1, y))
        return (yield from getattr(engine, method)(left, right))

    expected = x < y if method == "less_than" else x == y
    assert np.array_equal(evaluate(program), expected)


def test_comparisons_accept_any_shape_and_memory_order() -> None:
    x = np.random.default_rng(SEED).normal(size=(3, 5, 2))

    def program(engine: Rep3Engine) -> Steps[Shared]:
        return (yield from engine.less_than_zero((yield from given_by(engine, 0, x, 16)).T))

    assert np.array_equal(evaluate(program), x.T < -(2.0**-17))


# --- cost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "bytes_each", "rounds"),
    [
        (lambda e, x, y: e.mul(Shared(x.words), Shared(y.words)), 8, 1),
        (lambda e, x, y: e.mul(x, y), 16, 2),
        (lambda e, x, y: e.dot(x, y), 16 / 1_000, 2),
        (lambda e, x, y: e.less_than(x, y), 51, 10),
        (lambda e, x, y: e.equal(x, y), 34, 9),
        (lambda e, x, y: e.divide(x, y), 344, 40),
        (lambda e, x, _: e.sqrt(x), 428, 51),
        (lambda e, x, _: e.inverse_sqrt(x), 412, 49),
        (lambda e, x, _: e.sigmoid(x), 424, 12),
        (lambda e, x, _: e.sigmoid(x, "scoring"), 558, 16),
    ],
    ids=[
        "mul",
        "fixed mul",
        "dot",
        "less_than",
        "equal",
        "divide",
        "sqrt",
        "inverse",
        "train",
        "score",
    ],
)
def test_an_operation_costs_what_the_documents_say(
    operation: Callable[..., Steps[Any]], bytes_each: float, rounds: int
) -> None:
    def setting(engine: Rep3Engine) -> Steps[Any]:
        x = yield from given_by(engine, 0, np.ones(1_000), 16)
        return engine, x

    engines = run(setting).results
    cost = run_local([operation(engine, x, x) for engine, x in engines])
    assert max(cost.sent_bytes) <= bytes_each * 1_000
    assert max(cost.rounds) == rounds
