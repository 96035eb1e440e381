"""The author's commands, the names for editors, and the self-check."""

# ruff: noqa: E501  (tables)

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.primitives.errors import Exit
from contracts import selfcheck
from contracts.cli import contract
from contracts.language.faults import HostTrouble
from contracts.language.limits import SOURCE_BYTES_MAX
from contracts.language.vocabulary import CONTEXT, DECLARATIONS, HOST, KINDS

STUB = Path(__file__).parents[3] / "contracts" / "assent.pyi"
PLAIN = (
    "def main(n: int) -> dict:\n    return {'n': n + 1, 'raw': b'\\x01'}\n\ndef boom(xs):\n    return xs[5]\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plain.py"
    path.write_text(PLAIN, encoding="utf-8")
    return path


def invoke(*words: object) -> Result:
    """Run a command of the group."""
    return CliRunner().invoke(contract, [str(word) for word in words])


def verdict(*words: object) -> dict[str, Any]:
    """Run a contract; return the one JSON object that is printed."""
    result = invoke("run", *words, "--json")
    assert result.exit_code == 0, result.output
    assert result.output.count("\n") == 1
    made: dict[str, Any] = json.loads(result.output)
    return made


def test_run_prints_one_object_and_exits_0_whatever_the_verdict(file: Path) -> None:
    done = verdict(file, "--call", "main", "--args", '{"n": 4}')
    assert done == {
        "status": "ok", "result": {"n": 5, "raw": {"$bytes": "01"}}, "code": None, "gas": done["gas"], "line": None, "detail": None, "file": str(file),
    }  # fmt: skip
    failed = verdict(file, "--call", "boom", "--args", "[[1]]")
    assert (failed["status"], failed["code"], failed["line"]) == ("reverted", "INDEX_ERROR", 5)
    spent = verdict(file, "--call", "main", "--args", '{"n": 4}', "--gas", 410)
    assert (spent["status"], spent["code"], spent["gas"]) == ("out_of_gas", "OUT_OF_GAS", 410)
    huge = verdict(file, "--call", "main", "--args", json.dumps({"n": 2**4096 - 1}))
    assert (huge["status"], huge["code"]) == ("limit", "INT_BITS")
    assert verdict(file, "--call", "nobody")["code"] == "UNKNOWN_METHOD"
    assert verdict(file, "--call", "main")["code"] == "BAD_ARGUMENTS"
    assert verdict(file, "--call", "main", "--args", '{"n": "4"}')["code"] == "TYPE_ERROR"
    assert verdict(file, "--call", "main", "--args", "[1, 2]")["code"] == "BAD_ARGUMENTS"


def test_run_reports_a_refused_source_as_rejected(file: Path) -> None:
    file.write_text("x = 1\nimport os\n", encoding="utf-8")
    refused = verdict(file, "--call", "main")
    assert (refused["status"], refused["code"], refused["line"], refused["gas"]) == (
        "rejected",
        "IMPORT",
        2,
        0,
    )


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ("{", "give a JSON object"),
        ("5", "give a JSON object"),
        ('{"n": 1.5}', "float"),
        ('{"n": NaN}', "float"),
        ('{"n": "\\ud800"}', "surrogate"),
        ("[" * 100_000, "--args"),
        ('{"n": ' + "[" * 40 + "]" * 40 + "}", "nested"),
        (json.dumps({"n": "a" * 200_000}), "at most"),
        ('{"n": ' + "9" * 2_000 + "}", "bits"),
    ],
    ids=["cut off", "a number", "a float", "nan", "surrogate", "deep garbage", "deep", "large", "big int"],
)
def test_arguments_that_are_not_values_are_a_usage_error(file: Path, args: str, text: str) -> None:
    result = invoke("run", file, "--call", "main", "--args", args)
    assert result.exit_code == 1
    assert text in result.output


def test_arguments_beyond_the_caps_are_a_limit(file: Path) -> None:
    many = verdict(file, "--call", "boom", "--args", json.dumps([[0] * 10_001]))
    assert (many["status"], many["code"]) == ("limit", "ELEMENTS")
    long = verdict(file, "--call", "boom", "--args", json.dumps(["a" * 65_537]))
    assert (long["status"], long["code"]) == ("limit", "TEXT_LENGTH")


def test_a_value_that_encodes_to_more_than_64_kib_ends_with_a_code_that_names_the_limit(
    tmp_path: Path,
) -> None:
    source = tmp_path / "sized.py"
    source.write_text(
        "@view\ndef size(value: list) -> int:\n    return len(encode(value))\n", encoding="utf-8"
    )
    head, text_head = 1, 3
    fits = ["a" * 32_765, "b" * (65_536 - head - 2 * text_head - 32_765)]
    good = verdict(source, "--call", "size", "--args", json.dumps([fits]))
    assert (good["status"], good["result"]) == ("ok", 65_536)
    longer = [fits[0], fits[1] + "b"]
    long = verdict(source, "--call", "size", "--args", json.dumps([longer]))
    assert (long["status"], long["code"]) == ("limit", "ENCODED_BYTES")
    assert "of more than 65536 bytes" in long["detail"]


def test_check_exits_1_for_a_refused_source_and_tells_hashes_and_abi_of_a_good_one(file: Path) -> None:
    good = invoke("check", file, "--json")
    assert good.exit_code == 0
    report = json.loads(good.output)
    assert report["status"] == "ok"
    assert len(report["ir_hash"]) == len(report["source_hash"]) == 64
    file.write_text("@view\ndef f(x: float) -> int:\n    return 1\n", encoding="utf-8")
    bad = invoke("check", file, "--json")
    assert bad.exit_code == 1
    assert json.loads(bad.output)["diagnostics"][0]["rule"] == "HINT"
    assert invoke("check", file).output.startswith(f"{file}:2:10: HINT: ")


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"x = '\xed\xa0\x80'", b"#" * (SOURCE_BYTES_MAX + 10)])
def test_a_file_that_is_no_source_is_refused_not_a_crash(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    result = invoke("check", file)
    assert result.exit_code == (Exit.IO if len(data) > SOURCE_BYTES_MAX else Exit.REFUSED)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert ":1:" in result.output or f"more than {SOURCE_BYTES_MAX} bytes" in result.output


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    assert invoke("check", tmp_path / "nothing.py").exit_code == 2


def test_the_names_for_editors_are_those_of_the_language() -> None:
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    context = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "_Context")
    fields = {
        item.target.id
        for item in context.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    assert names - {"_Context"} == DECLARATIONS | KINDS | set(HOST) | {
        "Record",
        "date",
        "only",
        "require",
        "subject",
    }
    assert fields == set(CONTEXT)


def test_this_host_passes_the_self_check_and_another_interpreter_would_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    selfcheck.self_check()
    monkeypatch.setattr(selfcheck, "OUTCOME", "00")
    with pytest.raises(HostTrouble, match="runs contracts differently"):
        selfcheck.self_check()
    monkeypatch.setattr(selfcheck, "IR_HASH", "00")
    with pytest.raises(HostTrouble, match="compiles contracts differently"):
        selfcheck.self_check()


def test_a_refused_source_is_shown_with_its_reasons_and_not_sent(tmp_path: Path) -> None:
    """The node named here does not exist: it is never asked."""
    from chain.cli.main import main

    wrong = tmp_path / "wrong.py"
    wrong.write_text("def f(x):\n    return x / 2\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["contract", "propose", "c", str(wrong), "--node", "http://127.0.0.1:9"])
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "contract_file" in said
    assert "wrong.py:2:12: FLOAT_DIVISION: / makes floats" in said
    assert "instead: // for whole division" in said
