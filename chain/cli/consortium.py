"""`assent start`, `assent stop`: the processes of a local consortium."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from chain.cli import processes
from chain.cli.governing import NotThere
from chain.cli.layout import ConsortiumFolder, OrgFolder, open_consortium
from chain.cli.rejoin import NotYet, needs_rejoin, rejoin
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_lines, print_text, reports_errors
from chain.client.options import open_session, run
from chain.config import load_node_config
from chain.ledger.genesis import load_genesis
from chain.node.watch import REJOIN
from chain.primitives.errors import AssentError, ConfigError
from chain.primitives.settings import split_address

READY_S = 60.0
SETTLE_S = 5.0
"""How long one organisation's node is given to find the others before `start` goes on without them."""
PAGE_BYTES_MAX = 65_536

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
        done, muted = _rejoined(org)
        if done:
            yield f"{org.name}: {done}"
        if muted:
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

    Returns what was done or is to do, empty where nothing was lost, and whether the node is known to give no
    vote. The node is asked first, which needs no key: most nodes have their votes.
    """
    by_hand = rejoin_command(org)
    session = open_session(org.path, None, None, None)

    async def lost() -> bool:
        async with session.client() as client:
            return await needs_rejoin(client)

    async def move() -> str:
        async with session.account() as account:
            return str(await rejoin(account))

    try:
        if not run(lost()):
            return "", False
    except NotYet as error:
        return f"{error} ({by_hand})", True
    except NotThere:
        return "", False  # no member's node, as `why_not_ready` says: it has no votes to lose
    except (AssentError, OSError) as error:
        return f"whether its node has its votes is not known ({error}); if it lost them: {by_hand}", False
    try:
        return run(move()), False
    except NotYet as error:
        return f"{error} ({by_hand})", True
    except (AssentError, OSError) as error:
        return f"its node lost its votes, and its seat could not be moved ({error}); next: {by_hand}", True


def rejoin_command(org: OrgFolder) -> str:
    """Return the command that moves the seat of an organisation's node to its spare key."""
    return f"{REJOIN} --as {shlex.quote(str(org.path))}"


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
    """Start the nodes and agents of the consortium in FOLDER; those that run are left alone.

    FOLDER may be that of one organisation, and those that are not on this host are left out.
    """
    found = open_consortium(folder)
    lines = [] if only else [f"{name}: not on this host" for name in found.elsewhere]
    if not as_json:
        print_lines("\n".join(lines), newline=bool(lines))
    for line in start_consortium(found.here(only), whole=only is None and found.whole):
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
    """Stop the agents and nodes of the consortium, or of the one organisation, in FOLDER cleanly."""
    lines = list(stop_consortium(open_consortium(folder).here(only)))
    if as_json:
        print_json({"stopped": lines})
    else:
        print_lines("\n".join(lines) or f"{folder}: nothing was running")
