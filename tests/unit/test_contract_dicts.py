"""Dicts whose keys were chosen or deleted: what a walk or a search passes is bounded."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from chain.primitives.errors import DecodeError
from chain.primitives.values import INT_KEYED_MAX, decode_value, encode_value
from contracts.check import run_source
from contracts.language.builder import scratch_machine
from contracts.language.methods import METHODS
from contracts.language.operators import delete_item

FULL = "d = {i: 0 for i in range(256)}"
TEXTS = "d = {str(i): 0 for i in range(256)}"


def _run(*lines: str) -> dict[str, Any]:
    source = "def main():\n" + "".join(f"    {line}\n" for line in lines)
    verdict: dict[str, Any] = run_source(source, "main", {}, gas=10_000_000)
    return verdict


@pytest.mark.parametrize("made", [FULL, TEXTS])
@pytest.mark.parametrize(
    "grow",
    [
        "d[999] = 1",
        "d.setdefault(999)",
        "d.update({999: 1})",
        "d |= {999: 1}",
        "e = d | {999: 1}",
        "e = {999: 1} | d",
        "e = {**d, 999: 1}",
        "e = {999: 1, **d}",
        "e = dict([*d.items(), (999, 1)])",
        "e = dict((k, 1) for k in [*d, 999])",
        "e = {k: 1 for k in [*d, 999]}",
    ],
)
def test_a_dict_with_an_int_key_has_at_most_256_entries(made: str, grow: str) -> None:
    assert _run(made, grow)["code"] == "ELEMENTS"
    assert _run(made, "for k in list(d)[:2]:", "    del d[k]", grow)["status"] == "ok"


@pytest.mark.parametrize("grow", ["d['a'] = 1", "d.update({'a': 1})", "d |= {'a': 1}", "e = {**d, 'a': 1}"])
def test_a_text_makes_a_dict_of_ints_too_large_and_none_of_texts(grow: str) -> None:
    assert _run(FULL, grow)["code"] == "ELEMENTS"
    assert _run(TEXTS, grow)["status"] == "ok"


def test_a_display_of_many_int_keys_is_refused() -> None:
    assert _run(f"return {{{', '.join(f'{n}: 0' for n in range(257))}}}")["code"] == "ELEMENTS"


def test_a_merge_of_the_same_keys_makes_no_larger_dict() -> None:
    assert _run(FULL, "e = {**d, **d} | d", "e |= d", "e.update(d)", "return len(e)")["result"] == 256


def test_no_encoding_has_more_int_keys_and_the_decoder_looks_before_it_makes_a_table() -> None:
    most = {n << 20: 0 for n in range(INT_KEYED_MAX)}
    assert decode_value(encode_value([most, (most,)]), max_bytes=10_000) == [most, (most,)]
    many = most | {2**59: 0}
    with pytest.raises(DecodeError, match="at most 256 entries"):
        encode_value(many)
    inner = msgpack.packb(many)
    for data in (inner, b"\x91" + inner, msgpack.packb(msgpack.ExtType(1, b"\x91" + inner))):
        with pytest.raises(DecodeError, match="257 entries has int keys"):
            decode_value(data, max_bytes=10_000)


def test_texts_as_keys_are_as_many_as_ever() -> None:
    many = {f"{n:05}": n for n in range(9_999)}
    assert decode_value(encode_value(many), max_bytes=200_000) == many


@pytest.mark.parametrize("how", ["del", "pop"])
def test_a_dict_does_not_keep_the_places_of_deleted_keys(how: str) -> None:
    machine = scratch_machine()
    machine.gas = 10**6
    entries: dict[Any, Any] = {str(n): n for n in range(9_999)}
    for n in range(9_990):
        if how == "del":
            delete_item(machine, entries, str(n))
        else:
            METHODS["pop"][dict][0](machine, entries, str(n))
    assert list(entries.items()) == [(str(n), n) for n in range(9_990, 9_999)]
    assert entries.__sizeof__() < 5_000  # 9,999 entries take 300,000


def test_a_deletion_pays_for_closing_up() -> None:
    machine = scratch_machine()
    before = machine.gas
    delete_item(machine, {"a": 1}, "a")
    assert machine.gas == before - 1
