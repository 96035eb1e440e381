"""Audit packages of contracts that name libraries: each source is in them, withdrawn or not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chain.audit.closure import subject_keys
from chain.audit.package import build_package
from chain.audit.verify import VerificationReport, verify_bytes
from chain.primitives.runtimeport import map_key
from chain.primitives.values import decode_value, encode_value
from contracts.language.ir import source_hash
from tests.unit.chain.audit.kit import forged, said_of, without_states

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


def held_in(report: VerificationReport) -> dict[bytes, bytes | None]:
    report.require()
    assert report.contents is not None
    return {key: value for (_, _, key), value in report.contents.states.items()}


def test_a_package_of_a_contract_holds_its_libraries_also_a_withdrawn_one(told: Any) -> None:
    data = asyncio.run(build_package(told.source, told.genesis, "contract:policy"))
    report = verify_bytes(data, told.genesis)
    assert held_in(report)[map_key("sources", DIGEST)] == encode_value(LIBRARY)
    assert f"library lib {DIGEST.hex()}" in report.text


def test_a_package_without_the_source_of_a_library_in_force_is_refused(told: Any) -> None:
    data = asyncio.run(build_package(told.source, told.genesis, "contract:policy"))
    place = map_key("sources", DIGEST)
    hidden = forged(data, lambda parts: without_states(parts, lambda row: row.key == place))
    (said,) = said_of(hidden, told.genesis)
    assert said.startswith(f"closure: lifecycle.sources[{DIGEST.hex()}] at height ")


def test_the_history_of_a_library_can_be_exported_with_its_record_and_source(told: Any) -> None:
    data = asyncio.run(build_package(told.source, told.genesis, SUBJECT))
    held = held_in(verify_bytes(data, told.genesis))
    assert held[map_key("libraries", DIGEST)] is None
    assert held[map_key("sources", DIGEST)] == encode_value(LIBRARY)


def test_a_name_that_is_no_hash_has_no_records() -> None:
    assert subject_keys(("$hash",), DIGEST.hex()) == [DIGEST]
    for ident in ("", "roles", DIGEST.hex().upper(), DIGEST.hex()[:-1], DIGEST.hex() + "00"):
        assert subject_keys(("$hash",), ident) == []
