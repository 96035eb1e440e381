"""Cells of a file to typed values, strictly: a cell is a value of its column's type, or it does not fit.

Nothing is rounded, cut or guessed. Numbers are read by Arrow in bulk, everything else once for each distinct
spelling of a batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from privcompute.data.batches import Cells
from privcompute.data.literals import (
    DIGITS_MAX,
    WORDS,
    ColumnType,
    day_number,
    read_boolean,
    read_integer,
)
from privcompute.data.schema import NUMBER_FORMATS

TEXT_CHARS_MAX = 1_024
DTYPES: Mapping[ColumnType, Any] = {
    "text": np.dtype(object),
    "category": np.dtype(object),
    "integer": np.dtype(np.int64),
    "decimal": np.dtype(np.float64),
    "boolean": np.dtype(np.bool_),
    "date": np.dtype("datetime64[D]"),
    "timestamp": np.dtype("datetime64[us]"),
}
Fits = NDArray[np.bool_]
_PLAIN_INTEGER = r"^[+-]?0*[0-9]{1,18}$"
_PLAIN_DECIMAL = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_SEPARATOR = r"([-/. ])"
_DAY = {
    "2024-01-31": r"(?P<y>[0-9]{4})(?:([-/. ])(?P<m>[0-9]{1,2})\2(?P<d>[0-9]{1,2})"
    r"|年(?P<m2>[0-9]{1,2})月(?P<d2>[0-9]{1,2})日)",
    "31.01.2024": r"(?P<d>[0-9]{1,2})([-/. ])(?P<m>[0-9]{1,2})\2(?P<y>[0-9]{4})",
    "01/31/2024": r"(?P<m>[0-9]{1,2})([-/. ])(?P<d>[0-9]{1,2})\2(?P<y>[0-9]{4})",
    "20240131": r"(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})",
    "31-Jan-2024": r"(?P<d>[0-9]{1,2})([-/. ])(?P<name>[A-Za-z]{3})\2(?P<y>[0-9]{4})",
}
_DAYS = {form: re.compile(pattern) for form, pattern in _DAY.items()}
_TIMES = {
    form: re.compile(
        pattern
        + r"[T ](?P<H>[0-9]{2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:\.(?P<f>[0-9]{1,9}))?)?"
        + r" ?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?"
    )
    for form, pattern in _DAY.items()
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_cells(cells: Cells, kind: ColumnType, form: str) -> tuple[NDArray[Any], Fits]:
    """Return (values of DTYPES[kind], which cells fit); where they do not, values mean nothing."""
    if kind == "integer":
        return _integers(cells, form)
    if kind == "decimal":
        return _decimals(cells, form)
    if kind in WORDS:
        return _texts(cells)
    if kind == "boolean":
        return _by_distinct(cells, read_boolean, False, kind)
    if kind == "date":
        return _by_distinct(cells, lambda text: read_day(text, form), 0, kind)
    return _by_distinct(cells, lambda text: read_time(text, form), 0, kind)


def numpy_texts(cells: Cells) -> NDArray[Any]:
    """Return cells as an array of str objects, None for nulls."""
    return np.asarray(cells.to_numpy(zero_copy_only=False), dtype=object)


def as_flags(flags: Any) -> Fits:
    """Return an Arrow array of booleans as numpy's, false for nulls."""
    return np.asarray(pc.fill_null(flags, False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _texts(cells: Cells) -> tuple[NDArray[Any], Fits]:
    lengths = pc.utf8_length(cells)
    fits = pc.and_(pc.greater(lengths, 0), pc.less_equal(lengths, TEXT_CHARS_MAX))
    fits = pc.and_(fits, pc.invert(pc.match_substring(cells, "\0")))
    return numpy_texts(cells), as_flags(fits)


def _by_distinct(
    cells: Cells, read: Callable[[str], Any], nothing: Any, kind: ColumnType
) -> tuple[NDArray[Any], Fits]:
    """Read every distinct spelling once."""
    encoded = pc.dictionary_encode(cells)
    read_values = [read(text) for text in encoded.dictionary.to_pylist()]
    values = np.array([nothing if value is None else value for value in read_values] or [nothing])
    known = np.array([value is not None for value in read_values] or [False], dtype=np.bool_)
    places = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
    fits = known[places] & as_flags(pc.is_valid(cells))
    return values[places].astype(DTYPES[kind]), fits


# --- numbers -----------------------------------------------------------------------------------------


def _plain(cells: Cells, form: str) -> Cells:
    """Return numbers without thousands and with a point; null for what is grouped wrongly."""
    thousands, mark = NUMBER_FORMATS[form]
    if (thousands, mark) == ("", "."):
        return cells
    escaped, point = re.escape(thousands), re.escape(mark)
    whole = rf"([0-9]+|[1-9][0-9]{{0,2}}({escaped}[0-9]{{3}})+)" if thousands else "[0-9]+"
    shape = rf"^[+-]?({whole}({point}[0-9]*)?|{point}[0-9]+)([eE][+-]?[0-9]{{1,4}})?$"
    kept = pc.if_else(pc.match_substring_regex(cells, shape), cells, pa.scalar(None, pa.string()))
    if thousands:
        kept = pc.replace_substring(kept, thousands, "")
    return kept if mark == "." else pc.replace_substring(kept, mark, ".")


def _integers(cells: Cells, form: str) -> tuple[NDArray[Any], Fits]:
    plain = _plain(cells, form)
    short = pc.fill_null(pc.match_substring_regex(plain, _PLAIN_INTEGER), False)
    bare = pc.replace_substring_regex(plain, r"^\+?(-?)0*([0-9])", r"\1\2")
    values = pc.fill_null(pc.if_else(short, bare, "0").cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    fits = as_flags(short)
    long = as_flags(pc.match_substring_regex(plain, r"^[+-]?0*[0-9]{19}$")) & ~fits
    if long.any():  # some have 64 bits, and Arrow would refuse all for one that has more
        values = values.copy()
        for place in np.flatnonzero(long).tolist():
            number = read_integer(bare[place].as_py())
            if number is not None:
                values[place], fits[place] = number, True
    return values, fits


def _decimals(cells: Cells, form: str) -> tuple[NDArray[Any], Fits]:
    plain = _plain(cells, form)
    matches = pc.fill_null(pc.match_substring_regex(plain, _PLAIN_DECIMAL), False)
    if pc.any(pc.greater(pc.utf8_length(plain), DIGITS_MAX)).as_py():
        digits = pc.replace_substring_regex(pc.replace_substring_regex(plain, "[eE].*$", ""), "[+.-]", "")
        significant = pc.utf8_length(pc.ascii_trim(digits, "0"))
        matches = pc.fill_null(pc.and_(matches, pc.less_equal(significant, DIGITS_MAX)), False)
    values = pc.fill_null(pc.if_else(matches, plain, "0").cast(pa.float64()), 0.0)
    numbers = values.to_numpy(zero_copy_only=False) + 0.0  # zero has no sign
    return numbers, as_flags(matches) & np.isfinite(numbers)


# --- days and timestamps -----------------------------------------------------------------------------


def read_day(text: str, form: str) -> int | None:
    """Return the days since 1970 of a day in one of DAY_FORMATS."""
    found = _DAYS[form].fullmatch(text)
    return None if found is None else _day_of(found)


def _day_of(found: re.Match[str]) -> int | None:
    parts = found.groupdict()
    if "name" in parts:
        name = parts["name"].lower()
        month = _MONTHS.index(name) + 1 if name in _MONTHS else 0
    else:
        month = int(parts["m"] or parts.get("m2") or 0)
    return day_number(
        int(parts["y"]), month, int(parts["d"] if "d2" not in parts else parts["d"] or parts["d2"])
    )


def read_time(text: str, form: str) -> int | None:
    """Return the microseconds since 1970 of a timestamp in one of TIME_FORMATS; no zone counts as UTC."""
    zoned = form.endswith("Z")
    found = _TIMES[form.split(" ")[0]].fullmatch(text)
    if found is None or (found["zone"] is not None) != zoned:
        return None
    day = _day_of(found)
    hour, minute, second = int(found["H"]), int(found["M"]), int(found["S"] or 0)
    fraction = (found["f"] or "").ljust(9, "0")
    offset = _offset_minutes(found["zone"] or "Z")
    if day is None or hour > 23 or minute > 59 or second > 59 or fraction[6:] != "000" or offset is None:
        return None
    seconds = ((day * 24 + hour) * 60 + minute - offset) * 60 + second
    return seconds * 1_000_000 + int(fraction[:6])


def _offset_minutes(zone: str) -> int | None:
    if zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 14 or minutes > 59:
        return None
    return (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)


def day_text(days: int) -> str:
    """Return YYYY-MM-DD of days since 1970."""
    return (_EPOCH + timedelta(days=days)).date().isoformat()
