"""Audit packages across changes of the validator set: whoever trusts the genesis follows them offline."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chain.audit.package import build_package
from chain.audit.records import PackageParts
from chain.audit.trail import read_trail
from chain.audit.verify import Verdict, verify_bytes
from chain.ledger.genesis import Limits
from chain.ledger.testing import toy_key
from chain.primitives.values import Value
from tests.unit.chain.audit.forging import forgeries
from tests.unit.chain.audit.kit import forged, parts_of, said_of

WINDOW = 3
SEATS = """
nodes = Var(list, [])

@init
def setup(nodes: list, limits: dict):
    put(nodes)

@export
def seat(chosen: list):
    put(chosen)

def put(chosen: list):
    nodes.set(chosen)
"""


def seats(*names: str) -> list[Value]:
    return [
        {"org": "bank", "name": name, "public_key": toy_key(name).public, "address": "", "role": "validator"}
        for name in names
    ]


def moved_story(make_story: Any) -> Any:
    """Founders, then n1 alone, then four others: no quorum of the last set knows the first."""
    story = make_story({"governance": SEATS}, Limits(consensus_window=WINDOW))
    for names in (("n1",), ("n2", "n3", "n4", "n5")):
        story.send("bank", "governance.seat", chosen=seats(*names))
        for number in range(WINDOW + 1):
            story.send("bank", "orgs.add_key", roles=["steward"], **story.proved(f"{names[0]}-{number}"))
    return story


@pytest.fixture(scope="module")
def moved(make_story: Any) -> Any:
    return moved_story(make_story)


@pytest.fixture(scope="module")
def exported(moved: Any) -> bytes:
    return asyncio.run(build_package(moved.source, moved.genesis, "org:bank"))


def test_a_package_across_three_sets_verifies_with_the_genesis_alone(moved: Any, exported: bytes) -> None:
    report = verify_bytes(exported, moved.genesis)
    report.require()
    assert report.contents is not None
    assert [span.first for span in report.contents.spans] == [0, 1 + WINDOW, 5 + 1 + WINDOW]
    for line in ("from height 9: 3 of these 4 certify", "- n3 (bank):", "- regulator-node (regulator):"):
        assert line in report.text


def test_a_range_that_ends_before_a_change_does_not_need_it(moved: Any) -> None:
    data = asyncio.run(build_package(moved.source, moved.genesis, "org:bank", 0, 3))
    verify_bytes(data, moved.genesis).require()
    assert len(parts_of(data).sets) == 1


def test_trails_follow_the_sets(moved: Any) -> None:
    async def rows() -> int:
        return len((await read_trail(moved.source, "org:bank", genesis=moved.genesis)).rows)

    assert asyncio.run(rows()) >= 2 * WINDOW


def test_no_package_verifies_whose_sets_do_not_follow(moved: Any, exported: bytes) -> None:
    made = [one for one in forgeries(exported, [], seed=1) if one[0].startswith(("set ", "validators "))]
    assert len(made) > 16
    for name, data in made:
        assert verify_bytes(data, moved.genesis).verdict is Verdict.INVALID, name


def test_a_set_that_nothing_in_a_package_needs_is_refused(moved: Any, exported: bytes) -> None:
    early = asyncio.run(build_package(moved.source, moved.genesis, "org:bank", 0, 3))

    def add(parts: PackageParts) -> None:
        parts.sets = parts_of(exported).sets

    (said,) = said_of(forged(early, add), moved.genesis)
    assert "validators from height 9: nothing here needs them" in said
