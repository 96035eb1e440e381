"""Every hostile program gets its verdict within 1 s of CPU and 64 MB, and the next call is served as before.

The limits hold for each program by itself, compilation included; the kernel enforces both (`measure.py`).
CPU seconds rather than elapsed ones, because tests share their machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from corpus import CATEGORIES, OUT_OF_GAS, everything
from measure import CPU_SECONDS_MAX, CPU_SECONDS_PER_GAS, MEMORY_MAX, seconds_max
from shapes import program_of

PROGRAMS = everything()
GENERATED, SEED = 300, "suite"


def measured(*words: str) -> dict[str, dict[str, Any]]:
    """What each program did, by name."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("measure.py")), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {report["name"]: report for report in found}


@pytest.fixture(scope="module")
def reports() -> dict[str, dict[str, Any]]:
    """What each program of the corpus did."""
    return measured()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_hostile_program_is_stopped_in_its_bounds_and_the_next_call_is_served(
    name: str, reports: dict[str, dict[str, Any]]
) -> None:
    program, report = PROGRAMS[name], reports[name]
    assert (report["status"], report["code"] or "") == (program.status, program.code), report
    assert report["result"] == program.result
    assert (report["gas"] == program.gas) is (program.status == OUT_OF_GAS)
    assert report["gas"] <= program.gas
    assert report["seconds"] <= seconds_max(program.gas)
    assert report["memory"] <= MEMORY_MAX
    assert report["honest"], "the interpreter serves the next call differently"


def test_generated_programs_that_share_structure_stay_in_the_same_bounds() -> None:
    reports = measured("--generated", str(GENERATED), SEED)
    assert len(reports) == GENERATED
    for name, report in reports.items():
        said = f"{report}\n{program_of(name).source}"
        assert report["status"] in ("ok", "reverted", "limit", "out_of_gas"), said
        assert report["memory"] <= MEMORY_MAX, said
        assert report["seconds"] <= CPU_SECONDS_MAX + CPU_SECONDS_PER_GAS * report["gas"], said
        assert report["honest"], said
    assert {report["status"] for report in reports.values()} == {"ok", "reverted", "limit", "out_of_gas"}


def test_every_category_has_programs() -> None:
    sizes = Counter(name.partition("/")[0] for name in PROGRAMS)
    assert set(sizes) == set(CATEGORIES)
    assert min(sizes.values()) >= 10
    assert sum(sizes.values()) >= 450
