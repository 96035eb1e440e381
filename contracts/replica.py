"""The process of one replica: it answers the messages of `contracts.replicas` until its input ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from chain.primitives.runtimeport import Call, StateKey
from chain.primitives.values import Value
from contracts.check import CheckReport, check_library, check_source, run_source
from contracts.replicas import outcome_bytes, receive, write
from contracts.runtime import ContractRuntime
from contracts.versions import LIFECYCLE


class _Read:
    """The rows that the reference read; to read any other is to differ from it."""

    def __init__(self, rows: list[Value], sources: dict[bytes, bytes]) -> None:
        self.rows: dict[StateKey, bytes | None] = {(name, key): data for name, key, data in rows}
        for (name, key), data in self.rows.items():
            if name == LIFECYCLE and key.startswith(b"sources/") and data is not None:
                sources[key] = data
        self.sources = sources

    def get(self, namespace: str, key: bytes) -> bytes | None:
        place = (namespace, key)
        return self.sources[key] if namespace == LIFECYCLE and place not in self.rows else self.rows[place]


class _Replica:
    """One runtime, and the sources that it was given: their keys are their hashes."""

    def __init__(self) -> None:
        self.runtime = ContractRuntime()
        self.sources: dict[bytes, bytes] = {}

    def answer(self, message: list[Value]) -> bytes:
        """Compute what a message asks for."""
        kind, body = message[0], message[1:]
        if kind == "check":
            return checked_bytes(check_source(text_of(body[0]), "contract", texts_of(body[1])))
        if kind == "check_library":
            return checked_bytes(check_library(text_of(body[0]), "library"))
        if kind == "run":
            source, call, args, gas, init, libraries = body
            more = texts_of(libraries)
            return verdict_bytes(run_source(text_of(source), call, args, gas=gas, init=init, libraries=more))
        state = _Read(body[-1], self.sources)
        if kind == "install":
            sources = {name: source for name, source, _ in body[0]}
            arguments = {name: args for name, _, args in body[0]}
            time, height, tx_id = body[1:4]
            made = self.runtime.bootstrap(
                sources, arguments, time=time, height=height, tx_id=tx_id, state=state
            )
            return outcome_bytes(made)
        run = self.runtime.execute if kind == "execute" else self.runtime.view
        return outcome_bytes(run(Call(*body[0]), state))


def text_of(data: bytes) -> str:
    """Return a source as its author's tools see it, half a surrogate pair included."""
    return data.decode("utf-8", "surrogatepass")


def texts_of(data: list[bytes]) -> list[str]:
    """Return several sources."""
    return [text_of(one) for one in data]


def checked_bytes(report: CheckReport) -> bytes:
    """Return what must be equal on every host about checking a source: IR and ABI, or the diagnostics."""
    found = report.to_json()
    return verdict_bytes({**found, "diagnostics": [_place(item) for item in found["diagnostics"]]})


def _place(item: dict[str, Any]) -> dict[str, Any]:
    """CPython words a syntax error, and finds its column, in its own way in each version."""
    return {"rule": item["rule"]} if item["rule"] == "SYNTAX" else item


def verdict_bytes(verdict: dict[str, Any]) -> bytes:
    """Return a report as canonical JSON; of a refused syntax only that it was refused."""
    if verdict.get("code") == "SYNTAX":
        verdict = {**verdict, "line": None, "detail": None}
    return json.dumps(verdict, sort_keys=True).encode()


def _serve() -> None:
    replica = _Replica()
    while (message := receive(sys.stdin.buffer)) is not None:
        write(sys.stdout.buffer, [replica.answer(message)])


def _below(depth: int, work: Callable[[], None]) -> None:
    """Run with this many frames more on the stack."""
    if depth == 0:
        work()
    else:
        _below(depth - 1, work)


if __name__ == "__main__":
    _below(int(sys.argv[1]), _serve)
