"""Commands about libraries: what an author reads of a file, of a failure, and of words that fit nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chain.cli.main import main
from contracts.language.ir import source_hash

LIBRARY = """LIMIT = 3

class Row(Record):
    key: str
    n: int = 2

def few(count: int, most: int = LIMIT) -> int:
    require(count < most, "TOO_MANY")
    return count

def _own():
    return 1
"""
DIGEST = source_hash(LIBRARY).hex()
CONTRACT = f'lib = Library("{DIGEST}")\n\n@export\ndef f(n: int) -> int:\n    return lib.few(n)\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib.py").write_text(LIBRARY)
    (tmp_path / "use.py").write_text(CONTRACT)
    return tmp_path


def run(*words: str) -> Result:
    node = [] if words[0] in ("check", "run") else ["--node", "http://127.0.0.1:1"]
    done = CliRunner().invoke(main, ["contract", *words, *node], env={"ASSENT_AS": ""})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.mark.usefixtures("folder")
def test_the_check_of_a_library_prints_its_hash_and_what_contracts_may_use() -> None:
    done = run("check", "lib.py", "--as-library")
    assert done.output.splitlines()[1:] == [
        "  few(count: int, most: int = 3) -> int",
        "  record Row(key: str, n: int = 2)",
        "  LIMIT: int",
    ]
    assert DIGEST in done.output
    found = json.loads(run("check", "lib.py", "--as-library", "--json").output)
    assert found["status"] == "ok"
    assert found["source_hash"] == DIGEST


@pytest.mark.usefixtures("folder")
def test_the_check_of_a_contract_finds_its_library_among_the_files_that_are_given() -> None:
    done = run("check", "use.py", "--library", "lib.py")
    assert (done.exit_code, f"  library lib {DIGEST}" in done.output) == (0, True), done.output
    without = run("check", "use.py")
    assert without.exit_code == 1
    assert f"UNKNOWN_LIBRARY: there is no library with hash {DIGEST}" in without.output
    assert "--library FILE" in without.output


def test_a_library_that_is_refused_is_told_in_its_own_line(folder: Path) -> None:
    (folder / "bad.py").write_text("def f():\n    return ctx.org\n")
    done = run("check", "bad.py", "--as-library")
    assert done.exit_code == 1
    assert "bad.py:2:12: LIBRARY: a library has no ctx" in done.output
    (folder / "named.py").write_text(
        CONTRACT.replace(DIGEST, source_hash("def f():\n    return ctx.org\n").hex())
    )
    done = run("check", "named.py", "--library", "bad.py")
    assert "named.py:1:7: LIBRARY" in done.output
    assert "is refused, line 2: LIBRARY: a library has no ctx" in done.output


@pytest.mark.usefixtures("folder")
def test_a_failure_in_a_library_shows_the_line_of_each_file() -> None:
    done = run("run", "use.py", "--library", "lib.py", "--call", "f", "--args", '{"n": 3}')
    for part in ("use.py:5", "return lib.few(n)", f"library {DIGEST[:16]}: few, lib.py:8", "TOO_MANY"):
        assert part in done.output, done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "lib.py", "--as-library", "--library", "use.py"), "a library names none"),
        (("check", "use.py", "--library", "nothing.py"), "nothing.py"),
        (("libraries", "--source"), "--source needs the HASH"),
        (("libraries", "xyz"), "16 to 64 hex digits"),
        (("libraries", DIGEST.upper()), "16 to 64 hex digits"),
        (("libraries", DIGEST + "00"), "16 to 64 hex digits"),
        (("withdraw-library", DIGEST[:15]), "16 to 64 hex digits"),
        (("publish", "nothing.py"), "nothing.py"),
        (("publish", "use.py"), "use.py is not a library, and was not sent"),
        (("publish", "."), "cannot be read"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_words_that_fit_nothing_are_told_with_what_would(words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.exit_code != 0
    assert said in " ".join(done.output.split()), done.output
