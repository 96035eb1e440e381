"""What a founder is shown before it signs: members, validators, addresses, limits, contracts, programs."""

from __future__ import annotations

from hashlib import sha256
from importlib.metadata import version
from typing import Any

from chain.client.console import print_table, print_text
from chain.founding.addresses import is_local
from chain.founding.cards import FoundingCard, moment
from chain.founding.draft import FoundingDraft, earliest_end, limits_of
from chain.ledger.genesis import init_args
from chain.primitives.certificate import quorum
from chain.primitives.words import counted
from contracts.pages.page import page_hash

SOUND_FROM = 4
"""With fewer validators none may fail."""


def contract_hashes(draft: FoundingDraft) -> dict[str, str]:
    """Return contract -> SHA-256 of its source, in hex, as `assent contract show` prints it."""
    return {name: sha256(source.encode()).hexdigest() for name, source in draft.genesis.sources.items()}


def program_hashes(draft: FoundingDraft) -> dict[str, str]:
    """Return program -> the hash of its page, in hex."""
    pages: Any = init_args(draft.genesis).get("programs", {}).get("pages", {})
    try:
        return {str(program): page_hash(text).hex() for program, text in pages.items()}
    except (TypeError, AttributeError):  # of another Assent, in a draft that is signed already
        return {}


def print_draft(draft: FoundingDraft) -> None:
    """Print all that a member agrees to when it signs."""
    print_table(
        f"founders of {draft.genesis.chain_name}",
        ["organisation", "roles", "validator and agent"],
        [[_titled(card), list(card.roles), _places(card)] for card in draft.cards],
    )
    print_table("limits", ["name", "#value"], [[name, f"{n:,}"] for name, n in limits_of(draft).items()])
    print_table("contracts", ["name", "sha256 of the source"],
                [[name, digest] for name, digest in contract_hashes(draft).items()])  # fmt: skip
    print_table("programs", ["program", "hash of the page"],
                [[name, f"{digest[:16]}…"] for name, digest in program_hashes(draft).items()])  # fmt: skip
    for line in notices(draft):
        print_text(line)
    print_text(f"height 0: {moment(draft.genesis.time)}; all must have signed by {earliest_end(draft)}")
    print_text(f"genesis:  {draft.genesis.chain_id.hex()}")


def _titled(card: FoundingCard) -> list[str]:
    return [card.org] if card.name == card.org else [card.org, card.name]


def _places(card: FoundingCard) -> list[str]:
    agent = [f"agent at {card.agent_address}"] if card.agent_address else ["no agent"]
    return [card.node_name, f"at {card.node_address}", *agent]


def notices(draft: FoundingDraft) -> list[str]:
    """Return what a founder should know of a draft that is allowed, and maybe not meant."""
    count = len(draft.cards)
    need = quorum(count)
    may_fail = counted(count - need, "validator") if count > need else "none"
    told = [
        f"{counted(count, 'validator')}, one an organisation: {need} must run for the chain to move, so "
        f"{may_fail} may fail"
    ]
    if count < SOUND_FROM:
        told[0] += f"; {SOUND_FROM} are the fewest that bear one"
    local = [address for card in draft.cards for address in card.addresses if is_local(address)]
    if local:
        told.append(
            f"note: {local[0]}{_others(len(local) - 1)}: dialled on its own machine alone, as for a trial; "
            "companies state addresses that the others can dial"
        )
    return told


def _others(count: int) -> str:
    return f" and {counted(count, 'other')}" if count else ""


def draft_json(draft: FoundingDraft, signed: list[str], missing: list[str]) -> dict[str, Any]:
    """Return all that a member agrees to when it signs, for programs that read JSON."""
    return {
        "founding": draft.genesis.chain_name,
        "genesis": draft.genesis.chain_id.hex(),
        "time": draft.genesis.time,
        "founders": [
            {
                "org": card.org,
                "name": card.name,
                "roles": list(card.roles),
                "validator": card.node_name,
                "address": card.node_address,
                "agent_address": card.agent_address,
                "expires": card.expires,
            }
            for card in draft.cards
        ],
        "limits": limits_of(draft),
        "contracts": contract_hashes(draft),
        "programs": program_hashes(draft),
        "notices": notices(draft),
        "signed": signed,
        "missing": missing,
        "assent": version("assent"),
    }
