"""What `privacy_budget` allows, with real grants and jobs."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SOURCE = Path(__file__).with_name("contract.py")
MICRO = 1_000_000


@pytest.fixture
def use(data_use):
    use = data_use("hospital", "insurer", "registry")
    use.chain.adopt(SOURCE, "budget")
    use.grant("hospital", to="insurer", policy="budget")
    hospital = use.admin("hospital")
    hospital.call("budget", "open_budget", dataset="hospital/data", epsilon=MICRO, delta=1_000)
    hospital.call(
        "budget", "set_cost", dataset="hospital/data", program="statistics", epsilon=400_000, delta=100
    )
    return use


def left(use):
    return use.chain.view("budget", "left_of", dataset="hospital/data")


def test_a_run_is_paid_for_when_it_starts_and_once(use):
    job = use.propose("insurer", ["hospital"])
    use.accept(job)
    assert left(use)["epsilon"] == MICRO
    use.start(job)
    assert left(use) == {"epsilon": 600_000, "delta": 900, "status": "open"}
    use.reveal(job)
    assert (use.state_of(job), left(use)["epsilon"]) == ("revealed", 600_000)


def test_an_empty_budget_stops_jobs_but_not_the_result_that_was_paid_for(use):
    jobs = [use.propose("insurer", ["hospital"]) for _ in range(3)]
    for job in jobs:
        use.accept(job)
    use.start(jobs[0])
    use.start(jobs[1])
    with use.chain.expect_revert("EPSILON_EXHAUSTED"):
        use.start(jobs[2])
    with use.chain.expect_revert("EPSILON_EXHAUSTED"):
        use.propose("insurer", ["hospital"])
    use.reveal(jobs[1])
    assert use.state_of(jobs[1]) == "revealed"


def test_a_run_that_never_reveals_stays_paid(use):
    job = use.started("insurer", ["hospital"])
    use.chain.advance(time=3 * 3_600_000)
    use.agent("insurer").call("jobs", "expire", gas=10_000_000, job=job)
    assert left(use)["epsilon"] == 600_000


def test_every_version_of_a_dataset_has_the_same_budget(use):
    use.started("insurer", ["hospital"])
    version = use.version("hospital")
    use.grant("hospital", to="insurer", policy="budget", name="second", version=version)
    use.started("insurer", ["hospital"], inputs=[use.input("insurer/second", "hospital", version)])
    assert left(use)["epsilon"] == 200_000
    with use.chain.expect_revert("BUDGET_EXISTS"):
        use.admin("hospital").call("budget", "open_budget", dataset="hospital/data", epsilon=MICRO, delta=0)


def test_a_job_may_say_that_it_is_dearer_and_never_cheaper(use):
    use.started("insurer", ["hospital"], parameters={"epsilon_micro": 500_000})
    use.started("insurer", ["hospital"], parameters={"epsilon_micro": -5})
    assert left(use)["epsilon"] == 100_000
    job = {"job": "x", "grant": "insurer/hospital", "dataset": "hospital/data", "program": "statistics"}
    job |= {"parameters": {"epsilon_micro": "1"}, "initiator": "insurer"}
    with use.chain.expect_revert("BAD_EPSILON"):
        use.admin("registry").call("budget", "allow", job=job, phase="proposed")


def test_delta_runs_out_by_itself(use):
    use.admin("hospital").call(
        "budget", "set_cost", dataset="hospital/data", program="statistics", epsilon=1, delta=600
    )
    use.started("insurer", ["hospital"])
    with use.chain.expect_revert("DELTA_EXHAUSTED"):
        use.propose("insurer", ["hospital"])


def test_a_closed_budget_stops_even_a_paid_result(use):
    job = use.started("insurer", ["hospital"])
    use.admin("hospital").call("budget", "close", dataset="hospital/data")
    with use.chain.expect_revert("BUDGET_CLOSED"):
        use.reveal(job)


def test_asking_pays_nothing(use):
    job = {"job": "x", "grant": "insurer/hospital", "dataset": "hospital/data", "program": "statistics"}
    job |= {"parameters": {}, "initiator": "insurer"}
    for _ in range(5):
        assert use.admin("registry").call("budget", "allow", job=job, phase="running") is True
    assert left(use)["epsilon"] == MICRO


@pytest.mark.parametrize(
    ("method", "change", "code"),
    [
        ("open_budget", {"dataset": "registry/data"}, "NOT_OWNER"),
        ("open_budget", {"epsilon": 0}, "BAD_EPSILON"),
        ("open_budget", {"epsilon": 101 * MICRO}, "BAD_EPSILON"),
        ("open_budget", {"delta": 10**12}, "BAD_DELTA"),
        ("open_budget", {"delta": -1}, "BAD_DELTA"),
        ("set_cost", {}, "NO_BUDGET"),
        ("close", {}, "NO_BUDGET"),
    ],
)
def test_bad_budgets_are_refused(data_use, method, change, code):
    use = data_use("hospital", "insurer", "registry")
    use.chain.adopt(SOURCE, "budget")
    args = {"dataset": "hospital/data"}
    if method != "close":
        args |= {"epsilon": MICRO, "delta": 0}
    if method == "set_cost":
        args["program"] = "statistics"
    with use.chain.expect_revert(code):
        use.admin("hospital").call("budget", method, **{**args, **change})


def test_without_a_budget_or_a_cost_nothing_runs(use):
    use.grant("registry", to="insurer", policy="budget")
    with use.chain.expect_revert("NO_BUDGET"):
        use.propose("insurer", ["registry"])
    use.admin("registry").call("budget", "open_budget", dataset="registry/data", epsilon=MICRO, delta=0)
    with use.chain.expect_revert("NO_COST"):
        use.propose("insurer", ["registry"])


def test_what_was_spent_is_in_the_history_of_the_dataset(use):
    job = use.started("insurer", ["hospital"])
    spent = [event for event in use.chain.events if event.name == "BudgetSpent"]
    assert [event.subjects for event in spent] == [
        ("dataset:hospital/data", "org:hospital", "grant:insurer/hospital", f"job:{job}", "org:insurer")
    ]
    assert (spent[0].fields["epsilon"], spent[0].fields["left_epsilon"]) == (400_000, 600_000)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.integers(1, 700_000), min_size=1, max_size=5))
def test_spending_never_exceeds_the_budget(data_use, costs):
    use = data_use("hospital", "insurer", "registry")
    use.chain.adopt(SOURCE, "budget")
    use.grant("hospital", to="insurer", policy="budget")
    hospital = use.admin("hospital")
    hospital.call("budget", "open_budget", dataset="hospital/data", epsilon=MICRO, delta=0)
    spent = 0
    for cost in costs:
        hospital.call(
            "budget", "set_cost", dataset="hospital/data", program="statistics", epsilon=cost, delta=0
        )
        if spent + cost > MICRO:
            with use.chain.expect_revert("EPSILON_EXHAUSTED"):
                use.propose("insurer", ["hospital"])
        else:
            use.started("insurer", ["hospital"])
            spent += cost
    assert left(use)["epsilon"] == MICRO - spent >= 0
