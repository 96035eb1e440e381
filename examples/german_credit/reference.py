"""The figures of the demo in the clear, with numpy and scikit-learn: what joint computation is held against.

    python examples/german_credit/reference.py FOLDER

joins the files that split.py wrote and prints the AUC of scikit-learn's logistic regression over the rows
that all three hold. Given the order of the joint computation (`ids`) and its job id, training and test rows
are exactly those of the job. Nothing here is shared with what agents run.
"""

from __future__ import annotations

import argparse
import csv
import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import shake_256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve

HERE = Path(__file__).resolve().parent
FILES = {"loans": "bank", "history": "bureau", "residents": "registry"}
"""What pages call a dataset -> the organisation whose file it is."""

People = dict[str, dict[str, str]]
"""Identifier -> column -> cell."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Plaintext metrics on the test rows."""

    auc: float
    ks: float
    rows: int
    test_rows: int


def load(folder: Path) -> dict[str, People]:
    """Return what each owner holds, by the names of datasets on pages."""
    held = {}
    for dataset, org in FILES.items():
        with (folder / f"{org}.csv").open(newline="", encoding="utf-8") as file:
            held[dataset] = {row["id"]: row for row in csv.DictReader(file)}
    return held


def common_ids(held: Mapping[str, People]) -> list[str]:
    """Return the identifiers that all three organisations hold, sorted."""
    return sorted(set.intersection(*[set(people) for people in held.values()]))


def parameters(job: str = "regression") -> dict[str, Any]:
    """Return the parameters of one of the demo's jobs."""
    return dict(tomllib.loads((HERE / f"{job}.toml").read_text(encoding="utf-8"))["parameters"])


def regression(
    folder: Path, *, ids: Sequence[str] | None = None, job: bytes = bytes(32), given: Mapping[str, Any]
) -> Reference:
    """Train and test scikit-learn's logistic regression on the joined rows.

    `ids` are the joined identifiers in the canonical order of the join; with the 32-byte job id they decide
    which rows are test rows. Without them the rows are those of the join in another order. `given` are the
    parameters of the page.
    """
    held = load(folder)
    ids = list(ids) if ids is not None else common_ids(held)
    tested = held_out(job, len(ids), given["held_out"])
    features, labels = design(held, ids, ~tested, given)
    strength = 1.0 / (float(given["l2"]) * int((~tested).sum()))
    model = LogisticRegression(C=strength, max_iter=10_000, tol=1e-8)
    scores = model.fit(features[~tested], labels[~tested]).decision_function(features[tested])
    false_rate, true_rate, _ = roc_curve(labels[tested], scores)
    return Reference(
        auc=float(roc_auc_score(labels[tested], scores)),
        ks=float(np.max(np.abs(true_rate - false_rate))),
        rows=len(ids),
        test_rows=int(tested.sum()),
    )


def held_out(job: bytes, rows: int, share: float) -> NDArray[np.bool_]:
    """Return which rows a job's first lot chooses: those with the least words of its stream."""
    words = np.frombuffer(shake_256(b"assent/split\0" + job).digest(8 * rows), "<u8")
    chosen = np.zeros(rows, bool)
    chosen[np.argsort(words, kind="stable")[: round(share * rows)]] = True
    return chosen


def design(
    held: Mapping[str, People], ids: Sequence[str], training: NDArray[np.bool_], given: Mapping[str, Any]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the features, standardised over the training rows, and the labels."""

    def cells(named: Sequence[str]) -> list[str]:
        dataset, column = named
        return [held[dataset][each][column] for each in ids]

    columns = [np.array(cells(named), float) for named in given["numbers"]]
    for named in given["categories"]:
        found = np.array(cells(named))
        columns += [(found == category).astype(float) for category in sorted(set(found.tolist()))]
    features = np.column_stack(columns)
    spread = features[training].std(0)
    features = (features - features[training].mean(0)) / np.where(spread > 0, spread, np.inf)
    (positive,) = given["positive"]
    return features, np.array([cell == positive for cell in cells(given["label"])])


def default_rates(folder: Path, column: str) -> dict[str, tuple[int, float, float]]:
    """Return the number of loans, the default rate and the mean amount of each category of a column.

    Amounts count up to 10,000, as on the page.
    """
    held = load(folder)
    dataset = next(name for name, people in held.items() if column in next(iter(people.values())))
    groups = defaultdict(list)
    for each in common_ids(held):
        groups[held[dataset][each][column]].append(held["loans"][each])
    return {
        category: (
            len(loans),
            sum(loan["creditability"] == "bad" for loan in loans) / len(loans),
            sum(min(int(loan["credit_amount"]), 10_000) for loan in loans) / len(loans),
        )
        for category, loans in sorted(groups.items())
    }


def statistic(folder: Path, name: str, axis: Mapping[str, Any]) -> list[float]:
    """Return the cells of a figure of the demo's statistics, along the axis that its result has.

    It is a `mean of`, `bins of` or `rows by` a column, called `dataset.column`.
    """
    held, given = load(folder), parameters("statistics")
    what, dataset, column = re.split(r"(?<=of|by) |\.", name)
    cells = [held[dataset][each][column] for each in common_ids(held)]
    if what == "rows by":
        return [float(cells.count(category)) for category in axis["categories"]]
    numbers = np.array(cells, float)
    if what == "bins of":
        return [float(count) for count in np.histogram(numbers, [float(edge) for edge in axis["edges"]])[0]]
    ((low, high),) = [named[2:] for named in given["columns"] if named[:2] == [dataset, column]]
    return [float(np.clip(numbers, low, high).mean())]


def main() -> None:
    """Read the command line and print the plaintext metrics."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder that split.py wrote")
    found = regression(parser.parse_args().folder, given=parameters())
    print(f"rows {found.rows}, test rows {found.test_rows}, AUC {found.auc:.4f}, KS {found.ks:.4f}")


if __name__ == "__main__":
    main()
