"""What the commands print: foreign text stands as it is, and no terminal obeys it."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from chain.api.render import header_json
from chain.audit.text import shown
from chain.cli import ledger
from chain.cli.ledger import spaced
from chain.cli.status import _print_status
from chain.client import console
from chain.client.console import (
    folded_lines,
    print_folded,
    print_json,
    print_lines,
    print_table,
    print_text,
    reports_errors,
)
from chain.ledger.testing import ToyChain, toy_genesis
from chain.primitives.errors import AssentError, Exit, Noted
from chain.primitives.visible import json_text, one_line, visible
from chain.primitives.words import duration

ROOT = Path(__file__).parents[4]
PRINTS_FOR_PROGRAMS = {"contracts/selfcheck.py"}
"""It writes one line that another process of ours reads."""
SAFE = {"visible", "json_text", "one_line"}
HOSTILE = "ballots[ballot] = votes; x [/foo] y [bold]z[/] :smile: \\[a] [link=file:///etc]l[/link]"


def _sources() -> Iterator[tuple[str, ast.AST]]:
    for folder in ("chain", "consensus", "contracts", "privcompute"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield (dotted end of the function's name, call)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def _is_safe(value: ast.expr) -> bool:
    if isinstance(value, ast.Constant):
        return True
    if isinstance(value, ast.IfExp):
        return _is_safe(value.body) and _is_safe(value.orelse)
    if isinstance(value, ast.BinOp):
        return _is_safe(value.left) and _is_safe(value.right)
    return isinstance(value, ast.Call) and ast.unparse(value.func) in SAFE


def test_only_the_console_knows_rich_and_nothing_is_printed_that_was_not_made_safe() -> None:
    faults, seen = [], 0
    for name, tree in _sources():
        for node in ast.walk(tree):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(m.split(".")[0] == "rich" for m in modules) and name != "chain/client/console.py":
                faults.append(f"{name}:{node.lineno}: imports rich")  # type: ignore[attr-defined]
        for called, call in _calls(tree):
            if called == "_put" and name == "chain/client/console.py":
                seen += 1
                if not _is_safe(call.args[0]):
                    faults.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
            raw = called.endswith(("console.print", "from_markup", "stdout.write", "stderr.write"))
            if called.endswith("echo") and not all(_is_safe(arg) for arg in call.args):
                faults.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
            if raw and ast.unparse(call) != "terminal.print(table, width=width, crop=False)":
                faults.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
            if called == "print" and name not in PRINTS_FOR_PROGRAMS:
                faults.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
            if called == "click.ClickException" and not all(_is_safe(arg) for arg in call.args):
                faults.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
    assert not faults, "\n".join(faults)
    assert seen == 2


def test_rich_reads_no_markup_anywhere_in_the_console() -> None:
    tree = ast.parse(Path(console.__file__).read_text())
    made = [call for called, call in _calls(tree) if called in ("Console", "TextColumn")]
    assert len(made) == 2
    for call in made:
        settings = {item.arg: ast.unparse(item.value) for item in call.keywords}
        assert settings.get("markup") == "False", ast.unparse(call)


def test_square_brackets_stand_in_text_tables_titles_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    print_text(HOSTILE)
    assert capsys.readouterr().out == HOSTILE + "\n"
    print_table("t [votes_damaged]", ["c [red]"], [["a[b] [/foo]"], [["x[0]", "[/y]"]], [None], [3]])
    table = capsys.readouterr().out
    for piece in ("t [votes_damaged]", "c [red]", "a[b] [/foo]", "x[0]", "[/y]", "3"):
        assert piece in table

    class Bad(AssentError):
        code = "bad"

    @reports_errors
    def command() -> None:
        raise Bad("no [/foo] \x1b[31m")

    with pytest.raises(SystemExit):
        command()
    assert capsys.readouterr().err == "error [bad]: no [/foo] \\x1b[31m\n"


def test_foreign_words_in_a_line_begin_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("for x\n  approved by everybody\r")
    print_lines("one\ntwo\r")
    assert capsys.readouterr().out == "for x\\n  approved by everybody\\r\none\ntwo\\r\n"


def test_what_a_terminal_would_obey_is_an_escape() -> None:
    assert visible("a\x1b]0;t\x07\x9b\tb\u202ec\u2066\ud800\n") == (
        "a\\x1b]0;t\\x07\\x9b\\tb\\u202ec\\u2066\\ud800\n"
    )
    assert visible("čeština 数据 [a]") == "čeština 数据 [a]"
    assert one_line("a\nall proofs hold\r") == "a\\nall proofs hold\\r"
    assert shown("x\u202ey\n") == "x\\u202ey\\n"


def test_json_is_safe_to_print_and_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a": "ü[b]\x1b\x7f\x9b\u202e\U000e0001\n", "\u2066": [1]}
    print_json(value)
    text = capsys.readouterr().out
    assert json.loads(text) == value == json.loads(json_text(value))
    assert all(char == "\n" or char.isprintable() for char in text)
    assert "ü[b]" in text


def test_tx_get_prints_a_contract_as_it_is_on_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    args = {"source": "ballots[ballot] = votes", "why": "x [/foo] y\u202e"}
    answer = {"id": "ab", "status": "ok", "height": 3, "contract": "lifecycle", "method": "propose",
              "args": args, "sender": "cd", "validUntil": 9}  # fmt: skip

    def run(work: object) -> object:
        work.close()  # type: ignore[attr-defined]
        return answer

    monkeypatch.setattr(ledger, "run", run)
    found = CliRunner().invoke(ledger.tx, ["get", "ab", "--node", "http://127.0.0.1:1"])
    assert found.exit_code == 0, found.output
    assert "ballots[ballot] = votes" in found.output
    assert "x [/foo] y\\u202e" in found.output


def test_a_hash_among_facts_stays_in_one_piece(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty-four digits broke over two lines, and could not be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    key = "ab" * 32
    rows = [["a long name of a fact", key], ["keys", [f"{key}  admin, active", key]]]
    print_table("facts", ["field", "value"], rows)
    assert capsys.readouterr().out.count(key) == 3
    print_table("transactions", ["id"], [[key]])
    assert key in capsys.readouterr().out


def test_a_table_is_as_wide_as_the_terminal_whatever_its_encoding_lacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Escapes took the places of characters after the rows had been laid out."""
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(held := io.BytesIO(), encoding="ascii"))
    print_table("数据", ["name", "what", "who"], [["銀行", "データ" * 20, "é" * 30]])
    sys.stdout.flush()
    lines = held.getvalue().decode("ascii").splitlines()
    assert max(map(len, lines)) <= 80
    assert "\\u" in lines[0]


def test_a_table_is_as_wide_as_columns_says_when_it_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What COLUMNS said when the module was imported held for ever."""
    found = importlib.util.spec_from_file_location("console_again", console.__file__)
    assert found is not None
    assert found.loader is not None
    again = importlib.util.module_from_spec(found)
    monkeypatch.setenv("COLUMNS", "160")
    found.loader.exec_module(again)
    monkeypatch.setenv("COLUMNS", "80")
    again.print_table("t", ["name", "what"], [["a", "word " * 40]])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("ms", "said"),
    [(604_800_000, "7 days"), (3_600_000, "1 hour"), (5_400_000, "90 minutes"), (20, "20 ms"), (0, "0 ms")],
)
def test_a_duration_is_said_in_the_unit_that_divides_it(ms: int, said: str) -> None:
    assert duration(ms) == said


def test_lists_of_facts_with_hashes_fit_a_terminal_of_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`org show`, `block show` and `proposal show` were up to 88 columns wide."""
    monkeypatch.setenv("COLUMNS", "80")
    header = [spaced(name) for name in header_json(ToyChain(toy_genesis()).ledger.head_header)]
    assert "validators hash" in header
    key = "ab" * 32
    for names in (header, ["member since height", "key"], ["committed", "not before"]):
        print_table("facts", ["field", "value"], [[name, f"{key}  admin, active"] for name in names])
        lines = capsys.readouterr().out.splitlines()
        assert max(len(line.rstrip()) for line in lines) <= 80
        assert sum(key in line for line in lines) == len(names)
        for word in {word for name in names for word in name.split()}:
            assert any(word in line for line in lines), word


@pytest.mark.parametrize("name", ["committed", "not before", "proposed by"])
def test_a_name_of_few_words_stands_on_one_line_beside_a_hash(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_table("proposal 1", ["field", "value"], [["hash", "ab" * 32], [name, "height 12"]])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "height" in line]
    assert line.split() == [*name.split(), "height", "12"]


def test_a_long_line_goes_on_between_words_and_leaves_a_command_in_one_piece(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Notes of `status` were lines of 300 characters. What is foreign in one begins no other."""
    text = "a: 2 of 4 validators\nx, and more; run `assent node rebuild /srv` or assent stop --as /srv/a b"
    monkeypatch.setenv("COLUMNS", "30")
    print_folded(text, under=3)
    assert capsys.readouterr().out.splitlines() == [
        "a: 2 of 4 validators\\nx, and",
        "   more; run",
        "   `assent node rebuild /srv`",
        "   or",
        "   assent stop --as /srv/a b",
    ]
    monkeypatch.delenv("COLUMNS")
    print_folded(text)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_the_table_of_status_fits_a_terminal_of_80_columns_and_folds_no_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It said regulator-n, and ode below."""
    monkeypatch.setenv("COLUMNS", "80")
    node = {
        "org": "regulator",
        "state": "running",
        "height": 1_234_567,
        "view": 12,
        "peers": 3,
        "pool": 50_000,
    }
    more = {
        "primary": "regulator-node",
        "phase": "asking for view 3: 2",
        "stall": "",
        "notes": [],
        "offences": [],
    }
    _print_status([node | more], [])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    (line,) = [line for line in lines if line.startswith(" regulator")]
    assert "regulator-node" in line
    assert "running" in line


@pytest.mark.parametrize(
    ("as_json", "said"), [(False, "1 of 2 keys\n"), (True, '{\n "noted": {\n  "digest": "ab"\n }\n}\n')]
)
def test_a_call_that_was_noted_is_told_on_standard_output_with_a_status_of_its_own(
    as_json: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @reports_errors
    def command(as_json: bool) -> None:
        raise Noted("1 of 2 keys", {"digest": "ab" if as_json else ""})

    with pytest.raises(SystemExit) as ended:
        command(as_json=as_json)
    assert ended.value.code == Exit.NOTED
    assert capsys.readouterr() == (said, "")


def test_lines_of_an_error_go_on_between_words_further_in_and_commands_stay_whole() -> None:
    first = "error [page_refused]: page.py:7:13: GROUP: groups are bits, one for each row; instead: one_hot"
    second = "page.py:9:5: NOISE: ask: assent program check page.py --as consortium/bank --plan"
    shown = folded_lines(f"{first}\n{second}", 60).split("\n")
    assert " ".join(" ".join(shown).split()) == f"{first} {second}"
    assert max(len(line) for line in shown if "assent program" not in line) <= 60
    assert [line for line in shown if not line.startswith("      ")] == [shown[0], shown[2]]
    assert sum("assent program check page.py --as consortium/bank --plan" in line for line in shown) == 1
