"""The patterns of authorisation contracts do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.check import check_source
from contracts.testing import LocalChain

PATTERNS = Path(__file__).parent / "patterns"
DAY = 24 * 60 * 60 * 1000


@pytest.mark.parametrize("file", sorted(PATTERNS.glob("*.py")), ids=lambda file: file.stem)
def test_each_passes_the_check_without_a_warning(file: Path) -> None:
    report = check_source(file.read_text(encoding="utf-8"), file.name)
    assert report.diagnostics == ()
    assert report.warnings == ()


def test_records_are_due_in_the_order_of_their_last_day() -> None:
    chain = LocalChain("clinic")
    chain.deploy(PATTERNS / "retention.py", "retention")
    clinic = chain.as_("clinic")
    assert clinic.call("retention", "keep", record="r1", kind="scan", collected="2023-03-31") == "2023-09-30"
    assert (
        clinic.call("retention", "keep", record="r2", kind="letter", collected="2022-02-01") == "2023-08-01"
    )
    assert (
        clinic.call("retention", "keep", record="r3", kind="letter", collected="2023-03-31") == "2024-09-30"
    )
    assert chain.view("retention", "due") == ["r2 (2023-08-01)", "r1 (2023-09-30)"]
    clinic.call("retention", "erase", until="2023-08-01", record="r2")
    assert chain.view("retention", "due") == ["r1 (2023-09-30)"]
    with chain.expect_revert("TOO_EARLY"):
        clinic.call("retention", "erase", until="2024-09-30", record="r3")
    with chain.expect_revert("VALUE_ERROR"):
        clinic.call("retention", "keep", record="r4", kind="scan", collected="31.3.2023")


def test_shares_sum_up_to_the_points_whatever_was_used() -> None:
    chain = LocalChain()
    chain.deploy(PATTERNS / "market.py", "market")
    for org, rows in (("bank", 1), ("bureau", 1), ("registry", 1), ("telecom", 4)):
        chain.as_(org).call("market", "note", org=org, rows=rows)
    assert chain.view("market", "shares", points=100) == {
        "bank": 15,
        "bureau": 14,
        "registry": 14,
        "telecom": 57,
    }
    for points in (1, 2, 3, 999, 12_345):
        assert sum(chain.view("market", "shares", points=points).values()) == points
    assert chain.view("market", "report", points=12_345).split("\n")[-1] == "telecom    7,054"


def test_what_waits_runs_in_its_order_and_time_and_not_while_paused() -> None:
    chain = LocalChain("bank", "bureau")
    chain.deploy(PATTERNS / "timelock.py", "timelock", {"org": "bank"})
    bank, bureau = chain.as_("bank"), chain.as_("bureau")
    with chain.expect_revert("NOTHING_WAITS"):
        bureau.call("timelock", "run_next")
    bureau.call("timelock", "queue", act="b")
    bank.call("timelock", "queue", act="a", note="later")
    with chain.expect_revert("TOO_EARLY"):
        bank.call("timelock", "run_next")
    chain.advance(time=2 * DAY)
    bank.call("timelock", "pause")
    with chain.expect_revert("PAUSED"):
        bank.call("timelock", "run_next")
    with chain.expect_revert("ONLY_ORG"):
        bureau.call("timelock", "pause", on=False)
    bank.call("timelock", "pause", on=False)
    assert [bank.call("timelock", "run_next") for _ in range(2)] == ["b of bureau", "a of bank"]


def test_a_delegated_vote_counts_where_it_ends() -> None:
    chain = LocalChain("bank", "bureau", "registry", "regulator")
    chain.deploy(PATTERNS / "voting.py", "voting")
    chain.as_("bureau").call("voting", "let_vote", to="registry")
    chain.as_("registry").call("voting", "let_vote", to="regulator")
    with chain.expect_revert("CIRCLE"):
        chain.as_("regulator").call("voting", "let_vote", to="bureau")
    chain.as_("regulator").call("voting", "vote", question="q")
    with chain.expect_revert("NO_VOTE"):
        chain.as_("bureau").call("voting", "vote", question="q")
    assert chain.view("voting", "result", question="q") == {"yes": 5, "all": False, "passed": True}
    chain.as_("bank").call("voting", "vote", question="q", yes=False)
    assert chain.view("voting", "result", question="q") == {"yes": 5, "all": True, "passed": True}
    assert chain.view("voting", "result", question="other")["yes"] == 0


# --- roles -----------------------------------------------------------------------------------------------


def test_a_role_is_given_by_the_holders_of_the_role_that_gives_it_and_ends_by_itself() -> None:
    chain = LocalChain("bank", "bureau", "registry")
    chain.deploy(PATTERNS / "roles.py", "roles", {"owner": "bank"})
    bank, bureau, registry = (chain.as_(org) for org in ("bank", "bureau", "registry"))
    bank.call("roles", "define", role="auditor", by="owner")
    bank.call("roles", "define", role="reader", by="auditor")
    with chain.expect_revert("NOT_GIVER"):
        bureau.call("roles", "grant", role="reader", org="registry")
    bank.call("roles", "grant", role="auditor", org="bureau")
    bureau.call("roles", "grant", role="reader", org="registry", days=2)
    bureau.call("roles", "grant", role="reader", org="bank")
    assert bank.view("roles", "holders", role="reader") == ["bank", "registry"]
    assert bank.view("roles", "holders", role="reader", after="bank") == ["registry"]
    chain.advance(time=2 * DAY)
    assert bank.view("roles", "holders", role="reader") == ["bank"]
    assert [event.fields["until"] for event in chain.trail("org:registry")] == ["2023-11-16"]
    with chain.expect_revert("NOT_OWNER"):
        registry.call("roles", "define", role="x", by="owner")


def test_anyone_gives_up_its_role_but_the_last_owner_stays() -> None:
    chain = LocalChain("bank", "bureau")
    chain.deploy(PATTERNS / "roles.py", "roles", {"owner": "bank"})
    bank, bureau = chain.as_("bank"), chain.as_("bureau")
    with chain.expect_revert("LAST_OWNER"):
        bank.call("roles", "take", role="owner", org="bank")
    with chain.expect_revert("OWNER_HAS_NO_END"):
        bank.call("roles", "grant", role="owner", org="bureau", days=1)
    bank.call("roles", "grant", role="owner", org="bureau")
    with chain.expect_revert("NOT_HELD"):
        bureau.call("roles", "take", role="auditor", org="bureau")
    bank.call("roles", "take", role="owner", org="bank")
    assert not bank.view("roles", "holds", role="owner", org="bank")
    with chain.expect_revert("NOT_OWNER"):
        bank.call("roles", "define", role="x", by="owner")


# --- several signatures ----------------------------------------------------------------------------------

VAULT = """class Limits(Record):
    rows: int

limits = Var(Limits, Limits(1))

@export(nested=True)
def perform(method: str, arguments: dict) -> Value:
    require(ctx.caller == "contract:multisig", "ONLY_MULTISIG")
    require(method == "set_limits", "NO_SUCH_ACT")
    new: Limits = arguments
    limits.set(new)
    return new.rows
"""


def signed_chain() -> LocalChain:
    """Return a chain on which two of three sign what is done to the vault."""
    chain = LocalChain("bank", "bureau", "registry", "regulator")
    chain.deploy(VAULT, "vault")
    given = {"orgs": ["bank", "bureau", "registry"], "needed": 2, "acts_on": ["vault", "nothing"]}
    chain.deploy(PATTERNS / "multisig.py", "multisig", given)
    return chain


def test_an_act_is_done_once_enough_have_signed_it_and_only_once() -> None:
    chain = signed_chain()
    act = {"target": "vault", "method": "set_limits", "arguments": {"rows": 50}}
    with chain.expect_revert("NOT_SIGNER"):
        chain.as_("regulator").call("multisig", "propose", **act)
    with chain.expect_revert("NOT_A_TARGET"):
        chain.as_("bank").call("multisig", "propose", **{**act, "target": "orgs"})
    number = chain.as_("bank").call("multisig", "propose", **act)
    with chain.expect_revert("SIGNATURES_MISSING"):
        chain.as_("regulator").call("multisig", "perform", number=number)
    with chain.expect_revert("ALREADY_SIGNED"):
        chain.as_("bank").call("multisig", "sign", number=number)
    assert chain.as_("bureau").call("multisig", "sign", number=number) == 0
    assert chain.as_("bank").view("multisig", "waiting")[number]["signers"] == ["bank", "bureau"]
    assert chain.as_("regulator").call("multisig", "perform", number=number) == 50
    assert chain.variable("vault", "limits") == {"rows": 50}
    with chain.expect_revert("NO_SUCH_ACT"):
        chain.as_("regulator").call("multisig", "perform", number=number)


def test_an_act_that_fails_stays_open_and_one_that_is_too_old_is_cleared_away() -> None:
    chain = signed_chain()
    act = {"target": "vault", "method": "set_limits", "arguments": {"rows": "many"}}
    number = chain.as_("bank").call("multisig", "propose", **act)
    chain.as_("bureau").call("multisig", "sign", number=number)
    with chain.expect_revert("TYPE_ERROR"):
        chain.as_("bank").call("multisig", "perform", number=number)
    with chain.expect_revert("NOT_PROPOSER"):
        chain.as_("bureau").call("multisig", "withdraw", number=number)
    absent = chain.as_("bank").call("multisig", "propose", **{**act, "target": "nothing"})
    chain.as_("bureau").call("multisig", "sign", number=absent)
    with chain.expect_revert("UNKNOWN_CONTRACT"):
        chain.as_("bank").call("multisig", "perform", number=absent)
    chain.advance(time=15 * DAY)
    with chain.expect_revert("EXPIRED"):
        chain.as_("registry").call("multisig", "sign", number=number)
    chain.as_("regulator").call("multisig", "withdraw", number=number)
    assert list(chain.as_("bank").view("multisig", "waiting")) == [absent]


# --- patients --------------------------------------------------------------------------------------------


def hospital() -> LocalChain:
    """Return a chain on which the clinic has enrolled two people, one of them with a guardian."""
    chain = LocalChain("clinic", "guard", "board", "lab")
    chain.deploy(PATTERNS / "patient.py", "patient", {"reviewers": "board"})
    chain.as_("clinic").call("patient", "enrol", person="p1")
    chain.as_("clinic").call("patient", "enrol", person="p2", guardian="guard")
    return chain


def test_consent_is_for_a_purpose_until_a_day_and_is_withdrawn_at_any_time() -> None:
    chain = hospital()
    clinic = chain.as_("clinic")
    for purpose in ("research", "billing"):
        clinic.call("patient", "consent", person="p1", purpose=purpose, months=6)
    assert clinic.view("patient", "may_use", person="p1", purpose="research")
    assert not clinic.view("patient", "may_use", person="p1", purpose="marketing")
    clinic.call("patient", "withdraw", person="p1")
    assert not clinic.view("patient", "may_use", person="p1", purpose="billing")
    names = [event.name for event in chain.trail("person:p1")]
    assert names == ["ConsentGiven", "ConsentGiven", "ConsentWithdrawn", "ConsentWithdrawn"]
    clinic.call("patient", "consent", person="p1", purpose="research", months=6)
    chain.advance(time=190 * DAY)
    assert not clinic.view("patient", "may_use", person="p1", purpose="research")
    with chain.expect_revert("NO_CONSENT"):
        clinic.call("patient", "withdraw", person="p1", purpose="marketing")


def test_a_guardian_speaks_where_there_is_one_and_nobody_for_a_stranger() -> None:
    chain = hospital()
    with chain.expect_revert("SPEAKS_FOR_ANOTHER"):
        chain.as_("clinic").call("patient", "consent", person="p2", purpose="research", months=6)
    chain.as_("guard").call("patient", "consent", person="p2", purpose="research", months=6)
    with chain.expect_revert("NOT_ENROLLED"):
        chain.as_("clinic").call("patient", "consent", person="p3", purpose="research", months=6)


def test_an_emergency_lets_in_its_clinic_for_two_days_and_the_board_reads_it() -> None:
    chain = hospital()
    lab, board = chain.as_("lab"), chain.as_("board")
    first = lab.call("patient", "emergency", person="p1", reason="unconscious")
    second = lab.call("patient", "emergency", person="p1", reason="curious")
    assert lab.view("patient", "may_enter", number=first, clinic="lab")
    assert not lab.view("patient", "may_enter", number=first, clinic="guard")
    assert board.view("patient", "unreviewed") == [first, second]
    with chain.expect_revert("ONLY_ORG"):
        lab.call("patient", "review", number=second, verdict="justified")
    board.call("patient", "review", number=second, verdict="abuse")
    assert not lab.view("patient", "may_enter", number=second, clinic="lab")
    assert board.view("patient", "unreviewed") == [first]
    with chain.expect_revert("NOTHING_TO_REVIEW"):
        board.call("patient", "review", number=second, verdict="justified")
    chain.advance(time=3 * DAY)
    assert not lab.view("patient", "may_enter", number=first, clinic="lab")


# --- hierarchy -------------------------------------------------------------------------------------------


def offices() -> LocalChain:
    """Return a chain with a head, a department and a desk."""
    chain = LocalChain("head", "dept", "desk", "client")
    chain.deploy(PATTERNS / "hierarchy.py", "offices", {"holder": "head", "limit": 1_000})
    chain.as_("head").call("offices", "appoint", office="d", holder="dept", above="head", limit=100)
    chain.as_("dept").call("offices", "appoint", office="t", holder="desk", above="d", limit=10)
    return chain


def test_an_office_decides_up_to_its_limit_of_a_month_and_the_one_above_beyond_it() -> None:
    chain = offices()
    client, desk, dept = chain.as_("client"), chain.as_("desk"), chain.as_("dept")
    for request, amount in (("a", 6), ("b", 6)):
        client.call("offices", "ask", request=request, office="t", amount=amount, purpose="data")
    assert desk.call("offices", "decide", request="a", approved=True) == ""
    assert desk.call("offices", "decide", request="b", approved=True) == "d"
    with chain.expect_revert("NOT_HOLDER"):
        desk.call("offices", "decide", request="b", approved=True)
    assert dept.call("offices", "decide", request="b", approved=True) == ""
    chain.advance(time=31 * DAY)
    client.call("offices", "ask", request="c", office="t", amount=6, purpose="data")
    assert desk.call("offices", "decide", request="c", approved=True) == ""
    client.call("offices", "ask", request="d", office="t", amount=5_000, purpose="data")
    assert desk.call("offices", "decide", request="d", approved=False) == ""


def test_nobody_hands_down_more_than_it_has_nor_decides_what_it_asked_for() -> None:
    chain = offices()
    with chain.expect_revert("BEYOND_LIMIT"):
        chain.as_("dept").call("offices", "appoint", office="t", holder="desk", above="d", limit=101)
    with chain.expect_revert("ANOTHERS_OFFICE"):
        chain.as_("head").call("offices", "appoint", office="t", holder="desk", above="head", limit=1)
    chain.as_("desk").call("offices", "ask", request="own", office="t", amount=1, purpose="data")
    assert chain.as_("desk").call("offices", "decide", request="own", approved=True) == "d"
    chain.as_("head").call("offices", "ask", request="top", office="head", amount=1, purpose="data")
    with chain.expect_revert("BEYOND_EVERY_LIMIT"):
        chain.as_("head").call("offices", "decide", request="top", approved=True)
    assert chain.view("offices", "chain_of", office="t") == ["t", "d", "head"]


# --- auction ---------------------------------------------------------------------------------------------

SECRET = b"sixteen bytes or"


def test_the_highest_sealed_bid_wins_at_the_second_price() -> None:
    chain = LocalChain("seller", "a", "b", "c")
    chain.deploy(PATTERNS / "auction.py", "auction")
    chain.as_("seller").call("auction", "open_lot", lot="x", least=10)
    bids = {"a": 30, "b": 20, "c": 5}
    for org, amount in bids.items():
        seal = chain.view("auction", "seal_of", lot="x", bidder=org, amount=amount, secret=SECRET)
        chain.as_(org).call("auction", "bid", lot="x", seal=seal)
    with chain.expect_revert("OWN_LOT"):
        chain.as_("seller").call("auction", "bid", lot="x", seal=bytes(32))
    with chain.expect_revert("NOT_THE_TIME"):
        chain.as_("a").call("auction", "show", lot="x", amount=30, secret=SECRET)
    chain.advance(time=3 * DAY)
    with chain.expect_revert("BIDDING_IS_OVER"):
        chain.as_("a").call("auction", "bid", lot="x", seal=bytes(32))
    with chain.expect_revert("WRONG_SEAL"):
        chain.as_("a").call("auction", "show", lot="x", amount=29, secret=SECRET)
    for org in ("b", "c", "a"):
        chain.as_(org).call("auction", "show", lot="x", amount=bids[org], secret=SECRET)
    with chain.expect_revert("TOO_EARLY"):
        chain.call("auction", "settle", lot="x")
    chain.advance(time=DAY)
    sold = chain.call("auction", "settle", lot="x")
    assert (sold["winner"], sold["price"]) == ("a", 20)
    assert chain.events[-1].fields == {"lot": "x", "winner": "org:a", "price": 20}
    with chain.expect_revert("SETTLED"):
        chain.call("auction", "settle", lot="x")


def test_a_bid_below_the_least_or_never_shown_wins_nothing() -> None:
    chain = LocalChain("seller", "a", "b")
    chain.deploy(PATTERNS / "auction.py", "auction")
    chain.as_("seller").call("auction", "open_lot", lot="x", least=10)
    for org, amount in (("a", 9), ("b", 50)):
        seal = chain.view("auction", "seal_of", lot="x", bidder=org, amount=amount, secret=SECRET)
        chain.as_(org).call("auction", "bid", lot="x", seal=seal)
    chain.advance(time=3 * DAY)
    chain.as_("a").call("auction", "show", lot="x", amount=9, secret=SECRET)
    assert chain.view("auction", "bidders", lot="x") == ["b"]
    chain.advance(time=DAY)
    assert chain.call("auction", "settle", lot="x")["winner"] == ""


def test_one_bid_alone_pays_the_least_that_the_seller_takes() -> None:
    chain = LocalChain("seller", "a")
    chain.deploy(PATTERNS / "auction.py", "auction")
    chain.as_("seller").call("auction", "open_lot", lot="x", least=10)
    seal = chain.view("auction", "seal_of", lot="x", bidder="a", amount=30, secret=SECRET)
    chain.as_("a").call("auction", "bid", lot="x", seal=seal)
    chain.advance(time=3 * DAY)
    chain.as_("a").call("auction", "show", lot="x", amount=30, secret=SECRET)
    chain.advance(time=DAY)
    assert chain.call("auction", "settle", lot="x")["price"] == 10
