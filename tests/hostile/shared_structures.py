"""Hostile programs: values with few objects and astronomically many paths."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import body, limited, reverted, spent, works

PROGRAMS = (
    limited("list of lists doubling", body("x = [1]", "for i in range(60):", "    x = [x, x]", "return x == x"), "NESTING"),
    spent("shared structure compared", body("x = [1]", "y = [1]", "for i in range(30):", "    x = [x, x]", "    y = [y, y]", "return x == y")),
    limited("shared structure returned", body("x = [1]", "for i in range(30):", "    x = [x, x]", "return x"), "RESULT_BYTES"),
    spent("shared structure stored", "v = Var(list, [])\n" + body("x = [1]", "for i in range(30):", "    x = [x, x]", "v.set(x)")),
    limited("shared structure emitted", "E = Event(x=list)\n" + body("x = [1]", "for i in range(30):", "    x = [x, x]", "E(x=x)"), "EVENT_BYTES"),
    limited("shared structure encoded", body("x = {'a': 1}", "for i in range(30):", "    x = {'a': x, 'b': x}", "return encode(x)"), "ENCODED_BYTES"),
    spent("shared structure hinted", "def check(x: list[list[list[list[list[int]]]]]):\n    pass\n" + body("x = [1] * 99", "x = [x] * 99", "x = [x] * 99", "x = [x] * 99", "x = [x] * 99", "check(x)")),
    spent("shared tuples compared", body("x = (1,)", "y = (1,)", "for i in range(30):", "    x = (x, x)", "    y = (y, y)", "return x == y")),
    spent("shared tuples ordered", body("x = (1,)", "y = (1,)", "for i in range(30):", "    x = (x, x)", "    y = (y, y)", "return x < y")),
    spent("shared structure searched", body("x = [1]", "y = [1]", "for i in range(25):", "    x = [x, x]", "    y = [y, y]", "return y in [x]")),
    reverted("shared structure sorted", body("x = (1,)", "for i in range(25):", "    x = (x, x)", "return sorted([(1, x), (1, x)])"), "TYPE_ERROR"),
    spent("shared structure hashed", body("x = (1,)", "for i in range(30):", "    x = (x, x)", "return sha256(encode(x))")),
    spent("shared dicts compared", body("x = {'a': 1}", "y = {'a': 1}", "for i in range(30):", "    x = {'a': x, 'b': x}", "    y = {'a': y, 'b': y}", "return x == y")),
    limited("shared structure as a key", "m = Map(tuple[Value, int], int)\n" + body("x = (1,)", "for i in range(30):", "    x = (x, x)", "m[x, 1] = 1"), "KEY_LENGTH"),
    spent("shared structure counted", body("x = [1]", "y = [1]", "for i in range(25):", "    x = [x, x]", "    y = [y, y]", "return [x, x].count(y)")),
    limited("shared structure to another contract", "c = Contract('nobody')\n" + body("x = [1]", "for i in range(40):", "    x = [x, x]", "return encode([x])"), "NESTING"),
    works("shared structure of one type checked by its hint", "def check(x: list):\n    return len(x)\n" + body("x = [1]", "for i in range(30):", "    x = [x, x]", "return check(x)"), 2),
)  # fmt: skip
