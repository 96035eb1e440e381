"""What the liars of one cluster know together: everything that any of them ever heard, within bounds.

From votes they build certificates and prepared proofs, their own votes added; view changes, new views
and statuses of others they keep as they are, for as long as these may be of use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from chain.primitives.certificate import Certificate
from consensus.messages import (
    UNSIGNED,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    Prepared,
    Proposal,
    Status,
    ViewChange,
    sign,
)
from tests.simulation.shortcuts import Key

SLOTS_MAX = 96
"""Slots (view, height, digest) whose votes are kept; as many heights' checkpoints and payloads."""
VIEWS_MAX = 48
"""Views (epoch, view) whose view changes are kept."""
CHANGES_MAX = 3
"""View changes of one sender for one view: before and after a wipe, and one more."""
STATUSES_MAX = 6
"""Statuses of one sender: the first that was heard and the latest ones."""
NEW_VIEWS_MAX = 8
K = TypeVar("K")
V = TypeVar("V")
Slot = tuple[int, int, bytes]


class Overheard:
    """The common memory of the colluding liars."""

    def __init__(self, chain_id: bytes) -> None:
        self._chain_id = chain_id
        self.keys: list[Key] = []
        """Of the liars."""
        self.prepares: dict[Slot, dict[bytes, bytes]] = {}
        """(view, height, digest) -> sender -> signature."""
        self.commits: dict[Slot, dict[bytes, bytes]] = {}
        self.checkpoints: dict[tuple[int, bytes], dict[bytes, bytes]] = {}
        """(height, header hash) -> sender -> signature."""
        self.certificates: dict[int, Certificate] = {}
        self.prepared: dict[Slot, Prepared] = {}
        self.view_changes: dict[tuple[int, int], dict[bytes, list[ViewChange]]] = {}
        """(epoch, view) -> sender -> what it sent, oldest first."""
        self.new_views: dict[tuple[int, int], NewView] = {}
        self.statuses: dict[bytes, list[Status]] = {}
        self.payloads: dict[bytes, tuple[int, bytes]] = {}
        """Digest -> (height, payload)."""

    def hear(self, message: Any) -> None:
        """Keep one message, and what is nested in it."""
        match message:
            case Proposal():
                claim = message.pre_prepare
                keep(self.payloads, claim.payload_digest, (claim.height, message.payload), SLOTS_MAX)
            case Prepare() | Commit():
                votes = self.prepares if isinstance(message, Prepare) else self.commits
                slot = (message.view, message.height, message.payload_digest)
                keep(votes, slot, votes.get(slot, {}), SLOTS_MAX)[message.sender] = message.signature
            case Checkpoint():
                at = (message.height, message.header_hash)
                kept = keep(self.checkpoints, at, self.checkpoints.get(at, {}), SLOTS_MAX)
                kept[message.sender] = message.signature
            case Certificate():
                keep(self.certificates, message.height, message, SLOTS_MAX)
            case ViewChange():
                self._view_change(message)
            case NewView():
                keep(self.new_views, (message.epoch, message.view), message, NEW_VIEWS_MAX)
                for change in message.view_changes:
                    self._view_change(change)
            case Status():
                kept_statuses = self.statuses.setdefault(message.sender, [])
                kept_statuses.append(message)
                del kept_statuses[1 : 1 - STATUSES_MAX]
                self._certificate(message.certificate)
            case _:
                pass

    def _view_change(self, change: ViewChange) -> None:
        place = (change.epoch, change.view)
        by_sender = keep(self.view_changes, place, self.view_changes.get(place, {}), VIEWS_MAX)
        kept = by_sender.setdefault(change.sender, [])
        if change not in kept and len(kept) < CHANGES_MAX:
            kept.append(change)
        self._certificate(change.certificate)
        for item in change.prepared:
            keep(self.prepared, (item.view, item.height, item.payload_digest), item, SLOTS_MAX)

    def _certificate(self, certificate: Certificate | None) -> None:
        if certificate is not None:
            self.hear(certificate)

    # --- what can be built of it ----------------------------------------------------------------------

    def certify(self, height: int, header_hash: bytes, validators: Sequence[bytes]) -> Certificate:
        """Return a certificate of all checkpoints that were heard and all that the liars can give."""
        votes = dict(self.checkpoints.get((height, header_hash), {}))
        for key in self.keys:
            if key.public in validators:
                vote = Checkpoint(height, header_hash, key.public, UNSIGNED)
                votes[key.public] = sign(vote, key, self._chain_id).signature
        given = sorted(item for item in votes.items() if item[0] in validators)
        return Certificate(height, header_hash, tuple(given))

    def highest_certificate(self, validators: Sequence[bytes], quorum: int) -> Certificate | None:
        """Return the certificate of the greatest height that was heard or can be built."""
        best = self.certificates[max(self.certificates)] if self.certificates else None
        for height, header_hash in self.checkpoints:
            if best is None or height > best.height:
                built = self.certify(height, header_hash, validators)
                best = built if len(built.signatures) >= quorum else best
        return best

    def prepare(self, slot: Slot, validators: Sequence[bytes], quorum: int) -> Prepared | None:
        """Return the prepared proof of a slot, heard or built, with the liars' votes added."""
        view, height, digest = slot
        votes = dict(self.prepares.get(slot, {}))
        for key in self.keys:
            if key.public in validators:
                vote = Prepare(view, height, digest, key.public, UNSIGNED)
                votes[key.public] = sign(vote, key, self._chain_id).signature
        given = sorted(item for item in votes.items() if item[0] in validators)
        if len(given) < quorum:
            return self.prepared.get(slot)
        return Prepared(view, height, digest, tuple(given[:quorum]))


def keep(store: dict[K, V], key: K, value: V, most: int) -> V:
    """Put an entry, and let the oldest ones go."""
    store[key] = value
    while len(store) > most:
        del store[next(iter(store))]
    return value
