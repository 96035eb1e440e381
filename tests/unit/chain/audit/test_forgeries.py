"""No forged package is accepted: the workshop's forgeries, all of them, of several kinds of subjects."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import random
import time
import tracemalloc
from typing import Any

import pytest

from chain.audit.container import pack_file
from chain.audit.package import build_package
from chain.audit.records import RecordKind
from chain.audit.verify import FAILURES_MAX, Verdict, verify_bytes, verify_file
from tests.unit.chain.audit.forging import forgeries, junk, mutations, not_canonical
from tests.unit.chain.audit.kit import records_of

SUBJECTS = ("dataset:bank/credit", "grant:bureau/g1", "contract:policy")


def packages_of(story: Any) -> list[bytes]:
    return [asyncio.run(build_package(story.source, story.genesis, subject)) for subject in SUBJECTS]


@pytest.fixture(scope="module")
def packages(story: Any) -> list[bytes]:
    return packages_of(story)


def test_no_forged_package_is_accepted(story: Any, packages: list[bytes]) -> None:
    """A sample of each kind; the whole workshop makes some 700 of one package."""
    others = [packages[2]]
    true = verify_bytes(packages[0], story.genesis).contents
    assert true is not None
    content, made = true.content_hash, list(forgeries(packages[0], others, seed=1))
    assert len(made) > 500
    chosen = random.Random(7).sample(made, 220)
    for name, data in chosen:
        report = verify_bytes(data, story.genesis)
        if report.contents is not None:  # a header proved by a later certificate: it says the same
            assert "certificate" in name
            assert report.contents.content_hash == content
            continue
        assert report.verdict in (Verdict.INVALID, Verdict.FOREIGN), name
        assert report.failures, name


@pytest.mark.parametrize(
    "said",
    [
        "certificate 1 empty",
        "stale: one height fewer",
        "head: a foreign chain",
        "head: begins at 1",
        "a fork of the last header",
    ],
)
def test_each_kind_of_forgery_is_among_them(packages: list[bytes], said: str) -> None:
    names = [name for name, _ in forgeries(packages[0], [], seed=1)]
    assert any(said.partition(" 1")[0] in name for name in names), said


def test_no_mutated_package_is_accepted(story: Any, packages: list[bytes]) -> None:
    for name, data in mutations(packages[1], seed=3, count=240):
        report = verify_bytes(data, story.genesis)
        assert not report.ok, name
        assert report.failures, name


def test_what_belongs_to_a_package_is_all_there_and_nothing_else(story: Any, packages: list[bytes]) -> None:
    """Each state entry left out, and each of another subject's put in, is refused by name."""
    made = forgeries(packages[1], [packages[2]], seed=1)
    few = [(name, data) for name, data in made if name.startswith("state ") and "after" not in name]
    assert len(few) > 40
    for name, data in few[::4]:
        assert verify_bytes(data, story.genesis).verdict is Verdict.INVALID, name


def test_a_record_in_other_bytes_is_refused(story: Any, packages: list[bytes]) -> None:
    said = verify_bytes(not_canonical(packages[0]), story.genesis).failures
    assert "not the canonical encoding" in said[0].reason


def test_a_file_of_junk_costs_no_more_than_its_first_record(story: Any) -> None:
    """Five megabytes of shortest records took ten seconds, and a gigabyte of faults."""
    file = io.BytesIO(junk(20_000_000))
    tracemalloc.start()
    began = time.process_time()
    report = verify_file(file, story.genesis)
    took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.verdict is Verdict.INVALID
    assert len(report.failures) == 1
    assert peak < 4_000_000
    assert took < 2


def test_reading_ends_when_too_much_is_broken(story: Any, packages: list[bytes]) -> None:
    records = [
        (kind, dataclasses.replace(item, value=b"\xc0") if kind is RecordKind.STATE else item)
        for kind, item in records_of(packages[2])
    ]
    report = verify_bytes(pack_file(records), story.genesis)
    assert len(report.failures) == FAILURES_MAX + 1
    assert "too much is broken" in report.failures[-1].reason
