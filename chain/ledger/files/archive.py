"""Archive: old blocks with their receipts, in files of at most 1,000 heights, named by those."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from chain.ledger.files.transfer import Tell, export_blocks, silent
from chain.ledger.ledger import Ledger

BLOCKS_PER_FILE = 1_000
SUFFIX = ".assent"
_NAME = re.compile(r"blocks-(\d{12})-(\d{12})\.assent")


def write_archive(ledger: Ledger, folder: Path, before: int, tell: Tell = silent) -> Iterator[Path]:
    """Write the blocks held below `before`, yield each new file; heights that are there already are left.

    Raises as `export_blocks` does.
    """
    first = max(1, ledger.read.pruned.below().blocks)
    for low, high in archived_ranges(folder):
        if low <= first <= high:
            first = high + 1
    start = first
    while first < before:
        last = min(before, first + BLOCKS_PER_FILE) - 1
        path = folder / f"blocks-{first:012}-{last:012}{SUFFIX}"
        export_blocks(ledger, path, first, last, receipts=True)
        tell(last - start + 1, before - start)
        yield path
        first = last + 1


def archived_ranges(folder: Path) -> list[tuple[int, int]]:
    """Return the (first, last) heights of the files in a folder, by name, upwards."""
    names = [_NAME.fullmatch(path.name) for path in folder.glob(f"*{SUFFIX}")]
    return sorted((int(name[1]), int(name[2])) for name in names if name)


def archive_files(path: Path, height: int | None = None) -> list[Path]:
    """Return the file itself, or a folder's files, only those that hold a height when one is given."""
    if not path.is_dir():
        return [path]
    return [
        path / f"blocks-{low:012}-{high:012}{SUFFIX}"
        for low, high in archived_ranges(path)
        if height is None or low <= height <= high
    ]
