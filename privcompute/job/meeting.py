"""Meeting of a job's parties before it begins: it lasts until each of them has a slot for the job at once.

The parties link as they do later to compute, under an id of the meeting's own, and say in rounds of one byte
whether they have a slot (slots.py). Links end when a party goes away or is silent for `ROUND_S`: the others
give back what was reserved in that round and try to meet anew, so who never comes keeps nobody's slot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chain.primitives.crypto import PrivateKey, digest
from chain.primitives.errors import AssentError
from privcompute.errors import (
    NoSlot,
    NotMet,
    PartiesStalled,
    PeerFault,
    PeerMisbehaved,
    PortCrowded,
    TimeOver,
)
from privcompute.job.slots import Offer, Slots
from privcompute.mpc.rounds import Round, Steps
from privcompute.net.cancellation import Cancellation
from privcompute.net.links import Links, run_party
from privcompute.net.listener import PeerListener
from privcompute.net.transport import Peer, connect_peers

TRY_S = 15.0
"""How long one attempt to meet takes, until who has not come is known."""
ROUND_S = 10.0
"""A party that says nothing for so long in a round has left the meeting."""
PAUSE_S = 0.5
"""Between two rounds."""
OnWait = Callable[[tuple[int, ...], str], None]
"""Called, from the thread that meets, with the parties that we wait for and what they are to do."""
_OFFERS = {bytes((offer,)): offer for offer in Offer}


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a party needs to meet the others of a job."""

    job: str
    height: int
    """Of the block in which all had accepted: the order among jobs."""
    me: int
    peers: Mapping[int, Peer]
    meet_s: float
    """Bound on the whole meeting."""

    @property
    def id(self) -> bytes:
        """The 32 bytes that its links go under: they are none of the computation's."""
        return digest("assent/mpc-meeting", bytes.fromhex(self.job))


def meet(
    invitation: Invitation,
    key: PrivateKey,
    listener: PeerListener,
    slots: Slots,
    cancellation: Cancellation,
    on_wait: OnWait,
) -> None:
    """Return when every party has a slot for the job, we among them. Blocks.

    Raises NotMet (who did not come), NoSlot (who had none), PeerMisbehaved, or Cancelled.
    """
    ends = time.monotonic() + invitation.meet_s
    missed: AssentError = NotMet(min(set(invitation.peers) - {invitation.me}), "no time was left to meet")
    while time.monotonic() < ends:
        try:
            links = connect_peers(
                invitation.id,
                invitation.me,
                invitation.peers,
                key,
                listener,
                min(ends, time.monotonic() + TRY_S),
                cancellation=cancellation,
                idle_timeout_s=ROUND_S,
            )
        except PeerMisbehaved:
            raise
        except (PeerFault, PartiesStalled, PortCrowded, TimeOver) as error:
            missed = _missed(error, on_wait)
            cancellation.pause(PAUSE_S)
            continue
        try:
            links.allow_until(ends + ROUND_S)
            run_party(_agree(invitation, slots, links, cancellation, on_wait, ends), links)
        except PeerMisbehaved:
            raise
        except (PeerFault, PartiesStalled, PortCrowded, TimeOver) as error:
            if invitation.job in slots.taken:
                return  # the others have it as well, or meet anew and find us back
            missed = _missed(error, on_wait)
        else:
            return
        finally:
            slots.leave(invitation.job)
            links.close()
    raise missed


def _agree(
    invitation: Invitation,
    slots: Slots,
    links: Links,
    cancellation: Cancellation,
    on_wait: OnWait,
    ends: float,
) -> Steps[None]:
    """Say in each round whether we have a slot, until everybody has one in the same round.

    A last round then keeps everybody's links open until all have heard that.
    """
    slots.wait(invitation.job, invitation.height, time.monotonic())
    while True:
        own = slots.offer(invitation.job, time.monotonic())
        said = yield Round(dict.fromkeys(links.peers, bytes((own,))), dict.fromkeys(links.peers, 1))
        offers = {party: _offer_of(party, bytes(message)) for party, message in said.items()}
        offers[invitation.me] = own
        if slots.close(invitation.job, offers.values()):
            yield Round(dict.fromkeys(links.peers, bytes((own,))), dict.fromkeys(links.peers, 1))
            return
        without = tuple(sorted(party for party, offer in offers.items() if offer is not Offer.NOW))
        on_wait(without, "to have a slot")
        if time.monotonic() >= ends:
            raise NoSlot(
                without,
                f"parties {', '.join(map(str, without))} had no slot while this job could begin: raise"
                " policy.jobs_at_once in agent.toml there, or propose it anew with a longer deadline bind",
            )
        cancellation.pause(PAUSE_S)


def _offer_of(party: int, message: bytes) -> Offer:
    offer = _OFFERS.get(message)
    if offer is None:
        raise PeerMisbehaved(party, f"party {party} offers {message.hex()} in a meeting, allowed are 00..02")
    return offer


def _missed(error: AssentError, on_wait: OnWait) -> AssentError:
    """Tell for whom we wait; say of a single party that it did not come to begin the job."""
    if isinstance(error, PeerFault):
        on_wait((error.party,), "to come")
        return NotMet(error.party, f"not met: {error}")
    if isinstance(error, PartiesStalled):
        on_wait(error.parties, "to come")
    return error
