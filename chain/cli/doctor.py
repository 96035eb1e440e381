"""`assent doctor`: whether an organisation's host is as it must be for its node and agent to run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import Any

import click

from chain.cli.consortium import (
    began_otherwise,
    check_configurations,
    folder_argument,
    own_client,
    rejoin_command,
)
from chain.cli.doctor_checks import (
    DOUBTFUL,
    FINE,
    WRONG,
    Diagnosis,
    check_access_log,
    check_certificate,
    check_clock,
    check_disks,
    check_genesis,
    check_keys,
    check_libraries,
    check_limits,
    check_own_address,
    check_peers,
    check_ports,
    check_python,
    check_secrets,
    check_tokens,
    check_writable,
    fine,
    judge_head,
    now_ms,
)
from chain.cli.governing import objections
from chain.cli.layout import ConsortiumFolder, OrgFolder, open_consortium
from chain.cli.stall_check import VALIDATOR, nodes_of
from chain.client.answers import NodeUnreachable, OtherScheme
from chain.client.console import json_option, print_folded, print_json, print_text, reports_errors
from chain.client.options import run
from chain.config import NodeConfig, NodeFiles, load_node_config
from chain.ledger.genesis import Genesis, load_genesis
from chain.node.watch import REJOIN
from chain.primitives.errors import AssentError, Exit

ASK_S = 3.0
"""How long the organisation's own node is given to answer."""
WORST = (Exit.DAMAGED, Exit.CONFIG, Exit.IO, Exit.NO_QUORUM, Exit.UNREACHABLE, Exit.REFUSED)
"""Statuses of what may be wrong, the one that a supervisor must heed most first."""


@click.command()
@folder_argument
@click.option("--org", "only", help="Examine only this organisation's part.")
@json_option
@reports_errors
def doctor(folder: Path, only: str | None, as_json: bool) -> None:
    """Examine the host of the organisation in FOLDER: one line a check, and one remedy where it is needed.

    It changes nothing, and needs no node to run. The status is 0 unless something is wrong.
    """
    consortium = open_consortium(folder).here(only)
    told: list[tuple[str | None, Diagnosis]] = [(None, check_python()), (None, check_libraries())]
    told.append((None, fine("assent", version("assent"))))
    for org in consortium.orgs:
        told += [(org.name, item) for item in run(_examine(org))]
    status = status_of([item for _, item in told])
    if as_json:
        checks = [{"org": org} | {name: getattr(item, name) for name in _SHOWN} for org, item in told]
        print_json({"folder": str(folder), "status": status, "checks": checks})
    else:
        _print(told, len(consortium.orgs) > 1)
    sys.exit(status)


_SHOWN = ("check", "verdict", "said", "remedy")


def status_of(found: Sequence[Diagnosis]) -> int:
    """Return the exit status of what was found: that of the worst that is wrong, 0 where nothing is."""
    wrong = {item.exit for item in found if item.verdict == WRONG}
    return next((int(status) for status in WORST if status in wrong), 0)


def _print(told: Sequence[tuple[str | None, Diagnosis]], many: bool) -> None:
    for org, item in told:
        whose = f"{org}: " if many and org else ""
        print_folded(f"{item.verdict:<9} {whose}{item.check}: {item.said}", under=10)
        if item.remedy:
            print_folded(f"{'':<9} → {item.remedy}", under=12)
    counts = {word: sum(item.verdict == word for _, item in told) for word in (FINE, DOUBTFUL, WRONG)}
    print_text(", ".join(f"{number} {word}" for word, number in counts.items()))


async def _examine(org: OrgFolder) -> list[Diagnosis]:
    """Return what is found of one organisation; what needs a file that cannot be read is left out."""
    from privcompute.config import load_agent_config

    try:
        check_configurations(ConsortiumFolder(org.path, (org,)))
    except AssentError as error:
        said, _, remedy = str(error).rpartition("\n")
        return [Diagnosis("configuration", WRONG, said, remedy)]
    config, files = load_node_config(org.node_config)
    agent = load_agent_config(org.agent_config) if org.agent_config.exists() else None
    found = [fine("configuration", "node.toml and agent.toml" if agent else "node.toml; it runs no agent")]
    listens = [("node", "network.listen", config.network.listen), ("node", "rpc.listen", config.rpc.listen)]
    folders = [files.data_dir, org.path]
    if agent:
        listens.append(("agent", "peers.listen", agent[0].peers.listen))
        folders.append(agent[1].data_dir)
    found += [*check_keys(org, files, agent[1].key if agent else None), check_writable(folders)]
    if config.rpc.tls and files.rpc_pair is not None:
        found.append(check_certificate(files.rpc_pair, now_ms()))
    if config.rpc.principals or files.tokens.exists():
        found.append(check_tokens(org.node_config, files.tokens, config.rpc.principals, now_ms()))
        found.append(check_secrets(files))
    if files.access_log is not None:
        found.append(check_access_log(files.access_log))
    found += [*check_ports(org, listens), *check_disks(folders)]
    try:
        genesis = load_genesis(files.genesis)
    except AssentError as error:
        remedy = "put there the genesis of the chain: from a member, or by assent found install"
        return [*found, Diagnosis("genesis", WRONG, str(error), remedy)]
    return [*found, *await _about_the_chain(org, config, files, genesis)]


async def _about_the_chain(
    org: OrgFolder, config: NodeConfig, files: NodeFiles, genesis: Genesis
) -> list[Diagnosis]:
    found = [check_genesis(org, files, genesis), check_clock(genesis, now_ms())]
    nodes: list[dict[str, Any]] = [
        {"name": v.name, "org": v.org, "address": v.address} for v in genesis.validators
    ]
    runs = False
    try:
        async with own_client(org, genesis, timeout_s=ASK_S) as client:
            info = await client.request("getNodeInfo")
            found.append(
                judge_head(await client.page("/head"), genesis.chain_id, str(info.get("key")), now_ms())
            )
            nodes = [node for node in await nodes_of(client) if node["role"] == VALIDATOR]
            for said, remedy in map(halves, await objections(client, org.name)):
                found.append(Diagnosis("admin keys", DOUBTFUL, said, f"{remedy} --as {quote(str(org.path))}"))
        runs = True
        found += _about_the_node(org, info)
    except OtherScheme as error:
        said, remedy = halves(began_otherwise(org, error))
        found.append(Diagnosis("node", WRONG, said, remedy, error.exit))
    except NodeUnreachable:
        found.append(Diagnosis("node", DOUBTFUL, "it does not run, or does not answer", org.start_command))
    except AssentError as error:
        found.append(Diagnosis("node", WRONG, str(error), f"see: assent status {org.path}", error.exit))
    found += check_limits(config, len(nodes))
    others = [(node["name"], node["address"]) for node in nodes if node["org"] != org.name]
    found.append(await check_peers(others, len(nodes)))
    if runs:  # nobody listens otherwise
        found += [await check_own_address(node["address"]) for node in nodes if node["org"] == org.name]
    return found


def halves(words: str) -> tuple[str, str]:
    """Return what a node says is wrong, and what to do: its last sentence, or what follows a semicolon."""
    said, end, remedy = words.rpartition(". ")
    if not end:
        said, _, remedy = words.partition("; ")
    return said, remedy


def _about_the_node(org: OrgFolder, info: Any) -> Iterator[Diagnosis]:
    own = version("assent")
    if info.get("version") != own:
        said = f"it runs Assent {info.get('version')}, and installed is {own}"
        yield Diagnosis("node", DOUBTFUL, said, f"assent stop {org.path}, then: {org.start_command}")
    said, remedy = halves(str(info.get("stall", "")))
    if said:
        yield Diagnosis("node", WRONG, said, remedy or f"see: assent status {org.path}", Exit.NO_QUORUM)
    else:
        yield fine("node", f"it runs, at height {info.get('height')}, with {info.get('peers')} peers")
    for note in info.get("notes", ()):
        said, remedy = halves(str(note).replace(REJOIN, rejoin_command(org)))
        yield Diagnosis("node", DOUBTFUL, said, remedy or f"see: assent status {org.path}")
