"""The same figures in the clear, with numpy and scikit-learn: what the joint computation is held against.

    python examples/german_credit/reference.py FOLDER

joins the files that split.py wrote and prints the AUC of scikit-learn's logistic regression over the rows
that all three hold. Given the order of the joint computation (`ids`) and its job id, training and test rows
are exactly those of the job.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve

from privcompute.data.schema import IDENTIFIER
from privcompute.programs.base import InputColumn, JobInput, OwnData, split_reference
from privcompute.programs.encoding import encode_block, split_rows
from privcompute.programs.labels import first_fit, tested_rows
from privcompute.programs.logistic_regression import PROGRAM
from privcompute.programs.regression_parameters import LogisticRegressionParameters, feature_columns

REGRESSION = Path(__file__).with_name("regression.json")
DATASETS = {"bank": "bank/loans", "bureau": "bureau/history", "registry": "registry/residents"}
ORGS = tuple(DATASETS)


@dataclass(frozen=True, slots=True)
class Reference:
    """Plaintext metrics on the test rows."""

    auc: float
    ks: float
    rows: int
    test_rows: int


def load(folder: Path, org: str) -> tuple[JobInput, dict[str, NDArray[Any]]]:
    """Return an organisation's input as the job sees it, and its columns."""
    schema = json.loads((folder / f"{org}.schema.json").read_text(encoding="utf-8"))
    with (folder / f"{org}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns: dict[str, NDArray[Any]] = {}
    for column in schema["columns"]:
        cells = [row[column["name"]] for row in rows]
        numbers = column["type"] == "integer"
        columns[column["name"]] = np.array([int(cell) for cell in cells] if numbers else cells)
    described = tuple(
        InputColumn(
            item["name"],
            item["type"],
            "join" if item["sensitivity"] == IDENTIFIER else "aggregate",
        )
        for item in schema["columns"]
    )
    return JobInput(DATASETS[org], ORGS.index(org), described), columns


def common_ids(folder: Path) -> list[str]:
    """Return the identifiers that all three organisations hold, sorted."""
    held = [set(load(folder, org)[1]["id"].tolist()) for org in ORGS]
    return sorted(set.intersection(*held))


def regression(
    folder: Path,
    *,
    ids: Sequence[str] | None = None,
    job: bytes = bytes(32),
    parameters: dict[str, Any] | None = None,
    min_group: int = 1,
) -> Reference:
    """Train and test scikit-learn's logistic regression on the joined rows.

    `ids` are the joined identifiers in the canonical order of the join; with the 32-byte job id and the job's
    minimum group they decide which rows are test rows. Without them the rows are those of the join in
    another random order.
    """
    ids = list(ids) if ids is not None else common_ids(folder)
    loaded = [load(folder, org) for org in ORGS]
    inputs = tuple(item for item, _ in loaded)
    chosen = parameters if parameters is not None else json.loads(REGRESSION.read_text(encoding="utf-8"))
    parsed: LogisticRegressionParameters = PROGRAM.check(chosen, inputs)
    labels = _labels(parsed, loaded, ids)
    test_rows = tested_rows(parsed.test_share, len(ids), min_group)
    number = first_fit(job, labels, test_rows, min_group)
    if number is None:
        raise SystemExit("a class of the label has too few of these rows to be tested")
    training, test = split_rows(job, len(ids), test_rows, number)
    features = _encoded(parsed, loaded, ids, training)
    strength = 1.0 / (float(parsed.l2) * len(training))
    model = LogisticRegression(C=strength, max_iter=10_000, tol=1e-8)
    scores = model.fit(features[training], labels[training]).decision_function(features[test])
    false_rate, true_rate, _ = roc_curve(labels[test], scores)
    return Reference(
        auc=float(roc_auc_score(labels[test], scores)),
        ks=float(np.max(np.abs(true_rate - false_rate))),
        rows=len(ids),
        test_rows=len(test),
    )


def _encoded(
    parameters: LogisticRegressionParameters,
    loaded: Sequence[tuple[JobInput, dict[str, NDArray[Any]]]],
    ids: Sequence[str],
    training: NDArray[np.int64],
) -> NDArray[np.float64]:
    chosen = feature_columns(parameters, tuple(item for item, _ in loaded))
    blocks = [
        encode_block(
            _joined(columns, ids),
            chosen[item.dataset],
            training,
            l2=float(parameters.l2),
            least_rows=parameters.min_category_rows,
        )
        for item, columns in loaded
    ]
    return np.concatenate([block.standardised for block in blocks], axis=1)


def _labels(
    parameters: LogisticRegressionParameters,
    loaded: Sequence[tuple[JobInput, dict[str, NDArray[Any]]]],
    ids: Sequence[str],
) -> NDArray[np.int64]:
    dataset, label = split_reference(parameters.label)
    (columns,) = [columns for item, columns in loaded if item.dataset == dataset]
    return (_joined(columns, ids).aligned(label) == parameters.positive).astype(np.int64)


def _joined(columns: dict[str, NDArray[Any]], ids: Sequence[str]) -> OwnData:
    place = {name: row for row, name in enumerate(columns["id"].tolist())}
    return OwnData(columns, np.array([place[name] for name in ids], np.int64))


def main() -> None:
    """Read the command line and print the plaintext metrics."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder that split.py wrote")
    found = regression(parser.parse_args().folder)
    print(f"rows {found.rows}, test rows {found.test_rows}, AUC {found.auc:.4f}, KS {found.ks:.4f}")


if __name__ == "__main__":
    main()
