"""Disputes: what members report holds a job, what the contract finds ends it; neither accuses the honest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.rules.base import digest
from tests.rules.model_jobs import ALLOWED, Job, Jobs

DISPUTE_MS = 604_800_000
REPORTS_MAX = 2


@dataclass(frozen=True, slots=True)
class Dispute:
    """One accusation."""

    job: str
    number: int
    kind: str
    by: str
    """Who reported it; empty if the contract found it."""
    against: tuple[str, ...]
    evidence: bytes
    status: str
    blamed: tuple[str, ...]
    opened_at: int
    resolved_by: str = ""
    resolution: bytes = b""

    @property
    def until(self) -> int:
        """When nobody decides it any more."""
        return self.opened_at + DISPUTE_MS

    @property
    def origin(self) -> str:
        """Who says so."""
        return "report" if self.by else "contract"


class Disputes(Jobs):
    """The rules of contract `jobs` about disputes."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without disputes."""
        super().__init__(chain_id)
        self.disputes: dict[str, list[Dispute]] = {}

    def disputes_of(self, job: str) -> list[Dispute]:
        """Return a job's disputes."""
        return self.disputes.get(job, [])

    # --- what members report

    def jobs_report(self, job: str, kind: str, against: str, evidence: bytes) -> int:
        """Accuse a participant."""
        org = self.role("steward", "agent")
        self.ident(kind)
        self.hash(evidence)
        found = self.known_job(job)
        self.must(org in found.parties or self.has(org, "auditor"), "NOT_PARTICIPANT")
        self.must(against in found.parties, "NOT_PARTICIPANT")
        self.must(against != org, "OWN_CASE")
        self._in_time(found)
        # A state whose time is over does not revive: anyone expires the job, and an ended one is reported.
        self.must(found.state not in ALLOWED or self.time <= found.deadline, "DEADLINE_PASSED")
        mine = [dispute for dispute in self.disputes_of(job) if dispute.by == org]
        self.must(len(mine) < REPORTS_MAX, "TOO_MANY_REPORTS")
        self.go()
        number = self._open(job, kind, org, (against,), evidence, "open")
        if found.state in ALLOWED:
            self.jobs[job] = replace(
                found,
                resume=found.state,
                state="disputed",
                since=self.time,
                height=self.height,
                deadline=self.time + DISPUTE_MS,
            )
        return number

    def jobs_resolve(self, job: str, number: int, outcome: str, blamed: list[str], evidence: bytes) -> str:
        """Decide a dispute."""
        org = self.role("steward")
        self.hash(evidence)
        self.must(self.has(org, "auditor"), "ORG_ROLE_MISSING")
        found, dispute = self._dispute(job, number)
        neutral = org not in (dispute.by, found.initiator, *found.parties)
        self.must(neutral, "NOT_NEUTRAL")
        self.must(dispute.status == "open", "WRONG_STATE")
        self.must(self.time <= dispute.until, "DEADLINE_PASSED")
        self.must(outcome in ("upheld", "dismissed"), "BAD_OUTCOME")
        self.must(outcome == "upheld" or dispute.by != "", "NOT_DISMISSIBLE")
        fine = set(dispute.against).issuperset(blamed) and len(set(blamed)) == len(blamed)
        if dispute.by:
            fine = fine and len(blamed) == (1 if outcome == "upheld" else 0)
        self.must(fine, "BAD_BLAME")
        if found.state == "disputed" and outcome == "upheld":
            self.reach_ends(found)
        self.go()
        self._settle(dispute, outcome, tuple(blamed), org, evidence)
        if found.state == "disputed":
            waits = [other for other in self.disputes_of(job) if other.status == "open"]
            if outcome == "upheld":
                detail = {"dispute": number, "kind": dispute.kind}
                self.abort_job(found, [], "auditor", "DISPUTE_UPHELD", detail, evidence)
            elif not waits and self.time <= found.deadline:
                self.jobs[job] = replace(self.entered(found, found.resume), resume="")
        found = self.jobs[job]
        self.tell_job(
            "DisputeResolved",
            job,
            ("against", "blamed"),
            number=number,
            outcome=outcome,
            against=[f"org:{name}" for name in dispute.against],
            blamed=[f"org:{name}" for name in blamed],
            evidence=evidence,
            state=found.state,
            deadline=found.deadline,
        )
        return found.state

    def jobs_lapse(self, job: str, number: int) -> None:
        """Say that nobody decided a dispute in time."""
        _, dispute = self._dispute(job, number)
        self.must(dispute.status == "open", "WRONG_STATE")
        self.must(self.time > dispute.until, "TOO_EARLY")
        self.go()
        outcome = "lapsed" if dispute.by else "upheld"
        self._settle(dispute, outcome, (), "", b"")
        against = [f"org:{name}" for name in dispute.against]
        self.tell_job("DisputeLapsed", job, ("against",), number=number, outcome=outcome, against=against)

    def jobs_dispute_of(self, job: str, number: int) -> dict[str, Any]:
        """Answer with the record."""
        return dispute_row(self._dispute(job, number)[1])

    # --- what the contract finds

    def said_again(self, job: str, org: str, before: dict[str, Any], said: dict[str, Any]) -> str:
        """Let a repeated step pass; record one that differs."""
        if before != said:
            caught = [d for d in self.disputes_of(job) if not d.by and d.against == (org,)]
            self.must(not caught, "ALREADY_RECORDED")
            self._in_time(self.jobs[job])
            if not self.jobs[job].final:
                self.reach_ends(self.jobs[job])
        self.go()
        if before != said:
            self.found_out(job, "EQUIVOCATION", (org,), digest([before, said]), "upheld")
        return self.jobs[job].state

    def found_out(self, job: str, kind: str, against: tuple[str, ...], evidence: bytes, status: str) -> None:
        """Record what a party, or one of two, did against the protocol; an open job ends."""
        number = self._open(job, kind, "", against, evidence, status)
        if not self.jobs[job].final:
            self.abort_job(self.jobs[job], [], "contract", kind, {"dispute": number}, evidence)

    # --- parts

    def _in_time(self, job: Job) -> None:
        self.must(not job.final or self.time <= job.ended_at + DISPUTE_MS, "DEADLINE_PASSED")

    def _dispute(self, job: str, number: int) -> tuple[Job, Dispute]:
        known = self.disputes_of(job)
        self.need(1 <= number <= len(known), "UNKNOWN_DISPUTE")
        return self.jobs[job], known[number - 1]

    def _open(
        self, job: str, kind: str, by: str, against: tuple[str, ...], evidence: bytes, status: str
    ) -> int:
        number = len(self.disputes_of(job)) + 1
        blamed = against if status == "upheld" else ()
        dispute = Dispute(job, number, kind, by, against, evidence, status, blamed, self.time)
        self.disputes.setdefault(job, []).append(dispute)
        self.tell_job(
            "JobDisputed",
            job,
            ("against",),
            number=number,
            kind=kind,
            origin=dispute.origin,
            against=[f"org:{name}" for name in against],
            evidence=evidence,
            status=status,
            until=dispute.until,
        )
        return number

    def _settle(
        self, dispute: Dispute, outcome: str, blamed: tuple[str, ...], org: str, evidence: bytes
    ) -> None:
        self.disputes[dispute.job][dispute.number - 1] = replace(
            dispute, status=outcome, blamed=blamed, resolved_by=org, resolution=evidence
        )


def dispute_row(dispute: Dispute) -> dict[str, Any]:
    """Return a dispute's record."""
    return {
        "job": dispute.job,
        "number": dispute.number,
        "kind": dispute.kind,
        "origin": dispute.origin,
        "by": dispute.by,
        "against": list(dispute.against),
        "evidence": dispute.evidence,
        "status": dispute.status,
        "blamed": list(dispute.blamed),
        "opened_at": dispute.opened_at,
        "until": dispute.until,
        "resolved_by": dispute.resolved_by,
        "resolution": dispute.resolution,
    }
