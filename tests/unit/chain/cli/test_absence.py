"""Why a process does not run: of its last run, with times, and never from a log line of a run before."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.cli import consortium as starting
from chain.cli import processes
from chain.cli.absence import LINE_CHARS_MAX, Traces, explain_absence, traces
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder
from chain.cli.main import main
from chain.primitives.errors import ConfigError
from chain.primitives.lastrun import LastRun, recorded

DAY_MS = 86_400_000
"""The second of January 1970, at midnight."""
RUN = LastRun(7, DAY_MS, "/dev/null")
TOLD = RUN.after(2 * DAY_MS, None)
FAILED = RUN.after(2 * DAY_MS, ConfigError("a = 5: too much"))
LINE = "error [port_busy]: of a month ago"


@pytest.fixture
def two(tmp_path: Path) -> ConsortiumFolder:
    """Two organisations, the first with an agent, of which nothing runs."""
    return create_consortium(tmp_path / "c", ["bank", "bureau"], ["bank"], 0, "two")


def invoke(*words: str) -> Any:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize("process", ["node", "agent"])
def test_each_end_is_said_with_its_time_and_what_to_do(process: str) -> None:
    def said(left: Traces) -> str:
        return explain_absence(process, left, "go")

    assert said(Traces(None)) == f"the {process} does not run\n  start it with: go"
    assert said(Traces(TOLD, line=LINE)) == (
        f"the {process} does not run: it was told to end, and did so at 1970-01-03 00:00:00.000 UTC\n"
        "  start it with: go"
    )
    assert said(Traces(FAILED, line="INFO all is well")) == (
        f"the {process} stopped by itself at 1970-01-03 00:00:00.000 UTC: error [config]: a = 5: too much\n"
        "  once that is mended: go"
    )
    cut = said(Traces(RUN, line=LINE, written=DAY_MS + 5))
    assert f"the {process} began its last run at 1970-01-02 00:00:00.000 UTC and wrote no end of it" in cut
    assert "it was killed, its machine went down (dmesg tells" in cut
    assert f"; its last log line, of 1970-01-02 00:00:00.005 UTC, is: {LINE}\n  start it with: go" in cut


@pytest.mark.parametrize("process", ["node", "agent"])
def test_what_keeps_its_record_and_cannot_be_seen_is_not_said_to_have_been_killed(process: str) -> None:
    """An agent in a container of its own, asked about in the container of its node."""
    told = explain_absence(process, Traces(RUN, line=LINE, held=True), "go")
    assert told == (
        f"the {process} that began at 1970-01-02 00:00:00.000 UTC runs where this command cannot see it, in "
        "another container or as another user; it logs to /dev/null"
    )
    ended = explain_absence(process, Traces(TOLD, held=True), "go")
    assert "it was told to end" in ended


def test_an_agent_whose_process_cannot_be_seen_is_unseen_and_not_stopped(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = two.orgs[0]
    monkeypatch.setattr(processes, "find", lambda *_: None)
    with recorded(bank.run("agent")):
        found = json.loads(invoke("status", str(bank.path), "--json").output)
    assert [agent["state"] for agent in found["agents"]] == ["unseen"]
    assert "runs where this command cannot see it" in found["agents"][0]["stall"]


def test_without_a_record_the_last_line_of_the_log_has_its_time_and_is_not_taken_for_the_cause() -> None:
    """A node that was killed had "stopped by itself: error [port_busy]", of a start a month before."""
    said = explain_absence("node", Traces(None, line=LINE, written=DAY_MS), "go")
    assert said == (
        f"the node does not run; its last log line, of 1970-01-02 00:00:00.000 UTC, is: {LINE}\n"
        "  start it with: go"
    )
    long = explain_absence("node", Traces(None, line="x" * 100_000, written=DAY_MS), "go")
    assert len(long) < LINE_CHARS_MAX + 200


def test_a_process_that_start_began_after_the_recorded_run_is_not_explained_by_that_run() -> None:
    later = Traces(TOLD, begun=(9, 3 * DAY_MS))
    assert explain_absence("node", later, "go") == (
        "the node that was begun as process 9 at 1970-01-04 00:00:00.000 UTC ended without a record of its "
        "run\n  start it with: go"
    )
    for earlier in (replace(later, begun=(9, 0)), replace(later, begun=(7, 3 * DAY_MS))):
        assert "it was told to end" in explain_absence("node", earlier, "go")
    assert "begun as process 9" in explain_absence("node", replace(later, run=None), "go")


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": "\x1b[2J"}', b"\x00" * 9])
def test_a_record_that_is_damaged_is_named_and_nothing_else_is_believed_of_it(
    two: ConsortiumFolder, content: bytes
) -> None:
    bank = two.org("bank")
    bank.run("node").write_bytes(content)
    bank.log("node").write_text("2026 INFO the last line\n")
    told = invoke("status", str(two.path), "--org", "bank")
    assert told.exception is None
    assert f"the node does not run ({bank.run('node')}: not a record of a run" in told.output
    assert "UTC, is: 2026 INFO the last line" in told.output
    bank.run("node").unlink()
    os.mkfifo(bank.run("node"))
    bank.pid("node").write_text("nonsense")
    assert "node.run: cannot be read (a named pipe" in invoke("status", str(two.path)).output


def test_what_a_record_says_of_a_stranger_is_printed_as_it_stands(two: ConsortiumFolder) -> None:
    bank = two.org("bank")
    bank.run("node").write_bytes(replace(FAILED, reason="[red]\x1b[2J\u202e").encode())
    told = invoke("status", str(two.path), "--org", "bank").output
    assert r"[red]\x1b[2J\u202e" in told


def test_an_agent_is_explained_by_its_own_record(two: ConsortiumFolder) -> None:
    bank = two.org("bank")
    bank.run("agent").write_bytes(FAILED.encode())
    assert traces(bank, "agent").run == FAILED
    assert traces(bank, "node").run is None
    told = invoke("status", str(two.path), "--org", "bank").output
    assert "the agent stopped by itself at 1970-01-03 00:00:00.000 UTC: error [config]: a = 5" in told


def test_logs_say_of_which_run_they_are_when_nothing_runs(two: ConsortiumFolder) -> None:
    """The old lines were shown without a mark, as if they were those of the run that had been killed."""
    bank = two.org("bank")
    log = bank.log("node")
    log.write_text("a line\n")
    os.utime(log, (5 * DAY_MS / 1_000, 5 * DAY_MS / 1_000))
    since = "its log was written last at 1970-01-06 00:00:00.000 UTC"
    said = invoke("logs", str(two.path), "bank")
    assert said.stdout == "a line\n"
    assert said.stderr == f"note: the node does not run; {since}\n"
    bank.run("node").write_bytes(replace(RUN, logs=str(log.resolve())).encode())
    said = invoke("logs", str(two.path), "bank")
    assert said.stderr.startswith("note: the node began its last run at 1970-01-02")
    assert said.stderr.endswith(f"{since}\n")
    bank.run("node").write_bytes(RUN.encode())
    said = invoke("logs", str(two.path), "bank")
    assert said.stderr.endswith(f"{since}, and that run logged elsewhere, to /dev/null\n")
    assert said.stdout == "a line\n"


def test_a_start_says_that_the_run_before_was_cut_off(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = two.org("bank")
    monkeypatch.setattr(processes, "start", lambda *_: True)
    for record, note in (
        (RUN.encode(), " (its last run, begun at 1970-01-02 00:00:00.000 UTC, was cut off: it wrote no end)"),
        (TOLD.encode(), ""),
        (b"nonsense", ""),
    ):
        bank.run("node").write_bytes(record)
        begun: starting.Begun = {}
        starting._begin(bank, "node", begun)
        assert starting._word(bank, "node", begun) == f"started{note}"
