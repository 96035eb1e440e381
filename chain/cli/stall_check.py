"""Whether the chain would still move after a change of validators: those that do not run count, too."""

from __future__ import annotations

from typing import Any

from chain.client.client import Client
from chain.primitives.certificate import quorum
from chain.primitives.errors import AssentError
from chain.primitives.values import Value

VALIDATOR = "validator"


class WouldStall(AssentError):
    """A change after which too few validators would run: the text names them and the safe way."""

    code = "would_stall"


async def check_reach(client: Client, kind: str, payload: dict[str, Any]) -> None:
    """Raise WouldStall if too few of the validators after a decision run, as this node sees its peers."""
    after = _validators_after(await nodes_of(client), kind, payload)
    if after is None:
        return
    running = await running_keys(client)
    away = sorted(node["name"] for node in after if node["public_key"].hex() not in running)
    needed, there = quorum(len(after)), len(after) - len(away)
    if there < needed:
        raise WouldStall(
            f"after this, {len(after)} validators need {needed} running, and this node sees {there}; away: "
            f"{', '.join(away)}. Add a node as observer first, start it, wait until assent validator list "
            "shows it connected, then: assent validator set-role NAME validator. One at a time. (--force "
            "goes on regardless: the chain then stands still until they run)"
        )


async def nodes_of(client: Client) -> list[dict[str, Any]]:
    """Return the nodes that governance lists, in order."""
    found: Value = await client.variable("governance", "nodes")
    return list(found or [])


async def running_keys(client: Client) -> set[str]:
    """Return the keys, in hex, of the node asked and of those that it is connected to."""
    peers = await client.request("getPeers")
    own = await client.request("getNodeInfo")
    return {own["key"], *[peer["key"] for peer in peers if peer["connected"]]}


def _validators_after(
    nodes: list[dict[str, Any]], kind: str, payload: dict[str, Any]
) -> list[dict[str, Any]] | None:
    """Return the validators after a decision; None when it does not concern them."""
    if kind == "add_node":
        nodes = [*nodes, payload]
    elif kind == "remove_node":
        nodes = [node for node in nodes if node["name"] != payload["name"]]
    elif kind == "change_role":
        nodes = [
            node | {"role": payload["role"]} if node["name"] == payload["name"] else node for node in nodes
        ]
    else:
        return None
    return [node for node in nodes if node["role"] == VALIDATOR]
