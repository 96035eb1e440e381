"""What a node knows of itself, and in words why it does not move."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from chain.api.metrics import Metrics
from chain.network.manager import PeerManager
from chain.node.core import NodeCore

STALL_MS = 5_000


class NodeStatus:
    """Answers questions of operators; reads the parts of a node and changes none."""

    def __init__(self, key: bytes, core: NodeCore, peers: PeerManager, clock: Callable[[], int]) -> None:
        """`clock` returns milliseconds of the monotonic clock."""
        self._key, self._core, self._peers, self._clock = key, core, peers, clock
        self._genesis, self._ledger, self._pool = core.ledger.genesis, core.ledger, core.pool
        self._sync, self._driver = core.sync, core.driver
        genesis = self._genesis
        self._names = {validator.public_key: validator.name for validator in genesis.validators}
        self._orgs = {validator.public_key: validator.org for validator in genesis.validators}
        self._told: dict[str, int] = {}

    def name_of(self, key: bytes) -> str:
        """Return a node's name, or the start of its key when it has none."""
        return self._names.get(key, key.hex()[:16])

    def consensus(self) -> dict[str, Any]:
        """Return what consensus is doing and whom it waits for; keys are said as names."""
        shown = self._driver.status(self._clock())
        shown["primary"] = self.name_of(bytes.fromhex(shown["primary"]))
        shown["missing"] = [self.name_of(bytes.fromhex(key)) for key in shown["missing"]]
        shown["heard_ms"] = {self.name_of(bytes.fromhex(key)): at for key, at in shown["heard_ms"].items()}
        return shown

    def info(self) -> dict[str, Any]:
        """Return the facts of one line of `assent status`."""
        consensus = self.consensus()
        return {
            "version": version("assent"),
            "chainId": self._genesis.chain_id.hex(),
            "chainName": self._genesis.chain_name,
            "key": self._key.hex(),
            "name": self.name_of(self._key),
            "org": self._orgs.get(self._key, ""),
            "role": "validator" if consensus["validator"] else "observer",
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
        reachable = len(self._peers.connected) + 1
        if consensus["validator"] and reachable < consensus["quorum"]:
            away = [self.name_of(peer.key) for peer in self._peers.peers() if not peer.connected]
            return (
                f"{reachable} of {consensus['validators']} validators are connected, {consensus['quorum']} "
                f"are needed: start or reach {', '.join(away)}"
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
        if consensus["validator"] and len(self._peers.connected) + 1 < consensus["quorum"]:
            return str(self.stall(consensus))
        return ""

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
