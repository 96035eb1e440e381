"""Failures of a job: the public reason of each, and the wait before the ledger is told."""

from __future__ import annotations

from chain.primitives.errors import AssentError
from privcompute.errors import PartiesStalled, PeerFault, PeerGone, PortCrowded, TimeOver
from privcompute.job.enforcement import JobRefusal
from privcompute.job.view import JobView

REASON_CHARS_MAX = 128
OTHERS_FIRST_S = 3.0
"""Long enough for an abort of another agent to be certified and read."""


def others_first_s(error: Exception) -> float:
    """Return how long to wait before a failure is reported: whoever knows better whose it is goes first.

    A party that we caught ourselves is named at once. One whose link broke may have stopped because of a
    third party, and says so on the ledger. A failure that names nobody waits for all of these.
    """
    if isinstance(error, PeerGone):
        return OTHERS_FIRST_S
    return 2 * OTHERS_FIRST_S if isinstance(error, PartiesStalled | PortCrowded | TimeOver) else 0.0


def reason_of(error: Exception, view: JobView | None) -> str:
    """Return the short public reason of a failure: a stable code, and the organisation if it is a peer."""
    if isinstance(error, JobRefusal):
        return error.reason
    if isinstance(error, PeerFault | PartiesStalled) and view is not None:
        parties = (error.party,) if isinstance(error, PeerFault) else error.parties
        orgs = [one.org for index, one in enumerate(view.spec.participants) if index in parties]
        return f"{error.code.upper()}: {', '.join(orgs)}"[:REASON_CHARS_MAX]
    if isinstance(error, AssentError):
        return error.code.upper()
    return f"INTERNAL_{type(error).__name__}"[:REASON_CHARS_MAX]
