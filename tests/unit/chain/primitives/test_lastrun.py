"""The record of a run: it is whole, of one process, says how the run ended, and is never believed blindly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.primitives import lastrun
from chain.primitives.errors import ConfigError, DecodeError, Exit, FileTrouble
from chain.primitives.lastrun import REASON_CHARS_MAX, TIME_MS_MAX, LastRun, read_run, recorded
from tests.unit.chain.fulldisk import full_disk

RUN = LastRun(12, 1_000, "/c/bank/node.log")
SIGNALLED = """import os, signal, sys
from pathlib import Path
from chain.primitives.lastrun import recorded
with recorded(Path(sys.argv[1])):
    os.kill(os.getpid(), int(sys.argv[2]))
"""


def signalled(path: Path, number: int) -> int:
    """Return how a process ends that sends itself a signal while it is recorded."""
    return subprocess.run([sys.executable, "-c", SIGNALLED, path, str(int(number))], check=False).returncode


def kept(path: Path) -> LastRun:
    found = read_run(path)
    assert found is not None
    return found


def test_a_run_that_goes_on_has_no_end_and_one_that_ended_as_told_has_no_reason(tmp_path: Path) -> None:
    path = tmp_path / "node.run"
    assert read_run(path) is None
    with recorded(path):
        during = kept(path)
        assert (during.pid, during.ended, during.status, during.reason) == (os.getpid(), None, None, "")
        assert during.logs == os.readlink("/proc/self/fd/2")
    after = kept(path)
    assert (after.pid, after.began, after.status, after.reason) == (os.getpid(), during.began, 0, "")
    assert after.ended is not None
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ConfigError("a = 5: too much"), Exit.CONFIG, "error [config]: a = 5: too much"),
        (OSError(5, "Input/output error", "/data"), Exit.IO, "error [system]: /data: Input/output error"),
        (ZeroDivisionError("oops"), Exit.BUG, "error [bug]: ZeroDivisionError: oops"),
        (SystemExit(3), 3, ""),
        (SystemExit("words"), Exit.REFUSED, ""),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_that_ends_a_run_is_kept_with_its_status_and_goes_on(
    tmp_path: Path, error: BaseException, status: int, reason: str
) -> None:
    path = tmp_path / "node.run"
    with pytest.raises(type(error)), recorded(path):
        raise error
    assert (kept(path).status, kept(path).reason) == (status, reason)


def test_words_of_an_error_are_bounded_and_nothing_in_them_is_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "node.run"
    with pytest.raises(ConfigError), recorded(path):
        raise ConfigError("\x1b[2J\udc80" + "ä" * 10_000)
    assert kept(path).reason.startswith(r"error [config]: \x1b[2J\udc80ää")
    assert len(kept(path).reason) == REASON_CHARS_MAX


def test_a_second_process_that_fails_beside_a_running_one_leaves_its_record_alone(tmp_path: Path) -> None:
    path = tmp_path / "node.run"
    with recorded(path):
        before = path.read_bytes()
        with pytest.raises(ConfigError), recorded(path):
            raise ConfigError("data in use")
        assert path.read_bytes() == before


def test_a_process_that_is_killed_writes_no_end_and_the_next_may_write(tmp_path: Path) -> None:
    path = tmp_path / "node.run"
    assert signalled(path, signal.SIGKILL) == -signal.SIGKILL
    assert kept(path).ended is None
    assert kept(path).pid != os.getpid()
    with recorded(path):
        assert kept(path).pid == os.getpid()


def test_a_process_that_is_told_to_end_before_it_listens_for_that_ends_so_and_says_it(tmp_path: Path) -> None:
    path = tmp_path / "node.run"
    assert signalled(path, signal.SIGTERM) == -signal.SIGTERM
    found = kept(path)
    assert (found.status, found.reason) == (143, "")
    assert found.ended is not None


def test_a_signal_means_after_a_run_what_it_meant_before(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with recorded(tmp_path / "node.run"):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_where_nothing_can_be_written_the_process_runs_and_says_that_it_is_not_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (tmp_path / "none" / "node.run", tmp_path / "node.run"):
        ran = []
        with full_disk(), recorded(path):
            ran.append(path)
        assert ran
        assert read_run(path) is None
        assert f"is not recorded, so `assent status` cannot tell how it ended: {path}" in caplog.text


def test_the_end_of_a_run_that_filled_the_disk_is_written_over_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most frequent cause of an end by itself was the one that could not be written down."""
    path = tmp_path / "node.run"

    def full(*_: Any) -> None:
        raise FileTrouble("no room")

    def fills_the_disk() -> NoReturn:
        monkeypatch.setattr(lastrun, "replace_file", full)
        raise ConfigError("disk" * 1_000)

    with pytest.raises(ConfigError), recorded(path):
        fills_the_disk()
    monkeypatch.undo()
    assert kept(path).reason.startswith("error [config]: disk")
    assert path.stat().st_size < 4_096, "within the block that the beginning took"


BROKEN = {
    "empty": b"",
    "no JSON": b"{",
    "a list": b"[]",
    "text": b'"x"',
    "deep": b"[" * 20_000,
    "not UTF-8": b"\xff\xfe{}",
    "another field": json.dumps({"pid": 1, "began": 1, "logs": "", "more": 1}).encode(),
    "a field is missing": b'{"pid": 1}',
    "a large number": b'{"pid": ' + b"9" * 5_000 + b', "began": 1, "logs": ""}',
}
FIELDS: dict[str, list[Any]] = {
    "pid": [0, -1, True, "1", 1.0, 2**64, None],
    "began": [-1, TIME_MS_MAX + 1, "now", None, float("nan")],
    "logs": [None, 5, "x" * 5_000],
    "ended": [-1, TIME_MS_MAX + 1, "x", False],
    "status": [-1, 256, "0", True],
    "reason": [None, 5, "x" * (REASON_CHARS_MAX + 1)],
}
BROKEN |= {
    f"{name} {str(value)[:9]}": json.dumps(
        json.loads(RUN.after(2_000, None).encode()) | {name: value}
    ).encode()
    for name, values in FIELDS.items()
    for value in values
}
BROKEN["an end without a status"] = json.dumps(asdict(RUN) | {"ended": 5}).encode()


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_no_process_writes_is_no_record(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.run"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=r"node\.run: not a record of a run"):
        read_run(path)


def test_a_record_that_is_no_file_or_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "node.run"
    os.mkfifo(path)
    with pytest.raises(FileTrouble, match="a named pipe"):
        read_run(path)
    path.unlink()
    path.write_bytes(b" " * 100_000)
    with pytest.raises(FileTrouble, match="more than 65536 bytes"):
        read_run(path)


@given(st.text(), st.integers(0, TIME_MS_MAX))
def test_a_record_is_read_as_it_was_written(text: str, now: int) -> None:
    ended = RUN.after(now, ConfigError(text))
    assert LastRun(**json.loads(ended.encode())) == ended


def test_only_the_folder_of_the_running_process_holds_its_record_and_a_copy_does_not(tmp_path: Path) -> None:
    path, copied = tmp_path / "node.run", tmp_path / "copy"
    assert not lastrun.is_held(path)
    with recorded(path):
        shutil.copytree(tmp_path, copied)
        assert lastrun.is_held(path)
        assert kept(copied / "node.run") == kept(path)
        assert not lastrun.is_held(copied / "node.run")
    assert not lastrun.is_held(path)


def test_a_lock_that_is_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "node.run"
    os.mkfifo(tmp_path / "node.run.lock")
    assert not lastrun.is_held(path)
