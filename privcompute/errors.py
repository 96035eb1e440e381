"""Errors of privacy computing: each names the thing, the value, what is allowed, and the remedy."""

from __future__ import annotations

from chain.primitives.errors import AssentError


class OutOfRange(AssentError):
    """An input beyond the representable range: rescale or clip the column before sharing it."""

    code = "mpc_out_of_range"


class ProgramFault(AssentError):
    """A program asked the engine for something that has no meaning: fix the program."""

    code = "mpc_program"


class PeerFault(AssentError):
    """A peer that went away, timed out, or broke the protocol; `party` is its index in the job."""

    code = "mpc_peer"

    def __init__(self, party: int, text: str) -> None:
        """Blame `party` with a text that says what happened and what to do."""
        super().__init__(text)
        self.party = party


class PeerGone(PeerFault):
    """The connection to a peer closed or never came up: check that its agent runs, then propose anew."""

    code = "mpc_peer_gone"


class PeerTimeout(PeerFault):
    """A peer stayed silent beyond the deadline: check its agent and the network, then propose anew."""

    code = "mpc_peer_timeout"


class PeerMisbehaved(PeerFault):
    """A peer sent bytes that the protocol does not allow: keep the transcript as evidence."""

    code = "mpc_peer_misbehaved"


class ListenError(AssentError):
    """An agent address that cannot be listened on: free it or choose another."""

    code = "mpc_listen"


class Cancelled(AssentError):
    """This party stopped the computation on purpose (shutdown or abort)."""

    code = "mpc_cancelled"
