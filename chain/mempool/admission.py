"""Admission: the chain's rules for what wants into the pool, asked before a signature is verified."""

from __future__ import annotations

from collections.abc import Callable

from chain.ledger.block import DecodedTransaction
from chain.ledger.genesis import Limits
from chain.mempool.refusals import (
    SENDER_REFUSALS,
    GasLimitTooHigh,
    TooFarAhead,
    TooLarge,
    TransactionExpired,
)
from chain.primitives.runtimeport import SIGNER_REFUSALS


def check_size(raw: bytes, limits: Limits) -> None:
    """Raise TooLarge for more bytes than a transaction may have."""
    if len(raw) > limits.tx_bytes:
        raise TooLarge(f"transaction: {len(raw)} bytes, at most {limits.tx_bytes}")


def check_rules(
    candidate: DecodedTransaction, head_height: int, limits: Limits, signer_refusal: Callable[[bytes], str]
) -> None:
    """Raise a TransactionRefused for what the chain's rules forbid at the height above the head.

    `signer_refusal` returns why a public key may not sign now, "" when it may.
    """
    _check_window(candidate.tx.body.valid_until, head_height, limits.validity_window)
    body = candidate.tx.body
    if body.gas_limit > limits.tx_gas_max:
        raise GasLimitTooHigh(f"gas limit {body.gas_limit}: at most {limits.tx_gas_max}")
    if refusal := signer_refusal(body.sender):
        raise SENDER_REFUSALS[refusal](f"sender {body.sender.hex()}: {SIGNER_REFUSALS[refusal]}")


def _check_window(until: int, head_height: int, window: int) -> None:
    if until <= head_height:
        raise TransactionExpired(f"valid_until {until}: the next height is {head_height + 1}; sign it again")
    if until > head_height + window:
        raise TooFarAhead(
            f"valid_until {until}: at most {window} above the head ({head_height}); sign it again"
        )
