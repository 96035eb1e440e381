"""Subject log in the state: one state entry a subject, (number of log entries, rolling hash)."""

from __future__ import annotations

from chain.primitives.crypto import ZERO_HASH
from chain.primitives.errors import DecodeError
from chain.primitives.values import decode_value, encode_value

NAMESPACE = "subjects"
"""The executor's own namespace; no contract may have this name."""
LOG_BYTES_MAX = 128


def log_key(subject: str) -> bytes:
    """Return the state key of a subject's log."""
    return subject.encode()


def pack_log(count: int, rolling: bytes) -> bytes:
    """Return the state entry of a log with `count` entries."""
    return encode_value((count, rolling))


def read_log(raw: bytes | None) -> tuple[int, bytes]:
    """Return (number of entries, rolling hash); (0, 32 zeros) when absent; raise DecodeError."""
    if raw is None:
        return 0, ZERO_HASH
    value = decode_value(raw, max_bytes=LOG_BYTES_MAX)
    if type(value) is not tuple or len(value) != 2:
        raise DecodeError("subject log: expected (count, rolling hash)")
    count, rolling = value
    if type(count) is not int or count < 0 or type(rolling) is not bytes or len(rolling) != 32:
        raise DecodeError("subject log: expected (count, rolling hash)")
    return count, rolling
