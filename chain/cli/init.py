"""`assent init`: keys, genesis and one folder per organisation for a local trial on this machine.

Organisations that found a chain with one another use `assent found`: there each makes its own keys.
"""

from __future__ import annotations

import errno
import random
import re
import shlex
import socket
import time
from pathlib import Path

import click

from chain.cli.layout import ConsortiumFolder, LayoutError, OrgFolder, open_consortium, write_consortium
from chain.cli.orgfiles import whole_folder, write_configuration, write_keys
from chain.cli.outgoing import warning_of
from chain.client.console import json_option, print_json, print_text, reports_errors
from chain.config import NodeConfig, NodeFiles, load_node_config
from chain.founding.founders import COMPUTING, WATCHING, Founder, SystemContracts, found_genesis
from chain.ledger.genesis import ORG_ID, Genesis, Limits, save_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import ConfigError
from chain.primitives.keyfile import load_key, save_key
from chain.primitives.settings import split_address
from chain.primitives.words import counted
from contracts.system import default_init, sources
from privcompute.config import load_agent_config

PORTS_PER_ORG = 10
FREE_PORTS = range(15_000, 30_000)
COMPUTE_AGENTS = 3
"""`rep3` computes among three organisations."""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--orgs", required=True, help="Organisations, separated by commas: bank,bureau,registry,regulator."
)
@click.option("--agents", help="Those that compute; by default the first three. The others are auditors.")
@click.option(
    "--base-port",
    type=click.IntRange(0, 65_000),
    default=30_300,
    show_default=True,
    help="First port; each organisation takes ten. 0 takes free ports.",
)
@click.option("--name", default="consortium", show_default=True, help="Name of the chain.")
@json_option
@reports_errors
def init(folder: Path, orgs: str, agents: str | None, base_port: int, name: str, as_json: bool) -> None:
    """Create a consortium for a local trial in FOLDER: genesis, and each organisation's keys and files.

    All private keys lie in one place. Companies that found a chain with one another, each with its own keys
    on its own host, use assent found.
    """
    names = _names(orgs, "--orgs")
    computing = names[:COMPUTE_AGENTS] if agents is None else _names(agents, "--agents")
    unknown = sorted(set(computing) - set(names))
    if unknown:
        raise ConfigError(f"--agents: {', '.join(unknown)} is not among --orgs {orgs}")
    consortium = create_consortium(folder, names, computing, base_port, name)
    warning = warning_of(_ports_of(consortium))
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "genesis": str(consortium.genesis),
                "orgs": names,
                "agents": computing,
                "warning": warning,
            }
        )
        return
    print_text(
        f"created {folder}: {counted(len(names), 'validator')} ({', '.join(names)}), "
        f"agents of {', '.join(computing)}"
    )
    print_text(f"  {consortium.genesis} is the same at every member; keys/ of an organisation never leave it")
    print_text(
        "  it is a local trial: all keys are on this machine; companies among themselves use assent found"
    )
    if warning:
        print_text(warning)
    print_text(f"next: assent start {shlex.quote(str(folder))}")


def _ports_of(consortium: ConsortiumFolder) -> list[int]:
    """Return the ports that the nodes of a folder, and its agents, listen on."""
    ports = []
    for org in consortium.orgs:
        config, _ = load_node_config(org.node_config)
        ports += [config.network.listen, config.rpc.listen]
        if org.agent_config.exists():
            ports.append(load_agent_config(org.agent_config)[0].peers.listen)
    return [split_address(address)[1] for address in ports]


def _names(text: str, option: str) -> list[str]:
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if ORG_ID.fullmatch(name) is None:
            raise ConfigError(
                f"{option}: {name!r} is not an organisation id; use {ORG_ID.pattern}, separated by commas"
            )
    if len(set(names)) != len(names):
        raise ConfigError(f"{option}: {text!r} names an organisation twice")
    return names


def create_consortium(
    folder: Path, names: list[str], computing: list[str], base_port: int, chain_name: str
) -> ConsortiumFolder:
    """Write the whole folder, or nothing; raise LayoutError when it holds something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LayoutError(f"{folder}: exists and is not empty; name another folder, or remove it first")
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", chain_name) is None:
        raise ConfigError(f"--name: {chain_name!r} is not a chain name; use [a-z0-9][a-z0-9._-]{{0,63}}")
    ports = org_ports(len(names), base_port)
    with whole_folder(folder) as draft:
        keys = {}
        for i, name in enumerate(names):
            folder_of, computes = OrgFolder(draft / name), name in computing
            keys[name] = write_keys(folder_of, computes)
            write_configuration(folder_of, name, ports[i], computes, "../genesis.json")
        save_genesis(draft / "genesis.json", _genesis(names, computing, ports, keys, chain_name))
        write_consortium(draft, names)
    return open_consortium(folder)


def org_ports(count: int, base_port: int) -> list[tuple[str, str, str]]:
    """Return the addresses of nodes, RPC and agents of so many organisations; 0 takes free ports."""
    if base_port == 0:
        free = _free_ports(3 * count)
        return [(free[3 * i], free[3 * i + 1], free[3 * i + 2]) for i in range(count)]
    if base_port + PORTS_PER_ORG * count > 65_535:
        raise ConfigError(f"--base-port {base_port}: {count} organisations need ports up to "
                          f"{base_port + PORTS_PER_ORG * count}, at most 65535")  # fmt: skip
    bases = [base_port + PORTS_PER_ORG * i for i in range(count)]
    taken = [port for base in bases for port in range(base, base + 3) if not _is_free(port)]
    if taken:
        raise ConfigError(
            f"--base-port {base_port}: in use are {', '.join(map(str, taken))}, maybe by another consortium; "
            "name another first port, or 0 for free ones"
        )
    return [(f"127.0.0.1:{b}", f"127.0.0.1:{b + 1}", f"127.0.0.1:{b + 2}") for b in bases]


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True


def _free_ports(count: int) -> list[str]:
    """Find ports below the range of outgoing connections, so that none is taken while a node restarts."""
    held: list[socket.socket] = []
    for port in random.SystemRandom().sample(FREE_PORTS, len(FREE_PORTS)):
        if len(held) == count:
            break
        try:
            held.append(socket.create_server(("127.0.0.1", port)))
        except OSError:
            continue
    found = [f"127.0.0.1:{item.getsockname()[1]}" for item in held]
    for item in held:
        item.close()
    if len(found) < count:
        raise ConfigError(f"--base-port 0: fewer than {count} free ports in {FREE_PORTS}; name a first port")
    return found


def create_solo(config: NodeConfig, files: NodeFiles) -> None:
    """Create genesis and keys of a chain with one validator; all keys lie beside the node's."""
    if config.solo is None:
        raise ConfigError("solo: the table is missing; add it to start a chain of one validator")
    name, ports = config.solo.organisation, (config.network.listen, config.rpc.listen, "")
    keys = {}
    for role, path in (
        ("node", files.key),
        *((r, files.key.with_name(f"{r}.key")) for r in ("admin", "agent")),
    ):
        if path.exists():
            keys[role] = load_key(path)
        else:
            keys[role] = PrivateKey.generate()
            save_key(path, keys[role])
    save_genesis(files.genesis, _genesis([name], [name], [ports], {name: keys}, name))


def _genesis(
    names: list[str],
    computing: list[str],
    ports: list[tuple[str, str, str]],
    keys: dict[str, dict[str, PrivateKey]],
    chain_name: str,
) -> Genesis:
    founders = [_founder(name, name in computing, ports[i], keys[name]) for i, name in enumerate(names)]
    return found_genesis(chain_name, time.time_ns() // 1_000_000, founders, own_contracts(), Limits())


def _founder(name: str, computes: bool, ports: tuple[str, str, str], keys: dict[str, PrivateKey]) -> Founder:
    return Founder(
        org=name,
        name=name,
        roles=COMPUTING if computes else WATCHING,
        admin_key=keys["admin"].public,
        node_name=f"{name}-node",
        node_key=keys["node"].public,
        node_address=ports[0],
        agent_key=keys["agent"].public if computes else b"",
        agent_address=ports[2] if computes else "",
    )


def own_contracts() -> SystemContracts:
    """Return what this Assent founds a chain with: its system contracts."""
    return SystemContracts(sources(), default_init())
