"""The run of a job: stages, transcripts, reveal, results, certificate."""

# ruff: noqa: A002 (arguments have the names that the contracts give them)
from __future__ import annotations

from dataclasses import replace
from typing import Any

from chain.primitives.crypto import verify
from chain.primitives.values import encode_value
from tests.rules.base import digest
from tests.rules.model_disputes import Disputes
from tests.rules.model_jobs import Job

STAGES_MAX = 256
METRICS_BYTES_MAX = 4_096
FIGURES = range(2**63)
DOMAIN = "assent/job-certificate/3"


class Run(Disputes):
    """The rules of contract `jobs` from the run to the certificate."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without runs."""
        super().__init__(chain_id)
        self.stages: dict[tuple[str, str], list[tuple[dict[str, Any], int]]] = {}
        """(job, org) -> what it said of each stage, and at which height."""
        self.channels: dict[tuple[str, str], dict[str, bytes]] = {}
        self.outcomes: dict[tuple[str, str], tuple[dict[str, Any], int]] = {}
        self.signatures: dict[tuple[str, str], bytes] = {}
        self.certified: dict[str, dict[str, Any]] = {}

    def has_stage(self, job: str, org: str) -> bool:
        """Tell whether a party committed a stage."""
        return (job, org) in self.stages

    def jobs_commit_stage(
        self, job: str, stage: int, kind: str, hash: bytes, previous: bytes, bytes_sent: int, rounds: int,
        cpu_ms: int,
    ) -> str:  # fmt: skip
        """Say that a stage is done."""
        org = self.role("agent")
        self.ident(kind)
        self.hash(hash, previous)
        self.must(0 <= stage < STAGES_MAX, "TOO_MANY_STAGES")
        self.must(all(number in FIGURES for number in (bytes_sent, rounds, cpu_ms)), "BAD_STAGE")
        said = {
            "stage": stage, "kind": kind, "hash": hash, "previous": previous, "bytes": bytes_sent,
            "rounds": rounds, "cpu_ms": cpu_ms,
        }  # fmt: skip
        before = self.stages.get((job, org), [])
        if 0 <= stage < len(before):
            return self.said_again(job, org, before[stage][0], said)
        found = self.waiting(job, "running")
        self.must(org in found.parties, "NOT_PARTICIPANT")
        self.must(found.join_height > 0, "JOIN_NOT_BEGUN")
        self.must(org not in found.transcripts, "TRANSCRIPT_CLOSED")
        self.must(stage == len(before), "STAGE_NOT_CONTIGUOUS")
        self.must(previous == (before[-1][0]["hash"] if before else bytes(32)), "STAGE_CHAIN_BROKEN")
        self.go()
        self.stages.setdefault((job, org), []).append((said, self.height))
        self.tell_job("StageCommitted", job, stage=stage, kind=kind, hash=hash)
        return found.state

    def jobs_commit_transcript(self, job: str, profile: str, channels: dict[str, bytes]) -> str:
        """Say what passed on every channel."""
        org = self.role("agent")
        found = self.known_job(job)
        self.need(org in found.parties, "NOT_PARTICIPANT")
        self.must(profile == found.spec["profile"], "PROFILE_MISMATCH")
        self.must(channels.keys() == set(found.parties) - {org}, "BAD_CHANNELS")
        self.hash(*channels.values())
        before = self.channels.get((job, org))
        if before is not None:
            return self.said_again(job, org, before, channels)
        self.waiting(job, "running")
        self.must((job, org) in self.stages, "STAGE_MISSING")
        self.go()
        if any(self.channels[job, other][org] != channels[other] for other in found.transcripts):
            self.reach("grants")
        self.go()
        self.channels[job, org] = channels
        self.tell_job("TranscriptCommitted", job, channels=channels)
        self.jobs[job] = replace(found, transcripts=(*found.transcripts, org))
        for other in found.transcripts:
            theirs = self.channels[job, other][org]
            if theirs != channels[other]:
                evidence = digest([org, channels[other], other, theirs])
                self.found_out(job, "TRANSCRIPT_MISMATCH", (other, org), evidence, "open")
        found = self.jobs[job]
        if found.state == "running" and len(found.transcripts) == len(found.parties):
            found = self.jobs[job] = self.entered(found, "computed")
            self.tell_job("JobComputed", job, deadline=found.deadline)
        return found.state

    def jobs_approve_reveal(self, job: str) -> str:
        """Allow the result to be opened."""
        org = self.role("agent")
        found = self.known_job(job)
        if org in found.reveals:
            self.go()
            return found.state
        self.waiting(job, "computed")
        self.must(org in found.owners, "NOT_DATA_OWNER")
        if found.state != "computed":
            self.go()
        reveals = (*found.reveals, org)
        last = set(reveals) == set(found.owners)
        touched = [n for n, owner in enumerate(found.owners) if last or owner == org]
        self.standing_job(found)
        self.reach("grants")
        self.guard_all(found, touched, "reveal")
        self.go()
        found = replace(found, reveals=reveals)
        self.tell_job("RevealApproved", job)
        for number in touched:
            grant = found.grants[number]
            if last:
                self.shown.add((grant, job))
            self.tell_used(grant, job, "revealed" if last else "reveal-approved", "")
        if last:
            found = self.entered(replace(found, revealed_height=self.height), "revealed")
            self.tell_job("JobRevealed", job, deadline=found.deadline)
        self.jobs[job] = found
        return found.state

    def jobs_commit_result(self, job: str, hash: bytes, schema: str, metrics: dict[str, Any]) -> str:
        """Commit to what one received."""
        org = self.role("agent")
        self.hash(hash)
        self.text(schema)
        self.must(len(encode_value(metrics)) <= METRICS_BYTES_MAX, "BAD_METRICS")
        said = {"hash": hash, "schema": schema, "metrics": metrics}
        before = self.outcomes.get((job, org))
        if before is not None:
            return self.said_again(job, org, before[0], said)
        found = self.waiting(job, "revealed")
        self.must(org in found.spec["receivers"], "NOT_RECEIVER")
        if {*found.results, org} == set(found.spec["receivers"]):
            self.reach("grants")
        self.go()
        self.outcomes[job, org] = (said, self.height)
        found = replace(found, results=(*found.results, org))
        self.tell_job("ResultCommitted", job, **said)
        if len(found.results) == len(found.spec["receivers"]):
            found = self.entered(found, "committed")
            for grant in found.grants:
                self.tell_used(grant, job, "committed", "")
            sealed = digest(self.body(found))
            self.tell_job("JobCommitted", job, deadline=found.deadline, digest=sealed)
        self.jobs[job] = found
        return found.state

    def jobs_certify(self, job: str, digest: bytes, signature: bytes) -> str:
        """Sign the outcome."""
        org = self.role("agent")
        found = self.known_job(job)
        if self.signatures.get((job, org)) == signature:
            self.go()
            return found.state
        self.waiting(job, "committed")
        self.must(org in found.parties, "NOT_PARTICIPANT")
        self.must(org not in found.signed, "ALREADY_SIGNED")
        if found.state != "committed" or org not in found.parties:
            self.go()
        body = self.body(found)
        self.must(digest == _sealed(body), "DIGEST_MISMATCH")
        key = next(p["agent_key"] for p in found.spec["participants"] if p["org"] == org)
        self.must(verify(key, digest, signature), "BAD_SIGNATURE")
        if len(found.signed) + 1 == len(found.parties):
            self.reach("grants")
        self.go()
        self.signatures[job, org] = signature
        found = self.jobs[job] = replace(found, signed=(*found.signed, org))
        self.tell_job("JobSigned", job, signature=signature)
        if len(found.signed) == len(found.parties):
            signatures = {name: self.signatures[job, name] for name in found.signed}
            self.certified[job] = {
                "body": body, "digest": digest, "signatures": signatures, "height": self.height,
            }  # fmt: skip
            self.end_job(found, "certified")
            self.tell_job("JobCertified", job, digest=digest)
        return self.jobs[job].state

    def jobs_certificate_body(self, job: str) -> dict[str, Any]:
        """Answer with what the participants sign."""
        found = self.known_job(job)
        self.need(found.state in ("committed", "certified"), "WRONG_STATE")
        return self.body(found)

    def body(self, job: Job) -> dict[str, Any]:
        """Return what the participants sign."""
        spec = job.spec
        results = {org: self.outcomes[job.id, org][0] for org in spec["receivers"]}
        stages = {org: self.stages[job.id, org] for org in job.parties}
        return {
            "domain": DOMAIN,
            "job": job.id,
            "program": spec["program"],
            "page": spec["page"],
            "plan": spec["plan"],
            "parameters": digest(spec["parameters"]),
            "purpose": spec["purpose"],
            "profile": spec["profile"],
            "min_group": spec["min_group"],
            "initiator": job.initiator,
            "inputs": [
                {"grant": item["grant"], "dataset": item["dataset"], "version": item["version"], "root": root}
                for item, root in zip(spec["inputs"], job.roots, strict=True)
            ],
            "participants": spec["participants"],
            "receivers": spec["receivers"],
            "bindings": {org: self.commitments[job.id, org][0] for org in job.bound},
            "stages": {org: [len(said), said[-1][0]["hash"]] for org, said in stages.items()},
            "transcripts": {org: self.channels[job.id, org] for org in job.parties},
            "results": {org: {**said, "metrics": digest(said["metrics"])} for org, said in results.items()},
            "running_height": job.running_height,
            "revealed_height": job.revealed_height,
        }


def _sealed(body: dict[str, Any]) -> bytes:
    return digest(body)
