"""The driver's time: when it suspects, repairs, fetches, syncs and answers, and when it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from chain.primitives.certificate import Certificate, Epoch
from chain.primitives.codec import U64_MAX, encode
from chain.primitives.errors import AssentError, ConfigError, ProofInvalid, SignatureInvalid
from consensus import answers, driver
from consensus.driver import Driver
from consensus.events import Candidate, Effects, Head, Turn
from consensus.forwarding import SHARE
from consensus.messages import (
    UNSIGNED,
    Commit,
    Fetch,
    NewView,
    PayloadReply,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
    decode_message,
    payload_digest,
    sign,
)
from consensus.rules import Rules
from consensus.settings import Timing
from consensus.votes import Evidence, payload_key
from tests.unit.consensus.onereplica import (
    CHAIN,
    KEYS,
    NONCE,
    PUBLIC,
    A,
    B,
    certificate,
    checkpoint,
    commit,
    fresh_view,
    header,
    prepare,
    proposal,
    status,
    view_change,
)

TIMING = Timing(timeout_ms=2_000, timeout_max_ms=20_000, status_ms=400, heartbeat_ms=5_000)


class Node:
    """A driver between a vote store, a transport and an application that are all this object."""

    def __init__(
        self, me: int = 1, *, n: int = 4, later: Epoch | None = None, head: Head | None = None,
        settled: int = U64_MAX, rotation: int = 100, first: bool = True, timing: Timing = TIMING,
    ) -> None:  # fmt: skip
        """Start at 1,000 ms; everything that the driver asks for is answered at once."""
        self.rows: dict[bytes, bytes] = {}
        self.sent: list[tuple[bytes | None, Any]] = []
        self.calls: list[Any] = []
        self.forwarded: list[tuple[int, bytes, bool]] = []
        self.requests = self.writes = 0
        self.verdict: bool | None = True
        self.made: bytes | None = A
        self.old: dict[int, Certificate] = {}
        epochs = (Epoch(0, PUBLIC[:n]), *([later] if later else []))

        def epoch(height: int) -> Epoch:
            return next(item for item in reversed(epochs) if item.first <= height)

        self.now = 1_000
        self.driver = Driver(
            rules=Rules(CHAIN, epoch, lambda: settled, 8, rotation),
            signer=KEYS[me], timing=timing, store=self, transport=self, application=self,
            head=head or Head(), first_start=first, nonce=NONCE,
        )  # fmt: skip
        self.driver.start(self.now)
        self.state = self.driver._state

    # --- vote store and transport -----------------------------------------------------------------

    def load(self) -> list[tuple[bytes, bytes]]:
        return sorted(self.rows.items())

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes]) -> None:
        self.writes += 1
        self.rows.update(puts)
        for key in deletes:
            self.rows.pop(key, None)

    def send(self, to: bytes, data: bytes) -> None:
        self.sent.append((to, decode_message(data)))

    def broadcast(self, data: bytes) -> None:
        self.sent.append((None, decode_message(data)))

    # --- application ------------------------------------------------------------------------------

    def pending(self) -> bool:
        return self.requests > 0

    def propose(self, turn: Turn) -> bytes | None:
        self.calls.append(turn)
        return self.made

    def forward(self, primary: bytes, *, widely: bool) -> None:
        self.forwarded.append((self.now, primary, widely))

    def check(self, candidate: Candidate) -> bool | None:
        self.calls.append(candidate)
        return self.verdict

    def deliver(self, height: int, payload: bytes) -> None:
        self.calls.append(("deliver", height, payload))
        self.driver.executed(height, header(height), self.now)

    def certified(self, certificate: Certificate) -> None:
        self.calls.append(("certified", certificate.height))

    def certificate(self, height: int) -> Certificate | None:
        self.calls.append(("certificate", height))
        return self.old.get(height)

    def behind(self, certificate: Certificate) -> None:
        self.calls.append(("behind", certificate.height, self.now))

    def evidence(self, evidence: Evidence) -> None:
        self.calls.append(evidence)

    def halted(self, reason: str) -> None:
        self.calls.append(("halted", reason))

    # --- what tests do ----------------------------------------------------------------------------

    def hear(self, *messages: Any, peer: int | None = None) -> list[Any]:
        """Take messages, each from its sender, now; return what was sent meanwhile."""
        before = len(self.sent)
        for message in messages:
            about = message.pre_prepare if isinstance(message, Proposal) else message
            sender = PUBLIC[peer] if peer is not None else about.sender
            self.driver.on_message(sender, encode(message), self.now)
        return [message for _, message in self.sent[before:]]

    def until(self, now: int, *, hearing: tuple[int, ...] = (), every: int = 100) -> list[Any]:
        """Let time pass in small steps, hearing statuses of these validators; return what was sent."""
        before = len(self.sent)
        while self.now < now:
            self.now = min(now, self.now + every)
            for index in hearing:
                self.driver.on_message(PUBLIC[index], encode(status(index)), self.now)
            self.driver.on_tick(self.now)
        return [message for _, message in self.sent[before:]]

    def request(self) -> None:
        self.requests += 1
        self.driver.requests_pending(self.now)


def count(kind: type, messages: list[Any]) -> int:
    return sum(isinstance(message, kind) for message in messages)


# --- settings -------------------------------------------------------------------------------------

RANGES = {
    "timeout_ms": (20, 20_000),
    "timeout_max_ms": (2_000, 3_600_000),
    "status_ms": (1, 3_600_000),
    "heartbeat_ms": (1, 3_600_000),
    "batch_interval_ms": (0, 2_000),
    "in_flight_max": (1, 32),
}
"""Bounds of each setting, the others being as by default."""


@pytest.mark.parametrize(("name", "bounds"), RANGES.items())
def test_a_setting_is_taken_within_its_bounds_and_refused_beyond(name: str, bounds: tuple[int, int]) -> None:
    for value in bounds:
        assert getattr(Timing(**{name: value}), name) == value
    for value in (bounds[0] - 1, bounds[1] + 1):
        with pytest.raises(ConfigError):
            Timing(**{name: value})


# --- suspicion ------------------------------------------------------------------------------------


def test_a_primary_is_suspected_when_its_time_is_up_and_not_before() -> None:
    node = Node()
    node.request()
    assert count(ViewChange, node.until(2_999, hearing=(2, 3))) == 0
    assert node.driver.next_deadline() <= 3_000
    assert count(ViewChange, node.until(3_000, hearing=(2, 3))) > 0
    assert (node.state.view, node.state.active) == (1, False)


def test_who_hears_no_quorum_does_not_ask_for_a_view() -> None:
    """It could not succeed, and would cost its vote here. One other of three is too few, two are enough."""
    node = Node()
    node.request()
    assert count(ViewChange, node.until(20_000, hearing=(3,))) == 0
    assert (node.state.view, node.state.active) == (0, True)
    assert count(ViewChange, node.until(24_000, hearing=(2, 3))) > 0


def test_whom_it_heard_long_ago_does_not_count_as_heard() -> None:
    node = Node()
    node.hear(status(2), status(3))
    node.request()
    assert count(ViewChange, node.until(20_000)) == 0


def test_observers_are_not_among_those_who_are_heard() -> None:
    node = Node()
    node.request()
    assert count(ViewChange, node.until(10_000, hearing=(3, 4, 5))) == 0


def test_a_delivery_restarts_the_time_of_the_primary() -> None:
    node = Node()
    node.request()
    node.until(2_900, hearing=(2, 3))
    node.hear(proposal(1), *(commit(1, index) for index in (0, 2, 3)))
    assert ("deliver", 1, A) in node.calls
    node.hear(checkpoint(1, 0), checkpoint(1, 2))
    assert count(ViewChange, node.until(4_800, hearing=(2, 3))) == 0
    node.until(5_000, hearing=(2, 3))
    assert node.state.view == 1


# --- forwarding -----------------------------------------------------------------------------------

FIRST_MS = TIMING.timeout_ms // SHARE


def test_a_backup_that_sees_no_proposal_forwards_what_waits_and_again_each_time_as_much_has_passed() -> None:
    """Time enough is left for the primary of its timeout, and one lost message costs little of it."""
    node = Node(2)
    node.request()
    assert node.driver.next_deadline() == 1_000 + FIRST_MS
    node.until(1_000 + FIRST_MS - 1, every=1)
    assert node.forwarded == []
    node.until(2_990, hearing=(0, 1, 3), every=1)
    assert node.forwarded == [(1_000 + FIRST_MS * 2**i, PUBLIC[0], i > 0) for i in range(6)]


def test_nothing_is_forwarded_once_the_primary_has_proposed_nor_by_the_primary() -> None:
    node = Node(2)
    node.request()
    node.hear(proposal(1))
    node.until(2_900, hearing=(0, 1, 3))
    primary = Node(0)
    primary.made = None
    primary.request()
    primary.until(2_900, hearing=(1, 2, 3))
    assert node.forwarded == primary.forwarded == []


def test_each_height_and_each_primary_gets_its_own_time() -> None:
    """After a view change what waits is offered anew, to the new primary."""
    node = Node(3)
    node.request()
    node.until(1_050, every=10)
    node.hear(proposal(1), *(commit(1, index) for index in (0, 1, 2)))
    node.hear(checkpoint(1, 0), checkpoint(1, 1))
    node.until(1_050 + FIRST_MS, every=1)
    assert node.forwarded == [(1_050 + FIRST_MS, PUBLIC[0], False)]
    node.until(5_000, hearing=(0, 1, 2), every=10)
    assert node.state.view == 1
    assert {to for _, to, _ in node.forwarded} == {PUBLIC[0]}, "who waits for a view waits for no proposal"


def test_a_primary_from_which_each_transaction_is_hidden_is_borne_for_its_whole_tenure() -> None:
    """It proposes as soon as it is offered one, so late each time that its patience would have run out."""
    node = after_tenures(40, rotation=100, until=299)
    assert node.state.rules.primary(0, 300) == PUBLIC[3]
    for height in range(300, 340):
        node.request()
        node.until(node.now + FIRST_MS + 10, hearing=(0, 1, 3), every=1)
        assert node.forwarded[-1][1:] == (PUBLIC[3], False)
        node.hear(led(height, 100), *(commit(height, index) for index in (0, 1, 3)))
        node.hear(checkpoint(height, 0), checkpoint(height, 1))
        node.requests = 0
    assert (node.state.certified, node.state.view) == (339, 0)


def test_a_process_that_slept_blames_nobody() -> None:
    """Its clock jumps over the end of the timer: the wait begins anew. A small jump is no sleep."""
    node = Node()
    node.request()
    node.until(1_100, hearing=(2, 3))
    node.now = 9_000
    node.hear(status(2), status(3))
    assert node.state.view == 0
    assert count(ViewChange, node.until(10_900, hearing=(2, 3))) == 0
    node.until(11_000, hearing=(2, 3))
    assert node.state.view == 1
    brief = Node()
    brief.request()
    brief.until(3_000, hearing=(2, 3), every=1_000)
    assert brief.state.view == 1


@pytest.mark.parametrize(("view", "timeout"), [(2, 8_000), (3, 16_000), (4, 20_000), (80, 20_000)])
def test_the_time_doubles_with_every_view_that_was_wasted_up_to_a_bound(view: int, timeout: int) -> None:
    """Counted from the view of the last delivery."""
    node = Node()
    node.hear(*(view_change(view, index) for index in (0, 2)))
    assert node.state.view == view
    start = node.now
    node.hear(view_change(view, 3))
    told = node.until(start + timeout - 1, hearing=(2, 3), every=199)
    assert max((item.view for item in told if isinstance(item, ViewChange)), default=view) == view
    node.until(start + timeout, hearing=(2, 3))
    assert node.state.view == view + 1


def test_a_delivery_in_a_view_makes_its_time_that_of_the_first_again() -> None:
    """Only views since the last delivery were wasted."""
    node = Node()
    node.hear(fresh_view(2))
    assert node.driver._timers.timeout() == 8_000
    node.hear(proposal(1, A, 2), *(commit(1, index, A, 2) for index in (0, 2, 3)))
    assert node.driver._timers.timeout() == 2_000


def test_time_without_a_quorum_to_hear_does_not_count() -> None:
    """Cut off for long: once others are heard again, the primary has its whole time."""
    node = Node()
    node.request()
    node.until(20_000, hearing=(3,))
    node.until(20_900, hearing=(2, 3))
    assert node.state.view == 0
    node.until(21_000, hearing=(2, 3))
    assert node.state.view == 1


def test_who_said_something_within_two_statuses_is_heard_however_short_the_timeout() -> None:
    node = Node(timing=Timing(timeout_ms=500, status_ms=400))
    node.until(5_000)
    node.hear(status(2), status(3))
    node.request()
    node.until(5_500)
    assert node.state.view == 1
    later = Node(timing=Timing(timeout_ms=500, status_ms=400))
    later.until(5_000)
    later.hear(status(2), status(3))
    later.until(5_400)
    later.request()
    later.until(5_900)
    assert later.state.view == 0, "900 ms ago is too long"


def test_a_new_view_is_awaited_though_nobody_else_is_heard() -> None:
    """A quorum has asked for it: that was heard."""
    node = Node()
    node.hear(view_change(2, 0), view_change(2, 3))
    node.until(8_999)
    assert node.state.view == 2, "four times the timeout: two views were wasted"
    node.until(9_000)
    assert node.state.view == 3


def test_deadlines_are_those_of_the_wait_the_repair_and_the_next_proposal() -> None:
    node = Node(0)
    assert node.driver.next_deadline() == 1_000 + TIMING.status_ms
    node.until(1_400)
    assert node.driver.next_deadline() == 1_400 + TIMING.heartbeat_ms
    node.made = None
    node.request()
    assert node.driver.next_deadline() == node.now + TIMING.batch_interval_ms
    node.made = A
    node.until(1_420, every=20)
    assert node.driver.next_deadline() == 1_420 + TIMING.batch_interval_ms, "another one, while less than 4"


# --- slow primaries -------------------------------------------------------------------------------


def led(height: int, rotation: int = 2) -> Proposal:
    """The proposal of a height by its primary in view 0."""
    leader = height // rotation % 4
    claim = sign(PrePrepare(0, height, payload_digest(A), PUBLIC[leader], UNSIGNED), KEYS[leader], CHAIN)
    return Proposal(claim, A)


def after_tenures(each_ms: int, *, rotation: int = 2, until: int = 7) -> Node:
    """A node that saw each of four primaries lead its heights, and waited so long for each of them."""
    node = Node(2, rotation=rotation)
    node.made = None
    for height in range(1, until + 1):
        node.request()
        node.until(node.now + each_ms, hearing=(0, 1, 3), every=each_ms)
        node.hear(led(height, rotation), *(commit(height, index) for index in (0, 1, 3)))
        node.hear(checkpoint(height, 0), checkpoint(height, 1))
        node.requests = 0
    assert node.state.certified == until
    return node


def test_a_primary_much_slower_than_the_others_is_replaced_before_its_time_is_up() -> None:
    """Others took 40 ms a height; this one may take a second and three times that, not two seconds.

    What passes before it is offered what waits is not held against it.
    """
    node = after_tenures(40)
    node.request()
    start = node.now
    node.until(start + FIRST_MS, every=1)
    assert node.driver.next_deadline() <= start + FIRST_MS + 1_120
    assert count(ViewChange, node.until(start + FIRST_MS + 1_100, hearing=(0, 1, 3))) == 0
    node.until(start + FIRST_MS + 1_140, hearing=(0, 1, 3), every=20)
    assert (node.state.view, node.state.active) == (1, False)


def test_slowness_adds_up_over_the_heights_of_a_tenure() -> None:
    """Each of its heights in time, both together not."""
    node = after_tenures(40)
    node.request()
    node.until(node.now + 900, hearing=(0, 1, 3))
    node.hear(led(8), *(commit(8, index) for index in (0, 1, 3)))
    node.hear(checkpoint(8, 0), checkpoint(8, 1))
    assert node.state.view == 0
    node.until(node.now + 400, hearing=(0, 1, 3))
    assert node.state.view == 0
    node.until(node.now + 200, hearing=(0, 1, 3))
    assert node.state.view == 1, "1,000 ms and 3 * 40 for each of two heights are spent, but for 100 ms each"


def test_time_in_which_nothing_is_owed_counts_against_nobody() -> None:
    """Idle time, execution, and a pause of our own."""
    node = after_tenures(40)
    node.until(node.now + 60_000, hearing=(0, 1, 3))
    node.request()
    node.until(node.now + 1_000, hearing=(0, 1, 3))
    assert node.state.view == 0
    slept = after_tenures(40)
    slept.request()
    slept.until(slept.now + 100, hearing=(0, 1, 3))
    slept.now += 5_000
    slept.driver.on_tick(slept.now)
    slept.until(slept.now + 900, hearing=(0, 1, 3))
    assert slept.state.view == 0


def test_how_many_must_be_measured_follows_the_set_whose_turn_it_is() -> None:
    """Height 6 is the last of four validators; of the seven that follow two may be faulty."""
    later = Epoch(7, PUBLIC[:7])
    for certified, faults in ((5, 1), (6, 2)):
        assert Node(head=Head(certificate(certified)), later=later).driver._timers.faults() == faults
    executed = Node(head=Head(certificate(5), {6: header(6)}), later=later)
    assert (executed.state.delivered, executed.driver._timers.faults()) == (6, 1), (
        "its certificate is still owed"
    )


def test_who_hears_no_quorum_charges_no_primary_for_it() -> None:
    node = after_tenures(40)
    node.request()
    node.until(node.now + 10_000, hearing=(3,))
    assert node.state.view == 0


def test_one_that_is_as_slow_as_the_others_is_borne() -> None:
    """On a slow network everybody is slow: no more than the timer bounds them."""
    node = after_tenures(900)
    node.request()
    node.until(node.now + 1_900, hearing=(0, 1, 3))
    assert node.state.view == 0


# --- lost votes -----------------------------------------------------------------------------------


def test_a_node_knows_whether_the_votes_of_its_key_were_lost() -> None:
    assert not Node().driver.lost_votes
    node = Node(first=False)
    assert node.driver.lost_votes, "it listens"
    node.hear(status(0, answers=NONCE), status(2, answers=NONCE))
    assert not node.state.lost.listening
    assert node.driver.lost_votes, "and gives no vote in this epoch"
    node.state.lost.muted = -1
    assert not node.driver.lost_votes, "in the next it does"


# --- repair ---------------------------------------------------------------------------------------


def test_a_start_is_announced_and_then_an_idle_replica_says_where_it_stands_now_and_then() -> None:
    node = Node()
    assert [type(message) for _, message in node.sent] == [Status]
    assert count(Status, node.until(1_399)) == 0
    assert count(Status, node.until(1_400)) == 1
    assert count(Status, node.until(21_400)) == 4


def test_a_stuck_replica_says_where_it_stands_often() -> None:
    node = Node()
    node.until(1_400)
    node.request()
    assert count(Status, node.until(3_400, every=50)) == 5


def test_who_executed_what_is_not_certified_says_so_often_though_it_waits_for_nobody() -> None:
    """An observer has no timer; it lacks a certificate all the same."""
    node = Node(5)
    node.until(1_400)
    node.hear(proposal(1), *(commit(1, index) for index in (0, 2, 3)))
    assert node.state.executed == 1
    assert node.state.waiting() is None
    assert count(Status, node.until(3_400, every=50)) == 5


def test_a_replica_without_memory_asks_often() -> None:
    node = Node(first=False)
    assert count(Status, node.until(3_400, every=50)) == 6


@pytest.mark.parametrize("far", [proposal(1 + 16), prepare(17, 0), commit(17, 0), checkpoint(17, 0)])
def test_a_message_far_ahead_makes_a_replica_ask_where_the_others_stand(far: Any) -> None:
    node = Node()
    node.until(1_400)
    node.hear(far, peer=0)
    assert count(Status, node.until(2_000)) == 1
    assert count(Status, node.until(7_000)) == 1, "and once more, then it is quiet again"
    node = Node()
    node.until(1_400)
    node.hear(commit(16, 0))
    assert count(Status, node.until(2_000)) == 0, "two windows ahead are held"


def test_progress_repairs_no_certificate_that_lies_behind() -> None:
    """While heights go by, the one that is missing is asked for all the same."""
    node = Node(head=Head(certificate(3), {2: header(2)}, {1: certificate(1)}))
    assert node.state.uncertified() == [2]
    assert count(Status, [message for _, message in node.sent]) == 1
    node.until(1_400)
    asked = 0
    for height in range(4, 24):
        node.hear(proposal(height), *(commit(height, index) for index in (0, 2, 3)))
        node.hear(checkpoint(height, 0), checkpoint(height, 2))
        told = node.until(node.now + 100)
        asked += sum(isinstance(item, Status) and 2 in item.uncertified for item in told)
    assert asked >= 4


def test_a_link_that_comes_up_is_told_where_we_stand() -> None:
    node = Node()
    before = len(node.sent)
    node.driver.on_connected(PUBLIC[3], node.now)
    ((to, message),) = node.sent[before:]
    assert (to, type(message)) == (PUBLIC[3], Status)


# --- block sync -----------------------------------------------------------------------------------


def test_blocks_that_are_near_are_waited_for_a_moment_and_those_far_away_are_not() -> None:
    node = Node()
    node.hear(certificate(8), peer=0)
    assert node.calls == []
    assert node.driver.next_deadline() <= 1_000 + TIMING.status_ms // 4
    node.until(1_100)
    node.until(1_700)
    assert node.calls == [("behind", 8, 1_100), ("behind", 8, 1_500)], "and asked for again"
    far = Node()
    far.hear(certificate(9), peer=0)
    assert far.calls == [("behind", 9, 1_000)]
    far.driver.on_synced(certificate(9), far.now)
    far.until(4_000)
    assert len(far.calls) == 1
    assert far.state.certified == 9


def test_a_sync_is_believed_with_its_certificate_only() -> None:
    node = Node()
    with pytest.raises(ProofInvalid):
        node.driver.on_synced(certificate(9, (0, 1)), node.now)
    assert node.state.certified == 0


# --- payloads -------------------------------------------------------------------------------------


def test_a_payload_is_asked_for_after_a_moment_of_one_validator_after_another() -> None:
    node = Node()
    node.hear(*(commit(1, index) for index in (0, 2, 3)))
    wanted = Fetch(1, payload_digest(A))
    assert count(Fetch, node.until(1_049, every=49)) == 0
    assert node.driver.next_deadline() == 1_050
    node.until(1_050, every=1)
    node.until(1_850, every=50)
    asked = [to for to, message in node.sent if message == wanted]
    assert asked == [PUBLIC[0], PUBLIC[2], PUBLIC[3], PUBLIC[0], PUBLIC[2]]
    node.hear(PayloadReply(1, A), peer=2)
    assert ("deliver", 1, A) in node.calls
    assert count(Fetch, node.until(2_400)) == 0


def test_the_only_validator_asks_nobody() -> None:
    node = Node(0, n=1)
    node.state.slot(1).committed = payload_digest(A)
    node.until(2_000)
    assert count(Fetch, [message for _, message in node.sent]) == 0


def test_an_own_promise_is_read_from_the_vote_store_first() -> None:
    """Memory let the payload go; the vote store keeps what a vote promises."""
    node = Node()
    node.hear(proposal(1, A))
    assert node.rows[payload_key(1, payload_digest(A))] == A
    node.state.slots[1].payloads.clear()
    node.hear(*(commit(1, index) for index in (0, 2, 3)))
    assert ("deliver", 1, A) in node.calls
    assert count(Fetch, [message for _, message in node.sent]) == 0


def test_a_payload_is_answered_to_who_asks_and_no_more_often_than_a_quarter_of_a_status() -> None:
    node = Node()
    node.hear(proposal(1, A))
    asked = Fetch(1, payload_digest(A))
    assert node.hear(asked, peer=3) == [PayloadReply(1, A)]
    assert node.sent[-1][0] == PUBLIC[3]
    assert node.hear(asked, asked, peer=3) == []
    assert node.driver.dropped_answers == 2
    assert node.hear(asked, peer=2) == [PayloadReply(1, A)]
    node.now += TIMING.status_ms // 4
    assert node.hear(asked, peer=3) == [PayloadReply(1, A)]
    assert node.hear(Fetch(1, payload_digest(B)), peer=3) == []
    node.now += TIMING.status_ms // 4
    useful = [node.driver.on_message(PUBLIC[3], encode(item), node.now) for item in (asked, asked)]
    useful.append(node.driver.on_message(PUBLIC[3], encode(Fetch(1, payload_digest(B))), node.now))
    assert useful == [True, False, False], "what is repeated or unknown here counts against who asks"


def test_what_one_answers_is_bounded_and_begins_anew_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ANSWERS_MAX", 3)
    node = Node()
    node.hear(proposal(1, A))
    for index in (0, 2, 3):
        node.hear(Fetch(1, bytes([index]) * 32), peer=index)
    assert node.hear(Fetch(1, payload_digest(A)), peer=3) == []
    assert node.driver.dropped_answers == 1
    assert len(node.driver._answers) == 3
    node.now += TIMING.status_ms // 4
    assert node.hear(Fetch(1, payload_digest(A)), peer=3) == [PayloadReply(1, A)]
    assert len(node.driver._answers) == 1


def test_statuses_are_answered_no_more_often_than_a_quarter_of_their_interval() -> None:
    node = Node(0)
    node.request()
    node.requests = 0
    first = node.hear(status(3))
    assert count(Proposal, first) == 1
    assert node.hear(status(3)) == []
    assert node.driver.dropped_answers == 1
    assert count(Proposal, node.hear(status(2))) == 1, "another's is another's"
    node.now += 100
    assert count(Proposal, node.hear(status(3))) == 1


def test_a_status_that_comes_from_another_than_its_sender_is_refused() -> None:
    node = Node()
    with pytest.raises(AssentError, match="status of"):
        node.hear(status(2), peer=3)
    assert node.driver._timers.heard == {}


def test_certificates_from_long_ago_are_answered_from_the_ledger() -> None:
    """Memory reaches two windows back, that far it answers by itself."""
    node = Node(head=Head(certificate(40), {}, {height: certificate(height) for height in range(25, 40)}))
    node.old = {23: certificate(23), 24: certificate(24)}
    lacks = status(3, certificate=certificate(40), delivered=40, uncertified=(22, 23, 24, 25))
    assert node.hear(lacks) == [certificate(25), certificate(23), certificate(24)]
    assert [call for call in node.calls if call[0] == "certificate"] == [
        ("certificate", 22),
        ("certificate", 23),
        ("certificate", 24),
    ]


# --- what comes in --------------------------------------------------------------------------------


def test_nothing_unverified_reaches_the_replica_and_nobody_is_heard_by_it() -> None:
    node = Node()
    forged = Prepare(0, 1, payload_digest(A), PUBLIC[0], bytes(64))
    with pytest.raises(SignatureInvalid):
        node.hear(forged)
    assert node.state.slots == {}
    assert PUBLIC[0] not in node.driver._timers.heard
    node.hear(prepare(1, 0))
    assert node.driver._timers.heard == {PUBLIC[0]: 1_000}


def test_what_cannot_be_judged_yet_is_nobodys_fault_and_makes_one_ask() -> None:
    """Certificates by a set that is unknown are costly: one in a quarter of a status is looked at."""
    node = Node(settled=8)
    node.until(1_400)
    foreign = certificate(20, (4, 5, 6))
    node.hear(foreign, foreign, peer=3)
    assert node.driver.dropped_answers == 1
    assert node.state.target is None
    assert PUBLIC[3] not in node.driver._timers.heard
    assert count(Status, node.until(2_000)) == 1
    known = Node()
    known.hear(certificate(20), certificate(21), peer=3)
    assert known.driver.dropped_answers == 0


def test_a_message_that_cannot_change_anything_is_dropped_before_its_signature_is_checked() -> None:
    node = Node(head=Head(certificate(5)))
    node.hear(Prepare(0, 5, payload_digest(A), PUBLIC[0], bytes(64)))
    assert node.driver._timers.heard == {}


def test_an_answer_of_the_application_that_comes_late_counts() -> None:
    node = Node()
    node.verdict = None
    assert node.hear(proposal(1)) == []
    (candidate,) = node.calls
    node.driver.checked(candidate, True, node.now)
    assert count(Prepare, [message for _, message in node.sent]) == 1


def test_a_contradiction_is_told_to_the_application_and_kept() -> None:
    node = Node()
    node.hear(prepare(1, 0, A), prepare(1, 0, B))
    (told,) = [call for call in node.calls if isinstance(call, Evidence)]
    assert [node.driver.evidence(*name) for name in node.driver.accused()] == [told]


# --- stopping -------------------------------------------------------------------------------------


def test_a_replica_that_halts_says_so_once_and_nothing_after() -> None:
    node = Node()
    node.hear(proposal(1), *(commit(1, index) for index in (0, 2, 3)))
    sent = len(node.sent)
    node.hear(certificate(1, of=bytes(32)), peer=3)
    told = node.calls[-1]
    assert told[0] == "halted"
    assert "height 1" in told[1]
    calls = len(node.calls)
    node.hear(proposal(2), commit(2, 0))
    node.until(9_000)
    assert (len(node.sent), len(node.calls)) == (sent, calls)


def test_a_failing_port_halts_the_driver_and_raises_once() -> None:
    node = Node()

    def fail(_candidate: Candidate) -> bool:
        raise OSError("disk")

    node.check = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="disk"):
        node.hear(proposal(1))
    assert "OSError: disk" in node.driver.status(node.now)["halted"]
    node.hear(proposal(1))
    node.driver.on_tick(5_000)
    assert node.driver._running is False


# --- writing --------------------------------------------------------------------------------------


def test_deletes_wait_for_a_write_and_those_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are left to the next start."""
    monkeypatch.setattr(driver, "DELETES_MAX", 3)
    node = Node()
    node.rows |= {bytes([key]): b"" for key in range(5)}
    writes = node.writes
    node.driver._perform(Effects(delete=[bytes([key]) for key in range(5)]))
    assert node.writes == writes
    assert node.driver.dropped_deletes == 2
    node.driver._perform(Effects(put={b"x": b""}))
    assert [key for key in range(5) if bytes([key]) in node.rows] == [0, 1]
    node.driver._perform(Effects(put={b"y": b""}, send=[(PUBLIC[1], status(1)), (PUBLIC[2], status(1))]))
    assert [to for to, _ in node.sent[-1:]] == [PUBLIC[2]], "nothing to oneself"
    assert node.driver._deletes == []


def test_votes_are_written_before_they_are_sent() -> None:
    node = Node()
    order: list[str] = []
    write, broadcast = node.write, node.broadcast
    node.write = lambda puts, deletes: (order.append("write"), write(puts, deletes))[1]  # type: ignore[method-assign]
    node.broadcast = lambda data: (order.append("send"), broadcast(data))[1]  # type: ignore[method-assign]
    node.hear(proposal(1), prepare(1, 0), prepare(1, 2))
    assert order == ["write", "send", "write", "send"]
    assert count(Commit, [message for _, message in node.sent]) == 1


# --- proposing ------------------------------------------------------------------------------------


def test_proposals_keep_their_distance_and_their_number_in_flight() -> None:
    node = Node(0)
    node.request()
    told = node.until(1_200, every=5)
    assert [call.height for call in node.calls if isinstance(call, Turn)] == [1, 2, 3, 4]
    assert count(Proposal, told) == 3
    node.requests = 0
    node.until(1_400)
    node.hear(*(prepare(height, index) for height in (1, 2) for index in (1, 2)))
    node.hear(*(commit(height, index) for height in (1, 2) for index in (1, 2)))
    assert ("deliver", 2, A) in node.calls
    node.until(2_000)
    assert len([call for call in node.calls if isinstance(call, Turn)]) == 4, "nothing waits any more"


def test_an_application_with_nothing_for_our_turn_is_asked_again() -> None:
    node = Node(0)
    node.made = None
    node.request()
    assert len(node.calls) == 1
    node.until(1_040, every=20)
    assert len(node.calls) == 3
    assert count(Proposal, [message for _, message in node.sent]) == 0


def test_a_new_view_that_is_entered_counts_as_progress() -> None:
    """It repairs at once what a view change left open."""
    node = Node()
    node.until(1_400)
    node.hear(fresh_view(2))
    assert count(NewView, [message for _, message in node.sent]) == 0
    assert count(Status, node.until(1_800)) == 1
