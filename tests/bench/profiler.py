"""Where a node's time goes: stacks sampled by py-spy from outside, added up by part of the system."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from chain.cli import processes
from chain.cli.layout import OrgFolder
from chain.primitives.errors import AssentError

RATE_HZ = 100
STOP_S = 60.0
WAITS = ("_worker (concurrent/", "Runner.run (asyncio/", "run (uvloop/", "wait (threading")
"""Innermost frames of a thread that has nothing to do."""
PARTS = (
    ("signatures of transactions", "signature_holds (chain/ledger/block"),
    ("LevelDB and its disk", "(chain/ledger/store/leveldb"),
    ("state tree and state rows", "CachedState.change (chain/ledger/state/state"),
    ("contracts", "(contracts/"),
    ("executing: receipts, events, rows", "(chain/ledger/batch_executor"),
    ("executing: receipts, events, rows", "Ledger.execute (chain/ledger/ledger"),
    ("consensus: messages and votes", "(consensus/"),
    ("consensus: batches", "(chain/node/orderer"),
    ("catch-up", "(chain/network/sync"),
    ("gossip", "(chain/network/gossip"),
    ("admission and pool", "(chain/node/intake"),
    ("pool after a block", "NodeCore._drop_decided (chain/node/core"),
    ("RPC", "(chain/api/"),
    ("RPC", "(aiohttp/"),
    ("links and TLS", "(chain/network/"),
)
"""The first whose text stands in any frame names a sample's part."""


class ProfilerMissing(AssentError):
    """No profiler here: install py-spy (`pip install py-spy`), or leave --profile out."""

    code = "profiler_missing"


class Profiler:
    """Samples one node while it is started; raise ProfilerMissing without py-spy."""

    def __init__(self, org: OrgFolder) -> None:
        self._org = org
        found = shutil.which("py-spy")
        if found is None:
            raise ProfilerMissing("py-spy is not on the PATH: `pip install py-spy`, or leave --profile out")
        self._command = found
        self._running: subprocess.Popen[bytes] | None = None
        self._samples: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to sample."""
        node = processes.find(self._org, "node")
        if node is None:
            raise processes.ProcessError(f"{self._org.name}: the node is not running")
        self._output = Path(tempfile.mkstemp(suffix=".stacks")[1])
        options = ["--nonblocking", "-r", str(RATE_HZ), "-d", "86400", "-f", "raw", "-o", str(self._output)]
        self._running = subprocess.Popen(
            [self._command, "record", "-p", str(node.pid), *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def stop(self) -> None:
        """Stop sampling and add up."""
        assert self._running is not None
        self._running.send_signal(signal.SIGINT)
        self._running.wait(STOP_S)
        for line in self._output.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            self._samples[part_of(stack)] += int(count)
        self._output.unlink()

    def shares(self) -> dict[str, float]:
        """Return each part's share of the busy samples, the largest first."""
        busy = Counter({part: count for part, count in self._samples.items() if part != "idle"})
        return {part: round(count / busy.total(), 3) for part, count in busy.most_common()}


def part_of(stack: str) -> str:
    """Return which part of the system a stack (frames from the outermost, joined by ;) belongs to."""
    frames = stack.split(";")
    if not stack or any(wait in frames[-1] for wait in WAITS):
        return "idle"
    return next((part for part, text in PARTS if text in stack), "event loop and the rest")
