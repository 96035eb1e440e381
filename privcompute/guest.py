"""Owners and receivers outside the three computing parties of `rep3`.

A guest has an index of 3 or more. It shares in by sending each computing party its two components, and
receives by adding what the three send. It learns nothing else and needs no keys beyond its links.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from privcompute.engine import Round, Steps
from privcompute.errors import ProgramFault
from privcompute.prg import KEY_BYTES, Stream
from privcompute.protocols.rep3 import PARTIES
from privcompute.ring import decode, encode


class Guest:
    """An outside party in one run of a job."""

    def __init__(self, me: int, entropy: bytes) -> None:
        """Take an index of 3 or more and 32 fresh random bytes (os.urandom) for the masks."""
        if me < PARTIES or len(entropy) != KEY_BYTES:
            raise ProgramFault(f"guest {me}: its index is 3 or more, its entropy {KEY_BYTES} bytes")
        self.me = me
        self._masks = Stream(entropy)

    def share(
        self, values: Any, fraction_bits: int = 0, *, name: str = "values", bound: float | None = None
    ) -> Steps[None]:
        """Share an array, checked as `Engine.share` does; the parties call `share(owner=me, None, …)`."""
        words = encode(values, fraction_bits, name, bound)
        first, second = self._masks.words(words.shape), self._masks.words(words.shape)
        parts = (first, second, words - first - second)
        yield Round({i: np.stack((parts[i], parts[(i + 1) % PARTIES])) for i in range(PARTIES)}, {})

    def receive(self, shape: tuple[int, ...], fraction_bits: int = 0) -> Steps[NDArray[Any]]:
        """Take part in a `reveal` that names this guest; return the opened array."""
        length = 8 * int(np.prod(shape, dtype=np.int64))
        received = yield Round({}, dict.fromkeys(range(PARTIES), length))
        parts = np.stack([np.frombuffer(received[i], dtype=np.uint64) for i in range(PARTIES)])
        return decode(parts.sum(axis=0, dtype=np.uint64).reshape(shape), fraction_bits)
