"""Starting, finding and stopping the processes of a local consortium."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from chain.cli.layout import OrgFolder
from chain.primitives.errors import AssentError, DecodeError, Exit, FileTrouble
from chain.primitives.files import file_remedy, open_regular, private_files
from chain.primitives.lastrun import is_held, read_run
from chain.primitives.onechange import one_change

STOP_WAIT_S = 15.0
START_WAIT_S = 60.0
"""Another `start` of the same process may take so long to look and to begin it, on a busy machine."""
POLL_S = 0.1
START_SLACK_MS = 2_000
"""The system's clock and that of its processes differ by less."""
TAIL_BYTES_MAX = 16_777_216
"""What is read of a log's end: its lines are short, and it may have grown for months."""


class ProcessError(AssentError):
    """A process that did not start or stop: the text names its log."""

    code = "process"


class Unrecorded(ProcessError):
    """A process that was begun and could not be written down: it is found by its command line."""

    code = "process_unrecorded"
    exit = Exit.IO


class NotReady(ProcessError):
    """Nodes that run and cannot serve yet: the text names them and why; `assent status` tells more."""

    code = "not_ready"
    exit = Exit.NO_QUORUM


class Paused(ProcessError):
    """A process that stands still as it was told to: the text says how it goes on."""

    code = "process_paused"
    exit = Exit.NO_QUORUM

    def __init__(self, org: OrgFolder, process: str, pid: int) -> None:
        super().__init__(f"{org.name}: {paused_words(process, pid)}")


class OfAnother(ProcessError):
    """A process that this user may not signal: the text names it, and who may."""

    code = "process_of_another"
    exit = Exit.CONFIG

    def __init__(self, org: OrgFolder, process: str, running: psutil.Process) -> None:
        whose = "another user"
        with contextlib.suppress(psutil.Error, KeyError):
            whose = f"the user {running.username()}"
        super().__init__(
            f"{org.name}: the {process}, process {running.pid}, belongs to {whose}; do this as that user, "
            "or, where a service manager runs it, with its own command (systemctl stop …)"
        )


class GoesOn(ProcessError):
    """A process that is there even after SIGKILL: the text says why that can be."""

    code = "process_goes_on"
    exit = Exit.IO

    def __init__(self, org: OrgFolder, process: str, pid: int) -> None:
        super().__init__(
            f"{org.name}: the {process}, process {pid}, is still there {STOP_WAIT_S:.0f} s after it was "
            "killed (SIGKILL): the kernel holds it, as for a disk that does not answer; see dmesg"
        )


class Ended(ProcessError):
    """A process that ended while it was waited for: its last words, and its own status for supervisors."""

    def __init__(self, org: OrgFolder, process: str) -> None:
        words = log_tail(org, process, 5, _began.get(org.log(process), 0)) or "it said nothing"
        super().__init__(f"{org.name}: the {process} stopped while starting:\n{words}")
        self.exit = _status(org, process)  # type: ignore[misc]  # of this one


def paused_words(process: str, pid: int) -> str:
    """Say of a process that it is paused, and how it goes on."""
    how = f"continue it with: kill -CONT {pid}"
    return f"the {process}, process {pid}, is paused (SIGSTOP, or a debugger): {how}"


_began: dict[Path, int] = {}
"""Log -> how long it was when this command began the process: what stands before is of another."""
_children: dict[Path, int] = {}
"""Log -> the process that this command began."""


def _status(org: OrgFolder, process: str) -> Exit:
    """Return how a process ended that this command began; REFUSED where that is not known."""
    with contextlib.suppress(KeyError, ChildProcessError, ValueError):
        _, status = os.waitpid(_children.pop(org.log(process)), os.WNOHANG)
        return Exit(os.waitstatus_to_exitcode(status))
    return Exit.REFUSED


def find(org: OrgFolder, process: str) -> psutil.Process | None:
    """Return the running process of an organisation, whether `start` began it or a person at a terminal."""
    known = _named(org, process) or _recorded(org, process)
    return known or next(_running(_config(org, process), process), None)


def _recorded(org: OrgFolder, process: str) -> psutil.Process | None:
    """Return the process that records its run here; sudo or timeout, which began it, have its words, too."""
    with contextlib.suppress(DecodeError, FileTrouble, psutil.Error):
        run = read_run(org.run(process))
        if run is not None and run.ended is None and is_held(org.run(process)):
            running = psutil.Process(run.pid)
            before = (
                running.create_time() * 1_000 <= run.began + START_SLACK_MS
            )  # else its number is another's
            if before and running.status() != psutil.STATUS_ZOMBIE and _runs(running.cmdline(), process):
                return running
    return None


def _running(config: Path, process: str) -> Iterator[psutil.Process]:
    """Yield what runs `assent PROCESS run` with this configuration, and can be seen by this user."""
    for running in psutil.process_iter():
        try:
            words = running.cmdline()
            if not _runs(words, process):
                continue
            named = Path(_named_config(words, process))
            if (named if named.is_absolute() else Path(running.cwd(), named)).resolve() == config:
                yield running
        except (psutil.Error, OSError):
            continue


def _runs(words: list[str], process: str) -> bool:
    return any(pair == (process, "run") for pair in itertools.pairwise(words))


def _named_config(words: list[str], process: str) -> str:
    for word, following in itertools.pairwise([*words, ""]):
        if word == "--config":
            return following
        if word.startswith("--config="):
            return word.removeprefix("--config=")
    return f"{process}.toml"


def owns_port(org: OrgFolder, process: str, port: int) -> bool:
    """Tell whether the organisation's process itself listens on a port (0: any): another may answer there.

    Of a process of another user it is told whether anybody listens whom this user cannot see.
    """
    running = find(org, process)
    try:
        sockets: list[Any] = running.net_connections("tcp") if running is not None else []
    except psutil.AccessDenied:
        sockets = [s for s in psutil.net_connections("tcp") if s.pid is None]
    except psutil.Error:
        return False
    return any(s.status == psutil.CONN_LISTEN and port in (0, s.laddr.port) for s in sockets)


def _named(org: OrgFolder, process: str) -> psutil.Process | None:
    """Return the running process that the pid file names, if it really is ours."""
    try:
        running = psutil.Process(int(org.pid(process).read_text()))
        words = running.cmdline()  # none for a moment, while the kernel exchanges the program
        if running.status() == psutil.STATUS_ZOMBIE or (words and str(_config(org, process)) not in words):
            return None
    except (OSError, ValueError, psutil.Error):
        return None
    return running


def start(org: OrgFolder, process: str) -> bool:
    """Start a node or an agent in the background; False when it runs already, or is started right now."""
    with private_files(), one_change(org.pid(process), START_WAIT_S):
        return find(org, process) is None and _spawn(org, process)


def _spawn(org: OrgFolder, process: str) -> bool:
    command = [sys.executable, "-m", "chain.cli.main", process, "run", "--config", str(_config(org, process))]
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(org.log(process)), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    log = org.log(process)
    _began[log] = log.stat().st_size if log.exists() else 0
    pid = os.posix_spawn(
        sys.executable, command, os.environ, file_actions=streams, setsid=True, setsigmask=[signal.SIGHUP]
    )  # whoever rotates logs does not end a process that is not far enough yet to hear of it
    _children[log] = pid
    try:
        _write_pid(org.pid(process), pid)
    except OSError as error:
        raise Unrecorded(
            f"{org.pid(process)}: cannot be written ({error.strerror}), though the {process} was begun as "
            f"process {pid}; mend that, then see what runs: assent status"
        ) from None
    return True


def wait_until(
    org: OrgFolder, process: str, ready: Callable[[], bool], seconds: float, *, most_s: float | None = None
) -> None:
    """Wait until a started process is ready; raise ProcessError with the end of its log otherwise.

    It is given so many seconds, and where `most_s` is more, so many after each sign that it works: on a busy
    host a start takes longer than on an idle one.
    """
    began = moved = time.monotonic()
    seen: tuple[int, ...] = ()
    while not ready():
        running = _check_goes_on(org, process)
        now, signs = time.monotonic(), _signs_of_work(org, process, running)
        if signs != seen:
            seen, moved = signs, now
        if now > min(moved + seconds, began + max(seconds, most_s or 0)):
            idle = f", and shows no sign of work since {now - moved:.0f} s" if most_s else ""
            raise ProcessError(
                f"{org.name}: the {process} was not ready after {now - began:.0f} s{idle}; see "
                f"{org.log(process)}:\n" + log_tail(org, process, 5)
            )
        time.sleep(POLL_S)


def _signs_of_work(org: OrgFolder, process: str, running: psutil.Process) -> tuple[int, ...]:
    """Return what grows while a process works: seconds of processor, MiB read, and the bytes of its log."""
    spent = read = length = 0
    with contextlib.suppress(psutil.Error):
        times = running.cpu_times()
        spent = int(times.user + times.system)
        read = running.io_counters().read_chars >> 20
    with contextlib.suppress(OSError):
        length = org.log(process).stat().st_size
    return spent, read, length


def until(org: OrgFolder, process: str, why_not: Callable[[], str], end: float) -> str:
    """Wait until a process has no reason left, or until a moment of the monotonic clock; return the reason.

    Raises ProcessError when the process ends meanwhile.
    """
    while (why := why_not()) and time.monotonic() < end:
        _check_goes_on(org, process)
        time.sleep(POLL_S)
    return why


def _check_goes_on(org: OrgFolder, process: str) -> psutil.Process:
    """Return a process that is waited for; raise Ended or Paused where that is in vain."""
    running = find(org, process)
    if running is None:
        raise Ended(org, process)
    with contextlib.suppress(psutil.Error):
        if running.status() == psutil.STATUS_STOPPED:
            raise Paused(org, process, running.pid)
    return running


def logs_to(running: psutil.Process) -> str:
    """Return what a process writes its log to: a path, or the kernel's name of a pipe or a socket.

    Raises OSError where that cannot be seen: PermissionError where the process is another user's.
    """
    return os.readlink(f"/proc/{running.pid}/fd/2")


def reopen_log(org: OrgFolder, process: str) -> bool:
    """Let a running process open its log anew, after a rotation; False when none runs (OfAnother)."""
    running = find(org, process)
    if running is not None:
        _signal(org, process, running, functools.partial(running.send_signal, signal.SIGHUP))
    return running is not None


def stop(org: OrgFolder, process: str) -> str:
    """Stop a process cleanly, by force after a while; say how it ended, nothing when it was not running.

    One that is paused goes on, to end. Raises OfAnother and GoesOn.
    """
    running = find(org, process)
    how = ""
    if running is not None:
        how = "stopped"
        _signal(org, process, running, running.terminate, running.resume)
        if not _gone(org, process):
            how = f"killed, after {STOP_WAIT_S:.0f} s without an end"
            _kill(org, process, running)
    _forget_pid(org, process)
    return how


def kill(org: OrgFolder, process: str) -> None:
    """Kill a process with SIGKILL, as a crash would; raise OfAnother, GoesOn, or ProcessError without one."""
    running = find(org, process)
    if running is None:
        raise ProcessError(f"{org.name}: the {process} is not running")
    _kill(org, process, running)
    _forget_pid(org, process)


def _kill(org: OrgFolder, process: str, running: psutil.Process) -> None:
    _signal(org, process, running, running.kill)
    if not _gone(org, process):
        raise GoesOn(org, process, running.pid)


def _signal(org: OrgFolder, process: str, running: psutil.Process, *send: Callable[[], None]) -> None:
    """Send signals to a process, which may have ended by itself meanwhile (OfAnother)."""
    try:
        for one in send:
            one()
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        raise OfAnother(org, process, running) from None


def _forget_pid(org: OrgFolder, process: str) -> None:
    """Remove a pid file; one that stays, as on a file system that is read-only, is not believed later."""
    with contextlib.suppress(OSError):
        org.pid(process).unlink(missing_ok=True)


def _gone(org: OrgFolder, process: str) -> bool:
    """Wait until a process has ended (whoever started it may not have noticed); False if it goes on."""
    deadline = time.monotonic() + STOP_WAIT_S
    while find(org, process) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def log_tail(org: OrgFolder, process: str, lines: int, since: int = 0) -> str:
    """Return the last lines of a process's log, those before a place left out; raise FileTrouble."""
    try:
        with open_regular(org.log(process)) as file:
            file.seek(max(since, file.seek(0, os.SEEK_END) - TAIL_BYTES_MAX))
            text = file.read(TAIL_BYTES_MAX).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise FileTrouble(
            f"{org.log(process)}: cannot be read ({error.strerror}); {file_remedy(error)}"
        ) from None
    return "\n".join(text.splitlines()[-lines:])


def _config(org: OrgFolder, process: str) -> Path:
    return (org.node_config if process == "node" else org.agent_config).resolve()


def _write_pid(path: Path, pid: int) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(f"{pid}\n")
    draft.chmod(0o600)
    os.replace(draft, path)
