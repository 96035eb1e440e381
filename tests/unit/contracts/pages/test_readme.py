"""The page of the room and the reference of the language say what the code does."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from contracts.pages.builtins import FUNCTIONS
from contracts.pages.labels import WAYS
from contracts.pages.page import trace
from contracts.pages.primitives import PRIMITIVES

ROOT = Path(__file__).parents[4]
ROOM = (ROOT / "contracts/pages/README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs/pages.md").read_text(encoding="utf-8")


def test_the_table_of_primitives_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+) \| (.+) \| (\w+) \|$", ROOM, re.MULTILINE)
    assert rows == [(str(p.number), p.name, p.takes, p.gives, p.flow) for p in PRIMITIVES]


def test_no_number_and_no_name_of_a_primitive_stands_twice() -> None:
    assert [p.number for p in PRIMITIVES] == list(range(1, len(PRIMITIVES) + 1))
    assert len({p.name for p in PRIMITIVES}) == len(PRIMITIVES)


def test_the_table_of_functions_is_that_of_the_code() -> None:
    rows = re.findall(
        r"^\| `(\w+)(\(.*?\))` \| (.+) \|$", REFERENCE.partition("## Functions")[2], re.MULTILINE
    )
    assert rows == [(name, function.signature, function.says) for name, function in FUNCTIONS.items()]


def test_the_tables_of_labels_name_every_way_and_every_flow() -> None:
    labels = ROOM.partition("## Labels")[2].partition("## Releases")[0]
    told = {
        word
        for line in labels.splitlines()
        if line.startswith("| `")
        for word in re.findall(r"`(\w+)`", line)
    }
    assert {*WAYS} <= told
    assert {p.flow for p in PRIMITIVES} <= told


def test_the_example_of_the_room_prints_what_stands_below_it() -> None:
    example, said = re.findall(r"^```(?:python example.py|text)\n(.*?)^```", ROOM, re.MULTILINE | re.DOTALL)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(example, "example.py", "exec"), {})  # noqa: S102 (of our own document)
    assert output.getvalue() == said


def test_the_example_of_the_reference_is_traced() -> None:
    (source,) = re.findall(r"^```python risk.py\n(.*?)^```", REFERENCE, re.MULTILINE | re.DOTALL)
    assert [release.kind for release in trace(source).releases] == ["figure", "count"]
