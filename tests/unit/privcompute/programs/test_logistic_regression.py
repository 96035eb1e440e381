"""Joint logistic regression on German credit against scikit-learn on the same rows."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from privcompute.errors import PeerMisbehaved, TooFewRows
from privcompute.mpc.engine import Engine
from privcompute.mpc.local import run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.protocols.psi import private_join
from privcompute.mpc.rep3_engine import Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.programs.base import (
    Context,
    InputColumn,
    InputRefused,
    JobInput,
    OwnData,
    ParameterInvalid,
)
from privcompute.programs.join import join_of
from privcompute.programs.logistic_regression import PROGRAM, _announced
from tests.unit.privcompute.opened import open_outputs

EXAMPLE = Path(__file__).parents[4] / "examples" / "german_credit"
ORGS = ("bank", "bureau", "registry")
AUC_TOLERANCE = 0.001
"""Promised is 0.01; the greatest difference over 24 samples and penalties was 0.00025."""


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"german_credit_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


split, reference = example("split"), example("reference")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("credit")
    split.split(path)
    return path


@pytest.fixture(scope="module")
def loaded(folder: Path) -> list[tuple[JobInput, dict[str, Any]]]:
    return [reference.load(folder, org) for org in ORGS]


def parameters(**changes: Any) -> dict[str, Any]:
    return {**json.loads((EXAMPLE / "regression.json").read_text()), **changes}


def party(
    engine: Engine,
    loaded: list[tuple[JobInput, dict[str, Any]]],
    job: bytes,
    chosen: dict[str, Any],
    seen: list[tuple[str, int, int]],
) -> Steps[tuple[list[str], Any]]:
    """What an agent does: join, run, open to the bank; returns the joined ids and the bank's result."""
    inputs = tuple(item for item, _ in loaded)
    item, columns = loaded[engine.me]
    ids = columns["id"].tolist()
    stream = random.Random(job.hex() + str(engine.me)).randbytes
    rows = yield from private_join(
        join_of(job, [one.owner for one in inputs]), engine.me, ids, random=stream, workers=1
    )
    own = {item.dataset: OwnData(columns, rows)}
    parsed = PROGRAM.check(chosen, inputs)
    context = Context(job, inputs, parsed, len(rows), 5, own, lambda *step: seen.append(step))
    outputs = yield from PROGRAM.run(engine, context)
    opened = yield from open_outputs(engine, outputs.shared, [0])
    value = None if opened is None else PROGRAM.finish(opened, outputs.public)
    return [ids[row] for row in rows.tolist()], value


def run_job(
    loaded: list[tuple[JobInput, dict[str, Any]]], job: bytes, chosen: dict[str, Any]
) -> tuple[list[str], Any, list[tuple[str, int, int]]]:
    seen: list[tuple[str, int, int]] = []
    engines = [PlaintextEngine(index, 3) for index in range(3)]
    results = run_local([party(engine, loaded, job, chosen, seen) for engine in engines]).results
    assert results[0][0] == results[1][0] == results[2][0]
    assert results[1][1] is None
    return results[0][0], results[0][1], seen


def test_the_example_splits_the_same_everywhere(folder: Path) -> None:
    assert len(reference.common_ids(folder)) == 831
    first_line = (folder / "bank.csv").read_text().splitlines()[1]
    assert first_line == "P1b3bc1c84416,0 <= ... < 200 DM,36,car (new),7432,2,1,good"
    sizes = [len((folder / f"{org}.csv").read_text().splitlines()) - 1 for org in ORGS]
    assert sizes == [950, 940, 930]


def test_joined_training_reaches_the_plaintext_auc(
    folder: Path, loaded: list[tuple[JobInput, dict[str, Any]]]
) -> None:
    job = bytes(range(32))
    ids, value, seen = run_job(loaded, job, parameters())
    plain = reference.regression(folder, ids=ids, job=job, min_group=5)
    assert (value["joined_rows"], value["test_rows"]) == (plain.rows, plain.test_rows) == (831, 249)
    assert abs(float(value["auc"]) - plain.auc) < AUC_TOLERANCE
    assert abs(float(value["ks"]) - plain.ks) < 0.02
    assert plain.auc > 0.7
    assert ("train", 80, 80) in seen
    assert seen[-1][0] == "evaluate"
    assert seen[-1][1] == seen[-1][2] == 249


def example_rows(
    loaded: list[tuple[JobInput, dict[str, Any]]], seed: int, rows: int
) -> tuple[list[str], list[OwnData]]:
    """Draw joined rows without a PSI, to test training alone on several samples."""
    held = [set(columns["id"].tolist()) for _, columns in loaded]
    ids = random.Random(seed).sample(sorted(set.intersection(*held)), rows)
    data = []
    for _, columns in loaded:
        place = {name: row for row, name in enumerate(columns["id"].tolist())}
        data.append(OwnData(columns, np.array([place[name] for name in ids], np.int64)))
    return ids, data


def train(
    loaded: list[tuple[JobInput, dict[str, Any]]],
    data: list[OwnData],
    job: bytes,
    chosen: dict[str, Any],
    engines: list[Engine] | None = None,
    min_group: int = 1,
) -> Any:
    inputs = tuple(item for item, _ in loaded)
    parsed = PROGRAM.check(chosen, inputs)

    def one(engine: Engine) -> Steps[Any]:
        own = {inputs[engine.me].dataset: data[engine.me]}
        rows = len(data[0].rows)
        outputs = yield from PROGRAM.run(engine, Context(job, inputs, parsed, rows, min_group, own))
        opened = yield from open_outputs(engine, outputs.shared, [0])
        return None if opened is None else PROGRAM.finish(opened, outputs.public)

    parties: list[Engine] = engines or [PlaintextEngine(index, 3) for index in range(3)]
    return run_local([one(engine) for engine in parties]).results[0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("l2", ["0.001", "0.05"])
def test_every_sample_and_penalty_comes_close_to_the_plaintext_auc(
    folder: Path, loaded: list[tuple[JobInput, dict[str, Any]]], seed: int, l2: str
) -> None:
    ids, data = example_rows(loaded, seed, 800)
    job, chosen = bytes([seed]) * 32, parameters(l2=l2)
    value = train(loaded, data, job, chosen)
    plain = reference.regression(folder, ids=ids, job=job, parameters=chosen)
    assert abs(float(value["auc"]) - plain.auc) < AUC_TOLERANCE


def test_three_parties_on_shares_reach_the_same_auc(
    folder: Path, loaded: list[tuple[JobInput, dict[str, Any]]]
) -> None:
    ids, data = example_rows(loaded, 8, 300)
    job, chosen = bytes([8]) * 32, parameters(iterations=40)
    entropy = random.Random(8).randbytes
    engines = run_local([Rep3Engine.start(me, job, entropy(64)) for me in range(3)]).results
    value = train(loaded, data, job, chosen, list(engines))
    plain = reference.regression(folder, ids=ids, job=job, parameters=chosen)
    assert abs(float(value["auc"]) - plain.auc) < 0.003
    in_the_clear = train(loaded, data, job, chosen)
    assert abs(float(value["auc"]) - float(in_the_clear["auc"])) < 0.001
    assert value["test_positives"] == in_the_clear["test_positives"]


def test_released_coefficients_are_those_of_the_plaintext_model(
    loaded: list[tuple[JobInput, dict[str, Any]]],
) -> None:
    """Named by dataset, column and category."""
    from sklearn.linear_model import LogisticRegression

    ids, data = example_rows(loaded, 3, 700)
    chosen = parameters(release_coefficients=True, iterations=120)
    value = train(loaded, data, bytes(32), chosen)
    parsed = PROGRAM.check(chosen, tuple(item for item, _ in loaded))
    training, _ = reference.split_rows(bytes(32), 700, 210, 0)
    features, labels = (
        reference._encoded(parsed, loaded, ids, training),
        reference._labels(parsed, loaded, ids),
    )
    model = LogisticRegression(C=1 / (0.01 * len(training)), max_iter=10_000, tol=1e-9)
    model.fit(features[training], labels[training])
    found = np.array([float(text) for text in value["coefficients"].values()])
    assert np.max(np.abs(found - model.coef_[0])) < 0.01
    assert abs(float(value["intercept"]) - model.intercept_[0]) < 0.01
    assert "bureau/history/housing=own" in value["coefficients"]
    assert "bank/loans/credit_amount" in value["coefficients"]


def test_coefficients_stay_shared_unless_asked_for(loaded: list[tuple[JobInput, dict[str, Any]]]) -> None:
    _, data = example_rows(loaded, 3, 200)
    value = train(loaded, data, bytes(32), parameters(iterations=2))
    assert set(value) == {
        *("auc", "ks", "accuracy", "test_rows", "test_positives"),
        *("joined_rows", "training_rows", "features", "iterations"),
    }


def test_only_named_features_are_used(loaded: list[tuple[JobInput, dict[str, Any]]]) -> None:
    _, data = example_rows(loaded, 3, 200)
    chosen = parameters(features=["bank/loans/credit_amount", "registry/residents/age_in_years"])
    assert train(loaded, data, bytes(32), chosen)["features"] == 2


def test_a_class_too_small_for_the_minimum_group_ends_the_run(
    loaded: list[tuple[JobInput, dict[str, Any]]],
) -> None:
    _, data = example_rows(loaded, 3, 200)
    with pytest.raises(TooFewRows, match="too few rows for the minimum group of 70"):
        train(loaded, data, bytes(32), parameters(), min_group=70)
    with pytest.raises(TooFewRows, match="check the parameter positive"):
        train(loaded, data, bytes(32), parameters(positive="awful"))
    with pytest.raises(TooFewRows, match="200 joined rows"):
        train(loaded, data, bytes(32), parameters(), min_group=150)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"l2": "0"}, "l2"),
        ({"l2": 0.5}, "l2 = 0.5: .*decimal number in quotes"),
        ({"test_share": "0.99"}, 'test_share = .0.99.: .*"0.05" to "0.9"'),
        ({"iterations": 501}, r"iterations = 501: .*1..500"),
        ({"positive": ""}, "positive"),
        ({"label": "creditability"}, "dataset/column"),
    ],
)
def test_bad_parameters_are_named(
    loaded: list[tuple[JobInput, dict[str, Any]]], changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(ParameterInvalid, match=text):
        PROGRAM.check(parameters(**changes), tuple(item for item, _ in loaded))


def with_use(item: JobInput, use: str) -> JobInput:
    columns = [InputColumn(c.name, c.type, c.use if c.use == "join" else use) for c in item.columns]
    return JobInput(item.dataset, item.owner, tuple(columns))


def test_encrypted_features_train_but_never_show_coefficients(
    loaded: list[tuple[JobInput, dict[str, Any]]],
) -> None:
    bank, bureau, registry = (item for item, _ in loaded)
    inputs = (bank, with_use(bureau, "encrypted"), with_use(registry, "encrypted"))
    PROGRAM.check(parameters(), inputs)
    with pytest.raises(InputRefused, match="a feature with coefficient needs use 'aggregate'"):
        PROGRAM.check(parameters(release_coefficients=True), inputs)
    with pytest.raises(InputRefused, match="it is the label"):
        PROGRAM.check(parameters(features=["bank/loans/creditability"]), inputs)
    with pytest.raises(InputRefused, match="the label, whose positive rows are counted, needs"):
        PROGRAM.check(parameters(), (with_use(bank, "encrypted"), bureau, registry))


@pytest.mark.parametrize("value", [None, [], [0, []], [3, ["a"]], ["3", []], [10**9, []], [1, [7]]])
def test_features_announced_in_another_form_name_the_peer(value: Any) -> None:
    with pytest.raises(PeerMisbehaved, match="party 2"):
        _announced(value, 2, named=False, most=2_048)
