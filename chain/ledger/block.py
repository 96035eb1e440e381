"""Codec records of the ledger: transaction, batch, receipt, header, event entry, certified block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from chain.primitives.certificate import VALIDATORS_MAX, Certificate
from chain.primitives.codec import U64, Bound, Hash, Name, PublicKey, Signature, encode, record
from chain.primitives.crypto import Signer, digest, verify
from chain.primitives.merkle import leaf_hash, root
from chain.primitives.runtimeport import ARGS_BYTES_MAX, RESULT_BYTES_MAX, Event

TX_BYTES_MAX = ARGS_BYTES_MAX + 1_024
BATCH_TXS_MAX = 10_000
BATCH_BYTES_MAX = 33_554_432
"""Encoded transactions of one batch: the most that the limit `block_bytes` may be."""
VALID_UNTIL_AHEAD_MAX = 600
ABOVE_MAX = 32
"""Heights that may be executed without a certificate: the largest consensus window."""
SKIP_REASON_CHARS = 200
"""A sentence for those who read the ledger later; it travels with every proof of the height."""
PROTOCOL_VERSION = 1


@record("tx-body", max_bytes=TX_BYTES_MAX)
class TransactionBody:
    """What a sender asks for; its hash is the transaction's id."""

    chain_id: Hash
    sender: PublicKey
    contract: Name
    method: Name
    args: Annotated[bytes, Bound(1, ARGS_BYTES_MAX)]
    """`encode_value` of a dict: argument name -> value."""
    gas_limit: U64
    nonce: Annotated[bytes, Bound(16, 16)]
    """Random; a second transaction with the same id inside the validity window is a replay."""
    valid_until: U64
    """Last height that may include it; at most 600 above the head."""


@record("tx", max_bytes=TX_BYTES_MAX + 128)
class Transaction:
    """A signed transaction body."""

    body: TransactionBody
    signature: Signature


def transaction_id(body: TransactionBody) -> bytes:
    """Return the 32-byte id, which the signature signs; it covers the chain id."""
    return digest("assent/tx", encode(body))


def sign_transaction(body: TransactionBody, signer: Signer) -> Transaction:
    """Sign a body whose `sender` is the signer's public key."""
    return Transaction(body, signer.sign(transaction_id(body)))


def signature_holds(tx: Transaction, tx_id: bytes) -> bool:
    """Tell whether the sender's signature over this id holds (about 55 µs)."""
    return verify(tx.body.sender, tx_id, tx.signature)


@dataclass(frozen=True, slots=True)
class DecodedTransaction:
    """A decoded transaction with its id and bytes, so that neither is computed twice."""

    tx: Transaction
    id: bytes
    raw: bytes

    @classmethod
    def of(cls, tx: Transaction) -> DecodedTransaction:
        """Compute the id and bytes of a transaction."""
        return cls(tx, transaction_id(tx.body), encode(tx))

    @property
    def signature_holds(self) -> bool:
        """Whether the sender's signature holds (about 55 µs, GIL released)."""
        return signature_holds(self.tx, self.id)


@record("batch", max_bytes=BATCH_TXS_MAX * 40 + 256)
class Batch:
    """The payload consensus orders: which transactions, in which order, at what time.

    View, base and proposer are those of the first proposal, so the header is the same at every replica even
    when a view change proposes the batch again. An empty payload (b"") is a null request, which a view
    change orders.
    """

    height: U64
    view: U64
    base: U64
    """The height above which that view began: what every replica in it holds a certificate of."""
    proposer: PublicKey
    time: U64
    """Milliseconds since the epoch; greater than the parent's."""
    tx_ids: Annotated[tuple[Hash, ...], Bound(0, BATCH_TXS_MAX)]


@record("receipt", max_bytes=2_097_152)
class Receipt:
    """What one transaction did. Proved by its Merkle path to the header's receipts root."""

    tx_id: Hash
    height: U64
    index: U64
    """Position in the batch."""
    status: Name
    code: Annotated[str, Bound(0, 64)]
    result: Annotated[bytes, Bound(0, RESULT_BYTES_MAX)]
    gas_used: U64
    events: Annotated[tuple[Event, ...], Bound(0, 1_024)]


@record("header", max_bytes=512)
class Header:
    """What the execution of a batch produced; a certificate signs its hash."""

    height: U64
    parent: Hash
    """Hash of the header below; the chain id at height 0."""
    time: U64
    view: U64
    """The batch's; a null request has that of the header below."""
    base: U64
    """Likewise: with the views they tell which primaries were replaced (chain/ledger/passing.py)."""
    proposer: PublicKey
    """Zeros for a null request."""
    batch_root: Hash
    """Merkle root over the transaction ids of the batch."""
    state_root: Hash
    receipts_root: Hash
    """Merkle root over the encoded receipts, in batch order."""
    validators_hash: Hash
    """The set that certifies the header W above (W: consensus window), so that headers alone tell sets."""
    protocol_version: U64
    skip: Hash | None = None
    """`skip_digest` of the decision that kept transactions of this batch from running; None without one."""


@record("skip", max_bytes=BATCH_TXS_MAX * 40 + 2_048)
class Skip:
    """Transactions of one ordered batch that shall not run, since no node can execute them."""

    height: U64
    batch: Hash
    """`payload_digest` of what consensus ordered at this height."""
    attempt: U64
    """0, and one more each time that the decisions before did not suffice."""
    tx_ids: Annotated[tuple[Hash, ...], Bound(1, BATCH_TXS_MAX)]
    """Some or all of the batch's, in its order."""
    reason: Annotated[str, Bound(1, SKIP_REASON_CHARS)]


@record("skip-decision", max_bytes=BATCH_TXS_MAX * 40 + 2_048 + VALIDATORS_MAX * 128)
class SkipDecision:
    """A skip and who decided it: a quorum of the validators of its height, ordered by public key."""

    skip: Skip
    signatures: Annotated[tuple[tuple[PublicKey, Signature], ...], Bound(1, VALIDATORS_MAX)]


@record("entry", max_bytes=196_608)
class EventEntry:
    """One entry of a subject's log: an event and where it happened."""

    height: U64
    tx_id: Hash
    index: U64
    """Position of the event in its receipt."""
    event: Event


@record("block", max_bytes=67_108_864)
class Block:
    """Everything another node needs to check and replay one height."""

    header: Header
    above: Annotated[tuple[Header, ...], Bound(0, ABOVE_MAX)]
    """Where no quorum's votes over this header are known: the headers that follow, up to a certified one."""
    certificate: Certificate
    """Over the last of these headers, the first included."""
    payload: Annotated[bytes, Bound(0, BATCH_TXS_MAX * 40 + 256)]
    """The encoded batch, or b"" for a null request."""
    transactions: Annotated[tuple[Transaction, ...], Bound(0, BATCH_TXS_MAX)]
    skip: SkipDecision | None = None
    """The decision that the header names."""


def is_certified(block: Block) -> bool:
    """Tell whether the certificate is over the block's header, or over one that its headers lead to."""
    hashed, height = header_hash(block.header), block.header.height
    for header in block.above:
        if (header.parent, header.height) != (hashed, height + 1):
            return False
        hashed, height = header_hash(header), header.height
    return (block.certificate.header_hash, block.certificate.height) == (hashed, height)


def header_hash(header: Header) -> bytes:
    """Return the hash that children and certificates refer to."""
    return digest("assent/header", encode(header))


def skip_digest(chain_id: bytes, skip: Skip) -> bytes:
    """Return the 32 bytes that validators sign to decide a skip, and that its height's header names."""
    return digest("assent/skip-decision", chain_id, encode(skip))


def batch_root(tx_ids: tuple[bytes, ...]) -> bytes:
    """Return the Merkle root over transaction ids in batch order."""
    return root([leaf_hash(tx_id) for tx_id in tx_ids])


def receipts_root(receipts: list[bytes]) -> bytes:
    """Return the Merkle root over encoded receipts in batch order."""
    return root([leaf_hash(receipt) for receipt in receipts])


def entry_hash(entry: EventEntry) -> bytes:
    """Return the hash of one subject-log entry."""
    return digest("assent/entry", encode(entry))


def rolling_hash(previous: bytes, entry: bytes, height: int) -> bytes:
    """Return H(previous ‖ entry hash ‖ height): the running hash of a subject's log."""
    return digest("assent/subject", previous, entry, height.to_bytes(8, "big"))
