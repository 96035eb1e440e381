"""Errors of consensus, in the one tree of errors."""

from __future__ import annotations

from chain.primitives.errors import AssentError, Exit


class ConsensusError(AssentError):
    """Root of the errors of consensus."""

    code = "consensus"


class MessageInvalid(ConsensusError):
    """A message breaks the protocol; the node disconnects the peer that sent it."""

    code = "bad_consensus_message"


class NotYetKnown(ConsensusError):
    """A message is about heights whose validators are unknown here yet; nobody is at fault, we are behind."""

    code = "not_yet_known"


class VotesDamaged(ConsensusError):
    """The durable votes cannot be read, so nothing is voted: restore the data directory, or rejoin as new."""

    code = "votes_damaged"
    exit = Exit.DAMAGED
