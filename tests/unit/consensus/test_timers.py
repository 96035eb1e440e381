"""The timers of a replica by themselves: tests set its state and tell the time; there is no driver."""

from __future__ import annotations

from chain.primitives.certificate import Epoch
from chain.primitives.codec import U64_MAX
from consensus.events import Head, Turn, Wait
from consensus.forwarding import SHARE
from consensus.messages import payload_digest
from consensus.rules import Rules
from consensus.settings import Timing
from consensus.slot import Check
from consensus.state import State
from consensus.timers import Timers
from tests.unit.consensus.onereplica import CHAIN, KEYS, PUBLIC, certificate

TIMING = Timing(timeout_ms=2_000, timeout_max_ms=20_000, status_ms=400, heartbeat_ms=5_000)
PROGRESS = Wait("progress", 0, 0)
FIRST_MS = TIMING.timeout_ms // SHARE


def replica(me: int = 1) -> State:
    """The state of one of four validators, whose primary in view 0 is number 0."""
    rules = Rules(CHAIN, lambda _height: Epoch(0, PUBLIC[:4]), lambda: U64_MAX, 8, 100)
    return State(rules, KEYS[me], Head())


def timers(state: State, *, at: int = 1_000, timing: Timing = TIMING) -> Timers:
    made = Timers(timing, state)
    made.start(at)
    made.follow()
    return made


def waiting(state: State, *, at: int = 1_000) -> Timers:
    """Timers of a replica with a request that waits, and two others that it hears."""
    state.pending = True
    made = timers(state, at=at)
    for index in (2, 3):
        made.hear(PUBLIC[index], at)
    return made


def pass_time(made: Timers, now: int, *, hearing: tuple[int, ...] = (2, 3)) -> None:
    """Let time pass in steps that are no sleep of the process, hearing these validators."""
    while made.now < now:
        made.advance(min(now, made.now + 100))
        for index in hearing:
            made.hear(PUBLIC[index], made.now)
        made.follow()


def test_no_wait_begins_while_nothing_is_owed() -> None:
    made = timers(replica())
    pass_time(made, 60_000)
    assert (made.wait, made.expired(), made.forward_due()) == (None, None, None)


def test_a_wait_runs_out_at_the_timeout_and_not_before() -> None:
    made = waiting(replica())
    assert made.wait == PROGRESS
    pass_time(made, 2_999)
    assert made.expired() is None
    pass_time(made, 3_000)
    assert made.expired() == PROGRESS


def test_a_wait_that_runs_out_unheard_begins_anew() -> None:
    made = waiting(replica())
    pass_time(made, 5_000, hearing=(3,))
    assert made.expired() is None
    assert made.since == 5_000, "one other of three is no quorum"


def test_a_delivery_begins_another_wait() -> None:
    state = replica()
    made = waiting(state)
    pass_time(made, 2_900)
    state.delivered = state.executed = 1
    made.follow()
    assert (made.wait, made.since) == (Wait("progress", 0, 1), 2_900)


def test_a_sleep_of_the_process_begins_the_wait_anew_and_a_short_pause_does_not() -> None:
    made = waiting(replica())
    made.advance(2_000)
    assert made.since == 1_000, "half a timeout is no sleep"
    made.advance(3_001)
    assert made.since == 3_001
    assert made.next_deadline() <= 3_001 + TIMING.timeout_ms


def test_time_never_goes_back() -> None:
    made = waiting(replica())
    pass_time(made, 2_000)
    made.advance(1_500)
    assert made.now == 2_000


def test_the_timeout_doubles_with_each_view_without_delivery_up_to_its_maximum() -> None:
    state = replica()
    made = timers(state)
    found = []
    for view in (0, 1, 2, 3, 4, 16, 2**40):
        state.view = view
        found.append(made.timeout())
    assert found == [2_000, 4_000, 8_000, 16_000, 20_000, 20_000, 20_000]
    state.good_view = state.view
    assert made.timeout() == 2_000


def test_what_waits_is_forwarded_to_the_primary_once_and_then_to_everybody() -> None:
    made = waiting(replica(2))
    made.advance(1_000 + FIRST_MS - 1)
    assert made.forward_due() is None
    made.advance(1_000 + FIRST_MS)
    assert made.forward_due() == (PUBLIC[0], False)
    assert made.forward_due() is None, "it is armed anew"
    made.advance(1_000 + 2 * FIRST_MS)
    assert made.forward_due() == (PUBLIC[0], True)


def test_nothing_is_forwarded_once_a_proposal_is_known_nor_by_the_primary() -> None:
    state = replica(2)
    made = waiting(state)
    slot = state.slot(1)
    assert slot is not None
    slot.propose(payload_digest(b"x"), None)
    pass_time(made, 2_900)
    assert made.forward_due() is None
    primary = waiting(replica(0))
    pass_time(primary, 2_900)
    assert primary.forward_due() is None


def test_the_application_is_asked_for_a_payload_once_an_interval() -> None:
    state = replica(0)
    made = waiting(state)
    turn = made.proposal_due()
    assert isinstance(turn, Turn)
    assert turn.height == 1
    assert made.proposal_due() is None
    assert made.next_deadline() == made.now + TIMING.batch_interval_ms
    made.advance(made.now + TIMING.batch_interval_ms)
    assert made.proposal_due() == turn


def test_an_application_that_had_no_payload_is_asked_again_after_the_interval() -> None:
    made = waiting(replica(0))
    assert made.proposal_due() is not None
    assert made.next_deadline() > made.now + TIMING.batch_interval_ms
    made.ask_again()
    assert made.next_deadline() == made.now + TIMING.batch_interval_ms


def test_no_more_proposals_are_made_than_may_be_in_flight() -> None:
    state = replica(0)
    made = timers(state, timing=Timing(in_flight_max=1))
    state.pending = True
    assert made.proposal_due() is not None
    slot = state.slot(1)
    assert slot is not None
    slot.propose(payload_digest(b"x"), None)
    slot.keep_payload(b"x")
    slot.check = Check.VALID
    made.advance(2_000)
    assert state.turn() is not None
    assert made.proposal_due() is None


def test_a_status_is_sent_often_while_stuck_and_seldom_while_idle() -> None:
    idle = timers(replica())
    idle.advance(1_400)
    assert idle.retransmission_due()
    assert idle.next_deadline() == 1_400 + TIMING.heartbeat_ms
    stuck = waiting(replica())
    stuck.advance(1_400)
    assert stuck.retransmission_due()
    assert not stuck.retransmission_due()
    stuck.advance(1_800)
    assert stuck.retransmission_due()


def test_who_lost_track_asks_soon_and_once() -> None:
    made = timers(replica())
    made.advance(1_400)
    assert made.retransmission_due()
    made.lose_track()
    made.follow()
    made.advance(1_800)
    assert made.retransmission_due()
    made.follow()
    made.advance(1_800 + TIMING.status_ms)
    assert made.retransmission_due(), "the interval was still that of one who is stuck"
    assert made.next_deadline() == 2_200 + TIMING.heartbeat_ms


def test_sync_is_called_for_at_once_beyond_the_consensus_window_and_after_a_moment_within() -> None:
    far, near = replica(), replica()
    far.target, near.target = certificate(9), certificate(8)
    assert timers(far).sync_due() == far.target
    made = timers(near)
    assert made.sync_due() is None
    assert made.next_deadline() == 1_000 + TIMING.status_ms // 4
    made.advance(1_100)
    assert made.sync_due() == near.target
    assert made.sync_due() is None, "and again after a whole interval"
    near.target = None
    made.advance(1_500)
    assert made.sync_due() is None


def due(made: Timers) -> bool:
    """Ask everything as the driver does; the application has no payload."""
    asked = [made.forward_due(), made.proposal_due(), made.expired(), made.sync_due()]
    if asked[1] is not None:
        made.ask_again()
    return made.retransmission_due() or any(item is not None for item in asked)


def test_whatever_is_due_was_announced_as_the_next_deadline() -> None:
    """The clock goes on by the millisecond; two timeouts pass."""
    for state, count in ((replica(0), 200), (replica(2), 10)):
        made, found = waiting(state), 0
        due(made)
        for _ in range(2 * TIMING.timeout_ms):
            announced = made.next_deadline()
            made.advance(made.now + 1)
            for index in (2, 3, 0):
                made.hear(PUBLIC[index], made.now)
            made.follow()
            if due(made):
                found += 1
                assert announced <= made.now
        assert found >= count
