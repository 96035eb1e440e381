"""`assent node token`: make, list and remove the tokens by which programs ask a node."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from chain.api.tokens import (
    DAYS_MAX,
    SCOPE_NAMES,
    Token,
    load_tokens,
    make_secret,
    save_tokens,
    secret_hash,
)
from chain.client.console import json_option, print_json, print_table, print_text, reports_errors
from chain.config import load_node_config
from chain.founding.cards import moment
from chain.primitives.errors import ConfigError
from chain.primitives.onechange import one_change
from chain.primitives.settings import validate

DAY_MS = 86_400_000
DATE_CHARS, MINUTE_CHARS = len("2026-01-31"), len("2026-01-31 12:00")

config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    default=Path("node.toml"),
    show_default=True,
    help="The node's configuration; it may run.",
)


@click.group()
def token() -> None:
    """Make, list and remove the tokens by which programs ask a node that has [rpc] principals.

    A running node follows at once.
    """


@dataclass(frozen=True, slots=True)
class _Place:
    path: Path
    tokens: tuple[Token, ...]
    asked_for: bool
    """Whether the node asks for principals at all."""

    def warn(self) -> None:
        """Say so where no token is asked for."""
        if not self.asked_for:
            print_text(
                "note: this node asks nobody who he is; set principals = true in [rpc] of node.toml and "
                "start it anew",
                err=True,
            )


def _place(config: Path) -> _Place:
    settings, files = load_node_config(config)
    return _Place(files.tokens, load_tokens(files.tokens), settings.rpc.principals)


@contextlib.contextmanager
def _changing(config: Path) -> Iterator[_Place]:
    """Let nobody else change the tokens between what is read here and what is saved (BeingChanged)."""
    with one_change(load_node_config(config)[1].tokens):
        yield _place(config)


@token.command("new")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPE_NAMES),
    multiple=True,
    default=("read",),
    show_default=True,
    help="What it may: repeat for more than one.",
)
@click.option(
    "--days", type=click.IntRange(1, DAYS_MAX), default=90, show_default=True, help="How long it is valid."
)
@click.option(
    "--requests-per-second",
    "rate",
    type=click.IntRange(1, 1_000_000),
    help="A bound for it alone, within its share of the port's.",
)
@config_option
@json_option
@reports_errors
def new(name: str, scopes: tuple[str, ...], days: int, rate: int | None, config: Path, as_json: bool) -> None:
    """Make a token called NAME and print its secret, which is kept nowhere else and shown this once."""
    now, secret = time.time_ns() // 1_000_000, make_secret()
    entry = {
        "name": name,
        "secret_sha256": secret_hash(secret).hex(),
        "scopes": tuple(scope for scope in SCOPE_NAMES if scope in scopes),
        "created": now,
        "expires": now + days * DAY_MS,
        "requests_per_second": rate,
    }
    made = validate("token", entry, Token)
    with _changing(config) as place:
        if any(item.name == name for item in place.tokens):
            raise ConfigError(
                f"NAME {name!r}: there is a token of that name; remove it first (assent node token remove "
                f"{name}), or choose another"
            )
        save_tokens(place.path, (*place.tokens, made))
    if as_json:
        print_json({"token": secret} | _shown(made))
    else:
        print_text(secret)
        print_text(
            f"{name}: {', '.join(made.scopes)} until {moment(made.expires)}; it is shown this once: give it "
            "to the program as ASSENT_TOKEN, or as Authorization: Bearer …",
            err=True,
        )
    place.warn()


@token.command("list")
@config_option
@json_option
@reports_errors
def list_tokens(config: Path, as_json: bool) -> None:
    """List the tokens of a node, without their secrets, which it does not have."""
    place, now = _place(config), time.time_ns() // 1_000_000
    if as_json:
        print_json({"file": str(place.path), "tokens": [_shown(item) for item in place.tokens]})
    else:
        rows = [
            [item.name, _minute(item.expires), "over" if item.expires <= now else "good",
             item.requests_per_second, list(item.scopes), _minute(item.created)[:DATE_CHARS]]
            for item in place.tokens
        ]  # fmt: skip
        print_table("tokens", ["name", "until (UTC)", "now", "#per s", "scopes", "made"], rows, whole=4)
    place.warn()


@token.command("remove")
@click.argument("name")
@config_option
@json_option
@reports_errors
def remove(name: str, config: Path, as_json: bool) -> None:
    """Remove the token called NAME: a running node refuses it from now on, and closes its WebSockets."""
    with _changing(config) as place:
        left = tuple(item for item in place.tokens if item.name != name)
        if len(left) == len(place.tokens):
            names = ", ".join(item.name for item in place.tokens) or "none"
            raise ConfigError(f"NAME {name!r}: no token of that name in {place.path}; there are: {names}")
        save_tokens(place.path, left)
    if as_json:
        print_json({"removed": name})
    else:
        print_text(f"{name}: removed")


def _minute(ms: int) -> str:
    """Return a time in UTC to the minute, without saying so: the head of its column does."""
    found = moment(ms)
    return found[:MINUTE_CHARS] if found.endswith(" UTC") else found


def _shown(item: Token) -> dict[str, object]:
    return {
        "name": item.name,
        "scopes": list(item.scopes),
        "created": item.created,
        "expires": item.expires,
        "requests_per_second": item.requests_per_second,
    }
