"""CPython as the oracle: a process of its own executes programs of the common subset and says what came out.

It reads one JSON text a line (the source) and answers one line: ["ok", result] or ["raised", exception].
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS_MAX = 2
MEMORY_MAX = 512 * 1024 * 1024
SAME = {
    "ZERO_DIVISION": ("ZeroDivisionError",),
    "KEY_ERROR": ("KeyError",),
    "INDEX_ERROR": ("IndexError",),
    "VALUE_ERROR": ("ValueError", "OverflowError"),
    "TYPE_ERROR": ("TypeError", "AttributeError"),
    "UNBOUND": ("UnboundLocalError",),
    "ASSERTION": ("AssertionError",),
}
"""Which exceptions of CPython mean what a code of ours does."""


class Oracle:
    """The process; a context manager that ends it."""

    def __init__(self) -> None:
        """Start it."""
        command = [sys.executable, str(Path(__file__))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Oracle:
        """Serve until the block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.communicate()

    def ask(self, source: str) -> list[Any]:
        """Return ["ok", result] or ["raised", name of the exception]."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(source) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return list(answer)


def _plain(value: Any) -> Any:
    """Return a result as the ledger's JSON shows it."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return {"$bytes": value.hex()} if isinstance(value, bytes) else value


def _stop(*_: object) -> None:
    raise TimeoutError


def _executed(source: str) -> list[Any]:
    names: dict[str, Any] = {"export": lambda function: function}
    signal.setitimer(signal.ITIMER_REAL, SECONDS_MAX)
    try:
        exec(compile(source, "generated", "exec"), names)  # noqa: S102  (our own generated text)
        return ["ok", _plain(names["main"]())]
    except Exception as error:
        return ["raised", type(error).__name__]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _serve() -> None:
    sys.set_int_max_str_digits(0)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX,) * 2)
    signal.signal(signal.SIGALRM, _stop)
    for line in sys.stdin:
        print(json.dumps(_executed(json.loads(line))), flush=True)


if __name__ == "__main__":
    _serve()
