"""A pytest plugin: what tests of contracts have the interpreter compute is computed by other hosts too.

With `-p tests.unit.contracts.compare_hosts`, as `scripts/test` runs it, replicas follow every call of a
`ContractRuntime`, `run_source`, `check_source` and `check_library` of these tests, one per host: another
hash seed, -O, a deep stack, each CPython that `scripts/pythons` found. A test fails when a receipt, verdict,
IR hash or diagnostic differs by a byte.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
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
LEAST = 20_000
"""All tests compare so many: 36,000 when this was written."""
ELSEWHERE = frozenset({"test_author", "test_engines", "test_hosts"})
"""Tests that start processes of their own, and engines that only the test's process has."""


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
    """The interpreter's entrances, each followed by the replicas while a test of contracts runs."""

    def __init__(self) -> None:
        """Count what is compared, so that a comparison of nothing is seen."""
        self._begun: Replicas | None = None
        self.compared = 0
        self.active = False
        self._run, self._check = check.run_source, check.check_source
        self._check_library = check.check_library
        self._bootstrap = ContractRuntime.bootstrap
        self._calls = {"execute": ContractRuntime.execute, "view": ContractRuntime.view}

    @property
    def replicas(self) -> Replicas:
        """The replicas, which begin with the first question."""
        if self._begun is None:
            self._begun = Replicas(hosts())
        return self._begun

    def close(self) -> None:
        """End the replicas."""
        if self._begun is not None:
            self._begun.close()

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
        if not self.active:
            return self._calls[kind](runtime, call, state)
        self.compared += 1
        return self.replicas.follow(kind, partial(self._calls[kind], runtime), call, state)

    def bootstrap(self, runtime: ContractRuntime, *given: Any, **named: Any) -> Outcome:
        """Stand in for `ContractRuntime.bootstrap`."""
        if not self.active:
            return self._bootstrap(runtime, *given, **named)
        self.compared += 1
        return self.replicas.install(partial(self._bootstrap, runtime), *given, **named)

    def _agree(self, message: list[Value], expected: bytes) -> None:
        if not self.active:
            return
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


def compared(path: Path) -> bool:
    """Tell whether a file's tests are compared: contracts run in them, in the test's own process."""
    if path.is_relative_to(ROOT / "examples" / "contracts"):
        return True
    here = Path(__file__).parent
    if path.parent == here:
        return path.stem not in ELSEWHERE
    return path.is_relative_to(here / "language") or path.is_relative_to(here / "system")


def pytest_configure(config: pytest.Config) -> None:
    """Put the stand-ins in place before any test module is imported."""
    comparison = Comparison()
    config.add_cleanup(comparison.close)
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Follow what a test of contracts computes, its fixtures included."""
    comparison = item.config.stash[_COMPARISON]
    comparison.active = compared(item.path)
    try:
        return (yield)
    finally:
        comparison.active = False


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a worker of xdist compared."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[_COMPARISON].compared += output.get("compared", 0)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what this worker compared; fail a run of all tests that compared next to nothing."""
    config, found = session.config, session.config.stash[_COMPARISON].compared
    if hasattr(config, "workeroutput"):
        config.workeroutput["compared"] = found
    elif too_few(config, found) and not session.testsfailed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def too_few(config: pytest.Config, found: int) -> bool:
    """Tell whether a run of all tests compared so little that the comparison must be broken."""
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and found < LEAST


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was compared with whom."""
    found = config.stash[_COMPARISON].compared
    words = f"compared {found} checks and calls on {len(hosts())} hosts"
    if too_few(config, found):
        terminalreporter.write_line(f"{words}: at least {LEAST} were expected", red=True)
    elif found:
        terminalreporter.write_line(words)
