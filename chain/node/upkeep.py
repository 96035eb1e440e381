"""Pruning while the node runs: keeps the newest blocks, archives and forgets older ones, bit by bit."""

from __future__ import annotations

import logging
from pathlib import Path

from chain.ledger.files.archive import write_archive
from chain.ledger.history.prune import set_floor, sweep, sweep_due
from chain.ledger.ledger import Ledger
from chain.ledger.proof.prover import NotCertified
from chain.ledger.store.faults import StorageFailed

log = logging.getLogger("assent.upkeep")

STEP_BLOCKS = 100
"""Blocks that are archived and given up at a time: bounds how long execution waits."""


class Upkeep:
    """The steps of pruning; whoever executes blocks runs them in between."""

    def __init__(self, ledger: Ledger, keep_blocks: int, archive: Path | None) -> None:
        """`keep_blocks` 0 keeps everything; `archive` is the folder for what goes, None to discard it."""
        self._ledger, self._keep, self._archive = ledger, keep_blocks, archive

    @property
    def due(self) -> bool:
        """Whether pruning has something to do now."""
        blocks = self._ledger.read.pruned.below().blocks
        return self._next_floor(blocks) is not None or sweep_due(self._ledger.store)

    def step(self) -> bool:
        """Give up the next blocks, or delete some rows of those given up; return whether it did anything.

        Raises StorageFailed when the archive cannot be written: nothing unarchived is deleted.
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
            raise StorageFailed(
                f"storage.archive_dir = {self._archive}: {error.strerror or error}; free space there, or "
                "name another folder"
            ) from None
        set_floor(self._ledger.store, before, "" if self._archive is None else str(self._archive))
        return True

    def _next_floor(self, blocks: int) -> int | None:
        before = blocks + STEP_BLOCKS
        return before if self._keep and before <= self._ledger.certified_height - self._keep + 1 else None
