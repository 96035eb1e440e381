"""The quick lane, `scripts/test --quick`: unit tests without those that tests/slow.txt names.

`scripts/test --quick --measure` runs them all and writes anew what the list says of them. Times are of
processors, children included, so that a busy machine does not change the list; of a function they are those
of all its parameters. The list has slow tests of the simulator and other campaigns, too: by their times the
whole suite begins with the longest files (`tests/conftest.py`).
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("slow.txt")
SLOW_S = 0.3
"""CPU seconds from which a test function is slow: one in twelve, which take six sevenths of the time."""
TOLD_S = 1.0
"""The lane names what took so much and is not listed; above `SLOW_S`, since load makes all dearer."""
CPU_S = "cpu_s"


def slow_tests() -> dict[str, float]:
    """Return file::function -> CPU seconds when it was measured."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return {name: float(seconds) for seconds, name in (line.split(maxsplit=1) for line in lines)}


def function_of(nodeid: str) -> str:
    """Return file::function of a test, whatever its parameters are."""
    return nodeid.partition("[")[0]


def _spent() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class QuickLane:
    """Leaves out what is slow, and keeps account of what the rest takes."""

    def __init__(self, measure: bool) -> None:
        self.measure = measure
        self.seconds = Counter[str]()
        self._before = 0.0

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Take the slow tests out."""
        slow = {} if self.measure else slow_tests()
        out = [item for item in items if function_of(item.nodeid) in slow]
        if out:
            config.hook.pytest_deselected(items=out)
            gone = set(out)
            items[:] = [item for item in items if item not in gone]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Look at the clock of processors before a test."""
        self._before = _spent()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Send with a test's last report what it took."""
        report = yield
        if call.when == "teardown":
            report.user_properties.append((CPU_S, _spent() - self._before))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what tests took, in the process that tells."""
        self.seconds[function_of(report.nodeid)] += sum(
            s for name, s in report.user_properties if name == CPU_S
        )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write the list, or name what should stand in it."""
        tell = terminalreporter.write_line
        least = SLOW_S if self.measure else TOLD_S
        found = {name: spent for name, spent in self.seconds.items() if spent >= least}
        if self.measure:
            found |= {name: spent for name, spent in slow_tests().items() if name not in self.seconds}
            lines = [f"{spent:6.1f} {name}" for name, spent in sorted(found.items())]
            LIST.write_text("\n".join(lines) + "\n", encoding="utf-8")
            tell(f"{LIST}: {len(lines)} slow test functions of {len(self.seconds)}")
            return
        tell(f"quick: {sum(self.seconds.values()):.0f} s of processors; scripts/test runs the slow tests too")
        for name, spent in sorted(found.items()):
            tell(f"slow, and not in {LIST.name}: {spent:6.1f} {name}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take --measure."""
    parser.addoption("--measure", action="store_true", help="Run slow tests, too; write tests/slow.txt anew.")


def pytest_configure(config: pytest.Config) -> None:
    """Register the lane with the options of this run."""
    config.pluginmanager.register(QuickLane(config.getoption("--measure")), "quick lane")
