"""What a member may cost: shares, patience, requests that wait, bans. No clock, no socket."""

from __future__ import annotations

import dataclasses

import pytest

from chain.network.account import PAUSE_MAX_S, WAITING_MAX, FrameVerdict, Moment, PeerAccount
from chain.network.bans import FIRST_S, FORGET_S, LONGEST_S, Bans
from chain.network.conduct import Conduct
from chain.network.frame import ANSWERS, IDS_PER_FRAME_MAX, IDS_PER_REQUEST_MAX, Kind
from chain.network.prices import ALL, CONNECTION, PRICES, USELESS, Price
from chain.network.refusals import CAUSES_MAX, PERIOD_S, Refusals
from chain.node.traffic import MESSAGE_PRICES, NODE_PRICES
from chain.primitives.codec import encode, tag_of
from chain.primitives.crypto import PrivateKey
from chain.primitives.pace import LEAST, Pace
from consensus.messages import MESSAGES, UNSIGNED, Prepare

KEY = PrivateKey(bytes(32)).public
START = Moment(100.0, 50.0, 7)
ONE_MS = Price(1.0, 0.0, share_ms=10.0, burst_ms=5.0)
"""Ten frames a second, five at once."""
SIMPLE = {
    "PING": ONE_MS,
    "BLOCKS_REQUEST": dataclasses.replace(ONE_MS, waits=True, measured=True),
    "prepare": dataclasses.replace(ONE_MS, height_ms=3.0),
    USELESS: Price(0.0, 0.0, share_ms=100.0, burst_ms=100.0),
    ALL: Price(0.0, 0.0, share_ms=1e6, burst_ms=1e6),
}


def at(seconds: float, *, pace: float = 1.0, heights: int = 0) -> Moment:
    """The moment so long after START, on a machine that gives us this part of a processor."""
    return Moment(START.now + seconds, START.worked + pace * seconds, START.height + heights)


def send(account: PeerAccount, name: str, count: int, when: Moment = START) -> list[FrameVerdict]:
    return [account.take(name, Kind.PING, b"", when) for _ in range(count)]


def handled(verdicts: list[FrameVerdict]) -> int:
    return verdicts.count(FrameVerdict.HANDLE)


def test_beyond_its_burst_a_kind_is_dropped_until_time_has_passed() -> None:
    account = PeerAccount(SIMPLE, START)
    assert handled(send(account, "PING", 8)) == 5
    assert account.dropped == {"PING": 3}
    assert handled(send(account, "PING", 8, at(0.3))) == 3
    assert handled(send(account, "prepare", 1, at(0.3))) == 1, "kinds do not pay for one another"


def test_what_goes_far_beyond_is_an_offence_that_names_kind_and_amount() -> None:
    account = PeerAccount(SIMPLE, START)
    send(account, "PING", 10)
    assert account.offence == ""
    send(account, "PING", 1)
    worth = "PING frames worth 11 ms of this node's time, beyond 10 ms a second"
    assert account.offence == f"too much: {worth}; 6 of them were not handled"


def test_twice_the_share_for_ever_is_no_offence_and_a_little_more_is_one_within_seconds() -> None:
    patient, pressed = PeerAccount(SIMPLE, START), PeerAccount(SIMPLE, START)
    for tick in range(6_000):
        send(patient, "PING", 1, at(tick / 20))
    assert patient.offence == ""
    for tick in range(300):
        send(pressed, "PING", 1, at(tick / 30))
    assert "PING" in pressed.offence


def test_progress_pays_for_the_frames_that_bring_it_about() -> None:
    account = PeerAccount(SIMPLE, START)
    for height in range(10_000):
        assert handled(send(account, "prepare", 3, at(height / 1_000, heights=height))) == 3
    assert account.offence == ""
    assert handled(send(account, "prepare", 100, at(10, heights=9_999))) <= 8


def test_requests_beyond_the_share_wait_in_order_and_too_many_are_dropped() -> None:
    account = PeerAccount(SIMPLE, START)
    bodies = [bytes([number]) for number in range(5 + WAITING_MAX + 2)]
    said = [account.take("BLOCKS_REQUEST", Kind.BLOCKS_REQUEST, body, START) for body in bodies]
    assert said == [FrameVerdict.HANDLE] * 5 + [FrameVerdict.WAIT] * WAITING_MAX + [FrameVerdict.DROP] * 2
    assert account.due(START) is None
    served = []
    for tick in range(100):
        while (request := account.due(at(tick / 10))) is not None:
            served.append(request[2])
    assert served == bodies[5 : 5 + WAITING_MAX]
    assert not account.waits


def test_a_request_never_overtakes_one_that_waits() -> None:
    account = PeerAccount(SIMPLE, START)
    for number in range(6):
        account.take("BLOCKS_REQUEST", Kind.BLOCKS_REQUEST, bytes([number]), START)
    assert account.take("BLOCKS_REQUEST", Kind.BLOCKS_REQUEST, b"late", at(60)) is FrameVerdict.WAIT
    first, second = account.due(at(60)), account.due(at(60))
    assert first is not None
    assert second is not None
    assert (first[2], second[2]) == (b"\5", b"late")


def test_the_requests_of_a_lost_connection_are_forgotten() -> None:
    account = PeerAccount(SIMPLE, START)
    for _ in range(9):
        account.take("BLOCKS_REQUEST", Kind.BLOCKS_REQUEST, b"", START)
    account.forget_requests()
    assert account.due(at(60)) is None


def test_an_answer_is_charged_to_its_request_and_blames_nobody() -> None:
    account = PeerAccount(SIMPLE, START)
    assert handled(send(account, "PING", 1)) == 1
    account.charge("PING", 9.0, blamed=False)
    assert handled(send(account, "PING", 1, at(0.4))) == 0
    assert handled(send(account, "PING", 1, at(0.6))) == 1
    account.charge("PING", 1e9, blamed=False)
    assert handled(send(account, "PING", 1, at(3.0))) == 1, "however much it was, it is forgotten some time"
    assert account.offence == ""


def test_what_a_request_takes_beyond_its_price_is_charged_and_a_vote_is_not() -> None:
    account = PeerAccount(SIMPLE, START)
    send(account, "BLOCKS_REQUEST", 1)
    account.spent("BLOCKS_REQUEST", 0, 0.1, START, useful=True)
    assert account.take("BLOCKS_REQUEST", Kind.BLOCKS_REQUEST, b"", at(0.9)) is FrameVerdict.WAIT
    send(account, "prepare", 1)
    account.spent("prepare", 0, 0.1, START, useful=True)
    assert handled(send(account, "prepare", 1)) == 1


def test_time_that_brought_nothing_slows_the_link_and_then_ends_it() -> None:
    account = PeerAccount(SIMPLE, START)
    assert account.spent("prepare", 0, 0.09, START, useful=False) == 0.0
    assert account.spent("prepare", 0, 0.06, START, useful=False) == pytest.approx(0.5)
    assert account.offence == ""
    assert account.spent("prepare", 0, 9.0, START, useful=False) == PAUSE_MAX_S
    assert "frames that brought nothing" in account.offence
    assert account.spent_s["prepare"] == pytest.approx(9.15)


def test_on_a_busy_machine_shares_shrink_and_patience_does_not() -> None:
    """What others send does not slow down with us; it is only not handled."""
    account = PeerAccount(SIMPLE, START)
    counts = [handled(send(account, "PING", 2, at(second, pace=0.1))) for second in range(1, 60)]
    assert 59 <= sum(counts) <= 5 + 59, "one a second, where ten would be handled, and a burst"
    assert account.offence == ""


def test_a_pardoned_account_begins_its_patience_anew_and_keeps_its_debts() -> None:
    account = PeerAccount(SIMPLE, START)
    send(account, "PING", 11)
    account.pardon()
    assert account.offence == ""
    assert handled(send(account, "PING", 1)) == 0
    assert account.offence == ""


def test_the_status_tells_of_dropped_frames_for_a_minute() -> None:
    account = PeerAccount(SIMPLE, START)
    send(account, "PING", 8)
    assert account.news(START.now + 59) == "sends more than its share; not handled lately: 3 PING"
    assert account.news(START.now + 61) == ""


def test_consensus_messages_are_named_by_their_tags_and_made_up_tags_by_their_kind() -> None:
    account = PeerAccount(NODE_PRICES, START)
    vote = encode(Prepare(1, 2, bytes(32), KEY, UNSIGNED))
    assert account.name(Kind.CONSENSUS, vote) == "prepare"
    for body in (b"", b"\x91", b"\x92\xa5wrong", b"\x92\xa3TXS", b"\x92\xa4PING" + bytes(99), b"\xff" * 40):
        assert account.name(Kind.CONSENSUS, body) in ("CONSENSUS", "TXS", "PING")
    assert account.name(Kind.CONSENSUS, b"\x92\xa9\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7") == "CONSENSUS"


def test_every_kind_and_message_has_a_price_or_a_reason_to_have_none() -> None:
    asked_for = {answer.name for answer in ANSWERS.values()} - set(PRICES)
    breaches_when_repeated = {Kind.HELLO.name, Kind.BYE.name}
    by_tag = {Kind.CONSENSUS.name}
    metered = {kind.name for kind in Kind} - asked_for - breaches_when_repeated - by_tag
    assert metered | {CONNECTION, USELESS, ALL, Kind.TX_ANSWER.name} == set(PRICES)
    assert {tag_of(message) for message in MESSAGES} == set(MESSAGE_PRICES)


HONEST: dict[str, tuple[float, int, int]] = {
    "prepare": (60, 256, 32),
    "commit": (60, 256, 32),
    "checkpoint": (60, 256, 64),
    "proposal": (50, 40_000, 16),
    "certificate": (10, 1_000, 64),
    "status": (2.5, 600, 10),
    "view-change": (0.5, 8_000, 2),
    "new-view": (0.5, 30_000, 2),
    "fetch": (5, 128, 32),
    "payload": (5, 40_000, 16),
    "PING": (0.4, 8, 5),
    "TXS": (300, 30_000, 60),
    "TX_IDS": (1, IDS_PER_FRAME_MAX * 34, 13),
    "TX_REQUEST": (3, IDS_PER_REQUEST_MAX * 34, 50),
    "STATUS": (6, 700, 20),
    "BLOCKS_REQUEST": (40, 24, 2),
    "CHUNK_REQUEST": (40, 60, 8),
    "ANCHOR_REQUEST": (0.3, 24, 2),
    CONNECTION: (0.4, 0, 10),
}
"""Kind -> (frames a second, bytes, frames at once): what an honest member of a busy chain may come to, with
votes and proposals of fifty heights a second; no two of the bursts in the same second."""


@pytest.mark.parametrize("name", HONEST)
def test_what_an_honest_member_sends_at_most_is_always_handled(name: str) -> None:
    rate, size, burst = HONEST[name]
    account, body, due = PeerAccount(NODE_PRICES, START), bytes(size), 0.0
    for tick in range(1, 20 * 60):
        when = at(tick / 20, heights=int(tick * 2.5))
        due += rate / 20 + (burst if tick % 400 == 7 else 0)
        while due >= 1:
            due -= 1
            assert account.take(name, Kind.TXS, body, when) is FrameVerdict.HANDLE, (name, tick)
    assert account.offence == ""


def test_votes_of_a_chain_that_goes_on_without_us_are_dropped_and_no_offence() -> None:
    """A node that stands still hears four votes a height of everybody, and blames nobody for it."""
    account = PeerAccount(NODE_PRICES, START)
    for tick in range(20 * 120):
        for name in ("prepare", "commit", "checkpoint"):
            send(account, name, 15, at(tick / 20))
    assert account.dropped["prepare"] > 0
    assert account.offence == ""


# --- bans -----------------------------------------------------------------------------------------


def test_bans_grow_within_a_bound_and_are_forgotten_in_peace() -> None:
    bans, now, lengths = Bans(), 0.0, []
    for _ in range(10):
        made = bans.add(KEY, "why", now)
        lengths.append(made.until - made.began)
        assert bans.left(KEY, now) == lengths[-1]
        now = made.until + 1
    assert lengths[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert lengths[-1] == LONGEST_S
    assert bans.recent(KEY, now + FORGET_S) is None
    assert bans.add(KEY, "why", now + FORGET_S).count == 1


def test_what_a_banned_key_does_prolongs_nothing() -> None:
    bans = Bans()
    first = bans.add(KEY, "why", 0.0)
    assert bans.add(KEY, "again", 5.0) == first


def test_conduct_survives_connections_and_ends_with_the_membership() -> None:
    clock = [10.0]
    conduct = Conduct(SIMPLE, lambda: clock[0], lambda: 0, lambda: (0, 0))
    for _ in range(11):
        conduct.take(KEY, "PING", Kind.PING, b"")
    conduct.gone(KEY)
    assert "PING" in conduct.offence(KEY)
    assert conduct.ban(KEY, conduct.offence(KEY)) is not None
    assert conduct.ban(KEY, "again") is None
    assert conduct.offence(KEY) == ""
    assert conduct.story(KEY).startswith("refused for 10 s more (time 1 of late): too much: PING")
    clock[0] += FIRST_S + 5
    assert conduct.banned_s(KEY) == 0
    assert conduct.story(KEY).startswith("was refused 15 s ago (time 1 of late): too much: PING")
    conduct.forget_others([])
    assert conduct.story(KEY) == ""


# --- how busy the machine is, and what is told ----------------------------------------------------


def test_the_pace_follows_what_the_thread_gets_and_never_vanishes() -> None:
    times = [0, 0]
    pace = Pace(lambda: (times[0], times[1]))
    for _ in range(40):
        times[0] += 20_000_000
        times[1] += 60_000_000
        pace.sample()
    assert pace.value == pytest.approx(0.25, abs=0.01)
    for _ in range(40):
        times[1] += 10**9
        pace.sample()
    assert pace.value == pytest.approx(LEAST, abs=0.01)
    pace.sample()
    for _ in range(40):
        times[0] += 2_000_000
        pace.sample()
    assert pace.value == pytest.approx(1.0, abs=0.01)


def test_refused_connections_make_one_line_a_period_however_many_there_are() -> None:
    refusals, lines = Refusals(), []
    for number in range(100_000):
        refusals.note("silent", f"10.0.0.1:{number}", "said nothing")
        lines.append(refusals.due(number * PERIOD_S / 50_000))
    told = [line for line in lines if line]
    assert told[0] == "1 connections refused (1 silent); the last from 10.0.0.1:0: said nothing"
    assert told[1].startswith("50000 connections refused (50000 silent); the last from")
    assert len(told) == 2


def test_causes_told_apart_are_bounded() -> None:
    refusals = Refusals()
    for number in range(1_000):
        refusals.note(f"cause {number}", "a", "b")
    assert refusals.due(0.0).count("cause") == CAUSES_MAX
