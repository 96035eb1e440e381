"""Hostile programs: sources that exhaust what lies between the parser and the first call."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import body, rejected, works

HINT = f"tuple[{', '.join(['int'] * 4_000)}]"

FIELDS = "class R(Record):\n" + "".join(f"    f{n}: int = 0\n" for n in range(250))
MANY = ", ".join(f"a{n}=0" for n in range(2_000))
METHOD = f"class P(Protocol):\n    def g(self, {', '.join(f'a{n}: int = ...' for n in range(1_500))}) -> int: ...\np: P = Contract('p')\n"

PROGRAMS = (
    rejected("constant bomb", "x = 'a' * 10 ** 9\n", "CONSTANT"),
    rejected("constant power", "x = 10 ** 10 ** 10\n", "CONSTANT"),
    rejected("constant doubling", "a = [0] * 100\n" + "".join(f"{chr(98 + n)} = {chr(97 + n)} * 10\n" for n in range(9)), "CONSTANT"),
    rejected("constant sharing", "a0 = (1, 2)\n" + "".join(f"a{n + 1} = (a{n}, a{n})\n" for n in range(31)), "CONSTANT"),
    rejected("constant nesting", "a0 = []\n" + "".join(f"a{n + 1} = [a{n}]\n" for n in range(40)), "CONSTANT"),
    rejected("constant failing", "x = 1 // 0\n", "CONSTANT"),
    rejected("constant wrong operation", "x = 'a' - 1\n", "CONSTANT"),
    rejected("too many items", "x = [" + "0," * 10_001 + "]", "TOO_MANY_ITEMS"),
    rejected("too many arguments", body("return max(" + "1," * 300 + ")"), "ARGUMENTS"),
    rejected("long name", "x" * 1_000 + " = 1", "LONG_NAME"),
    rejected("state at the top level", "m = Map(str, int)\nx = m['a']\n" + body("return 1"), "TOP_LEVEL"),
    rejected("call at the top level", body("return 1") + "x = main()\n", "TOP_LEVEL"),
    rejected("constant shift", "x = 1 << 10 ** 9\n", "CONSTANT"),
    rejected("constant list repeated", "x = [[0] * 9000] * 9000\n", "CONSTANT"),
    rejected("constant comparison of shared", "a = [1]\nb = [a, a]\nc = [b, b]\nd = [c, c] * 999\ne = [d, d] * 99\nx = e == e\n", "CONSTANT"),
    rejected("constant negative shift", "x = 1 << -1\n", "CONSTANT"),
    rejected("many constants", "".join(f"a{n} = 'a' * 65000\n" for n in range(900)), "CONSTANT"),
    rejected("two functions of one name", "def main():\n    return 1\ndef main():\n    return 2\n", "TWICE"),
    rejected("parameter twice", "def main(x, x):\n    return 1\n", "TWICE"),
    rejected("event field twice", "E = Event(a=int, a=str)\n" + body("return 1"), "TWICE"),
    rejected("default of a Var not of its type", "v = Var(int, 'a')\n" + body("return 1"), "HINT"),
    rejected("an endless constant", "x = 3 ** 2500 * 3 ** 2500\n", "CONSTANT"),
    works("a long hint used by many writes", f"v = Var({HINT})\n" + "def f(a):\n" + "    v.set(a)\n" * 2_000 + body("return 1"), 1),
    works("a long hint used by many events", f"E = Event(a={HINT})\n" + "def f(a):\n" + "    E(a=a)\n" * 1_900 + body("return 1"), 1),
    works("a long hint used by many keys", f"m = Map({HINT}, {HINT})\n" + "def f(a):\n" + "    m[a]\n" * 900 + body("return 1"), 1),
    works("an event of many fields", "E = Event(" + ", ".join(f"a{n}=int" for n in range(3_000)) + ")\n" + body("return 1"), 1),
    works("the defaults of a record made many times", FIELDS + "def f():\n" + "    R()\n" * 4_500 + body("return R().f9"), 0),
    works("the defaults of a record named in many places", FIELDS + "def f():\n" + "    R(f200=1)\n" * 2_900 + body("return R(f200=1).f200"), 1),
    works("the defaults of a function called many times", f"def g({MANY}):\n    return a9\ndef f():\n" + "    g()\n" * 3_500 + body("return g()"), 0),
    works("the defaults of a function named in many places", f"def g({MANY}):\n    return a9\ndef f():\n" + "    g(a1900=1)\n" * 2_000 + body("return g(a9=3)"), 3),
    works("the defaults of the key of many sorts", f"def g({MANY}):\n    return a0\ndef f(x):\n" + "    min(x, key=g)\n" * 1_700 + body("return min([2, 1], key=g)"), 1),
    works("a long head of a method that is called in many places", METHOD + "def f():\n" + "    p.g()\n" * 2_000 + body("return 1"), 1),
    works("a long hint of a field that is set in many places", f"class R(Record):\n    f: {HINT}\ndef f(r: R, a: {HINT}):\n" + "    r.f = a\n" * 1_000 + body("return 1"), 1),
    works("a long hint read by many loops", f"def f(a: {HINT}):\n" + "    for x in a: x\n" * 1_900 + body("return 1"), 1),
    works("a long hint of a Var of records read in many places", f"class R(Record):\n    f: int\nv = Var(tuple[{', '.join(['R'] * 4_000)}])\ndef f():\n" + "    v.get()\n" * 2_000 + body("return 1"), 1),
    works("a long hint given by many calls", f"def g(a) -> {HINT}:\n    return a\ndef f(a):\n" + "    g(a)\n" * 3_200 + body("return 1"), 1),
    works("a long key of an ordered Map", f"m = Map({HINT}, int, ordered=True)\ndef f():\n" + "    m.page()\n" * 1_500 + body("return 1"), 1),
    works("comparisons nested in a function named type", "def type(x):\n    return x\n" + body("return " + "type(" * 25 + "1" + ") == 1" * 25), True),
    works("sorts of sorts", "def f(x):\n    x" + ".sort()" * 26 + "\n" + body("return 1"), 1),
    rejected("wrong records in many constants", FIELDS.replace(": int = 0", "x" * 55 + ": int") + "".join(f"x{n} = R()\n" for n in range(2_800)), "ARGUMENTS"),
    works("a constant used many times", "X = (" + "1, " * 60 + ")\n" + "def f():\n" + "    X\n" * 9_000 + body("return len(X)"), 60),
    works("branches over many locals", "def f(a):\n    " + ", ".join(f"x{n}" for n in range(3_000)) + " = a\n" + "    if a: a\n" * 2_800 + body("return 1"), 1),
    rejected("unknown names like many others", "".join(f"x{'yx' * 9}{chr(97 + n // 26)}{chr(97 + n % 26)} = 1\n" for n in range(200)) + body(*[f"return x{'yx' * 9}A{n}" for n in range(19)]), "UNKNOWN_NAME"),
    rejected("unknown long names like many others", "".join(f"{'x' * 60}{n} = 1\n" for n in range(200)) + body(*[f"return {'x' * 60}A{n % 10}" for n in range(19)]), "UNKNOWN_NAME"),
    works("many branches that may bind one name", body("x = []", *["if x: x = []"] * 3_000, "return x"), []),
    works("many branches inside many", "def f(a):\n" + "".join(" " * (n + 1) + "if a:\n" for n in range(14)) + (" " * 15 + "if a: x = []\n") * 2_300 + body("return 1"), 1),
    works("many names of many loops inside each other", "def f(a):\n" + "".join(" " * (n + 1) + "for y in a:\n" for n in range(14)) + "".join(" " * 15 + f"x{n} = y\n" for n in range(2_500)) + body("return 1"), 1),
    works("many locals", body(*[f"v{n} = {n}" for n in range(1_500)], "return v1499"), 1499),
    works("many branches", body("x = 5", *[f"if x == {n}:\n        x += 1" for n in range(1_500)], "return x"), 1500),
    works("many constants in one expression", body("return len([" + "'abcdefgh', " * 4_000 + "])"), 4000),
)  # fmt: skip
