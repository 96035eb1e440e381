"""What commands say of acts that several keys see, over the contracts themselves in memory."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.cli.act_words import READERS, ActWords, act_words
from chain.cli.main import main
from chain.client.answers import BadAnswer
from chain.client.client import Client
from chain.ledger.block import Receipt, Transaction, transaction_id
from chain.primitives.acts import CALLS, PENDING_MS, act_digest
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

    async def header(_: Client, __: int) -> Any:
        return SimpleNamespace(time=world.time)

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
        "state": state, "submit": submit, "wait": wait, "head": head, "header": header, "chain_id": chain_id,
        "view": view, "request": request, "variable": variable,
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
    assert listed[0].pop("says").startswith("bank may use bureau/data version 1: columns ")
    assert listed == [{**found, "asks": '{"id": "bank/g1", "terms": {}}', "over": ""}]


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


def test_what_one_dataset_asks_beyond_is_heeded_by_the_warning(town: Town) -> None:
    """It named approvers and versions of the organisation, whatever the dataset asked itself."""
    of = ["--dataset", "bureau/data"]
    told = town.type(ADMIN, "org", "eyes", "approvals", "2", *of).output
    for beside in ("approvers", "versions"):
        assert f"assent org eyes {beside} 2 --dataset bureau/data" in told
        assert town.type(ADMIN, "org", "eyes", beside, "2", *of).exit_code == 0
    told = town.type(ADMIN, "org", "eyes", "approvals", "2", *of).output
    assert "decide who approves" not in told
    assert "decide who approves" in town.type(ADMIN, "org", "eyes", "approvals", "2").output


def test_a_second_key_reads_what_a_grant_allows_and_not_its_id_alone(town: Town) -> None:
    asks_two(town)
    town.type(STEWARD, *APPROVE)
    grant = town.world.read("grants", "grants", "bank/g1")
    for told in (town.type(SECOND, "org", "pending"), town.type(SECOND, "org", "see", digits())):
        said = " ".join(told.output.split())
        assert "about: bank may use bureau/data version 1: columns " in said
        for name, use in grant["columns"].items():
            assert f"{name} ({use})" in said
        assert f"for {grant['purpose']}; by programs {', '.join(grant['programs'])}" in said
        assert f"{grant['quota_runs']} runs until " in said


def test_an_act_whose_request_was_withdrawn_is_marked(town: Town) -> None:
    """It waited for three days as if another key could still do it."""
    asks_two(town)
    town.type(STEWARD, *APPROVE)
    town.world.do("bank/steward", "grants.withdraw", id="bank/g1")
    told = town.type(SECOND, "org", "pending").output
    assert "IT CAN NO LONGER SUCCEED: the request bank/g1 is withdrawn" in told
    over = json.loads(town.type(SECOND, "org", "pending", "--json").output)[0]["over"]
    assert over == "the request bank/g1 is withdrawn"


def test_an_act_whose_time_is_over_is_marked(town: Town) -> None:
    asks_two(town)
    town.type(STEWARD, *APPROVE)
    town.world.advance(PENDING_MS)
    assert "IT CAN NO LONGER SUCCEED: it lapsed at " in town.type(SECOND, "org", "pending").output


def test_a_vote_that_waits_says_what_is_voted_on_and_when_it_is_too_late(town: Town) -> None:
    key = seeded("bureau/admin2")
    town.world.do("bureau", "orgs.add_key", key=key.public, roles=["admin"], proof=proof_of(key, "bureau"))
    assert town.type(ADMIN, "org", "eyes", "votes", "2").exit_code == 0
    args = {"kind": "suspend_org", "payload": {"org": "rival"}, "reason": "", "not_before": 0}
    seq = town.world.do("bank", "governance.propose", **args)
    vote = {"seq": seq, "hash": {"$bytes": town.world.read("governance", "proposals", seq)["hash"].hex()}}
    words = ("tx", "send", "governance", "approve", "--args", json.dumps(vote))
    assert town.type(ADMIN, *words).exit_code == Exit.NOTED
    told = town.type("bureau/admin2", "org", "pending").output
    assert f"about: proposal {seq} of bank: suspend_org, rival" in told
    assert "SUCCEED" not in told
    town.world.do("bank", "governance.withdraw", seq=seq)
    told = town.type("bureau/admin2", "org", "pending").output
    assert f"IT CAN NO LONGER SUCCEED: proposal {seq} was withdrawn or stopped, or has expired" in told


def test_raising_a_cap_waits_for_a_second_key_and_lowering_one_does_not(town: Town) -> None:
    town.type(ADMIN, "org", "eyes", "accounts", "2")
    caps = ("dataset", "caps", "bureau/data")
    assert town.type(STEWARD, *caps, "--epsilon", "9", "--figures", "50").exit_code == Exit.NOTED
    said = " ".join(town.type(SECOND, "org", "pending").output.split())
    assert "what figures about bureau/data may give away: epsilon 8 to 9, figures 200 to 50" in said
    assert town.type(SECOND, *caps, "--epsilon", "9", "--figures", "50").exit_code == 0
    assert town.world.ask("accounts.caps_of", id="bureau/data")["epsilon"] == 9 * 10**9
    assert town.type(STEWARD, *caps, "--grantee-epsilon", "1").exit_code == 0
    assert town.world.ask("accounts.caps_of", id="bureau/data")["grantee_epsilon"] == 10**9


def test_an_account_that_is_begun_waits_and_is_marked_where_its_version_is_charged(town: Town) -> None:
    world = town.world
    args = {"schema": world.declare("bureau"), "root": bytes(32), "size_bucket": ""}
    world.do("bureau", "datasets.new_version", id="bureau/data", **args)
    town.type(ADMIN, "org", "eyes", "accounts", "2")
    begin = ("dataset", "begin-account", "bureau/data", "--version", "2", "--because", "other people")
    assert town.type(STEWARD, *begin).exit_code == Exit.NOTED
    told = town.type(SECOND, "org", "pending").output
    assert "the account of bureau/data begins anew with version 2" in " ".join(told.split())
    assert "SUCCEED" not in told
    nothing = {"epsilon": 0, "delta": 0, "rho": 0}
    row = {"spent": nothing, "reserved": nothing, "through": 2}
    world.put("accounts", "accounts", ("bureau/data", 1), row)
    told = " ".join(town.type(SECOND, "org", "pending").output.split())
    assert "IT CAN NO LONGER SUCCEED: version 2 of bureau/data is charged already" in told


def test_a_source_among_arguments_is_counted_and_not_printed_whole(town: Town) -> None:
    key = seeded("bureau/admin2")
    town.world.do("bureau", "orgs.add_key", key=key.public, roles=["admin"], proof=proof_of(key, "bureau"))
    assert town.type(ADMIN, "org", "eyes", "votes", "2").exit_code == 0
    source = "@view\ndef one() -> int:\n    return 1\n" + "#" * 3_000
    args = json.dumps({"name": "rule", "source": source, "arguments": {}, "terms": {}})
    words = ("tx", "send", "lifecycle", "propose", "--args", args)
    assert town.type(ADMIN, *words).exit_code == Exit.NOTED
    told = town.type("bureau/admin2", "org", "pending").output
    assert f"({len(source):,} characters)" in told
    assert "#" * 200 not in told


@pytest.mark.parametrize("call", sorted(CALLS))
async def test_what_a_call_is_about_is_read_of_any_ledger_without_a_fault(call: str) -> None:
    """Its arguments are members' words, and a later version of a contract may take others."""

    async def nothing(*_: Any, **__: Any) -> None:
        return None

    client: Any = SimpleNamespace(url="http://h:1", state=nothing, view=nothing)
    for args in ({}, {"id": 1, "name": [], "seq": "x", "spec": {}, "hash": 5, "key": "", "old": None}):
        with contextlib.suppress(BadAnswer):
            assert isinstance(await act_words(client, call, "bank", args, 0), ActWords)


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


def test_every_reader_is_of_a_call_that_several_keys_may_see() -> None:
    assert READERS.keys() <= CALLS.keys()
