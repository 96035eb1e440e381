"""`assent status` and `assent logs`: what nodes and agents of a local consortium do, and why they do not."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psutil

from chain.cli import processes
from chain.cli.absence import about_old_log, explain_absence, traces
from chain.cli.consortium import began_otherwise, folder_argument, node_url, own_client, rejoin_command
from chain.cli.governing import objections
from chain.cli.layout import LayoutError, OrgFolder, open_consortium
from chain.cli.rejoin import UNTIL_THEN, KeyOfAnother, seat_locked
from chain.client.access import NodeAccess
from chain.client.answers import OtherChain, OtherScheme
from chain.client.client import Client
from chain.client.console import (
    json_option,
    print_folded,
    print_json,
    print_lines,
    print_table,
    print_text,
    reports_errors,
    room_beside,
)
from chain.client.options import own_access, run
from chain.config import load_node_config
from chain.ledger.genesis import load_genesis
from chain.node.watch import REJOIN
from chain.primitives.errors import AssentError, ConfigError, Exit
from chain.primitives.settings import split_address

if TYPE_CHECKING:
    from privcompute.config import AgentConfig, AgentFiles

STATUS_S = 3.0
"""How long `status` waits for one node's answer."""
PHASE_CHARS = 20
BELOW = "below"
"""In the cell of a phase that stands below the table: there is no room for it, or it is a reason."""


@click.command()
@folder_argument
@click.option(
    "--check", is_flag=True, help="End with status 75 unless all run and none has a reason to stand still."
)
@click.option("--org", "only", help="Show only this organisation's processes.")
@json_option
@reports_errors
def status(folder: Path, check: bool, only: str | None, as_json: bool) -> None:
    """Show the nodes and agents of the consortium in FOLDER, and why it stands still if it does.

    FOLDER may be that of one organisation. Those that are not on this host are named, and no fault.
    """
    found = open_consortium(folder)
    consortium, elsewhere = found.here(only), [] if only else found.elsewhere

    async def work() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        own = [org for org in consortium.orgs if org.agent_config.exists()]
        nodes = asyncio.gather(*(_node_status(org) for org in consortium.orgs))
        agents = asyncio.gather(*(_agent_status(org) for org in own))
        return await nodes, await agents

    nodes, agents = run(work())
    if as_json:
        print_json({"nodes": nodes, "agents": agents, "elsewhere": elsewhere})
    else:
        _print_status(nodes, agents)
        if elsewhere:
            print_text(f"{', '.join(elsewhere)}: not on this host")
    if check and any(item["stall"] or item["state"] != "running" for item in [*nodes, *agents]):
        sys.exit(Exit.NO_QUORUM)


def _print_status(nodes: list[dict[str, Any]], agents: list[dict[str, Any]]) -> None:
    highest = max((node["height"] or 0 for node in nodes), default=0)
    columns = ["org", "state", "#height", "#lag", "#view", "primary", "#peers", "#pool", "phase"]
    rows: list[list[Any]] = [
        [n["org"], n["state"], n["height"], None if n["height"] is None else highest - n["height"],
         n["view"], n["primary"], n["peers"], n["pool"]]
        for n in nodes
    ]  # fmt: skip
    room = room_beside(columns[:-1], rows)
    cells = [few_words(node, room) if room >= len(BELOW) else BELOW for node in nodes]
    shown = len(columns) if room >= len(BELOW) else len(columns) - 1
    table = [[*row, cell][:shown] for row, cell in zip(rows, cells, strict=True)]
    print_table("nodes", columns[:shown], table, whole=len(columns) - 1)
    if agents:
        print_table(
            "agents", ["org", "state", "listens"], [[a["org"], a["state"], a["listen"]] for a in agents]
        )
    for phase, orgs in phases_below(nodes, cells).items():
        print_folded(f"{', '.join(orgs)}: {phase}")
    for orgs, why in grouped([*nodes, *agents]):
        for line in f"{', '.join(orgs)}: {why}".splitlines():
            print_folded(line)
    for line, orgs in told_by(nodes).items():
        print_folded(f"{', '.join(orgs)}: {line}")
    for node in nodes:
        for offence in node["offences"] or ():
            print_text(f"{node['org']} has trouble with {offence}")


def few_words(node: dict[str, Any], room: int = PHASE_CHARS) -> str:
    """Return a node's phase for a table's cell with room for so many characters, else that it is below."""
    words = re.split("[:;,]", node["phase"] or "")[0]
    return BELOW if node["stall"] or len(words) > min(room, PHASE_CHARS) else words


def phases_below(nodes: list[dict[str, Any]], cells: list[str]) -> dict[str, list[str]]:
    """Return each phase for which the table had no room, with the organisations of its nodes."""
    found: dict[str, list[str]] = {}
    for node, cell in zip(nodes, cells, strict=True):
        if cell == BELOW and not node["stall"]:
            found.setdefault(node["phase"], []).append(node["org"])
    return found


def told_by(nodes: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return each note of the nodes with the organisations whose nodes say it."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        for line in node["notes"] or ():
            found.setdefault(line, []).append(node["org"])
    return found


def grouped(processes: list[dict[str, Any]]) -> list[tuple[list[str], str]]:
    """Return (organisations, why their nodes or agents do not work), those that say the same together."""
    found: dict[str, list[str]] = {}
    for process in processes:
        if process["stall"]:
            found.setdefault(process["stall"], []).append(process["org"])
    return [(orgs, why) for why, orgs in found.items()]


_SHOWN = ("key", "height", "view", "primary", "peers", "pool", "phase", "stall", "notes", "offences")


async def _node_status(org: OrgFolder) -> dict[str, Any]:
    shown: dict[str, Any] = dict.fromkeys(_SHOWN)
    shown |= {"org": org.name, "state": "stopped", "url": ""}
    try:
        shown["url"] = node_url(org)
    except ConfigError as error:
        return shown | {"state": "bad config", "stall": str(error)}
    running = processes.find(org, "node")
    try:
        genesis = load_genesis(load_node_config(org.node_config)[1].genesis)
    except AssentError as error:
        return shown | {"state": "bad genesis", "stall": str(error)}
    try:
        async with own_client(org, genesis, timeout_s=STATUS_S) as client:
            info = await client.request("getNodeInfo")
            info["stall"], info["notes"] = await _advice(client, org, info)
            try:
                info["notes"] += await objections(client, org.name)
            except AssentError as error:  # a node that cannot say this is not silent for that
                info["notes"].append(f"whether others ask to replace our keys is not known: {error}")
    except AssentError as error:
        if running is None:
            other = f"{error}\n  " if isinstance(error, OtherChain | OtherScheme) else ""
            return shown | {"stall": other + _absence(org, "node")}
        if isinstance(error, OtherScheme):
            return shown | {"state": "silent", "stall": began_otherwise(org, error)}
        why = explain_silence(running.pid, running.status(), shown["url"], str(error), str(org.log("node")))
        return shown | {"state": "silent", "stall": why}
    found = shown | {"state": "running"} | {key: info[key] for key in _SHOWN}
    if running is None and info["org"] != org.name:
        return shown | {
            "stall": f"a node of {info['org']!r} has its port, {shown['url']}\n  {_absence(org, 'node')}"
        }
    if info["org"] not in (org.name, ""):
        found["stall"] = str(KeyOfAnother(org.name, info["name"], info["org"]))
    if running is None:
        found["notes"] = [*found["notes"], "its process cannot be seen by this user: another began it"]
    return found


async def _advice(client: Client, org: OrgFolder, info: Any) -> tuple[str, list[str]]:
    """Return why a node stands still and its notes, with the command that helps as it is typed here."""
    lines = [str(info["stall"]), *map(str, info["notes"])]
    locked = ""
    if info["lostVotes"] and not info["seatMoves"]:
        with contextlib.suppress(AssentError):  # then the command itself says when
            locked = await seat_locked(client, info["name"])
        lines = [
            f"{line.partition('; move it')[0]}; {locked}. {UNTIL_THEN}" if locked and REJOIN in line else line
            for line in lines
        ]
    lines = [line.replace(REJOIN, rejoin_command(org)) for line in lines]
    return lines[0], lines[1:]


def _absence(org: OrgFolder, process: str) -> str:
    return explain_absence(process, traces(org, process), org.start_command)


def explain_silence(pid: int, state: str, url: str, error: str, log: str) -> str:
    """Say why a node's process runs and its RPC port does not answer."""
    if state == psutil.STATUS_STOPPED:
        return processes.paused_words("node", pid)
    return (
        f"process {pid} runs, but {url} does not answer ({error}): it may be starting, busy, or out of "
        f"connections; see its log {log}, then restart it"
    )


async def _agent_status(org: OrgFolder) -> dict[str, Any]:
    from privcompute.config import load_agent_config

    shown: dict[str, Any] = {"org": org.name, "state": "stopped", "listen": None, "stall": None}
    try:
        config, files = load_agent_config(org.agent_config)
    except ConfigError as error:
        return shown | {"state": "bad config", "stall": str(error)}
    shown["listen"] = config.peers.listen
    running = processes.find(org, "agent")
    if running is None:
        left = traces(org, "agent")
        state = "unseen" if left.unseen else "stopped"
        return shown | {"state": state, "stall": explain_absence("agent", left, org.start_command)}
    why = _agent_silence(org, running, config.peers.listen)
    if why:
        return shown | {"state": "silent", "stall": why}
    access = _as_agent(org, config, files)
    return shown | {"state": "running", "stall": await _without_node(config.node, files.genesis, access)}


def _agent_silence(org: OrgFolder, running: psutil.Process, listen: str) -> str:
    """Say why an agent's process runs and nobody reaches it; empty for one that listens."""
    with contextlib.suppress(psutil.Error):
        if running.status() == psutil.STATUS_STOPPED:
            return processes.paused_words("agent", running.pid)
    if processes.owns_port(org, "agent", split_address(listen)[1]):
        return ""
    return (
        f"the agent, process {running.pid}, runs and does not listen on {listen}: it may be starting, or "
        f"wait for its node; see its log {org.log('agent')}, then restart it"
    )


def _as_agent(org: OrgFolder, config: AgentConfig, files: AgentFiles) -> NodeAccess:
    """Return how the node is asked that an agent follows: as its operator where that is our own."""
    from privcompute.config import node_access

    with contextlib.suppress(ConfigError):
        if config.node == node_url(org):
            return own_access(*load_node_config(org.node_config))
    return node_access(config, files)


async def _without_node(url: str, genesis: Path, access: NodeAccess | None = None) -> str | None:
    """Say that the node which an agent follows does not answer on this chain; None for one that does."""
    try:
        async with Client(url, load_genesis(genesis), timeout_s=STATUS_S, access=access) as client:
            await client.request("getNodeInfo")
    except AssentError as error:
        return (
            f"the agent runs, and the node that it follows, node = {url!r} in agent.toml, does not answer as "
            f"it should ({error}): no job goes on until it does"
        )
    return None


def _logs_elsewhere(org: OrgFolder, process: str) -> str:
    """Say where the running process logs to, if that can be seen and is not where `assent start` lets it."""
    running = processes.find(org, process)
    try:
        target = "" if running is None else processes.logs_to(running)
    except OSError:  # another user's, or it ended a moment ago: nothing is known, and nothing is claimed
        return ""
    if running is None or target == str(org.log(process).resolve()):
        return ""
    return f"the running process {running.pid} does not log here but to {target}"


def _why_no_log(org: OrgFolder, process: str) -> str:
    """Say what to do where a node or an agent has no log."""
    running = processes.find(org, process)
    if running is None:
        return f"{org.log(process)}: no log yet; start it with: {org.start_command}"
    unseen = f"where the running process {running.pid} logs cannot be seen by this user"
    return f"{org.log(process)}: no log yet; {_logs_elsewhere(org, process) or unseen}"


@click.command()
@folder_argument
@click.argument("org", required=False)
@click.option("--agent", "process", flag_value="agent", help="The agent's log instead of the node's.")
@click.option("--node", "process", flag_value="node", default="node", help="The node's log (default).")
@click.option("-n", "lines", type=click.IntRange(1, 100_000), default=40, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
@click.option("--reopen", is_flag=True, help="After a rotation: let what runs in FOLDER open its logs anew.")
@reports_errors
def logs(folder: Path, org: str | None, process: str, lines: int, follow: bool, reopen: bool) -> None:
    """Show the end of the log of ORG's node or agent in FOLDER, which needs no ORG if it has but one."""
    found = open_consortium(folder).here(org)
    if reopen:
        for item in found.orgs:
            for name in ("node", "agent"):
                if processes.reopen_log(item, name):
                    print_text(f"{item.name}: the {name} opens its log anew")
        return
    if len(found.orgs) > 1:
        raise LayoutError(f"{folder}: whose log? Name one of {[item.name for item in found.orgs]}")
    (chosen,) = found.orgs
    if process == "agent" and not chosen.agent_config.exists():
        raise LayoutError(
            f"{chosen.name} runs no agent: {chosen.agent_config} does not exist; see: assent logs --help"
        )
    path = chosen.log(process)
    elsewhere = _logs_elsewhere(chosen, process)
    if not path.exists():
        raise LayoutError(_why_no_log(chosen, process))
    if elsewhere:
        print_text(f"warning: {elsewhere}; what follows is old", err=True)
    elif note := about_old_log(chosen, process):
        print_lines(f"note: {note}", err=True)
    if follow:
        command = ["tail", "-n", str(lines), "-F", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="backslashreplace") as tail:
            assert tail.stdout is not None
            for line in tail.stdout:
                print_lines(line, newline=False)
    else:
        print_lines(processes.log_tail(chosen, process, lines))
