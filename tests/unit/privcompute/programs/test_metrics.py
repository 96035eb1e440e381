"""AUC, KS and accuracy on secret scores against scikit-learn; suppression against its definition."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from privcompute.errors import ProgramFault
from privcompute.mpc.engine import Engine
from privcompute.mpc.local import run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.rep3_engine import Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.programs import metrics
from privcompute.programs.base import no_progress
from privcompute.programs.metrics import metrics_value, ranking_metrics
from privcompute.programs.suppression import shown_groups

PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)


def opened_metrics(
    scores: list[float], labels: list[int], engines: Sequence[Engine] = (PlaintextEngine(),)
) -> dict[str, int]:
    def protocol(engine: Engine) -> Steps[dict[str, int]]:
        shared = yield from ranking_metrics(
            engine, engine.constant(scores, 16), engine.constant(labels), no_progress
        )
        opened = {}
        for name, value in shared.items():
            revealed = yield from engine.reveal(value, [0])
            opened[name] = 0 if revealed is None else int(revealed)
        return opened

    return run_local([protocol(engine) for engine in engines]).results[0]


@PROPERTY
@given(st.lists(st.tuples(st.integers(-6, 6), st.integers(0, 1)), min_size=2, max_size=40))
def test_metrics_equal_those_of_scikit_learn_with_ties(rows: list[tuple[int, int]]) -> None:
    scores, labels = [score / 4 for score, _ in rows], [label for _, label in rows]
    if len(set(labels)) < 2:
        return
    found = metrics_value(opened_metrics(scores, labels), len(rows))
    false_rate, true_rate, _ = roc_curve(labels, scores)
    accuracy = np.mean((np.array(scores) > 0) == np.array(labels))
    assert float(found["auc"]) == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert float(found["ks"]) == pytest.approx(np.max(np.abs(true_rate - false_rate)), abs=1e-6)
    assert float(found["accuracy"]) == pytest.approx(accuracy, abs=1e-6)
    assert found["test_positives"] == sum(labels)


def test_metrics_do_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(11)
    scores, labels = rng.normal(size=50).tolist(), rng.integers(0, 2, 50).tolist()
    whole = opened_metrics(scores, labels)
    monkeypatch.setattr(metrics, "BLOCK_PAIRS", 333)
    assert opened_metrics(scores, labels) == whole


def test_three_parties_on_shares_find_the_same_metrics() -> None:
    rng = np.random.default_rng(2)
    scores, labels = (rng.integers(-8, 8, 60) / 4).tolist(), rng.integers(0, 2, 60).tolist()
    entropy = random.Random(2).randbytes
    engines = run_local([Rep3Engine.start(me, bytes(32), entropy(64)) for me in range(3)]).results
    assert opened_metrics(scores, labels, engines) == opened_metrics(scores, labels)


def test_metrics_of_a_single_class_are_an_error_and_no_number() -> None:
    with pytest.raises(ProgramFault, match="both classes"):
        metrics_value(opened_metrics([0.5, 1.0], [1, 1]), 2)


def shown(counts: list[int], least: int) -> list[int]:
    engine = PlaintextEngine()
    found = run_local([shown_groups(engine, engine.constant(counts), least)]).results[0]
    return [int(bit) for bit in found.words[0]]


@PROPERTY
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 12))
def test_no_group_below_the_minimum_is_shown_nor_follows_from_the_total(
    counts: list[int], least: int
) -> None:
    bits = shown(counts, least)
    hidden = [count for count, bit in zip(counts, bits, strict=True) if not bit]
    assert all(count >= least for count, bit in zip(counts, bits, strict=True) if bit)
    assert not hidden or sum(hidden) >= least or len(hidden) == len(counts)
    if all(count >= least for count in counts):
        assert all(bits)


def test_the_smallest_other_group_hides_a_lone_small_one() -> None:
    assert shown([50, 3, 20, 90], 5) == [1, 0, 0, 1]
    assert shown([50, 3, 4, 90], 5) == [1, 0, 0, 1]
    assert shown([50, 5, 90], 5) == [1, 1, 1]
