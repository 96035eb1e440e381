"""How often one peer is answered."""

from __future__ import annotations

import pytest

from consensus import answers
from consensus.answers import AnswerLimit
from consensus.settings import Timing

INTERVAL_MS = 100


def limit() -> AnswerLimit:
    return AnswerLimit(Timing(status_ms=4 * INTERVAL_MS))


def test_each_peer_has_each_answer_once_an_interval() -> None:
    made = limit()
    assert made.take(b"x", b"one", 1_000)
    assert not made.take(b"x", b"one", 1_099)
    assert made.take(b"x", b"two", 1_099)
    assert made.take(b"y", b"one", 1_099)
    assert made.take(b"x", b"one", 1_100)
    assert made.dropped == 1


def test_a_question_that_was_dropped_does_not_put_off_the_next_answer() -> None:
    made = limit()
    made.take(b"x", b"one", 1_000)
    for now in range(1_001, 1_100):
        assert not made.take(b"x", b"one", now)
    assert made.take(b"x", b"one", 1_100)


def test_what_is_remembered_is_bounded_and_makes_room_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ANSWERS_MAX", 3)
    made = limit()
    assert [made.take(b"x", bytes([item]), 1_000 + item) for item in range(5)] == [True] * 3 + [False] * 2
    assert len(made) == 3
    assert made.take(b"x", b"later", 1_000 + INTERVAL_MS), "the first is an interval old"
    assert (len(made), made.dropped) == (3, 2)
