"""One change of a file at a time: whoever reads a file, changes what it says and saves it, holds its lock.

Without it two commands at the same moment both read the file, and the one that saves last takes back what the
other wrote. The lock is a file of its own beside what it protects, because saving puts another file in place
(`chain.primitives.files.replace_file`). It goes with whoever holds it, so nothing is left behind, and a
process that is killed leaves a lock file that nobody holds, which the next one takes over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from chain.primitives.errors import AssentError, FileTrouble
from chain.primitives.files import file_remedy

WAIT_S = 10.0
"""Commands that only write a file are done in milliseconds."""
PAUSE_S = 0.02


class BeingChanged(AssentError):
    """Something that another command is changing right now: wait for its end, and try again."""

    code = "being_changed"


@contextlib.contextmanager
def one_change(path: Path, wait_s: float | None = None) -> Iterator[None]:
    """Hold the lock of a file or folder, there or not, from before it is read until it is saved.

    Waits `wait_s` seconds at most for another holder (WAIT_S). Raises BeingChanged then, and FileTrouble
    where no lock can be made. It is not for a path whose lock this thread holds already. Where its folder is
    not there, there is nothing to change, and whoever reads the file says so.
    """
    named = path if path.name not in ("", "..") else path.resolve()
    lock = named.with_name(f".{named.name}.lock")
    if not lock.parent.exists():
        yield
        return
    until = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
    try:
        while (held := _taken(lock)) is None:
            if time.monotonic() >= until:
                raise BeingChanged(
                    f"{path}: another command changes it right now; wait for its end, and try again"
                )
            time.sleep(PAUSE_S)
    except OSError as error:
        raise FileTrouble(
            f"{lock}: cannot be written ({error.strerror}), so nothing was changed; {file_remedy(error)}"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()  # while it is held: who opened it meanwhile sees that it is gone
        os.close(held)


def _taken(lock: Path) -> int | None:
    """Return a descriptor that holds the lock; None while another process does (OSError)."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
