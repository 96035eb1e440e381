"""What consensus refuses, and why: part of the one tree of errors."""

from __future__ import annotations

from chain.primitives.errors import AssentError, Exit


class ConsensusError(AssentError):
    """Root of the errors of consensus."""

    code = "consensus"


class MessageInvalid(ConsensusError):
    """A consensus message that breaks the protocol: disconnect the peer that sent it."""

    code = "bad_consensus_message"


class NotYetKnown(ConsensusError):
    """A message about heights whose validators are not known here: nobody's fault, we are behind."""

    code = "not_yet_known"


class VotesDamaged(ConsensusError):
    """The durable votes cannot be read: do not vote; restore the data directory, or rejoin as new."""

    code = "votes_damaged"
    exit = Exit.DAMAGED
