"""Node processes that are killed, paused, starved of disk and started again, and how long each start took."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from chain.cli.layout import OrgFolder
from chain.config import load_node_config
from chain.ledger.genesis import Genesis
from chain.ledger.store.leveldb import RECORDS
from tests.torture.verdict import TortureFailed

ROOT = Path(__file__).parents[2]
ANSWER_S = 60.0
"""A node that does not answer so long after its start, and does not end either, is a failure."""
POLL_S = 0.02
STOP_S = 20.0


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a node that ran before, and why."""

    node: str
    why: str
    answers_s: float
    """From its start to its first answer, on the clock of the machine."""
    waited_s: float
    """The part of it in which the process was ready to run and others had the cores."""
    together: int
    """How many nodes started at once."""


@dataclass(slots=True)
class NodeProcess:
    """One node of the cluster, running or not."""

    name: str
    org: OrgFolder
    url: str
    data: Path
    lies_by: int | None = None
    """The seed of its lies; None: an honest node."""
    descriptors: int | None = None
    """Soft limit of file descriptors under which it starts; None: this process's own."""
    small_disk: Path | None = None
    """The mount point of a small file system that holds its data."""
    process: subprocess.Popen[bytes] | None = None
    starts: list[Start] = field(default_factory=list)
    rss_mib: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the campaign began, MiB)."""
    paused: bool = False
    logs: int = 0

    @property
    def running(self) -> bool:
        """Whether its process exists."""
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> Path:
        """The log of the process started last."""
        return self.org.path / f"node-{self.logs}.log"

    def spawn(self) -> None:
        """Start the process in a session of its own, as commands do; its output goes to a log of its own."""
        self.logs += 1
        config = str(self.org.node_config)
        command = [sys.executable, "-m", "chain.cli.main", "node", "run", "--config", config]
        if self.lies_by is not None:
            command = [sys.executable, "-m", "tests.torture.liar", config, str(self.lies_by)]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT, start_new_session=True
            )
        if self.descriptors is not None:  # long before it opens many: it has to load its program first
            _, hard = psutil.Process(self.process.pid).rlimit(psutil.RLIMIT_NOFILE)
            psutil.Process(self.process.pid).rlimit(psutil.RLIMIT_NOFILE, (self.descriptors, hard))
        self.paused = False

    async def start(self, session: aiohttp.ClientSession, why: str, together: int = 1) -> None:
        """Start, wait until it answers, and note how long that took; raise TortureFailed if it ends."""
        began = time.monotonic()
        self.spawn()
        if not await self.answers(session):
            raise TortureFailed(f"{self.name} ended while starting ({why}):\n{self.tail()}")
        took = round(time.monotonic() - began, 3)
        self.starts.append(Start(self.name, why, took, self._waited_s(), together))

    def _waited_s(self) -> float:
        """Return how long the process's main thread waited for a core so far, as the kernel counts it."""
        assert self.process is not None
        with contextlib.suppress(OSError, ValueError, IndexError):
            return round(int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[1]) / 1e9, 3)
        return 0.0

    async def answers(self, session: aiohttp.ClientSession) -> bool:
        """Wait until the node answers (True) or its process ended (False)."""
        deadline = time.monotonic() + ANSWER_S
        while self.running:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with session.get(self.url + "/health", timeout=aiohttp.ClientTimeout(1)) as answer:
                    if answer.status == 200:
                        return True
            if time.monotonic() > deadline:
                raise TortureFailed(f"{self.name} does not answer after {ANSWER_S:.0f} s:\n{self.tail()}")
            await asyncio.sleep(POLL_S)
        return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.paused = number == signal.SIGSTOP

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)

    async def ends(self, seconds: float) -> int | None:
        """Wait until the process ends by itself; return its exit code, None if it goes on."""
        deadline = time.monotonic() + seconds
        assert self.process is not None
        while (code := self.process.poll()) is None and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
        return code

    async def stop(self) -> None:
        """Stop it as an operator does; raise TortureFailed when it does not end cleanly."""
        self.signal(signal.SIGTERM)
        code = await self.ends(STOP_S)
        if code != 0:
            self.kill()
            raise TortureFailed(f"{self.name}: SIGTERM, exit code {code} (0 expected):\n{self.tail()}")

    def owns_port(self, port: int) -> bool:
        """Tell whether this node's process has a connection from a local port."""
        if not self.running or self.process is None:
            return False
        with contextlib.suppress(psutil.Error):
            connections = psutil.Process(self.process.pid).net_connections("tcp4")
            return any(item.laddr.port == port and item.raddr for item in connections)
        return False

    def sample_memory(self, at_s: float) -> None:
        """Note the resident memory, if it runs."""
        if self.running and self.process is not None:
            with contextlib.suppress(psutil.Error):
                resident = psutil.Process(self.process.pid).memory_info().rss
                self.rss_mib.append((round(at_s, 1), round(resident / 1_048_576, 1)))

    def tail(self, lines: int = 12) -> str:
        """Return the end of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return "(no log)"

    # --- its disk -----------------------------------------------------------------------------

    def fill_disk(self) -> str:
        """Leave the node no room to write; return by what means."""
        if self.small_disk is not None:
            with (self.small_disk / "ballast").open("wb") as ballast:
                _fill(ballast.fileno(), self.small_disk)
            return "small file system (tmpfs), filled"
        if self.process is not None and self.process.poll() is None:
            limit = self.log.stat().st_size + 65_536
            _, hard = psutil.Process(self.process.pid).rlimit(psutil.RLIMIT_FSIZE)
            psutil.Process(self.process.pid).rlimit(psutil.RLIMIT_FSIZE, (limit, hard))
        return "size limit of files (RLIMIT_FSIZE)"

    def free_disk(self) -> None:
        """Give the room back; a size limit goes with the process that had it."""
        if self.small_disk is not None:
            (self.small_disk / "ballast").unlink(missing_ok=True)

    def newest_log(self) -> Path:
        """Return the file that the LevelDB of rows appends to."""
        return _newest_log(self.data)

    def truncate_log(self, share: float) -> tuple[str, int]:
        """Cut that file (the node must be stopped); return (file, bytes lost).

        `share` in 0..1 picks how much of its last 16 KiB goes.
        """
        return _cut(self.newest_log(), share)

    def truncate_records(self, share: float) -> tuple[str, int]:
        """Cut the file that the LevelDB of records appends to; as `truncate_log` does."""
        newest = max((self.data / RECORDS).iterdir(), key=lambda path: int(path.name))
        return _cut(_newest_log(newest), share)

    def wipe(self) -> None:
        """Empty the data directory, as the refusal tells an operator to; the key and its marker stay."""
        for item in self.data.iterdir():
            if item.is_dir():
                shutil.rmtree(item)
            elif item.name != "ballast":
                item.unlink()


def _newest_log(database: Path) -> Path:
    return max(database.glob("*.log"), key=lambda path: int(path.stem))


def _cut(file: Path, share: float) -> tuple[str, int]:
    size = file.stat().st_size
    lost = min(size, 1 + int(share * 16_384))
    os.truncate(file, size - lost)
    return file.name, lost


def _fill(ballast: int, disk: Path) -> None:
    """Take all room but 64 KiB; the node writes meanwhile, so the last pieces may not fit."""
    size = 0
    while (left := _room(disk)) > 65_536:
        piece = min(left - 65_536, 16_777_216)
        try:
            os.posix_fallocate(ballast, size, piece)
        except OSError:
            continue
        size += piece


def _room(disk: Path) -> int:
    free = os.statvfs(disk)
    return free.f_bavail * free.f_frsize


def mount_small_disk(folder: Path, mib: int) -> bool:
    """Mount a small tmpfs on a folder; False when this user may not."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "assent-torture", str(folder)]
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


def make_nodes(orgs: tuple[OrgFolder, ...], genesis: Genesis, ports: dict[str, int]) -> list[NodeProcess]:
    """Give each node a port of its own behind the address that genesis names; return them."""
    nodes = []
    for org, validator in zip(orgs, genesis.validators, strict=True):
        text = org.node_config.read_text()
        text = text.replace(validator.address, f"127.0.0.1:{ports[org.name]}")
        org.node_config.write_text(text)
        config, files = load_node_config(org.node_config)
        nodes.append(NodeProcess(org.name, org, f"http://{config.rpc.listen}", files.data_dir))
    return nodes
