"""The main job, end to end, exactly as a newcomer runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.functional
REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_demo_runs_to_its_end_and_leaves_no_process(tmp_path: Path) -> None:
    """Every step of the demo checks what it states; here its end and its tidiness are checked."""
    script = REPOSITORY / "examples" / "german_credit" / "demo.py"
    folder = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, str(script), "--folder", str(folder)],
        capture_output=True,
        text=True,
        timeout=800,
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-2_000:]
    signs = ("What was shown", "QUOTA_EXHAUSTED", "UNREADABLE", "every proof holds", "AUC", "intervals hold")
    for sign in signs:
        assert sign in done.stdout
    left = [
        item
        for item in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(item.info["cmdline"] or [])
    ]
    assert left == []


def test_the_chain_bench_certifies_every_transaction_it_sends_to_each_of_two_chains() -> None:
    """A small load: the figures are there, and nothing was lost on the way."""
    options = ["--transactions", "1000", "--keys", "1000", "--keys", "1500", "--half-load", "1", "--json"]
    command = [sys.executable, "-m", "tests.bench", "chain", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert [run["keys"] for run in figures["runs"]] == [1_000, 1_500]
    for run in figures["runs"]:
        assert run["full_load"]["transactions"] == 1_000
        for load in (run["full_load"], run["half_load"], run["rates"]["1000"]):
            assert set(load["cpu_us_per_tx"]) == {"north", "east", "south", "west"}
            assert load["per_second"] > 0
            assert load["latency_ms"]["p50"] > 0
        assert min(run["costs"].values()) > 0
    assert figures["throughput_share"] > 0
    assert figures["verify_us"] > 0
