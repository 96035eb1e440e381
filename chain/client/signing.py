"""Signing client: builds, signs and sends transactions, and waits for their certified receipts."""

from __future__ import annotations

import os

from chain.client.client import Client
from chain.ledger.block import Receipt, Transaction, TransactionBody, sign_transaction, transaction_id
from chain.primitives.crypto import Signer
from chain.primitives.errors import AssentError, Exit
from chain.primitives.values import Value, encode_value
from chain.primitives.visible import one_line

VALIDITY_BLOCKS = 500
"""Heights for which a transaction of ours is valid."""


class TransactionFailed(AssentError):
    """A transaction whose receipt says that it changed nothing; `reason` is the contract's code."""

    code = "transaction_failed"

    def __init__(self, receipt: Receipt, what: str) -> None:
        super().__init__(
            f"{what}: {one_line(receipt.status)} {one_line(receipt.code)} (gas {receipt.gas_used}); "
            f"where and why: assent tx explain {receipt.tx_id.hex()}"
        )
        self.receipt, self.reason = receipt, one_line(receipt.code)


class OutcomeUnknown(AssentError):
    """A transaction that no block held in the time given: it may still be executed; ask again by its id."""

    code = "outcome_unknown"
    exit = Exit.NO_QUORUM


class SigningClient:
    """A client and the key that it signs with."""

    def __init__(self, client: Client, signer: Signer, chain_id: bytes) -> None:
        """`signer.public` must be a key that the ledger lists for an organisation."""
        self.client, self.signer, self.chain_id = client, signer, chain_id

    async def build(
        self, contract: str, method: str, args: dict[str, Value], *, gas_limit: int = 1_000_000
    ) -> Transaction:
        """Return a signed transaction valid for the next 500 heights, with a random nonce."""
        body = TransactionBody(
            chain_id=self.chain_id,
            sender=self.signer.public,
            contract=contract,
            method=method,
            args=encode_value(args),
            gas_limit=gas_limit,
            nonce=os.urandom(16),
            valid_until=await self.client.head() + VALIDITY_BLOCKS,
        )
        return sign_transaction(body, self.signer)

    async def send(
        self,
        contract: str,
        method: str,
        args: dict[str, Value],
        *,
        gas_limit: int = 1_000_000,
        timeout_s: float = 30.0,
    ) -> Receipt:
        """Send a call and wait for its certified receipt; raise TransactionFailed or OutcomeUnknown."""
        tx = await self.build(contract, method, args, gas_limit=gas_limit)
        tx_id = transaction_id(tx.body)
        await self.client.submit(tx)
        receipt = await self.client.wait(tx_id, timeout_s)
        what = f"{contract}.{method}"
        if receipt is None:
            raise OutcomeUnknown(
                f"{what}: no block held it within {timeout_s:.0f} s; ask: assent tx wait {tx_id.hex()}"
            )
        if receipt.status != "ok":
            raise TransactionFailed(receipt, what)
        return receipt
