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


@dataclass(frozen=True, slots=True)
class Cast:
    """A vote that is of no proposal: to stop a version, or to retire a program."""

    org: str
    at: int
    until: int
    """The last block time at which it counts."""

    @property
    def row(self) -> list[int]:
        """As the README describes it."""
        return [self.at, self.until]


class Voting(Run):
    """What governance and lifecycle share."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without proposals."""
        super().__init__(chain_id)
        self.proposals: dict[Place, Proposal] = {}
        self.policies: dict[str, tuple[str, int]] = {}
        self.terms = {"proposal_ms": 604_800_000, "freeze_blocks": 1_000}
        self.replaced: dict[str, int] = {}
        """org -> block time at which members last replaced its admin keys."""

    def stands(self, org: str, said_at: int) -> bool:
        """Tell whether an organisation's word of that time is not one of keys that members replaced."""
        return self.replaced.get(org, -1) < said_at

    def live(self, cast: Cast) -> bool:
        """Tell whether a vote that lapses by itself counts now."""
        return self.time <= cast.until and self.stands(cast.org, cast.at)

    def cast(self, org: str) -> Cast:
        """Return the vote that an organisation gives now."""
        return Cast(org, self.time, self.time + self.terms["proposal_ms"])

    def void(self, found: Proposal) -> bool:
        """Tell whether a proposal was made by keys, or about keys, that members replaced since."""
        whom = [found.by]
        if found.content.get("kind") == "replace_key":
            whom.append(found.content["payload"]["org"])
        return not all(self.stands(org, found.proposed_at) for org in whom)

    def needed(self, kind: str) -> int:
        """Return how many votes decide among the members there are now."""
        n = len(self.members())
        majority, quorum = n // 2 + 1, (n + (n - 1) // 3) // 2 + 1
        floor = quorum if kind in QUORUM_FLOOR else majority
        rule, votes = self.policies.get(
            kind, ("majority" if kind in ("contract", "program") else "quorum", 0)
        )
        return {"majority": floor, "quorum": quorum, "votes": max(floor, min(votes, n))}[rule]

    def counted(self, votes: Any, asked_at: int | None = None) -> list[str]:
        """Return the votes that count now on what was asked at this time, or is asked now."""
        at = self.time if asked_at is None else asked_at
        return [org for org in self.members() if org in votes and self.stands(org, at)]

    def passed(self, kind: str, votes: Any, asked_at: int | None = None) -> bool:
        """Tell whether these votes decide."""
        return len(self.counted(votes, asked_at)) >= self.needed(kind)

    def missing(self, votes: Any, asked_at: int) -> list[str]:
        """Return the members that can still vote."""
        return [org for org in self.members() if org not in votes and self.stands(org, asked_at)]

    def proposal(self, place: Place) -> Proposal:
        """Return a proposal, or refuse."""
        self.need(place in self.proposals, "UNKNOWN_PROPOSAL")
        return self.proposals[place]

    def open_proposal(self, place: Place) -> Proposal:
        """Return a proposal that can be voted on, or refuse."""
        found = self.proposal(place)
        self.must(found.committed_at is None, "WRONG_STATE")
        self.must(found.committed_at is not None or self.time <= found.expires, "DEADLINE_PASSED")
        self.must(not self.void(found), "KEYS_REPLACED")
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
        self.must(self.stands(org, found.proposed_at), "KEYS_REPLACED")
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
        self.must(self.stands(self.signer.org, self.time), "KEYS_REPLACED")

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
        self.must(self.time > found.expires or self.void(found), "TOO_EARLY")
        self.go()
        return self.proposals.pop(place)

    def readiness_of(self, kind: str, found: Proposal, status: str, from_height: int) -> dict[str, Any]:
        """Return what stands between a proposal and its commit."""
        if found.committed_at is not None:
            status = "committed"
        elif self.time > found.expires:
            status = "expired"
        elif self.void(found):
            status = "void"
        counted = self.counted(found.votes, found.proposed_at)
        passed = self.passed(kind, found.votes, found.proposed_at)
        return {
            "status": status,
            "counted": counted,
            "missing": self.missing(found.votes, found.proposed_at),
            "needed": self.needed(kind),
            "passed": passed,
            "from_height": from_height,
            "expires": found.expires,
            "due": status == "open" and passed and self.height + 1 >= from_height,
        }
