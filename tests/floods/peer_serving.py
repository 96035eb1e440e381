"""Floods of frames that make a node look things up, remember or answer: gossip, catch-up, pings."""

from __future__ import annotations

import os

from chain.ledger.block import Transaction, TransactionBody
from chain.network.frame import IDS_PER_FRAME_MAX, Kind, encode_frame
from chain.network.messages import (
    AnchorRequest,
    BlocksRequest,
    ChunkRequest,
    PushedTransactions,
    TransactionIds,
)
from chain.primitives.codec import encode
from tests.floods.link import HostileLink
from tests.floods.member import MemberFlood
from tests.floods.target import Target

PER_REQUEST = 1_024
POOL = 64
"""Different frames that a flood of random content is made of: making them must not slow the attacker."""


class TxRequests(MemberFlood):
    """Requests for 1,024 transactions that are final long since."""

    sends = "TX_REQUEST of 1,024 final ids"

    def prepare(self, target: Target) -> None:
        ids = tuple(bytes.fromhex(item) for item in target.finals[:PER_REQUEST])
        self._frame = encode_frame(Kind.TX_REQUEST, encode(TransactionIds(ids)))

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        del link, number
        return self._frame, 1


class TxRequests10(TxRequests):
    """Ten such requests a second: a nuisance that is still served."""

    name = "tx-request-10"
    per_second = 10
    must_be_named = False


class TxRequests50(TxRequests):
    """Fifty such requests a second."""

    name = "tx-request-50"
    per_second = 50


class TxRequests200(TxRequests):
    """Two hundred such requests a second: nine times as much goes out as comes in."""

    name = "tx-request-200"
    per_second = 200


class TxRequestsMax(TxRequests):
    """As many such requests as the connection takes."""

    name = "tx-request-max"


class TxIds(MemberFlood):
    """Announcements of transactions that do not exist."""

    sends = "TX_IDS of 4,096 random ids"

    def prepare(self, target: Target) -> None:
        source = target.random(self.name)
        self._frames = [
            encode_frame(
                Kind.TX_IDS,
                encode(TransactionIds(tuple(source.randbytes(32) for _ in range(IDS_PER_FRAME_MAX)))),
            )
            for _ in range(POOL)
        ]

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        del link
        return self._frames[number % POOL], 1


class TxIds50(TxIds):
    """Fifty such announcements a second."""

    name = "tx-ids-50"
    per_second = 50


class TxIds200(TxIds):
    """Two hundred such announcements a second."""

    name = "tx-ids-200"
    per_second = 200


class TxIdsMax(TxIds):
    """As many such announcements as the connection takes."""

    name = "tx-ids-max"


class TxIdsEverywhere(TxIds):
    """Announcements to all honest nodes at once."""

    name = "tx-ids-everywhere"
    per_second = 150
    victims_max = 3
    sends = "TX_IDS of 4,096 random ids, 150 a second to each of the three honest nodes"


class BlocksRequests(MemberFlood):
    """Requests for the same blocks again and again."""

    name = "blocks-requests"
    per_second = 150
    sends = "BLOCKS_REQUEST of 128 blocks, 150 a second"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        del link, number
        return encode_frame(Kind.BLOCKS_REQUEST, encode(BlocksRequest(1, 128))), 1


class AnchorRequests(MemberFlood):
    """Requests for what proves the head."""

    name = "anchor-requests"
    sends = "ANCHOR_REQUEST as fast as the connection takes them"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        del link, number
        return encode_frame(Kind.ANCHOR_REQUEST, encode(AnchorRequest(0))) * 32, 32


class ChunkRequests(MemberFlood):
    """Requests for the root of the state."""

    name = "chunk-requests"
    sends = "CHUNK_REQUEST for the root of a recent state as fast as the connection takes them"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        del number
        return encode_frame(Kind.CHUNK_REQUEST, encode(ChunkRequest(max(1, link.height), b""))) * 32, 32


class Pings(MemberFlood):
    """Pings, each of which a node answers."""

    name = "pings"
    sends = "PING as fast as the connection takes them"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        del link, number
        return encode_frame(Kind.PING, bytes(8)) * 64, 64


class ForgedTransactions(MemberFlood):
    """Transactions that look right and carry nobody's signature."""

    name = "forged-txs"
    sends = "TXS of 256 transactions with random signatures"

    def prepare(self, target: Target) -> None:
        genesis = target.load_genesis()
        sender = target.key("member").public  # decoded and judged all the same: signatures are checked last
        body = [
            TransactionBody(genesis.chain_id, sender, "counter", "add", b"\x80", 1_000, os.urandom(16), 100)
            for _ in range(256)
        ]
        made = [encode(Transaction(item, os.urandom(64))) for item in body]
        self._frame = encode_frame(Kind.TXS, encode(PushedTransactions(tuple(made))))

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        del link, number
        return self._frame, 1


class UnknownKinds(MemberFlood):
    """Frames of a kind that does not exist."""

    name = "unknown-kinds"
    sends = "frames of kind 99"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        del link, number
        return b"\x63\x00\x00\x00\x04junk", 1


class UnaskedAnswers(MemberFlood):
    """Answers that nobody asked for."""

    name = "unasked-answers"
    sends = "TX_ANSWER, BLOCKS, ANCHOR and CHUNK in turn"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        del link
        kinds = (Kind.TX_ANSWER, Kind.BLOCKS, Kind.ANCHOR, Kind.CHUNK)
        return encode_frame(kinds[number % len(kinds)], b"x"), 1


class Reconnects(MemberFlood):
    """A member that connects, greets, and is gone, without a pause."""

    name = "reconnects"
    sends = "TLS handshake, HELLO, end of the connection, at once again"
    again_s = 0.0

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        del number
        link.lost.set()
        return b"", 0
