"""Acts for which an organisation asks several of its keys."""

from __future__ import annotations

import ast
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.acts import ACTS, CALLS, DATASET_ACTS, PENDING_MS, act_digest
from chain.primitives.crypto import PrivateKey
from chain.primitives.possession import REPLACEMENT
from chain.primitives.values import encode_value
from contracts.runtime import ContractRuntime
from contracts.system import NAMES, sources
from tests.unit.contracts.system.founding import proof_of, seeded

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

DAY_MS = 86_400_000
SECOND = "bureau/second"
NEVER = {
    "orgs": ("revoke_key", "drop"),
    "governance": ("retract", "withdraw", "object_to", "commit", "expire", "report_evidence"),
    "lifecycle": (
        "retract",
        "withdraw",
        "commit",
        "expire",
        "publish",
        "withdraw_library",
        "freeze",
        "revoke",
        "retract_vote",
    ),
    "datasets": ("declare", "extend", "withdraw", "suspend", "retire"),
    "programs": ("retract", "withdraw", "expire", "commit", "retire"),
    "accounts": ("lower_caps",),
    "grants": ("reject", "retract", "settle", "withdraw", "narrow", "suspend", "revoke", "expire"),
    "jobs": (
        "accept",
        "reject",
        "bind",
        "begin_join",
        "judge_join",
        "commit_stage",
        "commit_transcript",
        "approve_reveal",
        "commit_result",
        "certify",
        "abort",
        "expire",
        "disclaim",
        "report",
        "resolve",
        "lapse",
    ),
}
"""What one key does at once: it ends something, follows from what was decided, or an agent does it."""


@pytest.fixture
def eyed(bare: World) -> World:
    """A bureau with a second steward, which asks two keys for approvals; bank/g1 waits for its approval."""
    bare.register("bureau", "bureau/data")
    key = seeded(SECOND)
    bare.do("bureau", "orgs.add_key", key=key.public, roles=["steward"], proof=proof_of(key, "bureau"))
    bare.do("bureau", "orgs.set_eyes", act="approvals", dataset="", k=2)
    bare.request("bank/g1", "bureau/data")
    return bare


def constant(name: str) -> Any:
    """Return a constant of contract `orgs`."""
    for node in ast.parse(sources()["orgs"]).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return ast.literal_eval(node.value)
    raise AssertionError(name)


def approve(world: World, who: str, **terms: Any) -> Any:
    return world.do(who, "grants.approve", id="bank/g1", terms=terms)


def approval(**terms: Any) -> bytes:
    return act_digest("grants", "approve", encode_value({"id": "bank/g1", "terms": terms}))


def status(world: World) -> str:
    found: str = world.ask("grants.state_of", id="bank/g1")
    return found


# --- who sees, and when it is done


def test_an_act_is_done_by_the_second_key_and_only_noted_by_the_first(eyed: World) -> None:
    answer = approve(eyed, "bureau/steward")
    assert (answer["now"], answer["seen"], answer["needed"]) == (False, 1, 2)
    assert answer["digest"] == approval()
    assert status(eyed) == "requested"
    assert approve(eyed, SECOND) == "active"
    assert eyed.trail("grant:bank/g1") == [
        "GrantRequested",
        "ActPending",
        "ActSeen",
        "GrantApproved",
        "GrantActivated",
    ]
    assert eyed.read("orgs", "pending", ("bureau", approval())) is None


def test_one_key_is_one_pair_of_eyes_however_often_it_calls(eyed: World) -> None:
    approve(eyed, SECOND)
    assert eyed.refusal(SECOND, "grants.approve", id="bank/g1", terms={}) == "ALREADY_SEEN"
    assert status(eyed) == "requested"


def test_calls_with_other_arguments_are_another_act(eyed: World) -> None:
    assert approve(eyed, "bureau/steward")["now"] is False
    assert approve(eyed, SECOND, min_group=20)["now"] is False
    assert len(eyed.read("orgs", "pending_of", "bureau")) == 2


def test_a_key_that_ended_in_between_does_not_count(eyed: World) -> None:
    approve(eyed, SECOND)
    eyed.do("bureau", "orgs.revoke_key", key=seeded(SECOND).public, reason="lost")
    assert approve(eyed, "bureau/steward")["seen"] == 1
    assert status(eyed) == "requested"
    assert approve(eyed, "bureau") == "active"


def test_what_waited_three_days_has_lapsed(eyed: World) -> None:
    approve(eyed, SECOND)
    eyed.advance(PENDING_MS - 200)
    assert eyed.outcome("bureau/steward", "grants.approve", id="bank/g1", terms={}) == ""
    eyed.request("bank/g2", "bureau/data")
    eyed.do(SECOND, "grants.approve", id="bank/g2", terms={})
    eyed.advance(PENDING_MS - 100)
    answer = eyed.do("bureau/steward", "grants.approve", id="bank/g2", terms={})
    assert (answer["now"], answer["seen"]) == (False, 1)
    assert eyed.trail("grant:bank/g2") == ["GrantRequested", "ActPending", "ActLapsed", "ActPending"]


def test_what_would_be_refused_is_refused_to_the_first_key(eyed: World) -> None:
    code = eyed.refusal("bureau/steward", "grants.approve", id="bank/g1", terms={"quota_runs": 9})
    assert code == "NOT_NARROWER"
    assert eyed.read("orgs", "pending_of", "bureau") is None


def test_what_stops_or_ends_something_takes_one_key(eyed: World) -> None:
    for act, role in ACTS.items():
        if role == "steward":
            eyed.do("bureau", "orgs.set_eyes", act=act, dataset="", k=2)
    approve(eyed, SECOND), approve(eyed, "bureau")
    eyed.do(SECOND, "grants.suspend", id="bank/g1", reason="")
    eyed.do(SECOND, "grants.narrow", id="bank/g1", terms={"min_group": 11})
    eyed.do(SECOND, "grants.revoke", id="bank/g1", reason="")
    eyed.do(SECOND, "datasets.suspend", id="bureau/data", reason="")
    eyed.do(SECOND, "datasets.retire", id="bureau/data", reason="")


@pytest.mark.parametrize("contract", NAMES)
def test_every_call_is_one_of_an_act_or_takes_one_key_for_a_stated_reason(contract: str) -> None:
    program = ContractRuntime().program(sources()[contract], contract)
    listed = {call for call in constant("CALLS") if call.startswith(f"{contract}.")}
    direct = {
        f"{contract}.{name}"
        for name, function in program.functions.items()
        if function.kind == "export" and not function.nested
    } - {"orgs.oversee"}
    assert listed.isdisjoint(f"{contract}.{name}" for name in NEVER[contract])
    assert listed | {f"{contract}.{name}" for name in NEVER[contract]} == direct


def test_commands_and_audits_know_the_acts_that_the_contract_has() -> None:
    assert constant("ACTS") == ACTS
    assert {call: act for call, (act, _, _) in constant("CALLS").items()} == CALLS
    assert constant("DATASET_ACTS") == DATASET_ACTS
    assert constant("PENDING_MS") == PENDING_MS


def test_an_agents_key_is_no_pair_of_eyes(eyed: World) -> None:
    both = PrivateKey(sha256(b"both").digest())
    eyed.do(
        "bureau", "orgs.add_key", key=both.public, roles=["admin", "agent"], proof=proof_of(both, "bureau")
    )
    eyed.advance()
    outcome = eyed.run(both, "grants.approve", id="bank/g1", terms={})
    assert outcome.code == "KEY_NOT_COUNTED"


def test_a_steward_is_no_pair_of_eyes_for_keys(eyed: World) -> None:
    other = PrivateKey(sha256(b"other").digest())
    given = {"key": other.public, "roles": ["admin"], "proof": proof_of(other, "bureau")}
    eyed.do("bureau", "orgs.add_key", **given)
    eyed.do("bureau", "orgs.set_eyes", act="keys", dataset="", k=2)
    third = PrivateKey(sha256(b"third").digest())
    given = {"key": third.public, "roles": ["admin"], "proof": proof_of(third, "bureau")}
    assert eyed.refusal("bureau/steward", "orgs.add_key", **given) == "KEY_NOT_COUNTED"
    assert eyed.do("bureau", "orgs.add_key", **given)["now"] is False
    eyed.advance()
    assert eyed.run(other, "orgs.add_key", **given).status == "ok"
    assert eyed.read("orgs", "keys", third.public.hex())["status"] == "active"


# --- how many are asked


def admins(world: World, *names: str) -> None:
    for name in names:
        key = seeded(name)
        world.do("bureau", "orgs.add_key", key=key.public, roles=["admin"], proof=proof_of(key, "bureau"))


def test_fewer_keys_are_asked_only_when_as_many_admins_as_before_agree(eyed: World) -> None:
    admins(eyed, "bureau/a", "bureau/b")
    eyed.do("bureau", "orgs.set_eyes", act="votes", dataset="", k=3)
    args = {"act": "votes", "dataset": "", "k": 2}
    assert eyed.do("bureau", "orgs.set_eyes", **args)["needed"] == 3
    assert eyed.do("bureau/a", "orgs.set_eyes", **args)["now"] is False
    eyed.do("bureau/b", "orgs.set_eyes", **args)
    assert eyed.read("orgs", "eyes", "bureau")["acts"]["votes"] == 2


def test_how_many_are_asked_needs_the_keys_that_a_change_of_keys_needs(eyed: World) -> None:
    admins(eyed, "bureau/a")
    eyed.do("bureau", "orgs.set_eyes", act="keys", dataset="", k=2)
    assert eyed.do("bureau", "orgs.set_eyes", act="jobs", dataset="", k=2)["needed"] == 2
    assert eyed.do("bureau/a", "orgs.set_eyes", act="jobs", dataset="", k=2) is None


def test_a_dataset_may_ask_for_more_keys_than_the_others(eyed: World) -> None:
    eyed.do("bureau", "orgs.set_eyes", act="approvals", dataset="bureau/data", k=3)
    approve(eyed, "bureau/steward")
    assert approve(eyed, SECOND)["needed"] == 3
    assert approve(eyed, "bureau") == "active"
    eyed.register("bureau", "bureau/other")
    eyed.request("bank/g2", "bureau/other")
    assert eyed.do(SECOND, "grants.approve", id="bank/g2", terms={})["needed"] == 2


def test_an_organisation_that_asks_one_key_again_has_no_row(eyed: World) -> None:
    eyed.do("bureau", "orgs.set_eyes", act="versions", dataset="bureau/data", k=2)
    eyed.do("bureau", "orgs.set_eyes", act="versions", dataset="bureau/data", k=1)
    eyed.do("bureau", "orgs.set_eyes", act="approvals", dataset="", k=1)
    assert eyed.read("orgs", "eyes", "bureau") is None
    assert eyed.read("orgs", "dataset_eyes", ("bureau", "bureau/data")) is None


def test_members_who_replace_the_admin_keys_leave_one_admin_who_is_asked_alone(eyed: World) -> None:
    admins(eyed, "bureau/a")
    eyed.do("bureau", "orgs.set_eyes", act="keys", dataset="", k=2)
    key = seeded("bureau/new")
    payload = {"org": "bureau", "key": key.public, "proof": proof_of(key, "bureau", REPLACEMENT)}
    seq = eyed.do("bank", "governance.propose", kind="replace_key", payload=payload, reason="", not_before=0)
    sealed = eyed.read("governance", "proposals", seq)["hash"]
    for voter in ("registry", "regulator", "rival"):
        eyed.do(voter, "governance.approve", seq=seq, hash=sealed)
    eyed.advance(3 * DAY_MS)
    eyed.do("bank", "governance.commit", seq=seq)
    assert eyed.read("orgs", "eyes", "bureau")["acts"] == {"approvals": 2}
    eyed.do("bureau/new", "orgs.set_eyes", act="approvals", dataset="", k=1)


@pytest.mark.parametrize(
    ("who", "args", "code"),
    [
        ("bureau/steward", {}, "KEY_ROLE_MISSING"),
        ("bureau", {"act": "lunch"}, "UNKNOWN_ACT"),
        ("bureau", {"k": 0}, "BAD_EYES"),
        ("bureau", {"k": 33}, "BAD_EYES"),
        ("bureau", {"k": 4}, "TOO_FEW_KEYS"),
        ("bureau", {"act": "keys"}, "TOO_FEW_KEYS"),
        ("bureau", {"act": "requests", "dataset": "bureau/data"}, "NOT_OF_A_DATASET"),
        ("bureau", {"dataset": "bureau/none"}, "UNKNOWN_DATASET"),
        ("bank", {"dataset": "bureau/data"}, "NOT_OWNER"),
    ],
)
def test_a_number_of_eyes_that_cannot_be_is_refused(
    eyed: World, who: str, args: dict[str, Any], code: str
) -> None:
    given = {"act": "approvals", "dataset": "", "k": 2, **args}
    assert eyed.refusal(who, "orgs.set_eyes", **given) == code


# --- bounds, and the end


def test_one_key_drops_what_is_pending(eyed: World) -> None:
    approve(eyed, "bureau/steward")
    assert eyed.refusal("bureau/agent", "orgs.drop", digest=approval(), reason="") == "KEY_ROLE_MISSING"
    assert eyed.refusal("bureau", "orgs.drop", digest=approval(), reason="x" * 257) == "TEXT_TOO_LONG"
    eyed.do(SECOND, "orgs.drop", digest=approval(), reason="wrong grant")
    assert eyed.refusal(SECOND, "orgs.drop", digest=approval(), reason="") == "UNKNOWN_PENDING"
    assert approve(eyed, SECOND)["seen"] == 1


def test_an_organisation_has_32_pending_acts_at_most(eyed: World) -> None:
    for number in range(32):
        approve(eyed, SECOND, min_group=20 + number)
    assert eyed.refusal(SECOND, "grants.approve", id="bank/g1", terms={}) == "TOO_MANY_PENDING"
    eyed.advance(PENDING_MS)
    approve(eyed, SECOND)
    assert eyed.read("orgs", "pending_of", "bureau") == [approval()]


def test_an_organisation_begins_500_acts_a_day_at_most(eyed: World) -> None:
    eyed.put("orgs", "daily", "bureau", {"day": eyed.time // DAY_MS, "pending": 500})
    assert eyed.refusal(SECOND, "grants.approve", id="bank/g1", terms={}) == "TOO_MANY_PENDING_TODAY"


def test_nobody_but_the_runtime_asks_whether_a_call_is_done(eyed: World) -> None:
    args = {"call": "grants.approve", "digest": approval(), "args": {}}
    assert eyed.refusal("bureau", "orgs.oversee", **args) == "RUNTIME_ONLY"


def test_an_organisation_without_such_acts_and_an_agent_pay_nothing_for_them(eyed: World) -> None:
    spare = {"digest": bytes(32), "reason": ""}
    asked = eyed.run(seeded("bureau/steward"), "orgs.drop", **spare).gas_used
    plain = eyed.run(seeded("bank/steward"), "orgs.drop", **spare).gas_used
    agent = eyed.run(seeded("bureau/agent"), "orgs.drop", **spare)
    other = eyed.run(seeded("bank/agent"), "orgs.drop", **spare)
    assert (agent.code, other.code) == ("KEY_ROLE_MISSING", "KEY_ROLE_MISSING")
    assert agent.gas_used == other.gas_used
    assert plain < asked < plain + 150
