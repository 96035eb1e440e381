"""CSV and TSV files are read exactly in any declared encoding, or refused with the line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.data.batches import Bounds, SourceError
from privcompute.data.schema import Column
from privcompute.data.sources import DataSource, open_source
from tests.unit.privcompute.data.tables import ID, column_file, typed, written

X = Column("x", "text")


def cells(path: Path, bounds: Bounds | None = None, **said: str) -> list[list[str]]:
    """Return all columns of a file as lists of text."""
    opened = open_source(DataSource(path, **said), bounds=bounds or Bounds())
    batches = [[column.to_pylist() for column in batch.columns] for batch in opened.batches]
    return [[cell for part in parts for cell in part] for parts in zip(*batches, strict=True)]


def refusal(path: Path, bounds: Bounds | None = None, **said: str) -> str:
    with pytest.raises(SourceError) as caught:
        cells(path, bounds, **said)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("id,x\na,ü\n".encode(), {}),
        ("\ufeffid,x\na,ü\n".encode(), {}),
        ("id,x\r\na,ü\r\n".encode(), {}),
        ("id,x\r\na,ü\n\r\n\n".encode(), {}),
        ("id,x\ra,ü".encode(), {}),
        ('"id","x"\n"a","ü"'.encode(), {}),
        ("id,x\na,ü\n".encode("utf-16"), {}),
        ("id,x\na,ü\n".encode("latin-1"), {"encoding": "latin-1"}),
        ("id,x\na,ü\n".encode("gbk"), {"encoding": "gbk"}),
        ("id,x\na,ü\n".encode("utf-16-le"), {"encoding": "utf-16"}),
        ("id;x\na;ü\n".encode(), {"delimiter": "semicolon"}),
        ("id|x\na|ü\n".encode(), {"delimiter": "bar"}),
    ],
)
def test_the_same_cells_are_read_from_every_encoding_line_end_and_delimiter(
    tmp_path: Path, raw: bytes, said: dict[str, str]
) -> None:
    assert cells(written(tmp_path, raw), **said) == [["a"], ["ü"]]
    assert cells(written(tmp_path, gzip.compress(raw), "table.csv.gz"), **said) == [["a"], ["ü"]]
    tabs = raw if "delimiter" in said else raw.replace(b",", b"\t")
    assert cells(written(tmp_path, tabs, "table.tsv"), **said) == [["a"], ["ü"]]


def test_a_cell_keeps_its_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,x\na,"1,2 ""three""\r\nfour"\nb,5" pipe\n')
    assert cells(path) == [["a", "b"], ['1,2 "three"\r\nfour', '5" pipe']]


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        (b"id,x\na,1\nb,\xff\n", ["line 3", "not utf-8", "--encoding", "latin-1"]),
        (b"id,x\n" + b"a,1\n" * 9_000 + b"b,\xe4\n", ["line 9002", "not utf-8"]),
        ("id,x\na,1\n".encode("utf-16")[:-1], ["line 2", "not utf-16"]),
        (b"id,x\na,1\nb\n", ["line 3", "1 cells", "2 columns", "quotes"]),
        (b'id,x\na,"1\n2"\nb,1,2\n', ["line 4", "3 cells"]),
        (b'id,x\na,"1\n', ["line 2", "quotes"]),
        (b'id,x\na,"1"2\n', ["line 2", "quotes"]),
        (b"id,x\na,1\n\nb,2\n", ["line 3 is empty"]),
        (b'id,x\na,"' + b"y" * 200_000, ["line 2", "quotes"]),
        (b"", ["no columns"]),
        (b"id,\n1,2\n", ["column 2", "empty"]),
        (b"id,id\n1,2\n", ["'id'", "twice", "column 1", "column 2"]),
        (b"id,a\0b\n1,2\n", ["column 2", r"'a\x00b'", "do not print"]),
        ("id,a\u202eb\n1,2\n".encode(), ["column 2", r"'a\u202eb'", "do not print"]),
        (b"id, x\n1,2\n", ["column 2", "' x'", "blanks"]),
        (b"id," + b"x" * 65 + b"\n1,2\n", ["column 2", "65 characters", "at most 64"]),
        (b"id;x\n1;2\n", ["'id;x'", "--delimiter semicolon"]),
        (b"id\tx\n1\t2\n", ["--delimiter tab"]),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line_and_a_remedy(
    tmp_path: Path, raw: bytes, parts: list[str]
) -> None:
    message = refusal(written(tmp_path, raw))
    assert message.isprintable()
    for part in parts:
        assert part in message


def test_a_header_of_a_hundred_thousand_columns_is_refused_at_once(tmp_path: Path) -> None:
    header = ",".join(f"c{place}" for place in range(100_000))
    assert "100000 columns, at most 16384" in refusal(written(tmp_path, header + "\n"))


@pytest.mark.parametrize(
    ("bounds", "part"),
    [
        (Bounds(rows=2), "more than 2 rows"),
        (Bounds(columns=1), "2 columns, at most 1"),
        (Bounds(cell_bytes=3), "row 2, column 'x': a cell of 5 bytes, at most 3"),
        (Bounds(text_bytes=20), "more than 20 bytes"),
    ],
)
def test_every_bound_of_a_file_is_kept(tmp_path: Path, bounds: Bounds, part: str) -> None:
    path = column_file(tmp_path, ["abc", "abcde", "abc"])
    assert len(cells(path)[1]) == 3
    assert part in refusal(path, bounds)


def test_a_reading_ends_when_its_time_is_over(tmp_path: Path) -> None:
    moments = iter(range(0, 100, 5))
    source = DataSource(column_file(tmp_path, ["a"] * 9))
    opened = open_source(source, bounds=Bounds(seconds=20), clock=lambda: next(moments))
    with pytest.raises(SourceError, match="not read within 20 s"):
        list(opened.batches)


def test_a_gzip_bomb_ends_at_the_bound_of_decompressed_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b"id,x\n" + b"a,1\n" * 2_000_000), "bomb.csv.gz")
    assert path.stat().st_size < 50_000
    assert "more than 1000000 bytes when decompressed" in refusal(path, Bounds(text_bytes=1_000_000))


def test_gzip_data_that_end_early_or_are_damaged_are_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"id,x\n" + b"a,1\n" * 50)
    flipped = bytearray(whole)
    flipped[-6] ^= 1
    for raw in (whole[:-9], bytes(flipped), b"id,x\na,1\n"):
        assert "gzip data are damaged" in refusal(written(tmp_path, raw, "t.csv.gz"))


def test_only_csv_files_have_a_delimiter_and_an_encoding_and_only_databases_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, "id\n1\n")
    for said, part in (
        ({"delimiter": ","}, "delimiter ',', allowed are comma"),
        ({"encoding": "ebcdic"}, "encoding 'ebcdic', allowed are utf-8"),
        ({"table": "t"}, "for databases"),
    ):
        assert part in refusal(path, **said)
    assert "CSV and TSV" in refusal(written(tmp_path, "x", "t.parquet"), delimiter="comma")
    assert "unknown kind of file" in refusal(written(tmp_path, "x", "t.xls"))


def test_columns_that_were_not_asked_for_are_not_judged(tmp_path: Path) -> None:
    table = typed(written(tmp_path, "secret,x,id\n\0,1,b\n"), ID, X)
    assert list(table.data) == ["id", "x"]
    assert table.ids == ["b"]
    with pytest.raises(SourceError, match=r"column 'y' missing.*'secret', 'x', 'id'"):
        typed(written(tmp_path, "secret,x,id\n1,1,b\n"), ID, Column("y", "text"))


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), end=st.sampled_from(["\n", "\r\n"]))
def test_what_python_writes_is_read_back_to_the_letter(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], end: str
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([("id", "x"), *rows])
    path = written(tmp_path_factory.mktemp("csv"), text.getvalue())
    assert cells(path) == [[left for left, _ in rows], [right for _, right in rows]]
