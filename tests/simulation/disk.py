"""What survives a crash: a disk that may lose its unsynced tail or fail a write, and the marker."""

from __future__ import annotations

from typing import Any

from chain.ledger.store.faults import StorageFailed
from chain.ledger.store.memory import MemoryStore


class Disk(MemoryStore):
    """A memory store that can be told to fail a write, before or after it took effect."""

    __slots__ = ("_failing", "_left", "failures", "power_cut")

    def __init__(self, origin: MemoryStore) -> None:
        super().__init__(origin)
        self.failures = 0
        self.mend()

    def mend(self) -> None:
        """Let writes succeed."""
        self._failing, self._left, self.power_cut = "", 0, False

    def fail_after(self, writes: int, when: str, *, power: bool = False) -> None:
        """Let one more write fail, after so many that succeed, `before` or `after` it took effect.

        With `power` it fails because the machine's power does.
        """
        self._failing, self._left, self.power_cut = when, writes, power

    def write(self, *changes: Any, **options: Any) -> None:
        failure = self._failing if self._left == 0 else ""
        if failure:
            self._failing = ""
            self.failures += 1
        elif self._failing:
            self._left -= 1
        if failure != "before":
            super().write(*changes, **options)
        if failure:
            raise StorageFailed(f"disk: planted failure {failure} the write")

    @property
    def unsynced(self) -> int:
        """Writes that a crash can take back."""
        return len(self._undo)


class MemoryMarker:
    """`chain.node.marker.Marker`: outlives the disk; its last steps may be lost, never its first two."""

    def __init__(self) -> None:
        self.count: int | None = None

    def read(self) -> int | None:
        return self.count

    def advance(self, count: int) -> None:
        self.count = count

    def lose(self, steps: int) -> None:
        """Go back by some steps, as a file that was not synced does."""
        if self.count is not None:
            self.count = max(min(self.count, 1), self.count - steps)
