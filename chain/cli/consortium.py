"""`assent start`, `assent stop`: the processes of a local consortium."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import click

from chain.cli import processes
from chain.cli.absence import cut_off
from chain.cli.governing import NotThere
from chain.cli.key import public_key
from chain.cli.layout import ConsortiumFolder, OrgFolder, open_consortium
from chain.cli.rejoin import KeyOfAnother, NotYet, needs_rejoin, rejoin
from chain.client.answers import OtherScheme
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_lines, print_text, reports_errors
from chain.client.options import open_session, own_access, own_url, run
from chain.config import load_node_config
from chain.ledger.genesis import Genesis, load_genesis
from chain.node.watch import REJOIN
from chain.primitives.errors import AssentError, ConfigError
from chain.primitives.settings import split_address

READY_S = 60.0
"""How long a process may show no sign that it works on its start, and nodes that answer may not be ready."""
START_MAX_S = 900.0
"""Longer than this a start takes on no host, however busy."""
SAY_S = 10.0
"""What is waited for longer than this is said."""
SETTLE_S = 5.0
"""How long one organisation's node is given to find the others before `start` goes on without them."""
PAGE_S = 2.0

folder_argument = click.argument("folder", type=click.Path(path_type=Path))


def node_url(org: OrgFolder) -> str:
    """Return the RPC address of an organisation's node."""
    return own_url(load_node_config(org.node_config)[0])


def own_client(org: OrgFolder, genesis: Genesis | None = None, *, timeout_s: float = 10.0) -> Client:
    """Return a client of an organisation's own node, as its operator."""
    config, files = load_node_config(org.node_config)
    return Client(own_url(config), genesis, timeout_s=timeout_s, access=own_access(config, files))


Begun = dict[tuple[str, str], tuple[OrgFolder, str]]
"""(Organisation, process) -> its folder and a note: what a call has begun and has not told of yet."""


def start_consortium(
    consortium: ConsortiumFolder, *, agents: bool = True, whole: bool = True
) -> Iterator[str]:
    """Start what does not run yet and wait until it is ready, yielding a line a process.

    Each node and agent must listen on its own port (ProcessError). A node that answers and lacks others, as
    the first of several hosts does, is said to wait for them: that is NotReady only if the `whole` was
    started. Where one of them fails, those that were begun and not waited for are said before that.
    """
    check_configurations(consortium, agents=agents)
    begun: Begun = {}
    try:
        late = yield from _start_nodes(consortium, begun, READY_S if whole else SETTLE_S)
        unmoved = yield from _give_seats(consortium)
        if agents:
            yield from _start_agents(consortium, begun, late)
    except AssentError:
        for (_, process), (org, _note) in begun.items():
            if processes.find(org, process) is not None:
                yield f"{org.name}: {process} begun, and not waited for"
        raise
    if late and whole:
        raise processes.NotReady(
            f"{', '.join(late)}: not ready after {READY_S:.0f} s, for what is said above"
        )
    if unmoved:
        raise NotYet(f"{', '.join(unmoved)}: started, but without a vote until done what is said above")


def _start_nodes(
    consortium: ConsortiumFolder, begun: Begun, seconds: float
) -> Generator[str, None, list[str]]:
    """Start the nodes and wait until each answers, and so long until it is ready; return who is not."""
    for org in consortium.orgs:
        _begin(org, "node", begun)
    for org in consortium.orgs:
        yield from _wait(org, "node", lambda org=org: _alive(org), f"to answer at {node_url(org)}")  # type: ignore[misc]
    late = []
    end = time.monotonic() + seconds
    for org in consortium.orgs:
        why = processes.until(org, "node", lambda org=org: why_not_ready(org), end)  # type: ignore[misc]
        word = _word(org, "node", begun)
        yield f"{org.name}: node {word}, RPC at {node_url(org)}" + (f"; not ready yet: {why}" if why else "")
        late += [org.name] if why else []
    return late


def _give_seats(consortium: ConsortiumFolder) -> Generator[str, None, list[str]]:
    """Give nodes that lost their votes a seat again; return those that got none.

    Raises KeyOfAnother once all are told.
    """
    unmoved = []
    strangers: list[KeyOfAnother] = []
    for org in consortium.orgs:
        try:
            done, muted = _rejoined(org)
        except KeyOfAnother as error:
            strangers.append(error)
            continue
        if done:
            yield f"{org.name}: {done}"
        unmoved += [org.name] if muted else []
    if strangers:
        strangers[0].args = ("\n".join(map(str, strangers)),)
        raise strangers[0]
    return unmoved


def _start_agents(consortium: ConsortiumFolder, begun: Begun, late: list[str]) -> Iterator[str]:
    """Start the agents, and wait until each listens: it does so once its node and the ledger know it.

    The agent of a node that is `late` waits for that node, so it is only seen to go on.
    """
    own = [org for org in consortium.orgs if org.agent_config.exists()]
    for org in own:
        _begin(org, "agent", begun)
    for org in own:
        waits = ""
        if org.name in late:
            words = "; it listens once its node is ready"
            why = lambda org=org, words=words: "" if agent_listens(org) else words  # noqa: E731
            waits = processes.until(org, "agent", why, time.monotonic() + SETTLE_S)
        else:
            where = f"to listen on {agent_address(org)}"
            yield from _wait(org, "agent", lambda org=org: agent_listens(org), where)  # type: ignore[misc]
        yield f"{org.name}: agent {_word(org, 'agent', begun)}{waits}"


def _wait(org: OrgFolder, process: str, ready: Callable[[], bool], what: str) -> Iterator[str]:
    """Wait for the sign that a process has started, as long as it works on that; say what if it is long."""
    if processes.until(org, process, lambda: "" if ready() else what, time.monotonic() + SAY_S):
        yield f"{org.name}: waiting for the {process} {what}; its log is {org.log(process)}"
        processes.wait_until(org, process, ready, READY_S, most_s=START_MAX_S)


def _begin(org: OrgFolder, process: str, begun: Begun) -> None:
    note = cut_off(org, process)
    if processes.start(org, process):
        begun[org.name, process] = (org, note)


def _word(org: OrgFolder, process: str, begun: Begun) -> str:
    """Say whether a process was begun, which is told with this, and whether its run before was cut off."""
    found = begun.pop((org.name, process), None)
    return "was running" if found is None else f"started{found[1]}"


def _other_scheme(org: OrgFolder) -> list[str]:
    """Name the agent's `node` where that is its own node's port, asked otherwise than it answers."""
    from privcompute.config import load_agent_config

    asked, own = load_agent_config(org.agent_config)[0].node, own_url(load_node_config(org.node_config)[0])
    (scheme, where), (own_scheme, own_where) = (url.split("://") for url in (asked, own))
    if where != own_where or scheme == own_scheme:
        return []
    tls = "true" if own_scheme == "https" else "false"
    why = f"its node answers at {own}, since {org.node_config} has [rpc] tls = {tls}"
    return [f"{org.name}: {org.agent_config}: node = {asked!r}: {why}: write node = {own!r}"]


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
        with contextlib.suppress(AssentError):  # what cannot be read, the node itself says
            faults += _foreign_key(org)
        with contextlib.suppress(AssentError):
            faults += _other_scheme(org) if agents and org.agent_config.exists() else []
    if faults:
        raise ConfigError("\n".join([*faults, "nothing was started; mend that, then start again"]))


def _foreign_key(org: OrgFolder) -> list[str]:
    """Return the fault that genesis lists a node's key as another organisation's; nothing if it does not."""
    files = load_node_config(org.node_config)[1]
    own = public_key(str(files.key), "files.key")
    founders = load_genesis(files.genesis).validators
    return [
        str(KeyOfAnother(org.name, node.name, node.org))
        for node in founders
        if node.public_key == own and node.org != org.name
    ]


def _rejoined(org: OrgFolder) -> tuple[str, bool]:
    """Give a node that lost its votes a seat again where the admin key is here, else say how.

    Returns what was done or is to do, empty where nothing was lost, and whether the node is known to give no
    vote. The node is asked first, which needs no key: most nodes have their votes.
    """
    by_hand = rejoin_command(org)
    session = open_session(org.path, None, None, None)

    async def lost() -> bool:
        async with session.client() as client:
            return await needs_rejoin(client, org.name)

    async def move() -> str:
        async with session.account() as account:
            return str(await rejoin(account))

    try:
        if not run(lost()):
            return "", False
    except KeyOfAnother:
        raise
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
    """Stop every agent, then every node, yielding a line a process that ran.

    One that cannot be stopped keeps none of the others from it: it is told at the end (ProcessError).
    """
    left: list[processes.ProcessError] = []
    for process in ("agent", "node"):
        for org in consortium.orgs:
            try:
                how = processes.stop(org, process)
            except processes.ProcessError as error:
                left.append(error)
                continue
            if how:
                yield f"{org.name}: {process} {how}"
    if left:
        left[0].args = ("\n".join(map(str, left)),)
        raise left[0]


def agent_listens(org: OrgFolder) -> bool:
    """Tell whether the organisation's own agent has the port that its configuration names."""
    return processes.owns_port(org, "agent", split_address(agent_address(org))[1])


def agent_address(org: OrgFolder) -> str:
    """Return the address at which an organisation's agent listens for others."""
    from privcompute.config import load_agent_config

    return load_agent_config(org.agent_config)[0].peers.listen


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
        async with own_client(org, load_genesis(load_node_config(org.node_config)[1].genesis)) as node:
            return bool((await node.request("getNodeInfo"))["lostVotes"])

    with contextlib.suppress(AssentError):
        if run(lost_votes()):
            return ""
    return str(page.get("reason") or "it does not answer")


def _page(org: OrgFolder, path: str) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        async with own_client(org, timeout_s=PAGE_S) as client:
            return await client.page(path)

    try:
        return run(ask())
    except OtherScheme as error:
        raise ConfigError(f"{org.name}: {began_otherwise(org, error)}") from None
    except AssentError:
        return {}


def began_otherwise(org: OrgFolder, error: OtherScheme) -> str:
    """Say of a node that does not answer as its folder tells that the folder was changed since it began."""
    folder = shlex.quote(str(org.path))
    return (
        f"{error.seen}, and {org.node_config} says otherwise: it was changed since the node began; end the "
        f"node and begin it anew: assent stop {folder}, then {org.start_command}"
    )


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
    lines += _told(start_consortium(found.here(only), whole=only is None and found.whole), as_json)
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
    """Stop the agents and nodes of what is in FOLDER: cleanly, or by force after 15 s."""
    lines = _told(stop_consortium(open_consortium(folder).here(only)), as_json)
    if as_json:
        print_json({"stopped": lines})
    elif not lines:
        whose = "nothing" if only is None else f"nothing of {only}"
        print_text(f"{folder}: {whose} was running")


def _told(done: Iterator[str], as_json: bool) -> list[str]:
    """Return what is done, each line printed as it happens; of an error in JSON it becomes a part."""
    lines: list[str] = []
    try:
        for line in done:
            lines.append(line)
            if not as_json:
                print_text(line)
    except AssentError as error:
        if as_json and lines:
            error.args = ("\n".join([str(error), "done before:", *lines]),)
        raise
    return lines
