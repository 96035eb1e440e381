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
    "accounts": "steward",
    "jobs": "steward",
}
"""Act -> the role of the keys that count for it; admins always do, keys of agents never."""
CALLS: Mapping[str, str] = {
    "orgs.add_key": "keys",
    "orgs.rotate_key": "keys",
    "orgs.set_agent": "keys",
    "orgs.set_eyes": "keys",
    "governance.rotate_node_key": "keys",
    "governance.propose": "votes",
    "governance.approve": "votes",
    "lifecycle.propose": "votes",
    "lifecycle.approve": "votes",
    "lifecycle.unfreeze": "votes",
    "programs.propose": "programs",
    "programs.approve": "programs",
    "programs.retract_retirement": "programs",
    "grants.approve": "approvals",
    "grants.request": "requests",
    "grants.resume": "resumptions",
    "datasets.resume": "resumptions",
    "datasets.register": "versions",
    "datasets.new_version": "versions",
    "datasets.set_approvers": "approvers",
    "accounts.set_caps": "accounts",
    "accounts.begin": "accounts",
    "jobs.propose": "jobs",
}
"""Call ("contract.method") -> its act, as the first version of `orgs` has it."""
DATASET_ACTS = ("approvals", "resumptions", "versions", "approvers", "accounts")
"""Acts for which an owner may ask more keys of one dataset."""
PENDING_MS = 259_200_000
"""Milliseconds of block time for which a pending act waits for other keys: three days."""
_ACT_TAG = b"assent/act\x00"


def act_digest(contract: str, method: str, args: bytes) -> bytes:
    """Return what identical calls have in common; `args` are the canonical bytes of their arguments."""
    return sha256(_ACT_TAG + encode_value([contract, method]) + args).digest()
