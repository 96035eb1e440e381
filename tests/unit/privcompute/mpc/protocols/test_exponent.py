"""Exponential and logarithm on shares against numpy, over their whole ranges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from privcompute.mpc.engine import Engine
from privcompute.mpc.local import LocalRun, run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.mpc.rounds import Steps
from privcompute.mpc.sharing import Shared

ULP = 2.0**-FRACTION_BITS


def run(x: Any, work: Callable[[Engine, Shared], Steps[Shared]]) -> LocalRun[Any]:
    """Return what three parties open of a function of shares."""

    def party(me: int) -> Steps[Any]:
        engine = yield from Rep3Engine.start(me, b"j" * 32, bytes([me]) * ENTROPY_BYTES)
        shared = yield from engine.share(0, x if me == 0 else None, x.shape, FRACTION_BITS)
        return (yield from engine.reveal((yield from work(engine, shared)), [0]))

    return run_local([party(me) for me in range(3)])


def rounded(x: Any) -> Any:
    """Return what fixed point holds of reals."""
    return np.rint(np.asarray(x) * 2.0**FRACTION_BITS) / 2.0**FRACTION_BITS


@pytest.mark.parametrize("seed", [1, 2])
def test_exp_is_within_an_ulp_and_a_small_part(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = rounded(np.concatenate([random.uniform(-12, 20.75, 3_000), [-12, 0, 20.75, 1, -1, ULP, -ULP]]))
    found = run(x, lambda engine, shared: engine.exp(shared)).results[0]
    assert np.all(np.abs(found - np.exp(x)) <= ULP + 2.0**-21 * np.exp(x))


def test_exp_stays_within_its_range_beyond_it() -> None:
    x = np.array([-12 - ULP, -20.0, -(2.0**29), 20.75 + ULP, 30.0, 2.0**29])
    found = run(x, lambda engine, shared: engine.exp(shared)).results[0]
    clear = run_local([_clear(x, me) for me in range(1)]).results[0]
    assert found[:3].tolist() == clear[:3].tolist() == [0.0, 0.0, 0.0]
    assert np.allclose(found[3:], np.exp(20.75), rtol=2.0**-20)
    assert np.allclose(clear[3:], np.exp(20.75), rtol=2.0**-20)


def _clear(x: Any, me: int) -> Steps[Any]:
    engine = PlaintextEngine(me)
    shared = yield from engine.share(0, x, x.shape, FRACTION_BITS)
    return (yield from engine.reveal((yield from engine.exp(shared)), [0]))


@pytest.mark.parametrize("seed", [1, 2])
def test_log_is_within_two_ulp_and_nothing_where_there_is_none(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = rounded(np.concatenate([2.0 ** random.uniform(-16, 29.9, 3_000), [ULP, 1, 2.0**29.99, 2, 0.5]]))
    found = run(x, lambda engine, shared: engine.log(shared)).results[0]
    assert np.max(np.abs(found - np.log(x))) <= 2 * ULP
    nothing = np.array([0.0, -ULP, -1.0, -(2.0**29)])
    assert run(nothing, lambda engine, shared: engine.log(shared)).results[0].tolist() == [0.0] * 4


def test_they_keep_any_shape_and_cost_what_plans_say() -> None:
    x = np.full((2, 3), 2.0)
    for work in (lambda engine, shared: engine.exp(shared), lambda engine, shared: engine.log(shared)):
        assert run(x, work).results[0].shape == (2, 3)
    many = np.full(1_000, 2.0)
    base = run(many, _nothing)
    for work, rounds, sent in ((_exp, 38, 494), (_log, 39, 376)):
        local = run(many, work)
        assert max(local.rounds) - max(base.rounds) == rounds
        assert (max(local.sent_bytes) - max(base.sent_bytes)) / 1_000 <= sent


def _nothing(_engine: Engine, x: Shared) -> Steps[Shared]:
    yield from ()
    return x


def _exp(engine: Engine, x: Shared) -> Steps[Shared]:
    return (yield from engine.exp(x))


def _log(engine: Engine, x: Shared) -> Steps[Shared]:
    return (yield from engine.log(x))
