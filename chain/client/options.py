"""Who a command speaks as: an organisation's folder gives the node, the genesis and the key."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from chain.client.answers import reading
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.config import load_node_config
from chain.ledger.genesis import Genesis, load_genesis
from chain.primitives.errors import AssentError, Exit
from chain.primitives.keyfile import load_key

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
AS_VARIABLE = "ASSENT_AS"


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
        async with Client(self.url, self.genesis) as client:
            yield client

    @asynccontextmanager
    async def account(self) -> AsyncIterator[SigningClient]:
        """Open a client that signs with the session's key."""
        if self.key is None:
            raise NoSession(f"no key to sign with: give --as ORGDIR (or set {AS_VARIABLE}), or --key FILE")
        key = load_key(self.key)
        async with self.client() as client:
            yield SigningClient(client, key, await client.chain_id())


def open_session(
    org_folder: Path | None, url: str | None, key: Path | None, genesis: Path | None, role: str = "admin"
) -> Session:
    """Resolve the options of a command; an organisation's folder (`--as`) supplies what is not given."""
    if org_folder is not None:
        config, files = load_node_config(org_folder / "node.toml")
        url = url or f"http://{config.rpc.listen}"
        genesis = genesis or files.genesis
        key = key or org_folder / "keys" / f"{role}.key"
    if url is None:
        raise NoSession(f"no node to ask: give --as ORGDIR (or set {AS_VARIABLE}), or --node URL")
    return Session(url, None if genesis is None else load_genesis(genesis), key)


def session_options(command: F) -> F:
    """Decorate a click command with --as, --node, --key and --genesis; it gets them as `session`.

    Without a genesis nothing is proved, so what cannot be read is the fault of whoever answered.
    """
    path = click.Path(path_type=Path)

    @functools.wraps(command)
    def wrapped(
        *args: Any, as_: Path | None, node: str | None, key: Path | None, genesis: Path | None, **kwargs: Any
    ) -> Any:
        session = open_session(as_, node, key, genesis)
        if session.genesis is not None:
            return command(*args, session=session, **kwargs)
        with reading(session.url, f"what `assent {command.__name__.replace('_', '-')}` asks"):
            return command(*args, session=session, **kwargs)

    decorated: Any = wrapped
    for option in (
        click.option("--genesis", type=path, help="Genesis file; answers are proved against it."),
        click.option("--key", type=path, help="Key file that signs."),
        click.option("--node", metavar="URL", help="RPC address of a node, http://host:port."),
        click.option(
            "--as", "as_", type=path, envvar=AS_VARIABLE, help=f"Organisation folder (or {AS_VARIABLE})."
        ),
    ):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return asyncio.run(work)
