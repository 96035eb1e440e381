"""The campaign `torture`: ten minutes of `scripts/torture` with a liar and floods, told as a result."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

FULL = ("--minutes", "10", "--liar", "--floods")


def main(options: list[str]) -> int:
    """Run the torture with these options besides; print its output, then the result."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "report.json"
        command = [sys.executable, "-m", "tests.torture", *FULL, "-o", str(kept), *options]
        status = subprocess.run(command, check=False).returncode
        report = (
            json.loads(kept.read_text()) if kept.exists() else {"seed": "unknown", "broken": ["no report"]}
        )
    numbers = ("height", "sent", "certified", "proved", "longest_standstill_s", "calm_s")
    figures = {name: report[name] for name in numbers if report.get(name) is not None}
    figures |= {f"faults: {kind}": count for kind, count in sorted(report.get("faults", {}).items())}
    figures |= {f"latency ms {cut}": value for cut, value in report.get("latency_ms", {}).items()}
    result = {
        "seeds": str(report["seed"]),
        "size": str(report.get("replay", "")).removeprefix("scripts/torture ") or "not begun",
        "figures": figures or {"height": 0},
        "failures": [str(line)[:300] for line in report["broken"]],
    }
    print(json.dumps(result))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
