"""`target op= value`: its target is computed once, and in CPython's order, whatever has effects meanwhile."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.check import check_source, run_source

HEAD = """
class Row(Record):
    n: int
    xs: list

plain = Map(int, int)
rows = Map(int, int, ordered=True)
lists = Map(int, list)
step = Var(int, 0)
trail = Var(list, [])

def noted(n: int) -> int:
    seen = trail.get()
    seen.append(n)
    trail.set(seen)
    return n

def turn() -> int:
    step.set((step.get() + 1) % 4)
    return noted(step.get())

def moved(k: list) -> int:
    k[0] = noted((k[0] + 1) % 4)
    return 5

def upset(n: int) -> int:
    step.set((step.get() + 2) % 4)
    plain[n] = 70
    rows[n] = 80
    lists[n] = [9]
    return noted(n)

def dropped(n: int) -> int:
    del plain[n]
    del rows[n]
    return noted(n)

@export
def main():
    for i in range(4):
        plain[i] = 10 * i
        rows[i] = 100 * i
        lists[i] = [i]
    xs = [1, 2, 3, 4]
    d = {0: 5, 1: 6, 2: 7, 3: 8}
    deep = {"a": [1, 2, 3, 4], "b": {0: 9, 1: 8, 2: 7, 3: 6}}
    many = [Row(1, [1, 2, 3, 4]), Row(2, [5, 6, 7, 8]), Row(3, [1, 1, 1, 1]), Row(4, [0, 0, 0, 0])]
    queue = [0, 1, 2, 3, 3, 2, 1, 0]
    k = [0]
"""
TAIL = """
    kept = [[n, plain.get(n, -1), rows.get(n, -1), lists[n]] for n in range(4)]
    return [kept, rows.page(), xs, d, deep, many, queue, k, step.get(), trail.get()]
"""
KEYS = [
    "queue.pop()",
    "turn()",
    "k[0]",
    "step.get()",
    "noted(2)",
    "upset(1)",
    "3",
    "moved(k) - 4",
    "dropped(1)",
]
NUMBERS = [*KEYS, "plain[turn()]", "xs[queue.pop()]", "moved(k)", "many[turn()].n", "(turn() + queue.pop())"]
LISTS = ["[turn()]", "lists[queue.pop()]", "[moved(k), k[0]]", "[upset(3)]"]
TARGETS = [
    "plain[{}]", "rows[{}]", "xs[{}]", "d[{}]", 'deep["a"][{}]', 'deep["b"][{}]', "many[{}].n",
    "many[1].xs[{}]",
]  # fmt: skip
LIST_TARGETS = ["lists[{}]", "many[{}].xs"]
FEW = st.sampled_from(["+=", "-=", "*="])
WAYS = st.one_of(
    st.builds(
        lambda place, key, symbol, value: f"{place.format(key)} {symbol} {value}",
        st.sampled_from(TARGETS), st.sampled_from(KEYS), FEW, st.sampled_from(NUMBERS),
    ),
    st.builds(
        lambda place, key, value: f"{place.format(key)} += {value}",
        st.sampled_from(LIST_TARGETS), st.sampled_from(KEYS), st.sampled_from(LISTS),
    ),
)  # fmt: skip
MEANS = {"KEY_ERROR": "KeyError", "INDEX_ERROR": "IndexError"}


class _Map(dict[int, Any]):
    """A Map as a dict: what is read and what is stored are copies."""

    def __getitem__(self, key: int) -> Any:
        return deepcopy(super().__getitem__(key))

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, deepcopy(value))

    def page(self) -> list[int]:
        return sorted(self)


class _Var:
    def __init__(self, _: object, value: Any) -> None:
        self._value = value

    def get(self) -> Any:
        return deepcopy(self._value)

    def set(self, value: Any) -> None:
        self._value = deepcopy(value)


def _row(n: int, xs: list[int]) -> SimpleNamespace:
    return SimpleNamespace(n=n, xs=xs)


def _python(source: str) -> Any:
    """Return what CPython makes of the source, or the name of its exception."""
    names: dict[str, Any] = {
        "Map": lambda *_, **__: _Map(),
        "Var": _Var,
        "Record": object,
        "export": lambda function: function,
    }
    exec(compile(source, "augmented", "exec"), names)  # noqa: S102  (our own generated text)
    names["Row"] = _row
    try:
        return _plain(names["main"]())
    except (KeyError, IndexError) as error:
        return type(error).__name__


def _plain(value: Any) -> Any:
    if isinstance(value, SimpleNamespace):
        return _plain(vars(value))
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {str(key): _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _assent(source: str) -> Any:
    assert check_source(source, "c").diagnostics == ()
    done = run_source(source, "main", {})
    return done["result"] if done["status"] == "ok" else MEANS.get(done["code"], done)


@settings(max_examples=150, deadline=None)
@given(st.lists(WAYS, min_size=1, max_size=5))
def test_augmented_targets_do_what_cpython_does(lines: list[str]) -> None:
    source = HEAD + "".join(f"    {line}\n" for line in lines) + TAIL
    assert _assent(source) == _python(source)


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("place", ["plain[{}]", "rows[{}]"])
def test_an_entry_of_a_map_is_stored_where_it_was_read(place: str, key: str, value: str) -> None:
    source = HEAD + f"    {place.format(key)} += {value}\n" + TAIL
    assert _assent(source) == _python(source)
