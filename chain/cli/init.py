"""`assent init`: keys, genesis and one folder per organisation for a consortium on this machine."""

from __future__ import annotations

import contextlib
import errno
import random
import re
import shlex
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import click

from chain.cli.layout import ConsortiumFolder, LayoutError, OrgFolder, open_consortium, write_consortium
from chain.cli.outgoing import warning_of
from chain.client.console import json_option, print_json, print_text, reports_errors
from chain.config import NodeConfig, NodeFiles, load_node_config
from chain.ledger.genesis import (
    ORG_ID,
    ContractSource,
    Genesis,
    Org,
    OrgKey,
    Validator,
    check_genesis,
    make_init_args,
    save_genesis,
)
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import ConfigError, FileTrouble
from chain.primitives.files import file_remedy, private_files, write_new
from chain.primitives.keyfile import load_key, save_key
from chain.primitives.settings import split_address
from chain.primitives.words import counted
from contracts.system import default_init, sources
from privcompute.config import load_agent_config
from privcompute.programs.registry import records

PORTS_PER_ORG = 10
FREE_PORTS = range(15_000, 30_000)
COMPUTE_AGENTS = 3
"""`rep3` computes among three organisations."""

NODE_TOML = """\
# Node of {org}. Every key is explained in the annotated sample node.toml.
[files]
data_dir = "data"
genesis = "{genesis}"
key = "keys/node.key"

[network]
listen = "{listen}"

[rpc]
listen = "{rpc}"
"""
AGENT_TOML = """\
# Agent of {org}: computes with the other organisations' agents what its own node shows as authorised.
organisation = "{org}"
node = "http://{rpc}"

[files]
genesis = "{genesis}"
key = "keys/agent.key"
data_dir = "agent"

[peers]
listen = "{agent}"
"""


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
    """Create keys, genesis, configuration and folders of a consortium in FOLDER."""
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
        keys = {
            name: write_org(OrgFolder(draft / name), name, ports[i], name in computing, "../genesis.json")
            for i, name in enumerate(names)
        }
        save_genesis(draft / "genesis.json", _genesis(names, computing, ports, keys, chain_name))
        write_consortium(draft, names)
    return open_consortium(folder)


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a draft that becomes the folder when all is written, and goes otherwise.

    Everything in it is for its own user alone. Raises FileTrouble naming the folder, whatever does not fit.
    """
    draft = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with private_files():
            draft.mkdir(parents=True)
            yield draft
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    except FileTrouble as error:
        raise FileTrouble(f"{folder}: nothing was made: {error}") from None
    except OSError as error:
        raise FileTrouble(f"{folder}: nothing was made ({error.strerror}); {file_remedy(error)}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


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


def write_org(
    folder: OrgFolder, name: str, ports: tuple[str, str, str], computes: bool, genesis: str
) -> dict[str, PrivateKey]:
    """Write an organisation's keys and configuration, which names this genesis; return the keys by role."""
    listen, rpc, agent = ports
    (folder.path / "keys").mkdir(parents=True, mode=0o700)
    keys = {role: PrivateKey.generate() for role in ("node", "admin", *(["agent"] if computes else []))}
    for role, key in keys.items():
        save_key(folder.key(role), key)
    node = NODE_TOML.format(org=name, listen=listen, rpc=rpc, genesis=genesis)
    write_new(folder.node_config, node.encode())
    if computes:
        text = AGENT_TOML.format(org=name, rpc=rpc, agent=agent, genesis=genesis)
        write_new(folder.agent_config, text.encode())
    return keys


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
    validators = tuple(
        Validator(name, f"{name}-node", keys[name]["node"].public, ports[i][0])
        for i, name in enumerate(names)
    )
    arguments = default_init()
    arguments["jobs"] = {"programs": records()}
    orgs = tuple(_org(name, name in computing, ports[i][2], keys[name]) for i, name in enumerate(names))
    genesis = Genesis(
        chain_name=chain_name,
        time=time.time_ns() // 1_000_000,
        validators=validators,
        orgs=orgs,
        contracts=tuple(ContractSource(name, source) for name, source in sources().items()),
        init_args=make_init_args(arguments),
    )
    return check_genesis(genesis)


def _org(name: str, computes: bool, agent_address: str, keys: dict[str, PrivateKey]) -> Org:
    signing = [OrgKey(keys["admin"].public, ("admin",))]
    if computes:
        signing.append(OrgKey(keys["agent"].public, ("agent",)))
    return Org(
        id=name,
        name=name,
        roles=("owner", "user", "compute", "operator") if computes else ("auditor", "operator"),
        keys=tuple(signing),
        agent_key=keys["agent"].public if computes else b"",
        agent_address=agent_address if computes else "",
    )
