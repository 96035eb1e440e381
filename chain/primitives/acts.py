"""Acts that several keys of an organisation see before they are done, as contract `orgs` counts them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from chain.primitives.values import encode_value

ACTS: Mapping[str, str] = {
    "keys": "admin",
    "votes": "admin",
    "programs": "admin",
    "approvals": "steward",
    "requests": "steward",
    "resumptions": "steward",
    "versions": "steward",
    "approvers": "steward",
    "jobs": "steward",
}
"""Act -> the role of the keys that count for it; admins always do, keys of agents never."""
DATASET_ACTS = ("approvals", "resumptions", "versions", "approvers")
"""Acts for which an owner may ask more keys of one dataset."""
PENDING_MS = 259_200_000
"""Milliseconds of block time for which a pending act waits for other keys: three days."""
_ACT_TAG = b"assent/act\x00"


def act_digest(contract: str, method: str, args: bytes) -> bytes:
    """Return what identical calls have in common; `args` are the canonical bytes of their arguments."""
    return sha256(_ACT_TAG + encode_value([contract, method]) + args).digest()
