"""Why a node or an agent does not run: its record of its last run says it, and where none is, its log."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from chain.audit.text import utc
from chain.cli import processes
from chain.cli.layout import OrgFolder
from chain.primitives.errors import DecodeError, FileTrouble
from chain.primitives.files import read_bounded
from chain.primitives.lastrun import LastRun, is_held, read_run

LINE_CHARS_MAX, PID_BYTES_MAX = 500, 64
CUT_OFF = (
    "wrote no end of it: it was killed, its machine went down (dmesg tells, if the kernel did it for want of "
    "memory), or its disk could not be written"
)


@dataclass(frozen=True, slots=True)
class Traces:
    """What a process that does not run has left behind."""

    run: LastRun | None
    """The record of its last run."""
    fault: str = ""
    """Why that record cannot be believed."""
    begun: tuple[int, int] | None = None
    """What `assent start` began last and nobody stopped: the number of the process, and the milliseconds."""
    line: str = ""
    """The last line of its log."""
    written: int = 0
    """When its log was written last, in milliseconds since the epoch."""
    held: bool = False
    """Whether a process keeps that record now, which this command cannot see."""

    @property
    def unseen(self) -> bool:
        """Tell whether it runs after all: in another container, or as another user."""
        return self.held and self.run is not None and self.run.ended is None

    @property
    def unrecorded(self) -> bool:
        """Tell whether `assent start` began a process later than what is recorded."""
        if self.begun is None or self.run is None:
            return self.begun is not None and not self.fault
        return self.begun[0] != self.run.pid and self.begun[1] >= self.run.began


def traces(org: OrgFolder, process: str) -> Traces:
    """Return what a process left behind in an organisation's folder; what cannot be read is said in it."""
    run, fault, line, written = None, "", "", 0
    try:
        run = read_run(org.run(process))
    except (DecodeError, FileTrouble) as error:
        fault = str(error)
    try:
        line = processes.log_tail(org, process, 1)
        written = _written(org, process)
    except FileTrouble as error:
        fault = f"{fault}; {error}" if fault else str(error)
    return Traces(run, fault, _begun(org, process), line, written, is_held(org.run(process)))


def _written(org: OrgFolder, process: str) -> int:
    try:
        return org.log(process).stat().st_mtime_ns // 1_000_000
    except OSError:
        return 0


def _begun(org: OrgFolder, process: str) -> tuple[int, int] | None:
    try:
        path = org.pid(process)
        return int(read_bounded(path, PID_BYTES_MAX)), path.stat().st_mtime_ns // 1_000_000
    except (OSError, ValueError):
        return None


def explain_absence(process: str, left: Traces, start_it: str) -> str:
    """Say why a node or an agent does not run, and how to start it, from what it left behind."""
    if left.unseen:
        return ending(process, left)
    mended = left.run is not None and left.run.reason and not left.unrecorded
    then = "once that is mended" if mended else "start it with"
    return f"{ending(process, left)}\n  {then}: {start_it}"


def ending(process: str, left: Traces) -> str:
    """Say how a process's last run ended; where nothing was recorded, what its log says last, and when."""
    run = left.run
    if run is not None and left.unseen:
        return (
            f"the {process} that began at {utc(run.began)} UTC runs where this command cannot see it, in "
            f"another container or as another user; it logs to {run.logs or 'an unknown place'}"
        )
    if left.begun is not None and left.unrecorded:
        pid, began = left.begun
        which = f"the {process} that was begun as process {pid} at {utc(began)} UTC"
        return f"{which} ended without a record of its run{_last_line(left)}"
    if run is None:
        return f"the {process} does not run{_last_line(left)}"
    if run.ended is None:
        return f"the {process} began its last run at {utc(run.began)} UTC and {CUT_OFF}{_last_line(left)}"
    if run.reason:
        return f"the {process} stopped by itself at {utc(run.ended)} UTC: {run.reason}"
    return f"the {process} does not run: it was told to end, and did so at {utc(run.ended)} UTC"


def cut_off(org: OrgFolder, process: str) -> str:
    """Say in brackets that the last run wrote no end; empty where it did, or where nothing is known."""
    with contextlib.suppress(DecodeError, FileTrouble):
        run = read_run(org.run(process))
        if run is not None and run.ended is None:
            return f" (its last run, begun at {utc(run.began)} UTC, was cut off: it wrote no end)"
    return ""


def about_old_log(org: OrgFolder, process: str) -> str:
    """Say of the log of a process that does not run how old it is and whose; empty of one that runs."""
    if processes.find(org, process) is not None:
        return ""
    left = traces(org, process)
    words = f"{ending(process, replace(left, line=''))}; its log was written last at {utc(left.written)} UTC"
    if left.run is not None and left.run.logs not in ("", str(org.log(process).resolve())):
        return f"{words}, and that run logged elsewhere, to {left.run.logs}"
    return words


def _last_line(left: Traces) -> str:
    fault = f" ({left.fault})" if left.fault else ""
    if not left.line:
        return fault
    return f"{fault}; its last log line, of {utc(left.written)} UTC, is: {left.line[:LINE_CHARS_MAX]}"
