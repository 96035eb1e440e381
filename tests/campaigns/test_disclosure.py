"""Attacks on results come to a guess or to a code; a small sample of the campaign, and what it would miss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.pages import releases
from privcompute.pages import steps
from privcompute.pages.groups import ExactFigures
from tests.campaigns import attacks, disclosure, record
from tests.campaigns.attacks import ATTACKS, Attack, World
from tests.campaigns.consortium import Dataset
from tests.campaigns.disclosure import LEVEL, Outcome, cells_of, interval, table, tried, upper_tail

SAMPLE = 12
BY_NAME = {attack.name: attack for attack in ATTACKS}


@pytest.mark.parametrize("attack", ATTACKS, ids=[one.name.replace(" ", "-") for one in ATTACKS])
def test_an_attack_is_no_better_than_the_guess_from_what_it_knows(attack: Attack) -> None:
    outcome = tried(attack, SAMPLE, seed=20)
    assert not outcome.finding, outcome.text()


@pytest.mark.parametrize(
    "name",
    ["differencing", "difference of three figures", "twin groupings", "twice the total",
     "overlapping groups of one figure"],
)  # fmt: skip
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


def test_an_attack_succeeds_where_exact_numbers_of_comparisons_need_no_plain_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = {**releases.NEEDS["exact"], "tally": "compare"}
    monkeypatch.setattr(releases, "NEEDS", {**releases.NEEDS, "exact": exact})
    outcome = tried(BY_NAME["crafted limits"], SAMPLE, seed=20)
    assert outcome.hits == SAMPLE


def test_reconstruction_from_more_figures_than_rows_allow_is_a_finding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sixty groupings of eighty people, which no agent allows, tell most answers."""

    def exactly(world: World, *figures: str, clubs: Dataset) -> dict[str, list[int]]:
        groups = [[clubs.cells[f"g{n}"] == one for one in ("in", "out")] for n in range(len(figures))]
        return {f"f{n}": [int(world.yes[one].sum()) for one in both] for n, both in enumerate(groups)}

    monkeypatch.setattr(World, "ask", exactly)
    attack = Attack("reconstruction", "60 random groupings", lambda world: attacks.reconstruct(world, 60))
    outcome = tried(attack, 200, seed=20)
    assert outcome.finding, outcome.text()


def test_the_test_of_a_guess_is_one_sided_and_exact() -> None:
    assert upper_tail(8, 10, 0.5) == pytest.approx(56 / 1024)
    assert upper_tail(0, 10, 0.5) == pytest.approx(1)
    assert upper_tail(0, 0, 0.5) == pytest.approx(1)
    assert upper_tail(10, 10, 0.9) == pytest.approx(0.9**10)
    luck = Outcome(ATTACKS[0], 100, 55, 50, 8, 3, "")
    assert luck.chance == pytest.approx(upper_tail(8, 11, 0.5))
    assert not luck.finding
    assert Outcome(ATTACKS[0], 100, 65, 50, 18, 3, "").chance < LEVEL
    assert Outcome(ATTACKS[0], 500, 420, 0, 0, 0, "", 0.73).finding
    assert not Outcome(ATTACKS[0], 500, 380, 0, 0, 0, "", 0.73).finding, "0.76 of 500 may be luck"
    assert not Outcome(ATTACKS[0], 500, 200, 0, 0, 0, "", 0.73).finding, "worse than it may be"


def test_an_attack_above_its_guess_fails_the_campaign(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(attack: Attack, trials: int, _seed: int) -> Outcome:
        return Outcome(attack, trials, trials, trials // 2, trials - trials // 2, 0, "")

    monkeypatch.setattr(disclosure, "tried", outcome)
    monkeypatch.setattr("sys.argv", ["disclosure", "--only", "twin"])
    assert disclosure.main() == 1
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["size"] == "1 attacks, 200 trials"
    assert result["failures"] == [f"twin groupings: {result['figures']['twin groupings']}"]


def test_the_page_on_attacks_has_a_row_for_each_with_the_figures_on_record() -> None:
    page = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text(encoding="utf-8")
    entry = record.load()["disclosure"]
    assert set(entry.figures) <= set(BY_NAME)
    for attack in ATTACKS:
        figure = str(entry.figures.get(attack.name, "not on record"))
        assert f"| {attack.name} | {attack.knows} {cells_of(figure)}" in page


def test_a_row_says_what_the_record_says() -> None:
    assert cells_of("not on record") == "| not on record | | | |"
    assert cells_of("refused A_CODE") == "| | | | `A_CODE` |"
    assert cells_of("0.5 (0.4 to 0.6) of 9, guess 0.6 (0.5 to 0.7), p 0.900") == (
        "| 0.5 (0.4 to 0.6) of 9 | 0.6 (0.5 to 0.7) | 0.900 | |"
    )


def test_a_table_names_the_code_of_what_is_always_refused() -> None:
    refused = Outcome(ATTACKS[0], 10, 5, 5, 0, 0, "CONSTRAINT_VIOLATED")
    assert table([refused]).splitlines()[-1].endswith("| | | | `CONSTRAINT_VIOLATED` |")
