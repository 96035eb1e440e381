"""Proposals and how votes on them count: of one content, of members that are active at the decision."""

# ruff: noqa: A002 (arguments have the names that the contracts give them)
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.rules.model_run import Run

DECISIONS = (
    "admit_org", "replace_key", "expel_org", "suspend_org", "reinstate_org", "add_node", "remove_node",
    "change_role", "change_address", "set_limits", "set_policy", "set_terms", "set_access",
)  # fmt: skip
KINDS = (*DECISIONS, "contract", "system_contract", "program")
QUORUM_FLOOR = (
    *("system_contract", "set_policy", "admit_org", "expel_org", "suspend_org", "reinstate_org"),
    *("replace_key", "add_node", "remove_node", "change_role"),
)
OBJECTION_MS = 3 * 86_400_000
OPEN_MAX, AHEAD_MAX = 32, 10**6
PROPOSALS_A_DAY_MAX, RETRACTIONS_A_DAY_MAX = 200, 200
Place = int | tuple[str, int]
"""Of governance a number, of lifecycle (name, number)."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What members are asked: open, or committed with the votes that counted."""

    place: Place
    by: str
    hash: bytes
    content: dict[str, Any]
    votes: tuple[str, ...]
    proposed_at: int
    expires: int
    committed_at: int | None = None
    """Height of the commit."""


class Voting(Run):
    """What governance and lifecycle share."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without proposals."""
        super().__init__(chain_id)
        self.proposals: dict[Place, Proposal] = {}
        self.policies: dict[str, tuple[str, int]] = {}
        self.terms = {"proposal_ms": 604_800_000, "freeze_blocks": 1_000}

    def needed(self, kind: str) -> int:
        """Return how many votes decide among the members there are now."""
        n = len(self.members())
        majority, quorum = n // 2 + 1, (n + (n - 1) // 3) // 2 + 1
        floor = quorum if kind in QUORUM_FLOOR else majority
        rule, votes = self.policies.get(
            kind, ("majority" if kind in ("contract", "program") else "quorum", 0)
        )
        return {"majority": floor, "quorum": quorum, "votes": max(floor, min(votes, n))}[rule]

    def counted(self, votes: Any) -> list[str]:
        """Return the votes that count now."""
        return [org for org in self.members() if org in votes]

    def passed(self, kind: str, votes: Any) -> bool:
        """Tell whether these votes decide."""
        return len(self.counted(votes)) >= self.needed(kind)

    def proposal(self, place: Place) -> Proposal:
        """Return a proposal, or refuse."""
        self.need(place in self.proposals, "UNKNOWN_PROPOSAL")
        return self.proposals[place]

    def open_proposal(self, place: Place) -> Proposal:
        """Return a proposal that can be voted on, or refuse."""
        found = self.proposal(place)
        self.must(found.committed_at is None, "WRONG_STATE")
        self.must(found.committed_at is not None or self.time <= found.expires, "DEADLINE_PASSED")
        return found

    def undecided_of(self, org: str, kind: type) -> int:
        """Return how many proposals of an organisation are open; `kind` is int for governance, else tuple."""
        return sum(
            isinstance(place, kind) and proposal.by == org and proposal.committed_at is None
            for place, proposal in self.proposals.items()
        )

    def add_vote(self, place: Place, hash: bytes) -> Proposal:
        """Vote for a proposal's content."""
        org = self.role()
        found = self.open_proposal(place)
        self.must(found.hash == hash, "HASH_MISMATCH")
        self.must(org not in found.votes, "ALREADY_VOTED")
        self.go()
        self.proposals[place] = replace(found, votes=(*found.votes, org))
        return self.proposals[place]

    def drop_vote(self, place: Place) -> Proposal:
        """Take one's vote back."""
        org = self.role()
        found = self.open_proposal(place)
        self.must(org in found.votes, "NOT_VOTED")
        self.room_to_retract("governance" if isinstance(place, int) else "lifecycle")
        self.go()
        votes = tuple(voter for voter in found.votes if voter != org)
        self.proposals[place] = replace(found, votes=votes)
        return self.proposals[place]

    def room_to_propose(self, contract: str, kind: type) -> None:
        """Require that the acting organisation has few proposals open, and made few today."""
        self.must(self.undecided_of(self.signer.org, kind) < OPEN_MAX, "TOO_MANY_PROPOSALS")
        self.room_today(contract, "proposals", PROPOSALS_A_DAY_MAX, "TOO_MANY_PROPOSALS_TODAY")

    def room_to_retract(self, contract: str) -> None:
        """Require that the acting organisation took few votes back today."""
        self.room_today(contract, "retractions", RETRACTIONS_A_DAY_MAX, "TOO_MANY_RETRACTIONS_TODAY")

    def take_proposal_back(self, place: Place) -> Proposal:
        """Take one's proposal back."""
        org = self.role()
        found = self.open_proposal(place)
        self.must(found.by == org, "NOT_PROPOSER")
        self.go()
        return self.proposals.pop(place)

    def expire_proposal(self, place: Place) -> Proposal:
        """Say that a proposal's time is over."""
        found = self.proposal(place)
        self.must(found.committed_at is None, "WRONG_STATE")
        self.must(self.time > found.expires, "TOO_EARLY")
        self.go()
        return self.proposals.pop(place)

    def readiness_of(self, kind: str, found: Proposal, status: str, from_height: int) -> dict[str, Any]:
        """Return what stands between a proposal and its commit."""
        if found.committed_at is not None:
            status = "committed"
        elif self.time > found.expires:
            status = "expired"
        counted = self.counted(found.votes)
        return {
            "status": status,
            "counted": counted,
            "missing": [org for org in self.members() if org not in found.votes],
            "needed": self.needed(kind),
            "passed": self.passed(kind, found.votes),
            "from_height": from_height,
            "expires": found.expires,
            "due": status == "open" and self.passed(kind, found.votes) and self.height + 1 >= from_height,
        }
