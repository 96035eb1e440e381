"""Data flow through the statements of one function: assignments, branches and loops."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from contracts.language.front.annotations import hint_of
from contracts.language.front.checker import elif_of
from contracts.language.front.flows import Options, Values, shape_of
from contracts.language.front.sharing import LIST


class Statements:
    """The statements of one function."""

    def __init__(self, values: Values, result: int) -> None:
        """Walk with these values; `result` stands for what the function returns."""
        self.values = values
        self.result = result

    def block(self, body: list[ast.stmt]) -> None:
        """Walk a list of statements."""
        for node in body:
            self._statement(node)

    def _statement(self, node: ast.stmt) -> None:
        values = self.values
        match node:
            case ast.Expr():
                values.statement(node.value)
            case ast.Assign():
                one = values.of(node.value)
                for target in node.targets:
                    values.assign(target, one)
            case ast.AnnAssign() if node.value is not None:
                one = values.of(node.value)
                values.assign(node.target, None if self._scalar(node.annotation) else one)
            case ast.AugAssign():
                self._augment(node)
            case ast.Return():
                values.either(self.result, values.of(node.value))
            case ast.If():
                self._if(node)
            case ast.While():
                values.of(node.test)
                self._loop(node.body, lambda: values.of(node.test))
            case ast.For():
                items = values.inside(values.walked(node.iter))
                self._loop(node.body, lambda: values.bind_target(node.target, items))
            case ast.Delete():
                self._delete(node.targets[0])
            case ast.Assert():
                values.of(node.test)

    def _scalar(self, annotation: ast.expr) -> bool:
        """Tell whether a local of this hint holds what cannot change: a number, a text, a contract."""
        names = self.values.names
        if isinstance(annotation, ast.Name) and annotation.id in names.interfaces:
            return True
        return shape_of(hint_of(annotation, names.records), self.values.objects, 0) is None

    def _augment(self, node: ast.AugAssign) -> None:
        """`x += y` changes what x stands for when that is a list; `x[k] += y` changes x."""
        values = self.values
        one = values.of(node.value)
        if not isinstance(node.target, ast.Name):
            values.assign(node.target, one)
            return
        held = values.local(node.target.id)
        lists = [part for part in (held, one) if part is not None and values.objects.has(part, LIST)]
        if held is not None and lists and isinstance(node.op, (ast.Add, ast.Mult, ast.BitOr)):
            values.ground.change(held, node.target, f"{node.target.id} +=", direct=True)
            values.objects.put(held, values.inside(one))

    def _delete(self, target: ast.expr) -> None:
        values = self.values
        if isinstance(target, ast.Subscript) and not values.declared(target.value, values.names.maps):
            values.of(target.slice)
            values.ground.change(values.of(target.value), target.value, "a deletion", direct=True)

    def _if(self, node: ast.If) -> None:
        ways: list[dict[str, Options]] = []
        current: ast.If | None = node
        while current is not None:
            branch = current
            self.values.of(branch.test)
            ways.append(self.values.aside(lambda: self.block(branch.body)))  # noqa: B023
            current = elif_of(branch)
        ways.append(self.values.aside(lambda: self.block(branch.orelse)))
        self.values.merge(*ways)

    def _loop(self, body: list[ast.stmt], begin: Callable[[], object]) -> None:
        """One turn stands for all: what a turn makes of a local, the next one meets."""
        values = self.values
        met = {name: values.local(name) for name in _assigned(body)}
        for name, one in met.items():
            if one is None:
                met[name] = values.objects.new()
                values.bind(name, met[name])

        def turn() -> None:
            begin()
            self.block(body)
            for name, one in met.items():
                values.either(one, values.local(name))

        values.merge(values.aside(turn))


def _stored(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, (ast.Tuple, ast.List)):
        for item in target.elts:
            yield from _stored(item)


def _assigned(body: list[ast.stmt]) -> set[str]:
    """Return the locals that are assigned in a block, but for the variables of its loops."""
    found: set[str] = set()
    pending = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.If, ast.For, ast.While)):
            pending += [*node.body, *node.orelse]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                found.update(_stored(target))
    return found
