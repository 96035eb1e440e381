"""What `member_limits` allows, with real grants and jobs."""

from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("contract.py")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def use(data_use):
    use = data_use("hospital", "insurer", "registry", "bank")
    use.chain.adopt(SOURCE, "limits", {"runs": 2, "window_ms": DAY_MS})
    for owner in ("hospital", "registry"):
        use.grant(owner, to="insurer", policy="limits")
    # The windows are whole days of UTC: start one, so that no test crosses midnight unasked.
    use.chain.advance(time=DAY_MS - use.chain.time % DAY_MS)
    return use


def block(use, org, *voters):
    return [
        use.admin(voter).call("limits", "vote_block", org=org, reason="leaked a result") for voter in voters
    ]


def test_a_job_counts_once_when_it_starts_whatever_its_grants(use):
    job = use.propose("insurer", ["hospital", "registry"])
    use.accept(job)
    assert use.chain.view("limits", "left_of", org="insurer") == 2
    use.start(job)
    assert use.chain.view("limits", "left_of", org="insurer") == 1
    use.reveal(job)
    assert use.state_of(job) == "revealed"
    assert use.chain.view("limits", "left_of", org="insurer") == 1


def test_the_limit_stops_the_next_job_until_the_next_window(use):
    first, second, third = (use.propose("insurer", ["hospital"]) for _ in range(3))
    for job in (first, second, third):
        use.accept(job)
    use.start(first)
    use.start(second)
    with use.chain.expect_revert("RATE_EXCEEDED"):
        use.start(third)
    with use.chain.expect_revert("RATE_EXCEEDED"):
        use.propose("insurer", ["hospital"])
    use.reveal(first)
    use.chain.advance(time=DAY_MS)
    use.started("insurer", ["hospital"])


def test_asking_uses_nothing_up(use):
    job = {"job": "x", "initiator": "insurer", "participants": [], "receivers": []}
    for _ in range(3):
        assert use.admin("bank").call("limits", "allow", job=job, phase="running") is True
    assert use.chain.view("limits", "left_of", org="insurer") == 2


def test_a_majority_blocks_an_organisation_and_its_running_jobs(use):
    job = use.started("insurer", ["hospital"])
    assert block(use, "insurer", "hospital", "registry", "bank") == [False, False, True]
    assert use.chain.view("limits", "left_of", org="insurer") == 0
    with use.chain.expect_revert("ORG_BLOCKED"):
        use.reveal(job)
    with use.chain.expect_revert("ORG_BLOCKED"):
        use.propose("insurer", ["hospital"])
    for voter in ("hospital", "registry", "bank"):
        use.admin(voter).call("limits", "vote_unblock", org="insurer")
    use.reveal(job)
    assert use.state_of(job) == "revealed"


def test_a_blocked_organisation_does_not_take_part_in_others_jobs(use):
    block(use, "registry", "hospital", "insurer", "bank")
    with use.chain.expect_revert("PARTICIPANT_BLOCKED"):
        use.propose("insurer", ["hospital"])
    assert use.chain.view("limits", "block_of", org="registry")["reason"] == "leaked a result"


def test_votes_are_of_members_once_for_two_weeks_and_not_on_oneself(use):
    with use.chain.expect_revert("OWN_CASE"):
        block(use, "insurer", "insurer")
    assert block(use, "insurer", "hospital") == [False]
    with use.chain.expect_revert("ALREADY_VOTED"):
        block(use, "insurer", "hospital")
    use.chain.advance(time=14 * DAY_MS)
    assert block(use, "insurer", "registry", "bank") == [False, False]
    with use.chain.expect_revert("UNKNOWN_ORG"):
        block(use, "nobody", "bank")
    with use.chain.expect_revert("NOT_BLOCKED"):
        use.admin("bank").call("limits", "vote_unblock", org="insurer")
    with use.chain.expect_revert("KEY_ROLE_MISSING"):
        use.agent("bank").call("limits", "vote_block", org="insurer", reason="")


def test_a_majority_sets_the_limit_of_one_and_of_all(use):
    for voter in ("hospital", "insurer", "bank"):
        use.admin(voter).call("limits", "vote_limit", org="insurer", runs=0, window_ms=HOUR_MS)
    with use.chain.expect_revert("RATE_EXCEEDED"):
        use.propose("insurer", ["hospital"])
    for voter in ("hospital", "insurer", "bank"):
        use.admin(voter).call("limits", "vote_limit", org="*", runs=7, window_ms=HOUR_MS)
    assert use.chain.view("limits", "left_of", org="bank") == 7
    assert use.chain.view("limits", "left_of", org="insurer") == 0


@pytest.mark.parametrize(
    ("runs", "window_ms"), [(-1, HOUR_MS), (1, 59_999), (1, 32 * DAY_MS), (10**6 + 1, HOUR_MS)]
)
def test_a_bad_limit_is_refused(use, runs, window_ms):
    with use.chain.expect_revert("BAD_LIMIT"):
        use.admin("bank").call("limits", "vote_limit", org="*", runs=runs, window_ms=window_ms)


def test_motions_and_counts_are_in_the_history_of_the_organisation(use):
    job = use.started("insurer", ["hospital"])
    block(use, "insurer", "hospital", "registry", "bank")
    about = [event.name for event in use.chain.trail("org:insurer") if event.contract == "limits"]
    assert about == ["JobCounted", "MotionVoted", "MotionVoted", "MotionVoted", "Blocked"]
    counted = next(event for event in use.chain.events if event.name == "JobCounted")
    assert (counted.subjects, counted.fields["count"]) == (("org:insurer", f"job:{job}"), 1)
