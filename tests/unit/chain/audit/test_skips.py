"""Skip decisions in audit packages: there with what they explain, proved offline, broken by any change."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from chain.audit.package import build_package
from chain.audit.records import PackageParts
from chain.audit.skips import check_outcomes
from chain.audit.trail import Filters, read_trail
from chain.audit.verify import verify_bytes
from chain.client.proofs import NodeProofs
from chain.ledger.block import Batch, DecodedTransaction, Skip, TransactionBody, sign_transaction
from chain.ledger.testing import toy_certificate, toy_decision, toy_key
from chain.primitives.certificate import payload_digest
from chain.primitives.codec import encode
from chain.primitives.errors import ProofInvalid
from chain.primitives.runtimeport import LIMIT
from chain.primitives.values import encode_value
from tests.unit.chain.audit.kit import forged, parts_of, said_of

REASON = "no node can execute it"


def skip_one(story: Any) -> Skip:
    """Order two calls of a bank's and skip the first by decision; return what was decided."""
    head = story.ledger.head_header
    height = head.height + 1
    calls = []
    for number in range(2):
        body = TransactionBody(
            story.genesis.chain_id,
            toy_key("bank").public,
            "orgs",
            "add_key",
            encode_value({"roles": ["steward"], **story.proved(f"key {number}")}),
            10_000_000,
            (1_000 + number).to_bytes(16, "big"),
            height + 10,
        )
        calls.append(DecodedTransaction.of(sign_transaction(body, toy_key("bank"))))
    ids = tuple(call.id for call in calls)
    payload = encode(Batch(height, 0, 0, story.genesis.validator_keys[0], head.time + 1_000, ids))
    skip = Skip(height, payload_digest(payload), 0, ids[:1], REASON)
    story.ledger.add_skip(toy_decision(story.genesis, skip))
    story.ledger.certify(toy_certificate(story.genesis, story.ledger.execute(height, payload, calls)))
    return skip


@pytest.fixture(scope="module")
def skipped(make_story: Any) -> Any:
    story = make_story()
    story.send("bank", "orgs.add_key", roles=["steward"], **story.proved("before"))
    story.skip = skip_one(story)
    story.send("bank", "orgs.add_key", roles=["steward"], **story.proved("after"))
    return story


@pytest.fixture(scope="module")
def exported(skipped: Any) -> bytes:
    return asyncio.run(build_package(skipped.source, skipped.genesis, "org:bank"))


def test_a_package_with_a_skipped_transaction_holds_and_proves_the_decision(
    skipped: Any, exported: bytes
) -> None:
    report = verify_bytes(exported, skipped.genesis)
    report.require()
    assert report.checked["skips"] == 1
    assert report.contents is not None
    (decision,) = report.contents.skips
    assert decision.skip == skipped.skip
    assert f"height {skipped.skip.height}: 1 transaction, decided by 3 validators" in report.text
    assert f"{skipped.skip.tx_ids[0].hex()} orgs.add_key" in report.text
    assert report.text.count(REASON) >= 2  # in the history, and in the section of decisions


def test_a_height_that_only_ends_the_package_comes_with_its_decision(skipped: Any) -> None:
    """The package shows the state of that height, which follows from what was left out there."""
    height = skipped.skip.height
    data = asyncio.run(build_package(skipped.source, skipped.genesis, "org:registry", 0, height))
    verify_bytes(data, skipped.genesis).require()
    assert [decision.skip.height for decision in parts_of(data).skips] == [height]
    before = asyncio.run(build_package(skipped.source, skipped.genesis, "org:registry", 0, height - 1))
    report = verify_bytes(before, skipped.genesis)
    report.require()
    assert report.checked["skips"] == 0
    assert "Skipped by decision" not in report.text


async def test_a_trail_shows_the_attempt_and_the_reason(skipped: Any) -> None:
    rows = (await read_trail(skipped.source, "org:bank", Filters(), skipped.genesis)).rows
    (row,) = [row for row in rows if row.tx_id == skipped.skip.tx_ids[0].hex()]
    assert (row.event, row.why, row.fields["code"]) == ("orgs.Refused", REASON, "SKIPPED_BY_DECISION")


Forgery = Callable[[PackageParts, Any], object]


def without(parts: PackageParts, _: Any) -> None:
    parts.skips = []


def twice(parts: PackageParts, _: Any) -> None:
    parts.skips *= 2


def one_signature(parts: PackageParts, story: Any) -> None:
    parts.skips = [toy_decision(story.genesis, story.skip, 1)]


def foreign(parts: PackageParts, story: Any) -> None:
    parts.skips = [toy_decision(story.genesis, story.skip, chain_id=bytes(32))]


def other_reason(parts: PackageParts, story: Any) -> None:
    parts.skips = [toy_decision(story.genesis, dataclasses.replace(story.skip, reason="nicer"))]


def other_height(parts: PackageParts, story: Any) -> None:
    moved = dataclasses.replace(story.skip, height=story.skip.height - 1)
    parts.skips = [toy_decision(story.genesis, moved)]


@pytest.mark.parametrize("forge", [without, twice, one_signature, foreign, other_reason, other_height])
def test_a_forged_decision_breaks_the_package(skipped: Any, exported: bytes, forge: Forgery) -> None:
    said = said_of(forged(exported, lambda parts: forge(parts, skipped)), skipped.genesis)
    assert any("skip" in one or "out of order, or there twice" in one for one in said), said


def test_receipts_and_decisions_agree_on_what_ran(skipped: Any, exported: bytes) -> None:
    contents = verify_bytes(exported, skipped.genesis).contents
    assert contents is not None
    check_outcomes(contents)
    (tx_id,) = skipped.skip.tx_ids
    ran = dataclasses.replace(contents.caused[tx_id], status=LIMIT, code="ALLOCATION")
    with pytest.raises(ProofInvalid, match="it ran, though a decision says that it does not"):
        check_outcomes(dataclasses.replace(contents, caused=contents.caused | {tx_id: ran}))
    with pytest.raises(ProofInvalid, match="skipped by decision, but none names it"):
        check_outcomes(dataclasses.replace(contents, skips=[]))


async def test_a_node_that_withholds_the_decision_makes_no_package(skipped: Any) -> None:
    class Withholding:
        async def request(self, rpc_method: str, **params: Any) -> Any:
            assert (rpc_method, params) == ("getSkipDecision", {"height": skipped.skip.height})

    assert await NodeProofs(Withholding()).skip(skipped.skip.height) is None

    class Source(type(skipped.source)):  # type: ignore[misc]
        async def skip(self, height: int) -> None:
            del height

    silent = Source(skipped.ledger.read, skipped.ledger.prove)
    data = await build_package(silent, skipped.genesis, "org:bank")
    with pytest.raises(ProofInvalid, match="name skip decisions of heights"):
        verify_bytes(data, skipped.genesis).require()
