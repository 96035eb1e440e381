"""One defect in an otherwise genuine message: each breaks one rule of "Genuine" in consensus/README.md."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from chain.primitives.certificate import Certificate
from consensus.messages import UNSIGNED, Checkpoint, NewView, Prepare, Prepared, ViewChange, sign
from tests.simulation.shortcuts import Key, key

Pairs = tuple[tuple[bytes, bytes], ...]
STRANGER = key("stranger")
"""A key that no set ever holds."""


@dataclass(frozen=True, slots=True)
class Forger:
    """One liar's pen."""

    chance: random.Random
    key: Key
    chain_id: bytes

    def certificate(self, item: Certificate) -> Certificate:
        """Return a block certificate with one defect."""
        vote = sign(
            Checkpoint(item.height, item.header_hash, STRANGER.public, UNSIGNED), STRANGER, self.chain_id
        )
        match self.chance.choice(["height", "hash", "pairs", "pairs", "pairs"]):
            case "height":
                return replace(item, height=max(1, item.height + self.chance.choice([-1, 1, 2, 1_000])))
            case "hash":
                return replace(item, header_hash=self.chance.randbytes(32))
            case _:
                return replace(item, signatures=self._pairs(item.signatures, vote.signature))

    def prepared(self, item: Prepared) -> Prepared:
        """Return a prepared certificate with one defect."""
        vote = Prepare(item.view, item.height, item.payload_digest, STRANGER.public, UNSIGNED)
        signature = sign(vote, STRANGER, self.chain_id).signature
        match self.chance.choice(["view", "view", "height", "digest", "pairs", "pairs", "pairs"]):
            case "view":
                return replace(item, view=item.view + 1)
            case "height":
                return replace(item, height=item.height + 1)
            case "digest":
                return replace(item, payload_digest=self.chance.randbytes(32))
            case _:
                return replace(item, signatures=self._pairs(item.signatures, signature))

    def _pairs(self, pairs: Pairs, stranger: bytes) -> Pairs:
        """Return one signature less, one twice, one of a stranger, or one that its signer never gave."""
        at = self.chance.randrange(len(pairs))
        rest = [*pairs[:at], *pairs[at + 1 :]]
        match self.chance.choice(["few", "twice", "stranger", "never"]):
            case "few":
                return tuple(rest) or pairs
            case "twice":
                return tuple(sorted([*rest, self.chance.choice(rest or pairs)]))
            case "stranger":
                return tuple(sorted([*rest, (STRANGER.public, stranger)]))
            case _:
                return (*pairs[:at], (pairs[at][0], self.chance.randbytes(64)), *pairs[at + 1 :])

    def view_change(self, change: ViewChange) -> ViewChange:
        """Return a view change of ours with one defect."""
        defects: list[Callable[[ViewChange], ViewChange]] = [self._epoch, self._stranger]
        if change.prepared:
            defects += [self._prepared_inside] * 4 + [self._not_lower, self._twice]
        if change.certificate is not None:
            defects += [self._certificate_inside] * 2
        return self.chance.choice(defects)(change)

    def _signed(self, change: ViewChange) -> ViewChange:
        return sign(change, self.key, self.chain_id)

    def _epoch(self, change: ViewChange) -> ViewChange:
        return self._signed(replace(change, epoch=max(0, change.epoch + self.chance.choice([-1, 1]))))

    def _stranger(self, change: ViewChange) -> ViewChange:
        return sign(replace(change, sender=STRANGER.public), STRANGER, self.chain_id)

    def _prepared_inside(self, change: ViewChange) -> ViewChange:
        at = self.chance.randrange(len(change.prepared))
        forged = self.prepared(change.prepared[at])
        return self._signed(
            replace(change, prepared=(*change.prepared[:at], forged, *change.prepared[at + 1 :]))
        )

    def _not_lower(self, change: ViewChange) -> ViewChange:
        """Ask for a view in which something was prepared already."""
        return self._signed(replace(change, view=max(1, change.prepared[-1].view)))

    def _twice(self, change: ViewChange) -> ViewChange:
        return self._signed(replace(change, prepared=(*change.prepared, change.prepared[-1])))

    def _certificate_inside(self, change: ViewChange) -> ViewChange:
        assert change.certificate is not None
        return self._signed(replace(change, certificate=self.certificate(change.certificate)))

    def new_view(self, message: NewView, others: list[ViewChange]) -> NewView:
        """Return a new view of ours with one defect; `others` are view changes to other views or epochs."""
        changes = message.view_changes
        at = self.chance.randrange(len(changes))
        rest = [*changes[:at], *changes[at + 1 :]]
        match self.chance.choice(["few", "twice", "other", "nested", "epoch", "view", "reproposals"]):
            case "few" if rest:
                message = replace(message, view_changes=tuple(rest))
            case "twice" if rest:
                message = self._with(message, [*rest, self.chance.choice(rest)])
            case "other" if others:
                senders = {change.sender for change in rest}
                fit = [change for change in others if change.sender not in senders]
                message = self._with(message, [*rest, self.chance.choice(fit)] if fit else list(changes))
            case "epoch":
                message = replace(message, epoch=max(0, message.epoch + self.chance.choice([-1, 1])))
            case "view":
                message = replace(message, view=message.view + 1)
            case "reproposals":
                message = self._other_reproposals(message)
            case _:
                message = self._with(message, [*rest, self._nested(changes[at])])
        return sign(message, self.key, self.chain_id)

    def _nested(self, change: ViewChange) -> ViewChange:
        """Return a view change of another that it never sent."""
        match self.chance.choice(["signature", "hidden", "view"]):
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
