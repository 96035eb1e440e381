"""Budgets of a node by its settings: the file descriptors that it may need, and memory for caches."""

from __future__ import annotations

from chain.api.server import OVER_MAX
from chain.config import NodeConfig
from chain.ledger.store.leveldb import DATABASES_MAX, MIB, OPEN_FILES_MAX
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


def memory_warning(config: NodeConfig, total_bytes: int) -> str:
    """Return a warning where the caches may take more than half of a host's memory; else nothing.

    Each of the databases has half of `leveldb_mib`, and up to two write buffers of half of the other.
    """
    cache = config.cache
    wanted = DATABASES_MAX * (cache.leveldb_mib + 2 * cache.leveldb_write_buffer_mib) // 2
    total = total_bytes // MIB
    if 2 * wanted <= total:
        return ""
    return (
        f"cache.leveldb_mib = {cache.leveldb_mib} and cache.leveldb_write_buffer_mib = "
        f"{cache.leveldb_write_buffer_mib} let LevelDB take {wanted:,} MiB, and this host has {total:,} MiB: "
        "the kernel may kill the node for want of memory; lower them"
    )
