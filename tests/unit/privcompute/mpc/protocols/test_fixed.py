"""Division, roots and sigmoid on shares: the error bounds that the engine states, measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privcompute.mpc import piecewise
from privcompute.mpc.engine import Engine
from privcompute.mpc.local import run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.mpc.sharing import Shared

SEED = 7
ULP = 2.0**-16
SIGMOID_ERRORS = {"training": 0.0050, "scoring": 0.00008}
"""As `piecewise.sigmoid` states them."""
JOB = bytes(32)
Reals = NDArray[np.float64]


def evaluate(program: Callable[[Engine], Steps[Shared]]) -> Reals:
    """Run a program on three rep3 parties and return what party 0 opens."""

    def party(me: int) -> Steps[Any]:
        engine = yield from Rep3Engine.start(me, JOB, hashlib.shake_256(b"%d" % me).digest(ENTROPY_BYTES))
        return (yield from engine.reveal((yield from program(engine)), (0,)))

    return np.asarray(run_local([party(me) for me in range(3)]).results[0])


def rounded(values: Any) -> Reals:
    """Return the numbers that inputs become: multiples of an ulp."""
    return np.rint(np.asarray(values) * 2.0**16) / 2.0**16


def spread(low: float, high: float, count: int) -> Reals:
    """Return numbers spread evenly over magnitudes, both ends included."""
    numbers = np.random.default_rng(SEED)
    inner = np.exp2(numbers.uniform(np.log2(low), np.log2(high), count))
    return rounded(np.concatenate([[low, high], inner, 2.0 ** np.arange(-16, 30)]).clip(low, high))


def test_division_errs_by_at_most_the_stated_bound() -> None:
    y = np.repeat(spread(2.0**-16, 2.0**30 - 1, 1_500), 2)
    numbers = np.random.default_rng(SEED + 1)
    quotients = numbers.uniform(-1, 1, y.size) * np.exp2(numbers.uniform(-4, 14.9, y.size))
    x = rounded(np.clip(quotients * y, -(2.0**30) + 1, 2.0**30 - 1))
    keep = np.abs(x / y) < 2.0**15
    x, y = x[keep], y[keep]

    result = evaluate(lambda e: e.divide(e.constant(x, 16), e.constant(y, 16)))
    excess = np.abs(result - x / y) - 2.0**-24 * np.abs(x / y)
    assert excess.max() <= 4 * ULP


def test_integers_divide_like_numbers() -> None:
    x, y = np.array([7, -9, 1, 200_000, 0]), np.array([2, 4, 3, 7, 5])
    result = evaluate(lambda e: e.divide(e.constant(x), e.constant(y)))
    assert np.max(np.abs(result - x / y) - 2.0**-24 * np.abs(x / y)) <= 4 * ULP


def test_a_divisor_that_is_not_positive_yields_zero() -> None:
    y = np.array([0.0, -1.0, -ULP, -(2.0**29), 2.0])
    result = evaluate(lambda e: e.divide(e.constant(np.full(5, 3.0), 16), e.constant(y, 16)))
    assert result[:4].tolist() == [0.0] * 4
    assert abs(result[4] - 1.5) <= 4 * ULP


def test_division_broadcasts_a_secret_divisor() -> None:
    x = np.arange(6.0).reshape(2, 3)
    result = evaluate(lambda e: e.divide(e.constant(x, 16), e.constant(4.0, 16)))
    assert result.shape == (2, 3)
    assert np.max(np.abs(result - x / 4)) <= 4 * ULP


@pytest.mark.parametrize(
    ("method", "reference"), [("sqrt", np.sqrt), ("inverse_sqrt", lambda x: 1 / np.sqrt(x))]
)
def test_roots_err_by_at_most_the_stated_bound(method: str, reference: Callable[[Reals], Reals]) -> None:
    x = spread(2.0**-16, 2.0**30 - 1, 3_000)
    expected = reference(x)
    result = evaluate(lambda e: getattr(e, method)(e.constant(x, 16)))
    assert np.max(np.abs(result - expected) - 2.0**-24 * expected) <= 2 * ULP


@pytest.mark.parametrize("method", ["sqrt", "inverse_sqrt"])
def test_roots_of_numbers_that_are_not_positive_are_zero(method: str) -> None:
    x = np.array([0.0, -ULP, -2.0, -(2.0**29)])
    assert evaluate(lambda e: getattr(e, method)(e.constant(x, 16))).tolist() == [0.0] * 4


@pytest.mark.parametrize(("accuracy", "bound"), SIGMOID_ERRORS.items())
def test_the_sigmoid_errs_by_at_most_the_stated_bound(accuracy: Any, bound: float) -> None:
    edges = np.asarray(piecewise.sigmoid(accuracy).breakpoints) / 2.0**16
    around = np.concatenate([edges, edges - ULP, edges + ULP])
    far = np.array([-(2.0**29), -1_000.0, 1_000.0, 2.0**29])
    x = rounded(np.concatenate([np.linspace(-12, 12, 8_001), around, far]))
    result = evaluate(lambda e: e.sigmoid(e.constant(x, 16), accuracy))
    assert np.max(np.abs(result - 1 / (1 + np.exp(-x.clip(-500, 500))))) <= bound
    assert result[-4:].tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("accuracy", ["training", "scoring"])
def test_the_sigmoid_rises(accuracy: Any) -> None:
    """Up to its stated error: pieces may step down at a breakpoint by twice as much."""
    x = np.linspace(-11, 11, 4_001)
    assert np.diff(piecewise.sigmoid(accuracy).evaluate(x)).min() >= -2 * SIGMOID_ERRORS[accuracy]


def test_the_joint_and_the_plaintext_engine_agree_within_rounding() -> None:
    numbers = np.random.default_rng(SEED)
    x, y = rounded(numbers.normal(size=500) * 5), rounded(numbers.uniform(0.1, 50, 500))

    def program(engine: Engine) -> Steps[Shared]:
        quotients = yield from engine.divide(engine.constant(x, 16), engine.constant(y, 16))
        scores = yield from engine.sigmoid(quotients)
        return (yield from engine.dot(scores, engine.constant(y, 16)))

    def clear() -> Steps[Any]:
        engine = PlaintextEngine()
        return (yield from engine.reveal((yield from program(engine)), (0,)))

    assert abs(evaluate(program) - run_local([clear()]).results[0]) < 500 * 50 * 4 * ULP
