"""Whoever asks an owner's agent again and again, each time otherwise, gets one of seven answers, no number.

What answers cost, and how many are free, is the ledger's business (test_returns.py and test_joined.py of the
system contracts). Here are the answers: what an agent files when its own data would end a job.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from privcompute.data.commitments import commit_rows
from privcompute.data.datasets import LocalDataset, OpenedDataset
from privcompute.data.proposals import propose
from privcompute.data.results import JoinStore
from privcompute.data.sources import DataSource, open_source
from privcompute.data.tables import read_table
from privcompute.job.enforcement import JobRefusal
from privcompute.job.failures import cause_of
from privcompute.job.inputs import input_column, joined_versions, judge_own_data
from privcompute.job.view import GrantedInput
from privcompute.programs.base import InputColumn, InputRefused, JobInput, ParameterInvalid
from privcompute.programs.preflight import CODES
from privcompute.programs.registry import PROGRAMS
from privcompute.programs.work import CodeWork
from tests.unit.privcompute.job.test_enforcement import SPEC, VIEW

DATASET = "bank/loans"
ROWS = 137
SEED = b"s" * 32
USES = {"id": "join", "amount": "aggregate", "label": "aggregate"}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenedDataset:
    """The owner's table: 137 rows, 42 of them positive, amounts up to 1,360."""
    path = tmp_path_factory.mktemp("own") / "loans.csv"
    rows = [f"p{number},{number * 10},{'yes' if number % 10 < 3 else 'no'}" for number in range(ROWS)]
    path.write_text("\n".join(["id,amount,label", *rows]) + "\n")
    source = DataSource(path)
    schema = propose(open_source(source), ["id"]).schema
    table = read_table(source, schema)
    commitment = commit_rows(SEED, table.row_bytes())
    local = LocalDataset(DATASET, 1, source, schema, table.rows, commitment.root, SEED)
    return OpenedDataset(local, table, table.row_bytes(), commitment)


def answer(
    opened: OpenedDataset, folder: Path, program: str, min_group: int, nonce: int = 0, **parameters: Any
) -> Any:
    """Return what the agent files about one probe; None where it finds nothing."""
    columns = {one.name: input_column(one, USES[one.name]) for one in opened.local.schema.columns}
    other = (InputColumn("id", "text", "join"), InputColumn("score", "decimal", "aggregate"))
    inputs = [JobInput(DATASET, 0, tuple(columns.values())), JobInput("bureau/history", 1, other)]
    spec = replace(SPEC, min_group=min_group, program=program, raw={"nonce": bytes((nonce,)) * 16})
    checked = PROGRAMS[program].check(parameters, inputs)
    try:
        work = CodeWork(PROGRAMS[program], checked, tuple(inputs), (0,))
        judge_own_data(work, spec, opened, JoinStore(folder), 10)
    except JobRefusal as refusal:
        return cause_of(refusal, "bank", replace(VIEW, spec=spec), "data")
    return None


def probes() -> list[tuple[str, int, dict[str, Any]]]:
    """Return a search of everything that a requester can change: groups, classes, shares and figures."""
    label = {"label": f"{DATASET}/label", "features": ["bureau/history/score"]}
    groups = [1, 5, 11, 20, 41, 42, 68, 69, 136, 137, 138, 1_000]
    found: list[tuple[str, int, dict[str, Any]]] = []
    for group, share, positive in itertools.product(groups, ("0.1", "0.3", "0.5"), ("true", "false")):
        found.append(("logistic-regression", group, label | {"test_share": share, "positive": positive}))
    for group, statistic in itertools.product(groups, ("sum", "mean", "variance")):
        figures = {"columns": [f"{DATASET}/amount"], "statistics": [statistic]}
        found.append(("joint-statistics", group, figures))
    return found


def test_no_probe_gets_more_than_a_code_and_the_name_of_the_version(
    opened: OpenedDataset, tmp_path: Path
) -> None:
    answers, asked = set(), 0
    for program, group, parameters in probes():
        try:
            told = answer(opened, tmp_path, program, group, **parameters)
        except (InputRefused, ParameterInvalid):
            continue  # by what the ledger shows, and before any data are read
        asked += 1
        answers.add(None if told is None else told.code)
        if told is not None:
            assert told.code in CODES
            assert dict(told.detail) == {"dataset": DATASET, "version": 1, "stage": "data"}
    assert asked > 80
    assert answers == {None, "DATA_TOO_FEW_ROWS", "DATA_CLASS_TOO_SMALL"}
    assert len(CODES) + 1 == 7, "docs/decisions/preflight.md counts 2.8 bits an answer by these"


def test_an_answer_depends_on_nothing_that_a_requester_draws(opened: OpenedDataset, tmp_path: Path) -> None:
    """Another nonce is another job with the same answer: a search cannot average over them."""
    label = {"label": f"{DATASET}/label", "features": ["bureau/history/score"], "positive": "true"}
    found = set()
    for group in (5, 41, 42, 67, 68):
        told = {
            str(answer(opened, tmp_path, "logistic-regression", group, nonce, **label)) for nonce in range(8)
        }
        assert len(told) == 1
        found |= told
    assert len(found) == 3, "of which some are refusals"


def test_other_partners_learn_nothing_of_rows_that_were_joined_with_others(
    opened: OpenedDataset, tmp_path: Path
) -> None:
    """What was joined is remembered for its set of versions alone."""
    joins = JoinStore(tmp_path)
    figures = {"columns": [f"{DATASET}/amount"], "statistics": ["mean"]}
    others = replace(SPEC, inputs=(*SPEC.inputs, GrantedInput("bank/g-x", "x/data", 1, {"id": "join"})))
    joins.save("ab" * 32, {joined_versions(others): [f"p{number}" for number in range(12)]})
    assert answer(opened, tmp_path, "joint-statistics", 50, **figures) is None
    joins.save("cd" * 32, {joined_versions(SPEC): [f"p{number}" for number in range(12)]})
    told = answer(opened, tmp_path, "joint-statistics", 50, **figures)
    assert told.code == "DATA_TOO_FEW_ROWS"
