"""Members, nodes, limits and policy change by proposals: one vote an organisation, never below the policy."""

from __future__ import annotations

import contextlib
import re
import typing
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.genesis import FIXED_LIMITS, Limits
from chain.ledger.schedule import announce
from chain.ledger.testing import ToyChain
from chain.primitives.certificate import VALIDATORS_MAX, quorum
from chain.primitives.codec import Bound
from chain.primitives.runtimeport import SUBJECT_PATTERN, var_key
from chain.primitives.values import encode_value
from contracts import system
from contracts.system import sources
from tests.unit.contracts.system.founding import (
    LIMITS,
    ORGS,
    VALIDATING,
    Refused,
    node_of,
    proof_of,
    seat_of,
    seeded,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.contracts.system.conftest import World

README = Path(system.__file__).with_name("README.md")
NODE_NAMES = [*[f"{name}-node" for name in VALIDATING], "n1", "n2", "n3", "n4"]
WEEK_MS = 7 * 24 * 3_600_000
MEMBERS = list(ORGS)
NEWCOMER = {
    "id": "clinic",
    "name": "Clinic",
    "roles": ["owner"],
    "keys": [
        {"key": seeded("clinic").public, "roles": ["admin"], "proof": proof_of(seeded("clinic"), "clinic")}
    ],
    "agent_key": seeded("clinic/agent").public,
    "agent_address": "127.0.0.1:7001",
    "agent_proof": proof_of(seeded("clinic/agent"), "clinic"),
}
FIFTH = seat_of("rival")


def propose(world: World, kind: str, payload: dict[str, Any], who: str = "bank", not_before: int = 0) -> int:
    seq: int = world.do(
        who, "governance.propose", kind=kind, payload=payload, reason="agreed", not_before=not_before
    )
    return seq


def vote(world: World, seq: int, *voters: str) -> None:
    for who in voters:
        world.do(who, "governance.approve", seq=seq, hash=world.read("governance", "proposals", seq)["hash"])


def decided(world: World, kind: str, payload: dict[str, Any], by: tuple[str, ...] = ()) -> int:
    """Propose, collect a quorum of votes (or these) and commit; return the proposal's number."""
    seq = propose(world, kind, payload)
    members = world.ask("orgs.active_members")
    vote(world, seq, *(by or members[1 : quorum(len(members))]))
    world.do("bank", "governance.commit", seq=seq)
    return seq


def refused(world: World, kind: str, payload: dict[str, Any]) -> str:
    return world.refusal("bank", "governance.propose", kind=kind, payload=payload, reason="", not_before=0)


def nodes(world: World) -> list[str]:
    return [node["name"] for node in world.variable("governance", "nodes")]


# --- the life of a proposal ---


def test_genesis_gives_the_nodes_in_primary_order_and_the_limits(bare: World) -> None:
    assert bare.variable("governance", "nodes") == [node_of(name) for name in VALIDATING]
    assert bare.variable("governance", "limits") == LIMITS


def test_a_quorum_carries_a_proposal_out_and_the_list_of_nodes_grows(bare: World) -> None:
    seq = propose(bare, "add_node", FIFTH)
    assert bare.refusal("bank", "governance.commit", seq=seq) == "NOT_ENOUGH_VOTES"
    vote(bare, seq, "bureau", "registry")
    assert bare.refusal("bank", "governance.commit", seq=seq) == "NOT_ENOUGH_VOTES"
    vote(bare, seq, "regulator")
    height = bare.do("rival", "governance.commit", seq=seq)
    assert bare.variable("governance", "nodes")[-1] == node_of("rival")
    proposal = bare.ask("governance.proposal_of", seq=seq)
    assert (proposal["status"], proposal["committed_at"]) == ("committed", height)
    for subject in ("node:rival-node", "org:rival", f"proposal:{seq}"):
        assert bare.trail(subject)[-5:] == ["Proposed", "Approved", "Approved", "Approved", "Committed"]


def test_an_org_votes_once_for_the_exact_content_by_its_admin_key(bare: World) -> None:
    seq = propose(bare, "add_node", FIFTH)
    exact = bare.read("governance", "proposals", seq)["hash"]
    assert bare.refusal("bank", "governance.approve", seq=seq, hash=exact) == "ALREADY_VOTED"
    assert bare.refusal("bureau", "governance.approve", seq=seq, hash=bytes(32)) == "HASH_MISMATCH"
    assert bare.refusal("bureau/steward", "governance.approve", seq=seq, hash=exact) == "KEY_ROLE_MISSING"
    assert bare.refusal("bureau", "governance.approve", seq=seq + 1, hash=exact) == "UNKNOWN_PROPOSAL"


def test_readiness_says_who_is_missing_and_from_when(bare: World) -> None:
    seq = propose(bare, "add_node", FIFTH, not_before=bare.height + 100)
    vote(bare, seq, "rival")
    ready = bare.ask("governance.readiness", seq=seq)
    assert (ready["counted"], ready["missing"], ready["needed"]) == (
        ["bank", "rival"],
        ["bureau", "registry", "regulator"],
        4,
    )
    assert (ready["status"], ready["passed"], ready["due"]) == ("open", False, False)
    vote(bare, seq, "bureau", "registry")
    assert bare.ask("governance.readiness", seq=seq)["due"] is False
    assert bare.refusal("bank", "governance.commit", seq=seq) == "TOO_EARLY"
    bare.advance(blocks=100)
    assert bare.ask("governance.readiness", seq=seq)["due"] is True
    bare.do("bank", "governance.commit", seq=seq)
    assert bare.ask("governance.readiness", seq=seq)["status"] == "committed"


def test_proposals_expire_and_anyone_says_so(bare: World) -> None:
    seq = propose(bare, "add_node", FIFTH)
    voted = bare.read("governance", "proposals", seq)["hash"]
    assert bare.refusal("rival", "governance.expire", seq=seq) == "TOO_EARLY"
    bare.advance(WEEK_MS + 1)
    assert bare.ask("governance.readiness", seq=seq)["status"] == "expired"
    assert bare.refusal("rival", "governance.approve", seq=seq, hash=voted) == "DEADLINE_PASSED"
    assert bare.refusal("rival", "governance.commit", seq=seq) == "DEADLINE_PASSED"
    bare.do("rival", "governance.expire", seq=seq)
    assert bare.refusal("rival", "governance.expire", seq=seq) == "UNKNOWN_PROPOSAL"
    assert bare.trail(f"proposal:{seq}") == ["Proposed", "Expired"]


def test_only_the_proposer_withdraws(bare: World) -> None:
    seq = propose(bare, "add_node", FIFTH)
    assert bare.refusal("bureau", "governance.withdraw", seq=seq) == "NOT_PROPOSER"
    bare.do("bank", "governance.withdraw", seq=seq)
    assert bare.refusal("bank", "governance.commit", seq=seq) == "UNKNOWN_PROPOSAL"


def test_an_org_has_a_bounded_number_of_open_proposals(bare: World) -> None:
    seqs = [propose(bare, "set_limits", {"block_txs": n + 1}) for n in range(32)]
    assert refused(bare, "set_limits", {"block_txs": 99}) == "TOO_MANY_PROPOSALS"
    bare.do("bank", "governance.withdraw", seq=seqs[0])
    assert propose(bare, "set_limits", {"block_txs": 99}) == 33


def test_a_decision_that_no_longer_fits_is_refused_at_its_commit(bare: World) -> None:
    first, second = propose(bare, "add_node", FIFTH), propose(bare, "add_node", FIFTH)
    for seq in (first, second):
        vote(bare, seq, "bureau", "registry", "rival")
    bare.do("bank", "governance.commit", seq=first)
    assert bare.refusal("bank", "governance.commit", seq=second) == "NODE_EXISTS"


def test_a_contract_cannot_govern_in_a_member_s_name(bare: World) -> None:
    source = """
governance = Contract("governance")

@export
def trick(seq: int, hash: bytes):
    governance.approve(seq=seq, hash=hash)
"""
    seq = bare.do("rival", "lifecycle.propose", name="trick", source=source, arguments={}, terms={})
    voted = bare.read("lifecycle", "proposals", f"trick/{seq}")["hash"]
    for who in ("bureau", "registry"):
        bare.do(who, "lifecycle.approve", name="trick", seq=seq, hash=voted)
    bare.do("rival", "lifecycle.commit", name="trick", seq=seq)
    wish = propose(bare, "add_node", FIFTH, "rival")
    wished = bare.read("governance", "proposals", wish)["hash"]
    assert bare.refusal("bank", "trick.trick", seq=wish, hash=wished) == "DIRECT_ONLY"


def test_every_event_names_histories_that_a_trail_can_follow(bare: World) -> None:
    decided(bare, "admit_org", {"org": NEWCOMER})
    decided(bare, "set_limits", {"block_txs": 500})
    decided(bare, "set_policy", {"kind": "contract", "rule": "quorum", "votes": 0})
    for event in bare.events:
        if event.contract == "governance":
            assert all(re.fullmatch(SUBJECT_PATTERN, subject) for subject in event.subjects)
            assert any(subject.startswith("org:") for subject in event.subjects)
    for subject in ("org:clinic", "params:limits", "params:policy"):
        assert "Committed" in bare.trail(subject)


# --- organisations ---


def test_an_admitted_org_signs_and_votes(bare: World) -> None:
    seq = propose(bare, "admit_org", {"org": NEWCOMER})
    vote(bare, seq, "bureau", "registry", "rival")
    assert bare.refusal("clinic", "orgs.revoke_key", key=bytes(32), reason="") == "UNKNOWN_SENDER"
    bare.do("bank", "governance.commit", seq=seq)
    assert bare.ask("orgs.active_members")[-1] == "clinic"
    assert bare.trail("org:clinic")[-2:] == ["OrgJoined", "Committed"]
    vote(bare, propose(bare, "add_node", FIFTH), "clinic")


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"id": "bank"}, "ORG_EXISTS"),
        ({"id": "Clinic"}, "BAD_ID"),
        ({"roles": ["king"]}, "BAD_ROLE"),
        ({"keys": []}, "NO_ADMIN_KEY"),
        ({"keys": [{"key": bytes(31), "roles": ["admin"], "proof": b""}]}, "BAD_KEY"),
        ({"keys": [{"key": seeded("bank").public, "roles": ["admin"], "proof": b""}]}, "KEY_EXISTS"),
        ({"keys": [{"key": seeded("clinic").public, "roles": ["admin"]}]}, "BAD_MEMBER"),
        ({"keys": [{"key": seeded("clinic").public, "roles": ["admin"], "proof": b""}]}, "BAD_PROOF"),
        ({"keys": "clinic"}, "TYPE_ERROR"),
        ({"agent_proof": proof_of(seeded("clinic/agent"), "rival")}, "BAD_PROOF"),
        ({"age": 7}, "BAD_MEMBER"),
        ({"keys": 2 * NEWCOMER["keys"]}, "KEY_EXISTS"),  # type: ignore[operator]
        ({"agent_key": seeded("bank/agent").public}, "KEY_EXISTS"),
        ({"agent_key": b""}, "BAD_KEY"),
    ],
)
def test_an_org_that_cannot_join_is_refused_when_proposed(
    bare: World, over: dict[str, Any], code: str
) -> None:
    assert refused(bare, "admit_org", {"org": {**NEWCOMER, **over}}) == code


def test_an_expelled_org_signs_nothing_more_and_its_votes_do_not_count(bare: World) -> None:
    seq = propose(bare, "add_node", seat_of("bank", seeded("spare"), name="spare"), "rival")
    vote(bare, seq, "bank", "bureau")
    decided(bare, "expel_org", {"org": "rival"}, ("bureau", "registry", "regulator"))
    ready = bare.ask("governance.readiness", seq=seq)
    assert (ready["counted"], ready["needed"], ready["passed"]) == (["bank", "bureau"], 3, False)
    assert bare.refusal("rival", "governance.withdraw", seq=seq) == "ORG_EXPELLED"
    assert bare.refusal("rival/agent", "jobs.accept", job="", plan=b"") == "ORG_EXPELLED"
    record = bare.ask("orgs.org_of", id="rival")
    key = bare.read("orgs", "keys", seeded("rival").public.hex())
    assert (record["status"], key["status"], key["until"]) == ("expelled", "expelled", bare.height - 2)
    assert key["since"] == 0, "what it signed before stays valid"
    assert refused(bare, "admit_org", {"org": {**NEWCOMER, "id": "rival"}}) == "ORG_EXISTS"
    assert refused(bare, "reinstate_org", {"org": "rival"}) == "WRONG_STATE"
    assert refused(bare, "expel_org", {"org": "rival"}) == "WRONG_STATE"


def test_an_org_with_nodes_is_not_expelled_before_they_are_removed(bare: World) -> None:
    assert refused(bare, "expel_org", {"org": "bureau"}) == "ORG_HAS_NODES"
    decided(bare, "remove_node", {"name": "bureau-node"})
    decided(bare, "expel_org", {"org": "bureau"})
    assert "bureau" not in bare.ask("orgs.active_members")


def test_a_suspended_org_calls_nothing_until_it_is_reinstated(bare: World) -> None:
    decided(bare, "suspend_org", {"org": "bureau"})
    assert bare.refusal("bureau", "datasets.retire", id="d", reason="") == "ORG_SUSPENDED"
    assert bare.ask("governance.votes_needed", kind="add_node") == 3
    assert refused(bare, "suspend_org", {"org": "bureau"}) == "WRONG_STATE"
    decided(bare, "reinstate_org", {"org": "bureau"}, ("registry", "regulator", "rival"))
    bare.register("bureau", "bureau/new")
    assert bare.trail("org:bureau").count("OrgReinstated") == 1


def test_only_governance_admits_expels_and_suspends(bare: World) -> None:
    assert bare.refusal("bank", "orgs.admit", member=NEWCOMER) == "GOVERNANCE_ONLY"
    for method in ("expel", "suspend", "reinstate"):
        assert bare.refusal("bank", f"orgs.{method}", id="rival") == "GOVERNANCE_ONLY"


def test_the_last_org_stays(bare: World) -> None:
    for node in ("bureau-node", "registry-node", "regulator-node"):
        decided(bare, "remove_node", {"name": node})
    for org in ("rival", "regulator", "registry", "bureau"):
        members = bare.ask("orgs.active_members")
        decided(bare, "expel_org", {"org": org}, tuple(members[1 : quorum(len(members))]))
    assert refused(bare, "expel_org", {"org": "bank"}) == "LAST_ORG"
    assert refused(bare, "suspend_org", {"org": "bank"}) == "LAST_ORG"
    assert refused(bare, "expel_org", {"org": "nobody"}) == "UNKNOWN_ORG"


# --- nodes ---


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"org": "nobody"}, "UNKNOWN_ORG"),
        ({"name": "bank-node"}, "NODE_EXISTS"),
        ({"name": "A b"}, "BAD_ID"),
        ({"public_key": bytes(31)}, "BAD_KEY"),
        (seat_of("rival", seeded("bank/node")), "KEY_EXISTS"),
        ({"public_key": seeded("spare").public}, "BAD_PROOF"),
        ({"proof": proof_of(seeded("rival/node"), "bank")}, "BAD_PROOF"),
        ({"role": "king"}, "BAD_ROLE"),
        ({"address": "nowhere"}, "BAD_ADDRESS"),
        ({"address": ":30300"}, "BAD_ADDRESS"),
        ({"address": "host:0"}, "BAD_ADDRESS"),
        ({"address": "host:65536"}, "BAD_ADDRESS"),
        ({"address": "a b:1"}, "BAD_ADDRESS"),
        ({"address": "h" * 255 + ":1"}, "BAD_ADDRESS"),
        ({"extra": 1}, "BAD_PAYLOAD"),
    ],
)
def test_a_bad_node_is_refused(bare: World, over: dict[str, Any], code: str) -> None:
    assert refused(bare, "add_node", {**FIFTH, **over}) == code


def test_an_observer_becomes_a_validator_and_back(bare: World) -> None:
    decided(bare, "add_node", {**FIFTH, "role": "observer"})
    assert refused(bare, "change_role", {"name": "rival-node", "role": "observer"}) == "WRONG_STATE"
    decided(bare, "change_role", {"name": "rival-node", "role": "validator"})
    assert bare.variable("governance", "nodes")[-1]["role"] == "validator"
    decided(bare, "change_role", {"name": "bank-node", "role": "observer"})
    assert bare.variable("governance", "nodes")[0]["role"] == "observer"


def test_addresses_change_and_removed_nodes_may_return_with_their_key(bare: World) -> None:
    decided(bare, "change_address", {"name": "bank-node", "address": "[::1]:30301"})
    assert bare.variable("governance", "nodes")[0]["address"] == "[::1]:30301"
    decided(bare, "remove_node", {"name": "bureau-node"})
    assert nodes(bare) == ["bank-node", "registry-node", "regulator-node"]
    stolen = seat_of("bank", seeded("bureau/node"), name="again")
    assert refused(bare, "add_node", stolen) == "KEY_EXISTS"
    decided(bare, "add_node", seat_of("bureau"))
    assert nodes(bare)[-1] == "bureau-node"


def test_one_validator_always_stays_and_there_are_bounds(bare: World) -> None:
    for name in VALIDATING[:3]:
        decided(bare, "remove_node", {"name": f"{name}-node"})
    assert refused(bare, "remove_node", {"name": "regulator-node"}) == "LAST_VALIDATOR"
    assert refused(bare, "change_role", {"name": "regulator-node", "role": "observer"}) == "LAST_VALIDATOR"
    assert refused(bare, "remove_node", {"name": "bank-node"}) == "UNKNOWN_NODE"
    many = [node_of("bank", name=f"n{i}", public_key=sha256(b"%d" % i).digest()) for i in range(128)]
    bare.state["governance", var_key("nodes")] = encode_value(many)
    assert refused(bare, "add_node", FIFTH) == "TOO_MANY_VALIDATORS"
    decided(bare, "add_node", {**FIFTH, "role": "observer"})


def test_an_org_moves_its_own_seat_to_a_new_key_without_votes(bare: World) -> None:
    old, fresh, third = (seeded(f"bank/node{number}") for number in ("", "/2", "/3"))
    args = {"name": "bank-node", "public_key": fresh.public, "proof": proof_of(fresh, "bank")}
    assert bare.refusal("bureau", "governance.rotate_node_key", **args) == "NOT_OWNER"
    assert bare.refusal("bank/steward", "governance.rotate_node_key", **args) == "KEY_ROLE_MISSING"
    assert bare.refusal("bank", "governance.rotate_node_key", **{**args, "proof": bytes(64)}) == "BAD_PROOF"
    bureau = seeded("bureau/node")
    taken = {**args, "public_key": bureau.public, "proof": proof_of(bureau, "bank")}
    assert bare.refusal("bank", "governance.rotate_node_key", **taken) == "KEY_EXISTS"
    bare.do("bank", "governance.rotate_node_key", **args)
    assert bare.variable("governance", "nodes")[0] == node_of("bank", public_key=fresh.public)
    assert bare.trail("node:bank-node") == ["NodeKeyRotated"]
    again = {**args, "public_key": third.public, "proof": proof_of(third, "bank")}
    assert bare.refusal("bank", "governance.rotate_node_key", **again) == "TOO_SOON"
    bare.advance(blocks=100)
    back = {**args, "public_key": old.public, "proof": proof_of(old, "bank")}
    assert bare.refusal("bank", "governance.rotate_node_key", **back) == "KEY_EXISTS"
    bare.do("bank", "governance.rotate_node_key", **again)


def test_a_seat_moves_again_after_ten_minutes_on_a_chain_that_makes_no_heights(bare: World) -> None:
    """Who loses its votes twice must not be missing for as long as nobody sends anything."""
    keys = [seeded(f"bank/node/{number}") for number in range(2)]
    first, second = [
        {"name": "bank-node", "public_key": key.public, "proof": proof_of(key, "bank")} for key in keys
    ]
    bare.do("bank", "governance.rotate_node_key", **first)
    bare.advance(ms=599_000)
    assert bare.refusal("bank", "governance.rotate_node_key", **second) == "TOO_SOON"
    bare.advance(ms=1_000)
    bare.do("bank", "governance.rotate_node_key", **second)


# --- limits, policy, terms ---


def test_limits_change_within_their_ranges_and_relations(bare: World) -> None:
    decided(bare, "set_limits", {"block_txs": 500, "tx_gas_max": 20_000_000})
    assert bare.variable("governance", "limits") == {**LIMITS, "block_txs": 500, "tx_gas_max": 20_000_000}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({}, "BAD_PAYLOAD"),
        ({"rotation": 5}, "UNKNOWN_LIMIT"),
        ({"consensus_window": 5}, "UNKNOWN_LIMIT"),
        ({"block_txs": 0}, "OUT_OF_RANGE"),
        ({"block_txs": "many"}, "TYPE_ERROR"),
        ({"block_txs": True}, "TYPE_ERROR"),
        ({"tx_bytes": 132_224, "block_bytes": 100_000}, "TX_BYTES_OVER_BLOCK"),
        ({"tx_gas_default": 20_000_000}, "TX_GAS_OVER_MAX"),
        ({"block_gas": 10_000_000, "tx_gas_max": 20_000_000}, "TX_GAS_OVER_BLOCK"),
    ],
)
def test_a_bad_limit_is_refused(bare: World, payload: dict[str, Any], code: str) -> None:
    assert refused(bare, "set_limits", payload) == code


def test_the_contract_s_ranges_are_those_of_genesis_or_narrower() -> None:
    text = sources()["governance"]
    hints = typing.get_type_hints(Limits, include_extras=True)
    for name, hint in hints.items():
        bound = next(part for part in hint.__metadata__ if isinstance(part, Bound))
        found = re.search(rf'"{name}": \((\d+), (\d+)\)', text)
        if name in FIXED_LIMITS:
            assert found is None
        else:
            assert found is not None, name
            assert bound.low <= int(found[1]) <= getattr(Limits(), name) <= int(found[2]) == bound.high
    assert f"VALIDATORS_MAX = {VALIDATORS_MAX}\n" in text


@pytest.mark.parametrize("name", ["orgs", "governance", "lifecycle"])
def test_every_refusal_code_is_documented(name: str) -> None:
    codes = set(re.findall(r'require\(.*?"([A-Z_]+)"\)', sources()[name], re.DOTALL))
    text = README.read_text()
    assert codes
    assert {code for code in codes if f"`{code}`" not in text} == set()


def test_policy_says_how_many_votes_a_kind_needs(bare: World) -> None:
    assert bare.ask("governance.votes_needed", kind="contract") == 3
    assert bare.ask("governance.votes_needed", kind="set_limits") == 4
    decided(bare, "set_policy", {"kind": "set_limits", "rule": "majority", "votes": 0})
    assert bare.ask("governance.votes_needed", kind="set_limits") == 3
    decided(bare, "set_policy", {"kind": "contract", "rule": "votes", "votes": 5})
    assert bare.ask("lifecycle.votes_needed", name="anything") == 5
    assert bare.ask("governance.policy_of", kind="contract") == {"rule": "votes", "votes": 5}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"kind": "set_limits", "rule": "votes", "votes": 2}, "BAD_VOTES"),
        ({"kind": "set_limits", "rule": "votes", "votes": 6}, "BAD_VOTES"),
        ({"kind": "set_limits", "rule": "majority", "votes": 1}, "BAD_VOTES"),
        ({"kind": "set_policy", "rule": "majority", "votes": 0}, "BAD_RULE"),
        ({"kind": "expel_org", "rule": "votes", "votes": 3}, "BAD_VOTES"),
        ({"kind": "anything", "rule": "majority", "votes": 0}, "UNKNOWN_KIND"),
        ({"kind": "set_limits", "rule": "none", "votes": 0}, "BAD_RULE"),
        ({"kind": "set_limits", "rule": "majority"}, "BAD_PAYLOAD"),
    ],
)
def test_no_policy_is_weaker_than_safe(bare: World, payload: dict[str, Any], code: str) -> None:
    assert refused(bare, "set_policy", payload) == code


def test_terms_say_how_long_proposals_live_and_freezes_last(bare: World) -> None:
    decided(bare, "set_terms", {"proposal_ms": 3_600_000, "freeze_blocks": 5})
    seq = propose(bare, "add_node", FIFTH)
    assert bare.ask("governance.proposal_of", seq=seq)["expires"] == bare.time + 3_600_000
    assert refused(bare, "set_terms", {"proposal_ms": 1}) == "OUT_OF_RANGE"
    assert refused(bare, "set_terms", {"quorum": 1}) == "UNKNOWN_LIMIT"


def test_unknown_kinds_and_overlong_words_are_refused(bare: World) -> None:
    assert refused(bare, "do_anything", {}) == "UNKNOWN_KIND"
    assert refused(bare, "contract", {}) == "UNKNOWN_KIND"
    assert refused(bare, "remove_node", {"name": "x" * 40_000}) == "PAYLOAD_TOO_LONG"
    args = {"kind": "add_node", "payload": FIFTH, "reason": "", "not_before": 0}
    assert bare.refusal("bank", "governance.propose", **{**args, "reason": "x" * 257}) == "TEXT_TOO_LONG"
    for height in (-1, bare.height + 2_000_000):
        assert bare.refusal("bank", "governance.propose", **{**args, "not_before": height}) == "BAD_HEIGHT"


# --- properties ---


@settings(max_examples=25, deadline=None)
@given(
    votes=st.lists(st.sampled_from(MEMBERS[1:]), max_size=8),
    leaving=st.lists(st.sampled_from(["rival", "regulator"]), max_size=2, unique=True),
    rule=st.sampled_from([("majority", 0), ("quorum", 0), ("votes", 3), ("votes", 5)]),
)
def test_nothing_is_carried_out_below_the_policy(
    fresh: Callable[[], World], votes: list[str], leaving: list[str], rule: tuple[str, int]
) -> None:
    """However often and by whom votes are tried, distinct present members decide, at the policy exactly."""
    world = fresh()
    decided(world, "set_policy", {"kind": "change_address", "rule": rule[0], "votes": rule[1]})
    decided(world, "remove_node", {"name": "regulator-node"})
    seq = propose(world, "change_address", {"name": "bank-node", "address": "h:1"})
    voted = world.read("governance", "proposals", seq)["hash"]
    for who in votes:
        already = who in world.read("governance", "proposals", seq)["votes"]
        if already:
            refusal = world.refusal(who, "governance.approve", seq=seq, hash=voted)
            assert refusal == "ALREADY_VOTED"
        else:
            world.do(who, "governance.approve", seq=seq, hash=voted)
    for who in leaving:
        members = world.ask("orgs.active_members")
        others = [name for name in members if name not in (who, "bank")]
        decided(world, "expel_org", {"org": who}, tuple([*others, who][: quorum(len(members)) - 1]))
    present = [name for name in MEMBERS if name not in leaving]
    counted = len({"bank", *votes} - set(leaving))
    n = len(present)
    needed = {"majority": n // 2 + 1, "quorum": quorum(n), "votes": max(n // 2 + 1, min(rule[1], n))}[rule[0]]
    told = world.ask("governance.tally", kind="change_address", votes=["bank", *votes], asked_at=0)
    assert told["needed"] == needed
    if counted >= needed:
        world.do("bank", "governance.commit", seq=seq)
    else:
        assert world.refusal("bank", "governance.commit", seq=seq) == "NOT_ENOUGH_VOTES"


DECISIONS = st.one_of(
    st.builds(
        lambda org, number, role: (
            "add_node",
            seat_of(org, seeded(f"n{number}"), name=f"n{number}", role=role),
        ),
        st.sampled_from(MEMBERS),
        st.integers(1, 4),
        st.sampled_from(["validator", "observer"]),
    ),
    st.builds(lambda name: ("remove_node", {"name": name}), st.sampled_from(NODE_NAMES)),
    st.builds(
        lambda name, role: ("change_role", {"name": name, "role": role}),
        st.sampled_from(NODE_NAMES),
        st.sampled_from(["validator", "observer"]),
    ),
    st.builds(
        lambda name, value: ("set_limits", {name: value}),
        st.sampled_from(sorted(LIMITS)),
        st.sampled_from([1, 500, 40_000, 132_224, 10_000_000, 10**12, 10**15]),
    ),
)


@settings(max_examples=20, deadline=None)
@given(decisions=st.lists(DECISIONS, max_size=8))
def test_whatever_members_decide_the_ledger_can_follow(
    fresh: Callable[[], World], decisions: list[tuple[str, dict[str, Any]]]
) -> None:
    """The contract refuses what the ledger's schedule would not follow: no wish stays unfulfilled."""
    world, ledger = fresh(), ToyChain()
    for kind, payload in decisions:
        with contextlib.suppress(Refused):
            decided(world, kind, payload)
        writes = {
            ("governance", var_key(name)): world.state["governance", var_key(name)]
            for name in ("nodes", "limits")
        }
        announced = announce(ledger.ledger.schedule, ledger.genesis, 1, writes)
        assert not any(b"refused" in key for _, key in announced.entries)
        listed = world.variable("governance", "nodes")
        assert len({node["public_key"] for node in listed}) == len(listed)


@given(n=st.integers(1, 200), stated=st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_any_two_deciding_groups_of_the_careful_kinds_share_a_correct_member(n: int, stated: int) -> None:
    """The contract's quorum is consensus' own: 2q - n > f."""
    q = quorum(n)
    assert (n + (n - 1) // 3) // 2 + 1 == q
    assert 2 * max(q, min(stated, n)) - n > (n - 1) // 3 or n == 1


TAKES_OVER = (
    *("admit_org", "expel_org", "suspend_org", "reinstate_org", "set_policy", "system_contract"),
    *("replace_key", "add_node", "remove_node", "change_role"),
)


@pytest.mark.parametrize("kind", TAKES_OVER)
def test_no_policy_lets_a_bare_majority_decide_by_what_it_could_take_over_the_rest(
    bare: World, kind: str
) -> None:
    """With puppets or friends among the members it is a quorum; with nodes of its own it has the blocks."""
    assert refused(bare, "set_policy", {"kind": kind, "rule": "majority", "votes": 0}) == "BAD_RULE"
    assert refused(bare, "set_policy", {"kind": kind, "rule": "votes", "votes": 3}) == "BAD_VOTES"
    assert bare.ask("governance.votes_needed", kind=kind) == quorum(5)


@pytest.mark.parametrize(
    ("target", "args", "code"),
    [
        ("governance.propose", {"kind": "expel_org", "payload": {"org": "bank", 1: 2}}, "BAD_PAYLOAD"),
        ("governance.propose", {"kind": "expel_org", "payload": {1: 2}}, "BAD_PAYLOAD"),
        ("jobs.propose", {"spec": {"program": "x", 1: 2}}, "BAD_SPEC"),
    ],
)
def test_a_key_that_is_no_text_is_an_unknown_field(
    bare: World, target: str, args: dict[str, Any], code: str
) -> None:
    more = {"reason": "", "not_before": 0} if target == "governance.propose" else {}
    assert bare.refusal("bank", target, **args, **more) == code
