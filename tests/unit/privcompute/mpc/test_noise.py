"""Noise drawn inside: its distribution, what each party sees of it, and faults that these checks catch."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.pages.limits import EPSILON_MAX, LAPLACE_DELTA
from privcompute.errors import OutOfRange, ProgramFault
from privcompute.mpc import noise, rep3_engine
from privcompute.mpc.join_engine import JoinEngine
from privcompute.mpc.local import run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.protocols import noise as protocol
from privcompute.mpc.protocols.rep3 import Party
from privcompute.mpc.rep3_engine import Rep3Engine
from privcompute.mpc.rounds import Steps
from tests.unit.privcompute.mpc.drawing import (
    SCALES,
    Drawn,
    drawn,
    each_its_own,
    fits_gaussian,
    fits_laplace,
    hidden,
)

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "noise.json").read_text())
COUNT = 20_000
ONE_BATCH = 6_000
"""Draws that are compared at a time."""


# --- constants ---------------------------------------------------------------------------------------------
def reference(scale: Fraction, bit: int) -> int:
    """Return 2^64 / (1 + e^(2^bit / scale)), rounded, by a series of whole numbers of 2^-400."""
    x = Fraction(2**bit) / scale
    halvings = max(0, math.ceil(math.log2(x)) + 1) if x > 1 else 0
    one = 1 << 400
    small, term, power = int(x * one) >> halvings, one, one
    for step in range(1, 200):
        term = term * small // (step * one)
        power += term
    for _ in range(halvings):
        power = power * power // one
    return ((1 << 65) * one // (one + power) + 1) // 2


@pytest.mark.parametrize("text", VECTORS)
def test_the_constants_of_a_scale_are_the_same_at_every_party_and_host(text: str) -> None:
    found = noise.thresholds(Fraction(text))
    assert [str(each) for each in found] == VECTORS[text]
    assert list(found) == [reference(Fraction(text), bit) for bit in range(len(found))]


@pytest.mark.parametrize("scale", [*SCALES, Fraction(1, 1000), noise.SCALE_MAX])
def test_what_the_constants_leave_out_is_within_the_delta_that_is_booked(scale: Fraction) -> None:
    found = noise.thresholds(scale)
    assert len(found) <= noise.NOISE_BITS_MAX
    tail = math.exp(-(2 ** len(found)) / scale)
    assert tail <= 2.0**-noise.TAIL_BITS
    off = 2 * (tail + len(found) * 2.0**-65)
    assert off < 2.0**-57
    assert (1 + math.exp(EPSILON_MAX)) * off < LAPLACE_DELTA


def test_the_bits_make_a_discrete_laplace_to_the_last_of_what_is_left_out() -> None:
    scale = Fraction(3, 2)
    geometric = np.array([Fraction(1)], object)
    for bit, bound in enumerate(noise.thresholds(scale)):
        share = Fraction(bound, 2**64)
        wider = np.array([Fraction(0)] * (2 ** (bit + 1)), object)
        wider[: 2**bit] = geometric * (1 - share)
        wider[2**bit :] = geometric * share
        geometric = wider
    size = len(geometric)
    found = np.convolve(geometric, geometric[::-1])
    with_p = [noise._DECIMAL.exp(noise._DECIMAL.divide(-1, 1) * 2 / 3 * step) for step in range(size)]
    p = Fraction(with_p[1])
    exact = [(1 - p) / (1 + p) * Fraction(with_p[abs(x)]) for x in range(-size + 1, size)]
    assert sum(abs(one - other) for one, other in zip(found, exact, strict=True)) / 2 < Fraction(1, 2**57)


@pytest.mark.parametrize("scale", [Fraction(0), Fraction(-1), noise.SCALE_MAX + 1])
def test_a_scale_that_the_ring_cannot_hold_is_refused_with_what_is_allowed(scale: Fraction) -> None:
    with pytest.raises(OutOfRange, match=r"of scale .*; allowed are more than 0, up to"):
        noise.thresholds(scale)


@pytest.mark.parametrize("variance", [Fraction(0), Fraction(noise.VARIANCE_MAX + 1)])
def test_a_variance_that_the_ring_cannot_hold_is_refused_with_what_is_allowed(variance: Fraction) -> None:
    with pytest.raises(OutOfRange, match=r"of variance .*; allowed are more than 0, up to"):
        noise.gaussians(variance, 1, bytes)


# --- distributions -----------------------------------------------------------------------------------------
def laplace(scale: Fraction, count: int = COUNT, seed: int = 0) -> Drawn:
    return drawn(lambda engine: engine.laplace(scale, (count,)), count, seed)


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_noise_of_three_parties_is_discrete_laplace_and_no_party_sees_any_of_it(scale: Fraction) -> None:
    found = laplace(scale)
    assert fits_laplace(found.noise, scale)
    assert hidden(found)


@pytest.mark.parametrize("variance", [Fraction(4), Fraction(1001, 7)], ids=str)
def test_noise_is_a_sum_of_three_discrete_gaussians_and_two_are_left_whoever_knows_one(
    variance: Fraction,
) -> None:
    mine: dict[int, Any] = {}
    found = gaussian_with_parts(variance, mine)
    assert fits_gaussian(found.noise, variance, 3)
    assert hidden(found)
    for part in mine.values():
        assert fits_gaussian(part, variance, 1)
        assert fits_gaussian(found.noise - part, variance, 2)


def gaussian_with_parts(variance: Fraction, mine: dict[int, Any]) -> Drawn:
    with pytest.MonkeyPatch.context() as patch:
        whole = protocol.added

        def noted(party: Party, part: Any) -> Steps[Any]:
            mine[party.me] = part
            return whole(party, part)

        patch.setattr(protocol, "added", noted)
        return drawn(lambda engine: engine.gaussian(variance, (ONE_BATCH,)), ONE_BATCH)


@pytest.mark.parametrize("parties", [1, 3])
def test_the_plaintext_engine_draws_of_the_same_distributions(parties: int) -> None:
    def party(me: int) -> Steps[Any]:
        engine = PlaintextEngine(me, parties, np.random.default_rng(5).bytes)
        one = yield from engine.laplace(Fraction(5, 2), (COUNT,))
        other = yield from engine.gaussian(Fraction(9), (ONE_BATCH,))
        return one.words[0].view(np.int64), other.words[0].view(np.int64)

    results = run_local([party(me) for me in range(parties)]).results
    one, other = results[0]
    assert all(np.array_equal(one, again) and np.array_equal(other, more) for again, more in results)
    assert fits_laplace(one, Fraction(5, 2))
    assert fits_gaussian(other, Fraction(9), 3)


def test_every_figure_has_noise_of_its_own() -> None:
    def drawing(engine: Rep3Engine) -> Steps[Any]:
        first = yield from engine.laplace(Fraction(3), (3, ONE_BATCH))
        second = yield from engine.gaussian(Fraction(9), (2, ONE_BATCH))
        return first, second

    def party(me: int) -> Steps[Any]:
        engine = yield from Rep3Engine.start(me, bytes(32), bytes([me]) * rep3_engine.ENTROPY_BYTES)
        first, second = yield from drawing(engine)
        one = yield from engine.reveal(first, [0])
        other = yield from engine.reveal(second, [0])
        return [*one, *other] if me == 0 else []

    assert each_its_own(run_local([party(me) for me in range(3)]).results[0])


def test_rounds_and_bytes_of_noise_are_as_stated_whatever_is_drawn() -> None:
    def party(me: int, count: int) -> Steps[Any]:
        engine = yield from Rep3Engine.start(me, bytes(32), bytes([me]) * rep3_engine.ENTROPY_BYTES)
        yield from engine.laplace(Fraction(20), (count, 2))

    run = run_local([party(me, 50) for me in range(3)])
    bits = len(noise.thresholds(Fraction(20)))
    assert max(run.rounds) == 1 + 8
    assert max(run.sent_bytes) <= 64 + 100 * bits * 70
    many = noise.NOISE_WORDS // (4 * bits) * 2 + 2
    assert max(run_local([party(me, many) for me in range(3)]).rounds) == 1 + 3 * 8


def test_a_profile_of_joins_alone_draws_no_noise() -> None:
    with pytest.raises(ProgramFault, match="computes nothing on shares"):
        JoinEngine(0, 2, np.zeros(4, np.uint64)).laplace(Fraction(1), ())


# --- planted faults ----------------------------------------------------------------------------------------
def test_noise_of_four_fifths_of_the_scale_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = noise.thresholds
    monkeypatch.setattr(rep3_engine, "thresholds", lambda scale: whole(scale * 4 / 5))
    assert not fits_laplace(laplace(Fraction(20)).noise, Fraction(20))


def test_noise_that_is_cut_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = noise.thresholds
    monkeypatch.setattr(rep3_engine, "thresholds", lambda scale: whole(scale)[:-4])
    assert not fits_laplace(laplace(Fraction(20)).noise, Fraction(20))


@pytest.mark.parametrize("known", [0, 1, 2])
def test_noise_that_one_party_knows_is_found(known: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The component that party `known` lacks is 0, so that its own two make the words."""
    whole = protocol.boolean.below

    def poor(party: Party, words: Any, bounds: Any) -> Steps[Any]:
        lacking = (known + 2) % 3
        for place in (0, 1):
            if (party.me + place) % 3 == lacking:
                words[place] = 0
        if party.me == known:
            seen.append(words[0] ^ words[1])
        return whole(party, words, bounds)

    seen: list[Any] = []
    monkeypatch.setattr(protocol.boolean, "below", poor)
    found = laplace(Fraction(20), 2_000)
    guess = noise.laplace_of(_in_order(seen[0]), Fraction(20))
    assert np.array_equal(guess, found.noise)
    assert not hidden(Drawn(found.noise, ((guess > 0).astype(np.int64)[np.newaxis],)))


def _in_order(words: Any) -> Any:
    """Return words as they are compared: `below` takes their bits in another order."""
    return protocol.boolean.interleave(words)


def test_what_a_party_makes_of_its_own_two_components_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, seen = protocol.boolean.below, {}

    def noted(party: Party, words: Any, bounds: Any) -> Steps[Any]:
        seen[party.me] = words[0] ^ words[1]
        return whole(party, words, bounds)

    monkeypatch.setattr(protocol.boolean, "below", noted)
    found = laplace(Fraction(20), ONE_BATCH)
    for words in seen.values():
        guess = noise.laplace_of(_in_order(words), Fraction(20))
        assert fits_laplace(guess, Fraction(20))
        assert hidden(Drawn(found.noise, (np.stack([guess > 0, guess & 1]).astype(np.int64),)))


def test_noise_that_is_drawn_once_for_several_figures_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = protocol.laplace

    def once(party: Party, bits: Any, count: int) -> Steps[Any]:
        made = yield from whole(party, bits, count // 3)
        return np.tile(made, 3)

    monkeypatch.setattr(protocol, "laplace", once)
    found = laplace(Fraction(3), ONE_BATCH).noise.reshape(3, -1)
    assert not each_its_own(list(found))


def test_a_gaussian_of_which_only_one_party_brings_a_part_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = protocol.added
    monkeypatch.setattr(protocol, "added", lambda party, part: whole(party, part * (party.me == 0)))
    mine: dict[int, Any] = {}
    assert not fits_gaussian(gaussian_with_parts(Fraction(9), mine).noise, Fraction(9), 3)
