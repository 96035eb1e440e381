"""Whoever asks an owner's agent again and again, each time otherwise, gets one of four answers, no number.

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
from privcompute.job.exposure import ASKED, SPENT
from privcompute.job.failures import cause_of
from privcompute.job.inputs import input_column, joined_versions, judge_own_data
from privcompute.job.view import GrantedInput
from privcompute.pages.columns import InputColumn, JobInput
from privcompute.pages.judging import CODES
from tests.unit.privcompute.job.standing import standard_work
from tests.unit.privcompute.job.test_enforcement import SPEC, VIEW

DATASET = "bank/loans"
ROWS = 137
SEED = b"s" * 32


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenedDataset:
    """The owner's table: 137 rows, 42 of them positive, amounts up to 1,360, and wealth beyond all shares."""
    path = tmp_path_factory.mktemp("own") / "loans.csv"
    rows = [
        f"p{number},{number * 10},{number * 10**12},{'yes' if number % 10 < 3 else 'no'}"
        for number in range(ROWS)
    ]
    path.write_text("\n".join(["id,amount,wealth,label", *rows]) + "\n")
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
    columns = tuple(input_column(one, "plain") for one in opened.local.schema.columns)
    other = (InputColumn("id", "text", "join"), InputColumn("score", "decimal", "plain"))
    inputs = [JobInput(DATASET, 0, columns), JobInput("bureau/history", 1, other)]
    spec = replace(SPEC, min_group=min_group, program=program, raw={"nonce": bytes((nonce,)) * 16})
    work = standard_work(program, inputs, {"receivers": ["bank"]} | parameters)
    try:
        judge_own_data(work, spec, opened, JoinStore(folder), 10)
    except JobRefusal as refusal:
        return cause_of(refusal, "bank", replace(VIEW, spec=spec), "data")
    return None


def probes() -> list[tuple[str, int, dict[str, Any]]]:
    """Return a search of everything that a requester can change: groups, classes, shares and figures."""
    label = {"label": ["loans", "label"], "numbers": [["history", "score"]]}
    groups = [1, 5, 11, 20, 41, 42, 68, 69, 136, 137, 138, 1_000]
    found: list[tuple[str, int, dict[str, Any]]] = []
    for group, share in itertools.product(groups, (0.1, 0.3, 0.5)):
        found.append(("logistic-regression", group, label | {"held_out": share}))
    for group, column in itertools.product(groups, ("amount", "wealth")):
        for figure in ("sum", "mean", "greatest"):
            found.append(("joint-statistics", group, {"columns": [["loans", column]], "figures": [figure]}))
        pair = [["loans", column], ["history", "score"]]
        found.append(("joint-statistics", group, {"columns": [], "correlations": [pair]}))
    return found


def test_no_probe_gets_more_than_a_code_and_the_name_of_the_version(
    opened: OpenedDataset, tmp_path: Path
) -> None:
    answers = set()
    for program, group, parameters in probes():
        told = answer(opened, tmp_path, program, group, **parameters)
        answers.add(None if told is None else told.code)
        if told is not None:
            assert told.code in CODES
            assert dict(told.detail) == {"dataset": DATASET, "version": 1, "stage": "data"}
    assert len(probes()) > 80
    assert answers == {None, "DATA_TOO_FEW_ROWS", "DATA_OUT_OF_RANGE"}
    assert len([*CODES, SPENT, ASKED]) + 1 == 6, (
        "docs/decisions/preflight.md counts 2.6 bits an answer by these"
    )


def test_an_answer_depends_on_nothing_that_a_requester_draws(opened: OpenedDataset, tmp_path: Path) -> None:
    """Another nonce is another job with the same answer: a search cannot average over them."""
    label = {"label": ["loans", "label"], "numbers": [["history", "score"]]}
    found = set()
    for group in (5, 136, 137, 138):
        told = {
            str(answer(opened, tmp_path, "logistic-regression", group, nonce, **label)) for nonce in range(4)
        }
        assert len(told) == 1
        found |= told
    assert len(found) == 2, "of which one is a refusal"


def test_other_partners_learn_nothing_of_rows_that_were_joined_with_others(
    opened: OpenedDataset, tmp_path: Path
) -> None:
    """What was joined is remembered for its set of versions alone."""
    joins = JoinStore(tmp_path)
    figures = {"columns": [["loans", "amount"]], "figures": ["mean"]}
    others = replace(SPEC, inputs=(*SPEC.inputs, GrantedInput("bank/g-x", "x/data", 1, {"id": "join"}, "x")))
    joins.save("ab" * 32, {joined_versions(others): [f"p{number}" for number in range(12)]})
    assert answer(opened, tmp_path, "joint-statistics", 50, **figures) is None
    joins.save("cd" * 32, {joined_versions(SPEC): [f"p{number}" for number in range(12)]})
    told = answer(opened, tmp_path, "joint-statistics", 50, **figures)
    assert told.code == "DATA_TOO_FEW_ROWS"
