"""The intermediate representation: nested tuples of operator, line and operands, with one canonical encoding.

A program is (kind, engine, constants, records, maps, vars, events, interfaces, libraries…, functions), and
its kind is "program" or "library". Names of locals are gone (slots) and small constants are folded to
canonical bytes, so two sources that differ only in layout within lines lower to the same bytes, on every
CPython version.
"""

from __future__ import annotations

from typing import Any

import msgpack

from chain.primitives.crypto import digest

Node = tuple[Any, ...]


def ir_bytes(program: Node) -> bytes:
    """Return the canonical bytes of a program."""
    packed: bytes = msgpack.packb(program, use_bin_type=True)
    return packed


def ir_hash(program: Node) -> bytes:
    """Return the 32-byte hash by which replicas compare what they compiled."""
    return digest("assent/ir", ir_bytes(program))


def source_hash(source: str) -> bytes:
    """Return the 32-byte hash of a contract's source text."""
    return digest("assent/source", source.encode())


def parts_left(node: object, room: int) -> int:
    """Return how many parts of a tree there is still room for; negative, and no further work, when too many.

    A part that stands in several places counts in each: so it is hashed, and built.
    """
    pending = [node]
    while pending and room >= 0:
        part = pending.pop()
        room -= 1
        if isinstance(part, tuple):
            if len(part) > room:
                return -1
            pending += part
    return room


def frames(node: object) -> int:
    """Return a bound on the interpreter frames that nest while a node runs: 3 an operator, 3 a clause."""
    if not isinstance(node, tuple) or not node:
        return 0
    inner = max(frames(part) for part in node)
    if not isinstance(node[0], str):
        return inner
    clauses = 3 * len(node[1]) if node[0] in ("listcomp", "dictcomp", "generator") else 0
    return inner + 3 + clauses
