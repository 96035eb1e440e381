"""What others than their own contract read in the records of `orgs` and `lifecycle`: signers and versions.

Ledger, runtime and clients read the same rules here: for whom a key signs, and which version of a contract
runs at a height.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from chain.primitives.errors import DecodeError
from chain.primitives.runtimeport import map_key, signer_refusal
from chain.primitives.values import Value, decode_value

ORGS = "orgs"
SIGNER_BYTES_MAX = 65_536
EYES_BYTES_MAX = 65_536
AGENT_ALONE = ("agent",)
"""Roles of a key that only an organisation's agent uses."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """For whom a key signs, as an entry of the Map `keys` of `orgs` has it."""

    org: str
    roles: tuple[str, ...]
    refusal: str
    """Why the key may not sign now, a code of `SIGNER_REFUSALS`; empty when it may."""


def signer_key(public_key: bytes) -> bytes:
    """Return the state key, in the namespace `orgs`, of a signing key's entry."""
    return map_key("keys", public_key.hex())


def read_signer(stored: bytes) -> KeyHolder:
    """Return the signer that a stored entry of `keys` describes; raise DecodeError."""
    entry = decode_value(stored, max_bytes=SIGNER_BYTES_MAX)
    try:
        return KeyHolder(str(entry["org"]), tuple(entry["roles"]), signer_refusal(entry["status"]))
    except (KeyError, TypeError):
        raise DecodeError("orgs.keys: expected an entry with org, roles and status") from None


def read_overseen(stored: bytes) -> frozenset[str]:
    """Return the calls ("contract.method") several keys see, by an entry of `eyes`; raise DecodeError."""
    try:
        return frozenset(decode_value(stored, max_bytes=EYES_BYTES_MAX)["calls"])
    except (KeyError, TypeError):
        raise DecodeError("orgs.eyes: expected an entry with calls") from None


@dataclass(frozen=True, slots=True)
class Versions(Generic[T]):
    """The version of a contract that runs, and the one that is to follow it, if one is committed."""

    running: T
    following: T | None
    active_at: int
    """The height from which the following version runs; 0 without one."""

    def at(self, height: int) -> T:
        """Return the version that runs at a height."""
        following = self.following
        return self.running if following is None or height < self.active_at else following

    def map(self, read: Callable[[T], U]) -> Versions[U]:
        """Return the versions as `read` reads each."""
        following = None if self.following is None else read(self.following)
        return Versions(read(self.running), following, self.active_at)


def versions_of(record: Mapping[str, Value]) -> Versions[dict[str, Value]]:
    """Return the versions in an entry of the Map `active` of `lifecycle`, each as a whole entry."""
    running, following = dict(record), record["next"]
    if not following:
        return Versions(running, None, 0)
    then = {**record, **following, "status": "active", "frozen_until": 0, "next": {}}
    return Versions(running, then, following["active_at"])
