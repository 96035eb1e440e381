"""What a validator's key signed of skips: one file a height and attempt, in a folder beside the key.

It outlives the data directory, like the marker of votes: whoever empties a directory that keeps failing must
not sign another decision for the same attempt afterwards.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from chain.ledger.block import Skip
from chain.ledger.skiprows import SkipRefused
from chain.primitives.codec import decode, encode, max_bytes_of
from chain.primitives.errors import DecodeError
from chain.primitives.files import read_bounded
from chain.primitives.words import counted

SUFFIX = ".skips"
_NAME = re.compile(r"([0-9]+)-([0-9]+)")


class SignedSkips:
    """The folder of one key."""

    def __init__(self, key_file: Path) -> None:
        """Name the folder beside the key's file; it is made with the first signature."""
        self._folder = key_file.with_suffix(SUFFIX)

    def claim(self, skip: Skip) -> None:
        """Make durable that this is the one skip of its height and attempt that the key signs; then sign.

        The same one may be claimed again. Raises SkipRefused when the key signed another, naming that.
        """
        path = self._folder / f"{skip.height}-{skip.attempt}"
        try:
            self._write(path, encode(skip))
        except FileExistsError:
            self._check_same(path, skip)
        except OSError as error:
            raise SkipRefused(
                f"{path}: cannot be written ({error.strerror}), and nothing is signed without it; free "
                "space, or mend the permissions"
            ) from None

    def above(self, head: int) -> dict[int, int]:
        """Return the heights above a ledger's head that the key signed skips of, with the highest attempt.

        The key's node executes them under no lower attempt: see `chain.node.execution_queue`.
        """
        found: dict[int, int] = {}
        names = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        for name in filter(None, map(_NAME.fullmatch, names)):
            height, attempt = int(name[1]), int(name[2])
            if height > head:
                found[height] = max(attempt, found.get(height, 0))
        return found

    def read(self, height: int, attempt: int) -> Skip:
        """Return the skip that the key signed for a height and attempt; raise SkipRefused without it."""
        path = self._folder / f"{height}-{attempt}"
        try:
            return decode(Skip, read_bounded(path, max_bytes_of(Skip)))
        except (OSError, DecodeError) as error:
            raise SkipRefused(
                f"{path}: what this key signed for height {height}, attempt {attempt} cannot be "
                f"read ({error}); restore the file, or sign with --attempt {attempt + 1}"
            ) from None

    def _check_same(self, path: Path, skip: Skip) -> None:
        signed = self.read(skip.height, skip.attempt)
        if signed != skip:
            count = counted(len(signed.tx_ids), "transaction")
            raise SkipRefused(
                f"height {skip.height}, attempt {skip.attempt}: this key signed another skip: batch "
                f"{signed.batch.hex()}, {count} ({signed.tx_ids[0].hex()[:16]}…), "
                f"reason {signed.reason!r} ({path}). Sign that one again, or agree with the other validators "
                f"on one decision and sign it with --attempt {skip.attempt + 1}"
            )

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file that is there whole and durable, or not at all; raise FileExistsError when it is."""
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700)
            _sync_folder(self._folder.parent)
        draft = path.with_suffix(f".{os.getpid()}")
        try:
            with draft.open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(self._folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
