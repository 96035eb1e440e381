"""What an operator's commands say and do when something is not as it should be."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from chain.cli import init, outgoing, processes
from chain.cli import status as states
from chain.cli.consortium import stop_consortium
from chain.cli.governing import NotThere
from chain.cli.init import create_consortium, org_ports
from chain.cli.layout import ConsortiumFolder
from chain.cli.main import main
from chain.cli.node import check_hash_seed
from chain.cli.proposal import proposal_of
from chain.cli.skip import _new_file, _next
from chain.cli.status import few_words
from chain.client.console import print_table
from chain.config import NodeConfig
from chain.ledger.block import Batch, Skip
from chain.ledger.skiprows import SkipRefused
from chain.ledger.store import leveldb
from chain.ledger.store.faults import DataLocked, storage_remedy
from chain.ledger.store.leveldb import LevelStore
from chain.ledger.testing import toy_genesis, toy_key
from chain.node.nextheight import KnownBatch, NextHeight, Standing
from chain.node.skipsigning import StoppedValidator
from chain.node.skipvote import sign_skip
from chain.primitives.codec import encode
from chain.primitives.errors import ConfigError, Exit, FileTrouble
from chain.primitives.settings import parse_toml
from chain.primitives.words import counted

ROOT = Path(__file__).parents[4]


def test_the_file_of_a_signature_is_opened_before_anything_is_signed(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("x")
    for path, said in ((tmp_path / "no" / "s1", "nothing was signed"), (there, "exists already")):
        with pytest.raises(FileTrouble, match=said), _new_file(path):
            pytest.fail("it must not come to signing")
    assert there.read_text() == "x"
    with pytest.raises(ZeroDivisionError), _new_file(tmp_path / "new"):
        raise ZeroDivisionError
    assert not (tmp_path / "new").exists()


def facts(**over: Any) -> dict[str, Any]:
    batch = {"batch": "ab" * 32, "standing": "prepared", "transactions": []}
    found = {"height": 7, "quorum": 3, "validators": 4, "batches": [batch], "signed": None, "decision": None}
    return found | over


def test_signing_is_suggested_only_for_an_ordered_batch_within_which_a_process_ended() -> None:
    assert "skip sign --height 7" in _next(facts(), True)
    proposed = facts(batches=[{"batch": "ab" * 32, "standing": "proposed", "transactions": []}])
    assert "do not sign" in _next(proposed, True)
    assert "start the node" in _next(facts(), False)
    signed = {"height": 7, "batch": "ab" * 32, "attempt": 0, "transactions": [], "reason": "r", "signers": []}
    assert "skip apply" in _next(facts(signed=signed), True)


def test_help_of_the_scripts_runs_nothing() -> None:
    for name in ("check", "docs", "test"):
        told = subprocess.run([ROOT / "scripts" / name, "--help"], capture_output=True, text=True, timeout=60)
        assert told.returncode == 0
        assert told.stdout.startswith("usage:")
    from tests.campaigns.__main__ import main as campaigns

    for name in ("model", "ports", "planted", "torture", "mutants", "seeds"):
        told_by_click = CliRunner().invoke(campaigns, [name, "--help"])
        assert told_by_click.exit_code == 0
        assert told_by_click.output.startswith("Usage:")


@pytest.fixture
def two(tmp_path: Path) -> ConsortiumFolder:
    """Two organisations, the second with a bad configuration."""
    made = create_consortium(tmp_path / "c", ["bank", "bureau"], [], 0, "two")
    made.org("bureau").node_config.write_text("[rpc]\nmax_connections = 1\n")
    return made


def test_one_bad_configuration_is_named_by_path_and_hides_no_other_node(two: ConsortiumFolder) -> None:
    told = CliRunner().invoke(main, ["status", str(two.path)])
    assert told.exit_code == 0, told.output
    assert str(two.org("bureau").node_config) in told.output
    assert "bad config" in told.output
    assert "the node does not run" in told.output
    started = CliRunner().invoke(main, ["start", str(two.path)])
    assert started.exit_code == Exit.CONFIG
    assert str(two.org("bureau").node_config) in started.output
    assert not two.org("bank").pid("node").exists()


def test_a_process_that_a_person_started_is_found_and_stopped(two: ConsortiumFolder) -> None:
    bank = two.org("bank")
    waits = "import sys; print('up', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", waits, "node", "run", "--config", "node.toml"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=bank.path, **pipes) as own:  # type: ignore[call-overload]
        try:
            assert own.stdout.readline() == b"up\n"
            found = processes.find(bank, "node")
            assert found is not None
            assert found.pid == own.pid != os.getpid()
            assert processes.find(two.org("bureau"), "node") is None
            assert not processes.start(bank, "node")
            assert not processes.owns_port(bank, "node", 1)
        finally:
            own.kill()


@pytest.mark.parametrize("state", ["running", "bad config"])
@pytest.mark.parametrize("height", [12, 1_234_567, 123_456_789_012])
@pytest.mark.parametrize("view", [0, 12_345])
@pytest.mark.parametrize("phase", ["idle", "waiting for proposal", "asking for view 3: 2 replicas of 4"])
def test_no_cell_of_the_nodes_is_folded_at_80_columns_whatever_the_height(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    height: int,
    view: int,
    phase: str,
) -> None:
    """At seven digits the phase stood in pieces of three letters below one another."""
    monkeypatch.setenv("COLUMNS", "80")
    node = {
        "org": "regulator", "state": state, "height": height, "view": view, "primary": "regulator-node",
        "peers": 3, "pool": 0, "phase": phase, "stall": "", "notes": [], "offences": [],
    }  # fmt: skip
    states._print_status([node, {**node, "org": "bank", "height": height - 1}], [])
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if line.strip(" ─")]
    assert [line.split()[0] for line in lines[:4]] == ["nodes", "org", "regulator", "bank"], said
    assert max(map(len, lines[:4])) <= 80, said
    assert phase in said or phase.partition(":")[0] in lines[2]


def test_a_cell_has_few_words_and_a_name_is_not_folded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert few_words({"stall": "a long sentence", "phase": "x" * 200}) == "below"
    assert few_words({"stall": "", "phase": "asking for view 3: 2 replicas"}) == "asking for view 3"
    monkeypatch.setenv("COLUMNS", "80")
    print_table("t", ["name", *"abcd"], [["bank-node", *["word " * 20] * 4]])
    assert "bank-node" in capsys.readouterr().out


def test_one_is_singular() -> None:
    assert (counted(1, "replica"), counted(2, "replica")) == ("1 replica", "2 replicas")


def test_a_setting_of_another_type_is_told_its_range_and_an_example() -> None:
    for value in (b'"many"', b"1.5", b"true"):
        with pytest.raises(ConfigError, match=r"connections in 16\.\.65536: a whole number .*such as 16"):
            parse_toml("node.toml", b"[rpc]\nmax_connections = " + value, NodeConfig)


def test_the_file_of_another_is_checked_even_when_its_batch_is_known_here() -> None:
    """A vote whose signature was changed on the way is refused by name before anything is signed like it."""
    key, genesis = toy_key("bank-node"), toy_genesis()
    payload = encode(Batch(7, 0, 0, key.public, 5, (bytes(32),)))
    batch = KnownBatch(Standing.DECIDED, payload)
    vote = sign_skip(genesis.chain_id, Skip(7, batch.digest, 0, (bytes(32),), "kills"), payload, None, key)
    ledger = SimpleNamespace(
        head=SimpleNamespace(height=6), settled_height=7, chain_id=genesis.chain_id,
        validator_keys_at=lambda _: genesis.validator_keys,
    )  # fmt: skip
    node = object.__new__(StoppedValidator)
    node.ledger, node._signer, node.next = ledger, key, NextHeight(7, (batch,), None, {})  # type: ignore[assignment]
    assert node.ordered(7, batch.digest, ("good", vote)) == batch
    flipped = bytes([vote.signature[0] ^ 1]) + vote.signature[1:]
    with pytest.raises(SkipRefused, match=r"bent: the signature of .* does not hold"):
        node.ordered(7, batch.digest, ("bent", replace(vote, signature=flipped)))


def test_a_disk_that_takes_no_pid_file_is_named_and_the_process_is_found_all_the_same(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said "No space left on device", of nothing in particular."""
    bank = two.orgs[0]

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(processes, "_write_pid", full)
    try:
        with pytest.raises(
            processes.Unrecorded, match=r"node\.pid: cannot be written \(No space left"
        ) as told:
            processes.start(bank, "node")
        assert told.value.exit == Exit.IO
        assert processes.find(bank, "node") is not None
    finally:
        processes.stop(bank, "node")


def test_processes_are_stopped_though_their_folder_is_read_only(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pid file that could not be removed ended the command, and the others ran on."""

    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    for org in two.orgs:
        processes.start(org, "node")
    monkeypatch.setattr(Path, "unlink", read_only)
    assert len(list(stop_consortium(two))) == len(two.orgs)
    assert [processes.find(org, "node") for org in two.orgs] == [None] * len(two.orgs)


def test_a_pid_file_of_a_strangers_process_is_not_believed(two: ConsortiumFolder) -> None:
    bank = two.orgs[0]
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        try:
            assert stranger.stdin is not None
            assert stranger.stdout is not None
            stranger.stdin.write(b"up\n")
            stranger.stdin.flush()
            assert stranger.stdout.readline() == b"up\n", "it has a command line from here on"
            bank.pid("node").write_text(f"{stranger.pid}\n")
            assert processes.find(bank, "node") is None
            assert not processes.stop(bank, "node")
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_two_starts_at_once_begin_one_process(two: ConsortiumFolder) -> None:
    """Both saw nothing running; the second's process died of the lock and left its number in the pid file."""
    bank = two.org("bank")
    with ThreadPoolExecutor(4) as pool:
        began = list(pool.map(lambda _: processes.start(bank, "node"), range(4)))
    try:
        assert sorted(began) == [False, False, False, True]
    finally:
        processes.stop(bank, "node")


def test_init_names_the_ports_that_are_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["init", str(tmp_path / "c"), "--orgs", "a", "--base-port", str(port - 1)]
        told = CliRunner().invoke(main, words)
    assert told.exit_code == Exit.CONFIG
    named = re.search(r"in use are ([\d, ]+\d)", told.output)
    assert named is not None, told.output
    assert str(port) in named[1].split(", "), "the port before it may be in use as well"
    assert not (tmp_path / "c").exists()


def test_what_is_to_be_typed_next_is_quoted_for_the_shell(tmp_path: Path) -> None:
    folder = tmp_path / "my cons #1"
    made = CliRunner().invoke(main, ["init", str(folder), "--orgs", "a", "--base-port", "0"])
    assert f"next: assent start '{folder}'" in made.output
    shown = json.loads(CliRunner().invoke(main, ["status", str(folder), "--json"]).output)
    assert shown["nodes"][0]["stall"].endswith(f"assent start '{folder}' --org a")
    missing = CliRunner().invoke(main, ["status", str(folder / "none")])
    assert f"assent init '{folder / 'none'}'" in missing.output


@pytest.mark.parametrize("command", ["init", "org new"])
def test_ports_that_the_host_gives_away_are_named_when_they_are_chosen(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client's connection had a node's port, and the node could not start again."""
    given, kept = tmp_path / "range", tmp_path / "kept"
    base = int(org_ports(1, 0)[0][0].rpartition(":")[2])
    given.write_text(f"{base + 1}\t{base + 500}\n")
    monkeypatch.setattr(outgoing, "RANGE", given)
    monkeypatch.setattr(outgoing, "RESERVED", kept)
    monkeypatch.setattr(init, "_is_free", lambda _: True)
    create_consortium(tmp_path / "c", ["a"], [], 0, "c")

    def told(name: str, *more: str) -> str:
        words = {
            "init": ["init", str(tmp_path / name), "--orgs", "a"],
            "org new": ["org", "new", str(tmp_path / name), "--genesis", str(tmp_path / "c/genesis.json")],
        }
        ran = CliRunner().invoke(main, [*words[command], *more], catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        return ran.output

    ports = ["--base-port", str(base)]
    said = " ".join(told("one", *ports).split())
    assert f"gives {base + 1}" in said
    assert f"({base + 1} to {base + 500})" in said
    assert f"--base-port below {base + 1}, or keep them: sysctl" in said
    assert json.loads(told("two", *ports, "--json"))["warning"].startswith("warning: ")
    assert f"Name ports with --listen below {base + 1}," in outgoing.warning_of(
        [base + 1], "Name ports with --listen"
    )
    kept.write_text(f"1,{base}-{base + 2}\n")
    assert "warning" not in told("three", *ports)
    kept.unlink()
    given.unlink()
    assert "warning" not in told("four", *ports)


@pytest.mark.parametrize("seed", ["0", "1", "4294967295"])
def test_a_node_does_not_run_with_a_hash_seed_that_others_may_know(
    seed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", seed)
    result = CliRunner().invoke(main, ["node", "run", "--config", str(tmp_path / "node.toml")])
    assert result.exit_code == 78
    assert f"PYTHONHASHSEED={seed}: a node draws its seed by lot" in result.output


@pytest.mark.parametrize("seed", ["", "random"])
def test_a_hash_seed_that_is_drawn_by_lot_is_the_one_that_a_node_wants(seed: str) -> None:
    check_hash_seed(seed)


def test_a_command_that_asks_a_node_which_stands_still_says_so() -> None:
    """A removed organisation was told that there is no such proposal, for its own node knew of none."""

    class Still:
        url = "http://h:1"
        role = "not a member"

        async def state(self, *_: Any) -> None:
            return None

        async def request(self, *_: Any) -> Any:
            return {"role": self.role, "height": 7}

    still: Any = Still()
    with pytest.raises(NotThere, match=r"http://h:1, is not a member's and stands at height 7: ask a member"):
        asyncio.run(proposal_of(still, 5))
    still.role = "validator"
    with pytest.raises(NotThere) as caught:
        asyncio.run(proposal_of(still, 5))
    assert "stands at" not in str(caught.value)


def test_a_lock_of_a_process_that_is_ending_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory of a killed process goes before its locks: a command was refused, naming no command."""
    with holding(tmp_path / "data") as own:
        monkeypatch.setattr(leveldb, "_command", lambda _: "")
        pauses = list[float]()

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            own.kill()
            own.wait()

        monkeypatch.setattr("time.sleep", pause)
        LevelStore(tmp_path / "data").close()
        assert pauses == [leveldb.ENDING_PAUSE_S]


@contextmanager
def holding(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have another process hold a data directory."""
    held = "import sys; from pathlib import Path; from chain.ledger.store.leveldb import LevelStore as S;"
    held += "s = S(Path(sys.argv[1])); print('up', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", held, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, **pipes) as own:  # type: ignore[call-overload]
        try:
            assert own.stdout.readline() == b"up\n"
            yield own
        finally:
            own.kill()


def test_whoever_holds_a_data_directory_is_named_and_nobody_else_is_accused(tmp_path: Path) -> None:
    match = r"process \d+ uses this data directory \(.*python"
    with holding(tmp_path / "data"), pytest.raises(DataLocked, match=match):
        LevelStore(tmp_path / "data")
    mine = LevelStore(tmp_path / "data")
    with pytest.raises(DataLocked, match="this process has it open already"):
        LevelStore(tmp_path / "data")
    mine.close()
    for said, told in (
        ("Read-only file system", "read-only, as one is after a fault"),
        ("Too many open files", "ulimit -n"),
        ("Permission denied", "owner"),
    ):
        assert told in storage_remedy(tmp_path, said)


def test_a_file_system_without_inodes_is_told_from_a_full_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=14, f_favail=0))
    assert "no inodes left (df -i)" in storage_remedy(tmp_path, "No space left on device")
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=14, f_favail=9))
    assert "free space" in storage_remedy(tmp_path, "No space left on device")
