"""Refusals: each names a node that means nothing in the language, the rule, and what to write instead."""

from __future__ import annotations

import ast

from contracts.language.faults import CODE_PATTERN, Diagnostic

TOO_LARGE = (
    "TOO_LARGE",
    "this source makes a program far larger than itself",
    "a smaller contract, or several",
)
"""Rule, reason and advice of a source whose program is larger than its tokens pay for."""


class Refusal(Exception):
    """The refusal of a syntax node that means nothing in the language."""

    def __init__(self, node: ast.AST, rule: str, reason: str, instead: str) -> None:
        """Point at the node."""
        super().__init__(reason)
        self.diagnostic = Diagnostic(
            rule, getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1, reason, instead
        )


def check_code(node: ast.AST, code: object) -> None:
    """Refuse an error code that is not 1 to 64 of A-Z, 0-9 and _, beginning with a letter."""
    if not isinstance(code, str) or not CODE_PATTERN.fullmatch(code):
        raise Refusal(node, "CODE", "a code is 1 to 64 of A-Z, 0-9 and _", 'for example "QUOTA_EXHAUSTED"')
