"""Programs that jobs may name: set by a majority of the members, one record one ballot."""

from __future__ import annotations

from typing import Any

from tests.rules.base import digest
from tests.rules.model_uses import Uses

FIELDS = {"code_hash", "id", "kind", "leakage", "profiles", "status", "uses"}
USES = {"plain", "join", "aggregate", "compare", "encrypted"}
LEAKAGE_MAX, PROFILES_MAX, VOTES_MAX, VOTES_A_DAY_MAX = 4_096, 16, 16, 200
VOTE_MS = 2_592_000_000


class Programs(Uses):
    """The rules of contract `jobs` about programs."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without programs."""
        super().__init__(chain_id)
        self.programs: dict[str, dict[str, Any]] = {}
        self.cast: dict[tuple[bytes, str], int] = {}
        """(digest of a record, org) -> when it voted so."""
        self.records: dict[bytes, dict[str, Any]] = {}

    def standing(self, org: str) -> set[bytes]:
        """Return the records that an organisation votes for now."""
        return {
            ballot for (ballot, voter), at in self.cast.items() if voter == org and self.time < at + VOTE_MS
        }

    def jobs_vote_program(self, program: dict[str, Any]) -> bool:
        """Vote for a record; at a majority it holds."""
        org = self.role()
        self._well_formed(program)
        known = self.programs.get(program["id"])
        if known is not None:
            self.must({**known, "status": ""} == {**program, "status": ""}, "PROGRAM_FIXED")
            self.must(known != program, "WRONG_STATE")
        ballot, mine = digest(program), self.standing(org)
        self.must(ballot not in mine, "ALREADY_VOTED")
        self.must(len(mine) < VOTES_MAX, "TOO_MANY_VOTES")
        self.room_today("jobs", "votes", VOTES_A_DAY_MAX, "TOO_MANY_VOTES_TODAY")
        self.go()
        self.cast[ballot, org] = self.time
        self.records[ballot] = program
        votes = [voter for voter in self.members() if ballot in self.standing(voter)]
        status = {"status": program["status"], "code_hash": program["code_hash"]}
        subject = f"program:{program['id']}"
        self.tell("jobs.ProgramVoted", ["program"], program=subject, votes=votes, **status)
        if len(votes) * 2 <= len(self.members()):
            return False
        self.cast = {place: at for place, at in self.cast.items() if place[0] != ballot}
        self.programs[program["id"]] = program
        self.tell("jobs.ProgramSet", ["program"], program=subject, **status)
        return True

    def jobs_retract_vote(self, program: dict[str, Any]) -> None:
        """Take one's vote back."""
        org = self.role()
        ballot = digest(program)
        self.must(ballot in self.standing(org), "NOT_VOTED")
        self.go()
        del self.cast[ballot, org]
        self.tell("jobs.ProgramVoteRetracted", ["program"], program=f"program:{program['id']}")

    def _well_formed(self, program: dict[str, Any]) -> None:
        self.need(program.keys() == FIELDS, "BAD_PROGRAM")
        self.ident(program["id"])
        self.text(program["kind"])
        self.text(program["leakage"], most=LEAKAGE_MAX)
        self.hash(program["code_hash"])
        uses, profiles = program["uses"], program["profiles"]
        fine = 0 < len(uses) <= len(USES) and USES.issuperset(uses)
        self.must(fine and program["status"] in ("active", "retired"), "BAD_PROGRAM")
        if self.must(0 < len(profiles) <= PROFILES_MAX, "BAD_PROGRAM"):
            self.ident(*profiles)

    def rows_programs(self) -> dict[tuple[str, str, Any], Any]:
        """Return {(contract, map, key): value}; a vote that lapsed counts nowhere."""
        rows: dict[tuple[str, str, Any], Any] = {}
        for ident, program in self.programs.items():
            rows["jobs", "programs", ident] = program
        for ballot in self.records:
            votes = {
                org: at
                for (voted, org), at in self.cast.items()
                if voted == ballot and self.time < at + VOTE_MS
            }
            rows["jobs", "program_ballots", ballot] = votes
        return rows
