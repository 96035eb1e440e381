"""Grants in force: the owner's hand on them, the runs that jobs take of them, and the guard of every use."""

# ruff: noqa: A002 (arguments have the names that the contracts give them)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.rules.base import DAY_MS, Refused
from tests.rules.model_grants import Grant, Requests
from tests.rules.terms import USES

OPEN_JOBS_MAX = 64
NAMED_MAX = 11
FREE_RETURNS_A_DAY_MAX, FREE_RETURNS_MAX = 3, 12
FINAL = frozenset({"certified", "aborted", "expired", "rejected"})


@dataclass(frozen=True, slots=True)
class Use:
    """What a job wants of one grant."""

    job: str
    grant: str
    initiator: str
    program: str
    purpose: str
    profile: str
    min_group: int
    dataset: str
    version: int
    columns: Mapping[str, str]
    participants: tuple[str, ...]
    receivers: tuple[str, ...]
    name: str
    """Of the input."""
    membership: Mapping[str, Sequence[str]]
    """Who learns which rows of each input's dataset are joined."""
    epsilon: Mapping[str, int]
    """What each input's account is charged, in 10^-9."""


class Uses(Requests):
    """The rules of contract `grants` about grants that were given."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without uses."""
        super().__init__(chain_id)
        self.jobs_of: dict[str, list[str]] = {}
        """Grant -> jobs that were ever proposed under it."""
        self.reserved: set[tuple[str, str]] = set()
        """(grant, job): holds a run that it has not used."""
        self.used: set[tuple[str, str]] = set()
        """(grant, job): has used a run, for ever unless it comes back."""
        self.returns: dict[str, list[int]] = {}
        """Grant -> days on which runs came back of jobs for which its owner had answered."""
        self.partners: dict[str, list[bytes]] = {}
        """Grant -> sets of dataset versions with which its version was joined."""
        self.shown: set[tuple[str, str]] = set()
        """(grant, job): was revealed, for ever."""

    def is_open(self, job: str) -> bool:
        """Tell whether a job has not ended."""
        raise NotImplementedError

    def frozen(self, name: str) -> bool:
        """Tell whether members have stopped a contract at this height."""
        raise NotImplementedError

    def ask_policy(self, policy: str, phase: str) -> str:
        """Return how a policy refuses, or an empty text; what it counts is not kept yet."""
        raise NotImplementedError

    # --- what is taken

    def runs_of(self, grant: str) -> dict[str, int]:
        """Return used, reserved and revealed runs, counted from the jobs."""
        jobs = self.jobs_of.get(grant, ())
        return {
            "used": sum((grant, job) in self.used for job in jobs),
            "reserved": sum((grant, job) in self.reserved for job in jobs),
            "revealed": sum((grant, job) in self.shown for job in jobs),
        }

    def open_jobs_of(self, grant: str) -> list[str]:
        """Return a grant's open jobs, oldest first."""
        return [job for job in self.jobs_of.get(grant, ()) if self.is_open(job)]

    def holds(self, grant: str, job: str) -> str:
        """Return what an open job holds of a grant."""
        place = (grant, job)
        if not self.is_open(job):
            return ""
        if place in self.shown:
            return "revealed"
        if place in self.used:
            return "used"
        return "reserved" if place in self.reserved else ""

    def _holds_now(self, grant: str, job: str) -> bool:
        return job in self.jobs_of.get(grant, ()) and self.holds(grant, job) != ""

    def tell_used(self, grant: str, job: str, phase: str, note: str) -> None:
        """File a step of a job in the histories of its grant and dataset."""
        record, runs = self.grants[grant], self.runs_of(grant)
        self.tell(
            "grants.GrantUsed",
            ["grant", "dataset", "job", "owner"],
            grant=f"grant:{grant}",
            dataset=f"dataset:{record.dataset}",
            job=f"job:{job}",
            owner=f"org:{record.owner}",
            phase=phase,
            used=runs["used"],
            reserved=runs["reserved"],
            runs=record.terms["quota_runs"],
            note=note,
        )

    def reserve(self, grant: str, job: str) -> None:
        """Keep a run for a job."""
        self.reserved.add((grant, job))
        self.tell_used(grant, job, "reserved", "run reserved")

    def consume(self, grant: str, job: str) -> None:
        """Use up the run that a job holds."""
        self.reserved.remove((grant, job))
        self._spend(grant, job)
        self.tell_used(grant, job, "joining", "run used")

    def _spend(self, grant: str, job: str) -> None:
        self.used.add((grant, job))
        if self.runs_of(grant)["used"] == self.grants[grant].terms["quota_runs"]:
            self._tell_grant("GrantExhausted", grant)

    def let_go(self, grant: str, job: str, outcome: str, answered: set[str]) -> bool:
        """Give back what an ended job holds unused, as the day allows; tell whether a run came back."""
        note = "run spent" if (grant, job) in self.used else ""
        back = False
        if (grant, job) in self.reserved:
            self.reserved.remove((grant, job))
            back = self.grants[grant].owner not in answered or self.comes_back(grant)
            note = "run returned" if back else "run spent"
            if not back:
                self._spend(grant, job)
        self.tell_used(grant, job, outcome, note)
        return back

    def answered(self, grant: str, returned: int, joined: Sequence[bytes]) -> None:
        """Set how many runs a grant took back today, and ever, and with what its data were joined."""
        self.returns[grant] = [self.time // DAY_MS] * returned
        self.partners[grant] = list(joined)

    def comes_back(self, grant: str) -> bool:
        """Tell whether a run that returns now is one of the day's first, and count it."""
        today, days = self.time // DAY_MS, self.returns.setdefault(grant, [])
        if days.count(today) >= FREE_RETURNS_A_DAY_MAX or len(days) >= FREE_RETURNS_MAX:
            return False
        days.append(today)
        return True

    def joins_with(self, grant: str, joined: bytes) -> None:
        """Refuse one set of dataset versions more than the grant allows."""
        known = self.partners.get(grant, [])
        room = joined == b"" or joined in known
        room = room or len(known) < self.grants[grant].terms["partner_versions"]
        self.must(room, "PARTNER_VERSIONS")

    # --- the guard

    def guard(self, use: Use, phase: str) -> None:
        """Refuse a use, with the first code of the README's list (a column with either of two)."""
        for broken in self._broken_by(use, phase):
            if broken:
                raise Refused(broken)
        policy = self.grants[use.grant].terms["policy"]
        if policy and (answer := self.ask_policy(policy, phase)):
            raise Refused({answer})

    def _broken_by(self, use: Use, phase: str) -> Any:
        yield {"UNKNOWN_GRANT"} - ({"UNKNOWN_GRANT"} if use.grant in self.grants else set())
        grant = self.grants[use.grant]
        terms = grant.terms

        def unless(holds: bool, code: str) -> set[str]:
            return set() if holds else {code}

        yield unless(use.initiator == grant.grantee, "NOT_GRANTEE")
        yield self._status_refuses(grant)
        yield unless(not self.frozen("datasets"), "CONTRACT_FROZEN")
        yield unless(self.datasets[grant.dataset].status == "active", "DATASET_NOT_ACTIVE")
        yield unless(use.dataset == grant.dataset, "DATASET_NOT_GRANTED")
        yield unless(use.version == grant.version, "VERSION_NOT_GRANTED")
        yield unless(use.purpose == grant.purpose, "PURPOSE_MISMATCH")
        yield unless(use.program in terms["programs"], "PROGRAM_NOT_GRANTED")
        granted = terms["columns"]
        yield unless(granted.keys() >= use.columns.keys(), "COLUMN_NOT_GRANTED") | {
            "CONSTRAINT_VIOLATED"
            for name, wish in use.columns.items()
            if name in granted and wish not in USES[granted[name]]
        }
        ranks = self.ranks()
        yield unless(use.profile in ranks, "UNKNOWN_PROFILE")
        yield unless(ranks[use.profile] >= ranks[terms["profile"]], "PROFILE_TOO_WEAK")
        yield unless(use.min_group >= terms["min_group"], "MIN_GROUP_TOO_LOW")
        with_it = {*terms["co_parties"], grant.owner, grant.grantee}
        yield unless(with_it.issuperset(use.participants), "CO_PARTY_NOT_GRANTED")
        yield unless(set(terms["receivers"]).issuperset(use.receivers), "RECEIVER_NOT_GRANTED")
        told = {*terms["membership"], grant.owner}
        yield unless(told.issuperset(use.membership[use.name]), "MEMBERSHIP_NOT_GRANTED")
        yield unless(use.epsilon[use.name] <= terms["run_epsilon"], "EPSILON_NOT_GRANTED")
        runs = self.runs_of(grant.id)
        free = runs["used"] + runs["reserved"] < terms["quota_runs"]
        yield unless(free or self._holds_now(grant.id, use.job), "QUOTA_EXHAUSTED")
        room = phase != "proposed" or len(self.open_jobs_of(grant.id)) < OPEN_JOBS_MAX
        yield unless(room, "TOO_MANY_JOBS")
        if terms["policy"]:
            yield {self.policy_fault(terms["policy"])} - {""}

    def in_force(self, id: str) -> None:
        """Refuse unless a grant is in force now, and its dataset."""
        grant = self.grants[id]
        for broken in (
            self._status_refuses(grant),
            {"CONTRACT_FROZEN"} if self.frozen("datasets") else set(),
            {"DATASET_NOT_ACTIVE"} if self.datasets[grant.dataset].status != "active" else set(),
        ):
            for code in broken:
                self.must(False, code)

    def _status_refuses(self, grant: Grant) -> set[str]:
        if grant.status in ("revoked", "suspended", "expired"):
            return {f"GRANT_{grant.status.upper()}"}
        if grant.status != "active":
            return {"GRANT_NOT_ACTIVE"}
        if self.time >= grant.terms["expires"]:
            return {"GRANT_EXPIRED"}
        return {"GRANT_NOT_YET_VALID"} if self.time < grant.terms["not_before"] else set()

    # --- the owner's hand

    def grants_narrow(self, id: str, terms: dict[str, Any]) -> None:
        """Tighten a grant."""
        grant = self._own_grant(id)
        self.need(set(terms) <= set(grant.terms), "BAD_TERMS")
        self._narrower(grant.terms, terms)
        runs = self.runs_of(id)
        taken = runs["used"] + runs["reserved"]
        quota = terms.get("quota_runs", grant.terms["quota_runs"])
        self.must(quota >= taken, "QUOTA_IN_USE")
        self.room_to_change()
        self.go()
        self.grants[id] = replace(grant, terms={**grant.terms, **terms})
        self._tell_jobs("GrantNarrowed", id, "", terms=terms)
        if runs["used"] == quota < grant.terms["quota_runs"]:
            self._tell_grant("GrantExhausted", id)

    def grants_suspend(self, id: str, reason: str) -> None:
        """Stop a grant."""
        grant = self._own_grant(id)
        self.text(reason)
        self.must(grant.status == "active", "WRONG_STATE")
        self.go()
        self.grants[id] = replace(grant, status="suspended", reason=reason)
        self._tell_jobs("GrantSuspended", id, reason, reason=reason)

    def grants_resume(self, id: str) -> None:
        """Let a grant be used again."""
        grant = self._own_grant(id)
        self.must(grant.status == "suspended", "WRONG_STATE")
        self.room_to_change()
        self.go()
        self.grants[id] = replace(grant, status="active", reason="")
        self._tell_jobs("GrantResumed", id, "")

    def grants_revoke(self, id: str, reason: str) -> None:
        """End a grant."""
        self._own_grant(id)
        self.text(reason)
        self.go()
        jobs = self.open_jobs_of(id)
        late = [f"job:{job}" for job in jobs if (id, job) in self.shown]
        stopped = [f"job:{job}" for job in jobs if (id, job) not in self.shown]
        self._end_grant(id, "revoked", reason)
        room = max(0, NAMED_MAX - len(stopped))
        self._tell_grant(
            "GrantRevoked",
            id,
            reason=reason,
            stopped=stopped[:NAMED_MAX],
            too_late=late[:room],
            revealed=self.runs_of(id)["revealed"],
        )
        self.concern(f"grant:{id}", "GrantRevoked: stopped", reason, stopped[NAMED_MAX:], 0)
        self.concern(f"grant:{id}", "GrantRevoked: too late", reason, late[room:], 0)

    def grants_expire(self, id: str) -> None:
        """Say that time is over."""
        self.need(id in self.grants, "UNKNOWN_GRANT")
        grant = self.grants[id]
        self.must(grant.status in ("requested", "active", "suspended"), "WRONG_STATE")
        end = grant.decide_by if grant.status == "requested" else grant.terms["expires"]
        self.must(self.time >= end, "TOO_EARLY")
        self.go()
        self._end_grant(id, "expired", "")
        self._tell_jobs("GrantExpired", id, "")

    # --- views

    def grants_covers(self, id: str, use: dict[str, Any], phase: str) -> str:
        """Answer as the guard does."""
        self.need(id in self.grants, "UNKNOWN_GRANT")
        names = Use.__dataclass_fields__.keys() - {"grant"}
        self.guard(Use(grant=id, **{name: use[name] for name in names}), phase)
        return self.grants[id].owner

    def grants_grant_of(self, id: str) -> dict[str, Any]:
        """Answer with the record."""
        self.need(id in self.grants, "UNKNOWN_GRANT")
        return self.grant_row(self.grants[id])

    def grants_runs_of(self, id: str) -> dict[str, int]:
        """Answer with what is taken."""
        self.need(id in self.grants, "UNKNOWN_GRANT")
        return self.runs_of(id)

    def grants_open_jobs_of(self, id: str) -> list[str]:
        """Answer with the open jobs."""
        self.need(id in self.grants, "UNKNOWN_GRANT")
        return self.open_jobs_of(id)

    def grants_stand(self, use: dict[str, Any]) -> bool:
        """Answer whether nothing but a policy's answer could refuse a step of this job."""
        shared = {name: use[name] for name in Use.__dataclass_fields__.keys() & use.keys()}
        return self.lets_pass([Use(**{**shared, **item}) for item in use["inputs"]])

    def lets_pass(self, uses: list[Use]) -> bool:
        """Tell whether the guard would let all of these pass, but for what policies say."""
        if self.frozen("datasets"):
            return False
        for use in uses:
            self.need(use.grant in self.grants, "UNKNOWN_GRANT")
            if any(self._broken_by(use, "accepted")):
                return False
        return True

    def grants_state_of(self, id: str) -> str:
        """Answer with what the grant is now."""
        self.need(id in self.grants, "UNKNOWN_GRANT")
        grant = self.grants[id]
        over = {"requested": grant.decide_by}.get(grant.status, grant.terms["expires"])
        if grant.status in ("requested", "active", "suspended") and self.time >= over:
            return "expired"
        none_left = self.runs_of(id)["used"] >= grant.terms["quota_runs"]
        return "exhausted" if grant.status == "active" and none_left else grant.status

    # --- parts

    def _own_grant(self, id: str) -> Grant:
        org = self.role("steward")
        self.need(id in self.grants, "UNKNOWN_GRANT")
        grant = self.grants[id]
        self.must(grant.owner == org, "NOT_OWNER")
        self.must(grant.status in ("active", "suspended"), "WRONG_STATE")
        return grant

    def _tell_jobs(self, event: str, id: str, why: str, /, **fields: Any) -> None:
        jobs = [f"job:{job}" for job in self.open_jobs_of(id)]
        self._tell_grant(event, id, **fields, jobs=jobs[:NAMED_MAX])
        self.concern(f"grant:{id}", event, why, jobs[NAMED_MAX:], 0)

    def rows_uses(self) -> dict[tuple[str, str, Any], Any]:
        """Return {(contract, map, key): value}."""
        rows: dict[tuple[str, str, Any], Any] = {}
        for grant, days in self.returns.items():
            if days:
                rows["grants", "returns", grant] = {
                    "day": days[-1],
                    "today": days.count(days[-1]),
                    "ever": len(days),
                }
        rows |= {("grants", "partners", grant): list(known) for grant, known in self.partners.items()}
        for grant, jobs in self.jobs_of.items():
            rows["grants", "open_jobs", grant] = self.open_jobs_of(grant)
            for job in jobs:
                held = self.holds(grant, job)
                if held:
                    rows["grants", "live", (grant, job)] = held
        return rows
