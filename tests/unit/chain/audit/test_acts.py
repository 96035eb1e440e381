"""Packages prove which keys saw an act, against a contract that counts otherwise, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chain.audit.package import build_package
from chain.audit.records import PackageParts
from chain.audit.verify import VerificationReport, verify_bytes
from chain.ledger.testing import START_MS, toy_key
from chain.primitives.acts import PENDING_MS
from tests.rules.plants import PLANTS
from tests.unit.chain.audit.conftest import Story
from tests.unit.chain.audit.kit import forged, said_of

GRANT, BANK = "grant:bureau/g1", "org:bank"


def told(fault: str = "", *, act: Callable[[Story], object] | None = None) -> Story:
    """A bank with two stewards asks two keys for approvals; what `act` does comes last."""
    story = Story({"orgs": PLANTS[fault].texts()["orgs"]} if fault else None)
    story.tell_dataset()
    for name, roles in (("anna", ["steward"]), ("ben", ["steward"]), ("robot", ["steward", "agent"])):
        story.send("bank", "orgs.add_key", roles=roles, **story.proved(name))
    story.send("bank", "orgs.set_eyes", act="approvals", dataset="", k=2)
    story.request("bureau/g1", policy="", expires=START_MS + 10 * PENDING_MS)
    (act or both)(story)
    return story


def approve(story: Story, who: str, **terms: Any) -> Any:
    return story.send(who, "grants.approve", id="bureau/g1", terms=terms)


def both(story: Story) -> None:
    approve(story, "anna")
    assert approve(story, "ben") == "active"


def audit(story: Story, subject: str, *heights: int) -> VerificationReport:
    data = asyncio.run(build_package(story.source, story.genesis, subject, *heights))
    return verify_bytes(data, story.genesis)


@pytest.fixture(scope="module")
def seen() -> Story:
    return told()


@pytest.mark.parametrize("subject", [GRANT, BANK])
def test_a_package_names_the_keys_that_saw_an_act_and_their_transactions(seen: Story, subject: str) -> None:
    report = audit(seen, subject)
    report.require()
    assert report.checked["acts"] == 1
    section = report.text.split("Acts that several keys saw")[1].split("\n\n")[1]
    assert section.startswith("- grants.approve of bank at height ")
    assert "2 keys, 2 asked for" in section
    keys = [line.split(",")[0].removeprefix("    key ") for line in section.splitlines()[1:]]
    assert keys == [toy_key("anna").public.hex(), toy_key("ben").public.hex()]


def test_a_range_that_begins_between_two_keys_holds_what_the_first_signed(seen: Story) -> None:
    last = seen.ledger.certified_height
    report = audit(seen, GRANT, last, last)
    report.require()
    assert report.checked["acts"] == 1
    assert toy_key("anna").public.hex() in report.text


def test_an_organisation_that_asks_nothing_has_no_such_acts(story: Any) -> None:
    assert audit(story, "org:bank").checked["acts"] == 0


def alone(story: Story) -> None:
    approve(story, "anna")


def twice(story: Story) -> None:
    approve(story, "anna")
    approve(story, "anna")


def otherwise(story: Story) -> None:
    approve(story, "anna", min_group=20)
    approve(story, "ben")


def by_a_robot(story: Story) -> None:
    approve(story, "anna")
    approve(story, "robot")


def late(story: Story) -> None:
    approve(story, "anna")
    story.wait_ms(PENDING_MS)
    approve(story, "ben")


def after_its_end(story: Story) -> None:
    approve(story, "anna")
    story.send("bank", "orgs.revoke_key", key=toy_key("anna").public, reason="lost")
    approve(story, "ben")


@pytest.mark.parametrize(
    ("fault", "act", "said"),
    [
        ("one-eye-short", alone, "done by one key, though bank asked for 2"),
        ("one-key-is-two-eyes", twice, "1 distinct keys, 2 were asked for"),
        ("other-arguments-count-together", otherwise, "is another call, or has other arguments"),
        ("agents-have-eyes", by_a_robot, "which do not count for approvals"),
        ("lapsed-act-counts", late, "more than three days"),
        ("revoked-key-has-eyes", after_its_end, "the act is of another"),
    ],
)
def test_a_contract_that_counts_otherwise_is_found_out(
    fault: str, act: Callable[[Story], object], said: str
) -> None:
    story = told(fault, act=act)
    report = audit(story, BANK)
    assert not report.ok
    assert said in str(report.failures[0])


def test_a_package_without_a_transaction_by_which_a_key_saw_an_act_is_found_out(seen: Story) -> None:
    last = seen.ledger.certified_height
    data = asyncio.run(build_package(seen.source, seen.genesis, GRANT, last, last))

    def hide(parts: PackageParts) -> None:
        parts.transactions = [item for item in parts.transactions if item.height == last]

    said = said_of(forged(data, hide), seen.genesis)
    assert any("by which a key saw it, is not in the package" in one for one in said)
