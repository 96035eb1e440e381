"""The access log of the RPC port: who asked which method about what, from where, and how it ended.

One line of JSON a call, in a file that the operator names. Nothing of a call is written but its method and
the names, heights and ids that it is about (`subject_of`): no secret, argument, transaction or answer. What
clients wrote is clipped, and what does not print is an escape. A flood fills no disk: lines are bounded by
time, all together and of one principal, and none is written where little room is left. What is left out is
counted and told in the file. Writing happens in a thread, and its faults stop nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from chain.api.params import SessionRequest
from chain.primitives.errors import ConfigError
from chain.primitives.files import file_remedy
from chain.primitives.settings import Section
from chain.primitives.visible import json_text

log = logging.getLogger("assent.rpc")

SHARE: Final = 4
"""One principal has this part of the lines of a second, and all who are nobody in particular together have
one; where nobody is asked who he is there is but one client, which has all."""
BURST_S: Final = 10
"""Lines of so many seconds may come at once."""
PRINCIPALS_MAX: Final = 1_024
NAMED_MAX: Final = 16
"""Principals that a line about lines left out names; the rest is "others"."""
WAITING_BYTES_MAX: Final = 4_194_304
"""Lines that wait to be written; a disk that hangs makes no more of them."""
ROOM_LEAST: Final = 536_870_912
"""With fewer bytes left on its disk nothing is written: the ledger may need them."""
TOLD_S: Final = 10.0
"""Lines left out are told no more often, and faults of the disk in the node's log six times less."""
CHARS_MAX: Final = 128
"""Of each text in a line."""
ABOUT: Final = (
    *("contract", "method", "map", "var", "subject", "name", "hash", "id"),
    *("height", "fromHeight", "aboveHeight"),
)
"""Parameters that tell what a call is about, in the order of a line: all members may read them anyway."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call, as the log has it."""

    principal: str
    method: str
    about: Mapping[str, str | int]
    """Parameter -> its value, of those that `subject_of` takes."""
    outcome: str
    """"ok", or the code of its error."""
    ms: float
    address: str

    def line(self, wall_ms: int) -> str:
        """Return the line: one object of JSON."""
        named = {
            "time": _moment(wall_ms),
            "principal": self.principal[:CHARS_MAX],
            "method": self.method[:CHARS_MAX],
            "about": {name: _clipped(value) for name, value in self.about.items()},
            "outcome": self.outcome[:CHARS_MAX],
            "ms": round(self.ms, 1),
            "address": self.address[:CHARS_MAX],
        }
        return json_text(named)


def subject_of(params: Section | Mapping[str, Any]) -> dict[str, str | int]:
    """Return what a call is about: names, heights and ids among its parameters, never their other values."""
    if isinstance(params, SessionRequest):
        return {"key": params.key}
    given = dict(params)
    return {name: given[name] for name in ABOUT if isinstance(given.get(name), str | int)}


def _clipped(value: str | int) -> str | int:
    return value[:CHARS_MAX] if isinstance(value, str) else value


def _moment(wall_ms: int) -> str:
    stamp = datetime.fromtimestamp(wall_ms / 1_000, UTC)
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Allowance:
    """Lines that may be written at so many a second, some seconds of them at once."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: float, now: float) -> None:
        self._rate, self._left, self._at = rate, max(1.0, rate * BURST_S), now

    def has(self, now: float) -> bool:
        self._left = min(max(1.0, self._rate * BURST_S), self._left + (now - self._at) * self._rate)
        self._at = now
        return self._left >= 1

    def take(self) -> None:
        self._left -= 1


class AccessLog:
    """The log of one port: notes calls in the loop, and writes them in a thread, a few times a second."""

    def __init__(
        self,
        path: Path,
        lines_per_second: int,
        *,
        shared: bool,
        now: Callable[[], float],
        wall_ms: Callable[[], int],
        lost: Callable[[int], None],
        room: Callable[[int], int] | None = None,
    ) -> None:
        """Open the file; raise ConfigError naming it where that cannot be.

        `shared` says that clients are told apart. `now()` is what bounds are told by, in seconds; `lost(n)`
        counts lines left out; `room(descriptor)` returns the bytes left on a file's disk.
        """
        self._path, self._now, self._wall_ms, self._lost = path, now, wall_ms, lost
        self._room = room or _room
        self._part = lines_per_second / (SHARE if shared else 1)
        self._all = _Allowance(lines_per_second, now())
        self._each: dict[str, _Allowance] = {}
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._left_out: Counter[str] = Counter()
        self._told_at = self._complained_at = float("-inf")
        self._stale = self._torn = False
        self._writing: asyncio.Future[str] | None = None
        try:
            self._file: int | None = _open(path)
        except OSError as error:
            raise ConfigError(
                f"files.access_log = {path}: cannot be written ({error.strerror}); {file_remedy(error)}, or "
                'set access_log = "" for none'
            ) from None

    def note(self, access: LoggedCall) -> None:
        """Keep a call for the file, or count it as left out."""
        now, who = self._now(), access.principal
        own = self._each.get(who)
        if own is None:
            if len(self._each) >= PRINCIPALS_MAX:
                del self._each[next(iter(self._each))]
            own = self._each[who] = _Allowance(self._part, now)
        if not (own.has(now) and self._all.has(now) and self._waiting_bytes < WAITING_BYTES_MAX):
            self._leave_out(who, 1)
            return
        own.take()
        self._all.take()
        self._keep(access.line(self._wall_ms()))

    def reopen(self) -> None:
        """Open the file anew before the next line, as after a rotation; a signal may call this."""
        self._stale = True

    def flush(self) -> None:
        """Begin to write what waits, unless that is being done."""
        if self._writing is not None and not self._writing.done():
            return
        now = self._now()
        if self._writing is not None and (fault := self._writing.result()):
            self._complain(fault, now)
        self._writing = None
        if self._left_out and now - self._told_at >= TOLD_S:
            self._tell_left_out(now)
        if self._waiting or self._stale:
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, self._take())

    async def close(self) -> None:
        """Write what waits, and close the file."""
        if self._writing is not None:
            await self._writing
        if self._left_out:
            self._tell_left_out(self._now())
        self._write(self._take())
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _keep(self, line: str) -> None:
        raw = f"{line}\n".encode()
        self._waiting.append(raw)
        self._waiting_bytes += len(raw)

    def _take(self) -> list[bytes]:
        lines = list(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        return lines

    def _leave_out(self, who: str, number: int) -> None:
        self._lost(number)
        known = who if who in self._left_out or len(self._left_out) < NAMED_MAX else "others"
        self._left_out[known[:CHARS_MAX]] += number

    def _tell_left_out(self, now: float) -> None:
        self._told_at = now
        self._keep(json_text({"time": _moment(self._wall_ms()), "leftOut": dict(self._left_out)}))
        self._left_out.clear()

    def _complain(self, fault: str, now: float) -> None:
        if now - self._complained_at >= 6 * TOLD_S:
            self._complained_at = now
            log.error(
                "the access log %s gets no line (%s); calls are answered all the same", self._path, fault
            )

    # --- in a thread -------------------------------------------------------------------------------

    def _write(self, lines: list[bytes]) -> str:
        """Write lines; return why some were not, which are counted as left out."""
        try:
            if self._stale or self._file is None:
                self._renew()
            if not lines:
                return ""
            if (left := self._room(self._descriptor)) < ROOM_LEAST:
                raise OSError(0, f"{left} bytes are left on its disk, at least {ROOM_LEAST} stay free")
            text = (b"\n" if self._torn else b"") + b"".join(lines)
            done = os.write(self._descriptor, text)
            self._torn = done < len(text)
            if self._torn:
                raise OSError(0, "the disk took a part of the lines only")
        except OSError as error:
            self._lost(len(lines))
            return str(error.strerror)
        return ""

    @property
    def _descriptor(self) -> int:
        assert self._file is not None
        return self._file

    def _renew(self) -> None:
        fresh, before = _open(self._path), self._file
        self._file, self._stale = fresh, False
        if before is not None:
            os.close(before)


def _open(path: Path) -> int:
    """Open for appending, for its owner alone; raise OSError for a pipe, device or folder."""
    descriptor = os.open(path, _FLAGS, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file")
    return descriptor


def _room(descriptor: int) -> int:
    found = os.fstatvfs(descriptor)
    return found.f_bavail * found.f_frsize
