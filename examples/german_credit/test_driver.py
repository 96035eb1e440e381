"""What the demo does while it waits: a job that ends otherwise, a node that is silent, a wait in vain."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DRIVER = Path(__file__).parents[2] / "examples" / "german_credit" / "driver.py"
JOB = "ab" * 32


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("german_credit_driver", DRIVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


driver = loaded()


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(driver, "time", made)
    return made


def demo_of(folder: Path, answer: Callable[[], str]) -> Any:
    """Return a demo whose nodes show the job in the state that `answer` gives, or raises."""

    class Shown(driver.Demo):
        def ask(self, org: str, method: str, **params: Any) -> Any:
            assert (method, params["key"]) == ("getState", JOB)
            return {"value": {"state": answer(), "missing": f"as {org} says"}}

    return Shown(folder)


def states(*shown: str) -> Callable[[], str]:
    """Return each state in turn, and the last one from then on."""
    coming: Iterator[str] = iter(shown)
    return lambda: next(coming, shown[-1])


def test_a_job_that_ends_otherwise_fails_the_demo_at_once_and_says_how_it_stands(
    tmp_path: Path, clock: Clock
) -> None:
    """A revocation that comes too late must not look like a slow one."""
    status = tmp_path / "bureau" / "agent" / "status" / f"{JOB}.json"
    status.parent.mkdir(parents=True)
    status.write_text('{"step": "finished"}')
    demo = demo_of(tmp_path, states("running", "revealed", "certified"))
    with pytest.raises(driver.DemoFailed) as failed:
        driver.wait_for_job(demo, JOB, ("aborted", "expired"), "job C is stopped")
    text = str(failed.value)
    assert clock.now < 1
    assert "job C is stopped: in vain, the job is certified" in text
    assert "ledger as registry shows it: {'state': 'certified', 'missing': 'as registry says'}" in text
    assert 'agent of bureau: {"step": "finished"}' in text
    assert "agent of bank: never saw the job" in text


def test_a_wait_in_vain_says_what_it_saw(tmp_path: Path, clock: Clock) -> None:
    demo = demo_of(tmp_path, states("running"))
    with pytest.raises(driver.DemoFailed, match=r"waited 7 s in vain: job C is stopped\nledger as bank"):
        driver.wait_for_job(demo, JOB, ("aborted",), "job C is stopped", 7)
    assert clock.now == pytest.approx(7, abs=0.1)


def test_a_node_that_is_silent_for_a_while_is_asked_again(tmp_path: Path) -> None:
    left = [OSError("refused"), TimeoutError("busy")]

    def answer() -> str:
        if left:
            raise left.pop()
        return "running"

    driver.wait_for_job(demo_of(tmp_path, answer), JOB, ("running",), "job B runs")
    assert left == []


def test_a_node_that_stays_silent_is_named_as_the_reason(tmp_path: Path) -> None:
    def answer() -> str:
        raise OSError("nobody listens")

    with pytest.raises(driver.DemoFailed) as failed:
        driver.wait_for_job(demo_of(tmp_path, answer), JOB, ("running",), "job B runs")
    assert "last silence of a node: nobody listens" in str(failed.value)
    assert "the node of bureau does not say: OSError('nobody listens')" in str(failed.value)


def test_a_long_command_stands_in_narrow_lines_that_a_shell_reads_as_one() -> None:
    words = [
        "assent",
        "grant",
        "request",
        "bank/own",
        *["--column", "amount=plain"] * 9,
        "--because",
        "it's $5",
    ]
    lines = driver.lines_of(words)
    assert max(len(line) for line in lines) + 4 <= 80
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == words
    assert not [line for line in lines if line.removesuffix(" \\").endswith("--column")]


def test_output_is_folded_at_blanks_and_keeps_its_indentation() -> None:
    line = "  cost under rep3: " + "rows of loans + " * 8
    folded = driver.folded(line).splitlines()
    assert " ".join(" ".join(folded).split()) == " ".join(line.split())
    assert max(map(len, folded)) <= 80
    assert (folded[0][:4], folded[1][:6]) == ("    ", "      ")
    assert driver.folded("short") == "  short"
