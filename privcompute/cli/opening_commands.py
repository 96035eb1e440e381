"""`assent dataset open` and `check-opening`: show random rows to an auditor, with proof, and nothing else."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from chain.client.console import json_option, print_json, print_text, reports_errors
from chain.client.options import Session, run, session_options
from chain.primitives.codec import decode, encode
from chain.primitives.errors import DecodeError, FileTrouble, ProofInvalid
from chain.primitives.files import read_bounded
from chain.primitives.values import decode_value
from privcompute.cli.common import UsageFault, agent_of_folder, need_state
from privcompute.clock import now_ms
from privcompute.data.commitments import ROW_BYTES_MAX, RowOpening, challenged_rows, check_opening, open_row
from privcompute.data.datasets import DatasetStore, open_dataset
from privcompute.data.evidence import EvidenceLog
from privcompute.data.private_files import write_private

ROWS_MAX = 1_000
FILE_BYTES_MAX = 67_108_864
_KIND = "assent-row-openings"


@click.command("open")
@click.argument("dataset_id", metavar="ID")
@click.option("--version", type=click.IntRange(1), required=True, help="Version of the dataset.")
@click.option("--challenge", required=True, help="Text that the auditor chose: it selects the rows.")
@click.option("--rows", type=click.IntRange(1, ROWS_MAX), required=True, help="How many rows.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File for the auditor.")
@json_option
@reports_errors
@session_options
def open_rows(
    session: Session,
    dataset_id: str,
    version: int,
    challenge: str,
    rows: int,
    output: Path,
    as_json: bool,
) -> None:
    """Open the rows of ID that an auditor's challenge selects, with proofs that they lie under its root."""
    del session  # --as names whose data they are
    _, files = agent_of_folder()
    opened = open_dataset(DatasetStore(files.datasets).load(dataset_id, version))
    chosen = challenged_rows(challenge.encode(), len(opened.rows), rows)
    openings = [open_row(opened.local.seed, opened.rows, opened.commitment, index) for index in chosen]
    content = {
        "kind": _KIND,
        "dataset": dataset_id,
        "version": version,
        "root": opened.local.root.hex(),
        "challenge": challenge,
        "columns": opened.local.schema.names,
        "rows": [_shown(opening) for opening in openings],
    }
    write_private(output, json.dumps(content, indent=1, ensure_ascii=False).encode())
    body = {"dataset": dataset_id, "version": version, "challenge": challenge, "rows": chosen}
    EvidenceLog(files.evidence).append(now_ms(), "", "opened", body)
    if as_json:
        print_json({"file": str(output), "rows": chosen})
    else:
        print_text(
            f"opened {len(chosen)} rows of {dataset_id} version {version} in {output}; to be checked with: "
            f"assent dataset check-opening {shlex.quote(str(output))}"
        )


def _shown(opening: RowOpening) -> dict[str, Any]:
    cells = decode_value(opening.row, max_bytes=ROW_BYTES_MAX)
    return {"row": opening.index, "cells": cells, "proof": encode(opening).hex()}


@click.command("check-opening")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@reports_errors
@session_options
def check_opened(session: Session, file: Path, as_json: bool) -> None:
    """Check opened rows in FILE against the root on the ledger, and that the challenge chose them."""
    content = _read(file)
    key = (content["dataset"], content["version"])
    name = f"{content['dataset']} version {content['version']}"

    async def work() -> bytes:
        async with session.client() as client:
            record = await need_state(client, "datasets", "versions", key, "see: assent dataset list")
            return bytes(record["root"])

    root = run(work())
    openings = _proved(file, content, root)
    if as_json:
        print_json(
            {
                "dataset": key[0],
                "version": key[1],
                "root": root.hex(),
                "rows": [opening.index for opening in openings],
            }
        )
        return
    print_text(
        f"{len(openings)} rows of {openings[0].count:,} lie under root {root.hex()[:16]}… of {name}, as the "
        f"challenge {content['challenge']!r} selects them"
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_bounded(file, FILE_BYTES_MAX))
    except OSError as error:
        raise FileTrouble(
            f"{file}: cannot be read ({error.strerror}); name a file of: assent dataset open"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UsageFault(f"{file}: not JSON ({error}); name a file of: assent dataset open") from None
    names = {"dataset": str, "version": int, "challenge": str, "rows": list}
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        raise UsageFault(f"{file}: not a file of: assent dataset open")
    for name, kind in names.items():
        if not isinstance(content.get(name), kind):
            raise UsageFault(f"{file}: {name} is missing or of another type; ask the owner again")
    return content


def _proved(file: Path, content: dict[str, Any], root: bytes) -> list[RowOpening]:
    """Return the openings after every check; raise ProofInvalid at the first that fails."""
    openings = []
    for shown in content["rows"][: ROWS_MAX + 1]:
        try:
            opening = decode(RowOpening, bytes.fromhex(shown["proof"]))
        except (DecodeError, KeyError, TypeError, ValueError) as error:
            raise ProofInvalid(f"{file}: a proof that cannot be read ({error})") from None
        check_opening(root, opening)
        if decode_value(opening.row, max_bytes=ROW_BYTES_MAX) != shown.get("cells"):
            raise ProofInvalid(f"{file}: row {opening.index}: the cells shown are not those that are proved")
        openings.append(opening)
    if not openings:
        raise ProofInvalid(f"{file}: no rows")
    chosen = challenged_rows(content["challenge"].encode(), openings[0].count, len(openings))
    if chosen != [opening.index for opening in openings]:
        raise ProofInvalid(f"{file}: these are not the rows that the challenge selects")
    return openings
