"""Which code runs is decided by the organisations, one vote each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

FIRST = """
count = Var(int, 0)

@init
def setup(start: int):
    count.set(start)

@export
def add(n: int) -> int:
    count.set(count.get() + n)
    return count.get()

@view
def total() -> int:
    return count.get()
"""
SECOND = (
    FIRST.replace("count.get() + n", "count.get() + 2 * n")
    + """
@migrate
def upgrade(bonus: int):
    count.set(count.get() + bonus)
"""
)
FAILING = (
    FIRST
    + """
@migrate
def upgrade(bonus: int):
    require(bonus < 0, "NOT_NOW")
"""
)
WEEK_MS = 7 * 24 * 3_600_000


def propose(world: World, who: str = "bank", source: str = FIRST, **arguments: int) -> tuple[int, bytes]:
    seq: int = world.do(
        who, "lifecycle.propose", name="counter", source=source, arguments=arguments or {"start": 5}, terms={}
    )
    return seq, world.read("lifecycle", "proposals", f"counter/{seq}")["hash"]


def install(world: World, source: str = FIRST, **arguments: int) -> None:
    seq, voted = propose(world, "bank", source, **arguments)
    for who in ("bureau", "registry"):
        world.do(who, "lifecycle.approve", name="counter", seq=seq, hash=voted)
    world.do("bank", "lifecycle.commit", name="counter", seq=seq)
    world.advance()


def test_a_majority_activates_a_contract_at_the_next_height(bare: World) -> None:
    seq, voted = propose(bare)
    assert bare.refusal("bank", "lifecycle.commit", name="counter", seq=seq) == "NOT_ENOUGH_VOTES"
    bare.do("bureau", "lifecycle.approve", name="counter", seq=seq, hash=voted)
    assert bare.refusal("bank", "lifecycle.commit", name="counter", seq=seq) == "NOT_ENOUGH_VOTES"
    bare.do("registry", "lifecycle.approve", name="counter", seq=seq, hash=voted)
    active_at = bare.do("rival", "lifecycle.commit", name="counter", seq=seq)
    assert active_at == bare.height + 1
    assert bare.do("bank", "counter.add", n=2) == 7
    assert bare.trail("contract:counter") == [
        "ContractProposed",
        "ContractApproved",
        "ContractApproved",
        "ContractCommitted",
    ]


def test_a_proposal_is_readable_before_it_runs(bare: World) -> None:
    seq, _ = propose(bare)
    proposal = bare.ask("lifecycle.proposal_of", name="counter", seq=seq)
    assert (proposal["by"], proposal["votes"], proposal["status"]) == ("bank", ["bank"], "open")
    assert bare.read("lifecycle", "sources", proposal["source_hash"]) == FIRST
    assert bare.refusal("bank", "counter.add", n=1)


def test_an_org_votes_once_and_for_the_exact_source(bare: World) -> None:
    seq, voted = propose(bare)
    args = {"name": "counter", "seq": seq}
    assert bare.refusal("bank", "lifecycle.approve", **args, hash=voted) == "ALREADY_VOTED"
    assert bare.refusal("bureau", "lifecycle.approve", **args, hash=bytes(32)) == "HASH_MISMATCH"
    assert bare.refusal("bureau/steward", "lifecycle.approve", **args, hash=voted) == "KEY_ROLE_MISSING"


def test_an_upgrade_migrates_the_state_once(bare: World) -> None:
    install(bare)
    install(bare, SECOND, bonus=100)
    assert bare.do("bank", "counter.add", n=1) == 107
    assert bare.ask("lifecycle.contract_of", name="counter")["seq"] == 2
    assert bare.read("lifecycle", "history", "counter/1")["seq"] == 1


def test_a_failing_migration_keeps_the_old_version(bare: World) -> None:
    install(bare)
    seq, voted = propose(bare, "bank", FAILING, bonus=1)
    for who in ("bureau", "registry"):
        bare.do(who, "lifecycle.approve", name="counter", seq=seq, hash=voted)
    assert bare.refusal("bank", "lifecycle.commit", name="counter", seq=seq) == "NOT_NOW"
    assert bare.do("bank", "counter.add", n=1) == 6


def test_an_older_proposal_does_not_replace_a_newer_version(bare: World) -> None:
    old, voted = propose(bare)
    for who in ("bureau", "registry"):
        bare.do(who, "lifecycle.approve", name="counter", seq=old, hash=voted)
    install(bare)
    assert bare.refusal("bank", "lifecycle.commit", name="counter", seq=old) == "STALE_SEQ"


def test_a_source_outside_the_language_is_refused(bare: World) -> None:
    code = bare.refusal("bank", "lifecycle.propose", name="bad", source="import os\n", arguments={}, terms={})
    assert code
    assert bare.read("lifecycle", "proposals", "bad/1") is None


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"name": "Bad Name"}, "BAD_ID"),
        ({"name": "subjects"}, "NAME_RESERVED"),
        ({"name": "schedule"}, "NAME_RESERVED"),
        ({"arguments": {"x": "y" * 20_000}}, "ARGUMENTS_TOO_LONG"),
    ],
)
def test_a_bad_proposal_is_refused(bare: World, over: dict[str, object], code: str) -> None:
    args: dict[str, object] = {"name": "counter", "source": FIRST, "arguments": {}, "terms": {}}
    assert bare.refusal("bank", "lifecycle.propose", **{**args, **over}) == code


def test_proposals_expire(bare: World) -> None:
    seq, voted = propose(bare)
    args = {"name": "counter", "seq": seq}
    assert bare.refusal("rival", "lifecycle.expire", **args) == "TOO_EARLY"
    bare.advance(WEEK_MS + 1)
    assert bare.refusal("bureau", "lifecycle.approve", **args, hash=voted) == "DEADLINE_PASSED"
    bare.do("rival", "lifecycle.expire", **args)
    assert bare.refusal("bank", "lifecycle.withdraw", **args) == "UNKNOWN_PROPOSAL"


def test_only_the_proposer_withdraws(bare: World) -> None:
    seq, _ = propose(bare)
    assert bare.refusal("bureau", "lifecycle.withdraw", name="counter", seq=seq) == "NOT_PROPOSER"
    bare.do("bank", "lifecycle.withdraw", name="counter", seq=seq)
    assert bare.refusal("bank", "lifecycle.commit", name="counter", seq=seq) == "UNKNOWN_PROPOSAL"
    assert bare.refusal("bank", "lifecycle.commit", name="counter", seq=9) == "UNKNOWN_PROPOSAL"


def test_one_org_freezes_for_a_while_and_only_once(bare: World) -> None:
    install(bare)
    bare.do("rival", "lifecycle.freeze", name="counter", seq=1, reason="bug")
    assert bare.refusal("bank", "counter.add", n=1)
    assert bare.ask("counter.total") == 5
    assert bare.refusal("rival", "lifecycle.freeze", name="counter", seq=1, reason="") == "ALREADY_VOTED"
    bare.advance(blocks=1_001)
    bare.do("bank", "lifecycle.unfreeze", name="counter", seq=1)
    assert bare.do("bank", "counter.add", n=1) == 6
    assert bare.refusal("rival", "lifecycle.freeze", name="counter", seq=1, reason="") == "ALREADY_VOTED"


def test_who_froze_alone_takes_it_back(bare: World) -> None:
    install(bare)
    bare.do("rival", "lifecycle.freeze", name="counter", seq=1, reason="bug")
    bare.do("rival", "lifecycle.retract_vote", name="counter", seq=1, ballot="freeze")
    assert bare.do("bank", "counter.add", n=1) == 6


def test_a_freeze_that_a_majority_confirmed_ends_by_a_majority(bare: World) -> None:
    install(bare)
    for who in ("rival", "bank", "bureau"):
        bare.do(who, "lifecycle.freeze", name="counter", seq=1, reason="bug")
    bare.advance(blocks=5_000)
    for who in ("rival", "bank"):
        bare.do(who, "lifecycle.unfreeze", name="counter", seq=1)
        assert bare.refusal("bank", "counter.add", n=1)
    assert bare.refusal("bank", "lifecycle.unfreeze", name="counter", seq=1) == "ALREADY_VOTED"
    bare.do("registry", "lifecycle.unfreeze", name="counter", seq=1)
    assert bare.do("bank", "counter.add", n=1) == 6


def test_revocation_is_final_at_a_majority(bare: World) -> None:
    install(bare)
    for who in ("rival", "bank"):
        bare.do(who, "lifecycle.revoke", name="counter", seq=1, reason="done")
    assert bare.do("bank", "counter.add", n=1) == 6
    assert bare.refusal("bank", "lifecycle.revoke", name="counter", seq=1, reason="") == "ALREADY_VOTED"
    bare.do("bureau", "lifecycle.revoke", name="counter", seq=1, reason="done")
    assert bare.refusal("bank", "counter.add", n=1)
    args = {"name": "counter", "source": FIRST, "arguments": {}, "terms": {}}
    assert bare.refusal("bank", "lifecycle.propose", **args) == "CONTRACT_REVOKED"
    assert bare.refusal("bank", "lifecycle.freeze", name="counter", seq=1, reason="") == "WRONG_STATE"


def test_system_contracts_are_protected(bare: World) -> None:
    for name in ("orgs", "lifecycle"):
        assert bare.refusal("bank", "lifecycle.freeze", seq=1, name=name, reason="") == "SYSTEM_PROTECTED"
    assert bare.refusal("bank", "lifecycle.revoke", seq=1, name="jobs", reason="") == "SYSTEM_PROTECTED"
    assert bare.ask("lifecycle.votes_needed", name="jobs") == 4
    assert bare.ask("lifecycle.votes_needed", name="counter") == 3


def test_a_system_contract_freezes_only_at_a_quorum(bare: World) -> None:
    for who in ("bank", "bureau", "registry"):
        bare.do(who, "lifecycle.freeze", seq=1, name="datasets", reason="bug")
    bare.register("bank", "bank/still-works")
    bare.do("rival", "lifecycle.freeze", seq=1, name="datasets", reason="bug")
    assert bare.refusal("bank", "datasets.suspend", id="bank/still-works", reason="")


def test_unknown_contracts_are_named(bare: World) -> None:
    assert bare.refusal("bank", "lifecycle.freeze", seq=1, name="none", reason="") == "UNKNOWN_CONTRACT"
    assert bare.refusal("bank", "lifecycle.revoke", seq=1, name="none", reason="") == "UNKNOWN_CONTRACT"


def test_a_contract_cannot_act_in_a_member_s_name(bare: World) -> None:
    bare.register("bank", "bank/own")
    source = """
datasets = Contract("datasets")

@export
def trick():
    datasets.retire(id="bank/own", reason="tricked")
"""
    seq = bare.do("rival", "lifecycle.propose", name="trick", source=source, arguments={}, terms={})
    voted = bare.read("lifecycle", "proposals", f"trick/{seq}")["hash"]
    for who in ("bureau", "registry"):
        bare.do(who, "lifecycle.approve", name="trick", seq=seq, hash=voted)
    bare.do("rival", "lifecycle.commit", name="trick", seq=seq)
    assert bare.refusal("bank", "trick.trick") == "DIRECT_ONLY"


ALLOW = '@view\ndef allow(job: dict, phase: str) -> bool:\n    return phase == "proposed"\n'


def adopt(world: World, name: str, source: str, **terms: int) -> None:
    args = {"name": name, "source": source, "arguments": {}, "terms": dict(terms)}
    seq = world.do("bank", "lifecycle.propose", **args)
    voted = world.read("lifecycle", "proposals", f"{name}/{seq}")["hash"]
    for who in ("bureau", "registry"):
        world.do(who, "lifecycle.approve", name=name, seq=seq, hash=voted)
    world.do("bank", "lifecycle.commit", name=name, seq=seq)
    world.advance()


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (ALLOW, ""),
        (ALLOW.replace("view", "export(nested=True)"), ""),
        (ALLOW.replace("view", "export"), "POLICY_SHAPE"),
        (ALLOW.replace("job: dict", "job: dict[str, Value]"), ""),
        (ALLOW.replace("allow", "permit"), "POLICY_SHAPE"),
        (ALLOW.replace("@view\n", "") + "\n@view\ndef x() -> int:\n    return 1\n", "POLICY_SHAPE"),
        (ALLOW.replace(", phase: str", "").replace("phase ==", "'' =="), "POLICY_SHAPE"),
        (ALLOW.replace("phase: str", "phase: str, height: int"), "POLICY_SHAPE"),
        (ALLOW.replace("phase: str", "step: str").replace("phase ==", "step =="), "POLICY_SHAPE"),
        (ALLOW.replace("job: dict", "job: str"), "POLICY_SHAPE"),
        (ALLOW.replace("job: dict", "job: dict[str, str]"), "POLICY_SHAPE"),
        (ALLOW.replace("phase: str", "phase: int"), "POLICY_SHAPE"),
        (ALLOW.replace("-> bool", "-> int").replace('phase == "proposed"', "1"), "POLICY_SHAPE"),
        (ALLOW.replace(" -> bool", ""), "POLICY_SHAPE"),
    ],
)
def test_a_policy_that_cannot_answer_is_known_by_its_interface(bare: World, source: str, fault: str) -> None:
    adopt(bare, "rule", source)
    assert bare.ask("lifecycle.policy_fault", name="rule") == fault


def test_a_policy_answers_while_it_is_active_a_members_and_not_frozen(bare: World) -> None:
    def fault(name: str = "rule") -> tuple[str, bool]:
        return bare.ask("lifecycle.policy_fault", name=name), bare.ask("lifecycle.is_active", name=name)

    assert fault() == ("POLICY_UNKNOWN", False)
    assert fault("orgs") == ("POLICY_SYSTEM", True)
    adopt(bare, "rule", ALLOW, active_at=bare.height + 50)
    assert fault() == ("POLICY_NOT_ACTIVE", False)
    bare.advance(blocks=50)
    assert fault() == ("", True)
    bare.do("bank", "lifecycle.freeze", name="rule", seq=1, reason="wrong")
    assert fault() == ("POLICY_FROZEN", False)
    bare.advance(blocks=1_001)
    assert fault() == ("", True)
    for who in ("bank", "bureau", "registry"):
        bare.do(who, "lifecycle.revoke", name="rule", seq=1, reason="wrong")
    assert fault() == ("POLICY_NOT_ACTIVE", False)


def test_a_policy_that_an_upgrade_robs_of_its_answer_is_known_once_it_runs(bare: World) -> None:
    adopt(bare, "rule", ALLOW)
    adopt(bare, "rule", ALLOW.replace("allow", "permit"))
    assert bare.ask("lifecycle.policy_fault", name="rule") == "POLICY_SHAPE"
