"""One defect in an otherwise genuine message: each breaks one rule of "Genuine" in consensus/README.md.

A liar starts with a few defects, and lets go of one for which it is disconnected: so it comes to those that
are not noticed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chain.primitives.certificate import Certificate
from consensus.messages import UNSIGNED, Checkpoint, NewView, Prepare, Prepared, ViewChange, sign
from tests.simulation.shortcuts import Key, key

Pairs = tuple[tuple[bytes, bytes], ...]
STRANGER = key("stranger")
"""A key that no set ever holds."""
OF_PREPARED = tuple(f"prepared-{what}" for what in ("fewer", "twice", "stranger", "never"))
OF_CERTIFICATES = tuple(f"certificate-{what}" for what in ("fewer", "twice", "stranger", "never"))
OF_SLOTS = ("prepared-view", "prepared-height", "prepared-content")
OF_BLOCKS = ("certificate-height", "certificate-content", "certificate-invented")
OF_CHANGES = ("epoch", "sender", "not-lower", "height-twice")
OF_NEW_VIEWS = (
    "new-view-fewer",
    "new-view-twice",
    "new-view-other",
    "new-view-nested",
    "new-view-epoch",
    "new-view-view",
    "new-view-leader",
    "new-view-reproposals",
)
DEFECTS = (*OF_PREPARED, *OF_CERTIFICATES, *OF_SLOTS, *OF_BLOCKS, *OF_CHANGES, *OF_NEW_VIEWS)
AT_ONCE = 8
"""Defects that a liar tries at a time."""


class Forger:
    """One liar's pen."""

    def __init__(self, chance: random.Random, key: Key, chain_id: bytes) -> None:
        self.chance, self.key, self.chain_id = chance, key, chain_id
        self.defects = chance.sample(DEFECTS, AT_ONCE)
        self.used = ""
        """The defect of what was forged last."""

    def noticed(self, defect: str) -> None:
        """Let go of a defect; once all were noticed, take up others."""
        if defect in self.defects:
            self.defects.remove(defect)
        if not self.defects:
            self.defects = self.chance.sample(DEFECTS, AT_ONCE)

    def _one_of(self, names: Sequence[str]) -> str:
        """Return one of these defects that is ours; empty when none is."""
        ours = [name for name in names if name in self.defects]
        self.used = self.chance.choice(ours) if ours else ""
        return self.used

    def certificate(self, item: Certificate) -> Certificate:
        """Return a block certificate with a defect of ours, if one fits."""
        match self._one_of([*OF_CERTIFICATES, *OF_BLOCKS]):
            case "certificate-height":
                return replace(item, height=max(1, item.height + self.chance.choice([-1, 1, 2, 1_000])))
            case "certificate-content":
                return replace(item, header_hash=self.chance.randbytes(32))
            case "certificate-invented":
                return self._invented(item.height + self.chance.choice([1, 20, 1_000]))
            case defect:
                vote = Checkpoint(item.height, item.header_hash, STRANGER.public, UNSIGNED)
                return replace(item, signatures=self._pairs(item.signatures, vote, defect))

    def _invented(self, height: int) -> Certificate:
        """Return a certificate that strangers signed, of a height that nobody reached perhaps."""
        header_hash = self.chance.randbytes(32)
        vote = sign(Checkpoint(height, header_hash, STRANGER.public, UNSIGNED), STRANGER, self.chain_id)
        return Certificate(height, header_hash, ((STRANGER.public, vote.signature),))

    def prepared(self, item: Prepared) -> Prepared:
        """Return a prepared proof with a defect of ours, if one fits."""
        match self._one_of([*OF_PREPARED, *OF_SLOTS]):
            case "prepared-view":
                return replace(item, view=item.view + 1)
            case "prepared-height":
                return replace(item, height=item.height + 1)
            case "prepared-content":
                return replace(item, payload_digest=self.chance.randbytes(32))
            case defect:
                vote = Prepare(item.view, item.height, item.payload_digest, STRANGER.public, UNSIGNED)
                return replace(item, signatures=self._pairs(item.signatures, vote, defect))

    def _pairs(self, pairs: Pairs, stranger: Checkpoint | Prepare, defect: str) -> Pairs:
        """Return one signature less, one twice, one of a stranger, or one that its signer never gave."""
        at = self.chance.randrange(len(pairs))
        rest = [*pairs[:at], *pairs[at + 1 :]]
        match defect.partition("-")[2]:
            case "fewer":
                return tuple(rest) or pairs
            case "twice":
                return tuple(sorted([*rest, self.chance.choice(rest or pairs)]))
            case "stranger":
                signed: Any = sign(stranger, STRANGER, self.chain_id)
                return tuple(sorted([*rest, (STRANGER.public, signed.signature)]))
            case "never":
                return (*pairs[:at], (pairs[at][0], self.chance.randbytes(64)), *pairs[at + 1 :])
            case _:
                return pairs

    def view_change(self, change: ViewChange) -> ViewChange:
        """Return a view change with a defect of ours, its own or of something in it."""
        match self._one_of(OF_CHANGES) if self.chance.random() < 0.4 else "":
            case "epoch":
                change = replace(change, epoch=max(0, change.epoch + self.chance.choice([-1, 1])))
            case "sender":
                return sign(replace(change, sender=STRANGER.public), STRANGER, self.chain_id)
            case "not-lower" if change.prepared:
                change = replace(change, view=max(1, change.prepared[-1].view))
            case "height-twice" if change.prepared:
                change = replace(change, prepared=(*change.prepared, change.prepared[-1]))
            case _:
                change = self._inside(change)
        return sign(change, self.key, self.chain_id)

    def _inside(self, change: ViewChange) -> ViewChange:
        """Return a view change that shows something forged."""
        if change.prepared and (change.certificate is None or self.chance.random() < 0.7):
            at = self.chance.randrange(len(change.prepared))
            forged = self.prepared(change.prepared[at])
            return replace(change, prepared=(*change.prepared[:at], forged, *change.prepared[at + 1 :]))
        if change.certificate is not None:
            return replace(change, certificate=self.certificate(change.certificate))
        return change

    def begun(
        self, message: NewView, missing: int, others: list[ViewChange], *, leads: bool
    ) -> NewView | None:
        """Return a new view, unsigned, with one defect of ours; None when it would have another as well.

        Its own may be that we do not lead it, or that so many view changes are missing.
        """
        if leads and missing == 0:
            return self._new_view(message, others)
        have = {change.sender for change in message.view_changes}
        fit = list({change.sender: change for change in others if change.sender not in have}.values())
        filled = {
            "new-view-leader": [] if missing == 0 else None,
            "new-view-fewer": [] if missing == 1 else None,
            "new-view-twice": self.chance.choices(message.view_changes, k=missing),
            "new-view-other": self.chance.sample(fit, missing) if len(fit) >= missing else None,
        }
        flaws = ("new-view-fewer", "new-view-twice", "new-view-other") if leads else ("new-view-leader",)
        defect = self._one_of([flaw for flaw in flaws if filled[flaw] is not None])
        more = filled.get(defect)
        return None if more is None else self._with(message, [*message.view_changes, *more])

    def _new_view(self, message: NewView, others: list[ViewChange]) -> NewView:
        """Return one with a defect in itself; `others` are view changes to other views or epochs."""
        changes = message.view_changes
        at = self.chance.randrange(len(changes))
        rest = [*changes[:at], *changes[at + 1 :]]
        match self._one_of(OF_NEW_VIEWS):
            case "new-view-fewer" if rest:
                message = replace(message, view_changes=tuple(rest))
            case "new-view-twice" if rest:
                message = self._with(message, [*rest, self.chance.choice(rest)])
            case "new-view-other":
                senders = {change.sender for change in rest}
                fit = [change for change in others if change.sender not in senders]
                message = self._with(message, [*rest, self.chance.choice(fit)] if fit else list(changes))
            case "new-view-nested":
                message = self._with(message, [*rest, self._nested(changes[at])])
            case "new-view-epoch":
                message = replace(message, epoch=max(0, message.epoch + self.chance.choice([-1, 1])))
            case "new-view-view":
                message = replace(message, view=message.view + 1)
            case "new-view-reproposals":
                message = self._other_reproposals(message)
            case _:
                self.used = ""
        return message

    def invented(
        self, epoch: int, view: int, senders: Sequence[bytes], below: ViewChange
    ) -> list[ViewChange]:
        """Return view changes that others never sent, if that is a defect of ours."""
        if "new-view-nested" not in self.defects:
            return []
        return [
            replace(below, epoch=epoch, view=view, prepared=(), sender=sender, signature=bytes(64))
            for sender in senders
        ]

    def _nested(self, change: ViewChange) -> ViewChange:
        match self.chance.choice(["signature", "hidden", "certificate"]):
            case "signature":
                return replace(change, signature=self.chance.randbytes(64))
            case "hidden" if change.prepared:
                return replace(change, prepared=())
            case _:
                return replace(change, certificate=None, prepared=())

    def _other_reproposals(self, message: NewView) -> NewView:
        altered = [(height, self.chance.randbytes(32)) for height, _ in message.reproposals]
        return replace(message, reproposals=tuple(altered[: self.chance.randint(0, len(altered))]))

    @staticmethod
    def _with(message: NewView, changes: list[ViewChange]) -> NewView:
        return replace(message, view_changes=tuple(sorted(changes, key=lambda change: change.sender)))
