"""Campaigns' results on record, and documents that quote them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from tests.campaigns import lane, record, seeds, verdicts
from tests.campaigns.__main__ import WIDTH, is_full, main

ENTRY = record.Entry(
    commit="0" * 40,
    dirty=False,
    date="2026-01-02",
    seeds="0..4999",
    size="5000 seeds over n of 1, 4, 5, 7, 10",
    minutes=83.5,
    figures={"blocks": 123456, "slowest recovery s": 41.5, "survivors": 0},
    outcome="passed",
)


def test_every_result_on_record_has_the_form_of_one_and_names_a_campaign() -> None:
    assert record.load().keys() <= set(main.commands) - {"list"}


def test_every_quoted_figure_is_on_record() -> None:
    entries = record.load()
    wrong = {
        str(path.relative_to(record.ROOT)): found
        for path in record.documents()
        if (found := record.misquoted(path.read_text(encoding="utf-8"), entries))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("5,000 seeds ran clean, 123,456 blocks <!-- campaign:seeds -->", []),
        ("n = 10: slowest recovery 41.5 s, seeds 0..4999 <!-- campaign:seeds -->", []),
        ("4,000 seeds <!-- campaign:seeds -->", ["campaign seeds: 4000 is none of its figures"]),
        ("4,000 seeds", []),
        ("<!-- campaign:ports -->", []),
        (
            "1 flood <!-- campaign:ports -->",
            ["campaign ports: no entry; quoted in '1 flood <!-- campaign:ports -->'"],
        ),
    ],
)
def test_a_marked_line_quotes_the_figures_of_its_campaign_and_no_others(line: str, wrong: list[str]) -> None:
    assert record.misquoted(f"before\n{line}\nafter 77", {"seeds": ENTRY}) == wrong


def test_a_new_result_takes_the_place_of_the_old_and_leaves_the_others(tmp_path: Path) -> None:
    book = tmp_path / "campaigns.json"
    record.save("seeds", ENTRY, book)
    record.save("mutants", ENTRY, book)
    failed = ENTRY.model_copy(update={"outcome": "failed", "failures": ("seed 7",)})
    record.save("seeds", failed, book)
    assert record.load(book) == {"seeds": failed, "mutants": ENTRY}


@pytest.mark.parametrize(
    "change", [{"commit": "HEAD"}, {"figures": {}}, {"outcome": "perhaps"}, {"notes": "x"}, {"minutes": -1}]
)
def test_what_is_no_result_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    book = tmp_path / "campaigns.json"
    book.write_text(json.dumps({"seeds": ENTRY.model_dump(mode="json") | change}))
    with pytest.raises(ValidationError):
        record.load(book)


RESULT = {"seeds": "1", "size": "small", "figures": {"states": 7}, "failures": []}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], lane.Program]:
    """Make a program of a text."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(text: str) -> lane.Program:
        (tmp_path / "campaign_of_a_test.py").write_text(text)
        return lane.Program("model", "a model", "campaign_of_a_test")

    return make


@pytest.mark.parametrize(
    ("result", "status", "outcome", "failures"),
    [
        (RESULT, 0, "passed", ()),
        (RESULT, 3, "failed", ("exit status 3",)),
        (RESULT | {"failures": ["M1: agreement"]}, 0, "failed", ("M1: agreement",)),
    ],
)
def test_a_program_passes_if_it_exits_with_0_and_names_no_failure(
    program: Callable[[str], lane.Program],
    result: dict[str, object],
    status: int,
    outcome: str,
    failures: tuple[str, ...],
) -> None:
    said: list[str] = []
    text = f"import sys; print('on the way'); print({json.dumps(result)!r}); sys.exit({status})"
    entry = lane.run(program(text), (), said.append)
    assert (entry.outcome, entry.failures, entry.figures) == (outcome, failures, {"states": 7})
    assert said == ["on the way"]


@pytest.mark.parametrize("text", ["print('done')", "pass", "print('[]')", "print('{}')"])
def test_a_program_that_tells_no_result_is_no_success(
    program: Callable[[str], lane.Program], text: str
) -> None:
    with pytest.raises(lane.NoResult, match="its last line is no result"):
        lane.run(program(text), (), print)


def test_the_list_shows_every_campaign_within_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    wordy = ENTRY.model_copy(update={"outcome": "failed", "failures": ("x" * 300,)})
    monkeypatch.setattr(record, "load", lambda: {"seeds": wordy})
    shown = CliRunner().invoke(main, ["list"])
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert {line.split()[0] for line in lines if line[:1].strip()} == set(main.commands) - {"list"}
    assert any("blocks 123456" in line for line in lines)


@pytest.mark.parametrize("row", lane.PROGRAMS, ids=lambda row: row.name)
def test_what_a_campaign_is_fits_its_line_of_the_list(row: lane.Program) -> None:
    assert len(row.what) <= WIDTH - 10


def test_what_a_seed_depends_on_holds_every_module_that_the_simulator_loads() -> None:
    code = (
        "import sys, pkgutil, importlib, tests.simulation as kit\n"
        "for found in pkgutil.iter_modules(kit.__path__):\n"
        "    if not found.name.startswith('test_') and found.name != '__main__':\n"
        "        importlib.import_module(f'tests.simulation.{found.name}')\n"
        "print(*[m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)], sep='\\n')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=record.ROOT, capture_output=True, text=True, check=True
    )
    own = [Path(line) for line in ran.stdout.splitlines()]
    ours = {path for path in own if path.is_relative_to(record.ROOT) and ".venv" not in str(path)}
    assert len(ours) > 100
    assert ours - verdicts.uncalled() <= verdicts.sources("simulator")


def test_seeds_that_ran_on_these_sources_are_on_record_and_not_run_again(tmp_path: Path) -> None:
    store = tmp_path / "parts" / "seeds.jsonl"
    told: list[str] = []
    first, wrong = seeds.run(2, 1, told.append, store)
    assert (first["seeds"], wrong, told) == (2, [], ["2 of 2"])
    assert seeds.run(2, 1, told.append, store) == (first, wrong)
    assert told == ["2 of 2"], "nothing ran"
    other = [replace(part, sources="of another time", commit="7" * 40) for part in seeds.read(store)]
    seeds.write(store, other)
    assert seeds.run(2, 1, told.append, store)[0]["blocks"] == first["blocks"]
    assert told[1:] == ["1 parts ran on other sources, at 7777777777: they say nothing of these", "2 of 2"]


def test_figures_of_parts_are_those_of_all_their_seeds() -> None:
    part = seeds.Part("s", "c", 0, 20, 5, 7, 1800.0, 30.0, 2.5, {"4": 15, "10": 5}, [])
    worse = replace(part, first=20, recovery_s=9.5, nodes={"4": 20}, failures=["seed 21"])
    assert seeds.figures([part, worse]) == {
        "seeds": 40, "blocks": 10, "transactions": 14, "virtual hours": 1.0, "cpu minutes": 1.0,
        "slowest recovery s": 9.5, "failed": 1, "seeds with n = 4": 35, "seeds with n = 10": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "full"),
    [
        ((), True),
        (("--jobs", "2"), True),
        (("--jobs=2",), True),
        (("--jobs", "2", "--calls", "1"), False),
        (("--calls=1",), False),
        (("--most", "3"), False),
    ],
)
def test_a_run_by_several_processes_is_on_record_and_one_that_asks_for_less_is_not(
    more: tuple[str, ...], full: bool
) -> None:
    """A whole run of a million calls with `--jobs 2` was passed, told, and recorded nowhere."""
    assert is_full(more) is full
