"""The files of one organisation's folder: keys and configuration, written whole and for its owner alone."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from chain.cli.layout import OrgFolder
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import FileTrouble
from chain.primitives.files import file_remedy, private_files, replace_file
from chain.primitives.keyfile import save_key
from chain.primitives.onechange import one_change
from chain.primitives.settings import is_loopback, split_address

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
{closed}"""
CLOSED = """\
tls = true                    # others reach this port: docs/rpc.md
principals = true
"""
AGENT_TOML = """\
# Agent of {org}: computes with the other organisations' agents what its own node shows as authorised.
organisation = "{org}"
node = "{url}"

[files]
genesis = "{genesis}"
key = "keys/agent.key"
data_dir = "agent"

[peers]
listen = "{agent}"
"""


def write_keys(folder: OrgFolder, computes: bool, passphrase: str | None = None) -> dict[str, PrivateKey]:
    """Make an organisation's keys in its folder, sealed if a passphrase is given; return them by role."""
    (folder.path / "keys").mkdir(parents=True, mode=0o700)
    keys = {role: PrivateKey.generate() for role in ("node", "admin", *(["agent"] if computes else []))}
    for role, key in keys.items():
        save_key(folder.key(role), key, passphrase)
    return keys


def write_configuration(
    folder: OrgFolder, name: str, addresses: tuple[str, str, str], computes: bool, genesis: str
) -> None:
    """Write the configuration of an organisation's node, and of its agent if it has one (FileTrouble).

    `addresses` are those on which node, RPC and agent listen; `genesis` is the path of the genesis file. An
    RPC address that others reach gets TLS and principals.
    """
    listen, rpc, agent = addresses
    alone = is_loopback(split_address(rpc)[0])
    closed = "" if alone else CLOSED
    node = NODE_TOML.format(org=name, listen=listen, rpc=rpc, genesis=genesis, closed=closed)
    replace_file(folder.node_config, node.encode())
    if computes:
        url = f"http{'' if alone else 's'}://{rpc}"
        text = AGENT_TOML.format(org=name, url=url, agent=agent, genesis=genesis)
        replace_file(folder.agent_config, text.encode())


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a draft that becomes the folder when all is written, and goes otherwise.

    Everything in it is for its own user alone. Raises FileTrouble naming the folder, whatever does not fit.
    """
    draft = folder.parent / f".{folder.name}.partial"
    try:
        with private_files():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with one_change(folder):  # two commands that make one folder do not write into one draft
                yield from _drafted(folder, draft)
    except FileTrouble as error:
        raise FileTrouble(f"{folder}: nothing was made: {error}") from None
    except OSError as error:
        raise FileTrouble(f"{folder}: nothing was made ({error.strerror}); {file_remedy(error)}") from None


def _drafted(folder: Path, draft: Path) -> Iterator[Path]:
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        yield draft
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
