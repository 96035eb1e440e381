"""Hostile variants of good bytes: bits and lengths, and msgpack trees changed and encoded again."""

from __future__ import annotations

import random
from typing import Any

import msgpack

NUMBERS = (0, 1, 2, 127, 128, 255, 2**16, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**63))
BOMBS = (
    b"\x90",
    b"\x80",
    b"\xc0",
    b"\x91",
    b"\x81\xc0",
    b"\xa0",
    b"[",
    b"[],",
    b'{"a":',
    b"\x00",
    b"\xff",
    b"9",
)
LENGTHS = (0, 1, 2, 31, 33, 63, 64, 65, 255, 65_535, 65_536, 2**31, 2**32 - 1)


def hostile(source: random.Random, seeds: list[bytes], limit: int) -> bytes:
    """Return one variant of some seed, at most `limit` bytes."""
    data = source.choice(seeds) if seeds else b""
    for _ in range(source.randint(1, 4)):
        change = source.choice((_flip, _cut, _insert, _splice, _length, _tree, _tree, _tree, _bomb))
        data = change(source, data, seeds)[:limit]
    return data


def _flip(source: random.Random, data: bytes, _: list[bytes]) -> bytes:
    if not data:
        return source.randbytes(8)
    changed = bytearray(data)
    changed[source.randrange(len(data))] ^= 1 << source.randrange(8)
    return bytes(changed)


def _cut(source: random.Random, data: bytes, _: list[bytes]) -> bytes:
    at, end = sorted((source.randint(0, len(data)), source.randint(0, len(data))))
    return data[:at] if source.random() < 0.5 else data[:at] + data[end:]


def _insert(source: random.Random, data: bytes, _: list[bytes]) -> bytes:
    at = source.randint(0, len(data))
    return data[:at] + source.randbytes(source.choice((1, 2, 4, 32, 64))) + data[at:]


def _splice(source: random.Random, data: bytes, seeds: list[bytes]) -> bytes:
    other = source.choice(seeds) if seeds else b""
    return data[: source.randint(0, len(data))] + other[source.randint(0, len(other)) :]


def _length(source: random.Random, data: bytes, _: list[bytes]) -> bytes:
    at, width = source.randint(0, len(data)), source.choice((1, 2, 4, 8))
    number = source.choice(LENGTHS) % 256**width
    return data[:at] + number.to_bytes(width, "big") + data[at + width :]


def _bomb(source: random.Random, data: bytes, _: list[bytes]) -> bytes:
    unit = source.choice(BOMBS)
    many = unit * source.choice((10, 100, 5_000, 50_000))
    at = source.randint(0, len(data))
    return data[:at] + many + data[at:]


def _tree(source: random.Random, data: bytes, seeds: list[bytes]) -> bytes:
    """Change the msgpack tree and encode it again: it stays canonical, so decoders read on."""
    try:
        tree = msgpack.unpackb(data, raw=False, strict_map_key=False)
        for _ in range(source.randint(1, 3)):
            tree = _changed(source, tree, 0)
        return bytes(msgpack.packb(tree, use_bin_type=True))
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        return _flip(source, data, seeds)


def _changed(source: random.Random, item: Any, depth: int) -> Any:
    if isinstance(item, list) and item and source.random() < 0.85:
        place = source.randrange(len(item))
        return [_changed(source, part, depth + 1) if at == place else part for at, part in enumerate(item)]
    if isinstance(item, dict) and item and source.random() < 0.7:
        key = source.choice(list(item))
        return {**item, key: _changed(source, item[key], depth + 1)}
    kind = source.random()
    if kind < 0.25:
        return source.choice(NUMBERS)
    if kind < 0.45:
        return source.randbytes(source.choice((0, 1, 31, 32, 33, 64, 500)))
    if kind < 0.55:
        return source.choice(("", "a", "x" * 70, "bank", "é", "\x00", "../x", "orgs", "lifecycle"))
    if kind < 0.65:
        return source.choice((None, True, False, [], {}, [[]], [None] * 50))
    if isinstance(item, bytes) and item:
        return _flip(source, item, [])
    if isinstance(item, list):
        return item + item if source.random() < 0.5 else item[:-1]
    return [item]
