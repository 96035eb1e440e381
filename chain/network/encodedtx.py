"""Transactions as they are passed on: encoded, known by their ids, in frames of bounded size."""

from __future__ import annotations

from chain.network.frame import IDS_PER_FRAME_MAX, TXS_BYTES_MAX
from chain.primitives.crypto import digest
from chain.primitives.errors import DecodeError

_TX_HEAD = b"\x93\xa2tx"
_SIGNATURE_HEAD = b"\xc4\x40"
_SIGNATURE_BYTES = 66


def encoded_transaction_id(encoded: bytes) -> bytes:
    """Return the id of an encoded transaction without decoding it; raise DecodeError on another shape.

    The canonical record is an array head, its tag, the body, and a 64-byte signature, and the id is the
    hash of the body's bytes, so duplicates cost one hash.
    """
    if not encoded.startswith(_TX_HEAD) or encoded[-_SIGNATURE_BYTES:-64] != _SIGNATURE_HEAD:
        raise DecodeError("tx: not the encoding of a signed transaction")
    return digest("assent/tx", encoded[len(_TX_HEAD) : -_SIGNATURE_BYTES])


def in_frames(encoded: list[bytes]) -> list[tuple[bytes, ...]]:
    """Cut a list into runs of at most IDS_PER_FRAME_MAX items and TXS_BYTES_MAX bytes."""
    parts, size = list[list[bytes]]([[]]), 0
    for item in encoded:
        if parts[-1] and (size + len(item) > TXS_BYTES_MAX or len(parts[-1]) >= IDS_PER_FRAME_MAX):
            parts, size = [*parts, []], 0
        parts[-1].append(item)
        size += len(item)
    return [tuple(part) for part in parts if part]
