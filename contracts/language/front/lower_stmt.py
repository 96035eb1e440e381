"""Lowering of statements: it follows which locals of a function are certainly assigned."""

from __future__ import annotations

import ast
from functools import reduce
from operator import and_

from contracts.language.faults import DIAGNOSTICS_MAX, Diagnostic
from contracts.language.front.annotations import hint_of
from contracts.language.front.binding import check_count
from contracts.language.front.checker import elif_of
from contracts.language.front.declarations import Declarations, Signature
from contracts.language.front.guards import SHAPES, BadGuard, Guard
from contracts.language.front.known import parts_known
from contracts.language.front.lower_calls import NONE
from contracts.language.front.lower_expr import BINARY, Expressions
from contracts.language.front.lower_guard import lower_guard
from contracts.language.front.lower_remote import is_contract
from contracts.language.front.refusals import Refusal
from contracts.language.front.scope import Scope, assigned_names, check_new_name
from contracts.language.hints import ANY, Hint
from contracts.language.ir import Node

Block = tuple[Node, ...]


def lower_function(names: Declarations, signature: Signature, found: list[Diagnostic]) -> Node:
    """Return the IR of a function: ("def", name, kind, nested, line, params, returns, slots, body).

    Refusals are added to `found`.
    """
    tree = names.bodies[signature.name]
    scope = Scope([name for name, _ in signature.params], assigned_names(tree.body))
    scope.declared.update({name: hint for name, hint in signature.params if hint != ANY})
    body = _Statements(names, scope, found).block(_without_docstring(tree.body))
    if signature.guard is not None:
        body = (*_guarded(names, signature.guard, found), *body)
    names.calls[signature.name] = scope.called
    head = ("def", signature.name, signature.kind, signature.nested, signature.line)
    params = [(*param, *_default_of(signature, param[0])) for param in signature.params]
    return (*head, tuple(params), signature.returns, scope.count, body)


def _guarded(names: Declarations, guard: Guard, found: list[Diagnostic]) -> list[Node]:
    try:
        return lower_guard(guard, names)
    except BadGuard as bad:
        found.append(Refusal(bad.node, "DECORATOR", str(bad), SHAPES).diagnostic)
        return []


def _default_of(signature: Signature, name: str) -> tuple[Node, ...]:
    return (signature.defaults[name],) if name in signature.defaults else ()


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return body[1:]
    return body


def _no_statement(node: ast.stmt) -> Refusal:
    if isinstance(node, ast.FunctionDef):
        reason = "a def inside a def is not in the language"
        return Refusal(node, "NESTED_DEF", reason, "a def at the top level")
    if isinstance(node, ast.ClassDef):
        reason = "a class inside a def is not in the language"
        return Refusal(node, "CLASS", reason, "a class at the top level")
    reason = f"{type(node).__name__} is not in the language"
    return Refusal(node, "NOT_IN_LANGUAGE", reason, "a statement that contracts/README.md lists")


class _Statements:
    def __init__(self, names: Declarations, scope: Scope, found: list[Diagnostic]) -> None:
        self.names = names
        self.scope = scope
        self.found = found
        self.values = Expressions(names, scope)
        self.loops = 0

    def block(self, body: list[ast.stmt]) -> Block:
        lowered: list[Node] = []
        for statement in body:
            if len(self.found) >= DIAGNOSTICS_MAX:
                break
            try:
                node = self.statement(statement)
            except Refusal as refusal:
                self.found.append(refusal.diagnostic)
                continue
            if node is not None:
                lowered.append(node)
        return tuple(lowered)

    def statement(self, node: ast.stmt) -> Node | None:
        method = getattr(self, "_" + type(node).__name__.lower(), None)
        if method is None:
            raise _no_statement(node)
        lowered: Node | None = method(node)
        return lowered

    # --- plain ------------------------------------------------------------------------------------------

    def _pass(self, _: ast.Pass) -> None:
        return None

    def _expr(self, node: ast.Expr) -> Node | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        return ("expr", node.lineno, self.values.expr(node.value))

    def _assign(self, node: ast.Assign) -> Node:
        value, known = self.values.expr(node.value), self.values.known.of(node.value)
        targets = [self._target(target, known) for target in node.targets]
        if len(targets) == 1:
            return ("assign", node.lineno, targets[0], value)
        return ("assign_all", node.lineno, tuple(targets), value)

    def _annassign(self, node: ast.AnnAssign) -> Node | None:
        target = node.target
        if not isinstance(target, ast.Name):
            raise Refusal(node, "TARGET", "a hint belongs to a plain name", "name: type = value")
        if isinstance(node.annotation, ast.Name) and node.annotation.id in self.names.interfaces:
            return self._contract(node, target, node.annotation.id)
        hint = hint_of(node.annotation, self.names.records)
        self.scope.declared[target.id] = hint
        if node.value is None:
            check_new_name(self.names, target, target.id)
            return None
        value = self.values.expr(node.value)
        return ("assign", node.lineno, self._target(target, hint), ("typed", hint, value))

    def _contract(self, node: ast.AnnAssign, target: ast.Name, interface: str) -> Node:
        """`policy: Policy = Contract(name)`: from here on the local stands for that contract."""
        value = node.value
        if not isinstance(value, ast.Call) or not is_contract(value):
            reason = f"{interface} is an interface: only a contract is called through it"
            raise Refusal(node, "INTERFACE", reason, f"{target.id}: {interface} = Contract(name)")
        check_count(value, "Contract", 1, 1)
        name = self.values.expr(value.args[0])
        self.scope.declared[target.id] = ("interface", interface)
        return ("assign", node.lineno, self._target(target, ANY), ("contract", name))

    def _augassign(self, node: ast.AugAssign) -> Node:
        operator = BINARY[type(node.op)]
        target = node.target
        if isinstance(target, ast.Name):
            if target.id in self.names.variables and self.scope.find(target.id) is not None:
                reason = f"{target.id} is a Var, not a local"
                instead = f"{target.id}.set({target.id}.get() {operator} …)"
                raise Refusal(node, "HIDDEN_NAME", reason, instead)
            current = self.values.expr(target)
            value = self.values.expr(node.value)
            place = self._target(target, self.values.known.of(target))
            return ("augment", node.lineno, operator, place, current, value)
        place = self._target(target, ANY)
        return ("augment", node.lineno, operator, place, NONE, self.values.expr(node.value))

    def _target(self, node: ast.expr, known: Hint) -> Node:
        if isinstance(node, ast.Name):
            return self._local(node, known)
        if isinstance(node, (ast.Tuple, ast.List)):
            each = parts_known(known, len(node.elts))
            return ("unpack", *[self._target(item, part) for item, part in zip(node.elts, each, strict=True)])
        if isinstance(node, ast.Subscript):
            return self._place(node)
        if isinstance(node, ast.Attribute):
            return self.values.field_place(node, known)
        if isinstance(node, ast.Starred):
            raise Refusal(
                node, "STAR", "a star target is not in the language", "a slice: first, rest = x[0], x[1:]"
            )
        raise Refusal(node, "TARGET", "this cannot be assigned to", "a name, x[key], or (a, b)")

    def _local(self, node: ast.Name, known: Hint) -> Node:
        if node.id not in self.scope.params:
            check_new_name(self.names, node, node.id)
        declared = self.scope.declared.get(node.id, ANY)
        if declared[0] == "interface" and known != ANY:
            reason = f"{node.id} is a contract here"
            raise Refusal(node, "INTERFACE", reason, "another name for the local")
        self.scope.learn(node.id, known)
        return ("local", self.scope.assign(node.id))

    def _place(self, node: ast.Subscript) -> Node:
        base = node.value
        if isinstance(node.slice, ast.Slice):
            raise Refusal(node, "SLICE_TARGET", "a slice cannot be assigned or deleted", "a new list")
        if isinstance(base, ast.Name) and base.id in self.names.maps and self.scope.find(base.id) is None:
            return ("map", base.id, self.values.map_key(node))
        self.values.check_subscript(node)
        return ("item", self.values.expr(base), self.values.expr(node.slice))

    def _delete(self, node: ast.Delete) -> Node:
        if len(node.targets) != 1 or not isinstance(node.targets[0], ast.Subscript):
            raise Refusal(node, "DELETE", "del takes one entry", "del d[key]")
        return ("delete", node.lineno, self._place(node.targets[0]))

    def _return(self, node: ast.Return) -> Node:
        return ("return", node.lineno, NONE if node.value is None else self.values.expr(node.value))

    def _assert(self, node: ast.Assert) -> Node:
        text = node.msg
        if text is not None and not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
            raise Refusal(
                text, "ASSERT", "the message of an assert is a plain text", 'require(condition, "CODE")'
            )
        message = "" if text is None else str(text.value)
        return ("assert", node.lineno, self.values.expr(node.test), message)

    def _raise(self, node: ast.Raise) -> Node:
        error = node.exc
        if isinstance(error, ast.Call) and not error.args and not error.keywords:
            error = error.func
        if node.cause is not None or not isinstance(error, ast.Name) or error.id not in self.names.errors:
            instead = 'Denied = Error("DENIED") at the top level, then raise Denied'
            raise Refusal(node, "RAISE", "raise takes a declared error", instead)
        return ("raise", node.lineno, self.names.errors[error.id])

    # --- control ----------------------------------------------------------------------------------------

    def _if(self, node: ast.If) -> Node:
        branches = []
        ends: list[int] = []
        line, current = node.lineno, node
        while True:
            test = self.values.expr(current.test)
            before = self.scope.assigned
            branches.append((current.lineno, test, self._branch(current.body, ends)))
            self.scope.assigned = before
            following = elif_of(current)
            if following is None:
                break
            current = following
        otherwise = self._branch(current.orelse, ends)
        self.scope.assigned = reduce(and_, ends, (1 << len(self.scope.slots)) - 1)
        return ("if", line, tuple(branches), otherwise)

    def _branch(self, body: list[ast.stmt], ends: list[int]) -> Block:
        lowered = self.block(body)
        if not (body and isinstance(body[-1], (ast.Return, ast.Raise, ast.Break, ast.Continue))):
            ends.append(self.scope.assigned)
        return lowered

    def _while(self, node: ast.While) -> Node:
        test = self.values.expr(node.test)
        return ("while", node.lineno, test, self._loop(node.body))

    def _for(self, node: ast.For) -> Node:
        walked = self.values.iterable(node.iter)
        before = self.scope.assigned
        target = self._target(node.target, self.values.known.items(node.iter))
        body = self._loop(node.body)
        self.scope.assigned = before
        return ("for", node.lineno, target, walked, body)

    def _loop(self, body: list[ast.stmt]) -> Block:
        before = self.scope.assigned
        self.loops += 1
        lowered = self.block(body)
        self.loops -= 1
        self.scope.assigned = before
        return lowered

    def _break(self, node: ast.Break) -> Node:
        return self._jump(node, "break")

    def _continue(self, node: ast.Continue) -> Node:
        return self._jump(node, "continue")

    def _jump(self, node: ast.stmt, kind: str) -> Node:
        if not self.loops:
            raise Refusal(node, "SYNTAX", f"{kind} outside a loop", "return, or a loop around it")
        return (kind, node.lineno)
