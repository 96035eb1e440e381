"""Who a command speaks as: an organisation's folder gives the node, the genesis and the key."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from chain.client.access import NodeAccess, first_certificate
from chain.client.answers import reading
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.config import NodeConfig, NodeFiles, load_node_config
from chain.ledger.genesis import Genesis, load_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError, ConfigError, Exit
from chain.primitives.files import read_bounded
from chain.primitives.keyfile import load_key, numbered, public_keys_of
from chain.primitives.settings import dialled

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
AS_VARIABLE, TOKEN_VARIABLE = "ASSENT_AS", "ASSENT_TOKEN"
TOKEN_BYTES_MAX = 256


class NoSession(AssentError):
    """A command that does not know whom to speak as or to: the text says what to give."""

    code = "no_session"
    exit = Exit.CONFIG


@dataclass(frozen=True, slots=True)
class Session:
    """Where the node answers, what its chain is, and which key file signs."""

    url: str
    genesis: Genesis | None
    key: Path | None
    access: NodeAccess

    def chain_id(self) -> bytes:
        """Return the chain that the genesis names, without one the node."""
        if self.genesis is not None:
            return self.genesis.chain_id

        async def ask() -> bytes:
            async with self.client() as client:
                return await client.chain_id()

        return run(ask())

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Open a client; answers are proved against the genesis when there is one."""
        async with Client(self.url, self.genesis, access=self.access) as client:
            yield client

    @asynccontextmanager
    async def account(self) -> AsyncIterator[SigningClient]:
        """Open a client that signs with the session's key."""
        if self.key is None:
            raise NoSession(f"no key to sign with: give --as ORGDIR (or set {AS_VARIABLE}), or --key FILE")
        key = load_key(self.key)
        async with self.client() as client:
            yield SigningClient(client, key, await client.chain_id())


def own_url(config: NodeConfig) -> str:
    """Return where the node of a configuration answers whoever asks from its own host."""
    return f"http{'s' if config.rpc.tls else ''}://{dialled(config.rpc.listen)}"


def own_access(config: NodeConfig, files: NodeFiles) -> NodeAccess:
    """Return what lets who may read a node's folder ask that node as its operator."""

    def token() -> str:
        try:
            return read_bounded(files.operator_token, TOKEN_BYTES_MAX).decode()
        except (OSError, ValueError):  # it never ran with principals; the node says what it lacks
            return ""

    shown = b"" if files.rpc_pair is None else first_certificate(files.rpc_pair[0])
    return NodeAccess(token if config.rpc.principals else None, nodes=_own_keys(files), shown=shown)


def _own_keys(files: NodeFiles) -> frozenset[bytes]:
    """Return the keys that a folder's node may show: its key, the next one, and its spares."""
    return public_keys_of([files.key, files.next_key, *numbered(files.key)])


def _other_access(key: Path | None, beside: frozenset[bytes]) -> NodeAccess:
    """Return what proves to somebody else's node who asks: the token in the environment, else the key."""
    given, opened = os.environ.get(TOKEN_VARIABLE, ""), key

    def open_key() -> PrivateKey:
        assert opened is not None
        return load_key(opened)

    token = (lambda: given) if given else None
    return NodeAccess(token, None if key is None else open_key, beside=beside)


def _named(access: NodeAccess, pin: str | None, ca: Path | None) -> NodeAccess:
    """Let a pin and authorities, where they are given, be all that a node is known by."""
    if pin is None and ca is None:
        return access
    nodes = frozenset() if pin is None else frozenset({_node_key(pin)})
    return replace(access, nodes=nodes, ca=ca, shown=b"")


def _node_key(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ConfigError(f"--pin {text[:80]!r}: the 64 hex digits of a node's public key")
    return found


def open_session(
    org_folder: Path | None,
    url: str | None,
    key: Path | None,
    genesis: Path | None,
    role: str = "admin",
    *,
    pin: str | None = None,
    ca: Path | None = None,
) -> Session:
    """Resolve the options of a command; an organisation's folder (`--as`) supplies what is not given."""
    access, beside = None, frozenset[bytes]()
    if org_folder is not None:
        config, files = load_node_config(org_folder / "node.toml")
        if url is None or url.rstrip("/") == own_url(config):
            url, access = own_url(config), own_access(config, files)
        genesis = genesis or files.genesis
        key = key or org_folder / "keys" / f"{role}.key"
        beside = _own_keys(files)
    if url is None:
        raise NoSession(f"no node to ask: give --as ORGDIR (or set {AS_VARIABLE}), or --node URL")
    access = _named(access or _other_access(key, beside), pin, ca)
    return Session(url, None if genesis is None else load_genesis(genesis), key, access)


def session_options(command: F) -> F:
    """Decorate a click command with --as, --node, --key and --genesis; it gets them as `session`.

    Without a genesis nothing is proved, so what cannot be read is the fault of whoever answered.
    """
    path = click.Path(path_type=Path)

    @functools.wraps(command)
    def wrapped(
        *args: Any,
        as_: Path | None,
        node: str | None,
        key: Path | None,
        genesis: Path | None,
        pin: str | None,
        ca: Path | None,
        **kwargs: Any,
    ) -> Any:
        session = open_session(as_, node, key, genesis, pin=pin, ca=ca)
        if session.genesis is not None:
            return command(*args, session=session, **kwargs)
        with reading(session.url, f"what `assent {command.__name__.replace('_', '-')}` asks"):
            return command(*args, session=session, **kwargs)

    decorated: Any = wrapped
    for option in (
        click.option(
            "--ca", type=path, help="Authorities (PEM) of a node that shows a certificate from files."
        ),
        click.option("--pin", metavar="KEY", help="Public key that the node at --node shows in TLS."),
        click.option("--genesis", type=path, help="Genesis file; answers are proved against it."),
        click.option("--key", type=path, help="Key file that signs."),
        click.option("--node", metavar="URL", help="RPC address of a node, http(s)://host:port."),
        click.option(
            "--as", "as_", type=path, envvar=AS_VARIABLE, help=f"Organisation folder (or {AS_VARIABLE})."
        ),
    ):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return asyncio.run(work)
