"""Nobody who builds takes away the environment from which something runs, or one that cannot be made anew."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.making import REPOSITORY

NO_PYTHON = """\
#!/bin/sh
case "$1" in
-c) exit 0 ;;
--version) echo "Python of a test" ;;
-m) mkdir -p .venv/bin && ln -s /bin/false .venv/bin/python ;;
esac
"""
"""A Python whose environments can install nothing."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A repository of scripts alone, with an environment that is not what its lock says."""
    folder = tmp_path / "copy"
    (folder / "scripts").mkdir(parents=True)
    for name in ("setup", "running"):
        shutil.copy(REPOSITORY / "scripts" / name, folder / "scripts" / name)
    for name in ("requirements.lock", "pyproject.toml"):
        (folder / name).write_text("new\n")
    environment(folder / ".venv", "old")
    (folder / "python").write_text(NO_PYTHON)
    (folder / "python").chmod(0o755)
    return folder


def environment(folder: Path, stamp: str) -> None:
    """Make what looks like an environment, with the stamp that setup writes."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    (folder / "bin" / "assent").write_text("")
    (folder / "bin" / "assent").chmod(0o755)
    (folder / ".assent-setup").write_text(stamp)


def setup(copy: Path) -> subprocess.CompletedProcess[str]:
    line = [copy / "scripts" / "setup"]
    own = {**os.environ, "PYTHON": str(copy / "python")}
    return subprocess.run(line, env=own, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("called", ["{copy}/.venv/bin/python", ".venv/bin/python"])
def test_an_environment_is_not_taken_away_from_what_runs_and_that_is_named(called: str, copy: Path) -> None:
    line = [called.format(copy=copy), "-c", "input()"]
    with subprocess.Popen(line, cwd=copy, stdin=subprocess.PIPE, text=True) as process:
        refused = setup(copy)
        process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert refused.returncode == 1
    assert f"\nprocess {process.pid}: {line[0]} -c input()\n" in refused.stderr
    assert "stop them" in refused.stderr
    assert (copy / ".venv" / ".assent-setup").read_text() == "old"


def test_an_environment_that_cannot_be_made_anew_stays_as_it_was(copy: Path) -> None:
    failed = setup(copy)
    assert failed.returncode == 1
    assert "the dependencies could not be installed" in failed.stderr
    assert (copy / ".venv" / ".assent-setup").read_text() == "old"
    assert not (copy / ".venv.old").exists()


def test_an_environment_comes_back_whose_making_anew_was_cut_off(copy: Path) -> None:
    parts = [copy / "requirements.lock", copy / "pyproject.toml", copy / "scripts" / "setup"]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()
    environment(copy / ".venv.old", wanted)
    done = setup(copy)
    assert (done.returncode, "creating" in done.stdout) == (0, False)
    assert (copy / ".venv" / ".assent-setup").read_text() == wanted
