"""Audit packages across changes of the validator set: whoever trusts the genesis follows them offline."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from chain.audit.container import read_container
from chain.audit.package import build_package, encode_package, read_package
from chain.audit.records import Contents
from chain.audit.trail import trail
from chain.audit.verify import verify_bytes
from chain.ledger.genesis import Limits
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.testing import toy_key
from chain.primitives.errors import ProofInvalid
from chain.primitives.values import Value

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


@pytest.fixture(scope="module")
def moved(make_story: Any) -> Any:
    """Founders, then n1 alone, then four others: no quorum of the last set knows the first."""
    story = make_story({"governance": SEATS}, Limits(consensus_window=WINDOW))
    for names in (("n1",), ("n2", "n3", "n4", "n5")):
        story.send("bank", "governance.seat", chosen=seats(*names))
        for number in range(WINDOW + 1):
            story.send("bank", "orgs.add_key", roles=["steward"], **story.proved(f"{names[0]}-{number}"))
    return story


@pytest.fixture(scope="module")
def exported(moved: Any) -> bytes:
    return asyncio.run(build_package(moved.source, moved.genesis, "org:bank"))


def contents_of(package: bytes) -> Contents:
    found = read_package(read_container(package)).contents
    assert found is not None
    return found


def test_a_package_across_three_sets_verifies_with_the_genesis_alone(moved: Any, exported: bytes) -> None:
    report = verify_bytes(exported, moved.genesis)
    report.require()
    assert [span.from_height for span in contents_of(exported).validators] == [0, 1 + WINDOW, 5 + 1 + WINDOW]
    for line in ("from height 9: 3 of these 4 certify", "- n3 (bank):", "- regulator-node (regulator):"):
        assert line in report.text


def test_a_range_that_ends_before_a_change_does_not_need_it(moved: Any) -> None:
    data = asyncio.run(build_package(moved.source, moved.genesis, "org:bank", 0, 3))
    verify_bytes(data, moved.genesis).require()
    assert len(contents_of(data).validators) == 2


def test_trails_follow_the_sets(moved: Any) -> None:
    async def rows() -> int:
        found = trail(moved.source, "org:bank", verifier=ProofVerifier(moved.genesis))
        return len([row async for row in found])

    assert asyncio.run(rows()) >= 2 * WINDOW


def hide_last(contents: Contents) -> None:
    contents.validators = contents.validators[:-1]


def hide_middle(contents: Contents) -> None:
    contents.validators = (contents.validators[0], contents.validators[2])


def swap_key(contents: Contents) -> None:
    first, second, third = contents.validators
    keys = (toy_key("liar").public, *third.validators[1:])
    contents.validators = (first, second, dataclasses.replace(third, validators=keys))


def move_height(contents: Contents) -> None:
    first, second, third = contents.validators
    contents.validators = (first, dataclasses.replace(second, from_height=second.from_height + 1), third)


def below_window(contents: Contents) -> None:
    first, second, third = contents.validators
    contents.validators = (first, dataclasses.replace(second, from_height=1), third)


def drop_names(contents: Contents) -> None:
    contents.states = tuple([item for item in contents.states if item.namespace != "schedule"])


FORGERIES: dict[str, Callable[[Any], None]] = {
    "the last set hidden": hide_last,
    "a set in between hidden": hide_middle,
    "a key swapped": swap_key,
    "a set moved": move_height,
    "a set below the window": below_window,
    "the nodes of a set hidden": drop_names,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_no_package_verifies_whose_sets_do_not_follow(moved: Any, exported: bytes, name: str) -> None:
    contents = contents_of(exported)
    FORGERIES[name](contents)
    report = verify_bytes(encode_package(contents), moved.genesis)
    with pytest.raises(ProofInvalid):
        report.require()
