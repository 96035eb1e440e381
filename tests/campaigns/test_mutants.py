"""Mutants: what is generated, what stands by hand, and that a mutant which changes anything is noticed."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from contracts import system
from contracts.runtime import ContractRuntime
from tests.campaigns import mutants, named, operators
from tests.campaigns.edits import ROOT, Mutant
from tests.campaigns.equivalent import EQUIVALENT
from tests.campaigns.isolation import Nursery, TooLong, limit_cpu
from tests.campaigns.verdicts import CALLED, sources
from tests.simulation.storm import STEPS, simulate

SOURCE = '''
"""A module."""
LIMIT = 5

def f(a: int, b: list[int]) -> bool:
    """Say > or <."""
    if a < LIMIT and b:
        b.append(1)
        raise ValueError(f"{a + 1} is too few")
    assert a > 2
    return max(b) >= a
'''
PROTOCOL = sorted(
    path for path in (ROOT / "consensus").glob("*.py") if path.name not in operators.SILENT_FILES
)


def test_the_mutants_of_a_function_are_all_there_is_to_change_in_it() -> None:
    """Not the declarations, the docstring, the text of the error or the assertion."""
    made = operators.mutate("consensus/x.py", SOURCE)
    assert [(m.name.removeprefix("x.py:f:"), m.after) for m in made] == [
        ("never:1", "if False:"),
        ("always:1", "if True:"),
        ("drop-term:1", "if ((b)):"),
        ("drop-term:2", "if ((a < LIMIT)):"),
        ("other-word:1", "if ((a < LIMIT) or (b)):"),
        ("boundary:1", "if (a <= LIMIT) and b:"),
        ("negate:1", "if (a >= LIMIT) and b:"),
        ("drop-call:1", "pass"),
        ("off-by-one:1", "b.append(2)"),
        ("off-by-one:2", "b.append(0)"),
        ("drop-raise:1", "pass"),
        ("return-constant:1", "return True"),
        ("return-constant:2", "return False"),
        ("boundary:2", "return (max(b) > a)"),
        ("negate:2", "return (max(b) < a)"),
        ("other-call:1", "return min(b) >= a"),
    ]
    assert {m.before for m in made} == {
        "if a < LIMIT and b:",
        "b.append(1)",
        'raise ValueError(f"{a + 1} is too few")',
        "return max(b) >= a",
    }
    for mutant in made:
        assert ast.dump(ast.parse(mutant.source(SOURCE))) != ast.dump(ast.parse(SOURCE))


@pytest.mark.parametrize("path", PROTOCOL, ids=lambda path: path.name)
def test_every_file_of_the_protocol_has_mutants_with_names_of_their_own(path: Path) -> None:
    text = path.read_text()
    made = operators.mutate(f"consensus/{path.name}", text)
    assert made
    assert len({mutant.name for mutant in made}) == len(made)
    for mutant in made[:: max(1, len(made) // 20)]:
        changed = mutant.source(text)
        compile(changed, mutant.name, "exec")
        assert changed != text


def test_a_sample_covers_every_file_and_stays_mostly_the_same_when_it_grows() -> None:
    small, large = (mutants.generated(size, seed=0) for size in (160, 320))
    assert len(small) >= 100
    counts = Counter(mutant.file for mutant in small)
    assert {f"consensus/{path.name}" for path in PROTOCOL} == set(counts)
    assert min(counts.values()) >= mutants.FILE_MIN
    assert {mutant.name for mutant in small} <= {mutant.name for mutant in large}
    assert [m.name for m in small] == [m.name for m in mutants.generated(160, seed=0)]


def test_every_mutant_by_hand_applies_to_the_source_as_it_is() -> None:
    """A stale row names a rule that nobody tries to break any more: let it say the same of the new text."""
    placed, stale = mutants.by_hand()
    assert stale == []
    assert len(placed) == len(named.ROWS) >= 66
    assert len({row.name for row in named.ROWS}) == len(named.ROWS)


def test_a_row_that_applies_nowhere_or_twice_is_stale() -> None:
    for pattern, count in (("b.extend(1)", 0), ("a", 5)):
        row = named.Row("x", "x", "f", pattern, "pass")
        assert f"{count} times, not once" in str(named.place(row, SOURCE))
    assert "has no function g" in str(named.place(named.Row("x", "x", "g", "a", "b"), SOURCE))
    placed = named.place(named.Row("x", "x", "f", "b . append( 1 )", "pass"), SOURCE)
    assert isinstance(placed, Mutant)
    assert placed.lines == (8, 8)


def test_arguments_of_equivalence_are_about_mutants_that_exist() -> None:
    """An argument holds for one change of one place; it goes when the place does."""
    everything = {mutant.name: mutant for mutant in [*mutants.generated(10**6, 0), *mutants.by_hand()[0]]}
    for name, argument in EQUIVALENT.items():
        assert name in everything, f"{name}: no such mutant any more"
        mutant = everything[name]
        assert (argument.before, argument.after) == (mutant.before, mutant.after), name
        assert len(argument.why) > 40


TRIAL = """
import json, sys
from pathlib import Path
from tests.campaigns import mutants
from tests.campaigns.edits import ROOT, Edit, Mutant
from tests.campaigns.verdicts import Verdicts

def inserted(name, text):
    at = (ROOT / "consensus/selection.py").read_bytes().index(b"return (item.view, item.payload_digest)")
    return Mutant(name, "consensus/selection.py", "_rank", "by hand", (1, 999), "", text, Edit(at, at, text))

lethal = [mutant for mutant in mutants.by_hand()[0] if mutant.name in ("sel-base-min", "auth-prepared-q-1")]
texts = {"idle": "0; ", "endless": "exec('while True: pass'); ", "broken": "1 / 0; "}
made = [*lethal, *(inserted(name, text) for name, text in texts.items())]
plan = mutants.Plan(made, [], 1, 2, ("unit",))
outcome = mutants.Campaign(plan, Verdicts.load(Path(sys.argv[1])), lambda line: None).run()
print(json.dumps([sorted(outcome.caught), [mutant.name for mutant in outcome.survivors]]))
"""


def test_what_breaks_a_rule_is_caught_and_what_changes_nothing_survives(tmp_path: Path) -> None:
    """A quorum too small, an endless loop and an error are noticed; an idle statement is not, and a second
    run believes the first."""
    for _ in range(2):
        command = [sys.executable, "-c", TRIAL, str(tmp_path / "verdicts")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        caught, survivors = json.loads(done.stdout)
        assert caught == ["auth-prepared-q-1", "broken", "endless", "sel-base-min"]
        assert survivors == ["idle"]
    assert len((tmp_path / "verdicts").read_text().splitlines()) == 5


def _spin(say: object) -> None:
    del say
    limit_cpu(0.2)
    while True:
        pass


def _spin_through_everything(say: object) -> None:
    del say
    while True:
        try:
            while True:
                pass
        except Exception:
            continue


def _hoard(say: object) -> None:
    del say
    hoard = []
    while True:
        hoard.append(bytes(1 << 24))


def _die(say: object) -> None:
    say({"begins": "the last one"})  # type: ignore[operator]
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("work", "death"),
    [
        (_spin, "TooLong"),
        (_spin_through_everything, "out of CPU time"),
        (_hoard, "MemoryError"),
        (_die, "signal 9"),
    ],
)
def test_whatever_a_child_does_it_ends_and_its_parent_is_told(work: object, death: str) -> None:
    nursery = Nursery()
    nursery.start(partial(work), cpu_s=1.0)  # type: ignore[arg-type]
    _, end = nursery.wait()
    assert end.result is None
    assert death in end.death
    assert end.began == ("the last one" if work is _die else "")
    assert nursery.children == {}


def test_a_limit_of_cpu_time_is_no_exception_that_code_may_swallow() -> None:
    assert not issubclass(TooLong, Exception)


def test_the_simulator_calls_no_contract_whose_text_its_results_do_not_depend_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Results of the simulator stay on record while the others change."""
    called: set[str] = set()
    find = ContractRuntime._method

    def watched(runtime: ContractRuntime, machine: Any, contract: str, method: str) -> Any:
        called.add(contract)
        return find(runtime, machine, contract, method)

    monkeypatch.setattr(ContractRuntime, "_method", watched)
    for seed in range(14, 18):
        simulate(seed, steps=STEPS // 2)
    kept = {path.stem for path in sources("simulator") if path.parent == ROOT / "contracts/system"}
    assert called == CALLED
    assert kept == {*system.sources()} & CALLED
