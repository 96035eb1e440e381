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


def probed(key: int, log: int) -> list[int]:
    """Return the slots of a table of 2^log in the order in which CPython looks at them for a key."""
    slots, slot, rest = dict[int, None](), key % (1 << log), key
    while len(slots) < 1 << log:
        slots[slot] = None
        rest >>= 5
        slot = (5 * slot + rest + 1) % (1 << log)
    return list(slots)


PASSED = [slot if slot != 7 else slot + 512 for slot in probed(7, 9)[:339]]
"""Keys that lie, each in its own place, wherever a search for 7 looks, in a table that 126 entries made."""
FILLED = (
    *(
        "d = {k: 0 for k in PASSED[:126]}",
        "for i in range(45):",
        "    d[5000 + i] = 0",
        "    del d[5000 + i]",
    ),
    *("for i in range(126, 339):", "    del d[PASSED[i - 126]]", "    d[PASSED[i]] = 0"),
)
CHOSEN = f"KEYS = {one_sequence(8, 24, 104)}\n"
"""With 0..23 they fill a dict as far as int keys may: 128 entries in 256 slots."""
MADE = ("d = {i: 0 for i in range(24)}", "for k in KEYS:", "    d[k] = 0")

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
    spent("keys with equal low bits", body("d = {i << 20: i for i in range(128)}", "while True:", "    for i in range(128):", "        i << 20 in d"), gas=1_000_000),
    spent("keys with equal low and middle bits", body("d = {}", "for i in range(128):", "    d[i << 48] = i", "while True:", "    for k in d:", "        k + 1 in d"), gas=1_000_000),
    spent("keys along a probe sequence", body("k = 0", "d = {}", "for i in range(128):", "    d[k] = i", "    k = (5 * k + 1 + (2 ** 59 >> 5)) % 2 ** 60", "while True:", "    k in d"), gas=1_000_000),
    spent("the last of keys along one sequence", CHOSEN + body(*MADE, "while True:", "    KEYS[103] in d"), gas=10_000_000),
    limited("keys along one sequence, encoded", CHOSEN + body(*MADE, "while True:", "    encode(d)"), "ALLOCATION", gas=10_000_000),
    limited("keys along one sequence, copied", CHOSEN + body(*MADE, "while True:", "    {**d}"), "ALLOCATION", gas=10_000_000),
    limited("keys along one sequence, merged", CHOSEN + body(*MADE, "e = {'a': 0}", "del d[0]", "while True:", "    e | d"), "ALLOCATION", gas=10_000_000),
    limited("keys along one sequence, united in place", CHOSEN + body(*MADE, "del d[0]", "while True:", "    e = {'a': 0}", "    e |= d"), "ALLOCATION", gas=10_000_000),
    limited("keys along one sequence, from pairs", CHOSEN + body(*MADE, "p = list(d.items())", "while True:", "    dict(p)"), "ALLOCATION", gas=10_000_000),
    limited("keys along one sequence, walked", CHOSEN + body(*MADE, "while True:", "    for v in d.values():", "        pass"), "ALLOCATION", gas=10_000_000),
    spent("keys along one sequence, compared", CHOSEN + body(*MADE, "e = d.copy()", "while True:", "    d == e"), gas=10_000_000),
    spent("a search past entries and deleted ones", f"PASSED = {PASSED}\n" + body(*FILLED, "while True:", "    7 in d"), gas=10_000_000),
    limited("a dict of deleted keys that is merged into", f"PASSED = {PASSED}\n" + body(*FILLED, "e = {7: 0}", "while True:", "    d.update(e)", "    d.pop(7)"), "ALLOCATION", gas=10_000_000),
    limited("more keys along one sequence", CHOSEN + body(*MADE, "d[2 ** 59] = 0"), "ELEMENTS"),
    works("int and text keys stay apart", body("d = {1: 'a', '1': 'b'}", "return [d[1], d['1']]"), ["a", "b"]),
)  # fmt: skip
