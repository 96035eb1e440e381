"""What is sealed opens for its agent and its job alone, and is gone when it is destroyed."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.primitives.crypto import PrivateKey
from privcompute.data.sealed import SealedError, SealedStore

JOB, OTHER = "ab" * 32, "cd" * 32
KEY = PrivateKey(b"k" * 32)


def test_what_is_sealed_is_read_again_and_shows_nothing_on_disk(tmp_path: Path) -> None:
    store = SealedStore(tmp_path / "held", KEY)
    store.save(JOB, b"a secret share")
    (path,) = (tmp_path / "held").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"secret" not in path.read_bytes()
    assert SealedStore(tmp_path / "held", KEY).load(JOB) == b"a secret share"
    assert store.jobs() == [JOB]


def test_a_sealed_file_of_another_job_key_or_content_does_not_open(tmp_path: Path) -> None:
    store = SealedStore(tmp_path, KEY)
    store.save(JOB, b"a secret share")
    path = tmp_path / f"{JOB}.sealed"
    (tmp_path / f"{OTHER}.sealed").write_bytes(path.read_bytes())
    for read, job in ((store, OTHER), (SealedStore(tmp_path, PrivateKey(b"l" * 32)), JOB)):
        with pytest.raises(SealedError, match="damaged"):
            read.load(job)
    for damage in (b"", path.read_bytes()[:-1], path.read_bytes()[:-1] + b"\0", b"\0" * 60):
        path.write_bytes(damage)
        with pytest.raises(SealedError, match=JOB):
            store.load(JOB)


def test_what_is_destroyed_is_missing(tmp_path: Path) -> None:
    store = SealedStore(tmp_path, KEY)
    store.save(JOB, b"")
    assert store.destroy(JOB)
    assert not store.destroy(JOB)
    assert store.jobs() == []
    with pytest.raises(SealedError, match="missing"):
        store.load(JOB)
