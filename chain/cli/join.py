"""`assent org new`: the folder of an organisation that is to join a running consortium."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

import click

from chain.cli.key import prove_key
from chain.cli.layout import MARKER, LayoutError, OrgFolder, open_consortium, write_consortium
from chain.cli.orgfiles import whole_folder, write_configuration, write_keys
from chain.cli.outgoing import warning_of
from chain.client.console import json_option, print_json, print_text, reports_errors
from chain.config import load_node_config
from chain.ledger.genesis import ORG_ID, Genesis, load_genesis, save_genesis
from chain.primitives.errors import ConfigError
from chain.primitives.keyfile import load_key
from chain.primitives.onechange import one_change
from chain.primitives.settings import split_address

DEFAULT_PORT = 30_900


@click.command("new")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--genesis", type=click.Path(path_type=Path), required=True, help="The genesis file of the consortium."
)
@click.option(
    "--base-port",
    type=click.IntRange(0, 65_000),
    default=DEFAULT_PORT,
    show_default=True,
    help="First of three ports. 0 takes free ones.",
)
@click.option("--computes", is_flag=True, help="It runs an agent, too.")
@json_option
@reports_errors
def new(folder: Path, genesis: Path, base_port: int, computes: bool, as_json: bool) -> None:
    """Make keys and configuration in FOLDER, named after the organisation, and say how it joins.

    FOLDER holds a copy of the genesis, too: it is complete, and may be moved to another host.
    """
    from chain.cli.init import org_ports  # loads numpy, which others do not need

    trusted = load_genesis(genesis)
    if ORG_ID.fullmatch(folder.name) is None:
        raise ConfigError(f"{folder}: {folder.name!r} is not an organisation id; use {ORG_ID.pattern}")
    if folder.exists():
        raise LayoutError(f"{folder}: exists already; name another folder, or remove it first")
    marker, org = folder.parent / MARKER, OrgFolder(folder)
    with one_change(marker) if marker.exists() else contextlib.nullcontext():
        known = _known(folder.parent, trusted, genesis) if marker.exists() else None
        (ports,) = org_ports(1, base_port)
        with whole_folder(folder) as draft:
            write_keys(OrgFolder(draft), computes)
            write_configuration(OrgFolder(draft), org.name, ports, computes, "genesis.json")
            save_genesis(draft / "genesis.json", trusted)
        if known is not None:
            write_consortium(folder.parent, [*known, org.name])
    steps = _steps(org, trusted.chain_id, ports, computes)
    used = ports if computes else ports[:2]
    warning = warning_of(split_address(address)[1] for address in used)
    if as_json:
        print_json({"folder": str(folder), "org": org.name, "steps": steps, "warning": warning})
        return
    if warning:
        print_text(warning)
    print_text(f"created {folder}; a member sends, the others approve and one commits, in this order:")
    for step in steps:
        print_text(f"  {step}")
    print_text(
        "once admitted it has a vote; until its own node runs, it votes through a member's node: "
        f"assent proposal approve NUMBER --node http://HOST:PORT --genesis {genesis} --key {org.key('admin')}"
    )


def _known(around: Path, trusted: Genesis, genesis: Path) -> list[str]:
    """Return the organisations of a folder; raise LayoutError for another chain."""
    known = [item.name for item in open_consortium(around).orgs]
    if load_genesis(around / "genesis.json") != trusted:
        raise LayoutError(f"{around}: has another genesis than {genesis}; make the folder elsewhere")
    return known


def _steps(org: OrgFolder, chain_id: bytes, ports: tuple[str, str, str], computes: bool) -> list[str]:
    """Return the commands by which an organisation and its node join; its keys come with their proofs."""
    roles = "owner,user,compute,operator" if computes else "auditor,operator"
    held = ("admin", "node", "agent") if computes else ("admin", "node")
    keys = {role: prove_key(load_key(org.key(role)), chain_id, org.name) for role in held}
    agent = f" --agent-key {keys['agent']} --agent-address {ports[2]}" if computes else ""
    return [
        f"assent org propose-admit {org.name} --name {org.name} --roles {roles} "
        f"--admin-key {keys['admin']}{agent}",
        f"assent validator add {org.name}-node --org {org.name} --node-key {keys['node']} "
        f"--address {load_node_config(org.node_config)[0].network.listen}",
        f"assent node run --config {shlex.quote(str(org.node_config))}",
        f"assent validator set-role {org.name}-node validator",
    ]
