"""What every test leaves as it found it: the process that it shares with those after it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from chain.ledger import passing


@pytest.fixture(autouse=True)
def process_as_found(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore what a simulation changes for its whole process: its logs and its rule of passing over."""
    monkeypatch.setattr(passing, "PASSED_OVER_HEIGHTS", passing.PASSED_OVER_HEIGHTS)
    disabled = logging.root.manager.disable
    yield
    logging.disable(disabled)
