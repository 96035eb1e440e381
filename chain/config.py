"""The node's local configuration (`node.toml`): nothing here can make replicas disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic

from chain.primitives.errors import ConfigError
from chain.primitives.settings import (
    ID_WORDS,
    Address,
    Section,
    check_address,
    check_own_folder,
    is_loopback,
    load_toml,
    matching,
    split_address,
    within,
)

CONNECTIONS_MIN = 16
KEEP_BLOCKS_MIN = 1_000
"""Above the 600 heights that replays are recognised by."""


class FilesSection(Section):
    """Where the node finds and keeps things; relative paths start at the configuration file."""

    data_dir: str = "data"
    genesis: str = "genesis.json"
    key: str = "node.key"
    next_key: str = "next.key"
    rpc_certificate: str = ""
    rpc_key: str = ""
    """PEM files for [rpc] tls, both or neither; without them it shows a certificate of the node's key."""
    tokens: str = "rpc-tokens.json"
    """The tokens of programs, with hashes of their secrets (`assent node token`)."""
    access_log: str = ""
    """Where each RPC call leaves a line; none without."""

    @pydantic.model_validator(mode="after")
    def _check_pair(self) -> Self:
        if bool(self.rpc_certificate) != bool(self.rpc_key):
            lacks = "rpc_key" if self.rpc_certificate else "rpc_certificate"
            raise ValueError(
                f"{lacks} = '': a certificate and its key go together; name both, or neither for a "
                "certificate of the node's own key"
            )
        return self


def _check_introducer(text: str) -> str:
    key, at, address = text.partition("@")
    if not at or len(key) != 64 or not set(key) <= set("0123456789abcdef"):
        raise ValueError('"KEY@host:port", KEY being the 64 hex digits of a node\'s public key')
    check_address(address)
    return text


Introducer = Annotated[str, pydantic.AfterValidator(_check_introducer)]


class NetworkSection(Section):
    """The TLS 1.3 port for other nodes; only members of the ledger are admitted."""

    listen: Address = "127.0.0.1:30300"
    introducers: list[Introducer] = pydantic.Field(default_factory=list, max_length=64)
    """Nodes to catch up from while the ledger here does not know the members of today yet."""
    send_queue_bytes: Annotated[int, within(1_048_576, 1_073_741_824, "bytes")] = 16_777_216


HostName = Annotated[
    str,
    matching(
        "[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?",
        'the name of a host in lower case, without a port, such as "node.bank.example"',
    ),
]


class RpcSection(Section):
    """The JSON-RPC and WebSocket port; docs/ports.md tells what its bounds withstand."""

    listen: Address = "127.0.0.1:8545"
    hosts: list[HostName] = pydantic.Field(default_factory=list, max_length=64)
    """Names that clients reach this port by, beside localhost, that of `listen`, and any address."""
    tls: bool = False
    principals: bool = False
    """Ask who asks: a token, or a session that a member's key opened. Else whoever reaches it may all."""
    members: Literal["own", "all"] = "own"
    """Whose keys open sessions: those of the node's organisation, or of every member."""
    max_request_bytes: Annotated[int, within(1_024, 67_108_864, "bytes")] = 8_388_608
    max_answer_bytes: Annotated[int, within(65_536, 67_108_864, "bytes")] = 8_388_608
    request_timeout_ms: Annotated[int, within(100, 600_000, "milliseconds")] = 30_000
    header_timeout_ms: Annotated[int, within(100, 600_000, "milliseconds")] = 10_000
    transfer_timeout_ms: Annotated[int, within(100, 3_600_000, "milliseconds")] = 60_000
    """For the whole body of a request, and for the whole of an answer."""
    idle_timeout_ms: Annotated[int, within(1_000, 3_600_000, "milliseconds")] = 60_000
    least_bytes_per_second: Annotated[int, within(1, 1_073_741_824, "bytes a second")] = 16_384
    max_connections: Annotated[int, within(CONNECTIONS_MIN, 65_536, "connections")] = 256
    requests_per_second: Annotated[int, within(1, 1_000_000, "requests a second")] = 5_000
    access_lines_per_second: Annotated[int, within(1, 10_000, "lines a second")] = 100

    @pydantic.model_validator(mode="after")
    def _check_closed(self) -> Self:
        if not is_loopback(split_address(self.listen)[0]) and not (self.tls and self.principals):
            lacks = " and ".join(name for name in ("tls", "principals") if not getattr(self, name))
            raise ValueError(
                f"listen = {self.listen!r}: other hosts reach it, and [rpc] {lacks} is off; set tls = true "
                "and principals = true (docs/rpc.md), or listen on 127.0.0.1"
            )
        return self


class MempoolSection(Section):
    """Bounds of the pool of transactions that wait for a block."""

    max_transactions: Annotated[int, within(100, 1_000_000, "transactions")] = 50_000
    max_bytes: Annotated[int, within(1_048_576, 4_294_967_296, "bytes")] = 67_108_864
    max_per_sender: Annotated[int, within(1, 1_000_000, "transactions")] = 20_000


class ConsensusSection(Section):
    """Local pace of this validator; safety depends on none of it."""

    batch_interval_ms: Annotated[int, within(1, 10_000, "milliseconds")] = 20
    view_timeout_ms: Annotated[int, within(200, 600_000, "milliseconds")] = 3_000
    view_timeout_max_ms: Annotated[int, within(200, 3_600_000, "milliseconds")] = 30_000

    @pydantic.model_validator(mode="after")
    def _check_pace(self) -> Self:
        if self.view_timeout_max_ms < self.view_timeout_ms:
            raise ValueError(
                f"view_timeout_max_ms = {self.view_timeout_max_ms}: at least view_timeout_ms, which is "
                f"{self.view_timeout_ms}"
            )
        if self.batch_interval_ms >= self.view_timeout_ms:
            raise ValueError(
                f"batch_interval_ms = {self.batch_interval_ms}: less than view_timeout_ms, which is "
                f"{self.view_timeout_ms}, or each primary is replaced before it proposes"
            )
        return self


class SyncSection(Section):
    """How this node catches up."""

    snapshot_blocks: Annotated[int, within(0, 1_000_000_000, "blocks")] = 10_000


def _check_keep(blocks: int) -> int:
    if 0 < blocks < KEEP_BLOCKS_MIN:
        raise ValueError(f"0 (everything), or {KEEP_BLOCKS_MIN}..1000000000 blocks")
    return blocks


class StorageSection(Section):
    """How much history this node keeps."""

    keep_blocks: Annotated[int, within(0, 1_000_000_000, "blocks"), pydantic.AfterValidator(_check_keep)] = 0
    archive_dir: str = ""

    @pydantic.model_validator(mode="after")
    def _check_archive(self) -> Self:
        if self.archive_dir and not self.keep_blocks:
            raise ValueError(
                f"archive_dir = {self.archive_dir!r}: nothing goes there while keep_blocks = 0 keeps "
                f"everything; set keep_blocks to {KEEP_BLOCKS_MIN} or more, or leave archive_dir out"
            )
        return self


class CacheSection(Section):
    """Memory that the node may spend to be faster."""

    leveldb_mib: Annotated[int, within(1, 65_536, "MiB")] = 32
    leveldb_write_buffer_mib: Annotated[int, within(1, 4_096, "MiB")] = 16


class LogSection(Section):
    """What the node writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class SoloSection(Section):
    """Start a chain of one validator when no genesis file exists yet: for trying things out."""

    organisation: Annotated[str, matching("[a-z0-9][a-z0-9._-]{0,63}", ID_WORDS)]


class NodeConfig(Section):
    """All of `node.toml`."""

    files: FilesSection = FilesSection()
    network: NetworkSection = NetworkSection()
    rpc: RpcSection = RpcSection()
    mempool: MempoolSection = MempoolSection()
    consensus: ConsensusSection = ConsensusSection()
    sync: SyncSection = SyncSection()
    storage: StorageSection = StorageSection()
    cache: CacheSection = CacheSection()
    log: LogSection = LogSection()
    solo: SoloSection | None = None

    @pydantic.model_validator(mode="after")
    def _check_ports(self) -> Self:
        if self.network.listen == self.rpc.listen and split_address(self.rpc.listen)[1]:
            raise ValueError(f"network.listen and rpc.listen = {self.rpc.listen}: two different addresses")
        return self

    @pydantic.model_validator(mode="after")
    def _check_certificate(self) -> Self:
        if self.files.rpc_certificate and not self.rpc.tls:
            raise ValueError(
                f"files.rpc_certificate = {self.files.rpc_certificate!r}: nothing shows it while [rpc] tls = "
                "false answers in the clear; set tls = true, or leave rpc_certificate and rpc_key out"
            )
        return self


class NodeFiles(Section):
    """The paths of one node, resolved."""

    data_dir: Path
    archive_dir: Path | None
    """Where pruned blocks go; None when they are discarded."""
    genesis: Path
    key: Path
    next_key: Path
    rpc_pair: tuple[Path, Path] | None
    """Certificate and key of the RPC port; None for one of the node's own key."""
    tokens: Path
    access_log: Path | None
    operator_token: Path
    """Where a node that asks for principals leaves a secret for this host's operator."""


def load_node_config(path: Path) -> tuple[NodeConfig, NodeFiles]:
    """Read `node.toml`; return it and its paths resolved against the file's folder (ConfigError)."""
    config = load_toml(path, NodeConfig)
    base = path.resolve().parent
    names = config.files
    if base / names.key == base / names.next_key:
        raise ConfigError(
            f"{path}: files.key and files.next_key = {names.key!r}: two different files, and next_key is "
            f"{NodeConfig().files.next_key!r} unless it is given; move the key and its markers (.voted, "
            '.skips) under another name, such as "keys/seat.key", and name that in files.key'
        )
    resolved = NodeFiles(
        data_dir=base / names.data_dir,
        archive_dir=base / config.storage.archive_dir if config.storage.archive_dir else None,
        genesis=base / names.genesis,
        key=base / names.key,
        next_key=base / names.next_key,
        rpc_pair=(base / names.rpc_certificate, base / names.rpc_key) if names.rpc_key else None,
        tokens=base / names.tokens,
        access_log=base / names.access_log if names.access_log else None,
        operator_token=path.resolve().with_suffix(".token"),
    )
    _check_folders(path, resolved)
    return config, resolved


def _check_folders(path: Path, files: NodeFiles) -> None:
    """Raise ConfigError where a folder of data is, or holds, what must outlive it, the other one included."""
    keys = {"files.key": files.key, "files.next_key": files.next_key}
    folders = {"files.data_dir": files.data_dir}
    if files.archive_dir is not None:
        folders["storage.archive_dir"] = files.archive_dir
    others = {"files.genesis": files.genesis}
    if files.access_log is not None:
        others["files.access_log"] = files.access_log
    for setting, folder in folders.items():
        check_own_folder(path, setting, folder, keys=keys, files=others)
    if files.archive_dir is None:
        return
    data, archive = files.data_dir.resolve(), files.archive_dir.resolve()
    if archive.is_relative_to(data) or data.is_relative_to(archive):
        raise ConfigError(
            f"{path}: storage.archive_dir = {str(files.archive_dir)!r}: neither in files.data_dir, "
            f"{files.data_dir}, nor around it; name a folder that holds nothing else"
        )
