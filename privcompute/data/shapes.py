"""Shapes of cells: everything that a cell could be, as bits, and the tally of these over a whole file.

The tally of a column has one entry for each set of bits that occurs, with a count and the first few cells. So
one pass over the file answers for every type how many cells say so, and which do not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from privcompute.data.batches import Cells
from privcompute.data.cells import as_flags, read_cells
from privcompute.data.literals import BOOLEANS, ColumnType
from privcompute.data.normalisation import is_blank, normalise, step_of, trim
from privcompute.data.schema import DAY_FORMATS, NUMBER_FORMATS, TIME_FORMATS

EXAMPLES_MAX = 5
"""Cells that are kept of each shape."""
DISTINCT_MAX = 64
"""Different values up to which a column of words is proposed as a category."""
WORD_CHARS_MAX = 60
"""Of a cell that is kept to be shown."""
CERTAIN_MISSING = frozenset(
    {"", "na", "n/a", "#n/a", "nan", "null", "<na>", "\\n", "(null)", "#null!", "#value!", "#div/0!", "nil"}
)
"""Usual spellings of a missing value, in lower case."""
POSSIBLE_MISSING = frozenset({"-", "--", "?", ".", "none", "missing", "unknown", "n.a.", "k.a."})
"""Spellings of a missing value where the other cells are no words."""

MISSING, POSSIBLY_MISSING = 1 << 0, 1 << 1
LEADING_ZERO = 1 << 2
LONG = 1 << 3
"""A whole number of so many digits that it is rather a code (16 or more), or beyond 64 bits."""
TOO_PRECISE = 1 << 4
"""A number with more digits than a double tells apart."""
MARKED = 1 << 5
"""A number with a point or comma."""
THREES = 1 << 6
"""A number without point or comma, or in groups of three digits, as in 1,234 and 1.234."""
LETTER, DIGIT = 1 << 7, 1 << 8
"""A boolean of one letter, or written 0 or 1."""
COMPACT_DAY = 1 << 9
"""A day of 1900 to 2099, written 20240131."""
SHORT_YEAR = 1 << 10
"""Looks like a day with a year of two digits."""
BLANKS, INVISIBLE, DECOMPOSED = 1 << 11, 1 << 12, 1 << 13
"""Blanks or invisible characters at an end; invisible ones within; not in Unicode's normal form C."""
SIGNED = 1 << 14
"""Would be a number without a sign of percent, of a currency, or a minus that is no hyphen."""


@dataclass(frozen=True, slots=True)
class TypeForm:
    """A type and format that cells may have; `bit` says in a shape that a cell has it."""

    type: ColumnType
    form: str
    bit: int


_GROUPED = tuple(form for form, (thousands, _) in NUMBER_FORMATS.items() if thousands)
_KINDS: tuple[tuple[ColumnType, str], ...] = (
    ("boolean", ""),
    ("integer", "1234.5"),
    ("decimal", "1234.5"),
    ("decimal", "1234,5"),
    *((kind, form) for kind in ("integer", "decimal") for form in _GROUPED),
    *(("date", form) for form in DAY_FORMATS),
    *(("timestamp", form) for form in TIME_FORMATS),
)
TYPE_FORMS = tuple(TypeForm(kind, form, 1 << (24 + place)) for place, (kind, form) in enumerate(_KINDS))
"""All types but text and category with their formats, the preferred ones first."""

_PATTERNS = {
    LEADING_ZERO: r"^[+-]?0[0-9]+$",
    LONG: r"^[+-]?[0-9]{16,}$",
    TOO_PRECISE: r"^[+-]?[0-9.,]*[.,][0-9]*$",
    MARKED: r"^[+-]?[0-9]*[.,][0-9.,]*$",
    THREES: r"^[+-]?(0|[1-9][0-9]{0,2}((,[0-9]{3})*|(\.[0-9]{3})*))$",
    DIGIT: r"^[01]$",
    COMPACT_DAY: r"^(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$",
    SHORT_YEAR: r"^[0-9]{1,2}([-/.][0-9]{1,2}[-/.]|[-/. ][A-Za-z]{3}[-/. ])[0-9]{2}$",
    SIGNED: r"^([€$£¥−] ?[+-]?[0-9][0-9.,' ]*%?|[+-]?[0-9][0-9.,' ]* ?[%€$£¥])$",
}
_PLAIN = r"^[ -~]*$"
"""Printable ASCII: cells with anything else are looked at one by one."""
_PARTS = r"^([0-9]{8}$|[0-9]+[-/. 年][0-9A-Za-z]+[-/. 月][0-9])"
"""Begins every day and timestamp, in any format."""
_NFC = [step for step in [step_of("nfc")] if step is not None]
Bits = NDArray[np.int64]
Flags = NDArray[np.bool_]
Test = Callable[[int], bool]
"""Says something of a shape."""


def shapes_of(cells: Cells) -> Bits:
    """Return the shape of each of these different cells; of types, as they are without outer blanks."""
    texts = cells.to_pylist()
    plain = as_flags(pc.match_substring_regex(cells, _PLAIN))
    edges = as_flags(pc.match_substring_regex(cells, r"^ | $"))
    bits = np.zeros(len(cells), dtype=np.int64)
    for place in np.flatnonzero(~plain | edges).tolist():
        bits[place] = _deceptive(texts[place])
    bare = [trim(text) if bits[place] & BLANKS else text for place, text in enumerate(texts)]
    trimmed = pa.array(bare, pa.string())
    for bit, pattern in _PATTERNS.items():
        bits |= np.where(as_flags(pc.match_substring_regex(trimmed, pattern)), bit, 0)
    lower = [text.lower() for text in bare]
    bits |= _of_words(lower, CERTAIN_MISSING, MISSING) | _of_words(lower, POSSIBLE_MISSING, POSSIBLY_MISSING)
    bits |= _of_words(lower, {word for word in BOOLEANS if len(word) == 1 and word.isalpha()}, LETTER)
    bits &= ~np.where(_significant(trimmed) > 17, 0, TOO_PRECISE)
    return bits | _fitting(trimmed)


def _fitting(cells: Cells) -> Bits:
    """Return the bits of all candidates that each cell fits; each is tried where it tells more than others.

    Without marks, all formats of numbers say the same; with a point alone, those whose decimal mark it is.
    """
    bits = np.zeros(len(cells), dtype=np.int64)
    marked = as_flags(pc.match_substring_regex(cells, "[,' ]"))
    dotted = as_flags(pc.match_substring(cells, "."))
    parts = as_flags(pc.match_substring_regex(cells, _PARTS))
    everywhere = np.ones(len(cells), dtype=np.bool_)
    plain: dict[str, Flags] = {}
    for candidate in TYPE_FORMS:
        fits = np.zeros(len(cells), dtype=np.bool_)
        asked = everywhere
        if candidate.type in ("date", "timestamp"):
            asked = parts
        elif candidate.type in plain:
            asked = marked | dotted if NUMBER_FORMATS[candidate.form][1] == "," else marked
            fits = plain[candidate.type] & ~asked
        if asked.any():
            fits[asked] = read_cells(cells.filter(pa.array(asked)), candidate.type, candidate.form)[1]
        plain.setdefault(candidate.type, fits)
        bits |= np.where(fits, candidate.bit, 0)
    return bits


def _of_words(lower: list[str], words: frozenset[str] | set[str], bit: int) -> Bits:
    return np.array([bit if text in words else 0 for text in lower], dtype=np.int64)


def _significant(cells: Cells) -> Bits:
    digits = pc.replace_substring_regex(cells, "[^0-9]", "")
    return np.asarray(pc.utf8_length(pc.ascii_trim(digits, "0")).to_numpy(zero_copy_only=False))


def _deceptive(text: str) -> int:
    bare = trim(text)
    bits = BLANKS if bare != text else 0
    if any(is_blank(char) and char != " " for char in bare):
        bits |= INVISIBLE
    if not bare.isascii() and normalise(bare, _NFC) != bare:
        bits |= DECOMPOSED
    return bits


def _range_of(cells: Cells, which: Flags, kind: ColumnType, form: str) -> tuple[float, float] | None:
    """Return the least and greatest of these cells, read so; None where there are none."""
    values, fits = read_cells(cells.filter(pa.array(which)), kind, form)
    if not fits.any():
        return None
    numbers = values[fits].astype(np.float64)
    return float(numbers.min()), float(numbers.max())


@dataclass(slots=True)
class Tally:
    """Cells of one shape: how many, and the first few with their rows."""

    count: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)
    """(row, cell), each cut to WORD_CHARS_MAX."""


class ColumnTally:
    """Shapes of one column over all batches."""

    __slots__ = ("distinct", "lengths", "missing", "nulls", "ranges", "rows", "tallies")

    def __init__(self) -> None:
        self.rows = self.nulls = 0
        self.tallies: dict[int, Tally] = {}
        self.missing: dict[str, int] = {}
        """Spelling of a missing value, as it stands in the file -> how often."""
        self.distinct: set[str] = set()
        """Different cells, one more than DISTINCT_MAX at most."""
        self.lengths: set[int] = set()
        """Lengths of cells with leading zeros and of other whole numbers, three at most."""
        self.ranges: dict[int, tuple[float, float]] = {}
        """Bit of a type and form -> the least and greatest cell, as cells of it are held."""

    def take(self, cells: Cells, first: int) -> None:
        """Add the cells of the rows from number `first` on."""
        self.rows += len(cells)
        self.nulls += cells.null_count
        encoded = pc.dictionary_encode(cells)
        distinct = encoded.dictionary
        if len(distinct) == 0:
            return
        bits = shapes_of(distinct)
        present = np.flatnonzero(as_flags(pc.is_valid(cells)))
        places = encoded.indices.drop_null().to_numpy()
        self._count(cells, first, present, bits[places])
        self._note_words(distinct, bits, np.bincount(places, minlength=len(distinct)))
        self._note_ranges(distinct, bits)

    def _count(self, cells: Cells, first: int, present: Bits, bits: Bits) -> None:
        for shape, count in zip(*np.unique(bits, return_counts=True), strict=True):
            tally = self.tallies.setdefault(int(shape), Tally())
            tally.count += int(count)
            wanted = EXAMPLES_MAX - len(tally.examples)
            for place in present[np.flatnonzero(bits == shape)[:wanted]].tolist() if wanted else ():
                tally.examples.append((first + place, cells[place].as_py()[:WORD_CHARS_MAX]))

    def _note_words(self, distinct: Cells, bits: Bits, counts: Bits) -> None:
        for place in np.flatnonzero(bits & (MISSING | POSSIBLY_MISSING)).tolist():
            word = distinct[place].as_py()
            if word in self.missing or len(self.missing) < DISTINCT_MAX:
                self.missing[word] = self.missing.get(word, 0) + int(counts[place])
        if len(self.distinct) <= DISTINCT_MAX:
            self.distinct.update(distinct[: DISTINCT_MAX + 1].to_pylist())
        digits = as_flags(pc.match_substring_regex(distinct, "^[0-9]+$"))
        if len(self.lengths) < 3 and digits.any():
            lengths = pc.utf8_length(distinct.filter(pa.array(digits)))
            self.lengths.update(pc.unique(lengths)[:3].to_pylist())

    def _note_ranges(self, distinct: Cells, bits: Bits) -> None:
        """Note the range of each type and form; whole numbers without marks are the same in every form."""
        trimmed = pc.utf8_trim_whitespace(distinct)
        marked = as_flags(pc.match_substring_regex(trimmed, "[^0-9+-]"))
        plain = _range_of(trimmed, ~marked, "decimal", "1234.5")
        for one in TYPE_FORMS:
            fits = (bits & one.bit) != 0
            if one.type == "boolean" or not fits.any():
                continue
            numeric = one.type in ("integer", "decimal")
            own = _range_of(trimmed, fits & marked if numeric else fits, one.type, one.form)
            found = [own, self.ranges.get(one.bit), *([plain] if numeric else [])]
            ends = [end for ends in found if ends is not None for end in ends]
            if ends:
                self.ranges[one.bit] = min(ends), max(ends)

    def sum(self, holds: Test) -> int:
        """Return how many cells have a shape of which this holds."""
        return sum(tally.count for shape, tally in self.tallies.items() if holds(shape))

    def examples(self, holds: Test) -> tuple[tuple[int, str], ...]:
        """Return the first few (row, cell) with a shape of which this holds."""
        found = [one for shape, tally in self.tallies.items() if holds(shape) for one in tally.examples]
        return tuple(sorted(found)[:EXAMPLES_MAX])
