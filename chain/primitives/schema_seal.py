"""The seal of a declared schema: a chain of hashes over its key and its columns, one step a column.

    seal_0 = SHA-256(["assent/schema", VERSION, key])      seal_n = SHA-256([seal_(n-1), declaration n])

Whoever receives a wide schema in parts keeps 32 bytes, and needs no column twice. The contract `datasets`
computes the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

from chain.primitives.values import encode_value

VERSION = 1


def seal_steps(key: Sequence[str], declared: Iterable[bytes]) -> Iterator[bytes]:
    """Yield seal_0, seal_1, … of a key's column names and of columns' canonical bytes, in their order."""
    seal = sha256(encode_value(["assent/schema", VERSION, list(key)])).digest()
    yield seal
    for column in declared:
        seal = sha256(encode_value([seal, column])).digest()
        yield seal


def sealed_by(key: Sequence[str], declared: Iterable[bytes]) -> bytes:
    """Return the last of the steps: the 32 bytes that stand for everything that the schema declares."""
    *_, seal = seal_steps(key, declared)
    return seal
