"""A validator that somebody also runs from a copy is named: by the others, and to both of its processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from live import assent, rpc

from chain.cli import processes
from chain.cli.consortium import node_url
from chain.cli.layout import ConsortiumFolder, OrgFolder

pytestmark = pytest.mark.functional


def read(org: OrgFolder, page: str) -> str:
    """Return what a node says at /ready or /metrics."""
    try:
        with urllib.request.urlopen(f"{node_url(org)}{page}", timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())


def test_a_validator_cloned_while_stopped_and_run_twice_is_named_everywhere(
    consortium: ConsortiumFolder,
) -> None:
    """Connections flapped, transactions were slow, and nothing said why on either side."""
    victim, peer = consortium.org("regulator"), consortium.org("bank")
    processes.stop(victim, "node")
    clone = OrgFolder(victim.path.with_name("clone"))
    shutil.copytree(victim.path, clone.path)
    config = clone.node_config.read_text()
    listens = [line.split('"')[1] for line in config.splitlines() if line.startswith("listen")]
    for address in listens:
        config = config.replace(address, "127.0.0.1:0")
    clone.node_config.write_text(config)
    assert processes.start(victim, "node")
    words = [sys.executable, "-m", "chain.cli.main", "node", "run", "--config", str(clone.node_config)]
    with clone.log("node").open("w") as log:
        copy = subprocess.Popen(words, stdout=log, stderr=log, cwd=consortium.path)
    try:
        logs = [org.log("node") for org in (peer, victim, clone)]

        def named() -> bool:
            texts = [log.read_text() for log in logs]
            return (
                "regulator-node runs twice" in texts[0]
                and all("says of this node's own key: two processes use this key" in t for t in texts[1:])
                and "another process too" in read(victim, "/ready")
            )

        processes.wait_until(victim, "node", named, 90)
        notes = rpc(peer, "getNodeInfo")["result"]["notes"]
        assert any("regulator-node runs twice" in note and listens[0] in note for note in notes)
        assert 'assent_runs_twice{member="regulator-node"} 1.0' in read(peer, "/metrics")
        told = next(
            line for line in read(victim, "/metrics").splitlines() if line.startswith("assent_own_key_twice ")
        )
        assert float(told.split()[1]) >= 2
        assert json.loads(read(peer, "/ready"))["ready"]
        shown = assent("status", consortium.path)
        assert "rotate-key" in shown.stdout
        assert "regulator-node runs twice" in shown.stdout
    finally:
        copy.kill()
        copy.wait()
