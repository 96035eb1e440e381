"""Audit packages of contracts that name libraries: each source is in them, withdrawn or not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chain.audit.container import read_container
from chain.audit.evidence import record_keys
from chain.audit.package import build_package, encode_package, read_package
from chain.audit.records import Contents
from chain.audit.verify import verify_bytes
from chain.primitives.runtimeport import map_key
from chain.primitives.values import decode_value, encode_value
from contracts.language.ir import source_hash

LIBRARY = "LEAST = 2\n\n\ndef long(phase: str) -> bool:\n    return len(phase) > LEAST\n"
DIGEST = source_hash(LIBRARY)
POLICY = (
    f'lib = Library("{DIGEST.hex()}")\n\n\n'
    "@view\ndef allow(job: dict, phase: str) -> bool:\n    return lib.long(phase)\n"
)
SUBJECT = f"library:{DIGEST.hex()}"


@pytest.fixture(scope="module")
def told(make_story: Any) -> Any:
    """A library that a policy in force names, and that its publisher has withdrawn."""
    story = make_story()
    story.send("bureau", "lifecycle.publish", source=LIBRARY)
    story.send("bureau", "lifecycle.propose", name="policy", source=POLICY, arguments={}, terms={})
    stored = story.ledger.read.entries(subject="contract:policy", limit=1_000).entries[-1]
    voted = decode_value(stored.event.fields, max_bytes=10_000)["hash"]
    for org in ("bank", "regulator"):
        story.send(org, "lifecycle.approve", name="policy", seq=1, hash=voted)
    story.send("bank", "lifecycle.commit", name="policy", seq=1)
    story.send("bureau", "lifecycle.withdraw_library", source_hash=DIGEST)
    return story


def contents_of(package: bytes) -> Contents:
    found = read_package(read_container(package)).contents
    assert found is not None
    return found


def test_a_package_of_a_contract_holds_its_libraries_also_a_withdrawn_one(told: Any) -> None:
    data = asyncio.run(build_package(told.source, told.genesis, "contract:policy"))
    verify_bytes(data, told.genesis).require()
    held = {item.key: item.value for item in contents_of(data).states}
    assert held[map_key("sources", DIGEST)] == encode_value(LIBRARY)
    assert f"library lib {DIGEST.hex()}" in contents_of(data).report


def test_a_package_without_the_source_of_a_library_in_force_is_refused(told: Any) -> None:
    contents = contents_of(asyncio.run(build_package(told.source, told.genesis, "contract:policy")))
    place = map_key("sources", DIGEST)
    contents.states = tuple(item for item in contents.states if item.key != place)
    report = verify_bytes(encode_package(contents), told.genesis)
    assert any(f"source {DIGEST.hex()[:16]}" in failure.reason for failure in report.failures), (
        report.failures
    )


def test_the_history_of_a_library_can_be_exported_with_its_record_and_source(told: Any) -> None:
    data = asyncio.run(build_package(told.source, told.genesis, SUBJECT))
    verify_bytes(data, told.genesis).require()
    held = {item.key: item.value for item in contents_of(data).states}
    assert held[map_key("libraries", DIGEST)] is None
    assert held[map_key("sources", DIGEST)] == encode_value(LIBRARY)


def test_a_name_that_is_no_hash_has_no_records() -> None:
    assert [key[2] for key in record_keys(SUBJECT, 9)] == [DIGEST, DIGEST]
    for ident in ("", "roles", DIGEST.hex().upper(), DIGEST.hex()[:-1], DIGEST.hex() + "00"):
        assert record_keys(f"library:{ident}", 9) == []
