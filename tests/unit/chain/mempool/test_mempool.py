"""The pool: every refusal has its code, every part is bounded, senders are served fairly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.block import DecodedTransaction, TransactionBody, sign_transaction
from chain.ledger.genesis import Limits
from chain.ledger.testing import toy_genesis, toy_key
from chain.mempool.mempool import Mempool, PoolBounds
from chain.mempool.refusals import TransactionRefused
from chain.primitives.codec import encode
from chain.primitives.runtimeport import SIGNER_REFUSALS

CHAIN = toy_genesis().chain_id
SENDERS = ("bank", "bureau", "registry")


class World:
    """A pool and what it asks the ledger."""

    def __init__(self, bounds: PoolBounds | None = None) -> None:
        self.members = {toy_key(name).public for name in SENDERS}
        self.refusals: dict[bytes, str] = {}
        self.committed: set[bytes] = set()
        self.pool = Mempool(
            CHAIN, Limits(), self.signer_refusal, self.committed.__contains__, bounds or PoolBounds()
        )

    def signer_refusal(self, key: bytes) -> str:
        return self.refusals.get(key, "") if key in self.members else "UNKNOWN_SENDER"

    def admit(self, candidate: DecodedTransaction, head: int = 10) -> DecodedTransaction:
        self.pool.admit(self.pool.prepare(candidate.raw), head, verified=True)
        return candidate


def tx(
    number: int, sender: str = "bank", *, until: int = 50, chain: bytes = CHAIN, size: int = 1
) -> DecodedTransaction:
    key = toy_key(sender)
    body = TransactionBody(
        chain, key.public, "toy", "put", bytes(size), 1_000, number.to_bytes(16, "big"), until
    )
    return DecodedTransaction.of(sign_transaction(body, key))


def code_of(world: World, candidate: DecodedTransaction, *, head: int = 10, verified: bool = True) -> str:
    with pytest.raises(TransactionRefused) as caught:
        world.pool.admit(world.pool.prepare(candidate.raw), head, verified=verified)
    assert len(world.pool.missing([candidate.id])) == (0 if caught.value.code == "duplicate" else 1)
    return caught.value.code


def test_each_refusal_has_its_code() -> None:
    world = World(PoolBounds(max_transactions=3, max_per_sender=2, max_bytes=10_000))
    assert code_of(world, tx(1, until=10)) == "expired"
    assert code_of(world, tx(1, until=611)) == "too_far_ahead"
    assert code_of(world, tx(1, "stranger")) == "unknown_sender"
    for refusal in SIGNER_REFUSALS:
        world.refusals = {toy_key("bureau").public: refusal}
        assert code_of(world, tx(1, "bureau")) == refusal.lower()
        world.pool.remove_committed([], 10)
    world.refusals = {}
    assert code_of(world, tx(1), verified=False) == "bad_signature"
    assert code_of(world, tx(1, chain=bytes(32))) == "wrong_chain"
    assert code_of(world, tx(1, size=20_000)) == "pool_full"
    done = tx(9)
    world.committed.add(done.id)
    assert code_of(world, done) == "already_committed"
    first = world.admit(tx(1))
    assert code_of(world, first) == "duplicate"
    world.admit(tx(2))
    assert code_of(world, tx(3)) == "sender_full"
    world.admit(tx(3, "bureau"))
    assert code_of(world, tx(4, "registry")) == "pool_full"


def test_undecodable_and_oversized_bytes_are_refused_before_anything_else() -> None:
    pool = World().pool
    for raw, code in ((b"", "malformed"), (b"\x93", "malformed"), (bytes(132_225), "too_large")):
        with pytest.raises(TransactionRefused) as caught:
            pool.prepare(raw)
        assert caught.value.code == code


def test_a_gas_limit_above_the_chains_is_refused() -> None:
    body = replace(tx(1).tx.body, gas_limit=10_000_001)
    assert code_of(World(), DecodedTransaction.of(sign_transaction(body, toy_key("bank")))) == "gas_limit"


def test_the_validity_window_is_inclusive_at_both_ends() -> None:
    world = World()
    world.admit(tx(1, until=11))
    world.admit(tx(2, until=610))
    assert len(world.pool) == 2


def test_senders_take_turns_in_their_order_of_arrival() -> None:
    world = World()
    for number in range(4):
        world.admit(tx(number))
    late = [world.admit(tx(10, "bureau")), world.admit(tx(11, "registry"))]
    chosen = world.pool.select(4, 10**6)
    assert [c.tx.body.nonce[-1] for c in chosen] == [0, 10, 11, 1]
    assert late[0] in chosen


def test_no_sender_starves_behind_others_that_always_have_more() -> None:
    world = World()
    number = 0
    for _ in range(5):
        for sender in SENDERS:
            number += 1
            world.admit(tx(number, sender))
    served = []
    for _ in range(3):
        (one,) = world.pool.select(1, 10**6)
        served.append(one.tx.body.sender)
        world.pool.remove_committed([one.id], 11)
        number += 1
    assert len(set(served)) == 3


def test_a_batch_keeps_both_bounds_and_leaves_out_what_is_in_flight() -> None:
    world = World()
    all_ = [world.admit(tx(number, size=1_000)) for number in range(10)]
    one = len(all_[0].raw)
    assert len(world.pool.select(100, 3 * one + 5)) == 3
    assert len(world.pool.select(4, 10**9)) == 4
    assert world.pool.select(100, 10**9, {c.id for c in all_[:9]}) == [all_[9]]


def test_transactions_of_a_failed_proposal_are_selectable_again() -> None:
    """FISCO-BCOS 3809, 4198: transactions of a failed proposal stayed marked for ever."""
    world = World()
    admitted = [world.admit(tx(number)) for number in range(3)]
    in_flight = {c.id for c in world.pool.select(3, 10**6)}
    assert world.pool.select(3, 10**6, in_flight) == []
    assert world.pool.select(3, 10**6, set()) == admitted


def test_what_would_be_refused_now_is_dropped_when_keys_or_limits_change() -> None:
    """A primary that is shown it late refuses it, and must not be waited for."""
    world = World()
    kept, other = world.admit(tx(1)), world.admit(tx(2, "bureau"))
    pinned, large = world.admit(tx(3, "bureau")), world.admit(tx(4, size=500))
    assert world.pool.rescreen(10) == 0
    world.members.discard(toy_key("bureau").public)
    world.pool.remove_committed([], 10)
    world.pool.limits = replace(world.pool.limits, tx_bytes=500)
    assert world.pool.rescreen(10, {pinned.id}) == 3
    assert (len(world.pool), world.pool.get([kept.id, other.id, large.id])) == (1, [kept])
    assert world.pool.get([pinned.id]) == [pinned], "a batch may name it"


def test_a_new_head_drops_what_it_settled_and_what_expired() -> None:
    world = World()
    settled, stays, expires = world.admit(tx(1)), world.admit(tx(2)), world.admit(tx(3, until=11))
    assert world.pool.remove_committed([settled.id], 11) == 1
    assert world.pool.get([settled.id, stays.id, expires.id]) == [stays]
    assert world.pool.missing([settled.id, stays.id]) == [settled.id]


def test_what_a_vote_promises_is_held_though_it_expires() -> None:
    """A batch that names it may be ordered already: dropped everywhere, it would stop the chain."""
    world = World()
    pinned, other = world.admit(tx(1, until=11)), world.admit(tx(2, until=11))
    assert world.pool.remove_committed([], 11, {pinned.id}) == 2
    assert world.pool.get([pinned.id, other.id]) == [pinned]
    assert world.pool.select(10, 10**6) == []
    world.pool.remove_committed([pinned.id], 12)
    assert pinned.id not in world.pool


def test_whether_a_sender_may_sign_is_asked_for_each_transaction_and_never_remembered_by_the_pool() -> None:
    world = World()
    world.admit(tx(1))
    world.members.clear()
    assert code_of(world, tx(2)) == "unknown_sender"


def test_a_proposals_transactions_are_held_apart_and_never_selected() -> None:
    world = World(PoolBounds(max_held=2))
    odd = [tx(1, "stranger"), tx(2, until=1), tx(3, until=9_999)]
    for candidate in odd:
        world.pool.hold(candidate, verified=True)
    assert world.pool.missing([c.id for c in odd]) == [odd[0].id]
    assert world.pool.dropped_held == 1
    assert world.pool.select(10, 10**6) == []
    world.pool.remove_committed([odd[1].id], 11)
    assert world.pool.missing([odd[1].id]) == [odd[1].id]
    with pytest.raises(TransactionRefused):
        world.pool.hold(tx(4), verified=False)


def test_a_held_transaction_may_be_admitted_later_and_is_kept_once() -> None:
    world = World()
    candidate = tx(1)
    world.pool.hold(candidate, verified=True)
    world.admit(candidate)
    world.pool.remove_committed([candidate.id], 11)
    assert candidate.id not in world.pool


def test_a_full_pool_still_holds_what_a_proposal_needs() -> None:
    """FISCO-BCOS 2124: with full pools a proposal's transactions must still find room."""
    world = World(PoolBounds(max_transactions=1))
    world.admit(tx(1))
    needed = tx(2, "bureau")
    assert code_of(world, needed) == "pool_full"
    world.pool.hold(needed, verified=True)
    assert world.pool.missing([needed.id]) == []


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["admit", "hold", "commit", "block"]), st.integers(0, 15), st.integers(11, 40)
        ),
        max_size=60,
    )
)
def test_35_the_pools_memory_is_what_it_holds_and_nothing_else(steps: list[tuple[str, int, int]]) -> None:
    """tendermint 8775: mempool memory grows."""
    world = World(PoolBounds(max_transactions=6, max_per_sender=4, max_held=3, max_bytes=2_000))
    head = 10
    for action, number, until in steps:
        candidate = tx(number, SENDERS[number % 3], until=until)
        if action == "hold":
            world.pool.hold(candidate, verified=True)
        elif action == "commit":
            world.pool.remove_committed([candidate.id], head)
        elif action == "block":
            head += 1
            world.pool.remove_committed([], head)
        else:
            try:
                world.admit(candidate, head)
            except TransactionRefused:
                continue
    pool = world.pool
    waiting = pool.select(1_000, 10**9)
    assert len(waiting) == len(pool) <= 6
    assert pool._bytes == sum(len(c.raw) for c in waiting) <= 2_000
    assert all(c.tx.body.valid_until > head for c in waiting)
    pool.remove_committed([c.id for c in waiting] + list(pool._held), head)
    assert (len(pool), pool._bytes, pool._held_bytes) == (0, 0, 0)
    assert [pool._pool, pool._by_sender, pool._by_expiry, pool._held] == [{}, {}, {}, {}]


def test_a_candidate_carries_the_exact_bytes_it_came_in() -> None:
    candidate = tx(1)
    assert World().pool.prepare(candidate.raw) == candidate
    assert encode(candidate.tx) == candidate.raw
    assert candidate.signature_holds
