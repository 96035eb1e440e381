"""What a node counts and measures, in Prometheus form."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PREFIX = "assent_"


class Metrics:
    """The metrics of one node; a registry of its own, so that several nodes fit a process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(PREFIX + name, says, labels, registry=registry)

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, says, labels, registry=registry)

        self.height = gauge("height", "Certified height")
        self.view = gauge("view", "PBFT view")
        self.lost_votes = gauge(
            "votes_lost", "1 while this validator gives no vote, since its votes were lost"
        )
        self.stalled = gauge("stalled", "1 while work waits and no height is certified for long")
        self.view_changes = counter("view_changes", "Views begun after the first")
        self.passed_over = gauge("passed_over", "1 for a validator that does not lead now", "validator")
        self.silent = gauge("silent", "1 for a connected validator without a vote lately", "validator")
        self.twins = gauge("runs_twice", "1 for a member whose key two processes use", "member")
        self.own_twins = gauge(
            "own_key_twice", "Members that say that another process uses the key of this node"
        )
        self.peers = gauge("peers", "Connected peers")
        self.pool = gauge("pool_transactions", "Transactions waiting for a block")
        self.disk_free = gauge("disk_free_bytes", "Room left for the data directory")
        self.pruning_stopped = gauge(
            "pruning_stopped", "1 while old blocks stay because the archive cannot be written"
        )
        self.transactions = counter("transactions", "Executed transactions", "status")
        self.refused = counter("refused", "Transactions refused by the pool", "code")
        self.dropped = counter("dropped", "Items that a full queue gave up", "queue")
        self.disconnects = counter("disconnects", "Connections closed, by reason", "reason")
        self.peer_seconds = counter(
            "peer_seconds", "Processor time that a member's frames took", "peer", "kind"
        )
        self.peer_unhandled = counter(
            "peer_unhandled", "Frames of a member beyond its share, dropped unread", "peer", "kind"
        )
        self.peer_refused = gauge("peer_refused", "Whether a member is refused for what it did", "peer")
        self.execution = Histogram(PREFIX + "execution_seconds", "Execution of one block", registry=registry)
        self.rpc_held = gauge("rpc_held", "Connections, WebSockets and bytes of RPC clients", "what")
        self.rpc_principals = counter("rpc_principal_calls", "RPC calls answered, by principal", "principal")
        self.rpc_requests = counter("rpc_requests", "RPC calls", "method", "outcome")

    def render(self) -> bytes:
        """Return the text that a Prometheus server scrapes."""
        return generate_latest(self._registry)
