"""What a node counts and measures, in Prometheus form."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The metrics of one node; a registry of its own, so that several nodes fit a process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.height = Gauge("assent_height", "Certified height", registry=registry)
        self.view = Gauge("assent_view", "PBFT view", registry=registry)
        self.lost_votes = Gauge(
            "assent_votes_lost",
            "1 while this validator gives no vote, since its votes were lost",
            registry=registry,
        )
        self.stalled = Gauge(
            "assent_stalled", "1 while work waits and no height is certified for long", registry=registry
        )
        self.view_changes = Counter("assent_view_changes", "Views begun after the first", registry=registry)
        self.passed_over = Gauge(
            "assent_passed_over", "1 for a validator that does not lead now", ["validator"], registry=registry
        )
        self.silent = Gauge(
            "assent_silent",
            "1 for a connected validator without a vote lately",
            ["validator"],
            registry=registry,
        )
        self.twins = Gauge(
            "assent_runs_twice", "1 for a member whose key two processes use", ["member"], registry=registry
        )
        self.own_twins = Gauge(
            "assent_own_key_twice",
            "Members that say that another process uses the key of this node",
            registry=registry,
        )
        self.peers = Gauge("assent_peers", "Connected peers", registry=registry)
        self.pool = Gauge("assent_pool_transactions", "Transactions waiting for a block", registry=registry)
        self.disk_free = Gauge(
            "assent_disk_free_bytes", "Room left for the data directory", registry=registry
        )
        self.pruning_stopped = Gauge(
            "assent_pruning_stopped",
            "1 while old blocks stay because the archive cannot be written",
            registry=registry,
        )
        self.transactions = Counter(
            "assent_transactions", "Executed transactions", ["status"], registry=registry
        )
        self.refused = Counter(
            "assent_refused", "Transactions refused by the pool", ["code"], registry=registry
        )
        self.dropped = Counter(
            "assent_dropped", "Items that a full queue gave up", ["queue"], registry=registry
        )
        self.disconnects = Counter(
            "assent_disconnects", "Connections closed, by reason", ["reason"], registry=registry
        )
        self.peer_seconds = Counter(
            "assent_peer_seconds",
            "Processor time that a member's frames took",
            ["peer", "kind"],
            registry=registry,
        )
        self.peer_unhandled = Counter(
            "assent_peer_unhandled",
            "Frames of a member beyond its share, dropped unread",
            ["peer", "kind"],
            registry=registry,
        )
        self.peer_refused = Gauge(
            "assent_peer_refused", "Whether a member is refused for what it did", ["peer"], registry=registry
        )
        self.execution = Histogram("assent_execution_seconds", "Execution of one block", registry=registry)
        self.rpc_held = Gauge(
            "assent_rpc_held", "Connections, WebSockets and bytes of RPC clients", ["what"], registry=registry
        )
        self.rpc_principals = Counter(
            "assent_rpc_principal_calls", "RPC calls answered, by principal", ["principal"], registry=registry
        )
        self.rpc_requests = Counter(
            "assent_rpc_requests", "RPC calls", ["method", "outcome"], registry=registry
        )

    def render(self) -> bytes:
        """Return the text that a Prometheus server scrapes."""
        return generate_latest(self._registry)
