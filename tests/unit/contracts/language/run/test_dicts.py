"""Dicts whose keys were chosen or deleted: what a walk or a search passes is bounded."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from chain.primitives.errors import DecodeError
from chain.primitives.values import INT_KEYED_MAX, decode_value, encode_value
from contracts.check import run_source
from contracts.language.run.methods import METHODS
from contracts.language.run.operators import delete_item, set_item
from contracts.language.run.scratch import scratch_machine

FULL = "d = {i: 0 for i in range(128)}"
TEXTS = "d = {str(i): 0 for i in range(128)}"


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
def test_a_dict_with_an_int_key_has_at_most_128_entries(made: str, grow: str) -> None:
    assert _run(made, grow)["code"] == "ELEMENTS"
    assert _run(made, "for k in list(d)[:2]:", "    del d[k]", grow)["status"] == "ok"


@pytest.mark.parametrize("grow", ["d['a'] = 1", "d.update({'a': 1})", "d |= {'a': 1}", "e = {**d, 'a': 1}"])
def test_a_text_makes_a_dict_of_ints_too_large_and_none_of_texts(grow: str) -> None:
    assert _run(FULL, grow)["code"] == "ELEMENTS"
    assert _run(TEXTS, grow)["status"] == "ok"


def test_a_display_of_many_int_keys_is_refused() -> None:
    assert _run(f"return {{{', '.join(f'{n}: 0' for n in range(129))}}}")["code"] == "ELEMENTS"


def test_a_merge_of_the_same_keys_makes_no_larger_dict() -> None:
    assert _run(FULL, "e = {**d, **d} | d", "e |= d", "e.update(d)", "return len(e)")["result"] == 128


def test_no_encoding_has_more_int_keys_and_the_decoder_looks_before_it_makes_a_table() -> None:
    most = {n << 20: 0 for n in range(INT_KEYED_MAX)}
    assert decode_value(encode_value([most, (most,)]), max_bytes=10_000) == [most, (most,)]
    many = most | {2**59: 0}
    with pytest.raises(DecodeError, match="at most 128 entries, or texts as keys alone; keep more in a Map"):
        encode_value(many)
    inner = msgpack.packb(many)
    for data in (inner, b"\x91" + inner, msgpack.packb(msgpack.ExtType(1, b"\x91" + inner))):
        with pytest.raises(DecodeError, match="129 entries has int keys"):
            decode_value(data, max_bytes=10_000)


def test_the_refusal_names_the_limit_and_what_to_take_instead() -> None:
    detail = _run(FULL, "d[128] = 1")["detail"]
    assert "129 entries of a dict with int keys, at most 128; more in a Map" in detail


STORED = """
rows = Map(str, Value)


def main(d: Value):
    rows["a"] = d
    e = rows["a"]
    e[{}] = 1
"""


@pytest.mark.parametrize(
    ("key", "code"), [("999", "ELEMENTS"), ("'a'", "ELEMENTS"), ("5", None), ("True", "TYPE_ERROR")]
)
def test_a_dict_that_state_holds_keeps_the_limit(key: str, code: str | None) -> None:
    """What comes from bytes grows as what a display made; a bool is no key, whatever its hash."""
    full = dict.fromkeys(range(INT_KEYED_MAX), 0)
    assert run_source(STORED.format(key), "main", {"d": full})["code"] == code


def test_arguments_keep_the_limit() -> None:
    verdict = run_source(STORED.format(5), "main", {"d": dict.fromkeys(range(129), 0)})
    assert verdict["code"] == "BAD_ARGUMENTS"
    assert "129 entries has int keys" in verdict["detail"]


@pytest.mark.parametrize("made", ["T = {{{}}}", "T = [{{{}}}]"])
def test_a_constant_keeps_the_limit(made: str) -> None:
    source = made.format(", ".join(f"{n}: 0" for n in range(129))) + "\ndef main():\n    return T\n"
    verdict = run_source(source, "main", {})
    assert verdict["code"] == "CONSTANT"
    assert "at most 128; more in a Map" in verdict["detail"]


@pytest.mark.parametrize(
    "merge",
    ["x = {'a': 1, **d}", "x = d | e", "x = e | d", "e |= d", "e.update(d)", "x = d.copy()", "x = dict(d)"],
)
def test_a_merge_pays_for_the_searches_of_chosen_int_keys(merge: str) -> None:
    """Those of 127 keys that share one sequence of slots pass 127 * 127 / 2 places."""
    paid = []
    for key in ("i", "str(i)"):
        before = (f"d = {{{key}: 0 for i in range(127)}}", "e = {'b': 1}")
        paid.append(_run(*before, merge)["gas"] - _run(*before)["gas"])
    assert paid[0] >= paid[1] + (127 * 127 >> 6)


def test_a_merge_pays_for_the_places_of_deleted_keys() -> None:
    """A table keeps up to six places for each entry: a search for a chosen key passes them, too."""
    machine = scratch_machine()
    machine.gas = before = 10**6
    full = dict.fromkeys(range(INT_KEYED_MAX), 0)
    METHODS["update"][dict][0](machine, full, dict(full))
    assert before - machine.gas >= 7 * INT_KEYED_MAX**2 >> 6


def test_deletions_in_a_dict_of_ints_leave_at_most_341_places() -> None:
    """The table of 128 entries has 512 slots; CPython fills two thirds, and then makes it anew."""
    machine = scratch_machine()
    machine.gas = 10**9
    entries: dict[Any, Any] = dict.fromkeys(range(INT_KEYED_MAX - 1), 0)
    for n in range(INT_KEYED_MAX - 1, 9_999):
        set_item(machine, entries, n, 0)
        delete_item(machine, entries, n - INT_KEYED_MAX + 1)
        assert entries.__sizeof__() < 10_000  # 341 places of 24 bytes, 512 of 2, and a head


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
