"""A validator whose votes were lost takes its seat again under a key that has never voted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chain.cli.governing import NotThere
from chain.client.calls import RefusedByLedger, call
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.ledger.block import Receipt
from chain.primitives.errors import AssentError, Exit
from chain.primitives.values import Value

SETTLED_ROLES = ("validator", "observer")
UNTIL_THEN = (
    "Until then the node follows and does not vote. Then: assent validator rejoin, or assent start again"
)
SPARE_WAIT_S, ASK_EVERY_S = 30.0, 0.3
"""A node makes its spare key once it has caught up and heard a quorum: seconds on a chain that works."""


class NothingLost(AssentError):
    """A node that has its votes: it needs no other key."""

    code = "nothing_lost"


class NotYet(AssentError):
    """The votes are lost, and the seat cannot move now: the text says why and when."""

    code = "seat_not_moved"


@dataclass(frozen=True, slots=True)
class Rejoined:
    """What moved a seat."""

    node: str
    key: str
    file: str
    receipt: Receipt

    def __str__(self) -> str:
        return (
            f"{self.node} lost its votes with its data directory: its seat moves to its new key "
            f"{self.key[:16]}, under which it votes from a consensus window after height "
            f"{self.receipt.height} on. Back up {self.file}, beside the first key: it is live now"
        )


class KeyOfAnother(AssentError):
    """A folder whose node goes by the key of another organisation's: the text names both."""

    code = "key_of_another"
    exit = Exit.CONFIG

    def __init__(self, org: str, name: str, owner: str) -> None:
        super().__init__(
            f"{org}: the node of this folder goes by the key of {name}, a node of {owner}: put the own "
            f"key of {org} back where [files] key of node.toml says, and start it again (a folder "
            "has the name of its organisation)"
        )


async def needs_rejoin(client: Client, org: str) -> bool:
    """Tell whether a node of an organisation says that its votes were lost and its seat does not move yet.

    Raises KeyOfAnother where the ledger says that its key is another organisation's.
    """
    info = await _settled(client)
    if info["org"] != org:
        raise KeyOfAnother(org, info["name"], info["org"])
    return bool(info["lostVotes"] and not info["seatMoves"])


async def _settled(client: Client) -> Any:
    """Return what the node says of itself, once it knows which key its seat needs.

    Raises NotYet, or NotThere, with what it says then.
    """
    end = time.monotonic() + SPARE_WAIT_S
    while True:
        info = await client.request("getNodeInfo")
        if info["role"] not in SETTLED_ROLES:  # until it has caught up, it may not know that it is a member
            if time.monotonic() > end:
                raise NotThere(
                    f"{info['key']}: no node of the consortium, as far as it knows: {info['stall']}"
                )
        elif not info["lostVotes"] or info["spareKey"] or info["seatMoves"]:
            return info
        elif time.monotonic() > end:
            raise NotYet(
                f"{info['name']}: its votes are lost, and it has no spare key yet: "
                f"{info['stall'] or info['phase']}; see assent status, then try again"
            )
        await asyncio.sleep(ASK_EVERY_S)


async def rejoin(account: SigningClient) -> Rejoined:
    """Move the seat of the account's own node to the key that the node made for that.

    Raises NothingLost where it has its votes, NotThere where it is no node of the consortium, NotYet where
    its seat moved a moment ago, and RefusedByLedger.
    """
    info = await _settled(account.client)
    if not info["lostVotes"]:
        raise NothingLost(
            f"{info['name']}: this node has its votes; to move its seat all the same, make a key and use "
            "assent validator rotate-key"
        )
    if info["seatMoves"]:
        raise NothingLost(f"{info['name']}: its seat moves to {info['seatMoves'][:16]} already; wait for it")
    args: dict[str, Value] = {
        "name": info["name"],
        "public_key": bytes.fromhex(info["spareKey"]),
        "proof": bytes.fromhex(info["spareProof"]),
    }
    try:
        receipt = await call(account, "governance", "rotate_node_key", args)
    except RefusedByLedger as refused:
        if not str(refused).startswith("TOO_SOON"):
            raise
        free: Any = await account.client.view("governance", "rotation_free", {"name": info["name"]})
        when = from_when(free)
        raise NotYet(f"{info['name']}: its votes are lost again, and {when}. {UNTIL_THEN}") from None
    return Rejoined(info["name"], info["spareKey"], info["spareFile"], receipt)


async def seat_locked(client: Client, name: str) -> str:
    """Say from when on the seat of a node may move again; empty where it may move now."""
    free: Any = await client.view("governance", "rotation_free", {"name": name})
    height: Any = await client.request("getBlockNumber")
    locked = height < free["height"] and time.time_ns() // 1_000_000 < free["time"]
    return from_when(free) if locked else ""


def from_when(free: Any) -> str:
    """Say from when on a node's seat may move again, given what `rotation_free` of governance returns."""
    at = datetime.fromtimestamp(free["time"] / 1000, UTC)
    left = max(0, free["time"] - time.time_ns() // 1_000_000) // 1000 + 1
    return (
        "its seat moved less than 100 heights and ten minutes ago: it moves again from height "
        f"{free['height']} or from {at:%Y-%m-%d %H:%M:%S} UTC on (in {left} s), whichever comes first"
    )
