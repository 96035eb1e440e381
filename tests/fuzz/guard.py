"""Feeding one input to a target under the two rules: declared errors only, and memory in proportion."""

from __future__ import annotations

import tracemalloc

from chain.primitives.codec import PLAIN_BYTES_MAX
from chain.primitives.errors import AssentError
from tests.fuzz.targets import Target

BASE_BYTES = 4_194_304
PER_BYTE = 16
PER_SMALL_BYTE = 160
"""An empty list is one byte of msgpack and 64 of memory, and decoding holds two trees of it."""


class MemoryExceeded(AssertionError):
    """An input cost more memory than the rule allows."""


def allowed_bytes(size: int) -> int:
    """Return how much memory an input of this size may cost at its peak."""
    return BASE_BYTES + PER_BYTE * size + PER_SMALL_BYTE * min(size, PLAIN_BYTES_MAX)


def feed(target: Target, data: bytes) -> None:
    """Run a target; raise what it must not raise, or MemoryExceeded. Tracing must be on."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        target.run(data)
    except AssentError as error:
        if not error.code or not str(error):
            raise AssertionError(f"{type(error).__name__} without a code or a text") from error
    peak = tracemalloc.get_traced_memory()[1] - before
    if peak > allowed_bytes(len(data)):
        raise MemoryExceeded(
            f"{target.name}: {len(data)} bytes cost {peak}, at most {allowed_bytes(len(data))}"
        )
