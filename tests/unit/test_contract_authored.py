"""Contracts as an author would write them: what the language has makes each of them short, and they do what they say."""

# ruff: noqa: E501  (contracts)

from __future__ import annotations

import pytest

from contracts.check import check_source
from contracts.testing import LocalChain

DAY = 24 * 60 * 60 * 1000

RETENTION = '''"""How long records may be kept: months from the day of collection, by kind."""

MONTHS = {"scan": 6, "letter": 18}
records = Map(tuple[str, str], int, ordered=True)  # (last day, record) -> collected at
Kept = Event(by=subject, record=str, until=str)

@export
@only("admin", "steward")
def keep(record: str, kind: str, collected: str) -> str:
    require(kind in MONTHS, "NO_SUCH_KIND")
    start = date.parse(collected)
    until = date.day(date.add_months(start, MONTHS[kind]))
    records[until, record] = start
    Kept(by=f"org:{ctx.org}", record=record, until=until)
    return until

@view
def due(limit: int = 10) -> list[str]:
    """Records whose last day lies before today, the oldest first."""
    today = date.day(ctx.block_time)
    return [f"{record} ({until})" for until, record in records.page(limit=limit) if until < today]

@export
@only("steward")
def erase(until: str, record: str):
    require(until < date.day(ctx.block_time), "TOO_EARLY")
    del records[until, record]
'''

MARKET = '''"""Points of a month, shared out by rows that were used: largest remainder, so that no point is lost."""

used = Map(str, int, ordered=True)

@export(nested=True)
def note(org: str, rows: int = 1):
    require(ctx.caller == f"org:{org}", "NOT_ITSELF")
    used[org] = used.get(org, 0) + rows

@view
def shares(points: int) -> dict[str, int]:
    rows = {org: used[org] for org in used.page()}
    total = sum(rows.values())
    require(total > 0, "NOBODY")
    whole = {org: points * n // total for org, n in rows.items()}
    left = points - sum(whole.values())
    first = sorted(rows, key=lambda org: (-(points * rows[org] % total), org))[:left]
    return {org: n + (1 if org in first else 0) for org, n in whole.items()}

@view
def report(points: int) -> str:
    return "\\n".join(f"{org:<10}{n:>6,}" for org, n in shares(points).items())
'''

TIMELOCK = '''"""Acts wait two days, unless the owner pauses them."""

DELAY_MS = 2 * 24 * 60 * 60 * 1000
owner = Var(str, "")
paused = Var(bool, False)
waiting = Map(tuple[int, str], dict, ordered=True)  # (from when, act) -> what
Queued = Event(by=subject, act=str, ready=str)

@init
def setup(org: str):
    owner.set(org)

@export
@only(org=owner)
def pause(on: bool = True):
    paused.set(on)

@export
@only("admin")
def queue(act: str, note: str = ""):
    ready = ctx.block_time + DELAY_MS
    waiting[ready, act] = {"by": ctx.org, "note": note}
    Queued(by=f"org:{ctx.org}", act=act, ready=date.iso(ready))

@export
def run_next() -> str:
    require(not paused.get(), "PAUSED")
    ready, act = min(waiting.page(limit=1), default=(0, ""))
    require(act != "", "NOTHING_WAITS")
    require(ready <= ctx.block_time, "TOO_EARLY")
    what = {**waiting[ready, act], "act": act}
    del waiting[ready, act]
    return f"{what['act']} of {what['by']}"
'''

VOTING = '''"""Weighted votes; a member may let another vote for it, and that one for both."""

WEIGHTS = {"bank": 3, "bureau": 2, "registry": 2, "regulator": 1}
delegate = Map(str, str)
votes = Map(tuple[str, str], bool, ordered=True)  # (question, member) -> yes

@export
def let_vote(to: str):
    require(to in WEIGHTS and to != ctx.org, "NO_MEMBER")
    require(final(to) != ctx.org, "CIRCLE")
    delegate[ctx.org] = to

@export
def vote(question: str, yes: bool = True):
    require(ctx.org in WEIGHTS and ctx.org not in delegate, "NO_VOTE")
    votes[question, ctx.org] = yes

def final(org: str, _steps: int = 4) -> str:
    for _ in range(_steps):
        org = delegate.get(org, org)
    return org

@view
def result(question: str) -> dict:
    cast = {org: votes[question, org] for _, org in votes.page(prefix=(question,))}
    yes = sum(n for org, n in WEIGHTS.items() if cast.get(final(org), False))
    return {"yes": yes, "all": all(final(org) in cast for org in WEIGHTS), "passed": 2 * yes > sum(WEIGHTS.values())}
'''


@pytest.mark.parametrize("source", [RETENTION, MARKET, TIMELOCK, VOTING])
def test_each_passes_the_check_without_a_warning_that_it_does_not_mean(source: str) -> None:
    report = check_source(source, "x.py")
    assert report.diagnostics == ()
    assert report.warnings == ()


def test_records_are_due_in_the_order_of_their_last_day() -> None:
    chain = LocalChain("clinic")
    chain.deploy(RETENTION, "retention")
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
    chain.deploy(MARKET, "market")
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
    chain.deploy(TIMELOCK, "timelock", {"org": "bank"})
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
    chain.deploy(VOTING, "voting")
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
