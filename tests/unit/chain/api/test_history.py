"""What RPC says of history that a node does not hold, and while a fetched state takes the ledger's place."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from chain.api.lane import Lane
from chain.api.methods.table import method_table
from chain.api.replacing import ABOUT_THE_NODE, Replacing
from chain.api.streams import Streams
from chain.api.waits import Waits
from chain.ledger import validity_window
from chain.ledger.block import DecodedTransaction, Skip, SkipDecision, skip_digest
from chain.ledger.history import prune
from chain.ledger.history.prune import set_floor, sweep
from chain.ledger.pruned import NotHeld
from chain.ledger.store import rows
from chain.ledger.testing import ToyChain, toy_decision
from chain.mempool.mempool import Mempool, PoolBounds
from chain.primitives.certificate import payload_digest
from chain.primitives.codec import decode

LENGTH, FLOOR = 9, 5


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> ToyChain:
    for module in (validity_window, prune):
        monkeypatch.setattr(module, "VALIDITY_WINDOW_MAX", 3)
    made = ToyChain()
    for height in range(1, LENGTH + 1):
        made.add(made.call("put", {"key": height, "value": height}))
    return made


def pruned(chain: ToyChain) -> list[bytes]:
    """Prune; return the ids of all transactions, by height."""
    ids = [DecodedTransaction.of(chain.ledger.read.transactions(h)[0]).id for h in range(1, LENGTH + 1)]
    set_floor(chain.store, FLOOR, "/old")
    while sweep(chain.store):
        pass
    return ids


def ask(chain: ToyChain, name: str, pool: Mempool | None = None, **params: Any) -> Any:
    genesis = chain.genesis
    pool = pool or Mempool(
        genesis.chain_id, genesis.limits, chain.ledger.signer_refusal, chain.ledger.read.is_final,
        PoolBounds(100, 1_000_000, 100),
    )  # fmt: skip
    node = SimpleNamespace(
        ledger=chain.ledger, pool=pool, runtime=None, status=SimpleNamespace(peers=list, info=dict),
        streams=Streams(chain.ledger), waits=Waits(256), lane=Lane(),
    )  # fmt: skip
    method = method_table(node)[name]  # type: ignore[arg-type]
    return asyncio.run(_answer(method.answer(method.params(**params))))


async def _answer(work: Any) -> Any:
    return await work


@pytest.mark.parametrize("name", ["getTransaction", "getTransactionReceipt"])
def test_an_id_in_no_block_held_is_not_held_and_never_none(chain: ToyChain, name: str) -> None:
    assert ask(chain, name, id=bytes(32).hex()) is None  # a whole ledger knows that it never came
    ids = pruned(chain)
    assert ask(chain, name, id=ids[FLOOR - 1].hex())["height"] == FLOOR
    for unknown in (ids[0], bytes(32)):
        with pytest.raises(NotHeld, match="archived in /old"):
            ask(chain, name, id=unknown.hex())


def test_an_id_that_waits_is_pending_though_history_is_missing(chain: ToyChain) -> None:
    pruned(chain)
    call = chain.call("put", {"key": 99, "value": 99})
    pool = Mempool(
        chain.genesis.chain_id, chain.genesis.limits, chain.ledger.signer_refusal, chain.ledger.read.is_final,
        PoolBounds(100, 1_000_000, 100),
    )  # fmt: skip
    pool.admit(call, LENGTH, verified=True)
    assert ask(chain, "getTransaction", pool, id=call.id.hex())["status"] == "pending"
    assert ask(chain, "getTransactionReceipt", pool, id=call.id.hex()) is None


def test_old_blocks_and_events_are_not_held_but_their_headers_are(chain: ToyChain) -> None:
    pruned(chain)
    for name, params in (
        ("getBlockByNumber", {"height": FLOOR - 1}),
        ("getEvents", {}),
        ("getHistory", {"subject": "org:bank"}),
        ("getState", {"contract": "toy", "map": "values", "key": 1, "height": 2}),
    ):
        with pytest.raises(NotHeld):
            ask(chain, name, **params)
    assert ask(chain, "getHeader", height=2)["proof"]
    assert ask(chain, "getEvents", fromHeight=FLOOR)["height"] == LENGTH


def test_a_json_list_names_the_entry_of_a_tuple_as_no_key_is_a_list(chain: ToyChain) -> None:
    for key in (("job", "bank", 3), (("a", 1), b"x")):
        chain.add(chain.call("put", {"key": key, "value": 7}))
    for asked in (["job", "bank", 3], [["a", 1], {"$bytes": "78"}]):
        assert ask(chain, "getState", contract="toy", map="values", key=asked)["value"] == 7
        assert ask(chain, "getState", contract="toy", map="values", key=asked, withProof=True)["proof"]
    assert ask(chain, "getState", contract="toy", map="values", key=["job", "bank"])["value"] is None


def test_a_subscription_from_a_height_not_held_is_refused(chain: ToyChain) -> None:
    pruned(chain)
    with pytest.raises(NotHeld, match="subscribe from height 2"):
        Streams(chain.ledger).open({"kind": "events", "fromHeight": 2})


def test_what_reads_the_ledger_waits_outside_while_it_is_replaced(chain: ToyChain) -> None:
    chain.ledger.replacing = True
    with pytest.raises(Replacing, match="ask again"):
        ask(chain, "getBlockNumber")
    assert "getNodeInfo" in ABOUT_THE_NODE
    assert ask(chain, "getPeers") == []


def test_a_skip_decision_is_shown_with_its_block_and_the_receipts_of_what_it_skipped(chain: ToyChain) -> None:
    crash, put = chain.call("crash", {}), chain.call("put", {"key": 0, "value": 0})
    payload = chain.payload([crash, put])
    skip = Skip(LENGTH + 1, payload_digest(payload), 0, (crash.id,), "kills")
    chain.ledger.add_skip(toy_decision(chain.genesis, skip))
    chain.add(crash, put)
    block = ask(chain, "getBlockByNumber", height=LENGTH + 1)
    shown = block["skip"]
    assert (shown["reason"], shown["transactions"], len(shown["signers"])) == ("kills", [crash.id.hex()], 3)
    assert block["header"]["skip"] == skip_digest(chain.genesis.chain_id, skip).hex()
    receipt = ask(chain, "getTransactionReceipt", id=crash.id.hex())
    assert (receipt["status"], receipt["code"], receipt["skip"]) == ("skipped", "SKIPPED_BY_DECISION", shown)
    assert "skip" not in ask(chain, "getTransactionReceipt", id=put.id.hex())
    asked = ask(chain, "getSkipDecision", height=LENGTH + 1)
    assert decode(SkipDecision, bytes.fromhex(asked["proof"])) == toy_decision(chain.genesis, skip)
    assert ask(chain, "getSkipDecision", height=LENGTH) is None
    assert ask(chain, "getBlockByNumber", height=LENGTH)["skip"] is None
    chain.store.write([], [rows.at(rows.SKIP, LENGTH + 1)])
    with pytest.raises(NotHeld, match="ask another node"):
        ask(chain, "getSkipDecision", height=LENGTH + 1)
