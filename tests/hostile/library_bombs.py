"""Hostile programs: libraries that are huge, deep, dear to link, or that want more than their arguments."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import Program, body, limited, named, rejected, reverted, sharing, spent, works

DENSE = "def f(a): a" + ";a" * 12_000 + "\n"
HALF = "def f(a): a" + ";a" * 6_000 + "\n"
PARTS = [f"def f{n}(a): a" + ";a" * 1_450 + "\n" for n in range(8)]
FIELDS = "".join(
    f"class R{r}(Record):\n" + "".join(f"    f{n}: int = 0\n" for n in range(250)) for r in range(13)
)
HINT = f"def g(a: tuple[{', '.join(['int'] * 4_000)}]):\n    return a\n"
KINDS = ("int", "str", "bytes", "bool", "None", "subject", "list", "dict", "list[int]", "list[str]")
UNION = f"def g(a: {' | '.join(f'tuple[{x}, {y}]' for x in KINDS[:5] for y in KINDS)}):\n    return a\n"
TABLES = "".join(f"c{n} = [{n}, [{n}]]\n" for n in range(1_300))
TEXTS = "".join(f"c{n} = 'a' * 65_000\n" for n in range(40))
MANY = f"def g({', '.join(f'a{n}=0' for n in range(2_000))}):\n    return a9\n"
ROWS = "ROWS = [[1], [2]]\ndef rows() -> list:\n    return ROWS\n"
DEEP = "def f(n):\n    return f(n + 1)\n"
TURNS = "def f(n):\n    while True:\n        n += 1\n"
GROWS = "def f(x):\n    while True:\n        x += x\n"


def of(library: str, *lines: str, more: str = "") -> str:
    """Return a contract whose `main` has these lines; `l` is the library."""
    return named("l", library) + more + body(*lines)


PROGRAMS: tuple[Program, ...] = (
    sharing(works("a library of as many tokens as a source may have", of(DENSE, "return l.f(1)"), None), DENSE),
    sharing(works("eight libraries of as many tokens as one source together", "".join(named(f"l{n}", text) for n, text in enumerate(PARTS)) + body("return l7.f7(1)"), None), *PARTS),
    sharing(rejected("a library of more tokens than the contract leaves", of(DENSE, *["1;" * 200 + "1"] * 6, "return l.f(1)"), "LIBRARY"), DENSE),
    sharing(rejected("libraries of more tokens than there is room for", named("k", HALF + "X = 1\n") + of(HALF, "return l.f(1)", more="x = [" + "1, " * 600 + "]\n"), "LIBRARY"), HALF, HALF + "X = 1\n"),
    sharing(works("records of a library with more fields than the contract has tokens", of(FIELDS, "return l.R12().f249"), 0), FIELDS),
    sharing(works("the defaults of a record of a library made many times", of(FIELDS[: FIELDS.index("class R1(")], "return l.R0().f9", more="def f():\n" + "    l.R0()\n" * 2_500), 0), FIELDS[: FIELDS.index("class R1(")]),
    sharing(works("the defaults of a function of a library called many times", of(MANY, "return l.g(a3=1)", more="def f():\n" + "    l.g()\n" * 1_900), 0), MANY),
    sharing(works("the defaults of a library's key of many sorts", of(MANY, "return min([2, 1], key=l.g)", more="def f(x):\n" + "    min(x, key=l.g)\n" * 1_100), 2), MANY),
    sharing(works("a long hint of a library held against many arguments", of(HINT, "return 1", more="def f():\n" + "    l.g(())\n" * 1_600), 1), HINT),
    sharing(works("a hint of many alternatives held against many arguments", of(UNION, "return 1", more="def f():\n" + "    l.g(())\n" * 2_400), 1), UNION),
    sharing(works("tables of a library more than the contract has tokens", of(TABLES, "return l.c1299[1][0]"), 1_299), TABLES),
    sharing(works("a table of a library used many times", of(TABLES[: TABLES.index("c40 ")], "return len(l.c0)", more="def f():\n" + "    x = l.c0\n" * 3_000), 2), TABLES[: TABLES.index("c40 ")]),
    sharing(rejected("constants of a library beyond those of one contract", of(TEXTS, "return 1"), "LIBRARY"), TEXTS),
    sharing(rejected("a constant bomb in a library", of("X = 'a' * 10 ** 9\n", "return 1"), "LIBRARY"), "X = 'a' * 10 ** 9\n"),
    sharing(rejected("an endless constant in a library", of("x = 3 ** 2500 * 3 ** 2500\n", "return 1"), "LIBRARY"), "x = 3 ** 2500 * 3 ** 2500\n"),
    sharing(rejected("a library of deep brackets", of("def f():\n    return " + "(" * 200 + "1" + ")" * 200 + "\n", "return 1"), "LIBRARY"), "def f():\n    return " + "(" * 200 + "1" + ")" * 200 + "\n"),
    sharing(rejected("a library that names a library", of(named("l", ROWS), "return 1"), "LIBRARY"), named("l", ROWS), ROWS),
    sharing(rejected("a library that asks who calls", of("def f():\n    return ctx.origin\n", "return 1"), "LIBRARY"), "def f():\n    return ctx.origin\n"),
    sharing(rejected("a library that calls a contract", of("def f(n: str):\n    return Contract(n).f()\n", "return 1"), "LIBRARY"), "def f(n: str):\n    return Contract(n).f()\n"),
    rejected("a library that is not there", of(DEEP, "return l.f(0)"), "UNKNOWN_LIBRARY"),
    sharing(limited("a library that calls itself", of(DEEP, "return l.f(0)"), "CALL_DEPTH"), DEEP),
    sharing(spent("a library that never ends", of(TURNS, "return l.f(0)")), TURNS),
    sharing(limited("a library that fills memory", of(GROWS, "return l.f([1])"), "ELEMENTS"), GROWS),
    sharing(reverted("an argument that is not of the library's hint", of("def f(n: int):\n    return n\n", "return l.f(give('x'))", more="def give(x) -> Value:\n    return x\n"), "TYPE_ERROR"), "def f(n: int):\n    return n\n"),
    sharing(works("a table of a library changed by the call before", of(ROWS, "return l.rows() + l.ROWS", more="@export\ndef plant():\n    x = l.rows()\n    x[0].append(9)\n    y = l.ROWS\n    y[1].append(9)\n    y.append([3])\n") .replace("def main", "@export\ndef main"), [[1], [2], [1], [2]], before=("plant",)), ROWS),
)  # fmt: skip
