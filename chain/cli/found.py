"""`assent found`: organisations that share nothing but files found a chain; each keeps its private keys."""

from __future__ import annotations

import functools
import shlex
import time
from pathlib import Path

import click

from chain.cli.found_files import (
    FoundersFolder,
    founders_folder,
    own_card,
    read_cards,
    read_consents,
    read_draft,
    signature_name,
)
from chain.cli.found_request import request
from chain.cli.found_views import draft_json, notices, print_draft
from chain.cli.key import public_key
from chain.cli.layout import LayoutError
from chain.cli.orgfiles import write_configuration
from chain.cli.outgoing import warning_of
from chain.client.console import json_option, print_json, print_text, reports_errors
from chain.config import load_node_config
from chain.founding.addresses import beside, listen_for
from chain.founding.cards import (
    FoundingCard,
    check_current,
)
from chain.founding.consent import (
    FoundingConsent,
    check_complete,
    check_consents,
    consent_to_bytes,
    give_consent,
)
from chain.founding.draft import (
    FoundingDraft,
    check_draft,
    check_follows,
    check_own,
    combine,
    contracts_of,
    draft_to_bytes,
)
from chain.founding.refusals import FoundingRefused
from chain.ledger.batch_executor import ChainRuntime, execute_genesis
from chain.ledger.genesis import Limits, save_genesis
from chain.ledger.recordjson import record_from_json
from chain.primitives.errors import AssentError, ConfigError
from chain.primitives.files import private_files, replace_file, write_new
from chain.primitives.keyfile import load_key
from chain.primitives.onechange import one_change
from chain.primitives.settings import check_address, split_address

draft_argument = click.argument("draft", type=click.Path(path_type=Path))
signatures_argument = click.argument(
    "signatures", metavar="[SIGNATURE]...", nargs=-1, type=click.Path(path_type=Path)
)
as_option = click.option(
    "--as", "folder", required=True, type=click.Path(path_type=Path), help="Your organisation's folder."
)


class _InOrder(click.Group):
    """A group that lists its commands in the order in which they are used."""

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the commands as they were added."""
        return list(self.commands)


@click.group(cls=_InOrder)
def found() -> None:
    """Found a chain between organisations that share nothing but files.

    Each makes its own keys and a card (request); anyone puts the cards together (combine); each checks the
    draft (check) and signs it (sign); each puts what all signed into its folder (install), and starts it.
    """


found.add_command(request)


@found.command("combine")
@click.argument("paths", metavar="CARD...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("founding.json"),
    show_default=True,
    help="The draft to write.",
)
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=VALUE", help="A limit other than its default."
)
@json_option
@reports_errors
def combine_cards(paths: tuple[Path, ...], out: Path, limits: tuple[str, ...], as_json: bool) -> None:
    """Make the draft of genesis from all founders' cards; their order does not matter.

    The same cards and limits give the same file, so any founder may do it, or all.
    """
    cards = read_cards(paths)
    for where, card in cards:
        check_current(card, where, _now())
    draft = _combined(cards, _limits(limits))
    write_new(out, draft_to_bytes(draft))
    if as_json:
        print_json({"draft": str(out), **draft_json(draft, [], [card.org for card in draft.cards])})
        return
    orgs = ", ".join(card.org for card in draft.cards)
    print_text(f"{out}: the draft of {draft.genesis.chain_name} by {orgs}")
    for line in notices(draft):
        print_text(line)
    print_text(f"genesis: {draft.genesis.chain_id.hex()}")
    print_text("next: send it to all founders; each types:")
    print_text(f"  assent found check {shlex.quote(str(out))} --as FOLDER")


def _combined(cards: list[tuple[str, FoundingCard]], limits: Limits) -> FoundingDraft:
    from chain.cli.init import own_contracts  # loads numpy, which cards do not need

    draft = combine(cards, limits, own_contracts())
    _rehearse(draft)
    return draft


def _now() -> int:
    return time.time_ns() // 1_000_000


def _limits(given: tuple[str, ...]) -> Limits:
    """Return the default limits with those that are given as NAME=VALUE; `combine` checks them together."""
    chosen: dict[str, int] = {}
    for text in given:
        name, equals, value = text.partition("=")
        digits = value.replace("_", "").replace(",", "")
        if not equals or not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
            raise ConfigError(f"--limit: {text[:80]!r}: expected NAME=VALUE, VALUE a whole number")
        if name in chosen:
            raise ConfigError(f"--limit: {name!r} is given twice; give it once")
        chosen[name] = int(digits)
    return record_from_json(Limits, chosen, "--limit")


@functools.cache
def _runtime() -> ChainRuntime:
    from contracts.runtime import ContractRuntime

    return ContractRuntime()  # which compiles a contract once


def _rehearse(draft: FoundingDraft) -> None:
    """Run the system contracts on the founders: what they refuse is found before anybody signs."""
    try:
        execute_genesis(_runtime(), draft.genesis)
    except AssentError as error:
        raise FoundingRefused(f"the contracts do not take these founders: {error}") from None


def _checked(path: Path, folder: Path | None) -> FoundingDraft:
    """Read a draft and check everything about it, also that a founder's own card is in it unchanged."""
    from chain.cli.init import own_contracts

    draft = read_draft(path)
    check_draft(draft, str(path), own_contracts(), _now())
    if folder is not None:
        check_own(draft, own_card(founders_folder(folder)))
    _rehearse(draft)
    return draft


@found.command("check")
@draft_argument
@signatures_argument
@click.option("--as", "folder", type=click.Path(path_type=Path), help="Your organisation's folder.")
@json_option
@reports_errors
def check(draft: Path, signatures: tuple[Path, ...], folder: Path | None, as_json: bool) -> None:
    """Check DRAFT, and each SIGNATURE of it that there is, and print what a member agrees to by signing.

    One that all have signed is checked as what was founded: by its own contracts, with cards of that day.
    """
    found = read_draft(draft)
    missing = check_consents(found, read_consents(signatures))
    if missing:
        _checked(draft, folder)
    else:
        check_follows(found, str(draft), contracts_of(found))
        if folder is not None:  # whoever made up all cards could sign for all of them
            check_own(found, own_card(founders_folder(folder)))
    signed = [card.org for card in found.cards if card.org not in missing]
    if as_json:
        print_json(draft_json(found, signed, missing))
        return
    print_draft(found)
    if not missing:
        yours = "every card is valid" if folder is None else "every card is valid, yours unchanged"
        print_text(f"checked: signed by all {len(signed)}, {yours}; genesis follows from them")
        return
    print_text(f"signed by {', '.join(signed) or 'nobody'}; not yet by {', '.join(missing)}")
    if folder is None:
        print_text("checked: every card is valid, and genesis follows from them and from this Assent")
        print_text("with --as FOLDER, your own card is checked, too")
        return
    print_text("checked: every card is valid, yours unchanged; genesis follows from them and this Assent")
    words = f"{shlex.quote(str(draft))} --as {shlex.quote(str(folder))}"
    print_text(f"next, if you agree: assent found sign {words}")


@found.command("sign")
@draft_argument
@as_option
@click.option("--instead", is_flag=True, help="In the place of your signature of another draft.")
@json_option
@reports_errors
def sign(draft: Path, folder: Path, instead: bool, as_json: bool) -> None:
    """Check DRAFT as assent found check does, and sign its genesis with your organisation's admin key."""
    own = founders_folder(folder)
    with one_change(own.card):  # two drafts at the same moment: one of them is the first
        found = _checked(draft, folder)
        consent = give_consent(found, own.org.name, load_key(own.org.key("admin")))
        _check_signed_no_other(own, consent, instead=instead)
        replace_file(own.signature, consent_to_bytes(consent))
    if as_json:
        print_json({"signature": str(own.signature), "genesis": found.genesis.chain_id.hex()})
        return
    print_text(f"{own.signature}: {own.org.name} founds {found.genesis.chain_name}")
    print_text(f"genesis: {found.genesis.chain_id.hex()}")
    print_text("next: send it to the other founders; whoever has all signatures types:")
    words = f"{shlex.quote(str(draft))} SIGNATURE SIGNATURE … --as {shlex.quote(str(folder))}"
    print_text(f"  assent found install {words}")


def _check_signed_no_other(own: FoundersFolder, consent: FoundingConsent, *, instead: bool) -> None:
    """Raise FoundingRefused where the folder has a signature of another genesis, which stays."""
    if instead or not own.signature.exists():
        return
    ((_, before),) = read_consents([own.signature])
    if before.chain_id != consent.chain_id:
        raise FoundingRefused(
            f"{own.signature}: you signed another genesis, {before.chain_id.hex()[:16]}; if that "
            "founding is given up, tell the others, then sign this one with: --instead"
        )


@found.command("install")
@draft_argument
@signatures_argument
@as_option
@click.option("--listen", metavar="HOST:PORT", help="Where your node listens, if not on your card's port.")
@click.option(
    "--rpc", metavar="HOST:PORT", help="Where it answers you; by default a port above, on loopback."
)
@click.option(
    "--agent-listen", metavar="HOST:PORT", help="Where your agent listens, if not on your card's port."
)
@json_option
@reports_errors
def install(
    draft: Path,
    signatures: tuple[Path, ...],
    folder: Path,
    listen: str | None,
    rpc: str | None,
    agent_listen: str | None,
    as_json: bool,
) -> None:
    """Put a genesis that all founders signed into your folder, and configure your node and agent."""
    own = founders_folder(folder)
    with one_change(own.card):
        card = own_card(own)
        if own.genesis.exists():
            raise LayoutError(
                f"{own.genesis}: there already, so a founding was installed; next: {own.org.start_command}"
            )
        found = _installable(draft, signatures, own, card)
        addresses = _listening(card, listen, rpc, agent_listen)
        with private_files():
            _write_installed(own, card, found, signatures, addresses)
    used = addresses if card.agent else addresses[:2]
    ports = [split_address(address)[1] for address in used]
    warning = warning_of(ports, "Name ports with --listen, --rpc and --agent-listen")
    if as_json:
        print_json({"folder": str(own.org.path), "genesis": found.genesis.chain_id.hex(), "warning": warning})
        return
    print_text(f"{own.org.path}: genesis {found.genesis.chain_id.hex()}, signed by all {len(found.cards)}")
    print_text(f"  its node listens on {addresses[0]}, which others dial as {card.node_address}; RPC on "
               f"{addresses[1]}")  # fmt: skip
    if card.agent:
        print_text(f"  its agent listens on {addresses[2]}, which others dial as {card.agent_address}")
    if warning:
        print_text(warning)
    print_text(f"next: assent doctor {shlex.quote(str(folder))}, then: {own.org.start_command}")


def _installable(
    draft: Path, signatures: tuple[Path, ...], own: FoundersFolder, card: FoundingCard
) -> FoundingDraft:
    """Return the draft if all founders signed it and the folder holds the keys of its card.

    Cards may have expired since: what counts is that all have agreed.
    """
    from chain.cli.init import own_contracts

    found = read_draft(draft)
    check_follows(found, str(draft), own_contracts())
    check_own(found, card)
    check_complete(found, read_consents(signatures))
    for role, held in card.keys.items():
        path = own.org.key(role)
        if not path.exists() or public_key(str(path), role) != held.key:
            raise FoundingRefused(
                f"{path}: not there, or not the key of the card, {held.key.hex()[:16]}; put that key back"
            )
    return found


def _listening(
    card: FoundingCard, listen: str | None, rpc: str | None, agent_listen: str | None
) -> tuple[str, str, str]:
    """Return where node, RPC and agent listen: as given, else as follows from the card (ConfigError)."""
    given = {"--listen": listen, "--rpc": rpc, "--agent-listen": agent_listen}
    for option, address in given.items():
        try:
            check_address(address or "localhost:1")
        except ValueError as error:
            raise ConfigError(f"{option}: {address!r}: expected {error}") from None
    if agent_listen and card.agent is None:
        raise ConfigError(f"--agent-listen: {agent_listen!r}: your card names no agent; leave it out")
    node = listen or listen_for(card.node_address)
    if rpc is None and split_address(node)[1] >= 65_535:
        raise ConfigError("--rpc: name where your node answers you; above port 65535 there is none")
    answers = rpc or beside(node, 1)
    agent = agent_listen or (listen_for(card.agent_address) if card.agent else "")
    ports = [split_address(address)[1] for address in (node, answers, agent) if address]
    if len(set(ports)) < len(ports):
        raise ConfigError(
            f"--listen {node}, --rpc {answers}, --agent-listen {agent or 'none'}: a port stands twice; name "
            "another for one of them"
        )
    return node, answers, agent


def _write_installed(
    own: FoundersFolder,
    card: FoundingCard,
    found: FoundingDraft,
    signatures: tuple[Path, ...],
    addresses: tuple[str, str, str],
) -> None:
    """Write all that a start needs; the genesis comes last, so that an end half-way is seen and made good."""
    own.record.mkdir(exist_ok=True)
    replace_file(own.record_draft, draft_to_bytes(found))
    for _, consent in read_consents(signatures):
        replace_file(own.record / signature_name(consent.org), consent_to_bytes(consent))
    write_configuration(own.org, card.org, addresses, card.agent is not None, "genesis.json")
    load_node_config(own.org.node_config)
    save_genesis(own.genesis, found.genesis)
