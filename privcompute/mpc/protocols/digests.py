"""Keyed digests of many texts at once: AES-CMAC with a 256-bit key (NIST SP 800-38B), 128 bits each.

A pseudo-random function: without the key, the digests of n distinct texts of up to b blocks differ from
independent random ones by less than 5 (n b)^2 / 2^128 (Iwata, Kurosawa, INDOCRYPT 2003). Texts of one number
of blocks are worked on together, so that nothing is made for a text but its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from privcompute.mpc.protocols.records import Records, records_of

KEY_BYTES = 32
DIGEST_BYTES = 16
_SLICE_BYTES = 1 << 20
"""So much of texts is laid out at a time."""
_POLYNOMIAL = 0x87
_MARK = 0x80

Bytes = NDArray[np.uint8]
Texts = Any
"""A `pa.LargeStringArray`: pyarrow has no types of its own."""


def texts_of(identifiers: Sequence[str] | pa.Array) -> Texts:
    """Return texts in one buffer."""
    if isinstance(identifiers, pa.Array):
        return identifiers.cast(pa.large_string())
    return pa.array(identifiers, pa.large_string())


def keyed_digests(key: bytes, texts: Texts) -> Records:
    """Return the digest of each text's UTF-8 bytes."""
    cipher = _Cipher(key)
    digests = np.empty((len(texts), DIGEST_BYTES), np.uint8)
    for places, block, lengths in _laid_out(texts):
        digests[places] = cipher.digests(block, lengths)
    return records_of(digests.tobytes(), DIGEST_BYTES)


def _laid_out(texts: Texts) -> Iterator[tuple[NDArray[np.int64], Bytes, NDArray[np.int64]]]:
    """Yield places of texts of one number of blocks, with these blocks, zero beyond a text, and lengths."""
    _, offset_bytes, text_bytes = texts.buffers()
    ends = np.frombuffer(offset_bytes, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(text_bytes or b"\0", np.uint8)
    lengths = np.diff(ends)
    blocks = np.maximum(1, -(-lengths // DIGEST_BYTES))
    for many in np.unique(blocks).tolist():
        all_places = np.flatnonzero(blocks == many)
        columns, step = np.arange(many * DIGEST_BYTES), max(1, _SLICE_BYTES // (many * DIGEST_BYTES))
        for start in range(0, len(all_places), step):
            places = all_places[start : start + step]
            at = ends[places][:, None] + columns
            laid = data[np.minimum(at, len(data) - 1)]
            laid[columns >= lengths[places][:, None]] = 0
            yield places, laid, lengths[places]


class _Cipher:
    """One key's block cipher, and the two masks of last blocks that follow of it."""

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        whole = _doubled(self._encrypt(np.zeros((1, DIGEST_BYTES), np.uint8)).tobytes())
        self._whole, self._padded = (np.frombuffer(one, np.uint8) for one in (whole, _doubled(whole)))

    def digests(self, laid: Bytes, lengths: NDArray[np.int64]) -> Bytes:
        """Return the digests of rows of whole blocks; they change `laid`."""
        size = laid.shape[1]
        short = np.flatnonzero(lengths < size)
        laid[short, lengths[short]] = _MARK
        last = laid[:, size - DIGEST_BYTES :]
        last ^= np.where((lengths < size)[:, None], self._padded, self._whole)
        state = np.zeros((len(laid), DIGEST_BYTES), np.uint8)
        for start in range(0, size, DIGEST_BYTES):
            state = self._encrypt(state ^ laid[:, start : start + DIGEST_BYTES])
        return state

    def _encrypt(self, blocks: Bytes) -> Bytes:
        data = self._encryptor.update(np.ascontiguousarray(blocks).data.cast("B"))
        return np.frombuffer(data, np.uint8).reshape(-1, DIGEST_BYTES)


def _doubled(block: bytes) -> bytes:
    """Return x times a block in the field of 2^128 elements."""
    number = int.from_bytes(block, "big") << 1
    reduced = number & (2**128 - 1) ^ (_POLYNOMIAL if number >> 128 else 0)
    return reduced.to_bytes(DIGEST_BYTES, "big")
