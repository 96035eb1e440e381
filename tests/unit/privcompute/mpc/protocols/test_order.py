"""Sorting, shuffling and extremes on shares."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.mpc.local import run_local
from privcompute.mpc.protocols.order import comparators
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps

FIXED = settings(max_examples=25, deadline=None, derandomize=True)


def evaluate(program: Callable[[Rep3Engine], Steps[Any]], seed: int = 1) -> tuple[Any, ...]:
    """Run a program that returns a tuple of secrets; open them to party 0."""

    def party(me: int) -> Steps[Any]:
        engine = yield from Rep3Engine.start(
            me, bytes(32), hashlib.shake_256(b"%d/%d" % (seed, me)).digest(ENTROPY_BYTES)
        )
        outputs = yield from program(engine)
        opened = []
        for output in outputs:
            opened.append((yield from engine.reveal(output, (0,))))
        return tuple(opened)

    return run_local([party(me) for me in range(3)]).results[0]


@pytest.mark.parametrize("n", range(34))
def test_the_network_sorts_every_sequence_of_zeros_and_ones(n: int) -> None:
    """The 0-1 principle (Knuth, TAOCP 3, 5.3.4), on all inputs up to 12 keys and on a sample beyond."""
    inputs = np.arange(2**n) if n <= 12 else np.random.default_rng(n).integers(0, 2**n, 5_000)
    keys = (inputs[:, np.newaxis] >> np.arange(n)) & 1
    for low, high in comparators(n):
        assert np.intersect1d(low, high).size == 0
        a, b = keys[:, low], keys[:, high]
        keys[:, low], keys[:, high] = np.minimum(a, b), np.maximum(a, b)
    assert np.array_equal(keys, np.sort(keys, axis=1))


@pytest.mark.parametrize(("n", "stages"), [(2, 1), (1_000, 55), (10_000, 105)])
def test_the_network_has_log_squared_stages(n: int, stages: int) -> None:
    assert len(list(comparators(n))) == stages


@FIXED
@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=40))
def test_keys_come_out_in_order_and_columns_follow(values: list[int]) -> None:
    keys = np.array(values)
    table = np.column_stack([keys * 3, keys - 1])

    def program(engine: Rep3Engine) -> Steps[Any]:
        columns = engine.constant(table), engine.constant(keys / 2**12, 16)
        return (yield from engine.sort(engine.constant(keys), *columns))

    ordered, columns, reals = evaluate(program)
    assert ordered.tolist() == sorted(values)
    assert np.array_equal(columns, np.column_stack([ordered * 3, ordered - 1]))
    assert np.array_equal(reals, ordered / 2**12)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("method", ["maximum", "minimum"])
def test_extremes_run_along_any_axis(method: str, axis: int) -> None:
    x = np.random.default_rng(axis % 3).integers(-(2**50), 2**50, (5, 1, 7))

    def program(engine: Rep3Engine) -> Steps[Any]:
        return ((yield from getattr(engine, method)(engine.constant(x), axis)),)

    expected = x.max(axis) if method == "maximum" else x.min(axis)
    assert np.array_equal(evaluate(program)[0], expected)
