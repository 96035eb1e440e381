"""Whose word an event is: contracts that speak for a kind of subject, and how much others may say."""

from __future__ import annotations

import re

import pytest

from chain.primitives.kinds import SPEAKERS, SYSTEM, foreign_subjects, is_foreign
from contracts.check import check_source
from contracts.language.limits import FOREIGN_EVENTS_MAX
from contracts.system import NAMES, sources
from contracts.testing import CallFailed, LocalChain

FORGER = """
GrantRevoked = Event(grant=subject, by=subject, reason=str)
Told = Event(about=list[subject])

@export(nested=True)
def forge(subject: str, times: int):
    for number in range(times):
        GrantRevoked(grant=subject, by="contract:forger", reason="court order")

@export
def tell(about: list):
    Told(about=about)
"""
HELPER = """
other = Contract("forger")
Told = Event(about=subject)

@export
def both(subject: str, times: int):
    other.forge(subject=subject, times=times)
    for number in range(times):
        Told(about=subject)
"""


def chain() -> LocalChain:
    made = LocalChain("bank")
    made.deploy(FORGER, "forger")
    made.deploy(HELPER, "helper")
    return made


STEPS = {"date", "phone"}
"""Steps of normalisation are written `date:dmy`: no subjects."""


@pytest.mark.parametrize("contract", NAMES)
def test_the_system_contracts_speak_for_every_kind_that_they_name(contract: str) -> None:
    lines = [line for line in sources()[contract].splitlines() if "ctx.caller" not in line]
    named = {kind for line in lines for kind in re.findall(r'"([a-z]+):(?:[a-z]+)?"', line)} - STEPS
    assert named, contract
    for kind in named:
        assert kind in SPEAKERS, f"{contract} files events under {kind}:… which has no owner"
        assert contract in SPEAKERS[kind] or kind == "contract", (contract, kind)


def test_the_system_contracts_are_those_of_genesis() -> None:
    assert frozenset(NAMES) == SYSTEM
    assert all(speakers <= SYSTEM for speakers in SPEAKERS.values())


@pytest.mark.parametrize(
    ("contract", "event", "subject", "foreign"),
    [
        ("grants", "GrantRevoked", "grant:bank/g1", False),
        ("forger", "GrantRevoked", "grant:bank/g1", True),
        ("grants", "GrantUsed", "job:ab", False),
        ("datasets", "DatasetSuspended", "grant:bank/g1", True),
        ("forger", "Told", "contract:forger", False),
        ("forger", "Told", "contract:other", True),
        ("consent", "ConsentGiven", "person:ab", False),
        ("forger", "Refused", "org:bank", False),
        ("forger", "Refused", "grant:bank/g1", True),
    ],
)
def test_an_event_is_foreign_where_its_contract_does_not_speak(
    contract: str, event: str, subject: str, foreign: bool
) -> None:
    assert is_foreign(contract, event, subject) is foreign
    assert foreign_subjects(contract, event, [subject]) == ([subject] if foreign else [])


def test_no_contract_announces_what_the_ledger_announces() -> None:
    found = check_source("Refused = Event(org=subject)\n", "x.py").diagnostics
    assert [(one.rule, one.line) for one in found] == [("RESERVED_NAME", 1)]
    assert not check_source(
        'Refused = Error("NO")\n\n@view\ndef f():\n    raise Refused\n', "x.py"
    ).diagnostics


def test_one_transaction_puts_a_bounded_number_of_events_into_another_s_history() -> None:
    made = chain()
    most = FOREIGN_EVENTS_MAX
    made.as_("bank").call("forger", "forge", subject="grant:bank/g1", times=most)
    assert len(made.trail("grant:bank/g1")) == most
    with pytest.raises(CallFailed, match="FOREIGN_EVENTS"):
        made.as_("bank").call("forger", "forge", subject="grant:bank/g1", times=most + 1)
    assert len(made.trail("grant:bank/g1")) == most
    made.as_("bank").call("forger", "forge", subject="contract:forger", times=1_000)


def test_contracts_that_call_one_another_share_the_bound() -> None:
    made = chain()
    half = FOREIGN_EVENTS_MAX // 2
    made.as_("bank").call("helper", "both", subject="grant:bank/g1", times=half)
    with pytest.raises(CallFailed, match="FOREIGN_EVENTS"):
        made.as_("bank").call("helper", "both", subject="grant:bank/g1", times=half + 1)


def test_each_history_has_its_own_bound() -> None:
    made = chain()
    for _ in range(3):
        made.as_("bank").call("forger", "tell", about=[f"job:{number}" for number in range(16)])
    assert len(made.trail("job:7")) == 3
