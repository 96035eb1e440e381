"""Real processes: running commands, and asking nodes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from chain.cli.consortium import node_url
from chain.cli.layout import OrgFolder
from chain.cli.main import main

ORGS = ["bank", "bureau", "registry", "regulator"]


def assent(
    *words: str | Path, cwd: Path | None = None, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run one command as a user would, in a process of its own."""
    command = [str(Path(sys.executable).with_name("assent")), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd=cwd)


def assent_here(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command in this process: most steps of a long story take less than the start of a Python.

    What makes the files of a founding compiles the system contracts, in a process of its own for 1.2 s.
    """
    with contextlib.chdir(cwd or Path()):
        told = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    return subprocess.CompletedProcess([*map(str, words)], told.exit_code, told.stdout, told.stderr)


def rpc(org: OrgFolder, rpc_method: str, **params: Any) -> Any:
    """Call one RPC method; return the whole answer."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": rpc_method, "params": params}).encode()
    asked = urllib.request.Request(node_url(org) + "/", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.loads(answer.read())
