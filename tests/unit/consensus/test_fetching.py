"""Which payloads are asked for, of whom, and when."""

from __future__ import annotations

from consensus.fetching import PayloadFetches
from consensus.settings import Timing

TIMING = Timing(status_ms=400)
FIRST, SECOND = (1, b"a" * 32), (2, b"b" * 32)
PEERS = [b"x", b"y", b"z"]


def test_a_payload_is_asked_for_after_a_moment_of_one_peer_after_another() -> None:
    fetches = PayloadFetches(TIMING)
    asked = [
        (now, *item) for now in range(1_000, 1_700) for item in fetches.due([FIRST], now, lambda _: PEERS)
    ]
    assert asked == [
        (1_050, b"x", *FIRST),
        (1_250, b"y", *FIRST),
        (1_450, b"z", *FIRST),
        (1_650, b"x", *FIRST),
    ]


def test_each_payload_has_its_own_time() -> None:
    fetches = PayloadFetches(TIMING)
    fetches.due([FIRST], 1_000, lambda _: PEERS)
    fetches.due([FIRST, SECOND], 1_040, lambda _: PEERS)
    assert sorted(fetches.deadlines()) == [1_050, 1_090]
    assert fetches.due([FIRST, SECOND], 1_060, lambda _: PEERS) == [(b"x", *FIRST)]


def test_what_came_meanwhile_is_asked_for_no_more_and_begins_anew_when_it_is_missing_again() -> None:
    fetches = PayloadFetches(TIMING)
    fetches.due([FIRST], 1_000, lambda _: PEERS)
    assert fetches.due([], 1_050, lambda _: PEERS) == []
    assert fetches.deadlines() == []
    assert fetches.due([FIRST], 1_060, lambda _: PEERS) == []
    assert fetches.deadlines() == [1_110]


def test_the_peers_are_those_of_the_height_and_where_there_are_none_nobody_is_asked() -> None:
    fetches = PayloadFetches(TIMING)
    peers = {1: [], 2: [b"y"]}
    fetches.due([FIRST, SECOND], 1_000, lambda height: peers[height])
    assert fetches.due([FIRST, SECOND], 1_050, lambda height: peers[height]) == [(b"y", *SECOND)]
