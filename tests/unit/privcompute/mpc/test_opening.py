"""Outputs in shares: both holders of a component write the same record, and only all three open anything."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from chain.primitives.errors import DecodeError
from chain.primitives.values import Value, decode_value, encode_value
from privcompute.errors import ProgramFault
from privcompute.mpc.join_engine import JoinEngine
from privcompute.mpc.local import run_local
from privcompute.mpc.opening import component_commitment, open_components
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps

JOB = bytes(range(32))
PUBLIC: Value = {"rows": 60, "labels": ["a", "b"]}


def held(public: Value = PUBLIC) -> list[dict[int, bytes]]:
    """Return the records of three parties after a computation with a table, a vector and a single number."""

    def party(me: int) -> Steps[dict[int, bytes]]:
        engine = yield from Rep3Engine.start(me, JOB, hashlib.shake_256(b"%d" % me).digest(ENTROPY_BYTES))
        table = yield from engine.share(0, np.arange(6.0).reshape(2, 3) / 4 if me == 0 else None, (2, 3), 16)
        counts = yield from engine.share(1, np.array([-5, 7]) if me == 1 else None, (2,))
        product = yield from engine.mul(table, table)
        outputs = {"table": product, "counts": counts, "one": counts.sum()}
        return engine.components(JOB, outputs, public)

    return list(run_local([party(me) for me in range(3)]).results)


def test_all_three_components_open_the_outputs_and_the_public_part() -> None:
    records = {number: record for one in held() for number, record in one.items()}
    opened, public = open_components(JOB, "rep3", records)
    assert public == PUBLIC
    assert opened["table"] == pytest.approx((np.arange(6.0).reshape(2, 3) / 4) ** 2, abs=2**-15)
    assert opened["counts"].tolist() == [-5, 7]
    assert opened["one"].shape == ()
    assert int(opened["one"]) == 2


def test_both_holders_of_a_component_commit_to_the_same_and_the_third_has_none_of_it() -> None:
    parties = held()
    for number in range(3):
        holders = [one[number] for one in parties if number in one]
        assert len(holders) == 2
        assert component_commitment(holders[0]) == component_commitment(holders[1])
        assert sorted(parties[(number + 1) % 3]) == sorted({0, 1, 2} - {number})


def test_a_commitment_hides_a_component_that_is_known_to_be_one_of_few() -> None:
    """Equal outputs of two runs have other salts: a hash without one could be found by trying."""
    salts = {decode_value(record, max_bytes=len(record))[2] for one in held() for record in one.values()}
    assert len(salts) == 3
    assert all(len(salt) == 32 for salt in salts)


def other_public() -> dict[int, bytes]:
    records = {number: record for one in held() for number, record in one.items()}
    changed: Any = decode_value(records[2], max_bytes=1 << 20)
    return records | {2: encode_value([*changed[:4], {"rows": 61}])}


def swapped() -> dict[int, bytes]:
    records = {number: record for one in held() for number, record in one.items()}
    return {0: records[1], 1: records[0], 2: records[2]}


@pytest.mark.parametrize(
    "records",
    [
        {0: b"", 1: b"", 2: b""},
        {0: b"\xc0", 1: b"\xc0", 2: b"\xc0"},
        {0: b"x", 1: b"x"},
        swapped(),
        other_public(),
    ],
    ids=["empty", "nothing", "one too few", "swapped", "other public part"],
)
def test_records_that_do_not_fit_open_nothing(records: dict[int, bytes]) -> None:
    with pytest.raises(DecodeError):
        open_components(JOB, "rep3", records)


def joined(parties: int) -> list[dict[int, bytes]]:
    """Return the records of parties that only joined: a number, and bits by row."""

    def party(me: int) -> Steps[dict[int, bytes]]:
        engine = yield from JoinEngine.start(me, parties, hashlib.sha256(b"%d" % me).digest())
        outputs = {"count": engine.constant(60), "rows": engine.constant(np.ones(3, np.int64))}
        return engine.components(JOB, outputs, PUBLIC)

    return list(run_local([party(me) for me in range(parties)]).results)


@pytest.mark.parametrize("parties", [2, 3, 8])
def test_parties_that_only_joined_all_hold_the_one_component(parties: int) -> None:
    records = joined(parties)
    assert all(one == records[0] for one in records)
    opened, public = open_components(JOB, "dh-psi", records[0])
    assert (int(opened["count"]), opened["rows"].tolist(), public) == (60, [1, 1, 1], PUBLIC)
    with pytest.raises(DecodeError):
        open_components(JOB, "rep3", records[0])


def test_parties_that_only_joined_share_nothing_and_compute_nothing() -> None:
    engine = JoinEngine(0, 2, np.zeros(4, np.uint64))
    one = engine.constant(1)
    for work in (lambda: engine.share(0, [1], (1,)), lambda: engine.mul(one, one), lambda: engine.exp(one)):
        with pytest.raises(ProgramFault, match="computes nothing on shares"):
            work()
