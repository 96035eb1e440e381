"""Attacks on results come to a guess or to a code; a small sample of the campaign, and what it would miss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from privcompute.pages import steps
from privcompute.pages.groups import ExactFigures
from tests.campaigns import disclosure, record
from tests.campaigns.attacks import ATTACKS, Attack
from tests.campaigns.disclosure import Outcome, interval, table, tried

SAMPLE = 12
BY_NAME = {attack.name: attack for attack in ATTACKS}


@pytest.mark.parametrize("attack", ATTACKS, ids=[one.name.replace(" ", "-") for one in ATTACKS])
def test_an_attack_is_no_better_than_the_guess_from_what_it_knows(attack: Attack) -> None:
    outcome = tried(attack, SAMPLE, seed=20)
    assert not outcome.finding, outcome.text()


@pytest.mark.parametrize("name", ["differencing", "difference of three figures", "twin groupings"])
def test_an_attack_succeeds_where_figures_are_not_judged_beside_one_another(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attacks are real: without the rule they tell the answer."""
    judged = steps.exact_figures

    def alone(*given: Any) -> ExactFigures:
        return ExactFigures(frozenset(judged(*given).chosen))

    monkeypatch.setattr(steps, "exact_figures", alone)
    outcome = tried(BY_NAME[name], SAMPLE, seed=20)
    assert outcome.hits == SAMPLE


def test_an_interval_holds_the_share_and_shrinks() -> None:
    low, high = interval(50, 100)
    assert low == pytest.approx(0.4038, abs=1e-4)
    assert high == pytest.approx(0.5962, abs=1e-4)
    assert interval(0, 10)[0] == pytest.approx(0, abs=1e-12)
    assert interval(500, 1_000)[0] > low


def test_an_attack_above_its_guess_fails_the_campaign(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(attack: Attack, trials: int, _seed: int) -> Outcome:
        return Outcome(attack, trials, trials, trials // 2, trials, "")

    monkeypatch.setattr(disclosure, "tried", outcome)
    monkeypatch.setattr("sys.argv", ["disclosure", "--only", "twin"])
    assert disclosure.main() == 1
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["size"] == "1 attacks, 200 trials each"
    assert result["failures"] == [f"twin groupings: {result['figures']['twin groupings']}"]


def test_the_page_on_attacks_has_a_row_for_each_with_the_figures_on_record() -> None:
    page = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text(encoding="utf-8")
    entry = record.load()["disclosure"]
    assert set(entry.figures) == set(BY_NAME)
    for attack in ATTACKS:
        figure = str(entry.figures[attack.name])
        right, _, guess = figure.partition(", guess ")
        cells = f"| | | `{figure.removeprefix('refused ')}` |" if not guess else f"| {right} | {guess} | |"
        assert f"| {attack.name} | {attack.knows} {cells}" in page


def test_a_table_names_the_code_of_what_is_always_refused() -> None:
    refused = Outcome(ATTACKS[0], 10, 5, 5, 0, "CONSTRAINT_VIOLATED")
    assert table([refused]).splitlines()[-1].endswith("| | | `CONSTRAINT_VIOLATED` |")
