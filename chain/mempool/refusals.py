"""Refusals of the mempool: one error for each reason not to take a transaction, with its stable code."""

from __future__ import annotations

from chain.primitives.errors import AssentError


class TransactionRefused(AssentError):
    """A transaction that the pool does not take; the subclass says why, the text what to do."""

    code = "refused"


class TooLarge(TransactionRefused):
    """A transaction of more bytes than the chain's limit: send less."""

    code = "too_large"


class Malformed(TransactionRefused):
    """Bytes that are not the canonical encoding of a transaction: encode it with Assent's codec."""

    code = "malformed"


class SignedForAnotherChain(TransactionRefused):
    """A transaction signed for another chain: sign it with this chain's genesis."""

    code = "wrong_chain"


class DuplicateTransaction(TransactionRefused):
    """A transaction that waits in the pool already: ask for its receipt."""

    code = "duplicate"


class AlreadyCommitted(TransactionRefused):
    """A transaction that is on the ledger already: ask for its receipt."""

    code = "already_committed"


class TransactionExpired(TransactionRefused):
    """A transaction whose `valid_until` is past: sign it again."""

    code = "expired"


class TooFarAhead(TransactionRefused):
    """A transaction whose `valid_until` lies beyond the validity window: sign it again with a lower one."""

    code = "too_far_ahead"


class GasLimitTooHigh(TransactionRefused):
    """A transaction that asks for more gas than one may: sign it again with less."""

    code = "gas_limit"


class UnknownSender(TransactionRefused):
    """A sender whose key is of no organisation: an admin adds it with orgs.add_key."""

    code = "unknown_sender"


class KeyRevoked(TransactionRefused):
    """A sender whose key was revoked or replaced: sign with another."""

    code = "key_revoked"


class OrgSuspended(TransactionRefused):
    """A sender whose organisation is suspended: the members reinstate it, or not."""

    code = "org_suspended"


class OrgExpelled(TransactionRefused):
    """A sender whose organisation is no longer a member."""

    code = "org_expelled"


SENDER_REFUSALS: dict[str, type[TransactionRefused]] = {
    "UNKNOWN_SENDER": UnknownSender,
    "KEY_REVOKED": KeyRevoked,
    "ORG_SUSPENDED": OrgSuspended,
    "ORG_EXPELLED": OrgExpelled,
}
"""What a sender that may not sign is told, by the code of `chain.primitives.runtimeport.SIGNER_REFUSALS`."""


class BadSignature(TransactionRefused):
    """A transaction whose signature does not hold: sign the exact body."""

    code = "bad_signature"


class PoolFull(TransactionRefused):
    """A pool at its bound: wait, or ask another node."""

    code = "pool_full"


class SenderFull(TransactionRefused):
    """A sender whose share of the pool is used up: wait until some of its transactions are on the ledger."""

    code = "sender_full"


REFUSALS: tuple[type[TransactionRefused], ...] = (
    *(TooLarge, Malformed, SignedForAnotherChain, DuplicateTransaction, AlreadyCommitted, TransactionExpired),
    *(TooFarAhead, GasLimitTooHigh, UnknownSender, KeyRevoked, OrgSuspended, OrgExpelled, BadSignature),
    *(PoolFull, SenderFull),
)
"""All of them."""
