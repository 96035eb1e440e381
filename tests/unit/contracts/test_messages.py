"""What an author is told: the texts of refusals and errors, and the context of @init, lead to the remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contracts.check import check_source, run_outcome
from contracts.cli import contract
from contracts.testing import LocalChain
from contracts.tracebacks import call_text


def instead(source: str) -> str:
    """Return the remedy of the one refusal of a source."""
    (only,) = check_source(source, "x.py").diagnostics
    return only.instead


@pytest.mark.parametrize(
    ("expression", "remedy"),
    [
        ("bin(3)", "a loop over number % 2 and number // 2"),
        ("hasattr(x, 'a')", '"key" in value, for a dict'),
        ("type(x) == int", "isinstance(value, int)"),
        ("msg.sender", "ctx.caller, ctx.org"),
        ("block.timestamp", "ctx.height, ctx.block_time"),
        ("ctx.sender", "ctx.caller, or ctx.org for a member"),
        ("ctx.timestamp", "ctx.block_time"),
        ("x.splitlines()", 'text.split("\\n")'),
        ("x.appnd(1)", "append"),
        ("x.frobnicate()", 'the methods of "Statements and expressions" in contracts/README.md'),
    ],
)
def test_a_refusal_names_the_way_to_write_it_and_never_a_list_of_everything(
    expression: str, remedy: str
) -> None:
    assert instead(f"def f(x):\n    return {expression}\n") == remedy


@pytest.mark.parametrize(
    ("hint", "remedy"),
    [
        ("Any", "Value"),
        ("Optional[int]", "T | None"),
        ("List[int]", "list[T]"),
        ("float", "int, in a smaller unit"),
    ],
)
def test_a_type_of_typing_is_answered_with_the_one_of_the_language(hint: str, remedy: str) -> None:
    assert instead(f"def f(x: {hint}):\n    return x\n") == remedy


def test_adding_to_a_var_is_answered_with_get_and_set() -> None:
    assert instead("v = Var(int, 0)\n\ndef f():\n    v += 1\n") == "v.set(v.get() + …)"


@pytest.mark.parametrize(
    ("hint", "given", "text"),
    [
        ("int", "a", "argument x is int, not str"),
        ("bytes", "00", 'argument x is bytes, not str; in JSON, bytes are {"$bytes": "hex digits"}'),
        (
            "bytes | None",
            "00",
            'argument x is bytes | None, not str; in JSON, bytes are {"$bytes": "hex digits"}',
        ),
        ("list[int]", ["a"], "argument x is list[int], not a list whose item 0 is str, not int"),
        (
            "dict[str, int]",
            {"a": {}},
            'argument x is dict[str, int], not a dict whose entry "a" is dict, not int',
        ),
        ("tuple[int, int]", [1, 2], "argument x is tuple[int, int], not list"),
        (
            "list[bytes]",
            ["00"],
            "argument x is list[bytes], not a list whose item 0 is str, not bytes; "
            'in JSON, bytes are {"$bytes": "hex digits"}',
        ),
    ],
)
def test_a_type_error_names_the_wanted_type_and_how_json_writes_it(hint: str, given: Any, text: str) -> None:
    outcome = run_outcome(f"def f(x: {hint}):\n    return x\n", "f", {"x": given})
    assert (outcome.code, outcome.why) == ("TYPE_ERROR", f"f(): {text}")


def test_a_text_that_is_no_subject_is_shown_beside_what_a_subject_looks_like() -> None:
    outcome = run_outcome('E = Event(by=subject)\n\ndef f():\n    E(by="genesis")\n', "f", {})
    assert outcome.why == 'E(by=…) holds subject, not "genesis" (a subject is "kind:id", such as "org:bank")'


def test_a_refused_source_has_one_verdict_in_any_folder_and_the_file_in_a_field_of_its_own(
    tmp_path: Path,
) -> None:
    verdicts = []
    for folder in ("a", "b"):
        file = tmp_path / folder / "c.py"
        file.parent.mkdir()
        file.write_text("import os\n")
        done = CliRunner().invoke(contract, ["run", str(file), "--call", "f", "--json"])
        verdicts.append(json.loads(done.output))
        assert verdicts[-1].pop("file") == str(file)
    assert verdicts[0] == verdicts[1]
    assert verdicts[0]["detail"].startswith("contract:1:1: IMPORT")


def test_a_file_without_functions_is_warned_of() -> None:
    assert [item.rule for item in check_source("", "x.py").warnings] == ["NO_FUNCTION"]


def test_a_call_is_shown_with_the_values_of_its_arguments_and_none_of_them_fills_the_screen() -> None:
    given = {"key": {"$bytes": "00ff"}, "rows": 3, "note": "a" * 500, "who": "\x1b[31m"}
    text = call_text("grants", "put", given)
    assert text.startswith('grants.put(key={"$bytes": "00ff"}, rows=3, note="aaa')
    assert text.endswith('a…, who="\\u001b[31m")')
    assert len(text) < 200
    many = call_text("c", "m", {f"a{n}": n for n in range(1_000)})
    assert many.endswith("a19=19, …)")
    assert call_text("c", "m", None) == "c.m(arguments that are no values)"


CONTEXT = """seen = Var(dict, {})

@init
def setup():
    seen.set({"caller": ctx.caller, "org": ctx.org, "roles": list(ctx.roles), "signer": ctx.signer,
              "origin": ctx.origin, "height": ctx.height, "time": ctx.block_time, "tx": ctx.tx_id})

@view
def look() -> dict:
    return seen.get()
"""


def test_init_finds_the_same_context_where_it_is_deployed_and_where_members_adopt_it() -> None:
    deployed, adopted = LocalChain("bank"), LocalChain.consortium("bank", "bureau")
    deployed.deploy(CONTEXT, "c")
    adopted.adopt(CONTEXT, "c")
    adopted.advance(height=1)
    there, here = (chain.variable("c", "seen") for chain in (adopted, deployed))
    varying = {"height", "time", "tx"}
    assert {key: here[key] for key in here if key not in varying} == {
        key: there[key] for key in there if key not in varying
    }
    for seen in (there, here):
        assert seen["height"] > 1
        assert seen["time"] > 1_700_000_000_000
        assert seen["tx"] != bytes(32).hex()
