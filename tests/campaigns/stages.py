"""The hurdles of a mutant: unit tests of consensus, scripted scenarios, clusters under random faults.

These functions run inside a forked child (isolation.py), in which nothing of consensus is imported yet. What
is imported from then on is the mutant.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

from tests.campaigns.edits import ROOT, Mutant
from tests.campaigns.isolation import Say, TooLong, limit_cpu

UNIT = tuple(
    sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests/unit/consensus").glob("test_*.py"))
)
SCENARIOS = tuple(
    f"tests/simulation/test_{name}.py"
    for name in ("failures_of_others", "adversaries", "restarts", "membership", "timers")
)
PREPARED = (
    "aiohttp", "chain.ledger.batch_executor", "chain.ledger.ledger", "chain.mempool.mempool",
    "chain.network.gossip", "chain.network.sync", "click", "contracts.runtime", "duckdb", "hypothesis",
    "hypothesis.strategies", "numpy", "plyvel", "pydantic", "pytest", "pytest_asyncio", "uvloop",
)  # fmt: skip
"""Imported once, before any fork: everything large that does not import consensus."""
IMPORT_CPU_S = 8.0
"""Importing all test files takes a second; some compute with consensus meanwhile."""
TEST_CPU_S = 2.0
SLOWER = 8
"""A test may use this many times its CPU time of an unchanged source, and TEST_CPU_S more."""
SEED_CPU_S = 60.0
"""The slowest seed takes about ten seconds."""


OPTIONS = (
    *("-o", "addopts=", "--import-mode=importlib", "-q", "-x", "--tb=short", "--rootdir", str(ROOT)),
    *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:faulthandler"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # of plugins that prepare() has imported
)


def prepare() -> None:
    """Import what every child needs; refuse to go on if that includes consensus."""
    for name in PREPARED:
        importlib.import_module(name)
    spoiled = sorted(name for name in sys.modules if name.split(".")[0] == "consensus")
    if spoiled:
        raise RuntimeError(f"{spoiled}: imported before a mutant could take their place; see PREPARED")


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads one module from a changed source, which no cache of compiled files ever sees."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.get_filename(fullname), "exec", dont_inherit=True)


class _Finder:
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        path = ROOT / mutant.file
        self._loader = _Loader(mutant.module, str(path), mutant.source(path.read_text()))

    def find_spec(self, name: str, _path: Any = None, _target: ModuleType | None = None) -> Any:
        if name != self._mutant.module:
            return None
        return importlib.util.spec_from_file_location(name, ROOT / self._mutant.file, loader=self._loader)


def install(mutant: Mutant | None) -> None:
    """Let every later import of the mutant's module find the mutant."""
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))  # type: ignore[arg-type]


def installed(mutant: Mutant | None) -> bool:
    """Tell whether the mutant is what was imported."""
    module = sys.modules.get(mutant.module) if mutant is not None else None
    return mutant is None or (module is not None and isinstance(module.__loader__, _Loader))


@dataclass(slots=True, eq=False)
class _Observer:
    """A pytest plugin: orders and selects tests, bounds each, remembers the first failure."""

    say: Say
    order: dict[str, int]
    """Rank of test names; others come last, or are left out if `only`."""
    only: bool
    limits: dict[str, float]
    watched: bool = False
    """Record the lines of consensus that each test runs."""
    began: str = ""
    failed: str = ""
    why: str = ""
    ran: int = 0
    costs: dict[str, float] | None = None
    lines: dict[str, list[str]] | None = None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.only:
            items[:] = [item for item in items if item.nodeid in self.order]
        items.sort(key=lambda item: self.order.get(item.nodeid, len(self.order)))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self.say({"begins": item.nodeid})
        self.began, self.ran = item.nodeid, self.ran + 1
        begin = time.process_time()
        limit_cpu(self.limits.get(item.nodeid, 0.0) * SLOWER + TEST_CPU_S if not self.watched else 0)
        tracer = _Tracer() if self.watched else None
        if tracer is not None:
            sys.settrace(tracer.enter)
        yield
        sys.settrace(None)
        limit_cpu(0)
        if self.costs is not None:
            self.costs[item.nodeid] = time.process_time() - begin
        if self.lines is not None and tracer is not None:
            self.lines[item.nodeid] = sorted(tracer.seen)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed, self.why = report.nodeid, _crash(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed, self.why = f"{report.nodeid} (importing it)", _crash(report)


def _crash(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    return " ".join(text.split())[:200]


class _Tracer:
    """Notes the lines of consensus that run; a function whose lines are all known is traced no more."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._open: dict[CodeType, set[int]] = {}
        self._prefix = str(ROOT / "consensus") + "/"

    def enter(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(self._prefix):
            return None
        left = self._open.get(code)
        if left is None:
            left = self._open[code] = {line for _, _, line in code.co_lines() if line is not None}
            left.discard(code.co_firstlineno)
            self.seen.add(f"{code.co_filename[len(self._prefix) :]}:{code.co_firstlineno}")
        return self._line if left else None

    def _line(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line":
            code = frame.f_code
            self.seen.add(f"{code.co_filename[len(self._prefix) :]}:{frame.f_lineno}")
            self._open[code].discard(frame.f_lineno)
        return self._line


def run_tests(
    say: Say,
    mutant: Mutant | None,
    files: Sequence[str],
    *,
    order: Sequence[str] = (),
    only: bool = False,
    limits: dict[str, float] | None = None,
    watched: bool = False,
    measured: bool = False,
) -> dict[str, Any]:
    """Run test files under a mutant until one fails; say which, why, and what it cost."""
    install(mutant)
    observer = _Observer(say, {name: at for at, name in enumerate(order)}, only, limits or {}, watched)
    if measured:
        observer.costs, observer.lines = {}, {}
    first = [file for file in files if order and order[0].startswith(f"{file}::")]
    status = pytest.ExitCode.OK
    for part in (
        first,
        [file for file in files if file not in first],
    ):  # importing them all takes a second
        if part and status is pytest.ExitCode.OK:
            limit_cpu(IMPORT_CPU_S)
            status = pytest.ExitCode(pytest.main([*OPTIONS, *part], plugins=[observer]))
    if status in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        return {"broken": f"pytest ended with {status!r}"}
    if status is not pytest.ExitCode.OK and not observer.failed:
        observer.failed, observer.why = observer.began or "pytest", f"pytest ended with {status!r}"
    if status is pytest.ExitCode.OK and not installed(mutant):
        return {"broken": "the mutant was never imported"}
    answer: dict[str, Any] = {"caught": observer.failed, "why": observer.why, "ran": observer.ran}
    if measured:
        answer |= {"costs": observer.costs, "lines": observer.lines}
    return answer


def run_seeds(say: Say, mutant: Mutant | None, seeds: Sequence[int]) -> dict[str, Any]:
    """Run seeds of the simulator under a mutant until one shows it."""
    install(mutant)
    logging.disable(logging.CRITICAL)
    from tests.simulation.storm import simulate  # after the mutant

    for seed in seeds:
        say({"begins": str(seed)})
        limit_cpu(SEED_CPU_S)
        try:
            failure = simulate(seed).failure
        except TooLong as error:
            failure = str(error)
        except Exception as error:  # a mutant may break anything; the unchanged source raises nothing
            failure = f"{type(error).__name__}: {error}"
        limit_cpu(0)
        if failure:
            return {"caught": f"seed {seed}", "why": " ".join(failure.split())[:200], "ran": 1}
    if not installed(mutant):
        return {"broken": "the mutant was never imported"}
    return {"caught": "", "why": "", "ran": len(seeds)}
