"""The state that the README describes, as the model has it; and stored rows as the README reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.rules.base import DAY_MS, digest
from tests.rules.model_disputes import dispute_row
from tests.rules.model_governance import Governance
from tests.rules.model_lifecycle import Running
from tests.rules.model_voting import Cast, Proposal
from tests.rules.policies import Code, code_of

Place = tuple[str, str, Any]
"""(contract, name of a Map or Var, key or None)."""
# What is not to be compared: it follows from the sources alone, or from rows that are.
UNREAD = frozenset(("lifecycle", name) for name in ("sources", "source_uses", "code_bytes"))
CONTRACTS = ("orgs", "governance", "lifecycle", "datasets", "programs", "accounts", "grants", "jobs")
SETS = frozenset(
    {"approvals", "votes", "rejections", "missing", "counted", "about", "against", "bound", "calls"}
)
EMPTY: Mapping[tuple[str, str], Any] = {
    ("orgs", "pending_of"): [],
    ("datasets", "schema_counts"): {"drafts": 0, "sealed": 0},
    ("grants", "ballots"): {"approvals": {}, "rejections": []},
    ("grants", "open_jobs"): [],
    ("grants", "active_grants"): [],
    ("grants", "asked"): {},
    ("governance", "latest"): 0,
    ("governance", "replaced"): {},
    ("governance", "open_of"): 0,
    ("lifecycle", "open_of"): 0,
    ("programs", "latest"): 0,
    ("programs", "open_of"): 0,
    ("programs", "retirements"): {},
    ("lifecycle", "library_totals"): {"count": 0, "bytes": 0},
    ("lifecycle", "ballots"): {},
    ("lifecycle", "lone_freezes"): {},
    ("governance", "terms"): {"proposal_ms": 604_800_000, "freeze_blocks": 1_000},
}
"""What a row that is not there means."""


class Rows(Governance):
    """The model as rows."""

    def rows(self) -> dict[Place, Any]:
        """Return every row that is not empty."""
        found = {
            **self.rows_orgs(),
            **self.rows_eyes(),
            **self.rows_schemas(),
            **self.rows_datasets(),
            **self._rows_requests(),
            **self.rows_uses(),
            **self.rows_accounts(),
            **self._rows_jobs(),
            **self._rows_run(),
            **self._rows_governance(),
            **self._rows_lifecycle(),
            **self.rows_libraries(),
            **self.rows_pages(),
            **self._rows_daily(),
            **{(name, "asked", None): count for name, count in self.counts.items()},
        }
        return {place: value for place, value in found.items() if value != EMPTY.get(place[:2], _NOTHING)}

    def code_in(self, proposal: Proposal) -> Code:
        """Return the code that a proposal names."""
        code = code_of(proposal.content["source"])
        assert code is not None
        return code

    def _rows_requests(self) -> dict[Place, Any]:
        rows: dict[Place, Any] = {}
        for grant in self.grants.values():
            rows["grants", "grants", grant.id] = self.agreed_row(grant)
            if grant.status != "requested":
                rows["grants", "standing", grant.id] = self.standing_row(grant) | self.runs_of(grant.id)
            votes = self.votes[grant.id].values()
            approvals = {vote.org: digest(vote.terms) for vote in votes if vote.terms is not None}
            against = [vote.org for vote in votes if vote.terms is None]
            rows["grants", "ballots", grant.id] = {"approvals": approvals, "rejections": against}
            for vote in votes:
                if vote.terms is not None:
                    rows["grants", "offers", (grant.id, digest(vote.terms))] = dict(vote.terms)
        for org, dataset in {(grant.grantee, grant.dataset) for grant in self.grants.values()}:
            rows["grants", "asked_today", (org, dataset)] = self._asked_today_row(org, dataset)
        for org in {grant.grantee for grant in self.grants.values()}:
            waiting = [
                g.dataset for g in self.grants.values() if g.grantee == org and g.status == "requested"
            ]
            rows["grants", "asked", org] = dict(Counter(waiting))
        for dataset in self.datasets:
            rows["grants", "active_grants", dataset] = self.active_grants_of(dataset)
        return rows

    def _asked_today_row(self, org: str, dataset: str) -> dict[str, int]:
        here = [g for g in self.grants.values() if (g.grantee, g.dataset) == (org, dataset)]
        days = [grant.requested_at // DAY_MS for grant in here]
        return {"day": max(days), "count": days.count(max(days))}

    def _rows_daily(self) -> dict[Place, Any]:
        rows: dict[Place, Any] = {}
        for (contract, org, act, day), count in sorted(self.acts.items(), key=lambda item: item[0][3]):
            row = rows.get((contract, "daily", org), {"day": day})
            rows[contract, "daily", org] = {**(row if row["day"] == day else {"day": day}), act: count}
        return rows

    def _rows_jobs(self) -> dict[Place, Any]:
        rows: dict[Place, Any] = {}
        for job in self.jobs.values():
            disputes = self.disputes_of(job.id)
            rows["jobs", "specs", job.id] = job.spec
            rows["jobs", "derived", job.id] = {"membership": job.membership, "epsilon": job.epsilon}
            rows["jobs", "jobs", job.id] = {
                "id": job.id,
                "program": job.spec["program"],
                "initiator": job.initiator,
                "state": job.state,
                "deadline": job.deadline,
                "since": job.since,
                "height": job.height,
                "roots": list(job.roots),
                "owners": list(job.owners),
                "accepted": list(job.accepted),
                "bound": list(job.bound),
                "transcripts": list(job.transcripts),
                "reveals": list(job.reveals),
                "results": list(job.results),
                "signed": list(job.signed),
                "running_height": job.running_height,
                "join_height": job.join_height,
                "returned": list(job.returned),
                "disclaimed": list(job.disclaimed),
                "revealed_height": job.revealed_height,
                "ended_at": job.ended_at,
                "disputes": len(disputes),
                "open_disputes": sum(dispute.status == "open" for dispute in disputes),
                "resume": job.resume,
            }
            for dispute in disputes:
                rows["jobs", "disputes", (job.id, dispute.number)] = dispute_row(dispute)
                self._count_dispute(rows, dispute.by, job.id, dispute)
        for name, profile in self.profiles.items():
            rows["grants", "profiles", name] = profile
        for org in self.orgs:
            mine = [job for job in self.jobs.values() if job.initiator == org and not job.final]
            if org in {job.initiator for job in self.jobs.values()}:
                rows["jobs", "initiators", org] = self._initiator_row(org, len(mine))
        return rows

    def _initiator_row(self, org: str, waiting: int) -> dict[str, int]:
        days = [job.day for job in self.jobs.values() if job.initiator == org]
        return {"open": waiting, "day": max(days), "today": days.count(max(days))}

    def _count_dispute(self, rows: dict[Place, Any], by: str, job: str, dispute: Any) -> None:
        if by:
            rows["jobs", "reports", (job, by)] = rows.get(("jobs", "reports", (job, by)), 0) + 1
        elif dispute.kind == "EQUIVOCATION":
            rows["jobs", "equivocations", (job, dispute.against[0])] = dispute.number

    def _rows_run(self) -> dict[Place, Any]:
        rows: dict[Place, Any] = {}
        for place, (commitment, height) in self.commitments.items():
            rows["jobs", "bindings", place] = {"commitment": commitment, "height": height}
        for joined, asked in self.joins.items():
            rows["jobs", "joins", joined] = {**_slots(asked), "said": list(asked.said)}
        for (job, org), said in self.stages.items():
            for number, (stage, height) in enumerate(said):
                rows["jobs", "stages", (job, org, number)] = {**stage, "height": height}
            rows["jobs", "stage_heads", (job, org)] = {"count": len(said), "hash": said[-1][0]["hash"]}
        for place, channels in self.channels.items():
            rows["jobs", "transcripts", place] = channels
        for place, (result, height) in self.outcomes.items():
            rows["jobs", "results", place] = {**result, "height": height}
        for place, signature in self.signatures.items():
            rows["jobs", "signatures", place] = signature
        rows |= {("jobs", "ends", job): end for job, end in self.ends.items()}
        return rows | {("jobs", "certificates", job): made for job, made in self.certified.items()}

    def _rows_governance(self) -> dict[Place, Any]:
        rows: dict[Place, Any] = {
            ("governance", "nodes", None): [_slots(node) for node in self.nodes],
            ("governance", "limits", None): self.limits,
            ("governance", "terms", None): self.terms,
            ("governance", "latest", None): self.latest,
            ("governance", "replaced", None): self.replaced,
        }
        for kind, (rule, votes) in self.policies.items():
            rows["governance", "policies", kind] = {"rule": rule, "votes": votes}
        for key, seat in self.seats.items():
            rows["governance", "seats", key.hex()] = _slots(seat)
        for name, (height, time) in self.moved.items():
            rows["governance", "rotations", name] = {"height": height, "time": time}
        for place, proposal in self.proposals.items():
            if isinstance(place, int):
                rows["governance", "proposals", place] = self._decision_row(proposal)
        for org in self.orgs:
            rows["governance", "open_of", org] = self.undecided_of(org, int)
            rows["lifecycle", "open_of", org] = self.undecided_of(org, tuple)
        return rows

    def _decision_row(self, proposal: Proposal) -> dict[str, Any]:
        return proposal.content | {
            "hash": proposal.hash,
            "by": proposal.by,
            "votes": list(proposal.votes),
            "proposed_at": proposal.proposed_at,
            "expires": proposal.expires,
            "status": "open" if proposal.committed_at is None else "committed",
            "committed_at": proposal.committed_at or 0,
        }

    def _rows_lifecycle(self) -> dict[Place, Any]:
        rows: dict[Place, Any] = {}
        for place, proposal in self.proposals.items():
            if isinstance(place, tuple):
                rows["lifecycle", "proposals", f"{place[0]}/{place[1]}"] = self._contract_proposal_row(
                    proposal
                )
        for name in self.deployed:
            rows["lifecycle", "active", name] = self.active_row(name)
        for (name, seq), version in self.history.items():
            row = _version_row(version) | {
                "name": name,
                "by": version.by,
                "committed_at": version.committed_at,
            }
            rows["lifecycle", "history", f"{name}/{seq}"] = row
        rows["lifecycle", "name_count", None] = len(self.ran)
        for number, (name, ran) in enumerate(self.ran.items()):
            rows["lifecycle", "names", number] = name
            for place, (seq, active_at) in enumerate(ran):
                rows["lifecycle", "versions", f"{name}/{place}"] = [seq, active_at]
        for name, latest in self.numbered.items():
            waiting = [
                place
                for place, proposal in self.proposals.items()
                if isinstance(place, tuple) and place[0] == name and proposal.committed_at is None
            ]
            rows["lifecycle", "numbers", name] = {
                "latest": latest,
                "open": len(waiting),
                "versions": len(self.ran.get(name, ())),
                "code": self._code_in_force(name),
            }
        for name in self.deployed:
            if self.deployed[name].revoked:
                continue
            seq = self.running(name).seq
            for ballot in ("freeze", "unfreeze", "revoke"):
                rows["lifecycle", "ballots", f"{ballot}/{name}"] = self.votes_on(ballot, name, seq)
            rows["lifecycle", "lone_freezes", name] = self._lone(name, seq)
        return rows

    def _code_in_force(self, name: str) -> int:
        """What ran when it was last committed, and what was to follow it."""
        if name not in self.deployed or self.deployed[name].revoked:
            return 0
        return sum(version.code.size for version in self.deployed[name].line)

    def _contract_proposal_row(self, proposal: Proposal) -> dict[str, Any]:
        content = {name: value for name, value in proposal.content.items() if name != "source"}
        code = self.code_in(proposal)
        return content | {
            "abi": code.abi,
            "size": code.size,
            "libraries": dict(code.libraries),
            "hash": proposal.hash,
            "by": proposal.by,
            "votes": list(proposal.votes),
            "proposed_at": proposal.proposed_at,
            "expires": proposal.expires,
            "status": "open" if proposal.committed_at is None else "committed",
        }

    def active_row(self, name: str) -> dict[str, Any]:
        """Return the record of a contract, with the version that runs at this height."""
        known, stop = self.deployed[name], self.stop_of(name)
        following = self.following(name)
        status = "revoked" if known.revoked else "active" if stop is None else "frozen"
        return _version_row(self.running(name)) | {
            "name": name,
            "status": status,
            "system": known.system,
            "frozen_until": stop.until if stop else 0,
            "next": _version_row(following) if following else {},
        }


_NOTHING = object()


def _slots(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _version_row(version: Running) -> dict[str, Any]:
    return {
        "seq": version.seq,
        "source_hash": version.code.source_hash,
        "ir_hash": version.code.ir_hash,
        "engine": version.code.engine,
        "size": version.code.size,
        "active_at": version.active_at,
        "approved_by": list(version.approved_by),
        "access": version.access,
        "policy": version.code.trait.answers,
        "libraries": dict(version.code.libraries),
    }


def is_read(place: Place) -> bool:
    """Tell whether a row is compared: of members' contracts, only what their policies counted."""
    contract, name, _ = place
    return (contract in CONTRACTS and (contract, name) not in UNREAD) or name == "asked"


def as_read(place: Place, stored: Any, model: Rows) -> Any:
    """Return what a stored row means now: votes that lapsed and versions that are over are not shown."""
    contract, name, key = place
    if stored is None:
        return EMPTY.get((contract, name))
    if (contract, name) == ("programs", "retirements"):
        return _live(stored, model)
    if contract != "lifecycle":
        return stored
    if name == "active":
        following = stored["next"]
        begun = following and following["active_at"] <= model.height
        fresh = {"status": "active", "frozen_until": 0, "next": {}}
        return {**stored, **following, **fresh} if begun else stored
    if name in ("ballots", "lone_freezes"):
        contract_name = key.rpartition("/")[2]
        current = contract_name in model.deployed and not model.deployed[contract_name].revoked
        if not current or stored["seq"] != model.running(contract_name).seq:
            return {}
        if name == "lone_freezes":
            return stored["orgs"]
        return _live(stored["votes"], model)
    return stored


def _live(votes: dict[str, list[int]], model: Rows) -> dict[str, list[int]]:
    return {org: cast for org, cast in votes.items() if model.live(Cast(org, *cast))}
