"""What every test leaves as it found it: the process that it shares with those after it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator

import pytest

from chain.ledger import passing
from tests.quick import slow_tests

FUNCTIONAL_S = 15.0
"""What a test of real processes takes, rather more than less."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first: begun last, such a file leaves a processor idle.

    Tests of real processes wait more than they compute, so their files begin before all others.
    """
    seconds = defaultdict[str, float](float)
    for name, spent in slow_tests().items():
        seconds[name.partition("::")[0]] += spent
    for item in items:
        if item.get_closest_marker("functional"):
            seconds[item.nodeid.partition("::")[0]] += FUNCTIONAL_S
    items.sort(key=lambda item: -seconds.get(item.nodeid.partition("::")[0], 0.0))


@pytest.fixture(autouse=True)
def process_as_found(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore what a simulation changes for its whole process: its logs and its rule of passing over.

    Commands print as into a pipe: a worker of xdist has COLUMNS of its own.
    """
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(passing, "PASSED_OVER_HEIGHTS", passing.PASSED_OVER_HEIGHTS)
    disabled = logging.root.manager.disable
    yield
    logging.disable(disabled)
