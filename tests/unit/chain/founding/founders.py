"""Founders for tests: keys and cards that follow from names alone."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

from chain.founding.cards import DAY_MS, FoundingCard, founding_key, sign_card
from chain.founding.draft import FoundingDraft, combine
from chain.founding.founders import COMPUTING, SystemContracts
from chain.ledger.genesis import Limits
from chain.primitives.crypto import PrivateKey

NOW = 1_800_000_000_000
FOUNDING = "data-union"
ORGS = ("bank", "bureau", "registry", "regulator")
CONTRACTS = SystemContracts({"orgs": "members = Var(list, [])\n"}, {})


def key(name: str) -> PrivateKey:
    """Return the key of this name."""
    return PrivateKey(sha256(name.encode()).digest())


def card_of(org: str, founding: str = FOUNDING, **changes: Any) -> FoundingCard:
    """Return the signed card of an organisation; `changes` are signed, too."""
    place = 31_000 + 10 * sum(org.encode())
    plain = FoundingCard(
        founding=founding,
        org=org,
        name=org.capitalize(),
        roles=COMPUTING,
        admin=founding_key(key(f"{org} admin"), founding, org),
        node_name=f"{org}-node",
        node=founding_key(key(f"{org} node"), founding, org),
        node_address=f"node.{org}.example:{place}",
        agent=founding_key(key(f"{org} agent"), founding, org),
        agent_address=f"agent.{org}.example:{place + 2}",
        made=NOW,
        expires=NOW + 30 * DAY_MS,
    )
    return sign_card(replace(plain, **changes), key(f"{org} admin"))


def named(*cards: FoundingCard) -> list[tuple[str, FoundingCard]]:
    """Return cards as they come from files."""
    return [(f"{card.org}.card.json", card) for card in cards]


def draft_of(*orgs: str, limits: Limits = Limits()) -> FoundingDraft:  # noqa: B008  # frozen
    """Return the draft of these organisations."""
    return combine(named(*map(card_of, orgs or ORGS)), limits, CONTRACTS)
