"""Random pages: what somebody could write, sensible or not."""

from __future__ import annotations

import random
from collections.abc import Callable

NUMBERS = ("loans.w", "loans.r", "people.a", "people.i", "people.d", "people.t")
BITS = ("loans.m", "people.b")
CATEGORIES = ("loans.k", "people.h")
RECEIVERS = ("bank", "city", "auditor")


class Draw:
    """Draws one page after another from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def page(self) -> str:
        """Return a page."""
        self.lines: list[str] = ["rows = join(loans, people)"]
        self.tables = ["rows"]
        self.values: dict[str, list[str]] = {"rows": []}
        self.figures: list[str] = []
        for _ in range(self.random.randint(0, 4)):
            self.random.choice([self.filter, self.by_row, self.figure_line, self.loop, self.row_loop])()
        for _ in range(self.random.randint(1, 3)):
            self.release()
        body = "\n    ".join(self.lines)
        return f'"""A page that was drawn."""\n\n\ndef run(loans, people):\n    {body}\n'

    def name(self) -> str:
        return f"v{len(self.lines)}"

    def pick(self, *ways: Callable[[], str]) -> str:
        return self.random.choice(ways)()

    # --- statements --------------------------------------------------------------------------------------
    def filter(self) -> None:
        table, name = self.random.choice(self.tables), f"t{len(self.lines)}"
        self.lines.append(f"{name} = filter({table}, {self.condition(table, 2)})")
        self.tables.append(name)
        self.values[name] = []

    def by_row(self) -> None:
        table, name = self.random.choice(self.tables), self.name()
        self.lines.append(f"{name} = {self.number(table, 3)}")
        self.values[table].append(name)

    def figure_line(self) -> None:
        name = self.name()
        self.lines.append(f"{name} = {self.figure(2)}")
        self.figures.append(name)

    def loop(self) -> None:
        name, other = self.name(), f"u{len(self.lines)}"
        start, more = self.figure(1), self.figure(1)
        self.lines.append(f"{name} = {start}\n    {other} = 0")
        turn = self.random.choice(
            [f"{name} = {name} + {other}", f"{name} = {other}", f"{name} = {name} * {more}"]
        )
        self.lines.append(f"for step in repeat(5):\n        {turn}\n        {other} = {more} + step")
        self.figures += [name, other]

    def row_loop(self) -> None:
        table, name, other = self.random.choice(self.tables), self.name(), f"u{len(self.lines)}"
        self.lines.append(f"{name} = real({self.column(table)})\n    {other} = real({self.column(table)})")
        turn = self.random.choice(
            [f"{name} = {other}", f"{name} = {name} * {other}", f"{name} = {name} + {name}"]
        )
        after = self.number(table, 1) if self.random.random() < 0.7 else f"{self.column(table)}"
        self.lines.append(f"for step in repeat(5):\n        {turn}\n        {other} = real({after})")
        self.values[table] += [name, other]

    def release(self) -> None:
        to = self.random.choice(RECEIVERS)
        table = self.random.choice(self.tables)
        what = self.pick(
            *[lambda: self.figure(3)] * 4,
            *[lambda: self.grouped(table, 2)] * 3,
            lambda: self.number(table, 2),
            lambda: self.condition(table, 1),
            lambda: f"membership({table})",
            lambda: f"sum(stack([{self.number(table, 1)}, {self.number(table, 1)}]))",
            lambda: f"sum(stack([{self.column(table)}, {self.column(table)}]))[1]",
        )
        if self.random.random() < 0.08:
            self.lines.append(f'keep({what}, name="kept")')
            return
        how = "noise=laplace(epsilon=0.5)" if self.random.random() < 0.25 else "exact=True"
        self.lines.append(f'release({what}, to="{to}", {how})')

    # --- expressions -------------------------------------------------------------------------------------
    def column(self, table: str) -> str:
        return f"{table}.{self.random.choice(NUMBERS)}"

    def number(self, table: str, depth: int) -> str:
        if depth == 0 or self.random.random() < 0.25:
            if self.values[table] and self.random.random() < 0.4:
                return self.random.choice(self.values[table])
            if self.random.random() < 0.05:
                return f"position({table})"
            return self.column(table)
        inner = lambda: self.number(table, depth - 1)  # noqa: E731
        column = self.column(table)
        return self.pick(
            lambda: f"({inner()} {self.random.choice('+-*/')} {inner()})",
            lambda: f"({inner()} {self.random.choice('+-*')} {self.random.choice(['2', '0.5'])})",
            lambda: f"where({self.condition(table, depth - 1)}, {inner()}, {inner()})",
            lambda: f"clip({inner()}, 0, 9)",
            lambda: f"sigmoid({inner()})",
            lambda: f"{column} * {column}",
            lambda: f"running_sum({inner()})",
            lambda: f"({inner()} - {self.figure(0)})",
            lambda: f"maximum({inner()}, 0)",
        )

    def condition(self, table: str, depth: int) -> str:
        if depth == 0 or self.random.random() < 0.35:
            return self.pick(
                lambda: f"{table}.{self.random.choice(BITS)}",
                lambda: f'({table}.{self.random.choice(CATEGORIES)} == "x")',
                lambda: f"({self.column(table)} < {self.column(table)})",
                lambda: f"({self.column(table)} > 3)",
            )
        inner = lambda: self.condition(table, depth - 1)  # noqa: E731
        return self.pick(
            *[lambda: f"({inner()} & {inner()})"] * 3,
            lambda: f"({inner()} | {inner()})",
            lambda: f"~{inner()}",
            lambda: f"({self.number(table, depth - 1)} < {self.number(table, depth - 1)})",
            lambda: f"lot({table}, 0.5)",
            lambda: f"({self.number(table, 1)} < {self.figure(0)})",
        )

    def figure(self, depth: int) -> str:
        table = self.random.choice(self.tables)
        if depth == 0 or self.random.random() < 0.35:
            if self.figures and self.random.random() < 0.4:
                return self.random.choice(self.figures)
            return self.pick(
                lambda: f"sum({self.column(table)})",
                lambda: f"sum({self.number(table, 2)})",
                lambda: f"sum({self.column(table)}, where={self.condition(table, 2)})",
                lambda: f"count({table})",
                lambda: f"count({self.condition(table, 2)})",
                lambda: f"count({table}, where={self.condition(table, 1)})",
                lambda: f"mean({self.column(table)})",
                lambda: f"greatest({self.number(table, 1)})",
            )
        inner = lambda: self.figure(depth - 1)  # noqa: E731
        return self.pick(
            lambda: f"({inner()} {self.random.choice('+-*/')} {inner()})",
            lambda: f"sqrt({inner()})",
            lambda: f"where({inner()} > 3, {inner()}, {inner()})",
            lambda: f"({inner()} * 2)",
        )

    def grouped(self, table: str, depth: int) -> str:
        by = self.pick(
            *[lambda: f"{table}.{self.random.choice(CATEGORIES)}"] * 3, lambda: f"bins({self.column(table)})"
        )
        made = self.pick(
            lambda: f"sum({self.column(table)}, by={by})",
            lambda: f"sum({self.number(table, depth)}, by={by})",
            lambda: f"count({table}, by={by})",
            lambda: f"mean({self.column(table)}, by={by})",
            lambda: f"sum({self.column(table)}, by={by}, where={self.condition(table, 1)})",
        )
        return self.pick(lambda: made, lambda: f"({made} * {self.figure(0)})", lambda: f"sqrt({made})")
