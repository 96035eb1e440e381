"""Environment of a job: the agent's identity, its node, its stores and its place to compute.

Every job of an agent has the same environment. A step takes those parts of it that it needs, and no others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chain.client.signing import SigningClient
from chain.primitives.crypto import PrivateKey
from privcompute.config import LocalPolicy
from privcompute.data.datasets import DatasetStore
from privcompute.data.evidence import EvidenceLog
from privcompute.data.exposed import ExposedStore
from privcompute.data.results import JoinStore, ResultStore
from privcompute.data.sealed import SealedStore
from privcompute.job.chain_reader import ChainReader
from privcompute.job.holding import HandedPart
from privcompute.job.slots import Slots
from privcompute.job.store import JobStore, StatusBoard
from privcompute.net.listener import PeerListener


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """Identity of the agent: organisation, key, the owner's local policy."""

    org: str
    key: PrivateKey
    policy: LocalPolicy


@dataclass(frozen=True, slots=True)
class OwnNode:
    """Access to the organisation's own node: a reader of proved state, and an account that sends calls."""

    reader: ChainReader
    account: SigningClient


@dataclass(frozen=True, slots=True)
class AgentStores:
    """Stores on disk: the owner's datasets and results, and the agent's memory of its jobs."""

    datasets: DatasetStore
    results: ResultStore
    joins: JoinStore
    exposed: ExposedStore
    held: SealedStore
    jobs: JobStore
    board: StatusBoard
    evidence: EvidenceLog


@dataclass(frozen=True, slots=True)
class ComputePlace:
    """Port where jobs meet their peers, and the slots in which they compute."""

    listener: PeerListener
    slots: Slots
    offers: dict[str, HandedPart] = field(default_factory=dict)
    """What jobs that are being released hand out to those who ask at the port."""

    @classmethod
    def under(cls, policy: LocalPolicy, listener: PeerListener) -> ComputePlace:
        """Return a place with as many slots as an owner's policy says."""
        return cls(listener, Slots(policy.jobs_at_once, policy.job_time_max_ms / 1_000))


@dataclass(frozen=True, slots=True)
class JobEnvironment:
    """Everything that the jobs of one agent have in common."""

    identity: AgentIdentity
    node: OwnNode
    stores: AgentStores
    place: ComputePlace
    now_ms: Callable[[], int]
    """The wall clock: milliseconds since the epoch."""
