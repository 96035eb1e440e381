"""A schema is settled by its file or by a confirmed proposal; the proposal is readable, and safe to print."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chain.primitives.errors import Exit
from privcompute.cli.dataset_commands import dataset
from privcompute.cli.dataset_schema import Doubtful, NotConfirmed, confirmed, declared
from privcompute.data.datasets import source_of
from privcompute.data.schema_files import load_schema
from privcompute.data.sources import DataSource
from privcompute.data.tables import read_table
from tests.unit.privcompute.data.tables import written

SURE = "id,x,day\na,1.5,2024-01-31\nb,2,2024-02-01\n"
DOUBTFUL = "id,x,zip\na ,1.5,12\nb,NA,0012\nc,2,7\n"


def inspect(*words: str | Path) -> Result:
    return CliRunner().invoke(dataset, ["inspect", *map(str, words)], env={"COLUMNS": "80"})


class Typist(io.StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


def test_a_proposal_without_doubts_is_confirmed_by_yes_or_by_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = DataSource(written(tmp_path, SURE))
    schema = confirmed(source, ["id"], yes=True, quiet=False)
    assert [column.type for column in schema.columns] == ["text", "decimal", "date"]
    with pytest.raises(NotConfirmed, match="--yes, or --schema"):
        confirmed(source, ["id"], yes=False, quiet=True)
    monkeypatch.setattr(sys, "stdin", Typist("y\n"))
    assert confirmed(source, ["id"], yes=False, quiet=False) == schema
    monkeypatch.setattr(sys, "stdin", Typist("\n"))
    with pytest.raises(NotConfirmed, match="nothing was registered"):
        confirmed(source, ["id"], yes=False, quiet=False)


@pytest.mark.parametrize("yes", [True, False])
def test_no_word_confirms_what_is_doubtful(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yes: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Typist("y\n"))
    source = DataSource(written(tmp_path, DOUBTFUL))
    with pytest.raises(Doubtful) as caught:
        confirmed(source, ["id"], yes=yes, quiet=False)
    for part in (
        "3 of 3 columns",
        "'id' (blanks)",
        "'x' (missing_cells)",
        "'zip' (leading_zeros)",
        "--schema",
    ):
        assert part in str(caught.value)


def test_the_table_of_a_proposal_fits_eighty_columns_and_names_rows(tmp_path: Path) -> None:
    shown = inspect(written(tmp_path, DOUBTFUL), "--id-column", "id")
    assert shown.exit_code == 0, shown.output
    table, _, meanings = shown.output.partition("blanks: ")
    assert max(map(len, table.splitlines())) <= 80
    for part in ("2 of 2", "'NA'", "row 2: '0012'", "leading_zeros 1", "missing_cells 1"):
        assert part in table
    assert "missing_cells: cells are missing" in meanings


def test_a_written_proposal_is_a_schema_file_that_reads_the_data_once_it_is_settled(tmp_path: Path) -> None:
    path, schema_file = written(tmp_path, DOUBTFUL), tmp_path / "schema.toml"
    assert inspect(path, "--id-column", "id", "-o", schema_file).exit_code == 0
    text = schema_file.read_text()
    assert text.count("# DOUBT ") == 3
    assert "# DOUBT leading_zeros, 1 cells (row 2 '0012')" in text
    schema_file.write_text(
        text.replace('missing_spellings = ["NA"]', 'missing_spellings = ["NA"]\nmissing = "mean"')
    )
    source, schema = declared(path, schema_file)
    table = read_table(source, schema)
    assert table.ids == ["a", "b", "c"]
    assert table.data["x"].tolist() == [1.5, 1.75, 2.0]
    assert table.data["zip"].tolist() == ["12", "0012", "7"]
    again = inspect(path, "--id-column", "id", "-o", schema_file)
    assert again.exit_code == Exit.IO
    assert "name a new file" in again.output


def test_options_of_the_file_go_into_the_schema_file(tmp_path: Path) -> None:
    path, schema_file = written(tmp_path, "id;x\nä;1\n".encode("latin-1")), tmp_path / "s.toml"
    options = ("--delimiter", "semicolon", "--encoding", "latin-1")
    assert inspect(path, "--id-column", "id", *options, "-o", schema_file).exit_code == 0
    schema, file = load_schema(schema_file)
    assert read_table(source_of(path, file), schema).ids == ["ä"]


def test_programs_get_the_proposal_as_json(tmp_path: Path) -> None:
    found = json.loads(inspect(written(tmp_path, DOUBTFUL), "--id-column", "id", "--json").output)
    assert (found["rows"], found["key"], found["doubtful"]) == (3, ["id"], True)
    column = found["columns"][1]
    assert (column["type"], column["cells"], column["fitting"], column["spellings"]) == (
        "decimal",
        2,
        2,
        {"NA": 1},
    )
    assert column["doubts"] == [{"code": "missing_cells", "count": 1, "cells": [[2, "NA"]]}]
    refused = inspect(tmp_path / "no.csv", "--json")
    assert json.loads(refused.output)["error"]["code"] == "source"


def test_hostile_cells_are_shown_as_escapes(tmp_path: Path) -> None:
    path = written(tmp_path, "id,x\na,1\nb,2\nc,\"\x1b[31m\u202e=cmd()\nrow 9: 'ok'\"\n")
    for words in (("--json",), ("-o", str(tmp_path / "s.toml"))):
        shown = inspect(path, *words)
        assert shown.exit_code == 0
        assert "\x1b" not in shown.output
        assert "\u202e" not in shown.output
    noted = (tmp_path / "s.toml").read_text()
    assert noted.replace("\n", "").isprintable()
    load_schema(tmp_path / "s.toml")
