"""Acts that several keys of an organisation make before they are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from chain.primitives.values import encode_value
from tests.rules.model_orgs import KEYS_MAX, Orgs

ADMINS, STEWARDS = frozenset({"admin"}), frozenset({"admin", "steward"})
ACTS = {
    "keys": ADMINS,
    "votes": ADMINS,
    "programs": ADMINS,
    "approvals": STEWARDS,
    "requests": STEWARDS,
    "resumptions": STEWARDS,
    "versions": STEWARDS,
    "approvers": STEWARDS,
    "accounts": STEWARDS,
    "jobs": STEWARDS,
}
"""Act -> roles of the keys that count."""
OF_DATASETS = ("approvals", "resumptions", "versions", "approvers", "accounts")
CALLS = {
    "keys": (
        "orgs.add_key",
        "orgs.rotate_key",
        "orgs.set_agent",
        "orgs.set_eyes",
        "governance.rotate_node_key",
    ),
    "votes": (
        "governance.propose",
        "governance.approve",
        "lifecycle.propose",
        "lifecycle.approve",
        "lifecycle.unfreeze",
    ),
    "programs": (
        "programs.propose",
        "programs.approve",
        "programs.retract_retirement",
    ),
    "approvals": ("grants.approve",),
    "requests": ("grants.request",),
    "resumptions": ("grants.resume", "datasets.resume"),
    "versions": ("datasets.register", "datasets.new_version"),
    "approvers": ("datasets.set_approvers",),
    "accounts": ("accounts.set_caps", "accounts.begin"),
    "jobs": ("jobs.propose",),
}
ACT_OF = {call: act for act, calls in CALLS.items() for call in calls}
ABOUT = {
    "governance.rotate_node_key": ("node", "name"),
    "governance.approve": ("proposal", "seq"),
    **{f"lifecycle.{name}": ("contract", "name") for name in ("propose", "approve", "unfreeze")},
    **{f"programs.{name}": ("program", "id") for name in ("propose", "retract_retirement")},
    **{f"grants.{name}": ("grant", "id") for name in ("approve", "request", "resume")},
    **{
        f"datasets.{name}": ("dataset", "id")
        for name in ("resume", "register", "new_version", "set_approvers")
    },
    **{f"accounts.{name}": ("dataset", "id") for name in ("set_caps", "begin")},
}
"""Call -> the kind of what it is about, and the argument that names it."""
NAMES = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-/")
PENDING_MAX = 32
PENDING_A_DAY_MAX = 500
PENDING_MS = 259_200_000


@dataclass(frozen=True, slots=True)
class Sight:
    """One key that saw a call."""

    key: bytes
    tx: bytes
    at: int


@dataclass(frozen=True, slots=True)
class Pending:
    """A call that waits for other keys."""

    call: str
    args: Mapping[str, Any]
    seen: tuple[Sight, ...]
    until: int
    about: tuple[str, ...]
    needed: int

    @property
    def act(self) -> str:
        """What kind of call it is."""
        return ACT_OF[self.call]


class Eyes(Orgs):
    """The rules of what several keys see."""

    def __init__(self, chain_id: bytes) -> None:
        """Start with nobody who asks for a second key."""
        super().__init__(chain_id)
        self.eyes: dict[tuple[str, str, str], int] = {}
        """(organisation, dataset or none, act) -> how many keys are asked, if more than one."""
        self.pending: dict[tuple[str, bytes], Pending] = {}
        """In the order in which they were begun."""
        self.calls = 0
        """How many calls there were; their transactions are numbered so."""

    def owner_of(self, dataset: str) -> str | None:
        """Return whose dataset this is."""
        raise NotImplementedError

    def dataset_of_grant(self, grant: str) -> str | None:
        """Return the dataset that a grant is for."""
        raise NotImplementedError

    # --- whether a call is done

    def see(self, call: str, args: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[[], None]] | None:
        """Return what the signer's key hears of a call that several keys make, and what is noted then."""
        org, act = self.signer.org, ACT_OF.get(call)
        if act is None or self.signer.roles == {"agent"} or not self._is_asked(org, call):
            return None
        self.reach("orgs")
        needed = self._needed(org, call, args)
        place = (
            org,
            sha256(b"assent/act\0" + encode_value(call.split(".")) + encode_value(dict(args))).digest(),
        )
        row = self.pending.get(place)
        row = None if row is None or self.time >= row.until else row
        answer = {"now": True, "act": act, "call": call, "digest": place[1], "needed": needed}
        if row is None and needed == 1:
            return {**answer, "seen": 1, "until": 0}, lambda: None
        self.need(needed == 1 or self._counts(org, act, self.signer.key), "KEY_NOT_COUNTED")
        seen = [] if row is None else [one for one in row.seen if self._counts(org, act, one.key)]
        others = [one for one in seen if one.key != self.signer.key]
        answer["now"] = len(others) + 1 >= needed
        self.need(answer["now"] or len(others) == len(seen), "ALREADY_SEEN")
        mine = Sight(self.signer.key, sha256(self.calls.to_bytes(8, "big")).digest(), self.time)
        known = (*others, mine)
        if row is None:
            self._room(org)
            begun = Pending(call, dict(args), known, self.time + PENDING_MS, self._about(call, args), needed)
            return {**answer, "seen": 1, "until": begun.until}, lambda: self._begin(place, begun)
        then = replace(row, seen=known, needed=needed)
        answer |= {"seen": len(known), "until": row.until}
        return answer, lambda: self._go_on(place, then, bool(answer["now"]))

    def _is_asked(self, org: str, call: str) -> bool:
        acts = {act for (whose, _, act) in self.eyes if whose == org}
        return ACT_OF[call] in acts or (call == "orgs.set_eyes" and bool(acts))

    def _needed(self, org: str, call: str, args: Mapping[str, Any]) -> int:
        act = ACT_OF[call]
        needed = self.eyes.get((org, "", act), 1)
        if any(whose == org and dataset and of == act for (whose, dataset, of) in self.eyes):
            dataset = args["id"]
            if call.startswith("grants."):
                self.reach("grants")
                dataset = self.dataset_of_grant(args["id"])
                self.need(dataset is not None, "UNKNOWN_GRANT")
            needed = max(needed, self.eyes.get((org, dataset, act), 1))
        if call == "orgs.set_eyes":
            before = self.eyes.get((org, args["dataset"], args["act"]), 1)
            admins = [key for key in self.keys_of(org) if self._counts(org, "keys", key.key)]
            needed = max(needed, min(before, len(admins)) if args["k"] < before else 1)
        return needed

    def _counts(self, org: str, act: str, key: bytes) -> bool:
        known = self.keys[key]
        person = "agent" not in known.roles and key != self.orgs[org].agent_key
        return known.ended is None and person and bool(ACTS[act] & set(known.roles))

    def _about(self, call: str, args: Mapping[str, Any]) -> tuple[str, ...]:
        kind, name = ABOUT.get(call, ("", ""))
        ident = str(args.get(name, ""))
        fits = kind and 0 < len(ident) <= 128 and NAMES.issuperset(ident)
        return (f"{kind}:{ident}",) if fits else ()

    def _room(self, org: str) -> None:
        waiting = [row for (whose, _), row in self.pending.items() if whose == org and self.time < row.until]
        self.must(len(waiting) < PENDING_MAX, "TOO_MANY_PENDING")
        self.room_today("orgs", "pending", PENDING_A_DAY_MAX, "TOO_MANY_PENDING_TODAY")
        self.go()

    def _begin(self, place: tuple[str, bytes], begun: Pending) -> None:
        org = place[0]
        lapsed = [old for old, row in self.pending.items() if old[0] == org and self.time >= row.until]
        for old in lapsed:
            row = self.pending.pop(old)
            self._tell_act("ActLapsed", old, row, seen=_seen(row))
        self.pending[place] = begun
        self._tell_act("ActPending", place, begun, seen=_seen(begun), needed=begun.needed, until=begun.until)

    def _go_on(self, place: tuple[str, bytes], row: Pending, done: bool) -> None:
        self.pending[place] = row
        if done:
            del self.pending[place]
        self._tell_act("ActSeen", place, row, seen=_seen(row), needed=row.needed, until=row.until, done=done)

    def _tell_act(self, event: str, place: tuple[str, bytes], row: Pending, **fields: Any) -> None:
        whose = {"org": f"org:{place[0]}", "about": list(row.about)}
        named = {"act": row.act, "call": row.call, "digest": place[1]}
        self.tell(f"orgs.{event}", ["org", "about"], **whose, **named, **fields)

    # --- rules

    def orgs_set_eyes(self, act: str, dataset: str, k: int) -> None:
        """Ask for so many keys."""
        org = self.role()
        self.need(act in ACTS, "UNKNOWN_ACT")
        self.must(1 <= k <= KEYS_MAX, "BAD_EYES")
        able = [key for key in self.keys_of(org) if self._counts(org, act, key.key)]
        self.must(k <= max(1, len(able)), "TOO_FEW_KEYS")
        if dataset != "":
            self.must(act in OF_DATASETS, "NOT_OF_A_DATASET")
            self.go()
            self.reach("datasets")
            owner = self.owner_of(dataset)
            self.need(owner is not None, "UNKNOWN_DATASET")
            self.must(owner == org, "NOT_OWNER")
        self.go()
        self._set_eyes(org, dataset, act, k)

    def _set_eyes(self, org: str, dataset: str, act: str, k: int) -> None:
        before = self.eyes.pop((org, dataset, act), 1)
        if k > 1:
            self.eyes[org, dataset, act] = k
        about = [f"dataset:{dataset}"] if dataset else []
        fields = {"org": f"org:{org}", "about": about, "act": act, "k": k, "before": before}
        self.tell("orgs.EyesSet", ["org", "about"], **fields)

    def orgs_drop(self, digest: bytes, reason: str) -> None:
        """Take back what is pending."""
        org = self.role("steward")
        self.text(reason)
        self.must((org, digest) in self.pending, "UNKNOWN_PENDING")
        self.go()
        row = self.pending.pop((org, digest))
        self._tell_act("ActDropped", (org, digest), row, seen=_seen(row), reason=reason)

    def admins_replaced(self, org: str) -> None:
        """Ask no second key of an organisation that has one admin key."""
        for act in [act for act in ACTS if ACTS[act] == ADMINS and (org, "", act) in self.eyes]:
            self._set_eyes(org, "", act, 1)

    # --- rows as the README describes them

    def rows_eyes(self) -> dict[tuple[str, str, Any], Any]:
        """Return {(contract, map, key): value}."""
        rows: dict[tuple[str, str, Any], Any] = {}
        for org, dataset, act in self.eyes:
            row = rows.setdefault(
                ("orgs", "eyes", org), {"acts": {}, "datasets": {}, "calls": ["orgs.set_eyes"]}
            )
            row["calls"] = sorted({*row["calls"], *CALLS[act]})
            k = self.eyes[org, dataset, act]
            if dataset:
                row["datasets"][act] = row["datasets"].get(act, 0) + 1
                rows.setdefault(("orgs", "dataset_eyes", (org, dataset)), {})[act] = k
            else:
                row["acts"][act] = k
        for (org, digest), waiting in self.pending.items():
            rows["orgs", "pending", (org, digest)] = {
                "act": waiting.act,
                "call": waiting.call,
                "about": list(waiting.about),
                "needed": waiting.needed,
                "seen": _seen(waiting),
                "until": waiting.until,
            }
            rows.setdefault(("orgs", "pending_of", org), []).append(digest)
        return rows


def _seen(row: Pending) -> list[dict[str, Any]]:
    return [{"key": one.key, "tx": one.tx, "at": one.at} for one in row.seen]
