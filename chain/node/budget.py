"""Budget of file descriptors: how many a node may need at most, by its settings and its members."""

from __future__ import annotations

from chain.api.server import OVER_MAX
from chain.config import NodeConfig
from chain.ledger.store.leveldb import DATABASES_MAX, OPEN_FILES_MAX
from chain.network.doorway import ACCEPTS_MAX, GUESTS_MAX

MEMBERS_TO_COME = 8
"""Nodes that may be voted in while this one runs, before its next start counts them."""
LOWER = "rpc.max_connections"


def descriptor_parts(config: NodeConfig, members: int) -> dict[str, int]:
    """Return part of the node -> file descriptors; each of `members` may be dialled while it dials."""
    return {
        "clients (rpc.max_connections)": config.rpc.max_connections + OVER_MAX,
        "peers": 2 * (members + MEMBERS_TO_COME),
        "peers that knock": GUESTS_MAX + ACCEPTS_MAX,
        "LevelDB": DATABASES_MAX * OPEN_FILES_MAX,
    }
