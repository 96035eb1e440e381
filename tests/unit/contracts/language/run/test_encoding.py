"""Metered encoding and equality of values give what plain ones do."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.values import decode_value, encode_value
from contracts.language.run.encoding import COPY, decode, encode, isolate
from contracts.language.run.scratch import scratch_machine
from contracts.language.run.values import equal

SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=40), st.binary(max_size=40)
)
KEYS = st.one_of(st.text(max_size=8), st.integers(0, 2**60 - 1))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)


@SETTINGS
@given(VALUES)
def test_metered_encoding_is_the_canonical_one(value: Any) -> None:
    machine = scratch_machine()
    data = encode(machine, value, COPY)
    assert data == encode_value(value)
    assert decode(machine, data) == decode_value(data, max_bytes=10**6) == value
    copied = isolate(machine, value)
    assert equal(machine, copied, value)
    assert copied == value
    assert machine.gas <= 100_000


@SETTINGS
@given(VALUES, VALUES)
def test_metered_equality_is_pythons(one: Any, two: Any) -> None:
    machine = scratch_machine()
    assert equal(machine, one, two) is (one == two)
    assert equal(machine, [one], [one]) is True
