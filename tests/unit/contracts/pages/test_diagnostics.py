"""What is refused of a page, word for word: code, line, reason, remedy.

`python tests/unit/contracts/pages/test_diagnostics.py` writes the golden texts anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.pages.faults import PageRefused
from contracts.pages.page import trace
from contracts.pages.tables import DatasetSchema

GOLDEN = Path(__file__).parents[3] / "vectors/page_diagnostics.json"
SCHEMAS = {
    "loans": DatasetSchema(
        "bank", {"id": "text", "amount": "decimal", "rate": "decimal", "paid": "boolean", "kind": "category"}
    ),
    "people": DatasetSchema(
        "city", {"id": "text", "age": "integer", "income": "decimal", "home": "category"}
    ),
}
LOANS = 'release(sum(loans.amount), to="city", exact=True)'
BODIES = {
    # --- control flow on secrets
    "branch": "if loans.amount > 3:\n        pass",
    "branch on a figure": "if sum(loans.amount) > 3:\n        pass",
    "choice": "x = 1 if loans.paid else 2",
    "and": "x = loans.paid and loans.amount > 3",
    "or": "x = loans.paid or True",
    "not": "x = not loans.paid",
    "chain": "x = 1 < loans.amount < 3",
    "loop over a column": "for row in loans.amount:\n        pass",
    "loop over a table": "for row in loans:\n        pass",
    "secret range": "for i in range(sum(loans.paid)):\n        pass",
    "secret turns": "for i in repeat(count(loans)):\n        pass",
    "secret index of a list": "x = [1, 2][sum(loans.paid)]",
    "secret index of cells": "x = loans.amount[sum(loans.paid)]",
    "row index": "x = loans.amount[3]",
    "row of a table": "x = loans[3]",
    "slice of rows": "x = loans.amount[:3]",
    "in": 'x = loans.kind in ["a", "b"]',
    "length": "x = len(loans)",
    "length of a column": "x = len(loans.amount)",
    "secret power": "x = 2 ** loans.amount",
    "secret clip": "x = clip(loans.amount, 0, sum(loans.amount))",
    "secret edges": "x = bins(loans.amount, edges=[0, sum(loans.amount)])",
    "while": "while True:\n        pass",
    # --- names, calls, values
    "unknown name": "x = summ(loans.amount)",
    "max": "x = max(loans.amount)",
    "numpy": "x = np.mean(loans.amount)",
    "method": "x = loans.amount.sum()",
    "unknown column": "x = loans.amout",
    "unknown dataset of a join": "x = join(loans, people).cards",
    "arguments": "x = clip(loans.amount)",
    "argument by a wrong name": "x = sum(loans.amount, over=1)",
    "own arguments": "x = helper()",
    "recursion": "x = endless(1)",
    "table arithmetic": "x = loans * 2",
    "text arithmetic": "x = loans.kind + 1",
    "order of texts": "x = loans.kind < 3",
    "text with a number": "x = loans.kind == 3",
    "floor": "x = loans.amount // 2",
    "zero": "x = 1 / 0",
    "huge number": "x = 2 ** 127 * 2 ** 127",
    "unpacking": "x, y = 1",
    "attribute": "x = loans.amount.shape",
    "item assignment": "loans.amount[0] = 1",
    # --- tables
    "two tables": "x = loans.amount + people.age",
    "two filters": "x = filter(loans, loans.paid).amount + loans.amount",
    "filter of another table": "x = filter(loans, people.age > 3)",
    "filter by no bit": "x = filter(loans, loans.amount)",
    "join with itself": "x = join(loans, loans)",
    "join of one": "x = join(loans)",
    "join of a filter": "x = join(filter(loans, loans.paid), people)",
    "join of a join": "x = join(join(loans, people), people)",
    "union of unlike": "x = union(loans, people).age",
    "groups by a number": "x = sum(loans.amount, by=loans.rate)",
    "groups of another table": "x = sum(loans.amount, by=people.home)",
    "one_hot of numbers": "x = one_hot(loans.rate)",
    "bins of what is computed": "x = bins(loans.amount * 2)",
    "edges": "x = bins(loans.amount, edges=[3, 2])",
    "shapes": "x = zeros(3) + zeros(4)",
    "matmul": "x = zeros(3) @ zeros(4)",
    "index out of range": "x = zeros(3)[3]",
    "large": "x = zeros(1000000)",
    # --- loops
    "nothing carried": "for step in repeat(3):\n        x = 1",
    "another shape": "x = 0\n    for step in repeat(3):\n        x = zeros(3)",
    "a list carried": "x = [1]\n    for step in repeat(3):\n        x = [2]",
    "release in a loop": f"x = 0\n    for step in repeat(3):\n        x = x + 1\n        {LOANS}",
    "return in a loop": "x = 0\n    for step in repeat(3):\n        x = 1\n        return x",
    "branch on the turn": "x = 0\n    for step in repeat(3):\n        x = 1 if step > 1 else 2",
    "leaking list": "xs, x = [0], 0\n    for step in repeat(3):\n        x = x + 1\n        xs = xs + [x]",
    "turns": "x = 0\n    for step in repeat(20000):\n        x = 1",
    # --- releases
    "no receiver": "release(sum(loans.amount), exact=True)",
    "no noise": 'release(sum(loans.amount), to="city")',
    "both": 'release(sum(loans.amount), to="city", exact=True, noise=laplace(epsilon=1))',
    "a table": 'release(loans, to="city", exact=True)',
    "a number": 'release(3, to="city", exact=True)',
    "noise on rows": 'release(loans.amount, to="city", noise=laplace(epsilon=1))',
    "noise on a greatest": 'release(greatest(loans.amount), to="city", noise=laplace(epsilon=1))',
    "noise on what nothing bounds": (
        'release(sum(loans.amount * loans.rate), to="city", noise=laplace(epsilon=1))'
    ),
    "noise inside of no noise": 'release(noised(count(loans.paid), 1), to="city", noised=True)',
    "noise inside on a mean": (
        'release(noised(mean(clip(loans.amount, 0, 1)), laplace(epsilon=1)), to="city", noised=True)'
    ),
    "noise inside on rows that are joined": (
        'release(noised(count(loans), laplace(epsilon=1)), to="city", noised=True)'
    ),
    "noised without noise": 'release(sum(loans.amount), to="city", noised=True)',
    "noised and more": (
        'release(noised(count(loans.paid), laplace(epsilon=1)) + sum(loans.amount), to="city", noised=True)'
    ),
    "noised and exact": 'release(noised(count(loans.paid), laplace(epsilon=1)), to="city", exact=True)',
    "epsilon": 'release(sum(loans.amount), to="city", noise=laplace(epsilon=0))',
    "delta": 'release(sum(loans.amount), to="city", noise=gaussian(epsilon=1, delta=2))',
    "pairs of rows": 'release(loans.amount[:, None] > loans.amount[None, :], to="city", exact=True)',
    # --- syntax
    "lambda": "x = lambda y: y",
    "dict": 'x = {"a": 1}',
    "f-string": 'x = f"{1}"',
    "import": "import numpy",
    "try": "try:\n        pass\n    except ValueError:\n        pass",
    "xor": "x = loans.paid ^ loans.paid",
    "exponent": "x = 1e3",
    "digits": "x = 0.1234567890123456",
    "annotation": "x: int = 1",
    "nested function": "def inner():\n        return 1",
    "break": "for i in range(3):\n        break",
    "deep": "x = " + "(1 + " * 31 + "1" + ")" * 31,
    "decorator": "pass\n\n\n@run\ndef other():\n    pass",
}
WHOLE = {
    "empty": "",
    "no docstring": "def run(loans):\n    pass\n",
    "no run": '"""A page."""\nX = 1\n',
    "run without datasets": '"""A page."""\n\n\ndef run():\n    pass\n',
    "unknown dataset": '"""A page."""\n\n\ndef run(cards):\n    pass\n',
    "no release": '"""A page."""\n\n\ndef run(loans):\n    x = sum(loans.amount)\n',
    "twice": '"""A page."""\nX = 1\nX = 2\n\n\ndef run(loans):\n    pass\n',
    "statement at the top": '"""A page."""\nrelease(1)\n\n\ndef run(loans):\n    pass\n',
    "grammar": '"""A page."""\n\n\ndef run(loans)\n    pass\n',
    "tab": '"""A page."""\n\n\ndef run(loans):\n\tpass\n',
}
HELPERS = "def helper(x, y):\n    return x\n\n\ndef endless(x):\n    return endless(x)\n\n\n"


def page(body: str) -> str:
    return f'"""A page."""\n\n\n{HELPERS}def run(loans, people):\n    {body}\n    {LOANS}\n'


def said(name: str) -> str:
    source = WHOLE[name] if name in WHOLE else page(BODIES[name])
    with pytest.raises(PageRefused) as refused:
        trace(source, SCHEMAS, name="page.py")
    return str(refused.value)


@pytest.mark.parametrize("name", [*BODIES, *WHOLE])
def test_each_refusal_says_the_same_as_ever(name: str) -> None:
    assert said(name) == json.loads(GOLDEN.read_text(encoding="utf-8"))[name]


def test_no_golden_text_is_of_a_page_that_is_gone() -> None:
    assert set(json.loads(GOLDEN.read_text(encoding="utf-8"))) == {*BODIES, *WHOLE}


def test_every_refusal_names_line_code_reason_and_remedy() -> None:
    for text in json.loads(GOLDEN.read_text(encoding="utf-8")).values():
        for line in text.splitlines():
            place, code, rest = line.split(": ", 2)
            assert place.startswith("page.py:")
            assert code.isupper()
            assert "; instead: " in rest


if __name__ == "__main__":
    texts = {name: said(name) for name in (*BODIES, *WHOLE)}
    GOLDEN.write_text(json.dumps(texts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
