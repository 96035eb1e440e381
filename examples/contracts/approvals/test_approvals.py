"""What `approvals` allows, with real grants and jobs."""

from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("contract.py")
DAY_MS = 24 * 3_600_000
ORGS = ("hospital", "insurer", "registry", "ethics")


@pytest.fixture
def use(data_use):
    use = data_use(*ORGS)
    use.chain.adopt(SOURCE, "approvals")
    use.grant("hospital", to="insurer", policy="approvals")
    rule = {"purposes": ["research"], "approvers": ["hospital", "registry", "ethics"], "threshold": 2}
    use.admin("hospital").call("approvals", "set_rule", dataset="hospital/data", **rule)
    return use


def endorse(use, org, days=30, **change):
    until = use.chain.time + days * DAY_MS
    args = {"grant": "insurer/hospital", "purpose": "research", "until": until, **change}
    return use.admin(org).call("approvals", "endorse", **args)


def test_a_job_runs_to_its_end_with_enough_approvers(use):
    assert [endorse(use, "hospital"), endorse(use, "ethics")] == [1, 2]
    job = use.started("insurer", ["hospital"])
    use.reveal(job)
    assert use.state_of(job) == "revealed"


def test_too_few_approvers_stop_a_job_where_it_is(use):
    endorse(use, "hospital")
    with use.chain.expect_revert("ENDORSEMENTS_MISSING"):
        use.propose("insurer", ["hospital"])
    endorse(use, "ethics")
    job = use.started("insurer", ["hospital"])
    use.admin("ethics").call("approvals", "retract", grant="insurer/hospital", reason="new facts")
    with use.chain.expect_revert("ENDORSEMENTS_MISSING"):
        use.reveal(job)
    assert use.state_of(job) == "computed"


def test_an_endorsement_ends_by_itself_and_with_a_new_rule(use):
    for org in ("registry", "ethics"):
        endorse(use, org, days=1)
    use.propose("insurer", ["hospital"])
    use.chain.advance(time=DAY_MS)
    with use.chain.expect_revert("ENDORSEMENTS_MISSING"):
        use.propose("insurer", ["hospital"])
    for org in ("registry", "ethics"):
        endorse(use, org)
    rule = {"purposes": ["research"], "approvers": ["registry", "ethics"], "threshold": 1}
    use.admin("hospital").call("approvals", "set_rule", dataset="hospital/data", **rule)
    assert use.chain.view("approvals", "standing_behind", grant="insurer/hospital") == []
    with use.chain.expect_revert("ENDORSEMENTS_MISSING"):
        use.propose("insurer", ["hospital"])


def test_a_grant_for_another_purpose_is_never_used(use):
    use.grant("hospital", to="insurer", policy="approvals", name="ads", purpose="marketing")
    for org in ("registry", "ethics"):
        with use.chain.expect_revert("PURPOSE_NOT_LISTED"):
            endorse(use, org, grant="insurer/ads", purpose="marketing")
        with use.chain.expect_revert("PURPOSE_NOT_LISTED"):
            endorse(use, org, grant="insurer/ads")
    inputs = [use.input("insurer/ads", "hospital")]
    with use.chain.expect_revert("PURPOSE_NOT_LISTED"):
        use.propose("insurer", ["hospital"], purpose="marketing", inputs=inputs)


def test_only_approvers_endorse_and_never_their_own_grant(use):
    with use.chain.expect_revert("NOT_APPROVER"):
        endorse(use, "insurer")
    rule = {"purposes": ["research"], "approvers": ["insurer", "ethics"], "threshold": 1}
    use.admin("hospital").call("approvals", "set_rule", dataset="hospital/data", **rule)
    with use.chain.expect_revert("OWN_REQUEST"):
        endorse(use, "insurer")
    with use.chain.expect_revert("BAD_TERM"):
        endorse(use, "ethics", days=400)
    with use.chain.expect_revert("NOT_ENDORSED"):
        use.admin("ethics").call("approvals", "retract", grant="insurer/hospital", reason="")
    with use.chain.expect_revert("KEY_ROLE_MISSING"):
        use.agent("ethics").call("approvals", "retract", grant="insurer/hospital", reason="")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"purposes": []}, "BAD_PURPOSES"),
        ({"approvers": []}, "BAD_APPROVERS"),
        ({"approvers": ["ethics", "ethics"]}, "BAD_APPROVERS"),
        ({"approvers": ["nobody"]}, "UNKNOWN_ORG"),
        ({"threshold": 0}, "BAD_THRESHOLD"),
        ({"threshold": 2}, "BAD_THRESHOLD"),
        ({"dataset": "registry/data"}, "NOT_OWNER"),
    ],
)
def test_a_bad_rule_is_refused(use, change, code):
    rule = {"dataset": "hospital/data", "purposes": ["research"], "approvers": ["ethics"], "threshold": 1}
    with use.chain.expect_revert(code):
        use.admin("hospital").call("approvals", "set_rule", **{**rule, **change})


def test_a_dataset_without_a_rule_is_not_used(use):
    use.grant("registry", to="insurer", policy="approvals")
    with use.chain.expect_revert("NO_RULE"):
        use.propose("insurer", ["registry"])


def test_every_act_is_in_the_history_of_the_grant_and_the_dataset(use):
    endorse(use, "ethics")
    use.admin("ethics").call("approvals", "retract", grant="insurer/hospital", reason="new facts")
    names = [event.name for event in use.chain.events if event.contract == "approvals"]
    assert names == ["RuleSet", "Endorsed", "EndorsementTaken"]
    assert use.chain.events[-1].subjects == ("grant:insurer/hospital", "dataset:hospital/data", "org:ethics")
