"""Hostile programs: values that contain themselves."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import body, limited, spent, works

PROGRAMS = (
    limited("cycle returned", body("x = []", "x.append(x)", "return x"), "NESTING"),
    limited("cycle compared", body("x = []", "x.append(x)", "y = []", "y.append(y)", "return x == y"), "NESTING"),
    limited("cycle in a dict", body("d = {}", "d['d'] = d", "return d"), "NESTING"),
    limited("cycle hashed", body("x = [1]", "x[0] = x", "return sha256(encode(x))"), "NESTING"),
    works("cycle searched", body("x = []", "x.append(x)", "return [] in x"), False),
    limited("cycle ordered", body("x = []", "x.append(x)", "y = []", "y.append(y)", "return x < y"), "NESTING"),
    limited("cycle through two lists", body("x = []", "y = [x]", "x.append(y)", "return x"), "NESTING"),
    limited("cycle through a tuple", body("x = []", "y = (x,)", "x.append(y)", "return y"), "NESTING"),
    limited("cycle stored", "v = Var(list, [])\n" + body("x = []", "x.append(x)", "v.set(x)"), "NESTING"),
    limited("cycle emitted", "E = Event(x=list)\n" + body("x = []", "x.append(x)", "E(x=x)"), "NESTING"),
    limited("cycle sorted", body("x = []", "x.append(x)", "y = []", "y.append(y)", "return x <= y"), "NESTING"),
    limited("cycle extended by itself", body("x = []", "x.append(x)", "while True:", "    x.extend(x)"), "ELEMENTS"),
    limited("cycle checked by its hint", "def check(x: list[list[list]]):\n    return 1\n" + body("x = []", "x.append(x)", "return check(x) + len(encode(x))"), "NESTING"),
    spent("cycle walked", body("x = []", "x.append(x)", "y = x", "while True:", "    y = y[0]")),
    works("cycle dropped", body("x = []", "x.append(x)", "x.clear()", "return x"), []),
    works("cycle measured", body("x = []", "x.append(x)", "return len(x)"), 1),
)  # fmt: skip
