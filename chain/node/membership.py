"""Who may connect and who this node is, as its own ledger says: nothing of it is configured."""

from __future__ import annotations

from collections.abc import Sequence

from chain.ledger.genesis import Validator
from chain.ledger.ledger import Ledger
from chain.ledger.schedule import OBSERVER
from chain.primitives.words import OUTSIDE

VOTES, WILL_VOTE, FOLLOWS = "validator", "next validator", "observer"


def accepted(ledger: Ledger) -> dict[bytes, Validator]:
    """Return the nodes that may connect, by key: validators in force or announced, and observers.

    A key that governance has removed counts until the set without it is in force.
    """
    coming = ledger.schedule.coming(ledger.certified_height + 1)
    found = {node.public_key: node for item in coming for node in item.validators}
    found |= {item.node.public_key: item.node for item in ledger.schedule.nodes() if item.role == OBSERVER}
    for item in ledger.schedule.nodes():  # the newest word on names and addresses
        if item.node.public_key in found:
            found[item.node.public_key] = item.node
    return found


def role_of(ledger: Ledger, key: bytes) -> str:
    """Return what a key is at the next height to be certified: one of the four words above."""
    if key in ledger.epoch_at(ledger.certified_height + 1).validators:
        return VOTES
    if any(key in item.keys for item in ledger.schedule.coming(ledger.certified_height + 1)):
        return WILL_VOTE
    return FOLLOWS if key in accepted(ledger) else OUTSIDE


def choose_key(ledger: Ledger, keys: Sequence[bytes]) -> bytes:
    """Return which of a node's keys it goes by now: one that votes, else one accepted, else the first.

    So a node whose seat moves to its next key goes on under it from the very height on where it votes.
    """
    voting, known = ledger.epoch_at(ledger.certified_height + 1).validators, accepted(ledger)
    for choice in ([key for key in keys if key in voting], [key for key in keys if key in known]):
        if choice:
            return choice[0]
    return keys[0]
