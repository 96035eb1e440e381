"""A log that others cannot fill."""

from __future__ import annotations

import logging

import pytest

from chain.primitives.quietlog import KINDS_MAX, LINES_MAX, PERIOD_S, Quiet


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write lines, whoever has switched logging off in this process."""
    monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)


class Book:
    """A logger whose lines pass the filter, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.quiet = Quiet(lambda: self.now)
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        handler.addFilter(self.quiet)
        self.log = logging.Logger("test", logging.DEBUG)
        self.log.addHandler(handler)


def test_a_kind_of_line_is_written_so_often_and_the_next_period_tells_how_many_were_left_out() -> None:
    book = Book()
    for number in range(5_000):
        book.log.info("peer %d came", number)
    book.log.info("something else")
    assert len(book.lines) == LINES_MAX + 1
    assert book.lines[-1] == "something else"
    book.now = PERIOD_S
    book.log.info("peer %d came", 1)
    left_out = 5_000 - LINES_MAX
    assert book.lines[-1] == f"peer 1 came ({left_out} lines like this were left out before it)"
    book.log.info("peer %d came", 2)
    assert book.lines[-1] == "peer 2 came"


def test_what_a_line_is_filled_with_makes_no_new_kind_and_kinds_are_bounded() -> None:
    book = Book()
    for number in range(3 * KINDS_MAX):
        book.log.warning(f"a library's line {number}")  # filled in before it is logged
        book.log.warning("ours %d", number)
    assert len(book.quiet._kinds) <= KINDS_MAX
    assert sum(line.startswith("ours") for line in book.lines) <= 3 * LINES_MAX
