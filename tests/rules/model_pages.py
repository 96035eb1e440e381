"""Programs that are pages: proposed, voted on, committed under an id for ever, retired."""

# ruff: noqa: A002 (arguments have the names that the contracts give them)
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.rules.base import digest
from tests.rules.model_voting import OPEN_MAX, Cast, Voting
from tests.rules.pages import facts_of

INPUTS_MAX = 8


@dataclass(frozen=True, slots=True)
class PageAsked:
    """A page that members are asked about."""

    seq: int
    id: str
    source: str
    reason: str
    by: str
    votes: tuple[str, ...]
    proposed_at: int
    expires: int

    @property
    def facts(self) -> dict[str, Any]:
        """What follows of it."""
        found = facts_of(self.source)
        assert found is not None
        return found

    @property
    def content(self) -> dict[str, Any]:
        """What a vote is for."""
        return {"seq": self.seq, "id": self.id, "page": self.facts["page"], "plan": self.facts["plan"]}

    @property
    def row(self) -> dict[str, Any]:
        """As the README describes it."""
        return self.content | {
            "hash": digest(self.content),
            "reason": self.reason,
            "by": self.by,
            "votes": list(self.votes),
            "proposed_at": self.proposed_at,
            "expires": self.expires,
        }


@dataclass(frozen=True, slots=True)
class PageProgram:
    """A page under its id."""

    asked: PageAsked
    approved_by: tuple[str, ...]
    height: int
    retired: bool = False

    @property
    def row(self) -> dict[str, Any]:
        """As the README describes it."""
        return self.asked.content | {
            "by": self.asked.by,
            "approved_by": list(self.approved_by),
            "height": self.height,
            "status": "retired" if self.retired else "active",
        }


class Pages(Voting):
    """The rules of contract `programs`."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without pages."""
        super().__init__(chain_id)
        self.asked_pages: dict[int, PageAsked] = {}
        self.page_programs: dict[str, PageProgram] = {}
        self.pages_asked_ever = 0
        self.retiring_votes: dict[tuple[str, str], Cast] = {}
        """(id, org) -> its vote to retire."""

    def found_pages(self, pages: dict[str, str]) -> None:
        """Take over what genesis says."""
        for ident, source in pages.items():
            self.page_programs[ident] = PageProgram(
                PageAsked(0, ident, source, "", "genesis", (), 0, 0), (), 0
            )

    def _open_page(self, seq: int) -> PageAsked:
        self.need(seq in self.asked_pages, "UNKNOWN_PROPOSAL")
        return self.asked_pages[seq]

    def _votable_page(self, seq: int) -> PageAsked:
        found = self._open_page(seq)
        self.must(self.time <= found.expires, "DEADLINE_PASSED")
        self.must(self.stands(found.by, found.proposed_at), "KEYS_REPLACED")
        return found

    def _tell_page(self, event: str, ident: str, **fields: Any) -> None:
        self.tell(f"programs.{event}", ["program"], program=f"program:{ident}", **fields)

    def programs_propose(self, id: str, source: str, reason: str) -> int:
        """Ask the members about a page."""
        org = self.role()
        self.ident(id)
        self.text(reason)
        self.must(id not in self.page_programs, "PROGRAM_EXISTS")
        self.must(sum(one.by == org for one in self.asked_pages.values()) < OPEN_MAX, "TOO_MANY_PROPOSALS")
        self.room_today("programs", "proposals", 200, "TOO_MANY_PROPOSALS_TODAY")
        self.must(self.stands(org, self.time), "KEYS_REPLACED")
        facts = facts_of(source)
        self.must(facts is not None, "REJECTED_PAGE")
        self.go()
        self.pages_asked_ever += 1
        until = self.time + self.terms["proposal_ms"]
        asked = PageAsked(self.pages_asked_ever, id, source, reason, org, (org,), self.time, until)
        self.asked_pages[asked.seq] = asked
        told = {name: asked.row[name] for name in ("seq", "page", "plan", "hash", "reason")}
        self._tell_page("ProgramProposed", id, **told)
        return asked.seq

    def programs_approve(self, seq: int, hash: bytes) -> None:
        """Vote for a page."""
        org = self.role()
        found = self._votable_page(seq)
        self.must(digest(found.content) == hash, "HASH_MISMATCH")
        self.must(org not in found.votes, "ALREADY_VOTED")
        self.must(self.stands(org, found.proposed_at), "KEYS_REPLACED")
        self.go()
        votes = (*found.votes, org)
        self.asked_pages[seq] = replace(found, votes=votes)
        told = {"seq": seq, "hash": hash, "votes": list(votes), "needed": self.needed("program")}
        self._tell_page("ProgramApproved", found.id, **told)

    def programs_retract(self, seq: int) -> None:
        """Take one's vote back."""
        org = self.role()
        found = self._votable_page(seq)
        self.must(org in found.votes, "NOT_VOTED")
        self.room_to_retract("programs")
        self.go()
        votes = tuple(voter for voter in found.votes if voter != org)
        self.asked_pages[seq] = replace(found, votes=votes)
        told = {"seq": seq, "hash": digest(found.content), "votes": list(votes)}
        self._tell_page("ProgramRetracted", found.id, **told)

    def programs_withdraw(self, seq: int) -> None:
        """Take one's page back."""
        org = self.role()
        found = self._votable_page(seq)
        self.must(found.by == org, "NOT_PROPOSER")
        self.go()
        del self.asked_pages[seq]
        self._tell_page("ProgramWithdrawn", found.id, seq=seq)

    def programs_expire(self, seq: int) -> None:
        """Say that a proposal's time is over."""
        found = self._open_page(seq)
        void = not self.stands(found.by, found.proposed_at)
        self.must(self.time > found.expires or void, "TOO_EARLY")
        self.go()
        del self.asked_pages[seq]
        self._tell_page("ProgramExpired", found.id, seq=seq)

    def programs_commit(self, seq: int) -> None:
        """Give an id its page."""
        self.role()
        found = self._votable_page(seq)
        self.must(self.passed("program", found.votes, found.proposed_at), "NOT_ENOUGH_VOTES")
        self.must(found.id not in self.page_programs, "PROGRAM_EXISTS")
        self.go()
        votes = tuple(self.counted(found.votes, found.proposed_at))
        self.page_programs[found.id] = PageProgram(found, votes, self.height)
        del self.asked_pages[seq]
        told = {"seq": seq, "page": found.facts["page"], "plan": found.facts["plan"], "votes": list(votes)}
        self._tell_page("ProgramCommitted", found.id, **told)

    # --- retiring

    def votes_to_retire(self, ident: str) -> dict[str, list[int]]:
        """Return who votes to retire a program now, as the row has it."""
        return {
            cast.org: cast.row
            for (name, _), cast in self.retiring_votes.items()
            if name == ident and self.live(cast)
        }

    def programs_retire(self, id: str, reason: str) -> None:
        """Vote to end a program."""
        org = self.role()
        self.text(reason)
        self.need(id in self.page_programs, "UNKNOWN_PROGRAM")
        known, votes = self.page_programs[id], self.votes_to_retire(id)
        self.must(not known.retired, "WRONG_STATE")
        self.must(org not in votes, "ALREADY_VOTED")
        self.must(self.stands(org, self.time), "KEYS_REPLACED")
        self.go()
        self.retiring_votes[id, org] = self.cast(org)
        voters = [*votes, org]
        told = {"reason": reason, "votes": voters, "needed": self.needed("program")}
        self._tell_page("ProgramRetireVoted", id, **told)
        if self.passed("program", voters):
            self.page_programs[id] = replace(known, retired=True)
            self.retiring_votes = {place: at for place, at in self.retiring_votes.items() if place[0] != id}
            self._tell_page("ProgramRetired", id, reason=reason, votes=self.counted(voters))

    def programs_retract_retirement(self, id: str) -> None:
        """Take such a vote back."""
        org = self.role()
        self.need(id in self.page_programs, "UNKNOWN_PROGRAM")
        self.must(org in self.votes_to_retire(id), "NOT_VOTED")
        self.room_to_retract("programs")
        self.go()
        del self.retiring_votes[id, org]
        self._tell_page("ProgramRetireRetracted", id, votes=list(self.votes_to_retire(id)))

    # --- what jobs ask

    def page_of(self, ident: str) -> tuple[str, bool] | None:
        """Return a program's page, and whether it is active."""
        known = self.page_programs.get(ident)
        return None if known is None else (known.asked.source, not known.retired)

    # --- views

    def programs_is_active(self, id: str) -> bool:
        """Answer whether jobs may name it."""
        return id in self.page_programs and not self.page_programs[id].retired

    def programs_program_of(self, id: str) -> dict[str, Any]:
        """Answer with the record."""
        self.need(id in self.page_programs, "UNKNOWN_PROGRAM")
        return self.page_programs[id].row

    def programs_readiness(self, seq: int) -> dict[str, Any]:
        """Answer what is missing."""
        found = self._open_page(seq)
        passed = self.passed("program", found.votes, found.proposed_at)
        free = self.time <= found.expires and self.stands(found.by, found.proposed_at)
        return {
            "counted": self.counted(found.votes, found.proposed_at),
            "missing": self.missing(found.votes, found.proposed_at),
            "needed": self.needed("program"),
            "passed": passed,
            "expires": found.expires,
            "due": passed and free and found.id not in self.page_programs,
        }

    def rows_pages(self) -> dict[tuple[str, str, Any], Any]:
        """Return the rows of the contract; a vote that lapsed counts nowhere."""
        rows: dict[tuple[str, str, Any], Any] = {("programs", "latest", None): self.pages_asked_ever}
        held = [*self.asked_pages.values(), *[known.asked for known in self.page_programs.values()]]
        for one in held:
            page = one.facts["page"]
            rows["programs", "pages", page] = one.source
            rows["programs", "facts", page] = one.facts
            rows["programs", "page_uses", page] = rows.get(("programs", "page_uses", page), 0) + 1
            if one.seq in self.asked_pages and self.asked_pages[one.seq] is one:
                rows["programs", "proposals", one.seq] = one.row
        for ident, known in self.page_programs.items():
            rows["programs", "programs", ident] = known.row
            rows["programs", "retirements", ident] = self.votes_to_retire(ident)
        for org in self.orgs:
            rows["programs", "open_of", org] = sum(one.by == org for one in self.asked_pages.values())
        return rows
