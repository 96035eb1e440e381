"""Archives whose bytes follow from what is in them alone: no time, no user, no order of a disk."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

EPOCH = 315_532_800
"""The time that everything in an archive has, in s: 1 January 1980, the first that a zip file can state."""
CHUNK_BYTES = 1 << 20


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hex digits."""
    found = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


def pack(folder: Path, target: IO[bytes], top: str = "") -> None:
    """Write a folder as a tar archive, under the name `top` if there is one: files by name, all of root."""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in _sorted(folder):
            name = "/".join(part for part in (top, path.relative_to(folder).as_posix()) if part != ".")
            if not name:
                continue
            entry = tarfile.TarInfo(name)
            entry.mtime = EPOCH
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
                continue
            entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            entry.size = path.stat().st_size
            with path.open("rb") as source:
                archive.addfile(entry, source)


def _sorted(folder: Path) -> Iterator[Path]:
    yield folder
    for path in sorted(folder.iterdir(), key=lambda item: item.name):
        if path.is_dir() and not path.is_symlink():
            yield from _sorted(path)
        else:
            yield path
