"""The campaign `pages` fails for a page that differs and for a fault that nothing notices."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.campaigns import pages
from tests.unit.contracts.pages.plants import PLANTS
from tests.unit.contracts.pages.soundness import Found
from tests.unit.contracts.pages.test_laundering import ATTACKS


def ran(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr("sys.argv", ["pages", *words])
    status = pages.main()
    return status, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_small_campaign_tells_how_many_pages_agree_and_what_shows_each_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, result = ran(capsys, monkeypatch, "--seed", "500", "--pages", "40", "--plants", "2")
    figures = result["figures"]
    assert (status, result["seeds"], result["failures"]) == (0, "500..539", [])
    assert figures["equal"] + figures["wider"] + figures["refused"] == figures["pages"] == 40
    assert figures["caught"] == figures["planted"] == 2


def test_a_page_that_differs_and_a_fault_that_nothing_notices_fail_the_campaign(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "compared", lambda seeds: Found(equal=1, differ=[(seeds[0], "a page")]))
    monkeypatch.setattr(pages, "noticed", lambda _: "")
    status, result = ran(capsys, monkeypatch, "--pages", "501", "--plants", "1")
    assert status == 1
    missed = f"planted fault not noticed: {next(iter(PLANTS))}"
    assert result["failures"] == ["seed 0: a page", "seed 500: a page", missed]
    assert result["figures"]["differ"] == 2


def test_a_full_campaign_compares_enough_pages_and_has_enough_faults_and_no_attack_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "compared", lambda seeds: Found(refused=len(seeds)))
    assert pages.compare(range(pages.PAGES))[1] == [
        "only 0 pages were compared, too many were refused: mend what draws them"
    ]
    assert len(PLANTS) >= 25
    assert len({plant.text() for plant in PLANTS.values()}) == len(PLANTS)
    assert len({statements for statements, _, _ in ATTACKS.values()}) == len(ATTACKS) >= 30
