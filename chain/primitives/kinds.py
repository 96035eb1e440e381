"""Kinds of subject, and which contracts speak for them: an event of any other contract is foreign there.

Any contract may file an event in any subject's history: a member's policy tells a grant what it did with it.
But it is that contract's word only. Whoever shows a history marks such an event as foreign, and the runtime
bounds how many of them one transaction puts into one history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SYSTEM = frozenset({"orgs", "governance", "lifecycle", "datasets", "programs", "accounts", "grants", "jobs"})
SPEAKERS: Mapping[str, frozenset[str]] = {
    "org": SYSTEM,
    "dataset": frozenset({"datasets", "accounts", "grants", "orgs"}),
    "grant": frozenset({"grants", "orgs"}),
    "job": frozenset({"jobs", "accounts", "grants"}),
    "program": frozenset({"programs", "jobs", "orgs"}),
    "contract": frozenset({"lifecycle", "governance", "orgs"}),
    "library": frozenset({"lifecycle"}),
    "node": frozenset({"governance", "orgs"}),
    "proposal": frozenset({"governance", "orgs"}),
    "params": frozenset({"governance"}),
}
"""Kind -> contracts whose events are not foreign to its subjects. Of other kinds nobody is the owner.

`orgs` tells there which keys of an organisation saw an act before it was done.
"""
REFUSED = "Refused"
"""The ledger's own event of a call that failed; no contract can declare an event of this name."""


def is_foreign(contract: str, event: str, subject: str) -> bool:
    """Tell whether this contract does not speak for a subject ("kind:id")."""
    kind, _, ident = subject.partition(":")
    speakers = SPEAKERS.get(kind)
    if speakers is None or contract in speakers or (kind == "contract" and contract == ident):
        return False
    return not (event == REFUSED and kind == "org")


def foreign_subjects(contract: str, event: str, subjects: Iterable[str]) -> list[str]:
    """Return those of an event's subjects that its contract does not speak for."""
    return [subject for subject in subjects if is_foreign(contract, event, subject)]
