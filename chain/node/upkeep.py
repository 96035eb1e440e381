"""Pruning while the node runs: keeps the newest blocks, archives and forgets older ones, bit by bit."""

from __future__ import annotations

import logging
from pathlib import Path

from chain.ledger.files.archive import write_archive
from chain.ledger.history.prune import set_floor, sweep, sweep_due
from chain.ledger.ledger import Ledger
from chain.ledger.proof.prover import NotCertified
from chain.ledger.store.faults import StorageFailed
from chain.primitives.files import file_remedy

log = logging.getLogger("assent.upkeep")

STEP_BLOCKS = 100
"""Blocks that are archived and given up at a time: bounds how long execution waits."""
RETRY_HEIGHTS = 100
"""An archive that could not be written is tried again after so many heights."""


def check_archive(folder: Path | None) -> None:
    """Raise StorageFailed where blocks could not be archived: before a node runs, somebody looks."""
    if folder is None:
        return
    probe = folder / ".assent-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StorageFailed(_unusable(folder, error)) from None


def _unusable(folder: Path, error: OSError) -> str:
    return f"storage.archive_dir = {folder}: {error.strerror or error}; {file_remedy(error)}"


class Upkeep:
    """The steps of pruning; whoever executes blocks runs them in between."""

    def __init__(self, ledger: Ledger, keep_blocks: int, archive: Path | None) -> None:
        """`keep_blocks` 0 keeps everything; `archive` is the folder for what goes, None to discard it."""
        self._ledger, self._keep, self._archive = ledger, keep_blocks, archive
        self.trouble = ""
        """Why nothing is pruned though there is something to prune; empty while all is well."""
        self._again_at = 0

    @property
    def due(self) -> bool:
        """Whether pruning has something to do now; while the archive cannot be written, now and then."""
        if self.trouble and self._ledger.certified_height < self._again_at:
            return False
        blocks = self._ledger.read.pruned.below().blocks
        return self._next_floor(blocks) is not None or sweep_due(self._ledger.store)

    def step(self) -> bool:
        """Give up the next blocks, or delete some rows of those given up; return whether it did anything.

        Nothing unarchived is deleted: while the archive cannot be written, the node keeps its blocks, says
        why (`trouble`), and serves on.
        """
        blocks = self._ledger.read.pruned.below().blocks
        before = self._next_floor(blocks)
        if before is None:
            return sweep(self._ledger.store)
        try:
            if self._archive is not None:
                self._archive.mkdir(parents=True, exist_ok=True)
                for path in write_archive(self._ledger, self._archive, before):
                    log.info("archived %s", path.name)
        except NotCertified as error:
            log.warning("blocks below %d are not pruned yet: %s", before, error)
            return False
        except OSError as error:
            self._put_off(error)
            return False
        if self.trouble:
            self.trouble = ""
            log.warning("storage.archive_dir = %s: can be written again; pruning goes on", self._archive)
        set_floor(self._ledger.store, before, "" if self._archive is None else str(self._archive))
        return True

    def _put_off(self, error: OSError) -> None:
        assert self._archive is not None  # without an archive nothing is written
        self._again_at = self._ledger.certified_height + RETRY_HEIGHTS
        said = _unusable(self._archive, error)
        if said != self.trouble:
            log.warning("nothing is pruned, so the disk fills: %s", said)
        self.trouble = said

    def _next_floor(self, blocks: int) -> int | None:
        before = blocks + STEP_BLOCKS
        return before if self._keep and before <= self._ledger.certified_height - self._keep + 1 else None
