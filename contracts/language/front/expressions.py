"""The port through which the lowering of calls has arguments lowered; `lower_expr.py` is behind it."""

from __future__ import annotations

import ast
from typing import Protocol

from contracts.language.front.declarations import Declarations
from contracts.language.front.known import Known
from contracts.language.front.scope import Scope
from contracts.language.hints import Hint
from contracts.language.ir import Node


class Lowering(Protocol):
    """The part of the lowering of expressions that calls need."""

    names: Declarations
    scope: Scope
    known: Known

    def expr(self, node: ast.expr) -> Node:
        """Lower a value."""

    def iterable(self, node: ast.expr) -> Node:
        """Lower something that is walked."""

    def readonly(self, node: ast.expr) -> Node:
        """Lower a value that is only looked at."""

    def key_function(self, node: ast.expr, what: str, item: Hint) -> Node:
        """Lower the `key=` of a sort, or of min and max, whose argument is of this hint."""
