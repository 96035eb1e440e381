"""An organisation whose admin keys others want to replace is told that it can object, at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner

from chain.cli.governing import objections
from chain.cli.init import create_consortium
from chain.cli.layout import OrgFolder
from chain.cli.main import main
from chain.client.answers import BadAnswer
from chain.client.client import Client

REPLACEMENT = {
    "seq": 7, "by": "bureau", "status": "open", "kind": "replace_key", "reason": "bank lost its key",
    "payload": {"org": "bank", "key": b"\1", "proof": b"\2"}, "hash": b"\1", "expires": 0, "not_before": 0,
    "committed_at": 0,
}  # fmt: skip
READY = {
    "status": "open", "needed": 3, "counted": ["bureau"], "missing": ["telecom"], "passed": False,
    "due": False, "from_height": 0, "from_time": 1_700_000_000_000,
}  # fmt: skip
SAID = (
    "proposal 7 of bureau ends all admin keys of bank, with 1 of 3 votes so far; it can be committed from "
    "2023-11-14 22:13:20.000 UTC on"
)
REMEDY = "If bank has one of these keys it can object until it is committed: assent proposal object 7"


class Ledger:
    """What the node of every command says of the proposals."""

    def __init__(self) -> None:
        self.proposals: list[Any] = [REPLACEMENT]
        self.ready: dict[str, Any] = READY


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    said = Ledger()

    async def entries(*_: Any) -> AsyncIterator[tuple[Any, Any]]:
        for found in said.proposals:
            yield 7, found

    async def state(*_: Any, **__: Any) -> Any:
        return said.proposals[0]

    async def view(*_: Any) -> Any:
        return said.ready

    async def variable(*_: Any) -> Any:
        return []

    async def page(*_: Any) -> Any:
        return {}

    async def request(*_: Any, **__: Any) -> Any:
        shown = dict.fromkeys(("height", "view", "peers", "pool"), 1)
        shown |= dict.fromkeys(("key", "primary", "phase", "stall", "version", "seatMoves", "name"), "")
        return {**shown, "org": "bank", "notes": [], "offences": [], "lostVotes": False, "role": "validator"}

    answers = {"entries": entries, "state": state, "view": view, "variable": variable, "page": page}
    for name, answer in {**answers, "request": request}.items():
        monkeypatch.setattr(Client, name, answer)
    return said


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> OrgFolder:
    folder = tmp_path_factory.mktemp("objections") / "c"
    return create_consortium(folder, ["bank", "bureau"], [], 0, "two").org("bank")


def told(*words: str) -> str:
    return " ".join(CliRunner().invoke(main, list(words)).output.split())


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("words", [("list",), ("show", "7")])
def test_proposal_list_and_show_say_who_can_object_until_when_and_how(words: tuple[str, ...]) -> None:
    """They said so only of a proposal that had all its votes."""
    assert f"{SAID}. {REMEDY}" in told("proposal", *words, "--node", "http://told:1")


@pytest.mark.usefixtures("ledger")
def test_status_and_doctor_of_the_organisation_say_it_unasked(bank: OrgFolder) -> None:
    shown = json.loads(told("status", str(bank.path), "--json"))["nodes"][0]
    assert shown["notes"][0] == f"{SAID}. {REMEDY}"
    checks = json.loads(told("doctor", str(bank.path), "--json"))["checks"]
    (found,) = [item for item in checks if item["check"] == "admin keys"]
    assert (found["verdict"], found["said"]) == ("doubtful", SAID)
    assert found["remedy"] == f"{REMEDY} --as {bank.path}"


@pytest.mark.parametrize(
    ("change", "ready"),
    [
        ({"kind": "suspend_org", "payload": {"org": "bank"}}, {}),
        ({"payload": REPLACEMENT["payload"] | {"org": "telecom"}}, {}),  # type: ignore[operator]
        ({"status": "committed"}, {}),
        ({}, {"status": "expired"}),
        ({}, {"status": "void"}),
    ],
)
async def test_what_an_organisation_cannot_stop_is_not_told(
    ledger: Ledger, change: dict[str, Any], ready: dict[str, Any]
) -> None:
    ledger.proposals, ledger.ready = [REPLACEMENT | change], READY | ready
    async with Client("http://told:1") as client:
        assert await objections(client, "bank") == []


async def test_a_node_that_lists_no_proposals_is_named(ledger: Ledger) -> None:
    ledger.proposals = [{"kind": "replace_key"}]
    async with Client("http://told:1") as client:
        with pytest.raises(BadAnswer, match="getStateRange is malformed"):
            await objections(client, "bank")
