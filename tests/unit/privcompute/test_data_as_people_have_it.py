"""Files as people really have them give the right figures of a page, or are refused with the cell."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privcompute.data.batches import SourceError
from privcompute.data.schema import Column, Schema, check_schema
from privcompute.data.sources import DataSource
from privcompute.data.tables import IdentifiersRefused, TypedTable, read_table
from privcompute.job.inputs import input_column
from privcompute.job.joining import join_of
from privcompute.mpc.local import run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.mpc.protocols.psi import private_join
from privcompute.mpc.rounds import Steps
from privcompute.pages.columns import JobInput
from privcompute.pages.derived import PageInput, derive
from privcompute.pages.releases import results
from privcompute.pages.work import WorkRun, of_plan
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


def run(body: Sequence[str], tables: Sequence[TypedTable]) -> dict[str, Any]:
    """Join two owners' tables `a` and `b` and run a page on the plaintext engine; return its figures."""
    names, columns = (
        ("a", "b"),
        [tuple(input_column(one, "plain") for one in t.schema.columns) for t in tables],
    )
    page = [
        '"""A test."""',
        "",
        "",
        "def run(a, b):",
        "    rows = join(a, b)",
        *(f"    {line}" for line in body),
    ]
    inputs = [PageInput(name, name, ("id",), each) for name, each in zip(names, columns, strict=True)]
    plan = derive("\n".join([*page, ""]), inputs, {}, "bank").plan
    items = [JobInput(dataset, owner, columns[owner]) for owner, dataset in enumerate(NAMES)]
    work = of_plan(plan, [*zip(names, items, strict=True)], [("id",)] * 2, {"a": 0, "b": 1})

    def party(me: int) -> Steps[Any]:
        engine, mine = PlaintextEngine(me, 2), tables[me]
        stream = random.Random(SEED + me).randbytes
        rows = yield from private_join(join_of(JOB, (0, 1), 0), me, mine.ids, random=stream, workers=1)
        told = WorkRun(JOB, 5, (len(rows),), {}, me, mine.data, {0: rows})
        outputs = (yield from work.run(engine, told))["0"]
        opened = yield from open_outputs(engine, outputs.shared, [0])
        return None if opened is None else results(opened, outputs.public)

    found = run_local([party(me) for me in range(2)]).results[0]
    return {one["name"]: one["value"] for one in found["figures"]}


def told(value: str, name: str) -> str:
    return f'release({value}, to="a", exact=True, name="{name}")'


def people(count: int) -> list[tuple[str, float, bool]]:
    """Draw (id, number, label): the label is the number's sign but for a little noise."""
    drawn = random.Random(SEED)
    return [(f"p{n:03}", x := drawn.gauss(0, 1), x + drawn.gauss(0, 0.3) > 0) for n in range(count)]


def lines(header: str, rows: Sequence[Sequence[object]]) -> str:
    return "\n".join([header, *[",".join(map(str, row)) for row in rows]]) + "\n"


def numbers(folder: Path, odd: str | None = None, **declared: Any) -> TypedTable:
    rows = [(who, odd if odd and n == 77 else x) for n, (who, x, _) in enumerate(people(400))]
    return table(folder, "numbers.csv", lines("id,x", rows), KEY, Column("x", "decimal", **declared))


def test_one_missing_cell_in_four_hundred_numbers_leaves_figures_of_these_numbers(tmp_path: Path) -> None:
    """Read as text because of its one odd cell, the column gave a useless model, certified without a word."""
    rows = [(who, "1" if label else "0") for who, _, label in people(400)]
    flags = table(tmp_path, "labels.csv", lines("id,y", rows), KEY, Column("y", "boolean"))
    body = [told("mean(rows.b.x, where=rows.a.y)", "of those with the label")]
    whole = float(run(body, [flags, numbers(tmp_path)])["of those with the label"])
    assert whole == pytest.approx(np.mean([x for _, x, label in people(400) if label]), abs=1e-3)
    with pytest.raises(SourceError, match=r"row 78 .*'x': 'NA'"):
        numbers(tmp_path, "NA")
    for rule in ("mean", "drop-row"):
        gap = numbers(tmp_path, "NA", missing=rule, missing_spellings=("NA",))
        assert float(run(body, [flags, gap])["of those with the label"]) == pytest.approx(whole, abs=0.02)
    path = tmp_path / "numbers.csv"
    assert (proposed(path, "x").column.type, doubts(proposed(path, "x"))) == ("decimal", ["missing_cells"])


@pytest.mark.parametrize(
    ("kind", "spell", "where"),
    [
        ("boolean", {True: "true", False: "false"}, "rows.a.y"),
        ("boolean", {True: "Y", False: "N"}, "rows.a.y"),
        ("decimal", {True: "1.0", False: "0.0"}, "rows.a.y == 1"),
        ("integer", {True: "+1", False: "0"}, "rows.a.y == 1"),
        ("category", {True: "bad", False: "good"}, 'rows.a.y == "bad"'),
    ],
)
def test_a_label_is_found_in_every_spelling_of_its_type(
    tmp_path: Path, kind: Any, spell: dict[bool, str], where: str
) -> None:
    rows = [(who, spell[label]) for who, _, label in people(400)]
    flags = table(tmp_path, "labels.csv", lines("id,y", rows), KEY, Column("y", kind))
    found = run([told(f"count(filter(rows, {where}))", "labelled")], [flags, numbers(tmp_path)])
    assert found == {"labelled": sum(label for _, _, label in people(400))}


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
    value = run([told("count(rows)", "rows"), told("sum(rows.a.n)", "sum")], data)
    assert value == {"rows": 60, "sum": 1830}


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
    value = run([told("count(rows)", "rows"), told("sum(rows.a.n * rows.b.m)", "products")], data)
    assert value == {"rows": 60, "products": sum(n * n for n in range(60))}


def test_booleans_are_counted_and_days_compare(tmp_path: Path) -> None:
    rows = [(f"k{n}", "yes" if n % 4 == 0 else "no", f"0{1 + n % 2}.02.2024") for n in range(60)]
    columns = (KEY, Column("b", "boolean"), Column("d", "date", format="31.01.2024"))
    data = [
        table(tmp_path, "a.csv", lines("id,b,d", rows), *columns),
        table(
            tmp_path, "b.csv", lines("id,x", [(f"k{n}", n) for n in range(60)]), KEY, Column("x", "integer")
        ),
    ]
    late = 'filter(rows, rows.a.d > day("2024-02-01"))'
    body = [told("mean(rows.a.b)", "share"), told(f"count({late})", "late")]
    value = run(body, data)
    assert (float(value["share"]), value["late"]) == (0.25, 30)
