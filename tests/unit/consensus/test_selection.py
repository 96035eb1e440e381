"""What a new view proposes again, and which view a replica joins."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.certificate import Certificate
from consensus.messages import NULL_DIGEST, UNSIGNED, Prepared, ViewChange, payload_digest
from consensus.selection import base_height, choose_reproposals, select_quorum, view_to_join

A, B = payload_digest(b"a"), payload_digest(b"b")


def change(sender: int, view: int = 9, base: int = 0, *prepared: tuple[int, int, bytes]) -> ViewChange:
    """Unsigned; `prepared` holds (view, height, digest)."""
    shown = Certificate(base, bytes(32), ()) if base else None
    items = tuple(Prepared(at, height, digest, ()) for at, height, digest in prepared)
    return ViewChange(0, view, shown, items, bytes([sender]) * 32, UNSIGNED)


def test_the_payload_prepared_in_the_highest_view_is_proposed_again() -> None:
    """PBFT, 4.4: it is the only one that can have been committed."""
    changes = (change(1, 9, 0, (0, 1, A)), change(2, 9, 0, (3, 1, B)), change(3))
    assert choose_reproposals(changes) == ((1, B),)


def test_heights_between_that_nobody_prepared_become_gaps() -> None:
    """Every height up to the highest prepared one gets a payload."""
    changes = (change(1, 9, 2, (0, 5, A)), change(2), change(3, 9, 1, (0, 2, B)))
    assert choose_reproposals(changes) == ((3, NULL_DIGEST), (4, NULL_DIGEST), (5, A))


def test_04_a_view_change_without_anything_prepared_opens_an_empty_view() -> None:
    """Failure 4: no checkpoint choosable from valid votes."""
    assert choose_reproposals((change(1), change(2), change(3))) == ()


def test_03_the_base_is_the_highest_certificate_among_exactly_these_view_changes() -> None:
    """Failure 3: checkpoint chosen from the wrong message set. Lower prepared heights drop out."""
    changes = (change(1, 9, 4, (0, 6, A)), change(2, 9, 6), change(3))
    assert base_height(changes) == 6
    assert choose_reproposals(changes) == ()


def test_one_huge_view_moves_nobody_and_f_plus_one_move_to_the_smallest() -> None:
    """Failure 1: one replica's huge view drags everyone."""
    huge = change(1, 2**62)
    assert view_to_join(0, [huge], faults=1) is None
    assert view_to_join(0, [huge, change(2, 3)], faults=1) == 3
    assert view_to_join(3, [huge, change(2, 3)], faults=1) is None
    assert view_to_join(0, [change(1, 2)], faults=0) == 2


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 8), st.sampled_from([A, B])), max_size=12),
    st.randoms(),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_choice_does_not_depend_on_the_order_of_view_changes(
    items: list[tuple[int, int, bytes]], random: Random
) -> None:
    """Every backup computes the same, and heights are contiguous from the base."""
    changes = [change(i, 9, i % 3, item) for i, item in enumerate(items)]
    shuffled = list(changes)
    random.shuffle(shuffled)
    chosen, base = choose_reproposals(changes), base_height(changes)
    assert chosen == choose_reproposals(shuffled)
    assert [height for height, _ in chosen] == list(range(base + 1, base + 1 + len(chosen)))


def test_the_quorum_shown_includes_the_highest_certificate() -> None:
    """Otherwise two leaders could believe in different bases."""
    changes = [change(1), change(2), change(3, 9, 7), change(4)]
    chosen = select_quorum(changes, 3)
    assert base_height(chosen) == 7
    assert [item.sender[0] for item in chosen] == [1, 2, 3]
