"""The tracer: it runs a page on values that nobody sees, and what is done with them becomes the plan.

Control flow is public: what branches, loops or indexes on a secret is refused with the way to write it. So
the plan, and what a computation shows by its course, is the same whatever the data holds.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NoReturn, TypeVar

from contracts.pages.arguments import unfit_arguments, whole
from contracts.pages.builder import Builder
from contracts.pages.builtins import FUNCTIONS, PageFunction
from contracts.pages.faults import Misplaced, Unfit
from contracts.pages.limits import CALLS_DEPTH_MAX, CARRIED_MAX, GAS_ITEM, GAS_STEP, LIST_MAX, TEXT_MAX
from contracts.pages.names import unknown
from contracts.pages.numbers import bounded
from contracts.pages.operators import arithmetic, compared, negated, number_of
from contracts.pages.parameters import Parameter, ParameterReader, given
from contracts.pages.reading import PageTree, assigned
from contracts.pages.tables import Tables
from contracts.pages.values import PageTable, Repeat, Secret, TablePart, said_kind
from contracts.pages.workbench import Workbench

Names = dict[str, Any]
_Made = TypeVar("_Made")
_RELEASE = 'release(figure, to="bank", exact=True)'
_CONTINUE = object()
"""What a block returns that did not return from its function."""


class Tracer(Workbench):
    """One run of a page."""

    def __init__(
        self, page: PageTree, build: Builder, tables: Tables, parameters: Mapping[str, object]
    ) -> None:
        """Prepare it, with public parameters as they are given; `trace` does it."""
        super().__init__(build, tables)
        self.page = page
        self.given = parameters
        self.parameters: dict[str, Parameter] = {}
        """Those of the page, with what they are in this run."""
        self.constants: Names = {}
        self.calling: list[str] = []

    def trace(self) -> None:
        """Run the page; raise Misplaced at what is refused."""
        for name, node in self.page.constants:
            self.constants[name] = self._eval(node.value, {})
        run, page = self.page.functions["run"], self.page
        self.parameters = self._fitting(run, self._read_parameters)
        datasets = [self.tables.dataset(place) for place in range(len(self.tables.datasets))]
        names: Names = dict(zip(page.datasets, datasets, strict=False))
        if page.others:
            names[page.others] = datasets[len(page.datasets) :]
        self._run_function(run, names | self.parameters)
        if not self.asked:
            self._refuse(run, "NO_RELEASE", "nothing leaves this page", _RELEASE)

    def _read_parameters(self) -> dict[str, Parameter]:
        known = {arg.arg: self._default(arg, value) for arg, value in self.page.parameters}
        return given(self.given, known, ParameterReader(self.build.payer))

    def _default(self, arg: ast.arg, value: ast.expr) -> Parameter:
        found = self._eval(value, {})
        return self._fitting(arg, lambda: ParameterReader(self.build.payer).read(found))

    # --- statements --------------------------------------------------------------------------------------
    def _run_function(self, function: ast.FunctionDef, names: Names) -> Any:
        self.calling.append(function.name)
        result = self._block(function.body, names)
        self.calling.pop()
        return None if result is _CONTINUE else result

    def _block(self, body: list[ast.stmt], names: Names) -> Any:
        for statement in body:
            self.build.payer.charge(GAS_STEP)
            result = self._statement(statement, names)
            if result is not _CONTINUE:
                return result
        return _CONTINUE

    def _statement(self, node: ast.stmt, names: Names) -> Any:
        if isinstance(node, ast.Assign):
            value = self._eval(node.value, names)
            for target in node.targets:
                self._assign(target, value, names)
        elif isinstance(node, ast.AugAssign):
            self._augmented(node, names)
        elif isinstance(node, ast.Return):
            if self.build.graph.open:
                self._refuse(
                    node,
                    "LOOP_RETURN",
                    "return inside repeat",
                    "a name that the loop sets, returned after it",
                )
            return None if node.value is None else self._eval(node.value, names)
        elif isinstance(node, ast.If):
            return self._block(node.body if self._decide(node.test, names) else node.orelse, names)
        elif isinstance(node, ast.For):
            return self._for(node, names)
        elif isinstance(node, ast.Expr):
            self._eval(node.value, names)
        elif isinstance(node, ast.FunctionDef):
            self._refuse(node, "NESTED", "a function inside another", "a function at the top")
        return _CONTINUE

    def _augmented(self, node: ast.AugAssign, names: Names) -> None:
        if not isinstance(node.target, ast.Name):
            self._refuse(node, "ASSIGN", "only names are assigned to", "a name for the new value")
        before = self._name(node.target, names)
        value = self._eval(node.value, names)
        names[node.target.id] = self._fitting(node, lambda: arithmetic(self, node.op, before, value))

    def _assign(self, target: ast.expr, value: Any, names: Names) -> None:
        if isinstance(target, ast.Name):
            names[target.id] = value
            return
        if not isinstance(target, (ast.Tuple, ast.List)):
            self._refuse(
                target, "ASSIGN", "only names are assigned to", "where(condition, x, y), or a new list"
            )
        if not isinstance(value, (tuple, list)) or len(value) != len(target.elts):
            self._refuse(
                target,
                "UNPACK",
                f"{len(target.elts)} names for {said_kind(value)}",
                "a name for each value",
            )
        for part, item in zip(target.elts, value, strict=True):
            self._assign(part, item, names)

    def _decide(self, test: ast.expr, names: Names) -> bool:
        value = self._eval(test, names)
        if isinstance(value, Secret):
            self._refuse(test, "SECRET_BRANCH", f"a branch on a {said_kind(value)}", "where(condition, x, y)")
        if not isinstance(value, bool):
            self._refuse(
                test, "CONDITION", f"a condition is {said_kind(value)}", "a comparison of public values"
            )
        return value

    def _for(self, node: ast.For, names: Names) -> Any:
        over = self._eval(node.iter, names)
        if isinstance(over, Repeat):
            return self._repeat(node, over, names)
        for item in self._walked(node.iter, over):
            self._assign(node.target, item, names)
            result = self._block(node.body, names)
            if result is not _CONTINUE:
                return result
        return _CONTINUE

    def _walked(self, node: ast.expr, over: Any) -> list[Any]:
        if isinstance(over, (Secret, PageTable, TablePart)):
            self._refuse(
                node,
                "ROW_LOOP",
                f"a loop over {said_kind(over)}",
                "whole columns: loans.amount * 2, sum(loans.amount)",
            )
        if not isinstance(over, (list, tuple)):
            self._refuse(node, "WALK", f"a loop over {said_kind(over)}", "a list, range(n) or repeat(n)")
        self.build.payer.charge(GAS_ITEM * len(over))
        return list(over)

    def _repeat(self, node: ast.For, over: Repeat, names: Names) -> Any:
        """Trace the body once: names that it sets and that had a value are carried from turn to turn."""
        if not isinstance(node.target, ast.Name):
            self._refuse(node.target, "REPEAT", "repeat gives one number a turn", "for step in repeat(n)")
        carried = [name for name in assigned(node.body) if name in names and name != node.target.id]
        if not 1 <= len(carried) <= CARRIED_MAX:
            self._refuse(
                node, "REPEAT", f"a loop that carries {len(carried)} values", f"1 to {CARRIED_MAX} names"
            )
        build = self.build
        starts = [self._start(node, name, names[name]) for name in carried]
        loop = self._fitting(
            node, lambda: build.node("repeat", tuple(s.node for s in starts), (str(over.turns),))
        )
        inner = dict(names)
        build.payer.charge(GAS_ITEM * len(names))
        for place, (name, start) in enumerate(zip(carried, starts, strict=True)):
            inner[name] = Secret(build.node("carry", (loop,), (str(place),)), start.cells, start.rows)
        step = build.node("step", (loop,))
        inner[node.target.id] = Secret(step, build.graph.cells[step])
        self._block(node.body, inner)
        ends = [self._end(node, name, inner[name], s) for name, s in zip(carried, starts, strict=True)]
        again = self._fitting(node, lambda: build.node("again", (loop, *(end.node for end in ends))))
        for place, (name, start) in enumerate(zip(carried, starts, strict=True)):
            names[name] = Secret(build.node("after", (again,), (str(place),)), start.cells, start.rows)
        return _CONTINUE

    def _start(self, node: ast.AST, name: str, value: Any) -> Secret:
        """Return what a loop carries at its begin: numbers as real ones, so that they may become anything."""
        if not isinstance(value, (Secret, Fraction)):
            self._refuse(
                node, "CARRIED", f"repeat changes {name}, {said_kind(value)}", "cells and numbers alone"
            )
        value = self._fitting(node, lambda: self.build.lift(value, "repeat"))
        return self._fitting(node, lambda: self.build.apply("real", [value]))

    def _end(self, node: ast.AST, name: str, value: Any, start: Secret) -> Secret:
        if not isinstance(value, (Secret, Fraction)):
            self._refuse(
                node, "CARRIED", f"repeat makes {name} {said_kind(value)}", "cells and numbers alone"
            )
        end = self._fitting(node, lambda: self.build.apply("real", [value]))
        if end.cells != start.cells or end.rows != start.rows:
            reason = f"{name} is {start.cells} before a turn and {end.cells} after it"
            self._refuse(node, "CARRIED", reason, "one shape: zeros(shape(x)[1]) to begin with")
        return end

    # --- expressions -------------------------------------------------------------------------------------
    def _eval(self, node: ast.expr, names: Names) -> Any:
        self.build.payer.charge(GAS_STEP)
        handler = _EXPRESSIONS.get(type(node))
        if handler is None:
            self._refuse(
                node, "NOT_IN_PAGES", f"{type(node).__name__} stands here", "what docs/pages.md lists"
            )
        return handler(self, node, names)

    def _refuse(self, node: ast.AST, rule: str, reason: str, instead: str) -> NoReturn:
        raise Misplaced(Unfit(rule, reason, instead).at(node))

    def _fitting(self, node: ast.AST, work: Callable[[], _Made]) -> _Made:
        """Do work at a place of the page."""
        try:
            return work()
        except Unfit as unfit:
            raise Misplaced(unfit.at(node)) from None

    def _constant(self, node: ast.Constant, _names: Names) -> Any:
        value = node.value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            number = number_of(value)
            return self._fitting(node, lambda: bounded(number))
        if isinstance(value, str) and len(value) > TEXT_MAX:
            self._refuse(node, "TEXT", f"a text of {len(value)} characters", f"at most {TEXT_MAX}")
        return value

    def _name(self, node: ast.Name, names: Names) -> Any:
        for known in (names, self.constants, self.page.functions, FUNCTIONS):
            if node.id in known:
                return known[node.id]
        raise Misplaced(unknown(node.id, [*names, *self.constants, *self.page.functions]).at(node))

    def _list(self, node: ast.List | ast.Tuple, names: Names) -> Any:
        self._fitting(node, lambda: self.pay_items(len(node.elts)))
        items = [self._eval(item, names) for item in node.elts]
        return tuple(items) if isinstance(node, ast.Tuple) else items

    def _comprehension(self, node: ast.ListComp, names: Names) -> list[Any]:
        self.build.payer.charge(GAS_ITEM * len(names))
        made: list[Any] = []
        self._clauses(node, 0, dict(names), made)
        return made

    def _clauses(self, node: ast.ListComp, place: int, names: Names, made: list[Any]) -> None:
        if place == len(node.generators):
            self._fitting(
                node, lambda: self.pay_items(len(made) // LIST_MAX * LIST_MAX + 1 + len(made) // LIST_MAX)
            )
            made.append(self._eval(node.elt, names))
            return
        clause = node.generators[place]
        for item in self._walked(clause.iter, self._eval(clause.iter, names)):
            self._assign(clause.target, item, names)
            if all(self._decide(test, names) for test in clause.ifs):
                self._clauses(node, place + 1, names, made)

    def _binary(self, node: ast.BinOp, names: Names) -> Any:
        one, other = self._eval(node.left, names), self._eval(node.right, names)
        return self._fitting(node, lambda: arithmetic(self, node.op, one, other))

    def _unary(self, node: ast.UnaryOp, names: Names) -> Any:
        value = self._eval(node.operand, names)
        return self._fitting(node, lambda: negated(self, node.op, value))

    def _bool(self, node: ast.BoolOp, names: Names) -> bool:
        stop = isinstance(node.op, ast.Or)
        for part in node.values:
            value = self._eval(part, names)
            if isinstance(value, Secret):
                word = "or" if stop else "and"
                instead = f"{'|' if stop else '&'}, with comparisons in brackets"
                self._refuse(part, "SECRET_BOOLEAN", f"{word} decides on a {said_kind(value)}", instead)
            if not isinstance(value, bool):
                self._refuse(part, "CONDITION", f"a condition is {said_kind(value)}", "a comparison")
            if value is stop:
                return stop
        return not stop

    def _choice(self, node: ast.IfExp, names: Names) -> Any:
        return self._eval(node.body if self._decide(node.test, names) else node.orelse, names)

    def _compare(self, node: ast.Compare, names: Names) -> Any:
        if len(node.ops) > 1:
            values = [self._eval(part, names) for part in (node.left, *node.comparators)]
            if any(isinstance(value, Secret) for value in values):
                self._refuse(node, "SECRET_CHAIN", "a chain of comparisons of secrets", "(a < b) & (b < c)")
            pairs = zip(node.ops, values, values[1:], strict=False)
            return all(self._compared(node, *pair) for pair in pairs)
        one, other = self._eval(node.left, names), self._eval(node.comparators[0], names)
        return self._compared(node, node.ops[0], one, other)

    def _compared(self, node: ast.Compare, op: ast.cmpop, one: Any, other: Any) -> Any:
        return self._fitting(node, lambda: compared(self, op, one, other))

    def _attribute(self, node: ast.Attribute, names: Names) -> Any:
        value = self._eval(node.value, names)
        if isinstance(value, PageTable):
            return self._fitting(node, lambda: self.tables.part(value, node.attr))
        if isinstance(value, TablePart):
            return self._fitting(node, lambda: self.tables.column(value.table, value.name, node.attr))
        if isinstance(value, Secret) and node.attr == "T":
            return self._fitting(node, lambda: self.build.apply("transpose", [value]))
        instead = "columns of tables, and .T of cells"
        return self._refuse(node, "ATTRIBUTE", f"{said_kind(value)} has no {node.attr}", instead)

    def _subscript(self, node: ast.Subscript, names: Names) -> Any:
        value = self._eval(node.value, names)
        if isinstance(value, Secret):
            return self._index(node, value, names)
        index = self._eval(node.slice, names)
        if isinstance(index, Secret):
            self._refuse(
                node, "SECRET_INDEX", f"an index is a {said_kind(index)}", "where(key == 3, x, 0), or sort_by"
            )
        if isinstance(index, str) and isinstance(value, PageTable):
            return self._fitting(node, lambda: self.tables.part(value, index))
        if isinstance(index, str) and isinstance(value, TablePart):
            return self._fitting(node, lambda: self.tables.column(value.table, value.name, index))
        if isinstance(value, (PageTable, TablePart)):
            self._refuse(node, "ROW_INDEX", "a row is taken by its number", "filter(table, condition)")
        if not isinstance(value, (list, tuple)):
            self._refuse(node, "INDEX", f"{said_kind(value)} has no items", "a list, or cells with axes")
        size = len(value)
        return value[self._fitting(node, lambda: whole(index, -size, size - 1, "the index"))]

    def _index(self, node: ast.Subscript, value: Secret, names: Names) -> Secret:
        """Return cells at public places: a number takes from an axis, : keeps one, None makes one."""
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        axis = 0
        for part in parts:
            if isinstance(part, ast.Slice):
                if part.lower or part.upper or part.step:
                    self._refuse(part, "SLICE", "a part of an axis", ": for the whole axis, or first(x, n)")
                axis += 1
                continue
            index = self._eval(part, names)
            if index is None:
                value = self._spread(node, value, axis)
                axis += 1
                continue
            if isinstance(index, Secret):
                self._refuse(
                    part,
                    "SECRET_INDEX",
                    f"an index is a {said_kind(index)}",
                    "where(key == 3, x, 0), or sort_by",
                )
            value = self._taken(part, value, axis, index)
        return value

    def _spread(self, node: ast.AST, value: Secret, axis: int) -> Secret:
        return self._fitting(node, lambda: self.build.apply("spread", [value], (str(axis),)))

    def _taken(self, node: ast.AST, value: Secret, axis: int, index: Any) -> Secret:
        size = value.shape[axis] if axis < len(value.shape) else ""
        place = 0  # where the size is no number, the table of primitives says why not
        if isinstance(size, int):
            place = self._fitting(node, lambda: whole(index, -size, size - 1, "the index")) % size
        return self._fitting(node, lambda: self.build.apply("take", [value], (str(axis), str(place))))

    def _call(self, node: ast.Call, names: Names) -> Any:
        if not isinstance(node.func, ast.Name):
            self._refuse(node, "CALL", "only functions are called by their names", "sum(x), not x.sum()")
        function = self._name(node.func, names)
        args = [self._eval(arg, names) for arg in node.args]
        named: Names = {}
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg in named:
                self._refuse(
                    node, "ARGUMENTS", "an argument that is given twice, or by **", "each argument once"
                )
            named[keyword.arg] = self._eval(keyword.value, names)
        self.here = node
        if isinstance(function, PageFunction):
            provided, name = function, node.func.id
            return self._fitting(node, lambda: self._provided(name, provided, args, named))
        if isinstance(function, ast.FunctionDef):
            return self._own(node, function, args, named)
        return self._refuse(node, "CALL", f"{said_kind(function)} is called", "a function")

    def _provided(self, name: str, function: PageFunction, args: list[Any], named: Names) -> Any:
        names = [one for one in function.names if not one.startswith("*")]
        star = next((place for place, one in enumerate(function.names) if one.startswith("*")), len(names))
        free, required = function.names[: star + 1], function.names[: function.required]
        fault = unfit_arguments(name, free, names, required, len(args), [*named])
        if fault:
            raise Unfit("ARGUMENTS", fault, f"{name}{function.signature}")
        return function.call(self, *args, **named)

    def _own(self, node: ast.Call, function: ast.FunctionDef, args: list[Any], named: Names) -> Any:
        name = function.name
        if name in self.calling or len(self.calling) == CALLS_DEPTH_MAX:
            reason = f"{name} calls itself, or calls nest deeper than {CALLS_DEPTH_MAX}"
            self._refuse(node, "CALL_DEPTH", reason, "repeat(n), or a loop")
        params = [arg.arg for arg in function.args.args]
        required = params[: len(params) - len(function.args.defaults)]
        fault = unfit_arguments(name, params, params, required, len(args), [*named])
        if fault:
            self._refuse(node, "ARGUMENTS", fault, f"{name}({', '.join(params)})")
        given = dict(zip(params, args, strict=False)) | named
        defaults = function.args.defaults
        for param, default in zip(params[len(params) - len(defaults) :], defaults, strict=True):
            if param not in given:
                given[param] = self._eval(default, {})
        return self._run_function(function, given)


_EXPRESSIONS: Mapping[type[ast.expr], Callable[[Tracer, Any, Names], Any]] = {
    ast.Constant: Tracer._constant,
    ast.Name: Tracer._name,
    ast.List: Tracer._list,
    ast.Tuple: Tracer._list,
    ast.ListComp: Tracer._comprehension,
    ast.BinOp: Tracer._binary,
    ast.UnaryOp: Tracer._unary,
    ast.BoolOp: Tracer._bool,
    ast.IfExp: Tracer._choice,
    ast.Compare: Tracer._compare,
    ast.Attribute: Tracer._attribute,
    ast.Subscript: Tracer._subscript,
    ast.Call: Tracer._call,
}
