"""The group of `dh-psi`: identifiers are hashed to edwards25519, and only u-coordinates are multiplied.

An identifier is mapped into the subgroup of prime order L of edwards25519 (libsodium: Elligator 2, cofactor
cleared). Its point is told by the u-coordinate of curve25519, u = (1 + y) / (1 - y) (RFC 7748, section 4.1).
Masks are X25519: scalars are clamped, k = 8 m with 2^251 <= m < 2^252.

**Why u and clamping lose nothing.** u names a point but for its sign, and sign commutes with scalars. Clamped
scalars act on such pairs as uniform ones do: m and L - m together run through all of 1 .. L - 1 but for a
part of 2^-126, so ±m is within 2^-126 of uniform. Whoever tells (u(P), u(aP), u(bP), u(abP)) from four random
u-coordinates tells a Diffie-Hellman quadruple of the subgroup from a random one, by taking its coordinates.
So the assumption is decisional Diffie-Hellman in the subgroup of order L.

**Why identifiers go through the subgroup first.** Half of all u lie on the curve, half on its twist, and all
multiples stay on their side. Of plain hashes as u-coordinates, masked points would tell on which side each
is, which whoever guesses an identifier can compare. All honest points are on the curve, and of order L.

**Why any u may be multiplied.** What a peer sends may be on the curve or the twist, and of any order. These
have 8 L and 4 L' points (L and L' prime, near 2^252 and 2^253), so a multiple of 8 takes away the part of
small order and lands in a group of prime order: nothing of a scalar shows modulo a small number. A point of
small order alone gives zero, which is refused. Encodings that are not reduced are reduced by X25519.

One map to the curve, instead of the sum of two, reaches half the group; decisional Diffie-Hellman on a
samplable subset of constant density follows from the plain assumption at the cost of that constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from nacl import bindings, exceptions

from chain.primitives.crypto import digest
from chain.primitives.errors import AssentError

POINT_BYTES = 32
SCALAR_BYTES = 32
SLICE_POINTS = 256
"""Points that one task of an executor takes: some 10 ms, far above the cost of handing it over."""

Random = Callable[[int], bytes]
"""Returns that many cryptographically random bytes (`os.urandom`, or a keyed stream under a seed)."""

_P = 2**255 - 19
_Y = 2**255 - 1
"""The bits of an encoded point that hold y; the last one is the sign of x."""
_PROBE = "assent/psi/probe"
_PROBE_POINT = bytes.fromhex("711bdb0e16a90446cbd2a5e23c2cf6987680040481e601f60dcc7bc6a10b9f43")
_PROBE_SCALAR = bytes(range(32))
_PROBE_PRODUCT = bytes.fromhex("64c394afdd99a84de3f5630cade8e83364951984ba06a79e36d398d7b885816e")
_SMALL_ORDER = (0, 1, _P - 1, 325606250916557431795983626356110631294008115727848805560023387167927233504)


class PointRefused(AssentError):
    """A point of small order, which no identifier has: the sender's software or intent is at fault."""

    code = "psi_bad_point"


class CryptoLibraryUnsafe(AssentError):
    """The installed libsodium computes other points than all others do: install PyNaCl >= 1.6.2."""

    code = "crypto_library_unsafe"


def random_scalar(random: Random) -> bytes:
    """Return 32 random bytes; X25519 clamps them to a scalar."""
    return random(SCALAR_BYTES)


def hash_to_points(domain: str, context: bytes, items: Sequence[bytes]) -> bytes:
    """Return the u-coordinates of the points of items under a domain and a 32-byte context, 32 bytes each.

    All divisions are one (Montgomery's trick). That 1 - y is 0 for a hash has a chance of 2^-250.
    """
    encoded = [bindings.crypto_core_ed25519_from_uniform(digest(domain, context, item)) for item in items]
    ys = [int.from_bytes(point, "little") & _Y for point in encoded]
    products = [1]
    for y in ys:
        products.append(products[-1] * (1 - y) % _P)
    inverse = pow(products.pop(), -1, _P)
    points = bytearray(POINT_BYTES * len(ys))
    for at in range(len(ys) - 1, -1, -1):
        u = (1 + ys[at]) * products[at] * inverse % _P
        inverse = inverse * (1 - ys[at]) % _P
        points[POINT_BYTES * at : POINT_BYTES * (at + 1)] = u.to_bytes(POINT_BYTES, "little")
    return bytes(points)


def multiply(scalar: bytes, points: bytes) -> bytes:
    """Return the multiples of points, 32 bytes each; raise PointRefused for one of small order."""
    product = bindings.crypto_scalarmult
    starts = range(0, len(points), POINT_BYTES)
    try:
        return b"".join([product(scalar, points[start : start + POINT_BYTES]) for start in starts])
    except exceptions.RuntimeError:
        raise PointRefused("a point is of small order") from None


def hash_and_multiply(scalar: bytes, domain: str, context: bytes, items: Sequence[bytes]) -> bytes:
    """Return the multiples of the points of items."""
    return multiply(scalar, hash_to_points(domain, context, items))


def multiply_all(scalar: bytes, points: bytes, pool: Executor) -> bytes:
    """Multiply many points in an executor: in its threads, libsodium runs without the interpreter lock."""
    size = SLICE_POINTS * POINT_BYTES
    slices = [points[start : start + size] for start in range(0, len(points), size)]
    return b"".join(pool.map(multiply, [scalar] * len(slices), slices))


def hash_and_multiply_all(
    scalar: bytes, domain: str, context: bytes, items: Sequence[bytes], pool: Executor
) -> bytes:
    """Hash and multiply many items in an executor."""
    slices = [items[start : start + SLICE_POINTS] for start in range(0, len(items), SLICE_POINTS)]
    many = len(slices)
    parts = pool.map(hash_and_multiply, [scalar] * many, [domain] * many, [context] * many, slices)
    return b"".join(parts)


def check_library() -> None:
    """Raise CryptoLibraryUnsafe unless the library hashes and multiplies as all do, and refuses zero.

    Owners with libraries that differ would have nothing in common, and not be told why.
    """
    point = hash_to_points(_PROBE, bytes(32), [b"probe"])
    if point != _PROBE_POINT or multiply(_PROBE_SCALAR, point) != _PROBE_PRODUCT:
        raise CryptoLibraryUnsafe(f"libsodium computes other points than all others do; {_REMEDY}")
    for small in _SMALL_ORDER:
        try:
            multiply(_PROBE_SCALAR, small.to_bytes(POINT_BYTES, "little"))
        except PointRefused:
            continue
        raise CryptoLibraryUnsafe(f"libsodium multiplies {small}, which is of small order; {_REMEDY}")


_REMEDY = "install PyNaCl >= 1.6.2 with its bundled libsodium"
