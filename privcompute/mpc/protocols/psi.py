"""Private set intersection (`dh-psi`, Diffie–Hellman) among two or more owners: the rows that all hold.

Owner j maps each identifier to a point H(job, id) and multiplies it by a fresh secret scalar k_j (Meadows
1986; Huberman, Franklin, Hogg 1999). The lists travel round the ring of owners; each hop multiplies by its
own scalar **and shuffles**, remembering its permutation. After a full turn equal identifiers are equal
points, H(x)^(k_0 … k_{n-1}), in an order that no owner can relate to rows. All lists go to one owner, the
*matcher*, which intersects them; the common points in the order of their bytes are the canonical order.
Then, once every owner agrees to their number, the positions of the common points travel back along each
list's route, every hop undoing its own permutation, so that each owner ends with its own rows in the
canonical order. The way back needs no scalar multiplication, and until it starts (`release`) no owner knows
of any of its rows whether it is common.

Each owner learns how many identifiers every other owner entered (rounded up when padding is set), how many
of them all owners share, and which of its own rows these are; all see the shared rows in the same order,
which is random. With three or more owners the matcher also learns how many identifiers each subset of the
owners shares, but not which. Nothing is learned of identifiers that not all owners hold. A coalition with
the matcher learns no more than the matcher, because every list is shuffled first by its own owner and passes
through every other one. Who enters identifiers that it does not rightly hold can test whether all the others
hold them. What members read of this is in contracts/pages/leakage.py.

Points are told by u-coordinates, and any that a peer sends may be multiplied (group.py says why). Points that
are only compared need no check: a bad one matches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from chain.primitives.codec import U32, Hash, decode, encode, max_bytes_of, record
from chain.primitives.errors import AssentError, DecodeError
from privcompute.errors import PeerMisbehaved
from privcompute.mpc.protocols.group import (
    POINT_BYTES,
    PointRefused,
    Random,
    check_library,
    hash_and_multiply_all,
    multiply_all,
    random_scalar,
)
from privcompute.mpc.protocols.records import in_all, is_rising, places_in, records_of, sorting
from privcompute.mpc.rounds import OnProgress, Received, Round, Steps

ROWS_MAX = 2**24
CHUNK_POINTS = 4_096
_DOMAIN = "assent/psi/identifier"
_INDEX = np.dtype("<u4")

R = TypeVar("R")
CheckSize = Callable[[int, int], None]
"""Called with (party, points that it announces), before a byte of them is received; raises to refuse them."""
Agree = Callable[[int], Steps[None]]
"""What owners do together when they know how many rows are common, and not yet which."""


class PsiInputInvalid(AssentError):
    """This owner's identifiers cannot be joined on: make them unique and not empty, then run again."""

    code = "psi_input"


@dataclass(frozen=True, slots=True)
class PsiSpec:
    """Public parameters that all owners agree on before they start."""

    context: bytes
    """32 bytes that no other run uses: a digest of the job id and the stage."""
    parties: tuple[int, ...]
    """The owners' party numbers, in ring order; the same tuple at every owner."""
    matcher: int
    """The owner that intersects the masked lists."""
    pad_to: int = 1
    """Each list is filled with random points up to a multiple of this; 1 shows exact lengths."""
    chunk_points: int = CHUNK_POINTS
    """Points in one message (32 bytes each)."""

    def __post_init__(self) -> None:
        if len(self.context) != 32 or len(set(self.parties)) != len(self.parties) or len(self.parties) < 2:
            raise ValueError("a PSI needs a 32-byte context and two or more distinct parties")
        if self.matcher not in self.parties or self.pad_to < 1 or self.chunk_points < 1:
            raise ValueError("a PSI needs a matcher among its parties and positive sizes")


@record("psi-opening", max_bytes=64)
class Opening:
    """First message: the context, so that a mix-up of jobs shows at once, and the list's length."""

    context: Hash
    points: U32


@record("psi-common", max_bytes=32)
class Common:
    """The matcher's announcement: how many points are common to all lists."""

    points: U32


@dataclass(frozen=True, slots=True)
class Matching:
    """One owner's state between matching and release; it reveals no row."""

    sizes: tuple[int, ...]
    """Padded list length of each ring position."""
    permutations: tuple[NDArray[np.int64], ...]
    """This owner's shuffle at each hop: point k it sent was number permutation[k] as received."""
    common: tuple[NDArray[np.uint32], ...] | None
    """Matcher only: positions of the common points in each ring position's list, in canonical order."""

    @property
    def cardinality(self) -> int | None:
        """Return the number of common identifiers, which only the matcher knows before release."""
        return None if self.common is None else len(self.common[0])


def private_join(
    spec: PsiSpec,
    me: int,
    identifiers: Sequence[str],
    *,
    random: Random,
    workers: int = 2,
    progress: OnProgress | None = None,
    check_size: CheckSize | None = None,
    check_common: Callable[[int], None] | None = None,
    agree: Agree | None = None,
) -> Steps[NDArray[np.int64]]:
    """Match and release at once: return this owner's common rows in the canonical order.

    Between both every owner tells its `check_common` how many rows are common, the matcher before it tells
    the others; then `agree` has a round of its own. What either raises, at whichever owner, ends the join
    before anybody learns which rows are common.
    """
    matching = yield from match(
        spec, me, identifiers, random=random, workers=workers, progress=progress, check_size=check_size
    )
    if check_common is not None and matching.cardinality is not None:
        check_common(matching.cardinality)

    def settle(count: int) -> Steps[None]:
        if check_common is not None and matching.cardinality is None:
            check_common(count)
        if agree is not None:
            yield from agree(count)

    return (yield from release(spec, me, matching, rows=len(identifiers), settle=settle))


def check_identifiers(identifiers: Sequence[str]) -> None:
    """Raise PsiInputInvalid for too many, empty or repeated identifiers; rows are named, never values."""
    if len(identifiers) > ROWS_MAX:
        raise PsiInputInvalid(f"{len(identifiers)} identifiers, at most {ROWS_MAX}; split the dataset")
    seen: dict[str, int] = {}
    for row, identifier in enumerate(identifiers):
        if not identifier:
            raise PsiInputInvalid(f"row {row}: the identifier is empty; drop the row or fill it in")
        if seen.setdefault(identifier, row) != row:
            raise PsiInputInvalid(
                f"rows {seen[identifier]} and {row} hold the same identifier; keep one row per identifier"
            )


def match(
    spec: PsiSpec,
    me: int,
    identifiers: Sequence[str],
    *,
    random: Random,
    workers: int = 2,
    progress: OnProgress | None = None,
    check_size: CheckSize | None = None,
) -> Steps[Matching]:
    """Circulate the masked lists and intersect them at the matcher; no owner learns any of its rows.

    Identifiers are compared as UTF-8 bytes: owners agree on their spelling beforehand. `workers` threads
    multiply. Raises PsiInputInvalid for this owner's identifiers, PeerMisbehaved for what a peer sends, and
    what `check_size` raises.
    """
    check_identifiers(identifiers)
    check_library()
    with ThreadPoolExecutor(workers) as pool:
        ring = _Ring(spec, me, pool, random, progress, check_size)
        return (yield from ring.match(identifiers))


def release(
    spec: PsiSpec, me: int, matching: Matching, *, rows: int, settle: Agree | None = None
) -> Steps[NDArray[np.int64]]:
    """Send the common positions back along the ring; return this owner's rows in the canonical order.

    `settle` comes between their number and the first of them.
    """
    here, n = spec.parties.index(me), len(spec.parties)
    count = yield from _announce_common(spec, me, matching)
    if settle is not None:
        yield from settle(count)
    rounds = _rounds(count * _INDEX.itemsize, spec)
    positions = yield from _hand_out(spec, me, matching, count, rounds)
    before, after = spec.parties[here - 1], spec.parties[(here + 1) % n]
    for hop in range(n - 1, 0, -1):
        own = matching.permutations[hop][positions].astype(_INDEX)
        data = yield from _relay(spec, {before: _chunks(own.tobytes(), spec)}, {after: own.nbytes}, rounds)
        positions = _positions(data[after], after, matching.sizes[(here - hop + 1) % n])
    found = matching.permutations[0][positions]
    if found.size and int(found.max()) >= rows:
        raise PeerMisbehaved(after, f"party {after} returned a padding point as common")
    return found


class _Ring:
    """One owner's part in the circulation of the masked lists."""

    def __init__(
        self,
        spec: PsiSpec,
        me: int,
        pool: Executor,
        random: Random,
        progress: OnProgress | None,
        check_size: CheckSize | None,
    ):
        self.spec = spec
        self.me = me
        self.here = spec.parties.index(me)
        self.n = len(spec.parties)
        self.before = spec.parties[self.here - 1]
        self.after = spec.parties[(self.here + 1) % self.n]
        self.pool = pool
        self.random = random
        self.scalar = random_scalar(random)
        self.progress = progress
        self.check_size = check_size
        self.done = 0
        self.sizes: tuple[int, ...] = ()

    def match(self, identifiers: Sequence[str]) -> Steps[Matching]:
        padding = -len(identifiers) % self.spec.pad_to
        self.sizes = yield from self._open(len(identifiers) + padding)
        rounds = _rounds(max(self.sizes) * POINT_BYTES, self.spec)
        permutations = [_permutation(self.sizes[self.here], self.random)]
        outgoing = self._own_chunks(identifiers, padding, permutations[0])
        held = b""
        for hop in range(1, self.n):
            size = self.sizes[(self.here - hop) % self.n]
            masked = yield from self._hop(outgoing, size, rounds)
            permutations.append(_permutation(size, self.random))
            held = _shuffled(masked, permutations[hop])
            outgoing = _chunks(held, self.spec)
        common = yield from self._gather(held, rounds)
        return Matching(self.sizes, tuple(permutations), common)

    def _open(self, points: int) -> Steps[tuple[int, ...]]:
        opening = encode(Opening(self.spec.context, points))
        others = [party for party in self.spec.parties if party != self.me]
        lengths = dict.fromkeys(others, max_bytes_of(Opening))
        received = yield Round(dict.fromkeys(others, opening), lengths, exact=False)
        return tuple(
            points if party == self.me else self._size_of(party, received) for party in self.spec.parties
        )

    def _size_of(self, party: int, received: Received) -> int:
        opening = _decoded(Opening, party, received)
        if opening.context != self.spec.context:
            raise PeerMisbehaved(party, f"party {party} opened another PSI ({opening.context.hex()[:16]})")
        if opening.points > ROWS_MAX + self.spec.pad_to:
            raise PeerMisbehaved(party, f"party {party} has {opening.points} identifiers, at most {ROWS_MAX}")
        if self.check_size is not None:
            self.check_size(party, opening.points)
        return opening.points

    def _own_chunks(
        self, identifiers: Sequence[str], padding: int, order: NDArray[np.int64]
    ) -> Iterator[bytes]:
        """Hash and mask this owner's shuffled list, a message at a time, so that no peer waits for all of it.

        Padding comes from random bytes that nobody shares.
        """
        items = [identifier.encode() for identifier in identifiers]
        items += [b"\0" + self.random(32) for _ in range(padding)]
        for start in range(0, len(items), self.spec.chunk_points):
            chunk = [items[row] for row in order[start : start + self.spec.chunk_points]]
            masked = hash_and_multiply_all(self.scalar, _DOMAIN, self.spec.context, chunk, self.pool)
            self._report(len(chunk))
            yield masked

    def _hop(self, outgoing: Iterator[bytes], size: int, rounds: int) -> Steps[bytes]:
        """Pass one list on while masking the one that arrives, chunk by chunk."""
        masked = bytearray()

        def mask(party: int, chunk: bytes) -> None:
            try:
                masked.extend(multiply_all(self.scalar, chunk, self.pool))
            except PointRefused as error:
                raise PeerMisbehaved(party, f"PSI points of party {party}: {error}") from None
            self._report(len(chunk) // POINT_BYTES)

        due = {self.before: size * POINT_BYTES}
        yield from _relay(self.spec, {self.after: outgoing}, due, rounds, mask, keep=False)
        return bytes(masked)

    def _gather(self, held: bytes, rounds: int) -> Steps[tuple[NDArray[np.uint32], ...] | None]:
        """Send the fully masked lists to the matcher, who intersects them."""
        if self.me != self.spec.matcher:
            yield from _relay(self.spec, {self.spec.matcher: _chunks(held, self.spec)}, {}, rounds)
            return None
        # The list whose last hop is ring position i belongs to position i + 1.
        owners = {party: (index + 1) % self.n for index, party in enumerate(self.spec.parties)}
        expected = {p: self.sizes[owner] * POINT_BYTES for p, owner in owners.items() if p != self.me}
        data = yield from _relay(self.spec, {}, expected, rounds)
        lists = {owners[party]: points for party, points in data.items()}
        lists[owners[self.me]] = held
        return self._intersect([lists[index] for index in range(self.n)])

    def _intersect(self, lists: Sequence[bytes]) -> tuple[NDArray[np.uint32], ...]:
        points = [records_of(data, POINT_BYTES) for data in lists]
        orders = [sorting(records) for records in points]
        rising = [records[order] for records, order in zip(points, orders, strict=True)]
        for party, records in zip(self.spec.parties, rising, strict=True):
            if not is_rising(records):
                raise PeerMisbehaved(party, f"PSI list of party {party}: it holds a point twice")
        common = in_all(rising)
        places = [order[places_in(records, common)] for records, order in zip(rising, orders, strict=True)]
        return tuple(place.astype(np.uint32) for place in places)

    def _report(self, points: int) -> None:
        self.done += points
        if self.progress is not None:
            self.progress("psi", self.done, sum(self.sizes))


def _permutation(size: int, random: Random) -> NDArray[np.int64]:
    """Return a uniform permutation: the order of random 64-bit keys (a tie has probability size²/2^65)."""
    return np.argsort(np.frombuffer(random(8 * size), "<u8"), kind="stable").astype(np.int64)


def _shuffled(points: bytes, order: NDArray[np.int64]) -> bytes:
    return np.frombuffer(points, np.uint8).reshape(-1, POINT_BYTES)[order].tobytes()


def _announce_common(spec: PsiSpec, me: int, matching: Matching) -> Steps[int]:
    others = [party for party in spec.parties if party != me]
    if matching.common is not None:
        count = len(matching.common[0])
        yield Round(dict.fromkeys(others, encode(Common(count))), {})
        return count
    received = yield Round({}, {spec.matcher: max_bytes_of(Common)}, exact=False)
    count = _decoded(Common, spec.matcher, received).points
    if count > min(matching.sizes):
        text = f"party {spec.matcher} claims {count} common rows, the shortest list has {min(matching.sizes)}"
        raise PeerMisbehaved(spec.matcher, text)
    return count


def _decoded(cls: type[R], party: int, received: Received) -> R:
    try:
        return decode(cls, bytes(received[party]))
    except DecodeError as error:
        raise PeerMisbehaved(party, f"party {party}: {error}") from None


def _hand_out(
    spec: PsiSpec, me: int, matching: Matching, count: int, rounds: int
) -> Steps[NDArray[np.int64]]:
    """Give the last hop of each list the positions of the common points in it."""
    here, n = spec.parties.index(me), len(spec.parties)
    list_held = (here + 1) % n
    if matching.common is None:
        data = yield from _relay(spec, {}, {spec.matcher: count * _INDEX.itemsize}, rounds)
        return _positions(data[spec.matcher], spec.matcher, matching.sizes[list_held])
    messages = {
        party: _chunks(matching.common[(index + 1) % n].astype(_INDEX).tobytes(), spec)
        for index, party in enumerate(spec.parties)
        if party != me
    }
    yield from _relay(spec, messages, {}, rounds)
    return matching.common[list_held].astype(np.int64)


def _positions(data: bytes, party: int, size: int) -> NDArray[np.int64]:
    positions = np.frombuffer(data, _INDEX).astype(np.int64)
    if positions.size and (int(positions.max()) >= size or np.unique(positions).size != positions.size):
        raise PeerMisbehaved(party, f"party {party} sent positions that repeat or exceed {size}")
    return positions


def _rounds(data_bytes: int, spec: PsiSpec) -> int:
    return -(-data_bytes // (spec.chunk_points * POINT_BYTES))


def _chunks(data: bytes, spec: PsiSpec) -> Iterator[bytes]:
    size = spec.chunk_points * POINT_BYTES
    return (data[start : start + size] for start in range(0, len(data), size))


def _relay(
    spec: PsiSpec,
    outgoing: Mapping[int, Iterator[bytes]],
    expected: Mapping[int, int],
    rounds: int,
    on_chunk: Callable[[int, bytes], None] | None = None,
    keep: bool = True,
) -> Steps[dict[int, bytes]]:
    """Send and receive long messages in `rounds` chunks; `expected` is each sender's total in bytes."""
    size = spec.chunk_points * POINT_BYTES
    parts: dict[int, list[bytes]] = {party: [] for party in expected}
    for start in range(0, rounds * size, size):
        sending = {party: chunk for party, chunks in outgoing.items() if (chunk := next(chunks, b""))}
        due = {party: min(size, total - start) for party, total in expected.items() if start < total}
        received = yield Round(sending, due)
        for party in due:
            chunk = bytes(received[party])
            if keep:
                parts[party].append(chunk)
            if on_chunk is not None:
                on_chunk(party, chunk)
    return {party: b"".join(chunks) for party, chunks in parts.items()}
