"""What programs of the language compute: each feature, with its result."""

# ruff: noqa: E501  (one case a line)

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from contracts import language
from contracts.check import check_source, run_source
from contracts.language.faults import Diagnostic
from contracts.language.front import checker

BODIES: list[tuple[str, Any]] = [
    ("return 7 // 2 * 3 - 10 % 4", 7),
    ("return -7 // 2", -4),
    ("return -7 % 3", 2),
    ("return 2 ** 100", 2**100),
    ("return (1 << 70) >> 68 | 1 & 3 ^ 2", (1 << 70) >> 68 | 1 & 3 ^ 2),
    ("return ~5 + -(-3) + +2", -1),
    ("return True + True", 2),
    ("return 1 < 2 < 3, 1 < 3 < 2, 1 == 1 != 2", [True, False, True]),
    ("return None is None and 1 is not None", True),
    ("return 0 or 5 or 6, 0 and 5, 1 and 5", [5, 0, 5]),
    ("return 'yes' if 3 > 2 else 'no'", "yes"),
    ("x, y = 1, 2\nx, y = y, x\nreturn [x, y]", [2, 1]),
    ("(a, b), c = (1, 2), 3\nreturn a + b + c", 6),
    ("a = b = [1]\na.append(2)\nreturn b", [1, 2]),
    ("x = [1, 2, 3, 4]\nreturn x[1:3] + x[::-1] + x[-1:]", [2, 3, 4, 3, 2, 1, 4]),
    ("x = [1, 2, 3]\nx[0] += 5\nx[-1] *= 2\nreturn x", [6, 2, 6]),
    ("x = [1]\ny = x\nx += [2]\nreturn y", [1, 2]),
    ("x = [1, 2]\ny = x\nx *= 2\nreturn y", [1, 2, 1, 2]),
    ("d = {'b': 1, 'a': 2}\nd['c'] = 3\ndel d['b']\nreturn [k for k in d]", ["a", "c"]),
    ("d = {1: 'x', 5: 'y'}\nreturn [k for k in d] + [v for v in d.values()]", [1, 5, "x", "y"]),
    ("d = {'a': 1}\nreturn [f'{k}={v}' for k, v in d.items()]", ["a=1"]),
    ("d = {}\nd.setdefault('a', []).append(1)\nreturn d", {"a": [1]}),
    ("d = {'a': 1}\nd.update({'b': 2})\nreturn d.pop('a') + d.get('b') + d.get('z', 10)", 13),
    ("return {x: x * x for x in range(4) if x % 2}", {"1": 1, "3": 9}),
    ("return [x + y for x in [1, 2] for y in [10, 20] if x + y != 12]", [11, 21, 22]),
    ("x = 5\ny = [x for x in range(3)]\nreturn x", 5),
    ("t = 0\nfor i in range(10):\n    if i == 3:\n        continue\n    if i == 6:\n        break\n    t += i\nreturn t", 12),
    ("n = 10\nwhile n > 3:\n    n -= 2\nreturn n", 2),
    ("t = []\nfor i, (a, b) in enumerate(zip('ab', [1, 2]), 5):\n    t.append([i, a, b])\nreturn t", [[5, "a", 1], [6, "b", 2]]),
    ("return [c for c in reversed('abc')]", ["c", "b", "a"]),
    ("return sorted([3, 1, 2], reverse=True)", [3, 2, 1]),
    ("return sorted([('b', 1), ('a', 2)])", [["a", 2], ["b", 1]]),
    ("x = [2, 1]\nx.sort()\nreturn x", [1, 2]),
    ("return [min(3, 1, 2), max([4, 9]), sum([1, 2]), abs(-3), len('abc')]", [1, 9, 3, 3, 3]),
    ("return [any([0, 1]), all([0, 1]), bool(''), divmod(7, 2)]", [True, False, False, [3, 1]]),
    ("return [int('-12'), str(5) + str(True), ord('A'), chr(66)]", [-12, "5True", 65, "B"]),
    ("return [list('ab'), tuple([1]), dict([('k', 1)]), list({'x': 1})]", [["a", "b"], [1], {"k": 1}, ["x"]]),
    ("return 'a' in 'cat', 2 in [1, 2], 'k' in {'k': 1}, 3 not in (1, 2)", [True, True, True, True]),
    ("return ' a,b '.strip().split(',')", ["a", "b"]),
    ("return '-'.join(['a', 'b']).upper().replace('-', '+')", "A+B"),
    ("return 'Äb'.upper(), 'ÄB'.lower(), '٣'.isdigit()", ["ÄB", "Äb", False]),
    ("return 'abcabc'.find('c'), 'abcabc'.rfind('c'), 'abcabc'.count('bc'), 'ab'.index('b')", [2, 5, 2, 1]),
    ("return 'a b\\tc'.split(), 'a-b-c'.split('-', 1), 'k=v'.partition('=')", [["a", "b", "c"], ["a", "b-c"], ["k", "=", "v"]]),
    ("return 'ab'.startswith('a'), 'ab'.endswith('a'), 'ab'.removeprefix('a'), '7'.zfill(3)", [True, False, "b", "007"]),
    ("return b'\\x01\\xff'.hex() + bytes.fromhex('0a').hex(), b'ab'[0], b'hi'.decode()", ["01ff0a", 97, "hi"]),
    ("return '中文'.encode().hex(), len('中文')", ["e4b8ade69687", 2]),
    ("return (300).to_bytes(2, 'big').hex(), int.from_bytes(b'\\x01\\x2c', 'big'), (255).bit_length()", ["012c", 300, 8]),
    ("return isinstance(True, int), isinstance(1, bool), isinstance('x', (int, str))", [True, False, True]),
    ("name = 'x'\nn = 3\nreturn f'{name}={n} {{ok}}'", "x=3 {ok}"),
    ("x: int = 3\ny: list[int] = [x]\nreturn y", [3]),
    ("return [1, 2] == [1, 2], (1,) == (1,), {'a': [1]} == {'a': [1]}, 1 == True, 'a' == b'a'", [True, True, True, True, False]),
    ("return [1, 2] < [1, 3], 'a' < 'b', (1,) <= (1, 0), [2] > [1, 9]", [True, True, True, True]),
    ("return sha256(b'').hex()[:8], encode({'b': 1, 'a': 2}).hex()", ["e3b0c442", "82a16102a16201"]),
    ("x = [3, 1]\nx.insert(1, 9)\nx.extend((4,))\nx.remove(3)\nreturn x, x.pop(), x.pop(0), x.index(1), x.count(1)", [[1], 4, 9, 0, 1]),
    ("assert 1 < 2, 'never'\nreturn 1", 1),
    ("x = [1, 2]\nd = {'a': 3}\nreturn f\"{x[0]} {x[1] + 1:>5} {d['a']:03} {len(d) == 1} {', '.join(sorted(d))}\"", "1     3 003 True a"),
    ("return f'{1234567:,}|{255:x}|{5:b}|{-5:+}|{5:+}|{7:08}|{True:3}|{True}'", "1,234,567|ff|101|-5|+5|00000007|  1|True"),
    ("return f'{\"ab\":<4}|{\"ab\":*^6}|{\"中\":>3}|{\"a\":s}'", "ab  |**ab**|  中|a"),
    ("_n = 0\nfor _ in range(3):\n    _n += 1\nreturn _n", 3),
    ("return sum(x * x for x in range(4)), max(x for x in [3, 9]), sorted(-x for x in [1, 2])", [14, 9, [-2, -1]]),
    ("return all(x < 3 for x in [1, 9, 'a']), any(6 // (2 - x) for x in [0, 2])", [False, True]),
    ("return ','.join(str(x) for x in range(3)), '-'.join({'a': 1, 'b': 2}), '.'.join('abc')", ["0,1,2", "a-b", "a.b.c"]),
    ("return list(x + y for x in [1, 2] if x > 1 for y in range(x)), tuple(c for c in 'ab'), dict((str(k), k) for k in range(2))", [[2, 3], ["a", "b"], {"0": 0, "1": 1}]),
    ("return [list(zip((x for x in [1, 2]), (y for y in 'ab'))), [i for i, _ in enumerate(x for x in 'xyz')]]", [[[1, "a"], [2, "b"]], [0, 1, 2]]),
    ("return sum(1 for _ in range(20000))", 20000),
    ("return sorted(['bb', 'a', 'cc'], key=len), sorted(['bb', 'a', 'cc'], key=len, reverse=True)", [["a", "bb", "cc"], ["bb", "cc", "a"]]),
    ("return max([[1, 2], [5]], key=sum), min(3, -9, 2, key=abs), max([], default=7), min((x for x in []), default=None)", [[5], 2, 7, None]),
    ("x = [{'n': 2}, {'n': 1}]\nx.sort(key=lambda row: row['n'])\nreturn x, sorted(x, key=lambda row: -row['n'])", [[{"n": 1}, {"n": 2}], [{"n": 2}, {"n": 1}]]),
    ("a = {'x': 1}\nb = a\nc = a | {'x': 2, 'y': 3}\na |= {'z': 4}\nreturn b, c, {**b, 'x': 9}, 6 | 1", [{"x": 1, "z": 4}, {"x": 2, "y": 3}, {"x": 9, "z": 4}, 7]),
    ("a = [1]\nreturn [*a, 2, *range(2)], (*a, *'xy'), [*a, a.append(5)], {**{}, **{'k': 1}}", [[1, 2, 0, 1], [1, "x", "y"], [1, None], {"k": 1}]),
    ("return 'é'.encode('utf-8').decode('utf-8')", "é"),
    ("return 0x_ff + 0b11 + 0o17 + 1_000", 0xFF + 3 + 15 + 1000),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "expected"), BODIES, ids=[body.replace("\n", "; ")[:60] for body, _ in BODIES]
)
def test_a_feature_computes_what_python_does(body: str, expected: Any) -> None:
    source = "def main():\n" + "".join(f"    {line}\n" for line in body.split("\n"))
    verdict = run_source(source, "main", {})
    assert verdict["status"] == "ok", verdict
    assert verdict["result"] == expected


FAULTS: list[tuple[str, str, int]] = [
    ("return [1][1]", "INDEX_ERROR", 2),
    ("return {}['k']", "KEY_ERROR", 2),
    ("return 1 // 0", "ZERO_DIVISION", 2),
    ("x = 1\nreturn 1 % (x - 1)", "ZERO_DIVISION", 3),
    ("return 'a' + 1", "TYPE_ERROR", 2),
    ("return [] < 1", "TYPE_ERROR", 2),
    ("return {(1, 2)[0:]: 1}", "TYPE_ERROR", 2),
    ("d = {}\nd[-1] = 1", "VALUE_ERROR", 3),
    ("return [*5]", "TYPE_ERROR", 2),
    ("return {**[1]}", "TYPE_ERROR", 2),
    ("return {} | 1", "TYPE_ERROR", 2),
    ("return f'{\"a\":d}'", "VALUE_ERROR", 2),
    ("return f'{None:5}'", "TYPE_ERROR", 2),
    ("return f'{[1]}'", "TYPE_ERROR", 2),
    ("return 'a'.encode('latin-1')", "VALUE_ERROR", 2),
    ("x = [2, 1]\nx.sort(key=lambda n: x.append(n) or n)", "VALUE_ERROR", 3),
    ("x = [2, 1]\nreturn max(x, key=lambda n: x.append(n) or n)", "CHANGED_WHILE_WALKED", 3),
    ("return sorted([1, 2], key=lambda n: [n] if n > 1 else n)", "TYPE_ERROR", 2),
    ("return sum(1 // x for x in [1, 0, 'a'])", "ZERO_DIVISION", 2),
    ("return max(6 // x for x in [1, 2, 0])", "ZERO_DIVISION", 2),
    ("return int('1_0')", "VALUE_ERROR", 2),
    ("return int('٣')", "VALUE_ERROR", 2),
    ("if len('') > 0:\n    x = 1\nreturn x", "UNBOUND", 4),
    ("a, b = [1]\nreturn a", "VALUE_ERROR", 2),
    ("for a, b in [1]:\n    pass", "TYPE_ERROR", 2),
    ("x = 0\nassert x", "ASSERTION", 3),
    ("require(False, 'NO_WAY')", "NO_WAY", 2),
    ("return sorted([1, 'a'])", "TYPE_ERROR", 2),
    ("return sorted([{}, {}])", "TYPE_ERROR", 2),
    ("return 2 ** -1", "VALUE_ERROR", 2),
    ("return 1 << -1", "VALUE_ERROR", 2),
    ("return chr(55296)", "VALUE_ERROR", 2),
    ("return b'\\xff'.decode()", "VALUE_ERROR", 2),
    ("return bytes.fromhex('0g')", "VALUE_ERROR", 2),
    ("return bytes.fromhex('0 a')", "VALUE_ERROR", 2),
    ("x = 5\nreturn x.upper()", "TYPE_ERROR", 3),
    ("return [1].pop(0, 1)", "TYPE_ERROR", 2),
    ("return max([])", "VALUE_ERROR", 2),
    ("x = [1]\nreturn f'{x}'", "TYPE_ERROR", 3),
    ("x: str = 1", "TYPE_ERROR", 2),
    ("return list(5)", "TYPE_ERROR", 2),
    ("return 'a'.join([1])", "TYPE_ERROR", 2),
    ("return ','.split('')", "VALUE_ERROR", 2),
    ("return [n for n, _ in enumerate([1, 2], 2 ** 4095 + (2 ** 4095 - 1))]", "VALUE_ERROR", 2),
    ("return [n for n, _ in enumerate([1, 2], -(2 ** 62))]", "VALUE_ERROR", 2),
]


@pytest.mark.parametrize(
    ("body", "code", "line"), FAULTS, ids=[f"{body[:30]}-{code}" for body, code, _ in FAULTS]
)
def test_a_fault_reverts_with_its_code_and_line(body: str, code: str, line: int) -> None:
    source = "def main():\n" + "".join(f"    {part}\n" for part in body.split("\n"))
    verdict = run_source(source, "main", {})
    assert (verdict["status"], verdict["code"], verdict["line"]) == ("reverted", code, line)


def test_functions_call_one_another_by_order_and_by_name() -> None:
    source = """
LIMITS = {"a": 2, "b": [1, 2]}
BASE = 10 * 3

def main(n: int) -> int:
    return twice(n=add(n, BASE)) + LIMITS["a"] + fact(5)

def add(a: int, b: int) -> int:
    return a + b

def twice(n: int) -> int:
    return add(b=n, a=n)

def fact(n: int) -> int:
    return 1 if n < 2 else n * fact(n - 1)
"""
    assert run_source(source, "main", {"n": 1})["result"] == 62 + 2 + 120


def test_a_module_constant_is_copied_where_it_could_change() -> None:
    source = """
TABLE = {"xs": [1]}

def main() -> list:
    one = TABLE
    one["xs"].append(2)
    return [one, TABLE]
"""
    assert run_source(source, "main", {})["result"] == [{"xs": [1, 2]}, {"xs": [1]}]


def test_a_constant_keeps_the_order_in_which_it_was_written() -> None:
    source = 'T = {"b": 1, "a": 2}\ndef main():\n    return [k for k in T] + list(T)\n'
    assert run_source(source, "main", {})["result"] == ["b", "a", "b", "a"]


REFUSED: list[tuple[str, str, int]] = [
    ("def f():\n    return 1.5", "FLOAT", 2),
    ("def f():\n    return 1 / 2", "FLOAT_DIVISION", 2),
    ("def f():\n    x = 1\n    x /= 2", "FLOAT_DIVISION", 3),
    ("def f():\n    return {1, 2}", "SET", 2),
    ("def f():\n    return {x for x in []}", "SET", 2),
    ("class A:\n    pass", "CLASS", 1),
    ("f = lambda: 1", "LAMBDA", 1),
    ("def f():\n    def g():\n        return 1\n    return 2", "NESTED_DEF", 2),
    ("def f():\n    yield 1", "GENERATOR", 2),
    ("def f():\n    try:\n        return 1\n    except:\n        return 2", "TRY", 2),
    ("import os", "IMPORT", 1),
    ("from os import path", "IMPORT", 1),
    ("def f():\n    global x", "GLOBAL", 2),
    ("def f(x):\n    return x is 1", "IS", 2),
    ("def f(*xs):\n    return xs", "STAR", 1),
    ("def f(**xs):\n    return xs", "STAR", 1),
    ("def f(x, *, y):\n    return x", "STAR", 1),
    ("def f(x, /):\n    return x", "STAR", 1),
    ("def f():\n    a, *b = [1]", "STAR", 2),
    ("def f():\n    return '%d' % 3", "PERCENT_FORMAT", 2),
    ("def f():\n    return '{}'.format(1)", "UNKNOWN_METHOD", 2),
    ("def f(x):\n    return f'{x!r}'", "FSTRING", 2),
    ("def f():\n    return f", "FUNCTION_VALUE", 2),
    ("def f():\n    return len", "FUNCTION_VALUE", 2),
    ("def f():\n    return print", "NOT_IN_LANGUAGE", 2),
    ("def f():\n    return nothing", "UNKNOWN_NAME", 2),
    ("def f():\n    return nothing(1)", "UNKNOWN_NAME", 2),
    ("def f(x=[]):\n    return x", "DEFAULT", 1),
    ("def f(x=g):\n    return x", "UNKNOWN_NAME", 1),
    ("def f(x: int = 'a'):\n    return x", "HINT", 1),
    ("def f(x='" + "a" * 80 + "'):\n    return x", "DEFAULT", 1),
    ("def f(__x):\n    return 1", "UNDERSCORE_NAME", 1),
    ("def f(x):\n    return x.__class__", "UNDERSCORE_NAME", 2),
    ("@export\ndef _f():\n    return 1", "UNDERSCORE_NAME", 2),
    ("def f(x):\n    return f'{x:.2f}'", "FSTRING", 2),
    ("def f(x):\n    return f'{x:{x}}'", "FSTRING", 2),
    ("def f(x):\n    return f'{x=}'", "FSTRING", 2),
    ("def f(x):\n    return f'{y for y in x}'", "FSTRING", 2),
    ("def f(x):\n    return f'{x'", "FSTRING", 2),
    ("def f(x):\n    return f'{}'", "FSTRING", 2),
    ("def f(x):\n    return f'{x}}'", "FSTRING", 2),
    ("def f(x):\n    return f'{x[\\'a\\']}'", "FSTRING", 2),
    ("def f(x):\n    return f'{x]}'", "FSTRING", 2),
    ("def f(x):\n    return f'{ {1: 2}[1] }'", "FSTRING", 2),
    ("def f(x):\n    return f\"\"\"{x +\n1}\"\"\"", "FSTRING", 2),
    ("def f(x):\n    return f'{x # a}'", "FSTRING", 2),
    ("def f(x):\n    return f'{lambda: x}'", "FSTRING", 2),
    ("def f():\n    return {(1, 2): 1}", "DICT_KEY", 2),
    ("def f():\n    return {b'a': 1}", "DICT_KEY", 2),
    ("def f():\n    return {-1: 1}", "DICT_KEY", 2),
    ("def f():\n    return {True: 1}", "DICT_KEY", 2),
    ("def f(d):\n    return sorted(d, key=d)", "ARGUMENTS", 2),
    ("def f(d):\n    return sorted(d, key=lambda a, b: a)", "LAMBDA", 2),
    ("def f(d):\n    return max(1, 2, default=d)", "ARGUMENTS", 2),
    ("def f(d):\n    return max(d, reverse=True)", "ARGUMENTS", 2),
    ("def f(d):\n    return (x for x in d)", "GENERATOR", 2),
    ("def f(d):\n    return list(reversed(x for x in d))", "GENERATOR", 2),
    ("def f(d):\n    return f(*d)", "STAR", 2),
    ("def f():\n    return [a for a, *b in [[1]]]", "STAR", 2),
    ("A, B = 1", "TOP_LEVEL", 1),
    ("A, A = 1, 2", "TWICE", 1),
    ("A, B = 1, A", "UNKNOWN_NAME", 1),
    ("A, b[0] = 1, 2", "TOP_LEVEL", 1),
    ("x = ctx.height", "TOP_LEVEL", 1),
    ("x = Contract('a').b()", "TOP_LEVEL", 1),
    ("def g():\n    return 1\nx = g()", "TOP_LEVEL", 3),
    ("x = " + "lambda: " * 250 + "1", "TOO_LONG_EXPRESSION", 1),
    ("x = " + "lambda a, b: " * 250 + "1", "TOO_LONG_EXPRESSION", 1),
    ("def f(é):\n    return 1", "NON_ASCII_NAME", 1),
    ("@staticmethod\ndef f():\n    return 1", "DECORATOR", 1),
    ("@export\n@view\ndef f():\n    return 1", "DECORATOR", 2),
    ("@export()\ndef f():\n    return 1", "DECORATOR", 1),
    ("@init\ndef f():\n    pass\n@init\ndef g():\n    pass", "DECORATOR", 5),
    ("x = [1]\nx.append(2)", "TOP_LEVEL", 2),
    ("for i in []:\n    pass", "TOP_LEVEL", 1),
    ("x = 1\nx = 2", "TWICE", 2),
    ("len = 1", "RESERVED_NAME", 1),
    ("def f():\n    ctx = 1", "RESERVED_NAME", 2),
    ("def f(x):\n    return x.y", "ATTRIBUTE", 2),
    ("def f():\n    return ctx.nothing", "UNKNOWN_CONTEXT", 2),
    ("def f():\n    return ctx", "NOT_A_VALUE", 2),
    ("def f(x):\n    x.y = 1", "ATTRIBUTE", 2),
    ("def f():\n    ctx.org = 1", "TARGET", 2),
    ("class A:\n    a: int", "CLASS", 1),
    ('a = Library("roles")', "LIBRARY", 1),
    (f'x = 1\na = Library("{"0" * 64}")', "UNKNOWN_LIBRARY", 2),
    ("class A(Record):\n    a = 1", "RECORD", 2),
    ("class A(Record):\n    a: int\ndef f():\n    return A(1).b", "UNKNOWN_FIELD", 4),
    ("class A(Protocol):\n    a: int", "INTERFACE", 2),
    ("def f(x):\n    x[0:1] = []", "SLICE_TARGET", 2),
    ("def f(x):\n    del x", "DELETE", 2),
    ("def f():\n    break", "SYNTAX", 2),
    ("def f():\n    for x in []:\n        pass\n    else:\n        pass", "LOOP_ELSE", 2),
    ("def f():\n    raise ValueError('x')", "RAISE", 2),
    ("def f():\n    return (y := 1)", "WALRUS", 2),
    ("async def f():\n    pass", "ASYNC", 1),
    ("def f():\n    with open('x'):\n        pass", "WITH", 2),
    ("def f(x):\n    match x:\n        case 1:\n            pass", "MATCH", 2),
    ("def f():\n    return range(3)", "LAZY", 2),
    ("def f(d):\n    return d.items()", "LAZY", 2),
    ("def f():\n    return f(1)", "ARGUMENTS", 2),
    ("def f(a):\n    return f(b=1)", "ARGUMENTS", 2),
    ("def f():\n    require(True)", "ARGUMENTS", 2),
    ("def f():\n    require(True, 'lower')", "CODE", 2),
    ("def f(x: float):\n    return x", "HINT", 1),
    ("def f(x: dict[bytes, int]):\n    return x", "HINT", 1),
    ("m = Map(str)", "ARGUMENTS", 1),
    ("m = Map(list, int)", "HINT", 1),
    ("m = Map(str, int)\ndef f():\n    return m", "NOT_A_VALUE", 3),
    ("m = Map(str, dict)\ndef f():\n    m['a']['b'] = 1", "LOST_CHANGE", 3),
    ("m = Map(str, list)\ndef f():\n    m['a'].append(1)", "LOST_CHANGE", 3),
    ("m = Map(str, list)\ndef f():\n    m.get('a', []).append(1)", "LOST_CHANGE", 3),
    ("v = Var(list, [])\ndef f():\n    v.get().append(1)", "LOST_CHANGE", 3),
    ("T = [1]\ndef f():\n    T.append(1)", "LOST_CHANGE", 3),
    ("T = {'a': 1}\ndef f():\n    T['a'] = 2", "LOST_CHANGE", 3),
    ("m = Map(str, int)\ndef f():\n    m = 1", "HIDDEN_NAME", 3),
    ("m = Map(str, int)\ndef f():\n    return m.keys()", "MAP_METHOD", 3),
    ("E = Event(a=int)\ndef f():\n    E(1)", "ARGUMENTS", 3),
    ("E = Event(a=int)\ndef f():\n    E(b=1)", "ARGUMENTS", 3),
    ("D = Error('lower')", "CODE", 1),
    ("@init\ndef f():\n    pass\ndef g():\n    f()", "LIFECYCLE_CALL", 5),
    ("def f():\n\treturn 1", "TAB", 2),
    ("def f():\r\n    return 1", "LINE_ENDING", 1),
    ("x = '\\N{BULLET}'", "ESCAPE", 1),
    ("x = '\\d'", "ESCAPE", 1),
    ("x = '\\ud800'", "ESCAPE", 1),
    ("x = u'a'", "STRING_PREFIX", 1),
    ("x = 1if 1 else 2", "NUMBER", 1),
    ("x = 5j", "COMPLEX", 1),
    ("x: int = 'a'", "HINT", 1),
    ("def f(:\n    pass", "SYNTAX", 1),
    ("x = 'a", "SYNTAX", 1),
    ("x = [1] @ [2]", "MATMULT", 1),
    ("def f():\n    assert 1, f()", "ASSERT", 2),
    ("m = Map(str, int)\ndef f():\n    return 'a' in m in [1]", "MAP_CHAIN", 3),
    ("m = Map(str, int)\ndef f():\n    return m[1:2]", "MAP_SLICE", 3),
    ("m = Map(str, int)\ndef f():\n    return m(1)", "NOT_A_FUNCTION", 3),
    ("v = Var(int, 0)\ndef f():\n    v.add(1)", "VAR_METHOD", 3),
    ("m = Map(key=str, value=int)", "ARGUMENTS", 1),
    ("def f(x):\n    return f(x, 1)", "ARGUMENTS", 2),
    ("def f(x):\n    x.sort(1)", "ARGUMENTS", 2),
    ("def f(x):\n    return len(x, x)", "ARGUMENTS", 2),
    ("c = Contract('other')\ndef f():\n    c.go(a=1, a=2)", "ARGUMENTS", 3),
    ("c = Contract('other')\ndef f():\n    return c", "NOT_A_VALUE", 3),
    ("E = Event(a=int)\ndef f():\n    return E", "NOT_A_VALUE", 3),
    ("def f(x):\n    return [y for x.y in x]", "TARGET", 2),
    ("def f():\n    x = Map(str, int)", "DECLARATION", 2),
    ("x = b'\u00e9'", "BYTES_LITERAL", 1),
    ("x = 'a\x00'", "CONTROL_CHARACTER", 1),
    ("def f():\n    return " + "1 + " * 250 + "1", "TOO_LONG_EXPRESSION", 2),
    ("x = [" + "1," * 17_000 + "]", "TOO_MANY_TOKENS", 1),
    ("x = " + "(" * 40 + "1" + ")" * 40, "TOO_DEEP", 1),
    ("x = 1 // 0", "CONSTANT", 1),
    ("x = [n for n, _ in enumerate([1, 2], 2 ** 4095 + (2 ** 4095 - 1))]", "CONSTANT", 1),
    ("x" * 70 + " = 1", "LONG_NAME", 1),
    ("x = " + "9" * 2_000, "LONG_LITERAL", 1),
    ("x = [" + "1," * 10_001 + "]", "TOO_MANY_ITEMS", 1),
    ("#" * 70_000, "SOURCE_TOO_LONG", 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "rule", "line"), REFUSED, ids=[f"{rule}-{place}" for place, (_, rule, _) in enumerate(REFUSED)]
)
def test_what_is_not_in_the_language_is_refused_with_its_place(source: str, rule: str, line: int) -> None:
    report = check_source(source + "\n" if "\n" in source else source, "x.py")
    assert report.program is None
    assert (report.diagnostics[0].rule, report.diagnostics[0].line) == (rule, line), report.diagnostics


def _diagnostics() -> list[tuple[str, Diagnostic]]:
    return [(source, item) for source, _, _ in REFUSED for item in check_source(source, "x.py").diagnostics]


def test_every_refusal_says_where_which_rule_why_and_what_to_write_instead() -> None:
    for source, item in _diagnostics():
        lines = source.split("\n")
        assert 1 <= item.line <= len(lines) + 1, item
        assert 1 <= item.column <= len(lines[item.line - 1] if item.line <= len(lines) else "") + 1, item
        assert item.reason, item
        assert item.instead, item
        assert re.fullmatch(r"x\.py:\d+:\d+: [A-Z_]+: .+; instead: .+", item.render("x.py"), re.DOTALL), item


def test_every_rule_of_the_language_has_a_refusal_in_the_table() -> None:
    folder = Path(language.__file__).parent
    written = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))
    made = r'(?:Refusal|Diagnostic|stop)\(\s*(?:[\w.\[\]() -]+,\s*)?"([A-Z_]+)",'
    rules = {*re.findall(made, written), *[rule for rule, _, _ in checker.REFUSED.values()]}
    not_parsed = {
        "TYPE_ALIAS"
    }  # CPython 3.11's grammar, which the parser is held to, has no `type` statement
    assert len(rules) > 45
    assert sorted(rules - {item.rule for _, item in _diagnostics()} - not_parsed) == []


def test_a_misspelt_name_is_answered_with_the_nearest_ones() -> None:
    source = "def total_of(xs):\n    return sum(xs)\n\ndef f(items):\n    return totl_of(itms)\n"
    (item,) = check_source(source, "x.py").diagnostics
    assert (item.rule, item.instead) == ("UNKNOWN_NAME", "total_of")


def test_a_diagnostic_says_file_line_column_rule_reason_and_remedy() -> None:
    report = check_source("def f(x):\n    return x / 2\n", "policy.py")
    text = report.diagnostics[0].render("policy.py")
    assert text == (
        "policy.py:2:12: FLOAT_DIVISION: / makes floats, which are not in the language; "
        "instead: // for whole division"
    )


def test_several_refusals_are_reported_at_once() -> None:
    report = check_source(
        "def f(x):\n    y = x.z\n    return nothing\n\ndef g():\n    return other\n", "x.py"
    )
    assert [(item.rule, item.line) for item in report.diagnostics] == [
        ("ATTRIBUTE", 2),
        ("UNKNOWN_NAME", 3),
        ("UNKNOWN_NAME", 6),
    ]


def test_a_default_is_taken_where_an_argument_is_left_out_from_inside_and_outside() -> None:
    source = """
LATER = 5

@export
def add(a: int, b: int = 2, tag: str = "x", until: int = LATER) -> list:
    return [a, b, tag, until]

def main() -> list:
    return [add(1), add(1, 7), add(1, tag="y"), sorted([3, 1], key=shifted)]

def shifted(n: int, by: int = 4) -> int:
    return -n - by
"""
    verdict = run_source(source, "main", {})
    assert verdict["result"] == [[1, 2, "x", 5], [1, 7, "x", 5], [1, 2, "y", 5], [3, 1]]
    assert run_source(source, "add", {"a": 1, "tag": "z"})["result"] == [1, 2, "z", 5]
    assert run_source(source, "add", [9, 8])["result"] == [9, 8, "x", 5]
    assert run_source(source, "add", {"b": 1})["code"] == "BAD_ARGUMENTS"
    assert run_source(source, "add", {"a": 1, "c": 1})["code"] == "BAD_ARGUMENTS"
    program = check_source(source, "x.py").program
    assert program is not None
    assert program.abi["methods"]["add"]["defaults"] == {"b": 2, "tag": "x", "until": 5}


def test_a_constant_is_made_by_pure_calls_and_keeps_its_own_locals() -> None:
    source = """
A, B = 1, "b".upper()
SQUARES = [n * n for n in range(4)]
DIGEST = sha256(b"x").hex()[:4]
TABLE = {name: sum(m for m in SQUARES if m > place) for place, name in enumerate(["p", "q"])}

def main() -> list:
    n = 9
    mine = SQUARES
    mine.append(n)
    return [A, B, SQUARES, DIGEST, TABLE, mine, n]
"""
    squares, digest = [0, 1, 4, 9], "2d71"
    table = {"p": 14, "q": 13}
    assert run_source(source, "main", {})["result"] == [1, "B", squares, digest, table, [*squares, 9], 9]


def test_a_change_in_a_key_function_or_through_a_united_dict_is_not_lost_without_a_word() -> None:
    head = (
        "m = Map(str, list)\nd = Map(str, dict)\n\ndef grow(x):\n    x.append(1)\n    return 1\n\ndef f():\n"
    )
    for line in ("sorted(m['a'], key=grow)", "len(sorted(m['a'], key=lambda y: y.pop()))", "unite(d['a'])"):
        source = head + f"    {line}\n\ndef unite(x):\n    x |= {{'k': 1}}\n"
        assert [item.rule for item in check_source(source, "x.py").diagnostics] == ["LOST_CHANGE"], line


def test_layout_and_comments_within_lines_do_not_change_the_ir() -> None:
    one = check_source("def f(x: int) -> int:\n    return x+1\n", "a").program
    two = check_source("def f(x:int)->int:  # adds\n    return (x + 1)\n", "b").program
    assert one is not None
    assert two is not None
    assert one.ir_hash == two.ir_hash
    assert one.source_hash != two.source_hash
