"""Real processes in the states that led an operator astray: what `start`, `status` and `logs` say of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import assent, assent_here

from chain.cli import processes
from chain.cli.consortium import node_url, stop_consortium, why_not_ready
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder
from chain.primitives.errors import Exit
from chain.primitives.keyfile import load_key, replace_key

pytestmark = pytest.mark.functional


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[ConsortiumFolder]:
    """A chain of one validator, not started."""
    made = create_consortium(tmp_path / "c", ["bank"], [], 0, "alone")
    try:
        yield made
    finally:
        if (running := processes.find(made.orgs[0], "node")) is not None:
            running.resume()
        list(stop_consortium(made))


def shown(consortium: ConsortiumFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(assent_here("status", consortium.path, "--json").stdout)["nodes"][0]
    return found


def test_a_healthy_validator_with_a_sealed_admin_key_starts_and_nothing_is_claimed_of_its_votes(
    alone: ConsortiumFolder,
) -> None:
    """Every start of a service ended with `seat_not_moved` and status 1, though its votes were there."""
    bank = alone.orgs[0]
    admin = bank.key("admin")
    replace_key(admin, load_key(admin), "a passphrase that nobody gives")
    started = assent("start", alone.path)
    assert started.returncode == 0, started.stderr
    assert "vote" not in started.stdout + started.stderr
    assert shown(alone)["key"] == load_key(bank.key("node")).public.hex(), "which key is live, as docs say"
    assert assent_here("status", alone.path, "--check").returncode == 0


def test_a_node_with_a_key_of_no_member_is_said_so_once_and_commands_at_it_say_so_at_once(
    alone: ConsortiumFolder,
) -> None:
    bank = alone.orgs[0]
    bank.node_config.write_text(bank.node_config.read_text().replace("keys/node.key", "keys/admin.key"))
    started = assent("start", alone.path, "--org", "bank")
    said = started.stdout + started.stderr
    assert started.returncode == 0, said
    assert said.count("no node of this chain has the key") == 1
    assert "without a vote" not in said
    assert "lost" not in said
    told = assent("org", "show", "bank", "--as", bank.path)
    assert told.returncode == Exit.NO_QUORUM
    assert "error [not_certified]: " in told.stderr
    assert "no node of this chain has the key" in told.stderr


def test_a_killed_node_a_paused_one_and_one_that_was_stopped_are_told_apart(alone: ConsortiumFolder) -> None:
    bank = alone.orgs[0]
    assert assent("start", alone.path).returncode == 0
    running = processes.find(bank, "node")
    assert running is not None
    running.suspend()
    paused = assent("start", alone.path, "--org", "bank")
    assert f"process {running.pid}, is paused" in paused.stderr
    assert f"kill -CONT {running.pid}" in paused.stderr
    assert "is paused" in shown(alone)["stall"]
    assert assent_here("status", alone.path, "--check").returncode == Exit.NO_QUORUM
    running.resume()
    os.kill(running.pid, signal.SIGKILL)
    processes._gone(bank, "node")
    assert "and wrote no end of it: it was killed, its machine went down" in shown(alone)["stall"]
    again = assent("start", alone.path)
    assert again.returncode == 0
    assert "bank: node started (its last run, begun at " in again.stdout
    assert assent("stop", alone.path).returncode == 0
    assert "does not run: it was told to end, and did so at " in shown(alone)["stall"]


def test_what_is_said_of_an_end_is_of_the_last_run_wherever_and_however_little_it_logged(
    alone: ConsortiumFolder,
) -> None:
    """A run that was killed was told by the log of one before, and one that ended well was said killed."""
    bank = alone.orgs[0]
    plain = bank.node_config.read_text()
    bank.node_config.write_text(f'{plain}\n[log]\nlevel = "error"\n')
    assert assent("start", alone.path).returncode == 0
    assert assent("stop", alone.path).returncode == 0
    assert bank.log("node").read_text() == "", "not a word at this level"
    assert "it was told to end, and did so at " in shown(alone)["stall"]
    with socket.socket() as taken:
        host, port = node_url(bank).removeprefix("http://").split(":")
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, int(port)))
        taken.listen()
        assert assent("start", alone.path).returncode == Exit.CONFIG
    assert "the node stopped by itself at " in shown(alone)["stall"]
    assert "error [port_busy]" in bank.log("node").read_text()
    command = [
        str(Path(sys.executable).with_name("assent")),
        "node",
        "run",
        "--config",
        str(bank.node_config),
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as own:
        processes.wait_until(bank, "node", lambda: not why_not_ready(bank), 120)
        own.kill()
    told = shown(alone)["stall"]
    assert "stopped by itself" not in told
    assert "and wrote no end of it: it was killed" in told
    assert "logged elsewhere, to /dev/null" in assent("logs", alone.path, "bank").stderr


def test_an_unusable_archive_and_an_address_of_another_host_end_a_start_by_name(
    alone: ConsortiumFolder,
) -> None:
    bank = alone.orgs[0]
    plain = bank.node_config.read_text()
    (bank.path / "old").write_text("a file")
    bank.node_config.write_text(plain + '\n[storage]\nkeep_blocks = 1000\narchive_dir = "old"\n')
    started = assent("start", alone.path)
    assert started.returncode == Exit.IO
    assert f"storage.archive_dir = {bank.path / 'old'}: " in started.stderr
    port = rpc_port(alone)
    elsewhere = plain.replace(f"127.0.0.1:{port}", f"192.0.2.7:{port}")
    bank.node_config.write_text(elsewhere.replace("[rpc]", "[rpc]\ntls = true\nprincipals = true"))
    started = assent("start", alone.path)
    assert started.returncode == Exit.CONFIG
    assert f"error [cannot_listen]: rpc.listen = 192.0.2.7:{port}: this host has no such" in started.stderr


def rpc_port(consortium: ConsortiumFolder) -> str:
    return node_url(consortium.orgs[0]).rpartition(":")[2]
