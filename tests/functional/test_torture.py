"""A small torture campaign, as anyone runs it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.functional
REPOSITORY = Path(__file__).resolve().parents[2]


def test_31_a_cluster_tortured_for_a_moment_loses_nothing(tmp_path: Path) -> None:
    """SIGKILL, SIGSTOP, cut wires, full disk: every promise is checked in the ledgers (indy-node 1618)."""
    report = tmp_path / "report.json"
    done = subprocess.run(
        [REPOSITORY / "scripts" / "torture", "--minutes", "0.3", "--seed", "23", "--no-mount", "-o", report],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    found = json.loads(report.read_text())
    assert found["broken"] == []
    assert found["certified"] > 100
    assert found["restart_s"]["count"] > 0
    assert "clean:" in done.stdout
