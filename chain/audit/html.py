"""A report as one HTML file: no scripts, nothing from elsewhere, made to be printed."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from chain.audit.report import CANNOT_PROVE, PROVES
from chain.audit.summary import Section
from chain.audit.text import FOREIGN, utc, whole
from chain.audit.trail import TrailRow
from chain.primitives.visible import one_line, visible

STYLE = """
body { font: 11pt/1.45 Georgia, serif; color: #1b1b1b; margin: 2.2em auto; max-width: 58em; padding: 0 1em }
h1 { font-size: 1.5em; overflow-wrap: anywhere } h2 { font-size: 1.15em; margin: 1.6em 0 .4em }
p, li { overflow-wrap: anywhere } ul { padding-left: 1.2em } li { margin: .25em 0 }
table { border-collapse: collapse; width: 100%; font-size: .86em; table-layout: fixed }
th, td { border-bottom: 1px solid #bbb; padding: .3em .45em; text-align: left; vertical-align: top }
td { overflow-wrap: anywhere } thead { display: table-header-group } tr { break-inside: avoid }
.fields { color: #444; font-family: monospace; font-size: .92em }
pre { font-size: .78em; white-space: pre-wrap; overflow-wrap: anywhere } .foreign { font-weight: bold }
.height { width: 5em } .time { width: 11em } .who { width: 9em }
@page { margin: 18mm 15mm } @media print { body { margin: 0; max-width: none } .rest { break-before: page } }
"""


def html_report(title: str, sections: Sequence[Section], rows: Iterable[TrailRow], report: str) -> str:
    """Return the page: the summary first, then the history as a table, then the report as it is as text."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{_safe(title)}</title>',
        f"<style>{STYLE}</style></head>",
        f"<body><h1>{_safe(title)}</h1>",
        *[_section(name, lines) for name, lines in sections],
        '<div class="rest">',
        _section("What this package proves", PROVES),
        _section("What it cannot prove", CANNOT_PROVE),
        "<h2>History</h2>",
        _table(rows),
        "<h2>All records, sources and validators</h2>",
        f"<pre>{html.escape(visible(report))}</pre>",
        "</div></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _section(title: str, lines: Sequence[str]) -> str:
    items = "".join([f"<li>{_safe(line)}</li>" for line in lines])
    return f"<h2>{_safe(title)}</h2><ul>{items}</ul>"


def _table(rows: Iterable[TrailRow]) -> str:
    heads = '<th class="height">height<th class="time">time (UTC)<th class="who">who<th>what, why, fields'
    body = "".join([_row(row) for row in rows])
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: TrailRow) -> str:
    foreign = f'<span class="foreign">{FOREIGN}</span> ' if row.foreign else ""
    why = f": {_safe(whole(row.why))}" if row.why else ""
    fields = " ".join([f"{whole(name)}={whole(value)}" for name, value in row.fields.items()])
    what = f'{foreign}{_safe(row.event)}{why}<br><span class="fields">{_safe(fields)}</span>'
    return f"<tr><td>{row.height}<td>{utc(row.time)}<td>{_safe(whole(row.org))}<td>{what}</tr>"


def _safe(text: str) -> str:
    return html.escape(one_line(text))
