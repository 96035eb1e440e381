"""Pages in jobs of real processes: three organisations over TLS, against references computed apart.

The standard pages run beside a page of the members' own, which has two receivers. Statistics must be exact,
and a regression loses no more than scikit-learn's, and ranks as its weights do. One consortium serves all,
since starting it takes longer than a job.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import shake_256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live import assent
from numpy.typing import NDArray

from chain.cli.consortium import start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder

pytestmark = pytest.mark.functional
ORGS = ("bank", "bureau", "registry")
DATASETS = {"bank": "loans", "bureau": "history", "registry": "residents"}
HOUSING = ("free", "own", "rent")
EDGES = (18, 30, 45, 60, 80)
MIN_GROUP = 20
L2 = 0.01
LOSS_ERROR = 5e-6
"""How much more the weights of shares may lose: a sigmoid is within 0.00008, so a gradient of seven weights
is within e = 0.0002, and the loss within e² / 2 l2 of the least."""
INPUTS = [part for org in ORGS for part in ("--input", f"{DATASETS[org]}=bank/g-{org}")]
LONG = ["--deadline", "accept=10m", "--deadline", "reveal=10m", "--deadline", "commit=10m"]
LONG += ["--deadline", "certify=10m"]
STATISTICS: dict[str, Any] = {
    "receivers": ["bank"],
    "columns": [["loans", "amount"], ["residents", "age"]],
    "figures": ["sum", "mean", "least", "greatest"],
    "groups": [[["history", "housing"], ["loans", "amount"]]],
    "histograms": [["residents", "age"]],
}
REGRESSION: dict[str, Any] = {
    "label": ["loans", "repaid"],
    "numbers": [["loans", "amount"], ["history", "income"], ["residents", "age"]],
    "categories": [["history", "housing"]],
    "held_out": 0.3,
    "l2": L2,
    "receivers": ["bank"],
    "coefficients": True,
}
OWN_PAGE = '''"""Amounts by housing for the bureau, losses for the bank, and the ages of all residents."""


def run(loans, history, residents):
    rows = join(loans, history, residents)
    lost = filter(rows, ~rows.loans.repaid)
    housing = rows.history.housing
    release(mean(rows.loans.amount, by=housing), to="bureau", exact=True, name="mean amount")
    release(count(lost, by=lost.history.housing), to="bank", exact=True, name="lost")
    release(mean(residents.age), to="bureau", exact=True, name="mean age of residents")
    two = join(loans, history)
    release(count(two), to="bank", exact=True, name="loans with a history")
'''
NOISY_PAGE = '''"""How many people live how, with noise."""


def run(loans, history, residents):
    rows = join(loans, history, residents)
    release(count(rows, by=rows.history.housing), to="bank", noise=laplace(epsilon=1), name="people")
'''


@dataclass(frozen=True)
class Party:
    """What an owner holds: its people, and a column each."""

    people: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]


def drawn() -> dict[str, Party]:
    """Draw people whose loans depend on income and age; each owner knows some of them."""
    rng = np.random.default_rng(5)
    n = 260
    income = rng.integers(900, 4_000, n) / 10
    age, amount = rng.integers(18, 80, n), rng.integers(500, 9_000, n)
    housing = np.array(HOUSING)[rng.choice(3, n, p=(0.04, 0.56, 0.4))]
    score = 0.012 * (income - 245) + 0.03 * (age - 49) - 0.0002 * (amount - 4_750) + (housing == "own")
    repaid = rng.random(n) < 1 / (1 + np.exp(-score))
    held = {"bank": np.arange(230), "bureau": np.arange(15, n), "registry": np.arange(5, 250)}
    every = {
        "bank": {"amount": amount, "repaid": repaid},
        "bureau": {"income": income, "housing": housing},
        "registry": {"age": age},
    }
    found = {}
    for org, people in held.items():
        order = rng.permutation(people)
        found[org] = Party(order, {name: cells[order] for name, cells in every[org].items()})
    return found


def write(folder: Path, org: str, party: Party) -> tuple[Path, Path]:
    """Write an owner's file and its schema."""
    cells = {name: [_cell(one) for one in column.tolist()] for name, column in party.columns.items()}
    lines = [",".join(["person", *cells])]
    lines += [
        ",".join([f"p{person:03d}", *row])
        for person, row in zip(party.people.tolist(), zip(*cells.values(), strict=True), strict=True)
    ]
    data, schema = folder / f"{org}.csv", folder / f"{org}.toml"
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    said = {
        "amount": 'type = "integer"', "repaid": 'type = "boolean"', "income": 'type = "decimal"',
        "housing": f'type = "category"\ncategories = {json.dumps(list(HOUSING))}',
        "age": f'type = "integer"\nedges = {json.dumps([str(edge) for edge in EDGES])}',
    }  # fmt: skip
    parts = ['key = ["person"]', '[[columns]]\nname = "person"\ntype = "text"\nsensitivity = "identifier"']
    parts += [f'[[columns]]\nname = "{name}"\n{said[name]}' for name in cells]
    schema.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return data, schema


def _cell(cell: Any) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


OWN = {"own-figures": OWN_PAGE, "noisy-figures": NOISY_PAGE}
"""Programs of the members' own."""


@dataclass(frozen=True)
class Running:
    """A consortium with agents, data, grants and the page of its own."""

    consortium: ConsortiumFolder
    parties: dict[str, Party]
    proposed: dict[str, str] = field(default_factory=dict)
    """Program -> its job; all are proposed at once, and agents compute two at a time."""

    def say(self, org: str, *words: str | Path, fails: bool = False) -> str:
        done = assent(*words, "--as", self.consortium.org(org).path, seconds=200)
        assert (done.returncode != 0) == fails, f"{words}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def propose(self, program: str, parameters: dict[str, Any] | None = None) -> None:
        given = ["--parameters", json.dumps(parameters)] if parameters else []
        words = ["--program", program, "--purpose", "research", *INPUTS, *given, *LONG]
        told = self.say("bank", "job", "preflight", *words) if program == "own-figures" else ""
        assert "nothing is in its way" in told or program != "own-figures"
        self.proposed[program] = json.loads(self.say("bank", "job", "propose", *words, "--json"))["job"]

    def job(self, program: str) -> str:
        """Wait for a job's certificate; return its id."""
        self.say("bank", "job", "watch", self.proposed[program], "--timeout", "180")
        return self.proposed[program]

    def figures(self, org: str, job: str) -> dict[str, Any]:
        shown = json.loads(self.say(org, "job", "result", job, "--json"))
        assert shown["on_ledger"]
        return {one["name"]: one["value"] for one in shown["values"]["figures"]}

    def joined(self, orgs: tuple[str, ...] = ORGS) -> list[int]:
        return sorted(set.intersection(*[set(self.parties[org].people.tolist()) for org in orgs]))

    def column(self, org: str, name: str, people: list[int]) -> NDArray[Any]:
        at = {person: row for row, person in enumerate(self.parties[org].people.tolist())}
        return np.asarray(self.parties[org].columns[name][[at[person] for person in people]])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("pages")
    made = create_consortium(folder / "c", list(ORGS), list(ORGS), 0, "pages")
    here = Running(made, drawn())
    try:
        list(start_consortium(made))
        for number, (name, page) in enumerate(OWN.items(), 1):
            (folder / "own.py").write_text(page, encoding="utf-8")
            here.say("bank", "program", "propose", name, folder / "own.py", "--reason", "a report")
            here.say("bureau", "program", "approve", str(number))
            here.say("registry", "program", "approve", str(number))
            here.say("bank", "program", "commit", str(number))
        programs = ("joint-statistics", "logistic-regression", "private-join", *OWN)
        for org in ORGS:
            data, schema = write(folder, org, here.parties[org])
            dataset = f"{org}/{DATASETS[org]}"
            here.say(org, "dataset", "register", dataset, data, "--schema", schema)
            words = [part for name in here.parties[org].columns for part in ("--column", f"{name}=plain")]
            words += [part for program in programs for part in ("--program", program)]
            words += [part for other in ORGS for part in ("--receiver", other)]
            words += [part for other in ORGS if other not in (org, "bank") for part in ("--co-party", other)]
            words += [part for other in ORGS if other != org for part in ("--membership", other)]
            words += ["--purpose", "research", "--legal-basis", "consent", "--expires", "30d", "--runs", "8"]
            words += ["--because", "five programs, two of which are not decided yet", "--epsilon", "1"]
            words += ["--column", "person=join-only", "--dataset", dataset, "--min-group", str(MIN_GROUP)]
            here.say("bank", "grant", "request", f"bank/g-{org}", *words)
            here.say(org, "grant", "approve", f"bank/g-{org}")
        here.propose("own-figures")
        here.propose("joint-statistics", STATISTICS)
        here.propose("logistic-regression", REGRESSION)
        here.propose("private-join", {"receivers": ["bureau"]})
        yield here
    finally:
        list(stop_consortium(made))


def test_a_page_of_the_members_gives_each_receiver_its_own_figures_and_small_groups_stay_hidden(
    running: Running,
) -> None:
    job = running.job("own-figures")
    people = running.joined()
    housing = running.column("bureau", "housing", people)
    amount, repaid = running.column("bank", "amount", people), running.column("bank", "repaid", people)
    groups = [housing == kind for kind in HOUSING]
    assert 0 < groups[0].sum() < MIN_GROUP <= min(groups[1].sum(), groups[2].sum())

    bureau, bank = running.figures("bureau", job), running.figures("bank", job)
    means = [amount[group].mean() for group in groups]
    said = bureau["mean amount"]
    # The smallest group is hidden, and with it the next, from which a total would tell it.
    smaller = int(np.argmin([groups[1].sum(), groups[2].sum()])) + 1
    assert (said[0], said[smaller]) == (None, None)
    assert float(said[3 - smaller]) == pytest.approx(means[3 - smaller], abs=2**-14)
    ages = running.parties["registry"].columns["age"]
    assert float(bureau["mean age of residents"]) == pytest.approx(ages.mean(), abs=2**-15)
    lost = [int((group & ~repaid).sum()) for group in groups]
    assert [value for value in bank["lost"] if value is not None] == [
        count for count, value in zip(lost, bank["lost"], strict=True) if value is not None
    ]
    assert bank["lost"][0] is None
    assert bank["loans with a history"] == len(running.joined(("bank", "bureau")))
    assert bureau.keys() == {"mean amount", "mean age of residents"}
    assert bank.keys() == {"lost", "loans with a history"}

    shown = running.say("bank", "job", "show", job)
    assert "as history" in shown.replace("\n", " ")
    assert "plan " in shown
    printed = running.say("bureau", "job", "result", job)
    assert "hidden" in printed
    assert "history.housing" in printed
    running.say("registry", "job", "result", job, fails=True)


def test_the_standard_statistics_equal_numpy(running: Running) -> None:
    job = running.job("joint-statistics")
    people, found = running.joined(), running.figures("bank", job)
    for org, name, called in (("bank", "amount", "loans.amount"), ("registry", "age", "residents.age")):
        cells = running.column(org, name, people)
        assert found[f"sum of {called}"] == cells.sum()
        assert (found[f"least of {called}"], found[f"greatest of {called}"]) == (cells.min(), cells.max())
        assert float(found[f"mean of {called}"]) == pytest.approx(cells.mean(), abs=2**-14)
    assert found["rows in common"] == len(people)
    ages = running.column("registry", "age", people)
    assert found["bins of residents.age"] == np.histogram(ages, EDGES)[0].tolist()
    housing, amount = running.column("bureau", "housing", people), running.column("bank", "amount", people)
    for at, value in enumerate(found["sum of loans.amount by history.housing"]):
        assert value in (None, 0, amount[housing == HOUSING[at]].sum())


def test_the_standard_regression_fits_as_scikit_learn_does_and_ranks_by_its_weights(running: Running) -> None:
    """The loss is compared, since it is flat where the fit is: weights of like columns trade places."""
    from sklearn.linear_model import LogisticRegression  # which takes seconds of whoever collects this

    job = running.job("logistic-regression")
    kept = json.loads((running.consortium.org("bank").path / "agent/joins" / f"{job}.json").read_text())
    ((_, ids),) = kept["joins"].items()
    people = [int(each[1:]) for each in ids]
    assert sorted(people) == running.joined()
    figures = running.figures("bank", job)
    weights = np.array([float(each) for each in figures["weights"]])
    x, y, tested = design(running, people, bytes.fromhex(job))
    fit = LogisticRegression(C=1 / (L2 * (~tested).sum()), tol=1e-10, max_iter=10_000)
    fit.fit(x[~tested], y[~tested])
    best = loss(np.append(fit.intercept_, fit.coef_[0]), x[~tested], y[~tested])
    assert best - 1e-9 <= loss(weights, x[~tested], y[~tested]) < best + LOSS_ERROR
    least, most = auc_of(weights, x[tested], y[tested])
    assert most - least < 0.005
    assert least - 1e-4 < float(figures["AUC"]) < most + 1e-4


def design(
    running: Running, people: list[int], job: bytes
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the features, standardised over the rows that are not held out, the labels, and which are."""
    columns = [
        running.column(org, name, people).astype(float)
        for org, name in (("bank", "amount"), ("bureau", "income"), ("registry", "age"))
    ]
    housing = running.column("bureau", "housing", people)
    x = np.column_stack([*columns, *[(housing == kind).astype(float) for kind in HOUSING]])
    stream = np.frombuffer(shake_256(b"assent/split\0" + job).digest(8 * len(people)), "<u8")
    tested = np.zeros(len(people), bool)
    tested[np.argsort(stream, kind="stable")[: round(0.3 * len(people))]] = True
    spread = x[~tested].std(0)
    x = (x - x[~tested].mean(0)) / np.where(spread > 0, spread, np.inf)
    return x, running.column("bank", "repaid", people), tested


def loss(weights: NDArray[Any], x: NDArray[Any], y: NDArray[np.bool_]) -> float:
    """Return the mean loss of weights, the constant first, with its penalty."""
    score = weights[0] + x @ weights[1:]
    return float(np.mean(np.logaddexp(0, score) - y * score) + L2 / 2 * (weights[1:] ** 2).sum())


def auc_of(weights: NDArray[Any], x: NDArray[Any], y: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the bounds of the AUC of these weights: pairs whose scores are level on shares rank either way.

    A score is within an ulp of each feature, and one of the product.
    """
    level = 2 * (np.abs(weights).sum() + 2) * 2**-16
    score = weights[0] + x @ weights[1:]
    apart = np.subtract.outer(score[y], score[~y])
    return float((apart > level).mean()), float((apart > -level).mean())


def test_the_standard_join_counts_and_tells_each_owner_its_own_rows(running: Running) -> None:
    job = running.job("private-join")
    expected = running.joined()
    assert running.figures("bureau", job)["rows in common"] == len(expected)
    for org in ORGS:
        name = f"which rows of {DATASETS[org]}"
        assert running.figures(org, job)[name] == [1] * len(expected)
        kept = json.loads((running.consortium.org(org).path / "agent/joins" / f"{job}.json").read_text())
        (ids,) = kept["joins"].values()
        assert sorted(int(each[1:]) for each in ids) == expected


def test_of_two_jobs_that_race_for_the_last_figures_of_a_column_one_runs(running: Running) -> None:
    """Both are proposed at the same moment, by two processes, and the account has room for one."""
    first = running.job("own-figures")
    for program in running.proposed:
        running.job(program)
    asked = json.dumps({"job": first})
    booking = json.loads(running.say("bank", "call", "accounts", "booking_of", "--args", asked, "--json"))[
        "result"
    ]
    (needed,) = [
        one["figures"]["age"] for one in booking["charges"] if one["dataset"] == "registry/residents"
    ]
    spent = released(running)
    running.say("registry", "dataset", "caps", "registry/residents", "--figures", str(spent + needed))
    refused = raced(running, "own-figures", "ACCOUNT_FIGURES")
    assert released(running) == spent + needed
    assert f"column age: 0 figures left, asked {needed}" in refused


def test_of_two_jobs_that_race_for_the_last_epsilon_of_an_account_one_runs(running: Running) -> None:
    """All owners agree to both; the last acceptance of either holds what both need."""
    for program in running.proposed:
        running.job(program)
    running.say("bureau", "dataset", "caps", "bureau/history", "--epsilon", "1")
    refused = raced(running, "noisy-figures", "ACCOUNT_EPSILON")
    account = json.loads(running.say("bureau", "dataset", "account", "bureau/history", "--json"))
    assert (account["spent"]["epsilon"], account["reserved"]["epsilon"]) == (10**9, 0)
    assert "bureau/history: epsilon 0 left, asked 1" in refused


def raced(running: Running, program: str, code: str) -> str:
    """Let two processes propose the same at once: one job runs, the other ends with a code, as a third does.

    Returns what the third is told.
    """
    bank = running.consortium.org("bank").path
    words = ["job", "propose", "--program", program, "--purpose", "research", *INPUTS, *LONG, "--json"]
    with ThreadPoolExecutor(2) as both:
        asked = [both.submit(assent, *words, "--as", bank, seconds=200) for _ in range(2)]
        told = [one.result() for one in asked]
    jobs = [json.loads(one.stdout)["job"] for one in told if one.returncode == 0]
    ends = [assent("job", "watch", job, "--timeout", "180", "--as", bank, seconds=200) for job in jobs]
    assert [one.returncode for one in [*told, *ends]].count(0) == len(jobs) + 1, (told, ends)
    assert all(code in one.stdout + one.stderr for one in [*told, *ends] if one.returncode != 0)
    refused = running.say("bank", *words, fails=True)
    assert code in refused
    return refused


def released(running: Running) -> int:
    """Return how many figures of the residents' age were released; open jobs hold none."""
    account = json.loads(running.say("registry", "dataset", "account", "registry/residents", "--json"))
    (age,) = [one for one in account["columns"] if one["name"] == "age"]
    assert age["reserved"] == 0
    return int(age["spent"])
