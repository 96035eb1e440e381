"""How a dataset's schema is settled by commands: a schema file, or a proposal that is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from chain.client.console import (
    ask,
    can_ask,
    json_option,
    print_folded,
    print_json,
    print_table,
    print_text,
    reports_errors,
)
from chain.primitives.errors import AssentError, FileTrouble
from chain.primitives.values import Value
from chain.primitives.visible import one_line
from privcompute.data.batches import BOUNDS
from privcompute.data.datasets import source_of
from privcompute.data.proposals import DOUBTS, ColumnProposal, Doubt, TypesProposal, propose
from privcompute.data.proposed_domains import TELLS_CATEGORIES, ProposedDomain
from privcompute.data.schema import COLUMNS_MAX, Schema
from privcompute.data.schema_files import FileDocument, column_document, document_of, load_schema, write_toml
from privcompute.data.sources import DataSource, open_source
from privcompute.data.text_files import DELIMITERS, ENCODINGS

F = TypeVar("F", bound=Callable[..., Any])
schema_option = click.option(
    "--schema",
    "schema_file",
    type=click.Path(path_type=Path),
    help="Schema file, TOML or JSON; then nothing is asked.",
)


class Doubtful(AssentError):
    """Types that a person must settle before anything is registered: the text names the columns."""

    code = "doubtful"


class NotConfirmed(AssentError):
    """Types that nobody confirmed: say yes, give --yes, or declare them in a schema file."""

    code = "not_confirmed"


def file_options(command: F) -> F:
    """Add the options that say how FILE is written, for data that no schema file declares."""
    for option in (
        click.option(
            "--id-column",
            "key_columns",
            multiple=True,
            help="Column that identifies a row (repeat: in order).",
        ),
        click.option("--table", help="Table of a DuckDB database, or sheet of a workbook."),
        click.option("--encoding", type=click.Choice(list(ENCODINGS)), help="Of a CSV or TSV file."),
        click.option("--delimiter", type=click.Choice(list(DELIMITERS)), help="Of a CSV or TSV file."),
    ):
        command = option(command)
    return command


def declared(path: Path, schema_file: Path) -> tuple[DataSource, Schema]:
    """Return the source and schema of data that a schema file declares."""
    schema, file = load_schema(schema_file)
    return source_of(path, file), schema


def confirmed(source: DataSource, key: Sequence[str], *, yes: bool, quiet: bool) -> Schema:
    """Propose types, show them, and return the schema once a person or --yes confirmed it; else raise."""
    proposal = propose(open_source(source), key)
    if not quiet:
        show_proposal(proposal)
    if proposal.doubtful:
        names = [one.column.name for one in proposal.columns if one.doubts]
        raise Doubtful(
            f"{source.path}: {len(names)} of {len(proposal.columns)} columns are doubtful: "
            f"{', '.join(_doubt_line(one) for one in proposal.columns if one.doubts)[:600]}; write the "
            "proposal down, settle them there, and give it as --schema SCHEMA.toml: "
            f"assent dataset inspect {source.path} --output SCHEMA.toml"
        )
    if yes:
        return proposal.schema
    if quiet or not can_ask():
        raise NotConfirmed(f"{source.path}: the proposed types need your word; give --yes, or --schema FILE")
    if not ask("Register these types?"):
        raise NotConfirmed("nothing was registered; to declare other types: assent dataset inspect --output")
    return proposal.schema


def _doubt_line(one: ColumnProposal) -> str:
    return f"{one.column.name!r} ({', '.join(doubt.code for doubt in one.doubts)})"


# --- showing a proposal ------------------------------------------------------------------------------


def show_proposal(proposal: TypesProposal) -> None:
    """Print what is proposed for each column, and what every doubt means; it fits a line of 80."""
    rows = [
        [
            one.column.name,
            " ".join(part for part in (one.column.type, one.column.format) if part),
            f"{one.fitting} of {one.cells}",
            [f"{count} {_spelling(word)}" for word, count in list(one.spellings.items())[:3]],
            [line for doubt in one.doubts for line in _doubt_lines(doubt)],
        ]
        for one in proposal.columns
    ]
    print_table(
        f"proposed types, {proposal.rows:,} rows", ["column", "type", "#say so", "missing", "doubts"], rows
    )
    for code in dict.fromkeys(doubt.code for one in proposal.columns for doubt in one.doubts):
        print_folded(f"{code}: {DOUBTS[code]}")
    _show_domains(proposal)


def _show_domains(proposal: TypesProposal) -> None:
    """Print which domains may be declared, and what that tells; none of them is registered by --yes."""
    found = [one for one in proposal.columns if one.domain.tells]
    if not found:
        return
    rows = [[one.column.name, _domain_said(one.domain)] for one in found]
    print_table("domains that you may declare", ["column", "values"], rows)
    for tells in dict.fromkeys(one.domain.tells for one in found):
        what = "categories" if tells == TELLS_CATEGORIES else "bounds, rounded outwards from the cells"
        print_folded(f"{what}: {tells}")
    print_folded(
        "noise needs low and high, figures by groups need categories: declare those that you mean to tell "
        "in a schema file; nothing of them is registered otherwise"
    )


def _domain_said(domain: ProposedDomain) -> str:
    return ", ".join(map(one_line, domain.categories)) or f"{domain.low} to {domain.high}"


def _spelling(word: str) -> str:
    return one_line(repr(word)) if word else "empty"


def _doubt_lines(doubt: Doubt) -> list[str]:
    shown = [f"row {row}: {_spelling(cell[:20])}" for row, cell in doubt.examples[:2]]
    return [f"{doubt.code} {doubt.count}", *shown]


def proposal_json(proposal: TypesProposal) -> Value:
    """Return a proposal for programs: the schema document's columns, each with its evidence."""
    return {
        "rows": proposal.rows,
        "key": list(proposal.schema.key),
        "doubtful": proposal.doubtful,
        "columns": [
            {
                **column_document(one.column),
                "cells": one.cells,
                "fitting": one.fitting,
                "missing_cells": one.missing,
                "spellings": dict(one.spellings),
                "domain": _offered(one.domain),
                "doubts": [
                    {
                        "code": doubt.code,
                        "count": doubt.count,
                        "cells": [list(cell) for cell in doubt.examples],
                    }
                    for doubt in one.doubts
                ],
            }
            for one in proposal.columns
        ],
    }


def proposal_toml(proposal: TypesProposal, source: DataSource) -> str:
    """Return a proposal as a schema file whose comments are the doubts."""
    file = FileDocument(delimiter=source.delimiter, encoding=source.encoding, table=source.table)
    notes = {one.column.name: [_note(doubt) for doubt in one.doubts] for one in proposal.columns}
    offered = {one.column.name: _offered(one.domain) for one in proposal.columns}
    for one in proposal.columns:
        if one.domain.tells:
            notes[one.column.name].append(f"CONFIRM by uncommenting, if you mean it: {one.domain.tells}")
    head = [
        f"Proposed from {proposal.rows:,} rows of {source.path.name}; DOUBT marks what you must settle.",
        "CONFIRM marks domains: noise needs low and high, figures by groups need categories.",
        "What each key means: docs/data-owner.md.",
    ]
    if len(proposal.columns) > COLUMNS_MAX:
        head.append(f"The ledger takes {COLUMNS_MAX} columns: remove others.")
    return write_toml(document_of(proposal.schema, file), notes, head, offered)


def _offered(domain: ProposedDomain) -> dict[str, Value]:
    """Return what a schema file may declare, by its keys."""
    if domain.categories:
        return {"categories": list(domain.categories)}
    return {"low": domain.low, "high": domain.high} if domain.low else {}


def _note(doubt: Doubt) -> str:
    cells = ", ".join(f"row {row} {_spelling(cell)}" for row, cell in doubt.examples)
    return f"DOUBT {doubt.code}, {doubt.count} cells ({cells}): {DOUBTS[doubt.code]}"


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@file_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the proposal as a schema file.")
@json_option
@reports_errors
def inspect(
    file: Path,
    key_columns: tuple[str, ...],
    table: str | None,
    encoding: str | None,
    delimiter: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Propose a type for each column of FILE by reading all of it; nothing is sent or registered."""
    source = DataSource(file, table, delimiter, encoding)
    proposal = propose(open_source(source), key_columns, BOUNDS.columns)
    if output is not None:
        _write_new(output, proposal_toml(proposal, source))
    if as_json:
        print_json(proposal_json(proposal))
        return
    show_proposal(proposal)
    if output is not None:
        print_text(f"wrote {output}: settle what is marked DOUBT, then give it as --schema")


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise FileTrouble(f"--output {path}: cannot be written ({error.strerror}); name a new file") from None
