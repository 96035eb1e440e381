"""What follows from hidden figures is hidden too: by cells where it follows cell by cell, else altogether."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.privcompute.pages.running import Data, run_page

HEAD = '"""Page."""\n\n\ndef run(x, y):\n    rows = join(x, y)\n    n = count(rows, by=rows.y.kind)\n'
IDS = np.arange(60)
KINDS = np.array(["a"] * 3 + ["b"] * 25 + ["c"] * 32)
"""With at least ten rows a group, `a` is hidden, and `b` with it."""


def found(*lines: str, clear: bool = True, least: int = 10) -> Any:
    body = "\n".join(f"    {line}" for line in lines)
    source = f"{HEAD}{body}\n" + '    release(it, to="bank", exact=True, name="it")\n'
    types = {"x": {"id": "integer", "v": "integer"}, "y": {"id": "integer", "kind": "category"}}
    columns = {"x": {"id": IDS, "v": IDS % 7}, "y": {"id": IDS, "kind": KINDS}}
    data = Data({"x": 0, "y": 1}, columns, types, {"y.kind": {"categories": ("a", "b", "c")}})
    return run_page(source, data, clear=clear, min_group=least)[0]["it"]


SHOWN = [None, None, 32]


@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("it = n", SHOWN),
        ("it = n + 1", [None, None, 33]),
        ("it = n[2]", 32),
        ("it = n[0]", None),
        ("it = sum(n)", None),
        ("it = greatest(n)", None),
        ("it = n * (sum(n) > 0)", [None] * 3),
        ("it = n[:, None]", [[None], [None], [32]]),
        ("it = n[:, None] - n[None, :]", [[None] * 3, [None] * 3, [None, None, 0]]),
        ("it = stack([n, 2 * n])", [[None, None], [None, None], [32, 64]]),
        ("it = stack([n, 2 * n]).T", [[None, None, 32], [None, None, 64]]),
        ("it = stack([n, n])[:, 1]", SHOWN),
        ("it = stack([n, n]).T[1]", SHOWN),
        ("it = concat([stack([n[0], n[2]]), stack([n[2]])])", [None, 32, 32]),
        ("it = sum(stack([n, n]), axis=1)", [None, None, 64]),
        ("it = sum(stack([n, n]), axis=0)", [None, None]),
        ("it = sum(rows.x.v * 0 + count(rows))", 3600),
        ("it = sum(where(rows.x.v > n[0], 0, 1))", None),
        ("it = sum(where(rows.x.v > n[2], 0, 1))", 60),
        ("it = n @ n", None),
    ],
)
def test_cells_that_follow_from_hidden_ones_are_hidden(line: str, said: Any, clear: bool) -> None:
    assert found(line, clear=clear) == said


@pytest.mark.parametrize("clear", [True, False])
def test_what_a_loop_makes_of_hidden_figures_is_hidden(clear: bool) -> None:
    loop = ("it = {}", "for turn in repeat(3):", "    it = it + {}")
    assert float(found(loop[0].format("n[2]"), loop[1], loop[2].format("n[2]"), clear=clear)) == 4 * 32
    assert found(loop[0].format("n[2]"), loop[1], loop[2].format("n[0]"), clear=clear) is None
    assert found(loop[0].format("n[0]"), loop[1], loop[2].format("n[2]"), clear=clear) is None


def test_hidden_cells_are_0_in_what_is_opened() -> None:
    """A receiver's agent is sent nothing of them, whatever it would make of a mark."""
    source = HEAD + '    release(sum(n) + 5, to="bank", exact=True, name="it")\n'
    types = {"x": {"id": "integer"}, "y": {"id": "integer", "kind": "category"}}
    columns = {"x": {"id": IDS}, "y": {"id": IDS, "kind": KINDS}}
    data = Data({"x": 0, "y": 1}, columns, types, {"y.kind": {"categories": ("a", "b", "c")}})
    opened, _ = run_page(source, data, min_group=10)[1].results[0]
    assert (int(opened["release0"]), int(opened["release0.shown"])) == (0, 0)
