"""What the operator of a stopped validator does about a height that no node can execute: look, and sign.

The commands (`chain.cli.skip`) and the simulator's operators run this same code.
"""

from __future__ import annotations

from collections.abc import Sequence

from chain.ledger.block import Skip, SkipDecision
from chain.ledger.ledger import Ledger
from chain.ledger.skiprows import SkipRefused, check_height
from chain.node.begun import read_begun
from chain.node.marker import Marker
from chain.node.nextheight import KnownBatch, Standing, read_next
from chain.node.signedskips import SignedSkips
from chain.node.skipvote import Named, SkipVote, check_prepared, check_vote, combine, sign_skip
from chain.node.votes import DurableVotes
from chain.primitives.certificate import payload_digest
from chain.primitives.crypto import Signer
from consensus.rules import Rules


class StoppedValidator:
    """A stopped validator: its ledger, its votes, and the key that cast them."""

    def __init__(self, ledger: Ledger, signer: Signer, marker: Marker, signed: SignedSkips) -> None:
        """Read what is known of the next height; raise VotesDamaged, DataDamaged."""
        self.ledger, self._signer, self._signed = ledger, signer, signed
        self.next = read_next(ledger, DurableVotes(ledger.store, signer.public, marker))

    @property
    def validators(self) -> tuple[bytes, ...]:
        """Who votes on the next height."""
        return self.ledger.validator_keys_at(self.next.height)

    @property
    def signed(self) -> Skip | None:
        """The skip of the next height of the highest attempt that this key signed; None when it signed none.

        Raises SkipRefused when the file that says so cannot be read.
        """
        height = self.next.height
        attempt = self._signed.above(self.ledger.head.height).get(height)
        return None if attempt is None else self._signed.read(height, attempt)

    def ordered(self, height: int, digest: bytes, like: Named | None = None) -> KnownBatch:
        """Return the batch that a skip shall be of, if it is what consensus ordered; raise SkipRefused.

        What this node does not know of it, the file of another validator may prove.
        """
        ledger, found = self.ledger, self.next
        check_height(height, ledger.head.height, ledger.settled_height)
        if height != found.height:
            raise SkipRefused(
                f"skip of height {height}: this node executes {found.height} next; let it catch up first"
            )
        if self._signer.public not in self.validators:
            raise SkipRefused(f"key {self._signer.public.hex()}: no validator of height {height}")
        for batch in found.batches:
            if batch.standing is Standing.DECIDED and batch.digest != digest:
                raise SkipRefused(f"not {digest.hex()}: decided at height {height} was {batch.digest.hex()}")
        if like is not None:
            check_vote(*like, ledger.chain_id, self.validators)
        known = found.batch(digest)
        if known is not None and known.standing is not Standing.PROPOSED:
            return known
        if like is None:
            raise SkipRefused(
                f"batch {digest.hex()}: not known here as ordered at height {height} (`assent node skip "
                "show` lists what is); sign what a validator that knows it signed: --like FILE"
            )
        return self._proved(*like)

    def _proved(self, name: str, vote: SkipVote) -> KnownBatch:
        prepared = check_prepared(name, vote, self._rules())
        for batch in self.next.batches:
            if batch.prepared is not None and batch.prepared.view >= prepared.view:
                raise SkipRefused(
                    f"{name}: its batch was prepared in view {prepared.view}, here another was in view "
                    f"{batch.prepared.view}"
                )
        return KnownBatch(Standing.PREPARED, vote.payload, prepared)

    def sign(self, skip: Skip, batch: KnownBatch) -> SkipVote:
        """Return this validator's vote for a skip of an ordered batch, once it is noted that it signed it.

        Raises SkipRefused: the skip does not fit the batch, or another was signed for its height and attempt.
        """
        vote = sign_skip(self.ledger.chain_id, skip, batch.payload, batch.prepared, self._signer)
        self._signed.claim(skip)  # durable before the signature leaves this function
        return vote

    def _rules(self) -> Rules:
        ledger, limits = self.ledger, self.ledger.genesis.limits
        return Rules(
            ledger.chain_id,
            ledger.epoch_at,
            lambda: ledger.settled_height,
            limits.consensus_window,
            limits.rotation,
        )


def apply_skip(ledger: Ledger, votes: Sequence[Named]) -> tuple[SkipDecision, bool]:
    """Keep the decision that these votes make in a stopped node's ledger; tell whether it is new there.

    Raises SkipRefused naming the vote at fault; then nothing is stored.
    """
    wanted, head = votes[0][1].skip, ledger.head.height
    check_height(wanted.height, head, ledger.settled_height)
    decision = combine(votes, ledger.chain_id, ledger.validator_keys_at(wanted.height))
    begun = read_begun(ledger.store, head)
    if begun is not None and begun.height == wanted.height and payload_digest(begun.payload) != wanted.batch:
        raise SkipRefused(
            f"skip of height {wanted.height}: of batch {wanted.batch.hex()}, but what was decided here is "
            f"{payload_digest(begun.payload).hex()}; compare the ledgers of these nodes"
        )
    return decision, ledger.add_skip(decision)
