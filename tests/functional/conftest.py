"""Fixtures of the functional tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live import ORGS

from chain.cli.consortium import start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[ConsortiumFolder]:
    """Four running validators, no agents."""
    made = create_consortium(tmp_path / "c", ORGS, ORGS[:3], 0, "test")
    try:
        list(start_consortium(made, agents=False))
        yield made
    finally:
        list(stop_consortium(made))
