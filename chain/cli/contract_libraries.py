"""Libraries from the command line: published, withdrawn, listed; and those that a contract names, fetched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from chain.api.render import receipt_json
from chain.cli.contract_files import gas_of, read_text, require_sound
from chain.cli.governing import NotThere, say
from chain.client.answers import reading
from chain.client.calls import as_client, result_of, send
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_lines, print_table, print_text, reports_errors
from chain.client.options import Session, session_options
from chain.client.trust import trust_line, word_line
from chain.primitives.errors import ConfigError
from chain.primitives.jsonvalue import to_json
from contracts.check import check_library
from contracts.starter import module_of

DIGITS_MIN = 16
"""Hex digits of a hash that name a library on the command line; nobody can make two that share so many."""
FIELDS = ("by", "bytes", "published_at", "open", "withdrawn")
"""What is shown of the record of a library."""


@dataclass(frozen=True, slots=True)
class Named:
    """A library that a contract names, as the ledger has it."""

    name: str
    source_hash: bytes
    by: str
    source: str

    def __str__(self) -> str:
        """Say which library it is, for people."""
        return f"library {self.name}: {self.source_hash.hex()}, published by {self.by}"


async def fetch(client: Client, wanted: Mapping[str, bytes]) -> list[Named]:
    """Return those of the wanted libraries that the ledger offers; the check tells of the others."""
    found = []
    for name, key in wanted.items():
        record: Any = await client.state("lifecycle", "libraries", key)
        text = None if record is None else await client.state("lifecycle", "sources", key)
        if record is not None and not record["withdrawn"] and isinstance(text, str):
            found.append(Named(name, key, str(record["by"]), text))
    return found


async def sources_of(client: Client, libraries: Mapping[str, bytes], height: int) -> dict[str, str]:
    """Return the sources of the libraries of a version, by its names for them."""
    return {
        name: str(await client.state("lifecycle", "sources", key, height=height))
        for name, key in libraries.items()
    }


@click.command("publish")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@reports_errors
@session_options
def publish(session: Session, file: Path, as_json: bool) -> None:
    """Put the library in FILE on the ledger; contracts that are proposed then name it by its hash."""
    source = read_text(file)
    require_sound(check_library(source, str(file)), file, "library")
    receipt = send(session, "lifecycle", "publish", {"source": source}, gas_of(source))
    if as_json:
        print_json(receipt_json(receipt))
        return
    found: Any = result_of(receipt)
    print_text(
        f"published {file} at height {receipt.height}; a contract names it so, with a name of its own:"
    )
    print_text(f'{module_of(file.stem.lower())} = Library("{found.hex()}")')


@click.command("withdraw-library")
@click.argument("digits", metavar="HASH")
@json_option
@reports_errors
@session_options
def withdraw_library(session: Session, digits: str, as_json: bool) -> None:
    """Take back one's own library HASH: no new proposal may name it; contracts in force keep it."""
    require_digits(digits)
    key = as_client(session, lambda client: full_hash(client, digits))
    receipt = send(session, "lifecycle", "withdraw_library", {"source_hash": key})
    say(receipt, as_json, f"library {key.hex()[:DIGITS_MIN]} is withdrawn; what names it already keeps it")


@click.command("libraries")
@click.argument("digits", metavar="[HASH]", required=False)
@click.option("--source", "with_source", is_flag=True, help="Print the source of HASH.")
@json_option
@reports_errors
@session_options
def list_libraries(session: Session, digits: str | None, with_source: bool, as_json: bool) -> None:
    """List the libraries on the ledger, as this node says, or show HASH, proved."""
    if digits is not None:
        _show(session, digits, with_source, as_json)
        return
    if with_source:
        raise click.UsageError("--source needs the HASH of a library")

    async def work(client: Client) -> tuple[list[tuple[str, dict[str, Any]]], str]:
        return await entries(client), await word_line(client, "assent contract libraries HASH")

    found, word = as_client(session, work)
    if as_json:
        print_json(
            [{"hash": key} | {name: to_json(record[name]) for name in record} for key, record in found]
        )
        return
    rows = [
        [key[:DIGITS_MIN], record["by"], record["bytes"], record["published_at"], record["open"],
         _status(record)]
        for key, record in found
    ]  # fmt: skip
    print_table("libraries", ["library", "by", "#bytes", "#since", "#proposals", "status"], rows)
    print_text(word)


async def entries(client: Client) -> list[tuple[str, dict[str, Any]]]:
    """Return (hash, record) of every library on the ledger, as the node says."""
    found = [item async for item in client.entries("lifecycle", "libraries")]
    with reading(client.url, "getStateRange"):
        return [_entry(key, record) for key, record in found]


def _entry(key: Any, record: Any) -> tuple[str, dict[str, Any]]:
    if type(key) is not bytes or not all(name in record for name in FIELDS):
        raise ValueError("a library stands under its hash, and has a record")
    return key.hex(), dict(record)


def require_digits(digits: str) -> None:
    """Raise ConfigError for what names no library."""
    if not re.fullmatch(rf"[0-9a-f]{{{DIGITS_MIN},64}}", digits):
        raise ConfigError(
            f"{digits!r}: a library is named by its hash, {DIGITS_MIN} to 64 hex digits in small letters; "
            "see: assent contract libraries"
        )


async def full_hash(client: Client, digits: str) -> bytes:
    """Return the hash of the library that begins with these digits; raise NotThere."""
    if len(digits) == 64:
        return bytes.fromhex(digits)
    found = [key for key, _ in await entries(client) if key.startswith(digits)]
    if len(found) != 1:
        raise NotThere(
            f"{digits}: {len(found) or 'no'} libraries on the ledger begin so; give all 64 digits, or see: "
            "assent contract libraries"
        )
    return bytes.fromhex(found[0])


def _status(record: dict[str, Any] | None) -> str:
    """Say whether a proposal may name a library; it has no record where its source alone is there."""
    if record is None:
        return "not on offer; the source is kept for what names it"
    return "withdrawn" if record["withdrawn"] else "on offer"


def _show(session: Session, digits: str, with_source: bool, as_json: bool) -> None:
    """Print the record and the source of a library, which is there as long as anything names it."""
    require_digits(digits)

    async def work(client: Client) -> tuple[bytes, Any, str, str]:
        key = await full_hash(client, digits)
        head = await client.head()
        record = await client.state("lifecycle", "libraries", key, height=head)
        source = await client.state("lifecycle", "sources", key, height=head)
        if source is None:
            raise NotThere(f"no library {key.hex()} is on the ledger; see: assent contract libraries")
        return key, record, str(source), trust_line(client, head)

    key, record, source, trust = as_client(session, work)
    if as_json:
        print_json({"hash": key.hex(), "record": to_json(record), "source": source})
        return
    rows: list[list[Any]] = [
        ["hash", key.hex()],
        ["status", _status(record)],
        ["bytes", len(source.encode())],
    ]
    if record is not None:
        rows += [["by", record["by"]], ["since", f"height {record['published_at']}"]]
        rows.append(["proposals", f"{record['open']} open name it"])
    print_table(f"library {key.hex()[:DIGITS_MIN]}", ["field", "value"], rows)
    print_text(trust)
    if with_source:
        print_lines(source)
