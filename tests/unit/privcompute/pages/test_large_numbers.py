"""Whole numbers up to 2^46 divided by public numbers, under roots and logarithms, against exact fractions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from privcompute.mpc.local import run_local
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.mpc.sharing import Shared
from privcompute.pages import joint
from privcompute.pages.public import everywhere
from tests.unit.privcompute.pages.running import Data, numbers, run_page

ULP = 2.0**-16
WHOLE = 2**46
REAL = 2**30
CELLS = 40
Work = Callable[[Rep3Engine, Shared], Steps[Shared]]


def on_shares(work: Work, values: list[int], fraction_bits: int = 0) -> np.ndarray:
    """Return what three parties make of raw cells."""

    def party(me: int) -> Steps[np.ndarray]:
        engine = yield from Rep3Engine.start(me, bytes(32), bytes([me]) * ENTROPY_BYTES)
        cells = Shared(engine.constant(np.array(values, np.int64)).words, fraction_bits)
        found = yield from engine.reveal((yield from work(engine, cells)), [0])
        return np.asarray(found)

    return run_local([party(me) for me in range(3)]).results[0]


def magnitudes(draw: random.Random, most: Fraction | int) -> list[int]:
    """Whole numbers of all magnitudes below a bound, with those next to it."""
    reach = math.ceil(most) - 1
    found = [reach, -reach, reach // 2 + 1, 0, 1]
    while len(found) < CELLS:
        below = min(reach, 2 ** draw.randint(1, 46))
        found.append(draw.choice((-1, 1)) * draw.randint(0, below))
    return found


def divisors(draw: random.Random) -> list[Fraction]:
    """Public numbers of all magnitudes, of many digits and of few."""
    some = [Fraction(n) for n in (1, 3, 7, 1_000, 1_024, 65_537, 10**7, 2**45 - 1, 10**17)]
    some += [Fraction(3, 10), Fraction(2, 3), Fraction(99, 100), Fraction(1, 12_345)]
    some += [Fraction(draw.randint(1, 2 ** draw.randint(1, 50)), draw.randint(1, 999)) for _ in range(12)]
    return some


@pytest.mark.parametrize("seed", range(2))
def test_a_whole_number_of_any_size_by_a_public_number_errs_by_4_ulp(seed: int) -> None:
    draw = random.Random(seed)
    for divisor in divisors(draw):
        values = magnitudes(draw, min(Fraction(WHOLE), (REAL - 1) * divisor))
        found = on_shares(lambda e, x, by=divisor: joint.divide(e, x, everywhere(by, ())), values)
        for value, got in zip(values, found.tolist(), strict=True):
            assert abs(Fraction(got) - value / divisor) <= 4 * ULP, (value, divisor)


def test_a_real_of_any_size_times_a_public_fraction_errs_by_2_ulp_and_a_part() -> None:
    draw = random.Random(3)
    for divisor in divisors(draw):
        values = magnitudes(draw, min(Fraction(WHOLE), (WHOLE - 1) * divisor))
        found = on_shares(lambda e, x, by=divisor: joint.scaled(e, x, 1 / by), values, 16)
        for raw, got in zip(values, found.tolist(), strict=True):
            exact = Fraction(raw, 1 << 16) / divisor
            assert abs(Fraction(got) - exact) <= Fraction(17, 8) * Fraction(ULP) + abs(exact) / 2**32


@pytest.mark.parametrize("name", ["sqrt", "log"])
def test_roots_and_logarithms_of_whole_numbers_hold_up_to_2_to_46(name: str) -> None:
    draw = random.Random(4)
    values = [*magnitudes(draw, WHOLE), REAL - 1, REAL, REAL + 1]
    found = on_shares(lambda e, x: joint._CELLWISE[name](e, x), values)
    for value, got in zip(values, found.tolist(), strict=True):
        exact = (math.sqrt(value) if name == "sqrt" else math.log(value)) if value > 0 else 0.0
        relative = 0.0 if name == "log" else 2.0**-24 if value < REAL else 2.0**-21
        assert abs(got - exact) <= 3 * ULP + relative * exact, value


# --- pages ------------------------------------------------------------------------------------------------
def data(x: list[int]) -> Data:
    columns = {
        "a": {"id": np.arange(len(x)), "x": np.array(x)},
        "b": {"id": np.arange(len(x)), "y": np.full(len(x), 3)},
    }
    types = {"a": {"id": "integer", "x": "integer"}, "b": {"id": "integer", "y": "integer"}}
    return Data({"a": 0, "b": 1}, columns, types)


def page(says: str) -> str:
    return f'''"""One figure."""


def run(a, b):
    rows = join(a, b)
    p = rows.a.x * rows.b.y
    release({says}, to="all", exact=True, name="it")
'''


@pytest.mark.parametrize(
    ("says", "work"),
    [
        ("mean(p)", lambda total: total / 1000),
        ("sum(p) / 1000", lambda total: total / 1000),
        ("sum(p) * 0.001", lambda total: total * 0.001),
        ("sum(p) / -1000", lambda total: -total / 1000),
        ("sqrt(sum(p))", lambda total: math.sqrt(total)),
        ("log(sum(p))", lambda total: math.log(total)),
    ],
)
def test_figures_of_products_that_are_summed_beyond_the_range_of_reals_are_right(
    says: str, work: Callable[[int], float]
) -> None:
    x = [821_455_684 // 1_000 + 17 * row for row in range(1_000)]
    found, _ = run_page(page(says), data(x))
    exact = work(3 * sum(x))
    assert abs(float(numbers(found["it"])) - exact) <= 4 * ULP + 2.0**-21 * abs(exact) * (says[:4] == "sqrt")
