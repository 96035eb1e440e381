"""Schemas declared on a real ledger: wide ones, interrupted ones, and identifiers that mean other things."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import assent, assent_here

from chain.cli.consortium import start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder
from privcompute.data.declared import cut
from privcompute.data.schema import Schema, schema_seal
from privcompute.data.schema_files import load_schema

pytestmark = pytest.mark.functional
COLUMNS = 1_000
TERMS = (
    "--purpose", "research", "--legal-basis", "consent", "--because", "a test", "--program", "private-join",
    "--receiver", "bank", "--co-party", "bank", "--co-party", "bureau", "--membership", "bank",
    "--membership", "bureau", "--profile", "dh-psi",
    "--expires", "30d", "--runs", "2", "--min-group", "1",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsortiumFolder]:
    """Three running validators, no agents."""
    folder = create_consortium(
        tmp_path_factory.mktemp("c") / "c", ["bank", "bureau", "registry"], ["bank", "bureau"], 0, "test"
    )
    try:
        list(start_consortium(folder, agents=False))
        yield folder
    finally:
        list(stop_consortium(folder))


def say(made: ConsortiumFolder, org: str, *words: str | Path, code: int = 0) -> str:
    done = assent_here(*words, "--as", made.org(org).path)
    assert (done.returncode != 0) == bool(code), done.stdout + done.stderr
    return done.stderr if code else done.stdout


def wide(folder: Path) -> tuple[Path, Path, Schema]:
    """Return a file of 1,000 columns, its schema file, and what that declares."""
    names = ["id", *[f"measure_{number:03}" for number in range(COLUMNS - 1)]]
    rows = [",".join([f"p{row}", *["1.5"] * (COLUMNS - 1)]) for row in range(3)]
    (folder / "wide.csv").write_text("\n".join([",".join(names), *rows]) + "\n", encoding="utf-8")
    columns: list[dict[str, Any]] = [
        {"name": name, "type": "decimal", "unit": "mg", "low": "0", "missing": "mean"} for name in names
    ]
    columns[0] = {"name": "id", "type": "text", "sensitivity": "identifier", "normalise": ["trim", "nfc"]}
    (folder / "wide.json").write_text(json.dumps({"columns": columns}), encoding="utf-8")
    return folder / "wide.csv", folder / "wide.json", load_schema(folder / "wide.json")[0]


def test_a_thousand_columns_are_registered_also_by_whoever_was_interrupted(
    made: ConsortiumFolder, tmp_path: Path
) -> None:
    data, schema_file, schema = wide(tmp_path)
    seal, first = schema_seal(schema), next(cut(schema))
    begun = {"schema": {"$bytes": seal.hex()}, "key": ["id"], "columns": first}
    say(made, "bank", "tx", "send", "datasets", "declare", "--args", json.dumps(begun))
    listed = json.loads(say(made, "bank", "dataset", "drafts", "--json"))
    assert [(draft["status"], draft["columns"]) for draft in listed] == [("draft", 64)]
    half = {
        "id": "bank/wide", "schema": {"$bytes": seal.hex()}, "root": {"$bytes": "00" * 32}, "size_bucket": "",
        "approvers": ["bank"], "threshold": 1, "description": "",
    }  # fmt: skip
    refused = say(
        made,
        "bank",
        "tx",
        "send",
        "datasets",
        "register",
        "--args",
        json.dumps(half),
        "--gas",
        "5000000",
        code=1,
    )
    assert "SCHEMA_NOT_SEALED" in refused
    asked = ("--dataset", "bank/wide", "--column", "measure_000=exact-aggregate", *TERMS)
    assert "bank/wide" in say(made, "bureau", "grant", "request", "bureau/early", *asked, code=1)

    said = say(made, "bank", "dataset", "register", "bank/wide", data, "--schema", schema_file)
    assert "3 rows, 1000 columns" in said
    assert json.loads(say(made, "bank", "dataset", "drafts", "--json")) == []
    shown = json.loads(say(made, "bureau", "dataset", "show", "bank/wide", "--json"))
    assert len(shown["schema"]) == shown["columns"] == COLUMNS
    assert shown["seal"] == {"$bytes": seal.hex()}
    said = say(made, "bureau", "grant", "request", "bureau/wide", *asked)
    assert "decimal in mg" in said
    assert max(map(len, said.splitlines()[1:])) <= 80
    assert "it is active" in say(made, "bank", "grant", "approve", "bureau/wide")
    package = tmp_path / "wide.audit"
    say(made, "bureau", "audit", "export", "dataset:bank/wide", "-o", package)
    done = assent("audit", "verify", package, "--genesis", made.genesis, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_numbers_are_not_joined_with_codes_that_look_like_them(
    made: ConsortiumFolder, tmp_path: Path
) -> None:
    """One owner's identifiers are the whole numbers 12 and 7, the other's the codes 0012 and 0007."""
    for org, kind, rows in (("bank", "integer", "12,1\n7,2\n"), ("bureau", "text", "0012,1\n0007,2\n")):
        (tmp_path / f"{org}.csv").write_text("id,x\n" + rows)
        (tmp_path / f"{org}.toml").write_text(
            f'[[columns]]\nname = "id"\ntype = "{kind}"\nsensitivity = "identifier"\n'
            '[[columns]]\nname = "x"\ntype = "integer"\n'
        )
        data, schema = tmp_path / f"{org}.csv", tmp_path / f"{org}.toml"
        say(made, org, "dataset", "register", f"{org}/people", data, "--schema", schema)
        asked = ("--dataset", f"{org}/people", "--column", "id=join-only", *TERMS)
        say(made, "bank", "grant", "request", f"bank/g-{org}", *asked)
        say(made, org, "grant", "approve", f"bank/g-{org}")
    job = ("--program", "private-join", "--purpose", "research", "--profile", "dh-psi")
    job += ("--input", "people=bank/g-bank", "--input", "clients=bank/g-bureau")
    job += ("--parameters", json.dumps({"receivers": ["bank"], "tell_owners": False}))
    told = say(made, "bank", "job", "propose", *job, code=1)
    for part in ("identifiers differ", "bank/people has integer", "bureau/people has text", "other types"):
        assert part in " ".join(told.split())
    assert json.loads(say(made, "bank", "job", "list", "--json")) == []
