"""What `regulator_access` allows, with real grants and jobs."""

from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("contract.py")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
GRANT = "supervisor/bank"


@pytest.fixture
def use(data_use):
    use = data_use("bank", "supervisor", "registry")
    use.chain.adopt(SOURCE, "access")
    use.grant("bank", to="supervisor", policy="access")
    return use


def notify(use, org="supervisor", ahead=DAY_MS + HOUR_MS, length=7 * DAY_MS, **change):
    opens = use.chain.time + ahead
    args = {"grant": GRANT, "case": "2026/17 liquidity", "opens": opens, "closes": opens + length}
    use.admin(org).call("access", "notify", **{**args, **change})
    return opens


def test_access_begins_when_the_notice_is_over_and_each_use_is_told_to_the_owner(use):
    notify(use)
    with use.chain.expect_revert("WINDOW_NOT_OPEN"):
        use.propose("supervisor", ["bank"])
    use.chain.advance(time=DAY_MS + HOUR_MS)
    job = use.started("supervisor", ["bank"])
    use.reveal(job)
    assert use.state_of(job) == "revealed"
    told = [event for event in use.chain.trail("org:bank") if event.contract == "access"]
    assert [event.name for event in told] == ["NoticeGiven", "AccessUsed"]
    assert (told[1].fields["case"], told[1].fields["uses"]) == ("2026/17 liquidity", 1)
    assert f"job:{job}" in told[1].subjects


def test_access_ends_with_the_window_even_for_a_running_job(use):
    notify(use, length=HOUR_MS // 2)
    use.chain.advance(time=DAY_MS + HOUR_MS)
    job = use.started("supervisor", ["bank"])
    use.compute(job)
    use.chain.advance(time=HOUR_MS // 2)
    with use.chain.expect_revert("WINDOW_OVER"):
        use.release(job)
    with use.chain.expect_revert("WINDOW_OVER"):
        use.propose("supervisor", ["bank"])


def test_no_notice_no_access(use):
    with use.chain.expect_revert("NO_NOTICE"):
        use.propose("supervisor", ["bank"])


def test_the_owner_may_open_at_once_or_put_off_once(use):
    opens = notify(use)
    bank = use.admin("bank")
    bank.call("access", "postpone", grant=GRANT, by_ms=2 * DAY_MS, reason="migration of systems")
    window = use.chain.view("access", "window_of", grant=GRANT)
    assert (window["opens"], window["closes"]) == (opens + 2 * DAY_MS, opens + 9 * DAY_MS)
    with use.chain.expect_revert("ALREADY_POSTPONED"):
        bank.call("access", "postpone", grant=GRANT, by_ms=1, reason="again")
    bank.call("access", "acknowledge", grant=GRANT)
    use.propose("supervisor", ["bank"])
    with use.chain.expect_revert("ALREADY_OPEN"):
        bank.call("access", "acknowledge", grant=GRANT)
    with use.chain.expect_revert("ALREADY_OPEN"):
        bank.call("access", "postpone", grant=GRANT, by_ms=1, reason="too late")


def test_results_go_to_the_supervisor_alone(use):
    use.grant("bank", to="supervisor", policy="access", name="wide", receivers=["supervisor", "registry"])
    notify(use, grant="supervisor/wide")
    use.admin("bank").call("access", "acknowledge", grant="supervisor/wide")
    inputs = [use.input("supervisor/wide", "bank")]
    with use.chain.expect_revert("RECEIVER_NOT_ALLOWED"):
        use.propose("supervisor", ["bank"], inputs=inputs, receivers=["supervisor", "registry"])
    use.propose("supervisor", ["bank"], inputs=inputs)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ahead": DAY_MS - HOUR_MS}, "NOTICE_TOO_SHORT"),
        ({"ahead": 91 * DAY_MS}, "TOO_FAR_AHEAD"),
        ({"length": 15 * DAY_MS}, "BAD_WINDOW"),
        ({"length": 0}, "BAD_WINDOW"),
        ({"case": ""}, "BAD_CASE"),
        ({"org": "registry"}, "NOT_GRANTEE"),
        ({"grant": "nothing"}, "UNKNOWN_GRANT"),
    ],
)
def test_a_bad_notice_is_refused(use, change, code):
    with use.chain.expect_revert(code):
        notify(use, **change)


def test_one_window_at_a_time(use):
    notify(use)
    with use.chain.expect_revert("WINDOW_EXISTS"):
        notify(use)
    with use.chain.expect_revert("NOT_YOURS"):
        use.admin("bank").call("access", "end", grant=GRANT)
    use.admin("supervisor").call("access", "end", grant=GRANT)
    with use.chain.expect_revert("ALREADY_ENDED"):
        use.admin("supervisor").call("access", "end", grant=GRANT)
    notify(use)


def test_an_ended_window_stops_jobs_and_anyone_ends_one_that_is_over(use):
    notify(use)
    use.admin("bank").call("access", "acknowledge", grant=GRANT)
    job = use.started("supervisor", ["bank"])
    use.admin("supervisor").call("access", "end", grant=GRANT)
    with use.chain.expect_revert("WINDOW_ENDED"):
        use.reveal(job)
    notify(use)
    use.chain.advance(time=9 * DAY_MS)
    use.admin("registry").call("access", "end", grant=GRANT)
    assert use.chain.events[-1].name == "AccessEnded"


def test_only_an_auditor_gives_notice_and_only_the_owner_answers(use):
    notify(use)
    for method, args in (("acknowledge", {}), ("postpone", {"by_ms": 1, "reason": "x"})):
        with use.chain.expect_revert("NOT_OWNER"):
            use.admin("registry").call("access", method, grant=GRANT, **args)
    with use.chain.expect_revert("KEY_ROLE_MISSING"):
        use.agent("bank").call("access", "acknowledge", grant=GRANT)
