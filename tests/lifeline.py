"""Nothing that a campaign begins outlives it: neither processes that it detached, nor workers of its pool.

`finally` blocks do not run when a process is killed, and ports that orphans keep spoil the next campaign.
So a process of its own waits for the end of the campaign, which closes a pipe, and kills what is left.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
MARK = "ASSENT_CAMPAIGN"
"""The variable of the environment by which everything that a campaign begins is known."""
ROUNDS_MAX, ROUND_S = 100, 0.05
"""What is left is killed again and again: it may begin something while it is looked for."""
ORDERLY = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def lifeline() -> Iterator[None]:
    """Have all that is begun within, and all that those begin, end with this process, however it ends.

    SIGTERM and SIGHUP end it as Ctrl-C does, so that its own `finally` blocks run first. For the main thread.
    """
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "tests.lifeline", token]
    unmarked = {name: value for name, value in os.environ.items() if name != MARK}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, cwd=ROOT, env=unmarked, start_new_session=True
    ) as reaper:
        before = {number: signal.signal(number, _interrupt) for number in ORDERLY}
        os.environ[MARK] = token
        try:
            yield
        finally:
            del os.environ[MARK]
            for number, handler in before.items():
                signal.signal(number, handler)
            assert reaper.stdin is not None
            reaper.stdin.close()


def _interrupt(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


def end_with_parent() -> None:
    """End this process of a pool when the one that began the pool is gone; the initializer of the pool."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process that multiprocessing began has a parent to follow"

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def reap(token: str) -> None:
    """Kill every process that has the mark, until there is none."""
    for _ in range(ROUNDS_MAX):
        left = [process for process in psutil.process_iter() if _is_marked(process, token)]
        if not left:
            return
        for process in left:
            with suppress(psutil.NoSuchProcess):  # it ended by itself meanwhile
                process.kill()
        time.sleep(ROUND_S)


def _is_marked(process: psutil.Process, token: str) -> bool:
    try:
        marked = process.environ().get(MARK) == token
        return marked and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:  # gone, or somebody else's
        return False


def main() -> None:
    """Wait until whoever began this process is gone or closes the pipe."""
    sys.stdin.buffer.read()
    reap(sys.argv[1])


if __name__ == "__main__":
    main()
