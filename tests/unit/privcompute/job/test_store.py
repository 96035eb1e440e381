"""What an agent keeps of a job survives a restart, and damage is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from privcompute.job.actions import Recovered, ResultCommit
from privcompute.job.store import JobFileError, JobProgress, JobStore, StatusBoard

JOB = "ab" * 32


def test_a_job_file_gives_the_state_machine_what_it_needs(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs")
    file = store.load(JOB)
    assert store.unfinished() == [JOB], "a job is written down as soon as it is known"
    assert file.recovered() == Recovered()
    made = {"hash": "cd" * 32, "schema": "s/1", "metrics": {}}
    store.update(file, commitment="ef" * 32, computing=True, result=made)
    assert store.load(JOB).recovered() == Recovered(
        bytes.fromhex("ef" * 32), True, ResultCommit(bytes.fromhex("cd" * 32), "s/1", {})
    )
    assert (tmp_path / "jobs" / f"{JOB}.json").stat().st_mode & 0o777 == 0o600
    store.remove(JOB)
    assert store.unfinished() == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"job": "x", "colour": 1}', '{"job": "x", "commitment": "zz"}']
)
def test_a_damaged_job_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / f"{JOB}.json").write_text(text)
    with pytest.raises(JobFileError, match=JOB):
        JobStore(tmp_path).load(JOB)


def test_the_status_board_shows_the_last_step_and_keeps_the_newest_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privcompute.job.store.STATUS_FILES_MAX", 3)
    board = StatusBoard(tmp_path / "status")
    for number in range(5):
        board.post(JobProgress(f"{number:064x}", step="join", done=number, total=9), 1_000 + number)
    assert len(list((tmp_path / "status").glob("*.json"))) == 3
    seen = board.read(f"{4:064x}")
    assert seen is not None
    assert (seen["step"], seen["done"], seen["updated_ms"]) == ("join", 4, 1_004)
    assert board.read("ff" * 32) is None
