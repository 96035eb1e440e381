"""A chain made in this process with every member's keys: history for measurements, as fast as it executes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from chain.cli.layout import ConsortiumFolder
from chain.ledger.block import Batch, DecodedTransaction, TransactionBody, header_hash, sign_transaction
from chain.ledger.genesis import load_genesis
from chain.ledger.ledger import Ledger
from chain.ledger.store.leveldb import LevelStore
from chain.primitives.certificate import Certificate, checkpoint_digest, quorum
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from chain.primitives.keyfile import load_key
from chain.primitives.runtimeport import OK, map_key
from chain.primitives.values import Value, decode_value, encode_value
from contracts.runtime import ContractRuntime

CONTRACT = "bench"
BLOCK_MS = 1
"""Between blocks, so that the last does not lie in the future."""
SOURCE = """\
entries = Map(str, str)


@export
def put(key: str, value: str) -> int:
    entries[key] = value
    return len(value)
"""


class ForgeFailed(AssentError):
    """A transaction of the made-up history did not run: the text has its verdict."""

    code = "forge_failed"


class Forge:
    """Plays all validators of a consortium over one data directory."""

    def __init__(self, consortium: ConsortiumFolder, data_dir: Path) -> None:
        """Create the chain there."""
        self.genesis = load_genesis(consortium.genesis)
        self._store = LevelStore(data_dir)
        self.ledger = Ledger(self._store, self.genesis, ContractRuntime())
        nodes = [load_key(org.key("node")) for org in consortium.orgs]
        self._signers = sorted(nodes, key=lambda key: key.public)[: quorum(len(nodes))]
        self._admins = [load_key(org.key("admin")) for org in consortium.orgs]

    def close(self) -> None:
        """Close the directory."""
        self._store.close()

    def settle(self) -> None:
        """Let the databases finish their work on what was made, which would go on while others measure."""
        self._store.compact_rows()
        number = self._store.compact_records(0)
        while number:
            number = self._store.compact_records(number)

    def add(self, calls: Sequence[tuple[PrivateKey, str, str, dict[str, Value]]], gas: int) -> None:
        """Order, execute and certify one block of calls (signer, contract, method, arguments)."""
        head = self.ledger.head_header
        candidates = [self._signed(*call, gas, head.height) for call in calls]
        batch = Batch(
            height=head.height + 1,
            view=0,
            base=0,
            proposer=self.genesis.validator_keys[0],
            time=head.time + BLOCK_MS,
            tx_ids=tuple([candidate.id for candidate in candidates]),
        )
        header = self.ledger.execute(batch.height, encode(batch), candidates)
        hashed = header_hash(header)
        message = checkpoint_digest(self.genesis.chain_id, header.height, hashed)
        votes = tuple([(key.public, key.sign(message)) for key in self._signers])
        self.ledger.certify(Certificate(header.height, hashed, votes))
        for receipt in self.ledger.read.receipts(header.height):
            if receipt.status != OK:
                raise ForgeFailed(f"height {header.height}: {receipt.status} {receipt.code}")

    def deploy(self, source: str = SOURCE) -> None:
        """Put the contract of the load in force."""
        terms: dict[str, Value] = {"name": CONTRACT, "source": source, "arguments": {}, "terms": {}}
        self.add([(self._admins[0], "lifecycle", "propose", terms)], 5_000_000)
        raw = self.ledger.read.state("lifecycle", map_key("proposals", f"{CONTRACT}/1"))
        proposal = decode_value(raw or b"", max_bytes=1_048_576)
        vote = {"name": CONTRACT, "seq": proposal["seq"], "hash": proposal["hash"]}
        self.add([(admin, "lifecycle", "approve", vote) for admin in self._admins[1:3]], 1_000_000)
        commit = {"name": CONTRACT, "seq": proposal["seq"]}
        self.add([(self._admins[2], "lifecycle", "commit", commit)], 5_000_000)

    def fill(
        self, transactions: int, keys: int, per_block: int, progress: Callable[[int, int], None]
    ) -> None:
        """Add blocks of calls that write `keys` entries in turns; `progress` is told (done, all)."""
        for first in range(0, transactions, per_block):
            numbers = range(first, min(first + per_block, transactions))
            self.add([self._put(number, keys) for number in numbers], 100_000)
            progress(numbers[-1] + 1, transactions)

    def call(self, calls: Sequence[tuple[str, dict[str, Value]]], gas: int) -> None:
        """Add one block of (method, arguments) calls of the contract of the load."""
        self.add([(self._admins[0], CONTRACT, method, args) for method, args in calls], gas)

    def _put(self, number: int, keys: int) -> tuple[PrivateKey, str, str, dict[str, Value]]:
        admin = self._admins[number % len(self._admins)]
        return admin, CONTRACT, "put", {"key": f"entry-{number % keys:08}", "value": f"value {number:058}"}

    def _signed(
        self, key: PrivateKey, contract: str, method: str, args: dict[str, Value], gas: int, head: int
    ) -> DecodedTransaction:
        body = TransactionBody(
            self.genesis.chain_id, key.public, contract, method, encode_value(args), gas, os.urandom(16),
            head + 100,
        )  # fmt: skip
        return DecodedTransaction.of(sign_transaction(body, key))
