"""Programs that other tests run in processes of their own, run here so that `compare_hosts` follows them."""

from __future__ import annotations

import measure
import pytest
from corpus import everything

from contracts import check

PROGRAMS = everything()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_hostile_program_has_its_verdict(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "run_source", check.run_source)
    program = PROGRAMS[name]
    found = measure.verdict_of(program)
    assert (found["status"], found["code"] or "") == (program.status, program.code)
