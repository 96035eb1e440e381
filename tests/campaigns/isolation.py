"""Work in forked processes: each starts from what is imported here, is bounded, and cannot harm its parent.

A child sends JSON lines: `{"begins": name}` before each piece of its work, `{"result": …}` at the end. If it
dies instead, the last piece that began is where.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

MEMORY_BYTES = 2 << 30
"""What a child may add to the address space that it inherits."""
WALL_FACTOR = 20
"""A child that has used none of its CPU time for so much longer hangs."""
Say = Callable[[dict[str, Any]], None]
Work = Callable[[Say], Any]


class TooLong(BaseException):
    """A piece of work used more CPU time than it may; no `except Exception` swallows it."""


@dataclass(slots=True)
class Child:
    """A running process."""

    pid: int
    pipe: int
    cpu_s: float
    ends_at: float
    received: bytes = b""
    killed: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """How a child ended."""

    result: Any
    """What the work returned, or None if the process died before."""
    death: str
    """Why it died, or empty."""
    began: str
    """The last piece of work that began."""
    cpu_s: float


@dataclass(slots=True)
class Nursery:
    """Children, several at a time."""

    children: dict[int, Child] = field(default_factory=dict)
    """By the descriptor of their pipe."""
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def start(self, work: Work, cpu_s: float) -> int:
        """Fork a child that does this with so much CPU time; return its descriptor."""
        sys.stdout.flush()
        sys.stderr.flush()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _live(work, writing, cpu_s)
        os.close(writing)
        child = Child(pid, reading, cpu_s, time.monotonic() + 30 + WALL_FACTOR * cpu_s)
        self.children[reading] = child
        self._selector.register(reading, selectors.EVENT_READ)
        return reading

    def wait(self) -> tuple[int, End]:
        """Return the next child that has ended; call only while there are some."""
        while True:
            for key, _ in self._selector.select(timeout=1.0):
                child = self.children[key.fd]
                data = os.read(child.pipe, 1 << 16)
                child.received += data
                if not data:
                    return key.fd, self._bury(child)
            for child in self.children.values():
                if time.monotonic() > child.ends_at and not child.killed:
                    child.killed = True
                    os.kill(child.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill whoever still runs."""
        for child in list(self.children.values()):
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            self._bury(child)

    def _bury(self, child: Child) -> End:
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        del self.children[child.pipe]
        _, status, usage = os.wait4(child.pid, 0)
        lines = [json.loads(line) for line in child.received.splitlines() if line.endswith(b"}")]
        began = [line["begins"] for line in lines if "begins" in line]
        results = [line["result"] for line in lines if "result" in line]
        errors = [line["error"] for line in lines if "error" in line]
        death = ""
        if child.killed:
            death = "hangs without using its CPU time"
        elif errors:
            death = errors[-1]
        elif os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            death = "out of CPU time" if number == signal.SIGXCPU else f"killed by signal {number}"
        elif not results:
            death = f"exit status {os.waitstatus_to_exitcode(status)}"
        cpu = usage.ru_utime + usage.ru_stime
        return End(results[-1] if results else None, death, began[-1] if began else "", cpu)


def _live(work: Work, writing: int, cpu_s: float) -> None:
    """Be the child: never returns."""
    status = 1
    try:
        _bound(cpu_s)
        silence = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silence, descriptor)

        def say(line: dict[str, Any]) -> None:
            data = json.dumps(line).encode() + b"\n"
            while data:
                data = data[os.write(writing, data) :]

        try:
            say({"result": work(say)})
            status = 0
        except BaseException as error:  # the parent is told, whatever it is
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{os.path.basename(last.filename)}:{last.lineno}"
            say({"error": f"{type(error).__name__}: {str(error)[:200]} ({where})"})
    finally:
        os._exit(status)


def _bound(cpu_s: float) -> None:
    with open("/proc/self/statm", encoding="ascii") as pages:
        inherited = int(pages.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (inherited + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_s) + 1, int(cpu_s) + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_cpu(seconds: float) -> None:
    """Raise TooLong in the main thread after so much more CPU time; 0 ends the limit."""

    def strike(_number: int, _frame: FrameType | None) -> None:
        raise TooLong(f"more than {seconds:.1f} s of CPU")

    signal.signal(signal.SIGPROF, strike)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0 if seconds else 0.0)
