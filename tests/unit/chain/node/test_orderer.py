"""Batches are made and judged by the chain's rules, and votes keep the transactions that they promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from chain.ledger.batches import batch_ids
from chain.ledger.block import Batch, DecodedTransaction
from chain.ledger.genesis import Limits
from chain.ledger.store.memory import MemoryStore
from chain.ledger.testing import ToyChain, toy_genesis
from chain.mempool.mempool import Mempool
from chain.node.marker import FileMarker
from chain.node.orderer import FORWARDED_MAX, SKEW_TOLD_MS, Orderer
from chain.node.votes import DurableVotes
from chain.primitives.certificate import Certificate
from chain.primitives.codec import decode, encode
from chain.primitives.crypto import PrivateKey
from consensus.events import Candidate, Turn
from consensus.messages import UNSIGNED, Checkpoint, payload_digest, sign
from consensus.votes import Evidence

KEY = b"k" * 32


@dataclass
class Wishes:
    """Records what the orderer asks of the node."""

    wanted: list[bytes] = field(default_factory=list)
    judgements: list[bool] = field(default_factory=list)
    accusations: list[tuple[bytes, str]] = field(default_factory=list)
    forwarded: list[tuple[tuple[bytes, ...], bytes, bool]] = field(default_factory=list)

    def want(self, tx_ids: Sequence[bytes], source: bytes) -> None:  # noqa: ARG002
        self.wanted += tx_ids

    def forward(self, encoded: Sequence[bytes], primary: bytes, *, widely: bool) -> None:
        self.forwarded.append((tuple(encoded), primary, widely))

    def execute(self, height: int, payload: bytes) -> None:
        raise AssertionError((height, payload))

    def certified(self, certificate: Certificate) -> None:
        raise AssertionError(certificate)

    def behind(self, certificate: Certificate) -> None:
        raise AssertionError(certificate)

    def judged(self, candidate: Candidate, valid: bool) -> None:  # noqa: ARG002
        self.judgements.append(valid)

    def accused(self, key: bytes, kind: str) -> None:
        self.accusations.append((key, kind))

    def halted(self, reason: str) -> None:
        raise AssertionError(reason)


class Desk:
    """An orderer over a toy chain at height 1, with its pool, votes and a clock that stands still."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.chain = ToyChain(toy_genesis(limits=limits))
        self.chain.add(self.chain.call("put", {"key": "a", "value": 1}))
        ledger, genesis = self.chain.ledger, self.chain.ledger.genesis
        self.now = ledger.head_header.time + 1_000
        self.pool = Mempool(genesis.chain_id, genesis.limits, ledger.signer_refusal, ledger.read.is_final)
        self.store, self.node = MemoryStore(), Wishes()
        self.votes = DurableVotes(self.store, KEY, FileMarker(folder / "node.voted", KEY))
        self.orderer = Orderer(KEY, ledger, self.pool, self.votes, lambda: self.now, self.node)

    def admit(self, *values: int) -> list[DecodedTransaction]:
        calls = [self.chain.call("put", {"key": "k", "value": value}) for value in values]
        for call in calls:
            self.pool.admit(call, 1, verified=True)
        return calls

    def proposal(
        self,
        ids: Sequence[bytes],
        *,
        time: int | None = None,
        height: int = 2,
        view: int = 0,
        proposer: bytes = KEY,
        fresh: bool = True,
        parents: tuple[bytes, ...] = (),
    ) -> Candidate:
        payload = encode(Batch(height, view, 0, proposer, self.now if time is None else time, tuple(ids)))
        return Candidate(2, 0, KEY, payload, payload_digest(payload), parents, fresh, 0)


def test_a_batch_holds_what_waits_and_what_is_in_flight_is_left_out(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Limits(block_txs=3))
    calls = desk.admit(1, 2, 3)
    first = desk.orderer.propose(Turn(2, 0, (), 0, 0))
    assert first is not None
    assert sorted(batch_ids(first)) == sorted(call.id for call in calls)
    assert desk.orderer.propose(Turn(3, 0, (first,), 1, 0)) is None
    late = desk.admit(4, 5, 6)
    second = desk.orderer.propose(Turn(3, 0, (first,), 1, 0))
    assert second is not None
    assert sorted(batch_ids(second)) == sorted(call.id for call in late)
    assert decode(Batch, second).time > decode(Batch, first).time


def test_above_a_batch_that_is_not_executed_only_a_full_one_is_proposed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Limits(block_txs=3))
    desk.admit(1)
    first = desk.orderer.propose(Turn(2, 0, (), 0, 0))
    assert first is not None
    desk.admit(2, 3)
    assert desk.orderer.propose(Turn(3, 0, (first,), 1, 0)) is None
    desk.admit(4)
    full = desk.orderer.propose(Turn(3, 0, (first,), 1, 0))
    assert full is not None
    assert len(batch_ids(full)) == 3


def test_what_is_forwarded_is_a_few_of_those_that_have_waited_longest(tmp_path: Path) -> None:
    """Of each sender in turn; held transactions, which nobody waits for, are not among them."""
    desk = Desk(tmp_path)
    desk.orderer.forward(KEY, widely=False)
    assert desk.node.forwarded == [], "nothing waits"
    calls = desk.admit(*range(FORWARDED_MAX + 5))
    desk.pool.hold(desk.chain.call("put", {"key": "k", "value": 99}), verified=True)
    desk.orderer.forward(KEY, widely=True)
    assert desk.node.forwarded == [(tuple(call.raw for call in calls[:FORWARDED_MAX]), KEY, True)]


def test_a_good_proposal_is_accepted_and_each_broken_rule_refuses_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    calls = desk.admit(1, 2)
    ids = [call.id for call in calls]
    committed = desk.chain.ledger.read.batch(1)
    assert committed is not None
    assert desk.orderer.check(desk.proposal(ids)) is True
    skew = desk.chain.ledger.genesis.limits.max_clock_skew_ms
    parent = desk.proposal(ids[:1]).payload
    broken = {
        "empty": desk.proposal([]),
        "twice": desk.proposal([ids[0], ids[0]]),
        "another height": desk.proposal(ids, height=3),
        "another view": desk.proposal(ids, view=1),
        "another proposer": desk.proposal(ids, proposer=b"x" * 32),
        "too early": desk.proposal(ids, time=desk.chain.ledger.head_header.time),
        "too late": desk.proposal(ids, time=desk.now + skew + 1),
        "on the ledger": desk.proposal(committed.tx_ids),
        "in flight": desk.proposal(ids, time=desk.now + 1, parents=(parent,)),
        "not a batch": Candidate(2, 0, KEY, b"\x00", payload_digest(b"\x00"), (), True, 0),
    }
    assert {name: desk.orderer.check(item) for name, item in broken.items()} == dict.fromkeys(broken, False)


def test_what_a_quorum_prepared_is_not_judged_again_for_age_or_view(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    ids = [call.id for call in desk.admit(1)]
    old = desk.proposal(ids, time=1, view=7, proposer=b"x" * 32, fresh=False)
    assert desk.orderer.check(old) is True


def test_a_proposal_waits_for_transactions_that_are_not_here(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    call = desk.chain.call("put", {"key": "k", "value": 9})
    assert desk.orderer.check(desk.proposal([call.id])) is None
    assert desk.node.wanted == [call.id]
    desk.orderer.arrived([b"\0" * 32])
    assert desk.node.judgements == []
    desk.pool.hold(call, verified=True)
    desk.orderer.arrived([call.id])
    assert desk.node.judgements == [True]


def test_a_vote_keeps_its_transactions_until_they_are_executed(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    calls = desk.admit(1, 2)
    desk.orderer.propose(Turn(2, 0, (), 0, 0))
    desk.votes.write({b"vote": b"1"}, [])
    desk.store.crash()
    again = DurableVotes(desk.store, KEY, FileMarker(tmp_path / "node.voted", KEY))
    assert sorted(item.id for item in again.pinned()) == sorted(call.id for call in calls)
    assert list(again.load()) == [(b"vote", b"1")]
    again.executed([call.id for call in calls], 0)
    again.write({}, [b"vote"])
    last = DurableVotes(desk.store, KEY, FileMarker(tmp_path / "node.voted", KEY))
    assert (list(last.pinned()), list(last.load())) == ([], [])


def test_of_a_promised_batch_the_part_that_was_not_executed_stays(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    calls = {call.id: call for call in desk.admit(1, 2, 3)}
    payload = desk.orderer.propose(Turn(2, 0, (), 0, 0))
    assert payload is not None
    desk.votes.write({}, [])
    first, *rest = batch_ids(payload)
    desk.votes.executed([first], 0)
    desk.votes.write({}, [])
    again = DurableVotes(desk.store, KEY, FileMarker(tmp_path / "node.voted", KEY))
    assert [item.id for item in again.pinned()] == rest
    again.pin([calls[first], calls[rest[0]]], 2)
    again.write({}, [])
    last = DurableVotes(desk.store, KEY, FileMarker(tmp_path / "node.voted", KEY))
    assert sorted(item.id for item in last.pinned()) == sorted(calls)
    last.executed(list(calls), 0)
    last.write({}, [])
    assert list(DurableVotes(desk.store, KEY, FileMarker(tmp_path / "node.voted", KEY)).pinned()) == []


def test_a_promise_lapses_when_its_height_is_certified_unless_it_was_made_for_a_higher_one_too(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    settled, idle, again, higher = desk.admit(1, 2, 3, 4)
    desk.votes.pin([settled, idle, again], 2)
    desk.votes.pin([again, higher], 3)
    desk.votes.pin([again, higher], 2)
    desk.votes.write({}, [])
    assert desk.votes.executed([settled.id], 1) == []
    assert desk.votes.executed([], 2) == [idle.id]
    assert set(desk.votes.pinned_ids()) == {again.id, higher.id}
    desk.votes.write({}, [])
    restarted = DurableVotes(desk.store, KEY, FileMarker(tmp_path / "node.voted", KEY))
    assert {item.id for item in restarted.pinned()} == {again.id, higher.id}
    assert restarted.executed([], 2) == []
    assert set(restarted.executed([], 3)) == {again.id, higher.id}
    restarted.write({}, [])
    assert list(DurableVotes(desk.store, KEY, FileMarker(tmp_path / "node.voted", KEY)).pinned()) == []


def test_an_empty_first_block_certifies_the_genesis_and_no_other_is_empty(tmp_path: Path) -> None:
    chain = ToyChain()
    genesis = chain.ledger.genesis
    pool = Mempool(genesis.chain_id, genesis.limits, chain.ledger.signer_refusal, chain.ledger.read.is_final)
    orderer = Orderer(
        KEY,
        chain.ledger,
        pool,
        DurableVotes(MemoryStore(), KEY, FileMarker(tmp_path / "node.voted", KEY)),
        lambda: genesis.time + 9,
        Wishes(),
    )
    assert orderer.pending()
    first = orderer.propose(Turn(1, 0, (), 0, 0))
    assert first is not None
    assert batch_ids(first) == ()
    assert orderer.propose(Turn(2, 0, (first,), 1, 0)) is None


def test_a_key_counts_as_having_voted_from_its_first_vote_on_and_not_from_a_failed_start(
    tmp_path: Path,
) -> None:
    marker = FileMarker(tmp_path / "node.voted", KEY)
    assert DurableVotes(MemoryStore(), KEY, marker).first_start
    votes = DurableVotes(MemoryStore(), KEY, marker)
    assert votes.first_start
    votes.write({b"vote": b"1"}, [])
    assert not DurableVotes(MemoryStore(), KEY, marker).first_start


def test_an_announced_change_lets_an_idle_chain_go_on_to_the_height_where_it_holds(tmp_path: Path) -> None:
    """Empty batches, one at a time, and none once the change is in force."""
    desk = Desk(tmp_path)
    ledger, window = desk.chain.ledger, desk.chain.genesis.limits.consensus_window
    assert not desk.orderer.pending()
    desk.chain.add(desk.chain.govern(("a", "b", "c", "d")))
    while ledger.head.height < 2 + window - 1:
        height = ledger.head.height + 1
        assert desk.orderer.pending()
        desk.now = ledger.head_header.time + 1_000
        payload = desk.orderer.propose(Turn(height, 0, (), 0, 0))
        assert payload is not None
        assert desk.orderer.propose(Turn(height + 1, 0, (payload,), 1, 0)) is None
        candidate = Candidate(height, 0, KEY, payload, payload_digest(payload), (), fresh=True, base=0)
        assert desk.orderer.check(candidate) is True
        desk.chain.add()
    assert not desk.orderer.pending()
    desk.now = ledger.head_header.time + 1_000
    late = desk.proposal([], height=ledger.head.height + 1)
    assert desk.orderer.check(replace(late, height=ledger.head.height + 1)) is False


def test_an_empty_proposal_above_heights_not_executed_yet_waits_for_them(tmp_path: Path) -> None:
    """Only they tell whether something is announced: the proposer may have executed what we have not."""
    desk = Desk(tmp_path)
    change = desk.chain.govern(("a", "b"))
    parent = desk.proposal([change.id]).payload
    payload = encode(Batch(3, 0, 0, KEY, desk.now + 1, ()))
    candidate = Candidate(3, 0, KEY, payload, payload_digest(payload), (parent,), fresh=True, base=0)
    assert desk.orderer.check(candidate) is None
    desk.orderer.executed()
    assert desk.node.judgements == []
    desk.chain.add(change)
    desk.orderer.executed()
    assert desk.node.judgements == [True]


def test_batches_keep_the_limits_of_their_own_height(tmp_path: Path) -> None:
    """A limit that governance changed holds a window later, for proposers and judges alike."""
    desk = Desk(tmp_path)
    window = desk.chain.genesis.limits.consensus_window
    desk.chain.add(desk.chain.call("govern", {"var": "limits", "value": {"block_txs": 1}}))
    calls = desk.admit(1, 2, 3)
    for height, most in ((3, 3), (2 + window, 1)):
        while desk.chain.ledger.head.height < height - 1:
            desk.chain.add()
        desk.now = desk.chain.ledger.head_header.time + 1_000
        payload = desk.orderer.propose(Turn(height, 0, (), 0, 0))
        assert payload is not None
        assert len(batch_ids(payload)) == most
        two = encode(Batch(height, 0, 0, KEY, desk.now, tuple(call.id for call in calls[:2])))
        candidate = Candidate(height, 0, KEY, two, payload_digest(two), (), fresh=True, base=0)
        assert desk.orderer.check(candidate) is (most > 1)


def test_the_node_is_told_who_contradicted_itself(tmp_path: Path) -> None:
    desk, liar = Desk(tmp_path), PrivateKey(bytes([7]) * 32)
    chain_id = desk.chain.ledger.genesis.chain_id
    said = [
        encode(sign(Checkpoint(5, bytes([item]) * 32, liar.public, UNSIGNED), liar, chain_id))
        for item in (1, 2)
    ]
    desk.orderer.evidence(Evidence(*said))
    assert desk.node.accusations == [(liar.public, "checkpoint")]


def test_a_clock_that_was_wrong_is_spoken_of_for_a_minute_after_its_last_proposal(tmp_path: Path) -> None:
    """The hint stood for as long as nothing new was proposed, though the clock was right again."""
    desk = Desk(tmp_path)
    desk.orderer._skews[KEY] = (3_600_000, desk.now)
    assert desk.orderer.skews_ms == {KEY: 3_600_000}
    desk.now += SKEW_TOLD_MS + 1
    assert desk.orderer.skews_ms == {}
    desk.now -= 2 * SKEW_TOLD_MS + 2
    assert desk.orderer.skews_ms == {}
