"""What colluding liars keep up for many views: each of these stopped, or split, some version of the protocol.

Their processes run the honest code, hear everybody, and say nothing that the strategy does not let pass. A
strategy is the same for all liars of a cluster, who know what any of them knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chain.network.encodedtx import encoded_transaction_id
from chain.network.frame import Kind
from chain.network.messages import PushedTransactions, TransactionIds
from chain.primitives.certificate import Certificate
from chain.primitives.codec import decode
from consensus.messages import (
    UNSIGNED,
    Checkpoint,
    Commit,
    NewView,
    PayloadReply,
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

if TYPE_CHECKING:
    from tests.simulation.byzantine import Liar
    from tests.simulation.overheard import Overheard

FLOOD = 5
"""Proposals for one slot, one more than a replica keeps besides those that it needs."""
REPLAY_EVERY_MS = 110
"""Just above how often a replica takes a status of one link."""
REPLAY_FOR_MS = 4_000
ASKED_MS = 150
"""By then a node has asked for what it was announced."""


class Strategy:
    """One strategy of all liars of a cluster; by itself it does what is right."""

    def __init__(self, liars: list[Liar], known: Overheard) -> None:
        self._liars, self._known = liars, known
        self._cluster, self._chance = liars[0].cluster, liars[0].chance

    def lets_pass(self, liar: Liar, target: int, kind: Kind, message: Any) -> bool:
        """Tell whether a frame leaves as the honest code wants it; `message` is the body of other kinds."""
        del liar, target, kind, message
        return True

    def heard(self, liar: Liar, source: int, message: Any) -> None:
        """React to what a liar hears from a node, or from another liar."""

    # --- what strategies share ------------------------------------------------------------------------

    def _settled(self) -> int:
        """Return the greatest height that an honest node knows to be certified."""
        return max(machine.settled_height for machine in self._cluster.honest)

    def _holders(self, state: State, height: int) -> set[int]:
        """Return so many honest validators that they and the liars just make a quorum."""
        index = self._cluster.index
        validators = [index[key] for key in state.rules.validators(height)]
        honest = [item for item in validators if not self._cluster.is_liar(item)]
        liars = len(validators) - len(honest)
        size = min(len(honest), max(0, state.rules.quorum(height) - liars))
        return set(self._chance.sample(honest, size))

    def _show_leaders(
        self, change: ViewChange, certificate: Certificate | None, prepared: list[Prepared]
    ) -> None:
        """Ask for the view that another asks for, and the one behind it, each from its coming leader alone.

        The leader is whom the others expect: they know no certificate above that of `change`.
        """
        base = certificate_height(change.certificate)
        for liar in self._liars:
            state = liar.state
            if state is None or state.epoch.first != change.epoch:
                continue
            for view in (change.view, change.view + 1):
                leader = self._cluster.index[state.rules.primary(view, base + 1)]
                if self._cluster.is_liar(leader) or not state.rules.is_validator(liar.key.public, base + 1):
                    continue
                shown = tuple(item for item in prepared if item.view < view)
                ours = ViewChange(change.epoch, view, certificate, shown, liar.key.public, UNSIGNED)
                liar.send(leader, liar.signed(ours))


class Hoard(Strategy):
    """Decide the last height of a tenure with few, and keep its certificate for the next leader alone.

    Leader and followers then count from different heights, and each waits for another leader.
    """

    def __init__(self, liars: list[Liar], known: Overheard) -> None:
        super().__init__(liars, known)
        self._height, self._few = 0, set[int]()

    def lets_pass(self, liar: Liar, target: int, kind: Kind, message: Any) -> bool:
        """Say nothing that certifies, and nothing at all of the hoarded height but to the few."""
        if kind is Kind.BLOCKS or isinstance(
            message, Checkpoint | Certificate | Status | ViewChange | NewView
        ):
            return not self._hoarding()
        if isinstance(message, Proposal) and not self._hoarding():
            self._begin(liar, message.pre_prepare)
        if isinstance(message, Proposal | Prepare | Commit) and self._hoarding():
            about = message.pre_prepare if isinstance(message, Proposal) else message
            return about.height < self._height or (about.height == self._height and target in self._few)
        return True

    def _hoarding(self) -> bool:
        return self._height > self._settled()

    def _begin(self, liar: Liar, claim: PrePrepare) -> None:
        state = liar.state
        if state is None or claim.sender != liar.key.public:
            return
        height = claim.height
        if state.rules.primary(claim.view, height) != state.rules.primary(claim.view, height + 1):
            self._height, self._few = height, self._holders(state, height)

    def heard(self, liar: Liar, source: int, message: Any) -> None:
        """Show the certificate that nobody else has to whoever would lead without it."""
        if not isinstance(message, ViewChange) or not self._hoarding() or self._cluster.is_liar(source):
            return
        state = liar.state
        if state is not None:
            quorum = state.rules.quorum(self._height)
            highest = self._known.highest_certificate(state.rules.validators(self._height), quorum)
            if certificate_height(highest) >= self._height:
                self._show_leaders(message, highest, [])


class Evict(Strategy):
    """Have a payload prepared that only the liars can prove, and make those who have it forget it."""

    def __init__(self, liars: list[Liar], known: Overheard) -> None:
        super().__init__(liars, known)
        self._slot: tuple[int, int, bytes] | None = None
        self._primary = liars[0]
        self._few = set[int]()
        self._flooded: set[tuple[int, int]] = set()

    def lets_pass(self, liar: Liar, target: int, kind: Kind, message: Any) -> bool:
        """Show the proposal to few; say nothing else of heights from there on, nor serve its payload."""
        if isinstance(message, Proposal) and self._ready():
            self._begin(liar, message.pre_prepare)
        if self._ready():
            return True
        assert self._slot is not None
        if isinstance(message, Proposal):
            return message.pre_prepare.payload_digest == self._slot[2] and target in self._few
        if isinstance(message, Prepare | Commit):
            return message.height < self._slot[1]
        return (
            not isinstance(message, PayloadReply | Status | ViewChange | NewView) and kind is not Kind.BLOCKS
        )

    def _ready(self) -> bool:
        return self._slot is None or self._slot[1] <= self._settled()

    def _begin(self, liar: Liar, claim: PrePrepare) -> None:
        state = liar.state
        if state is not None and claim.sender == liar.key.public and claim.height == state.certified + 1:
            self._slot = (claim.view, claim.height, claim.payload_digest)
            self._primary, self._few = liar, self._holders(state, claim.height)
            self._flooded.clear()

    def heard(self, liar: Liar, source: int, message: Any) -> None:
        """When others leave the view, flood those who hold the payload, and prove that it was prepared."""
        state = liar.state
        if not isinstance(message, ViewChange) or self._ready() or state is None or self._slot is None:
            return
        validators, quorum = state.rules.validators(self._slot[1]), state.rules.quorum(self._slot[1])
        proof = self._known.prepare(self._slot, validators, quorum)
        if proof is None or self._cluster.is_liar(source):
            return
        if source in self._few and (source, message.view) not in self._flooded and liar is self._primary:
            self._flooded.add((source, message.view))
            self._flood(source)
        self._show_leaders(message, message.certificate, [proof])

    def _flood(self, target: int) -> None:
        assert self._slot is not None
        view, height, _ = self._slot
        for _ in range(FLOOD):
            payload = self._chance.randbytes(24)
            claim = PrePrepare(view, height, payload_digest(payload), self._primary.key.public, UNSIGNED)
            self._primary.send(target, Proposal(self._primary.signed(claim), payload))


class Remind(Strategy):
    """Tell a node that lost its memory of a beginning that is long past."""

    def __init__(self, liars: list[Liar], known: Overheard) -> None:
        super().__init__(liars, known)
        self._honestly = self._chance.random() < 0.5
        """In our own names only; what others said long ago is refused where it is not asked of them."""

    def heard(self, liar: Liar, source: int, message: Any) -> None:
        """Answer who asks with old statuses, for a while."""
        if isinstance(message, Status) and message.asks and not self._cluster.is_liar(source):
            self._remind(liar, source, message.asks, self._cluster.now + REPLAY_FOR_MS)

    def _remind(self, liar: Liar, target: int, asked: bytes, until: int) -> None:
        old = [kept[0] for kept in self._known.statuses.values()]
        if self._honestly:
            ours = Status(0, 0, True, None, 0, (), (), b"", asked, liar.key.public, UNSIGNED)
            liar.send(target, liar.signed(ours))
        elif old:
            liar.send(target, self._chance.choice(old))
        if self._cluster.now < until:
            self._cluster.after(REPLAY_EVERY_MS, self._remind, liar, target, asked, until)


class TwoViews(Strategy):
    """Begin a view twice: with different view changes, old ones of wiped nodes too, for different nodes."""

    def lets_pass(self, liar: Liar, target: int, kind: Kind, message: Any) -> bool:
        """Say another NEW-VIEW instead, if enough was heard."""
        del kind
        state = liar.state
        if state is None or not isinstance(message, NewView) or message.sender != liar.key.public:
            return True
        other = self._other(liar, state, message)
        if other is not None:
            liar.send(target, other)
        return other is None

    def heard(self, liar: Liar, source: int, message: Any) -> None:
        """Lead as soon as there is a quorum of view changes, be they from before a wipe."""
        del source
        state = liar.state
        if state is None or not isinstance(message, ViewChange) or message.epoch != state.epoch.first:
            return
        if state.rules.primary(message.view, certificate_height(message.certificate) + 1) != liar.key.public:
            return
        empty = NewView(message.epoch, message.view, (message,), (), liar.key.public, UNSIGNED)
        for target in range(len(self._cluster.processes)):
            if (view := self._other(liar, state, empty)) is not None:
                liar.send(target, view)

    def _other(self, liar: Liar, state: State, message: NewView) -> NewView | None:
        by_sender = self._known.view_changes.get((message.epoch, message.view), {})
        changes = [self._chance.choice(kept) for kept in by_sender.values()]
        quorum = state.rules.quorum(state.certified + 1)
        if liar.key.public not in by_sender:
            certificate = message.view_changes[0].certificate
            ours = ViewChange(message.epoch, message.view, certificate, (), liar.key.public, UNSIGNED)
            changes.append(liar.signed(ours))
        if len(changes) < quorum:
            return None
        chosen = tuple(sorted(self._chance.sample(changes, quorum), key=lambda change: change.sender))
        base = base_height(chosen)
        if state.rules.primary(message.view, base + 1) != liar.key.public:
            return None
        again = choose_reproposals(chosen)
        made: NewView = liar.signed(
            NewView(message.epoch, message.view, chosen, again, liar.key.public, UNSIGNED)
        )
        return made


class Slow(Strategy):
    """Propose just before the others lose patience."""

    def lets_pass(self, liar: Liar, target: int, kind: Kind, message: Any) -> bool:
        """Say the proposal later."""
        del kind
        if not isinstance(message, Proposal):
            return True
        patience = min(machine.timing.timeout_ms for machine in self._cluster.honest)
        self._cluster.after(patience * self._chance.randint(60, 90) // 100, liar.send, target, message)
        return False


class Hide(Strategy):
    """Lead well, and keep from a correct primary what others wait for, or from others what it proposes."""

    def __init__(self, liars: list[Liar], known: Overheard) -> None:
        super().__init__(liars, known)
        self.shown_to = self._chance.choice(SHOWN_TO)

    def lets_pass(self, liar: Liar, target: int, kind: Kind, message: Any) -> bool:
        """Send transactions to some only, and to the others, if to any, their ids, of which nothing comes."""
        state = liar.state
        if state is None or kind not in (Kind.TXS, Kind.TX_IDS, Kind.TX_ANSWER):
            return True
        primary = self._cluster.index[
            state.rules.primary(state.view, min(state.delivered + 1, state.high_watermark))
        ]
        if self._cluster.is_liar(primary):
            return True
        if self.shown_to == "backups":
            return target != primary
        if self.shown_to == "one backup":
            honest = [machine.index for machine in self._cluster.honest]
            return target == next((index for index in honest if index != primary), None)
        if kind is Kind.TXS:
            pushed = decode(PushedTransactions, message)
            if target == primary:  # later: when the others have asked for what they were announced
                self._cluster.after(ASKED_MS, liar.send, target, pushed, kind)
            else:
                ids = TransactionIds(tuple(map(encoded_transaction_id, pushed.transactions)))
                liar.send(target, ids, Kind.TX_IDS)
        return False


SHOWN_TO = ("backups", "one backup", "primary")
STRATEGIES: tuple[type[Strategy], ...] = (Hoard, Evict, Remind, TwoViews, Slow, Hide)
