"""`assent node evidence`: what a running node keeps against validators that contradicted themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from chain.client.console import json_option, print_json, print_table, print_text, reports_errors
from chain.client.options import Session, run, session_options
from chain.primitives.errors import DecodeError, FileTrouble
from chain.primitives.files import file_remedy, replace_file
from chain.primitives.words import counted

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SLOTS = {"checkpoint": "height {}", "view-change": "epoch {}, view {}", "new-view": "epoch {}, view {}"}


EVIDENCE_MAX = 10_000
"""Beyond one a validator and kind of message of the largest consortium, many times over."""


@click.group()
def evidence() -> None:
    """Contradictions of validators that this node has seen: list them, or export them as files."""


@evidence.command("list")
@json_option
@reports_errors
@session_options
def list_evidence(session: Session, as_json: bool) -> None:
    """List them: at most one per validator and kind of message."""
    found = run(_ask(session))
    if as_json:
        print_json(found)
        return
    rows = [[item["accused"], item["kind"], _slot(item), item["key"]] for item in found]
    print_table("evidence", ["validator", "message", "signed twice at", "key"], rows)
    if found:
        print_text("next: assent node evidence export FOLDER, then assent validator report")


@evidence.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
@reports_errors
@session_options
def export_evidence(session: Session, folder: Path, as_json: bool) -> None:
    """Write each contradiction as two files of a message each, as they were signed.

    \b
    assent node evidence export proof --as consortium/bank
    assent validator report proof/bureau-node.prepare.first proof/bureau-node.prepare.second \\
        --as consortium/bank
    """
    found = run(_ask(session))
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for item in found:
            for part in ("first", "second"):
                path = folder / f"{_file_name(item)}.{part}"
                replace_file(path, bytes.fromhex(item[part]))
                written.append(str(path))
    except (KeyError, TypeError, ValueError):
        raise DecodeError("getEvidence: the node's answer is not evidence; ask another node") from None
    except OSError as error:
        raise FileTrouble(f"{folder}: cannot be written ({error.strerror}); {file_remedy(error)}") from None
    if as_json:
        print_json({"files": written})
        return
    print_text(f"{counted(len(found), 'contradiction')}, {counted(len(written), 'file')} in {folder}")
    if written:
        print_text(f"next: assent validator report {written[0]} {written[1]}")


async def _ask(session: Session) -> list[dict[str, Any]]:
    """Ask for page after page; raise DecodeError for one that does not go on behind the one before."""
    found: list[dict[str, Any]] = []
    last = ""
    async with session.client() as client:
        while page := await client.request("getEvidence", after=last):
            if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
                raise DecodeError("getEvidence: the node's answer is not a list of contradictions")
            found += page
            before, last = last, f"{page[-1].get('key')}/{page[-1].get('kind')}"
            if last <= before or len(found) > EVIDENCE_MAX:
                raise DecodeError("getEvidence: the node's pages do not go on; ask another node")
    return found


def _file_name(item: dict[str, Any]) -> str:
    """Return a name for the files of one contradiction; a node's answer must not choose a path."""
    name = f"{item['accused']}.{item['kind']}"
    return name if _NAME.fullmatch(name) else bytes.fromhex(item["key"]).hex()


def _slot(item: dict[str, Any]) -> str:
    return _SLOTS.get(item["kind"], "view {}, height {}").format(*item["slot"])
