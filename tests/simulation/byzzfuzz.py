"""A few small mutations of what one Byzantine replica says, in rounds drawn by seed, and a few partitions.

After Winter, Buse, de Graaf, von Gleissenthall and Kulahcioglu Ozkan, "Randomized Testing of Byzantine Fault
Tolerant Algorithms" (OOPSLA 2023, "ByzzFuzz"): faults are scheduled by the protocol's rounds, not by single
messages, and mutations are small in scope: one field changed by one, or taken from another message, signed
anew by the Byzantine replica itself. Few faults find most of what many find, and are easy to read.
"""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from dataclasses import dataclass
from typing import Any

from chain.primitives.certificate import Certificate
from consensus.messages import (
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    Proposal,
    Status,
    ViewChange,
    certificate_height,
    sign,
)
from consensus.settings import Timing
from tests.simulation import shortcuts
from tests.simulation.replicas import CHAIN_ID, Cluster, Node

SIZES = (4, 4, 4, 7)
ROTATIONS = (1, 3, 100)
TIMING = Timing(timeout_ms=300, timeout_max_ms=1_200, status_ms=60, heartbeat_ms=300, batch_interval_ms=5)
PHASES = 4
"""Rounds of one height: proposal, PREPARE, COMMIT, and what certifies it or leaves its view."""
ROUNDS = 10 * PHASES
MUTATIONS_MAX, PARTITIONS_MAX = 6, 4
TURNS = 8
TURN_MS = (60, 300, 700)
CALM_MS = 60_000
REMEMBERED = 32


@dataclass(frozen=True, slots=True)
class Mutation:
    """What the Byzantine replica says wrong in one round."""

    round: int
    receivers: frozenset[int]
    small: int
    """Which change, of those that the message allows."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """All faults of one seed."""

    seed: int
    nodes: int
    rotation: int
    byzantine: int
    mutations: tuple[Mutation, ...]
    partitions: tuple[tuple[int, frozenset[int]], ...]
    """(round, the nodes on one side)."""


def drawn(seed: int) -> Schedule:
    """Return the faults of a seed."""
    chance = random.Random(seed)
    nodes = chance.choice(SIZES)

    def some() -> frozenset[int]:
        return frozenset(chance.sample(range(nodes), chance.randint(1, nodes - 1)))

    mutations = tuple(
        Mutation(chance.randrange(ROUNDS), some(), chance.randrange(1_000))
        for _ in range(chance.randint(1, MUTATIONS_MAX))
    )
    partitions = tuple((chance.randrange(ROUNDS), some()) for _ in range(chance.randint(0, PARTITIONS_MAX)))
    return Schedule(seed, nodes, chance.choice(ROTATIONS), chance.randrange(nodes), mutations, partitions)


def run(schedule: Schedule) -> str:
    """Run one schedule; return what was broken, or nothing."""
    shortcuts.install()
    fuzz = _Fuzz(schedule)
    try:
        fuzz.run()
    except AssertionError as error:
        return str(error)
    return ""


class _Fuzz:
    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._cluster = Cluster(
            schedule.nodes, seed=schedule.seed, window=4, rotation=schedule.rotation, timing=TIMING
        )
        self._cluster.nodes[schedule.byzantine].honest = False
        self._cluster.rewrite, self._cluster.filters = self._rewrite, [self._passes]
        self._by_round: dict[int, list[Mutation]] = {}
        for mutation in schedule.mutations:
            self._by_round.setdefault(mutation.round, []).append(mutation)
        self._parted: dict[int, list[frozenset[int]]] = {}
        for at, side in schedule.partitions:
            self._parted.setdefault(at, []).append(side)
        self._seen: deque[Any] = deque(maxlen=REMEMBERED)

    def run(self) -> None:
        cluster = self._cluster
        for _ in range(TURNS):
            cluster.submit(cluster.random.randint(0, 2))
            cluster.submit(1, cluster.random.sample(cluster.nodes, 1))
            cluster.run_for(cluster.random.choice(TURN_MS))
        cluster.rewrite = None
        cluster.heal()
        for request in range(cluster.requests):
            for node in cluster.nodes:
                node.submit(request)
        cluster.settle(CALM_MS)

    def _passes(self, sender: Node, receiver: Node, message: Any) -> bool:
        sides = self._parted.get(round_of(message), ())
        return all((sender.index in side) == (receiver.index in side) for side in sides)

    def _rewrite(self, sender: Node, receiver: Node, message: Any) -> Any:
        self._seen.append(message)
        for mutation in self._by_round.get(round_of(message), ()):
            if receiver.index in mutation.receivers:
                message = mutated(message, sender, self._seen, mutation.small)
        return message


def round_of(message: Any) -> int:
    """Return the round of the protocol that a message belongs to, modulo those that faults are drawn for."""
    match message:
        case Proposal():
            claim = message.pre_prepare
            number = PHASES * (claim.view + claim.height)
        case Prepare():
            number = PHASES * (message.view + message.height) + 1
        case Commit():
            number = PHASES * (message.view + message.height) + 2
        case Checkpoint() | Certificate():
            number = PHASES * message.height + 3
        case ViewChange():
            number = PHASES * (message.view + certificate_height(message.certificate)) + 3
        case NewView():
            number = PHASES * (message.view + certificate_height(message.view_changes[0].certificate)) + 3
        case _:
            return -1
    return number % ROUNDS


def mutated(message: Any, sender: Node, seen: deque[Any], small: int) -> Any:
    """Return a message with one small change, signed by its sender; the same one when nothing fits."""
    if isinstance(message, Proposal):
        return _proposal(message, sender, seen, small)
    if not hasattr(message, "sender") or message.sender != sender.key.public or isinstance(message, Status):
        return message
    changes = _numbers(message) + _parts(message) + _others(message, seen)
    return sign(changes[small % len(changes)], sender.key, CHAIN_ID) if changes else message


def _proposal(message: Proposal, sender: Node, seen: deque[Any], small: int) -> Proposal:
    claim = message.pre_prepare
    changes = [Proposal(item, message.payload) for item in _numbers(claim)]
    for other in seen:
        if isinstance(other, Proposal) and other.payload != message.payload:
            digest = other.pre_prepare.payload_digest
            changes.append(Proposal(dataclasses.replace(claim, payload_digest=digest), other.payload))
    if not changes or claim.sender != sender.key.public:
        return message
    chosen = changes[small % len(changes)]
    return Proposal(sign(chosen.pre_prepare, sender.key, CHAIN_ID), chosen.payload)


def _numbers(message: Any) -> list[Any]:
    """Return the message with one of its numbers one more or one less."""
    names = [item.name for item in dataclasses.fields(message) if item.name in ("view", "height", "epoch")]
    return [
        dataclasses.replace(message, **{name: getattr(message, name) + step})
        for name in names
        for step in (-1, 1)
        if getattr(message, name) + step >= 0
    ]


def _parts(message: Any) -> list[Any]:
    """Return the message with something left out of it."""
    if isinstance(message, ViewChange):
        fewer = [message.prepared[:-1], message.prepared[1:], ()] if message.prepared else []
        return [
            dataclasses.replace(message, certificate=None),
            *[dataclasses.replace(message, prepared=item) for item in fewer],
        ]
    if isinstance(message, NewView):
        changes = [dataclasses.replace(message, reproposals=message.reproposals[:-1])]
        if len(message.view_changes) > 1:
            changes.append(dataclasses.replace(message, view_changes=message.view_changes[:-1]))
            changes.append(dataclasses.replace(message, view_changes=message.view_changes[1:]))
        return changes
    return []


def _others(message: Any, seen: deque[Any]) -> list[Any]:
    """Return the message with the digest, hash or certificate of another one that was said."""
    name = next(
        (name for name in ("payload_digest", "header_hash", "certificate") if hasattr(message, name)), None
    )
    if name is None:
        return []
    ours = getattr(message, name)
    others = [getattr(other, name) for other in seen if hasattr(other, name)]
    return [dataclasses.replace(message, **{name: value}) for value in others if value != ours]
