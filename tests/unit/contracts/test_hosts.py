"""One contract, one outcome: on every CPython of this machine, hash seed, -O and depth of the stack.

`scripts/test` compares what all tests of contracts compute (`compare_hosts`); here is what that rests on.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from contracts import replicas as replicas_module
from contracts.replicas import Host, Replicas, ReplicasDiffer
from tests.unit.contracts.compare_hosts import ELSEWHERE, ROOT, VERSIONS, compared, hosts, other_pythons

TESTS = Path(__file__).parent


def compare(*files: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run tests with the plugin, in two workers."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.unit.contracts.compare_hosts", "-n2", "-q"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *options, *files],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_what_tests_compute_is_compared_on_every_host_by_whichever_worker_runs_them() -> None:
    files = ["tests/unit/contracts/test_messages.py", "tests/unit/contracts/language/test_interfaces.py"]
    done = compare(*files)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-1_000:]
    said = re.search(r"compared (\d+) checks and calls on (\d+) hosts", done.stdout)
    assert said is not None
    assert int(said[1]) > 50
    assert int(said[2]) == len(hosts())


def test_every_supported_cpython_of_this_machine_took_part() -> None:
    here = "{}.{}".format(*sys.version_info[:2])
    absent = [version for version in VERSIONS if version != here and version not in other_pythons()]
    if absent:
        pytest.skip(
            f"no CPython {', '.join(absent)} here with binary packages: scripts/pythons prepares them"
        )
    assert len(hosts()) == len(VERSIONS)


def test_tests_in_which_contracts_run_are_compared_and_no_others() -> None:
    for name in (
        "language/run/test_dates.py",
        "system/test_grants.py",
        "test_gas.py",
        "test_compared_programs.py",
    ):
        assert (TESTS / name).exists()
        assert compared(TESTS / name)
    assert compared(ROOT / "examples" / "contracts" / "consent" / "test_consent.py")
    for stem in ELSEWHERE:
        assert (TESTS / f"{stem}.py").exists()
        assert not compared(TESTS / f"{stem}.py")
    assert not compared(ROOT / "tests" / "simulation" / "test_seeds.py")
    assert not compared(TESTS / "pages" / "test_types.py")


def test_what_replicas_agreed_to_is_not_asked_again_and_any_other_question_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(replicas_module, "write", lambda _, message: asked.append(message))
    monkeypatch.setattr(replicas_module, "receive", lambda _: [b"agreed"])
    with Replicas((Host("0", (), 0),)) as replicas:
        for source in (b"a", b"b", b"a", b"a", b"b"):
            replicas.agree(["check", source], b"agreed", "it")
    assert asked == [["check", b"a"], ["check", b"b"]]


def test_a_question_on_which_replicas_differ_is_asked_again_each_time() -> None:
    with Replicas((Host("0", (), 0),)) as replicas:
        for _ in range(2):
            with pytest.raises(ReplicasDiffer, match="it: the replica on"):
                replicas.agree(["check", b"x = 1", []], b"another verdict", "it")
