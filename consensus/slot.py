"""Slot: one height in flight, with its proposal in the current view, its votes, and what is decided."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from consensus.messages import Commit, Prepare, Prepared, PrePrepare, payload_digest

PAYLOADS_MAX = 4
"""Payloads of a height that stay in memory, besides those that are proposed, decided or prepared here."""


class Check(Enum):
    """State of the application's check of a proposal."""

    UNASKED = "not checked"
    ASKED = "being checked"
    VALID = "valid"
    REFUSED = "refused"


@dataclass(slots=True)
class Slot:
    """What a replica knows of one height above the last certified one."""

    height: int
    digest: bytes | None = None
    """Payload digest that the current view proposes; where `claim` is None, it is a re-proposal."""
    claim: PrePrepare | None = None
    check: Check = Check.UNASKED
    prepares: dict[bytes, Prepare] = field(default_factory=dict)
    """First PREPARE of each sender in the current view."""
    commits: dict[bytes, Commit] = field(default_factory=dict)
    """COMMIT of each sender, in the highest view in which it sent one."""
    prepared: Prepared | None = None
    """Our latest prepared proof; it is durable, and each VIEW-CHANGE of ours shows it."""
    committed: bytes | None = None
    """Payload digest that a quorum committed; it is final."""
    committed_view: int | None = None
    """View in which that quorum committed it; None where only the ledger tells that one did."""
    payloads: dict[bytes, bytes] = field(default_factory=dict)
    stored: set[bytes] = field(default_factory=set)
    """Digests of the payloads that are in the vote store, since a PREPARE of ours names them, however old."""

    def leave_view(self) -> None:
        """Forget what belongs to one view only; `prepared`, `committed`, `commits` and `payloads` stay."""
        self.digest, self.claim, self.check = None, None, Check.UNASKED
        self.prepares.clear()

    def propose(self, digest: bytes, claim: PrePrepare | None) -> None:
        """Take the one proposal of the current view."""
        self.digest, self.claim = digest, claim

    def keep_payload(self, payload: bytes) -> None:
        """Keep a payload; of those to which nothing refers now, only a few stay.

        The payload of an old vote of ours leaves memory, too: it is read again from the vote store.
        """
        self.payloads[payload_digest(payload)] = payload
        if len(self.payloads) > PAYLOADS_MAX:
            needed = {self.digest, self.committed, self.prepared.payload_digest if self.prepared else None}
            for digest in [item for item in self.payloads if item not in needed][:-1]:
                del self.payloads[digest]

    def payload(self) -> bytes | None:
        """Return the payload that the current view proposes, or None while it is unknown."""
        return self.payloads.get(self.digest) if self.digest is not None else None

    def decided(self) -> bytes | None:
        """Return the committed payload, or None while it is unknown or nothing is committed."""
        return self.payloads.get(self.committed) if self.committed is not None else None

    def missing_payloads(self) -> tuple[bytes, ...]:
        """Return the digests of payloads that are needed and unknown: at most two."""
        digests = dict.fromkeys((self.committed, self.digest))
        return tuple(item for item in digests if item is not None and item not in self.payloads)

    def prepare_votes(self) -> tuple[Prepare, ...]:
        """Return the PREPAREs of the current view that agree with its proposal, in order of sender."""
        votes = (vote for vote in self.prepares.values() if vote.payload_digest == self.digest)
        return tuple(sorted(votes, key=lambda vote: vote.sender))

    def decide(self, quorum: int) -> None:
        """Take as committed a digest for which `quorum` replicas sent COMMIT in one view."""
        counts: dict[tuple[int, bytes], int] = {}
        for vote in self.commits.values():
            subject = (vote.view, vote.payload_digest)
            counts[subject] = counts.get(subject, 0) + 1
            if self.committed is None and counts[subject] >= quorum:
                self.committed_view, self.committed = subject

    def voter_count(self) -> int:
        """Return how many replicas voted on this height."""
        return len(self.prepares.keys() | self.commits.keys())
