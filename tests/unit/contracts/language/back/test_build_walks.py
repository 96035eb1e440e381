"""A list keeps its size, and a dict its keys, while it is walked: anything else is an error, never a surprise."""

# ruff: noqa: E501  (one case a line)

from __future__ import annotations

import pytest

from contracts.check import run_source

START = "xs = [1, 2, 3]\nd = {'a': 1, 'b': 2, 'c': 3}\nn = 0\n"
CHANGED = [
    "for x in xs:\n    xs.append(x)", "for x in xs:\n    xs.remove(x)", "for x in xs:\n    xs.clear()", "for x in xs:\n    xs += [1]", "for x in xs:\n    del xs[0]",
    "for x in reversed(xs):\n    xs.pop()", "for i, x in enumerate(xs):\n    xs.insert(0, 9)", "for x, y in zip(xs, [1, 2, 3]):\n    xs.append(1)",
    "for x, y in zip([1, 2, 3], xs):\n    xs.append(1)", "ys = [xs.pop() for x in xs]", "ys = [x for x in [1] for y in xs if xs.pop()]",
    "ys = xs\nfor x in xs:\n    ys.append(1)", "for x in xs:\n    if x == 3:\n        xs.append(4)", "for x in xs:\n    grow(xs)",
    "for k in d:\n    d['z'] = 1", "for k in d:\n    d.pop(k)", "for k in d:\n    del d[k]", "for k in d:\n    d.clear()", "for k in d:\n    d.update({'z': 1})",
    "for k in d:\n    d.setdefault('z', 1)", "for k, v in d.items():\n    d['z'] = v", "for v in d.values():\n    d.pop('c', 0)", "for k in d.keys():\n    del d['c']",
    "for i, k in enumerate(d):\n    d[str(i)] = 1", "for k, x in zip(d, xs):\n    d.clear()", "ys = [d.pop(k) for k in d]", "ys = {k: d.pop(k) for k, v in d.items()}",
    # as many keys as before, but others: CPython says so only now and then, depending on its release
    "for k in d:\n    d[k + 'x'] = d.pop(k)", "for k in d:\n    if k == 'a':\n        v = d.pop(k)\n        d[k] = v", "for k in d:\n    if 'c' in d:\n        del d['c']\n        d['z'] = 1",
    "for k, v in d.items():\n    if k == 'c':\n        del d['a']\n        d['y'] = 1",
]  # fmt: skip
UNCHANGED = [
    ("for x in xs:\n    xs[0] = xs[0] + x\nreturn xs", [7, 2, 3]), ("for i, x in enumerate(xs):\n    xs[i] = x * 2\nreturn xs", [2, 4, 6]), ("for x in list(xs):\n    xs.remove(x)\nreturn xs", []),
    ("for x in xs:\n    if x == 2:\n        xs.remove(x)\n        break\nreturn xs", [1, 3]), ("for x in xs:\n    if x == 2:\n        xs.append(x)\n        return xs", [1, 2, 3, 2]),
    ("for x in xs:\n    xs.append(9)\n    xs.pop()\nreturn xs", [1, 2, 3]), ("for x in xs:\n    xs = [5]\nreturn xs", [5]), ("for k in d:\n    d[k] = 0\nreturn d", {"a": 0, "b": 0, "c": 0}),
    ("for k, v in d.items():\n    d['c'] = 10\n    n += v\nreturn n", 13), ("for v in d.values():\n    d['c'] = 10\n    n += v\nreturn n", 13), ("for k in list(d):\n    d.pop(k)\nreturn d", {}),
    ("for k, v in list(d.items()):\n    d[k + 'x'] = v\nreturn len(d)", 6), ("for k in d:\n    if k == 'b':\n        d.pop(k)\n        break\nreturn d", {"a": 1, "c": 3}),
    ("for k in sorted(d):\n    d.pop(k)\nreturn d", {}), ("return [v for v in d.values()] + [k for k in d]", [1, 2, 3, "a", "b", "c"]), ("return list(d.items())", [["a", 1], ["b", 2], ["c", 3]]),
    ("return sum(d.values()) + max(d.values()) + len(list(reversed(d.keys())))", 12), ("for i in range(3):\n    xs.append(i)\nreturn len(xs)", 6), ("for x in xs:\n    for y in xs:\n        n += x * y\nreturn n", 36),
    ("for k in d:\n    e = d\n    d = {}\n    d[k] = 1\nreturn d", {"c": 1}),
]  # fmt: skip


def verdict(body: str) -> tuple[str | None, object, int | None]:
    """Return (code, result, line) of a function with this body."""
    lines = "".join(f"    {line}\n" for line in (START + body).split("\n"))
    found = run_source(f"def grow(ys: list):\n    ys.append(1)\n\ndef main():\n{lines}", "main", {})
    return found["code"], found["result"], found["line"]


@pytest.mark.parametrize("body", CHANGED)
def test_what_gets_or_loses_items_while_it_is_walked_ends_the_call(body: str) -> None:
    code, _, line = verdict(body)
    walk = next(place for place, text in enumerate(body.split("\n")) if " in " in text and "for " in text)
    assert (code, line) == ("CHANGED_WHILE_WALKED", 8 + walk)


@pytest.mark.parametrize(("body", "result"), UNCHANGED)
def test_a_walk_sees_changed_items_and_may_end_with_any_change(body: str, result: object) -> None:
    assert verdict(body)[:2] == (None, result)
