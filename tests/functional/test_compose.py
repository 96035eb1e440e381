"""The founders of the compose file found a chain by their script, each in its own folder."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from live import ORGS

from chain.cli import processes
from chain.cli.consortium import why_not_ready
from chain.cli.init import org_ports
from chain.cli.layout import OrgFolder

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"
SCRIPT = COMPOSE / "found-and-run.sh"
PATIENCE_S = 240


def service(text: str, name: str) -> str:
    """Return the text of one service."""
    return re.split(r"^  (?=\S)", text.partition(f"\n  {name}:\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_compose_file_gives_each_founder_its_own_volume_and_nobody_more_rights_than_needed() -> None:
    text = (COMPOSE / "compose.yaml").read_text(encoding="utf-8")
    shared = text.partition("services:")[0]
    assert "read_only: true" in shared
    assert "cap_drop: [ALL]" in shared
    assert "no-new-privileges:true" in shared
    for org in ORGS:
        node = service(text, org)
        assert re.findall(r'"(\w+):/srv', node) == [org, "exchange"]
        assert f"ORGS: {' '.join(ORGS)}" in node
    for org in ORGS[:3]:
        agent = service(text, f"{org}-agent")
        assert re.findall(r'"(\w+):/srv', agent) == [org]
        assert f"network_mode: service:{org}" in agent


@pytest.mark.functional
def test_founders_that_share_one_folder_of_files_found_a_chain_and_run_it(tmp_path: Path) -> None:
    """Begun again, a founder goes on where it was."""
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    running: list[subprocess.Popen[bytes]] = []
    ports = dict(zip(ORGS, org_ports(len(ORGS), 0), strict=True))

    def begin(org: str) -> subprocess.Popen[bytes]:
        node, rpc, agent = ports[org]
        (tmp_path / org).mkdir(exist_ok=True)
        own = {
            "ORG": org, "ORGS": " ".join(ORGS), "HOME_DIR": str(tmp_path / org), "EXCHANGE": str(exchange),
            "ADDRESS": node, "AGENT_ADDRESS": agent if org in ORGS[:3] else "",
            "INSTALL": f"--rpc {rpc}",
        }  # fmt: skip
        with (tmp_path / f"{org}.log").open("ab") as log:
            return subprocess.Popen(
                ["/bin/sh", str(SCRIPT)],
                env={"PATH": path, "LANG": "C.UTF-8", **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(org: str) -> None:
        """Wait while what runs is at first the script, and then the node in its place."""
        folder = OrgFolder(tmp_path / org / org)
        while processes.find(folder, "node") is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running[ORGS.index(org)].wait(0.2)
                raise AssertionError((tmp_path / f"{org}.log").read_text(encoding="utf-8"))
        processes.wait_until(folder, "node", lambda: not why_not_ready(folder), PATIENCE_S)

    try:
        running += [begin(org) for org in ORGS]
        for org in ORGS:
            wait_until_ready(org)
        assert len({(tmp_path / org / "founding.json").read_bytes() for org in ORGS}) == 1
        running[0].terminate()
        running[0].wait(60)
        running[0] = begin(ORGS[0])
        wait_until_ready(ORGS[0])
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert not list(exchange.rglob("*.key"))
