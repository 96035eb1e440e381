"""A pytest plugin: what a test has the interpreter compute is computed by other hosts too, and compared.

`pytest -p tests.unit.contracts.compare_hosts FILE…` follows every call of a `ContractRuntime`, `run_source`,
`check_source` and `check_library` of the tests with one replica per host: another hash seed, -O, a deep
stack, each CPython that `scripts/pythons` found. A test fails when a receipt, verdict, IR hash or diagnostic
differs by a byte.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.errors import DecodeError
from chain.primitives.runtimeport import Call, Outcome, StateReader
from chain.primitives.values import Value, encode_value
from contracts import check
from contracts.language.limits import DEFAULT_GAS
from contracts.replica import checked_bytes, verdict_bytes
from contracts.replicas import Host, Replicas
from contracts.runtime import ContractRuntime

ROOT = Path(__file__).parents[3]
VERSIONS = ("3.11", "3.12", "3.13")


def other_pythons() -> dict[str, str]:
    """Return the interpreters of `scripts/pythons` by version."""
    found = {version: ROOT / f".venv-{version}" / "bin" / "python" for version in VERSIONS}
    return {version: str(path) for version, path in found.items() if path.exists()}


def hosts() -> tuple[Host, ...]:
    """Return a host per CPython, this one included, which differ in seed, -O and depth of the stack too."""
    pythons = [sys.executable, *other_pythons().values()]
    unlike = [("1", ("-O",), 2_500), ("4242", (), 1_000), ("0", ("-O",), 2_500)]
    return tuple([Host(*how, python) for how, python in zip(unlike, pythons, strict=False)])


class Comparison:
    """The interpreter's entrances, each followed by every replica."""

    def __init__(self, replicas: Replicas) -> None:
        """Count what is compared, so that a comparison of nothing is seen."""
        self.replicas = replicas
        self.compared = 0
        self._run, self._check = check.run_source, check.check_source
        self._check_library = check.check_library
        self._bootstrap = ContractRuntime.bootstrap
        self._calls = {"execute": ContractRuntime.execute, "view": ContractRuntime.view}

    def run_source(
        self,
        source: str,
        call: str,
        args: Any,
        *,
        gas: int = DEFAULT_GAS,
        init: Any = None,
        libraries: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Stand in for `contracts.check.run_source`."""
        verdict = self._run(source, call, args, gas=gas, init=init, libraries=libraries)
        if _is_value(args):  # what is none reaches no host
            more = list(map(_bytes, libraries))
            self._agree(["run", _bytes(source), call, args, gas, init, more], verdict_bytes(verdict))
        return verdict

    def check_source(self, source: str, name: str, libraries: Sequence[str] = ()) -> check.CheckReport:
        """Stand in for `contracts.check.check_source`."""
        report = self._check(source, name, libraries)
        self._agree(["check", _bytes(source), list(map(_bytes, libraries))], checked_bytes(report))
        return report

    def check_library(self, source: str, name: str) -> check.CheckReport:
        """Stand in for `contracts.check.check_library`."""
        report = self._check_library(source, name)
        self._agree(["check_library", _bytes(source)], checked_bytes(report))
        return report

    def call(self, kind: str, runtime: ContractRuntime, call: Call, state: StateReader) -> Outcome:
        """Stand in for `ContractRuntime.execute` and `.view`."""
        self.compared += 1
        return self.replicas.follow(kind, partial(self._calls[kind], runtime), call, state)

    def bootstrap(self, runtime: ContractRuntime, *given: Any, **named: Any) -> Outcome:
        """Stand in for `ContractRuntime.bootstrap`."""
        self.compared += 1
        return self.replicas.install(partial(self._bootstrap, runtime), *given, **named)

    def _agree(self, message: list[Value], expected: bytes) -> None:
        self.compared += 1
        self.replicas.agree(message, expected, repr(message)[:2_000])


def _is_value(args: Any) -> bool:
    try:
        encode_value(args)
    except DecodeError:
        return False
    return True


def _bytes(source: str) -> bytes:
    return source.encode("utf-8", "surrogatepass")


def pytest_configure(config: pytest.Config) -> None:
    """Put the stand-ins in place before any test module is imported."""
    comparison = Comparison(Replicas(hosts()))
    config.add_cleanup(comparison.replicas.close)
    config.stash[_COMPARISON] = comparison
    check.run_source = comparison.run_source
    check.check_source = comparison.check_source
    check.check_library = comparison.check_library
    for kind in ("execute", "view"):
        setattr(ContractRuntime, kind, partialmethod(_call, comparison, kind))
    ContractRuntime.bootstrap = partialmethod(_bootstrap, comparison)  # type: ignore[assignment]


def _call(
    runtime: ContractRuntime, comparison: Comparison, kind: str, call: Call, state: StateReader
) -> Outcome:
    return comparison.call(kind, runtime, call, state)


def _bootstrap(runtime: ContractRuntime, comparison: Comparison, *given: Any, **named: Any) -> Outcome:
    return comparison.bootstrap(runtime, *given, **named)


_COMPARISON = pytest.StashKey[Comparison]()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was compared with whom."""
    comparison = config.stash[_COMPARISON]
    terminalreporter.write_line(f"compared {comparison.compared} checks and calls on {len(hosts())} hosts")
