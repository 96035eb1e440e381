"""What commands say of acts that several keys see, over the contracts themselves in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.cli.main import main
from chain.client.client import Client
from chain.ledger.block import Receipt, Transaction, transaction_id
from chain.primitives.acts import PENDING_MS, act_digest
from chain.primitives.errors import Exit
from chain.primitives.keyfile import save_key
from chain.primitives.runtimeport import Call, map_key
from chain.primitives.values import decode_value, encode_value
from tests.unit.contracts.system.conftest import _RUNTIME, World
from tests.unit.contracts.system.founding import CHAIN_ID, proof_of, seeded

ADMIN, STEWARD, SECOND = "bureau", "bureau/steward", "bureau/second"
APPROVE = ("grant", "approve", "bank/g1")


@dataclass
class Town:
    """A world that commands reach as if it were a node, with a folder of key files."""

    world: World
    sent: dict[bytes, Transaction]
    shown: dict[bytes, Transaction]
    """What a node shows of transactions: those that were sent, unless a test says otherwise."""

    def type(self, who: str, *words: str) -> Result:
        """Type a command with somebody's key."""
        path = Path(f"{who.replace('/', '-')}.key")
        if not path.exists():
            save_key(path, seeded(who))
        return CliRunner().invoke(main, [*words, "--node", "http://h:1", "--key", str(path)])


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Town:
    """A bureau with two stewards, which asks two keys for approvals; bank/g1 waits for its approval."""
    monkeypatch.chdir(tmp_path)
    world = World()
    world.register("bureau", "bureau/data")
    key = seeded(SECOND)
    world.do("bureau", "orgs.add_key", key=key.public, roles=["steward"], proof=proof_of(key, "bureau"))
    world.request("bank/g1", "bureau/data", asked_because="a test")
    made = Town(world, {}, {})
    receipts: dict[bytes, Receipt] = {}

    async def state(_: Client, contract: str, name: str, key: Any, **__: Any) -> Any:
        stored = world.get(contract, map_key(name, key))
        return None if stored is None else decode_value(stored, max_bytes=1 << 20)

    async def submit(_: Client, tx: Transaction) -> list[bytes]:
        body, tx_id = tx.body, transaction_id(tx.body)
        world.advance()
        call = Call(
            body.contract, body.method, body.args, body.sender, tx_id, body.gas_limit, world.height,
            world.time, CHAIN_ID,
        )  # fmt: skip
        out = _RUNTIME.execute(call, world)
        if out.status == "ok":
            world._apply(out)
        made.sent[tx_id] = made.shown[tx_id] = tx
        receipts[tx_id] = Receipt(
            tx_id, world.height, 0, out.status, out.code, out.result, out.gas_used, out.events
        )
        return [tx_id]

    async def wait(_: Client, tx_id: bytes, *__: Any) -> Receipt:
        return receipts[tx_id]

    async def head(_: Client) -> int:
        return world.height

    async def chain_id(_: Client) -> bytes:
        return CHAIN_ID

    async def view(_: Client, contract: str, method: str, args: Any) -> Any:
        return world.ask(f"{contract}.{method}", **args)

    async def transaction(_: Any, tx_id: bytes) -> Any:
        tx = made.shown.get(tx_id)
        return None if tx is None else SimpleNamespace(transaction=tx)

    async def request(_: Client, method: str, **__: Any) -> Any:
        return {"getStateVar": None}.get(method, [])

    async def variable(_: Client, contract: str, name: str, **__: Any) -> Any:
        return world.variable(contract, name)

    for name, answer in {
        "state": state, "submit": submit, "wait": wait, "head": head, "chain_id": chain_id, "view": view,
        "request": request, "variable": variable,
    }.items():  # fmt: skip
        monkeypatch.setattr(Client, name, answer)
    monkeypatch.setattr("chain.client.proofs.NodeProofs.transaction", transaction)
    return made


def asks_two(town: Town) -> None:
    told = town.type(ADMIN, "org", "eyes", "approvals", "2")
    assert told.exit_code == 0, told.output


def digits() -> str:
    return act_digest("grants", "approve", encode_value({"id": "bank/g1", "terms": {}})).hex()


def test_the_first_key_is_told_who_does_it_until_when_and_how(town: Town) -> None:
    asks_two(town)
    told = town.type(STEWARD, *APPROVE)
    assert told.exit_code == Exit.NOTED, told.output
    assert "grants.approve is noted, and not done yet: 1 of 2 keys have seen it" in told.output
    assert f"may see it: {seeded(SECOND).public.hex()} (steward)" in told.output
    assert f"may see it: {seeded(ADMIN).public.hex()} (admin)" in told.output
    assert f"may see it: {seeded(STEWARD).public.hex()}" not in told.output
    assert f"UTC: assent org see {digits()} --key FILE" in told.output


def test_the_command_that_was_named_does_it_by_another_key(town: Town) -> None:
    asks_two(town)
    town.type(STEWARD, *APPROVE)
    listed = town.type(SECOND, "org", "pending")
    assert 'asks for: {"id": "bank/g1", "terms": {}}' in listed.output
    told = town.type(SECOND, "org", "see", digits()[:8])
    assert told.exit_code == 0, told.output
    assert "2 keys have seen it" in told.output
    assert town.world.ask("grants.state_of", id="bank/g1") == "active"
    assert "no act of one's organisation waits" in town.type(SECOND, "org", "pending").output


def test_the_same_command_typed_by_another_key_does_it_too(town: Town) -> None:
    asks_two(town)
    town.type(STEWARD, *APPROVE)
    assert town.type(SECOND, *APPROVE).exit_code == 0
    assert town.world.ask("grants.state_of", id="bank/g1") == "active"


def test_a_call_that_is_typed_by_its_method_is_told_of_as_well(town: Town) -> None:
    asks_two(town)
    args = json.dumps({"id": "bank/g1", "terms": {}})
    told = town.type(STEWARD, "tx", "send", "grants", "approve", "--args", args)
    assert told.exit_code == Exit.NOTED
    assert "1 of 2 keys have seen it" in told.output


def test_a_program_gets_what_waits_as_json(town: Town) -> None:
    asks_two(town)
    told = town.type(STEWARD, *APPROVE, "--json")
    assert told.exit_code == Exit.NOTED
    found = json.loads(told.output)["noted"]
    assert (found["digest"], found["call"], found["needed"]) == (digits(), "grants.approve", 2)
    assert [one["key"] for one in found["seen"]] == [seeded(STEWARD).public.hex()]
    listed = json.loads(town.type(STEWARD, "org", "pending", "--json").output)
    assert listed == [{**found, "asks": '{"id": "bank/g1", "terms": {}}'}]


def test_the_same_key_is_told_that_another_one_is_needed(town: Town) -> None:
    asks_two(town)
    town.type(STEWARD, *APPROVE)
    told = town.type(STEWARD, "org", "see", digits())
    assert told.exit_code == Exit.REFUSED
    assert "ALREADY_SEEN" in told.output
    assert "assent org pending" in told.output


def test_a_node_that_shows_another_call_is_found_out(town: Town) -> None:
    asks_two(town)
    town.type(STEWARD, *APPROVE)
    (tx_id,) = [tx_id for tx_id, tx in town.sent.items() if tx.body.contract == "grants"]
    town.shown[tx_id] = next(tx for tx in town.sent.values() if tx.body.contract == "orgs")
    told = town.type(SECOND, "org", "see", digits())
    assert told.exit_code != 0
    assert "showed another call than the one with digest" in told.output
    assert town.world.ask("grants.state_of", id="bank/g1") == "requested"
    assert "not known here" in town.type(SECOND, "org", "pending").output


def test_one_key_takes_back_what_waits(town: Town) -> None:
    asks_two(town)
    town.type(STEWARD, *APPROVE)
    told = town.type(SECOND, "org", "drop", digits(), "--reason", "wrong grant")
    assert told.exit_code == 0, told.output
    assert town.world.trail("grant:bank/g1")[-1] == "ActDropped"
    told = town.type(SECOND, "org", "see", digits())
    assert "0 acts that wait begin so" in told.output
    assert "too short" in town.type(SECOND, "org", "see", "ab").output


def test_who_asks_for_as_many_keys_as_there_are_is_warned(town: Town) -> None:
    told = town.type(ADMIN, "org", "eyes", "approvals", "3")
    assert told.exit_code == 0, told.output
    assert "all 3 keys that count for it are needed" in told.output
    assert "assent org eyes keys 3" in told.output
    assert "assent org eyes approvers 3" in told.output
    assert "assent org eyes versions 3" in told.output


def test_what_is_asked_is_shown_by_act_and_in_org_show(town: Town) -> None:
    asks_two(town)
    town.type(ADMIN, "org", "eyes", "versions", "2", "--dataset", "bureau/data")
    town.type(STEWARD, *APPROVE)
    listed = json.loads(town.type(STEWARD, "org", "eyes", "--json").output)["acts"]
    asked = {
        row["act"]: (row["keys"], row["datasets that ask more"], row["keys that count"]) for row in listed
    }
    assert (asked["approvals"], asked["versions"], asked["votes"]) == ((2, 0, 3), (1, 1, 3), (1, 0, 1))
    shown = town.type(STEWARD, "org", "show", "bureau").output
    assert "approvals: 2" in shown
    assert "versions: more of 1 of its datasets" in shown
    assert "grants.approve: 1 of 2 keys" in shown


def test_a_key_that_an_act_needs_is_not_revoked_by_mistake(town: Town) -> None:
    town.type(ADMIN, "org", "eyes", "approvals", "3")
    ending = seeded(SECOND).public.hex()
    told = town.type(ADMIN, "org", "revoke-key", ending, "--reason", "left")
    assert told.exit_code == Exit.REFUSED
    assert "approvals asks for 3 keys, and 2 would be left" in told.output
    assert "--anyway" in told.output
    told = town.type(ADMIN, "org", "revoke-key", ending, "--reason", "left", "--anyway")
    assert told.exit_code == 0, told.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["approvals"], "give ACT and K together"),
        (["--dataset", "bureau/data"], "give ACT and K together"),
        (["jobs", "2", "--dataset", "bureau/data"], "--dataset: an act of datasets is one of approvals"),
        (["lunch", "2"], "'lunch' is not one of"),
        (["approvals", "0"], "1<=x<=32"),
        (["approvals", "9"], "TOO_FEW_KEYS"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(town: Town, words: list[str], said: str) -> None:
    told = town.type(ADMIN, "org", "eyes", *words)
    assert told.exit_code != 0
    assert said in told.output


def test_what_lapsed_is_begun_anew(town: Town) -> None:
    asks_two(town)
    town.type(STEWARD, *APPROVE)
    town.world.advance(PENDING_MS)
    told = town.type(SECOND, *APPROVE)
    assert told.exit_code == Exit.NOTED
    assert "1 of 2 keys have seen it" in told.output
