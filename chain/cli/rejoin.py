"""A validator whose votes were lost takes its seat again under a key that has never voted."""

from __future__ import annotations

from dataclasses import dataclass

from chain.api.client import Account
from chain.cli.governing import NotThere, call
from chain.ledger.block import Receipt
from chain.primitives.errors import AssentError
from chain.primitives.values import Value


class NothingLost(AssentError):
    """A node that has its votes needs no other key."""

    code = "nothing_lost"


@dataclass(frozen=True, slots=True)
class Rejoined:
    """What moved a seat."""

    node: str
    key: str
    receipt: Receipt

    def __str__(self) -> str:
        return (
            f"{self.node} lost its votes with its data directory: its seat moves to its new key "
            f"{self.key[:16]}, under which it votes from a consensus window after height "
            f"{self.receipt.height} on"
        )


async def needs_rejoin(account: Account) -> bool:
    """Tell whether the account's node says that its votes were lost."""
    info = await account.client.request("getNodeInfo")
    return bool(info["spareKey"])


async def rejoin(account: Account) -> Rejoined:
    """Move the seat of the account's own node to the key that the node made for that.

    Raises NothingLost where it has its votes, NotThere where it is no node of the consortium, and
    RefusedByLedger.
    """
    info = await account.client.request("getNodeInfo")
    if not info["spareKey"]:
        raise NothingLost(
            f"{info['name']}: this node has its votes; to move its seat all the same, make a key and use "
            "assent validator rotate-key"
        )
    if not info["org"]:
        raise NotThere(
            f"{info['key']}: no node of the consortium, as far as this node knows; wait until it has caught "
            "up (assent status), and try again"
        )
    args: dict[str, Value] = {
        "name": info["name"],
        "public_key": bytes.fromhex(info["spareKey"]),
        "proof": bytes.fromhex(info["spareProof"]),
    }
    receipt = await call(account, "governance", "rotate_node_key", args)
    return Rejoined(info["name"], info["spareKey"], receipt)
