"""The keys of one node: which it has, which it goes by, and the spare for when its votes are lost.

A key file that may be the live one is never renamed or removed. Spares lie beside the file of `[files] key`,
as `node.2.key`, `node.3.key` and so on, each with its own marker of votes, and stay where they are made.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chain.config import NodeFiles
from chain.ledger.ledger import Ledger
from chain.node.membership import accepted, choose_key
from chain.node.signedskips import SUFFIX as SKIPS
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from chain.primitives.keyfile import is_sealed, load_key, numbered, passphrase_in_use, save_key

log = logging.getLogger("assent.node")

SPARES_MAX = 8
"""Numbered key files of a node: a live one and a spare are two; of the rest the ledger knows nothing."""
REFUSED_MS = 3_000
"""How long a node that a peer refuses, and nobody else talks to, waits before it tries another key."""
LONELY_MS = 15_000
"""The same where nobody answers at all: the others may be down."""
DOUBLINGS_MAX = 3
"""Each round through all keys doubles these waits, so often at most: whoever is no member asks seldom."""


class TooManyKeys(AssentError):
    """A folder of keys that is full: the operator says which may go."""

    code = "too_many_keys"


@dataclass(frozen=True, slots=True)
class Identity:
    """A key of this node and the file it is in; the marker of its votes lies beside."""

    key: PrivateKey
    file: Path

    @property
    def has_voted(self) -> bool:
        """Whether the key may have voted: its marker is there."""
        return marker_of(self.file).exists()


def marker_of(key_file: Path) -> Path:
    """Return where the marker of a key's votes lies."""
    return key_file.with_suffix(".voted")


def key_files(files: NodeFiles) -> list[Path]:
    """Return the files of a node's keys, the oldest first: `key`, `next_key` if there is one, the spares."""
    return [files.key, *[path for path in (files.next_key,) if path.exists()], *numbered(files.key)]


class KeyRing:
    """The keys of a node, for as long as its process lives; files are read again only when they change."""

    def __init__(self, files: NodeFiles) -> None:
        """Read the keys; raise what `load_key` raises."""
        self._files = files
        self._known: dict[Path, tuple[int, Identity]] = {}
        self._unread: dict[Path, int] = {}
        """Files that could not be read, as they were changed last."""
        for path in key_files(files):
            self._read(path)
        self._refused: list[bytes] = []
        """Keys that peers did not take since one was taken, in the order of trying."""
        self._rounds = 0
        self._turned_away: set[bytes] = set()
        """Those of our keys that more peers refused than may lie, since one was taken."""
        self._trying: bytes | None = None

    def all(self) -> dict[bytes, Identity]:
        """Return the identities by public key; a later one that cannot be read is left out, and logged."""
        paths = key_files(self._files)
        self._known = {path: item for path, item in self._known.items() if path in paths}
        for path in paths:
            changed = _changed(path)
            if self._unread.get(path) == changed:
                continue  # it was told already, and to try a passphrase costs most of a second
            try:
                self._read(path)
            except AssentError as error:
                if path == self._files.key and path not in self._known:
                    raise
                self._unread[path] = changed
                log.error("a key of this node is not used: %s", error)
        return {item.key.public: item for _, item in (self._known[p] for p in paths if p in self._known)}

    def choose(self, ledger: Ledger) -> Identity:
        """Return the key to go by: the one being tried, else what the ledger says.

        An empty ledger knows the founders alone: then the key that voted last comes first, for a seat moves
        forward only, and the peers tell whether they take it.
        """
        found = self.all()
        if self._trying is not None and self._trying in found:
            return found[self._trying]
        chosen = found[choose_key(ledger, list(found))]
        if ledger.head.height == 0:
            likeliest = self._in_order()[0]
            self._trying = None if likeliest == chosen else likeliest.key.public
            return likeliest
        return chosen

    def _in_order(self) -> list[Identity]:
        """Return the keys, the likeliest first where no ledger tells: the newest that voted."""
        found = list(self.all().values())
        return [*[i for i in reversed(found) if i.has_voted], *[i for i in found if not i.has_voted]]

    # --- trying -----------------------------------------------------------------------------------

    def wait_ms(self, *, refused: bool) -> int:
        """Return how long to be without a peer under one key, before another is tried."""
        return (REFUSED_MS if refused else LONELY_MS) << min(self._rounds, DOUBLINGS_MAX)

    def taken(self) -> None:
        """Note that a peer talks to us under the key that we go by."""
        self._refused, self._rounds = [], 0
        self._turned_away.clear()

    def settled(self) -> None:
        """Note that the ledger is for the key that we go by: it decides from now on."""
        self._trying = None

    def not_taken(self, key: bytes, *, refused: bool) -> bytes | None:
        """Nobody talks to us under this key: return the one to try now, or None when there is no other.

        `refused`: more peers refused it than may lie; else they may just be down.
        """
        if refused:
            self._turned_away.add(key)
        order = [item.key.public for item in self._in_order()]
        self._refused = [item for item in self._refused if item in order and item != key] + [key]
        left = [item for item in order if item not in self._refused]
        if not left:
            self._rounds, self._refused = self._rounds + 1, [key]
            left = [item for item in order if item != key]
        self._trying = left[0] if left else None
        return self._trying

    def says(self) -> str:
        """Say that no peer takes any key of this node, and what to do; empty while that is open."""
        if not self._turned_away or not self.all().keys() <= self._turned_away:
            return ""
        keys = ", ".join(f"{item.key.public.hex()[:16]} ({item.file.name})" for item in self.all().values())
        return (
            f"no peer takes a key of this node; it has {keys}. If its seat moved to a key kept elsewhere, "
            f"put that file at {self._files.next_key}; if that key is lost, make one there (assent key new) "
            "and move the seat to it (assent validator rotate-key); if the node was removed, the members "
            "take it in again (assent validator add)"
        )

    # --- the spare --------------------------------------------------------------------------------

    def spare(self, used: Path, is_dead: Callable[[bytes], bool]) -> Identity:
        """Return a key that has never voted, to take the seat of the one in `used`; make one if need be.

        `is_dead(key)` tells whether the ledger says that a key never holds a seat again: spares of that kind
        are removed here, so they do not pile up. Raises TooManyKeys, naming the folder.
        """
        for path in numbered(self._files.key):
            if path != used and is_dead(load_key(path).public):
                _remove(path)
        for item in self.all().values():
            if item.file != used and not item.has_voted and not is_dead(item.key.public):
                return item
        present = numbered(self._files.key)
        if len(present) >= SPARES_MAX:
            raise TooManyKeys(
                f"{self._files.key.parent}: {len(present)} numbered keys, at most {SPARES_MAX}, and the "
                "ledger does not say which are dead; move away those that assent validator list does not show"
            )
        last = int(present[-1].stem.rpartition(".")[2]) if present else 1
        path = self._files.key.with_name(f"{self._files.key.stem}.{last + 1}{self._files.key.suffix}")
        passphrase = passphrase_in_use() if is_sealed(used) else None
        save_key(path, PrivateKey.generate(), passphrase)
        log.warning("made the spare key %s: back it up with the others in that folder", path)
        return self.all()[load_key(path).public]

    def knows_better(self, ledger: Ledger, key: bytes) -> bytes | None:
        """Return the key to go on under by the word of the ledger, or None to stay.

        A key that is being tried stays until the ledger, which may still be far behind, is for it.
        """
        chosen = choose_key(ledger, list(self.all()))
        if chosen == key and key in accepted(ledger):
            self.settled()
        return None if self._trying == key or chosen == key else chosen

    def _read(self, path: Path) -> None:
        changed = _changed(path)
        if path not in self._known or self._known[path][0] != changed:
            self._known[path] = (changed, Identity(load_key(path), path))


def _changed(path: Path) -> int:
    """Return when a file was changed last, in nanoseconds; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _remove(path: Path) -> None:
    """Remove a dead key with what lies beside it; the key's own file last, so that a crash repeats this."""
    log.warning("removing the key %s: the ledger says that it never holds a seat again", path)
    shutil.rmtree(path.with_suffix(SKIPS), ignore_errors=True)
    marker_of(path).unlink(missing_ok=True)
    path.unlink()
