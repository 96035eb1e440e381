"""Audit packages: complete, verified offline, and broken by any change."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.audit.container import MAGIC
from chain.audit.package import build_package, encode_package
from chain.audit.records import Contents, PackageParts
from chain.audit.report import CANNOT_PROVE
from chain.audit.schemas import VersionUsed, check_seals, rows_named
from chain.audit.trail import SubjectUnknown
from chain.audit.verify import PARTS, Verdict, verify, verify_bytes
from chain.cli.main import main
from chain.ledger.genesis import Genesis, save_genesis
from chain.ledger.proof.proofs import ProvedHistory
from chain.ledger.pruned import UnknownHeight
from chain.ledger.testing import toy_genesis
from chain.primitives.errors import Exit, FileTrouble, LimitError, ProofInvalid
from chain.primitives.runtimeport import map_key
from chain.primitives.values import decode_value
from tests.schemas import column, declaring, seal_of
from tests.unit.chain.audit.conftest import COLUMNS
from tests.unit.chain.audit.kit import forged, parts_of, said_of, without_states
from tests.unit.chain.audit.ledgersource import LedgerSource


def contents_of(package: bytes, genesis: Genesis) -> Contents:
    found = verify_bytes(package, genesis).contents
    assert found is not None
    return found


def test_a_package_verifies_offline_against_its_genesis(story: Any, package: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.audit").write_bytes(package)
    save_genesis(tmp_path / "genesis.json", story.genesis)
    report = verify(tmp_path / "p.audit", tmp_path / "genesis.json")
    report.require()
    assert report.ok
    assert report.contents is not None
    assert report.contents.subject == "dataset:bank/credit"
    assert set(report.checked) == {*PARTS, "entries", "validators", "skips", "signers"} | {
        "schemas", "pages", "plans", "acts",
    }  # fmt: skip
    assert report.checked["entries"] == len(report.contents.entries) >= 6


@pytest.mark.parametrize("subject", ["grant:bureau/g1", "org:bureau", "contract:policy", "org:registry"])
def test_every_kind_of_subject_can_be_exported(story: Any, subject: str) -> None:
    data = asyncio.run(build_package(story.source, story.genesis, subject))
    verify_bytes(data, story.genesis).require()


def test_a_range_is_proved_between_its_ends(story: Any) -> None:
    last = story.ledger.certified_height - 1
    data = asyncio.run(build_package(story.source, story.genesis, "dataset:bank/credit", last - 2, last))
    report = verify_bytes(data, story.genesis)
    report.require()
    assert report.contents is not None
    assert (report.contents.first, report.contents.last) == (last - 2, last)
    assert {entry.height for entry in report.contents.entries} <= set(range(last - 2, last + 1))


def test_a_package_holds_every_source_that_was_in_force_and_the_policy(story: Any) -> None:
    data = asyncio.run(build_package(story.source, story.genesis, "contract:policy"))
    held = contents_of(data, story.genesis).states
    sources = [value for (_, _, key), value in held.items() if key.startswith(b"sources/")]
    assert sum(b"return len(phase)" in (value or b"") for value in sources) == 2
    granted = asyncio.run(build_package(story.source, story.genesis, "grant:bureau/g1"))
    states = {place[1:] for place in contents_of(granted, story.genesis).states}
    assert ("lifecycle", map_key("active", "policy")) in states
    assert ("grants", map_key("grants", "bureau/g1")) in states
    assert ("datasets", map_key("datasets", "bank/credit")) in states


def declared_in(contents: Contents) -> list[str]:
    """The columns whose declarations a package holds."""
    rows = [value for key, value in contents.at_last("datasets").items() if key.startswith(b"columns/")]
    return [decode_value(row, max_bytes=1 << 20)["name"] for row in rows if row is not None]


def test_a_package_holds_the_whole_schema_of_its_dataset_and_the_columns_of_its_grant(
    story: Any, package: bytes
) -> None:
    report = verify_bytes(package, story.genesis)
    assert report.contents is not None
    assert sorted(declared_in(report.contents)) == ["income", "person"]
    assert "income: type integer; missing refuse; sensitivity personal; unit EUR" in report.text
    granted = asyncio.run(build_package(story.source, story.genesis, "grant:bureau/g1"))
    assert declared_in(contents_of(granted, story.genesis)) == ["income"]


@pytest.mark.parametrize("left_out", ["versions/", "schemas/", "parts/", "columns/"])
def test_a_package_that_lacks_a_row_of_a_schema_is_found(story: Any, package: bytes, left_out: str) -> None:
    def hide(parts: PackageParts) -> None:
        without_states(parts, lambda row: row.namespace == "datasets" and row.key.startswith(prefix))

    prefix = left_out.encode()
    said = said_of(forged(package, hide), story.genesis)
    assert [one.partition(": ")[0] for one in said] == ["closure", "schemas"]
    assert all(f"datasets.{left_out[:-1]}[" in one for one in said)


def test_each_version_whose_schema_a_package_holds_is_a_check_of_its_own(make_story: Any) -> None:
    """Of a package of several versions one count told nothing of which of them is proved."""
    told = make_story()
    versions = [[column("id", "text", "identifier"), column(name, "decimal")] for name in ("a", "b", "c")]
    for number, columns in enumerate(versions):
        for method, args in declaring(columns):
            told.send("bank", f"datasets.{method}", **args)
        given = {"id": "bank/d", "schema": seal_of(columns), "root": bytes([number]) * 32, "size_bucket": ""}
        more = {"approvers": ["bank"], "threshold": 1, "description": ""}
        method = "new_version" if number else "register"
        told.send("bank", f"datasets.{method}", **given, **({} if number else more))
    data = asyncio.run(build_package(told.source, told.genesis, "dataset:bank/d"))
    report = verify_bytes(data, told.genesis)
    report.require()
    assert report.checked["schemas"] == 3
    second = map_key("columns", ("bank", seal_of(versions[1]), "b"))
    hidden = forged(data, lambda parts: without_states(parts, lambda row: row.key == second))
    report = verify_bytes(hidden, told.genesis)
    assert [failure.reason[:19] for failure in report.failures[1:]] == ["bank/d version 2: d"]
    assert report.checked["schemas"] == 2, "the other versions are proved still"


def test_columns_that_do_not_make_the_seal_are_found() -> None:
    known: dict[bytes, Any] = {
        map_key("versions", ("bank/credit", 1)): {"schema": seal_of(COLUMNS)},
        map_key("schemas", ("bank", seal_of(COLUMNS))): {"key": ["person"], "parts": 1},
        map_key("parts", ("bank", seal_of(COLUMNS), 0)): ["person", "income"],
    }
    for one in COLUMNS:
        known[map_key("columns", ("bank", seal_of(COLUMNS), one["name"]))] = one
    used = [VersionUsed("bank/credit", 1, None)]
    assert {map_key(*row) for row in rows_named(used, known)} == set(known)
    check_seals(used, known)
    known[map_key("parts", ("bank", seal_of(COLUMNS), 0))] = ["income", "person"]
    with pytest.raises(ProofInvalid, match="do not make the seal"):
        check_seals(used, known)
    for name, broken in (("schemas", {"parts": 10**9}), ("parts", [1]), ("versions", {"schema": 1})):
        key = (
            ("bank/credit", 1)
            if name == "versions"
            else ("bank", seal_of(COLUMNS), *([0] * (name == "parts")))
        )
        with pytest.raises(ProofInvalid, match="ask another node"):
            rows_named(used, known | {map_key(name, key): broken})


def test_a_height_without_its_own_certificate_is_proved_by_a_later_one(package: bytes) -> None:
    assert any(len(proof.headers) > 1 for proof in parts_of(package).headers.values())


def test_a_package_taken_apart_and_made_again_is_the_same(package: bytes) -> None:
    assert encode_package(parts_of(package)) == package


def test_any_changed_byte_makes_a_file_unreadable(story: Any, package: bytes) -> None:
    source = random.Random(1)
    for at in range(0, len(package), max(1, len(package) // 300)):
        changed = bytearray(package)
        changed[at] ^= 1 << source.randrange(8)
        assert verify_bytes(bytes(changed), story.genesis).verdict is Verdict.UNREADABLE, at
    for cut in (0, 5, len(MAGIC) + 2, len(package) // 2, len(package) - 1):
        assert verify_bytes(package[:cut], story.genesis).verdict is Verdict.UNREADABLE
    assert verify_bytes(package + b"\0", story.genesis).verdict is Verdict.UNREADABLE


def test_a_byte_changed_in_any_record_is_found_by_whoever_makes_the_hash_anew(
    story: Any, package: bytes
) -> None:
    """Every record, once: content and evidence of every kind."""
    source, at = random.Random(2), len(MAGIC)
    while at < len(package) - 32:
        size = int.from_bytes(package[at + 1 : at + 5], "big")
        changed = bytearray(package[:-32])
        changed[at + 5 + source.randrange(size)] ^= 1 << source.randrange(8)
        report = verify_bytes(bytes(changed) + sha256(changed).digest(), story.genesis)
        assert report.verdict in (Verdict.INVALID, Verdict.FOREIGN), at
        assert report.contents is None
        at += 5 + size


def test_another_genesis_is_named(package: bytes) -> None:
    report = verify_bytes(package, toy_genesis())
    assert report.verdict is Verdict.FOREIGN
    assert toy_genesis().chain_id.hex() in report.failures[0].reason


def test_what_is_not_a_package_says_so(story: Any, tmp_path: Path) -> None:
    save_genesis(tmp_path / "genesis.json", story.genesis)
    assert "not an audit package" in str(verify_bytes(b"PK\x03\x04", story.genesis).failures[0])
    with pytest.raises(FileTrouble, match="none: cannot be read"):
        verify(tmp_path / "none", tmp_path / "genesis.json")


def test_an_unknown_subject_and_an_impossible_range_are_refused(story: Any) -> None:
    with pytest.raises(SubjectUnknown, match="dataset:nothing"):
        asyncio.run(build_package(story.source, story.genesis, "dataset:nothing"))
    top = story.ledger.certified_height
    for first, last, error, said in (
        (5, 4, LimitError, "--from 5: above --to 4"),
        (0, top + 1, UnknownHeight, f"--to {top + 1}: the newest certified height is {top}"),
    ):
        with pytest.raises(error, match=said):
            asyncio.run(build_package(story.source, story.genesis, "dataset:bank/credit", first, last))


class Liar(LedgerSource):
    """A node that leaves an entry out of a history."""

    async def history(self, subject: str, first: int, last: int) -> ProvedHistory:
        true = await super().history(subject, first, last)
        return dataclasses.replace(true, entries=true.entries[:-1])


def test_a_lying_node_is_caught_when_the_package_is_checked(story: Any) -> None:
    source = Liar(story.ledger.read, story.ledger.prove)
    data = asyncio.run(build_package(source, story.genesis, "dataset:bank/credit"))
    with pytest.raises(ProofInvalid, match=r"history: .*missing"):
        verify_bytes(data, story.genesis).require()


def test_the_report_says_who_did_what_why_and_what_cannot_be_proved(story: Any, package: bytes) -> None:
    text = verify_bytes(package, story.genesis).text
    for expected in (
        "dataset:bank/credit",
        "owner's review",
        "consent withdrawn",
        "credit-risk-model",
        "bank",
        "3 of these 4 certify",
        *CANNOT_PROVE,
    ):
        assert expected in text, expected


def test_a_package_is_the_same_bytes_however_often_it_is_made(story: Any, package: bytes) -> None:
    assert asyncio.run(build_package(story.source, story.genesis, "dataset:bank/credit")) == package


def test_more_than_a_thousand_proofs_are_checked_a_second(story: Any, package: bytes) -> None:
    verify_bytes(package, story.genesis)
    began = time.process_time()
    checked = verify_bytes(package, story.genesis).checked.total()
    assert checked / (time.process_time() - began) > 1_000


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_file_with_words_that_a_terminal_would_obey_is_judged_in_plain_text(
    story: Any, package: bytes, tmp_path: Path, more: list[str]
) -> None:
    """The subject that a hostile file names stood raw in the lines of its failures."""
    true = b"dataset:bank/credit"
    evil = (b"dataset:\x1b]0;pwn\x07\x1b[2J\n  ok " * 9)[: len(true)]
    changed = package[:-32].replace(true, evil)
    changed += sha256(changed).digest()
    save_genesis(tmp_path / "genesis.json", story.genesis)
    for name, data in (("a.audit", changed), ("b\x1b[2J.audit", b"PK\x03\x04"), ("c.audit", evil * 50)):
        (tmp_path / name).write_bytes(data)
        words = ["audit", "verify", str(tmp_path / name), "--genesis", str(tmp_path / "genesis.json"), *more]
        told = CliRunner().invoke(main, words)
        assert told.exit_code in (Exit.IO, Exit.DAMAGED), (told.output, told.exception)
        assert all(char == "\n" or char.isprintable() for char in told.output), told.output
