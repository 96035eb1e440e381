"""The prime-order subgroup of edwards25519, as libsodium offers it: hash to a point, multiply, check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from itertools import chain

from nacl import bindings, exceptions

from chain.primitives.crypto import digest
from chain.primitives.errors import AssentError

POINT_BYTES = 32
SCALAR_BYTES = 32
SLICE_POINTS = 256
"""Points one thread multiplies at a time: about 20 ms, far above the cost of handing it over."""

Random = Callable[[int], bytes]
"""Returns that many cryptographically random bytes (`os.urandom`, or a keyed stream under a seed)."""

# The negated base point plus the point of order two: on the curve, of order 2L. Before CVE-2025-69277 was
# fixed, libsodium took some points of mixed order for members of the subgroup.
_MIXED_ORDER = bytes.fromhex("9599999999999999999999999999999999999999999999999999999999999999")
_SMALL_ORDER = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
_IDENTITY = bytes([1]) + bytes(31)
_BASE = bytes([0x58]) + bytes([0x66]) * 31


class PointRefused(AssentError):
    """Bytes that are no point of the prime-order subgroup: the sender's software or intent is at fault."""

    code = "psi_bad_point"


class CryptoLibraryUnsafe(AssentError):
    """The installed libsodium accepts points outside the prime-order subgroup: install PyNaCl >= 1.6.2."""

    code = "crypto_library_unsafe"


def random_scalar(random: Random) -> bytes:
    """Return a uniform non-zero scalar modulo the group order L (32 bytes, bias below 2^-250)."""
    while True:
        scalar = bindings.crypto_core_ed25519_scalar_reduce(random(64))
        if any(scalar):
            return scalar


def hash_to_point(domain: str, context: bytes, item: bytes) -> bytes:
    """Return the point of `item` under a domain and a 32-byte context (Elligator 2, cofactor cleared)."""
    return bindings.crypto_core_ed25519_from_uniform(digest(domain, context, item))


def multiply(scalar: bytes, points: Iterable[bytes]) -> list[bytes]:
    """Return scalar · P for each point; raise PointRefused for any that is not in the subgroup.

    No clamping: a clamped scalar would not invert what the other owners' scalars commute with.
    """
    product = bindings.crypto_scalarmult_ed25519_noclamp
    try:
        return [product(scalar, point) for point in points]
    except (exceptions.RuntimeError, ValueError):
        raise PointRefused("a point is not canonical, or not of prime order") from None


def multiply_all(scalar: bytes, points: Sequence[bytes], pool: Executor) -> list[bytes]:
    """Multiply many points in the pool's threads (libsodium runs without the interpreter lock)."""
    slices = [points[start : start + SLICE_POINTS] for start in range(0, len(points), SLICE_POINTS)]
    return list(chain.from_iterable(pool.map(multiply, [scalar] * len(slices), slices)))


def is_valid_point(point: bytes) -> bool:
    """Tell whether 32 bytes are the canonical encoding of a point of prime order."""
    return len(point) == POINT_BYTES and bindings.crypto_core_ed25519_is_valid_point(point)


def check_library() -> None:
    """Raise CryptoLibraryUnsafe unless multiplication refuses what lies outside the subgroup."""
    two = (2).to_bytes(SCALAR_BYTES, "little")
    for point in (_MIXED_ORDER, _SMALL_ORDER, _IDENTITY):
        try:
            multiply(two, [point])
        except PointRefused:
            continue
        raise CryptoLibraryUnsafe(
            f"libsodium multiplies {point.hex()}, which is outside the prime-order subgroup; "
            "install PyNaCl >= 1.6.2 with its bundled libsodium"
        )
    if not is_valid_point(multiply(two, [_BASE])[0]):
        raise CryptoLibraryUnsafe("libsodium refuses its own base point; reinstall PyNaCl")
