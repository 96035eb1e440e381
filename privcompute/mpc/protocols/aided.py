"""The aided join: a party that holds none of the identifiers intersects keyed digests of all owners' lists.

Owners agree on a key that the helper does not know: each commits to 32 random bytes, then shows them to the
other owners alone; the key hashes all of them with the context, so it is fresh, bound to the job, and chosen
by nobody. Each owner sends the helper the keyed digests of its identifiers in ascending order (Kamara,
Mohassel, Raykova, Sadeghian, FC 2014). That order is a random one, the same at all owners, which follows of
the key alone: it tells nothing of rows, and no party can choose it. The helper intersects the lists and, once
every owner agrees to the number of common rows, tells each owner by one bit for each of its digests which
these are.

**What is learnt.** The helper: how many identifiers each owner has, and how many each subset of the owners
shares; to whoever lacks the key, digests are independent random strings, the same for the same identifier.
Owners: how many identifiers each other owner has, how many all share, and which of their own these are. A
helper that works together with an owner has the key, so it can test any guess against all identifiers of the
others: the join holds, as `rep3` does, if no two parties collude.

**What a deviating party is caught at.** A list that does not rise is its owner's fault. With the number, the
helper commits to the digests that it found common, and owners compare what they were told before any bit is
shown: if that differs, helper or owner deviates. Bits that do not lead to these very digests are the helper's
fault, whatever the others did. A helper that leaves out common rows, equally for all, is not noticed, and
neither is an owner that enters identifiers which it does not rightly hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chain.primitives.codec import U32, Hash, decode, encode, max_bytes_of, record
from chain.primitives.crypto import digest
from chain.primitives.errors import DecodeError
from privcompute.errors import PartiesContradict, PeerMisbehaved
from privcompute.mpc.protocols.digests import DIGEST_BYTES, Texts, keyed_digests, texts_of
from privcompute.mpc.protocols.psi import ROWS_MAX, Agree, CheckSize, Opening, PsiInputInvalid
from privcompute.mpc.protocols.records import (
    Places,
    Records,
    in_all,
    is_rising,
    places_in,
    records_of,
    sorting,
)
from privcompute.mpc.rounds import OnProgress, Received, Round, Steps

BLOCK_RECORDS = 65_536
SECRET_BYTES = 32
_BYTES = np.dtype(">u8")

Random = Callable[[int], bytes]
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class AidedSpec:
    """Public parameters that owners and helper agree on before they start."""

    context: bytes
    """32 bytes that no other run uses: a digest of the job id and the stage."""
    owners: tuple[int, ...]
    """Their party numbers; the same tuple at every party."""
    helper: int
    """A party that holds none of the identifiers."""
    block_records: int = BLOCK_RECORDS
    """Digests in one message (16 bytes each)."""

    def __post_init__(self) -> None:
        if len(self.context) != 32 or len(set(self.owners)) != len(self.owners) or len(self.owners) < 2:
            raise ValueError("an aided join needs a 32-byte context and two or more distinct owners")
        if self.helper in self.owners or self.block_records < 1:
            raise ValueError("an aided join needs a helper that is none of its owners, and positive sizes")

    def others(self, me: int) -> list[int]:
        """Return the owners but for one."""
        return [party for party in self.owners if party != me]


@record("aided-intersected", max_bytes=64)
class Intersected:
    """What the helper found: how many records are common, and its commitment to which."""

    records: U32
    seal: Hash


def aided_join(
    spec: AidedSpec,
    me: int,
    identifiers: Sequence[str] | pa.Array,
    *,
    random: Random,
    progress: OnProgress | None = None,
    check_size: CheckSize | None = None,
    check_common: Callable[[int], None] | None = None,
    agree: Agree | None = None,
) -> Steps[Places]:
    """Return an owner's common rows, in the order of their digests, which all owners have.

    Every owner tells its `check_common` how many rows are common, the helper before it tells the owners; then
    `agree` has a round of its own. What any of them raises ends the join before anybody learns which rows are
    common. Raises PsiInputInvalid for this owner's identifiers, PeerMisbehaved for what another party sends,
    PartiesContradict where it is one of two.
    """
    texts = texts_of(identifiers)
    _check_texts(texts)
    yield from _open(spec, me, len(texts), check_size)
    key = yield from _agree_on_key(spec, me, random(SECRET_BYTES))
    records, order = _sorted_digests(key, texts)
    for number, block in enumerate(_blocks(records, spec), 1):
        yield Round({spec.helper: block}, {})
        if progress is not None:
            progress("aided", min(len(records), number * spec.block_records), len(records))
    found = yield from _hear_what_was_found(spec, me, len(texts))
    if check_common is not None:
        check_common(found.records)
    if agree is not None:
        yield from agree(found.records)
    shown = yield Round({}, {spec.helper: SECRET_BYTES + _bitmap_bytes(len(texts))})
    return order[_common_places(spec, records, found, bytes(shown[spec.helper]))]


def help_join(
    spec: AidedSpec,
    *,
    random: Random,
    progress: OnProgress | None = None,
    check_size: CheckSize | None = None,
    check_common: Callable[[int], None] | None = None,
    agree: Agree | None = None,
) -> Steps[int]:
    """Intersect the owners' digests; return how many are common.

    At most 16 bytes are held of each identifier that `check_size` lets through. Raises PeerMisbehaved for
    what an owner sends.
    """
    received = yield Round({}, dict.fromkeys(spec.owners, max_bytes_of(Opening)), exact=False)
    sizes = {party: _size_of(spec, party, received, check_size) for party in spec.owners}
    lists = yield from _collect(spec, sizes, progress)
    common = in_all(list(lists.values()))
    if check_common is not None:
        check_common(len(common))
    salt = random(SECRET_BYTES)
    found = encode(Intersected(len(common), _seal(spec, salt, common)))
    yield Round(dict.fromkeys(spec.owners, found), {})
    if agree is not None:
        yield from agree(len(common))
    yield Round({party: salt + _bitmap(lists[party], common) for party in spec.owners}, {})
    return len(common)


# --- owners -------------------------------------------------------------------------------------------


def _check_texts(texts: Texts) -> None:
    if len(texts) > ROWS_MAX:
        raise PsiInputInvalid(f"{len(texts)} identifiers, at most {ROWS_MAX}; split the dataset")
    empty = np.flatnonzero(np.asarray(pc.binary_length(texts)) == 0)
    if empty.size:
        raise PsiInputInvalid(f"row {empty[0]}: the identifier is empty; drop the row or fill it in")


def _open(spec: AidedSpec, me: int, rows: int, check_size: CheckSize | None) -> Steps[None]:
    """Tell owners and helper how many identifiers we have, and hear the other owners."""
    others, opening = spec.others(me), encode(Opening(spec.context, rows))
    send = dict.fromkeys([*others, spec.helper], opening)
    received = yield Round(send, dict.fromkeys(others, max_bytes_of(Opening)), exact=False)
    for party in others:
        _size_of(spec, party, received, check_size)


def _size_of(spec: AidedSpec, party: int, received: Received, check_size: CheckSize | None) -> int:
    opening = _decoded(Opening, party, received)
    if opening.context != spec.context:
        raise PeerMisbehaved(party, f"party {party} opened another join ({opening.context.hex()[:16]})")
    if opening.points > ROWS_MAX:
        raise PeerMisbehaved(party, f"party {party} has {opening.points} identifiers, at most {ROWS_MAX}")
    if check_size is not None:
        check_size(party, opening.points)
    return opening.points


def _agree_on_key(spec: AidedSpec, me: int, part: bytes) -> Steps[bytes]:
    """Return the key of all owners' parts: each commits to its own before it sees another."""
    others = spec.others(me)
    awaited = dict.fromkeys(others, SECRET_BYTES)
    committed = yield Round(dict.fromkeys(others, _commitment(spec, me, part)), awaited)
    shown = yield Round(dict.fromkeys(others, part), awaited)
    parts = {party: bytes(shown[party]) for party in others} | {me: part}
    for party in others:
        if _commitment(spec, party, parts[party]) != bytes(committed[party]):
            raise PeerMisbehaved(party, f"party {party} shows another part of the key than it committed to")
    return key_of(spec.context, [parts[party] for party in spec.owners])


def _commitment(spec: AidedSpec, party: int, part: bytes) -> bytes:
    return digest("assent/aided/part", spec.context + party.to_bytes(4, "big"), part)


def key_of(context: bytes, parts: Sequence[bytes]) -> bytes:
    """Return the key of one join of one job."""
    return digest("assent/aided/key", context, b"".join(parts))


def _sorted_digests(key: bytes, texts: Texts) -> tuple[Records, Places]:
    """Return digests in ascending order, and the row of each; raise PsiInputInvalid for equal texts."""
    records = keyed_digests(key, texts)
    order = sorting(records)
    records = records[order]
    twice = np.flatnonzero((records[1:] == records[:-1]).all(axis=1))
    if twice.size:
        first, second = sorted((int(order[twice[0]]), int(order[twice[0] + 1])))
        raise PsiInputInvalid(
            f"rows {first} and {second} hold the same identifier; keep one row per identifier"
        )
    return records, order


def _blocks(records: Records, spec: AidedSpec) -> Iterator[bytes]:
    starts = range(0, len(records), spec.block_records)
    return (records[start : start + spec.block_records].astype(_BYTES).tobytes() for start in starts)


def _hear_what_was_found(spec: AidedSpec, me: int, rows: int) -> Steps[Intersected]:
    """Return what the helper found, as it told all owners alike; it does not tell which rows are common."""
    helper, others = spec.helper, spec.others(me)
    received = yield Round({}, {helper: max_bytes_of(Intersected)}, exact=False)
    found = _decoded(Intersected, helper, received)
    if found.records > rows:
        raise PeerMisbehaved(helper, f"party {helper} claims {found.records} common rows, we have {rows}")
    told = encode(found)
    said = yield Round(
        dict.fromkeys(others, told), dict.fromkeys(others, max_bytes_of(Intersected)), exact=False
    )
    for party in others:
        if bytes(said[party]) != told:
            raise PartiesContradict(
                (helper, party),
                f"party {helper} told us of {found.records} common rows, and party {party} says it was told "
                "otherwise: one of the two deviates",
            )
    return found


def _common_places(spec: AidedSpec, records: Records, found: Intersected, shown: bytes) -> Places:
    """Return which of our digests are common, by the helper's bits; they lead to what it committed to."""
    bits = np.unpackbits(np.frombuffer(shown, np.uint8, offset=SECRET_BYTES))
    places = np.flatnonzero(bits)
    sound = places.size == found.records and not bits[len(records) :].any()
    if not sound or _seal(spec, shown[:SECRET_BYTES], records[places]) != found.seal:
        raise PeerMisbehaved(
            spec.helper,
            f"party {spec.helper} shows other common rows than the {found.records} it committed to",
        )
    return places


# --- helper -------------------------------------------------------------------------------------------


def _collect(
    spec: AidedSpec, sizes: dict[int, int], progress: OnProgress | None
) -> Steps[dict[int, Records]]:
    lists = {party: np.empty((size, DIGEST_BYTES // 8), np.uint64) for party, size in sizes.items()}
    for start in range(0, max(sizes.values()), spec.block_records):
        due = {party: min(spec.block_records, size - start) for party, size in sizes.items() if start < size}
        received = yield Round({}, {party: many * DIGEST_BYTES for party, many in due.items()})
        for party, many in due.items():
            lists[party][start : start + many] = records_of(received[party], DIGEST_BYTES)
        if progress is not None:
            progress("aided", start + max(due.values()), max(sizes.values()))
    for party, records in lists.items():
        if not is_rising(records):
            raise PeerMisbehaved(party, f"party {party}: its digests repeat, or are out of order")
    return lists


def _bitmap(records: Records, common: Records) -> bytes:
    bits = np.zeros(len(records), np.uint8)
    bits[places_in(records, common)] = 1
    return np.packbits(bits).tobytes()


def _bitmap_bytes(rows: int) -> int:
    return -(-rows // 8)


# --- both ---------------------------------------------------------------------------------------------


def _seal(spec: AidedSpec, salt: bytes, common: Records) -> bytes:
    """Return the commitment to common digests; without its salt it tells nothing of them."""
    return digest("assent/aided/common", spec.context + salt, common.astype(_BYTES).tobytes())


def _decoded(cls: type[R], party: int, received: Received) -> R:
    try:
        return decode(cls, bytes(received[party]))
    except DecodeError as error:
        raise PeerMisbehaved(party, f"party {party}: {error}") from None
