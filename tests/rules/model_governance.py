"""What the members decide about themselves: organisations, nodes, limits, voting policy, access."""

# ruff: noqa: A002 (arguments have the names that the contracts give them)
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from chain.primitives.values import encode_value
from tests.rules.base import digest
from tests.rules.model_freezing import Freezing
from tests.rules.model_voting import AHEAD_MAX, DECISIONS, KINDS, OBJECTION_MS, QUORUM_FLOOR, Proposal

PAYLOAD_BYTES_MAX = 32_768
ROLES = ("validator", "observer")
VALIDATORS_MAX, NODES_MAX = 128, 256
ROTATION_BLOCKS, ROTATION_MS, ROTATIONS_A_DAY_MAX = 100, 600_000, 256
LIMITS = {
    "block_txs": (1, 10_000),
    "block_bytes": (32_768, 33_554_432),
    "tx_bytes": (32_768, 132_224),
    "tx_gas_default": (10**5, 10**12),
    "tx_gas_max": (10**7, 10**12),
    "block_gas": (10**7, 10**15),
    "validity_window": (500, 600),
    "max_clock_skew_ms": (100, 600_000),
}
TERMS = {"proposal_ms": (3_600_000, 31_536_000_000), "freeze_blocks": (1, 10**6)}


@dataclass(frozen=True, slots=True)
class Node:
    """A node that members agreed on."""

    org: str
    name: str
    public_key: bytes
    address: str
    role: str


@dataclass(frozen=True, slots=True)
class Seat:
    """What a node key is, or was."""

    org: str
    name: str
    status: str


def _waits(kind: str) -> int:
    """How long whom a decision concerns can object to it, in ms."""
    return OBJECTION_MS if kind == "replace_key" else 0


class Governance(Freezing):
    """The rules of contract `governance`."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without nodes."""
        super().__init__(chain_id)
        self.nodes: tuple[Node, ...] = ()
        self.limits: dict[str, int] = {}
        self.seats: dict[bytes, Seat] = {}
        self.moved: dict[str, tuple[int, int]] = {}
        self.latest = 0

    # --- proposals

    def governance_propose(self, kind: str, payload: dict[str, Any], reason: str, not_before: int) -> int:
        """Ask for a decision."""
        org = self.role()
        self.need(kind in DECISIONS, "UNKNOWN_KIND")
        self.must(len(encode_value(payload)) <= PAYLOAD_BYTES_MAX, "PAYLOAD_TOO_LONG")
        self.text(reason)
        self.must(0 <= not_before <= self.height + AHEAD_MAX, "BAD_HEIGHT")
        self.room_to_propose("governance", int)
        self.possible(kind, payload)
        if kind == "replace_key":
            self.must(self.stands(payload["org"], self.time), "KEYS_REPLACED")
        self.go()
        seq = self.latest = self.latest + 1
        content = {"seq": seq, "kind": kind, "payload": payload, "not_before": not_before}
        sealed = digest(content)
        expires = self.time + self.terms["proposal_ms"] + _waits(kind)
        self.proposals[seq] = Proposal(
            seq, org, sealed, {**content, "reason": reason}, (org,), self.time, expires
        )
        self._tell_decision("Proposed", seq, content, payload=payload, hash=sealed, reason=reason)
        return seq

    def governance_approve(self, seq: int, hash: bytes) -> None:
        """Vote for a decision."""
        found = self.add_vote(seq, hash)
        needed = self.needed(found.content["kind"])
        shown = {"hash": hash, "votes": list(found.votes), "needed": needed}
        self._tell_decision("Approved", seq, found.content, **shown)

    def governance_retract(self, seq: int) -> None:
        """Take one's vote back."""
        found = self.drop_vote(seq)
        self._tell_decision("Retracted", seq, found.content, votes=list(found.votes))

    def governance_withdraw(self, seq: int) -> None:
        """Take one's proposal back."""
        self._tell_decision("Withdrawn", seq, self.take_proposal_back(seq).content)

    def governance_expire(self, seq: int) -> None:
        """Say that a proposal's time is over."""
        self._tell_decision("Expired", seq, self.expire_proposal(seq).content)

    def governance_object_to(self, seq: int, reason: str) -> None:
        """Stop the replacement of one's own admin key."""
        org = self.role()
        found = self.open_proposal(seq)
        concerned = found.content["kind"] == "replace_key" and found.content["payload"]["org"] == org
        self.must(concerned, "NOT_CONCERNED")
        self.text(reason)
        self.go()
        del self.proposals[seq]
        self._tell_decision("Objected", seq, found.content, reason=reason, votes=list(found.votes))

    def governance_commit(self, seq: int) -> int:
        """Carry a decision out."""
        self.role()
        found = self.open_proposal(seq)
        kind, payload = found.content["kind"], found.content["payload"]
        self.must(self.passed(kind, found.votes, found.proposed_at), "NOT_ENOUGH_VOTES")
        self.must(self.height >= found.content["not_before"], "TOO_EARLY")
        self.must(self.time >= found.proposed_at + _waits(kind), "OBJECTION_TIME")
        self.possible(kind, payload)
        self.go()
        counted = self.counted(found.votes, found.proposed_at)
        self.proposals[seq] = replace(found, votes=tuple(counted), committed_at=self.height)
        self._carry_out(kind, payload)
        self._tell_decision("Committed", seq, found.content, payload=payload, votes=counted)
        return self.height

    def _tell_decision(self, event: str, seq: int, content: dict[str, Any], **fields: Any) -> None:
        kind, payload = content["kind"], content["payload"]
        about = {f"proposal:{seq}"}
        if "org" in payload:
            org = payload["org"]
            about.add(f"org:{org['id'] if kind == 'admit_org' else org}")
        if "name" in payload:
            about.add(f"node:{payload['name']}")
        if "contract" in payload:
            about.add(f"contract:{payload['contract']}")
        if kind in ("set_limits", "set_policy", "set_terms"):
            about.add(f"params:{kind[4:]}")
        self.tell(f"governance.{event}", ["about"], about=sorted(about), seq=seq, kind=kind, **fields)

    # --- the guards of each kind

    def possible(self, kind: str, payload: dict[str, Any]) -> None:
        """Require what a decision of this kind rests on."""
        if kind == "admit_org":
            self._fields(payload, "org")
            self.joining(payload["org"])
        elif kind in ("expel_org", "suspend_org", "reinstate_org"):
            self._org_fits(kind, payload)
        elif kind == "replace_key":
            self._fields(payload, "key", "org", "proof")
            self.replacing(payload["org"], payload["key"], payload["proof"])
        elif kind == "set_policy":
            self._policy_fits(payload)
        elif kind == "set_access":
            self._fields(payload, "access", "contract")
            self.can_set_access(payload["contract"], payload["access"])
        elif kind == "set_terms":
            self._inside(payload, TERMS)
        elif kind == "set_limits":
            self._inside(payload, LIMITS)
            new = {**self.limits, **payload}
            self.must(new["tx_bytes"] <= new["block_bytes"], "TX_BYTES_OVER_BLOCK")
            self.must(new["tx_gas_default"] <= new["tx_gas_max"], "TX_GAS_OVER_MAX")
            self.must(new["tx_gas_max"] <= new["block_gas"], "TX_GAS_OVER_BLOCK")
        else:
            self._nodes_fit(kind, payload)

    def _fields(self, payload: dict[str, Any], *names: str) -> None:
        self.need(payload.keys() == set(names), "BAD_PAYLOAD")

    def _org_fits(self, kind: str, payload: dict[str, Any]) -> None:
        self._fields(payload, "org")
        org = payload["org"]
        self.need(org in self.orgs, "UNKNOWN_ORG")
        wanted = {"expel_org": ("active", "suspended"), "suspend_org": ("active",)}
        self.must(self.orgs[org].status in wanted.get(kind, ("suspended",)), "WRONG_STATE")
        if kind != "reinstate_org":
            self.must(self.members() != [org], "LAST_ORG")
        if kind == "expel_org":
            self.must(all(node.org != org for node in self.nodes), "ORG_HAS_NODES")

    def _policy_fits(self, payload: dict[str, Any]) -> None:
        self._fields(payload, "kind", "rule", "votes")
        kind, rule, votes = payload["kind"], payload["rule"], payload["votes"]
        self.need(kind in KINDS, "UNKNOWN_KIND")
        self.must(rule in ("majority", "quorum", "votes"), "BAD_RULE")
        self.must(rule != "majority" or kind not in QUORUM_FLOOR, "BAD_RULE")
        n = len(self.members())
        floor = (n + (n - 1) // 3) // 2 + 1 if kind in QUORUM_FLOOR else n // 2 + 1
        self.must(floor <= votes <= n if rule == "votes" else votes == 0, "BAD_VOTES")

    def _inside(self, payload: dict[str, Any], ranges: dict[str, tuple[int, int]]) -> None:
        self.must(len(payload) > 0, "BAD_PAYLOAD")
        self.need(payload.keys() <= ranges.keys(), "UNKNOWN_LIMIT")
        inside = all(ranges[name][0] <= value <= ranges[name][1] for name, value in payload.items())
        self.must(inside, "OUT_OF_RANGE")

    def _nodes_fit(self, kind: str, payload: dict[str, Any]) -> None:
        if kind == "add_node":
            self._new_node(payload)
        else:
            fields = {"remove_node": (), "change_role": ("role",), "change_address": ("address",)}[kind]
            self._fields(payload, "name", *fields)
            node = next((node for node in self.nodes if node.name == payload["name"]), None)
            self.need(node is not None, "UNKNOWN_NODE")
            assert node is not None
            if kind == "change_role" and self.must(payload["role"] in ROLES, "BAD_ROLE"):
                self.must(payload["role"] != node.role, "WRONG_STATE")
            if kind == "change_address":
                self._address(payload["address"])
        after = self._after(kind, payload)
        voting = sum(node.role == "validator" for node in after)
        self.must(voting > 0, "LAST_VALIDATOR")
        self.must(voting <= VALIDATORS_MAX, "TOO_MANY_VALIDATORS")
        self.must(len(after) <= NODES_MAX, "TOO_MANY_NODES")

    def _new_node(self, payload: dict[str, Any]) -> None:
        self._fields(payload, "address", "name", "org", "proof", "public_key", "role")
        self.ident(payload["name"])
        self.must(len(payload["public_key"]) == 32, "BAD_KEY")
        self._address(payload["address"])
        self.must(payload["role"] in ROLES, "BAD_ROLE")
        self.must(self.is_member(payload["org"]), "UNKNOWN_ORG")
        self.must(all(node.name != payload["name"] for node in self.nodes), "NODE_EXISTS")
        self._proof(payload["org"], payload["public_key"], payload["proof"])
        seat = self.seats.get(payload["public_key"])
        known = seat is None or (seat.org == payload["org"] and seat.status == "left")
        self.must(known, "KEY_EXISTS")

    def _address(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        fine = bool(host) and len(address) <= 255 and address.isascii() and " " not in address
        self.must(fine and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65_536, "BAD_ADDRESS")

    # --- carrying out

    def _carry_out(self, kind: str, payload: dict[str, Any]) -> None:
        match kind:
            case "admit_org":
                self.admit(payload["org"])
            case "expel_org":
                self.expel(payload["org"])
            case "suspend_org":
                self.suspend_org(payload["org"])
            case "reinstate_org":
                self.reinstate(payload["org"])
            case "replace_key":
                self.replace_admin(payload["org"], payload["key"])
                self.replaced[payload["org"]] = self.time
            case "set_limits":
                self.limits = {**self.limits, **payload}
            case "set_terms":
                self.terms = {**self.terms, **payload}
            case "set_policy":
                self.policies[payload["kind"]] = (payload["rule"], payload["votes"])
            case "set_access":
                self.put_access(payload["contract"], payload["access"])
            case _:
                self._seat_all(self._after(kind, payload))

    def _after(self, kind: str, payload: dict[str, Any]) -> tuple[Node, ...]:
        if kind == "add_node":
            fields = {name: value for name, value in payload.items() if name != "proof"}
            return (*self.nodes, Node(**fields))
        if kind == "remove_node":
            return tuple(node for node in self.nodes if node.name != payload["name"])
        field = kind.removeprefix("change_")
        return tuple(
            replace(node, **{field: payload[field]}) if node.name == payload["name"] else node
            for node in self.nodes
        )

    def _seat_all(self, after: tuple[Node, ...]) -> None:
        kept = {node.public_key for node in after}
        for node in self.nodes:
            if node.public_key not in kept:
                self.seats[node.public_key] = Seat(node.org, node.name, "left")
        before = {node.public_key for node in self.nodes}
        for node in after:
            if node.public_key not in before:
                self.seats[node.public_key] = Seat(node.org, node.name, "seated")
        self.nodes = after

    # --- without a vote

    def governance_rotate_node_key(self, name: str, public_key: bytes, proof: bytes) -> None:
        """Move a node's seat to a new key."""
        org = self.role()
        node = next((node for node in self.nodes if node.name == name), None)
        self.need(node is not None, "UNKNOWN_NODE")
        assert node is not None
        self.must(node.org == org, "NOT_OWNER")
        free = self.governance_rotation_free(name)
        self.must(self.height >= free["height"] or self.time >= free["time"], "TOO_SOON")
        self.room_today("governance", "rotations", ROTATIONS_A_DAY_MAX, "TOO_MANY_ROTATIONS_TODAY")
        self.must(len(public_key) == 32, "BAD_KEY")
        self._proof(org, public_key, proof)
        self.must(public_key not in self.seats, "KEY_EXISTS")
        self.go()
        old = node.public_key
        self.seats[old] = replace(self.seats[old], status="retired")
        self.seats[public_key] = Seat(org, name, "seated")
        self.moved[name] = (self.height, self.time)
        self.nodes = tuple(
            replace(other, public_key=public_key) if other is node else other for other in self.nodes
        )
        shown = {"node": f"node:{name}", "old_key": old, "new_key": public_key}
        self.tell("governance.NodeKeyRotated", ["node"], **shown)

    def governance_report_evidence(self, first: bytes, second: bytes) -> None:
        """Refuse what is no evidence: histories have no consensus messages."""
        self.role()
        self.must(False, "NOT_CONFLICTING" if first == second else "BAD_MESSAGE")
        self.go()

    # --- views

    def governance_rotation_free(self, name: str) -> dict[str, int]:
        """Answer from when a node's key may move."""
        if name not in self.moved:
            return {"height": 0, "time": 0}
        height, time = self.moved[name]
        return {"height": height + ROTATION_BLOCKS, "time": time + ROTATION_MS}

    def governance_votes_needed(self, kind: str) -> int:
        """Answer how many votes decide."""
        self.need(kind in KINDS, "UNKNOWN_KIND")
        return self.needed(kind)

    def governance_readiness(self, seq: int) -> dict[str, Any]:
        """Answer what stands between a proposal and its commit."""
        found = self.proposal(seq)
        kind = found.content["kind"]
        ready = self.readiness_of(kind, found, "open", found.content["not_before"])
        ready["from_time"] = found.proposed_at + _waits(kind) if _waits(kind) else 0
        ready["due"] = ready["due"] and self.time >= ready["from_time"]
        return ready

    def governance_check_proposal(self, seq: int) -> None:
        """Answer as its guards would."""
        found = self.open_proposal(seq)
        if found.committed_at is None:
            self.possible(found.content["kind"], found.content["payload"])
        self.go()

    def governance_terms_of(self) -> dict[str, int]:
        """Answer with the terms."""
        return self.terms
