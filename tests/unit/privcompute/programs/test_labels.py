"""Classes of a label: which values count, how large they must be, and a split that always suits them."""

from __future__ import annotations

import random
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.programs import labels as of_labels
from privcompute.programs.base import InputColumn, InputRefused
from privcompute.programs.encoding import split_rows
from privcompute.programs.labels import classes_fit, first_fit, label_flags, positive_value

CODED = InputColumn("y", "category", "aggregate", coding=(("1", "bad"), ("2", "good")))
LISTED = InputColumn("y", "category", "aggregate", categories=("bad", "good"))
NUMBER = InputColumn("y", "integer", "aggregate", low="0", high="1")


@pytest.mark.parametrize(
    ("column", "positive", "text"),
    [
        (CODED, "1", "declares '1' as a code for 'bad'; name the value"),
        (LISTED, "awful", "is declared as one of bad, good"),
        (NUMBER, "2", "is declared from 0 to 1"),
        (NUMBER, "bad", "has type 'integer'"),
    ],
)
def test_a_positive_value_that_the_schema_rules_out_is_refused_before_data_are_read(
    column: InputColumn, positive: str, text: str
) -> None:
    with pytest.raises(InputRefused, match=text):
        positive_value(column, positive, "bank/a/y")


def test_a_positive_value_of_the_declared_domain_is_found() -> None:
    assert positive_value(CODED, "bad", "y") == "bad"
    assert positive_value(LISTED, "good", "y") == "good"
    assert positive_value(NUMBER, "1", "y") == 1.0
    assert label_flags(np.array(["bad", "good"], dtype=object), "bad").tolist() == [1, 0]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_classes_that_fit_always_find_a_split_in_which_none_is_too_small(data: st.DataObject) -> None:
    """By luck of the job's id the same job was tested or ended, and each try cost a run."""
    least = data.draw(st.integers(1, 12))
    rows = data.draw(st.integers(max(20, 2 * least + 2), 90))
    share = Decimal(data.draw(st.sampled_from(["0.05", "0.3", "0.5", "0.9"])))
    positives = data.draw(st.integers(0, rows))
    flags = np.array([1] * positives + [0] * (rows - positives), np.int64)
    random.Random(rows).shuffle(flags)  # type: ignore[arg-type]
    test = of_labels.tested_rows(share, rows, least)
    job = data.draw(st.binary(min_size=32, max_size=32))
    number = first_fit(job, flags, test, least)
    assert (number is not None) == classes_fit(positives, rows, test, least)
    if number is None:
        return
    training, tested = split_rows(job, rows, test, number)
    assert least <= flags[tested].sum() <= test - least
    assert 0 < flags[training].sum() < len(training)


def test_whether_classes_fit_does_not_depend_on_the_job() -> None:
    """A requester that draws nonces learns nothing about where the positive rows are."""
    flags = np.array([1] * 22 + [0] * 22, np.int64)
    test = of_labels.tested_rows(Decimal("0.3"), 44, 20)
    found = [first_fit(bytes([seed]) * 32, flags, test, 20) is not None for seed in range(40)]
    assert set(found) == {classes_fit(22, 44, test, 20)}
