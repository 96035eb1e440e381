"""Audit packages: complete, verified offline, and broken by any change."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.audit.container import MAGIC, PackageDamaged, cut_records, read_container, write_container
from chain.audit.package import build_package, encode_package, read_package
from chain.audit.plans import retrace
from chain.audit.records import PARTS, Contents
from chain.audit.report import CANNOT_PROVE, write_report
from chain.audit.schemas import VersionUsed, check_seals, rows_missing
from chain.audit.trail import SubjectUnknown
from chain.audit.verify import verify, verify_bytes
from chain.cli.main import main
from chain.ledger.genesis import save_genesis
from chain.ledger.proof.proofs import ProvedHistory
from chain.ledger.pruned import UnknownHeight
from chain.ledger.testing import toy_genesis
from chain.primitives.errors import Exit, FileTrouble, LimitError, ProofInvalid
from chain.primitives.runtimeport import map_key
from chain.primitives.values import decode_value
from tests.schemas import column, declaring, seal_of
from tests.unit.chain.audit.conftest import COLUMNS
from tests.unit.chain.audit.ledgersource import LedgerSource


def contents_of(package: bytes) -> Contents:
    found = read_package(read_container(package)).contents
    assert found is not None
    return found


def test_a_package_verifies_offline_against_its_genesis(story: Any, package: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.audit").write_bytes(package)
    save_genesis(tmp_path / "genesis.json", story.genesis)
    report = verify(tmp_path / "p.audit", tmp_path / "genesis.json")
    report.require()
    assert report.ok
    assert report.subject == "dataset:bank/credit"
    assert set(report.checked) == set(PARTS) | {"signers", "schemas", "pages", "plans", "acts"}
    assert report.checked["entries"] == len(contents_of(package).entries) >= 6


@pytest.mark.parametrize("subject", ["grant:bureau/g1", "org:bureau", "contract:policy", "org:registry"])
def test_every_kind_of_subject_can_be_exported(story: Any, subject: str) -> None:
    data = asyncio.run(build_package(story.source, story.genesis, subject))
    verify_bytes(data, story.genesis).require()


def test_a_range_is_proved_between_its_ends(story: Any) -> None:
    last = story.ledger.certified_height - 1
    data = asyncio.run(build_package(story.source, story.genesis, "dataset:bank/credit", last - 2, last))
    report = verify_bytes(data, story.genesis)
    report.require()
    assert (report.first, report.last) == (last - 2, last)
    assert {entry.height for entry in contents_of(data).entries} <= set(range(last - 2, last + 1))


def test_a_package_holds_every_source_that_was_in_force_and_the_policy(story: Any) -> None:
    data = asyncio.run(build_package(story.source, story.genesis, "contract:policy"))
    sources = [s for s in contents_of(data).states if s.key.startswith(b"sources/")]
    assert sum(b"return len(phase)" in (item.value or b"") for item in sources) == 2
    granted = asyncio.run(build_package(story.source, story.genesis, "grant:bureau/g1"))
    states = {(s.namespace, s.key) for s in contents_of(granted).states}
    assert ("lifecycle", map_key("active", "policy")) in states
    assert ("grants", map_key("grants", "bureau/g1")) in states
    assert ("datasets", map_key("datasets", "bank/credit")) in states


def declared_in(package: bytes) -> list[str]:
    """The columns whose declarations a package holds."""
    prefix = map_key("columns", "")[:8]
    rows = [
        s.value for s in contents_of(package).states if s.namespace == "datasets" and s.key.startswith(prefix)
    ]
    return [decode_value(row, max_bytes=1 << 20)["name"] for row in rows if row is not None]


def test_a_package_holds_the_whole_schema_of_its_dataset_and_the_columns_of_its_grant(
    story: Any, package: bytes
) -> None:
    assert sorted(declared_in(package)) == ["income", "person"]
    assert (
        "income: type integer; missing refuse; sensitivity personal; unit EUR" in contents_of(package).report
    )
    granted = asyncio.run(build_package(story.source, story.genesis, "grant:bureau/g1"))
    assert declared_in(granted) == ["income"]


@pytest.mark.parametrize("left_out", ["versions/", "schemas/", "parts/", "columns/"])
def test_a_package_that_lacks_a_row_of_a_schema_is_found(story: Any, package: bytes, left_out: str) -> None:
    contents = contents_of(package)
    contents.states = tuple(
        s for s in contents.states if not (s.namespace == "datasets" and s.key.startswith(left_out.encode()))
    )
    contents.report = write_report(contents, retrace(contents))
    report = verify_bytes(encode_package(contents), story.genesis)
    assert [failure.part for failure in report.failures] == ["schemas"]
    assert f"datasets.{left_out[:-1]}[" in report.failures[0].reason


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
    contents = contents_of(data)
    second = map_key("columns", ("bank", seal_of(versions[1]), "b"))
    contents.states = tuple(item for item in contents.states if item.key != second)
    contents.report = write_report(contents, retrace(contents))
    report = verify_bytes(encode_package(contents), told.genesis)
    assert [failure.reason[:19] for failure in report.failures] == ["bank/d version 2: d"]
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
    assert rows_missing(used, known) == []
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
            rows_missing(used, known | {map_key(name, key): broken})


def test_a_height_without_its_own_certificate_is_proved_by_a_later_one(package: bytes) -> None:
    assert any(len(proof.headers) > 1 for proof in contents_of(package).headers.values())


def test_any_changed_byte_is_found(story: Any, package: bytes) -> None:
    """Every part, every tenth of it; the whole file in the container's own test below."""
    source = random.Random(1)
    at = 0
    while at < len(package):
        changed = bytearray(package)
        changed[at] ^= 1 << source.randrange(8)
        report = verify_bytes(bytes(changed), story.genesis)
        assert not report.ok, at
        assert report.failures, at
        at += max(1, len(package) // 150)


def test_any_changed_byte_anywhere_breaks_the_container(package: bytes) -> None:
    small = write_container(bytes(32), "org:x", 0, 1, {name: [name.encode()] for name in PARTS})
    for at in range(len(small)):
        changed = small[:at] + bytes([small[at] ^ 1]) + small[at + 1 :]
        try:
            assert read_container(changed).damaged, at
        except PackageDamaged:
            continue
    for cut in (0, 5, len(MAGIC) + 2, len(package) // 2, len(package) - 1):
        with pytest.raises(PackageDamaged):
            read_container(package[:cut])
    with pytest.raises(PackageDamaged, match="longer or shorter"):
        read_container(package + b"\0")


def test_a_changed_byte_names_the_part_and_the_proof_that_broke(story: Any, package: bytes) -> None:
    contents = contents_of(package)
    tx, state, entry = contents.transactions[2], contents.states[-1], contents.entries[-1]
    for name, found, expected in (
        ("transactions", tx.transaction.signature, "the sender's signature does not hold"),
        ("states", state.value, f"state of {state.namespace} at height {state.height}: the value is another"),
        ("entries", entry.event.fields, "history of dataset:bank/credit"),
    ):
        assert found is not None
        part = package.index(cut_records(name, read_container(package).parts[name])[0])
        at = package.index(found, part) + len(found) - 3
        changed = package[:at] + bytes([package[at] ^ 1]) + package[at + 1 :]
        failures = [str(failure) for failure in verify_bytes(changed, story.genesis).failures]
        assert failures[0] == f"{name}: its bytes do not have the hash that the manifest gives"
        assert any(expected in failure for failure in failures[1:]), failures


Forgery = Callable[[Contents], object]


def drop_entry(contents: Contents) -> None:
    contents.entries = contents.entries[:2] + contents.entries[3:]


def swap_entries(contents: Contents) -> None:
    contents.entries = (contents.entries[1], contents.entries[0], *contents.entries[2:])


def reword_event(contents: Contents) -> None:
    first = contents.entries[-1]
    event = dataclasses.replace(first.event, name="Nothing")
    contents.entries = (*contents.entries[:-1], dataclasses.replace(first, event=event))


def drop_receipt(contents: Contents) -> None:
    contents.receipts = contents.receipts[1:]


def drop_transaction(contents: Contents) -> None:
    contents.transactions = contents.transactions[1:]


def change_receipt(contents: Contents) -> None:
    item = contents.receipts[0]
    contents.receipts = (
        dataclasses.replace(item, receipt=dataclasses.replace(item.receipt, gas_used=1)),
        *contents.receipts[1:],
    )


def resign_header(contents: Contents) -> None:
    height, proof = next((h, p) for h, p in contents.headers.items() if len(p.headers) == 1)
    header = dataclasses.replace(proof.headers[0], time=1)
    contents.headers[height] = dataclasses.replace(proof, headers=(header,))


def drop_header(contents: Contents) -> None:
    del contents.headers[contents.entries[-1].height]


def hide_signer(contents: Contents) -> None:
    contents.states = tuple(s for s in contents.states if not s.key.startswith(b"keys/"))


def hide_source(contents: Contents) -> None:
    contents.states = tuple(s for s in contents.states if not s.key.startswith(b"sources/"))


def hide_contract(contents: Contents) -> None:
    contents.states = tuple(s for s in contents.states if not s.key.startswith(b"active/"))


def hide_record(contents: Contents) -> None:
    contents.states = tuple(s for s in contents.states if s.namespace != "datasets")


def change_state(contents: Contents) -> None:
    changed = dataclasses.replace(contents.states[-1], value=b"\xc0")
    contents.states = (*contents.states[:-1], changed)


def lie_in_report(contents: Contents) -> None:
    contents.report = contents.report.replace("bank", "bonk")


def other_validators(contents: Contents) -> None:
    span = contents.validators[0]
    contents.validators = (dataclasses.replace(span, validators=span.validators[:1]),)


def other_range(contents: Contents) -> None:
    contents.last -= 1


def other_subject(contents: Contents) -> None:
    contents.subject = "dataset:other"


FORGERIES: dict[str, tuple[Forgery, str]] = {
    "an entry left out": (drop_entry, "history: "),
    "entries in another order": (swap_entries, "history: "),
    "an event reworded": (reword_event, "history: "),
    "a receipt left out": (drop_receipt, "entries: "),
    "a transaction left out": (drop_transaction, "entries: "),
    "a receipt changed": (change_receipt, "receipts: receipt of"),
    "a header changed": (resign_header, "headers: "),
    "a header left out": (drop_header, "transactions: "),
    "a signer hidden": (hide_signer, "states: key"),
    "a source hidden": (hide_source, "states: source"),
    "a contract hidden": (hide_contract, "states: lifecycle.active"),
    "the subject's record hidden": (hide_record, "states: datasets.datasets[bank/credit]"),
    "a state entry changed": (change_state, "states: state of"),
    "another text": (lie_in_report, "report: "),
    "other validators": (other_validators, "validators: "),
    "another range": (other_range, "history: "),
    "another subject": (other_subject, "history: "),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forger_who_recomputes_every_hash_meets_the_proofs(story: Any, package: bytes, name: str) -> None:
    forge, expected = FORGERIES[name]
    contents = contents_of(package)
    forge(contents)
    report = verify_bytes(encode_package(contents), story.genesis)
    assert not report.ok
    assert any(str(failure).startswith(expected) for failure in report.failures), report.failures
    with pytest.raises(ProofInvalid):
        report.require()


def test_another_genesis_is_named(package: bytes) -> None:
    report = verify_bytes(package, toy_genesis())
    assert [failure.part for failure in report.failures] == ["manifest"]
    assert toy_genesis().chain_id.hex() in report.failures[0].reason


def test_what_is_not_a_package_says_so(story: Any, tmp_path: Path) -> None:
    save_genesis(tmp_path / "genesis.json", story.genesis)
    assert "not an audit package" in str(verify_bytes(b"PK\x03\x04", story.genesis).failures[0])
    with pytest.raises(FileTrouble, match="none: cannot be read"):
        verify(tmp_path / "none", tmp_path / "genesis.json")


def test_random_bytes_in_every_part_raise_nothing(story: Any, package: bytes) -> None:
    source = random.Random(2)
    container = read_container(package)
    for name in PARTS:
        parts = {part: cut_records(part, body) for part, body in container.parts.items()}
        parts[name] = [source.randbytes(40), *parts[name]]
        data = write_container(story.genesis.chain_id, "dataset:bank/credit", 0, 3, parts)
        assert not verify_bytes(data, story.genesis).ok


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


def test_the_report_says_who_did_what_why_and_what_cannot_be_proved(package: bytes) -> None:
    contents = contents_of(package)
    text = contents.report
    assert text == write_report(contents, retrace(contents))
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


@pytest.mark.parametrize("more", [[], ["--report"], ["--json"]])
def test_a_file_with_words_that_a_terminal_would_obey_is_judged_in_plain_text(
    story: Any, package: bytes, tmp_path: Path, more: list[str]
) -> None:
    """The subject that a hostile file names stood raw in the lines of its failures."""
    true = b"dataset:bank/credit"
    evil = (b"dataset:\x1b]0;pwn\x07\x1b[2J\n  ok " * 9)[: len(true)]
    changed = package.replace(true, evil)
    assert changed != package
    save_genesis(tmp_path / "genesis.json", story.genesis)
    for name, data in (("a.audit", changed), ("b\x1b[2J.audit", b"PK\x03\x04"), ("c.audit", evil * 50)):
        (tmp_path / name).write_bytes(data)
        words = ["audit", "verify", str(tmp_path / name), "--genesis", str(tmp_path / "genesis.json"), *more]
        told = CliRunner().invoke(main, words)
        assert told.exit_code in (Exit.REFUSED, Exit.DAMAGED), (told.output, told.exception)
        assert all(char == "\n" or char.isprintable() for char in told.output), told.output
