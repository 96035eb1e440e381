"""Budget of file descriptors: how many a node may need at most, by its settings and its members."""

from __future__ import annotations

from chain.api.server import OVER_MAX
from chain.config import NodeConfig
from chain.ledger.store.leveldb import OPEN_FILES_MAX as LEVELDB_MAX
from chain.ledger.store.segments import OPEN_FILES_MAX as SEGMENTS_MAX
from chain.network.doorway import ACCEPTS_MAX, GUESTS_MAX

MEMBERS_TO_COME = 8
"""Nodes that may be voted in while this one runs, before its next start counts them."""
SEGMENTS_READ = 8
"""Files of the record log that threads still read while they are no longer kept open."""
LOWER = "rpc.max_connections"


def descriptor_parts(config: NodeConfig, members: int) -> dict[str, int]:
    """Return part of the node -> file descriptors; each of `members` may be dialled while it dials."""
    return {
        "clients (rpc.max_connections)": config.rpc.max_connections + OVER_MAX,
        "peers": 2 * (members + MEMBERS_TO_COME),
        "peers that knock": GUESTS_MAX + ACCEPTS_MAX,
        "LevelDB": LEVELDB_MAX,
        "the record log": SEGMENTS_MAX + SEGMENTS_READ,
    }
