"""Logs that can be rotated: SIGHUP makes a process open the file behind its standard error anew."""

from __future__ import annotations

import logging
import os
import signal
import stat
from collections.abc import Callable

log = logging.getLogger("assent")


_also: list[Callable[[], None]] = []
"""What else a hangup opens anew."""


def also_reopen(reopen: Callable[[], None]) -> Callable[[], None]:
    """Call `reopen` at every hangup, between any two instructions of the main thread; return what ends it."""
    _also.append(reopen)
    return lambda: _also.remove(reopen)


def reopen_log_on_hangup() -> None:
    """On SIGHUP open the log file anew where it was at this call, and all else that is to be (`also_reopen`).

    A signal that came before, while it was blocked (`chain.cli.processes`), is obeyed then.

    Whoever rotates logs renames the file and sends the signal. A pipe or a terminal has nothing to reopen,
    and a node does not end with the session that began it.
    """
    if not stat.S_ISREG(os.fstat(2).st_mode):
        signal.signal(signal.SIGHUP, lambda *_: _reopen_others())
        _let_through()
        return
    path = os.readlink("/proc/self/fd/2")
    both = os.path.sameopenfile(1, 2)

    def reopen(*_: object) -> None:
        _reopen_others()
        try:
            fresh = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.error("the log %s cannot be opened anew (%s); it goes on where it was", path, error.strerror)
            return
        for number in (1, 2) if both else (2,):
            os.dup2(fresh, number)
        os.close(fresh)
        log.info("log reopened")

    signal.signal(signal.SIGHUP, reopen)
    _let_through()


def _reopen_others() -> None:
    for reopen in list(_also):
        reopen()


def _let_through() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
