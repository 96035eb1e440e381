"""Requests and the votes on them: what is asked, who may decide, and when it becomes a grant."""

# ruff: noqa: A002 (arguments have the names that the contracts give them)
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.rules.base import ANY, DAY_MS, distinct
from tests.rules.model_datasets import Dataset, Datasets
from tests.rules.terms import MIN_GROUP_MAX, NAMES, RUN_EPSILON_MAX, USES, Terms, too_wide

DECIDE_MS = 30 * DAY_MS
TERM_MAX_MS = 315_576_000_000
RUNS_MAX = 10**6
LIST_MAX, COLUMNS_MAX, NAMES_BYTES_MAX = 32, 256, 16_384
REQUESTS_MAX, REQUESTS_OF_DATASET_MAX = 256, 16
REQUESTS_A_DAY_MAX, REQUESTS_OF_DATASET_A_DAY_MAX, GRANT_CHANGES_A_DAY_MAX = 500, 32, 500
GRANTS_MAX = 256
PARTNER_VERSIONS_MAX = 3


@dataclass(frozen=True, slots=True)
class Grant:
    """A request, or what became of it."""

    id: str
    dataset: str
    version: int
    owner: str
    grantee: str
    purpose: str
    legal_basis: str
    asked_because: str
    terms: Terms
    requested_at: int
    status: str = "requested"
    approvals: tuple[str, ...] = ()
    active_since: int = 0
    activated: int = 0
    """Order among activations."""
    ended_at: int = 0
    reason: Any = ""
    decide_by: int = 0


@dataclass(frozen=True, slots=True)
class Vote:
    """One organisation's word on one request; `terms` is None for a rejection."""

    org: str
    terms: Terms | None


class Requests(Datasets):
    """The rules of contract `grants` up to the decision about a request."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without grants."""
        super().__init__(chain_id)
        self.grants: dict[str, Grant] = {}
        self.votes: dict[str, dict[str, Vote]] = {}
        self.profiles: dict[str, dict[str, Any]] = {}
        self.activations = 0

    def policy_fault(self, policy: str) -> str:
        """Return why a contract cannot answer as a policy now, or an empty text."""
        raise NotImplementedError

    def dataset_of_grant(self, grant: str) -> str | None:
        """Return the dataset that a grant is for."""
        return self.grants[grant].dataset if grant in self.grants else None

    def ranks(self) -> dict[str, int]:
        """Return the strength of each profile."""
        return {name: profile["rank"] for name, profile in self.profiles.items()}

    # --- asking

    def grants_request(
        self,
        id: str,
        dataset: str,
        version: int,
        columns: dict[str, str],
        purpose: str,
        legal_basis: str,
        asked_because: str,
        programs: list[str],
        receivers: list[str],
        co_parties: list[str],
        membership: list[str],
        profile: str,
        not_before: int,
        expires: int,
        quota_runs: int,
        min_group: int,
        run_epsilon: int,
        policy: str,
    ) -> None:
        """Ask for the use of a dataset."""
        org = self.role("steward")
        self.own_name(id)
        self.ident(purpose)
        self.text(legal_basis)
        self.text(asked_because)
        self.must(self.has(org, "user"), "ORG_ROLE_MISSING")
        self.must(id not in self.grants, "GRANT_EXISTS")
        self.reach("datasets")
        self.need(dataset in self.datasets, "UNKNOWN_DATASET")
        source = self.datasets[dataset]
        self.must(source.status == "active", "DATASET_NOT_ACTIVE")
        self.need(1 <= version <= len(self.versions[dataset]), "UNKNOWN_VERSION")
        offered = {column["name"] for column in self.columns_of(dataset, version)}
        size = len("".join(columns).encode())
        self.must(1 <= len(columns) <= COLUMNS_MAX and size <= NAMES_BYTES_MAX, "BAD_COLUMNS")
        self.must(offered.issuperset(columns), "UNKNOWN_COLUMN")
        self.must(all(constraint in USES for constraint in columns.values()), "BAD_CONSTRAINT")
        if self.must(1 <= len(programs) <= LIST_MAX and distinct(programs), "BAD_PROGRAMS"):
            self.ident(*programs)
        self.must(len(receivers) > 0, "BAD_RECEIVERS")
        for names in (receivers, co_parties, membership):
            self.must(len(names) <= LIST_MAX and distinct(names), "BAD_ORGS")
            self.must(all(self.is_member(name) for name in names), "UNKNOWN_ORG")
        self.must(profile in self.profiles, "UNKNOWN_PROFILE")
        self.must(self.time < expires <= self.time + TERM_MAX_MS, "BAD_TERM")
        self.must(0 <= not_before < expires, "BAD_TERM")
        self.must(1 <= quota_runs <= RUNS_MAX, "BAD_QUOTA")
        self.must(1 <= min_group <= MIN_GROUP_MAX, "BAD_MIN_GROUP")
        self.must(0 <= run_epsilon <= RUN_EPSILON_MAX, "BAD_EPSILON")
        self._can_answer(policy)
        eligible = [name for name in source.approvers if self._may_approve(name, source, org)]
        self.must(len(eligible) >= source.threshold, "THRESHOLD_OUT_OF_REACH")
        self._room_to_ask(org, dataset)
        self.go()
        terms = {
            "columns": columns,
            "programs": programs,
            "receivers": receivers,
            "co_parties": co_parties,
            "membership": membership,
            "profile": profile,
            "not_before": not_before,
            "expires": expires,
            "quota_runs": quota_runs,
            "min_group": min_group,
            "run_epsilon": run_epsilon,
            "partner_versions": PARTNER_VERSIONS_MAX,
            "policy": policy,
        }
        self.grants[id] = Grant(
            id, dataset, version, source.owner, org, purpose, legal_basis, asked_because, terms, self.time,
            decide_by=min(self.time + DECIDE_MS, expires),
        )  # fmt: skip
        self.votes[id] = {}
        said = {
            name: value for name, value in terms.items() if name not in ("quota_runs", "partner_versions")
        }
        self._tell_grant(
            "GrantRequested", id, version=version, purpose=purpose, legal_basis=legal_basis,
            asked_because=asked_because, runs=quota_runs, **said,
        )  # fmt: skip

    def _room_to_ask(self, org: str, dataset: str) -> None:
        own = [grant for grant in self.grants.values() if grant.grantee == org]
        self.must(sum(g.status == "requested" for g in own) < REQUESTS_MAX, "TOO_MANY_REQUESTS")
        here = [grant for grant in own if grant.dataset == dataset]
        waiting = sum(grant.status == "requested" for grant in here)
        self.must(waiting < REQUESTS_OF_DATASET_MAX, "TOO_MANY_REQUESTS_OF_DATASET")
        today = sum(grant.requested_at // DAY_MS == self.time // DAY_MS for grant in here)
        self.must(today < REQUESTS_OF_DATASET_A_DAY_MAX, "TOO_MANY_REQUESTS_OF_DATASET_TODAY")
        self.room_today("grants", "requests", REQUESTS_A_DAY_MAX, "TOO_MANY_REQUESTS_TODAY")

    def room_to_change(self) -> None:
        """Require that the acting organisation changed less today than it may."""
        self.room_today("grants", "changes", GRANT_CHANGES_A_DAY_MAX, "TOO_MANY_CHANGES_TODAY")

    # --- deciding

    def grants_approve(self, id: str, terms: dict[str, Any]) -> str:
        """Approve on exactly these terms."""
        org = self.role("steward")
        grant, source = self._requested(id)
        self.reach("datasets")
        self.must(source.status != "retired", "DATASET_NOT_ACTIVE")
        if self.must(org in source.approvers, "NOT_APPROVER"):
            self.must(self._may_approve(org, source, grant.grantee), "OWN_REQUEST")
        self.must(org not in self.votes[id], "ALREADY_VOTED")
        self.need(terms.keys() <= NAMES, "BAD_TERMS")
        offered = {name: value for name, value in terms.items() if value != grant.terms[name]}
        self._narrower(grant.terms, offered)
        self.go()
        self.votes[id][org] = Vote(org, offered)
        valid = self._backers(id, offered)
        shown = {"approvals": valid, "threshold": source.threshold, "terms": offered}
        self._tell_grant("GrantApproved", id, **shown)
        if len(valid) < source.threshold:
            return "requested"
        try:
            self._activate(id, offered, valid)
        except BaseException:
            del self.votes[id][org]
            raise
        return "active"

    def grants_reject(self, id: str, reason: str) -> str:
        """Vote against a request."""
        org = self.role("steward")
        self.text(reason)
        grant, source = self._requested(id)
        self.reach("datasets")
        self.must(org in source.approvers or org == grant.owner, "NOT_APPROVER")
        self.must(org not in self.votes[id], "ALREADY_VOTED")
        self.go()
        self.votes[id][org] = Vote(org, None)
        against = [vote.org for vote in self.votes[id].values() if vote.terms is None]
        self._tell_grant("GrantRejectVoted", id, reason=reason, rejections=against)
        if org != grant.owner and self._reachable(id):
            return "requested"
        self._turn_down(id, reason)
        return "rejected"

    def grants_retract(self, id: str) -> str:
        """Take one's vote back."""
        org = self.role("steward")
        self._requested(id)
        self.must(org in self.votes[id], "NOT_VOTED")
        self.room_to_change()
        self.go()
        vote = "rejection" if self.votes[id].pop(org).terms is None else "approval"
        self._tell_grant("GrantVoteRetracted", id, vote=vote)
        return vote

    def grants_settle(self, id: str) -> str:
        """Decide what votes, members and approvers decide by now."""
        _, source = self._requested(id)
        self.reach("datasets")
        if not self._reachable(id):
            self.go()
            self._turn_down(id, ANY)
            return "rejected"
        for org in sorted(self.votes[id]):
            offered = self.votes[id][org].terms
            if offered is None:
                continue
            valid = self._backers(id, offered)
            ends = {**self.grants[id].terms, **offered}["expires"]
            policy = offered.get("policy")
            if (
                len(valid) >= source.threshold
                and self.time < ends
                and not (policy and self.policy_fault(policy))
            ):
                self.go()
                self._activate(id, offered, valid)
                return "active"
        self.need(False, "NOT_DECIDED")
        raise AssertionError

    def grants_withdraw(self, id: str) -> None:
        """Take one's request back."""
        org = self.role("steward")
        grant, _ = self._requested(id)
        self.must(grant.grantee == org, "NOT_REQUESTER")
        self.go()
        self._end_grant(id, "withdrawn", "")
        self._tell_grant("GrantWithdrawn", id)

    def grants_ballot_for(self, id: str) -> list[dict[str, Any]]:
        """Answer with the votes."""
        self.need(id in self.grants, "UNKNOWN_GRANT")
        votes = sorted(self.votes[id].values(), key=lambda vote: (vote.terms is None, vote.org))
        return [
            {
                "org": vote.org,
                "vote": "rejection" if vote.terms is None else "approval",
                "terms": dict(vote.terms or {}),
            }
            for vote in votes
        ]

    # --- parts

    def _requested(self, id: str) -> tuple[Grant, Dataset]:
        self.need(id in self.grants, "UNKNOWN_GRANT")
        grant = self.grants[id]
        self.must(grant.status == "requested", "WRONG_STATE")
        self.must(self.time < grant.decide_by, "DEADLINE_PASSED")
        if grant.status != "requested":
            self.go()
        return grant, self.datasets[grant.dataset]

    def _can_answer(self, policy: str) -> None:
        fault = self.policy_fault(policy) if policy else ""
        self.must(fault == "", fault)

    def _narrower(self, before: Terms, terms: Terms) -> None:
        for code in too_wide(before, terms, self.ranks()):
            self.must(False, code)
        if terms.get("policy"):
            self._can_answer(terms["policy"])
        self.must(self.time < {**before, **terms}["expires"], "BAD_TERM")

    def _may_approve(self, org: str, source: Dataset, requester: str) -> bool:
        alone = source.owner == requester and source.approvers == (source.owner,)
        return self.is_member(org) and (alone or org != requester)

    def _backers(self, id: str, offered: Terms) -> list[str]:
        grant = self.grants[id]
        source = self.datasets[grant.dataset]
        return [
            vote.org
            for vote in self.votes[id].values()
            if vote.terms == offered
            and vote.org in source.approvers
            and self._may_approve(vote.org, source, grant.grantee)
        ]

    def _reachable(self, id: str) -> bool:
        """Tell whether the request can still succeed: an expelled organisation comes never back."""
        grant = self.grants[id]
        source = self.datasets[grant.dataset]
        if source.status == "retired" or self.orgs[grant.grantee].status == "expelled":
            return False
        alone = source.owner == grant.grantee and source.approvers == (source.owner,)
        against = {vote.org for vote in self.votes[id].values() if vote.terms is None}
        left = {org for org in source.approvers if self.orgs[org].status != "expelled"} - against
        return len(left if alone else left - {grant.grantee}) >= source.threshold

    def _activate(self, id: str, offered: Terms, valid: list[str]) -> None:
        grant = self.grants[id]
        self.must(self.is_member(grant.grantee), "ORG_NOT_ACTIVE")
        self.must(len(self.active_grants_of(grant.dataset)) < GRANTS_MAX, "TOO_MANY_GRANTS")
        if offered.get("policy"):
            self._can_answer(offered["policy"])
        self.go()
        self.activations += 1
        self.grants[id] = replace(
            grant,
            terms={**grant.terms, **offered},
            status="active",
            approvals=tuple(valid),
            active_since=self.time,
            activated=self.activations,
        )
        self.votes[id] = {}
        terms = self.grants[id].terms
        said = {"approvals": valid, "terms": offered, "expires": terms["expires"]}
        self._tell_grant("GrantActivated", id, **said, runs=terms["quota_runs"])

    def _turn_down(self, id: str, reason: Any) -> None:
        self._end_grant(id, "rejected", reason)
        self._tell_grant("GrantRejected", id, reason=reason)

    def _end_grant(self, id: str, status: str, reason: Any) -> None:
        self.grants[id] = replace(self.grants[id], status=status, ended_at=self.time, reason=reason)
        self.votes[id] = {}

    def active_grants_of(self, dataset: str) -> list[str]:
        """Return active and suspended grants in the order in which they became active."""
        found = [
            grant
            for grant in self.grants.values()
            if grant.dataset == dataset and grant.status in ("active", "suspended")
        ]
        return [grant.id for grant in sorted(found, key=lambda grant: grant.activated)]

    def _tell_grant(self, event: str, id: str, **fields: Any) -> None:
        grant = self.grants[id]
        self.tell(
            f"grants.{event}",
            [
                "grant",
                "dataset",
                "owner",
                "grantee",
                *(n for n in ("jobs", "stopped", "too_late") if n in fields),
            ],
            grant=f"grant:{id}",
            dataset=f"dataset:{grant.dataset}",
            owner=f"org:{grant.owner}",
            grantee=f"org:{grant.grantee}",
            **fields,
        )

    def runs_of(self, grant: str) -> dict[str, int]:
        """Return used, reserved and revealed runs."""
        raise NotImplementedError

    def grant_row(self, grant: Grant) -> dict[str, Any]:
        """Return what `grant_of` answers."""
        return self.agreed_row(grant) | self.standing_row(grant)

    def standing_row(self, grant: Grant) -> dict[str, Any]:
        """Return what decisions and jobs change of a grant."""
        return {
            "status": grant.status,
            "approvals": list(grant.approvals),
            "active_since": grant.active_since,
            "ended_at": grant.ended_at,
            "reason": grant.reason,
        }

    def agreed_row(self, grant: Grant) -> dict[str, Any]:
        """Return what was requested and agreed."""
        return {
            "id": grant.id,
            "dataset": grant.dataset,
            "version": grant.version,
            "root": self.versions[grant.dataset][grant.version - 1].root,
            "owner": grant.owner,
            "grantee": grant.grantee,
            "purpose": grant.purpose,
            "legal_basis": grant.legal_basis,
            "asked_because": grant.asked_because,
            **grant.terms,
            "requested_at": grant.requested_at,
            "decide_by": grant.decide_by,
        }
