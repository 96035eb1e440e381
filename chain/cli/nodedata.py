"""`assent node export|import|snapshot|rebuild|prune|archive`: a stopped node's data, to files and back."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from chain.api.render import decision_json, header_json, receipt_json, transaction_json
from chain.client.console import json_option, print_json, print_lines, print_text, reports_errors
from chain.config import load_node_config
from chain.ledger.block import Block, Receipt, header_hash
from chain.ledger.files.archive import archive_files, write_archive
from chain.ledger.files.chainfile import SNAPSHOT, ChainFile
from chain.ledger.files.transfer import (
    export_blocks,
    export_snapshot,
    import_blocks,
    import_snapshot,
    read_archive,
)
from chain.ledger.genesis import Genesis, load_genesis
from chain.ledger.history.prune import check_floor, set_floor, sweep
from chain.ledger.history.rebuild import rebuild
from chain.ledger.ledger import Ledger
from chain.ledger.store.leveldb import LevelStore
from chain.primitives.codec import decode
from chain.primitives.errors import AssentError, FileThere, FileTrouble
from chain.primitives.files import file_remedy
from chain.primitives.words import counted
from contracts.runtime import ContractRuntime

PROGRESS_S = 1.0


class DataMissing(AssentError):
    """A data directory, archive or file that is not there: the text names it and the setting."""

    code = "data_missing"


config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    default=Path("node.toml"),
    show_default=True,
    help="The stopped node's configuration.",
)
out_option = click.option(
    "-o", "--output", "output", type=click.Path(path_type=Path), required=True, help="The file to write."
)
HEIGHT = click.IntRange(0, 2**63)


@dataclass(slots=True)
class _Progress:
    """Says on standard error, at most once a second, how far something is."""

    what: str
    last: float = 0.0

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        self.last = self.last or now
        if now - self.last >= PROGRESS_S:
            self.last = now
            print_text(f"{self.what}: {done:,} of {of:,} ({done / max(of, 1):.0%})", err=True)

    def share(self, part: float) -> None:
        """Say which part is done, 0..1."""
        self(int(part * 10_000), 10_000)


@contextlib.contextmanager
def opened_store(config: Path, *, create: bool = False) -> Iterator[tuple[LevelStore, Genesis]]:
    """Open a stopped node's directory; DataLocked says when the node runs."""
    settings, files = load_node_config(config)
    genesis = load_genesis(files.genesis)
    if not create and not files.data_dir.exists():
        raise DataMissing(f"files.data_dir = {files.data_dir}: does not exist; name a node's configuration")
    store = LevelStore(files.data_dir, cache_mib=settings.cache.leveldb_mib)
    try:
        yield store, genesis
    finally:
        store.close()


@contextlib.contextmanager
def opened_ledger(config: Path, *, create: bool = False) -> Iterator[Ledger]:
    """Open the ledger of a stopped node; raises as `opened_store` does."""
    with opened_store(config, create=create) as (store, genesis):
        yield Ledger(store, genesis, ContractRuntime())


@contextlib.contextmanager
def explains_files() -> Iterator[None]:
    """Raise FileTrouble, which names the file and the reason, for an OSError inside."""
    try:
        yield
    except FileExistsError as error:
        named = str(error) if error.strerror is None else f"{error.filename}: {error.strerror}"
        raise FileThere(named) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise FileTrouble(f"{where}{error.strerror}; {file_remedy(error)}") from None


def _report(as_json: bool, facts: dict[str, Any], text: str) -> None:
    if as_json:
        print_json(facts)
    else:
        print_lines(text)


@click.command("export")
@config_option
@click.option("--first", type=HEIGHT, help="Default: the first block that the node holds.")
@click.option("--last", type=HEIGHT, help="Default: the newest certified block.")
@out_option
@json_option
@reports_errors
def export_command(config: Path, first: int | None, last: int | None, output: Path, as_json: bool) -> None:
    """Write certified blocks to a file, with everything that another node needs to check them."""
    with opened_ledger(config) as ledger, explains_files():
        low = max(1, ledger.read.pruned.below().blocks) if first is None else first
        top = ledger.certified_height if last is None else last
        size = export_blocks(ledger, output, low, top, _Progress("exporting blocks"))
    facts = {"file": str(output), "first": low, "last": top, "bytes": size}
    _report(
        as_json,
        facts,
        f"{output}: blocks {low}..{top}, {size:,} bytes\nnext: assent node import {shlex.quote(str(output))}",
    )


@click.command("snapshot")
@config_option
@click.option("--height", type=HEIGHT, help="Default: the newest certified height.")
@out_option
@json_option
@reports_errors
def snapshot_command(config: Path, height: int | None, output: Path, as_json: bool) -> None:
    """Write the state of a certified height to a file: a new node can begin from it."""
    with opened_ledger(config) as ledger, explains_files():
        at = ledger.certified_height if height is None else height
        size = export_snapshot(ledger, output, at, _Progress("writing chunks of the state"))
        header = ledger.read.header(at)
    assert header is not None  # the export found it
    facts: dict[str, Any] = {
        "file": str(output),
        "height": at,
        "header": header_hash(header).hex(),
        "stateRoot": header.state_root.hex(),
        "bytes": size,
    }
    _report(
        as_json, facts,
        f"{output}: the state of height {at}, root {facts['stateRoot'][:16]}…, {size:,} bytes\n"
        f"next: assent node import {shlex.quote(str(output))}",
    )  # fmt: skip


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@json_option
@reports_errors
def import_command(file: Path, config: Path, as_json: bool) -> None:
    """Take blocks or a snapshot from FILE into an empty or older data directory.

    Blocks are executed and compared with their certificates; a state is hashed up to its certified root.
    Both are checked against the genesis, whoever made the file.
    """
    with explains_files(), ChainFile(file) as opened, opened_ledger(config, create=True) as ledger:
        before = ledger.head.height
        if opened.preamble.holds == SNAPSHOT:
            import_snapshot(ledger, opened, _Progress("importing the state").share)
        else:
            import_blocks(ledger, opened, _Progress("importing blocks"))
        head, held = ledger.head, ledger.read.pruned.below()
    facts = {
        "file": str(file),
        "holds": opened.preamble.holds,
        "from": before,
        "height": head.height,
        "header": head.header_hash.hex(),
        "blocksFrom": held.blocks,
    }
    partly = f"; older blocks than {held.blocks} are not on this node" if held.blocks else ""
    _report(as_json, facts, f"{file}: the ledger went from height {before} to {head.height}{partly}")


@click.command("rebuild")
@config_option
@json_option
@reports_errors
def rebuild_command(config: Path, as_json: bool) -> None:
    """Derive state, receipts and indexes again from the blocks, and compare with every header.

    A node without the first blocks begins at the oldest state that it holds, which is hashed again first.
    """
    with opened_store(config) as (store, genesis):
        begin = time.monotonic()
        rebuild(store, genesis, ContractRuntime(), _Progress("executing blocks"))
        ledger = Ledger(store, genesis, ContractRuntime())
        head, root = ledger.head, ledger.head_header.state_root
        base = ledger.read.pruned.below().state
    facts: dict[str, Any] = {
        "height": head.height,
        "header": head.header_hash.hex(),
        "stateRoot": root.hex(),
        "from": base,
        "seconds": round(time.monotonic() - begin, 1),
    }
    _report(
        as_json, facts,
        f"rebuilt from height {base} to {head.height}: header {facts['header'][:16]}…, "
        f"state root {facts['stateRoot'][:16]}…, as before",
    )  # fmt: skip


@click.command("prune")
@config_option
@click.option("--before", type=HEIGHT, required=True, help="The first block to keep.")
@click.option("--archive", type=click.Path(path_type=Path), help="Write what goes to this folder first.")
@click.option("--discard", is_flag=True, help="Delete without an archive.")
@json_option
@reports_errors
def prune_command(config: Path, before: int, archive: Path | None, discard: bool, as_json: bool) -> None:
    """Delete blocks, receipts and states of old heights; headers and certificates stay.

    The last 600 heights cannot go: they are what replays are recognised by.
    """
    if (archive is None) == (not discard):
        raise click.UsageError("say where old blocks go: --archive DIR, or --discard")
    with opened_ledger(config) as ledger, explains_files():
        first = ledger.read.pruned.below().blocks
        check_floor(ledger.store, before)
        if archive is not None:
            _archive(ledger, before, archive)
        held = set_floor(ledger.store, before, str(archive.resolve()) if archive else "")
        progress = _Progress("deleting the rows of heights")
        while sweep(ledger.store, clear_now=True):
            progress(ledger.read.pruned.below().swept, held.blocks)
        assert isinstance(ledger.store, LevelStore)
        print_text("compacting the database, so that the disk gets the room back", err=True)
        ledger.store.compact_rows()
    facts = {"blocksFrom": held.blocks, "stateFrom": held.state, "before": first, "archive": held.archive}
    where = f"; older ones are in {held.archive}" if held.archive else ""
    _report(as_json, facts, f"blocks from height {held.blocks} and states from {held.state} are held{where}")


def _archive(ledger: Ledger, before: int, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    progress = _Progress("archiving blocks")
    for path in write_archive(ledger, folder, before, progress):
        written.append(path)
    return written


@click.group("archive")
def archive_group() -> None:
    """Old blocks with their receipts, in files that anyone with the genesis can check."""


@archive_group.command("write")
@config_option
@click.option("--before", type=HEIGHT, required=True, help="The first block that is not written.")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
@reports_errors
def archive_write(config: Path, before: int, folder: Path, as_json: bool) -> None:
    """Write the blocks that the node holds below a height to files in FOLDER; nothing is deleted."""
    with opened_ledger(config) as ledger, explains_files():
        written = _archive(ledger, before, folder)
    facts = {"folder": str(folder), "files": [path.name for path in written]}
    _report(
        as_json,
        facts,
        f"{folder}: {len(written)} new files\n"
        f"next: assent node archive read {shlex.quote(str(folder))} --height N",
    )


@archive_group.command("read")
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--height", type=HEIGHT, help="Show this block.")
@click.option("--tx", "tx_id", help="Show this transaction and its receipt.")
@click.option("--genesis", "named", type=click.Path(path_type=Path), help="The genesis file to check by.")
@config_option
@json_option
@reports_errors
def archive_read(
    archive: Path, height: int | None, tx_id: str | None, named: Path | None, config: Path, as_json: bool
) -> None:
    """Check archive files (ARCHIVE is one, or a folder of them) and show a block or a transaction.

    Without --height or --tx, everything is checked and counted. The genesis is that of --genesis, else that
    which --config names.
    """
    genesis = load_genesis(named or load_node_config(config)[1].genesis)
    blocks = transactions = 0
    with explains_files():
        for path in archive_files(archive, height):
            with ChainFile(path) as file:
                for block, receipts in read_archive(file, genesis):
                    blocks, transactions = blocks + 1, transactions + len(block.transactions)
                    shown = _found(block, receipts, height, tx_id)
                    if shown is not None:
                        print_json(shown)
                        return
    if height is not None or tx_id is not None:
        raise DataMissing(
            f"{archive}: {'height ' + str(height) if tx_id is None else tx_id} is not in this archive"
        )
    facts = {"archive": str(archive), "blocks": blocks, "transactions": transactions}
    _report(
        as_json,
        facts,
        f"{archive}: {counted(blocks, 'block')} with {counted(transactions, 'transaction')}, "
        "all proved by the genesis",
    )


def _found(
    block: Block, receipts: tuple[bytes, ...], height: int | None, tx_id: str | None
) -> dict[str, Any] | None:
    txs = [transaction_json(tx) for tx in block.transactions]
    kept = [receipt_json(decode(Receipt, raw)) for raw in receipts]
    if tx_id is not None:
        for i, tx in enumerate(txs):
            if tx["id"] == tx_id:
                return {
                    "height": block.header.height,
                    "transaction": tx,
                    "receipt": kept[i] if kept else None,
                }
        return None
    if height != block.header.height:
        return None
    return {
        "height": height,
        "hash": header_hash(block.header).hex(),
        "header": header_json(block.header),
        "signers": [key.hex() for key, _ in block.certificate.signatures],
        "skip": None if block.skip is None else decision_json(block.skip),
        "transactions": txs,
        "receipts": kept,
    }


COMMANDS: tuple[click.Command, ...] = (
    export_command,
    import_command,
    snapshot_command,
    rebuild_command,
    prune_command,
    archive_group,
)
