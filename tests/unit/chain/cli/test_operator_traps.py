"""Commands whose answers led an operator astray: each says what is so, and touches nothing else."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from chain.cli import consortium as starting
from chain.cli import processes
from chain.cli import status as states
from chain.cli.governing import NotThere
from chain.cli.init import create_consortium
from chain.cli.join import new as org_new
from chain.cli.layout import ConsortiumFolder, LayoutError, OrgFolder, open_consortium
from chain.cli.main import main
from chain.cli.rejoin import NotYet
from chain.client.answers import NodeUnreachable
from chain.config import load_node_config
from chain.ledger.genesis import load_genesis
from chain.primitives.acceptor import cannot_listen
from chain.primitives.errors import Exit, FileTrouble, KeyFileError, PortBusy
from chain.primitives.files import replace_file, write_new
from tests.unit.chain.fulldisk import full_disk


@pytest.fixture
def two(tmp_path: Path) -> ConsortiumFolder:
    """Two organisations of which nothing runs."""
    return create_consortium(tmp_path / "c", ["bank", "bureau"], ["bank"], 0, "two")


@pytest.fixture
def sleeper(two: ConsortiumFolder) -> Iterator[subprocess.Popen[bytes]]:
    """A process that goes by the first organisation's node, as one run by hand does."""
    waits = "import sys; print('up', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", waits, "node", "run", "--config", str(two.orgs[0].node_config)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as own:
        assert own.stdout is not None
        assert own.stdout.readline() == b"up\n"
        yield own
        own.kill()


def invoke(*words: str) -> Any:
    return CliRunner().invoke(main, list(words))


async def _lost(*_: object) -> bool:
    return True


@pytest.mark.parametrize("error", [KeyFileError("sealed"), NodeUnreachable("away"), OSError(5, "broken")])
def test_a_check_for_lost_votes_that_cannot_be_made_claims_nothing(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A healthy validator was said to be without a vote, for its admin key was sealed."""

    async def fails(*_: object) -> bool:
        raise error

    monkeypatch.setattr(starting, "needs_rejoin", fails)
    said, muted = starting._rejoined(two.orgs[0])
    assert not muted
    assert "not known" in said


def test_a_node_of_no_member_is_not_asked_for_its_votes_a_second_time(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> bool:
        raise NotThere("no node of this chain has the key")

    monkeypatch.setattr(starting, "needs_rejoin", fails)
    assert starting._rejoined(two.orgs[0]) == ("", False)


def test_a_node_known_to_have_lost_its_votes_is_said_to_have_none(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_yet(_: object) -> str:
        raise NotYet("too soon")

    monkeypatch.setattr(starting, "needs_rejoin", _lost)
    monkeypatch.setattr(starting, "rejoin", not_yet)
    two.orgs[0].key("admin").chmod(0o644)
    said, muted = starting._rejoined(two.orgs[0])
    assert muted
    assert "lost its votes, and its seat could not be moved" in said
    assert f"assent validator rejoin --as {two.orgs[0].path}" in said


def test_a_node_that_has_its_votes_needs_no_admin_key(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def kept(*_: object) -> bool:
        return False

    monkeypatch.setattr(starting, "needs_rejoin", kept)
    two.orgs[0].key("admin").unlink()
    assert starting._rejoined(two.orgs[0]) == ("", False)


def test_waiting_for_a_paused_process_ends_at_once_and_says_how_it_goes_on(
    two: ConsortiumFolder, sleeper: subprocess.Popen[bytes]
) -> None:
    """`start` waited 65 s for a process that was stopped by a signal, and named its log."""
    os.kill(sleeper.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED)
    for wait in (
        lambda: processes.wait_until(two.orgs[0], "node", lambda: False, 3600),
        lambda: processes.until(two.orgs[0], "node", lambda: "not yet", float("inf")),
    ):
        with pytest.raises(
            processes.Paused, match=rf"bank: the node, process {sleeper.pid}, is paused.*-CONT"
        ):
            wait()


def test_an_old_log_is_not_shown_for_that_of_a_process_that_logs_elsewhere(
    two: ConsortiumFolder, sleeper: subprocess.Popen[bytes]
) -> None:
    said = invoke("logs", str(two.path), "bank")
    assert said.exit_code == Exit.CONFIG
    assert f"the running process {sleeper.pid} does not log here but to /dev/null" in said.output
    two.orgs[0].log("node").write_text("of last month\n")
    said = invoke("logs", str(two.path), "bank")
    assert said.exit_code == 0
    assert f"process {sleeper.pid} does not log here but to /dev/null; what follows is old" in said.stderr
    assert said.stdout == "of last month\n"


def test_a_log_that_cannot_be_read_is_no_empty_log(two: ConsortiumFolder) -> None:
    two.orgs[0].log("node").mkdir()
    said = invoke("logs", str(two.path), "bank")
    assert said.exit_code == Exit.IO
    assert "node.log: cannot be read (a folder, not a regular file)" in said.output
    assert "does not run" in invoke("status", str(two.path)).output


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"orgs": 5}'])
def test_a_lost_marker_is_named_and_nobody_is_told_to_make_the_consortium_anew(
    two: ConsortiumFolder, content: str | None
) -> None:
    """In a folder full of keys and data it said: create one with assent init."""
    marker = two.path / "consortium.json"
    whole = marker.read_text()
    marker.unlink() if content is None else marker.write_text(content)
    with pytest.raises(LayoutError) as told:
        open_consortium(two.path)
    assert "assent init" not in str(told.value)
    assert "missing" in str(told.value) if content is None else "damaged" in str(told.value)
    subprocess.run(["sh", "-c", str(told.value).partition("Write it again: ")[2]], check=True)
    assert json.loads(marker.read_text()) == json.loads(whole)
    assert open_consortium(two.path) == two


def test_a_folder_of_nothing_is_no_consortium(tmp_path: Path) -> None:
    with pytest.raises(
        LayoutError, match=r"neither the folder of a consortium nor .*; create one with: assent init"
    ):
        open_consortium(tmp_path)


def test_whatever_the_umask_what_is_made_is_for_its_own_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = create_consortium(tmp_path / "c", ["bank"], ["bank"], 0, "one")
        CliRunner().invoke(org_new, [str(tmp_path / "acme"), "--genesis", str(made.genesis)])
        processes.start(made.orgs[0], "node")
        processes.stop(made.orgs[0], "node")
    finally:
        os.umask(before)
    open_to_others = {
        str(path.relative_to(tmp_path)): oct(path.stat().st_mode)
        for path in tmp_path.rglob("*")
        if stat.S_IMODE(path.stat().st_mode) & 0o077
    }
    assert (tmp_path / "acme" / "node.toml").exists()
    assert open_to_others == {}


def test_the_folder_of_a_new_organisation_is_complete_by_itself(
    two: ConsortiumFolder, tmp_path: Path
) -> None:
    """The genesis went into the folder above without a word, and a copy of the folder lacked it."""
    folder = tmp_path / "elsewhere" / "acme"
    told = invoke("org", "new", str(folder), "--genesis", str(two.genesis), "--base-port", "0", "--computes")
    assert told.exit_code == 0, told.output
    assert [path.name for path in folder.parent.iterdir()] == ["acme"]
    moved = folder.rename(tmp_path / "acme")
    named = load_node_config(moved / "node.toml")[1].genesis
    assert named.parent == moved
    assert load_genesis(named) == load_genesis(two.genesis)
    assert "# Node of acme." in OrgFolder(moved).node_config.read_text()


def test_a_full_disk_is_named_with_the_path_and_leaves_nothing_behind(
    two: ConsortiumFolder, tmp_path: Path
) -> None:
    """`key new` left an empty key file and named no path; `init` left a hidden folder with keys."""
    before = sorted(tmp_path.iterdir())
    for words, path in (
        (("key", "new", str(tmp_path / "a.key")), "a.key"),
        (("init", str(tmp_path / "d"), "--orgs", "a,b", "--base-port", "0"), "d"),
        (("org", "new", str(tmp_path / "acme"), "--genesis", str(two.genesis), "--base-port", "0"), "acme"),
    ):
        with full_disk():
            told = invoke(*words)
        assert told.exit_code == Exit.IO, told.output
        assert f"error [file]: {tmp_path / path}: " in told.output
        assert sorted(tmp_path.iterdir()) == before


def test_a_key_on_a_full_disk_stays_as_it_was(two: ConsortiumFolder) -> None:
    file = two.orgs[0].key("admin")
    content = file.read_bytes()
    with full_disk():
        told = CliRunner().invoke(main, ["key", "seal", str(file)], env={"ASSENT_NEW_PASSPHRASE": "p"})
    assert told.exit_code == Exit.IO
    assert file.read_bytes() == content
    assert [path.suffix for path in file.parent.iterdir()] == [".key"] * 3


def test_a_file_is_written_whole_also_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    write_new(tmp_path / "a", b"one")
    with pytest.raises(FileTrouble, match="exists already"):
        write_new(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    replace_file(tmp_path / "a", b"three")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"three"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (socket.gaierror(-2, "Name or service not known"), "the name does not resolve here"),
        (OSError(errno.EADDRNOTAVAIL, "x"), "this host has no such address"),
        (OSError(errno.EACCES, "x"), "this user may not listen there"),
        (OSError(errno.EINVAL, "odd"), ": Invalid argument; set another address"),
    ],
)
def test_an_address_that_is_no_address_of_this_host_is_no_busy_port(error: OSError, told: str) -> None:
    said = cannot_listen("rpc.listen", "h:1", error)
    assert said.code == "cannot_listen"
    assert str(said).startswith("rpc.listen = h:1: ")
    assert told in str(said)
    assert said.exit == Exit.CONFIG
    assert isinstance(cannot_listen("rpc.listen", "h:1", OSError(errno.EADDRINUSE, "x")), PortBusy)


def test_a_lock_that_cannot_be_made_is_named_with_the_cause(two: ConsortiumFolder) -> None:
    two.orgs[0].pid("node").with_name(".node.pid.lock").mkdir()
    with pytest.raises(FileTrouble, match=r"node\.pid\.lock: cannot be written \(Is a directory\), so noth"):
        processes.start(two.orgs[0], "node")


def test_a_hangup_before_a_process_knows_its_log_does_not_end_it(two: ConsortiumFolder) -> None:
    """Rotating logs in the first seconds of a node killed it."""
    bank = two.orgs[0]
    processes.start(bank, "node")
    try:
        running = psutil.Process(int(bank.pid("node").read_text()))
        running.send_signal(signal.SIGHUP)
        processes.wait_until(bank, "node", lambda: "at height 0" in processes.log_tail(bank, "node", 50), 120)
    finally:
        processes.stop(bank, "node")


NOWHERE = ("--node", "http://127.0.0.1:9")
"""A node that is never asked: the file is looked at first."""
READING = {
    "contract propose": ("contract", "propose", "c", "FILE", *NOWHERE),
    "contract publish": ("contract", "publish", "FILE", *NOWHERE),
    "contract verify": ("contract", "verify", "FILE", "--genesis", "GENESIS"),
    "validator report": ("validator", "report", "FILE", "FILE", *NOWHERE),
    "dataset check-opening": ("dataset", "check-opening", "FILE", *NOWHERE),
    "dataset inspect": ("dataset", "inspect", "FILE"),
    "audit verify": ("audit", "verify", "FILE", "--genesis", "GENESIS"),
}


@pytest.mark.parametrize("command", list(READING))
def test_a_file_that_cannot_be_read_ends_with_the_status_for_files(
    two: ConsortiumFolder, tmp_path: Path, command: str
) -> None:
    missing = tmp_path / "missing.csv"
    names = {"FILE": str(missing), "GENESIS": str(two.genesis)}
    done = invoke(*[names.get(word, word) for word in READING[command]])
    assert done.exit_code == Exit.IO, done.output
    said = done.output.replace("\n", "")
    assert "missing.csv: cannot be read" in said
    assert "No such file or directory" in said


def test_a_file_that_is_no_file_of_proofs_is_data_that_cannot_be_trusted(
    two: ConsortiumFolder, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}", encoding="utf-8")
    done = invoke("contract", "verify", str(wrong), "--genesis", str(two.genesis))
    assert done.exit_code == Exit.DAMAGED, done.output
    assert "proof_file" in done.output


def test_the_log_of_an_agent_that_nobody_runs_is_not_promised_by_a_start(two: ConsortiumFolder) -> None:
    said = invoke("logs", str(two.path), "bureau", "--agent")
    assert said.exit_code == Exit.CONFIG
    assert f"bureau runs no agent: {two.orgs[1].agent_config} does not exist" in said.output


def test_the_folder_of_one_organisation_is_started_watched_and_read_as_a_consortium_is(
    two: ConsortiumFolder, tmp_path: Path
) -> None:
    """A member that had joined was told to create its own folder with assent init."""
    alone = tmp_path / "hospital"
    assert not CliRunner().invoke(org_new, [str(alone), "--genesis", str(two.genesis)]).exception
    for folder, name in ((two.orgs[0].path, "bank"), (alone, "hospital")):
        found = open_consortium(folder)
        assert [org.name for org in found.orgs] == [name]
        assert not found.whole
        shown = invoke("status", str(folder), "--json")
        assert [node["org"] for node in json.loads(shown.output)["nodes"]] == [name]
        assert invoke("stop", str(folder)).output == f"{folder}: nothing was running\n"
        (folder / "node.log").write_text("a line\n")
        assert invoke("logs", str(folder)).stdout == "a line\n"
        assert invoke("logs", str(folder), name).stdout == "a line\n"
    assert f"start it with: assent start {alone}\n" in invoke("status", str(alone)).output
    assert f"start it with: assent start {two.path} --org bank" in invoke("status", str(two.path)).output
    with pytest.raises(LayoutError, match=r"no organisation 'bank'; there are \['hospital'\]"):
        open_consortium(alone).here("bank")


def test_a_folder_named_by_dots_has_the_name_that_it_has(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(two.orgs[0].path / "keys")
    assert open_consortium(Path("..")).orgs[0].name == "bank"
    monkeypatch.chdir(two.orgs[0].path)
    assert open_consortium(Path()).orgs[0].name == "bank"


def test_organisations_that_are_not_on_this_host_are_named_and_no_fault(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one organisation's host `status` said bad config of the others, and --check never ended with 0."""
    shutil.rmtree(two.orgs[1].path)
    shown = json.loads(invoke("status", str(two.path), "--json").output)
    assert [node["org"] for node in shown["nodes"]] == ["bank"]
    assert shown["elsewhere"] == ["bureau"]
    assert "bureau: not on this host" in invoke("status", str(two.path)).output
    assert "bureau" not in invoke("status", str(two.path), "--org", "bank").output
    for command in ("start", "status", "stop", "logs"):
        words = ["bureau"] if command == "logs" else ["--org", "bureau"]
        refused = invoke(command, str(two.path), *words)
        assert refused.exit_code == Exit.CONFIG
        assert f"{two.orgs[1].path}: not on this host; on it are ['bank']" in refused.output
    asked: list[tuple[list[str], bool]] = []

    def starts(found: ConsortiumFolder, *, whole: bool) -> Iterator[str]:
        asked.append(([org.name for org in found.orgs], whole))
        return iter(())

    monkeypatch.setattr(starting, "start_consortium", starts)
    assert invoke("start", str(two.path)).output.startswith("bureau: not on this host\n")
    assert asked == [(["bank"], False)]
    shutil.rmtree(two.orgs[0].path)
    assert (
        "none of its organisations, bank, bureau, has its folder here"
        in invoke("start", str(two.path)).output
    )


def test_with_status_of_one_organisation_only_its_processes_count_for_check(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def runs(org: OrgFolder) -> dict[str, Any]:
        said: dict[str, Any] = dict.fromkeys(states._SHOWN)
        return said | {
            "org": org.name,
            "state": "running" if org.name == "bureau" else "stopped",
            "stall": "",
        }

    monkeypatch.setattr(states, "_node_status", runs)
    assert invoke("status", str(two.path), "--check").exit_code == Exit.NO_QUORUM
    assert invoke("status", str(two.path), "--check", "--org", "bureau").exit_code == 0


def test_a_log_of_several_is_asked_for_by_name(two: ConsortiumFolder) -> None:
    asked = invoke("logs", str(two.path))
    assert asked.exit_code == Exit.CONFIG
    assert "whose log? Name one of ['bank', 'bureau']" in asked.output


def test_a_rotation_reaches_what_runs_in_the_folder_and_no_stranger_with_an_old_number(
    two: ConsortiumFolder,
) -> None:
    """The example sent SIGHUP to whatever process had the number of a stale pid file."""
    config = two.orgs[0].node_config
    tells = (
        "import signal, sys; signal.signal(signal.SIGHUP, lambda *_: print('anew', flush=True)); "
        "print('up', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", tells]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen([*words, "node", "run", "--config", str(config)], **pipes) as own,
        subprocess.Popen(words, **pipes) as stranger,
    ):
        try:
            for process in (own, stranger):
                assert process.stdout is not None
                assert process.stdout.readline() == b"up\n"
            two.orgs[0].pid("node").write_text(str(stranger.pid))
            done = invoke("logs", str(two.path), "--reopen")
            assert done.output == "bank: the node opens its log anew\n"
            assert own.stdout is not None
            assert own.stdout.readline() == b"anew\n"
            assert stranger.poll() is None
        finally:
            own.kill()
            stranger.kill()
