"""Refusals of pages: each has a code, the line, and what to write instead."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from chain.primitives.errors import AssentError
from contracts.language.faults import Diagnostic


class PageRefused(AssentError):
    """A refusal of a page: every diagnostic says what is wrong, where, and how to write it instead."""

    code = "page_refused"

    def __init__(self, name: str, diagnostics: Sequence[Diagnostic]) -> None:
        """Refuse the page called `name`."""
        super().__init__("\n".join(item.render(name) for item in diagnostics))
        self.diagnostics = tuple(diagnostics)


class Unfit(Exception):
    """Values that an operation does not take; whoever knows the place makes a diagnostic of it."""

    def __init__(self, rule: str, reason: str, instead: str) -> None:
        """Say which rule, why, and what to do."""
        super().__init__(reason)
        self.rule, self.reason, self.instead = rule, reason, instead
        self.release: int | None = None
        """The release that cannot be, if it is about one."""
        self.node: int | None = None
        """The node of a plan that cannot be, if it is about one."""

    def at(self, node: ast.AST) -> Diagnostic:
        """Return the diagnostic at a place of the page."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1
        return Diagnostic(self.rule, line, column, self.reason, self.instead)


class Misplaced(Exception):
    """An `Unfit` whose place is known."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        """Carry the diagnostic."""
        super().__init__(diagnostic.reason)
        self.diagnostic = diagnostic
