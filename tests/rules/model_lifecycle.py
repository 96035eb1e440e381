"""Contracts of members: proposed, committed, running from a height."""

# ruff: noqa: A002 (arguments have the names that the contracts give them)
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from chain.primitives.values import encode_value
from tests.rules.base import KEY_ROLES, digest
from tests.rules.model_libraries import Libraries
from tests.rules.model_voting import AHEAD_MAX, Proposal
from tests.rules.policies import Code, Trait, code_of

RESERVED = ("executed", "schedule", "subjects")
ARGUMENTS_BYTES_MAX, ACCESS_BYTES_MAX = 16_384, 4_096


@dataclass(frozen=True, slots=True)
class Running:
    """One committed version."""

    seq: int
    code: Code
    active_at: int
    approved_by: tuple[str, ...]
    access: dict[str, Any]
    by: str
    committed_at: int


@dataclass(frozen=True, slots=True)
class Deployed:
    """A contract: its versions that ran, run, or are to run, in order; none that never began."""

    name: str
    system: bool
    line: tuple[Running, ...]
    revoked: bool = False


class Contracts(Libraries):
    """The rules of contract `lifecycle` up to the commit."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without contracts."""
        super().__init__(chain_id)
        self.deployed: dict[str, Deployed] = {}
        self.ran: dict[str, list[tuple[int, int]]] = {}
        """Contract -> (seq, height from which it ran, runs or will run)."""
        self.history: dict[tuple[str, int], Running] = {}
        self.numbered: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        """Contract -> what its policy has counted."""

    # --- what runs

    def running(self, name: str) -> Running:
        """Return the version that runs at this height, or will first run."""
        line = self.deployed[name].line
        begun = [version for version in line if version.active_at <= self.height]
        return begun[-1] if begun else line[0]

    def following(self, name: str) -> Running | None:
        """Return the version that is to follow the running one."""
        last = self.deployed[name].line[-1]
        return None if last is self.running(name) else last

    def kind_of(self, name: str) -> str:
        """Return by which policy members decide about a contract."""
        system = name in self.deployed and self.deployed[name].system
        return "system_contract" if system else "contract"

    # --- proposals

    def lifecycle_propose(
        self, name: str, source: str, arguments: dict[str, Any], terms: dict[str, Any]
    ) -> int:
        """Propose a version."""
        org = self.role()
        self.ident(name)
        self.must(name not in RESERVED, "NAME_RESERVED")
        self.room_to_propose("lifecycle", tuple)
        self.must(len(encode_value(arguments)) <= ARGUMENTS_BYTES_MAX, "ARGUMENTS_TOO_LONG")
        known = self.deployed.get(name)
        self.must(known is None or not known.revoked, "CONTRACT_REVOKED")
        self.must(terms.keys() <= {"active_at", "access"}, "BAD_TERMS")
        active_at, access = terms.get("active_at", 0), terms.get("access")
        self.must(0 <= active_at <= self.height + AHEAD_MAX, "BAD_HEIGHT")
        code = code_of(source)
        self.need(code is not None, "REJECTED_SOURCE")
        assert code is not None
        self.must(all(map(self.offered, code.libraries.values())), "UNKNOWN_LIBRARY")
        if access is not None:
            self.must(known is None or not known.system, "SYSTEM_PROTECTED")
            self._lists(access, code)
        self.go()
        seq = self.numbered[name] = self.numbered.get(name, 0) + 1
        content = {
            "name": name,
            "seq": seq,
            "source_hash": code.source_hash,
            "ir_hash": code.ir_hash,
            "engine": code.engine,
            "arguments": arguments,
            "active_at": active_at,
            "access": access,
        }
        self.proposals[name, seq] = Proposal(
            (name, seq), org, digest(content), {**content, "source": source}, (org,), self.time,
            self.time + self.terms["proposal_ms"],
        )  # fmt: skip
        self._tell_contract(
            "ContractProposed", name, seq=seq, source_hash=code.source_hash, ir_hash=code.ir_hash,
            hash=digest(content), active_at=active_at,
        )  # fmt: skip
        return seq

    def lifecycle_approve(self, name: str, seq: int, hash: bytes) -> None:
        """Vote for a version."""
        found = self.add_vote((name, seq), hash)
        needed = self.needed(self.kind_of(name))
        shown = {"hash": hash, "votes": list(found.votes), "needed": needed}
        self._tell_contract("ContractApproved", name, seq=seq, **shown)

    def lifecycle_retract(self, name: str, seq: int) -> None:
        """Take one's vote back."""
        found = self.drop_vote((name, seq))
        votes = list(found.votes)
        self._tell_contract("ContractRetracted", name, seq=seq, hash=found.hash, votes=votes)

    def lifecycle_withdraw(self, name: str, seq: int) -> None:
        """Take one's proposal back."""
        self.take_proposal_back((name, seq))
        self._tell_contract("ContractWithdrawn", name, seq=seq)
        self._forget_number(name)

    def lifecycle_expire(self, name: str, seq: int) -> None:
        """Say that a proposal's time is over."""
        self.expire_proposal((name, seq))
        self._tell_contract("ContractExpired", name, seq=seq)
        self._forget_number(name)

    def _forget_number(self, name: str) -> None:
        if name not in self.deployed and not any(place[0] == name for place in self._places()):
            self.numbered.pop(name)

    def _places(self) -> list[tuple[str, int]]:
        return [place for place in self.proposals if isinstance(place, tuple)]

    def lifecycle_commit(self, name: str, seq: int) -> int:
        """Put a version in force."""
        self.role()
        found = self.open_proposal((name, seq))
        passed = self.passed(self.kind_of(name), found.votes, found.proposed_at)
        self.must(passed, "NOT_ENOUGH_VOTES")
        content, known = found.content, self.deployed.get(name)
        code = code_of(content["source"])
        assert code is not None
        if known is not None:
            self.must(not known.revoked, "CONTRACT_REVOKED")
            self.must(seq > known.line[-1].seq, "STALE_SEQ")
            if code.trait.migrates:
                self.must(self.height >= content["active_at"] - 1, "TOO_EARLY")
        refusal = code.trait.begin(known is not None, content["arguments"])
        self.must(refusal == "", refusal)
        self.go()
        counted = tuple(self.counted(found.votes, found.proposed_at))
        version = Running(
            seq, code, max(content["active_at"], self.height + 1), counted,
            self._access(content, code, known), found.by, self.height,
        )  # fmt: skip
        self.proposals[name, seq] = replace(found, votes=counted, committed_at=self.height)
        self.history[name, seq] = version
        ran = [(old, start) for old, start in self.ran.get(name, []) if start <= self.height]
        self.ran[name] = [*ran, (seq, version.active_at)]
        if known is None:
            self.deployed[name] = Deployed(name, False, (version,))
        else:
            begun = tuple(old for old in known.line if old.active_at <= self.height)
            kept = () if code.trait.migrates else begun[-1:]
            self.deployed[name] = replace(known, line=(*kept, version))
        self._tell_contract(
            "ContractCommitted", name, seq=seq, source_hash=code.source_hash, active_at=version.active_at,
            votes=list(counted), access=version.access,
        )  # fmt: skip
        return version.active_at

    def _access(self, content: dict[str, Any], code: Code, known: Deployed | None) -> dict[str, Any]:
        if content["access"] is not None:
            return dict(content["access"])
        before = known.line[-1].access if known else {}
        return {method: lists for method, lists in before.items() if method in code.trait.exports}

    def _lists(self, access: dict[str, Any], code: Code) -> None:
        self.must(len(encode_value(access)) <= ACCESS_BYTES_MAX, "ACCESS_TOO_LONG")
        for method, lists in access.items():
            self.must(method in code.trait.exports, "UNKNOWN_METHOD")
            self.need(lists.keys() == {"orgs", "roles"}, "BAD_ACCESS")
            self.must(all(self.is_member(org) for org in lists["orgs"]), "UNKNOWN_ORG")
            self.must(KEY_ROLES.issuperset(lists["roles"]), "BAD_ROLE")

    # --- access

    def can_set_access(self, name: str, access: dict[str, Any]) -> None:
        """Require that these lists could be set."""
        self.need(name in self.deployed, "UNKNOWN_CONTRACT")
        known = self.deployed[name]
        self.must(not known.system, "SYSTEM_PROTECTED")
        self.must(not known.revoked, "WRONG_STATE")
        self.must(self.following(name) is None, "UPGRADE_PENDING")
        if not known.system:
            self._lists(access, self.running(name).code)

    def put_access(self, name: str, access: dict[str, Any]) -> None:
        """Set the lists."""
        known, now = self.deployed[name], self.running(name)
        self.deployed[name] = replace(known, line=(*known.line[:-1], replace(now, access=access)))
        self._tell_contract("ContractAccessSet", name, access=access)

    # --- asking a member's contract

    def policy_fault(self, policy: str) -> str:
        """Return why a contract cannot answer as a policy now, or an empty text."""
        if policy not in self.deployed:
            return "POLICY_UNKNOWN"
        known, now = self.deployed[policy], self.running(policy)
        if known.system:
            return "POLICY_SYSTEM"
        if known.revoked or now.active_at > self.height:
            return "POLICY_NOT_ACTIVE"
        if self.frozen(policy):
            return "POLICY_FROZEN"
        return "" if now.code.trait.answers else "POLICY_SHAPE"

    def ask_policy(self, policy: str, phase: str) -> str:
        """Return how a policy refuses, or an empty text."""
        trait: Trait = self.running(policy).code.trait
        if trait.counts_to:
            access = self.running(policy).access.get("allow")
            if access is not None and not self._admits(access):
                return "ACCESS_DENIED"
            if self.read_only:
                return "READ_ONLY"
            self.counting[policy] = count = self.counting.get(policy, self.counts.get(policy, 0)) + 1
            return "" if count <= trait.counts_to else "POLICY_DENIED"
        return trait.refuses(phase)

    def _admits(self, access: dict[str, Any]) -> bool:
        by_org = not access["orgs"] or self.signer.org in access["orgs"]
        by_role = not access["roles"] or bool(self.signer.roles & set(access["roles"]))
        return by_org and by_role

    def member_call(self, name: str, method: str) -> Any:
        """Call a method of a member's contract: what `act` answers, or why it does not."""
        self.need(name in self.deployed, "UNKNOWN_CONTRACT")
        known, now = self.deployed[name], self.running(name)
        self.need(known.revoked or now.active_at <= self.height, "NOT_YET_ACTIVE")
        self.need(not known.revoked, "CONTRACT_REVOKED")
        self.need(method in now.code.trait.exports, "UNKNOWN_METHOD")
        self.need(not self.frozen(name), "CONTRACT_FROZEN")
        access = now.access.get(method)
        if access is not None:
            self.need(self._admits(access), "ACCESS_DENIED")
        return now.code.trait.answer

    def _tell_contract(self, event: str, name: str, **fields: Any) -> None:
        self.tell(f"lifecycle.{event}", ["contract"], contract=f"contract:{name}", **fields)
