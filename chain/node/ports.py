"""Small adapters: what gossip, sync and consensus need, said in terms of pool, ledger and peers."""

from __future__ import annotations

from collections.abc import Sequence

from chain.ledger.block import Header
from chain.ledger.ledger import Ledger
from chain.ledger.mempool import Mempool
from chain.network.frame import Kind
from chain.network.manager import PeerManager
from chain.primitives.certificate import Certificate
from chain.primitives.codec import encode


class PeerTransport:
    """`consensus.ports.Transport` over the connected peers."""

    def __init__(self, peers: PeerManager) -> None:
        self._peers = peers

    def send(self, to: bytes, data: bytes) -> None:
        """Send to one peer, if it is connected."""
        self._peers.send(to, Kind.CONSENSUS, data)

    def broadcast(self, data: bytes) -> None:
        """Send to every connected peer."""
        self._peers.broadcast(Kind.CONSENSUS, data)


class GossipPool:
    """`chain.network.gossip.Pool` over pool and ledger."""

    def __init__(self, pool: Mempool, ledger: Ledger) -> None:
        self._pool, self._ledger = pool, ledger

    def has(self, tx_id: bytes) -> bool:
        """Tell whether it is here or on the ledger."""
        return tx_id in self._pool or self._ledger.read.is_final(tx_id)

    def waits(self, tx_id: bytes) -> bool:
        """Tell whether it waits for a block."""
        return tx_id in self._pool

    def get(self, tx_id: bytes) -> bytes | None:
        """Return its encoding from the pool or the ledger."""
        found = self._pool.get((tx_id,))
        return found[0].raw if found else self._ledger.read.transaction_bytes(tx_id)


class SyncChain:
    """`chain.network.sync.Chain` over the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def height(self) -> int:
        """Return the certified height."""
        return self._ledger.certified_height

    def head(self) -> tuple[Header, Certificate] | None:
        """Return the certified head, None at genesis."""
        height = self._ledger.certified_height
        header, certificate = self._ledger.read.header(height), self._ledger.read.certificate(height)
        return None if header is None or certificate is None else (header, certificate)

    def validators(self, height: int) -> Sequence[bytes] | None:
        """Return who certifies a height; None while that can still change."""
        return self._ledger.validator_keys_at(height) if height <= self._ledger.settled_height else None

    def block(self, height: int) -> bytes | None:
        """Return an encoded certified block."""
        block = self._ledger.read.block(height)
        return None if block is None else encode(block)
