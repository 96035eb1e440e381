"""The record of a process's last run: when it began, where it logs, and how it ended.

A log does not tell: its level leaves lines out, it is rotated, it goes elsewhere, and its last line may be of
a run long ago. So a node and an agent each keep one small file beside their configuration. A run that wrote
no end was cut off. The process holds a lock as long as it runs, so that a second one writes nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from chain.primitives.errors import AssentError, DecodeError, Exit, FileTrouble
from chain.primitives.files import file_remedy, read_bounded, replace_file
from chain.primitives.visible import visible

log = logging.getLogger("assent")

RECORD_BYTES_MAX = 65_536
REASON_CHARS_MAX, TARGET_CHARS_MAX = 2_000, 4_096
REASON_CHARS_LAST = 300
"""Of the reason, where the disk is full: what the first record took on the disk has room for it."""
TIME_MS_MAX = 253_402_300_799_999
"""The end of the year 9999."""
PID_MAX = 2**22
"""The most that Linux gives out (PID_MAX_LIMIT)."""
TOLD = 128
"""A shell's status of a process that a signal ended is this and the signal's number."""
_LOCK_TRIES, _LOCK_PAUSE_S = 5, 0.02


@dataclass(frozen=True, slots=True)
class LastRun:
    """One run of a process; times are milliseconds since the epoch, and it has no end while it runs."""

    pid: int
    began: int
    logs: str
    """What its standard error was: a path, or the kernel's name of a pipe or a socket; empty if not known."""
    ended: int | None = None
    status: int | None = None
    reason: str = ""
    """The last error, as it was printed; empty of a run that was told to end."""

    def __post_init__(self) -> None:
        """Raise DecodeError for a value that no process writes."""
        _check("pid", self.pid, 1, PID_MAX)
        _check("began", self.began, 0, TIME_MS_MAX)
        if (self.ended, self.status) != (None, None):
            _check("ended", self.ended, 0, TIME_MS_MAX)
            _check("status", self.status, 0, 255)
        for name, text, most in (
            ("logs", self.logs, TARGET_CHARS_MAX),
            ("reason", self.reason, REASON_CHARS_MAX),
        ):
            if type(text) is not str or len(text) > most:
                raise DecodeError(f"{name}: expected at most {most} characters of text")

    def encode(self) -> bytes:
        """Return the record as one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    def after(self, now: int, error: BaseException | None) -> LastRun:
        """Return the record of the run that ended at `now` with an error, or as it was told to."""
        status, reason = _outcome(error)
        return replace(self, ended=now, status=int(status) & 255, reason=visible(reason)[:REASON_CHARS_MAX])


def _check(name: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise DecodeError(f"{name}: expected an integer from {least} to {most}")


def _outcome(error: BaseException | None) -> tuple[int, str]:
    """Return the exit status and the words of an error, as `chain.client.console` prints them."""
    match error:
        case None:
            return 0, ""
        case AssentError():
            return error.exit, f"error [{error.code}]: {error}"
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return Exit.IO, f"error [system]: {where}{error.strerror or error}"
        case KeyboardInterrupt():
            return TOLD + signal.SIGINT, ""
        case SystemExit():
            return error.code if isinstance(error.code, int) else Exit.REFUSED, ""
    return Exit.BUG, f"error [bug]: {type(error).__name__}: {error}"


def read_run(path: Path) -> LastRun | None:
    """Return the record at a path, None where there is none.

    Raises FileTrouble for what cannot be read, and DecodeError for what is no record.
    """
    try:
        found = json.loads(read_bounded(path, RECORD_BYTES_MAX))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileTrouble(f"{path}: cannot be read ({error.strerror}); {file_remedy(error)}") from None
    except (ValueError, RecursionError):
        raise DecodeError(f"{path}: not a record of a run") from None
    try:
        return LastRun(**found)
    except (TypeError, DecodeError) as error:
        detail = str(error) if isinstance(error, DecodeError) else "other fields than a record's"
        raise DecodeError(f"{path}: not a record of a run ({detail})") from None


@contextlib.contextmanager
def recorded(path: Path) -> Iterator[None]:
    """Keep the record of this process's run: its beginning now, and its end when the block ends.

    What cannot be written is said in the log, and stops nothing. Where another process holds the record, this
    one writes none. SIGTERM is recorded until the block sets a handler of its own.
    """
    with _held(path) as ours:
        run = LastRun(os.getpid(), _now(), visible(_log_target())[:TARGET_CHARS_MAX])
        if not ours or not _written(path, run):
            yield
            return
        before = signal.signal(signal.SIGTERM, lambda number, _: _die(path, run, number))
        try:
            yield
        except BaseException as error:
            _end(path, run.after(_now(), error))
            raise
        else:
            _end(path, run.after(_now(), None))
        finally:
            signal.signal(signal.SIGTERM, before)


def _die(path: Path, run: LastRun, number: int) -> None:
    """End by a signal that came before the process listened for it."""
    _end(path, replace(run, ended=_now(), status=TOLD + number))
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def is_held(path: Path) -> bool:
    """Tell whether a process keeps this record now: a copy of a folder has the record, but nobody's lock."""
    try:
        descriptor = os.open(_lock_of(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return not isinstance(error, FileNotFoundError)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Hold the lock of a record; False where another process does, or where it cannot be had."""
    try:
        descriptor = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        _unrecorded(path, str(error.strerror))
        yield False
        return
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Take the lock; whoever only asks whether it is held lets it go at once, so try more than once."""
    for _ in range(_LOCK_TRIES):
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_LOCK_PAUSE_S)
    return False  # the other one's record stays


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _written(path: Path, run: LastRun) -> bool:
    try:
        replace_file(path, run.encode())
    except FileTrouble as error:
        _unrecorded(path, str(error))
        return False
    return True


def _end(path: Path, run: LastRun) -> None:
    """Write the end of a run; on a disk without room in the place of its beginning."""
    try:
        replace_file(path, run.encode())
    except FileTrouble:
        with contextlib.suppress(OSError), path.open("r+b") as file:
            file.write(replace(run, reason=run.reason[:REASON_CHARS_LAST]).encode())
            file.truncate()


def _unrecorded(path: Path, why: str) -> None:
    log.warning("this run is not recorded, so `assent status` cannot tell how it ended: %s: %s", path, why)


def _log_target() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/fd/2")
    return ""


def _now() -> int:
    return time.time_ns() // 1_000_000
