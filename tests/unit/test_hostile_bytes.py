"""Hostile bytes to every decoder and entry: declared errors only, memory in proportion to the bytes."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.network.messages import Blocks
from chain.primitives.codec import PLAIN_BYTES_MAX, decode, encode
from chain.primitives.errors import DecodeError
from consensus.messages import decode_message
from tests.fuzz.guard import feed
from tests.fuzz.mutate import hostile
from tests.fuzz.targets import TARGETS

SETTINGS = settings(max_examples=30, deadline=None, derandomize=True)
NAMES = sorted(TARGETS)


@cache
def seeds_of(name: str) -> list[bytes]:
    return TARGETS[name].seeds()


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("name", NAMES)
def test_every_seed_is_accepted_or_refused_as_declared(name: str) -> None:
    for seed in seeds_of(name):
        feed(TARGETS[name], seed)


@pytest.mark.parametrize("name", NAMES)
@SETTINGS
@given(number=st.integers(0, 2**32))
def test_variants_of_good_bytes_raise_only_declared_errors(name: str, number: int) -> None:
    target = TARGETS[name]
    feed(target, hostile(random.Random(number), seeds_of(name), target.limit))


@pytest.mark.parametrize("name", NAMES)
@SETTINGS
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_raise_only_declared_errors(name: str, data: bytes) -> None:
    feed(TARGETS[name], data)


@pytest.mark.parametrize("unit", [b"\x90", b"\x80", b"\xc0", b"\x91", b"\x00"])
def test_33_large_frames_of_tiny_items_do_not_become_gigabytes_of_objects(unit: bytes) -> None:
    """FISCO-BCOS 1951 by another way: an empty list is one byte on the wire and 64 in memory."""
    many = 8_000_000
    claims = b"\xdd" + many.to_bytes(4, "big")
    for head in (b"\x93\xa6blocks\x01", b"\x93\xa8proposal", b"\x96\xa8new-view\x01"):
        data = head + claims + unit * many
        with pytest.raises(DecodeError):
            decode_message(data) if b"blocks" not in head else decode(Blocks, data)
        nested = head + b"\xdc\x00\x01" + claims + unit * many
        with pytest.raises(DecodeError):
            decode_message(nested) if b"blocks" not in head else decode(Blocks, nested)
    assert tracemalloc.get_traced_memory()[1] < 6 * many


@SETTINGS
@given(sizes=st.lists(st.integers(1, 200_000), min_size=2, max_size=8))
def test_large_records_read_along_their_shape_are_the_same(sizes: list[int]) -> None:
    record = Blocks(7, tuple(bytes([i]) * size for i, size in enumerate([*sizes, PLAIN_BYTES_MAX])))
    encoded = encode(record)
    assert decode(Blocks, encoded) == record
    for broken in (encoded[:-1], encoded + b"\x00", encoded.replace(b"\xa6blocks", b"\xa6blockz")):
        with pytest.raises(DecodeError):
            decode(Blocks, broken)
