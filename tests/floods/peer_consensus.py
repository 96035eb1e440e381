"""Floods of consensus messages, every one with the member's genuine signature."""

from __future__ import annotations

import dataclasses
import os

from chain.network.frame import Kind, encode_frame
from chain.primitives.codec import encode
from chain.primitives.leadership import primary
from consensus.messages import (
    NONCE_BYTES,
    PAYLOAD_BYTES_MAX,
    UNSIGNED,
    Checkpoint,
    Message,
    Prepare,
    PrePrepare,
    Proposal,
    ViewChange,
    payload_digest,
    sign,
)
from tests.floods.link import HostileLink
from tests.floods.member import MemberFlood

AHEAD = 8
"""Heights above the certified one that votes are about."""


def frame(message: Message) -> bytes:
    """Return a consensus frame."""
    return encode_frame(Kind.CONSENSUS, encode(message))


class ConsensusFlood(MemberFlood):
    """Messages about the view and the heights that the victim is at."""

    listens_first = True


class Statuses(ConsensusFlood):
    """Accounts of a standpoint that changes all the time: the victim's own words, in another mouth."""

    name = "statuses"
    sends = "STATUS, each with another standpoint, a fresh question and a valid signature"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        if link.status is None:
            return b"", 0
        said = dataclasses.replace(
            link.status, delivered=number, asks=os.urandom(NONCE_BYTES), sender=link.key.public,
            signature=UNSIGNED,
        )  # fmt: skip
        return frame(sign(said, link.key, link.genesis.chain_id)), 1


class ViewChanges(ConsensusFlood):
    """Votes to leave one view after another."""

    name = "view-changes"
    sends = "VIEW-CHANGE to ascending views"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        view = link.view + 1 + number
        said = ViewChange(link.epoch, view, link.certificate, (), link.key.public, UNSIGNED)
        return frame(sign(said, link.key, link.genesis.chain_id)), 1


class FuturePrepares(ConsensusFlood):
    """Votes in views to come, each against the one before."""

    name = "future-prepares"
    sends = "PREPARE for random digests in views to come"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        height = link.height + 1 + number % AHEAD
        view = link.view + 1 + number // AHEAD % 1_000
        said = Prepare(view, height, os.urandom(32), link.key.public, UNSIGNED)
        return frame(sign(said, link.key, link.genesis.chain_id)), 1


class LargeProposals(ConsensusFlood):
    """Proposals of half a megabyte, in views that the member would lead."""

    name = "large-proposals"
    sends = "PROPOSAL of 500 kB in views to come whose primary the member is"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        height, rotation = link.height + 1 + number % AHEAD, link.genesis.limits.rotation
        voters = tuple([item.public_key for item in link.genesis.validators])
        view = link.view + 1 + len(voters) * (number // AHEAD)
        while primary(voters, view, height, rotation) != link.key.public:
            view += 1
        payload = os.urandom(PAYLOAD_BYTES_MAX - 1_024)
        claim = PrePrepare(view, height, payload_digest(payload), link.key.public, UNSIGNED)
        return frame(Proposal(sign(claim, link.key, link.genesis.chain_id), payload)), 1


class ConflictingCheckpoints(ConsensusFlood):
    """Two checkpoints of one height, which convict whoever signed them."""

    name = "two-checkpoints"
    sends = "CHECKPOINT of random headers, many of one height"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        height = link.height + 1 + number // 2 % AHEAD
        said = Checkpoint(height, os.urandom(32), link.key.public, UNSIGNED)
        return frame(sign(said, link.key, link.genesis.chain_id)), 1
