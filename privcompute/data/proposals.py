"""Types proposed by reading a whole table: what each column is, which cells differ, and what is doubtful.

A proposal never changes data; it is a schema and a list of doubts. Without doubts its owner may confirm it
as it stands; each doubt is settled by declaring the column in a schema file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from privcompute.data import shapes
from privcompute.data.batches import OpenedTable, SourceError
from privcompute.data.literals import BOOLEANS, WORDS, ColumnType
from privcompute.data.proposed_domains import NO_DOMAIN, ProposedDomain, bounds, categories
from privcompute.data.schema import (
    COLUMNS_MAX,
    FORMATS,
    IDENTIFIER,
    SPELLINGS_MAX,
    WORD_CHARS_MAX,
    Column,
    Schema,
    listed,
)
from privcompute.data.shapes import DISTINCT_MAX, TYPE_FORMS, ColumnTally, TypeForm

Examples = tuple[tuple[int, str], ...]

DOUBTS: Mapping[str, str] = {
    "missing_cells": "cells are missing: say what they become (missing = refuse, drop-row, mean, category), "
    "and which missing_spellings stand for them",
    "odd_cells": "cells do not fit the type that most cells have: correct them, or declare another type",
    "leading_zeros": "some numbers have leading zeros: codes are text, numbers are integer",
    "long_digits": "whole numbers of 16 digits or more: codes are text, numbers are integer",
    "too_precise": "numbers of more than 17 digits: round them in the file, or declare text",
    "day_or_month": "each day could be read day first or month first: declare the format",
    "decimal_or_thousands": "the mark could stand before decimals or between thousands: declare the format",
    "compact_dates": "the whole numbers could be days as 20240131: declare date or integer",
    "short_years": "days have years of two digits: write four in the file, or declare text",
    "signed_numbers": "numbers with a sign of percent or currency: remove the signs, or declare text",
    "mixed_booleans": "booleans are spelt in several ways: declare boolean, or text",
    "numbers_as_text": "the file says text, and most cells are numbers or days: declare which they are",
    "blanks": "cells have blanks or invisible characters at their ends: declare normalise, such as trim",
    "invisible": "cells hold invisible characters: correct them, or declare normalise, such as spaces",
    "decomposed": "cells have decomposed accents (not NFC): declare normalise, such as nfc",
    "all_missing": "no cell holds a value: leave the column out, or declare it",
}
"""Code of a doubt -> what it means, and how a schema file settles it."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reason why a person must look at a column."""

    code: str
    """One of DOUBTS."""
    count: int
    """Cells that it is about."""
    examples: Examples = ()
    """(row, cell) of the first few."""


@dataclass(frozen=True, slots=True)
class ColumnProposal:
    """What is proposed for one column, and why."""

    column: Column
    cells: int
    """Cells that hold a value."""
    fitting: int
    """Of those, how many say that this is the type."""
    missing: int
    spellings: Mapping[str, int] = field(default_factory=dict)
    """Spellings of missing cells, "" for those that hold nothing -> how many."""
    doubts: tuple[Doubt, ...] = ()
    domain: ProposedDomain = NO_DOMAIN
    """What it may be declared to hold; the column itself declares nothing of it."""


@dataclass(frozen=True, slots=True)
class TypesProposal:
    """What is proposed for a table."""

    schema: Schema
    columns: tuple[ColumnProposal, ...]
    rows: int

    @property
    def doubtful(self) -> bool:
        """Tell whether a person must settle something first."""
        return any(column.doubts for column in self.columns)


def propose(opened: OpenedTable, key: Sequence[str], most: int = COLUMNS_MAX) -> TypesProposal:
    """Read a whole table and propose its schema, with these columns as the identifier, in this order."""
    if len(opened.names) > most:
        raise SourceError(
            f"{opened.where}: {len(opened.names)} columns, the ledger takes {most}; name those that others "
            "may use in a schema file: assent dataset inspect FILE --output SCHEMA.toml"
        )
    absent = [name for name in key if name not in opened.names]
    if absent:
        raise SourceError(
            f"{opened.where}: no column {listed(absent)} for the identifiers; it has {listed(opened.names)}"
        )
    tallies = [ColumnTally() for _ in opened.names]
    for batch in opened.batches:
        for tally, cells in zip(tallies, batch.columns, strict=True):
            tally.take(cells, batch.first)
    if tallies[0].rows == 0:
        raise SourceError(f"{opened.where}: no rows below the header; a dataset needs at least one")
    columns = tuple(
        propose_column(name, tally, stated, in_key=name in key)
        for name, tally, stated in zip(opened.names, tallies, opened.stated, strict=True)
    )
    schema = Schema(tuple(proposal.column for proposal in columns), tuple(key))
    return TypesProposal(schema, columns, tallies[0].rows)


def propose_column(
    name: str, tally: ColumnTally, stated: ColumnType | None, *, in_key: bool
) -> ColumnProposal:
    """Propose a column from the tally of its cells, and from the type that the file states."""
    present = tally.sum(lambda shape: not shape & shapes.MISSING)
    if in_key:
        proposal = _words(Column(name, "text", IDENTIFIER), tally, present)
    elif present == 0:
        proposal = replace(_words(Column(name, "text"), tally, 0), doubts=(Doubt("all_missing", tally.rows),))
    elif stated is not None:
        proposal = _as_stated(name, tally, stated, present)
    else:
        proposal = _as_seen(name, tally, present)
    return replace(_with_common_doubts(proposal, tally), domain=_domain(proposal, tally, in_key=in_key))


def _domain(proposal: ColumnProposal, tally: ColumnTally, *, in_key: bool) -> ProposedDomain:
    """Return what a column may be declared to hold: none of identifiers, booleans and texts."""
    column = proposal.column
    if in_key:
        return NO_DOMAIN
    if column.type == "category":
        return categories(tally.distinct, [*proposal.spellings, *column.missing_spellings])
    form = column.format or FORMATS[column.type][0] if column.type in FORMATS else ""
    bit = next((one.bit for one in TYPE_FORMS if (one.type, one.form) == (column.type, form)), 0)
    ends = tally.ranges.get(bit)
    return NO_DOMAIN if ends is None else bounds(column.type, *ends)


def _as_stated(name: str, tally: ColumnTally, stated: ColumnType, present: int) -> ColumnProposal:
    if stated in WORDS:
        proposal = _words(Column(name, stated), tally, present)
        best, count = _best(tally)
        codes = _count(tally, shapes.LEADING_ZERO)
        if count * 2 >= present and not codes:
            doubt = Doubt("numbers_as_text", count, _examples(tally, best.bit))
            return replace(proposal, doubts=(*proposal.doubts, doubt))
        return proposal
    offered = [candidate for candidate in TYPE_FORMS if candidate.type == stated]
    return _typed(name, tally, present, max(offered, key=lambda candidate: _count(tally, candidate.bit)))


def _as_seen(name: str, tally: ColumnTally, present: int) -> ColumnProposal:
    best, count = _best(tally)
    possible = tally.sum(lambda shape: _is_missing(shape, best.bit) and not shape & shapes.MISSING)
    if count == 0 or count * 2 < present - possible:
        kind: ColumnType = "category" if len(tally.distinct) <= min(DISTINCT_MAX, present // 2) else "text"
        proposal = _words(Column(name, kind), tally, present)
        for bit, code in ((shapes.SHORT_YEAR, "short_years"), (shapes.SIGNED, "signed_numbers")):
            like = _count(tally, bit)
            if like * 2 >= present:
                doubt = Doubt(code, like, _examples(tally, bit))
                return replace(proposal, doubts=(*proposal.doubts, doubt))
        return proposal
    for bit, code in ((shapes.LEADING_ZERO, "leading_zeros"), (shapes.LONG, "long_digits")):
        codes = _count(tally, bit)
        if codes and best.type in ("integer", "decimal"):
            proposal = _words(Column(name, "text"), tally, present)
            if len(tally.lengths) == 1 and best.type == "integer" and count == present:
                return proposal  # all of one width, as codes are
            doubt = Doubt(code, codes, _examples(tally, bit))
            return replace(proposal, doubts=(*proposal.doubts, doubt))
    return _typed(name, tally, present, best)


def _best(tally: ColumnTally) -> tuple[TypeForm, int]:
    """Return the candidate that most cells fit, the preferred one of equals, and how many fit."""
    counts = [(_count(tally, candidate.bit), candidate) for candidate in TYPE_FORMS]
    if not _is_boolean(tally):
        counts = counts[1:]
    count, best = max(counts, key=lambda pair: pair[0])
    return best, count


def _is_boolean(tally: ColumnTally) -> bool:
    """Return whether cells may be booleans: by words, or by two of 0 and 1, or of letters."""
    boolean = TYPE_FORMS[0].bit
    if tally.sum(lambda shape: bool(shape & boolean) and not shape & (shapes.LETTER | shapes.DIGIT)):
        return True
    values = {BOOLEANS.get(cell.strip().lower()) for cell in tally.distinct} - {None}
    return len(values) == 2


def _typed(name: str, tally: ColumnTally, present: int, best: TypeForm) -> ColumnProposal:
    """Propose a type that is no text, with the doubts that its cells leave."""
    fitting = _count(tally, best.bit)
    possible = tally.sum(lambda shape: _is_missing(shape, best.bit) and not shape & shapes.MISSING)
    form = "" if best.form == FORMATS[best.type][0] else best.form
    column = Column(name, best.type, format=form)
    proposal = _proposal(column, tally, fitting, lambda shape: _is_missing(shape, best.bit))
    doubts = list(proposal.doubts)
    odd = present - possible - fitting
    if odd:
        precise = _count(tally, shapes.TOO_PRECISE)
        code = "too_precise" if precise == odd else "odd_cells"
        examples = tally.examples(lambda shape: not shape & best.bit and not _is_missing(shape, best.bit))
        doubts.append(Doubt(code, odd, examples))
    doubts += _ambiguities(tally, best, fitting)
    return replace(proposal, doubts=tuple(doubts))


def _ambiguities(tally: ColumnTally, best: TypeForm, fitting: int) -> list[Doubt]:
    """Return doubts about cells that can be read in two ways."""
    found = []
    rivals = {c.form[:10] for c in TYPE_FORMS if c.type == best.type and _count(tally, c.bit) == fitting}
    if best.type in ("date", "timestamp") and {"31.01.2024", "01/31/2024"} <= rivals:
        found.append(Doubt("day_or_month", fitting, _examples(tally, best.bit)))
    if best.type in ("integer", "decimal"):
        marked, threes = _count(tally, shapes.MARKED), _count(tally, shapes.THREES)
        plain = [c for c in TYPE_FORMS if c.form in ("1234.5", "1234,5") and _count(tally, c.bit) == fitting]
        if marked and threes == fitting and plain:
            found.append(Doubt("decimal_or_thousands", marked, _examples(tally, shapes.MARKED)))
        if fitting == _count(tally, shapes.COMPACT_DAY):
            found.append(Doubt("compact_dates", fitting, _examples(tally, shapes.COMPACT_DAY)))
    if best.type == "boolean":
        digits, letters = _count(tally, shapes.DIGIT), _count(tally, shapes.LETTER)
        parts = [part for part in (digits, letters, fitting - digits - letters) if part]
        if len(parts) > 1:
            found.append(Doubt("mixed_booleans", fitting, _examples(tally, best.bit)))
    return found


def _words(column: Column, tally: ColumnTally, present: int) -> ColumnProposal:
    return _proposal(column, tally, present, lambda shape: bool(shape & shapes.MISSING))


def _proposal(column: Column, tally: ColumnTally, fitting: int, is_missing: shapes.Test) -> ColumnProposal:
    """Return a proposal with its missing cells, which are a doubt."""
    absent = tally.nulls + tally.sum(is_missing)
    certain = is_missing(shapes.POSSIBLY_MISSING)
    spellings = {
        word: count
        for word, count in tally.missing.items()
        if certain or word.strip().lower() in shapes.CERTAIN_MISSING
    }
    if tally.nulls:
        spellings[""] = spellings.get("", 0) + tally.nulls
    doubts: tuple[Doubt, ...] = ()
    if absent:
        words = [word for word in sorted(spellings) if len(word) <= WORD_CHARS_MAX][:SPELLINGS_MAX]
        column = replace(column, missing_spellings=tuple(words))
        doubts = (Doubt("missing_cells", absent, tally.examples(is_missing)),)
    return ColumnProposal(column, tally.rows - absent, fitting, absent, spellings, doubts)


def _with_common_doubts(proposal: ColumnProposal, tally: ColumnTally) -> ColumnProposal:
    """Add what concerns cells of every type, and the steps that would mend it."""
    doubts, steps = list(proposal.doubts), []
    for bit, code, step in (
        (shapes.BLANKS, "blanks", "trim"),
        (shapes.INVISIBLE, "invisible", "spaces"),
        (shapes.DECOMPOSED, "decomposed", "nfc"),
    ):
        count = _count(tally, bit)
        if count:
            doubts.append(Doubt(code, count, _examples(tally, bit)))
            steps.append(step)
    return replace(proposal, column=replace(proposal.column, normalise=tuple(steps)), doubts=tuple(doubts))


def _is_missing(shape: int, bit: int) -> bool:
    """Return whether a cell of this shape is missing in a column of numbers or days."""
    return bool(shape & (shapes.MISSING | shapes.POSSIBLY_MISSING)) and not shape & bit


def _count(tally: ColumnTally, bit: int) -> int:
    return tally.sum(lambda shape: bool(shape & bit) and not shape & shapes.MISSING)


def _examples(tally: ColumnTally, bit: int) -> Examples:
    return tally.examples(lambda shape: bool(shape & bit) and not shape & shapes.MISSING)
