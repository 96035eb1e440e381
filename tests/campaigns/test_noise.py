"""The campaign `noise` tells how likely its draws are, and fails for what a sound sampler would not draw."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest

from privcompute.mpc import noise as sampling
from privcompute.mpc import rep3_engine
from tests.campaigns import noise


def ran(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr("sys.argv", ["noise", "--draws", "60000"])
    monkeypatch.setattr(noise, "PART", 20_000)
    monkeypatch.setattr(noise, "SCALES", (Fraction(1),))
    monkeypatch.setattr(noise, "VARIANCES", ())
    monkeypatch.setattr(noise, "OFF", Fraction(3, 4))
    status = noise.main()
    return status, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_small_campaign_tells_the_chance_of_its_draws_and_sees_what_is_planted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, result = ran(capsys, monkeypatch)
    assert (status, result["failures"]) == (0, [])
    assert (result["figures"]["planted"], result["figures"]["caught"]) == (1, 1)
    assert result["figures"]["laplace 1: chance"] > 0.001


def test_a_scale_that_is_off_fails_the_campaign(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sampling.thresholds
    monkeypatch.setattr(rep3_engine, "thresholds", lambda scale: whole(scale * Fraction(9, 10)))
    status, result = ran(capsys, monkeypatch)
    assert status == 1
    assert result["failures"][0].startswith("laplace 1: these draws have a chance of")
