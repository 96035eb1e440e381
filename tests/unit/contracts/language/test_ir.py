"""The IR is canonical: golden hashes, the same on every CPython, for programs that use every kind of node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.language.back.build_stmt import BUILDERS as STATEMENTS
from contracts.language.back.table import TABLE
from contracts.language.ir import Node, source_hash
from contracts.language.program import compile_library, compile_source
from tests.unit.contracts.language.test_language import BODIES
from tests.unit.contracts.test_gas import SOURCE as GOLDEN

VECTORS = Path(__file__).parents[3] / "vectors" / "contract_ir.json"
REST = """
note = Map(tuple[str, int], Value)
last = Var(str | None)
policy = Contract("policy")
order = Map(str, int, ordered=True)
WORDS = ["a", "b"]
NESTED = ([1], {"k": [2]})

class Term(Record):
    start: int
    end: int | None = None

class Policy(Protocol):
    def allow(self, job: dict, phase: str = ...) -> Term: ...

data_rules: Policy = Contract("data-rules")

@init
def begin(x: int):
    a: int = x
    b = c = [a] if x else [a, a]
    note["k", 1] += 1
    b[0] -= 1
    del note["k", 1]
    last.set(last.get())
    who = ctx.org
    require(x in WORDS, f"A{who}")
    assert ("k", 1) in note, "said"
    while not x:
        continue
    (d, c[0]) = NESTED
    order["k"] = len(order.page("a", limit=5))

@migrate
def move(n: dict[str, list[int] | None]) -> tuple[int, ...]:
    xs = [y for x in n.items() if x for y in policy.all(x, by=1)[1:]]
    if isinstance(n, (dict, list)):
        return Contract(policy.name()).get(WORDS, NESTED, b=-1)
    elif 1 < len(xs) < 3 != 4:
        return verify_signature(b"", b"", b"")
    term = Term(1)
    term.end = term.start
    term.start += 1
    other: Policy = Contract("other")
    if data_rules.allow(n, phase="x").end == other.allow(n).end:
        return ()
    return int.from_bytes(b"", "big")

def plus(a: int, b: int = 1, c: int = 2) -> int:
    return a + b + c

@view
def most(xs: list[int]) -> int:
    return plus(max(xs, key=plus), c=3)
"""


LIBRARY = """
class Row(Record):
    key: str
    rank: int = 1

TABLE = [1, [2]]

def best(rows: list[Row], least: int = 0) -> list[Row]:
    return [row for row in rows if row.rank > least]
"""
NAMING = f'''
shared = Library("{source_hash(LIBRARY).hex()}")
rows = Map(str, list[shared.Row])

def main(key: str) -> list:
    return shared.best([*rows.get(key, []), shared.Row(key)], least=len(shared.TABLE))
'''


def samples() -> dict[str, str]:
    """Return sources by name."""
    made = {"golden": GOLDEN, "rest": REST}
    for place, (body, _) in enumerate(BODIES):
        lines = "".join(f"    {line}\n" for line in body.split("\n"))
        made[f"{place}: {body}"] = f"def main():\n{lines}"
    return made


def hashes() -> dict[str, str]:
    """Return the IR hash of every sample, as hex."""
    library = compile_library(LIBRARY)
    naming = compile_source(NAMING, find=lambda *_: library)
    found = {"library": library.ir_hash.hex(), "naming a library": naming.ir_hash.hex()}
    return {name: compile_source(source).ir_hash.hex() for name, source in samples().items()} | found


def kinds(node: Node) -> set[str]:
    """Return the operators of a node and of all below it."""
    found = {node[0]} if node and isinstance(node[0], str) else set()
    return found.union(*[kinds(part) for part in node if isinstance(part, tuple)])


def test_ir_hashes_are_the_golden_ones() -> None:
    assert hashes() == json.loads(VECTORS.read_text(encoding="utf-8"))


def test_the_golden_programs_use_every_kind_of_node() -> None:
    used: set[str] = set()
    for source in samples().values():
        used |= kinds(compile_source(source).ir)
    made_by_the_builders = {"map_has"}
    assert {*TABLE, *STATEMENTS} - used == made_by_the_builders


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("def f(a):\n    return a + 1\n", "def f(a):  # why\n    return (a+1)\n"),
        ("def f(a):\n    b = a\n    return b\n", "def f(a):\n    c = a\n    return c\n"),
        ("X = 2 * 3\ndef f():\n    return X\n", "X = 6\ndef f():\n    return 6\n"),
        ("def f(s):\n    return f'{s}a' 'b'\n", "def f(s):\n    return f'{s}ab'\n"),
        ("def f(x: int | str):\n    return x\n", "def f(x: int|str|int):\n    return x\n"),
    ],
)
def test_what_means_the_same_on_the_same_lines_has_one_hash(one: str, two: str) -> None:
    assert compile_source(one).ir_hash == compile_source(two).ir_hash


def test_the_line_of_a_statement_is_part_of_the_ir() -> None:
    one, two = "def f():\n    return 1\n", "def f():\n\n    return 1\n"
    assert compile_source(one).ir_hash != compile_source(two).ir_hash


def write_vectors() -> None:
    """Write the golden hashes anew, after a deliberate change: python -m tests.unit.contracts.test_ir."""
    VECTORS.write_text(json.dumps(hashes(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_vectors()
