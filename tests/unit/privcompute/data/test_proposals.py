"""What is proposed is right where nothing is doubtful, and every doubt is named with its cells."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.data import shapes
from privcompute.data.batches import SourceError
from privcompute.data.proposals import DOUBTS, propose, propose_column
from privcompute.data.schema import CATEGORIES_MAX, check_schema
from privcompute.data.shapes import ColumnTally, shapes_of
from privcompute.data.sources import DataSource, open_source
from privcompute.data.tables import read_table
from tests.unit.privcompute.data.tables import column_file, doubts, proposed, written

SURE = [
    (["1", "2", "-3"], "integer", ""),
    (["1", "1", "1"], "integer", ""),
    (["1.5", "2", "1e5"], "decimal", ""),
    (["1,5", "2,75"], "decimal", "1234,5"),
    (["1,234", "2,345,678"], "integer", "1,234.5"),
    (["1,234.5", "2"], "decimal", "1,234.5"),
    (["1.234,5", "2"], "decimal", "1.234,5"),
    (["1 234,5", "2"], "decimal", "1 234,5"),
    (["true", "false"], "boolean", ""),
    (["TRUE", "True"], "boolean", ""),
    (["yes", "no"], "boolean", ""),
    (["Y", "N", "Y"], "boolean", ""),
    (["0", "1", "1"], "boolean", ""),
    (["2024-01-31", "2024/2/1"], "date", ""),
    (["31.01.2024", "1.2.2024"], "date", "31.01.2024"),
    (["03/04/2024", "05/31/2024"], "date", "01/31/2024"),
    (["31-Jan-2024", "1-FEB-2024"], "date", "31-Jan-2024"),
    (["2024-01-31 10:00", "2024-01-31T10:00:01.5"], "timestamp", ""),
    (["2024-01-31T10:00Z", "2024-01-31T10:00:00+02:00"], "timestamp", "2024-01-31 23:59Z"),
    (["0012", "0870"], "text", ""),
    (["1234567890123456", "1234567890123457"], "text", ""),
    (["a", "b", "a", "b"], "category", ""),
    (["none", "few", "none", "few"], "category", ""),
    (["a", "b", "c"], "text", ""),
    (["=1+1", "@x", "-"], "text", ""),
    (["1", "x", "y"], "text", ""),
]


@pytest.mark.parametrize(("cells", "kind", "form"), SURE, ids=[" ".join(cells) for cells, _, _ in SURE])
def test_a_type_without_doubts_is_proposed_and_reads_every_cell(
    tmp_path: Path, cells: list[str], kind: str, form: str
) -> None:
    path = column_file(tmp_path, cells)
    found = proposed(path, "x", ["id"])
    assert (found.column.type, found.column.format, doubts(found)) == (kind, form, [])
    assert (found.cells, found.fitting, found.missing) == (len(cells), len(cells), 0)
    proposal = propose(open_source(DataSource(path)), ["id"])
    assert not proposal.doubtful
    assert read_table(DataSource(path), check_schema(proposal.schema)).rows == len(cells)


DOUBTFUL = [
    (["1", "NA", "3"], "integer", "missing_cells", (2, "NA")),
    (["1.5", "", "3"], "decimal", "missing_cells", (2, "")),
    (["1", "-", "3"], "integer", "missing_cells", (2, "-")),
    (["a", "n/a", "b"], "text", "missing_cells", (2, "n/a")),
    (["1", "2", "12a"], "integer", "odd_cells", (3, "12a")),
    (["1.5", "2.5", "1e400"], "decimal", "odd_cells", (3, "1e400")),
    (["5", "3", "−5"], "integer", "odd_cells", (3, "−5")),
    (["2024-01-01", "2024-02-30"], "date", "odd_cells", (2, "2024-02-30")),
    (["12", "0012", "5"], "text", "leading_zeros", (2, "0012")),
    (["12345678901234567", "1"], "text", "long_digits", (1, "12345678901234567")),
    (["0.1234567890123456789", "0.5"], "decimal", "too_precise", (1, "0.1234567890123456789")),
    (["03/04/2024", "05/06/2024"], "date", "day_or_month", (1, "03/04/2024")),
    (["03.04.2024 10:00", "05.06.2024 11:00"], "timestamp", "day_or_month", (1, "03.04.2024 10:00")),
    (["1,234", "12"], "decimal", "decimal_or_thousands", (1, "1,234")),
    (["1.234", "12"], "decimal", "decimal_or_thousands", (1, "1.234")),
    (["20240131", "19991231"], "integer", "compact_dates", (1, "20240131")),
    (["1/2/24", "13/2/24"], "text", "short_years", (1, "1/2/24")),
    (["5%", "7.5 %"], "text", "signed_numbers", (1, "5%")),
    (["€5", "€7"], "text", "signed_numbers", (1, "€5")),
    (["yes", "0"], "boolean", "mixed_booleans", (1, "yes")),
    ([" 1", "2"], "integer", "blanks", (1, " 1")),
    (["a\u00a0", "b"], "text", "blanks", (1, "a\u00a0")),
    (["a\u200bb", "c"], "text", "invisible", (1, "a\u200bb")),
    (["e\u0301", "b"], "text", "decomposed", (1, "e\u0301")),
]


@pytest.mark.parametrize(("cells", "kind", "code", "cell"), DOUBTFUL, ids=[str(row[:3]) for row in DOUBTFUL])
def test_a_doubt_is_named_with_the_first_cells_that_raise_it(
    tmp_path: Path, cells: list[str], kind: str, code: str, cell: tuple[int, str]
) -> None:
    found = proposed(column_file(tmp_path, cells), "x", ["id"])
    assert (found.column.type, doubts(found)) == (kind, [code])
    assert found.doubts[0].examples[0] == cell


def test_every_doubt_is_met_and_explained(tmp_path: Path) -> None:
    empty = proposed(column_file(tmp_path, ["", " ", ""]), "x")
    assert "all_missing" in doubts(empty)
    met = {code for _, _, code, _ in DOUBTFUL} | {"all_missing", "numbers_as_text"}
    assert met == set(DOUBTS)


def test_one_missing_cell_in_four_hundred_leaves_a_column_of_numbers(tmp_path: Path) -> None:
    cells = [f"{number / 8}" for number in range(399)]
    found = proposed(column_file(tmp_path, [*cells[:77], "NA", *cells[77:]]), "x", ["id"])
    assert (found.column.type, found.fitting, found.cells, found.missing) == ("decimal", 399, 399, 1)
    assert found.doubts[0].examples == ((78, "NA"),)
    assert found.column.missing_spellings == ("NA",)


def test_cells_beyond_the_first_batch_count_and_have_their_rows(tmp_path: Path) -> None:
    found = proposed(column_file(tmp_path, [*range(40_000), "x1"]), "x", ["id"])
    assert (found.column.type, found.fitting, found.cells) == ("integer", 40_000, 40_001)
    assert found.doubts[0].examples == ((40_001, "x1"),)


def test_identifiers_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    path = written(tmp_path, "id,x\n12,1\n0012 ,2\n")
    found = proposed(path, "id", ["id"])
    assert (found.column.type, found.column.sensitivity, doubts(found)) == ("text", "identifier", ["blanks"])
    assert found.column.normalise == ("trim",)
    with pytest.raises(SourceError, match=r"no column 'nr' for the identifiers; it has 'id', 'x'"):
        proposed(path, "x", ["nr"])


def test_a_table_wider_than_the_ledger_takes_is_refused_before_its_rows_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, ",".join(f"c{place}" for place in range(1_100)) + "\nragged\n")
    with pytest.raises(SourceError, match=r"1100 columns, the ledger takes 1024.*inspect"):
        propose(open_source(DataSource(path)), [])


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no rows below the header"):
        proposed(written(tmp_path, "id,x\n"), "x")


def test_many_different_words_are_text_and_few_are_a_category(tmp_path: Path) -> None:
    many = [f"w{number % (shapes.DISTINCT_MAX + 1)}" for number in range(1_000)]
    assert proposed(column_file(tmp_path, many), "x").column.type == "text"
    few = [f"w{number % shapes.DISTINCT_MAX}" for number in range(1_000)]
    assert proposed(column_file(tmp_path, few), "x").column.type == "category"
    assert shapes.DISTINCT_MAX <= CATEGORIES_MAX


CELLS = st.one_of(
    st.text(max_size=9),
    st.integers().map(str),
    st.floats().map(repr),
    st.text("0123456789,.' -/:", max_size=10),
)


@settings(deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=12))
def test_cells_count_the_same_in_any_batches(cells: list[str]) -> None:
    """A tally of one batch is the tally of many, and all cells are counted."""
    whole, parts = ColumnTally(), ColumnTally()
    whole.take(pa.array(cells, pa.string()), 1)
    for number, cell in enumerate(cells, 1):
        parts.take(pa.array([cell], pa.string()), number)
    counts = [{shape: tally.count for shape, tally in one.tallies.items()} for one in (whole, parts)]
    assert counts[0] == counts[1]
    assert sum(counts[0].values()) == len(cells)
    left, right = (propose_column("x", one, None, in_key=False) for one in (whole, parts))
    assert left == right


@settings(deadline=None)
@given(CELLS)
def test_a_shape_is_a_matter_of_the_cell_alone(cell: str) -> None:
    alone = int(shapes_of(pa.array([cell], pa.string()))[0])
    among = shapes_of(pa.array([cell, "1,5", "1.2.2024", "20240131", " x"], pa.string()))
    assert int(among[0]) == alone
