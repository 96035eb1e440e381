"""What the calls of a data use cost: hardly more than before the contracts' rules were hardened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chain.primitives.errors import ConfigError
from contracts.language.limits import GAS_SIGNATURE
from tests.bench import calls, path
from tests.bench.calls import measure_calls

ROOT = Path(__file__).parents[2]
BEFORE: dict[str, int] = json.loads((ROOT / "tests/vectors/calls_before.json").read_text())["gas"]
"""Gas of the calls at commit 6f18e7b (`scripts/bench calls --against`), the last one before."""
BAR = 1.1
PROOFS = {
    "orgs.add_key": 1,
    "orgs.rotate_key": 1,
    "governance.propose (a node)": 1,
    "governance.commit (a node)": 1,
    "governance.rotate_node_key": 1,
    "governance.propose (an organisation)": 2,
    "governance.commit (an organisation)": 2,
}
"""Proofs of possession that a call verifies now: one signature each, and that is its price."""
DEARER = {
    # The plan is derived anew of the page, its parameters and the schemas, which is most of it; then keys and
    # identifiers of what is joined, what its owners said of it, and with what else it was joined. What it is
    # charged is held against accounts.
    "jobs.propose": 3.3,
    "jobs.propose (a policy)": 3.1,
    # Beside the grant: program, members and agents, and whether the policy can answer. The job's record says
    # when its join began, and whose runs returned.
    # Grants are asked who learns which rows are joined, and for how much epsilon, too.
    "jobs.approve_reveal": 1.19,
    "jobs.approve_reveal (a policy)": 1.26,
    # A row counts what is asked, or changed, in a day; a request says why it asks for so much, who learns
    # which rows are joined, and how much epsilon a run takes.
    "grants.request": 1.22,
    "grants.request (a policy)": 1.22,
    "grants.approve": 1.11,
    "grants.narrow": 1.17,
    # A row counts the proposals of the day, beside two proofs of possession; one kind lapses later.
    # And it is asked whether members replaced the proposer's keys in this very block.
    "governance.propose (an organisation)": 1.19,
    "governance.propose (a node)": 1.14,
    # The proposer, and those that voted, still have the keys with which they did.
    "lifecycle.commit": 1.13,
    # A row counts the keys of the day.
    "orgs.add_key": 1.13,
    # The job leaves three lists of open jobs and the initiator's count; a row says who ended it, and why. And
    # what accounts reserve for it comes back.
    "jobs.reject": 1.36,
    "jobs.abort": 1.31,
    "jobs.expire": 1.31,
    # The job's own history is told that the revocation stops it.
    "grants.revoke (a job open)": 1.12,
}
"""Calls that do more than a tenth more, and what that is."""
NEW = {
    "datasets.declare": 13_500,
    # The runs of three grants are used here, and no longer by the last binding, which costs as much less.
    # Each grant notes with what its version is joined, and the job what it asks of the joined rows; and the
    # program is asked whether it stands. What accounts reserve is spent.
    "jobs.begin_join": 17_750,
    "jobs.begin_join (a policy)": 17_750,
}
"""Calls that there were not before, and their gas."""


@pytest.fixture(scope="module")
def now() -> dict[str, int]:
    return path.measure()


def test_every_call_of_before_is_still_measured(now: dict[str, int]) -> None:
    assert now.keys() - NEW.keys() == BEFORE.keys()


@pytest.mark.parametrize("call", list(BEFORE))
def test_a_call_costs_at_most_a_tenth_more_than_before(now: dict[str, int], call: str) -> None:
    allowed = DEARER.get(call, BAR) * BEFORE[call] + PROOFS.get(call, 0) * GAS_SIGNATURE
    assert now[call] <= allowed, f"{call}: {now[call]} gas, {BEFORE[call]} before"


@pytest.mark.parametrize("call", list(NEW))
def test_a_new_call_costs_at_most_what_is_said(now: dict[str, int], call: str) -> None:
    assert 0.9 * NEW[call] <= now[call] <= NEW[call], f"{call}: {now[call]} gas"


def test_a_checkout_is_measured_by_its_own_code(now: dict[str, int]) -> None:
    assert measure_calls(ROOT) == {
        call: {"gas": gas, "before": gas, "ratio": 1.0} for call, gas in now.items()
    }


def test_what_is_no_checkout_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}: no checkout of Assent"):
        measure_calls(tmp_path)


def test_a_checkout_that_does_not_go_the_path_says_why(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "runtime.py").write_text("raise RuntimeError('too old')\n", encoding="utf-8")
    (tmp_path / "contracts" / "__init__.py").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="its contracts do not go this path: RuntimeError: too old"):
        measure_calls(tmp_path)


def test_a_checkout_whose_contracts_do_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "SECONDS_MAX", 0)
    with pytest.raises(ConfigError, match="take more than 0 s for this path"):
        measure_calls(ROOT)
