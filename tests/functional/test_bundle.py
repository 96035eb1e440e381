"""The bundle of this source installs and runs a chain on a host that has no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.bundle import make_bundle
from deploy.making import NotMade
from deploy.packing import digest

pytestmark = pytest.mark.functional
PATIENCE_S = 300
CHAIN = """\
set -eu
ip link set lo up 2>/dev/null || true
./install "$1/opt" --command "$1/assent"
cd "$1"
./assent init trial --orgs bank --base-port 0
trap './assent stop trial' EXIT
./assent start trial
./assent doctor trial
./assent org list --as trial/bank
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The archive; 130 MB, so it goes when the tests end."""
    folder = tmp_path_factory.mktemp("bundle")
    try:
        yield make_bundle(folder)
    except NotMade as error:
        pytest.skip(f"the wheels of the lock cannot be fetched here: {error}")
    finally:
        shutil.rmtree(folder)


def isolated() -> list[str]:
    """Return the words that run a command without a network; none where this machine does not allow it."""
    words = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    try:
        allowed = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    return words if allowed else []


def test_a_bundle_installs_and_runs_a_chain_without_a_network_and_is_made_again_byte_for_byte(
    bundle: Path, tmp_path: Path
) -> None:
    try:
        with tarfile.open(bundle) as archive:
            archive.extractall(tmp_path, filter="data")
        (folder,) = tmp_path.iterdir()
        again = make_bundle(tmp_path / "again", folder / "wheels")
        assert digest(again) == digest(bundle)
        again.unlink()
        line = [*isolated(), "bash", "-c", CHAIN, "_", str(tmp_path)]
        done = subprocess.run(
            line, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        assert "bank" in done.stdout
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)
