"""Blocks: executing, certifying, catching up from a peer's blocks, and every way a peer may cheat."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from chain.ledger.batches import BatchInvalid, batch_time, check_proposal
from chain.ledger.block import Batch, Block, Header, batch_root, header_hash
from chain.ledger.blockcheck import BlockInvalid, NotNext
from chain.ledger.genesis import Limits
from chain.ledger.ledger import Ledger
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.store.memory import MemoryStore
from chain.ledger.testing import ToyChain, ToyRuntime, toy_certificate, toy_genesis, toy_key
from chain.ledger.writer import LedgerDiverged
from chain.primitives.certificate import Certificate
from chain.primitives.codec import U64_MAX, decode, encode
from chain.primitives.crypto import ZERO_HASH
from chain.primitives.errors import ProofInvalid
from chain.primitives.runtimeport import map_key


@pytest.fixture
def chain() -> ToyChain:
    made = ToyChain()
    for i in range(3):
        made.add(
            *[made.call("move", {"source": i, "target": k, "subject": "dataset:x"}) for k in range(4)],
            made.call("fail", {"code": "NO"}, sender="bureau"),
        )
    return made


def follower(chain: ToyChain, up_to: int) -> ToyChain:
    other = ToyChain(chain.genesis)
    for height in range(1, up_to + 1):
        assert other.ledger.apply_block(chain.block(height))
    return other


def test_height_0_follows_from_the_genesis_alone() -> None:
    first, second = ToyChain(), ToyChain()
    header = first.ledger.head_header
    assert header == second.ledger.head_header
    assert (header.height, header.parent, header.time) == (0, first.genesis.chain_id, first.genesis.time)
    assert (header.view, header.proposer, header.batch_root) == (0, ZERO_HASH, ZERO_HASH)
    assert [event.name for receipt in first.ledger.read.receipts(0) for event in receipt.events] == [
        "Registered"
    ] * 4


def test_a_header_chains_to_its_parent_and_names_its_validators(chain: ToyChain) -> None:
    headers = [chain.ledger.read.header(height) for height in range(4)]
    for below, header in itertools.pairwise(headers):
        assert below is not None
        assert header is not None
        assert header.parent == header_hash(below)
        assert header.time > below.time
        assert header.validators_hash == below.validators_hash
    assert chain.ledger.head.transactions == 15
    assert chain.ledger.head.failed == 3


def test_a_gap_is_an_empty_height_one_millisecond_later(chain: ToyChain) -> None:
    before = chain.ledger.head_header
    header = chain.ledger.execute(4, b"", [])
    assert (header.time, header.view, header.proposer) == (before.time + 1, 0, ZERO_HASH)
    assert (header.batch_root, header.receipts_root) == (ZERO_HASH, ZERO_HASH)


def test_time_never_falls_behind_the_parent() -> None:
    batch = Batch(1, 0, 0, ZERO_HASH, 500, ())
    assert [batch_time(batch, parent) for parent in (0, 499, 500, 900)] == [500, 500, 501, 901]
    assert batch_time(None, 900) == 901


def test_a_height_delivered_twice_is_executed_once(chain: ToyChain) -> None:
    """SmartBFT 570: a block delivered twice, by sync and by consensus."""
    head = chain.ledger.head
    payload = chain.ledger.read.payload(3)
    assert payload is not None
    assert chain.ledger.execute(3, payload, []) == chain.ledger.head_header
    assert chain.ledger.apply_block(chain.block(3)) is False
    assert chain.ledger.head == head


def test_another_batch_for_an_executed_height_stops_the_node(chain: ToyChain) -> None:
    with pytest.raises(LedgerDiverged, match="height 3"):
        chain.ledger.execute(3, b"", [])


def test_a_batch_is_executed_in_turn_and_with_its_own_transactions(chain: ToyChain) -> None:
    first, second = (chain.call("put", {"key": i, "value": i}) for i in range(2))
    payload = chain.payload([first, second])
    with pytest.raises(NotNext, match="takes 4 next"):
        chain.ledger.execute(5, payload, [first, second])
    for wrong in ([first], [second, first], [first, second, first]):
        with pytest.raises(BatchInvalid):
            chain.ledger.execute(4, payload, wrong)
    assert chain.ledger.head.height == 3
    chain.ledger.execute(4, payload, [first, second])


def test_a_certificate_is_stored_only_for_the_own_header(chain: ToyChain) -> None:
    header = chain.execute()
    certify = chain.ledger.certify
    with pytest.raises(ProofInvalid, match="2 signatures, a quorum is 3"):
        certify(chain.certificate(header, 2))
    with pytest.raises(LedgerDiverged, match="height 4"):
        certify(chain.certificate(replace(header, state_root=ZERO_HASH)))
    with pytest.raises(NotNext, match=r"has executed 1\.\.4"):
        certify(chain.certificate(replace(header, height=U64_MAX)))
    assert chain.ledger.certified_height == 3
    certify(chain.certificate(header))
    certify(chain.certificate(header, 4))
    assert chain.ledger.certified_height == 4


def test_certificates_may_come_in_any_order(chain: ToyChain) -> None:
    headers = [chain.execute() for _ in range(3)]
    chain.ledger.certify(chain.certificate(headers[2]))
    assert chain.ledger.certified_height == 6
    assert chain.block(5).above == (headers[2],)
    chain.ledger.certify(chain.certificate(headers[1]))
    assert chain.ledger.certified_height == 6
    assert (chain.block(5).header, chain.block(5).above) == (headers[1], ())


def test_a_height_whose_certificate_never_came_is_certified_by_one_above(chain: ToyChain) -> None:
    """Found by simulation: liars withhold their votes on one height, and nobody could be given its block."""
    headers = [chain.execute() for _ in range(3)]
    assert chain.ledger.read.block(4) is None, "nothing at or above it is certified"
    assert chain.ledger.read.block_bytes(4) is None
    chain.ledger.certify(chain.certificate(headers[2]))
    other = follower(chain, 5)
    assert (other.ledger.head.height, other.ledger.certified_height) == (5, 3)
    assert other.ledger.read.block(4) is None, "what it cannot show to others it does not serve"
    assert other.ledger.read.block_bytes(4) is None
    assert other.ledger.apply_block(chain.block(6))
    assert other.ledger.certified_height == 6
    assert other.ledger.head == chain.ledger.head
    assert other.block(4) == chain.block(4)


def test_a_block_joined_from_its_rows_is_the_encoding_of_the_block(chain: ToyChain) -> None:
    headers = [chain.execute() for _ in range(3)]
    chain.ledger.certify(chain.certificate(headers[2]))
    read = chain.ledger.read
    for height in range(8):
        block = read.block(height)
        assert read.block_bytes(height) == (None if block is None else encode(block)), height
    assert any(read.block(height).above for height in range(1, 7) if read.block(height))


def test_headers_that_do_not_lead_to_the_certificate_prove_nothing(chain: ToyChain) -> None:
    headers = [chain.execute() for _ in range(3)]
    chain.ledger.certify(chain.certificate(headers[2]))
    other, block = follower(chain, 3), chain.block(4)
    for above in ((), (headers[2],), (headers[2], headers[1]), (*block.above, headers[2])):
        with pytest.raises(BlockInvalid, match="another header"):
            other.ledger.apply_block(replace(block, above=above))
    another = replace(block.header, state_root=ZERO_HASH)
    with pytest.raises(BlockInvalid, match="another header"):
        other.ledger.apply_block(replace(block, header=another))


def test_a_certificate_above_all_heights_in_flight_is_the_peers_fault(chain: ToyChain) -> None:
    """Its validators could not be known here."""
    window = chain.genesis.limits.consensus_window
    headers = [chain.execute() for _ in range(window + 1)]
    chain.ledger.certify(chain.certificate(headers[-1]))
    with pytest.raises(BlockInvalid, match="in flight"):
        follower(chain, 3).ledger.apply_block(chain.block(4))


def test_a_wiped_node_rebuilds_the_same_chain_from_blocks(chain: ToyChain) -> None:
    """Besu 8307: a node whose disk was wiped resumes from certified blocks and ends at the same head."""
    other = follower(chain, 3)
    assert other.ledger.head == chain.ledger.head
    assert other.ledger.certified_height == 3
    assert dict(other.store.iterate()) == dict(chain.store.iterate())


def test_blocks_out_of_turn_are_refused_without_harm(chain: ToyChain) -> None:
    """sawtooth-pbft 166: blocks arriving out of order during catch-up."""
    other = ToyChain(chain.genesis)
    with pytest.raises(NotNext, match="takes 1 next"):
        other.ledger.apply_block(chain.block(2))
    for height in (1, 2, 1, 3):
        other.ledger.apply_block(chain.block(height))
    assert other.ledger.head == chain.ledger.head


def rebatched(block: Block, **changes: Any) -> Block:
    return replace(block, payload=encode(replace(decode(Batch, block.payload), **changes)))


def resigned(block: Block) -> Block:
    swapped = replace(block.transactions[0], signature=bytes(64))
    return replace(block, transactions=(swapped, *block.transactions[1:]))


CHEATS: dict[str, Callable[[Block], Block]] = {
    "another time": lambda b: rebatched(b, time=b.header.time - 1),
    "another view": lambda b: rebatched(b, view=7),
    "another proposer": lambda b: rebatched(b, proposer=toy_key("bureau-node").public),
    "another height": lambda b: rebatched(b, height=9),
    "a null request instead": lambda b: replace(b, payload=b"", transactions=()),
    "an undecodable batch": lambda b: replace(b, payload=b"\x93"),
    "transactions left out": lambda b: replace(b, transactions=b.transactions[1:]),
    "transactions reordered": lambda b: replace(b, transactions=b.transactions[::-1]),
    "batch and transactions cut": lambda b: replace(
        rebatched(b, tx_ids=decode(Batch, b.payload).tx_ids[1:]), transactions=b.transactions[1:]
    ),
    "a swapped signature": resigned,
    "another header": lambda b: replace(b, header=replace(b.header, state_root=ZERO_HASH)),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_tampered_block_is_the_peers_fault_and_changes_nothing(chain: ToyChain, cheat: str) -> None:
    other = follower(chain, 1)
    rows = dict(other.store.iterate())
    with pytest.raises(BlockInvalid, match="block 2"):
        other.ledger.apply_block(CHEATS[cheat](chain.block(2)))
    assert dict(other.store.iterate()) == rows
    assert other.ledger.apply_block(chain.block(2))


@pytest.mark.parametrize("signers", [0, 1, 2])
def test_a_claimed_block_without_a_quorum_means_nothing(chain: ToyChain, signers: int) -> None:
    other = ToyChain(chain.genesis)
    block = chain.block(1)
    weak = replace(block, certificate=toy_certificate(chain.genesis, block.header, signers))
    with pytest.raises(ProofInvalid, match="a quorum is 3"):
        other.ledger.apply_block(weak)


@pytest.mark.parametrize("height", [0, U64_MAX])
def test_extreme_heights_are_refused_by_name(chain: ToyChain, height: int) -> None:
    block = chain.block(1)
    header = replace(block.header, height=height)
    with pytest.raises(NotNext):
        chain.ledger.apply_block(
            Block(header, (), chain.certificate(header), block.payload, block.transactions)
        )


def test_a_quorum_for_another_result_is_divergence_not_a_bad_peer(chain: ToyChain) -> None:
    other = follower(chain, 1)
    header = replace(chain.block(2).header, state_root=ZERO_HASH)
    forged = replace(chain.block(2), header=header, certificate=chain.certificate(header))
    with pytest.raises(LedgerDiverged, match="a quorum certified"):
        other.ledger.apply_block(forged)
    assert other.ledger.head.height == 1
    chain.ledger.apply_block(chain.block(1))


def test_a_batch_of_valid_form_always_executes(chain: ToyChain) -> None:
    """FISCO-BCOS 2307: a proposal that is agreed and then cannot be executed."""
    head = chain.ledger.head_header
    calls = [
        chain.call("put", {"key": 1, "value": 1}, valid_until=0),
        chain.call("put", {"key": 1, "value": 1}, valid_until=U64_MAX),
        chain.call("put", {"key": 1, "value": 1}, gas_limit=U64_MAX),
        chain.call("nothing", {}, contract="nowhere"),
        chain.call("put", {"key": 1, "value": 1}, sender="stranger"),
    ]
    calls.append(calls[0])
    header = chain.ledger.execute(4, chain.payload(calls, time=head.time - 50, view=U64_MAX), calls)
    assert header.time == head.time + 1
    assert len(chain.ledger.read.receipts(4)) == 6
    assert chain.ledger.head.transactions == 17


def test_the_pool_is_told_what_a_height_settled() -> None:
    limits = Limits(tx_gas_default=1_000, tx_gas_max=2_000, block_gas=2_000)
    chain = ToyChain(toy_genesis(limits=limits))
    calls = [chain.call("put", {"key": i, "value": i}) for i in range(3)]
    chain.add(*calls)
    assert chain.ledger.read.decided_ids(1) == [call.id for call in calls[:2]]
    chain.add(calls[2], calls[0])
    assert chain.ledger.read.decided_ids(2) == [calls[2].id, calls[0].id]
    receipt = chain.ledger.read.receipt(calls[0].id)
    assert receipt is not None
    assert (receipt.height, receipt.status) == (1, "ok")


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", "a null request is not proposed"),
        (encode(Batch(5, 0, 0, ZERO_HASH, 5, (bytes(32),))), "says that it is of height 5"),
        (encode(Batch(4, 0, 0, ZERO_HASH, 5, (bytes(32), bytes(32)))), "holds a transaction twice"),
        (
            encode(Batch(4, 0, 0, ZERO_HASH, 5, tuple(bytes([i]) * 32 for i in range(4)))),
            "4 transactions, at most 3",
        ),
        (b"\xc1", "not msgpack"),
    ],
)
def test_a_bad_proposal_is_named(payload: bytes, text: str) -> None:
    with pytest.raises(BatchInvalid, match=text):
        check_proposal(payload, 4, Limits(block_txs=3))


def test_only_the_first_block_may_be_empty_and_proves_the_genesis() -> None:
    empty = encode(Batch(1, 0, 0, ZERO_HASH, 5, ()))
    assert check_proposal(empty, 1, Limits()).tx_ids == ()
    chain = ToyChain()
    chain.add()
    proof = chain.ledger.prove.state("orgs", map_key("orgs", "bank"), 0)
    assert ProofVerifier(chain.genesis).check_state(proof).height == 0
    assert proof.value is not None


def test_batch_and_receipts_roots_are_over_the_whole_batch(chain: ToyChain) -> None:
    batch = chain.ledger.read.batch(2)
    header = chain.ledger.read.header(2)
    assert batch is not None
    assert header is not None
    assert batch_root(batch.tx_ids) == header.batch_root
    assert [receipt.tx_id for receipt in chain.ledger.read.receipts(2)] == list(batch.tx_ids)


def test_host_trouble_during_execution_leaves_the_ledger_as_it_was(chain: ToyChain) -> None:
    rows = dict(chain.store.iterate())
    crash = chain.call("crash", {})
    with pytest.raises(MemoryError):
        chain.execute(chain.call("put", {"key": 1, "value": 1}), crash)
    assert dict(chain.store.iterate()) == rows
    assert chain.execute().height == 4


def test_a_chain_of_one_validator_certifies_itself() -> None:
    chain = ToyChain(toy_genesis(["bank"]))
    chain.add(chain.call("put", {"key": 1, "value": 1}))
    assert chain.ledger.certified_height == 1


def test_readers_see_whole_heights_while_another_thread_executes(chain: ToyChain) -> None:
    store = chain.store

    def write() -> list[Header]:
        return [
            chain.add(*[chain.call("move", {"source": "s", "target": i}) for i in range(5)])
            for _ in range(20)
        ]

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            head = chain.ledger.head
            header = chain.ledger.read.header(head.height)
            assert header is not None
            assert header_hash(header) == head.header_hash
            assert len(chain.ledger.read.receipts(head.height)) == 5
        assert len(writing.result()) == 20
    assert Ledger(store, chain.genesis, ToyRuntime()).head == chain.ledger.head
    assert isinstance(store, MemoryStore)
    assert isinstance(chain.ledger.read.certificate(5), Certificate)
