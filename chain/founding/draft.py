"""Drafts: the genesis that follows from the cards of the founders, with those cards, for all to check.

Everything but the limits follows from the cards and from the Assent that all founders run. So the same cards
and limits give the same bytes, whoever combines them and in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from chain.founding.cards import (
    FoundingCard,
    card_from_json,
    card_to_json,
    check_current,
    difference,
    moment,
)
from chain.founding.documents import parse, read_exactly, render
from chain.founding.founders import Founder, SystemContracts, found_genesis
from chain.founding.refusals import FoundingAltered, FoundingRefused, shown
from chain.ledger.genesis import FILE_BYTES_MAX as GENESIS_BYTES_MAX
from chain.ledger.genesis import INIT_ARGS_BYTES_MAX, Genesis, Limits, genesis_from_json, genesis_to_json
from chain.primitives.certificate import VALIDATORS_MAX
from chain.primitives.errors import ConfigError
from chain.primitives.values import decode_value

KIND = "assent-founding-draft"
FOUNDERS_MAX = VALIDATORS_MAX
FILE_BYTES_MAX = GENESIS_BYTES_MAX
NamedCards = Sequence[tuple[str, FoundingCard]]
"""Cards, each with the words that name it in an error: its file, or the founder."""


@dataclass(frozen=True, slots=True)
class FoundingDraft:
    """What the founders are asked to sign: `combine` and `draft_from_bytes` make it."""

    cards: tuple[FoundingCard, ...]
    """In order of organisation."""
    genesis: Genesis

    def card(self, org: str) -> FoundingCard:
        """Return the card of an organisation; raise FoundingRefused naming those there are."""
        for card in self.cards:
            if card.org == org:
                return card
        raise FoundingRefused(
            f"the draft has no card of {org!r}; it has {[card.org for card in self.cards]}: send your "
            "card to whoever combines them"
        )


def combine(cards: NamedCards, limits: Limits, contracts: SystemContracts) -> FoundingDraft:
    """Return the draft of these cards, which are checked; raise FoundingRefused where they do not agree."""
    _check_together(cards)
    sorted_cards = tuple(sorted((card for _, card in cards), key=lambda card: card.org))
    return FoundingDraft(sorted_cards, _genesis(sorted_cards, limits, contracts))


def _genesis(cards: Sequence[FoundingCard], limits: Limits, contracts: SystemContracts) -> Genesis:
    oldest = min(card.made for card in cards)  # which lies in the past of every founder's clock
    return found_genesis(cards[0].founding, oldest, [_founder(card) for card in cards], contracts, limits)


def _founder(card: FoundingCard) -> Founder:
    return Founder(
        org=card.org,
        name=card.name,
        roles=card.roles,
        admin_key=card.admin.key,
        node_name=card.node_name,
        node_key=card.node.key,
        node_address=card.node_address,
        agent_key=b"" if card.agent is None else card.agent.key,
        agent_address=card.agent_address,
    )


def _check_together(cards: NamedCards, where: str = "") -> None:
    if not 1 <= len(cards) <= FOUNDERS_MAX:
        raise FoundingRefused(
            f"{where}{len(cards)} cards: a chain is founded by 1 to {FOUNDERS_MAX}; others join it by vote "
            "later"
        )
    first_where, first = cards[0]
    for place, card in cards:
        if card.founding != first.founding:
            raise FoundingRefused(
                f"{place}: a card for the founding of {card.founding!r}, while {first_where} is for "
                f"{first.founding!r}; leave out the one that is foreign here"
            )
    _distinct(cards, "organisation", lambda card: [card.org])
    _distinct(cards, "name of a node", lambda card: [card.node_name])
    _distinct(cards, "key", lambda card: [held.key.hex() for held in card.keys.values()])
    _distinct(cards, "address", lambda card: card.addresses)


def _distinct(cards: NamedCards, what: str, values: Any) -> None:
    """Raise FoundingRefused where two cards, or two places of one, state the same value."""
    seen: dict[str, str] = {}
    for where, card in cards:
        for value in values(card):
            if value in seen:
                both = f"{seen[value]} and {where} state" if seen[value] != where else f"{where} states twice"
                raise FoundingRefused(
                    f"{both} the {what} {value!r}; it stands once in a chain: leave one card out, or let "
                    f"{card.org} make another"
                )
            seen[value] = where


def contracts_of(draft: FoundingDraft) -> SystemContracts:
    """Return what a draft founds with by its own word: what counts once all have signed it."""
    arguments = {
        item.contract: decode_value(item.args, max_bytes=INIT_ARGS_BYTES_MAX)
        for item in draft.genesis.init_args
    }
    return SystemContracts(draft.genesis.sources, arguments)


def check_draft(draft: FoundingDraft, where: str, contracts: SystemContracts, now: int) -> None:
    """Raise FoundingRefused unless a draft could be signed now: it follows from its cards, none expired."""
    check_follows(draft, where, contracts)
    for card in draft.cards:
        check_current(card, where, now)


def check_follows(draft: FoundingDraft, where: str, contracts: SystemContracts) -> None:
    """Raise FoundingRefused unless the genesis follows from the cards, the limits and these contracts."""
    try:
        expected = _genesis(draft.cards, draft.genesis.limits, contracts)
    except ConfigError as error:
        raise FoundingRefused(f"{where}: {error}") from None
    if expected != draft.genesis:
        raise FoundingAltered(f"{where}: {_departure(expected, draft.genesis)}")


def _departure(expected: Genesis, found: Genesis) -> str:
    """Say in which part a genesis is not what follows from its cards, and what to do."""
    own = expected.sources
    for contract in found.contracts:
        if own.get(contract.name) != contract.source:
            return (
                f"genesis.contracts: {contract.name!r} is not the contract of this Assent; all founders use "
                "one version: install it everywhere, then combine the cards again"
            )
    given = [{item.contract: item.args for item in genesis.init_args} for genesis in (expected, found)]
    changed = sorted(name for name in {*given[0], *given[1]} if given[0].get(name) != given[1].get(name))
    if changed:
        return (
            f"genesis.init_args: what {changed[0]!r} begins with, programs included, is not what it is in "
            "this Assent; all founders use one version: install it everywhere, then combine the cards again"
        )
    for field in fields(Genesis):
        mine, theirs = getattr(expected, field.name), getattr(found, field.name)
        if mine != theirs:
            return (
                f"genesis.{field.name} is not what follows from the cards and from this Assent: it was "
                "altered, or made by another version; combine the cards again"
            )
    raise AssertionError("two genesis records that differ in no field")


def check_own(draft: FoundingDraft, own: FoundingCard) -> None:
    """Raise FoundingRefused unless an organisation's own card is in a draft, unchanged."""
    found = draft.card(own.org)
    if change := difference(own, found):
        raise FoundingRefused(
            f"the draft has another card of {own.org!r} than your folder: {change}; send your newest card to "
            "whoever combines them"
        )


def limits_of(draft: FoundingDraft) -> dict[str, int]:
    """Return the limits that the members would agree to, by name."""
    found: dict[str, int] = asdict(draft.genesis.limits)
    return found


def earliest_end(draft: FoundingDraft) -> str:
    """Return until when all founders must have signed, in words: then the first card expires."""
    return moment(min(card.expires for card in draft.cards))


def draft_to_bytes(draft: FoundingDraft) -> bytes:
    """Return the bytes of a draft's file."""
    cards = [card_to_json(card) for card in draft.cards]
    return render(KIND, {"cards": cards, "genesis": genesis_to_json(draft.genesis)})


def draft_from_bytes(raw: bytes, where: str) -> FoundingDraft:
    """Read a draft's file and check its cards and their order; raise FoundingRefused naming `where`."""
    content = parse(raw, KIND, FILE_BYTES_MAX, where)
    return read_exactly(raw, where, lambda: _from_json(content, where), draft_to_bytes)


def _from_json(content: dict[str, Any], where: str) -> FoundingDraft:
    if set(content) != {"cards", "genesis"} or not isinstance(content["cards"], list):
        raise FoundingAltered(f'{where}: expected "cards", a list, and "genesis", and nothing else')
    cards = list(_cards(content["cards"], where))
    _check_together(cards, f"{where}: ")
    found = tuple(card for _, card in cards)
    if [card.org for card in found] != sorted(card.org for card in found):
        raise FoundingAltered(f"{where}: the cards are not in order of organisation; combine them again")
    return FoundingDraft(found, genesis_from_json(content["genesis"], f"{where}: genesis"))


def _cards(raw: list[Any], where: str) -> Iterable[tuple[str, FoundingCard]]:
    for i, item in enumerate(raw[: FOUNDERS_MAX + 1]):
        named = item.get("org") if isinstance(item, dict) else None
        label = f"{where}: card of {shown(named)}" if isinstance(named, str) else f"{where}: cards[{i}]"
        yield label, card_from_json(item, label)
