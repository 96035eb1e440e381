"""What owners do on their own: categories, standardisation, rotation, the public split."""

from __future__ import annotations

import numpy as np
import pytest

from privcompute.programs.base import InputColumn, InputRefused, OwnData
from privcompute.programs.encoding import (
    OTHER,
    STANDARDISED_BOUND,
    categories,
    encode_block,
    one_hot,
    precondition,
    split_rows,
    standardise,
)


def test_the_split_is_public_random_and_disjoint() -> None:
    training, test = split_rows(b"\1" * 32, 100, 30, 0)
    again = split_rows(b"\1" * 32, 100, 30, 0)
    other = split_rows(b"\2" * 32, 100, 30, 0)
    second = split_rows(b"\1" * 32, 100, 30, 1)
    assert sorted([*training, *test]) == list(range(100))
    assert len(test) == 30
    assert np.array_equal(test, again[1])
    assert not np.array_equal(test, other[1])
    assert not np.array_equal(test, second[1])


def test_rare_categories_are_merged() -> None:
    column = np.array(["a"] * 5 + ["b"] * 5 + ["c"] + ["d"], dtype=object)
    labels = categories(column, 5, "x")
    assert labels == ("a", "b", OTHER)
    assert one_hot(column, labels).sum(axis=0).tolist() == [5, 5, 2]
    assert np.all(one_hot(column, labels).sum(axis=1) == 1)


def test_a_category_that_is_called_other_joins_the_merged_ones() -> None:
    column = np.array(["a"] * 5 + [OTHER] * 5 + ["rare"], dtype=object)
    labels = categories(column, 5, "x")
    assert labels == ("a", OTHER)
    assert one_hot(column, labels).sum(axis=0).tolist() == [5, 6]


def test_a_column_of_free_text_is_refused() -> None:
    column = np.array([f"name {number}" for number in range(100)], dtype=object)
    with pytest.raises(InputRefused, match="column x: 100 categories, at most 64"):
        categories(column, 1, "x")


def test_standardisation_learns_from_training_rows_alone() -> None:
    features = np.array([[1.0, 5.0], [3.0, 5.0], [1e9, 5.0]])
    scaled = standardise(features, np.array([0, 1]))
    assert scaled[:, 0].tolist() == [-1.0, 1.0, STANDARDISED_BOUND]
    assert scaled[:, 1].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("l2", [0.0001, 0.01, 1.0])
def test_the_rotation_bounds_the_hessian_and_keeps_the_penalty(l2: float) -> None:
    rng = np.random.default_rng(5)
    block = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6))
    block = np.column_stack([block, block[:, 0]])  # collinear, as one-hot columns are
    rotation, penalty = precondition(block, l2)
    rotated = block @ rotation
    hessian = rotated.T @ rotated / (4 * len(block)) + l2 * np.diag(penalty)
    assert np.linalg.eigvalsh(hessian).max() <= 0.25 + 1e-9
    weights = rng.normal(size=7)
    original = rotation @ weights
    assert np.isclose(original @ original, weights @ (penalty * weights))
    assert np.allclose(rotated @ weights, block @ original)


def test_a_block_names_its_features_in_the_order_of_its_columns() -> None:
    columns = (InputColumn("age", "integer", "encrypted"), InputColumn("home", "text", "encrypted"))
    data = OwnData(
        {"age": np.array([30, 40, 50, 60]), "home": np.array(["own", "rent", "own", "rent"], dtype=object)},
        np.array([3, 1, 0]),
    )
    block = encode_block(data, columns, np.array([0, 1, 2]), l2=0.01, least_rows=1)
    assert block.labels == ("age", "home=own", "home=rent")
    assert block.standardised[:, 0].argmax() == 0
    assert block.rotated.shape == (3, 3)
