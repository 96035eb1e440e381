"""Proof verifier: checks proofs against a genesis, without a node. Nothing here reads a store.

Each `check_*` raises ProofInvalid naming the proof that broke.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from hashlib import sha256

from chain.ledger.block import (
    Header,
    entry_hash,
    header_hash,
    rolling_hash,
    signature_holds,
    transaction_id,
)
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import (
    HeaderProof,
    MerklePath,
    ProvedHistory,
    ProvedReceipt,
    ProvedState,
    ProvedTransaction,
    SetChange,
)
from chain.ledger.state.node import state_key_hash, state_value_hash
from chain.ledger.state.proof import StateProof, root_of
from chain.ledger.subjects import NAMESPACE, log_key, read_log
from chain.primitives import merkle
from chain.primitives.boundedcache import BoundedCache
from chain.primitives.certificate import check_certificate, validators_hash
from chain.primitives.codec import encode
from chain.primitives.errors import DecodeError, ProofInvalid

PROOFS_REMEMBERED_MAX = 4_096
"""Header proofs that were found to hold: many proofs share a header."""


class ProofVerifier:
    """Checks proofs against a genesis; it follows the validator sets and remembers which header proofs hold.

    A header is certified by the set in force at its height, and names the set in force W heights above. So
    whoever trusts the genesis learns every later set from the headers that name them (`follow`). This holds
    while of each set, at any time later, at most f sign what they should not: like every light client, a
    verifier that knows only old sets cannot see that their keys leaked since.
    """

    def __init__(self, genesis: Genesis, changes: Iterable[SetChange] = ()) -> None:
        """Trust the founding validators, and the sets that follow from them; raise ProofInvalid."""
        self.chain_id = genesis.chain_id
        self.consensus_window = genesis.limits.consensus_window
        self._firsts = [0]
        self._sets = [genesis.validator_keys]
        self._hashes = [validators_hash(genesis.validator_keys)]
        self._valid: BoundedCache[bytes, Header] = BoundedCache(PROOFS_REMEMBERED_MAX)
        for change in changes:
            self.follow(change)

    def validators_at(self, height: int) -> tuple[bytes, ...]:
        """Return who certifies a height, as far as the sets were followed."""
        return self._sets[self._index(height)]

    @property
    def founders(self) -> tuple[bytes, ...]:
        """The validators of the genesis."""
        return self._sets[0]

    @property
    def followed(self) -> int:
        """The height from which the newest set known here is in force."""
        return self._firsts[-1]

    def follow(self, change: SetChange) -> None:
        """Learn the next validator set; raise ProofInvalid."""
        what = f"validator set in force from height {change.first}"
        header, last = change.header.headers[0], change.header.headers[-1]
        if not self.followed < change.first == header.height + self.consensus_window:
            raise ProofInvalid(
                f"{what}: not {self.consensus_window} heights above its header, or out of order"
            )
        if last.height >= change.first:
            raise ProofInvalid(f"{what}: its header must be certified below height {change.first}")
        self._check_chain(change.header)
        if header.validators_hash != validators_hash(change.validators):
            raise ProofInvalid(f"{what}: header {header.height} names another set")
        self._firsts.append(change.first)
        self._sets.append(change.validators)
        self._hashes.append(header.validators_hash)

    def check_header(self, proof: HeaderProof) -> Header:
        """Return the proved header; raise ProofInvalid."""
        first = proof.headers[0]
        key = sha256(encode(proof)).digest()
        if self._valid.get(key) is None:
            self._check_chain(proof)
            self._check_named(proof)
            self._valid.add(key, first)
        return first

    def _check_chain(self, proof: HeaderProof) -> None:
        first, last = proof.headers[0], proof.headers[-1]
        hashes = [header_hash(header) for header in proof.headers]
        for below, header, parent in zip(proof.headers, proof.headers[1:], hashes, strict=False):
            if header.parent != parent or header.height != below.height + 1:
                raise ProofInvalid(f"header {first.height}: header {header.height} does not follow it")
        if proof.certificate.header_hash != hashes[-1] or proof.certificate.height != last.height:
            raise ProofInvalid(f"header {first.height}: the certificate is over another header")
        check_certificate(proof.certificate, self.chain_id, self.validators_at(last.height))

    def _check_named(self, proof: HeaderProof) -> None:
        """Raise ProofInvalid for a header that names a set which was not followed."""
        for header in proof.headers:
            if header.validators_hash != self._hashes[self._index(header.height + self.consensus_window)]:
                raise ProofInvalid(
                    f"header {header.height}: names validators for height "
                    f"{header.height + self.consensus_window} that are unknown here: the changes of the "
                    "validator set up to it are needed"
                )

    def _index(self, height: int) -> int:
        return bisect_right(self._firsts, height) - 1

    def check_receipt(self, proof: ProvedReceipt) -> Header:
        """Return the header under which the receipt stands; raise ProofInvalid."""
        header = self.check_header(proof.header)
        receipt = proof.receipt
        what = f"receipt of {receipt.tx_id.hex()[:16]} at height {header.height}"
        if receipt.height != header.height or receipt.index != proof.path.index:
            raise ProofInvalid(f"{what}: its own height or position is another")
        _check_path(what, header.receipts_root, encode(receipt), proof.path)
        return header

    def check_transaction(self, proof: ProvedTransaction) -> Header:
        """Return the header in whose batch the transaction stands; raise ProofInvalid."""
        header = self.check_header(proof.header)
        body = proof.transaction.body
        tx_id = transaction_id(body)
        what = f"transaction {tx_id.hex()[:16]} at height {header.height}"
        if body.chain_id != self.chain_id:
            raise ProofInvalid(f"{what}: signed for another chain")
        if not signature_holds(proof.transaction, tx_id):
            raise ProofInvalid(f"{what}: the sender's signature does not hold")
        _check_path(what, header.batch_root, tx_id, proof.path)
        return header

    def check_state(self, proof: ProvedState) -> Header:
        """Return the header under whose state the entry has this value (or none); raise ProofInvalid."""
        header = self.check_header(proof.header)
        what = f"state of {proof.namespace} at height {header.height}"
        check_state_proof(what, header.state_root, proof.namespace, proof.key, proof.value, proof.proof)
        return header

    def check_history(self, history: ProvedHistory) -> None:
        """Raise ProofInvalid unless these are all entries of the subject at these heights, in order."""
        what = f"history of {history.subject} at heights {history.first}..{history.last}"
        if history.first > history.last or (history.before is None) != (history.first == 0):
            raise ProofInvalid(f"{what}: starts without the log's state before it")
        count, rolling = 0, bytes(32)
        if history.before is not None:
            count, rolling = self._log_state(what, history.before, history.subject, history.first - 1)
        for entry in history.entries:
            if not history.first <= entry.height <= history.last:
                raise ProofInvalid(f"{what}: an entry of height {entry.height} does not belong to it")
            if history.subject not in entry.event.subjects:
                raise ProofInvalid(f"{what}: an entry of height {entry.height} does not name the subject")
            rolling = rolling_hash(rolling, entry_hash(entry), entry.height)
        count += len(history.entries)
        if self._log_state(what, history.after, history.subject, history.last) != (count, rolling):
            raise ProofInvalid(f"{what}: entries are missing, added, changed or out of order")

    def _log_state(self, what: str, proof: ProvedState, subject: str, height: int) -> tuple[int, bytes]:
        if (proof.namespace, proof.key) != (NAMESPACE, log_key(subject)):
            raise ProofInvalid(f"{what}: the state proof is of another entry")
        if self.check_state(proof).height != height:
            raise ProofInvalid(f"{what}: the state proof is of another height, expected {height}")
        try:
            return read_log(proof.value)
        except DecodeError:
            raise ProofInvalid(f"{what}: the log's state is malformed") from None


def check_state_proof(
    what: str, state_root: bytes, namespace: str, key: bytes, value: bytes | None, proof: StateProof
) -> None:
    """Raise ProofInvalid unless the entry has this value (None: is absent) under a state root."""
    key_hash = state_key_hash(namespace, key)
    if root_of(proof, key_hash) != state_root:
        raise ProofInvalid(f"{what}: the path does not lead to the state root")
    found = proof.value_hash(key_hash)
    if (found is None) != (value is None):
        shown = "absent" if found is None else "present"
        raise ProofInvalid(f"{what}: the path shows that the entry is {shown}")
    if value is not None and found != state_value_hash(value):
        raise ProofInvalid(f"{what}: the value is another")


def _check_path(what: str, root: bytes, leaf: bytes, path: MerklePath) -> None:
    if not merkle.verify(root, merkle.leaf_hash(leaf), path.index, path.count, path.path):
        raise ProofInvalid(f"{what}: the Merkle path does not lead to the header's root")
