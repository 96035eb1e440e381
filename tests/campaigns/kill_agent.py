"""An agent that is hit at a step of one job, once: by a signal, a full disk, or a file changed or gone.

The process is the agent as it runs everywhere. Only its status board, on which it shows each step of a job,
is watched: the hit falls in the midst of the step, on the agent's own thread.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

from privcompute.agent.process import run_agent
from privcompute.config import load_agent_config
from privcompute.job.store import JobProgress, StatusBoard

FILLER = "filler"
BLOCK = bytes(1 << 16)


def fill(folder: Path) -> None:
    """Leave no byte on the agent's own disk; if it has none, let the kernel refuse every write it makes."""
    if not os.path.ismount(folder):
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return
    descriptor = os.open(folder / FILLER, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (len(BLOCK), 1):
            while os.write(descriptor, BLOCK[:size]):
                pass
    except OSError:
        return
    finally:
        os.close(descriptor)


def damage(path: Path) -> None:
    """Change one byte in the middle of a file, and its first one."""
    content = bytearray(path.read_bytes())
    for place in (0, len(content) // 2):
        content[place] ^= 1
    path.write_bytes(bytes(content))


def hit(fault: str, folder: Path, victim: Path | None) -> None:
    """Do what `fault` says to this process, its disk or the file `victim`."""
    if fault == "full":
        fill(folder)
    if fault == "changed" and victim is not None:
        damage(victim)
    if fault == "missing" and victim is not None:
        victim.unlink()
    if fault.startswith("stop"):
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "kill" or (victim is not None and victim.is_relative_to(folder)):
        os.kill(os.getpid(), signal.SIGKILL)


def main(config: Path, step: str, fault: str, victim: str, marker: Path) -> None:
    """Run the agent; `victim` is a file (JOB is the job's id), or "" for none; `marker` tells of the hit."""
    files = load_agent_config(config)[1]
    post = StatusBoard.post

    def watched(board: StatusBoard, progress: JobProgress, now_ms: int) -> None:
        if step in (progress.step, progress.state) and not marker.exists():
            marker.write_text(progress.job)
            named = Path(victim.replace("JOB", progress.job)) if victim else None
            hit(fault, files.data_dir, named)
        post(board, progress, now_ms)

    StatusBoard.post = watched  # type: ignore[method-assign]
    run_agent(config)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], Path(sys.argv[5]))
