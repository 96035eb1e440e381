"""The agent's configuration (`agent.toml`): its organisation, node, port, local policy and datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pydantic

from chain.client.access import NodeAccess
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key, public_keys_in
from chain.primitives.settings import (
    ID_WORDS,
    Address,
    Section,
    check_own_folder,
    load_toml,
    matching,
    within,
)
from privcompute.data.batches import BOUNDS
from privcompute.data.dataset_ids import DATASET_PATTERN, ID_PATTERN

DATASETS_MAX = 1_000
JOBS_MAX = 1_000
JOBS_AT_ONCE_MAX = 64
Id = Annotated[str, matching(ID_PATTERN, ID_WORDS)]
DatasetId = Annotated[str, matching(DATASET_PATTERN, f"OWNER/NAME, such as bank/customers, each {ID_WORDS}")]


class FilesConfig(Section):
    """Paths of genesis, key and data folder; relative ones start at the configuration file."""

    genesis: str = "../genesis.json"
    key: str = "keys/agent.key"
    data_dir: str = "agent"


class PeersConfig(Section):
    """The TLS 1.3 port for other organisations' agents; only keys registered on chain are admitted."""

    listen: Address = "127.0.0.1:30400"


class LocalPolicy(Section):
    """Local policy: this owner refuses more than the ledger does; nothing here allows more."""

    refused_purposes: Annotated[tuple[Id, ...], pydantic.Field(strict=False, max_length=256)] = ()
    refused_organisations: Annotated[tuple[Id, ...], pydantic.Field(strict=False, max_length=256)] = ()
    min_joined_rows: Annotated[int, within(0, 2**53, "rows")] = 10
    """A join that leaves fewer rows ends before anything is computed on them."""
    exact_pages: Annotated[int, within(1, 1_000, "pages")] = 1
    """How many pages may ask for exact figures over groups of a dataset's rows, each for other groups.

    Groups of one page are judged beside one another; those of two pages are not, and may differ by one row.
    """
    reveal_wait_ms: Annotated[int, within(0, 86_400_000, "milliseconds")] = 0
    """Time in which a person may still revoke after a computation, before this owner approves the reveal.

    It must be shorter than the time that jobs allow for the reveal, else they expire.
    """
    jobs_at_once: Annotated[int, within(1, JOBS_AT_ONCE_MAX, "jobs")] = 2
    """Jobs that compute here at once: only they hold data, each as much as `max_party_rows` lets it."""
    max_waiting_jobs: Annotated[int, within(1, JOBS_MAX, "jobs")] = 32
    max_jobs_per_organisation: Annotated[int, within(1, JOBS_MAX, "jobs")] = 8
    """Of one organisation's proposals at once: no member fills all places."""
    job_time_max_ms: Annotated[int, within(1_000, 2_592_000_000, "milliseconds")] = 3_600_000
    """Longest time that a job may take here to compute, from its turn on, and again to release its result.

    The deadlines of a job (up to 30 days each) bound it as well; whichever comes first ends it.
    """
    job_memory_max_mib: Annotated[int, within(256, 1_048_576, "MiB")] = 4_096
    """Most memory that one job may take here beside the owner's own table, as far as known before."""
    keep_shares_ms: Annotated[int, within(0, 2_592_000_000, "milliseconds")] = 86_400_000
    """How long after a certificate this agent hands its sealed shares out again to the job's receivers."""
    max_party_rows: Annotated[int, within(1, BOUNDS.rows, "rows")] = 1_000_000
    """Most rows that another party may bring to a join: each costs this agent up to 300 bytes of memory."""


class DatasetConfig(Section):
    """A data source, and the schema file that declares it; relative paths start at the configuration file."""

    id: DatasetId
    """OWNER/NAME."""
    path: str
    schema_file: str | None = None
    """The schema file; without it `assent dataset register` proposes types and asks."""


class LogConfig(Section):
    """Log settings of the agent, which writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class AgentConfig(Section):
    """The configuration in `agent.toml`."""

    organisation: Id
    node: Annotated[str, matching("https?://[^/]+", "http(s)://HOST:PORT, without a path")] = (
        "http://127.0.0.1:8545"
    )
    """Where its node answers; https:// where that has [rpc] tls."""
    node_key: Annotated[str, matching("([0-9a-f]{64})?", "64 hex digits of a public key, or nothing")] = ""
    """What its node shows in TLS; without it that is of a key file beside this file or beside `files.key`."""
    node_ca: str = ""
    """PEM file with the authorities of a node that shows a certificate from files."""
    files: FilesConfig = FilesConfig()
    peers: PeersConfig = PeersConfig()
    policy: LocalPolicy = LocalPolicy()
    datasets: Annotated[list[DatasetConfig], pydantic.Field(default_factory=list, max_length=DATASETS_MAX)]
    log: LogConfig = LogConfig()


class AgentFiles(Section):
    """Absolute paths of one agent."""

    base: Path
    genesis: Path
    key: Path
    data_dir: Path

    @property
    def datasets(self) -> Path:
        """Folder of what the owner knows of each registered dataset version: source, schema, salt seed."""
        return self.data_dir / "datasets"

    @property
    def results(self) -> Path:
        """Folder of revealed results."""
        return self.data_dir / "results"

    @property
    def joins(self) -> Path:
        """Folder with the owner's own rows that each job matched: secret, of this owner alone."""
        return self.data_dir / "joins"

    @property
    def exposed(self) -> Path:
        """Folder with the rows that exact figures were over, as hashes: secret, of this owner alone."""
        return self.data_dir / "exposed"

    @property
    def held(self) -> Path:
        """Folder with what the agent holds of computed jobs, sealed."""
        return self.data_dir / "held"

    @property
    def status(self) -> Path:
        """Folder with one progress file per job."""
        return self.data_dir / "status"

    @property
    def jobs(self) -> Path:
        """Folder with what each unfinished job needs after a restart."""
        return self.data_dir / "jobs"

    @property
    def evidence(self) -> Path:
        """The agent's own evidence log."""
        return self.data_dir / "evidence.jsonl"

    @property
    def cursor(self) -> Path:
        """File with the height from which to follow the node's events."""
        return self.data_dir / "cursor.json"


def load_agent_config(path: Path) -> tuple[AgentConfig, AgentFiles]:
    """Read `agent.toml`; return it and its paths resolved against the file's folder (ConfigError)."""
    config = load_toml(path, AgentConfig)
    base = path.resolve().parent
    files = config.files
    resolved = AgentFiles(
        base=base, genesis=base / files.genesis, key=base / files.key, data_dir=base / files.data_dir
    )
    keys, others = {"files.key": resolved.key}, {"files.genesis": resolved.genesis}
    check_own_folder(path, "files.data_dir", resolved.data_dir, keys=keys, files=others)
    return config, resolved


def node_access(config: AgentConfig, files: AgentFiles, key: PrivateKey | None = None) -> NodeAccess:
    """Return how an agent reaches its node: known by its key, or by an authority; its own key says who asks.

    `key` is that key where it is open; else it is opened when the node wants to know.
    """
    if config.node_key:
        nodes = frozenset({bytes.fromhex(config.node_key)})
    elif config.node_ca:
        nodes = frozenset()
    else:
        nodes = public_keys_in(files.key.parent) | public_keys_in(files.base)
    return NodeAccess(
        key=lambda: key or load_key(files.key),
        nodes=nodes,
        ca=files.base / config.node_ca if config.node_ca else None,
    )


def configured_paths(config: AgentConfig, files: AgentFiles, dataset: str) -> tuple[Path, Path | None] | None:
    """Return the paths of a configured dataset's data and of its schema file; None when not configured."""
    for item in config.datasets:
        if item.id == dataset:
            return files.base / item.path, None if item.schema_file is None else files.base / item.schema_file
    return None
