"""Every operation on every pair of types ends with a value or a verdict, never with an error of the host."""

# ruff: noqa: E501  (tables)

from __future__ import annotations

import itertools
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from chain.primitives.values import encode_value
from contracts.language.faults import Halt, LimitExceeded, Reverted
from contracts.language.run import host
from contracts.language.run.builtins import FUNCTIONS, STATIC_FUNCTIONS, is_instance
from contracts.language.run.encoding import WRITTEN, encode
from contracts.language.run.machine import Machine
from contracts.language.run.methods import METHODS
from contracts.language.run.operators import (
    BINARY,
    COMPARE,
    UNARY,
    delete_item,
    get_item,
    get_slice,
    in_place,
    set_item,
    to_text,
)
from contracts.language.run.scratch import scratch_machine
from contracts.language.run.walks import view_of
from contracts.language.vocabulary import BUILTINS, LAZY, STATIC
from contracts.testing import LocalChain

NESTED: list[Any] = [1, [2, ("a", None)], {"k": [b"x"]}]
POOL: list[Any] = [
    None, True, 0, 1, -1, 7, 2**61, -(2**4096 - 1), 2**4096 - 1, 10_001, "", "a", "aB c", "中文\t", "12", "-5", "big", "x" * 3_000, b"",
    b"\xff", b"abc", bytes(32), [], [1], ["a", "b"], [3, 1, 2], [[1], [2]], (), (1,), ("a", 1), ("b", 2), {}, {"k": 1}, {5: "v"}, NESTED,
]  # fmt: skip
LAZY_POOL: list[Any] = [
    range(3),
    range(10**30),
    zip([1], "a", strict=False),
    enumerate([1]),
    reversed([1, 2]),
]
VALUE_TYPES = (int, str, bytes, bool, type(None), list, dict, tuple)


def machine() -> Machine:
    """Return a machine with gas for one operation of any size."""
    made = scratch_machine()
    made.gas = 10**9
    return made


def check(work: Callable[..., Any], *args: Any) -> None:
    """Run one operation on copies; anything but a value or a verdict fails."""
    m = machine()
    try:
        result = work(m, *deepcopy(args))
    except Halt:
        assert m.gas >= 0
        return
    assert type(result) in VALUE_TYPES or type(result).__name__ in LAZY_NAMES, (work, args, result)
    if type(result) is int:
        assert result.bit_length() <= 4096


LAZY_NAMES = {"range", "Lazy", "Entries"}


@pytest.mark.parametrize("symbol", [*BINARY, *COMPARE, "+=", "*=", "-=", "|="])
def test_every_operator_on_every_pair(symbol: str) -> None:
    work = BINARY.get(symbol) or COMPARE.get(symbol) or in_place(symbol[:-1])
    for a, b in itertools.product(POOL, repeat=2):
        check(work, a, b)


def test_every_unary_operator_and_text_on_every_value() -> None:
    for value in POOL:
        for work in (*UNARY.values(), to_text):
            check(work, value)


def test_every_item_access_on_every_pair() -> None:
    for held, key in itertools.product(POOL, repeat=2):
        check(get_item, held, key)
        check(delete_item, held, key)
        check(set_item, held, key, 1)
        check(get_slice, held, key, None, None)
        check(get_slice, held, None, key, -1)
        check(get_slice, held, None, None, key)


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_on_every_receiver_and_argument(name: str) -> None:
    for kind, (work, least, most) in METHODS[name].items():
        receivers = [value for value in POOL if type(value) is kind]
        for receiver in receivers:
            for count in range(least, min(most, 2) + 1):
                for args in itertools.product(POOL, repeat=count):
                    check(work, receiver, *args)


@pytest.mark.parametrize("name", [*BUILTINS, *LAZY])
def test_every_builtin_on_every_argument(name: str) -> None:
    least, most = BUILTINS.get(name) or LAZY[name]
    for count in range(least, min(most, 2) + 1):
        for args in itertools.product(POOL, repeat=count):
            check(FUNCTIONS[name], *args)
    if name in ("list", "tuple", "sum", "max", "min", "any", "all", "sorted", "dict", "enumerate", "zip"):
        for lazy in LAZY_POOL:
            check(FUNCTIONS[name], lazy)


@pytest.mark.parametrize("name", list(host.FUNCTIONS))
def test_every_host_function_on_every_argument(name: str) -> None:
    counts = {
        "sha256": 1,
        "encode": 1,
        "compile_contract": 1,
        "compile_library": 1,
        "merkle_verify": 5,
        "trace_page": 4,
    }
    for args in itertools.product(POOL, repeat=min(counts.get(name, 3), 2)):
        padded = (*args, *[POOL[11]] * (counts.get(name, 3) - len(args)))
        check(host.FUNCTIONS[name], *padded)


def test_the_remaining_operations_on_every_argument() -> None:
    for (a, b), (name, work) in itertools.product(
        itertools.product(POOL, repeat=2), STATIC_FUNCTIONS.items()
    ):
        check(work, *(a, b)[: STATIC[name][1]])
    for value in POOL:
        for which in ("keys", "values", "items"):
            check(view_of, value, which)
        assert is_instance(value, (type(value),))


FIELDS = """
m = Map(str, Value)
n = Map(int, Value)
v = Var(Value, None)
E = Event(x=Value)

@export
def put(key: Value, value: Value) -> Value:
    m["k"] = value
    v.set(value)
    E(x=value)
    return [m["k"], v.get(), key in n, n.get(key, value)]

@export
def key(key: Value, value: Value):
    m[key] = value
"""


def test_every_value_passes_through_state_events_and_results() -> None:
    chain = LocalChain("bank")
    chain.deploy(FIELDS, "c")
    sender = chain.as_("bank").public
    for key, value in itertools.product([1, "x", None, b""], POOL):
        for method in ("put", "key"):
            call = chain._call(sender, "c", method, {"key": key, "value": value}, 10_000_000)
            outcome = chain.execute(call)
            assert outcome.status in ("ok", "reverted", "limit")
            if method == "put" and key == 1:
                assert outcome.status == "ok"
                assert outcome.result == encode_value([value, value, False, value])


@pytest.mark.parametrize("value", [2**4096, [{"a": 2**4096}], {-1: 1}, {2**60: 1}, ({1, 2},)])
def test_what_is_no_value_ends_the_call_that_made_it_and_never_the_node(value: Any) -> None:
    """Whatever a builtin would let through: an encoder that raised the codec's own error stopped every node."""
    with pytest.raises((Reverted, LimitExceeded)):
        encode(scratch_machine(1_000_000), value, WRITTEN)
