"""The models of consensus hold within their quick bounds, and each of their mutants is caught."""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.model.__main__ import chosen, line, result
from tests.model.bounds import AGREEMENT, FULL, QUICK, RUNS, Run
from tests.model.kept import Kept
from tests.model.spin import HERE, missing, read, search

PAGE = HERE.parents[1] / "docs" / "model.md"
needs_spin = pytest.mark.skipif(bool(missing()), reason=missing() or "Spin is here")
QUICK_RUNS = [run for run in RUNS if QUICK in run.modes]
MODULES = {path.stem for path in (HERE.parents[1] / "consensus").glob("*.py")} - {"__init__"}
PROPER = Run("M1", "proper", "pbft", ())
MUTANT = Run("M1", "mutant", "pbft", ("M_X",), breaks=AGREEMENT)

DONE = """
State-vector 140 byte, depth reached 163, errors: 0
   232951 states, stored
  181.845	total actual memory usage
pan: elapsed time 4.09 seconds
"""
BROKEN = """pan:1: two payloads decided at one height (at depth 28)
pan: wrote pbft.pml.trail
Warning: Search not completed
State-vector 140 byte, depth reached 58, errors: 1
     2550 states, stored
"""


@needs_spin
@pytest.mark.parametrize("run", QUICK_RUNS, ids=lambda run: run.label.replace(" ", "_"))
def test_the_model_keeps_its_promises_and_its_mutants_do_not(run: Run, tmp_path: Path) -> None:
    outcome = search(run, QUICK, tmp_path)
    assert not outcome.failure, "\n".join((line(outcome), *outcome.trace))


def test_a_finished_search_passes_and_a_broken_promise_fails() -> None:
    done, broken = read(PROPER, DONE, 1.0, ""), read(PROPER, BROKEN, 1.0, "")
    assert (done.failure, done.states, done.depth, done.megabytes, done.coverage) == (
        "",
        232_951,
        163,
        182,
        "exhaustive",
    )
    assert broken.failure == AGREEMENT


@pytest.mark.parametrize(
    ("said", "late"),
    [
        ("error: max search depth too small\n" + DONE, ""),
        ("pan: reached -DMEMLIM bound\nWarning: Search not completed\n" + DONE, ""),
        ("Warning: Search not completed\n" + DONE, ""),
        ("Depth=     394 States=    1e+06 Transitions= 1.14e+07\n", "not done in 900 s"),
        ("", ""),
    ],
)
def test_a_search_that_was_cut_short_fails(said: str, late: str) -> None:
    assert read(PROPER, said, 1.0, late).failure
    assert read(MUTANT, said, 1.0, late).failure


def test_a_bitstate_search_says_whether_it_ended_before_its_time() -> None:
    run = Run("M1", "large", "pbft", (), bitstate=True)
    whole = read(run, DONE + "hash factor: 120.4 (best if > 100.)\n", 1.0, "")
    late = read(
        run, "Warning: Search not completed\n" + DONE + "hash factor: 120.4 (best if > 100.)\n", 1.0, ""
    )
    assert (whole.coverage, late.coverage) == ("hash factor 120", "partial, hash factor 120")
    assert max(len(line(whole)), len(line(late))) <= 80


def test_a_mutant_passes_only_if_the_promise_it_is_for_is_broken() -> None:
    assert not read(MUTANT, BROKEN, 1.0, "").failure
    assert "not caught" in read(MUTANT, DONE, 1.0, "").failure
    other = BROKEN.replace(AGREEMENT, "assertion violated x")
    assert "another promise" in read(MUTANT, other, 1.0, "").failure


def test_the_result_names_what_failed() -> None:
    said = result(QUICK, [read(PROPER, BROKEN, 1.0, ""), read(MUTANT, BROKEN, 1.0, "")])
    assert said["failures"] == [f"M1/proper: {AGREEMENT}"]
    assert (said["figures"]["mutants"], said["figures"]["caught"]) == (1, 1)
    assert len(result(FULL, [read(run, DONE, 1.0, "") for run in chosen(FULL, ())])["figures"]) <= 40


def test_every_run_has_a_name_of_its_own_and_every_switch_of_a_model_is_run() -> None:
    labels = [run.label for run in RUNS]
    assert len(set(labels)) == len(labels)
    switches = {
        (source.stem, name)
        for source in (*HERE.glob("*.pml"), HERE / "mutants.h")
        for name in re.findall(r"\bM_[A-Z_]+\b", source.read_text().replace("M_…", ""))
    }
    used = {
        ("mutants" if run.source == "pbft" else run.source, name)
        for run in RUNS
        for name in run.defines
        if name.startswith("M_")
    }
    assert {(where, name) for where, name in switches if where != "pbft"} == used


def test_each_model_has_five_mutants_at_least_in_both_modes() -> None:
    for mode in (QUICK, FULL):
        for model in ("M1", "M2", "M3", "M4", "M5"):
            assert sum(bool(run.breaks) for run in chosen(mode, (model,))) >= 5


def _functions(text: str) -> set[tuple[str, str]]:
    named = re.findall(r"\b([a-z_]+)\.(_{0,2}[a-z][a-z_0-9]*)\b", text)
    return {(module, name) for module, name in named if module in MODULES and name not in {"py", "md"}}


def test_what_the_page_and_the_mutants_name_in_consensus_is_there() -> None:
    named = _functions(PAGE.read_text()) | _functions("\n".join(run.undoes for run in RUNS))
    assert len(named) > 30
    for module, name in sorted(named):
        found = importlib.import_module(f"consensus.{module}")
        holders = [found, *(item for item in vars(found).values() if isinstance(item, type))]
        fields = {field for item in holders for field in getattr(item, "__annotations__", {})}
        fields |= set(re.findall(r"\bself\.(\w+)", inspect.getsource(found)))
        assert any(hasattr(item, name) for item in holders) or name in fields, f"{module}.{name}"


def test_the_page_names_every_run() -> None:
    page = PAGE.read_text()
    assert [run.label for run in RUNS if f"`{run.name}`" not in page] == []


@needs_spin
def test_a_search_is_not_run_twice_unless_it_failed_or_its_line_was_cut(tmp_path: Path) -> None:
    done, failed = read(PROPER, DONE, 1.0, ""), read(MUTANT, DONE, 1.0, "")
    kept = Kept(FULL, tmp_path)
    kept.add(done)
    kept.add(failed)
    again = Kept(FULL, tmp_path)
    assert again.find(PROPER) == done
    assert again.find(MUTANT) is None
    assert again.find(replace(PROPER, defines=("HEIGHTS=2",))) is None
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text()[:-20])
    assert Kept(FULL, tmp_path).find(PROPER) is None
