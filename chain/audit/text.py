"""Trail rows and values as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from chain.audit.trail import TrailRow, moment
from chain.primitives.jsonvalue import BYTES_KEY
from chain.primitives.visible import json_text, one_line

FIELD_CHARS_MAX = 160
FOREIGN = "FOREIGN"
"""What stands before an event of a contract that does not speak for the subject."""
COLUMNS = (
    *("height", "time", "org", "event", "foreign", "why", "call", "fields"),
    *("key", "tx_id", "subjects", "proved"),
)


def utc(time: int) -> str:
    """Return milliseconds since the epoch as "2026-01-31 12:00:00.000" in UTC."""
    return moment(time).removesuffix(" UTC")


def shown(value: Any) -> str:
    """Return a JSON value on one line, safe to print: bytes as hex, control characters as escapes."""
    if isinstance(value, dict) and set(value) == {BYTES_KEY}:
        text = str(value[BYTES_KEY])
        return text if len(text) <= 24 else text[:16] + "…"
    text = one_line(value) if isinstance(value, str) else json_text(value)
    return text if len(text) <= FIELD_CHARS_MAX else text[: FIELD_CHARS_MAX - 1] + "…"


def whole(value: Any) -> str:
    """Return a JSON value on one line, safe to print, with nothing left out."""
    if isinstance(value, dict) and set(value) == {BYTES_KEY}:
        return one_line(str(value[BYTES_KEY]))
    return one_line(value) if isinstance(value, str) else json_text(value)


def text_lines(rows: Iterable[TrailRow], show: Callable[[Any], str] = shown) -> Iterable[str]:
    """Yield two lines per row: when, who, what, why; then the event's fields; FOREIGN where it is hearsay."""
    for row in rows:
        event = f"{FOREIGN} {row.event}" if row.foreign else row.event
        who, what = f"{show(row.org):<14}", f"{show(event):<32}"
        yield f"{row.height:>8}  {utc(row.time)}  {who} {what} {show(row.why)}".rstrip()
        fields = " ".join(f"{show(name)}={show(value)}" for name, value in row.fields.items())
        yield f"{'':>8}  {fields}"


HEADING = f"{'height':>8}  {'time (UTC)':<23}  {'who':<14} {'what':<32} why"


def json_row(row: TrailRow, proved: bool) -> dict[str, Any]:
    """Return a row as a JSON object, with its time as text too, and whether it is proved."""
    said = {"time_utc": utc(row.time), "proved": proved, "subjects": list(row.subjects)}
    return asdict(row) | said


def csv_text(rows: Iterable[TrailRow], proved: bool) -> str:
    """Return rows as CSV with a heading; cells that a spreadsheet would run as formulas are quoted."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        fields = json_text(row.fields)
        mark = FOREIGN if row.foreign else ""
        said = (row.height, utc(row.time), row.org, row.event, mark, row.why, row.call, fields)
        cells = (*said, row.key, row.tx_id, " ".join(row.subjects), "yes" if proved else "no")
        writer.writerow([_cell(cell) for cell in cells])
    return out.getvalue()


def _cell(value: object) -> object:
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
