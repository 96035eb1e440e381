"""Real processes: running commands, and asking nodes."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from chain.cli.consortium import node_url
from chain.cli.layout import OrgFolder

ORGS = ["bank", "bureau", "registry", "regulator"]


def assent(
    *words: str | Path, cwd: Path | None = None, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run one command as a user would."""
    command = [str(Path(sys.executable).with_name("assent")), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd=cwd)


def rpc(org: OrgFolder, rpc_method: str, **params: Any) -> Any:
    """Call one RPC method; return the whole answer."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": rpc_method, "params": params}).encode()
    asked = urllib.request.Request(node_url(org) + "/", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.loads(answer.read())
