"""Parameters of `logistic-regression`, and what they ask of the inputs and of each owner's own data."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import pydantic

from chain.primitives.settings import within
from privcompute.programs import metrics
from privcompute.programs.base import (
    ColumnReference,
    ColumnReferences,
    Finding,
    InputColumn,
    InputRefused,
    JobInput,
    OwnTable,
    Parameters,
    decimal_within,
    find_column,
    need_join,
    need_use,
    split_reference,
)
from privcompute.programs.encoding import feature_names
from privcompute.programs.labels import classes_fit, label_flags, positive_value, tested_rows
from privcompute.programs.preflight import (
    CELL_BOUND,
    CLASS_TOO_SMALL,
    TOO_MANY_CATEGORIES,
    category_finding,
    cells_finding,
    names_finding,
)

PROGRAM_ID = "logistic-regression"
FEATURES_MAX = 2_048
"""Encoded features of all owners; each has an equal part, and need not know how many the others bring."""
LABEL_CHARS_MAX = 1_024


class LogisticRegressionParameters(Parameters):
    """Parameters: label and features, the share of test rows, and how to train."""

    label: ColumnReference
    """The column to predict."""
    positive: Annotated[str, pydantic.Field(min_length=1, max_length=64)]
    """The label's value that counts as 1, in any spelling of its type; all other values count as 0."""
    features: ColumnReferences = ()
    """Columns to predict from; empty: every column of the job but the label and the join columns."""
    test_share: Annotated[Decimal, decimal_within("0.05", "0.9")] = Decimal("0.3")
    """Part of the joined rows held out for the metrics (at most 4,096 rows)."""
    l2: Annotated[Decimal, decimal_within("0.0001", "10")] = Decimal("0.01")
    """Weight of the penalty l2 |w|²/2 beside the mean loss; the intercept is not penalised."""
    iterations: Annotated[int, within(1, 500, "iterations")] = 80
    min_category_rows: Annotated[int, within(1, 1_000_000, "rows")] = 5
    """Categories with fewer rows in the owner's dataset are merged into one."""
    release_coefficients: bool = False
    """Whether the receivers also get the coefficients (of standardised features)."""


def check_regression(parameters: LogisticRegressionParameters, inputs: Sequence[JobInput]) -> None:
    """Raise InputRefused unless the declared columns fit: a label with two classes, and numeric features."""
    need_join(inputs, PROGRAM_ID)
    label = need_use(inputs, parameters.label, "aggregate", "the label, whose positive rows are counted,")
    positive_value(label, parameters.positive, parameters.label)
    if label.missing not in ("refuse", "drop-row"):
        raise InputRefused(
            f"column {parameters.label}: its missing cells become {label.missing!r}, which is no label; its "
            "owner registers a version that refuses them or drops their rows"
        )
    use = "aggregate" if parameters.release_coefficients else "encrypted"
    features = feature_columns(parameters, inputs)
    for item, columns in features.items():
        for column in columns:
            reference = f"{item}/{column.name}"
            need_use(
                inputs, reference, use, "a feature" + (" with coefficient" if use == "aggregate" else "")
            )
            if reference == parameters.label:
                raise InputRefused(f"column {reference}: it is the label; remove it from the features")
    if not any(features.values()):
        raise InputRefused(f"{PROGRAM_ID}: no features; name columns, or add some to the job")


def feature_columns(
    parameters: LogisticRegressionParameters, inputs: Sequence[JobInput]
) -> dict[str, tuple[InputColumn, ...]]:
    """Return each dataset's feature columns, in the order of the job."""
    for reference in parameters.features:
        find_column(inputs, reference)
    chosen = set(parameters.features)
    return {
        item.dataset: tuple(
            column
            for column in item.columns
            if (f"{item.dataset}/{column.name}" in chosen if chosen else _offered(parameters, item, column))
        )
        for item in inputs
    }


def _offered(parameters: LogisticRegressionParameters, item: JobInput, column: InputColumn) -> bool:
    return column.use != "join" and f"{item.dataset}/{column.name}" != parameters.label


def least_rows(parameters: LogisticRegressionParameters, min_group: int) -> int:
    """Return the least number of joined rows on which both classes can be trained on and tested."""
    del parameters
    if 2 * min_group > metrics.ROWS_MAX:
        raise InputRefused(f"{PROGRAM_ID}: min_group = {min_group}: at most {metrics.ROWS_MAX // 2} rows")
    return max(20, 2 * min_group + 2)


def judge(own: OwnTable) -> list[Finding]:
    """Return what would end the job later, as an owner sees it in its own rows before it binds."""
    parameters: LogisticRegressionParameters = own.parameters
    features = feature_columns(parameters, own.inputs)
    columns, found = features[own.item.dataset], []
    for column in columns:
        reference = f"{own.item.dataset}/{column.name}"
        if column.numeric:
            found += cells_finding(own, reference, column, CELL_BOUND)
        else:
            found += category_finding(own, reference, column.name, parameters.min_category_rows)
    if columns and not found:
        names = feature_names(own.columns, columns, parameters.min_category_rows)
        listed = names if parameters.release_coefficients else []
        most = FEATURES_MAX // sum(bool(others) for others in features.values())
        if len(names) > most:
            text = f"{len(names)} encoded features, at most {most} of each owner; leave columns out"
            found.append(Finding(TOO_MANY_CATEGORIES, text))
        found += names_finding([len(names), list(listed)], listed, LABEL_CHARS_MAX)
    return found + _judge_label(own)


def _judge_label(own: OwnTable) -> list[Finding]:
    parameters: LogisticRegressionParameters = own.parameters
    dataset, name = split_reference(parameters.label)
    if dataset != own.item.dataset:
        return []
    value = positive_value(
        find_column(own.inputs, parameters.label)[1], parameters.positive, parameters.label
    )
    flags, least = label_flags(own.columns[name], value), max(1, own.min_group)
    positives = int(flags.sum())
    fit = min(positives, own.rows - positives) > least
    if fit and own.joined is not None:
        flags = flags[own.joined]
        test = tested_rows(parameters.test_share, len(flags), least)
        fit = classes_fit(int(flags.sum()), len(flags), test, least)
    return [] if fit else [Finding(CLASS_TOO_SMALL, class_text(parameters, least))]


def class_text(parameters: LogisticRegressionParameters, least: int) -> str:
    """Say that the smaller class has too few rows, and what to do, without a number of rows."""
    return (
        f"label {parameters.label}: the smaller class ({parameters.positive!r} or the rest) has too few rows "
        f"for the minimum group of {least}; join more rows, or check the parameter positive"
    )
