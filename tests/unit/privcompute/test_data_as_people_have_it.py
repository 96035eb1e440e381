"""Files as people really have them give the right result of a joint program, or are refused with the cell."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from privcompute.data.batches import SourceError
from privcompute.data.schema import Column, Schema, check_schema
from privcompute.data.sources import DataSource
from privcompute.data.tables import IdentifiersRefused, TypedTable, read_table
from privcompute.mpc.engine import Engine
from privcompute.mpc.local import run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.protocols.psi import private_join
from privcompute.mpc.rounds import Steps
from privcompute.programs import logistic_regression, statistics
from privcompute.programs.base import (
    Context,
    InputColumn,
    InputRefused,
    JobInput,
    JobProgram,
    OwnData,
)
from privcompute.programs.join import join_of
from tests.unit.privcompute.data.tables import doubts, proposed, written
from tests.unit.privcompute.opened import open_outputs

SEED = 5
JOB = bytes(range(32))
KEY = Column("id", "text", "identifier")
TRIMMED = Column("id", "text", "identifier", normalise=("trim", "nfc"))
NAMES = ("bank/a", "bureau/b")


def table(folder: Path, name: str, text: str, *columns: Column) -> TypedTable:
    """Read one owner's file by these columns."""
    return read_table(DataSource(written(folder, text, name)), check_schema(Schema(columns, ("id",))))


def job_input(owner: int, data: TypedTable, uses: dict[str, str]) -> JobInput:
    columns = [
        InputColumn(column.name, column.type, "join" if column.name == "id" else uses[column.name])
        for column in data.schema.columns
    ]
    return JobInput(NAMES[owner], owner, tuple(columns))


def run(
    program: JobProgram, tables: Sequence[TypedTable], parameters: dict[str, Any], use: str = "aggregate"
) -> Any:
    """Join two owners' tables and run a program on the plaintext engine; return the first one's result."""
    inputs = tuple(job_input(owner, data, dict.fromkeys(data.data, use)) for owner, data in enumerate(tables))
    parsed = program.check(parameters, inputs)

    def party(engine: Engine) -> Steps[Any]:
        mine = tables[engine.me]
        stream = random.Random(SEED + engine.me).randbytes
        rows = yield from private_join(
            join_of(JOB, [one.owner for one in inputs]), engine.me, mine.ids, random=stream, workers=1
        )
        own = {NAMES[engine.me]: OwnData(mine.data, rows)}
        outputs = yield from program.run(engine, Context(JOB, inputs, parsed, len(rows), 5, own))
        opened = yield from open_outputs(engine, outputs.shared, [0])
        return None if opened is None else program.finish(opened, outputs.public)

    return run_local([party(PlaintextEngine(index, 2)) for index in range(2)]).results[0]


def people(count: int) -> list[tuple[str, float, bool]]:
    """Draw (id, number, label): the label is the number's sign but for a little noise."""
    drawn = random.Random(SEED)
    return [(f"p{n:03}", x := drawn.gauss(0, 1), x + drawn.gauss(0, 0.3) > 0) for n in range(count)]


def lines(header: str, rows: Sequence[Sequence[object]]) -> str:
    return "\n".join([header, *[",".join(map(str, row)) for row in rows]]) + "\n"


def regress(tables: Sequence[TypedTable], positive: str) -> float:
    parameters = {"label": "bank/a/y", "positive": positive, "features": ["bureau/b/x"]}
    return float(run(logistic_regression.PROGRAM, tables, parameters)["auc"])


def labels(folder: Path, kind: str, spell: dict[bool, str]) -> TypedTable:
    rows = [(who, spell[label]) for who, _, label in people(400)]
    return table(folder, "labels.csv", lines("id,y", rows), KEY, Column("y", kind))  # type: ignore[arg-type]


def numbers(folder: Path, odd: str | None = None, **declared: Any) -> TypedTable:
    rows = [(who, odd if odd and n == 77 else x) for n, (who, x, _) in enumerate(people(400))]
    return table(folder, "numbers.csv", lines("id,x", rows), KEY, Column("x", "decimal", **declared))


def test_one_missing_cell_in_four_hundred_numbers_leaves_a_model_of_these_numbers(tmp_path: Path) -> None:
    """Read as text because of its one odd cell, the column gave a useless model, certified without a word."""
    flags = labels(tmp_path, "boolean", {True: "1", False: "0"})
    whole = regress([flags, numbers(tmp_path)], "1")
    assert whole > 0.95
    with pytest.raises(SourceError, match=r"row 78 .*'x': 'NA'"):
        numbers(tmp_path, "NA")
    for rule in ("mean", "drop-row"):
        gap = numbers(tmp_path, "NA", missing=rule, missing_spellings=("NA",))
        assert regress([flags, gap], "1") > 0.95
    path = tmp_path / "numbers.csv"
    assert (proposed(path, "x").column.type, doubts(proposed(path, "x"))) == ("decimal", ["missing_cells"])


@pytest.mark.parametrize(
    ("kind", "spell", "positives"),
    [
        ("boolean", {True: "true", False: "false"}, ["true", "1", "yes", "TRUE"]),
        ("boolean", {True: "Y", False: "N"}, ["true", "y"]),
        ("decimal", {True: "1.0", False: "0.0"}, ["1", "1.0"]),
        ("integer", {True: "1", False: "0"}, ["1", "1.0", "+1"]),
        ("category", {True: "bad", False: "good"}, ["bad"]),
    ],
)
def test_a_label_is_found_in_every_spelling_of_its_type(
    tmp_path: Path, kind: str, spell: dict[bool, str], positives: list[str]
) -> None:
    data = [labels(tmp_path, kind, spell), numbers(tmp_path)]
    expected = regress([labels(tmp_path, "category", {True: "u", False: "v"}), data[1]], "u")
    assert [regress(data, positive) for positive in positives] == [expected] * len(positives)


def test_a_positive_value_that_the_label_cannot_have_is_refused_before_a_run(tmp_path: Path) -> None:
    data = [labels(tmp_path, "boolean", {True: "true", False: "false"}), numbers(tmp_path)]
    with pytest.raises(InputRefused, match=r"positive = 'bad'.*type 'boolean'.*true, false"):
        regress(data, "bad")


def test_blanks_at_the_end_of_half_of_the_identifiers_lose_nobody(tmp_path: Path) -> None:
    """Half of the people were lost without a word: the sum over 60 of them was 930, and not 1,830."""
    ours = lines("id,n", [(f"A{n}" + "  " * (n % 2), n) for n in range(1, 61)])
    theirs = lines("id,g", [(f"A{n}", "x") for n in range(1, 61)])
    number, word = Column("n", "integer"), Column("g", "category")
    with pytest.raises(SourceError, match=r"row 1 .*'A1  '.*trim"):
        table(tmp_path, "ours.csv", ours, KEY, number)
    data = [
        table(tmp_path, "ours.csv", ours, TRIMMED, number),
        table(tmp_path, "theirs.csv", theirs, TRIMMED, word),
    ]
    groups = [{"by": "bureau/b/g", "of": "bank/a/n"}]
    value = run(statistics.PROGRAM, data, {"columns": ["bank/a/n"], "statistics": ["sum"], "groups": groups})
    assert value["rows"] == 60
    assert float(value["columns"]["bank/a/n"]["sum"]) == 1830.0


def test_codes_keep_their_leading_zeros_and_are_no_two_names_of_one_number(tmp_path: Path) -> None:
    text = "id,zip\n12,0012\n0012,0870\n"
    kept = table(tmp_path, "t.csv", text, KEY, Column("zip", "text"))
    assert (kept.ids, kept.data["zip"].tolist()) == (["12", "0012"], ["0012", "0870"])
    assert proposed(tmp_path / "t.csv", "zip").column.type == "text"
    with pytest.raises(IdentifiersRefused, match="rows 1 and 2"):
        table(tmp_path, "t.csv", text, Column("id", "integer", "identifier"), Column("zip", "text"))


def test_padded_and_bare_numbers_of_two_owners_meet_where_both_declare_it(tmp_path: Path) -> None:
    key = Column("id", "text", "identifier", normalise=("trim", "leading-zeros"))
    data = [
        table(
            tmp_path, "a.csv", lines("id,n", [(f"{n:04}", n) for n in range(60)]), key, Column("n", "integer")
        ),
        table(tmp_path, "b.csv", lines("id,m", [(n, n) for n in range(60)]), key, Column("m", "integer")),
    ]
    assert run(statistics.PROGRAM, data, {"correlations": [["bank/a/n", "bureau/b/m"]]})["rows"] == 60


def test_booleans_are_counted_and_days_are_categories(tmp_path: Path) -> None:
    rows = [(f"k{n}", "yes" if n % 4 == 0 else "no", f"0{1 + n % 2}.02.2024") for n in range(60)]
    columns = (KEY, Column("b", "boolean"), Column("d", "date", format="31.01.2024"))
    data = [
        table(tmp_path, "a.csv", lines("id,b,d", rows), *columns),
        table(
            tmp_path, "b.csv", lines("id,x", [(f"k{n}", n) for n in range(60)]), KEY, Column("x", "integer")
        ),
    ]
    groups = [{"by": "bank/a/d", "of": "bureau/b/x"}, {"by": "bank/a/b"}]
    value = run(statistics.PROGRAM, data, {"columns": ["bank/a/b"], "statistics": ["mean"], "groups": groups})
    assert float(value["columns"]["bank/a/b"]["mean"]) == 0.25
    shown = [str(group) for group in value["groups"]]
    assert "2024-02-01" in shown[0]
    assert "2024-02-02" in shown[0]
    assert "'true'" in shown[1]
    assert "'false'" in shown[1]
