"""The lock that whoever changes a file holds: one at a time, nothing left behind, and never for ever."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from chain.primitives import onechange
from chain.primitives.errors import FileTrouble
from chain.primitives.files import replace_file
from chain.primitives.onechange import BeingChanged, one_change

CHANGES = 25


def test_no_change_is_lost_where_many_change_one_file(tmp_path: Path) -> None:
    file, begin = tmp_path / "count", threading.Barrier(4)
    file.write_text("0")

    def count_up() -> None:
        begin.wait()
        for _ in range(CHANGES):
            with one_change(file):
                replace_file(file, str(int(file.read_text()) + 1).encode())

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_text() == str(4 * CHANGES)
    assert list(tmp_path.iterdir()) == [file]


def test_whoever_finds_it_held_too_long_is_told_what_is_changed_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    told = pytest.raises(BeingChanged, match=r"tokens\.json: another command changes it")
    with one_change(file), told, one_change(file, wait_s=0.0):
        pytest.fail("two hold it")
    with one_change(file, wait_s=0.0):
        assert (tmp_path / ".tokens.json.lock").exists()
    assert not list(tmp_path.iterdir())


def test_the_lock_file_of_a_process_that_was_killed_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / ".x.lock").write_text("")
    with one_change(tmp_path / "x", wait_s=0.0):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_that_goes_while_one_waits_for_it_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opened the file before its holder removed it would hold a lock that nobody else can see."""
    lock, locked = tmp_path / ".x.lock", onechange.fcntl.flock

    def gone_first(descriptor: int, how: int) -> None:
        monkeypatch.setattr(onechange.fcntl, "flock", locked)
        lock.unlink()
        locked(descriptor, how)

    monkeypatch.setattr(onechange.fcntl, "flock", gone_first)
    with one_change(tmp_path / "x"):
        held = os.stat(lock)
        assert held.st_nlink == 1
        with pytest.raises(BeingChanged), one_change(tmp_path / "x", wait_s=0.0):
            pass


def test_a_lock_that_cannot_be_made_names_the_cause_and_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".x.lock").mkdir()
    with pytest.raises(FileTrouble, match=r"\.x\.lock: .* \(Is a directory\)"), one_change(tmp_path / "x"):
        pass
    (tmp_path / ".y.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileTrouble, match=r"\.y\.lock: cannot be written"), one_change(tmp_path / "y"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_where_its_folder_is_not_there_the_reader_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), one_change(tmp_path / "gone" / "x"):
        (tmp_path / "gone" / "x").read_bytes()
