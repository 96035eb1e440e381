"""What the commands that begin, stop and show processes say of one that fails, is paused, or is another's."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from chain.cli import consortium as starting
from chain.cli import processes
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.cli.main import main
from chain.cli.rejoin import KeyOfAnother, needs_rejoin
from chain.cli.status import _without_node
from chain.client.answers import OtherScheme
from chain.client.client import Client
from chain.primitives.errors import Exit
from chain.primitives.lastrun import LastRun
from privcompute.config import load_agent_config

WAITS = "import signal, sys; {first}; print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def two(tmp_path: Path) -> ConsortiumFolder:
    """Two organisations, the first with an agent, of which nothing runs."""
    return create_consortium(tmp_path / "c", ["bank", "bureau"], ["bank"], 0, "two")


@contextlib.contextmanager
def standing_in(org: OrgFolder, process: str, first: str = "0") -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that goes by an organisation's node or agent, as one run by hand does."""
    config = org.node_config if process == "node" else org.agent_config
    words = [sys.executable, "-c", WAITS.format(first=first), process, "run", "--config", str(config)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as own:
        assert own.stdout is not None
        assert own.stdout.readline() == b"up\n"
        try:
            yield own
        finally:
            own.kill()


def pause(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


def invoke(*words: str) -> Any:
    return CliRunner().invoke(main, list(words))


def forbid(monkeypatch: pytest.MonkeyPatch, method: str, error: type[Exception], org: OrgFolder) -> None:
    """Let a method of psutil fail for what runs by an organisation's files, as for another user's."""
    real = getattr(psutil.Process, method)

    def guarded(self: psutil.Process, *args: Any) -> Any:
        if str(org.path) in " ".join(self.cmdline()):
            raise error(self.pid)
        return real(self, *args)

    monkeypatch.setattr(psutil.Process, method, guarded)


@pytest.fixture
def nodes_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that need no start: what is tested comes after them."""

    def none(*_: Any) -> Generator[str, None, list[str]]:
        yield from ()
        return []

    monkeypatch.setattr(starting, "_start_nodes", none)
    monkeypatch.setattr(starting, "_give_seats", none)


@pytest.mark.usefixtures("nodes_answer")
def test_an_agent_that_ends_while_it_starts_is_no_started_agent(
    two: ConsortiumFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`start` said "agent started" of one that died of its key file, with status 0."""
    fails = tmp_path / "fails"
    fails.write_text("#!/bin/sh\necho 'error [key_file]: none'\nexit 78\n")
    fails.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(fails))
    told = invoke("start", str(two.path))
    assert told.exit_code == Exit.CONFIG, told.output
    assert "bank: the agent stopped while starting:\nerror [key_file]: none" in told.output
    assert "agent started" not in told.output
    assert "next: " not in told.output


@pytest.mark.usefixtures("nodes_answer")
def test_an_agent_is_started_once_it_listens_on_its_own_port(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def owns(_: OrgFolder, process: str, port: int) -> bool:
        asked.append((process, port))
        return len(asked) > 1

    monkeypatch.setattr(processes, "owns_port", owns)
    with standing_in(two.org("bank"), "agent"):
        assert "bank: agent was running\n" in invoke("start", str(two.path)).output
    listen = load_agent_config(two.org("bank").agent_config)[0].peers.listen
    assert asked == [("agent", int(listen.rpartition(":")[2]))] * 2


def test_a_process_that_another_began_with_its_own_words_is_the_one_that_records_its_run(
    two: ConsortiumFolder,
) -> None:
    """An agent under sudo or timeout was said not to listen: the one looked at was what had begun it."""
    bank = two.org("bank")
    lock = bank.run("agent").with_name("agent.run.lock")
    with (
        lock.open("wb") as held,
        standing_in(bank, "agent") as wrapper,
        standing_in(bank, "agent") as own,
    ):
        fcntl.flock(held, fcntl.LOCK_EX)
        began = int(psutil.Process(own.pid).create_time() * 1_000) + 500
        for pid in (wrapper.pid, own.pid):
            bank.run("agent").write_bytes(LastRun(pid, began, "").encode())
            found = processes.find(bank, "agent")
            assert found is not None
            assert found.pid == pid
        bank.run("agent").write_bytes(LastRun(os.getpid(), began, "").encode())
        found = processes.find(bank, "agent")
        assert found is not None
        assert found.pid in (wrapper.pid, own.pid), "a stranger who has the number now is not believed"
        bank.run("agent").write_bytes(LastRun(own.pid, began - 100_000, "").encode())
        assert processes._recorded(bank, "agent") is None, "it began after that run: the number is another's"


class Time:
    """A clock that goes on by what is slept."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        """Return seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The time by which processes are waited for."""
    clock = Time()
    monkeypatch.setattr(processes, "time", clock)
    return clock


def test_a_start_is_waited_for_as_long_as_it_works_within_a_bound(
    two: ConsortiumFolder, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy host an agent that was loading was said to have failed, after 60 s."""
    bank, own = two.org("bank"), psutil.Process()
    every = 50.0
    monkeypatch.setattr(processes, "find", lambda *_: own)  # looks at all processes, 13 600 times
    monkeypatch.setattr(processes, "_signs_of_work", lambda *_: (int((clock.now - 1_000) // every),))

    def waits(until: float) -> None:
        processes.wait_until(bank, "agent", lambda: clock.now - 1_000 >= until, 60, most_s=900)

    waits(400)
    clock.now = 1_000.0
    with pytest.raises(processes.ProcessError, match=r"the agent was not ready after 900 s, and shows"):
        waits(5_000)
    clock.now, every = 1_000.0, 1e9
    with pytest.raises(processes.ProcessError, match=r"after 60 s, and shows no sign of work since 60 s"):
        waits(400)


def test_what_a_process_spends_reads_and_logs_is_a_sign_of_its_work(two: ConsortiumFolder) -> None:
    bank, own = two.org("bank"), psutil.Process()
    spent, read, length = processes._signs_of_work(bank, "node", own)
    assert spent >= 1, "these tests took more to load"
    assert (read > 0, length) == (True, 0)
    bank.log("node").write_text("a line\n")
    assert processes._signs_of_work(bank, "node", own)[2] == 7


@pytest.mark.usefixtures("nodes_answer")
def test_a_start_that_takes_long_says_what_it_waits_for(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def owns(*_: Any) -> bool:
        asked.append(1)
        return len(asked) > 2

    monkeypatch.setattr(processes, "owns_port", owns)
    monkeypatch.setattr(starting, "SAY_S", 0.0)
    bank = two.org("bank")
    with standing_in(bank, "agent"):
        said = invoke("start", str(two.path)).output
    listen = load_agent_config(bank.agent_config)[0].peers.listen
    assert f"bank: waiting for the agent to listen on {listen}; its log is {bank.log('agent')}\n" in said
    assert "bank: agent was running\n" in said


def test_the_agent_of_a_node_that_waits_for_others_is_not_waited_for(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first organisations of a chain cannot be ready, and their agents wait for their nodes."""
    monkeypatch.setattr(starting, "SETTLE_S", 0.0)
    with standing_in(two.org("bank"), "agent"):
        assert list(starting._start_agents(two, {}, ["bank"])) == [
            "bank: agent was running; it listens once its node is ready"
        ]


@pytest.mark.usefixtures("nodes_answer")
def test_a_paused_agent_is_named_and_supervisors_are_told_to_try_later(two: ConsortiumFolder) -> None:
    with standing_in(two.org("bank"), "agent") as agent:
        pause(agent)
        told = invoke("start", str(two.path))
    assert told.exit_code == Exit.NO_QUORUM
    assert f"bank: the agent, process {agent.pid}, is paused" in told.output


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_start_that_fails_at_one_process_says_what_else_it_began(
    two: ConsortiumFolder, form: tuple[str, ...]
) -> None:
    """One node was paused, and that the other had been begun meanwhile went unsaid."""
    bank, bureau = two.orgs
    try:
        with standing_in(bank, "node") as node:
            pause(node)
            told = invoke("start", str(two.path), *form)
        assert processes.find(bureau, "node") is not None
    finally:
        processes.stop(bureau, "node")
    assert told.exit_code == Exit.NO_QUORUM
    said = json.loads(told.output)["error"]["message"] if form else told.output
    assert "bureau: node begun, and not waited for" in said
    assert f"bank: the node, process {node.pid}, is paused" in said
    assert "bank: node begun" not in said


def test_a_process_of_another_user_is_named_and_the_others_are_stopped_and_said(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`stop` ended with a traceback, and what it had stopped before went unsaid."""
    bank, bureau = two.orgs
    forbid(monkeypatch, "_send_signal", psutil.AccessDenied, bank)
    with standing_in(bank, "node") as node, standing_in(bureau, "node") as other:
        told = invoke("stop", str(two.path))
        assert node.poll() is None
        assert other.wait(10) == -signal.SIGTERM
    assert told.exit_code == Exit.CONFIG, told.output
    assert told.stdout == "bureau: node stopped\n"
    assert (
        f"error [process_of_another]: bank: the node, process {node.pid}, belongs to the user " in told.stderr
    )
    assert "systemctl stop" in told.stderr
    forbid(monkeypatch, "username", KeyError, bank)
    with standing_in(bank, "node"), pytest.raises(processes.OfAnother, match="belongs to another user"):
        processes.kill(bank, "node")


def test_of_several_processes_that_cannot_be_stopped_each_is_named(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for org in two.orgs:
        forbid(monkeypatch, "_send_signal", psutil.AccessDenied, org)
    with standing_in(two.orgs[0], "agent") as agent, standing_in(two.orgs[1], "node") as node:
        told = invoke("stop", str(two.path), "--json")
    assert told.exit_code == Exit.CONFIG
    said = json.loads(told.stdout)["error"]["message"]
    assert f"bank: the agent, process {agent.pid}, belongs" in said
    assert f"bureau: the node, process {node.pid}, belongs" in said


def test_a_process_that_ends_between_being_found_and_being_told_is_stopped(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = two.orgs[0]
    with standing_in(bank, "node") as node:
        found = processes.find(bank, "node")
        node.kill()
        node.wait(10)
        left = iter([found])
        monkeypatch.setattr(processes, "find", lambda *_: next(left, None))
        assert processes.stop(bank, "node") == "stopped"


def test_a_paused_process_ends_cleanly_when_it_is_stopped(two: ConsortiumFolder) -> None:
    """It was killed after 15 s, and "stopped" was said."""
    with standing_in(two.org("bank"), "node") as node:
        pause(node)
        told = invoke("stop", str(two.path))
        assert node.wait(10) == -signal.SIGTERM
    assert told.stdout == "bank: node stopped\n"


def test_a_process_that_had_to_be_killed_is_said_to_be(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_WAIT_S", 0.3)
    with standing_in(two.org("bank"), "agent", "signal.signal(signal.SIGTERM, signal.SIG_IGN)") as agent:
        assert "killed, after 0 s without an end" in invoke("stop", str(two.path)).stdout
        assert agent.wait(10) == -signal.SIGKILL


def test_a_process_that_goes_on_after_it_was_killed_is_not_said_to_be_stopped(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_WAIT_S", 0.1)
    monkeypatch.setattr(processes, "_signal", lambda *_: None)
    with standing_in(two.org("bank"), "node") as node:
        told = invoke("stop", str(two.path))
        assert told.exit_code == Exit.IO
        assert f"error [process_goes_on]: bank: the node, process {node.pid}, is still there" in told.output
        with pytest.raises(processes.GoesOn):
            processes.kill(two.org("bank"), "node")


def test_that_nothing_ran_is_said_of_what_was_to_be_stopped(two: ConsortiumFolder) -> None:
    assert (
        invoke("stop", str(two.path), "--org", "bank").stdout == f"{two.path}: nothing of bank was running\n"
    )
    assert invoke("stop", str(two.path)).stdout == f"{two.path}: nothing was running\n"


def test_where_another_users_process_logs_is_not_guessed(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that did log here was said to log elsewhere."""

    def forbidden(*_: Any) -> str:
        raise PermissionError(13, "Permission denied")

    bank = two.org("bank")
    monkeypatch.setattr(os, "readlink", forbidden)
    with standing_in(bank, "node") as node:
        told = invoke("logs", str(two.path), "bank")
        assert f"where the running process {node.pid} logs cannot be seen by this user" in told.output
        bank.log("node").write_text("of today\n")
        told = invoke("logs", str(two.path), "bank")
    assert (told.stdout, told.stderr) == ("of today\n", "")


def test_the_log_of_an_agent_that_is_not_configured_is_not_waited_for(two: ConsortiumFolder) -> None:
    """It was told to start the consortium, after which there would be no log either."""
    told = invoke("logs", str(two.path), "bureau", "--agent")
    assert told.exit_code == Exit.CONFIG
    assert f"bureau runs no agent: {two.org('bureau').agent_config}" in told.output
    assert (
        "no log yet; start it with: assent start" in invoke("logs", str(two.path), "bank", "--agent").output
    )


def test_a_port_of_another_users_process_is_its_own_if_nobody_whom_one_sees_has_it(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`start` waited a minute for a node that a service manager ran as another user, and failed."""
    bank = two.org("bank")
    forbid(monkeypatch, "net_connections", psutil.AccessDenied, bank)
    with standing_in(bank, "node"), socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert not processes.owns_port(bank, "node", port), "it is this process's"
        seen = psutil.net_connections("tcp")
        monkeypatch.setattr(psutil, "net_connections", lambda _: [s._replace(pid=None) for s in seen])
        assert processes.owns_port(bank, "node", port)


def test_nothing_is_started_in_a_folder_with_the_key_of_another_organisations_founder(
    two: ConsortiumFolder,
) -> None:
    """It was started, was said to have lost its votes, and a move of the seat was sent."""
    bank, bureau = two.orgs
    shutil.copy(bureau.key("node"), bank.key("node"))
    told = invoke("start", str(two.path))
    assert told.exit_code == Exit.CONFIG
    assert "bank: the node of this folder goes by the key of bureau-node, a node of bureau" in told.output
    assert "put the own key of bank back" in told.output
    assert not bank.pid("node").exists()


async def test_a_node_with_the_key_of_another_organisation_is_told_so_before_its_votes_are_asked_for() -> (
    None
):
    class Strange:
        async def request(self, _: str) -> Any:
            return {"role": "observer", "org": "bureau", "name": "bureau-2", "lostVotes": False}

    strange: Any = Strange()
    assert not await needs_rejoin(strange, "bureau")
    with pytest.raises(KeyOfAnother, match="goes by the key of bureau-2, a node of bureau"):
        await needs_rejoin(strange, "bank")


def test_of_every_stranger_among_the_nodes_it_is_told_and_nothing_is_moved(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def strange(_: Any, org: str) -> bool:
        raise KeyOfAnother(org, "x-node", "x")

    monkeypatch.setattr(starting, "needs_rejoin", strange)
    with pytest.raises(KeyOfAnother, match=r"bank: the node.*\nbureau: the node"):
        list(starting._give_seats(two))


def agent_shown(consortium: ConsortiumFolder) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(invoke("status", str(consortium.path), "--json").output)["agents"][0]
    return shown


def test_an_agent_that_nobody_reaches_or_whose_node_is_away_holds_the_consortium_up(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`status --check` said that it runs, with status 0, of one that was paused and of one without a node."""
    assert agent_shown(two)["state"] == "stopped"
    config = load_agent_config(two.org("bank").agent_config)[0]
    with standing_in(two.org("bank"), "agent") as agent:
        shown = agent_shown(two)
        assert shown["state"] == "silent"
        assert (
            f"the agent, process {agent.pid}, runs and does not listen on {shown['listen']}" in shown["stall"]
        )
        monkeypatch.setattr(processes, "owns_port", lambda *_: True)
        shown = agent_shown(two)
        assert shown["state"] == "running"
        assert (
            f"the node that it follows, node = '{config.node}' in agent.toml, does not answer"
            in shown["stall"]
        )
        pause(agent)
        shown = agent_shown(two)
        assert shown["state"] == "silent"
        assert f"the agent, process {agent.pid}, is paused" in shown["stall"]
        assert invoke("status", str(two.path), "--check").exit_code == Exit.NO_QUORUM


def test_a_node_that_answers_otherwise_than_its_folder_says_is_named_by_start_status_and_doctor(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`[rpc] tls` was changed while the node ran: `start` waited for an answer, `status` said it is busy."""
    bank = two.org("bank")

    async def refuses(client: Client, *_: Any) -> Any:
        raise OtherScheme(client.url, tls=True)

    for asks in ("request", "page"):
        monkeypatch.setattr(Client, asks, refuses)
    monkeypatch.setattr(processes, "owns_port", lambda *_: True)
    said = f"this port speaks TLS, and {bank.node_config} says otherwise: it was changed since the node began"
    with standing_in(bank, "node"):
        for words in (["start", str(two.path), "--org", "bank"], ["doctor", str(bank.path)]):
            told = invoke(*words)
            assert said in " ".join(told.output.split())
            assert f"assent stop {bank.path}, then" in " ".join(told.output.split())
            assert told.exit_code == Exit.CONFIG
        shown = json.loads(invoke("status", str(two.path), "--json").output)["nodes"][0]
        assert said in shown["stall"]


async def test_an_agent_whose_node_answers_has_nothing_to_say(
    two: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answers(*_: Any, **__: Any) -> Any:
        return {}

    monkeypatch.setattr(Client, "request", answers)
    assert await _without_node("http://127.0.0.1:1", two.genesis) is None
    assert "genesis" in str(await _without_node("http://127.0.0.1:1", two.path / "none.json"))
