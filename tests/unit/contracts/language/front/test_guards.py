"""`@only`: who may call a method, before anything else of it runs."""

from __future__ import annotations

import pytest

from contracts.check import check_source
from contracts.testing import LocalChain

SOURCE = """owner = Var(str, "")
PARTNERS = ["bureau", "registry"]
HOME = "bank"
count = Var(int, 0)

@init
def setup(org: str):
    owner.set(org)

@export
@only("steward", "admin")
def by_role() -> int:
    return 1

@only("auditor")
@export
def by_another_role() -> int:
    count.set(1)
    return 2

@export
@only(org=owner)
def by_owner(n: int) -> int:
    return n

@export
@only(org=PARTNERS)
def by_partner() -> int:
    return 3

@export
@only("admin", org="bank")
def by_home() -> int:
    return 4

@export
@only(org=HOME)
def by_constant() -> int:
    return 5
"""


def test_a_guard_admits_whom_it_names_and_nobody_else() -> None:
    chain = LocalChain("bank", "bureau")
    chain.deploy(SOURCE, "c", {"org": "bank"})
    bank, bureau = chain.as_("bank"), chain.as_("bureau")
    assert bank.call("c", "by_role") == 1
    assert bank.call("c", "by_owner", n=7) == 7
    assert bureau.call("c", "by_partner") == 3
    assert (bank.call("c", "by_home"), bank.call("c", "by_constant")) == (4, 5)
    for org, method, code in (
        ("bank", "by_another_role", "ONLY_ROLE"),
        ("bureau", "by_home", "ONLY_ORG"),
        ("bureau", "by_constant", "ONLY_ORG"),
        ("bank", "by_partner", "ONLY_ORG"),
    ):
        with chain.expect_revert(code):
            chain.as_(org).call("c", method)
    with chain.expect_revert("ONLY_ORG"):
        bureau.call("c", "by_owner", n=7)


def test_an_owner_that_was_never_set_is_nobody() -> None:
    chain = LocalChain("bank")
    chain.deploy(SOURCE, "c", {"org": ""})
    with chain.expect_revert("ONLY_ORG"):
        chain.as_("bank").call("c", "by_owner", n=1)


def test_a_contract_cannot_call_a_guarded_method_in_a_members_name() -> None:
    chain = LocalChain("bank")
    chain.deploy(SOURCE, "c", {"org": "bank"})
    chain.deploy('@export\ndef go() -> int:\n    return Contract("c").by_owner(n=1)\n', "other")
    with chain.expect_revert("DIRECT_ONLY"):
        chain.as_("bank").call("other", "go")


def test_the_abi_shows_who_may_call() -> None:
    program = check_source(SOURCE, "x.py").program
    assert program is not None
    methods = program.abi["methods"]
    assert methods["by_role"]["only"] == {"roles": ["steward", "admin"], "org": ""}
    assert methods["by_owner"]["only"] == {"roles": [], "org": "owner"}
    assert methods["by_home"]["only"] == {"roles": ["admin"], "org": "'bank'"}


@pytest.mark.parametrize(
    "decorators",
    [
        "@only('admin')",
        "@view\n@only('admin')",
        "@init\n@only('admin')",
        "@export(nested=True)\n@only('admin')",
        "@export\n@only",
        "@export\n@only()",
        "@export\n@only('')",
        "@export\n@only('a', 'a')",
        "@export\n@only(3)",
        "@export\n@only(role='a')",
        "@export\n@only(org=3)",
        "@export\n@only(org='')",
        "@export\n@only(org=nothing)",
        "@export\n@only(org=count)",
        "@export\n@only(org=NUMBERS)",
        "@export\n@only('a')\n@only('b')",
    ],
)
def test_a_guard_that_could_admit_anyone_or_no_one_is_refused(decorators: str) -> None:
    source = f"count = Var(int, 0)\nNUMBERS = [1]\n\n{decorators}\ndef f():\n    return 1\n"
    (only,) = check_source(source, "x.py").diagnostics
    assert only.rule == "DECORATOR"
