"""Hostile programs: values with few objects and many bytes, which only a copy of them would take."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import Program, body, limited, rejected, spent

GAS = 10_000_000
"""The dearest transaction that genesis allows by default."""


def many(cap: str, take: str, declared: str = "", text: str = "'x'") -> Program:
    """A list of 70 times one list of 1,000 times one text of 65,536: 4.6 GB for whoever writes it out."""
    lines = (f"a = [{text} * 65536] * 1000", "b = [a] * 70", take)
    name = take + (" of wide characters" if text != "'x'" else "")
    return limited(name, declared + body(*lines), cap, gas=GAS)


WIDE = "'\U0001f600'"
MAP = "m = Map(int, list)\n"
KEYS = "m = Map(tuple[Value, int], int)\n"
VAR = "v = Var(list, [])\n"
EVENT = "E = Event(x=list)\n"
FIELDS = "E = Event(" + ", ".join(f"x{n}=str" for n in range(2000)) + ")\n"

PROGRAMS = (
    many("ENCODED_BYTES", "return sha256(encode(b)).hex()"),
    many("ENCODED_BYTES", "return sha256(encode(b)).hex()", text=WIDE),
    many("RESULT_BYTES", "return b"),
    many("RESULT_BYTES", "return b", text=WIDE),
    many("RESULT_BYTES", "return {'a': b, 'b': (b, b)}"),
    many("WRITTEN_BYTES", "m[1] = b", MAP),
    many("WRITTEN_BYTES", "m[1] = b", MAP, WIDE),
    many("WRITTEN_BYTES", "v.set(b)", VAR),
    many("EVENT_BYTES", "E(x=b)", EVENT),
    many("EVENT_BYTES", "E(x=b)", EVENT, WIDE),
    many("KEY_LENGTH", "m[(tuple([tuple(a)] * 70), 1)] = 1", KEYS),
    limited("a text in every field of an event", FIELDS + body("a = 'x' * 60000", "E(" + ", ".join(f"x{n}=a" for n in range(2000)) + ")"), "EVENT_BYTES", gas=GAS),
    limited("keys of dicts encoded", body("a = [{'x' * 65000: 1}] * 9999", "return encode([a] * 70)"), "ENCODED_BYTES", gas=GAS),
    limited("big numbers encoded", body("a = [2 ** 4095] * 9999", "return encode([a] * 70)"), "ENCODED_BYTES", gas=GAS),
    limited("tuples around a text encoded", body("a = 'x' * 60000", "for i in range(30):", "    a = (a,)", "return encode([a] * 999)"), "ENCODED_BYTES", gas=GAS),
    rejected("constants shared", "A = ('x' * 65000,) * 1000\nB = (A,) * 70\n" + body("return encode(B)"), "CONSTANT"),
    limited("many numbers kept", body("x = 2 ** 4094", "return len([[x + i + j for i in range(9999)] for j in range(99)])"), "ALLOCATION", gas=GAS),
    limited("many wide texts kept", body(f"x = {WIDE} * 65535", "return len([x + str(i % 9) for i in range(9999)])"), "ALLOCATION", gas=GAS),
    limited("many wide characters kept", body(f"x = {WIDE} * 9999", "return len([list(x) for i in range(99)])"), "ALLOCATION", gas=GAS),
    limited("pairs of pairs kept", body("y = [1] * 9999", "return len([list(zip(zip(y, y, y, y), zip(y, y, y, y), zip(y, y, y, y))) for i in y])"), "ALLOCATION", gas=GAS),
    limited("indexes of wide characters kept", body(f"x = {WIDE} * 9", "return len([[x[0] for i in range(9999)] for i in range(99)])"), "ALLOCATION", gas=GAS),
    limited("hashes kept", body("return len([[sha256(b'') for i in range(9999)] for i in range(99)])"), "ALLOCATION", gas=GAS),
    spent("a text compared by every path", body("a = ['x' * 65536] * 1000", "b = ['x' * 65535 + 'x'] * 1000", "while a == b:", "    pass"), gas=GAS),
)  # fmt: skip
