"""The cache of compiled code: a node keeps what is in force, and nothing else.

A source that was only proposed is compiled and paid for each time, and not kept, so no proposal can push out
code that others call. The contract `lifecycle` keeps the code in force within CODE_BYTES_MAX, and of each
contract at most two versions (one runs, one is to follow), so all of it has room here: a node compiles code
in force once after it started, whoever calls it. A library is kept as long as a program that names it, once
for all of them; the bound counts it with each. See README.md, "Gas".
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from weakref import WeakValueDictionary

from contracts.language.library import Library
from contracts.language.program import Program

CODE_BYTES_MAX = 192 * 1024 * 1024
"""`Program.size` of all code in force: 1.5 MB of ordinary source, whose programs take about 70 MB."""


class Programs:
    """A cache of compiled programs by (source hash, engine), which lets the least recently used go."""

    def __init__(self, most_bytes: int = CODE_BYTES_MAX) -> None:
        """Keep programs of at most this size together."""
        self._most = most_bytes
        self._size = 0
        self._kept: OrderedDict[tuple[bytes, int], Program] = OrderedDict()
        self._libraries: WeakValueDictionary[tuple[bytes, int], Library] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, source_hash: bytes, engine: int) -> Program | None:
        """Return the program, or None when it is not kept."""
        with self._lock:
            found = self._kept.get((source_hash, engine))
            if found is not None:
                self._kept.move_to_end((source_hash, engine))
            return found

    def library(self, source_hash: bytes, engine: int) -> Library | None:
        """Return a library that some kept program names, or None."""
        with self._lock:
            return self._libraries.get((source_hash, engine))

    def keep(self, program: Program) -> None:
        """Keep a program that is in force."""
        place = program.source_hash, program.engine
        with self._lock:
            if place not in self._kept:
                self._kept[place] = program
                self._size += program.size
                for library in program.libraries.values():
                    self._libraries.setdefault((library.source_hash, library.engine), library)
            while self._size > self._most and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                self._size -= gone.size
