"""Hostile programs: dict keys chosen so that their hashes collide."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import body, reverted, spent, works

PROGRAMS = (
    spent("integer keys that collide", body("d = {}", "for i in range(9999):", "    d[(i << 45) % 2 ** 60] = i", "for j in range(100):", "    for i in range(9999):", "        d[(i << 45) % 2 ** 60]")),
    reverted("keys equal modulo 2^61-1", body("d = {}", "d[2 ** 61 - 1] = 1"), "VALUE_ERROR"),
    reverted("negative keys", body("d = {}", "d[-1] = 1", "d[-2] = 2"), "VALUE_ERROR"),
    reverted("keys at the modulus", body("return {2 ** 60: 1}"), "VALUE_ERROR"),
    reverted("multiples of the modulus", body("return {i * (2 ** 61 - 1): i for i in range(9999)}"), "VALUE_ERROR"),
    reverted("bool as a key", body("k = True", "return {k: 1, 1: 2}"), "TYPE_ERROR"),
    reverted("tuple as a key", body("k = (1, 2)", "return {k: 1}"), "TYPE_ERROR"),
    reverted("bytes as a key", body("k = b'a'", "return {k: 1}"), "TYPE_ERROR"),
    reverted("None as a key", body("d = {}", "d[None] = 1"), "TYPE_ERROR"),
    reverted("setdefault with a bad key", body("d = {}", "d.setdefault(-1, 2)"), "VALUE_ERROR"),
    reverted("lookup with a list", body("return {}[[1]]"), "TYPE_ERROR"),
    spent("keys with equal low bits", body("d = {i << 20: i for i in range(9000)}", "while True:", "    for i in range(9000):", "        i << 20 in d"), gas=1_000_000),
    spent("keys with equal low and middle bits", body("d = {}", "for i in range(4096):", "    d[i << 48] = i", "while True:", "    for k in d:", "        k + 1 in d"), gas=1_000_000),
    spent("keys along a probe sequence", body("k = 0", "d = {}", "for i in range(9000):", "    d[k] = i", "    k = (5 * k + 1 + (2 ** 59 >> 5)) % 2 ** 60", "while True:", "    k in d"), gas=1_000_000),
    works("int and text keys stay apart", body("d = {1: 'a', '1': 'b'}", "return [d[1], d['1']]"), ["a", "b"]),
)  # fmt: skip
