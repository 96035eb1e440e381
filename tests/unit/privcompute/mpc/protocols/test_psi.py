"""Diffie–Hellman PSI against plain set intersection, and against peers that do not follow it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nacl.bindings as sodium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import exceptions

from chain.primitives.crypto import digest
from privcompute.errors import PeerMisbehaved
from privcompute.mpc.local import run_local
from privcompute.mpc.protocols import psi
from privcompute.mpc.protocols.group import (
    POINT_BYTES,
    CryptoLibraryUnsafe,
    PointRefused,
    check_library,
    hash_to_points,
    multiply,
    random_scalar,
)
from privcompute.mpc.protocols.psi import (
    Matching,
    PsiInputInvalid,
    PsiSpec,
    check_identifiers,
    match,
    private_join,
    release,
)
from privcompute.mpc.rounds import Round, Steps, as_round

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True)
CONTEXT = digest("test/psi", b"job")
VECTORS = Path(__file__).parents[4] / "vectors" / "dh_psi.json"
P = 2**255 - 19
A = 486662
EIGHT = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
"""The u-coordinates of the points of order 8."""
SMALL_ORDER = [0, 1, P - 1, *EIGHT, P, P + 1, *(2**255 + one for one in (0, 1, *EIGHT))]
"""Those of order 1, 2, 4 and 8 on the curve and its twist, also as encodings that are not reduced."""


# --- the same arithmetic written apart: RFC 7748's ladder, and Elligator 2 by Legendre's symbol ---------


def is_square(number: int) -> bool:
    return pow(number, (P - 1) // 2, P) in (0, 1)


def elligator(uniform: bytes) -> int:
    """Return u of the point of 32 uniform bytes, times 8 by three doublings."""
    r = int.from_bytes(uniform, "little") & (2**255 - 1)
    u = -A * pow(1 + 2 * r * r, -1, P) % P
    u = u if is_square(u**3 + A * u * u + u) else (-u - A) % P
    for _ in range(3):
        u = (u * u - 1) ** 2 * pow(4 * u * (u * u + A * u + 1), -1, P) % P
    return u


def ladder(scalar: bytes, u: int) -> int:
    k = int.from_bytes(scalar, "little") & ~7 & (2**255 - 1) | 2**254
    x2, z2, x3, z3 = 1, 0, u, 1
    for bit in range(254, -1, -1):
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, e = d * a, c * b, a * a - b * b
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        x2, z2 = a * a * b * b % P, e * (a * a + 121665 * e) % P
        if k >> bit & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return x2 * pow(z2, P - 2, P) % P


def spec_for(n: int, **changes: Any) -> PsiSpec:
    fields = {"context": CONTEXT, "parties": tuple(range(n)), "matcher": n - 1, "chunk_points": 8} | changes
    return PsiSpec(**fields)


Tamper = Callable[[int, bytes], bytes]


def tampered(protocol: Steps[Any], tamper: Tamper) -> Steps[Any]:
    """Run a party whose messages `tamper(step number, message)` changes on their way out."""
    number, step = 0, next(protocol)
    while True:
        changed = {party: tamper(number, bytes(message)) for party, message in as_round(step).send.items()}
        received = yield Round(changed, as_round(step).receive, as_round(step).exact)
        try:
            number, step = number + 1, protocol.send(received)
        except StopIteration as stop:
            return stop.value


def psi_party(spec: PsiSpec, me: int, rows: list[str], seed: int = 7, **options: Any) -> Steps[Any]:
    return private_join(spec, me, rows, random=random.Random(f"{seed}/{me}").randbytes, workers=1, **options)


def run_psi(
    sets: list[list[str]], seed: int = 7, tamper: Tamper | None = None, **changes: Any
) -> list[list[str]]:
    """Return what each owner holds, in the canonical order; `tamper` changes what party 0 sends."""
    spec = spec_for(len(sets), **changes)
    parties = [psi_party(spec, party, rows, seed) for party, rows in enumerate(sets)]
    if tamper is not None:
        parties[0] = tampered(parties[0], tamper)
    found = run_local(parties).results
    return [[sets[party][row] for row in found[party].tolist()] for party in range(len(sets))]


identifier_sets = st.lists(
    st.lists(st.sampled_from([f"p{number}" for number in range(14)]), unique=True, max_size=12),
    min_size=2,
    max_size=4,
)


@PROPERTY
@given(identifier_sets, st.integers(1, 5), st.integers(1, 9))
def test_every_owner_gets_its_common_rows_in_one_order(
    sets: list[list[str]], pad_to: int, chunk_points: int
) -> None:
    aligned = run_psi(sets, pad_to=pad_to, chunk_points=chunk_points, matcher=len(sets) // 2)
    assert all(rows == aligned[0] for rows in aligned)
    assert set(aligned[0]) == set(sets[0]).intersection(*sets[1:])
    assert len(set(aligned[0])) == len(aligned[0])


def test_only_rows_that_all_three_owners_hold_are_found() -> None:
    aligned = run_psi([["a", "b", "c"], ["b", "c", "d"], ["c", "b", "a"]])
    assert set(aligned[0]) == {"b", "c"}


def test_the_canonical_order_changes_with_the_masks() -> None:
    names = [f"row{number}" for number in range(40)]
    assert run_psi([names, names], seed=1)[0] != run_psi([names, names], seed=2)[0]


def match_all(spec: PsiSpec, sets: list[list[str]]) -> Sequence[Matching]:
    randoms = [random.Random(party).randbytes for party in range(len(sets))]
    parties = [match(spec, p, sets[p], random=randoms[p], workers=1) for p in range(len(sets))]
    return run_local(parties).results


def test_before_release_only_the_matcher_knows_the_cardinality() -> None:
    spec, sets = spec_for(2), [["a", "b"], ["b", "c"]]
    halves = match_all(spec, sets)
    assert [half.cardinality for half in halves] == [None, 1]
    found = run_local([release(spec, p, halves[p], rows=2) for p in range(2)]).results
    assert [rows.tolist() for rows in found] == [[1], [0]]


@pytest.mark.parametrize("refuses", [0, 1, 2])
def test_no_owner_learns_which_rows_are_common_before_every_owner_agrees_to_their_number(
    refuses: int,
) -> None:
    """The matcher is party 2; before positions leave it, each owner has told each other that it goes on."""
    sets, told, learnt = [["a", "b"], ["b", "a"], ["a", "b", "c"]], list[int](), list[int]()

    def party(me: int) -> Steps[None]:
        def check(common: int) -> None:
            assert common == 2
            if me == refuses:
                raise PsiInputInvalid("too few")

        def agree(_: int) -> Steps[None]:
            others = [each for each in range(3) if each != me]
            yield Round(dict.fromkeys(others, b"1"), dict.fromkeys(others, 1))
            told.append(me)

        yield from psi_party(spec_for(3), me, sets[me], check_common=check, agree=agree)
        learnt.append(me)

    with pytest.raises(PsiInputInvalid, match="too few"):
        run_local([party(me) for me in range(3)])
    assert (told, learnt) == ([], [])


def test_every_hop_shuffles_so_that_no_list_can_be_linked_to_rows() -> None:
    names = [f"row{number}" for number in range(64)]
    for half in match_all(spec_for(3, chunk_points=64), [names, names, names]):
        assert len(half.permutations) == 3
        for order in half.permutations:
            assert not np.array_equal(order, np.arange(64))
            assert np.array_equal(np.sort(order), np.arange(64))


def test_progress_counts_every_point_this_owner_multiplies() -> None:
    seen: list[tuple[str, int, int]] = []
    spec, sets = spec_for(2), [["a", "b", "c"], ["b", "c"]]
    first = psi_party(spec, 0, sets[0], progress=lambda *step: seen.append(step))
    run_local([first, psi_party(spec, 1, sets[1])])
    assert seen[-1] == ("psi", 5, 5)


def test_repeated_identifiers_are_refused_by_row_and_never_shown() -> None:
    with pytest.raises(PsiInputInvalid, match="rows 0 and 2") as refusal:
        check_identifiers(["secret-7", "b", "secret-7"])
    assert "secret" not in str(refusal.value)


def test_an_empty_identifier_is_refused() -> None:
    with pytest.raises(PsiInputInvalid, match="row 1"):
        check_identifiers(["a", ""])


def encoded(u: int) -> bytes:
    return u.to_bytes(POINT_BYTES, "little")


@pytest.mark.parametrize("bad", SMALL_ORDER)
def test_a_point_of_small_order_is_refused(bad: int) -> None:
    scalar = random_scalar(random.Random(3).randbytes)
    good = hash_to_points("d", CONTEXT, [b"x"])
    with pytest.raises(PointRefused):
        multiply(scalar, good + encoded(bad))


@pytest.mark.parametrize("bad", SMALL_ORDER)
def test_a_peer_that_sends_such_a_point_is_named(bad: int) -> None:
    def spoil_first_point(number: int, message: bytes) -> bytes:
        return encoded(bad) + message[32:] if number == 1 else message

    with pytest.raises(PeerMisbehaved, match="party 0") as fault:
        run_psi([["a", "b"], ["b", "c"]], tamper=spoil_first_point)
    assert fault.value.party == 0


def on_the_twist() -> int:
    return next(u for u in range(2, 100) if not is_square(u**3 + A * u * u + u))


@pytest.mark.parametrize("strange", [on_the_twist(), 2**255 - 1, 2**256 - 1])
def test_any_other_point_matches_nothing_and_ends_nothing(strange: int) -> None:
    def spoil_first_point(number: int, message: bytes) -> bytes:
        return encoded(strange) + message[32:] if number == 1 else message

    sets = [["a", "b"], ["a", "b"]]
    aligned = run_psi(sets, tamper=spoil_first_point, matcher=1)
    assert len(aligned[0]) == 1
    assert aligned[0] == aligned[1]


def vectors() -> list[dict[str, str]]:
    """Return items with their points and the multiples of these, from the arithmetic above."""
    made = []
    for item in (b"", b"probe", "Ä-17".encode(), bytes(100)):
        for scalar in (bytes(range(32)), b"\xff" * 32):
            point = elligator(digest("assent/psi/identifier", CONTEXT, item))
            made.append(
                {
                    "item": item.hex(),
                    "scalar": scalar.hex(),
                    "point": encoded(point).hex(),
                    "product": encoded(ladder(scalar, point)).hex(),
                }
            )
    return made


def test_points_and_multiples_are_those_of_the_curve() -> None:
    known = json.loads(VECTORS.read_text(encoding="utf-8"))["points"]
    assert known == vectors()
    points = hash_to_points("assent/psi/identifier", CONTEXT, [bytes.fromhex(one["item"]) for one in known])
    for at, one in enumerate(known):
        point = points[POINT_BYTES * at : POINT_BYTES * (at + 1)]
        assert point.hex() == one["point"]
        assert multiply(bytes.fromhex(one["scalar"]), point).hex() == one["product"]


def test_every_identifier_has_a_point_on_the_curve_and_not_on_its_twist() -> None:
    """A masked point stays on its side, so points of both would tell one bit of each identifier."""
    points = hash_to_points("d", CONTEXT, [str(number).encode() for number in range(64)])
    for start in range(0, len(points), POINT_BYTES):
        u = int.from_bytes(points[start : start + POINT_BYTES], "little")
        assert is_square(u**3 + A * u * u + u)


def test_texts_that_look_alike_are_different_rows() -> None:
    alike = ["7", "07", "7.0", "7 ", "７", "é", "e\u0301", "A", "А", "a", "true", "True"]
    aligned = run_psi([alike, [*alike[::-1][:8], "else"]])
    assert set(aligned[0]) == set(alike[4:])
    assert aligned[0] == aligned[1]


def test_a_large_join_is_that_of_sets() -> None:
    """Whatever blocks and slices the lists are cut into."""
    left, right = [f"p{n}" for n in range(0, 1_200, 2)], [f"p{n}" for n in range(0, 1_200, 3)]
    aligned = run_psi([left, right], chunk_points=257)
    assert set(aligned[0]) == set(left) & set(right)
    assert aligned[0] == aligned[1]


STEPS = {"opening": (0, 1), "points": (1, 1), "all points": (2, 1), "count": (3, 0), "positions": (4, 0)}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("change", ["cut", "longer", "empty", "ones"])
def test_a_malformed_message_names_the_peer_at_every_step(step: str, change: str) -> None:
    number, matcher = STEPS[step]

    def spoil(at: int, message: bytes) -> bytes:
        if at != number:
            return message
        spoiled = {
            "cut": message[:-1],
            "longer": message + b"\0",
            "empty": b"",
            "ones": b"\xff" * len(message),
        }
        return spoiled[change]

    if (step, change) == ("all points", "ones"):
        with pytest.raises(PeerMisbehaved, match="twice"):
            run_psi([["a", "b"], ["b", "a"]], tamper=spoil, matcher=matcher)
        return
    with pytest.raises(PeerMisbehaved, match="party 0"):
        run_psi([["a", "b"], ["b", "a"]], tamper=spoil, matcher=matcher)


def test_owners_of_different_jobs_notice_before_any_point_is_sent() -> None:
    specs = [spec_for(2), spec_for(2, context=digest("test/psi", b"other job"))]
    with pytest.raises(PeerMisbehaved, match="another PSI"):
        run_local([psi_party(specs[party], party, ["a"]) for party in range(2)])


def test_points_are_separated_by_job_and_by_use() -> None:
    other = digest("test/psi", b"other job")
    points = {
        hash_to_points("d", CONTEXT, [b"x"]),
        hash_to_points("d", other, [b"x"]),
        hash_to_points("e", CONTEXT, [b"x"]),
    }
    assert len(points) == 3


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("crypto_scalarmult", lambda _, point: point),
        ("crypto_core_ed25519_from_uniform", lambda uniform: uniform),
    ],
)
def test_a_library_that_computes_other_points_is_refused(
    name: str, fault: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_library()
    monkeypatch.setattr(sodium, name, fault)
    with pytest.raises(CryptoLibraryUnsafe, match="other points"):
        check_library()


def test_a_library_that_multiplies_points_of_small_order_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sodium.crypto_scalarmult

    def lenient(scalar: bytes, point: bytes) -> bytes:
        try:
            return real(scalar, point)
        except exceptions.RuntimeError:
            return bytes(32)

    monkeypatch.setattr(sodium, "crypto_scalarmult", lenient)
    with pytest.raises(CryptoLibraryUnsafe, match="small order"):
        check_library()


# --- what an owner sees ----------------------------------------------------------------------------------


class IdealGroup:
    """Masked points as independent random strings, one for each identifier and set of scalars.

    This is what they are to whoever lacks one of the scalars, by the assumption of group.py.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.points: dict[tuple[frozenset[bytes], bytes], bytes] = {}
        self._known: dict[bytes, tuple[frozenset[bytes], bytes]] = {}

    def masked(self, scalars: frozenset[bytes], item: bytes) -> bytes:
        if (scalars, item) not in self.points:
            self.points[scalars, item] = self._random.randbytes(POINT_BYTES)
        point = self.points[scalars, item]
        self._known[point] = scalars, item
        return point

    def hash_and_multiply_all(self, scalar: bytes, *given: Any) -> bytes:
        return b"".join(self.masked(frozenset([scalar]), item) for item in given[2])

    def multiply_all(self, scalar: bytes, points: bytes, _: Any) -> bytes:
        split = [points[start : start + POINT_BYTES] for start in range(0, len(points), POINT_BYTES)]
        known = [self._known[point] for point in split]
        return b"".join(self.masked(scalars | {scalar}, item) for scalars, item in known)


def seen_by(
    observer: int, sets: list[list[str]], group: IdealGroup, draws: list[Callable[[int], bytes]]
) -> list[bytes]:
    """Return what one of two owners receives."""
    seen: list[bytes] = []

    def recorded(protocol: Steps[Any]) -> Steps[Any]:
        step = next(protocol)
        while True:
            received = yield step
            seen.extend(bytes(received[sender]) for sender in sorted(received))
            try:
                step = protocol.send(received)
            except StopIteration as stop:
                return stop.value

    made = [private_join(spec_for(2), me, sets[me], random=draws[me], workers=1) for me in range(2)]
    made[observer] = recorded(made[observer])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psi, "hash_and_multiply_all", group.hash_and_multiply_all)
        patch.setattr(psi, "multiply_all", group.multiply_all)
        patch.setattr(psi, "check_library", lambda: None)
        run_local(made)
    return seen


def couple(observer: int, seed: int) -> bool:
    """Tell whether an owner's view is also one of other rows of the other owner, with the same in common.

    Other rows have other names and another order. What the observer does not know, the other's shuffle and
    what its scalar makes of its rows, is chosen so that the views agree.
    """
    draw = random.Random(seed)
    names = [f"p{number}" for number in range(9)]
    own, rows = draw.sample(names, draw.randrange(1, 7)), draw.sample(names, draw.randrange(1, 7))
    renamed = [name if name in own else f"other {name}" for name in rows]
    order = draw.sample(range(len(rows)), len(rows))

    def draws(shuffled: bool) -> list[Callable[[int], bytes]]:
        def of_other(size: int) -> bytes:
            made = source.randbytes(size)
            calls.append(size)
            if not shuffled or len(calls) != 2:  # its scalar comes first, then the shuffle of its own list
                return made
            keys = np.frombuffer(made, "<u8")
            return keys[order].tobytes()

        calls, source = list[int](), random.Random(f"{seed}/other")
        both = [random.Random(f"{seed}/own").randbytes, of_other]
        return both if observer == 0 else both[::-1]

    def sets(theirs: list[str]) -> list[list[str]]:
        return [own, theirs] if observer == 0 else [theirs, own]

    group = IdealGroup(seed)
    seen = seen_by(observer, sets(rows), group, draws(shuffled=False))
    coupled = IdealGroup(seed)
    new = dict(zip([one.encode() for one in rows], [one.encode() for one in renamed], strict=True))
    coupled.points = {
        (scalars, new.get(item, item)): point for (scalars, item), point in group.points.items()
    }
    theirs = [renamed[at] for at in order]
    return seen_by(observer, sets(theirs), coupled, draws(shuffled=True)) == seen


@pytest.mark.parametrize("observer", [0, 1])
def test_an_owner_sees_nothing_of_rows_that_it_does_not_share(observer: int) -> None:
    """Party 1 is the matcher."""
    assert all(couple(observer, seed) for seed in range(1_000))


@pytest.mark.parametrize("observer", [0, 1])
def test_a_shuffle_that_is_forgotten_is_caught_by_the_coupling(
    observer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psi, "_permutation", lambda size, _: np.arange(size))
    assert not all(couple(observer, seed) for seed in range(20))


if __name__ == "__main__":
    about = (
        "Points of dh-psi, made by tests/unit/privcompute/mpc/protocols/test_psi.py, which writes them anew"
    )
    VECTORS.write_text(json.dumps({"about": about, "points": vectors()}, indent=1) + "\n", encoding="utf-8")
