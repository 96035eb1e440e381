"""The evidence log survives torn writes and shows every later change."""

from __future__ import annotations

from pathlib import Path

import pytest

from privcompute.data.evidence import LINE_BYTES_MAX, EvidenceError, EvidenceLog


def filled(folder: Path) -> EvidenceLog:
    log = EvidenceLog(folder / "evidence.jsonl")
    for number in range(3):
        log.append(1_000 + number, "ab", "bound", {"nonce": bytes([number]), "rows": number})
    return log


def test_entries_are_chained_and_private(tmp_path: Path) -> None:
    log = filled(tmp_path)
    entries = list(log.entries())
    assert [entry.number for entry in entries] == [0, 1, 2]
    assert entries[1].previous == entries[0].hash
    assert entries[2].body == {"nonce": {"$bytes": "02"}, "rows": 2}
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_a_torn_last_line_is_cut_off_and_the_chain_goes_on(tmp_path: Path) -> None:
    log = filled(tmp_path)
    with log.path.open("ab") as file:
        file.write(b'{"n": 3, "half')
    assert len(list(log.entries())) == 3
    assert EvidenceLog(log.path).append(2_000, "", "started", {}).number == 3
    assert [entry.kind for entry in log.entries()][-1] == "started"


@pytest.mark.parametrize("line", [0, 1, 2])
def test_a_changed_line_is_named(tmp_path: Path, line: int) -> None:
    log = filled(tmp_path)
    lines = log.path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"kind":"bound"', b'"kind":"blind"')
    log.path.write_bytes(b"".join(lines))
    with pytest.raises(EvidenceError, match=f"line {line + 1} was changed"):
        list(log.entries())


def test_a_removed_or_moved_line_is_named(tmp_path: Path) -> None:
    log = filled(tmp_path)
    lines = log.path.read_bytes().splitlines(keepends=True)
    for order in ([0, 2], [1, 0, 2]):
        log.path.write_bytes(b"".join(lines[place] for place in order))
        with pytest.raises(EvidenceError, match="does not follow"):
            list(log.entries())


def test_rubbish_is_not_an_entry(tmp_path: Path) -> None:
    log = EvidenceLog(tmp_path / "evidence.jsonl")
    for rubbish in (b"\xff\n", b"[]\n", b"{}\n", b"7\n"):
        log.path.write_bytes(rubbish)
        with pytest.raises(EvidenceError, match="not an entry"):
            list(log.entries())


def test_an_oversized_entry_is_refused_before_it_is_written(tmp_path: Path) -> None:
    log = EvidenceLog(tmp_path / "evidence.jsonl")
    with pytest.raises(EvidenceError, match="store its hash"):
        log.append(1, "", "big", "x" * LINE_BYTES_MAX)
    assert list(log.entries()) == []
