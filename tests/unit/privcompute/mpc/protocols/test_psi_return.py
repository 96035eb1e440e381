"""The way back of a join as messages that may be asked for: the rows of `psi.release`, or who lies."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from chain.primitives.crypto import digest
from chain.primitives.errors import DecodeError
from chain.primitives.values import decode_value, encode_value
from privcompute.errors import PeerMisbehaved
from privcompute.mpc.local import run_local
from privcompute.mpc.protocols.psi import Matching, PsiSpec, match, release
from privcompute.mpc.protocols.psi_return import JoinReturn, read_matching, write_matching

IDENTIFIERS = (
    [f"p{number}" for number in range(12)],
    [f"p{number}" for number in range(4, 19)],
    [f"p{number}" for number in range(8, 11)] + ["q1"],
)
Alter = Callable[[int, int, dict[str, bytes]], dict[str, bytes]]
"""(from, to, messages) -> what arrives."""


def matched(n: int) -> tuple[PsiSpec, list[Matching]]:
    spec = PsiSpec(digest("test/psi", b"job"), tuple(range(n)), n - 1, chunk_points=8)
    runs = [
        match(spec, me, IDENTIFIERS[me], random=random.Random(me).randbytes, workers=1) for me in range(n)
    ]
    return spec, list(run_local(runs).results)


def owners(n: int) -> list[JoinReturn]:
    """Return all owners' parts, as they are made anew of what is sealed, with everybody's commitments."""
    spec, matchings = matched(n)
    salts = [bytes([me + 1]) * 32 for me in range(n)]
    made = [JoinReturn(spec, me, matchings[me], salts[me], {}) for me in range(n)]
    agreed = {label: one for part in made for label, one in part.own_commitments().items()}
    kept = [
        read_matching(decode_value(encode_value(write_matching(one)), max_bytes=1 << 20)) for one in matchings
    ]
    return [JoinReturn(spec, me, kept[me], salts[me], agreed) for me in range(n)]


def unchanged(_: int, __: int, messages: dict[str, bytes]) -> dict[str, bytes]:
    return messages


def gather(parts: list[JoinReturn], alter: Alter = unchanged) -> list[list[str]]:
    """Let everybody ask whom it misses something from, in rounds; return each owner's common identifiers."""
    for _ in range(len(parts) + 1):
        for part in parts:
            for party in part.missing:
                part.take(party, alter(party, part.me, parts[party].give(part.me)))
    found = [part.rows(len(IDENTIFIERS[part.me])) for part in parts]
    assert all(rows is not None for rows in found)
    return [
        [IDENTIFIERS[me][row] for row in rows.tolist()] for me, rows in enumerate(found) if rows is not None
    ]


@pytest.mark.parametrize("n", [2, 3])
def test_every_owner_gets_the_rows_that_a_release_over_links_gives(n: int) -> None:
    parts = owners(n)
    spec, matchings = matched(n)
    runs = [release(spec, me, matchings[me], rows=len(IDENTIFIERS[me])) for me in range(n)]
    expected = [[IDENTIFIERS[me][row] for row in rows] for me, rows in enumerate(run_local(runs).results)]
    assert gather(parts) == expected
    assert len({tuple(ids) for ids in expected}) == 1
    assert {part.count for part in parts} == {len(expected[0])}


@pytest.mark.parametrize("n", [2, 3])
def test_an_owner_that_begins_anew_gets_the_same_messages_again(n: int) -> None:
    parts = owners(n)
    first = gather(parts)
    again = owners(n)
    given = [{party: parts[me].give(party) for party in range(n) if party != me} for me in range(n)]
    gather(again)
    assert given == [{party: again[me].give(party) for party in range(n) if party != me} for me in range(n)]
    parts[0] = owners(n)[0]
    assert gather(parts) == first


def test_a_matcher_that_hands_out_other_positions_than_it_committed_to_is_named() -> None:
    def lie(party: int, _: int, messages: dict[str, bytes]) -> dict[str, bytes]:
        if party != 2 or "2" not in messages:
            return messages
        salt, data = decode_value(messages["2"], max_bytes=1 << 20)
        return messages | {"2": encode_value([salt, data[:-4]])}

    with pytest.raises(PeerMisbehaved, match="party 2 hands out other common positions"):
        gather(owners(3), lie)


@pytest.mark.parametrize(
    "data", [b"", b"\0\0\0", np.array([0, 0, 0], "<u4").tobytes(), b"\xff\xff\xff\x7f" * 3]
)
def test_a_relay_whose_positions_cannot_be_is_named(data: bytes) -> None:
    def lie(party: int, _: int, messages: dict[str, bytes]) -> dict[str, bytes]:
        return messages | {"0": data} if party == 1 and "0" in messages else messages

    with pytest.raises(PeerMisbehaved, match="party 1"):
        gather(owners(3), lie)


@pytest.mark.parametrize("value", [None, [], [1, 2, 3, 4], [[1], [b"x"], True, [b"123"]]])
def test_a_damaged_matching_is_refused(value: object) -> None:
    with pytest.raises(DecodeError):
        read_matching(value)
