"""Python's own parser, one source at a time."""

from __future__ import annotations

import ast
from threading import Lock

ONE_AT_A_TIME = Lock()
"""CPython counts the depth of all trees that it makes in one place: of two threads that parse at the same
time, one may fail with SystemError ("AST constructor recursion depth mismatch")."""


def syntax_tree(source: str) -> ast.Module:
    """Return the tree of a source; raise SyntaxError."""
    with ONE_AT_A_TIME:
        return ast.parse(source, feature_version=(3, 11))
