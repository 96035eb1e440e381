"""Failures of a job: the public cause of each, and the wait before the ledger is told."""

from __future__ import annotations

from collections.abc import Mapping

from chain.primitives.errors import AssentError
from privcompute.causes import INTERNAL, Filed, filed
from privcompute.errors import (
    Fact,
    PartiesStalled,
    PeerFault,
    PeerGone,
    PeerTooLarge,
    PortCrowded,
    TimeOver,
    TooFewRows,
)
from privcompute.job.enforcement import JobRefusal
from privcompute.job.view import JobView

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


def cause_of(error: Exception, org: str = "", view: JobView | None = None, stage: str = "") -> Filed:
    """Return what the ledger may know of a failure at `org`: a code with facts, nothing of the error's text.

    Besides the facts that the error carries, these are its peer, our own dataset, and the stage.
    """
    known: dict[str, Fact] = {"stage": stage} if stage else {}
    if view is not None:
        for one in view.inputs_of(org)[:1]:
            known |= {"dataset": one.dataset, "version": one.version}
    if isinstance(error, JobRefusal):
        return filed(error.reason, known | error.detail)
    if isinstance(error, TooFewRows):
        return filed(error.cause, known | error.detail)
    if isinstance(error, PeerFault | PartiesStalled) and view is not None:
        known |= _peers(error, view)
    if isinstance(error, AssentError):
        return filed(error.code.upper(), known, type(error).__name__)
    return filed(INTERNAL, known | {"error": type(error).__name__})


def _peers(error: PeerFault | PartiesStalled, view: JobView) -> Mapping[str, Fact]:
    """Return whom an error names, the first two of them, and the limit that a peer broke."""
    parties = (error.party,) if isinstance(error, PeerFault) else error.parties
    orgs = [one.org for index, one in enumerate(view.spec.participants) if index in parties]
    named: dict[str, Fact] = dict(zip(("org", "other"), orgs, strict=False))
    return named | ({"limit": error.most} if isinstance(error, PeerTooLarge) else {})
