"""Stopping a contract: votes about one version, an organisation's own freeze, revocation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.rules.model_lifecycle import Contracts, Running
from tests.rules.model_voting import Cast

BALLOTS = ("freeze", "unfreeze", "revoke")
PROTECTED = ("orgs", "governance", "lifecycle")


@dataclass(frozen=True, slots=True)
class Stop:
    """A freeze of one version."""

    seq: int
    until: int
    """Last height; 0 for good."""


class Freezing(Contracts):
    """The rules of contract `lifecycle` about stopping."""

    def __init__(self, chain_id: bytes) -> None:
        """Start with nothing stopped."""
        super().__init__(chain_id)
        self.stops: dict[str, Stop] = {}
        self.said: dict[tuple[str, str, int, str], Cast] = {}
        """(ballot, contract, seq, org) -> its vote."""
        self.alone: dict[tuple[str, int, str], int] = {}
        """(contract, seq, org) -> last height of the freeze that it began; 0 once it is over."""

    def stop_of(self, name: str) -> Stop | None:
        """Return the freeze of the version that runs, lapsed or not."""
        stop = self.stops.get(name)
        known = self.deployed[name]
        return stop if stop and not known.revoked and stop.seq == self.running(name).seq else None

    def frozen(self, name: str) -> bool:
        """Tell whether a contract is stopped at this height."""
        stop = self.stop_of(name)
        return stop is not None and (stop.until == 0 or self.height <= stop.until)

    def reach(self, name: str) -> None:
        """Require that one contract of genesis can call another."""
        self.need(not self.frozen(name), "CONTRACT_FROZEN")

    # --- rules

    def lifecycle_freeze(self, name: str, seq: int, reason: str) -> None:
        """Vote to stop a version, or stop it for a while."""
        org = self.role()
        self.text(reason)
        now = self._version(name, seq)
        self.must(name not in PROTECTED, "SYSTEM_PROTECTED")
        stop = self.stop_of(name)
        self.must(stop is None or stop.until > 0, "WRONG_STATE")
        votes = self._vote("freeze", name, now, org)
        self._tell_contract("ContractFreezeVoted", name, seq=seq, reason=reason, votes=votes)
        if self.passed(self.kind_of(name), votes):
            self._forget("freeze", name)
            self._over(name, seq)
            self._stop(name, seq, reason, 0)
        elif not self.deployed[name].system and (name, seq, org) not in self.alone:
            self.alone[name, seq, org] = self.height + self.terms["freeze_blocks"]
            self._stop(name, seq, reason, max(self._lone(name, seq).values()))

    def lifecycle_unfreeze(self, name: str, seq: int) -> None:
        """Vote to let a version run again."""
        org = self.role()
        now = self._version(name, seq)
        self.must(self.stop_of(name) is not None, "WRONG_STATE")
        if not self.frozen(name):
            self.go()
            self._resume(name, seq)
            return
        votes = self._vote("unfreeze", name, now, org)
        self._tell_contract("ContractUnfreezeVoted", name, seq=seq, votes=votes)
        if self.passed(self.kind_of(name), votes):
            self._forget("freeze", name)
            self._resume(name, seq)

    def lifecycle_revoke(self, name: str, seq: int, reason: str) -> None:
        """Vote to end a contract."""
        org = self.role()
        self.text(reason)
        now = self._version(name, seq)
        self.must(not self.deployed[name].system, "SYSTEM_PROTECTED")
        votes = self._vote("revoke", name, now, org)
        self._tell_contract("ContractRevokeVoted", name, seq=seq, reason=reason, votes=votes)
        if self.passed("contract", votes):
            for ballot in BALLOTS:
                self._forget(ballot, name)
            self.deployed[name] = replace(self.deployed[name], line=(now,), revoked=True)
            self.ran[name] = [(old, start) for old, start in self.ran[name] if start <= self.height]
            self._tell_contract("ContractRevoked", name, seq=seq, reason=reason)

    def lifecycle_retract_vote(self, name: str, seq: int, ballot: str) -> None:
        """Take a vote back, and with a vote to freeze one's own freeze."""
        org = self.role()
        self.must(ballot in BALLOTS, "UNKNOWN_BALLOT")
        self._version(name, seq)
        votes = self.votes_on(ballot, name, seq)
        own = self.alone.get((name, seq, org), 0) if ballot == "freeze" else 0
        self.must(org in votes or own > self.height, "NOT_VOTED")
        self.room_to_retract("lifecycle")
        self.go()
        self.said.pop((ballot, name, seq, org), None)
        left = [voter for voter in votes if voter != org]
        self._tell_contract("ContractVoteRetracted", name, seq=seq, ballot=ballot, votes=left)
        if own <= self.height:
            return
        self.alone[name, seq, org] = 0
        stop = self.stop_of(name)
        if stop is not None and stop.until > 0:
            until = max(self._lone(name, seq).values())
            if until > self.height:
                self.stops[name] = Stop(seq, until)
            else:
                self._resume(name, seq)

    # --- views

    def lifecycle_policy_fault(self, name: str) -> str:
        """Answer why it cannot answer."""
        return self.policy_fault(name)

    def lifecycle_is_active(self, name: str) -> bool:
        """Answer whether its methods answer."""
        if name not in self.deployed or self.deployed[name].revoked:
            return False
        return self.running(name).active_at <= self.height and not self.frozen(name)

    def lifecycle_votes_needed(self, name: str) -> int:
        """Answer how many votes decide."""
        return self.needed(self.kind_of(name))

    def lifecycle_readiness(self, name: str, seq: int) -> dict[str, Any]:
        """Answer what stands between a proposal and its commit."""
        found = self.proposal((name, seq))
        known = self.deployed.get(name)
        status, from_height = "open", 0
        if known is not None:
            stale = known.revoked or seq <= known.line[-1].seq
            status = "stale" if stale else "open"
            if self.code_in(found).trait.migrates:
                from_height = max(0, found.content["active_at"] - 1)
        return self.readiness_of(self.kind_of(name), found, status, from_height)

    def lifecycle_contract_of(self, name: str) -> dict[str, Any]:
        """Answer with the record."""
        self.need(name in self.deployed, "UNKNOWN_CONTRACT")
        return self.active_row(name)

    # --- parts

    def code_in(self, proposal: Any) -> Any:
        """Return the code that a proposal names."""
        raise NotImplementedError

    def active_row(self, name: str) -> dict[str, Any]:
        """Return the record of a contract."""
        raise NotImplementedError

    def _version(self, name: str, seq: int) -> Running:
        self.need(name in self.deployed, "UNKNOWN_CONTRACT")
        self.must(not self.deployed[name].revoked, "WRONG_STATE")
        now = self.running(name)
        self.must(now.seq == seq, "WRONG_VERSION")
        return now

    def votes_on(self, ballot: str, name: str, seq: int) -> dict[str, list[int]]:
        """Return who votes so about this version now, as the row of the ballot."""
        return {
            cast.org: cast.row
            for place, cast in self.said.items()
            if place[:3] == (ballot, name, seq) and self.live(cast)
        }

    def _vote(self, ballot: str, name: str, now: Running, org: str) -> list[str]:
        self.must(org not in self.votes_on(ballot, name, now.seq), "ALREADY_VOTED")
        self.must(self.stands(org, self.time), "KEYS_REPLACED")
        self.go()
        self.said[ballot, name, now.seq, org] = self.cast(org)
        return list(self.votes_on(ballot, name, now.seq))

    def _forget(self, ballot: str, name: str) -> None:
        self.said = {place: cast for place, cast in self.said.items() if place[:2] != (ballot, name)}

    def _lone(self, name: str, seq: int) -> dict[str, int]:
        return {
            org: until
            for (stopped, version, org), until in self.alone.items()
            if (stopped, version) == (name, seq)
        }

    def _over(self, name: str, seq: int) -> None:
        for org in self._lone(name, seq):
            self.alone[name, seq, org] = 0

    def _stop(self, name: str, seq: int, reason: str, until: int) -> None:
        self.stops[name] = Stop(seq, until)
        self._forget("unfreeze", name)
        self._tell_contract("ContractFrozen", name, seq=seq, reason=reason, until=until)

    def _resume(self, name: str, seq: int) -> None:
        del self.stops[name]
        self._forget("unfreeze", name)
        self._over(name, seq)
        self._tell_contract("ContractUnfrozen", name, seq=seq)
