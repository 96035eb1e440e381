"""The author's kit: starter, pytest plugin, tracebacks, coverage, governance in memory, names for editors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from contracts.cli import contract
from contracts.coverage import Coverage, FileCoverage, from_plain, merged, ranges, to_plain
from contracts.language.faults import ContractRejected
from contracts.pytest_plugin import Consortium
from contracts.starter import NAME, module_of
from contracts.testing import CallFailed, KitError, LocalChain

REPOSITORY = Path(__file__).parents[3]
EXAMPLES = sorted(
    [REPOSITORY / "examples/contracts/purpose_hours.py", *REPOSITORY.glob("examples/contracts/*/contract.py")]
)
SYSTEM = sorted((REPOSITORY / "contracts/system").glob("[!_]*.py"))
OUTER = """other = Contract("inner")

@export
def ask(text: str) -> int:
    if text == "":
        return 0
    elif len(text) > other.most():
        return -1
    return helper(text) + 1

def helper(text):
    for part in text.split(","):
        other.check(part=part)
    return 1
"""
INNER = """@view
def most() -> int:
    return 9

@export(nested=True)
def check(part: str):
    require(part != "中", "NOT_HERE")
"""


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as an author would, with this repository's configuration out of sight."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", *options]
    command += ["--rootdir", str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def written(tmp_path: Path, name: str = "data-rules") -> Path:
    """Return the folder of a new starter."""
    folder = tmp_path / name
    done = CliRunner().invoke(contract, ["new", name, "--into", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


# --- the starter and the plugin --------------------------------------------------------------------------


@pytest.mark.parametrize("options", [["--contract-replicas"], ["-n", "2"]], ids=["replicas", "workers"])
def test_a_starter_passes_its_test_and_every_line_of_it_ran(tmp_path: Path, options: list[str]) -> None:
    folder = written(tmp_path)
    assert CliRunner().invoke(contract, ["check", str(folder / "data_rules.py")]).exit_code == 0
    done = pytest_in(folder, "--contract-coverage", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "data_rules.py: 100 % of " in done.stdout


def test_a_failing_test_shows_the_line_of_the_contract_and_lines_that_never_ran(tmp_path: Path) -> None:
    folder = written(tmp_path)
    test = folder / "test_data_rules.py"
    first = test.read_text().partition("def test_too_few")[0]
    call = 'call("data-rules", "set_purpose", purpose="x", min_group=1)'
    last = f'def test_more(chain):\n    chain.as_("rival").{call}\n'
    test.write_text(first + last)
    done = pytest_in(folder, "--contract-coverage")
    assert done.returncode == 1
    assert "E         data-rules.set_purpose, data_rules.py:26" in done.stdout
    assert "E           raise Denied\nE           ^^^^^^^^^^^^\nE       NOT_OWNER" in done.stdout
    assert "contracts/testing.py" not in done.stdout
    assert "not run: 27, " in done.stdout


@pytest.mark.parametrize("name", ["", "Data", "-x", "a b", "x" * 65, "../x", "é"])
def test_a_starter_needs_a_name_that_the_ledger_takes(tmp_path: Path, name: str) -> None:
    done = CliRunner().invoke(contract, ["new", "--into", str(tmp_path / "a"), "--", name])
    assert done.exit_code == 1
    assert "cannot name a contract" in done.output
    assert not (tmp_path / "a").exists()


def test_a_starter_never_writes_over_files(tmp_path: Path) -> None:
    folder = written(tmp_path)
    done = CliRunner().invoke(contract, ["new", "data-rules", "--into", str(folder)])
    assert (done.exit_code, "not an empty folder" in done.output) == (1, True)


@pytest.mark.parametrize(("name", "module"), [("a.b-c", "a_b_c"), ("7days", "contract_7days"), ("x", "x")])
def test_a_file_name_follows_from_the_contracts_name(name: str, module: str) -> None:
    assert NAME.fullmatch(name)
    assert module_of(name) == module


def test_the_fixtures_are_there_in_every_test(local_chain: LocalChain, local_consortium: Consortium) -> None:
    local_chain.deploy(INNER, "inner")
    assert local_chain.view("inner", "most") == 9
    assert local_consortium("bank").view("orgs", "active_members") == ["bank"]


# --- tracebacks ------------------------------------------------------------------------------------------


def test_a_traceback_goes_through_contracts_and_points_at_each_line() -> None:
    chain = LocalChain("bank")
    chain.deploy(INNER, "inner")
    chain.deploy(OUTER, "outer")
    with pytest.raises(CallFailed) as failed:
        chain.as_("bank").call("outer", "ask", text="a,中")
    assert str(failed.value).split("\n") == [
        f"outer.ask: reverted, {chain.gas_of()} gas",
        "  outer.ask, outer:9",
        "    return helper(text) + 1",
        "           ^^^^^^^^^^^^",
        "  outer.helper, outer:13",
        "    other.check(part=part)",
        "    ^^^^^^^^^^^^^^^^^^^^^^",
        "  inner.check, inner:7",
        '    require(part != "中", "NOT_HERE")',
        "    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
        "NOT_HERE",
    ]


def test_a_traceback_says_what_was_wrong_beyond_the_code() -> None:
    chain = LocalChain("bank")
    chain.deploy("@export\ndef f(x):\n    while x[5] > 0:\n        x = 0\n", "f")
    with pytest.raises(CallFailed, match=r"    while x\[5\] > 0:\n          \^{8}\nINDEX_ERROR: "):
        chain.as_("bank").call("f", "f", x=[1])
    with pytest.raises(CallFailed, match=r"^f.g: reverted, \d+ gas\nUNKNOWN_METHOD: contract f exports "):
        chain.as_("bank").call("f", "g")


def test_deploying_names_the_file_that_is_refused_or_whose_init_fails(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("import os\n")
    with pytest.raises(ContractRejected, match=rf"{file}:1:1: IMPORT"):
        LocalChain().deploy(file, "wrong")
    file.write_text('@init\ndef setup(n: int):\n    require(n > 5, "SMALL")\n')
    chain = LocalChain()
    with pytest.raises(CallFailed, match=rf"{file}:3\n(.*\n)+SMALL"):
        chain.deploy(file, "wrong", init={"n": 3})
    with chain.expect_revert("SMALL"):
        chain.deploy(file, "wrong", init={"n": 3})


def test_a_run_names_the_file_whatever_goes_wrong(tmp_path: Path) -> None:
    file = tmp_path / "rules.py"
    file.write_text(
        '@init\ndef setup(n: int):\n    require(n > 5, "SMALL")\n\ndef f(x):\n    return x // 0\n'
    )

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(contract, ["run", str(file), "--call", "f", *words])
        return done.exit_code, done.output

    assert run("--args", "[1]")[1].endswith(
        f"{file}:6\n    return x // 0\n    ^^^^^^^^^^^^^\nZERO_DIVISION: // by 0\n"
    )
    assert run("--init", '{"n": 1}')[0] == 1
    assert f'{file}:3\n    require(n > 5, "SMALL")' in run("--init", '{"n": 1}')[1]
    file.write_text("import os\n")
    assert run()[1].startswith(f"rejected: {file}:1:1: IMPORT")


# --- coverage --------------------------------------------------------------------------------------------


def test_coverage_tells_which_lines_ran_and_changes_no_outcome() -> None:
    covered, plain = LocalChain("bank", coverage=Coverage()), LocalChain("bank")
    for chain in (covered, plain):
        chain.deploy(INNER, "inner")
        chain.deploy(OUTER, "outer")
        chain.as_("bank").call("outer", "ask", text="a,b")
    assert covered.last == plain.last
    report = {file.name: file for file in covered.coverage()}
    assert report["outer"].possible == {5, 6, 7, 8, 9, 12, 13, 14}
    assert report["outer"].missed == (6, 8)
    assert report["outer"].render() == "outer: 75 % of 8 lines; not run: 6, 8"
    assert report["inner"].render() == "inner: 100 % of 2 lines"
    with pytest.raises(KitError, match="coverage=Coverage"):
        plain.coverage()


def test_coverage_of_several_processes_adds_up() -> None:
    one = FileCoverage("a", frozenset({1, 2, 3}), frozenset({1}))
    two = FileCoverage("a", frozenset({1, 2, 3}), frozenset({3}))
    assert merged(from_plain(to_plain([one, two])))[0].missed == (2,)
    assert ranges([1, 2, 3, 5, 7, 8]) == ["1-3", "5", "7-8"]


# --- governance in memory --------------------------------------------------------------------------------

VERSION = """count = Var(int, 0)

@init
def setup(start: int):
    count.set(start)

@migrate
def migrate(more: int):
    require(more > 0, "NOTHING_TO_ADD")
    count.set(count.get() + more)

@view
def value() -> int:
    return count.get() + {extra}
"""


def test_members_adopt_a_contract_and_its_next_version() -> None:
    chain = LocalChain.consortium("bank", "bureau", "registry")
    assert chain.adopt(VERSION.format(extra=0), "counter", {"start": 5}) == 1
    chain.advance(height=1)
    assert chain.view("counter", "value") == 5
    with chain.expect_revert("NOTHING_TO_ADD"):
        chain.adopt(VERSION.format(extra=100), "counter", {"more": 0})
    assert chain.view("counter", "value") == 5
    assert chain.adopt(VERSION.format(extra=100), "counter", {"more": 2}) == 3
    chain.advance(height=1)
    assert chain.view("counter", "value") == 107
    with pytest.raises(KitError, match=r"LocalChain\.consortium"):
        LocalChain("bank").adopt(VERSION.format(extra=0), "counter")


# --- names for editors -----------------------------------------------------------------------------------


def test_type_checkers_accept_every_contract_with_the_names_for_editors(tmp_path: Path) -> None:
    """mypy has no notion of `__builtins__.pyi`, so each copy imports what Pyright finds by itself.

    No checker can know that a value is not None after `require(x is not None, "CODE")`, nor that
    `require(False, "CODE")` ends a function, hence the options.
    """
    files = []
    (tmp_path / "names.pyi").write_text((REPOSITORY / "contracts/assent.pyi").read_text(encoding="utf-8"))
    starter = written(tmp_path) / "data_rules.py"
    for file in [*EXAMPLES, *SYSTEM, starter]:
        copy = tmp_path / f"checked_{file.parent.name}_{file.name}"
        copy.write_text("from names import *\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
        files.append(str(copy))
    wrong = tmp_path / "wrong.py"
    wrong.write_text('from names import *\nm = Map(str, int)\n\ndef f() -> str:\n    return m["a"]\n')
    options = ["--config-file=", f"--cache-dir={tmp_path}/cache", "--no-error-summary"]
    options += ["--no-strict-optional", "--disable-error-code=return"]
    for checked, expected in ((files, ""), ([str(wrong)], 'got "int", expected "str"')):
        command = [sys.executable, "-m", "mypy", *options, *checked]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (expected in done.stdout) if expected else done.stdout == "", done.stdout
