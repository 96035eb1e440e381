"""Metrics of a binary classifier on secret scores and secret labels; they are integers, hence exact."""

from __future__ import annotations

from collections.abc import Mapping

from chain.primitives.values import Value
from privcompute.errors import ProgramFault
from privcompute.mpc.engine import Engine
from privcompute.mpc.rounds import OnProgress, Steps, parallel
from privcompute.mpc.sharing import Shared, concatenate, stack
from privcompute.programs.base import decimal_text

ROWS_MAX = 4_096
BLOCK_PAIRS = 1 << 16
"""Comparisons made at a time: bounds memory at about 30 MB."""


def ranking_metrics(
    engine: Engine, scores: Shared, labels: Shared, progress: OnProgress
) -> Steps[dict[str, Shared]]:
    """Return AUC, KS and accuracy of m scores against labels 0 or 1, as secret integers.

    `auc_wins` is twice the number of (positive, negative) pairs that the scores order rightly, ties
    counting one half, so AUC = auc_wins / (2 P N); `ks_gap` is the greatest |N TP(t) - P FP(t)| over all
    thresholds t, so KS = ks_gap / (P N); `correct` counts rows where score > 0 agrees with the label.
    Scores (m,) fixed point, labels (m,) integers, m <= ROWS_MAX; all m² pairs are compared, in blocks.
    """
    rows = len(scores)
    negatives = engine.constant([1] * rows) - labels
    both = stack([labels, negatives], axis=1)
    block = max(1, BLOCK_PAIRS // rows)
    above: list[Shared] = []
    below = engine.constant([[0, 0]] * rows)
    for start in range(0, rows, block):
        part = slice(start, min(start + block, rows))
        less = yield from engine.less_than(scores[part].reshape(-1, 1), scores.reshape(1, -1))
        beaten, sums = yield from parallel(engine.matmul(less, negatives), engine.matmul(less.T, both[part]))
        above.append(beaten)
        below = below + sums
        progress("evaluate", part.stop, rows)
    return (yield from _combine(engine, scores, labels, above, below))


def _combine(
    engine: Engine, scores: Shared, labels: Shared, above: list[Shared], below: Shared
) -> Steps[dict[str, Shared]]:
    """Return `ranking_metrics` from counts by row.

    `above` has the negatives that score higher than row i, `below` (positives, negatives) that score lower.
    """
    rows = len(scores)
    positive = labels.sum().reshape(1)
    negative = engine.constant([rows]) - positive
    higher = concatenate(above)
    margin = below[:, 1] - higher + negative
    wins, scaled_negatives, scaled_positives, predicted = yield from parallel(
        engine.dot(labels, margin),
        engine.mul(positive, below[:, 1]),
        engine.mul(negative, below[:, 0]),
        engine.less_than_zero(-scores),
    )
    gap = scaled_negatives - scaled_positives
    greatest, agreed = yield from parallel(
        engine.maximum(concatenate([gap, -gap])), engine.dot(labels, predicted)
    )
    disagreed = positive.reshape() + predicted.sum() - agreed.mul_public(2)
    return {
        "auc_wins": wins,
        "ks_gap": greatest,
        "positives": positive.reshape(),
        "correct": engine.constant(rows) - disagreed,
    }


def metrics_value(opened: Mapping[str, int], rows: int) -> dict[str, Value]:
    """Return AUC, KS and accuracy as decimal text from the opened integers of `ranking_metrics`."""
    positives = opened["positives"]
    pairs = positives * (rows - positives)
    if pairs == 0:
        raise ProgramFault("AUC and KS need rows of both classes among the test rows")
    return {
        "auc": decimal_text(opened["auc_wins"], 2 * pairs),
        "ks": decimal_text(opened["ks_gap"], pairs),
        "accuracy": decimal_text(opened["correct"], rows),
        "test_rows": rows,
        "test_positives": positives,
    }
