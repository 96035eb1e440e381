"""Opening of outputs that parties hold in components: their commitments, and their sum.

Under `rep3` the outputs of a run are s_0 + s_1 + s_2 mod 2^64, and two parties hold each component
(protocols/rep3.py). Under `dh-psi` they are one component, which all hold. A component is written down as one
record, byte for byte the same at all of its holders: its salt is known to these alone. So the hash of the
record is a commitment that all of them make alike before anything is revealed; it hides the component from
everybody else, and nobody can hand out another one later.

A receiver that holds two components and gets the third, or gets all of them, learns nothing beyond the
opened values: the third is their difference to the two that it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.crypto import digest
from chain.primitives.errors import DecodeError
from chain.primitives.values import Value, decode_value, encode_value
from privcompute.mpc.ring import Words, decode
from privcompute.mpc.sharing import Shared

COMPONENTS: Mapping[str, int] = {"rep3": 3, "dh-psi": 1}
"""Of how many components an output is, by profile."""
COMPONENT_BYTES_MAX = 268_435_456
SALT_WORDS = 4
"""A salt has 32 bytes."""
_WORD = np.dtype("<u8")


def write_component(
    job: bytes, number: int, salt: Words, shared: Mapping[str, Shared], place: int, public: Value
) -> bytes:
    """Return the record of component `number`, which stands at `place` (0 or 1) of this party's shares.

    `public` is what all parties know of the outputs: it is covered, since results are made of it, too.
    """
    words = {
        name: [list(one.shape), one.fraction_bits, one.words[place].astype(_WORD).tobytes()]
        for name, one in shared.items()
    }
    return encode_value([job, number, salt.astype(_WORD).tobytes(), words, public])


def component_commitment(record: bytes) -> bytes:
    """Return the 32-byte commitment to a component's record, which holds its own salt."""
    return digest("assent/output-component", record)


def open_components(
    job: bytes, profile: str, records: Mapping[int, bytes]
) -> tuple[dict[str, NDArray[Any]], Value]:
    """Return the opened outputs and the public part; raise DecodeError for records that do not fit."""
    count = COMPONENTS[profile]
    if sorted(records) != list(range(count)):
        raise DecodeError(f"components {sorted(records)}: an output has {count} under {profile}")
    parts = [_read(job, number, records[number]) for number in range(count)]
    shapes, public = parts[0][1], parts[0][2]
    if any(other[1:] != (shapes, public) for other in parts):
        raise DecodeError("components of one job with other outputs")
    opened = {}
    for name, (shape, bits) in shapes.items():
        total = np.asarray(np.sum([words[name] for words, _, _ in parts], axis=0, dtype=np.uint64))
        opened[name] = decode(total, bits).reshape(shape)
    return opened, public


_Shapes = dict[str, tuple[tuple[int, ...], int]]


def _read(job: bytes, number: int, record: bytes) -> tuple[dict[str, Words], _Shapes, Value]:
    try:
        its_job, its_number, _, words, public = decode_value(record, max_bytes=COMPONENT_BYTES_MAX)
        if (its_job, its_number) != (job, number):
            raise DecodeError(f"component {number}: the record is of another job or component")
        shapes: _Shapes = {name: (tuple(shape), bits) for name, (shape, bits, _) in words.items()}
        arrays = {
            name: np.frombuffer(data, _WORD).astype(np.uint64).reshape(shape or (1,))
            for name, (shape, _, data) in words.items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise DecodeError(f"component {number}: not a record ({type(error).__name__})") from None
    return arrays, shapes, public
