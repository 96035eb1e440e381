"""What a call leaves out stands once in a program, and costs at run time what an argument costs."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from contracts.language.faults import ContractRejected
from contracts.language.front.lowering import lower
from contracts.language.ir import parts_left
from contracts.language.program import compile_source
from contracts.language.run.scratch import scratch_machine
from contracts.testing import LocalChain

SOURCE = """
class R(Record):
    a: int
    b: str = "b"
    c: tuple[int, int] = (3, 4)
    d: int = 5

def g(a: int, b: str = "b", c: Value = (3, 4), d: int = 5) -> Value:
    later = [a, d]
    return [a, b, c, later]

def h(x: int, k: int = 2) -> int:
    return -x * k

@view
def calls() -> list:
    return [g(1), g(1, "x"), g(1, d=9), g(1, c=7), g(d=2, a=1), g(1, "x", 0, 9), g(b="y", a=2)]

@view
def records() -> list:
    return [R(1), R(1, "x"), R(1, d=9), R(1, c=(7, 8)), R(d=2, a=1), R(1, "x", (0, 1), 9), R(b="y", a=2)]

@view
def keys() -> list:
    rows = [1, 3, 2]
    rows.sort(key=h)
    return [sorted([1, 3, 2], key=h), min([1, 3, 2], key=h), rows]

@view
def left_out() -> Value:
    return g(1, c=0)

@view
def given() -> Value:
    return g(1, "b", 0, 5)

@view
def fields_left_out() -> Value:
    return R(1, c=(3, 4))

@view
def fields_given() -> Value:
    return R(1, "b", (3, 4), 5)
"""


def asked(method: str, **args: Any) -> Any:
    chain = LocalChain("org")
    chain.deploy(SOURCE, "c")
    return chain.as_("org").view("c", method, **args)


def called(a: int, b: str = "b", c: Any = (3, 4), d: int = 5) -> list[Any]:
    return [a, b, c, [a, d]]


def test_a_call_may_leave_out_any_argument_that_has_a_default() -> None:
    assert asked("calls") == [
        called(1), called(1, "x"), called(1, d=9), called(1, c=7), called(d=2, a=1), called(1, "x", 0, 9),
        called(b="y", a=2),
    ]  # fmt: skip


def test_a_record_is_made_with_the_defaults_of_its_fields_in_the_order_of_the_class() -> None:
    found = asked("records")
    assert [list(made) for made in found] == [["a", "b", "c", "d"]] * 7
    assert [list(made.values()) for made in found] == [
        [1, "b", (3, 4), 5], [1, "x", (3, 4), 5], [1, "b", (3, 4), 9], [1, "b", (7, 8), 5],
        [1, "b", (3, 4), 2], [1, "x", (0, 1), 9], [2, "y", (3, 4), 5],
    ]  # fmt: skip


def test_a_key_may_have_defaults_beyond_its_one_argument() -> None:
    assert asked("keys") == [[3, 2, 1], 3, [3, 2, 1]]


def test_a_default_that_is_left_out_costs_what_the_same_constant_costs_when_it_is_given() -> None:
    chain = LocalChain("org")
    chain.deploy(SOURCE, "c")
    for less, more in (("left_out", "given"), ("fields_left_out", "fields_given")):
        spent = []
        for method in (less, more):
            chain.as_("org").view("c", method)
            spent.append(chain.last.gas_used)
        assert spent[0] == spent[1] > 0, (less, spent)


def parts(source: str) -> int:
    """Return how many parts the IR of a source has."""
    return 10**6 - parts_left(compile_source(source).ir, 10**6)


@pytest.mark.parametrize(
    ("declared", "used"),
    [
        ("def g({}):\n    pass\n", "g()"),
        ("def g({}):\n    pass\n", "g(a{}=1)"),
        ("def g({}):\n    return 1\n", "min(x, key=g)"),
        ("class R(Record):\n    {}\n", "R()"),
        ("class R(Record):\n    {}\n", "R(a{}=1)"),
    ],
)
def test_what_a_use_adds_to_a_program_does_not_grow_with_what_is_declared(declared: str, used: str) -> None:
    def adds(count: int) -> int:
        between, each = ("; ", "a{}: int = 0") if "Record" in declared else (", ", "a{}=0")
        head = declared.format(between.join([each.format(n) for n in range(count)]))
        body = "def f(x):\n" + f"    {used.format(count - 1)}\n"
        return parts(head + body + f"    {used.format(count - 1)}\n") - parts(head + body)

    assert adds(2) == adds(200)


def test_a_program_larger_than_its_tokens_pay_for_is_refused() -> None:
    tree = ast.parse("def f(x):\n" + "    x\n" * 400)
    for tokens, rules in ((800, []), (0, ["TOO_LARGE"])):
        _, _, found = lower(tree, scratch_machine(), tokens)
        assert sorted({item.rule for item in found}) == rules


def test_parts_that_stand_in_several_places_count_in_each() -> None:
    shared = ("a", ("b", "c"))
    assert parts_left((shared, shared), 100) == 100 - 11
    assert parts_left((shared,) * 30, 100) < 0


def test_a_refused_call_names_the_first_few_of_many_parameters() -> None:
    source = f"def g({', '.join(f'a{n}' for n in range(900))}):\n    pass\ndef f():\n    g(1)\n"
    with pytest.raises(ContractRejected) as caught:
        compile_source(source)
    assert "misses a1, a2, a3" in str(caught.value)
    assert len(str(caught.value)) < 500
