"""The parts that a profile adds up to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import chain
from tests.bench.profiler import PARTS

ROOT = Path(chain.__path__[0]).parent
OURS = [text for _, text in PARTS if "(chain/" in text]


@pytest.mark.parametrize("text", OURS)
def test_every_part_of_a_profile_names_code_that_there_is(text: str) -> None:
    """A function that was renamed would be counted as something else."""
    name, place = re.fullmatch(r"(?:(\S+) )?\((chain/\S+)", text).groups()  # type: ignore[union-attr]
    files = [file for file in ROOT.glob("chain/**/*.py") if str(file.relative_to(ROOT)).startswith(place)]
    assert files
    if name:
        part = name.rsplit(".", 1)[-1]
        assert any(re.search(rf"def {part}\b", file.read_text()) for file in files)
