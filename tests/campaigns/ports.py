"""The campaign `ports`: `python -m tests.floods` in full, told as a campaign's result."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.lifeline import lifeline


def main(options: list[str]) -> int:
    """Run the floods with these options; print their output, then the result."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "report.json"
        command = [sys.executable, "-m", "tests.floods", "-o", str(kept), *options]
        with lifeline():
            status = subprocess.run(command, check=False).returncode
        report = json.loads(kept.read_text()) if kept.exists() else {"misses": ["no report"]}
    rows: list[dict[str, Any]] = report.get("rows", [])
    named = [row["named_s"] for row in rows if row.get("named_s") is not None]
    memory = [mib for row in rows for mib in row.get("rss_mib", {}).values()]
    figures: dict[str, float] = {"attacks": len(rows), "misses": len(report["misses"])}
    if rows:
        figures |= {
            "worst ratio of latencies": round(max(row["ratio"] for row in rows), 2),
            "lost transactions": sum(row["lost"] for row in rows),
            "largest victim MiB": round(max(memory, default=0.0)),
            "last attacker named s": round(max(named, default=0.0), 1),
        }
    result = {
        "seeds": str(report.get("seed", "none")),
        "size": f"{len(rows)} measurements of {report.get('seconds', 0):g} s",
        "figures": figures,
        "failures": [str(line)[:300] for line in report["misses"]],
    }
    print(json.dumps(result))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
