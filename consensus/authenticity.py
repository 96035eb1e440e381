"""Authentication of messages: the sender is in the set, and its signature and what is nested in it hold.

A judgement depends on the message and the rules alone, never on the replica's state, so a message that fails
is its sender's fault. There is one exception: while the validators of a height are not settled here, a
message about it raises NotYetKnown, and it is judged again when it is used.

A signature that held is remembered: a retransmission, or a vote that comes back inside a proof, costs a
lookup instead of 55 µs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from chain.primitives.boundedcache import BoundedCache
from chain.primitives.certificate import Certificate, check_certificate
from chain.primitives.codec import encode
from chain.primitives.crypto import digest, verify
from chain.primitives.errors import SignatureInvalid
from consensus.errors import MessageInvalid, NotYetKnown
from consensus.messages import (
    Fetch,
    Message,
    NewView,
    PayloadReply,
    Prepare,
    Prepared,
    Proposal,
    Signed,
    Status,
    ViewChange,
    certificate_height,
    payload_digest,
    signing_digest,
)
from consensus.rules import Rules
from consensus.selection import base_height, choose_reproposals

REMEMBERED_MAX = 16_384
"""Signatures and certificates that are remembered: 128 validators sign 385 a height, so a window fits."""


class Verifier:
    """Checks messages against the rules, and remembers up to 16,384 signatures that held."""

    def __init__(self, rules: Rules) -> None:
        """Check against these rules; nothing is remembered yet."""
        self._rules = rules
        self._good: BoundedCache[bytes, bool] = BoundedCache(REMEMBERED_MAX)

    def check(self, message: Message) -> None:
        """Raise MessageInvalid, SignatureInvalid or ProofInvalid unless the message is genuine.

        It raises NotYetKnown while nobody can tell here.
        """
        match message:
            case Proposal():
                self._proposal(message)
            case NewView():
                self._new_view(message)
            case ViewChange():
                self._view_change(message)
            case Certificate():
                self.certificate(message)
            case Status():
                self.signature(message)  # observers say where they stand, too
                self.certificate(message.certificate)
            case Fetch() | PayloadReply():
                pass
            case _:
                self._signed(message, message.height)

    def certificate(self, certificate: Certificate | None) -> None:
        """Raise ProofInvalid unless this is None (genesis) or a valid block certificate.

        Above the settled heights the newest known set stands in for the unknown one: a quorum of it signs no
        height that it does not certify, so its signatures prove the block. Those of another set prove nothing
        yet, and raise NotYetKnown.
        """
        if certificate is None:
            return
        key = digest("assent/remembered-certificate", encode(certificate))
        if self._good.get(key):
            return
        validators = self._rules.validators(certificate.height)
        if self._rules.is_settled(certificate.height):
            check_certificate(certificate, self._rules.chain_id, validators)
            self._remember(key)
            return
        signers = [signer for signer, _ in certificate.signatures]
        check_certificate(certificate, self._rules.chain_id, signers)
        if not (set(signers) <= set(validators) and len(signers) >= self._rules.quorum(certificate.height)):
            raise NotYetKnown(f"certificate of height {certificate.height}: by a set that is unknown here")

    def trust(self, certificate: Certificate) -> None:
        """Remember a certificate that was assembled here from checkpoints that were checked one by one."""
        self._remember(digest("assent/remembered-certificate", encode(certificate)))

    def _signed(self, message: Signed, height: int) -> None:
        if not self._rules.is_validator(message.sender, height):
            self._refuse(height, f"{_name(message)}: {message.sender.hex()[:16]} is not a validator")
        self.signature(message)

    def _refuse(self, height: int, why: str) -> NoReturn:
        """Raise MessageInvalid where the set of a height is final, else NotYetKnown."""
        raise MessageInvalid(why) if self._rules.is_settled(height) else NotYetKnown(why)

    def signature(self, message: Signed) -> None:
        """Raise SignatureInvalid unless the sender's signature holds."""
        said = signing_digest(message, self._rules.chain_id)
        key = digest("assent/remembered-signature", message.sender, said, message.signature)
        if self._good.get(key):
            return
        if not verify(message.sender, said, message.signature):
            raise SignatureInvalid(f"{_name(message)} of {message.sender.hex()[:16]}: bad signature")
        self._remember(key)

    def _remember(self, key: bytes) -> None:
        self._good.add(key, True)

    def _proposal(self, proposal: Proposal) -> None:
        claim = proposal.pre_prepare
        if claim.height < 1:
            raise MessageInvalid("proposal for height 0, which is genesis")
        if claim.sender != self._rules.primary(claim.view, claim.height):
            self._refuse(
                claim.height, f"proposal of view {claim.view}, height {claim.height}: not by its primary"
            )
        if payload_digest(proposal.payload) != claim.payload_digest:
            raise MessageInvalid(f"proposal of height {claim.height}: payload and digest differ")
        self.signature(claim)

    def _view_change(self, message: ViewChange) -> None:
        base = certificate_height(message.certificate)
        if message.view < 1:
            raise MessageInvalid("view change to view 0, where every chain starts")
        heights = [item.height for item in message.prepared]
        if heights != sorted(set(heights)) or any(not self._in_window(base, height) for height in heights):
            raise MessageInvalid(f"view change to {message.view}: prepared heights {heights}, base {base}")
        self._check_epoch(message, [base + 1, *heights])
        self._signed(message, base + 1)
        self.certificate(message.certificate)
        for item in message.prepared:
            if item.view >= message.view:
                raise MessageInvalid(f"view change to {message.view}: prepared in view {item.view}")
            self.prepared(item)

    def _check_epoch(self, message: ViewChange | NewView, heights: Sequence[int]) -> None:
        """Raise unless these heights, ascending, all belong to the epoch that the message names."""
        if not self._rules.is_settled(heights[-1]):
            raise NotYetKnown(f"{_name(message)}: about height {heights[-1]}, whose set is unknown here")
        if any(self._rules.epoch(height).first != message.epoch for height in heights):
            raise MessageInvalid(f"{_name(message)}: heights {heights} are not all of epoch {message.epoch}")

    def _in_window(self, base: int, height: int) -> bool:
        return base < height <= base + self._rules.consensus_window

    def prepared(self, item: Prepared) -> None:
        """Raise MessageInvalid or SignatureInvalid unless exactly a quorum signed these PREPAREs."""
        signers = [signer for signer, _ in item.signatures]
        where = f"prepared proof of view {item.view}, height {item.height}"
        if signers != sorted(set(signers)):
            raise MessageInvalid(f"{where}: signers are not distinct and in order")
        if len(signers) != self._rules.quorum(item.height):
            raise MessageInvalid(f"{where}: {len(signers)} signatures, not exactly a quorum")
        for signer, signature in item.signatures:
            vote = Prepare(item.view, item.height, item.payload_digest, signer, signature)
            self._signed(vote, item.height)

    def _new_view(self, message: NewView) -> None:
        changes = message.view_changes
        where = f"new view {message.view}"
        base = base_height(changes)
        self._check_epoch(message, [base + 1])
        senders = [change.sender for change in changes]
        if senders != sorted(set(senders)) or len(senders) != self._rules.quorum(base + 1):
            raise MessageInvalid(f"{where}: {len(senders)} view changes, not a quorum in order")
        if any((change.epoch, change.view) != (message.epoch, message.view) for change in changes):
            raise MessageInvalid(f"{where}: holds a view change to another view")
        if message.sender != self._rules.primary(message.view, base + 1):
            raise MessageInvalid(f"{where}: {message.sender.hex()[:16]} does not lead it")
        self.signature(message)
        for change in changes:  # before they are computed with: their heights may be anything until here
            self._view_change(change)
        if message.reproposals != choose_reproposals(changes):
            raise MessageInvalid(f"{where}: the re-proposals do not follow from the view changes")


def _name(message: Signed) -> str:
    return type(message).__name__
