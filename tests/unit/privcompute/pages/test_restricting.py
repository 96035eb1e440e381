"""Work on chosen rows: less of it where a choice is public, and the same figures."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.privcompute.pages.running import Data, numbers, run_page

ROWS = 60


def data() -> Data:
    """Two owners of the same rows."""
    random = np.random.default_rng(5)
    columns = {
        name: {
            "id": np.arange(ROWS),
            "x": random.integers(1, 30, ROWS),
            "r": np.rint(random.normal(0, 80, ROWS)) / 16,
        }
        for name in "ab"
    }
    types = {"id": "integer", "x": "integer", "r": "decimal"}
    return Data({"a": 0, "b": 1}, columns, {"a": types, "b": types})


def page(*lines: str) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f'''"""A page."""


def run(a, b):
    rows = join(a, b)
    chosen = lot(rows, 0.25)
    x = rows.a.r + rows.b.x
{body}
'''


def released(what: str) -> str:
    return f'release({what}, to="bank", exact=True, name="it")'


SECRET_PLACES = "(position(rows) + rows.b.x - rows.b.x)"
PAIRS = ("good = where(chosen, rows.b.x, 0)", released("sum(good * ((x[:, None] < x[None, :]) @ good))"))


def test_pairs_of_chosen_rows_are_compared_and_no_others() -> None:
    _, few = run_page(page(*PAIRS), data())
    _, every = run_page(page("good = rows.b.x", PAIRS[1]), data())
    assert max(few.sent_bytes) < max(every.sent_bytes) / 8


CASES = (
    PAIRS,
    ("y = where(chosen, x, 0)", released("running_sum(y)")),
    ("y = where(~chosen, x, 0)", released("sum(y * x)")),
    ("y = where(chosen, x, 0)", released("sum(stack([y, x * 2]), where=chosen)")),
    ("y = where(chosen, x * x, 0)", released("greatest(y)")),
    (released("greatest(filter(rows, chosen).a.r + filter(rows, chosen).b.x)"),),
    ("y = where(chosen[:, None], stack([x, rows.b.r]), 0)", released("y.T @ stack([x, rows.b.r])")),
    ("y = where(chosen, x, 0)", "z = where(~chosen, x, 0)", released("y + z")),
    (
        "w = sum(x * 0)",
        "for step in repeat(3):",
        "    w = w + sum(where(chosen, x * w + 1, 0)) / 64",
        released("w"),
    ),
    ("y = where(chosen & (position(rows) < 9), x, 0)", released("sum(y * rows.b.r)")),
    ("y = where(position(rows) < 0, x, 0)", released("sum(y * rows.b.r)")),
    ("y = where(position(rows) >= 0, x, 0)", released("sum(y * rows.b.r)")),
)


@pytest.mark.parametrize("lines", CASES, ids=lambda lines: lines[-1][:40])
def test_figures_of_chosen_rows_are_those_of_all_rows_with_the_others_nothing(lines: tuple[str, ...]) -> None:
    source = page(*lines)
    # Cells that are multiplied by a secret 1 are 0 in no rows that anybody could tell: nothing is left out.
    secret = source.replace("lot(rows, 0.25)", "lot(rows, 0.25) & (rows.b.x > 0)")
    secret = secret.replace("position(rows)", SECRET_PLACES)
    for clear in (True, False):
        restricted, _ = run_page(source, data(), clear=clear)
        whole, _ = run_page(secret, data(), clear=clear)
        assert np.allclose(numbers(restricted["it"]), numbers(whole["it"]), atol=0.01)
