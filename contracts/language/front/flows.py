"""Data flow through the expressions of one function: what may be one object, what is changed, what is kept.

The function has been lowered before, so every name has a meaning and every call fits. A value that cannot
change (a number, a text, a bool) is None here; any other one is a number of `sharing.Objects`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Protocol

from contracts.language.front.declarations import Declarations
from contracts.language.front.sharing import (
    CHANGED,
    HELD,
    LIST,
    NOTHING,
    STORED,
    UNKNOWN,
    USED,
    Objects,
    Summary,
)
from contracts.language.hints import ANY, KNOWN_PARTS_MAX, Hint, parts_of
from contracts.language.vocabulary import HOST, MUTATING

MADE, CONSTANT, ANSWER, VARIABLE, ENTRY = 1, 2, 3, 4, 5
"""Where a value comes from: made by an expression, a constant, another contract, a Var, a Map."""
_SCALARS = frozenset({"int", "str", "bytes", "bool", "none", "subject"})
_SAME_ITEMS = frozenset({"list", "tuple", "sorted", "reversed"})
_WITHOUT_RESULT = MUTATING - {"pop", "setdefault"}
_PAIRS = frozenset({"enumerate", "zip"})


Options = tuple[int | None, ...]
"""What a local may stand for."""


class Ground(Protocol):
    """What the functions of one universe of objects share."""

    names: Declarations
    objects: Objects
    summaries: Mapping[str, Summary]

    def port(self, name: str) -> tuple[dict[str, int | None], int]:
        """Return what stands for the parameters and the result of a function without a summary."""

    def change(self, changed: int | None, node: ast.expr, what: str, *, direct: bool) -> None:
        """Note a change; `direct`: it stands here and gives no result."""


def shape_of(hint: Hint, objects: Objects, origin: int, flags: int = 0) -> int | None:
    """Return an object of a hint; None when a value of it cannot change."""
    parts = [part for part in parts_of(hint) if part[0] not in _SCALARS]
    if not parts:
        return None
    only = parts[0] if len(parts) == 1 else ANY
    flat = only != ANY and len(only) <= KNOWN_PARTS_MAX and all(_is_scalar(part) for part in only[1:])
    flags |= LIST if only[0] in ("list", "dict") else 0
    return objects.new(origin, NOTHING if flat else UNKNOWN, flags=flags)


def _is_scalar(hint: Hint) -> bool:
    if type(hint) is not tuple:  # the name of a record
        return False
    return all(part[0] in _SCALARS for part in parts_of(hint))


class Values:
    """The walk over the expressions of one function, with what each local stands for at this point."""

    def __init__(self, ground: Ground, params: dict[str, int | None]) -> None:
        """Start with the parameters."""
        self.ground = ground
        self.names = ground.names
        self.objects = ground.objects
        self._local: dict[str, Options] = {name: (one,) for name, one in params.items()}
        self._undo: list[dict[str, Options]] = []

    def of(self, node: ast.expr | None) -> int | None:
        """Return the object that an expression gives."""
        if node is None:
            return None
        kind = _KINDS.get(type(node))
        if kind is not None:
            return kind(self, node)
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr):
                self.of(part)
        return None

    def inside(self, one: int | None) -> int | None:
        """Return what lies inside a value."""
        return None if one is None else self.objects.inside(one)

    def either(self, *options: int | None) -> int | None:
        """Return a value that is one of several."""
        found = [one for one in options if one is not None]
        for one in found[1:]:
            self.objects.join(found[0], one)
        return found[0] if found else None

    def keep(self, one: int | None, flag: int) -> None:
        """Mark a value, when it can change."""
        if one is not None:
            self.objects.mark(one, flag)

    # --- locals -------------------------------------------------------------------------------------------

    def bind(self, name: str, one: int | None) -> None:
        """Let a local stand for a value from here on."""
        self._bind(name, (one,))

    def _bind(self, name: str, options: Options) -> None:
        if self._undo and name not in self._undo[-1]:
            self._undo[-1][name] = self._local.get(name, ())
        self._local[name] = options

    def local(self, name: str) -> int | None:
        """Return what a local stands for; what it is by one way or another is joined only when it is read."""
        one = self.either(*self._local.get(name, ()))
        self._local[name] = (one,)
        return one

    def aside(self, work: Callable[[], None]) -> dict[str, Options]:
        """Do some work that may not happen; return what it bound, which no longer holds."""
        self._undo.append({})
        work()
        before = self._undo.pop()
        after = {name: self._local[name] for name in before}
        self._local.update(before)
        return after

    def merge(self, *ways: dict[str, Options]) -> None:
        """Let each local stand for what it was, or for what one of several ways made it."""
        for name in dict.fromkeys(name for way in ways for name in way):
            options = {one: None for way in ways for one in way.get(name, ())}
            self._bind(name, tuple({**dict.fromkeys(self._local.get(name, ())), **options}))

    def bind_target(self, node: ast.expr, one: int | None) -> None:
        """Bind the variable of a loop or comprehension, which is no name that keeps a copy."""
        if isinstance(node, ast.Name):
            self.bind(node.id, one)
        elif isinstance(node, (ast.Tuple, ast.List)):
            for item in node.elts:
                self.bind_target(item, self.inside(one))
        elif isinstance(node, ast.Subscript):
            self.assign(node, one)

    def assign(self, node: ast.expr, one: int | None) -> None:
        """Assign a value to a target."""
        if isinstance(node, ast.Name):
            self.keep(one, HELD)
            self.bind(node.id, one)
        elif isinstance(node, (ast.Tuple, ast.List)):
            for item in node.elts:
                self.assign(item, self.inside(one))
        elif isinstance(node, ast.Subscript):
            self.of(node.slice)
            if self.declared(node.value, self.names.maps):
                self.keep(one, STORED)
                return
            base = self.of(node.value)
            self.ground.change(base, node.value, "a change", direct=True)
            if base is not None:
                self.objects.put(base, one)
        elif isinstance(node, ast.Attribute):
            base = self.of(node.value)
            self.ground.change(base, node.value, "a change", direct=True)
            if base is not None:
                self.objects.put(base, one)

    def declared(self, node: ast.expr, names: Mapping[str, object]) -> bool:
        """Tell whether an expression is a name that is declared at the top level, of this kind."""
        return isinstance(node, ast.Name) and node.id in names and node.id not in self._local

    def linked(self, node: ast.expr) -> str | None:
        """Return `library.name` where a name of a library stands."""
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            return None
        return f"{node.value.id}.{node.attr}" if self.declared(node.value, self.names.libraries) else None

    # --- plain expressions --------------------------------------------------------------------------------

    def _name(self, node: ast.Name) -> int | None:
        if node.id in self._local:
            return self.local(node.id)
        return self._constant(node.id)

    def _constant(self, name: str) -> int | None:
        constant = self.names.constants.get(name)
        if constant is None or not constant.mutable:
            return None
        return self.objects.new(CONSTANT, NOTHING if constant.flat else UNKNOWN)

    def _subscript(self, node: ast.Subscript) -> int | None:
        self.of(node.slice)
        if isinstance(node.value, ast.Name) and self.declared(node.value, self.names.maps):
            return shape_of(self.names.maps[node.value.id][1], self.objects, ENTRY)
        base = self.of(node.value)
        return self._copied(base) if isinstance(node.slice, ast.Slice) else self.inside(base)

    def _attribute(self, node: ast.Attribute) -> int | None:
        """A field of a record, a constant of a library; everything else behind a point cannot change."""
        dotted = self.linked(node)
        if dotted is not None:
            return self._constant(dotted)
        hint = self.names.field_hints.get(id(node))
        if hint is None:
            return None
        held = self.inside(self.of(node.value))
        return None if shape_of(hint, self.objects, 0) is None else held

    def _made(self, items: list[int | None], flags: int = 0) -> int:
        made = self.objects.new(MADE, NOTHING, flags=flags)
        for item in items:
            self.objects.put(made, item)
        return made

    def _copied(self, one: int | None, flags: int = 0) -> int:
        """Return a new value with the same items."""
        return self._made([self.inside(one)], flags)

    def _display(self, node: ast.List | ast.Tuple) -> int:
        items = [
            self.inside(self.walked(item.value)) if isinstance(item, ast.Starred) else self.of(item)
            for item in node.elts
        ]
        return self._made(items, LIST if isinstance(node, ast.List) else 0)

    def _dict(self, node: ast.Dict) -> int:
        items: list[int | None] = []
        for key, value in zip(node.keys, node.values, strict=True):
            self.of(key)
            one = self.of(value)
            items.append(self.inside(one) if key is None else one)
        return self._made(items, LIST)

    def _comprehension(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> int:
        made: list[int] = []

        def work() -> None:
            for clause in node.generators:
                self.bind_target(clause.target, self.inside(self.walked(clause.iter)))
                for test in clause.ifs:
                    self.of(test)
            if isinstance(node, ast.DictComp):
                self.of(node.key)
                made.append(self._made([self.of(node.value)], LIST))
            else:
                made.append(self._made([self.of(node.elt)], LIST))

        self.aside(work)
        return made[0]

    def _binop(self, node: ast.BinOp) -> int | None:
        left, right = self.of(node.left), self.of(node.right)
        if isinstance(node.op, (ast.Add, ast.BitOr)) and left is not None and right is not None:
            return self._made([self.inside(left), self.inside(right)], self._list_flag(left, right))
        if isinstance(node.op, ast.Mult) and (left is None) != (right is None):
            return self._copied(right if left is None else left, self._list_flag(left, right))
        return None

    def _list_flag(self, *parts: int | None) -> int:
        return LIST if any(part is not None and self.objects.has(part, LIST) for part in parts) else 0

    def _ifexp(self, node: ast.IfExp) -> int | None:
        self.of(node.test)
        return self.either(self.of(node.body), self.of(node.orelse))

    def _boolop(self, node: ast.BoolOp) -> int | None:
        return self.either(*[self.of(part) for part in node.values])

    def _compare(self, node: ast.Compare) -> None:
        whole = 0 if any(isinstance(operator, (ast.Is, ast.IsNot)) for operator in node.ops) else USED
        for part in (node.left, *node.comparators):
            self.keep(self.of(part), whole)

    # --- calls --------------------------------------------------------------------------------------------

    def walked(self, node: ast.expr) -> int | None:
        """Return a value whose items are those that a walk gives."""
        func = node.func if isinstance(node, ast.Call) else None
        if isinstance(node, ast.Call) and isinstance(func, ast.Attribute) and func.attr == "items":
            return self._made([self._copied(self.of(func.value))])
        one = self.of(node)
        self.keep(one, USED)
        return one

    def _call(self, node: ast.Call, *, used: bool = True) -> int | None:
        func = node.func
        if isinstance(func, ast.Attribute):
            return self._attribute_call(node, func, used=used)
        name = func.id if isinstance(func, ast.Name) else ""
        if name in self.names.functions:
            return self._own(node, name, used=used)
        given = [self.of(argument) for argument in node.args]
        given += self._by_name(node, given[0] if len(given) == 1 else self._made(given), name)
        if name in self.names.records:
            return self._made(given, LIST)
        if name in self.names.events or name in HOST:
            for one in given:
                self.keep(one, STORED)
            return None
        return self._builtin(node, name, given)

    def _by_name(self, node: ast.Call, walked: int | None, what: str) -> list[int | None]:
        """Look at arguments by name; a key is asked about each item of what is walked."""
        found: list[int | None] = []
        for keyword in node.keywords:
            key = keyword.value
            if keyword.arg == "key" and what in ("sorted", "max", "min", ".sort"):
                self._ask_key(key, self.inside(walked))
            else:
                found.append(self.of(key))
        return found

    def _ask_key(self, key: ast.expr, item: int | None) -> None:
        if isinstance(key, ast.Lambda):

            def work() -> None:
                self.bind(key.args.args[0].arg, item)
                self.of(key.body)

            self.aside(work)
        else:
            name = self.linked(key) or (key.id if isinstance(key, ast.Name) else "")
            if name in self.names.functions or name in self.names.linked:
                self._apply(name, {self.names.signature_of(name).params[0][0]: (key, item)})

    def statement(self, node: ast.expr) -> None:
        """Look at an expression whose value nobody takes."""
        if isinstance(node, ast.Call):
            self._call(node, used=False)
        else:
            self.of(node)

    def _builtin(self, node: ast.Call, name: str, given: list[int | None]) -> int | None:
        for one in given:
            self.keep(one, USED)
        if name in _SAME_ITEMS:
            return self._copied(given[0] if given else None, LIST if name in ("list", "sorted") else 0)
        if name in _PAIRS:
            return self._made([self._made([self.inside(one) for one in given])])
        if name == "dict":
            pairs = bool(node.args) and not isinstance(node.args[0], (ast.Name, ast.Attribute, ast.Subscript))
            one = given[0] if given else None
            return self._copied(self.inside(one) if pairs else one)
        if name in ("max", "min"):
            return self.inside(given[0]) if len(given) == 1 else self.either(*given)
        return None

    def _attribute_call(self, node: ast.Call, func: ast.Attribute, *, used: bool) -> int | None:
        base, method = func.value, func.attr
        dotted = self.linked(func)
        if dotted in self.names.linked:
            return self._own(node, dotted, used=used)
        given = [self.of(argument) for argument in node.args]
        if dotted is not None:  # a record of a library
            return self._made([*given, *[self.of(keyword.value) for keyword in node.keywords]], LIST)
        asked = method == "sort" and bool(node.keywords)
        held = self.of(base) if asked else None
        given += self._by_name(node, held, f".{method}")
        if id(node) in self.names.remote_calls:
            for one in given:
                self.keep(one, STORED)
            return self.objects.new(ANSWER)
        if isinstance(base, ast.Name) and self.declared(base, self.names.maps):
            if method == "page":
                return self._made([], LIST)
            read = shape_of(self.names.maps[base.id][1], self.objects, ENTRY)
            return self.either(read, *given[1:])
        if isinstance(base, ast.Name) and self.declared(base, self.names.variables):
            if method == "set":
                self.keep(given[0], STORED)
                return None
            return shape_of(self.names.variables[base.id][0], self.objects, VARIABLE)
        return self._method(base, held if asked else self.of(base), method, given)

    def _method(self, base: ast.expr, held: int | None, method: str, given: list[int | None]) -> int | None:
        if method in MUTATING:
            self.ground.change(held, base, f".{method}()", direct=method in _WITHOUT_RESULT)
            if held is not None:
                spread = method in ("extend", "update")
                for one in given:
                    self.objects.put(held, self.inside(one) if spread else one)
        elif method == "get" and held is not None:
            for one in given[1:]:
                self.objects.put(held, one)
        if method in ("get", "pop", "setdefault"):
            return self.inside(held)
        return self._copied(held) if method in ("copy", "values") else None

    # --- functions of the contract ------------------------------------------------------------------------

    def _own(self, node: ast.Call, name: str, *, used: bool) -> int | None:
        params = self.names.signature_of(name).params
        given = {param: value for (param, _), value in zip(params, node.args, strict=False)}
        given.update({str(keyword.arg): keyword.value for keyword in node.keywords})
        return self._apply(
            name, {param: (value, self.of(value)) for param, value in given.items()}, used=used
        )

    def _apply(
        self, name: str, given: dict[str, tuple[ast.expr, int | None]], *, used: bool = True
    ) -> int | None:
        """Call a function of the contract; what is left out has a default, which cannot change."""
        summary = self.ground.summaries.get(name)
        if summary is None:
            stands, result = self.ground.port(name)
            for param, (_, one) in given.items():
                self.either(stands[param], one)
            return result
        return self._summarised(name, summary, given, used=used)

    def _summarised(
        self, name: str, summary: Summary, arguments: dict[str, tuple[ast.expr, int | None]], *, used: bool
    ) -> int | None:
        known: dict[int, int] = {}
        places = self.names.signature_of(name).places
        for param in sorted(arguments, key=places.__getitem__):
            node, one = arguments[param]
            for level in summary.params[places[param]]:
                if one is None:
                    break
                known[level] = self.objects.join(known.get(level, one), one)
                if level in summary.changed:
                    if used and level in summary.result:  # not lost here; whoever hands it in may lose it
                        self.keep(one, CHANGED)
                    else:
                        self.ground.change(one, node, f"what {name}() changes in {param}", direct=False)
                if level in summary.stored:
                    self.keep(one, STORED)
                one = self.inside(one)
        if shape_of(self.names.signature_of(name).returns, self.objects, 0) is None:
            return None
        return self._result(summary, known)

    def _result(self, summary: Summary, known: dict[int, int]) -> int:
        """Return what a call gives: parts of its arguments, or values with the origins of the result."""
        outer: int | None = None
        for depth, (level, origin) in enumerate(zip(summary.result, summary.origins, strict=True)):
            if level not in known:
                known[level] = self.objects.new(origin, depth=depth)
            if outer is not None:
                self.objects.put(outer, known[level])
            outer = known[level]
        return known[summary.result[0]]


_KINDS: dict[type[ast.expr], Callable[..., int | None]] = {
    ast.Name: Values._name,
    ast.Subscript: Values._subscript,
    ast.Attribute: Values._attribute,
    ast.Call: Values._call,
    ast.List: Values._display,
    ast.Tuple: Values._display,
    ast.Dict: Values._dict,
    ast.ListComp: Values._comprehension,
    ast.DictComp: Values._comprehension,
    ast.GeneratorExp: Values._comprehension,
    ast.BinOp: Values._binop,
    ast.IfExp: Values._ifexp,
    ast.BoolOp: Values._boolop,
    ast.Compare: Values._compare,
}
