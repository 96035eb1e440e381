"""Pseudo-random streams for masks: AES-256 in counter mode, one key per job run and pair of parties.

A stream is one encryptor that lives as long as the run, so its counter only moves forward; keys hash fresh
randomness of both ends, so a job that starts anew never meets an old key.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from privcompute.mpc.ring import Words

KEY_BYTES = 32
_ZEROS = memoryview(bytes(1 << 20))
_SLACK = 16


class Stream:
    """The keystream of one 32-byte key; both holders of the key must draw the same amounts in order."""

    def __init__(self, key: bytes) -> None:
        """Start at counter 0; a key must never be used for two streams."""
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def draw(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return the next elements of an unsigned dtype, uniform over its whole range."""
        count = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = np.empty(count + _SLACK, dtype=np.uint8)
        view = buffer.data
        for start in range(0, count, len(_ZEROS)):
            length = min(len(_ZEROS), count - start)
            self._encryptor.update_into(_ZEROS[:length], view[start : start + length + _SLACK])
        drawn: NDArray[Any] = buffer[:count].view(dtype).reshape(shape)
        return drawn

    def random_bytes(self, count: int) -> bytes:
        """Return so many next bytes."""
        return self.draw((count,), np.uint8).tobytes()

    def words(self, shape: tuple[int, ...]) -> Words:
        """Return the next uniform ring elements."""
        return self.draw(shape, np.uint64)
