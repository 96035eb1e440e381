"""A few attacks of the kit in `tests/floods`, on real nodes: nothing here is about time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.functional
REPOSITORY = Path(__file__).resolve().parents[2]
ATTACKS = ("gzip-unfinished", "malformed-leaves", "unknown-kinds")
RSS_MAX_MIB = 300
FEW_S = "4"


def test_nodes_survive_a_sample_of_the_floods_and_name_a_member_that_attacks(tmp_path: Path) -> None:
    """One attack on RPC, one by a certificate, one by a member's frames; bars on time are the campaign's."""
    report = tmp_path / "report.json"
    chosen = [word for name in ATTACKS for word in ("--only", name)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.floods", *chosen, "--seconds", FEW_S, "--seed", "11",
         "--base-port", "0", "-o", str(report)],
        capture_output=True, text=True, timeout=600, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert report.exists(), done.stdout[-3_000:] + done.stderr[-3_000:]
    rows = {row["name"]: row for row in json.loads(report.read_text())["rows"]}
    assert set(rows) == set(ATTACKS), done.stdout[-3_000:]
    for name, row in rows.items():
        tally = row["tallies"][name]
        assert tally["connections"] > 0, tally
        assert "broken" not in tally
        assert row["deaths"] == []
        assert max(row["rss_mib"].values()) < RSS_MAX_MIB
        assert set(row["health_bad"]) <= {"0"}, "only a busy machine may keep /health from answering 200"
    assert rows["unknown-kinds"]["named_s"] is not None


@pytest.mark.parametrize("access", ["stranger", "read"])
def test_nodes_that_ask_who_asks_survive_a_flood_of_who_may_nothing_and_of_who_may_read(
    tmp_path: Path, access: str
) -> None:
    """By TLS, with principals; honest clients send tokens of their own."""
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.floods", "--access", access, "--only", "batch-rate", "--seconds", FEW_S,
         "--seed", "11", "--base-port", "0", "-o", str(report)],
        capture_output=True, text=True, timeout=600, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert report.exists(), done.stdout[-3_000:] + done.stderr[-3_000:]
    found = json.loads(report.read_text())
    assert found["access"] == access
    (row,) = found["rows"]
    tally = row["tallies"]["batch-rate"]
    assert tally["connections"] > 0, tally
    assert "broken" not in tally
    assert row["deaths"] == []
    assert max(row["rss_mib"].values()) < RSS_MAX_MIB
    assert row["lost"] == 0, "an honest client lost a transaction"
