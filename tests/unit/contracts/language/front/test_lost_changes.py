"""What a contract reads is a copy: a change of a copy that nothing names or keeps is refused, not lost."""

# ruff: noqa: E501

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest

from contracts.check import among
from contracts.language.front.callgraph import groups
from contracts.language.front.lost_changes import find_lost
from contracts.language.ir import source_hash
from contracts.language.program import analyse

REPOSITORY = Path(__file__).parents[5]
HEAD = """m = Map(str, list)
d = Map(str, dict)
flat = Map(str, list[int])
v = Var(list, [])
K = [[1], [2]]
N = [1, 2]
D = {"a": [1]}
c = Contract("other")
E = Event(x=list)

def add(xs, x):
    xs.append(x)

def added(xs, x):
    xs.append(x)
    return xs

def grow(xs: list, more):
    xs += more

def put(k, row):
    row["n"] = 1
    d[k] = row

def row_of(k: str) -> dict:
    return d.get(k, {})

def empty(k: str) -> dict:
    return {"k": k}

def first(xs):
    return xs[0]

def swap(a, b):
    a.append(b)
    return b

def look(xs):
    return len(xs)

def deep(t, n):
    if n > 0:
        deep(t, n - 1)
    t.append(n)

def even(t, n):
    if n > 0:
        odd(t, n - 1)

def odd(t, n):
    t.append(n)
    even(t, n)

def visit(tree):
    for child in tree:
        visit(child)
    tree.append(0)

def kept(xs):
    out = []
    for x in xs:
        if x not in out:
            out.append(x)
    return out

"""
LOST = [
    # directly
    'm["a"].append(1)', 'm["a"][0].append(1)', 'd["a"]["n"] += 1', 'del m["a"][0]', "v.get().sort()", "K[0].append(1)", 'm.get("a", []).clear()',
    'return m["a"].pop()', 'c.rows().append(1)', 'row_of("a")["n"] = 1', 'row_of("a").clear()', 'first(m["a"])["n"] = 1',
    '(m["a"] if N else m["b"]).append(1)', 'E(x=[m["a"].append(1)])', 'if m["a"].append(1):\n    pass', 'look(K[1].append(1))',
    # values that were just made
    'm["a"][1:].append(1)', 'sorted(m["a"]).append(3)', '[1, 2].append(3)', 'dict(d["a"])["n"] = 1', '(m["a"] + [1]).append(2)', 'empty("a")["n"] = 1',
    # through a function that changes its argument
    'add(m["a"], 1)', 'x = add(m["a"], 1)', 'added(m["a"], 1)', 'add(K, 1)', 'add(D["a"], 1)', "add(v.get(), 1)", "add(c.rows(), 1)", 'add(row_of("a"), 2)',
    'add(x=1, xs=m["a"])', 'grow(m["a"], N)', 'deep(m["a"], 3)', 'even(m["a"], 3)', 'visit(m["a"])', 'visit([m["a"]])', 'while True:\n    add(m["a"], 1)',
    'add(m["a"][0], 1)', 'added(swap(m["a"], 1), 1)',
    # through the variable of a loop or comprehension
    "for x in K:\n    x.append(9)", 'for x in m["a"]:\n    x.append(1)', 'for x in m["a"]:\n    add(x, 1)', 'for k, r in d["a"].items():\n    r["n"] = 1',
    'for r in d["a"].values():\n    r["n"] = 1', 'for i, r in enumerate(m["a"]):\n    r["n"] = i', 'for a, b in zip(m["a"], m["b"]):\n    a.append(b)',
    '[add(x, 1) for x in m["a"]]', "[x.append(1) for x in v.get()]", "for x in K:\n    x[0] += 1", "for x in K:\n    x += [1]",
    'for r in c.rows():\n    r["n"] = 1', 'for x in reversed(m["a"]):\n    x.append(1)', 'for x in m["a"] + m["b"]:\n    x.append(1)', "for x in list(K):\n    x.append(1)",
    'for x in [m["a"], m["b"]]:\n    x.append(1)', 'for x in m.get("a", []):\n    for y in x:\n        y.append(1)', 'for x in sorted(m["a"]):\n    x.append(1)',
    'for x in m["a"]:\n    x["n"] = 1\nfor x in [1]:\n    pass', 'x = m["a"]\nfor x in m["b"]:\n    x.append(1)', 'best = []\nfor x in m["a"]:\n    if best is not None:\n        add(c.rows(), best)\n    best = x',
    'for x in m["a"]:\n    x["n"] = 1\nrows = v.get()\nfor x in rows:\n    x["n"] = 1\nv.set(rows)', 'for x in kept(m["a"]):\n    x.append(1)',
]  # fmt: skip
FINE = [
    'y = m["a"]\ny.append(1)\nm["a"] = y', 'm["a"] = added(m["a"], 1)', 'return added(m["a"], 1)', 'y = added(m["a"], 1)\nreturn y', 'c.take(added(m["a"], 1))',
    'for x in added(m["a"], 1):\n    look(x)', 'put("a", d["b"])', 'put("a", row_of("b"))', 'put("a", dict(d["b"]))', 'look(m["a"])', 'kept(m["a"])', 'm["a"] += [1]',
    'd["a"] = {}\nd["b"] = d["a"]', 'row_of("a").get("n")', 'for x in flat["a"]:\n    x += 1\n    look(x)', "for x in N:\n    x += 1", 'for x in m["a"]:\n    x += 1',
    'rows = m["a"]\nfor x in rows:\n    x.append(1)\nm["a"] = rows', 'out = []\nfor x in m["a"]:\n    x["n"] = 1\n    out.append(x)\nreturn out',
    'for x in m["a"]:\n    x["n"] = 1\n    d["z"] = x', 'for x in m["a"]:\n    x.append(1)\n    E(x=x)', 'for x in m["a"]:\n    x = dict(x)\n    x["n"] = 1\n    look(x)',
    "xs = []\nfor x in [xs]:\n    x.append(1)", "add([], 1)", "deep([], 3)", 'sorted(m["a"]).pop()', 'first([m["a"]])', "y = K\ny.append(1)\nreturn y",
    "for r in [[1], [2]]:\n    r.append(3)", 'y = first(m["a"])\ny["n"] = 1\nd["x"] = y', 's = "a".split(",")\ns.sort()', "xs = []\nxs += [1]\nfirst([xs]).append(2)",
    'x = None\nfor y in m["a"]:\n    x = y\nif x is not None:\n    x["n"] = 1\n    return x', 'box = {}\nbox["r"] = m["a"]\nbox["r"].append(1)\nreturn box',
    'a, b = m["a"]\na.append(1)\nreturn a', 'return [added(x, 1) for x in m["a"]]', 'return {k: added(x, 1) for k, x in d["a"].items()}',
    'known = d["a"]\nknown["n"] = 1\nrequire(known == row_of("b"), "X")', 'n = d["a"]["n"] + d["b"]["n"]\nreturn n', 'even([], 3)', 'xs = m["a"]\nxs.sort()\nfor x in xs:\n    look(x)',
]  # fmt: skip
HANDED_ON = [
    "return added(x, 7)", "y = added(x, 7)\nreturn y", "return [added(x, 7)]", "return len(added(x, 7))", "if added(x, 7):\n    pass",
    "return added(added(x, 7), 8)", "return {'k': added(x, 7)}", "for y in added(x, 7):\n    pass", "return max([added(x, 7)], key=len)",
    "x = added(x, 7)\nreturn 1", "return 1 if added(x, 7) else 2", "return added(x, 7) + [1]", "return (added(x, 7), 1)[1]",
]  # fmt: skip
NEVER_STORED = [
    'y = m["a"]\ny.append(1)', 'g = d["a"]\nrequire(g is not None, "X")\ng["n"] = g["n"] + 1', 'rows = m["a"]\nfor r in rows:\n    r["n"] = 1',
    'y = row_of("a")\ny["n"] = 2', "y = v.get()\nadd(y, 1)", 'y = d["a"]\ndel y["n"]', 'a, b = m["a"]\na.append(b)',
]  # fmt: skip


def judged(body: str, head: str = HEAD) -> tuple[set[str], int]:
    """Return the rules that refuse a function with this body, and how many changes are never stored."""
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    program, names, found = analyse(f"{head}def f():\n{lines}")
    unstored = [] if program is None or names is None else find_lost(names).unstored
    return {item.rule for item in found}, len(unstored)


@pytest.mark.parametrize("body", LOST)
def test_a_change_of_a_copy_that_nothing_names_or_keeps_is_refused(body: str) -> None:
    assert judged(body) == ({"LOST_CHANGE"}, 0)


@pytest.mark.parametrize("body", FINE)
def test_a_change_that_is_kept_or_of_a_named_copy_is_fine(body: str) -> None:
    assert judged(body) == (set(), 0)


@pytest.mark.parametrize("body", NEVER_STORED)
def test_a_change_of_a_named_copy_that_goes_nowhere_is_found(body: str) -> None:
    rules, unstored = judged(body)
    assert rules == set()
    assert unstored > 0


@pytest.mark.parametrize("body", HANDED_ON)
@pytest.mark.parametrize("place", ['m["a"]', "v.get()", "K", "c.rows()"])
def test_a_helper_that_hands_its_argument_on_to_one_that_changes_it_changes_it_too(
    place: str, body: str
) -> None:
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    head = f"{HEAD}def handed(x):\n{lines}\ndef again(x):\n    return handed(x)\n\n"
    assert judged(f"handed({place})", head) == ({"LOST_CHANGE"}, 0)
    assert judged(f"again({place})", head) == ({"LOST_CHANGE"}, 0)


@pytest.mark.parametrize("body", HANDED_ON)
def test_helpers_of_a_library_that_hand_on_what_they_change_are_seen_through(body: str) -> None:
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    shared = f"def added(xs, x):\n    xs.append(x)\n    return xs\n\ndef handed(x):\n{lines}"
    source = (
        f'L = Library("{source_hash(shared).hex()}")\nv = Var(list, [])\ndef f():\n    L.handed(v.get())\n'
    )
    assert [item.rule for item in analyse(source, among([shared]))[2]] == ["LOST_CHANGE"]


def test_system_contracts_and_examples_store_what_they_change() -> None:
    files = [*REPOSITORY.glob("contracts/system/[!_]*.py"), *REPOSITORY.glob("examples/contracts/**/*.py")]
    sources = [file for file in files if not file.name.startswith("test_")]
    assert len(sources) >= 12
    texts = {file: file.read_text(encoding="utf-8") for file in sources}
    find = among([text for file, text in texts.items() if file.parent.name == "shared"])
    for file, text in texts.items():
        _, names, found = analyse(text, find)
        assert found == []
        assert names is not None
        assert find_lost(names).unstored == [], file


def test_a_refusal_points_at_the_copy_and_names_the_function_that_changes_it() -> None:
    source = 'm = Map(str, list)\ndef add(xs: list):\n    xs.append(1)\n\ndef f():\n    add(m["a"])\n'
    found = analyse(source)[2]
    assert [item.render("c.py") for item in found] == [
        "c.py:6:9: LOST_CHANGE: what add() changes in xs would be lost: an entry of a Map is a copy of what is "
        "stored; instead: take it into a local, change it and store it: m[key] = value"
    ]


# --- the walk is bounded, whatever an author writes ---


def hostile() -> dict[str, str]:
    """Return sources of nearly as many tokens as one may have that make a careless analysis slow."""
    chain = (
        "".join(f"def f{n}(x):\n    f{n + 1}(x)\n" for n in range(1_500)) + "def f1500(x):\n    x.append(1)\n"
    )
    ring = chain.replace("    x.append(1)", "    f0(x)")
    deref = (
        "def g(a):\n    b = a\n"
        + "    b = b[0]\n" * 1_400
        + "    b.append(1)\ndef f(a):\n"
        + "    g(a)\n" * 2_000
    )
    params = ", ".join(f"p{n}" for n in range(200))
    wide = f"def g({params}):\n    p0.append(p1)\ndef f({params}):\n" + f"    g({params})\n" * 50
    nested = (
        "def f(x):\n"
        + "".join(" " * n + f"for v{n} in x:\n" for n in range(4, 18))
        + " " * 18
        + "x.append(v4)\n"
    )
    return {"chain": chain, "ring": ring, "deref": deref, "wide": wide, "nested": nested}


@pytest.mark.parametrize("name", hostile())
def test_the_walk_takes_a_bounded_number_of_steps_a_byte(name: str) -> None:
    source = hostile()[name]
    assert len(source) < 65_536
    _, names, found = analyse(source)
    assert found == []
    assert names is not None
    steps = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal steps
        steps += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        find_lost(names)
    finally:
        sys.setprofile(before)
    assert 0 < steps < 8 * len(source)


def test_groups_of_functions_come_after_those_that_they_call() -> None:
    graph = {
        name: frozenset(called)
        for name, called in {"a": "b", "b": "cd", "c": "b", "d": "", "e": "ea"}.items()
    }
    found = [set(group) for group in groups(graph)]
    assert found == [{"d"}, {"b", "c"}, {"a"}, {"e"}]
