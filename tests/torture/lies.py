"""What a Byzantine validator makes of the frames that its honest half wants to send: no input or output here.

It changes its mood every few seconds, by seed. Everything that it says carries its genuine signature, and
much of it the genuine signatures of others, overheard.
"""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chain.ledger.block import Batch
from chain.ledger.genesis import Genesis
from chain.network.frame import Kind
from chain.primitives.certificate import Certificate, quorum
from chain.primitives.codec import decode, encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from chain.primitives.leadership import primary
from consensus.messages import (
    UNSIGNED,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    Prepared,
    Proposal,
    ViewChange,
    certificate_height,
    decode_message,
    payload_digest,
    sign,
)
from consensus.selection import base_height, choose_reproposals

MOODS = (
    "honest", "silent", "slow", "slow proposals", "withhold", "leave one out", "replay", "equivocate",
    "contradict", "hoard certificates", "false view changes", "two new views",
)  # fmt: skip
MOOD_S = (3.0, 15.0)
HONEST_FIRST_S = 10.0
"""The consortium founds its contract with all its validators."""
SLOW_S = (0.2, 1.5)
SLOW_PROPOSAL_S = (1.0, 2.8)
"""Below the default time (3 s) after which a silent primary is left."""
PAST_MAX = 256
REMEMBERED_MAX = 512
"""Subjects of which votes are remembered, of each kind."""
Frame = tuple[Kind, bytes]
Said = tuple[float, Kind, bytes]
"""Seconds to wait, and the frame."""


@dataclass(slots=True)
class Memory:
    """Genuine signatures of others, overheard, by what they are about; the oldest subjects go first."""

    checkpoints: dict[tuple[int, bytes], dict[bytes, bytes]] = field(default_factory=dict)
    prepares: dict[tuple[int, int, bytes], dict[bytes, bytes]] = field(default_factory=dict)
    view_changes: dict[tuple[int, int], dict[bytes, ViewChange]] = field(default_factory=dict)

    def hear(self, message: Any) -> None:
        """Remember a vote."""
        match message:
            case Checkpoint():
                _slot(self.checkpoints, (message.height, message.header_hash))[message.sender] = (
                    message.signature
                )
            case Prepare():
                subject = (message.view, message.height, message.payload_digest)
                _slot(self.prepares, subject)[message.sender] = message.signature
            case ViewChange():
                _slot(self.view_changes, (message.epoch, message.view))[message.sender] = message
            case NewView():
                for change in message.view_changes:
                    self.hear(change)

    def certificates(self, needed: int) -> list[Certificate]:
        """Return the certificates that these votes make, by height."""
        return [
            Certificate(height, hashed, tuple(sorted(votes.items())[:needed]))
            for (height, hashed), votes in sorted(self.checkpoints.items())
            if len(votes) >= needed
        ]

    def prepared(self, needed: int) -> list[Prepared]:
        """Return the prepared certificates that these votes make, by height."""
        found = [
            Prepared(view, height, digest, tuple(sorted(votes.items())[:needed]))
            for (view, height, digest), votes in self.prepares.items()
            if len(votes) >= needed
        ]
        return sorted(found, key=lambda item: item.height)


def _slot(table: dict[Any, Any], subject: Any) -> dict[bytes, Any]:
    if subject not in table and len(table) >= REMEMBERED_MAX:
        del table[next(iter(table))]
    found: dict[bytes, Any] = table.setdefault(subject, {})
    return found


class Liar:
    """The mouth and the ears of one Byzantine validator."""

    def __init__(self, key: PrivateKey, genesis: Genesis, source: random.Random, now: float) -> None:
        """`now` is seconds of any clock that only grows; all other times are of the same clock."""
        self._key, self._genesis, self._chance = key, genesis, source
        self._voters = [item.public_key for item in genesis.validators]
        self._needed = quorum(len(self._voters))
        self._memory = Memory()
        self._past: deque[Frame] = deque(maxlen=PAST_MAX)
        self._twins: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        """(view, height) of an own proposal -> its two digests."""
        self.mood, self._until = "honest", now + HONEST_FIRST_S
        self._fooled: frozenset[bytes] = frozenset()
        """Peers that hear the other story."""
        self.told: dict[str, int] = {}
        """Mood -> frames that were changed, added or kept back."""

    # --- its honest half speaks -------------------------------------------------------------------

    def say(self, peer: bytes, kind: Kind, body: bytes, now: float) -> list[Said]:
        """Return what leaves in place of one frame to one peer."""
        self._turn(now)
        if kind is not Kind.CONSENSUS:
            return self._other_frame(peer, kind, body)
        self._past.append((kind, body))
        message = _read(body)
        self._memory.hear(message)
        said = self._consensus(peer, message, body)
        if said != [(0.0, kind, body)]:
            self.told[self.mood] = self.told.get(self.mood, 0) + 1
        return said

    def _turn(self, now: float) -> None:
        if now < self._until:
            return
        self.mood = self._chance.choice(MOODS)
        self._until = now + self._chance.uniform(*MOOD_S)
        others = [key for key in self._voters if key != self._key.public]
        self._fooled = frozenset(self._chance.sample(others, self._chance.randint(1, len(others) - 1)))

    def _other_frame(self, peer: bytes, kind: Kind, body: bytes) -> list[Said]:
        """Transactions, blocks and states: kept back or delayed with everything else."""
        if self.mood == "silent" or (self.mood == "leave one out" and peer in self._fooled):
            return []
        if self.mood == "withhold" and self._chance.random() < 0.7:
            return []
        return [(self._chance.uniform(*SLOW_S) if self.mood == "slow" else 0.0, kind, body)]

    def _consensus(self, peer: bytes, message: Any, body: bytes) -> list[Said]:
        plain: Said = (0.0, Kind.CONSENSUS, body)
        fooled = peer in self._fooled
        match self.mood:
            case "silent":
                return []
            case "slow":
                return [(self._chance.uniform(*SLOW_S), Kind.CONSENSUS, body)]
            case "slow proposals" if isinstance(message, Proposal):
                return [(self._chance.uniform(*SLOW_PROPOSAL_S), Kind.CONSENSUS, body)]
            case "withhold":
                return [plain] if self._chance.random() < 0.3 else []
            case "leave one out":
                return [] if fooled else [plain]
            case "replay":
                return [plain, *[(0.0, *frame) for frame in self._chance.sample(list(self._past), 1)]]
            case "equivocate":
                return [(0.0, Kind.CONSENSUS, encode(self._twin(message)))] if fooled else [plain]
            case "contradict":
                return [plain, *self._contradiction(message)]
            case "hoard certificates" if isinstance(message, Checkpoint | Certificate):
                return [plain] if fooled else []
            case _:
                return [plain]

    def _twin(self, message: Any) -> Any:
        """Return the other story: another proposal, and votes for it."""
        if isinstance(message, Proposal) and message.pre_prepare.sender == self._key.public:
            return self._twin_proposal(message)
        if isinstance(message, Prepare | Commit) and message.sender == self._key.public:
            twins = self._twins.get((message.view, message.height))
            if twins is not None and twins[0] == message.payload_digest:
                return self._signed(dataclasses.replace(message, payload_digest=twins[1]))
        return message

    def _twin_proposal(self, message: Proposal) -> Proposal:
        try:
            batch = decode(Batch, message.payload)
        except AssentError:
            return message
        ids = batch.tx_ids[1:] if len(batch.tx_ids) > 1 else batch.tx_ids
        payload = encode(dataclasses.replace(batch, time=batch.time + 1, tx_ids=ids))
        claim = message.pre_prepare
        other = dataclasses.replace(claim, payload_digest=payload_digest(payload))
        while len(self._twins) >= REMEMBERED_MAX:
            del self._twins[next(iter(self._twins))]
        self._twins[claim.view, claim.height] = (claim.payload_digest, other.payload_digest)
        return Proposal(self._signed(other), payload)

    def _contradiction(self, message: Any) -> list[Said]:
        if getattr(message, "sender", b"") != self._key.public or self._chance.random() > 0.2:
            return []
        other: Any = None
        if isinstance(message, Prepare | Commit):
            other = dataclasses.replace(message, payload_digest=self._chance.randbytes(32))
        elif isinstance(message, Checkpoint):
            other = dataclasses.replace(message, header_hash=self._chance.randbytes(32))
        else:
            return []
        return [(0.0, Kind.CONSENSUS, encode(self._signed(other)))]

    # --- it listens, and speaks unasked -----------------------------------------------------------

    def hear(self, kind: Kind, body: bytes) -> None:
        """Overhear a frame that a peer sent to its honest half."""
        if kind is Kind.CONSENSUS:
            self._past.append((kind, body))
            self._memory.hear(_read(body))

    def volunteer(self, peers: Sequence[bytes], now: float) -> list[tuple[bytes, Frame]]:
        """Return (peer, frame) that nobody asked for; called a few times a second."""
        self._turn(now)
        if not peers:
            return []
        said: list[tuple[bytes, Any]] = []
        if self.mood == "hoard certificates":
            newest = self._memory.certificates(self._needed)[-1:]
            said = [(peer, item) for peer in peers if peer in self._fooled for item in newest]
        elif self.mood == "false view changes":
            said = [(self._chance.choice(peers), self._false_view_change())]
        elif self.mood == "two new views":
            said = self._two_new_views(peers)
        found = [(peer, (Kind.CONSENSUS, encode(message))) for peer, message in said if message is not None]
        self.told[self.mood] = self.told.get(self.mood, 0) + len(found)
        return found

    def _newest_view(self) -> tuple[int, int]:
        """Return (epoch, view) of the newest view change heard of."""
        return max(self._memory.view_changes, default=(0, 0))

    def _false_view_change(self) -> ViewChange:
        """Leave for a later view, with an old certificate and only some of what was prepared."""
        epoch, view = self._newest_view()
        certificates = self._memory.certificates(self._needed)
        base = self._chance.choice([None, *certificates[-4:]])
        return self._change(epoch, view + self._chance.randint(0, 3) or 1, base)

    def _change(self, epoch: int, view: int, base: Certificate | None) -> ViewChange:
        low = certificate_height(base)
        shown: dict[int, Prepared] = {}
        for item in self._memory.prepared(self._needed):
            within = low < item.height <= low + self._genesis.limits.consensus_window and item.view < view
            if within and self._chance.random() < 0.6:
                shown[item.height] = item
        said = ViewChange(epoch, view, base, tuple(shown.values()), self._key.public, UNSIGNED)
        return sign(said, self._key, self._genesis.chain_id)

    def _two_new_views(self, peers: Sequence[bytes]) -> list[tuple[bytes, Any]]:
        """Lead a view that is ours with two different quorums of view changes, each genuine in itself."""
        for (epoch, view), changes in sorted(self._memory.view_changes.items(), reverse=True)[:4]:
            others = [item for sender, item in changes.items() if sender != self._key.public]
            if len(others) < self._needed - 1:
                continue
            stories = [self._new_view(epoch, view, others) for _ in range(2)]
            return [(peer, stories[peer in self._fooled]) for peer in peers]
        return [(peer, self._false_view_change()) for peer in peers]

    def _new_view(self, epoch: int, view: int, others: list[ViewChange]) -> NewView | None:
        chosen = self._chance.sample(others, self._needed - 1)
        base = self._chance.choice([None, *[item.certificate for item in chosen]])
        changes = tuple(sorted([*chosen, self._change(epoch, view, base)], key=lambda item: item.sender))
        above = base_height(changes) + 1
        if primary(self._voters, view, above, self._genesis.limits.rotation) != self._key.public:
            return None
        said = NewView(epoch, view, changes, choose_reproposals(changes), self._key.public, UNSIGNED)
        return sign(said, self._key, self._genesis.chain_id)

    def _signed(self, message: Any) -> Any:
        return sign(message, self._key, self._genesis.chain_id)


def _read(body: bytes) -> Any:
    try:
        return decode_message(body)
    except AssentError:
        return None
