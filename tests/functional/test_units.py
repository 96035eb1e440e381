"""The command lines of the units, run as a unit runs them: no shell's variables, one folder to write in."""

from __future__ import annotations

import configparser
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chain.cli import processes
from chain.cli.consortium import agent_listens, why_not_ready
from chain.cli.init import create_consortium
from chain.cli.layout import OrgFolder
from chain.primitives.keyfile import load_key, replace_key
from chain.primitives.lastrun import read_run

pytestmark = pytest.mark.functional
UNITS = Path(__file__).parents[2] / "examples" / "systemd"
PATIENCE_S = 120


@contextmanager
def as_a_unit(org: OrgFolder, process: str, passphrase: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the line of a unit for an organisation's folder, with the umask and the environment of the unit."""
    reader = configparser.ConfigParser(strict=True, interpolation=None, delimiters="=")
    reader.optionxform = str  # type: ignore[assignment,method-assign]
    reader.read_string((UNITS / f"assent-{process}@.service").read_text(encoding="utf-8"))
    line = reader["Service"]["ExecStart"].replace("/srv/assent/%i", str(org.path))
    program, *words = shlex.split(line)
    assert program == "/opt/assent/.venv/bin/assent"
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("assent")), *words],
        cwd=org.path,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "ASSENT_PASSPHRASE": passphrase},
        umask=int(reader["Service"]["UMask"], 8),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_units_serve_with_sealed_keys_and_write_nothing_outside_their_folder(tmp_path: Path) -> None:
    made = create_consortium(tmp_path / "srv", ["bank"], ["bank"], 0, "units")
    bank = made.org("bank")
    for role in ("node", "agent"):
        replace_key(bank.key(role), load_key(bank.key(role)), "of the unit")
    outside = sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(bank.path))
    with as_a_unit(bank, "node", "of the unit") as node, as_a_unit(bank, "agent", "of the unit") as agent:
        processes.wait_until(bank, "node", lambda: not why_not_ready(bank), PATIENCE_S)
        processes.wait_until(bank, "agent", lambda: agent_listens(bank), PATIENCE_S)
        for process, running in (("agent", agent), ("node", node)):
            running.send_signal(signal.SIGTERM)
            assert running.wait(PATIENCE_S) == 0
            ended = read_run(bank.run(process))
            assert ended is not None
            assert (ended.pid, ended.status, ended.reason) == (running.pid, 0, "")
    assert outside == sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(bank.path))
    assert not [path for path in bank.path.rglob("*") if path.stat().st_mode & 0o077]
