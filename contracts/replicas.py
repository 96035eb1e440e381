"""Three replicas of the interpreter in processes of their own, made as different as hosts can be.

Each has its own PYTHONHASHSEED, one runs under -O, one deep inside a stack. Every call is run by all of them
and the outcomes are compared byte for byte, so a contract (or an interpreter) whose result depends on its
host is found in the author's test, not as a missing certificate.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import IO

from chain.primitives.codec import Value, decode_value, encode, encode_value
from chain.primitives.errors import AssentError
from chain.primitives.execution import Call, Outcome, StateKey
from contracts.runtime import ContractRuntime

FRAME_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Host:
    """How one replica differs: seed of str hashes, options of the interpreter, frames on the stack."""

    hash_seed: str
    options: tuple[str, ...]
    depth: int


HOSTS = (Host("0", (), 0), Host("1", ("-O",), 0), Host("4242", (), 2_500))


class ReplicasDiffer(AssentError):
    """Two replicas computed different outcomes for one call: the contract or the interpreter is at fault."""

    code = "replicas_differ"


def outcome_bytes(outcome: Outcome) -> bytes:
    """Return everything about an outcome that consensus depends on, as canonical bytes."""
    writes = [[*place, outcome.writes[place]] for place in sorted(outcome.writes)]
    events = [encode(event) for event in outcome.events]
    return encode_value([outcome.status, outcome.code, outcome.result, outcome.gas_used, writes, events])


def _call_value(call: Call) -> list[Value]:
    head = [call.contract, call.method, call.args, call.sender, call.tx_id]
    return [*head, call.gas_limit, call.height, call.block_time]


class Replicas:
    """The processes; a context manager that ends them."""

    def __init__(self, hosts: tuple[Host, ...] = HOSTS) -> None:
        """Start one process per host."""
        self._hosts = hosts
        self._processes = [_start(host) for host in hosts]

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

    def apply(self, writes: Mapping[StateKey, bytes | None]) -> None:
        """Bring every replica's state up to date."""
        self._send(["apply", [[*place, data] for place, data in writes.items()]])

    def compare(self, kind: str, call: Call, outcome: Outcome) -> None:
        """Run a call (`execute` or `view`) on every replica; raise ReplicasDiffer unless all agree."""
        self._send([kind, _call_value(call)])
        expected = outcome_bytes(outcome)
        for host, process in zip(self._hosts, self._processes, strict=True):
            if _receive(process.stdout) != [expected]:
                raise ReplicasDiffer(
                    f"{call.contract}.{call.method}: the replica on {host} computed another outcome"
                )

    def _send(self, message: list[Value]) -> None:
        for process in self._processes:
            _write(process.stdin, message)


def _start(host: Host) -> subprocess.Popen[bytes]:
    command = [sys.executable, *host.options, "-m", "contracts.replicas", str(host.depth)]
    environment = {**os.environ, "PYTHONHASHSEED": host.hash_seed}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _write(stream: IO[bytes] | None, message: list[Value]) -> None:
    assert stream is not None
    data = encode_value(message)
    stream.write(len(data).to_bytes(4, "big") + data)
    stream.flush()


def _receive(stream: IO[bytes] | None) -> list[Value] | None:
    """Return the next message, or None at the end of the stream."""
    assert stream is not None
    head = stream.read(4)
    if len(head) < 4:
        return None
    message: list[Value] = decode_value(stream.read(int.from_bytes(head, "big")), max_bytes=FRAME_BYTES_MAX)
    return message


class _Rows:
    def __init__(self) -> None:
        self.rows: dict[StateKey, bytes] = {}

    def get(self, namespace: str, key: bytes) -> bytes | None:
        return self.rows.get((namespace, key))

    def apply(self, writes: list[Value]) -> None:
        for namespace, key, data in writes:
            if data is None:
                self.rows.pop((namespace, key), None)
            else:
                self.rows[namespace, key] = data


def _serve() -> None:
    """Answer messages from standard input until it ends."""
    runtime, state = ContractRuntime(), _Rows()
    while (message := _receive(sys.stdin.buffer)) is not None:
        kind, body = message
        if kind == "apply":
            state.apply(body)
        else:
            run = runtime.execute if kind == "execute" else runtime.view
            _write(sys.stdout.buffer, [outcome_bytes(run(Call(*body), state))])


def _below(depth: int, work: Callable[[], None]) -> None:
    """Run with this many frames more on the stack."""
    if depth == 0:
        work()
    else:
        _below(depth - 1, work)


if __name__ == "__main__":
    _below(int(sys.argv[1]), _serve)
