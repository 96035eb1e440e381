"""The chain that is simulated: its genesis, and the transactions that its clients send."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from chain.ledger.block import DecodedTransaction, TransactionBody, sign_transaction
from chain.ledger.genesis import ContractSource, Genesis, Limits, Org, OrgKey, Validator, make_init_args
from chain.ledger.ledger import Ledger
from chain.ledger.store.memory import MemoryStore
from chain.mempool.mempool import PoolBounds
from chain.primitives.values import Value, encode_value
from contracts.system import default_init, sources
from tests.simulation.clockwork import EPOCH_MS
from tests.simulation.shortcuts import RUNTIME, key

ORG = "club"
CLIENTS = ("ada", "bob", "cyd")
"""Admins of the one organisation: whoever of them proposes has all the votes that governance asks for."""
GAS = 2_000_000
BOUNDS = PoolBounds(max_transactions=400, max_bytes=1_000_000, max_per_sender=300, max_held=400)
"""Of every node's pool: small, so that full pools are met."""
TIMEOUTS_MS = (400, 1_000, 2_000, 3_000)
"""First view timeouts that nodes are given, that of production among them."""
TIMEOUT_MAX_MS = 8_000
SKEW_FACTOR = 3
"""How far off clocks get, in allowed skews."""
TALLY = '''
"""Counts what was added, so that a transaction executed twice shows in the state."""

totals = Map(str, int)
entries = Map(str, int)

Added = Event(name=subject, amount=int)


@export
def add(name: str, amount: int, entry: str):
    require(amount > 0, "NOT_POSITIVE")
    require(entry not in entries, "ADDED_TWICE")
    entries[entry] = amount
    totals[name] = totals.get(name, 0) + amount
    Added(name="client:" + name, amount=amount)


@view
def total(name: str) -> int:
    return totals.get(name, 0)
'''


@dataclass(frozen=True, slots=True)
class Shape:
    """What of the genesis differs between seeds."""

    validators: int
    window: int = 8
    rotation: int = 100
    block_txs: int = 1_000
    validity: int = 600
    max_skew_ms: int = 5_000
    spares: int = 0
    """Nodes that exist, but are no members at the start."""
    passed_over: int = 1_024
    """For how many heights a replaced primary does not lead: fewer than in production, so that it ends."""
    snapshot_lag: int = 0
    """How many heights behind a node fetches a state; 0 never."""


def node_name(index: int) -> str:
    """Return the name of a node, from which its key follows."""
    return f"node{index}"


@lru_cache(maxsize=256)
def founded(shape: Shape) -> tuple[Genesis, MemoryStore]:
    """Return a genesis and a store to copy that holds height 0; made once a process."""
    admins = tuple([OrgKey(key(name).public, ("admin",)) for name in CLIENTS])
    validators = tuple(
        Validator(ORG, node_name(i), key(node_name(i)).public, address(i)) for i in range(shape.validators)
    )
    contracts = [*sources().items(), ("tally", TALLY)]
    genesis = Genesis(
        chain_name="simulation",
        time=EPOCH_MS,
        validators=validators,
        orgs=(Org(ORG, "Club", ("owner", "user"), admins, b"", ""),),
        contracts=tuple(ContractSource(name, source) for name, source in contracts),
        init_args=make_init_args(default_init()),
        limits=Limits(
            block_txs=shape.block_txs,
            consensus_window=shape.window,
            rotation=shape.rotation,
            validity_window=shape.validity,
            max_clock_skew_ms=shape.max_skew_ms,
        ),
    )
    store = MemoryStore()
    Ledger(store, genesis, RUNTIME)
    return genesis, store


def address(index: int) -> str:
    """Return where a node would listen."""
    return f"127.0.0.1:{30000 + index}"


def addition(chain_id: bytes, number: int, client: str, amount: int, valid_until: int) -> DecodedTransaction:
    """Return a client's transaction that adds to its total."""
    args: dict[str, Value] = {"name": client, "amount": amount, "entry": f"{client}/{number}"}
    return transaction(chain_id, number, client, "tally", "add", args, valid_until)


def transaction(
    chain_id: bytes,
    number: int,
    client: str,
    contract: str,
    method: str,
    args: dict[str, Value],
    valid_until: int,
) -> DecodedTransaction:
    """Return the client's transaction with this number; its nonce follows from it."""
    body = TransactionBody(
        chain_id=chain_id,
        sender=key(client).public,
        contract=contract,
        method=method,
        args=encode_value(args),
        gas_limit=GAS,
        nonce=number.to_bytes(16, "big"),
        valid_until=valid_until,
    )
    return DecodedTransaction.of(sign_transaction(body, key(client)))
