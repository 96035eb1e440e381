"""Diffie–Hellman PSI against plain set intersection, and against peers that do not follow it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import nacl.bindings as sodium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.crypto import digest
from privcompute.errors import PeerMisbehaved
from privcompute.mpc.local import run_local
from privcompute.mpc.protocols.group import (
    CryptoLibraryUnsafe,
    PointRefused,
    check_library,
    hash_to_point,
    is_valid_point,
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
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",  # the identity
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2
    "0000000000000000000000000000000000000000000000000000000000000000",  # order 4
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",  # order 8
]
MIXED_ORDER = "9599999999999999999999999999999999999999999999999999999999999999"
NOT_CANONICAL = (2**255 - 19 + 4).to_bytes(32, "little").hex()
OFF_CURVE = (2).to_bytes(32, "little").hex()
BAD_POINTS = [*SMALL_ORDER, MIXED_ORDER, NOT_CANONICAL, OFF_CURVE]


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


@pytest.mark.parametrize("bad", BAD_POINTS)
def test_a_point_outside_the_prime_order_group_is_refused(bad: str) -> None:
    assert not is_valid_point(bytes.fromhex(bad))
    with pytest.raises(PointRefused):
        multiply(random_scalar(random.Random(3).randbytes), [bytes.fromhex(bad)])


@pytest.mark.parametrize("bad", BAD_POINTS)
def test_a_peer_that_sends_such_a_point_is_named(bad: str) -> None:
    def spoil_first_point(number: int, message: bytes) -> bytes:
        return bytes.fromhex(bad) + message[32:] if number == 1 else message

    with pytest.raises(PeerMisbehaved, match="party 0") as fault:
        run_psi([["a", "b"], ["b", "c"]], tamper=spoil_first_point)
    assert fault.value.party == 0


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
        hash_to_point("d", CONTEXT, b"x"),
        hash_to_point("d", other, b"x"),
        hash_to_point("e", CONTEXT, b"x"),
    }
    assert len(points) == 3
    assert all(is_valid_point(point) for point in points)


def test_a_library_that_accepts_mixed_order_points_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_library()
    monkeypatch.setattr(sodium, "crypto_scalarmult_ed25519_noclamp", lambda *pair: pair[1])
    with pytest.raises(CryptoLibraryUnsafe):
        check_library()
