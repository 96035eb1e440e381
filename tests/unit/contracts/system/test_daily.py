"""What a member adds for ever at nobody's vote is counted by the day; what ends something never is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.crypto import PrivateKey
from contracts.system import sources
from tests.schemas import column, declaring
from tests.unit.contracts.system.founding import proof_of

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

DAY_MS = 24 * 3_600_000
A_CALL_MS = 100
"""Block time that passes with every call."""
ONE = bytes([1]) * 32
LIMITS = {"kind": "set_limits", "payload": {"block_txs": 7}, "reason": "", "not_before": 0}
SOURCE = "@export\ndef act() -> int:\n    return 1\n"
Args = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bound:
    """An act that is counted: who calls what, how often a day, and the code from then on."""

    org: str
    target: str
    act: str
    most: int
    code: str
    again: Callable[[World, int], Args]
    """Makes the call possible once more, for the n-th time, and returns its arguments."""

    @property
    def contract(self) -> str:
        return self.target.partition(".")[0]


def registered(world: World, number: int) -> Args:
    plain = {"root": ONE, "size_bucket": "", "approvers": ["bureau"], "threshold": 1, "description": ""}
    return {"id": f"bureau/n-{number}", "schema": world.declare("bureau"), **plain}


def versioned(world: World, _: int) -> Args:
    return {"id": "bureau/data", "schema": world.declare("bureau"), "root": ONE, "size_bucket": ""}


def begun_anew(world: World, number: int) -> Args:
    world.do("bureau", "datasets.new_version", **versioned(world, number))
    newest = world.read("datasets", "datasets", "bureau/data")["version"]
    return {"id": "bureau/data", "version": newest, "reason": "other people"}


def declared(_: World, number: int) -> Args:
    columns = [column("id", "text", "identifier"), column(f"n{number}", "decimal")]
    return next(args for _, args in declaring(columns))


def stopped(world: World, what: str, name: str) -> Args:
    world.do("bureau", f"{what}.suspend", id=name, reason="")
    return {"id": name}


def voted(world: World, number: int) -> Args:
    if number == 0:
        world.register("bureau", "bureau/shared", approvers=["bureau", "registry", "rival"], threshold=2)
        world.request("bank/r", "bureau/shared")
    world.do("registry", "grants.approve", id="bank/r", terms={})
    return {"id": "bank/r"}


def rotated(_: World, number: int) -> Args:
    key = PrivateKey(sha256(f"node {number}".encode()).digest())
    return {"name": "bank-node", "public_key": key.public, "proof": proof_of(key, "bank")}


def own_decision(world: World, number: int) -> Args:
    seq = 1 if number else world.do("bank", "governance.propose", **LIMITS)
    return backed(world, "governance", number, seq, seq=seq)


def own_contract(world: World, number: int) -> Args:
    if number == 0:
        world.do("bank", "lifecycle.propose", name="rule", source=SOURCE, arguments={}, terms={})
    return backed(world, "lifecycle", number, "rule/1", name="rule", seq=1)


def backed(world: World, contract: str, number: int, key: object, **place: object) -> Args:
    """The proposer's own vote stands, or stands again."""
    if number:
        voted_for = world.read(contract, "proposals", key)["hash"]
        world.do("bank", f"{contract}.approve", **place, hash=voted_for)
    return place


def offered(_: World, number: int) -> Args:
    return {"source": f"def value() -> int:\n    return {number}\n"}


PAGE = '"""Rows of one."""\n\n\ndef run(a):\n    release(count(a), to="bank", exact=True, name="rows")\n'
COUNTED = {"source": PAGE, "reason": ""}


def own_page(world: World, number: int) -> Args:
    if number == 0:
        world.do("bank", "programs.propose", id="rows", **COUNTED)
    return backed(world, "programs", number, 1, seq=1)


def retiring(world: World, _: int) -> Args:
    world.do("bank", "programs.retire", id="private-join", reason="")
    return {"id": "private-join"}


EYES = {"act": "jobs", "dataset": "", "k": 2}


def begun(world: World, number: int) -> Args:
    """The bank asks two admins for changes of keys, and dropped what one of them began."""
    if number == 0:
        key = PrivateKey(sha256(b"second").digest())
        proof = proof_of(key, "bank")
        world.do("bank", "orgs.add_key", key=key.public, roles=["admin"], proof=proof)
        world.do("bank", "orgs.set_eyes", act="keys", dataset="", k=2)
    else:
        (digest,) = world.read("orgs", "pending_of", "bank")
        world.do("bank", "orgs.drop", digest=digest, reason="")
    return EYES


BOUNDS = (
    Bound("bank", "orgs.set_eyes", "pending", 500, "TOO_MANY_PENDING_TODAY", begun),
    Bound("bureau", "datasets.register", "registrations", 200, "TOO_MANY_DATASETS_TODAY", registered),
    Bound("bureau", "datasets.new_version", "versions", 1_000, "TOO_MANY_VERSIONS_TODAY", versioned),
    Bound("bureau", "datasets.declare", "parts", 256, "TOO_MANY_PARTS_TODAY", declared),
    Bound(
        "bureau", "datasets.set_approvers", "changes", 500, "TOO_MANY_CHANGES_TODAY",
        lambda *_: {"id": "bureau/data", "approvers": ["bureau"], "threshold": 1},
    ),
    Bound(
        "bureau", "datasets.resume", "changes", 500, "TOO_MANY_CHANGES_TODAY",
        lambda w, _: stopped(w, "datasets", "bureau/data"),
    ),
    Bound(
        "bank", "grants.request", "requests", 500, "TOO_MANY_REQUESTS_TODAY",
        lambda w, number: w.terms(f"bank/n-{number}", "bureau/data"),
    ),
    Bound("registry", "grants.retract", "changes", 500, "TOO_MANY_CHANGES_TODAY", voted),
    Bound(
        "bureau", "grants.narrow", "changes", 500, "TOO_MANY_CHANGES_TODAY",
        lambda *_: {"id": "bank/g-bureau", "terms": {}},
    ),
    Bound(
        "bureau", "grants.resume", "changes", 500, "TOO_MANY_CHANGES_TODAY",
        lambda w, _: stopped(w, "grants", "bank/g-bureau"),
    ),
    Bound(
        "bureau", "accounts.set_caps", "changes", 200, "TOO_MANY_CHANGES_TODAY",
        lambda *_: {"id": "bureau/data", "caps": {"figures": 201}},
    ),
    Bound("bureau", "accounts.begin", "changes", 200, "TOO_MANY_CHANGES_TODAY", begun_anew),
    Bound("bank", "governance.propose", "proposals", 200, "TOO_MANY_PROPOSALS_TODAY", lambda *_: LIMITS),
    Bound(
        "bank", "governance.retract", "retractions", 200, "TOO_MANY_RETRACTIONS_TODAY", own_decision
    ),
    Bound("bank", "governance.rotate_node_key", "rotations", 256, "TOO_MANY_ROTATIONS_TODAY", rotated),
    Bound(
        "bank", "lifecycle.propose", "proposals", 200, "TOO_MANY_PROPOSALS_TODAY",
        lambda _, number: {"name": f"c-{number}", "source": SOURCE, "arguments": {}, "terms": {}},
    ),
    Bound("bank", "lifecycle.retract", "retractions", 200, "TOO_MANY_RETRACTIONS_TODAY", own_contract),
    Bound("bank", "lifecycle.publish", "libraries", 200, "TOO_MANY_LIBRARIES_TODAY", offered),
    Bound(
        "bank", "programs.propose", "proposals", 200, "TOO_MANY_PROPOSALS_TODAY",
        lambda _, number: {"id": f"p-{number}", **COUNTED},
    ),
    Bound("bank", "programs.retract", "retractions", 200, "TOO_MANY_RETRACTIONS_TODAY", own_page),
    Bound("bank", "programs.retract_retirement", "retractions", 200, "TOO_MANY_RETRACTIONS_TODAY", retiring),
)  # fmt: skip


def spend(world: World, bound: Bound, left: int) -> None:
    """Have the organisation do all but so many of what it may today."""
    row = {"day": world.time // DAY_MS, bound.act: bound.most - left}
    world.put(bound.contract, "daily", bound.org, row)


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.target)
def test_the_last_act_of_a_day_is_done_the_next_refused_and_the_day_after_begins_anew(
    world: World, bound: Bound
) -> None:
    args = bound.again(world, 0)
    spend(world, bound, left=1)
    world.do(bound.org, bound.target, **args)
    args = bound.again(world, 1)
    world.advance(11 * 60_000)  # a node's key moves every ten minutes
    before = dict(world.state)
    assert world.refusal(bound.org, bound.target, **args) == bound.code
    assert world.state == before
    midnight = (world.time // DAY_MS + 1) * DAY_MS
    world.advance(midnight - 1 - world.time - A_CALL_MS)
    assert world.refusal(bound.org, bound.target, **args) == bound.code
    assert world.time == midnight - 1
    world.advance(1 - A_CALL_MS)
    world.do(bound.org, bound.target, **args)
    assert world.time == midnight
    row = world.read(bound.contract, "daily", bound.org)
    assert row == {"day": world.time // DAY_MS, bound.act: 1}, (
        "the new day's row stands where the old one stood"
    )


def test_a_refused_call_and_another_organisation_s_do_not_count(world: World) -> None:
    before = world.read("grants", "daily", "bank")
    assert (
        world.refusal("bank", "grants.request", **world.terms("bank/g-bureau", "bureau/data"))
        == "GRANT_EXISTS"
    )
    world.request("rival/r", "bureau/data", by="rival")
    assert world.read("grants", "daily", "bank") == before


def test_taking_votes_to_freeze_back_counts_with_those_for_proposals(world: World) -> None:
    world.policy("rules", "@view\ndef allow(job: dict, phase: str) -> bool:\n    return True\n")
    world.do("bureau", "lifecycle.freeze", name="rules", seq=1, reason="")
    spend(world, next(bound for bound in BOUNDS if bound.target == "lifecycle.retract"), left=0)
    row = {"day": world.time // DAY_MS, "retractions": 200}
    world.put("lifecycle", "daily", "bureau", row)
    taken = {"name": "rules", "seq": 1, "ballot": "freeze"}
    assert world.refusal("bureau", "lifecycle.retract_vote", **taken) == "TOO_MANY_RETRACTIONS_TODAY"
    world.advance(DAY_MS)
    world.do("bureau", "lifecycle.retract_vote", **taken)


def test_who_has_spent_its_day_still_stops_and_ends_everything(world: World) -> None:
    world.request("bank/r-1", "bureau/data")
    world.request("bank/r-2", "bureau/data")
    seq = world.do("bureau", "governance.propose", **LIMITS)
    world.do("bureau", "lifecycle.propose", name="rule", source=SOURCE, arguments={}, terms={})
    page = world.do("bureau", "programs.propose", id="rows", **COUNTED)
    library = world.do("bureau", "lifecycle.publish", source="def value() -> int:\n    return 1\n")
    wide = [column("id", "text", "identifier"), *[column(f"c{number}", "decimal") for number in range(64)]]
    (_, draft), _ = declaring(wide)
    world.do("bureau", "datasets.declare", **draft)
    for org in ("bank", "bureau"):
        for contract in ("datasets", "accounts", "grants", "governance", "lifecycle", "programs"):
            acts = {bound.act: 10_000 for bound in BOUNDS if bound.contract == contract}
            world.put(contract, "daily", org, {"day": world.time // DAY_MS, **acts})
    world.do("bureau", "accounts.lower_caps", id="bureau/data", caps={"figures": 1})
    world.do("bureau", "datasets.suspend", id="bureau/data", reason="")
    world.do("bureau", "grants.suspend", id="bank/g-bureau", reason="")
    world.do("bureau", "grants.revoke", id="bank/g-bureau", reason="")
    world.do("bureau", "grants.reject", id="bank/r-1", reason="")
    world.do("bank", "grants.withdraw", id="bank/r-2")
    world.do("bureau", "datasets.retire", id="bureau/data", reason="")
    world.do("bureau", "datasets.withdraw", owner="bureau", schema=draft["schema"])
    world.do("bureau", "governance.withdraw", seq=seq)
    world.do("bureau", "lifecycle.withdraw", name="rule", seq=1)
    world.do("bureau", "lifecycle.withdraw_library", source_hash=library)
    world.do("bureau", "programs.withdraw", seq=page)
    world.do("bureau", "programs.retire", id="private-join", reason="")


def test_every_count_of_a_day_is_tried_here() -> None:
    counted = {
        (name, act)
        for name, text in sources().items()
        for act in re.findall(r'count_today\([^,]+, "(\w+)"\)', text)
    }
    tried = {(bound.contract, bound.act) for bound in BOUNDS}
    assert counted == tried
