"""Declared schema of a dataset: what each column means, how its file spells it, and its canonical bytes.

What is *declared* (type, unit, missing-value rule, coding, domain, normalisation, key) means the same to
every member and has one encoding, whose chained hash is the schema's seal. How one owner's file *spells* it
(the form of its numbers and days, its words for missing cells) stays with that owner.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

from chain.primitives.errors import AssentError
from chain.primitives.schema_seal import sealed_by
from chain.primitives.values import Value, encode_value
from privcompute.data.literals import EXPECTED, MISSING, TYPES, WORDS, ColumnType, exact, read_literal
from privcompute.data.normalisation import MEANINGS, STEPS_MAX, step_of

COLUMNS_MAX = 1_024
"""Columns of a dataset, as the ledger bounds them, which has all of these bounds; a file may have more."""
NAME_CHARS_MAX = 64
COLUMN_BYTES_MAX = 32_768
SCHEMA_BYTES_MAX = 1_048_576
"""Canonical bytes of one column's declaration, and of all together."""
UNIT_CHARS_MAX = 32
CATEGORIES_MAX = 256
CODES_MAX = 256
EDGES_MAX = 65
SPELLINGS_MAX = 32
WORD_CHARS_MAX = 64
"""Of a category, a code, a bound, an edge, or a spelling of missing cells."""
KEY_COLUMNS_MAX = 8

Sensitivity = Literal["public", "internal", "personal", "sensitive", "identifier"]
IDENTIFIER: Sensitivity = "identifier"
SENSITIVITIES: tuple[Sensitivity, ...] = get_args(Sensitivity)
MissingRule = Literal["refuse", "drop-row", "mean", "category"]
MISSING_RULES: tuple[MissingRule, ...] = get_args(MissingRule)
KEY_TYPES: frozenset[ColumnType] = frozenset({"text", "integer", "date", "category"})
"""Types with one text for each value, of which identifiers can be made."""
NUMBER_FORMATS: Mapping[str, tuple[str, str]] = {
    "1234.5": ("", "."),
    "1234,5": ("", ","),
    "1,234.5": (",", "."),
    "1.234,5": (".", ","),
    "1 234.5": (" ", "."),
    "1 234,5": (" ", ","),
    "1'234.5": ("'", "."),
}
"""Form of numbers, given by example -> (character between thousands, decimal mark)."""
DAY_FORMATS = ("2024-01-31", "31.01.2024", "01/31/2024", "20240131", "31-Jan-2024")
"""Forms of days, given by example: their parts stand between -, /, . or blanks, the same in a cell."""
TIME_FORMATS = tuple(f"{day} 23:59{zone}" for day in DAY_FORMATS[:3] for zone in ("", "Z"))
"""Forms of timestamps: seconds and their fractions may follow; with Z every cell has a zone, else none."""
FORMATS: Mapping[ColumnType, tuple[str, ...]] = {
    "text": ("",),
    "category": ("",),
    "boolean": ("",),
    "integer": tuple(NUMBER_FORMATS),
    "decimal": tuple(NUMBER_FORMATS),
    "date": DAY_FORMATS,
    "timestamp": TIME_FORMATS,
}
_SURROGATE = re.compile("[\ud800-\udfff]")
"""No text: JSON can name half of a character, which has no bytes."""


class SchemaInvalid(AssentError):
    """A schema that declares what cannot be: the text names column, key, value and what is allowed."""

    code = "schema"


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column; literals are text, so that no float enters the canonical bytes."""

    name: str
    type: ColumnType
    sensitivity: Sensitivity = "personal"
    unit: str = ""
    """Unit of numbers, such as `EUR` or `kg`; "" where there is none."""
    missing: MissingRule = "refuse"
    coding: tuple[tuple[str, str], ...] = ()
    """(code in the file, value): what codes such as 1 and 2 stand for."""
    low: str | None = None
    high: str | None = None
    """Bounds, included, of numbers, days and timestamps."""
    categories: tuple[str, ...] = ()
    """All values that a text or category column may have; empty: any."""
    edges: tuple[str, ...] = ()
    """Public edges of bins of numbers, ascending."""
    normalise: tuple[str, ...] = ()
    """Steps that make a cell what it means, before anything else is done with it."""
    format: str = ""
    """How this owner's file writes numbers, days and timestamps: one of FORMATS, "" for the first."""
    missing_spellings: tuple[str, ...] = ("",)
    """Cells of this owner's file that stand for a missing value, besides cells that hold nothing."""

    @property
    def form(self) -> str:
        """Return the format, or its default."""
        return self.format or FORMATS[self.type][0]


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns of a dataset, and which of them, in this order, make the identifier of a row."""

    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    def column(self, name: str) -> Column:
        """Return the column of that name; raise SchemaInvalid when there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise SchemaInvalid(f"column {name!r}: not in the schema, which has {listed(self.names)}")

    @property
    def names(self) -> list[str]:
        """Return the names of all columns, in order."""
        return [column.name for column in self.columns]


def listed(names: Sequence[str]) -> str:
    """Return names for an error: the first eight, and how many more."""
    shown = ", ".join(repr(name) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def name_fault(name: str) -> str | None:
    """Return what is wrong with a column's name, None when nothing is."""
    if not name:
        return "it is empty"
    if len(name) > NAME_CHARS_MAX:
        return f"it has {len(name)} characters, at most {NAME_CHARS_MAX}"
    if not name.isprintable():
        return "it holds characters that do not print"
    if name != name.strip():
        return "blanks stand at its ends"
    return None


# --- what a schema may declare -----------------------------------------------------------------------


def check_schema(schema: Schema) -> Schema:
    """Return a schema unchanged; raise SchemaInvalid naming column, key, value and what is allowed."""
    if not 1 <= len(schema.columns) <= COLUMNS_MAX:
        raise SchemaInvalid(
            f"{len(schema.columns)} columns, the ledger takes 1..{COLUMNS_MAX}; keep those to be used"
        )
    doubled = [name for name, times in Counter(schema.names).items() if times > 1]
    if doubled:
        raise SchemaInvalid(f"column {doubled[0]!r} is declared twice; remove one")
    taken = 0
    for column in schema.columns:
        _check_column(column)
        taken += _declared_size(column)
    if taken > SCHEMA_BYTES_MAX:
        raise SchemaInvalid(
            f"declarations of {taken} bytes together, at most {SCHEMA_BYTES_MAX}; declare fewer columns, or "
            "fewer or shorter categories and codes"
        )
    _check_key(schema)
    return schema


def _declared_size(column: Column) -> int:
    size = len(declaration_bytes(column))
    _need(column, size <= COLUMN_BYTES_MAX, "declaration", f"{size} bytes",
          f"at most {COLUMN_BYTES_MAX}: fewer or shorter categories and codes")  # fmt: skip
    return size


def _check_key(schema: Schema) -> None:
    marked = [column.name for column in schema.columns if column.sensitivity == IDENTIFIER]
    if sorted(marked) != sorted(schema.key) or len(set(schema.key)) != len(schema.key):
        raise SchemaInvalid(
            f"key = {listed(schema.key)}, but sensitivity 'identifier' is declared for "
            f"{listed(marked) or 'no column'}; name in key exactly these columns, each once"
        )
    if len(schema.key) > KEY_COLUMNS_MAX:
        raise SchemaInvalid(f"key of {len(schema.key)} columns, at most {KEY_COLUMNS_MAX}")
    for name in schema.key:
        column = schema.column(name)
        _need(column, column.type in KEY_TYPES, "type", column.type, f"of an identifier: {_or(KEY_TYPES)}")
        allowed = column.missing in ("refuse", "drop-row")
        _need(column, allowed, "missing", column.missing, "of an identifier: 'refuse' or 'drop-row'")


def _check_column(column: Column) -> Column:
    fault = name_fault(column.name)
    if fault is not None:
        raise SchemaInvalid(f"column {column.name[:80]!r}: {fault}; rename it")
    for key, value, known in (
        ("type", column.type, TYPES),
        ("sensitivity", column.sensitivity, SENSITIVITIES),
        ("missing", column.missing, MISSING_RULES),
    ):
        _need(column, value in known, key, value, _or(known))
    forms = FORMATS[column.type]
    _need(column, column.format in ("", *forms), "format", column.format, _or(forms))
    numeric = column.type in ("integer", "decimal")
    fits = len(column.unit) <= UNIT_CHARS_MAX and column.unit.isprintable() and (numeric or not column.unit)
    _need(column, fits, "unit", column.unit, f"at most {UNIT_CHARS_MAX} printable characters, for numbers")
    fits = {"mean": column.type == "decimal", "category": column.type in WORDS}.get(column.missing, True)
    _need(column, fits, "missing", column.missing, "'mean' for decimals, 'category' for text and categories")
    steps = column.normalise
    fits = len(steps) <= STEPS_MAX and all(step_of(step) is not None for step in steps)
    _need(column, fits, "normalise", list(steps), f"at most {STEPS_MAX} of {_or(MEANINGS)}")
    _check_words(column, "missing_spellings", column.missing_spellings, SPELLINGS_MAX)
    _check_coding(column)
    _check_domain(column)
    return column


def _check_coding(column: Column) -> None:
    codes = tuple(code for code, _ in column.coding)
    _check_words(column, "coding", codes, CODES_MAX)
    for _, value in column.coding:
        fits = len(value) <= WORD_CHARS_MAX and not _SURROGATE.search(value)
        fits = fits and read_literal(column.type, value) is not None
        _need(column, fits, "coding", value, f"values that are {EXPECTED[column.type]}")
    clash = sorted(set(codes) & set(column.missing_spellings))
    _need(column, not clash, "coding", clash, "no code that missing_spellings says is missing")


def _check_words(column: Column, key: str, words: tuple[str, ...], most: int) -> None:
    fits = len(words) <= most and len(set(words)) == len(words)
    fits = fits and all(len(word) <= WORD_CHARS_MAX and not _SURROGATE.search(word) for word in words)
    allowed = f"at most {most} different texts of at most {WORD_CHARS_MAX} characters"
    _need(column, fits, key, [word[:80] for word in words[:3]], allowed)


def _check_domain(column: Column) -> None:
    words = column.type in WORDS
    _check_words(column, "categories", column.categories, CATEGORIES_MAX)
    fits = not column.categories or (
        words and "" not in column.categories and MISSING not in column.categories
    )
    _need(column, fits, "categories", list(column.categories[:3]), "texts, for a text or category column")
    bounded = not words and column.type != "boolean"
    for key, literals in (("low", (column.low,)), ("high", (column.high,)), ("edges", column.edges)):
        for literal in literals:
            if literal is not None:
                fits = bounded and len(literal) <= WORD_CHARS_MAX
                fits = fits and read_literal(column.type, literal) is not None
                _need(
                    column, fits, key, literal, f"{EXPECTED[column.type]}, for numbers, days and timestamps"
                )
    if column.low is not None and column.high is not None:
        fits = _place(column, column.low) <= _place(column, column.high)
        _need(column, fits, "low", column.low, f"at most high = {column.high!r}")
    edges = [_place(column, edge) for edge in column.edges]
    numeric = column.type in ("integer", "decimal")
    fits = not edges or (numeric and 2 <= len(edges) <= EDGES_MAX and all(a < b for a, b in pairwise(edges)))
    _need(column, fits, "edges", list(column.edges[:3]), f"2..{EDGES_MAX} ascending numbers, for numbers")


def _place(column: Column, literal: str) -> Any:
    return exact(literal) if column.type in ("integer", "decimal") else bound_value(column, literal)


def bound_value(column: Column, literal: str) -> Any:
    """Return the value of a bound or edge, as `read_literal` does; raise SchemaInvalid for none."""
    value = read_literal(column.type, literal)
    if value is None:
        raise SchemaInvalid(f"column {column.name!r}: {literal!r} is not {EXPECTED[column.type]}")
    return value


def _need(column: Column, holds: bool, key: str, value: object, allowed: str) -> None:
    if not holds:
        raise SchemaInvalid(f"column {column.name!r}: {key} = {value!r}: allowed is {allowed}")


def _or(words: object) -> str:
    return ", ".join(repr(word) for word in sorted(words))  # type: ignore[call-overload]


# --- canonical bytes ---------------------------------------------------------------------------------
#
# A declaration is a contract value (chain.primitives.values), so that the ledger can read it, and has no part
# that only its owner's file needs.


def declaration(column: Column) -> dict[str, Value]:
    """Return what is declared about a column, without how its owner's file spells it."""
    return {
        "name": column.name,
        "type": column.type,
        "sensitivity": column.sensitivity,
        "unit": column.unit,
        "missing": column.missing,
        "coding": [list(pair) for pair in column.coding],
        "low": column.low,
        "high": column.high,
        "categories": list(column.categories),
        "edges": list(column.edges),
        "normalise": list(column.normalise),
    }


def declaration_bytes(column: Column) -> bytes:
    """Return the canonical bytes of one column's declaration."""
    return encode_value(declaration(column))


def column_declared(declared: Mapping[str, Any]) -> Column:
    """Return the column of a declaration; raise SchemaInvalid when it could not be one.

    The ledger holds a declaration's shape, not what its texts say: whoever reads one checks it.
    """
    try:
        fields = dict(declared)
        for name in ("categories", "edges", "normalise"):
            fields[name] = tuple(declared[name])
        fields["coding"] = tuple((code, value) for code, value in declared["coding"])
        column = Column(**fields, missing_spellings=())
        return _check_column(column)
    except (TypeError, ValueError, KeyError) as error:
        raise SchemaInvalid(
            f"a declaration that cannot be read ({error}); its owner declares it anew"
        ) from None


def schema_seal(schema: Schema) -> bytes:
    """Return the 32 bytes that stand for everything that the schema declares."""
    return sealed_by(schema.key, [declaration_bytes(column) for column in schema.columns])
