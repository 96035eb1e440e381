"""Members, their keys and agents: who may sign what from the next transaction on."""

# ruff: noqa: A002 (arguments have the names that the contracts give them)
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from chain.primitives.possession import REGISTRATION, REPLACEMENT, Purpose, proves_possession
from tests.rules.base import DAY_MS, KEY_ROLES, Desk, Refused, Signer

ORG_ROLES = frozenset({"owner", "user", "compute", "auditor", "operator"})
KEYS_MAX = 32
KEYS_A_DAY_MAX = 64
FOUNDER_FIELDS = {"id", "name", "roles", "keys", "agent_key", "agent_address"}


@dataclass(frozen=True, slots=True)
class Org:
    """A member, or a former one."""

    id: str
    name: str
    roles: tuple[str, ...]
    agent_key: bytes
    agent_address: str
    joined: int
    turn: int
    """Order in the list of members: of joining, or of the last reinstatement."""
    status: str = "active"
    down: int = 0
    """Height of the suspension (or expulsion, if it was active until then)."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was ever registered; it signs while it has not ended and its organisation is active."""

    key: bytes
    org: str
    roles: tuple[str, ...]
    since: int
    turn: int
    day: int | None = None
    """Of a key that its organisation registered itself: the day on which it did."""
    ended: int | None = None


class Orgs(Desk):
    """The rules of contract `orgs`."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without members."""
        super().__init__()
        self.chain_id = chain_id
        self.orgs: dict[str, Org] = {}
        self.keys: dict[bytes, Key] = {}
        self.turns = 0

    def found(self, members: list[dict[str, Any]]) -> None:
        """Take the founders as genesis lists them."""
        for member in members:
            self._join(member)

    # --- asking

    def signer_of(self, key: bytes) -> Signer:
        """Return who signs with a key, or refuse it."""
        known = self.keys.get(key)
        if known is None:
            raise Refused(["UNKNOWN_SENDER"])
        if known.ended is not None:
            raise Refused(["KEY_REVOKED"])
        status = self.orgs[known.org].status
        if status != "active":
            raise Refused([f"ORG_{status.upper()}"])
        return Signer(known.org, frozenset(known.roles), key)

    def members(self) -> list[str]:
        """Return the active organisations in their order."""
        present = [org for org in self.orgs.values() if org.status == "active"]
        return [org.id for org in sorted(present, key=lambda org: org.turn)]

    def is_member(self, org: str) -> bool:
        """Tell whether this is an active member."""
        return org in self.orgs and self.orgs[org].status == "active"

    def has(self, org: str, role: str) -> bool:
        """Tell whether this is an active member with this role."""
        return self.is_member(org) and role in self.orgs[org].roles

    def keys_of(self, org: str) -> list[Key]:
        """Return the keys that have not ended, in the order of their coming."""
        found = [key for key in self.keys.values() if key.org == org and key.ended is None]
        return sorted(found, key=lambda key: key.turn)

    def _turn(self) -> int:
        self.turns += 1
        return self.turns

    # --- rules

    def orgs_add_key(self, key: bytes, roles: list[str], proof: bytes) -> None:
        """Register one more key."""
        org = self.role()
        self._new_key(org, key, proof)
        self._key_roles(roles)
        self.must(len(self.keys_of(org)) < KEYS_MAX, "TOO_MANY_KEYS")
        self._room_today(org)
        self.go()
        self._put(org, key, tuple(roles), self.time // DAY_MS)
        self._tell_org("KeyAdded", org, key=key, roles=roles)

    def orgs_rotate_key(self, old: bytes, new: bytes, proof: bytes) -> None:
        """Put a key in another's place."""
        org = self.role()
        self._new_key(org, new, proof)
        self._own(org, old)
        self._room_today(org)
        self.go()
        roles = self.keys[old].roles
        self._end_key(org, old, "rotated")
        self._put(org, new, roles, self.time // DAY_MS)
        self._tell_org("KeyAdded", org, key=new, roles=list(roles))

    def orgs_revoke_key(self, key: bytes, reason: str) -> None:
        """End a key."""
        org = self.role()
        self.text(reason)
        self._own(org, key)
        known = self.keys.get(key)
        if known is not None and known.org == org and "admin" in known.roles:
            admins = [other for other in self.keys_of(org) if "admin" in other.roles]
            self.must(known not in admins or len(admins) > 1, "LAST_ADMIN_KEY")
        self.go()
        self._end_key(org, key, reason)

    def orgs_set_agent(self, agent_key: bytes, agent_address: str, proof: bytes) -> None:
        """Name the agent."""
        org = self.role()
        self.text(agent_address)
        old = self.orgs[org].agent_key
        if agent_key != old:
            self._new_key(org, agent_key, proof)
            ends = old != b"" and self.keys[old].roles == ("agent",)
            self.must(len(self.keys_of(org)) - ends < KEYS_MAX, "TOO_MANY_KEYS")
            self._room_today(org)
        self.go()
        if agent_key != old:
            if ends:
                self._end_key(org, old, "agent key replaced")
            self._put(org, agent_key, ("agent",), self.time // DAY_MS)
        self.orgs[org] = replace(self.orgs[org], agent_key=agent_key, agent_address=agent_address)
        self._tell_org("AgentSet", org, agent_key=agent_key, agent_address=agent_address)

    # --- what governance decides

    def joining(self, member: dict[str, Any]) -> None:
        """Require that this organisation could be admitted."""
        self.need(member.keys() == FOUNDER_FIELDS | {"agent_proof"}, "BAD_MEMBER")
        self.ident(member["id"])
        self.text(member["name"], member["agent_address"])
        self.must(member["id"] not in self.orgs, "ORG_EXISTS")
        self._each_once(member["roles"], ORG_ROLES)
        own: list[bytes] = []
        for entry in member["keys"]:
            self.need(entry.keys() == {"key", "roles", "proof"}, "BAD_MEMBER")
            self.must(entry["key"] not in own, "KEY_EXISTS")
            self._new_key(member["id"], entry["key"], entry["proof"])
            self._key_roles(entry["roles"])
            own.append(entry["key"])
        self.must(any("admin" in entry["roles"] for entry in member["keys"]), "NO_ADMIN_KEY")
        agent, proof = member["agent_key"], member["agent_proof"]
        if agent == b"":
            self.must(member["agent_address"] == "", "BAD_KEY")
            self.must(proof == b"", "BAD_PROOF")
        elif agent in own:
            self._proof(member["id"], agent, proof)
        else:
            self._new_key(member["id"], agent, proof)
        self.must(len({*own, agent} - {b""}) <= KEYS_MAX, "TOO_MANY_KEYS")

    def admit(self, member: dict[str, Any]) -> None:
        """Let an organisation in."""
        self._join(member)
        self._tell_org("OrgJoined", member["id"], name=member["name"], roles=member["roles"])

    def expel(self, org: str) -> None:
        """End a membership for good."""
        record = self.orgs[org]
        down = self.height if record.status == "active" else record.down
        self.orgs[org] = replace(record, status="expelled", down=down)
        self._tell_org("OrgExpelled", org)

    def suspend_org(self, org: str) -> None:
        """Stop an organisation for a while."""
        self.orgs[org] = replace(self.orgs[org], status="suspended", down=self.height)
        self._tell_org("OrgSuspended", org)

    def reinstate(self, org: str) -> None:
        """Let a suspended organisation act again."""
        self.orgs[org] = replace(self.orgs[org], status="active", down=0, turn=self._turn())
        self._tell_org("OrgReinstated", org)

    def replacing(self, org: str, key: bytes, proof: bytes) -> None:
        """Require that the members could give this organisation this admin key."""
        self.need(org in self.orgs, "UNKNOWN_ORG")
        self.must(self.orgs[org].status != "expelled", "WRONG_STATE")
        self._new_key(org, key, proof, REPLACEMENT)

    def replace_admin(self, org: str, key: bytes) -> None:
        """End all admin keys of an organisation, and register another."""
        for known in self.keys_of(org):
            if "admin" in known.roles:
                self._end_key(org, known.key, "replaced by the members")
        self._put(org, key, ("admin",))
        self._tell_org("KeyAdded", org, key=key, roles=["admin"])
        self.admins_replaced(org)

    def admins_replaced(self, org: str) -> None:
        """Ask no second key of an organisation that has one admin key."""
        raise NotImplementedError

    # --- views

    def orgs_check_replacement(self, org: str, key: bytes, proof: bytes) -> None:
        """Answer whether it could be."""
        self.replacing(org, key, proof)
        self.go()

    def orgs_org_of(self, id: str) -> dict[str, Any]:
        """Answer with the record."""
        self.need(id in self.orgs, "UNKNOWN_ORG")
        return org_row(self.orgs[id])

    def orgs_active_members(self) -> list[str]:
        """Answer with the ids."""
        return self.members()

    def orgs_has_role(self, id: str, role: str) -> bool:
        """Answer whether it is so."""
        return self.has(id, role)

    def orgs_check_possession(self, org: str, key: bytes, proof: bytes) -> None:
        """Answer whether the proof holds."""
        self._proof(org, key, proof)
        self.go()

    def orgs_check_member(self, member: dict[str, Any]) -> None:
        """Answer whether it could be admitted."""
        self.joining(member)
        self.go()

    # --- parts

    def _proof(self, org: str, key: bytes, proof: bytes, purpose: Purpose = REGISTRATION) -> None:
        self.must(proves_possession(key, proof, self.chain_id, org, purpose), "BAD_PROOF")

    def _new_key(self, org: str, key: bytes, proof: bytes, purpose: Purpose = REGISTRATION) -> None:
        self.must(len(key) == 32, "BAD_KEY")
        self.must(key not in self.keys, "KEY_EXISTS")
        self._proof(org, key, proof, purpose)

    def _own(self, org: str, key: bytes) -> None:
        known = self.keys.get(key)
        self.must(known is not None and known.org == org and known.ended is None, "UNKNOWN_KEY")
        self.must(key != self.orgs[org].agent_key, "USE_SET_AGENT")

    def _key_roles(self, roles: list[str]) -> None:
        self._each_once(roles, KEY_ROLES)

    def _each_once(self, roles: list[str], known: frozenset[str]) -> None:
        fine = len(roles) > 0 and known.issuperset(roles) and len(set(roles)) == len(roles)
        self.must(fine, "BAD_ROLE")

    def _days(self, org: str) -> list[int]:
        """The days on which an organisation registered its keys itself, one for each key."""
        return [key.day for key in self.keys.values() if key.org == org and key.day is not None]

    def _room_today(self, org: str) -> None:
        self.must(self._days(org).count(self.time // DAY_MS) < KEYS_A_DAY_MAX, "TOO_MANY_KEYS_TODAY")

    def _put(self, org: str, key: bytes, roles: tuple[str, ...], day: int | None = None) -> None:
        self.keys[key] = Key(key, org, roles, self.height, self._turn(), day)

    def _end_key(self, org: str, key: bytes, reason: str) -> None:
        known, down = self.keys[key], self.orgs[org].down
        last = max(down, known.since) if down else self.height
        self.keys[key] = replace(known, ended=last)
        self._tell_org("KeyRevoked", org, key=key, reason=reason)

    def _tell_org(self, event: str, org: str, **fields: Any) -> None:
        self.tell(f"orgs.{event}", ["org"], org=f"org:{org}", **fields)

    def _join(self, member: dict[str, Any]) -> None:
        agent = member["agent_key"]
        self.orgs[member["id"]] = Org(
            member["id"],
            member["name"],
            tuple(member["roles"]),
            agent,
            member["agent_address"],
            self.height,
            self._turn(),
        )
        for entry in member["keys"]:
            self._put(member["id"], entry["key"], tuple(entry["roles"]))
        if agent != b"" and agent not in self.keys:
            self._put(member["id"], agent, ("agent",))

    # --- rows as the README describes them

    def rows_orgs(self) -> dict[tuple[str, str, Any], Any]:
        """Return {(contract, map, key): value}; a Var has the key None."""
        rows: dict[tuple[str, str, Any], Any] = {("orgs", "members", None): self.members()}
        for org in self.orgs.values():
            rows["orgs", "orgs", org.id] = org_row(org)
            rows["orgs", "org_keys", org.id] = [key.key.hex() for key in self.keys_of(org.id)]
            if days := self._days(org.id):
                last = max(days)
                rows["orgs", "registered", org.id] = {"day": last, "today": days.count(last)}
        for key in self.keys.values():
            rows["orgs", "keys", key.key.hex()] = self._key_row(key)
        return rows

    def _key_row(self, key: Key) -> dict[str, Any]:
        org = self.orgs[key.org]
        ended = key.ended is not None
        return {
            "org": key.org,
            "key": key.key,
            "roles": list(key.roles),
            "status": "revoked" if ended else org.status,
            "since": key.since,
            "until": key.ended if ended else max(org.down, key.since) if org.down else 0,
        }


def org_row(org: Org) -> dict[str, Any]:
    """Return an organisation's record."""
    return {
        "id": org.id,
        "name": org.name,
        "roles": list(org.roles),
        "agent_key": org.agent_key,
        "agent_address": org.agent_address,
        "status": org.status,
        "joined": org.joined,
    }
