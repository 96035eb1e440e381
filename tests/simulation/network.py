"""The network between machines: links that come and go, and frames that get lost, doubled, late or reordered.

Harsher than TCP: frames of a standing connection may be lost or overtake one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chain.network.frame import HEADER_BYTES, Kind

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.machine import Machine

DIAL_MS = (20, 400)
NOTICE_MS = (1, 3_000)
"""How long it takes to notice that a peer died."""


@dataclass(frozen=True, slots=True)
class Weather:
    """Chances per frame, and how long one takes in milliseconds, uniformly."""

    drop: float = 0.0
    duplicate: float = 0.0
    delay_ms: tuple[int, int] = (1, 4)


CALM = Weather()


def spoken(frame: bytes) -> str:
    """Return the tag of the message of consensus in a frame, or the name of the frame's kind."""
    kind = Kind(frame[0])
    if kind is not Kind.CONSENSUS:
        return kind.name
    tag = HEADER_BYTES + 2  # behind the array's length and the tag's, one byte each
    return frame[tag : tag + (frame[tag - 1] & 0x1F)].decode(errors="replace")


class Network:
    """Links by (from, to); a link has an epoch on each side, and frames of an older epoch are lost."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.weather = CALM
        self.linked: dict[tuple[int, int], int] = {}
        self.cut: set[tuple[int, int]] = set()
        """Directions in which every frame is lost."""
        self.clogged: dict[tuple[int, int], list[tuple[Machine, int, int, int, bytes]]] = {}
        """Directions that hold their frames back until released."""
        self.banned: dict[tuple[int, int], int] = {}
        self.muffled: dict[str, frozenset[int]] = {}
        """What is said (a tag of consensus, or the name of another kind) -> nodes that it does not reach."""
        self._members: dict[int, set[int]] = {}
        """Whom each node accepts."""
        self._epoch = 0
        self._peers: dict[int, list[int]] = {}
        self._dialling: set[tuple[int, int]] = set()
        self.frames = 0

    # --- frames -----------------------------------------------------------------------------------

    def peers(self, machine: Machine) -> list[int]:
        """Return whom a machine is connected with."""
        found = self._peers.get(machine.index, [])
        return found if machine.hears is None else [peer for peer in found if peer in machine.hears]

    def transmit(self, sender: Machine, target: int, frame: bytes) -> None:
        """Send one frame to every process of a node that the sender can reach."""
        source = sender.index
        epoch = self.linked.get((source, target))
        if epoch is None or (source, target) in self.cut:
            return
        if self.muffled and target in self.muffled.get(spoken(frame), ()):
            return
        self.frames += 1
        for receiver in self._cluster.processes[target]:
            if receiver.hears is not None and source not in receiver.hears:
                continue
            item = (receiver, receiver.life, source, epoch, frame)
            held = self.clogged.get((source, target))
            if held is not None:
                held.append(item)
            else:
                self._carry(item)

    def _carry(self, item: tuple[Machine, int, int, int, bytes]) -> None:
        weather, chance = self.weather, self._cluster.random
        if weather.drop and chance.random() < weather.drop:
            return
        low, high = weather.delay_ms
        receiver, *rest = item
        self._cluster.after(low + int(chance.random() * (high - low + 1)), receiver.receive, *rest)
        if weather.duplicate and chance.random() < weather.duplicate:
            self._cluster.after(low + int(chance.random() * 4 * high), receiver.receive, *rest)

    def release(self, link: tuple[int, int]) -> None:
        """Let a clogged direction flow again; what it held comes in random order."""
        held = self.clogged.pop(link, [])
        self._cluster.random.shuffle(held)
        for item in held:
            self._carry(item)

    # --- links ------------------------------------------------------------------------------------

    def booted(self, machine: Machine) -> None:
        """Dial everyone."""
        for other in range(len(self._cluster.processes)):
            if other != machine.index:
                self._dial_later(machine.index, other)

    def died(self, machine: Machine) -> None:
        """Its links are gone; the peers notice when they notice."""
        index = machine.index
        if any(process.up for process in self._cluster.processes[index]):
            return
        for peer in list(self._peers.get(index, [])):
            self._forget(index, peer)
            epoch = self.linked.get((peer, index))
            if epoch is not None:
                delay = self._cluster.random.randint(*NOTICE_MS)
                self._cluster.after(delay, self._notice, peer, index, epoch)

    def disconnect(self, source: int, target: int, ban_ms: int) -> None:
        """Close a link on both sides; `source` refuses the other for a while."""
        self.banned[source, target] = self._cluster.now + ban_ms
        for a, b in ((source, target), (target, source)):
            epoch = self.linked.get((a, b))
            if epoch is not None:
                self._cluster.after(1, self._notice, a, b, epoch)

    def accept(self, machine: Machine, members: set[int]) -> None:
        """Let a node accept these from now on; its connections with others are closed."""
        index = machine.index
        self._members[index] = members - {index}
        for peer in [peer for peer in self._peers.get(index, []) if peer not in members]:
            self.disconnect(index, peer, 0)
        for peer in sorted(self._members[index]):
            if (index, peer) not in self.linked:
                self._dial_later(index, peer)

    def _notice(self, side: int, peer: int, epoch: int) -> None:
        if self.linked.get((side, peer)) != epoch:
            return
        paused = max(process.paused_until for process in self._cluster.processes[side])
        if paused > self._cluster.now:
            self._cluster.after(paused - self._cluster.now, self._notice, side, peer, epoch)
            return
        self._forget(side, peer)
        for process in self._hearing(side, peer):
            if process.core is not None:
                process.enter(process.core.on_disconnected, self._cluster.keys[peer].public)
        self._dial_later(side, peer)

    def _forget(self, side: int, peer: int) -> None:
        if self.linked.pop((side, peer), None) is not None:
            self._peers[side].remove(peer)

    def _dial_later(self, a: int, b: int) -> None:
        pair = (min(a, b), max(a, b))
        if pair not in self._dialling:
            self._dialling.add(pair)
            self._cluster.after(self._cluster.random.randint(*DIAL_MS), self._dial, *pair)

    def _dial(self, a: int, b: int) -> None:
        """Connect two nodes if that is possible; what one side still believed of an older link is replaced.

        As in `chain.network.registry`: a side that has a link already is not told of the newer one.
        """
        cluster, now = self._cluster, self._cluster.now
        processes = [*cluster.processes[a], *cluster.processes[b]]
        self._dialling.discard((a, b))
        whole = self.linked.get((a, b)) is not None and self.linked.get((a, b)) == self.linked.get((b, a))
        mutual = b in self._members.get(a, ()) and a in self._members.get(b, ())
        if whole or not mutual or not all(process.up for process in processes):
            return
        refused = max(self.banned.get((a, b), 0), self.banned.get((b, a), 0)) > now
        lost = (a, b) in self.cut or (b, a) in self.cut
        if refused or lost or any(process.paused_until > now for process in processes):
            self._dialling.add((a, b))
            cluster.after(cluster.random.randint(*DIAL_MS), self._dial, a, b)
            return
        self._epoch += 1
        for side, peer in ((a, b), (b, a)):
            known = (side, peer) in self.linked
            self.linked[side, peer] = self._epoch
            if not known:
                self._peers.setdefault(side, []).append(peer)
                for process in self._hearing(side, peer):
                    if process.core is not None:
                        process.enter(process.core.on_connected, cluster.keys[peer].public)

    def _hearing(self, side: int, peer: int) -> list[Machine]:
        return [
            process
            for process in self._cluster.processes[side]
            if process.hears is None or peer in process.hears
        ]
