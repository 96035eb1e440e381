"""Times of `rep3` between three real processes over TLS 1.3 on loopback: what `scripts/bench mpc` prints.

Every repetition begins with an untimed barrier; its time is that of the slowest party. Repetitions come in
batches, and the median reported is that of the best batch, so that other load on the machine counts little;
the 99th percentile is over all batches.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from chain.primitives.crypto import PrivateKey, verify
from privcompute.mpc.engine import Engine
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.mpc.sharing import Shared
from privcompute.net.links import Links, run_party
from privcompute.net.listener import PeerListener
from privcompute.net.transport import connect_peers

ELEMENTS = 10_000
ROWS, COLUMNS = 1_000, 100
BATCHES = 4
WARM_UP = 3
RUN_SECONDS_MAX = 3_600.0
_VERIFICATIONS = 200
_JOB = bytes(32)

Operation = Callable[[], Steps[Any]]


def run(repeats: int) -> dict[str, Any]:
    """Measure every operation `repeats` times in each of 4 batches; return a JSON-ready report.

    {"verify_us": …, "operations": {name: {"median_ms", "p99_ms", "verifications", "cpu_ms",
    "bytes", "rounds"}}};
    `verifications` is the median in units of one Ed25519 verification of this run, `cpu_ms` the mean
    processor time of all three parties together, `bytes` the most that a party sends, frame headers included.
    """
    reports = three_parties("tests.bench.mpc", repeats)
    unit = verification_us()
    return {"verify_us": round(unit, 2), "operations": _summary(reports, repeats, unit)}


def verification_us() -> float:
    """Return the median time of one Ed25519 verification in microseconds: the unit of comparison."""
    key, message = PrivateKey(bytes(32)), bytes(32)
    signature = key.sign(message)
    times = []
    for _ in range(_VERIFICATIONS):
        begin = time.perf_counter()
        verify(key.public, message, signature)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6


def _summary(reports: list[dict[str, Any]], repeats: int, unit: float) -> dict[str, Any]:
    operations = {}
    for name in reports[0]:
        slowest = np.max([report[name]["seconds"] for report in reports], axis=0).reshape(BATCHES, repeats)
        median_s = float(np.median(slowest, axis=1).min())
        operations[name] = {
            "median_ms": round(median_s * 1e3, 3),
            "p99_ms": round(float(np.percentile(slowest, 99)) * 1e3, 3),
            "verifications": round(median_s * 1e6 / unit, 1),
            "cpu_ms": round(sum(statistics.fmean(report[name]["cpu"]) for report in reports) * 1e3, 3),
            "bytes": max(report[name]["bytes"] for report in reports),
            "rounds": max(report[name]["rounds"] for report in reports),
        }
    return operations


def three_parties(module: str, *given: object) -> list[Any]:
    """Return what each of three processes reports that run a module with its party and what is given."""
    parties = [_Process(module, me, *given) for me in range(3)]
    try:
        ports = [party.read() for party in parties]
        for party in parties:
            party.write(ports)
        return [party.read() for party in parties]
    finally:
        for party in parties:
            party.stop()


class _Process:
    """A party in a process of its own; one JSON document a line, in and out."""

    def __init__(self, module: str, me: int, *given: object) -> None:
        command = [sys.executable, "-m", module, str(me), *map(str, given)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def write(self, document: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(document).encode() + b"\n")
        self._process.stdin.flush()

    def read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a party of the benchmark ended early; its error is above")
        return json.loads(line)

    def stop(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _key(me: int) -> PrivateKey:
    """The parties are on one machine and compute on random numbers, so their keys are fixed."""
    return PrivateKey(bytes((me,)) * 32)


def be_party(me: int, measure: Callable[[Links], Steps[Any]]) -> None:
    """Connect to the two others over TLS, and print what a measure reports."""
    keys = [_key(party) for party in range(3)]
    listener = PeerListener("127.0.0.1", 0, keys[me], [key.public for key in keys])
    print(listener.address[1], flush=True)
    ports = json.loads(sys.stdin.readline())
    peers = {party: ("127.0.0.1", ports[party], keys[party].public) for party in range(3)}
    deadline = time.monotonic() + RUN_SECONDS_MAX
    links = connect_peers(_JOB, me, peers, keys[me], listener, deadline)
    try:
        print(json.dumps(run_party(measure(links), links)), flush=True)
    finally:
        links.close()
        listener.close()


def _measure(me: int, repeats: int, links: Links) -> Steps[dict[str, Any]]:
    engine = yield from Rep3Engine.start(me, _JOB, os.urandom(ENTROPY_BYTES))
    operations = yield from _operations(engine)
    report: dict[str, Any] = {name: {"seconds": [], "cpu": []} for name in operations}
    for _ in range(BATCHES):
        for name, operation in operations.items():
            yield from _batch(report[name], operation, repeats, links, engine)
    return report


def _batch(
    item: dict[str, Any], operation: Operation, repeats: int, links: Links, engine: Engine
) -> Steps[None]:
    for repetition in range(-WARM_UP, repeats):
        yield {party: b"\0" for party in range(3) if party != engine.me}
        sent, rounds = links.sent_bytes, links.rounds
        begin, cpu = time.perf_counter(), time.process_time()
        yield from operation()
        if repetition >= 0:
            item["seconds"].append(time.perf_counter() - begin)
            item["cpu"].append(time.process_time() - cpu)
            item["bytes"], item["rounds"] = links.sent_bytes - sent, links.rounds - rounds


def _operations(engine: Engine) -> Steps[dict[str, Operation]]:
    numbers = np.random.default_rng(1)
    x = yield from _shared(engine, numbers.uniform(-100, 100, ELEMENTS))
    y = yield from _shared(engine, numbers.uniform(1, 1000, ELEMENTS))
    features = yield from _shared(engine, numbers.normal(size=(ROWS, COLUMNS)))
    labels = yield from _shared(engine, (numbers.random(ROWS) < 0.5).astype(np.float64))
    weights = yield from _shared(engine, numbers.normal(size=COLUMNS) / 10)
    integers = Shared(x.words, 0), Shared(y.words, 0)
    many = Shared(np.tile(x.words, 10), 0), Shared(np.tile(y.words, 10), 0)
    return {
        f"{ELEMENTS:,} multiplications": lambda: engine.mul(*integers),
        f"{ELEMENTS:,} multiplications, truncated": lambda: engine.mul(x, y),
        f"{10 * ELEMENTS:,} multiplications": lambda: engine.mul(*many),
        f"{ROWS:,} numbers of Laplace noise, scale 1,000": lambda: engine.laplace(Fraction(1000), (ROWS,)),
        f"{ROWS:,} numbers of Gaussian noise": lambda: engine.gaussian(Fraction(1000), (ROWS,)),
        f"{ELEMENTS:,} comparisons": lambda: engine.less_than(x, y),
        f"{ELEMENTS:,} equality tests": lambda: engine.equal(x, y),
        f"{ELEMENTS:,} divisions": lambda: engine.divide(x, y),
        f"logistic regression step, {ROWS:,} x {COLUMNS}": lambda: _step(engine, features, labels, weights),
    }


def _shared(engine: Engine, values: Any) -> Steps[Shared]:
    return (yield from engine.share(0, values if engine.me == 0 else None, values.shape, 16))


def _step(engine: Engine, features: Shared, labels: Shared, weights: Shared) -> Steps[Shared]:
    """One full-batch gradient step: forward product, sigmoid, backward product, update."""
    predictions = yield from engine.sigmoid((yield from engine.matmul(features, weights)))
    gradient = yield from engine.matmul(features.T, predictions - labels)
    return weights - (yield from engine.scale(gradient, 1.0 / ROWS))


if __name__ == "__main__":
    be_party(int(sys.argv[1]), lambda links: _measure(int(sys.argv[1]), int(sys.argv[2]), links))
