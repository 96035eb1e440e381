"""Liars that assemble: messages built out of all that any liar overheard, shown to one node at a time.

Each liar acts on a timer of its own, and when it hears that somebody leaves a view. It knows where honest
nodes stand, as an adversary with the whole network in view does. Some of what it builds has one defect
(`forgery.py`); the rest is genuine, selective and contradictory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chain.ledger.block import Batch
from chain.primitives.certificate import Certificate
from chain.primitives.codec import decode, encode
from chain.primitives.errors import AssentError
from consensus.messages import (
    UNSIGNED,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    Prepared,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
    certificate_height,
    payload_digest,
)
from consensus.selection import base_height, choose_reproposals
from consensus.state import State
from tests.simulation.forgery import Forger

if TYPE_CHECKING:
    from tests.simulation.byzantine import Liar

PACES_MS = (60, 150, 400)
"""Mean time between two schemes of one liar."""
FORGING = (0.0, 0.3, 0.8)
"""How much of what a liar builds has a defect: who forges is disconnected for a while."""
FLOOD = 5
"""Proposals of one slot that are sent at once: more than a replica keeps."""
MANY = 8


class Schemer:
    """The hands of one liar."""

    def __init__(self, liar: Liar) -> None:
        self._liar, self._known, self._chance = liar, liar.known, liar.chance
        self._pen = Forger(liar.chance, liar.key, liar.cluster.genesis.chain_id)
        self._used: dict[int, str] = {}
        """Node -> the defect of what was sent to it last."""
        self._pace, self._forging = self._chance.choice(PACES_MS), self._chance.choice(FORGING)
        self._schemes: list[Scheme] = self._chance.sample(SCHEMES, self._chance.randint(2, len(SCHEMES)))

    def caught(self, by: int) -> None:
        """Let go of the defect for which a node disconnects us."""
        self._pen.noticed(self._used.pop(by, ""))

    def begin(self) -> None:
        """Scheme from now on."""
        self._liar.cluster.after(1 + int(self._chance.expovariate(1 / self._pace)), self._act)

    def _act(self) -> None:
        self.begin()
        target = self._liar.some_target()
        state = self._liar.state_of(target)
        if state is not None:
            self._chance.choice(self._schemes)(self, target, state)

    def heard(self, message: Any) -> None:
        """Use a moment at which others are between two views."""
        if isinstance(message, ViewChange) and Schemer.lead in self._schemes and self._chance.random() < 0.5:
            target = self._liar.some_target()
            state = self._liar.state_of(target)
            if state is not None:
                self.lead(target, state)

    # --- schemes: (whom to show it, where it stands) --------------------------------------------------

    def certify(self, target: int, state: State) -> None:
        """Show a certificate of some height."""
        if (certificate := self._some_certificate(state)) is not None:
            self._send(target, self._perhaps(self._pen.certificate, certificate))

    def ask(self, target: int, state: State) -> None:
        """Ask for a view, and show what suits of what was certified and prepared."""
        view = max(1, state.view + self._chance.choice([0, 1, 1, 1, 2]))
        last = state.view_changes.get(self._liar.key.public)
        if last is not None and last.epoch == state.epoch.first and self._chance.random() < 0.5:
            view = max(view, last.view + 1)  # else it is not even looked at
        change = self._view_change(state, view)
        self._send(target, self._perhaps(self._pen.view_change, change))

    def lead(self, target: int, state: State) -> None:
        """Begin a view with those view changes that suit, old ones among them, whoever may lead it."""
        forging = self._chance.random() < self._forging
        epoch, news = state.epoch.first, state.view + state.active
        views = [view for first, view in self._known.view_changes if first == epoch and view >= news]
        if not views and not forging:
            return
        view = self._chance.choice(views) if views else max(1, news)
        chosen = self._changes_for(state, view, invent=forging)
        if not chosen:
            return
        base, me = base_height(chosen), self._liar.key.public
        leads = state.rules.primary(view, base + 1) == me
        missing = state.rules.quorum(base + 1) - len(chosen)
        if missing < 0:
            return  # the base lies in a later, smaller epoch: its view changes are others
        message = NewView(epoch, view, tuple(chosen), choose_reproposals(chosen), me, UNSIGNED)
        if not forging and not (leads and missing == 0):
            return
        made = self._pen.begun(message, missing, self._others(view), leads=leads) if forging else message
        if made is not None:
            self._send(target, self._liar.signed(made))

    def _changes_for(self, state: State, view: int, *, invent: bool) -> list[ViewChange]:
        """Return a quorum of view changes to a view, ours among them, as far as there are enough."""
        heard = self._known.view_changes.get((state.epoch.first, view), {})
        me, voting = self._liar.key.public, state.epoch.validators
        found = {sender: self._chance.choice(kept) for sender, kept in heard.items() if sender in voting}
        if me in voting:
            found[me] = self._view_change(state, view)
        if invent and found:
            below = next(iter(found.values()))
            for change in self._pen.invented(state.epoch.first, view, voting, below):
                found.setdefault(change.sender, change)
        changes = list(found.values())
        self._chance.shuffle(changes)
        quorum = state.rules.quorum(state.certified + 1)
        return sorted(changes[:quorum], key=lambda change: change.sender)

    def _others(self, view: int) -> list[ViewChange]:
        """Return view changes to other views."""
        return [
            change
            for (_, other), by_sender in self._known.view_changes.items()
            if other != view
            for kept in by_sender.values()
            for change in kept
        ]

    def propose(self, target: int, state: State) -> None:
        """Flood slots that we were, are or will be the primary of with payloads of all kinds."""
        views = {0, max(0, state.view - 1), state.view, state.view + 1, self._chance.randint(0, state.view)}
        heights = range(state.certified + 1, state.certified + state.rules.consensus_window + 1)
        me = self._liar.key.public
        slots = [(v, h) for v in sorted(views) for h in heights if state.rules.primary(v, h) == me]
        if not slots:
            return
        view, height = self._chance.choice(slots)
        for _ in range(self._chance.choice([1, 1, FLOOD])):
            payload = self._payload(view, height)
            claim = PrePrepare(view, height, payload_digest(payload), me, UNSIGNED)
            self._liar.send(target, Proposal(self._liar.signed(claim), payload))

    def vote(self, target: int, state: State) -> None:
        """Vote for what was heard of, here or in another view, or for what nobody proposed."""
        slots = [slot for slot in self._known.prepares if slot[1] > state.certified]
        if not slots:
            return
        view, height, digest = self._chance.choice(slots)
        view = self._chance.choice([view, view, state.view, state.view + 1, max(0, view - 1)])
        digest = digest if self._chance.random() < 0.7 else self._chance.randbytes(32)
        kind = self._chance.choice([Prepare, Commit])
        self._liar.send(
            target, self._liar.signed(kind(view, height, digest, self._liar.key.public, UNSIGNED))
        )

    def vote_ahead(self, target: int, state: State) -> None:
        """Pretend that a height is in flight of which nobody else speaks."""
        height = state.delivered + self._chance.randint(1, state.rules.consensus_window)
        kind = self._chance.choice([Prepare, Commit])
        digest = self._chance.randbytes(32)
        vote = kind(state.view, height, digest, self._liar.key.public, UNSIGNED)
        self._liar.send(target, self._liar.signed(vote))

    def claim(self, target: int, state: State) -> None:
        """Say that a height was executed to another header, or one that nobody reached."""
        height = max(1, state.certified + self._chance.choice([0, 1, 1, 2, state.rules.consensus_window]))
        vote = Checkpoint(height, self._chance.randbytes(32), self._liar.key.public, UNSIGNED)
        self._liar.send(target, self._liar.signed(vote))

    def replay(self, target: int, state: State) -> None:
        """Say again what others said: view changes, new views, and statuses, which disconnects us."""
        del state
        known, said = self._known, list[Any]()
        if known.statuses and self._chance.random() < self._forging:
            said += known.statuses[self._chance.choice(sorted(known.statuses))]
        if known.view_changes:
            for kept in self._chance.choice(list(known.view_changes.values())).values():
                said += kept
        said += list(known.new_views.values())
        if said:
            self._liar.send(target, self._chance.choice(said))

    def status(self, target: int, state: State) -> None:
        """Say of ourselves that we stand elsewhere."""
        certificate = self._some_certificate(state)
        view = max(0, state.view + self._chance.choice([-1, 0, 0, 1, 5]))
        asks = self._chance.choice([b"", self._chance.randbytes(16)])
        message = Status(
            state.epoch.first, view, self._chance.random() < 0.5, certificate,
            max(0, certificate_height(certificate) + self._chance.randint(-1, 2)), (), (),
            asks, state.lost.nonce, self._liar.key.public, UNSIGNED,
        )  # fmt: skip
        self._liar.send(target, self._liar.signed(message))

    # --- parts ------------------------------------------------------------------------------------------

    def _send(self, target: int, message: Any) -> None:
        """Send something that may have a defect."""
        if self._pen.used:
            self._used[target], self._pen.used = self._pen.used, ""
        self._liar.send(target, message)

    def _perhaps(self, forge: Callable[[Any], Any], item: Any) -> Any:
        return forge(item) if self._chance.random() < self._forging else item

    def _some_certificate(self, state: State) -> Certificate | None:
        """Return a genuine certificate: the highest there is or one of the last few."""
        validators, quorum = state.epoch.validators, state.rules.quorum(state.certified + 1)
        if self._chance.random() < 0.5:
            return self._known.highest_certificate(validators, quorum)
        recent = sorted(self._known.certificates)[-MANY:]
        return self._known.certificates[self._chance.choice(recent)] if recent else None

    def _view_change(self, state: State, view: int) -> ViewChange:
        certificate = self._some_certificate(state)
        if certificate_height(certificate) + 1 < state.epoch.first:
            certificate = state.certificate
        base = certificate_height(certificate)
        best: dict[int, Prepared] = {}
        hiding = self._chance.choice([0.0, 0.0, 0.5, 1.0])
        for slot in [*self._known.prepares, *self._known.prepared]:
            if not base < slot[1] <= base + state.rules.consensus_window or slot[0] >= view:
                continue
            known = best.get(slot[1])
            better = known is None or known.view < slot[0] or self._chance.random() < 0.2
            if better and self._chance.random() >= hiding:
                quorum = state.rules.quorum(slot[1])
                built = self._known.prepare(slot, state.rules.validators(slot[1]), quorum)
                if built is not None:
                    best[slot[1]] = built
        prepared = tuple(best[height] for height in sorted(best))
        me = self._liar.key.public
        change: ViewChange = self._liar.signed(
            ViewChange(state.epoch.first, view, certificate, prepared, me, UNSIGNED)
        )
        return change

    def _payload(self, view: int, height: int) -> bytes:
        """Return a batch as it should be but for its time, or bytes that are none."""
        batches = [payload for at, payload in self._known.payloads.values() if at == height]
        if batches and self._chance.random() < 0.5:
            try:
                batch = decode(Batch, self._chance.choice(batches))
            except AssentError:
                return self._chance.randbytes(40)
            later = self._chance.randint(0, 50)
            return encode(
                dataclasses.replace(batch, view=view, proposer=self._liar.key.public, time=batch.time + later)
            )
        return self._chance.randbytes(40)


Scheme = Callable[[Schemer, int, State], None]
SCHEMES: tuple[Scheme, ...] = (
    Schemer.certify,
    Schemer.ask,
    Schemer.lead,
    Schemer.propose,
    Schemer.vote,
    Schemer.vote_ahead,
    Schemer.claim,
    Schemer.replay,
    Schemer.status,
)
