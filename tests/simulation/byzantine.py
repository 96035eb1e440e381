"""What a Byzantine node makes of the frames that its two honest processes want to send.

Twins alone equivocate and vote twice (Bano et al., "Twins", OPODIS 2021). On top, each liar has a few
tactics, drawn by seed, which rewrite what leaves: all of it is signed, so only the protocol can catch it.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chain.ledger.block import Batch, Block, Header, header_hash
from chain.network.frame import Kind, encode_frame
from chain.network.messages import Blocks, BlocksRequest
from chain.primitives.certificate import Certificate
from chain.primitives.codec import decode, encode
from chain.primitives.errors import AssentError
from consensus.messages import (
    NULL_DIGEST,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
    payload_digest,
    sign,
)
from consensus.state import State
from tests.simulation.overheard import Overheard
from tests.simulation.schemes import Schemer
from tests.simulation.shortcuts import decode_message
from tests.simulation.strategies import Strategy

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

REMEMBERED = 64
SIGNED = (Prepare, Commit, Checkpoint, ViewChange, NewView, Status)


class Liar:
    """The mouth of one Byzantine node, and its ears: what it hears, all liars know."""

    def __init__(self, cluster: Cluster, index: int, tactics: int, known: Overheard) -> None:
        self.cluster, self.key, self.known = cluster, cluster.keys[index], known
        self.chance = cluster.random
        self._index = index
        self._past: deque[tuple[Kind, bytes]] = deque(maxlen=REMEMBERED)
        self._rate = self.chance.choice([0.05, 0.3, 0.8, 1.0])
        self._tactics = self.chance.sample(TACTICS, self.chance.randint(0, tactics))
        """None at all leaves the twins to themselves."""
        self._victim = self.chance.randrange(len(cluster.processes))
        self.strategy: Strategy | None = None
        self.schemer: Schemer | None = None
        known.keys.append(self.key)

    # --- what strategies and schemes need -------------------------------------------------------------

    @property
    def state(self) -> State | None:
        """Return where the liar itself stands, while it is up."""
        return self.state_of(self._index)

    def state_of(self, index: int) -> State | None:
        """Return where a node stands, while it is up: the adversary sees everything but keys."""
        core = self.cluster.processes[index][0].core
        return None if core is None else core.driver._state

    def some_target(self) -> int:
        """Return some other node."""
        others = [i for i in range(len(self.cluster.processes)) if i != self._index]
        return self.chance.choice(others) if others else self._index

    def send(self, target: int, message: Any, kind: Kind = Kind.CONSENSUS) -> None:
        """Say something to one node."""
        if target != self._index:
            frame = encode_frame(kind, encode(message))
            self.cluster.network.transmit(self.cluster.processes[self._index][0], target, frame)

    def signed(self, message: Any) -> Any:
        """Return a message of ours, signed."""
        return sign(message, self.key, self.cluster.genesis.chain_id)

    # --- ears and mouth ---------------------------------------------------------------------------------

    def hear(self, source: int, kind: Kind, body: bytes) -> None:
        """Take note of a frame that reached any of its processes."""
        if kind is not Kind.CONSENSUS or (self.strategy is None and self.schemer is None):
            return
        try:
            message = decode_message(body)
        except AssentError:
            return  # another liar's garbage
        self.known.hear(message)
        if self.strategy is not None:
            self.strategy.heard(self, source, message)
        if self.schemer is not None:
            self.schemer.heard(message)

    def lie(self, target: int, kind: Kind, body: bytes) -> list[bytes]:
        """Return the frames that leave in place of one."""
        if self.strategy is not None:
            message = self._consensus(kind, body)
            self.known.hear(message)
            passes = self.strategy.lets_pass(self, target, kind, body if message is None else message)
            return [encode_frame(kind, body)] if passes else []
        if target == self._victim:
            self._past.append((kind, body))
        if Liar.strand in self._tactics and not self.strand(target, kind, body):
            return []  # always: one certificate that slips out frees them all
        said = [(kind, body)]
        for tactic in self._tactics:
            if self.chance.random() < self._rate:
                said = tactic(self, target, kind, body)
                break
        return [encode_frame(*item) for item in said]

    # --- tactics: (target, kind, body) -> what is said instead --------------------------------------

    def withhold(self, _target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Say nothing of some kinds: payloads, votes, blocks, transactions."""
        return [] if self.chance.random() < 0.7 else [(kind, body)]

    def leave_out(self, target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Never speak to one node."""
        return [] if target == self._victim else [(kind, body)]

    def repeat_the_past(self, _target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Send something old as well."""
        old = [self.chance.choice(self._past)] if self._past else []
        return [(kind, body), *[item for item in old if item[0] is Kind.CONSENSUS]]

    def contradict(self, _target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Vote for something else, too, or propose something else instead."""
        message = self._consensus(kind, body)
        if isinstance(message, Proposal):
            return [self._said(self._other_proposal(message))]
        if isinstance(message, Prepare | Commit) and message.sender == self.key.public:
            other = dataclasses.replace(message, payload_digest=self.chance.randbytes(32))
            return [self._said(self.signed(other)), (kind, body)]
        if isinstance(message, Checkpoint) and message.sender == self.key.public:
            other = dataclasses.replace(message, header_hash=self.chance.randbytes(32))
            return [self._said(self.signed(other)), (kind, body)]
        return [(kind, body)]

    def shift_by_one(self, _target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Change one number of a message of ours by one, or jump far ahead."""
        message = self._consensus(kind, body)
        about = message.pre_prepare if isinstance(message, Proposal) else message
        if not isinstance(about, (*SIGNED, PrePrepare)) or about.sender != self.key.public:
            return [(kind, body)]
        numbers = [field.name for field in dataclasses.fields(about) if field.name in ("view", "height")]
        name = self.chance.choice(numbers)
        step = self.chance.choice([-1, 1, 1, 2, 9, 1_000, 2**40])
        number = max(0, getattr(about, name) + step)
        shifted = self.signed(dataclasses.replace(about, **{name: number}))
        if isinstance(message, Proposal):
            shifted = Proposal(shifted, message.payload)
        return [self._said(shifted), (kind, body)]

    def lie_in_view_changes(self, _target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Hide what was prepared or certified, or propose again what does not follow."""
        message = self._consensus(kind, body)
        if isinstance(message, ViewChange) and message.sender == self.key.public:
            kept = tuple(item for item in message.prepared if self.chance.random() < 0.3)
            lies: dict[str, Any] = {"prepared": kept}
            if self.chance.random() < 0.3:
                lies = {"certificate": None, "prepared": ()}
            return [self._said(self.signed(dataclasses.replace(message, **lies)))]
        if isinstance(message, NewView) and message.sender == self.key.public:
            digest = self.chance.choice([NULL_DIGEST, self.chance.randbytes(32)])
            altered = tuple((height, digest) for height, _ in message.reproposals)
            kept = altered[: self.chance.randint(0, len(altered))]
            return [self._said(self.signed(dataclasses.replace(message, reproposals=kept)))]
        return [(kind, body)]

    def garble(self, _target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Change one byte."""
        if not body or self.chance.random() < 0.9:
            return [(kind, body)]
        at = self.chance.randrange(len(body))
        return [(kind, body[:at] + bytes([body[at] ^ (1 << self.chance.randrange(8))]) + body[at + 1 :])]

    def ask_absurdly(self, _target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Ask for blocks at odd heights."""
        first = self.chance.choice([0, 1, 2**63, max(self.cluster.checks.headers, default=0)])
        return [(kind, body), (Kind.BLOCKS_REQUEST, encode(BlocksRequest(first, 128)))]

    def forge_blocks(self, _target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Serve blocks of another history, sound in themselves, but certified by nobody else."""
        if kind is not Kind.BLOCKS:
            return [(kind, body)]
        answer, forged = decode(Blocks, body), list[bytes]()
        parent, rewrite = None, self.chance.choice([self._other_root, self._other_time])
        for raw in answer.blocks:
            block = rewrite(decode(Block, raw))
            header = block.header if parent is None else dataclasses.replace(block.header, parent=parent)
            parent = header_hash(header)
            forged.append(encode(dataclasses.replace(block, header=header, certificate=self._alone(header))))
        return [(kind, encode(Blocks(answer.first, tuple(forged))))]

    def keep_behind(self, target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Help to decide, but let one node not know of it, and certify nothing, from which it could learn."""
        message = self._consensus(kind, body)
        hidden = isinstance(message, Checkpoint) or (isinstance(message, Commit) and target == self._victim)
        return [] if hidden else [(kind, body)]

    def strand(self, target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Help to decide, but give one node neither proposals nor COMMITs, so that it asks for a view alone.

        Say nothing that certifies a height, and ask for no view: the others have nobody to certify with.
        """
        message = self._consensus(kind, body)
        freeing = kind is Kind.BLOCKS or isinstance(message, Checkpoint | Certificate | Status | ViewChange)
        helping = isinstance(message, Proposal | Commit)
        return [] if freeing or (helping and target == self._victim) else [(kind, body)]

    def censor(self, _target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Propose batches without their first transaction."""
        message = self._consensus(kind, body)
        if not isinstance(message, Proposal):
            return [(kind, body)]
        return [self._said(self._other_proposal(message, censored=True))]

    def misdate(self, _target: int, kind: Kind, body: bytes) -> list[tuple[Kind, bytes]]:
        """Propose, to everyone alike, a time that is an hour ahead."""
        message = self._consensus(kind, body)
        if not isinstance(message, Proposal):
            return [(kind, body)]
        return [self._said(self._other_proposal(message, later_ms=3_600_000))]

    # --- inside -------------------------------------------------------------------------------------

    def _other_root(self, block: Block) -> Block:
        return dataclasses.replace(
            block, header=dataclasses.replace(block.header, state_root=self.chance.randbytes(32))
        )

    @staticmethod
    def _other_time(block: Block) -> Block:
        """Date the batch a millisecond later: nothing that it does changes by that."""
        if not block.payload:
            return block
        batch = decode(Batch, block.payload)
        payload = encode(dataclasses.replace(batch, time=batch.time + 1))
        header = dataclasses.replace(block.header, time=max(block.header.time, batch.time + 1))
        return dataclasses.replace(block, header=header, payload=payload)

    def _alone(self, header: Header) -> Certificate:
        vote = self.signed(Checkpoint(header.height, header_hash(header), self.key.public, bytes(64)))
        return Certificate(header.height, vote.header_hash, ((vote.sender, vote.signature),))

    def _other_proposal(self, message: Proposal, *, censored: bool = False, later_ms: int = 0) -> Proposal:
        claim = message.pre_prepare
        try:
            batch = decode(Batch, message.payload)
        except AssentError:
            return message
        if claim.sender != self.key.public:
            return message
        if censored and len(batch.tx_ids) > 1:
            batch = dataclasses.replace(batch, tx_ids=batch.tx_ids[1:])
        else:
            later_ms = later_ms or self.chance.choice([-1, 1, 60_000])
            batch = dataclasses.replace(batch, time=batch.time + later_ms)
        payload = encode(batch)
        return Proposal(
            self.signed(dataclasses.replace(claim, payload_digest=payload_digest(payload))), payload
        )

    @staticmethod
    def _said(message: Any) -> tuple[Kind, bytes]:
        return Kind.CONSENSUS, encode(message)

    @staticmethod
    def _consensus(kind: Kind, body: bytes) -> Any:
        return decode_message(body) if kind is Kind.CONSENSUS else None


Tactic = Callable[[Liar, int, Kind, bytes], list[tuple[Kind, bytes]]]
TACTICS: tuple[Tactic, ...] = (
    Liar.withhold,
    Liar.leave_out,
    Liar.repeat_the_past,
    Liar.contradict,
    Liar.shift_by_one,
    Liar.lie_in_view_changes,
    Liar.garble,
    Liar.ask_absurdly,
    Liar.forge_blocks,
    Liar.keep_behind,
    Liar.strand,
    Liar.censor,
    Liar.misdate,
)
