"""What a job finds at its agent: whose agent it is, its node, its stores, and its place to compute.

Every job of an agent has the same environment. A step takes those parts of it that it needs, and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chain.api.client import Account
from chain.primitives.crypto import PrivateKey
from privcompute.config import LocalPolicy
from privcompute.data.datasets import DatasetStore
from privcompute.data.evidence import EvidenceLog
from privcompute.data.results import JoinStore, ResultStore
from privcompute.job.chain_reader import ChainReader
from privcompute.job.store import JobStore, StatusBoard
from privcompute.net.listener import PeerListener


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """Whose agent this is, and what its owner demands of jobs."""

    org: str
    key: PrivateKey
    policy: LocalPolicy
    code_hashes: Mapping[str, bytes]
    """Program -> code hash, taken when the agent started: of the code that runs, not of later files."""


@dataclass(frozen=True, slots=True)
class OwnNode:
    """The organisation's own node: what it proves, and the account that sends calls through it."""

    reader: ChainReader
    account: Account


@dataclass(frozen=True, slots=True)
class AgentStores:
    """What an agent keeps on disk about its owner's data and its jobs."""

    datasets: DatasetStore
    results: ResultStore
    joins: JoinStore
    jobs: JobStore
    board: StatusBoard
    evidence: EvidenceLog


@dataclass(frozen=True, slots=True)
class ComputePlace:
    """Where jobs meet their peers, and their turn to compute."""

    listener: PeerListener
    turn: asyncio.Lock
    """One job computes at a time; jobs take it in the order in which the ledger started them."""


@dataclass(frozen=True, slots=True)
class JobEnvironment:
    """Everything that the jobs of one agent have in common."""

    identity: AgentIdentity
    node: OwnNode
    stores: AgentStores
    place: ComputePlace
    now_ms: Callable[[], int]
    """The wall clock: milliseconds since the epoch."""
