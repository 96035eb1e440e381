"""Campaigns leave nothing behind: what they began ends with them, whatever ends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
WAIT_S = 60.0
CAMPAIGN = """
import subprocess, sys
from tests.lifeline import lifeline

DETACHED = "import time; print('begun', flush=True); time.sleep(600)"
try:
    with lifeline():
        child = subprocess.Popen(
            [sys.executable, "-c", DETACHED], stdout=subprocess.PIPE, start_new_session=True
        )
        child.stdout.readline()
        print(child.pid, flush=True)
        sys.stdin.read()
finally:
    print("unwound", flush=True)
"""
POOL = """
import multiprocessing, os, sys, time
from tests.lifeline import end_with_parent

def work(_):
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1, end_with_parent) as pool:
        pool.map(work, [0])
"""


def begin(words: list[str]) -> tuple[subprocess.Popen[str], psutil.Process]:
    """Start a campaign; return it and what it began."""
    campaign = subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert campaign.stdout is not None
    return campaign, psutil.Process(int(campaign.stdout.readline()))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_what_a_campaign_began_ends_with_it_by_whatever_signal(number: signal.Signals) -> None:
    campaign, begun = begin(["-c", CAMPAIGN])
    campaign.send_signal(number)
    said, _ = campaign.communicate(timeout=WAIT_S)
    begun.wait(WAIT_S)
    assert ("unwound" in said) == (number != signal.SIGKILL)


def test_what_a_campaign_began_and_left_ends_with_its_orderly_end() -> None:
    campaign, begun = begin(["-c", CAMPAIGN])
    campaign.communicate("", timeout=WAIT_S)
    begun.wait(WAIT_S)
    assert campaign.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_processes_of_a_pool_end_with_the_one_that_began_it(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "pool_of_one.py"
    script.write_text(POOL)
    campaign, worker = begin([str(script)])
    campaign.send_signal(number)
    campaign.communicate(timeout=WAIT_S)
    worker.wait(WAIT_S)
