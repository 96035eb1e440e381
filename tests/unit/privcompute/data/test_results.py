"""What an owner keeps of finished jobs is bound to its hash, and to the joint order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from privcompute.data.results import JoinStore, ResultError, ResultStore, canonical, make_result

SECRETS = {"shares": b"h" * 32, "salt": b"s" * 32}


def test_a_stored_result_is_bound_to_its_hash(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results")
    made = make_result("ab" * 32, "statistics", "rep3", "statistics/1", {"mean": 0.5, "n": 3}, **SECRETS)
    path = store.save(made)
    assert path.stat().st_mode & 0o777 == 0o600
    assert store.load(made.job) == made
    path.write_text(path.read_text().replace("0.5", "0.25"))
    with pytest.raises(ResultError, match="do not match"):
        store.load(made.job)
    assert store.load("cd" * 32) is None


def test_results_are_finite_plain_values_with_one_canonical_form() -> None:
    assert canonical({"a": [1, 0.5, "x", None]}) == {"a": [1, {"$real": "0.5"}, "x", None]}
    assert canonical(-0.0) == canonical(0.0)
    with pytest.raises(ResultError, match="nan"):
        make_result("j", "p", "rep3", "s", {"x": float("nan")}, **SECRETS)


def test_the_rows_that_a_job_matched_are_kept_in_the_joint_order_and_nothing_for_none(tmp_path: Path) -> None:
    store, job = JoinStore(tmp_path / "joins"), "ab" * 32
    store.save(job, {b"v" * 32: []})
    assert not store.folder.exists()
    store.save(job, {b"v" * 32: ["p3", "p1"], b"w" * 32: []})
    path = store.folder / f"{job}.json"
    assert json.loads(path.read_text()) == {"job": job, "joins": {"76" * 32: ["p3", "p1"]}}
    assert path.stat().st_mode & 0o777 == 0o600


def test_rows_that_were_joined_of_versions_are_known_to_every_later_job_over_them(tmp_path: Path) -> None:
    store, versions = JoinStore(tmp_path / "joins"), b"v" * 32
    assert store.rows_of(versions) is None
    store.save("ab" * 32, {versions: ["p3", "p1"]})
    assert store.rows_of(versions) == ["p3", "p1"]
    assert store.rows_of(b"w" * 32) is None
    (path,) = store.folder.glob("versions-*")
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{}")
    with pytest.raises(ResultError, match="damaged"):
        store.rows_of(versions)
