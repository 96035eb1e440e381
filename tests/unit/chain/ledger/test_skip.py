"""Skip decisions: a quorum gets past a block that no node can execute; anything less does nothing.

The toy runtime's method `crash` raises MemoryError, as an interpreter does whose host has not enough of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.ledger.batch_executor import EXPIRED, REPLAYED, SKIPPED, SKIPPED_BY_DECISION
from chain.ledger.block import Block, DecodedTransaction, Skip, SkipDecision, header_hash, skip_digest
from chain.ledger.files.chainfile import ChainFile, FileDamaged
from chain.ledger.files.transfer import (
    export_blocks,
    export_snapshot,
    import_blocks,
    import_snapshot,
    read_archive,
)
from chain.ledger.genesis import Limits
from chain.ledger.history.prune import set_floor, sweep
from chain.ledger.history.rebuild import rebuild
from chain.ledger.history.snapshot import StateLoad
from chain.ledger.ledger import Ledger
from chain.ledger.skip import check_block_skip
from chain.ledger.skiprows import SkipRefused
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.memory import MemoryStore
from chain.ledger.testing import GAS, ToyChain, ToyRuntime, toy_decision, toy_genesis, toy_key
from chain.ledger.validity_window import VALIDITY_WINDOW_MAX
from chain.ledger.writer import LedgerDiverged
from chain.primitives.certificate import payload_digest
from chain.primitives.codec import encode
from chain.primitives.errors import ProofInvalid
from chain.primitives.runtimeport import OK, Call, Outcome, StateReader
from chain.primitives.values import decode_value

REASON = "kills every node: out of memory"
HEIGHT = 3
GENESIS = toy_genesis(limits=Limits(consensus_window=3))


class Stuck:
    """A chain of two heights and what is ordered at the third: two transactions of four kill."""

    def __init__(self) -> None:
        self.chain = ToyChain(GENESIS)
        for number in range(HEIGHT - 1):
            self.chain.add(self.chain.call("put", {"key": number, "value": number}))
        crash = [self.chain.call("crash", {}, sender="bureau") for _ in range(2)]
        self.batch = [
            self.chain.call("put", {"key": "a", "value": 1}),
            crash[0],
            crash[1],
            self.chain.call("move", {"source": "a", "target": "b"}),
        ]
        self.payload = self.chain.payload(self.batch)
        self.killers = tuple(candidate.id for candidate in crash)

    def skip(self, **over: Any) -> Skip:
        said = Skip(HEIGHT, payload_digest(self.payload), 0, self.killers, REASON)
        return replace(said, **over)

    def decide(self, signers: int | None = None, **over: Any) -> SkipDecision:
        return toy_decision(GENESIS, self.skip(**over), signers)

    def execute(self) -> Any:
        return self.chain.ledger.execute(HEIGHT, self.payload, self.batch)

    def skipped(self) -> ToyChain:
        """Return the chain with the third height skipped and certified, and one more above."""
        self.chain.ledger.add_skip(self.decide())
        self.chain.ledger.certify(self.chain.certificate(self.execute()))
        self.chain.add(self.chain.call("put", {"key": "after", "value": 1}))
        return self.chain


@pytest.fixture
def stuck() -> Stuck:
    return Stuck()


def reopened(chain: ToyChain) -> Ledger:
    return Ledger(chain.store, chain.genesis, ToyRuntime())


def test_without_a_decision_every_attempt_ends_the_same(stuck: Stuck) -> None:
    for _ in range(2):
        with pytest.raises(MemoryError):
            stuck.execute()
        stuck.chain.ledger = reopened(stuck.chain)
    assert stuck.chain.ledger.head.height == HEIGHT - 1


def test_a_decision_of_a_quorum_leaves_out_what_it_names_and_runs_the_rest(stuck: Stuck) -> None:
    assert stuck.chain.ledger.add_skip(stuck.decide())
    stuck.chain.ledger = reopened(stuck.chain)  # it waits across a restart
    header = stuck.execute()
    read = stuck.chain.ledger.read
    verdicts = [(receipt.status, receipt.code) for receipt in read.receipts(HEIGHT)]
    by_decision = (SKIPPED, SKIPPED_BY_DECISION)
    assert verdicts == [("ok", ""), by_decision, by_decision, ("ok", "")]
    assert header.skip == skip_digest(GENESIS.chain_id, stuck.skip())
    assert read.skip(HEIGHT) == stuck.decide()
    assert set(stuck.chain.ledger.decided_ids(HEIGHT)) == {candidate.id for candidate in stuck.batch}
    (event,) = read.receipts(HEIGHT)[1].events
    assert (event.name, event.subjects) == ("Refused", ("org:bureau",))
    fields = decode_value(event.fields, max_bytes=500)
    assert (fields["code"], fields["reason"]) == (SKIPPED_BY_DECISION, REASON)


def test_what_was_skipped_by_decision_never_runs(stuck: Stuck) -> None:
    chain = stuck.skipped()
    chain.add(stuck.batch[1])
    (receipt,) = chain.ledger.read.receipts(HEIGHT + 2)
    assert (receipt.status, receipt.code) == (SKIPPED, REPLAYED)
    found = chain.ledger.read.receipt(stuck.killers[0])
    assert found is not None
    assert (found.height, found.code) == (HEIGHT, SKIPPED_BY_DECISION)


def test_what_would_not_have_run_anyway_keeps_its_own_verdict(stuck: Stuck) -> None:
    late = stuck.chain.call("crash", {}, valid_until=HEIGHT - 1)
    stuck.batch = [late, *stuck.batch]
    stuck.payload = stuck.chain.payload(stuck.batch)
    stuck.chain.ledger.add_skip(stuck.decide(tx_ids=(late.id, *stuck.killers)))
    stuck.execute()
    codes = [receipt.code for receipt in stuck.chain.ledger.read.receipts(HEIGHT)]
    assert codes == [EXPIRED, "", SKIPPED_BY_DECISION, SKIPPED_BY_DECISION, ""]


def signed_by(*names: str, skip: Skip, twice: bool = False) -> SkipDecision:
    message = skip_digest(GENESIS.chain_id, skip)
    pairs = sorted((toy_key(name).public, toy_key(name).sign(message)) for name in names)
    return SkipDecision(skip, tuple([*pairs, pairs[-1]] if twice else pairs))


THREE = [f"{org}-node" for org in ("bank", "bureau", "registry")]
BAD: dict[str, Callable[[Stuck], SkipDecision]] = {
    "one signature": lambda stuck: stuck.decide(signers=1),
    "f liars and one more": lambda stuck: stuck.decide(signers=2),
    "a signature twice": lambda stuck: signed_by(*THREE[:2], skip=stuck.skip(), twice=True),
    "a stranger's": lambda stuck: signed_by(*THREE[:2], "stranger", skip=stuck.skip()),
    "out of order": lambda stuck: replace(stuck.decide(), signatures=stuck.decide().signatures[::-1]),
    "another chain": lambda stuck: toy_decision(GENESIS, stuck.skip(), chain_id=bytes(32)),
    "reason changed after signing": lambda stuck: replace(stuck.decide(), skip=stuck.skip(reason="other")),
    "ids changed after signing": lambda stuck: replace(
        stuck.decide(), skip=stuck.skip(tx_ids=stuck.killers[:1])
    ),
    "a reason that a terminal obeys": lambda stuck: stuck.decide(reason="\x1b[2Jgone"),
    "an executed height": lambda stuck: stuck.decide(height=HEIGHT - 1),
    "a height whose set is not settled": lambda stuck: stuck.decide(height=HEIGHT + 3),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_decision_that_is_none_is_refused_and_leaves_nothing(stuck: Stuck, name: str) -> None:
    before = list(stuck.chain.store.iterate())
    with pytest.raises((ProofInvalid, SkipRefused)):
        stuck.chain.ledger.add_skip(BAD[name](stuck))
    assert list(stuck.chain.store.iterate()) == before
    with pytest.raises(MemoryError):
        stuck.execute()


WITHOUT_EFFECT: dict[str, Callable[[Stuck], SkipDecision]] = {
    "of another batch": lambda stuck: stuck.decide(batch=bytes(32)),
    "of another height": lambda stuck: stuck.decide(height=HEIGHT + 1),
    "of ids that the batch lacks": lambda stuck: stuck.decide(tx_ids=(bytes(32), *stuck.killers)),
    "of ids in another order": lambda stuck: stuck.decide(tx_ids=stuck.killers[::-1]),
}


@pytest.mark.parametrize("name", list(WITHOUT_EFFECT))
def test_a_decision_about_something_else_does_nothing(stuck: Stuck, name: str) -> None:
    """A quorum signed it, yet it changes nothing of what is executed, and goes once its height is."""
    decision = WITHOUT_EFFECT[name](stuck)
    stuck.chain.ledger.add_skip(decision)
    with pytest.raises(MemoryError):
        stuck.execute()
    plain = ToyChain(GENESIS)
    for height in range(1, HEIGHT):
        plain.ledger.apply_block(stuck.chain.block(height))
    harmless = [stuck.batch[0], stuck.batch[3]]
    headers = []
    for chain in (stuck.chain, plain):
        for height in range(HEIGHT, HEIGHT + 2):
            payload = chain.payload(harmless if height == HEIGHT else [])
            header = chain.ledger.execute(height, payload, harmless if height == HEIGHT else [])
        headers.append(header)
    assert headers[0] == headers[1]
    assert list(stuck.chain.store.iterate(prefix=rows.SKIP)) == []


def test_a_higher_attempt_takes_the_place_of_a_lower_and_never_the_other_way(stuck: Stuck) -> None:
    ledger = stuck.chain.ledger
    first, wider = stuck.decide(tx_ids=stuck.killers[:1]), stuck.decide(attempt=1)
    assert ledger.add_skip(first)
    assert not ledger.add_skip(
        replace(first, signatures=stuck.decide(4, tx_ids=stuck.killers[:1]).signatures)
    )
    with pytest.raises(SkipRefused, match="needs a higher attempt"):
        ledger.add_skip(stuck.decide())  # of the same attempt: a quorum cannot sign both
    with pytest.raises(MemoryError):
        stuck.execute()
    assert ledger.add_skip(wider)
    with pytest.raises(SkipRefused, match="attempt 0, but attempt 1 waits"):
        ledger.add_skip(first)
    stuck.execute()
    assert ledger.read.skip(HEIGHT) == wider
    with pytest.raises(SkipRefused, match="has executed that height"):
        ledger.add_skip(stuck.decide(attempt=2))


def test_who_follows_takes_the_decision_with_the_block(stuck: Stuck) -> None:
    chain = stuck.skipped()
    other = ToyChain(GENESIS)
    for height in range(1, HEIGHT + 2):
        assert other.ledger.apply_block(chain.block(height))
    assert other.ledger.head == chain.ledger.head
    assert other.ledger.read.skip(HEIGHT) == stuck.decide()
    assert other.block(HEIGHT) == chain.block(HEIGHT)
    assert [chain.ledger.read.block_bytes(at) for at in (HEIGHT, HEIGHT + 1)] == [
        encode(chain.block(at)) for at in (HEIGHT, HEIGHT + 1)
    ]


class Counting(ToyRuntime):
    """Counts what it is asked to run."""

    runs = 0

    def execute(self, *asked: Any) -> Any:
        type(self).runs += 1
        return super().execute(*asked)


TAMPERED: dict[str, Callable[[Stuck, Block], Block]] = {
    "left out": lambda _, block: replace(block, skip=None),
    "one signature": lambda stuck, block: replace(block, skip=stuck.decide(signers=1)),
    "fewer ids": lambda stuck, block: replace(block, skip=stuck.decide(tx_ids=stuck.killers[:1])),
    "another reason": lambda stuck, block: replace(block, skip=stuck.decide(reason="for fun")),
    "another attempt": lambda stuck, block: replace(block, skip=stuck.decide(attempt=9)),
    "another batch": lambda stuck, block: replace(block, skip=stuck.decide(batch=bytes(32))),
    "a stranger's": lambda stuck, block: replace(
        block, skip=signed_by(*THREE[:2], "stranger", skip=stuck.skip())
    ),
    "added where none is": lambda stuck, _: replace(
        stuck.chain.block(HEIGHT + 1), skip=stuck.decide(height=HEIGHT + 1)
    ),
}


@pytest.mark.parametrize("name", list(TAMPERED))
def test_a_block_without_its_own_decision_is_refused_before_anything_of_it_runs(
    stuck: Stuck, name: str
) -> None:
    """Else whoever serves a block could have a node execute what no node can."""
    chain = stuck.skipped()
    other = ToyChain(GENESIS, runtime=Counting())
    bad = TAMPERED[name](stuck, chain.block(HEIGHT))
    for height in range(1, bad.header.height):
        other.ledger.apply_block(chain.block(height))
    before = Counting.runs
    with pytest.raises(ProofInvalid, match="skip decision"):
        other.ledger.apply_block(bad)
    assert Counting.runs == before
    assert other.ledger.head.height == bad.header.height - 1
    assert other.ledger.apply_block(chain.block(bad.header.height))
    with pytest.raises(ProofInvalid, match="skip decision"):
        check_block_skip(bad, [tx.id for tx in stuck.batch], GENESIS.chain_id, GENESIS.validator_keys)


def test_a_node_that_executed_it_without_the_skip_is_told_that_it_differs(stuck: Stuck) -> None:
    chain = stuck.skipped()

    class Large(ToyRuntime):
        """A host with memory enough."""

        def execute(self, call: Call, state: StateReader) -> Outcome:
            if call.method == "crash":
                return Outcome(OK, gas_used=GAS)
            return super().execute(call, state)

    other = ToyChain(GENESIS)
    for height in range(1, HEIGHT):
        other.ledger.apply_block(chain.block(height))
    large = Ledger(other.store, GENESIS, Large())
    large.execute(HEIGHT, stuck.payload, stuck.batch)
    with pytest.raises(LedgerDiverged, match=f"height {HEIGHT}"):
        large.apply_block(chain.block(HEIGHT))
    certificate = chain.ledger.read.certificate(HEIGHT)
    assert certificate is not None
    with pytest.raises(LedgerDiverged):
        large.certify(certificate)


def test_files_carry_the_decision_and_a_changed_one_is_found(stuck: Stuck, tmp_path: Path) -> None:
    chain = stuck.skipped()
    path = tmp_path / "archive"
    export_blocks(chain.ledger, path, 1, HEIGHT + 1, receipts=True)
    other = Ledger(MemoryStore(), GENESIS, ToyRuntime())
    with ChainFile(path) as file:
        assert import_blocks(other, file) == HEIGHT + 1
    assert other.head == chain.ledger.head
    with ChainFile(path) as file:
        kept = {block.header.height: block.skip for block, _ in read_archive(file, GENESIS)}
    assert kept == {1: None, 2: None, HEIGHT: stuck.decide(), HEIGHT + 1: None}
    chain.store.write([(rows.at(rows.SKIP, HEIGHT), encode(stuck.decide(signers=2)))])
    export_blocks(chain.ledger, tmp_path / "forged", 1, HEIGHT + 1)
    for check in (lambda file: list(read_archive(file, GENESIS)), lambda file: import_blocks(fresh(), file)):
        with ChainFile(tmp_path / "forged") as file, pytest.raises(FileDamaged, match="skip decision"):
            check(file)


def fresh() -> Ledger:
    return Ledger(MemoryStore(), GENESIS, ToyRuntime())


def test_rebuilding_executes_under_the_decision_and_never_without_it(stuck: Stuck) -> None:
    chain = stuck.skipped()
    before = list(chain.store.iterate())
    rebuild(chain.store, GENESIS, ToyRuntime())
    rebuilt = Ledger(chain.store, GENESIS, ToyRuntime())
    assert rebuilt.head == chain.ledger.head
    assert list(chain.store.iterate(prefix=rows.SKIP)) == [row for row in before if row[0][:1] == rows.SKIP]
    chain.store.write([], [rows.at(rows.SKIP, HEIGHT)])
    with pytest.raises(DataDamaged, match=f"skip decision of height {HEIGHT} is missing"):
        rebuild(chain.store, GENESIS, ToyRuntime())


def test_a_directory_whose_head_lacks_its_decision_does_not_open(stuck: Stuck) -> None:
    stuck.chain.ledger.add_skip(stuck.decide())
    stuck.execute()
    stuck.chain.store.write([], [rows.at(rows.SKIP, HEIGHT)])
    with pytest.raises(DataDamaged, match=f"skip decision of height {HEIGHT} is missing"):
        reopened(stuck.chain)


def test_a_decision_stays_when_its_block_is_pruned(stuck: Stuck) -> None:
    chain = stuck.skipped()
    for _ in range(VALIDITY_WINDOW_MAX):
        chain.add()
    set_floor(chain.store, HEIGHT + 1, "")
    while sweep(chain.store):
        pass
    assert chain.ledger.read.payload(HEIGHT) is None
    assert chain.ledger.read.skip(HEIGHT) == stuck.decide()


def test_a_state_that_leaps_over_the_height_takes_what_waited_for_it(stuck: Stuck, tmp_path: Path) -> None:
    behind = ToyChain(GENESIS)
    for height in range(1, HEIGHT):
        behind.ledger.apply_block(stuck.chain.block(height))
    behind.ledger.add_skip(stuck.decide())
    chain = stuck.skipped()
    export_snapshot(chain.ledger, tmp_path / "state", HEIGHT + 1)
    with ChainFile(tmp_path / "state") as file:
        import_snapshot(behind.ledger, file)
    assert behind.ledger.head == chain.ledger.head
    assert behind.ledger.skips.waiting(HEIGHT) is None
    assert list(behind.store.iterate(prefix=rows.SKIP)) == []
    assert StateLoad.resume(behind.store) is None


def test_all_of_a_batch_may_be_skipped(stuck: Stuck) -> None:
    ids = tuple(candidate.id for candidate in stuck.batch)
    stuck.chain.ledger.add_skip(stuck.decide(tx_ids=ids))
    header = stuck.execute()
    assert {receipt.code for receipt in stuck.chain.ledger.read.receipts(HEIGHT)} == {SKIPPED_BY_DECISION}
    assert header_hash(header) == stuck.chain.ledger.head.header_hash
    assert stuck.chain.ledger.head.failed == 0


def candidates_of(block: Block) -> list[DecodedTransaction]:
    return [DecodedTransaction.of(tx) for tx in block.transactions]


def test_a_block_that_waits_for_its_certificate_above_carries_the_decision(stuck: Stuck) -> None:
    """The height's own certificate never came; the next one's proves it."""
    chain = stuck.chain
    chain.ledger.add_skip(stuck.decide())
    stuck.execute()
    chain.add(chain.call("put", {"key": "after", "value": 1}))
    block = chain.block(HEIGHT)
    assert block.above
    assert [candidate.id for candidate in candidates_of(block)] == [item.id for item in stuck.batch]
    other = ToyChain(GENESIS)
    for height in range(1, HEIGHT + 2):
        assert other.ledger.apply_block(chain.block(height))
    assert other.ledger.head == chain.ledger.head
