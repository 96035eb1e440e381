"""Hostile programs: dict keys chosen so that their hashes collide."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

import random

from corpus import body, limited, reverted, spent, works


def one_sequence(log: int, taken: int, count: int, seed: int = 1) -> list[int]:
    """Return up to `count` int keys below 2^60 that CPython looks for along one sequence of slots.

    In a dict of 2^log slots whose first `taken` hold the keys 0..taken-1, all their searches meet those alone
    and end at one slot; from there on they share every step. Found backwards, slot by slot.
    """
    size = 1 << log
    fifth = pow(5, -1, size)
    end = next(c for c in range(taken, size) if (c - 1) * fifth % size < taken)
    rng, found = random.Random(seed), list[int]()
    stack = [(11, (end - 1) * fifth % size, 0)]  # a step, its slot, and the bits of the key that are left
    while stack and len(found) < count:
        step, slot, rest = stack.pop()
        if step == 0:
            if rest % (size >> 5) == slot >> 5:
                found.append(rest << 5 | slot % 32)
            continue
        for bits in rng.sample(range(32), 32):
            before = (slot - (rest << 5 | bits) - 1) * fifth % size
            if before < taken:
                stack.append((step - 1, before, rest << 5 | bits))
    return found


CHOSEN = f"KEYS = {one_sequence(9, 86, 170)}\n"
"""With 0..85 they fill a dict as far as int keys may: 256 entries in 512 slots."""
MADE = ("d = {i: 0 for i in range(86)}", "for k in KEYS:", "    d[k] = 0")

PROGRAMS = (
    limited("integer keys that collide", body("d = {}", "for i in range(9999):", "    d[(i << 45) % 2 ** 60] = i", "for j in range(100):", "    for i in range(9999):", "        d[(i << 45) % 2 ** 60]"), "ELEMENTS"),
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
    spent("keys with equal low bits", body("d = {i << 20: i for i in range(256)}", "while True:", "    for i in range(256):", "        i << 20 in d"), gas=1_000_000),
    spent("keys with equal low and middle bits", body("d = {}", "for i in range(256):", "    d[i << 48] = i", "while True:", "    for k in d:", "        k + 1 in d"), gas=1_000_000),
    spent("keys along a probe sequence", body("k = 0", "d = {}", "for i in range(256):", "    d[k] = i", "    k = (5 * k + 1 + (2 ** 59 >> 5)) % 2 ** 60", "while True:", "    k in d"), gas=1_000_000),
    spent("the last of keys along one sequence", CHOSEN + body(*MADE, "while True:", "    KEYS[169] in d"), gas=10_000_000),
    spent("keys along one sequence, encoded", CHOSEN + body(*MADE, "while True:", "    encode(d)"), gas=10_000_000),
    limited("keys along one sequence, copied", CHOSEN + body(*MADE, "while True:", "    {**d}"), "ALLOCATION", gas=10_000_000),
    limited("more keys along one sequence", CHOSEN + body(*MADE, "d[2 ** 59] = 0"), "ELEMENTS"),
    works("int and text keys stay apart", body("d = {1: 'a', '1': 'b'}", "return [d[1], d['1']]"), ["a", "b"]),
)  # fmt: skip
