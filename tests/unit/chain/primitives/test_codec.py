"""Every record and value has exactly one encoding, and every decoder is bounded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.codec import U64, Bound, Hash, decode, decode_any, encode, max_bytes_of, record, tag_of
from chain.primitives.errors import DecodeError
from chain.primitives.values import decode_value, encode_value

QUICK = settings(max_examples=50, deadline=None, derandomize=True)


@record("leaf", max_bytes=200)
class Leaf:
    number: U64
    text: Annotated[str, Bound(0, 8)]


@record("tree", max_bytes=2_000)
class Tree:
    flag: bool
    root: Hash
    note: Annotated[bytes, Bound(0, 4)] | None
    leaves: Annotated[tuple[Leaf, ...], Bound(0, 3)]
    pair: tuple[U64, Annotated[str, Bound(0, 4)]]
    either: Leaf | None


def a_tree() -> Tree:
    return Tree(True, bytes(32), b"x", (Leaf(1, "a"), Leaf(2**64 - 1, "é")), (3, "b"), Leaf(0, ""))


def test_a_record_survives_encoding_and_its_bytes_are_golden() -> None:
    data = encode(a_tree())
    assert decode(Tree, data) == a_tree()
    assert data.hex() == (
        "97a474726565c3c4200000000000000000000000000000000000000000000000000000000000000000c40178"
        "9293a46c65616601a16193a46c656166cfffffffffffffffffa2c3a99203a16293a46c65616600a0"
    )


def test_a_number_in_a_longer_form_is_refused() -> None:
    assert msgpack.unpackb(b"\x93\xa4leaf\xcc\x01\xa0") == ["leaf", 1, ""]
    with pytest.raises(DecodeError, match="canonical"):
        decode(Leaf, b"\x93\xa4leaf\xcc\x01\xa0")


@pytest.mark.parametrize(
    "raw",
    [
        ["leaf", True, ""],
        ["leaf", -1, ""],
        ["leaf", "1", ""],
        ["leaf", 1, "123456789"],
        ["leaf", 1, b"a"],
        ["leaf", 1],
        ["leaf", 1, "", 0],
        ["fruit", 1, ""],
        ["leaf", 1.0, ""],
        ["leaf", None, ""],
        {"leaf": 1},
        [],
        None,
        ["leaf", [1], ""],
    ],
)
def test_a_record_of_another_shape_is_refused(raw: object) -> None:
    with pytest.raises(DecodeError):
        decode(Leaf, msgpack.packb(raw))


def test_bytes_beyond_the_bound_are_refused_before_decoding() -> None:
    with pytest.raises(DecodeError, match="at most 200"):
        decode(Leaf, b"\xdd\xff\xff\xff\xff" + bytes(300))


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(DecodeError):
        decode(Leaf, encode(Leaf(1, "")) + b"\0")


def test_decode_any_chooses_by_tag_and_refuses_others() -> None:
    assert decode_any((Leaf, Tree), encode(a_tree())) == a_tree()
    with pytest.raises(DecodeError, match="expected one of"):
        decode_any((Leaf,), encode(a_tree()))
    assert (tag_of(Leaf), max_bytes_of(Leaf)) == ("leaf", 200)


def test_a_field_without_a_bound_cannot_be_declared() -> None:
    @record("open", max_bytes=10)
    class Open:
        text: str

    with pytest.raises(TypeError, match="Bound"):
        encode(Open(""))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**4095), 2**4095)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 2**60 - 1), inner, max_size=4)
    ),
    max_leaves=12,
)


def same(left: object, right: object) -> bool:
    """Equal, and of equal types throughout (True is not 1, a list is not a tuple)."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@QUICK
@given(VALUES)
def test_a_value_survives_encoding(value: object) -> None:
    data = encode_value(value)
    assert same(decode_value(data, max_bytes=10**6), value)


def test_a_value_does_not_depend_on_insertion_order() -> None:
    assert encode_value({"b": 1, 7: 2, "a": 3}) == encode_value({7: 2, "a": 3, "b": 1})


@QUICK
@given(st.binary(max_size=64))
def test_any_bytes_decode_to_themselves_or_to_a_declared_error(data: bytes) -> None:
    try:
        value = decode_value(data, max_bytes=64)
    except DecodeError:
        return
    assert encode_value(value) == data


@pytest.mark.parametrize("value", [1.5, {1, 2}, object(), {(1,): 2}, {-1: 0}, {True: 1}, 2**4096])
def test_what_is_no_contract_value_is_refused(value: object) -> None:
    with pytest.raises(DecodeError):
        encode_value(value)


def test_nesting_is_bounded_both_ways() -> None:
    deep: object = 0
    for _ in range(33):
        deep = [deep]
    with pytest.raises(DecodeError, match="nested"):
        encode_value(deep)
    with pytest.raises(DecodeError):
        decode_value(b"\x91" * 2_000 + b"\x00", max_bytes=10_000)


def test_a_small_number_in_big_form_is_refused() -> None:
    with pytest.raises(DecodeError, match="canonical"):
        decode_value(msgpack.packb(msgpack.ExtType(2, b"\x05")), max_bytes=100)


def test_threads_encode_side_by_side() -> None:
    """Each thread has a packer of its own: what one encodes never shows in another's bytes."""
    values = [{str(n): [n, (n, "x" * n)] for n in range(20 * place)} for place in range(1, 5)]
    wanted = [encode_value(value) for value in values]

    def work(place: int) -> bool:
        return all(encode_value(values[place]) == wanted[place] for _ in range(300))

    with ThreadPoolExecutor(len(values)) as pool:
        assert all(pool.map(work, range(len(values))))
