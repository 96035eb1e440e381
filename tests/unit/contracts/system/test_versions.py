"""A version runs from its stated height, on its engine, for those whom its access lists admit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.contractrecords import versions_of
from chain.primitives.runtimeport import map_key
from chain.primitives.values import encode_value
from contracts.language.faults import HostTrouble
from contracts.language.limits import ENGINE
from tests.unit.contracts.system.founding import seeded

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PLAIN = """
count = Var(int, 0)

@init
def setup(start: int):
    count.set(start)

@export(nested=True)
def add(n: int) -> int:
    count.set(count.get() + n)
    return count.get()

@export
def reset():
    count.set(0)

@view
def total() -> int:
    return count.get()
"""
DOUBLE = PLAIN.replace("count.get() + n)", "count.get() + 2 * n)")
MIGRATING = DOUBLE + "\n@migrate\ndef move():\n    count.set(count.get() + 1000)\n"
WITHOUT_RESET = PLAIN.replace("@export\ndef reset", "def reset")
CALLER = """
counter = Contract("counter")

@export
def through() -> int:
    return counter.add(n=1)
"""
ONLY_BANK = {"add": {"orgs": ["bank"], "roles": []}}


def propose(world: World, source: str, terms: dict[str, Any], name: str = "counter", **args: int) -> int:
    content = {"name": name, "source": source, "arguments": args, "terms": terms}
    seq: int = world.do("bank", "lifecycle.propose", **content)
    voted = world.read("lifecycle", "proposals", f"{name}/{seq}")["hash"]
    for who in ("bureau", "registry"):
        world.do(who, "lifecycle.approve", name=name, seq=seq, hash=voted)
    return seq


def install(
    world: World, source: str, terms: dict[str, Any] | None = None, name: str = "counter", **args: int
) -> int:
    seq = propose(world, source, terms or {}, name, **args)
    height: int = world.do("bank", "lifecycle.commit", name=name, seq=seq)
    return height


def at(world: World, height: int) -> None:
    """Go to the block in which the next call runs at this height."""
    world.advance(blocks=height - world.height - 1)


def govern(world: World, kind: str, payload: dict[str, Any]) -> None:
    seq = world.do("bank", "governance.propose", kind=kind, payload=payload, reason="", not_before=0)
    voted = world.read("governance", "proposals", seq)["hash"]
    for who in ("bureau", "registry", "rival"):
        world.do(who, "governance.approve", seq=seq, hash=voted)
    world.do("bank", "governance.commit", seq=seq)


def versions(world: World, name: str) -> list[list[int]]:
    """Every version that began, or will, with the height from which it runs."""
    count = world.read("lifecycle", "numbers", name)["versions"]
    return [world.read("lifecycle", "versions", f"{name}/{place}") for place in range(count)]


# --- heights ---


def test_a_first_version_runs_from_its_stated_height_on(bare: World) -> None:
    start = bare.height + 50
    assert install(bare, PLAIN, {"active_at": start}, start=5) == start
    at(bare, start - 1)
    assert bare.refusal("bank", "counter.add", n=1) == "NOT_YET_ACTIVE"
    assert bare.do("bank", "counter.add", n=1) == 6
    assert bare.height == start


def test_an_upgrade_takes_over_at_its_stated_height_and_the_old_version_serves_until_then(
    bare: World,
) -> None:
    install(bare, PLAIN, start=0)
    start = bare.height + 50
    assert install(bare, DOUBLE, {"active_at": start}) == start
    record = bare.read("lifecycle", "active", "counter")
    assert (versions_of(record).at(start - 1)["seq"], versions_of(record).at(start)["seq"]) == (1, 2)
    at(bare, start - 1)
    assert bare.do("bank", "counter.add", n=1) == 1
    assert bare.do("bank", "counter.add", n=1) == 3
    assert bare.ask("lifecycle.contract_of", name="counter") == versions_of(record).at(bare.height)
    assert versions(bare, "counter")[1:] == [[2, start]]


def test_a_migration_waits_for_its_height_because_the_old_version_still_uses_the_state(bare: World) -> None:
    install(bare, PLAIN, start=0)
    start = bare.height + 50
    seq = propose(bare, MIGRATING, {"active_at": start})
    ready = bare.ask("lifecycle.readiness", name="counter", seq=seq)
    assert (ready["passed"], ready["due"], ready["from_height"]) == (True, False, start - 1)
    assert bare.refusal("bank", "lifecycle.commit", name="counter", seq=seq) == "TOO_EARLY"
    at(bare, start - 1)
    assert bare.ask("lifecycle.readiness", name="counter", seq=seq)["due"] is True
    assert bare.do("bank", "lifecycle.commit", name="counter", seq=seq) == start
    bare.height -= 1
    assert bare.refusal("bank", "counter.add", n=1) == "NOT_YET_ACTIVE", "the rest of that block"
    assert bare.do("bank", "counter.add", n=1) == 1002


def test_an_upgrade_without_migration_takes_no_arguments(bare: World) -> None:
    install(bare, PLAIN, start=0)
    seq = propose(bare, DOUBLE, {}, start=1)
    assert bare.refusal("bank", "lifecycle.commit", name="counter", seq=seq) == "UNKNOWN_METHOD"


def test_a_newer_version_replaces_one_that_has_not_begun(bare: World) -> None:
    install(bare, PLAIN, start=0)
    start = bare.height + 50
    install(bare, DOUBLE, {"active_at": start})
    third = install(bare, PLAIN.replace("+ n)", "+ 3 * n)"))
    assert versions(bare, "counter")[1:] == [[3, third]]
    at(bare, start + 1)
    assert bare.do("bank", "counter.add", n=1) == 3
    old = propose(bare, DOUBLE, {})
    install(bare, DOUBLE, {"active_at": bare.height + 100})
    assert bare.refusal("bank", "lifecycle.commit", name="counter", seq=old) == "STALE_SEQ"
    assert bare.ask("lifecycle.readiness", name="counter", seq=old)["status"] == "stale"


def test_a_version_that_was_replaced_before_it_began_never_runs(bare: World) -> None:
    start = bare.height + 50
    install(bare, PLAIN, {"active_at": start}, start=0)
    later = install(bare, DOUBLE, {"active_at": start + 50})
    assert versions(bare, "counter") == [[2, later]]
    at(bare, start + 1)
    assert bare.refusal("bank", "counter.add", n=1) == "NOT_YET_ACTIVE"
    assert bare.ask("lifecycle.contract_of", name="counter")["seq"] == 2
    at(bare, later)
    assert bare.do("bank", "counter.add", n=1) == 2


def test_a_freeze_ends_when_the_version_that_mends_it_begins(bare: World) -> None:
    install(bare, PLAIN, start=0)
    bare.do("rival", "lifecycle.freeze", name="counter", seq=1, reason="bug")
    start = bare.height + 50
    install(bare, DOUBLE, {"active_at": start})
    at(bare, start - 1)
    assert bare.refusal("bank", "counter.add", n=1) == "CONTRACT_FROZEN"
    assert bare.do("bank", "counter.add", n=1) == 2
    assert bare.ask("lifecycle.is_active", name="counter") is True
    bare.do("rival", "lifecycle.freeze", name="counter", seq=2, reason="again")
    assert bare.refusal("bank", "counter.add", n=1) == "CONTRACT_FROZEN"


def test_a_revoked_contract_has_no_next_version_and_its_state_stays(bare: World) -> None:
    install(bare, PLAIN, start=7)
    start = bare.height + 50
    install(bare, DOUBLE, {"active_at": start})
    for who in ("bank", "bureau", "registry"):
        bare.do(who, "lifecycle.revoke", name="counter", seq=1, reason="over")
    at(bare, start)
    assert bare.refusal("bank", "counter.add", n=1) == "CONTRACT_REVOKED"
    assert bare.variable("counter", "count") == 7


def test_every_contract_and_version_that_ever_ran_is_listed_in_the_state(bare: World) -> None:
    install(bare, PLAIN, start=0)
    install(bare, DOUBLE)
    count = bare.variable("lifecycle", "name_count")
    names = [bare.read("lifecycle", "names", place) for place in range(count)]
    assert names == [
        "orgs",
        "governance",
        "lifecycle",
        "datasets",
        "programs",
        "accounts",
        "grants",
        "jobs",
        "counter",
    ]
    for seq, active_at in versions(bare, "counter"):
        entry = bare.read("lifecycle", "history", f"counter/{seq}")
        assert (entry["active_at"], entry["approved_by"], entry["by"]) == (
            active_at,
            ["bank", "bureau", "registry"],
            "bank",
        )
    assert versions(bare, "jobs") == [[1, 0]]


# --- access ---


def test_only_listed_orgs_call_a_restricted_method(bare: World) -> None:
    install(bare, PLAIN, {"access": ONLY_BANK}, start=0)
    assert bare.do("bank", "counter.add", n=1) == 1
    assert bare.do("bank/steward", "counter.add", n=1) == 2
    assert bare.refusal("bureau", "counter.add", n=1) == "ACCESS_DENIED"
    bare.do("bureau", "counter.reset")
    assert bare.ask("counter.total") == 0


def test_only_keys_with_a_listed_role_call_a_restricted_method(bare: World) -> None:
    access = {"add": {"orgs": ["bank", "bureau"], "roles": ["steward", "agent"]}}
    install(bare, PLAIN, {"access": access}, start=0)
    assert bare.refusal("bank", "counter.add", n=1) == "ACCESS_DENIED"
    assert bare.do("bank/steward", "counter.add", n=1) == 1
    assert bare.do("bureau/agent", "counter.add", n=1) == 2
    assert bare.refusal("registry/agent", "counter.add", n=1) == "ACCESS_DENIED"


def test_a_restriction_holds_for_calls_through_another_contract(bare: World) -> None:
    install(bare, PLAIN, {"access": ONLY_BANK}, start=0)
    install(bare, CALLER, name="between")
    assert bare.refusal("bureau", "between.through") == "ACCESS_DENIED"
    assert bare.do("bank", "between.through") == 1


def test_members_change_access_by_vote(bare: World) -> None:
    install(bare, PLAIN, start=0)
    govern(bare, "set_access", {"contract": "counter", "access": ONLY_BANK})
    assert bare.refusal("bureau", "counter.add", n=1) == "ACCESS_DENIED"
    assert bare.trail("contract:counter")[-2:] == ["ContractAccessSet", "Committed"]
    govern(bare, "set_access", {"contract": "counter", "access": {}})
    assert bare.do("bureau", "counter.add", n=1) == 1
    assert bare.refusal("bank", "lifecycle.set_access", name="counter", access={}) == "GOVERNANCE_ONLY"


def test_an_upgrade_that_says_nothing_keeps_the_lists_of_methods_that_still_exist(bare: World) -> None:
    lists = {**ONLY_BANK, "reset": {"orgs": ["bank"], "roles": []}}
    install(bare, PLAIN, {"access": lists}, start=0)
    install(bare, WITHOUT_RESET)
    bare.advance()
    assert bare.ask("lifecycle.contract_of", name="counter")["access"] == ONLY_BANK
    assert bare.refusal("bureau", "counter.add", n=1) == "ACCESS_DENIED"
    install(bare, PLAIN, {"access": {}})
    assert bare.do("bureau", "counter.add", n=1) == 1


@pytest.mark.parametrize(
    ("access", "code"),
    [
        ({"total": {"orgs": ["bank"], "roles": []}}, "UNKNOWN_METHOD"),
        ({"nothing": {"orgs": ["bank"], "roles": []}}, "UNKNOWN_METHOD"),
        ({"setup": {"orgs": ["bank"], "roles": []}}, "UNKNOWN_METHOD"),
        ({"add": {"orgs": ["nobody"], "roles": []}}, "UNKNOWN_ORG"),
        ({"add": {"orgs": [], "roles": ["king"]}}, "BAD_ROLE"),
        ({"add": {"orgs": []}}, "BAD_ACCESS"),
        ({"add": {"orgs": ["bank"] * 1_000, "roles": []}}, "ACCESS_TOO_LONG"),
    ],
)
def test_bad_access_lists_are_refused(bare: World, access: dict[str, Any], code: str) -> None:
    args = {"name": "counter", "source": PLAIN, "arguments": {"start": 0}}
    assert bare.refusal("bank", "lifecycle.propose", **args, terms={"access": access}) == code
    install(bare, PLAIN, start=0)
    wish = {"kind": "set_access", "payload": {"contract": "counter", "access": access}}
    assert bare.refusal("bank", "governance.propose", **wish, reason="", not_before=0) == code


def test_access_is_left_alone_for_system_contracts_and_while_an_upgrade_is_pending(bare: World) -> None:
    wish: dict[str, Any] = {"kind": "set_access", "reason": "", "not_before": 0}
    on_jobs = {"contract": "jobs", "access": {}}
    assert bare.refusal("bank", "governance.propose", **wish, payload=on_jobs) == "SYSTEM_PROTECTED"
    install(bare, PLAIN, start=0)
    install(bare, DOUBLE, {"active_at": bare.height + 50})
    on_counter = {"contract": "counter", "access": {}}
    assert bare.refusal("bank", "governance.propose", **wish, payload=on_counter) == "UPGRADE_PENDING"


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"active_at": -1}, "BAD_HEIGHT"),
        ({"active_at": 10**9}, "BAD_HEIGHT"),
        ({"active_at": "soon"}, "TYPE_ERROR"),
        ({"colour": 1}, "BAD_TERMS"),
    ],
)
def test_bad_terms_are_refused(bare: World, terms: dict[str, Any], code: str) -> None:
    args = {"name": "counter", "source": PLAIN, "arguments": {"start": 0}}
    assert bare.refusal("bank", "lifecycle.propose", **args, terms=terms) == code


def test_a_vote_covers_arguments_height_and_access(bare: World) -> None:
    base = {"name": "counter", "source": PLAIN, "arguments": {"start": 0}, "terms": {}}
    variants: list[dict[str, Any]] = [
        base,
        {**base, "arguments": {"start": 1}},
        {**base, "terms": {"active_at": 500}},
        {**base, "terms": {"access": ONLY_BANK}},
    ]
    hashes = []
    for content in variants:
        world = bare.fork()
        world.do("bank", "lifecycle.propose", **content)
        hashes.append(world.read("lifecycle", "proposals", "counter/1")["hash"])
    assert len(set(hashes)) == len(variants)


# --- what ran, after a revocation ---


@pytest.mark.parametrize("begun", [False, True])
def test_a_version_that_was_to_follow_a_revoked_one_is_not_listed_as_having_run(
    bare: World, begun: bool
) -> None:
    install(bare, PLAIN, start=0)
    start = install(bare, DOUBLE, {"active_at": bare.height + 50})
    bare.advance(blocks=60 if begun else 1)
    for who in ("bank", "bureau", "registry"):
        bare.do(who, "lifecycle.revoke", name="counter", seq=2 if begun else 1, reason="over")
    bare.advance(blocks=100)
    listed = versions(bare, "counter")
    assert [seq for seq, _ in listed] == ([1, 2] if begun else [1])
    assert begun == ([2, start] in listed)
    assert bare.read("lifecycle", "versions", "counter/1") == ([2, start] if begun else None)
    assert bare.read("lifecycle", "history", "counter/2")["active_at"] == start, (
        "the decision stays on record"
    )


def test_a_contract_that_is_revoked_before_it_began_never_ran_and_its_name_is_not_numbered_anew(
    bare: World,
) -> None:
    install(bare, PLAIN, {"active_at": bare.height + 500}, start=0)
    seq = propose(bare, DOUBLE, {})
    for who in ("bank", "bureau", "registry"):
        bare.do(who, "lifecycle.revoke", name="counter", seq=1, reason="over")
    bare.do("bank", "lifecycle.withdraw", name="counter", seq=seq)
    assert versions(bare, "counter") == []
    assert bare.read("lifecycle", "numbers", "counter")["latest"] == 2
    assert bare.read("lifecycle", "versions", "counter/0") is None


# --- engines ---


def test_a_contract_of_an_engine_that_this_release_lacks_stops_the_node_and_says_why(bare: World) -> None:
    install(bare, PLAIN, start=0)
    bare.advance()
    record = bare.read("lifecycle", "active", "counter")
    bare.state["lifecycle", map_key("active", "counter")] = encode_value({**record, "engine": ENGINE + 1})
    before = dict(bare.state)
    with pytest.raises(HostTrouble, match=rf"counter runs on engine {ENGINE + 1}.*install a release"):
        bare.run(seeded("bank"), "counter.add", n=1)
    with pytest.raises(HostTrouble, match=f"engine {ENGINE + 1}"):
        bare.ask("counter.total")
    assert bare.state == before


def test_a_proposal_runs_on_the_engine_that_it_was_made_under(bare: World) -> None:
    seq = propose(bare, PLAIN, {}, start=0)
    place = map_key("proposals", f"counter/{seq}")
    proposal = bare.read("lifecycle", "proposals", f"counter/{seq}")
    bare.state["lifecycle", place] = encode_value({**proposal, "engine": ENGINE + 1})
    with pytest.raises(HostTrouble, match=f"engine {ENGINE + 1}"):
        bare.run(seeded("bank"), "lifecycle.commit", name="counter", seq=seq)
