"""Errors of privacy computing: each names the thing, the value, what is allowed, and the remedy."""

from __future__ import annotations

from chain.primitives.errors import AssentError

Fact = str | int | bool
"""What may be told of a failure beside its code; causes.py says which, and of which bounds."""


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


class PeerTooLarge(PeerFault):
    """A peer that brings more than this owner takes (agent.toml): raise the limit, or leave the peer out."""

    code = "mpc_peer_too_large"

    def __init__(self, party: int, text: str, most: int) -> None:
        """`most` is what this owner takes."""
        super().__init__(party, text)
        self.most = most


class HolderRefused(PeerFault):
    """A holder that hands out nothing now: its own node may not show the job as revealed yet."""

    code = "mpc_holder_refused"


class PartiesStalled(AssentError):
    """A wait that ended and showed no single fault: one of the parties, or their link; look at each."""

    code = "mpc_stalled"

    def __init__(self, parties: tuple[int, ...], text: str) -> None:
        """Name `parties` (indices in the job, perhaps our own) with a text that says what happened."""
        super().__init__(text)
        self.parties = parties


class NotMet(PeerFault):
    """A party that did not come to begin a job in time: check that its agent runs, then propose anew."""

    code = "mpc_not_met"


class NoSlot(PartiesStalled):
    """Parties that computed other jobs for as long as this one could begin: allow it more time for that."""

    code = "mpc_no_slot"


class PartiesContradict(PartiesStalled):
    """Two parties that say different things of the same message: one deviates, and it does not show which."""

    code = "mpc_parties_contradict"


class HoldersDiffer(AssentError):
    """Two holders of one share that have different ones: nobody is blamed, propose the job anew."""

    code = "mpc_holders_differ"


class TimeOver(AssentError):
    """A job that took longer than this owner allows it (agent.toml): raise the limit, or ask for less."""

    code = "mpc_time_over"


class PortCrowded(AssentError):
    """A party did not come while connections were turned away, perhaps its own: see the log for whose."""

    code = "mpc_port_crowded"


class ListenerFailed(AssentError):
    """The agent's port has stopped serving: the agent ends with it, start it again."""

    code = "mpc_listener_failed"


class TooFewRows(AssentError):
    """Fewer rows than a figure may rest on: nothing is computed; `cause` and `detail` go on the ledger."""

    code = "too_few_rows"

    def __init__(self, cause: str, text: str, **detail: Fact) -> None:
        super().__init__(f"{cause}: {text}")
        self.cause, self.detail = cause, detail


class Cancelled(AssentError):
    """This party stopped the computation on purpose (shutdown or abort)."""

    code = "mpc_cancelled"
