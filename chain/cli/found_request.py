"""`assent found request`: an organisation makes its own keys, and the card that the other founders need."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import click

from chain.cli.found_files import FoundersFolder, founders_folder, read_card
from chain.cli.key import new_passphrase
from chain.cli.layout import LayoutError, OrgFolder
from chain.cli.orgfiles import whole_folder, write_keys
from chain.client.console import json_option, print_json, print_text, reports_errors
from chain.founding.addresses import check_advertised
from chain.founding.cards import (
    DAY_MS,
    VALID_DAYS_MAX,
    FoundingCard,
    card_to_bytes,
    check_card,
    founding_key,
    moment,
    sign_card,
)
from chain.founding.founders import COMPUTING, WATCHING
from chain.ledger.genesis import ORG_ID, ROLES
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import ConfigError
from chain.primitives.files import replace_file, write_new
from chain.primitives.keyfile import PASSPHRASE_VARIABLE, load_key, save_key
from chain.primitives.onechange import one_change
from chain.primitives.settings import ID_WORDS

DEFAULT_DAYS = 30


@click.command("request")
@click.argument("path", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--founding", help="Name of the chain to be, the same for all founders.")
@click.option("--address", metavar="HOST:PORT", help="Where the other founders' nodes reach your node.")
@click.option(
    "--agent-address",
    metavar="HOST:PORT",
    help="Where their agents reach your agent; without it, you run none.",
)
@click.option("--name", help="Your organisation's name for people; by default that of FOLDER.")
@click.option("--roles", help=f"Separated by commas: {','.join(ROLES)}; by default as your agent allows.")
@click.option(
    "--days",
    type=click.IntRange(1, VALID_DAYS_MAX),
    default=DEFAULT_DAYS,
    show_default=True,
    help="How long others may found with this card.",
)
@click.option(
    "--sealed", is_flag=True, help=f"Seal the keys; passphrase of {PASSPHRASE_VARIABLE}, or asked for."
)
@click.option("--again", is_flag=True, help="A new card with the keys in FOLDER; what is not given stays.")
@json_option
@reports_errors
def request(
    path: Path,
    founding: str | None,
    address: str | None,
    agent_address: str | None,
    name: str | None,
    roles: str | None,
    days: int,
    sealed: bool,
    again: bool,
    as_json: bool,
) -> None:
    """Make your organisation's keys in FOLDER, named after it, and the card that the other founders need.

    The keys never leave FOLDER; the card holds no secret.
    """
    folder = founders_folder(path)
    with one_change(folder.card) if again else contextlib.nullcontext():
        card = _made(folder, _Given(founding, address, agent_address, name, roles, days), sealed, again)
    _tell_request(folder, card, as_json)


@dataclass(frozen=True, slots=True)
class _Given:
    """What was typed."""

    founding: str | None
    address: str | None
    agent_address: str | None
    name: str | None
    roles: str | None
    days: int


def _made(folder: FoundersFolder, given: _Given, sealed: bool, again: bool) -> FoundingCard:
    """Make the card, and the keys unless they are there (ConfigError, LayoutError)."""
    founding, address, agent_address = given.founding, given.address, given.agent_address
    name, roles = given.name, given.roles
    before = _card_before(folder, again)
    if before is not None:
        founding, address = founding or before.founding, address or before.node_address
        agent_address = before.agent_address if agent_address is None else agent_address
        name, roles = name or before.name, roles or ",".join(before.roles)
    if founding is None or address is None:
        raise ConfigError("--founding and --address: give both; only --again knows them from the card before")
    if ORG_ID.fullmatch(founding) is None:
        raise ConfigError(f"--founding: {founding!r} is not the name of a chain; use {ID_WORDS}")
    _advertised(address, "--address")
    if agent_address:
        _advertised(agent_address, "--agent-address")
    listed = _roles(roles, bool(agent_address))
    words = _Words(founding, address, agent_address or "", name or folder.org.name, listed, given.days)
    if not again:
        return _requested(folder, words, sealed)
    card = _card(folder.org.name, words, _keys_again(folder.org, words, sealed))
    replace_file(folder.card, card_to_bytes(card))
    return card


def _card_before(folder: FoundersFolder, again: bool) -> FoundingCard | None:
    """Return the card that `--again` replaces, if there is one; raise LayoutError where none may be made."""
    path = folder.org.path
    if folder.genesis.exists():
        raise LayoutError(f"{folder.genesis}: the founding of {path} is complete; its card is of no use now")
    if not again:
        if path.exists():
            raise LayoutError(
                f"{path}: exists already; name another folder, or make a new card with its keys: --again"
            )
        return None
    if not folder.org.key("admin").exists():
        raise LayoutError(f"{folder.org.key('admin')}: not there, so there are no keys for a new card")
    return read_card(folder.card) if folder.card.exists() else None


@dataclass(frozen=True, slots=True)
class _Words:
    """What a card says beside its keys."""

    founding: str
    address: str
    agent_address: str
    """Empty where the organisation runs no agent."""
    name: str
    roles: tuple[str, ...]
    days: int


def _roles(text: str | None, computes: bool) -> tuple[str, ...]:
    if text is None:
        return COMPUTING if computes else WATCHING
    listed = tuple(part.strip() for part in text.split(","))
    unknown = [part for part in listed if part not in ROLES]
    if unknown or len(set(listed)) < len(listed):
        raise ConfigError(f"--roles: {text[:80]!r}: expected some of {','.join(ROLES)}, each once")
    return listed


def _requested(folder: FoundersFolder, words: _Words, sealed: bool) -> FoundingCard:
    org = folder.org
    passphrase = new_passphrase(org.path, PASSPHRASE_VARIABLE) if sealed else None
    with whole_folder(org.path) as draft:
        keys = write_keys(OrgFolder(draft), bool(words.agent_address), passphrase)
        card = _card(org.name, words, keys)
        write_new(draft / folder.card.name, card_to_bytes(card))
    return card


def _keys_again(org: OrgFolder, words: _Words, sealed: bool) -> dict[str, PrivateKey]:
    """Return the keys in a folder, an agent's made if the card names one now."""
    keys = {role: load_key(org.key(role)) for role in ("admin", "node")}
    if words.agent_address:
        path = org.key("agent")
        if not path.exists():
            passphrase = new_passphrase(path, PASSPHRASE_VARIABLE) if sealed else None
            save_key(path, PrivateKey.generate(), passphrase)
        keys["agent"] = load_key(path)
    return keys


def _card(org: str, words: _Words, keys: dict[str, PrivateKey]) -> FoundingCard:
    now = time.time_ns() // 1_000_000
    proved = {role: founding_key(key, words.founding, org) for role, key in keys.items()}
    card = FoundingCard(
        founding=words.founding,
        org=org,
        name=words.name,
        roles=words.roles,
        admin=proved["admin"],
        node_name=f"{org}-node",
        node=proved["node"],
        node_address=words.address,
        agent=proved.get("agent"),
        agent_address=words.agent_address,
        made=now,
        expires=now + words.days * DAY_MS,
    )
    return check_card(sign_card(card, keys["admin"]), "card")


def _advertised(address: str, option: str) -> None:
    try:
        check_advertised(address)
    except ValueError as error:
        raise ConfigError(f"{option}: {address!r}: expected {error}") from None


def _tell_request(folder: FoundersFolder, card: FoundingCard, as_json: bool) -> None:
    if as_json:
        keys = {role: held.key.hex() for role, held in card.keys.items()}
        print_json({"folder": str(folder.org.path), "card": str(folder.card), "keys": keys,
                    "expires": card.expires})  # fmt: skip
        return
    print_text(f"{folder.org.path}: the keys of {card.org} ({', '.join(card.keys)}); they never leave it")
    print_text(f"{folder.card}: its card for founding {card.founding}, valid until {moment(card.expires)}")
    print_text("next: send the card to the other founders; whoever has all cards types:")
    print_text("  assent found combine CARD CARD …")
