"""`assent start`, `status`, `stop`, `logs`: the processes of a local consortium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import psutil

from chain.cli import processes
from chain.cli.layout import ConsortiumFolder, LayoutError, OrgFolder, open_consortium
from chain.cli.rejoin import NotYet, needs_rejoin, rejoin
from chain.client.answers import OtherChain
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_lines, print_table, print_text, reports_errors
from chain.client.options import open_session, run
from chain.config import load_node_config
from chain.ledger.genesis import load_genesis
from chain.primitives.errors import AssentError, ConfigError
from chain.primitives.settings import split_address

READY_S = 60.0
SETTLE_S = 5.0
"""How long one organisation's node is given to find the others before `start` goes on without them."""
PAGE_BYTES_MAX = 65_536
PHASE_CHARS = 20
"""So that the table of `status` fits into 80 columns."""

folder_argument = click.argument("folder", type=click.Path(path_type=Path))


def node_url(org: OrgFolder) -> str:
    """Return the RPC address of an organisation's node."""
    return f"http://{load_node_config(org.node_config)[0].rpc.listen}"


def start_consortium(
    consortium: ConsortiumFolder, *, agents: bool = True, whole: bool = True
) -> Iterator[str]:
    """Start what does not run yet and wait until it is ready, yielding a line a process.

    Each node must answer for itself on its port (ProcessError). One that answers and lacks others, as the
    first of several hosts does, is said to wait for them: that is NotReady only if the `whole` was started.
    """
    check_configurations(consortium, agents=agents)
    started = {org.name: processes.start(org, "node") for org in consortium.orgs}
    for org in consortium.orgs:
        processes.wait_until(org, "node", lambda org=org: _alive(org), READY_S)  # type: ignore[misc]
    late = []
    end = time.monotonic() + (READY_S if whole else SETTLE_S)
    for org in consortium.orgs:
        word = "started" if started[org.name] else "was running"
        why = processes.until(org, "node", lambda org=org: why_not_ready(org), end)  # type: ignore[misc]
        yield f"{org.name}: node {word}, RPC at {node_url(org)}" + (f"; not ready yet: {why}" if why else "")
        late += [org.name] if why and whole else []
    unmoved = []
    for org in consortium.orgs:
        done, moved = _rejoined(org)
        if done:
            yield f"{org.name}: {done}"
        if not moved:
            unmoved.append(org.name)
    for org in consortium.orgs:
        if agents and org.agent_config.exists():
            fresh = processes.start(org, "agent")
            yield f"{org.name}: agent {'started' if fresh else 'was running'}"
    if late:
        raise processes.NotReady(
            f"{', '.join(late)}: not ready after {READY_S:.0f} s, for what is said above"
        )
    if unmoved:
        raise NotYet(f"{', '.join(unmoved)}: started, but without a vote until done what is said above")


def check_configurations(consortium: ConsortiumFolder, *, agents: bool = True) -> None:
    """Raise ConfigError with every fault of every organisation's files, before anything is started."""
    from privcompute.config import load_agent_config

    faults = []
    for org in consortium.orgs:
        loads: list[tuple[Path, Callable[[Path], Any]]] = [(org.node_config, load_node_config)]
        loads += [(org.agent_config, load_agent_config)] if agents and org.agent_config.exists() else []
        for path, load in loads:
            try:
                load(path)
            except ConfigError as error:
                faults.append(f"{org.name}: {error}")
    if faults:
        raise ConfigError("\n".join([*faults, "nothing was started; mend that, then start again"]))


def _rejoined(org: OrgFolder) -> tuple[str, bool]:
    """Give a node that lost its votes a seat again where the admin key is here, else say how.

    Returns what was done or is to do, empty where nothing was lost, and whether that is settled.
    """
    by_hand = f"assent validator rejoin --as {shlex.quote(str(org.path))}"

    async def work() -> str:
        async with open_session(org.path, None, None, None).account() as account:
            return str(await rejoin(account)) if await needs_rejoin(account) else ""

    try:
        return run(work()), True
    except NotYet as error:
        return f"{error} ({by_hand})", False
    except (AssentError, OSError) as error:
        why = f"whether its node has its votes could not be told ({error}); if it lost them: {by_hand}"
        return why, not org.key("admin").exists()  # whoever holds the key elsewhere does it there


def stop_consortium(consortium: ConsortiumFolder) -> Iterator[str]:
    """Stop every agent, then every node, yielding a line a process that ran."""
    for process in ("agent", "node"):
        for org in consortium.orgs:
            if processes.stop(org, process):
                yield f"{org.name}: {process} stopped"


def _alive(org: OrgFolder) -> bool:
    """Tell whether the organisation's own node answers: another may have its port."""
    port = split_address(load_node_config(org.node_config)[0].rpc.listen)[1]
    return processes.owns_port(org, "node", port) and _page(org, "/health").get("status") == "alive"


def why_not_ready(org: OrgFolder) -> str:
    """Return why a node that answers is not ready; nothing for one that needs a new key for its votes."""
    page = _page(org, "/ready")
    if page.get("ready") is True:
        return ""

    async def lost_votes() -> bool:
        async with Client(node_url(org), load_genesis(load_node_config(org.node_config)[1].genesis)) as node:
            return bool((await node.request("getNodeInfo"))["lostVotes"])

    with contextlib.suppress(AssentError):
        if run(lost_votes()):
            return ""
    return str(page.get("reason") or "it does not answer")


def _page(org: OrgFolder, path: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(node_url(org) + path, timeout=2) as answer:
            found = json.loads(answer.read(PAGE_BYTES_MAX))
    except urllib.error.HTTPError as refusal:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(refusal.read(PAGE_BYTES_MAX))
            return found if isinstance(found, dict) else {}
        return {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@click.command()
@folder_argument
@click.option("--org", "only", help="Start only this organisation's processes.")
@json_option
@reports_errors
def start(folder: Path, only: str | None, as_json: bool) -> None:
    """Start the nodes and agents of the consortium in FOLDER; those that run are left alone."""
    consortium = _chosen(open_consortium(folder), only)
    lines = []
    for line in start_consortium(consortium, whole=only is None):
        lines.append(line)
        if not as_json:
            print_text(line)
    if as_json:
        print_json({"started": lines})
    else:
        print_text(f"next: assent status {shlex.quote(str(folder))}")


@click.command()
@folder_argument
@click.option("--org", "only", help="Stop only this organisation's processes.")
@json_option
@reports_errors
def stop(folder: Path, only: str | None, as_json: bool) -> None:
    """Stop the agents and nodes of the consortium in FOLDER cleanly."""
    lines = list(stop_consortium(_chosen(open_consortium(folder), only)))
    if as_json:
        print_json({"stopped": lines})
    else:
        print_lines("\n".join(lines) or f"{folder}: nothing was running")


def _chosen(consortium: ConsortiumFolder, only: str | None) -> ConsortiumFolder:
    return consortium if only is None else ConsortiumFolder(consortium.path, (consortium.org(only),))


@click.command()
@folder_argument
@json_option
@reports_errors
def status(folder: Path, as_json: bool) -> None:
    """Show the nodes and agents of the consortium in FOLDER, and why it stands still if it does."""
    consortium = open_consortium(folder)

    async def work() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(_node_status(org) for org in consortium.orgs)))

    nodes = run(work())
    agents = [_agent_status(org) for org in consortium.orgs if org.agent_config.exists()]
    if as_json:
        print_json({"nodes": nodes, "agents": agents})
        return
    highest = max((node["height"] or 0 for node in nodes), default=0)
    rows = [
        [n["org"], n["state"], n["height"], None if n["height"] is None else highest - n["height"],
         n["view"], n["primary"], n["peers"], n["pool"], few_words(n)]
        for n in nodes
    ]  # fmt: skip
    columns = ["org", "state", "#height", "#lag", "#view", "primary", "#peers", "#pool", "phase"]
    print_table("nodes", columns, rows)
    if agents:
        print_table(
            "agents", ["org", "state", "listens"], [[a["org"], a["state"], a["listen"]] for a in agents]
        )
    for orgs, why in grouped([*nodes, *agents]):
        print_lines(f"{', '.join(orgs)}: {why}")
    for line, orgs in told_by(nodes).items():
        print_text(f"{', '.join(orgs)}: {line}")
    for node in nodes:
        for offence in node["offences"] or ():
            print_text(f"{node['org']} has trouble with {offence}")


def few_words(node: dict[str, Any]) -> str:
    """Return a node's phase for a table's cell; what holds it up stands in full below the table."""
    if node["stall"]:
        return "see below"
    words = re.split("[:;,]", node["phase"] or "")[0]
    return words if len(words) <= PHASE_CHARS else words[: PHASE_CHARS - 1] + "…"


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


_SHOWN = ("height", "view", "primary", "peers", "pool", "phase", "stall", "notes", "offences")


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
        async with Client(shown["url"], genesis, timeout_s=3.0) as client:
            info = await client.request("getNodeInfo")
    except AssentError as error:
        if running is None:
            other = f"; {error}" if isinstance(error, OtherChain) else ""
            return shown | {"stall": _absence(org, "node") + other}
        why = explain_silence(running.pid, running.status(), shown["url"], str(error), str(org.log("node")))
        return shown | {"state": "silent", "stall": why}
    found = shown | {"state": "running"} | {key: info[key] for key in _SHOWN}
    if running is None and info["org"] != org.name:
        return shown | {"stall": f"{_absence(org, 'node')}; a node of {info['org']!r} has its port"}
    if running is None:
        found["notes"] = [*found["notes"], "its process cannot be seen by this user: another began it"]
    return found


def _absence(org: OrgFolder, process: str) -> str:
    start_it = f"assent start {shlex.quote(str(org.path.parent))} --org {org.name}"
    return explain_absence(process, processes.log_tail(org, process, 10), start_it)


def explain_absence(process: str, log_end: str, start_it: str) -> str:
    """Say why a node or an agent does not run, from the end of its log, and how to start it."""
    errors = [line for line in log_end.splitlines() if line.startswith("error [")]
    last = log_end.splitlines()[-1] if log_end else ""
    if errors and errors[-1] == last:
        return f"the {process} stopped by itself: {last}\n  once that is mended: {start_it}"
    return f"the {process} does not run; start it with: {start_it}"


def explain_silence(pid: int, state: str, url: str, error: str, log: str) -> str:
    """Say why a node's process runs and its RPC port does not answer."""
    if state == psutil.STATUS_STOPPED:
        return f"process {pid} is paused (SIGSTOP, or a debugger): continue it with: kill -CONT {pid}"
    return (
        f"process {pid} runs, but {url} does not answer ({error}): it may be starting, busy, or out of "
        f"connections; see its log {log}, then restart it"
    )


def _agent_status(org: OrgFolder) -> dict[str, Any]:
    from privcompute.config import load_agent_config

    try:
        config, _ = load_agent_config(org.agent_config)
    except ConfigError as error:
        return {"org": org.name, "state": "bad config", "listen": None, "stall": str(error)}
    shown = {"org": org.name, "state": "running", "listen": config.peers.listen, "stall": None}
    if processes.find(org, "agent") is None:
        shown |= {"state": "stopped", "stall": _absence(org, "agent")}
    return shown


@click.command()
@folder_argument
@click.argument("org")
@click.option("--agent", "process", flag_value="agent", help="The agent's log instead of the node's.")
@click.option("--node", "process", flag_value="node", default="node", help="The node's log (default).")
@click.option("-n", "lines", type=click.IntRange(1, 100_000), default=40, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
@reports_errors
def logs(folder: Path, org: str, process: str, lines: int, follow: bool) -> None:
    """Show the end of the log of ORG's node or agent in FOLDER."""
    chosen = open_consortium(folder).org(org)
    path = chosen.log(process)
    if not path.exists():
        raise LayoutError(f"{path}: no log yet; start it with: assent start {shlex.quote(str(folder))}")
    if follow:
        command = ["tail", "-n", str(lines), "-F", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="backslashreplace") as tail:
            assert tail.stdout is not None
            for line in tail.stdout:
                print_lines(line, newline=False)
    else:
        print_lines(processes.log_tail(chosen, process, lines))
