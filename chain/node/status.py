"""What a node knows of itself, and in words why it does not move."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

from chain.api.metrics import Metrics
from chain.network.manager import PeerManager
from chain.node.core import NodeCore
from chain.node.membership import OUTSIDE, accepted, role_of
from chain.primitives.certificate import quorum
from chain.primitives.jsonvalue import to_json

STALL_MS = 5_000


class NodeStatus:
    """Answers questions of operators; reads the parts of a node and changes none."""

    def __init__(self, key: bytes, core: NodeCore, peers: PeerManager, clock: Callable[[], int]) -> None:
        """`clock` returns milliseconds of the monotonic clock."""
        self._key, self._core, self._peers, self._clock = key, core, peers, clock
        self._genesis, self._ledger, self._pool = core.ledger.genesis, core.ledger, core.pool
        self._sync, self._driver = core.sync, core.driver
        self._nodes = {node.public_key: node for node in self._genesis.validators}
        """Every node that was a member since the start, and the founders: for names."""
        self._told: dict[str, int] = {}

    def name_of(self, key: bytes) -> str:
        """Return a node's name, or the start of its key when it has none."""
        if key not in self._nodes:
            self._nodes |= accepted(self._ledger)
        return self._nodes[key].name if key in self._nodes else key.hex()[:16]

    def _names(self, keys: Iterable[bytes]) -> list[str]:
        return [self.name_of(key) for key in keys]

    def consensus(self) -> dict[str, Any]:
        """Return what consensus is doing and whom it waits for; keys are said as names."""
        shown = self._driver.status(self._clock())
        shown["primary"] = self.name_of(bytes.fromhex(shown["primary"]))
        shown["missing"] = self._names(bytes.fromhex(key) for key in shown["missing"])
        shown["heard_ms"] = {self.name_of(bytes.fromhex(key)): at for key, at in shown["heard_ms"].items()}
        shown["announced"] = self._announced()
        shown["refused"] = to_json(self._ledger.schedule.refusal())
        return shown

    def _announced(self) -> list[dict[str, Any]]:
        """Return the sets announced and not in force yet, with those of them that are not connected."""
        sets = self._ledger.schedule.coming(self._ledger.certified_height + 1)[1:]
        return [
            {
                "first": item.first,
                "validators": self._names(item.keys),
                "quorum": quorum(len(item.keys)),
                "away": self._names(self._away(item.keys)),
            }
            for item in sets
        ]

    def _away(self, validators: Iterable[bytes]) -> list[bytes]:
        here = {*self._peers.connected, self._key}
        return [key for key in validators if key not in here]

    def info(self) -> dict[str, Any]:
        """Return the facts of one line of `assent status`."""
        consensus = self.consensus()
        return {
            "version": version("assent"),
            "chainId": self._genesis.chain_id.hex(),
            "chainName": self._genesis.chain_name,
            "key": self._key.hex(),
            "name": self.name_of(self._key),
            "org": self._nodes[self._key].org if self._key in self._nodes else "",
            "role": role_of(self._ledger, self._key),
            "height": self._ledger.certified_height,
            "executed": self._ledger.head.height,
            "blocksFrom": self._ledger.read.holding.now().blocks,
            "view": consensus["view"],
            "primary": consensus["primary"],
            "peers": len(self._peers.connected),
            "pool": len(self._pool),
            "phase": consensus["phase"],
            "stall": self.stall(consensus),
        }

    def peers(self) -> list[dict[str, Any]]:
        """Return one record a member."""
        return [
            {
                "name": self.name_of(peer.key),
                "key": peer.key.hex(),
                "address": peer.address,
                "connected": peer.connected,
                "connectedSeconds": round(peer.connected_s, 1),
                "roundTripMs": peer.round_trip_ms,
                "queuedBytes": peer.queued_bytes,
                "drops": dict(peer.drops),
                "trouble": peer.trouble,
            }
            for peer in self._peers.peers()
        ]

    def sync(self) -> dict[str, Any]:
        """Return where catch-up stands."""
        report = self._sync.report()
        return {
            "height": report.height,
            "provedHeight": report.proved_height,
            "bufferedBlocks": report.buffered_blocks,
            "requests": report.requests,
            "snapshot": None
            if report.snapshot is None
            else {"height": report.snapshot[0], "share": round(report.snapshot[1], 4)},
            "trouble": report.trouble,
        }

    def stall(self, consensus: dict[str, Any]) -> str:
        """Return in words why the chain does not move and what to do; empty while it moves or idles."""
        trouble = self._sync.report().trouble
        if consensus["halted"]:
            return f"this validator stopped itself: {consensus['halted']}"
        if trouble:
            return trouble
        report = self._sync.report()
        if role_of(self._ledger, self._key) == OUTSIDE and report.proved_height <= report.height:
            return self._outside()
        if why := self._too_few():
            return why
        coming = [item for item in consensus["announced"] if self._lacks_quorum(item)]
        if coming:
            first, needed, away = (coming[0][part] for part in ("first", "quorum", "away"))
            return (
                f"at height {first} other validators take over, {needed} of them are needed and these are "
                f"not connected: start or reach {', '.join(away)}"
            )
        if not consensus["pending"] or consensus["since_ms"] < STALL_MS:
            return ""
        waits = f"; waits for {', '.join(consensus['missing'])}" if consensus["missing"] else ""
        return f"{consensus['phase']}{waits}, for {consensus['since_ms'] // 1000} s"

    def why_not_ready(self) -> str:
        """Return why this node cannot serve yet, empty when it can."""
        consensus = self.consensus()
        if consensus["halted"]:
            return str(self.stall(consensus))
        report = self._sync.report()
        if report.snapshot is not None:
            height, share = report.snapshot
            return f"fetching the state of height {height}: {share:.0%} is here"
        if report.proved_height > report.height + self._genesis.limits.consensus_window:
            return f"catching up: height {report.height} of {report.proved_height}"
        if role_of(self._ledger, self._key) == OUTSIDE:
            return self._outside()
        return self._too_few() if consensus["validator"] else ""

    def _outside(self) -> str:
        moved = [
            item.node.public_key.hex()[:16]
            for item in self._ledger.schedule.nodes()
            if self._key in self._nodes and item.node.name == self._nodes[self._key].name
        ]
        if moved:
            return (
                f"the seat of this node has moved to the key {moved[0]}…, which is not here: put its file "
                "where [files] next_key says"
            )
        if self._key not in self._nodes:
            return (
                f"no node of this chain has the key {self._key.hex()}: the members decide about it with "
                "`assent validator add`, or the ledger here is behind: name [network] introducers"
            )
        return (
            "this node is no longer a member: it serves what it has and follows nobody; the members take it "
            "in again with `assent validator add`"
        )

    def _too_few(self) -> str:
        """Return whom the chain lacks, when too few of the validators in force are connected to this one."""
        epoch = self._ledger.epoch_at(self._ledger.certified_height + 1)
        if self._key not in epoch.validators:
            return ""
        n, away = len(epoch.validators), self._away(epoch.validators)
        if n - len(away) >= quorum(n):
            return ""
        since = f" in force since height {epoch.first}" if epoch.first else ""
        return (
            f"{n - len(away)} of {n} validators{since} are connected, {quorum(n)} are needed: start or reach "
            f"{', '.join(self._names(away))}"
        )

    @staticmethod
    def _lacks_quorum(announced: dict[str, Any]) -> bool:
        return len(announced["validators"]) - len(announced["away"]) < int(announced["quorum"])

    def observe(self, metrics: Metrics) -> None:
        """Write the gauges, and the counters that grew."""
        head = self._ledger.head
        metrics.height.set(self._ledger.certified_height)
        metrics.view.set(self._driver.status(self._clock())["view"])
        metrics.peers.set(len(self._peers.connected))
        metrics.pool.set(len(self._pool))
        self._count(metrics.transactions.labels("ok"), "ok", head.transactions - head.failed)
        self._count(metrics.transactions.labels("failed"), "failed", head.failed)
        for code, number in self._peers.disconnects.items():
            self._count(metrics.disconnects.labels(code), f"disconnect {code}", number)
        for code, number in self._core.admission.refusals.items():
            self._count(metrics.refused.labels(code), f"refusal {code}", number)
        drops: dict[str, int] = {}
        for peer in self._peers.peers():
            for kind, number in peer.drops.items():
                drops[kind] = drops.get(kind, 0) + number
        sent = {f"send_{kind}": number for kind, number in drops.items()}
        for queue, number in (sent | self._core.drops()).items():
            self._count(metrics.dropped.labels(queue), f"drop {queue}", number)

    def _count(self, counter: Any, name: str, total: int) -> None:
        counter.inc(max(0, total - self._told.get(name, 0)))
        self._told[name] = total
