"""Faults that the simulator must find, each planted into the production code at one point.

Most take the place of one function; what is wrong with one line is in `planted_lines.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import chain.ledger.blockcheck
import chain.ledger.ledger
import chain.ledger.writer
import chain.primitives.certificate
import consensus.authenticity
import consensus.driver
import consensus.normal_case
import consensus.repair
import consensus.restart
import consensus.rules
import consensus.view_change
from chain.ledger.ledger import Ledger
from chain.ledger.queries import Queries
from chain.mempool.mempool import Mempool
from chain.network.gossip import Gossip, GossipEffects
from chain.node.orderer import Orderer
from chain.node.votes import DurableVotes
from consensus.driver import Driver
from consensus.errors import VotesDamaged
from consensus.slot import Slot
from consensus.state import State
from consensus.timers import Timers
from tests.simulation.storm import STEPS

Patch = tuple[Any, str, Any]


@dataclass(frozen=True, slots=True)
class Plant:
    """One fault."""

    says: str
    patches: Callable[[], list[Patch]]
    """(module, class or function, name, replacement): one point, but for names that were imported twice."""
    nodes: int | None = 4
    steps: int = STEPS


def _wrong_quorum() -> list[Patch]:
    def two_thirds(n: int) -> int:
        return 2 * ((n - 1) // 3) + 1

    return [
        (chain.primitives.certificate, "quorum", two_thirds),
        (consensus.rules, "quorum", two_thirds),
    ]


def _early_decision() -> list[Patch]:
    decide = Slot.decide
    return [(Slot, "decide", lambda slot, quorum: decide(slot, quorum - 1))]


def _send_before_write() -> list[Patch]:
    perform = Driver._perform

    def hasty(driver: Driver, effects: Any) -> None:
        sends, effects.send = effects.send, []
        for to, message in sends:
            driver._send(to, message)
        perform(driver, effects)

    return [(Driver, "_perform", hasty)]


def _unsynced_votes() -> list[Patch]:
    write = DurableVotes.write

    def lazy(votes: DurableVotes, puts: Mapping[bytes, bytes], deletes: Any) -> None:
        store = votes._store
        votes._store = _Unsynced(store)  # type: ignore[assignment]
        try:
            write(votes, puts, deletes)
        finally:
            votes._store = store

    return [(DurableVotes, "write", lazy)]


class _Unsynced:
    """A store whose writes are not synced, whatever is asked for."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, *changes: Any, **options: Any) -> None:
        self._store.write(*changes, **{**options, "sync": False})


def _unsynced_certificates() -> list[Patch]:
    def put(ledger: Ledger, certificate: Any) -> None:
        if ledger.read.certificate(certificate.height) is None:
            ledger.store.write(ledger._certificate_rows(certificate), sync=False)
            ledger._certified = max(ledger._certified, certificate.height)

    return [(Ledger, "_put_certificate", put)]


class _EqualToAll:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def _reproposals_believed() -> list[Patch]:
    return [(consensus.authenticity, "choose_reproposals", lambda _changes: _EqualToAll())]


def _one_vote_is_enough() -> list[Patch]:
    def jump(view: int, changes: Any, faults: int) -> int | None:
        del faults
        return min((change.view for change in changes if change.view > view), default=None)

    return [(consensus.view_change, "view_to_join", jump)]


def _commit_without_quorum() -> list[Patch]:
    commit = consensus.normal_case._commit

    def early(state: State, slot: Slot) -> None:
        rules = state.rules
        state.rules = _Smaller(rules)  # type: ignore[assignment]
        try:
            commit(state, slot)
        finally:
            state.rules = rules

    return [(consensus.normal_case, "_commit", early)]


class _Smaller:
    """Rules whose quorum is one less."""

    def __init__(self, rules: Any) -> None:
        self._rules = rules

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rules, name)

    def quorum(self, height: int) -> int:
        return max(1, self._rules.quorum(height) - 1)


def _payload_not_stored() -> list[Patch]:
    return [(State, "store_payload", lambda _state, slot, digest: slot.stored.add(digest))]


def _transactions_not_pinned() -> list[Patch]:
    return [(DurableVotes, "pin", lambda _votes, _candidates, _height: None)]


def _certificates_unchecked() -> list[Patch]:
    return [
        (chain.ledger.blockcheck, "check_certificate", lambda *_: None),
        (chain.ledger.ledger, "check_certificate", lambda *_: None),
    ]


def _ids_forgotten() -> list[Patch]:
    return [(Queries, "is_final", lambda _queries, _tx_id: False)]


def _timer_never_fires() -> list[Patch]:
    return [(Timers, "expired", lambda _timers: None)]


def _timeout_uncapped() -> list[Patch]:
    def timeout(timers: Timers) -> int:
        wasted = max(0, timers._state.view - timers._state.good_view)
        return timers._timing.timeout_ms << min(wasted, 40)

    return [(Timers, "timeout", timeout)]


def _nothing_repaired() -> list[Patch]:
    return [(Driver, "_retransmit", lambda _driver: None)]


def _view_forgotten() -> list[Patch]:
    enter = consensus.view_change._enter

    def forgetful(state: State, message: Any) -> None:
        enter(state, message)
        del state.out.put[b"n"]

    return [(consensus.view_change, "_enter", forgetful)]


def _votes_not_restored() -> list[Patch]:
    return [(consensus.restart, "_restore_votes", lambda *_: None)]


def _time_unchecked() -> list[Patch]:
    def lenient(_orderer: Orderer, candidate: Any, batch: Any) -> bool:
        return bool(batch.view == candidate.view and batch.proposer == candidate.proposer)

    return [(Orderer, "_is_timely_and_new", lenient)]


def _any_prepare_counts() -> list[Patch]:
    def votes(slot: Slot) -> tuple[Any, ...]:
        return tuple(sorted(slot.prepares.values(), key=lambda vote: vote.sender))

    return [(Slot, "prepare_votes", votes)]


def _missing_not_fetched() -> list[Patch]:
    return [(Gossip, "want", lambda *_: GossipEffects())]


def _payload_not_fetched() -> list[Patch]:
    return [(Driver, "_fetch", lambda _driver: None)]


def _nothing_leaves_the_pool() -> list[Patch]:
    return [(Mempool, "remove_committed", lambda *_: 0)]


def _abstains_from_nothing() -> list[Patch]:
    settle = consensus.repair.settle_birth
    return [(consensus.repair, "settle_birth", lambda state, _muted: settle(state, None))]


def _executed_not_awaited() -> list[Patch]:
    waiting = State.waiting

    def patient(state: State) -> Any:
        wait = waiting(state)
        return None if wait is not None and wait.kind == "certificate" else wait

    return [(State, "waiting", patient)]


def _expired_dropped() -> list[Patch]:
    expire = Mempool._expire
    return [(Mempool, "_expire", lambda pool, height, _pinned: expire(pool, height, frozenset()))]


def _new_view_needs_birth() -> list[Patch]:
    remembered = consensus.driver.recall

    def strict(rows: Any) -> Any:
        memory = remembered(rows)
        if memory.birth is None and memory.new_view:
            raise VotesDamaged("votes without a birth row")
        return memory

    return [(consensus.driver, "recall", strict)]


def _set_in_force_at_once() -> list[Patch]:
    announce = chain.ledger.writer.announce

    def hasty(schedule: Any, genesis: Any, height: int, writes: Any) -> Any:
        at_once = replace(genesis, limits=replace(genesis.limits, consensus_window=1))
        return announce(schedule, at_once, height, writes)

    return [(chain.ledger.writer, "announce", hasty)]


FUNCTIONS: dict[str, Plant] = {
    "wrong-quorum": Plant("the quorum is 2f+1, which is too small for n = 5", _wrong_quorum, nodes=5),
    "early-decision": Plant("a height is decided by one COMMIT less than a quorum", _early_decision),
    "vote-before-durable": Plant("votes are sent before they are written", _send_before_write),
    "unsynced-votes": Plant("votes are written but not synced", _unsynced_votes),
    "unsynced-certificates": Plant("certificates are written but not synced", _unsynced_certificates),
    "reproposal-not-recomputed": Plant("a NEW-VIEW's re-proposals are believed", _reproposals_believed),
    "view-jump-on-one-message": Plant("one VIEW-CHANGE is enough to follow", _one_vote_is_enough),
    "prepared-quorum-too-small": Plant("COMMIT is sent one PREPARE early", _commit_without_quorum),
    "payload-not-stored": Plant("a vote is durable without its payload", _payload_not_stored),
    "transactions-not-pinned": Plant(
        "the transactions of a voted batch are not made durable", _transactions_not_pinned
    ),
    "sync-certificate-unchecked": Plant(
        "blocks are taken without a quorum's certificate", _certificates_unchecked
    ),
    "replay-ids-not-kept": Plant("the ledger forgets which transactions ran", _ids_forgotten),
    "timer-never-fires": Plant("no primary is ever suspected", _timer_never_fires),
    "timeout-uncapped": Plant("the view timeout doubles without end", _timeout_uncapped),
    "lost-messages-not-repaired": Plant(
        "nobody says where it stands, so nothing is sent again", _nothing_repaired
    ),
    "view-not-durable": Plant("the view entered is forgotten in a crash", _view_forgotten),
    "votes-not-restored": Plant("votes are durable, but not read after a crash", _votes_not_restored),
    "batch-time-unchecked": Plant("a proposal may have any time", _time_unchecked),
    "any-prepare-counts": Plant("PREPAREs for other payloads count, too", _any_prepare_counts),
    "transactions-not-fetched": Plant(
        "transactions that a proposal names are not asked for", _missing_not_fetched
    ),
    "payload-not-fetched": Plant("a payload that was missed is not asked for", _payload_not_fetched),
    "settled-stay-in-pool": Plant("what a block settled stays in the pool", _nothing_leaves_the_pool),
    "executed-not-awaited": Plant("no timer runs for a missing certificate", _executed_not_awaited),
    "expired-pin-dropped": Plant("a voted transaction expires out of the pool", _expired_dropped),
    "new-view-needs-birth": Plant("a wiped node that entered a view cannot restart", _new_view_needs_birth),
    "wiped-votes-at-once": Plant(
        "a replica with a wiped disk votes as if it never had", _abstains_from_nothing
    ),
    "membership-too-early": Plant(
        "a new validator set is in force at the next height, not a window later", _set_in_force_at_once
    ),
}
