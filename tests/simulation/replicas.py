"""Bare replicas for scripted scenarios: production drivers without a node around them, on virtual time.

Here a test decides about single messages, votes, views and validator sets, and looks into replicas;
random faults over whole nodes are the simulator's (`cluster.py`, `storm.py`). Safety is checked all along:
one payload per height, equal headers, and no correct replica ever contradicts itself, across crashes too.
"""

from __future__ import annotations

import dataclasses
import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from chain.primitives.certificate import Certificate, Epoch, check_certificate
from chain.primitives.codec import U64_MAX, encode, tag_of
from chain.primitives.crypto import PrivateKey, digest
from chain.primitives.errors import AssentError, DecodeError
from chain.primitives.values import decode_value, encode_value
from consensus.driver import Driver
from consensus.events import Candidate, Head, Turn
from consensus.evidence import read_evidence
from consensus.messages import (
    NONCE_BYTES,
    Checkpoint,
    Commit,
    Prepare,
    Proposal,
    ViewChange,
    decode_message,
)
from consensus.rules import Rules
from consensus.settings import Timing
from consensus.votes import Evidence

CHAIN_ID = digest("test/chain")
START_MS = 1_000


class DiskFailure(Exception):
    """The planted failure of a vote store."""


class MemoryVotes:
    """A vote store in memory that can fail at its next write, before or after the write took effect."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.fail_next = ""

    def load(self) -> list[tuple[bytes, bytes]]:
        return sorted(self.rows.items())

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def write(self, puts: Any, deletes: Any) -> None:
        failure, self.fail_next = self.fail_next, ""
        if failure == "before":
            raise DiskFailure
        for key in deletes:
            self.rows.pop(key, None)
        self.rows.update(puts)
        if failure == "after":
            raise DiskFailure


def parse(payload: bytes) -> dict[str, Any]:
    return (
        decode_value(payload, max_bytes=100_000) if payload else {"time": 0, "ids": [], "view": -1, "by": b""}
    )


def make_payload(view: int, proposer: bytes, time: int, ids: list[int]) -> bytes:
    return encode_value({"view": view, "by": proposer, "time": time, "ids": ids})


@dataclass
class Ledger:
    """What a node's disk holds: executed blocks, certificates, which requests were done, validator sets."""

    founders: tuple[bytes, ...]
    window: int
    changes: dict[int, tuple[bytes, ...]]
    """Request -> the validators that it announces."""
    payloads: list[bytes] = field(default_factory=list)
    headers: list[bytes] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    done: set[int] = field(default_factory=set)
    certificates: dict[int, Certificate] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.epochs.append(Epoch(0, self.founders))

    @property
    def height(self) -> int:
        return len(self.payloads)

    def settled(self) -> int:
        return self.height + self.window

    def epoch_at(self, height: int) -> Epoch:
        return next(epoch for epoch in reversed(self.epochs) if epoch.first <= height)

    @property
    def announced(self) -> bool:
        """Whether a set is announced and not yet in force at the next height: then the chain moves on."""
        return self.epochs[-1].first > self.height + 1

    def execute(self, payload: bytes) -> bytes:
        """Total: whatever the payload, time grows and a request is done once."""
        parent = self.headers[-1] if self.headers else CHAIN_ID
        content = parse(payload)
        self.payloads.append(payload)
        self.times.append(max(content["time"], (self.times[-1] if self.times else 0) + 1))
        for request in content["ids"]:
            if request in self.changes and request not in self.done:
                keys = self.changes[request]
                if keys != self.epochs[-1].validators:
                    first = self.height + self.window
                    self.epochs = [epoch for epoch in self.epochs if epoch.first < first]
                    self.epochs.append(Epoch(first, keys))
            self.done.add(request)
        self.headers.append(digest("test/header", parent, digest("test/payload", payload)))
        return self.headers[-1]

    def head(self) -> Head:
        top = max(self.certificates, default=0)
        lowest = max(1, top - 15)
        held = {height: item for height, item in self.certificates.items() if height >= lowest}
        headers = {at: self.headers[at - 1] for at in range(lowest, self.height + 1) if at not in held}
        payloads = {at: self.payloads[at - 1] for at in range(top + 1, self.height + 1)}
        return Head(self.certificates.get(top), headers, held, payloads)


class Node:
    """One replica process: what survives a crash (ledger, votes, key) and what does not (driver)."""

    def __init__(self, cluster: Cluster, index: int, key: PrivateKey) -> None:
        self.cluster, self.index, self.key = cluster, index, key
        self.ledger, self.votes = cluster.new_ledger(), MemoryVotes()
        self.driver: Driver | None = None
        self.life = 0
        self.pool: set[int] = set()
        self.waiting: list[Candidate] = []
        self.contradictions: list[Evidence] = []
        self.synced_times = 0
        self.skew_ms = 0
        self.talks_to: set[int] | None = None
        """For a twin: the nodes it exchanges messages with; None means all."""
        self.honest = True
        self.first_start = True
        self.claims_at = 0
        self.next_key: PrivateKey | None = None
        """Takes over from `key` where the ledger says so."""

    @property
    def up(self) -> bool:
        return self.driver is not None

    @property
    def certified_height(self) -> int:
        return max(self.ledger.certificates, default=0)

    @property
    def state(self) -> Any:
        assert self.driver is not None
        return self.driver._state

    def boot(self) -> None:
        self.life += 1
        rules = Rules(
            CHAIN_ID,
            self.ledger.epoch_at,
            self.ledger.settled,
            self.cluster.rules.consensus_window,
            self.cluster.rules.rotation,
        )
        self.driver = Driver(
            rules=rules,
            signer=self.key,
            timing=self.cluster.timing,
            store=self.votes,
            transport=Wire(self),
            application=self,
            head=self.ledger.head(),
            first_start=self.first_start,
            nonce=self.cluster.random.randbytes(NONCE_BYTES),
        )
        self.call(lambda driver, now: driver.start(now))
        self._tick(self.life)

    def crash(self) -> None:
        """SIGKILL: everything not durable is gone, deliveries on their way included."""
        self.driver = None
        self.waiting.clear()

    def call(self, action: Callable[[Driver, int], None]) -> None:
        if self.driver is None:
            return
        try:
            action(self.driver, self.cluster.now)
        except DiskFailure:
            self.crash()

    def _tick(self, life: int) -> None:
        if life == self.life and self.driver is not None:
            self.call(lambda driver, now: driver.on_tick(now))
            self._follow_claims()
            self._switch_key()
            if self.driver is not None:
                at = max(self.driver.next_deadline(), self.cluster.now + 1)
                self.cluster.at(min(at, self.cluster.now + 50), lambda: self._tick(life))

    def _follow_claims(self) -> None:
        """Block sync on a peer's word: consensus cannot check certificates of sets it does not know yet."""
        if self.cluster.now < self.claims_at:
            return
        self.claims_at = self.cluster.now + 200
        ahead = [
            node
            for node in self.cluster.nodes
            if node.up
            and node.honest
            and self.cluster.linked(node, self)
            and node.certified_height > self.ledger.settled()
        ]
        if ahead:
            server, life = self.cluster.random.choice(ahead), self.life
            certificate = server.ledger.certificates[server.certified_height]
            self.cluster.at(self.cluster.now + 40, lambda: self._sync(life, server, certificate))

    def _switch_key(self) -> None:
        """Go on under the next key, with a memory of its own, once it is the key that votes."""
        voting = self.ledger.epoch_at(self.certified_height + 1).validators
        key = self.next_key
        if key is not None and self.key.public not in voting and key.public in voting:
            self.crash()
            self.key, self.next_key = key, None
            self.votes, self.first_start = MemoryVotes(), True
            self.boot()

    def submit(self, request: int) -> None:
        if request not in self.ledger.done:
            self.pool.add(request)
            self.call(lambda driver, now: driver.requests_pending(now))
            waiting, self.waiting = self.waiting, []
            for candidate in waiting:
                self._answer(candidate)

    def _answer(self, candidate: Candidate) -> None:
        verdict = self.check(candidate)
        if verdict is not None:
            self.call(lambda driver, now: driver.checked(candidate, verdict, now))

    # --- the application port ---------------------------------------------------------------------

    def pending(self) -> bool:
        return bool(self.pool) or self.ledger.announced

    def _parent_time(self, below: int, parents: Iterable[bytes]) -> int:
        time = self.ledger.times[below - 1] if below else 0
        for payload in parents:
            time = max(parse(payload)["time"], time + 1)
        return time

    def propose(self, turn: Turn) -> bytes | None:
        taken = {item for payload in turn.parents for item in parse(payload)["ids"]}
        ids = sorted(self.pool - taken)[:5]
        if not ids and not (self.ledger.announced and turn.height == self.ledger.height + 1):
            return None
        time = max(
            self.cluster.now + self.skew_ms,
            self._parent_time(turn.height - 1 - len(turn.parents), turn.parents) + 1,
        )
        return make_payload(turn.view, self.key.public, time, ids)

    def forward(self, primary: bytes, *, widely: bool) -> None:
        """Pass on what waits here, on the way of messages; filters see the requests as a frozenset."""
        for node in self.cluster.nodes if self.pool else ():
            if node is not self and (widely or node.key.public == primary):
                self.cluster.carry_requests(self, node, frozenset(self.pool))

    def check(self, candidate: Candidate) -> bool | None:
        try:
            content = parse(candidate.payload)
            ids = set(content["ids"])
        except (DecodeError, KeyError, TypeError):
            return False
        if not ids <= self.pool | self.ledger.done:
            self.waiting.append(candidate)
            return None
        if not candidate.fresh:
            return True
        below = candidate.height - 1 - len(candidate.parents)
        if not ids and candidate.parents:
            self.waiting.append(candidate)  # whether something is announced shows once they are executed
            return None
        taken = {item for payload in candidate.parents for item in parse(payload)["ids"]}
        return (
            (bool(ids) or self.ledger.announced)
            and content["view"] == candidate.view
            and content["by"] == candidate.proposer
            and self._parent_time(below, candidate.parents) < content["time"] <= self.cluster.now + 30_000
            and not ids
            & (taken | set().union(*(parse(item)["ids"] for item in self.ledger.payloads[:below][-8:])))
        )

    def deliver(self, height: int, payload: bytes) -> None:
        life = self.life
        self.cluster.at(
            self.cluster.now + self.cluster.execution_ms, lambda: self._execute(life, height, payload)
        )

    def _execute(self, life: int, height: int, payload: bytes) -> None:
        if life != self.life or self.driver is None:
            return
        if height > self.ledger.height:
            assert height == self.ledger.height + 1, "delivered out of order"
            self._append(payload)
        header = self.ledger.headers[height - 1]
        self.call(lambda driver, now: driver.executed(height, header, now))

    def _append(self, payload: bytes) -> None:
        self.ledger.execute(payload)
        self.pool -= self.ledger.done
        self.cluster.executed(self, self.ledger.height)
        life = self.life
        if self.waiting:
            self.cluster.at(self.cluster.now, lambda: self._ask_again(life))

    def _ask_again(self, life: int) -> None:
        if life == self.life and self.driver is not None:
            waiting, self.waiting = self.waiting, []
            for candidate in waiting:
                if candidate.height > self.ledger.height:
                    below = candidate.height - 1 - self.ledger.height
                    parents = candidate.parents[len(candidate.parents) - below :] if below else ()
                    self._answer(dataclasses.replace(candidate, parents=parents))

    def certified(self, certificate: Certificate) -> None:
        check_certificate(certificate, CHAIN_ID, self.ledger.epoch_at(certificate.height).validators)
        assert self.ledger.headers[certificate.height - 1] == certificate.header_hash
        assert certificate.height not in self.ledger.certificates, "certified twice"
        self.ledger.certificates[certificate.height] = certificate

    def certificate(self, height: int) -> Certificate | None:
        return self.ledger.certificates.get(height)

    def behind(self, certificate: Certificate) -> None:
        """Block sync, condensed: some reachable peer that has the blocks serves them, certificate checked."""
        life, cluster = self.life, self.cluster
        servers = [
            node
            for node in cluster.nodes
            if node is not self
            and node.up
            and node.honest
            and cluster.linked(node, self)
            and certificate.height <= node.ledger.height
        ]
        if servers:
            server = cluster.random.choice(servers)
            cluster.at(cluster.now + 40, lambda: self._sync(life, server, certificate))

    def _sync(self, life: int, server: Node, certificate: Certificate) -> None:
        if life != self.life or self.driver is None or certificate.height <= self.certified_height:
            return
        while self.ledger.height < certificate.height:
            self._append(server.ledger.payloads[self.ledger.height])
        assert self.ledger.headers[certificate.height - 1] == certificate.header_hash
        self.ledger.certificates[certificate.height] = certificate
        self.synced_times += 1
        self.call(lambda driver, now: driver.on_synced(certificate, now))

    def evidence(self, evidence: Evidence) -> None:
        accused = read_evidence(evidence, CHAIN_ID).accused
        honest = [node.honest for node in self.cluster.nodes if node.key.public == accused]
        assert not all(honest), f"node {self.index} holds evidence against an honest replica"
        self.contradictions.append(evidence)

    def halted(self, reason: str) -> None:
        raise AssertionError(f"node {self.index} halted: {reason}")


@dataclass
class Wire:
    """One life of a node on the network."""

    node: Node

    def send(self, to: bytes, data: bytes) -> None:
        self.node.cluster.transmit(self.node, to, data)

    def broadcast(self, data: bytes) -> None:
        self.node.cluster.transmit(self.node, None, data)


@dataclass(frozen=True)
class Faults:
    """Chances per message, and how long one takes (ms, uniform)."""

    drop: float = 0.0
    duplicate: float = 0.0
    delay_ms: tuple[int, int] = (1, 5)


Filter = Callable[[Node, Node, Any], bool]
Rewrite = Callable[[Node, Node, Any], Any]
"""(sender, receiver, message) -> what a Byzantine sender says instead."""


class Cluster:
    """n replicas on a network that misbehaves as told."""

    def __init__(
        self,
        n: int,
        *,
        seed: int = 0,
        window: int = 8,
        rotation: int = 16,
        timing: Timing | None = None,
        observers: int = 0,
        boot: bool = True,
    ) -> None:
        self.random = random.Random(seed)
        self.now = START_MS
        self.keyring = [PrivateKey(digest("test/key", bytes([i]))) for i in range(n + observers)]
        self.keys = tuple(key.public for key in self.keyring[:n])
        self.changes: dict[int, tuple[bytes, ...]] = {}
        self.rules = Rules(CHAIN_ID, lambda _height: Epoch(0, self.keys), lambda: U64_MAX, window, rotation)
        """Of the founding set; every node asks its own ledger."""
        self.timing = timing or Timing()
        self.execution_ms = 2
        self.faults = Faults()
        self.cut: set[tuple[int, int]] = set()
        """(from, to) pairs of node indices whose messages are lost."""
        self.filters: list[Filter] = []
        """A message is lost when any of these says False for (sender, receiver, decoded message)."""
        self.rewrite: Rewrite | None = None
        """Applied to what nodes say that are not honest."""
        self.nodes = [Node(self, i, key) for i, key in enumerate(self.keyring)]
        self.decided: dict[int, bytes] = {}
        self.headers: dict[int, bytes] = {}
        self.said: dict[tuple[Any, ...], bytes] = {}
        self.requests = 0
        self.sent = 0
        self.trace = b""
        self.refused: list[AssentError] = []
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        if boot:
            for node in self.nodes:
                node.boot()

    # --- time -------------------------------------------------------------------------------------

    def at(self, when: int, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._queue, (when, self._order, action))

    def run_for(self, duration_ms: int) -> None:
        self.run_until(lambda: False, limit_ms=duration_ms, must=False)

    def run_until(self, reached: Callable[[], bool], limit_ms: int, *, must: bool = True) -> None:
        end = self.now + limit_ms
        while self._queue and self._queue[0][0] <= end and not reached():
            when, _, action = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            action()
        if not must:
            self.now = max(self.now, end) if not reached() else self.now
        elif not reached():
            raise AssertionError(f"not reached in {limit_ms} ms: {self.summary()}")

    def run_to_height(self, height: int, limit_ms: int = 30_000, nodes: Iterable[Node] | None = None) -> None:
        live = list(nodes) if nodes is not None else [node for node in self.nodes if node.up and node.honest]
        self.run_until(lambda: all(node.certified_height >= height for node in live), limit_ms)

    def summary(self) -> list[str]:
        lines = []
        for node in self.nodes:
            status = node.driver.status(self.now) if node.driver is not None else {"phase": "down"}
            where = {key: status.get(key) for key in ("height", "view", "active", "phase")}
            lines.append(f"{node.index}: {where}")
        return lines

    # --- requests ---------------------------------------------------------------------------------

    def submit(self, count: int = 1, nodes: Iterable[Node] | None = None) -> list[int]:
        """Give new requests to these nodes' pools (default all)."""
        made = list(range(self.requests, self.requests + count))
        self.requests += count
        for request in made:
            for node in list(nodes) if nodes is not None else self.nodes:
                node.submit(request)
        return made

    def settle(self, limit_ms: int = 60_000) -> None:
        """One more request, and time until every live correct node has executed and certified it."""
        (request,) = self.submit()
        live = [node for node in self.nodes if node.up and node.honest]
        self.run_until(
            lambda: all(
                request in node.ledger.done and node.certified_height == node.ledger.height for node in live
            ),
            limit_ms,
        )

    def change_validators(self, *indices: int) -> int:
        """Submit a request that makes these nodes the validators, W heights after the block that has it."""
        self.changes[self.requests] = tuple(self.keyring[index].public for index in indices)
        return self.submit()[0]

    def rotate_key(self, index: int) -> PrivateKey:
        """Give a node its next key, and submit the request that moves its seat to it."""
        node = self.nodes[index]
        new = PrivateKey(digest("test/key", bytes([index, self.requests % 256])))
        node.next_key = new
        latest = node.ledger.epochs[-1].validators
        self.changes[self.requests] = tuple(new.public if key == node.key.public else key for key in latest)
        self.submit()
        return new

    def new_ledger(self) -> Ledger:
        """An empty disk."""
        return Ledger(self.keys, self.rules.consensus_window, self.changes)

    # --- network ----------------------------------------------------------------------------------

    def linked(self, a: Node, b: Node) -> bool:
        return (a.index, b.index) not in self.cut and (b.index, a.index) not in self.cut

    def transmit(self, sender: Node, to: bytes | None, data: bytes) -> None:
        message = decode_message(data)
        if sender.honest:
            self._listen(sender, message)
        self.trace = digest("test/trace", self.trace, self.now.to_bytes(8, "big"), sender.key.public, data)
        for node in self.nodes:
            if node is not sender and node.key.public in (to, node.key.public if to is None else to):
                self._carry(sender, node, message, data)

    def _carry(self, sender: Node, node: Node, message: Any, data: bytes) -> None:
        for end, other in ((sender, node), (node, sender)):
            if end.talks_to is not None and other.index not in end.talks_to:
                return
        if (sender.index, node.index) in self.cut or node.key is sender.key:
            return
        if not all(keep(sender, node, message) for keep in self.filters):
            return
        if self.rewrite is not None and not sender.honest:
            data = encode(self.rewrite(sender, node, message))
        if self.random.random() < self.faults.drop:
            return
        copies = 2 if self.random.random() < self.faults.duplicate else 1
        for _ in range(copies):
            self.sent += 1
            delay = self.random.randint(*self.faults.delay_ms)
            self.at(self.now + delay, lambda: self._arrive(sender, node, data))

    def carry_requests(self, sender: Node, node: Node, requests: frozenset[int]) -> None:
        """Requests that a replica passes on, subject to cuts, filters and losses like messages."""
        if not self.linked(sender, node) or not all(keep(sender, node, requests) for keep in self.filters):
            return
        if self.random.random() >= self.faults.drop:
            delay = self.random.randint(*self.faults.delay_ms)
            self.at(self.now + delay, lambda: [node.submit(request) for request in sorted(requests)])

    def _arrive(self, sender: Node, node: Node, data: bytes) -> None:
        if node.up:
            self.deliver_bytes(sender, node, data)

    def deliver_bytes(self, sender: Node, node: Node, data: bytes) -> None:
        """Hand raw bytes to a node as if `sender` had sent them; refusals are kept in `refused`."""
        try:
            node.call(lambda driver, now: driver.on_message(sender.key.public, data, now))
        except AssentError as error:
            if sender.honest:
                raise
            self.refused.append(error)

    def partition(self, *groups: Iterable[int]) -> None:
        """Cut every link between different groups."""
        side = {index: number for number, group in enumerate(groups) for index in group}
        self.cut = {(a, b) for a in side for b in side if side[a] != side[b]}

    def heal(self) -> None:
        """All links up, nothing lost any more; peers notice that they are connected."""
        self.cut, self.faults, self.filters = set(), Faults(), []
        for node in self.nodes:
            for peer in self.nodes:
                if peer.key is not node.key and node.driver is not None:
                    node.call(lambda driver, now, peer=peer: driver.on_connected(peer.key.public, now))

    def silence(self, *indices: int) -> None:
        """Lose everything that these nodes send."""
        self.cut |= {(index, other.index) for index in indices for other in self.nodes}

    # --- safety -----------------------------------------------------------------------------------

    def executed(self, node: Node, height: int) -> None:
        payload, header = node.ledger.payloads[height - 1], node.ledger.headers[height - 1]
        assert self.decided.setdefault(height, payload) == payload, f"two payloads at height {height}"
        assert self.headers.setdefault(height, header) == header, f"two headers at height {height}"

    def _listen(self, sender: Node, message: Any) -> None:
        """Remember what correct replicas say for each slot, for ever; they must not say anything else."""
        if isinstance(message, Proposal):
            message = message.pre_prepare
        kind = tag_of(type(message))
        if getattr(message, "sender", sender.key.public) != sender.key.public:
            return
        if isinstance(message, Checkpoint):
            slot, content = (message.height,), message.header_hash
        elif isinstance(message, Prepare | Commit) or kind == "pre-prepare":
            slot, content = (message.view, message.height), message.payload_digest
        elif isinstance(message, ViewChange):
            slot, content = (message.epoch, message.view), message.signature
        else:
            return
        before = self.said.setdefault((sender.key.public, kind, *slot), content)
        assert before == content, f"node {sender.index} contradicts its {kind} of {slot}"

    def add_twin(self, index: int, left: Iterable[int], right: Iterable[int]) -> Node:
        """Make a node Byzantine: two processes with one key, each talking to one side only."""
        node, twin = self.nodes[index], Node(self, len(self.nodes), self.keyring[index])
        node.honest = twin.honest = False
        node.talks_to, twin.talks_to = set(left), set(right)
        self.nodes.append(twin)
        twin.boot()
        return twin
