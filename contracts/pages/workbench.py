"""What the functions and operators of pages work on: the plan that grows, its tables, the releases so far."""

from __future__ import annotations

import ast

from contracts.pages.builder import Builder
from contracts.pages.faults import Unfit
from contracts.pages.limits import GAS_ITEM, LIST_MAX
from contracts.pages.releases import ReleaseAsked
from contracts.pages.tables import Tables


class Workbench:
    """The state of one tracing that is not in names."""

    def __init__(self, build: Builder, tables: Tables) -> None:
        """Begin without releases."""
        self.build = build
        self.tables = tables
        self.asked: list[ReleaseAsked] = []
        self.here: ast.AST = ast.Pass()
        """The call that is done."""
        self._places: list[ast.AST] = []
        self.noised: dict[int, ast.AST] = {}
        """Where each sum gets noise inside the computation, by its node."""

    def ask(self, asked: ReleaseAsked) -> None:
        """Note a release, and the place that asks for it."""
        self.asked.append(asked)
        self._places.append(self.here)

    def place_of(self, release: int) -> ast.AST:
        """Return where a release is asked for."""
        return self._places[release]

    def pay_items(self, count: int) -> None:
        """Pay for items of a list before they are made; raise Unfit for too many."""
        if count > LIST_MAX:
            raise Unfit("LIST", f"a list of {count} items, at most {LIST_MAX}", "fewer, or repeat(n)")
        self.build.payer.charge(GAS_ITEM * count)
