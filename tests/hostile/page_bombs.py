"""Hostile programs: pages that are huge, deep, dear to trace, or of whose plan too much follows."""

# ruff: noqa: E501  (one program a line)

from __future__ import annotations

from corpus import OK, OUT_OF_GAS, REVERTED, Program

GAS = 30_000_000
"""More than a transaction has on a chain of today's limits."""
RELEASE = '    release(count(a), to="b", exact=True)\n'


def page(*lines: str, before: str = "", head: str = "def run(a, b):") -> str:
    """Return a page whose `run` has these lines, and one release."""
    return f'"""Hostile."""\n{before}\n\n{head}\n' + "".join(f"    {line}\n" for line in lines) + RELEASE


def turns(*lines: str, outer: int = 1_000, inner: int = 1_000) -> list[str]:
    """Return lines in two loops that are unrolled."""
    return [
        f"for i in range({outer}):",
        f"    for j in range({inner}):",
        *["        " + line for line in lines],
    ]


def released(value: str) -> str:
    """Return the line that releases a value."""
    return f'release({value}, to="b", exact=True)'


def spent(name: str, source: str) -> Program:
    """Expect that tracing spends all its gas."""
    return Program(name, "", OUT_OF_GAS, "OUT_OF_GAS", gas=GAS, page=source)


def refused(name: str, source: str) -> Program:
    """Expect a refusal."""
    return Program(name, "", REVERTED, "REJECTED_PAGE", gas=GAS, page=source)


def traced(name: str, source: str) -> Program:
    """Expect that nothing is wrong with it."""
    return Program(name, "", OK, result=True, gas=GAS, page=source)


CALLS = "".join(
    f"def f{n}(x):\n    return " + ("1" if n == 0 else "(1 + " * 25 + f"f{n - 1}(x)" + ")" * 25) + "\n\n\n"
    for n in range(7)
)
COLUMNS = [
    f"t = 0\n    for i in range(250):\n        t = t + sum({what})"
    for what in ('a["c" + str(i)]', 'sum(one_hot(a["c" + str(i)]))')
]
ATOMS = ["t = [0]", *turns("t = [t[0] + sum(clip(a.y, 0, 1000 * j + i + 1))]", inner=4)]

PROGRAMS: tuple[Program, ...] = (
    traced("nothing but a count", page()),
    spent("steps without end", page(*turns("y = 1"))),
    spent("lists of lists", page(*turns("y = [k for k in range(1000)]"))),
    spent("days and moments without end", page(*turns('y = day("2024-02-29")', 'y = moment("2024-02-29T23:59:59Z")'))),
    refused("a range of too many numbers", page("for i in range(2 ** 40):", "    y = i")),
    spent("texts put together", page('x = "abcdefgh"', *turns("y = x + x + x + x + x + x + x + x"))),
    spent("numbers of as many bits as there may be", page("x = 2 ** 60 * 2 ** 60 + 1", *turns("y = (x / 3) * 3 / (x - 7)"))),
    refused("a plan of more nodes than there may be", page("x = a.y", *turns("x = x + (1000 * j + i)", inner=20), released("sum(x)"))),
    refused("a plan of more bytes than there may be", page("x = a.y", *turns("x = x + x", inner=18), released("sum(x)"))),
    refused("nodes that no release needs, beyond the most", page("x = a.y", *turns("x = x + (1000 * j + i)", inner=20))),
    traced("nodes that no release needs", page("x = a.y", *turns("x = x + (1000 * j + i)", inner=9))),
    spent("sums in figures of every release", page(*ATOMS, "for i in range(60):", f"    {released('t[0] + i')}")),
    refused("columns in figures of every release", page(COLUMNS[0], "for i in range(250):", f"    {released('t + i')}")),
    refused("columns of which groups, then many nodes", page(COLUMNS[1], "x = t", *turns("x = x + (1000 * j + i)", inner=15), released("x"))),
    traced("as many edges as a list has", page("e = [i for i in range(900)]", "for i in range(20):", f"    {released('sum(sum(bins(a.y + i, edges=e)))')}")),
    refused("edges longer than a constant", page("e = [1000000000000 + i for i in range(900)]", released("sum(sum(bins(a.y, edges=e)))"))),
    traced("stacks of as many values as there may be", page("x = a.y", "for i in range(70):", "    x = stack([x for k in range(256)])[:, 0] + i", released("sum(x)"))),
    traced("loops that carry as much as they may", page(*[f"x{i} = sum(a.c{i})" for i in range(32)], "for s in repeat(10):", "    for t in repeat(10):", "        for u in repeat(10):", "            " + ", ".join(f"x{i}" for i in range(32)) + " = " + ", ".join(f"x{(i + 1) % 32} + x{i}" for i in range(32)), released("x0"))),
    traced("calls and brackets as deep as they may be", page("x = f6(0)", before=CALLS)),
    refused("a call of itself", page("x = f(0)", before="def f(x):\n    return f(x)\n\n")),
    refused("brackets beyond the deepest", page("x = " + "(1 + " * 200 + "1" + ")" * 200)),
    refused("more tokens than a source has", page(*["x = [0,0,0,0,0,0,0,0,0,0]"] * 1_500)),
    refused("three thousand faults", page(*["x = {1}"] * 3_000)),
    refused("a name that is nearly like many", page(*[f"abcdefghijklmnopqrst{n:03} = 1" for n in range(100)], "x = abcdefghijklmnopqrstvwx")),
    traced("a comment of sixty thousand characters", page().replace("\n\n\ndef", "\n# " + "x" * 60_000 + "\n\n\ndef")),
    refused("facts beyond what is kept", page(*[f'release(count(a) + {n}, to="b", exact=True, name="{"n" * 150}{n}")' for n in range(250)])),
    refused("defaults of more items than there may be", page(head="def run(a, b, *, p=(" + "((0,),)," * 400 + ")):")),
    traced("joins on many ids", page("for i in range(40):", '    t = join(a, b, on="k" + str(i))', f"    {released('count(t)')}")),
)  # fmt: skip
