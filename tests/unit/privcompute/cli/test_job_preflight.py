"""Preflight tells an owner and a requester everything at once, with figures of their own data alone."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from chain.primitives.errors import Exit
from chain.primitives.values import Value
from privcompute.cli import job_preflight
from privcompute.cli.common import UsageFault
from privcompute.cli.job_commands import job
from privcompute.cli.job_preflight import Told, as_json_of, print_told
from privcompute.cli.own_judgement import OwnAgent, OwnJudgement, judge_own, judge_own_as_it_stands
from privcompute.data.exposed import Taken, TakenOfColumn, marks_of
from privcompute.job.chain_reader import ChainReader, at_once
from privcompute.job.enforcement import ProvedFacts
from privcompute.job.proposal import GrantLeft, Obstacle
from privcompute.job.size import JobSize, size_of
from privcompute.job.view import JobView
from privcompute.pages.columns import InputColumn, JobInput
from tests.unit.privcompute.job.standing import standard_work
from tests.unit.privcompute.job.test_enforcement import SPEC
from tests.unit.privcompute.job.test_task import (
    FIGURES,
    STATISTICS,
    World,
    world,
)

__all__ = ["world"]
JOB = "ab" * 32
KEY = InputColumn("id", "text", "join")
EVIL = "[/x]\x1b[2J\n  approved by all\u202e"


def agent_of(world: World, org: str) -> OwnAgent:
    agent = world.agents[org]
    return OwnAgent(agent.identity, agent.stores.datasets, agent.stores.joins, agent.stores.exposed)


async def judged(world: World, org: str, job_id: str) -> OwnJudgement:
    ledger: Any = world.ledger
    reader = ChainReader(ledger, at_once)
    view = await reader.job(job_id)
    assert view is not None
    own = await judge_own(agent_of(world, org), reader, view)
    assert own is not None
    return own


async def test_an_owner_sees_its_own_figures_of_a_proposed_job(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privcompute.cli.own_judgement.now_ms", lambda: world.ledger.chain.time)
    world.grant_all(STATISTICS)
    own = await judged(world, "bureau", world.propose(STATISTICS, FIGURES))
    assert own.obstacles == []
    assert (own.dataset, own.version, own.rows, own.joined) == ("bureau/data", 1, 70, None)
    assert own.columns == [
        ("amount", "aggregate", "integer", "66 to 273"),
        ("person", "join", "text", "70 different"),
    ]


async def test_an_owner_reads_everything_that_its_agent_would_find_and_how_much_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent ends the job with the first code, and others learn no number."""
    monkeypatch.setattr("privcompute.cli.own_judgement.now_ms", lambda: world.ledger.chain.time)
    monkeypatch.setattr("privcompute.pages.work.SHARED_BOUND", 200)
    world.grant_all(STATISTICS)
    pair: Value = [["scores", "amount"], ["people", "amount"]]
    asked: dict[str, Value] = {"receivers": ["bank"], "columns": [], "correlations": [pair]}
    own = await judged(world, "bureau", world.propose(STATISTICS, asked, min_group=75))
    assert [one.code for one in own.obstacles] == ["DATA_TOO_FEW_ROWS", "DATA_OUT_OF_RANGE"]
    assert "70 rows" in own.obstacles[0].says
    assert {one.about for one in own.obstacles} == {"bureau/data@1"}


async def test_what_the_agent_would_refuse_and_changed_data_are_both_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privcompute.cli.own_judgement.now_ms", lambda: world.ledger.chain.time)
    world.grant_all(STATISTICS)
    job_id = world.propose(STATISTICS, FIGURES)
    world.ledger.do("bureau", "grants", "suspend", id="bank/g-bureau", reason="")
    table = world.folder / "bureau" / "data.csv"
    table.write_text(table.read_text() + "p999,1,1\n")
    own = await judged(world, "bureau", job_id)
    assert [one.code for one in own.obstacles] == ["GRANT_SUSPENDED", "DATA_CHANGED"]
    assert "71 rows now, 70 then" in own.obstacles[1].says


async def test_data_of_a_job_that_ended_are_judged_still(world: World) -> None:
    """So an owner learns what the code stood for that its agent filed."""
    world.grant_all(STATISTICS)
    job_id = world.propose(STATISTICS, FIGURES, min_group=75)
    world.ledger.do("bank", "jobs", "abort", job=job_id, cause="STOPPED", detail={}, evidence=b"")
    assert [one.code for one in (await judged(world, "bureau", job_id)).obstacles] == ["DATA_TOO_FEW_ROWS"]


async def test_a_job_that_ends_while_it_is_judged_is_judged_as_it_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of two moments contradicted each other: a proposed job seemed to lack what its end gave back."""
    world.grant_all(STATISTICS)
    job_id = world.propose(STATISTICS, FIGURES, min_group=75)
    ledger: Any = world.ledger
    reader = ChainReader(ledger, at_once)
    facts = reader.facts

    async def ended_first(view: JobView, org: str) -> ProvedFacts:
        world.ledger.do("bank", "jobs", "abort", job=job_id, cause="STOPPED", detail={}, evidence=b"")
        return await facts(view, org)

    monkeypatch.setattr(reader, "facts", ended_first)
    monkeypatch.setattr("privcompute.cli.own_judgement.now_ms", lambda: world.ledger.chain.time)
    judged = await judge_own_as_it_stands(agent_of(world, "bureau"), reader, job_id)
    assert judged is not None
    view, own = judged
    assert view.state == "aborted"
    assert [one.code for one in own.obstacles] == ["DATA_TOO_FEW_ROWS"]


async def test_an_owner_reads_which_limits_of_exact_figures_a_job_meets_before_its_agent_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privcompute.cli.own_judgement.now_ms", lambda: world.ledger.chain.time)
    world.grant_all(STATISTICS, "exact-aggregate")
    job_id = world.propose(STATISTICS, FIGURES)
    store = world.agents["bureau"].stores.exposed
    marks = marks_of(["p1", "p2", "p3"], np.array([1, 2, 3]))
    name = store.keep_set("bureau/data@1", "amount", 1, marks)
    taken = Taken(columns={"amount": TakenOfColumn(Fraction(1), frozenset({name}))})
    store.take("bureau/data@1", "earlier", taken)
    own = await judged(world, "bureau", job_id)
    assert [one.code for one in own.obstacles] == ["EXACT_FIGURES_SPENT"]
    (found,) = own.obstacles
    assert (found.about, found.do != "") == ("bureau/data@1", True)
    assert "which took 100.0% of the limit" in found.says
    assert list(store.memory("bureau/data@1").open) == ["earlier"], "nothing is remembered of a preflight"


# --- the command


def told(*obstacles: Obstacle, text: str = "x") -> Told:
    left = GrantLeft(3, 2, 1, 11)
    own = OwnJudgement("bank", "bank/loans", 1, 100, 90, [(text, "join", "text", "100 different")], [])
    grants = {"bank/g-1": (left, 1_800_000_000_000)}
    return Told(text, obstacles, [text], "verified", own, grants, join=text)


def command(monkeypatch: pytest.MonkeyPatch, *words: str, found: Told | None = None) -> Any:
    async def answer(*_: Any) -> Told:
        return found or told()

    monkeypatch.setattr(job_preflight, "_of_job", answer)
    monkeypatch.setattr(job_preflight, "_of_request", answer)
    return CliRunner().invoke(job, ["preflight", *words, "--node", "http://h:1"])


def test_the_status_is_1_if_anything_is_found_and_0_else(monkeypatch: pytest.MonkeyPatch) -> None:
    some = told(Obstacle("bank/g-1", "QUOTA_EXHAUSTED", "all runs are used", "request a new grant"))
    for words in ((JOB,), (JOB, "--json")):
        assert command(monkeypatch, *words).exit_code == 0
        assert command(monkeypatch, *words, found=some).exit_code == Exit.REFUSED
    shown = command(monkeypatch, JOB, found=some).output
    assert "1 finding" in shown
    assert "do: request a new grant" in shown
    said = json.loads(command(monkeypatch, JOB, "--json", found=some).output)
    assert said == as_json_of(some)
    assert said["findings"][0]["code"] == "QUOTA_EXHAUSTED"
    assert said["grants"] == [
        {
            "grant": "bank/g-1",
            "allows": False,
            "runs": 3,
            "free_answers_today": 1,
            "free_answers": 11,
            "new_joins": 2,
            "expires": 1_800_000_000_000,
        }
    ]


def test_what_is_neither_a_file_nor_a_job_is_named_with_both_forms(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = command(monkeypatch, "reprot.toml")
    assert answer.exit_code == Exit.REFUSED
    assert "'reprot.toml': no such file, and no job" in answer.output
    both = command(monkeypatch, JOB, "--min-group", "5")
    assert "options describe a job that is not proposed yet" in both.output
    file = tmp_path / "abcd"
    file.write_text("program = 5\n")
    monkeypatch.chdir(tmp_path)
    assert "program" in command(monkeypatch, "abcd").output, "a file of that name is read, not looked up"


def test_an_owner_without_its_folder_is_told_to_give_it() -> None:
    answer = CliRunner().invoke(job, ["preflight", JOB, "--node", "http://127.0.0.1:1"])
    assert answer.exit_code == Exit.CONFIG
    assert "give --as ORGDIR" in answer.output


def test_a_size_that_ends_a_job_later_is_found_and_what_it_takes_is_said() -> None:
    inputs = [JobInput(one.dataset, owner, (KEY,)) for owner, one in enumerate(SPEC.inputs)]

    def sized(bucket: str) -> JobSize:
        rows = {(one.dataset, one.version): {"size_bucket": bucket} for one in SPEC.inputs}
        size = size_of(standard_work("private-join", inputs, {"receivers": ["bank"]}), SPEC, "registry", rows)
        assert size is not None
        return size

    spec = replace(SPEC, raw={"deadlines": {"run": 10_000}})
    few, large = sized("<=100"), sized("<=10000000")
    found = list(job_preflight._of_size(few, 105, spec))
    assert [(one.about, one.code) for one in found] == [
        (one.dataset, "DATA_TOO_FEW_ROWS") for one in SPEC.inputs
    ]
    assert "at most 100 rows by its registration, and the job needs 105" in found[0].says
    (late,) = job_preflight._of_size(large, 105, spec)
    assert (late.about, late.code) == ("deadline run", "JOB_TOO_LONG")
    assert "--deadline run=" in late.do
    said = job_preflight.size_said(large, 10)
    assert said.startswith("150 to 1,500 s of one core at each party")
    assert "720 to 6,120 MB" in said
    assert "allowed are 10 s" in said


@pytest.mark.parametrize("text", [EVIL, "a" * 300, "grants " * 60])
def test_whatever_members_wrote_stays_text_of_80_columns(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_told(told(Obstacle(text, "POLICY_DENIED", text, text), text=text))
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() for line in lines)
    assert not [line for line in lines if line.startswith("  approved by all")]
    assert all(len(line) <= 80 for line in lines[1:]), "the first line repeats what was typed"


def test_a_finding_of_our_own_agent_is_left_out_where_the_rows_gave_its_code() -> None:
    row, agents = Obstacle("bank/g-1", "GRANT_REVOKED", "", ""), "our agent (bank)"
    found = [row, Obstacle(agents, "GRANT_REVOKED", "", ""), Obstacle(agents, "ROOT_MISMATCH", "", ""), row]
    assert [(one.about, one.code) for one in job_preflight._distinct(found)] == [
        ("bank/g-1", "GRANT_REVOKED"),
        (agents, "ROOT_MISMATCH"),
    ]


def test_what_the_registered_size_says_is_left_out_where_the_table_itself_says_it() -> None:
    size, other = (
        Obstacle("bank/d", "DATA_TOO_FEW_ROWS", "", ""),
        Obstacle("bureau/d", "DATA_TOO_FEW_ROWS", "", ""),
    )
    own = Obstacle("bank/d@1", "DATA_TOO_FEW_ROWS", "", "")
    assert job_preflight._distinct([size, other, own]) == [other, own]


def test_names_of_jobs_have_four_digits_at_least() -> None:
    with pytest.raises(UsageFault, match="no such file"):
        job_preflight._job_of("abc", {})
