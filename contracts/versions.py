"""The directory: for whom a key signs and which code is in force, as the runtime reads it in the state.

The contracts `orgs` and `lifecycle` keep these records; nothing here decides more than reading them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chain.primitives.boundedcache import BoundedCache
from chain.primitives.contractrecords import (
    AGENT_ALONE,
    ORGS,
    KeyHolder,
    Versions,
    read_overseen,
    read_signer,
    signer_key,
    versions_of,
)
from chain.primitives.runtimeport import UNKNOWN_SENDER, map_key
from chain.primitives.values import Value, decode_stored
from contracts.language.limits import GAS_STATE_READ
from contracts.language.run.machine import Machine

LIFECYCLE = "lifecycle"
MEMO_ENTRIES = 4_096
"""Results kept of each kind: what the same bytes mean is the same, so none can change an outcome."""


@dataclass(frozen=True, slots=True)
class Access:
    """The access rule of a contract: who may call it; an empty set leaves its side open."""

    orgs: frozenset[str]
    roles: frozenset[str]

    def admits(self, machine: Machine) -> bool:
        """Tell whether the transaction's signer may call, directly or through another contract."""
        by_org = not self.orgs or machine.org in self.orgs
        return by_org and (not self.roles or not self.roles.isdisjoint(machine.roles))

    def __str__(self) -> str:
        """Say who may call, for people."""
        return f"organisations {sorted(self.orgs) or 'any'}, key roles {sorted(self.roles) or 'any'}"


@dataclass(frozen=True, slots=True)
class ActiveRecord:
    """The part that the runtime needs of an entry of the Map `active` of `lifecycle`."""

    source_hash: bytes
    engine: int
    active_at: int
    status: str
    frozen_until: int
    """Last height of the freeze; 0 when it does not lapse."""
    access: Mapping[str, Access]
    """Methods that not everyone may call."""

    def frozen(self, height: int) -> bool:
        """Tell whether only views answer at this height."""
        return self.status == "frozen" and (not self.frozen_until or height <= self.frozen_until)


def _active_records(stored: bytes) -> Versions[ActiveRecord]:
    """Return the version that runs and the one that is to follow it, if one is committed."""
    return versions_of(decode_stored(stored)).map(_version)


def _version(record: Mapping[str, Value]) -> ActiveRecord:
    access = {
        method: Access(frozenset(lists["orgs"]), frozenset(lists["roles"]))
        for method, lists in record["access"].items()
    }
    return ActiveRecord(
        record["source_hash"],
        record["engine"],
        record["active_at"],
        record["status"],
        record["frozen_until"],
        access,
    )


def _active_key(name: str) -> bytes:
    return map_key("active", name)


def _eyes_key(org: str) -> bytes:
    return map_key("eyes", org)


def _signer_of(sender: bytes) -> tuple[str, bytes]:
    return sender.hex(), signer_key(sender)


class Directory:
    """A reader of identities and active code, which remembers what the same stored bytes meant before."""

    def __init__(self) -> None:
        """Start with empty memories."""
        self._signers: BoundedCache[bytes, tuple[str, bytes]] = BoundedCache(MEMO_ENTRIES)
        self._key_records: BoundedCache[bytes, KeyHolder] = BoundedCache(MEMO_ENTRIES)
        self._eyes_keys: BoundedCache[str, bytes] = BoundedCache(MEMO_ENTRIES)
        self._overseen: BoundedCache[bytes, frozenset[str]] = BoundedCache(MEMO_ENTRIES)
        self._active_keys: BoundedCache[str, bytes] = BoundedCache(MEMO_ENTRIES)
        self._active_records: BoundedCache[bytes, Versions[ActiveRecord]] = BoundedCache(MEMO_ENTRIES)

    def identify(self, machine: Machine, sender: bytes) -> str:
        """Fill in who signs; return why this key may not as the transactions before left it, "" if it may."""
        machine.signer, place = self._signers.get_or_make(sender, _signer_of)
        stored = machine.state.get(ORGS, place)
        if stored is None:
            return UNKNOWN_SENDER
        record = self._key_records.get_or_make(stored, read_signer)
        if not record.refusal:
            machine.org, machine.roles = record.org, record.roles
        return record.refusal

    def oversees(self, machine: Machine, contract: str, method: str) -> bool:
        """Tell whether the signer's organisation asks several keys for a call of a method.

        The steps of agents are not looked up: no call of theirs is one.
        """
        if machine.roles == AGENT_ALONE:
            return False
        stored = machine.state.get(ORGS, self._eyes_keys.get_or_make(machine.org, _eyes_key))
        if stored is None:
            return False
        machine.charge(GAS_STATE_READ + (len(stored) >> 5))
        return f"{contract}.{method}" in self._overseen.get_or_make(stored, read_overseen)

    def active(self, machine: Machine, name: str) -> ActiveRecord | None:
        """Return the record of the version that runs at this height, as this transaction sees it."""
        stored = _lifecycle_read(machine, self._active_keys.get_or_make(name, _active_key))
        if stored is None:
            return None
        return self._active_records.get_or_make(stored, _active_records).at(machine.height)

    def offers_library(self, machine: Machine, source_hash: bytes) -> bool:
        """Tell whether contracts that are proposed may name a library, as this transaction sees it."""
        stored = _lifecycle_read(machine, map_key("libraries", source_hash))
        return stored is not None and not decode_stored(stored)["withdrawn"]

    def source(self, machine: Machine, source_hash: bytes) -> str | None:
        """Return a stored source, as this transaction sees it."""
        stored = _lifecycle_read(machine, map_key("sources", source_hash))
        return None if stored is None else str(decode_stored(stored))


def _lifecycle_read(machine: Machine, key: bytes) -> bytes | None:
    place = (LIFECYCLE, key)
    return machine.writes[place] if place in machine.writes else machine.state.get(LIFECYCLE, key)
