"""Replicas of the interpreter: processes that are made as different as hosts can be, and must agree.

Each has its own PYTHONHASHSEED, one runs under -O, one deep inside a stack, any may run another CPython.
Every call is run by all of them and the outcomes are compared byte for byte, so a contract (or an
interpreter) whose result depends on its host is found in the author's test, not as a missing certificate.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from chain.primitives.codec import encode
from chain.primitives.errors import AssentError
from chain.primitives.runtimeport import Call, Outcome, StateKey, StateReader, map_key
from chain.primitives.values import Value, decode_stored, decode_value, encode_value
from contracts.versions import LIFECYCLE

FRAME_BYTES_MAX = 64 * 1024 * 1024
AGREED_MAX = 1_000_000
"""Hashes of so many questions are kept; what is agreed beyond them is asked again."""
_SOURCES = Path(__file__).parents[1]
Run = Callable[[Call, StateReader], Outcome]


@dataclass(frozen=True, slots=True)
class Host:
    """The host of one replica: its seed of str hashes, options, frames on the stack, and CPython."""

    hash_seed: str
    options: tuple[str, ...]
    depth: int
    python: str = sys.executable


HOSTS = (Host("0", (), 0), Host("1", ("-O",), 0), Host("4242", (), 2_500))


class ReplicasDiffer(AssentError):
    """The error of two different outcomes of one call: the contract or the interpreter is at fault."""

    code = "replicas_differ"


def outcome_bytes(outcome: Outcome) -> bytes:
    """Return everything about an outcome that consensus depends on, as canonical bytes."""
    writes = [[*place, outcome.writes[place]] for place in sorted(outcome.writes)]
    events = [encode(event) for event in outcome.events]
    return encode_value([outcome.status, outcome.code, outcome.result, outcome.gas_used, writes, events])


def _call_value(call: Call) -> list[Value]:
    head = [call.contract, call.method, call.args, call.sender, call.tx_id]
    return [*head, call.gas_limit, call.height, call.block_time, call.chain_id]


class _Recorder:
    """A state that remembers what was read from it."""

    def __init__(self, state: StateReader) -> None:
        self.state = state
        self.rows: dict[StateKey, bytes | None] = {}

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return what the state holds."""
        data = self.rows[namespace, key] = self.state.get(namespace, key)
        return data


class Replicas:
    """The replicas of one test session; as a context manager it ends their processes.

    They hold no state but sources: with each call goes what this process read when it ran the call. A replica
    that reads anything else computes something else, and says so. May be used from several threads.
    """

    def __init__(self, hosts: tuple[Host, ...] = HOSTS) -> None:
        """Start one process per host."""
        self._hosts = hosts
        self._processes = [_start(host) for host in hosts]
        self._lock = threading.Lock()
        self._sent: set[bytes] = set()
        self._agreed: set[bytes] = set()

    def __enter__(self) -> Replicas:
        """Serve until the block ends."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        self.close()

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.communicate()
        self._processes = []

    def follow(self, kind: str, run: Run, call: Call, state: StateReader) -> Outcome:
        """Run a call (`execute` or `view`) here and on every replica; raise unless all agree."""
        seen = _Recorder(state)
        outcome = run(call, seen)
        self._agree([kind, _call_value(call), self._rows(seen)], outcome, f"{call.contract}.{call.method}")
        return outcome

    def install(
        self,
        run: Callable[..., Outcome],
        sources: Mapping[str, str],
        arguments: Mapping[str, Mapping[str, Value]],
        *,
        time: int,
        state: StateReader,
        height: int = 0,
        tx_id: bytes = bytes(32),
    ) -> Outcome:
        """Do what `ContractRuntime.bootstrap` does, here and on every replica; raise unless all agree."""
        seen = _Recorder(state)
        outcome = run(sources, arguments, time=time, state=seen, height=height, tx_id=tx_id)
        named = [[name, source, dict(arguments.get(name, {}))] for name, source in sources.items()]
        message = ["install", named, time, height, tx_id, self._rows(seen)]
        self._agree(message, outcome, f"installing {', '.join(sources)}")
        return outcome

    def _rows(self, seen: _Recorder) -> list[Value]:
        """Return what was read, and the code in force once: a warm runtime does not read it again."""
        rows = dict(seen.rows)
        for (namespace, key), data in seen.rows.items():
            if namespace == LIFECYCLE and key.startswith(b"active/") and data is not None:
                for place in _source_places(decode_stored(data)):
                    if place not in self._sent:
                        self._sent.add(place)
                        rows[LIFECYCLE, place] = seen.state.get(LIFECYCLE, place)
        return [[*place, data] for place, data in rows.items()]

    def _agree(self, message: list[Value], outcome: Outcome, what: str) -> None:
        self.agree(message, outcome_bytes(outcome), what)

    def agree(self, message: list[Value], expected: bytes, what: str) -> None:
        """Ask every replica; raise ReplicasDiffer unless each answers with exactly these bytes.

        What they agreed to before is not asked again: a replica's answer follows from the message alone.
        """
        question = hashlib.sha256(encode_value([message, expected])).digest()
        with self._lock:
            if question in self._agreed:
                return
            for process in self._processes:
                write(process.stdin, message)
            answers = [receive(process.stdout) for process in self._processes]
            for host, answer in zip(self._hosts, answers, strict=True):
                if answer != [expected]:
                    raise ReplicasDiffer(f"{what}: the replica on {host} computed another outcome")
            if len(self._agreed) < AGREED_MAX:
                self._agreed.add(question)


def _source_places(record: dict[str, Value]) -> list[bytes]:
    """Return where the sources of a contract in force are, those of its libraries included."""
    hashes = [record["source_hash"], *record["libraries"].values()]
    return [map_key("sources", one) for one in hashes]


def _start(host: Host) -> subprocess.Popen[bytes]:
    command = [host.python, *host.options, "-m", "contracts.replica", str(host.depth)]
    environment = {**os.environ, "PYTHONHASHSEED": host.hash_seed, "PYTHONPATH": str(_SOURCES)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def write(stream: IO[bytes] | None, message: list[Value]) -> None:
    """Write one message: its length in 4 bytes, then its canonical bytes."""
    assert stream is not None
    data = encode_value(message)
    stream.write(len(data).to_bytes(4, "big") + data)
    stream.flush()


def receive(stream: IO[bytes] | None) -> list[Value] | None:
    """Return the next message, or None at the end of the stream."""
    assert stream is not None
    head = stream.read(4)
    if len(head) < 4:
        return None
    message: list[Value] = decode_value(stream.read(int.from_bytes(head, "big")), max_bytes=FRAME_BYTES_MAX)
    return message
