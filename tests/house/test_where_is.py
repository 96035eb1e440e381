"""docs/where-is.md tells the truth: every question has an answer, and every answer is in its file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.draw import behaviours, draw

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/where-is.md").read_text(encoding="utf-8")
QUESTIONS = {int(number): text for number, text in re.findall(r"^(\d+)\. (.+)$", PAGE, re.MULTILINE)}
ANSWERS = re.findall(r"^\| (\d+) \| `([^`]+)` \| `([^`]+)` \|$", PAGE, re.MULTILINE)


def test_there_are_fifty_questions_and_each_has_one_answer() -> None:
    assert list(QUESTIONS) == list(range(1, 51))
    assert [int(number) for number, _, _ in ANSWERS] == list(QUESTIONS)
    assert len(set(QUESTIONS.values())) == 50


@pytest.mark.parametrize(("number", "file", "symbol"), ANSWERS, ids=[number for number, _, _ in ANSWERS])
def test_the_file_of_an_answer_exists_and_holds_what_to_look_for(number: str, file: str, symbol: str) -> None:
    path = REPOSITORY / file
    assert path.is_file(), f"question {number}: {file} does not exist"
    named = re.compile(rf"(?<!\w){re.escape(symbol)}" + (r"\b" if symbol[-1].isalnum() else ""))
    assert named.search(path.read_text(encoding="utf-8")), f"question {number}: {file} lacks {symbol}"


def test_a_draw_follows_from_its_seed_and_covers_every_kind() -> None:
    assert draw(7) == draw(7) != draw(8)
    assert set(draw(7)) < set(behaviours())
    kinds = {behaviour.partition(" ")[0] for behaviour in behaviours()}
    assert kinds == {"setting", "error", "method", "event"}


def test_every_question_that_was_drawn_names_what_users_still_meet() -> None:
    names = {behaviour.rpartition(" ")[2] for behaviour in behaviours()}
    drawn = [text for number, text in QUESTIONS.items() if number > 20]
    assert [text for text in drawn if not names & set(re.findall(r"`([^`]+)`", text))] == []
