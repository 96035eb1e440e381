"""One contract, one outcome: on every CPython of this machine, hash seed, -O and depth of the stack."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.contracts.compare_hosts import ROOT, VERSIONS, hosts, other_pythons

TESTS = Path(__file__).parent


def corpus() -> list[str]:
    """Return every test file in which contracts run: of the language, of the system, of the examples."""
    # This test; tests that start processes of their own; engines that only the test's process has.
    elsewhere = {"test_hosts", "test_author", "test_engines"}
    tests = [path for path in TESTS.glob("test_*.py") if path.stem not in elsewhere]
    examples = ROOT.glob("examples/contracts/**/test_*.py")
    return sorted(
        map(str, [TESTS / "compared_programs.py", TESTS / "language", TESTS / "system", *tests, *examples])
    )


def test_every_test_of_contracts_has_the_same_receipts_on_every_host() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "tests.unit.contracts.compare_hosts", "-n0", "-q"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # what the tests start is elsewhere
    done = subprocess.run(
        [*command, *corpus()],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-1_000:]
    said = re.search(r"compared (\d+) checks and calls on (\d+) hosts", done.stdout)
    assert said is not None
    assert int(said[1]) > 5_000
    assert int(said[2]) == len(hosts())


def test_every_supported_cpython_of_this_machine_took_part() -> None:
    here = "{}.{}".format(*sys.version_info[:2])
    absent = [version for version in VERSIONS if version != here and version not in other_pythons()]
    if absent:
        pytest.skip(
            f"no CPython {', '.join(absent)} here with binary packages: scripts/pythons prepares them"
        )
    assert len(hosts()) == len(VERSIONS)
