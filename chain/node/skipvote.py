"""One validator's signature of a skip as a file to exchange, and a quorum of them as a decision.

Pure: nothing here reads a disk. A vote carries the batch that it speaks of and, where its signer holds one,
the certificate that a quorum prepared that batch; so a validator that crashed before it stored either can
check both and sign as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from chain.ledger.block import Batch, Skip, SkipDecision, skip_digest
from chain.ledger.skip import matches, reason_fault
from chain.ledger.skiprows import SkipRefused
from chain.primitives.certificate import quorum
from chain.primitives.codec import Bound, Hash, PublicKey, Signature, decode, max_bytes_of, record
from chain.primitives.crypto import Signer, verify
from chain.primitives.errors import AssentError, DecodeError
from chain.primitives.words import counted
from consensus.authenticity import Verifier
from consensus.messages import Prepared
from consensus.rules import Rules

VOTE_BYTES_MAX = max_bytes_of(Skip) + max_bytes_of(Batch) + max_bytes_of(Prepared) + 1_024
Named = tuple[str, "SkipVote"]
"""(file that it came in, vote)."""


@record("skip-vote", max_bytes=VOTE_BYTES_MAX)
class SkipVote:
    """A skip, signed by one validator, with what shows that its batch was ordered."""

    chain_id: Hash
    skip: Skip
    payload: Annotated[bytes, Bound(1, max_bytes_of(Batch))]
    """What consensus ordered: the encoded batch."""
    prepared: Prepared | None
    """That a quorum prepared it; None when the signer holds no such certificate."""
    signer: PublicKey
    signature: Signature


def sign_skip(
    chain_id: bytes, skip: Skip, payload: bytes, prepared: Prepared | None, signer: Signer
) -> SkipVote:
    """Return a vote; raise SkipRefused for a skip that does not fit its batch, or its reason."""
    if fault := reason_fault(skip.reason):
        raise SkipRefused(fault)
    if not matches(skip, skip.height, payload, _ids(payload)):
        raise SkipRefused(f"skip of height {skip.height}: names transactions that the batch does not hold")
    signature = signer.sign(skip_digest(chain_id, skip))
    return SkipVote(chain_id, skip, payload, prepared, signer.public, signature)


def check_vote(name: str, vote: SkipVote, chain_id: bytes, validators: Sequence[bytes]) -> None:
    """Raise SkipRefused, naming the file, unless a validator of this chain and height signed the vote.

    `validators` are those of the vote's height.
    """
    skip = vote.skip
    if vote.chain_id != chain_id:
        raise SkipRefused(
            f"{name}: of chain {vote.chain_id.hex()[:16]}, this node is of {chain_id.hex()[:16]}"
        )
    if fault := reason_fault(skip.reason):
        raise SkipRefused(f"{name}: {fault}")
    if not matches(skip, skip.height, vote.payload, _ids(vote.payload)):
        raise SkipRefused(f"{name}: its batch is not the one that it names, or lacks a transaction it names")
    if vote.signer not in validators:
        raise SkipRefused(f"{name}: its signer {vote.signer.hex()} is no validator of height {skip.height}")
    if not verify(vote.signer, skip_digest(chain_id, skip), vote.signature):
        raise SkipRefused(f"{name}: the signature of {vote.signer.hex()} does not hold")


def check_prepared(name: str, vote: SkipVote, rules: Rules) -> Prepared:
    """Return what proves that a quorum prepared a vote's batch; raise SkipRefused, naming the file."""
    prepared, skip = vote.prepared, vote.skip
    if prepared is None:
        raise SkipRefused(
            f"{name}: holds no proof that its batch was ordered, and this node does not know that batch; "
            "take the file of another validator"
        )
    try:
        if (prepared.height, prepared.payload_digest) != (skip.height, skip.batch):
            raise SkipRefused("it is of another batch")
        Verifier(rules).prepared(prepared)
    except AssentError as error:
        raise SkipRefused(f"{name}: its proof that the batch was ordered does not hold: {error}") from None
    return prepared


def combine(votes: Sequence[Named], chain_id: bytes, validators: Sequence[bytes]) -> SkipDecision:
    """Return the decision of a quorum of validators; raise SkipRefused naming the file at fault.

    Every vote counts or is refused: a file too many is a mistake that somebody should know of.
    """
    signed: dict[bytes, Named] = {}
    for name, vote in votes:
        first = next(iter(signed.values()), None)
        if first is not None and vote.chain_id == chain_id and vote.skip != first[1].skip:
            raise SkipRefused(
                f"{name}: decides otherwise than {first[0]}: {_difference(first[1].skip, vote.skip)}"
            )
        check_vote(name, vote, chain_id, validators)
        if vote.signer in signed:
            raise SkipRefused(f"{name}: of the same validator as {signed[vote.signer][0]}")
        signed[vote.signer] = (name, vote)
    needed = quorum(len(validators))
    if len(signed) < needed:
        raise SkipRefused(
            f"{len(signed)} of {needed} signatures needed (of {len(validators)} validators); a skip counts "
            "when a quorum signed it"
        )
    pairs = tuple((key, signed[key][1].signature) for key in sorted(signed))
    return SkipDecision(votes[0][1].skip, pairs)


def _ids(payload: bytes) -> tuple[bytes, ...]:
    try:
        return decode(Batch, payload).tx_ids
    except DecodeError:
        return ()


def _difference(one: Skip, other: Skip) -> str:
    for field in ("height", "attempt", "reason"):
        if getattr(one, field) != getattr(other, field):
            return f"{field} {getattr(other, field)!r}, not {getattr(one, field)!r}"
    if one.batch != other.batch:
        return f"batch {other.batch.hex()}, not {one.batch.hex()}"
    return f"{counted(len(other.tx_ids), 'transaction')}, not the same {len(one.tx_ids)}"
