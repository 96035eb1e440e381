"""Floods of consensus messages, every one with the member's genuine signature."""

from __future__ import annotations

import dataclasses
import os

from chain.network.frame import Kind, encode_frame
from chain.primitives.codec import encode
from consensus.messages import (
    PAYLOAD_BYTES_MAX,
    UNSIGNED,
    Checkpoint,
    Message,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
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
    """Accounts of a standpoint that changes all the time."""

    name = "statuses"
    sends = "STATUS, each with another standpoint and a valid signature"

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        said = Status(
            link.epoch, link.view, True, link.certificate, number, (), (), True, link.key.public, UNSIGNED
        )
        if link.status is not None:  # the victim's own words, in our mouth
            said = dataclasses.replace(
                link.status, delivered=number, asks=True, sender=link.key.public, signature=UNSIGNED
            )
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
        height = link.height + 1 + number % AHEAD
        rotation = link.genesis.limits.rotation
        voters = [item.public_key for item in link.genesis.validators]
        own, count = voters.index(link.key.public), len(voters)
        turn = (own - height // rotation) % count
        view = turn + count * (1 + link.view // count + number // AHEAD)
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
