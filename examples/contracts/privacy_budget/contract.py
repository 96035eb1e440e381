"""privacy_budget: what is ever learned from a dataset stays within one differential-privacy budget.

The owner opens a budget of ε and δ once for a dataset, all its versions included, and says what a run of each
program costs. A run is paid for when it starts, whether or not its result is ever revealed (basic composition:
Dwork and Roth, The Algorithmic Foundations of Differential Privacy, theorem 3.16). A budget is never raised.
"""

MICRO = 1000000  # ε in millionths
PICO = 1000000000000  # δ in 10**-12
EPSILON_MAX = 100 * MICRO

budgets = Map(str, dict)  # dataset -> {owner, epsilon, delta, spent_epsilon, spent_delta, status}
costs = Map(tuple[str, str], dict)  # (dataset, program) -> {epsilon, delta}
paid = Map(tuple[str, str], bool)  # (job, grant) -> paid already

datasets = Contract("datasets")

BudgetOpened = Event(dataset=subject, owner=subject, epsilon=int, delta=int)
CostSet = Event(dataset=subject, owner=subject, program=subject, epsilon=int, delta=int)
BudgetClosed = Event(dataset=subject, owner=subject, spent_epsilon=int, spent_delta=int)
BudgetSpent = Event(
    dataset=subject,
    owner=subject,
    grant=subject,
    job=subject,
    by=subject,
    epsilon=int,
    delta=int,
    left_epsilon=int,
    left_delta=int,
)


@export
def open_budget(dataset: str, epsilon: int, delta: int):
    """The owner opens the one budget of a dataset: ε in millionths, δ in units of 10**-12."""
    org = owner_of(dataset)
    require(dataset not in budgets, "BUDGET_EXISTS")
    require(0 < epsilon <= EPSILON_MAX, "BAD_EPSILON")
    require(0 <= delta < PICO, "BAD_DELTA")
    budgets[dataset] = {
        "owner": org,
        "epsilon": epsilon,
        "delta": delta,
        "spent_epsilon": 0,
        "spent_delta": 0,
        "status": "open",
    }
    BudgetOpened(dataset="dataset:" + dataset, owner="org:" + org, epsilon=epsilon, delta=delta)


@export
def set_cost(dataset: str, program: str, epsilon: int, delta: int):
    """The owner says what one run of a program costs; a program without a cost is not run."""
    org = owner_of(dataset)
    budget_of(dataset)
    require(0 < epsilon <= EPSILON_MAX, "BAD_EPSILON")
    require(0 <= delta < PICO, "BAD_DELTA")
    costs[dataset, program] = {"epsilon": epsilon, "delta": delta}
    CostSet(
        dataset="dataset:" + dataset,
        owner="org:" + org,
        program="program:" + program,
        epsilon=epsilon,
        delta=delta,
    )


@export
def close(dataset: str):
    """The owner ends a budget for good: nothing more is learned under it."""
    org = owner_of(dataset)
    budget = budget_of(dataset)
    require(budget["status"] == "open", "BUDGET_CLOSED")
    budget["status"] = "closed"
    budgets[dataset] = budget
    BudgetClosed(
        dataset="dataset:" + dataset,
        owner="org:" + org,
        spent_epsilon=budget["spent_epsilon"],
        spent_delta=budget["spent_delta"],
    )


@export(nested=True)
def allow(job: dict, phase: str) -> bool:
    """What grants ask at every phase; the run is paid for when it starts, and only grants can make it pay."""
    budget = budget_of(job["dataset"])
    require(budget["status"] == "open", "BUDGET_CLOSED")
    if (job["job"], job["grant"]) in paid:
        return True
    cost = cost_of(job)
    require(budget["spent_epsilon"] + cost["epsilon"] <= budget["epsilon"], "EPSILON_EXHAUSTED")
    require(budget["spent_delta"] + cost["delta"] <= budget["delta"], "DELTA_EXHAUSTED")
    if phase == "running" and ctx.caller == "contract:grants":
        pay(job, budget, cost)
    return True


@view
def left_of(dataset: str) -> dict:
    budget = budget_of(dataset)
    return {
        "epsilon": budget["epsilon"] - budget["spent_epsilon"],
        "delta": budget["delta"] - budget["spent_delta"],
        "status": budget["status"],
    }


def cost_of(job: dict) -> dict:
    """The owner's cost of the program; a job that says it is dearer pays what it says."""
    cost = costs.get((job["dataset"], job["program"]))
    require(cost is not None, "NO_COST")
    declared = job["parameters"].get("epsilon_micro", 0)
    require(isinstance(declared, int) and declared <= EPSILON_MAX, "BAD_EPSILON")
    return {"epsilon": max(cost["epsilon"], declared), "delta": cost["delta"]}


def pay(job: dict, budget: dict, cost: dict):
    budget["spent_epsilon"] += cost["epsilon"]
    budget["spent_delta"] += cost["delta"]
    budgets[job["dataset"]] = budget
    paid[job["job"], job["grant"]] = True
    BudgetSpent(
        dataset="dataset:" + job["dataset"],
        owner="org:" + budget["owner"],
        grant="grant:" + job["grant"],
        job="job:" + job["job"],
        by="org:" + job["initiator"],
        epsilon=cost["epsilon"],
        delta=cost["delta"],
        left_epsilon=budget["epsilon"] - budget["spent_epsilon"],
        left_delta=budget["delta"] - budget["spent_delta"],
    )


def budget_of(dataset: str) -> dict:
    budget = budgets.get(dataset)
    require(budget is not None, "NO_BUDGET")
    return budget


def owner_of(dataset: str) -> str:
    require("admin" in ctx.roles or "steward" in ctx.roles, "KEY_ROLE_MISSING")
    require(datasets.dataset_of(dataset)["owner"] == ctx.org, "NOT_OWNER")
    return ctx.org
