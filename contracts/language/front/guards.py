"""Guards, `@only("steward")` and `@only(org=owner)`: who may call a method.

A guard asks about the member who calls, so it stands on a plain `@export` alone: a method that contracts may
call finds no member in `ctx`, and a view answers anyone.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from chain.primitives.values import Value

SHAPES = '@only("admin", "steward"), @only(org="bank") or @only(org=owner), where owner is a Var(str)'
ROLE_CODE, ORG_CODE = "ONLY_ROLE", "ONLY_ORG"
"""With which a call of anyone else reverts."""


class BadGuard(Exception):
    """A guard that means nothing; `node` is the offending part."""

    def __init__(self, node: ast.AST, reason: str) -> None:
        """Point at the part."""
        super().__init__(reason)
        self.node = node


@dataclass(frozen=True, slots=True)
class Guard:
    """Who may call: a key with one of these roles, of this organisation."""

    line: int
    roles: tuple[str, ...]
    org: ast.expr | None

    def shown(self) -> dict[str, Value]:
        """Return what the ABI says: roles, and the organisation or the name that holds it."""
        org = "" if self.org is None else ast.unparse(self.org)
        return {"roles": list(self.roles), "org": org}


def parse_guard(node: ast.expr) -> Guard | None:
    """Return the guard that a decorator is, None when it is another decorator; raise BadGuard."""
    called = node.func if isinstance(node, ast.Call) else node
    if not isinstance(called, ast.Name) or called.id != "only":
        return None
    if not isinstance(node, ast.Call) or not (node.args or node.keywords):
        raise BadGuard(node, "@only says who may call")
    roles = [part.value for part in node.args if isinstance(part, ast.Constant) and type(part.value) is str]
    if len(roles) != len(node.args) or "" in roles or len(set(roles)) != len(roles):
        raise BadGuard(node, "@only takes roles as texts, each once")
    if len(node.keywords) > 1 or any(keyword.arg != "org" for keyword in node.keywords):
        raise BadGuard(node, "@only takes org= by name, and nothing else")
    return Guard(node.lineno, tuple(roles), node.keywords[0].value if node.keywords else None)
