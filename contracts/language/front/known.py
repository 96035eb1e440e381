"""Type inference, as far as it goes: what hints and displays tell of an expression before it runs.

Enough to find the fields of records and the methods of interfaces, and to refuse what can never fit. Whatever
is not known is ANY; what is known is a promise of the source, which the interpreter checks where it matters.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

from contracts.language.front.declarations import Declarations
from contracts.language.front.scope import Scope, linked_name
from contracts.language.hints import ANY, HEADS, KNOWN_PARTS_MAX, Hint, bounded, either, parts_of
from contracts.language.vocabulary import CONTEXT

NONE_HINT: Hint = ("none",)
INT: Hint = ("int",)
STR: Hint = ("str",)
BOOL: Hint = ("bool",)
_CONSTANTS: dict[type, Hint] = {int: INT, str: STR, bytes: ("bytes",), bool: BOOL, type(None): NONE_HINT}
_BUILTINS: dict[str, Hint] = {
    "abs": INT, "all": BOOL, "any": BOOL, "bool": BOOL, "chr": STR, "int": INT, "isinstance": BOOL,
    "len": INT, "ord": INT, "sha256": ("bytes",), "encode": ("bytes",), "str": STR, "sum": INT,
}  # fmt: skip
_LISTS = frozenset({"list", "sorted"})


def record_in(hint: Hint) -> str | None:
    """Return the one record that a value of this hint may be, whatever else it may be."""
    names = [str(part[1]) for part in parts_of(hint) if part[0] == "record"]
    return names[0] if len(names) == 1 else None


def never_fits(given: Hint, wanted: Hint) -> bool:
    """Tell whether no value of one hint is of another, by their outermost types and the names of records."""
    left, right = parts_of(given), parts_of(wanted)
    if ANY in left or ANY in right:
        return False
    ours, theirs = _kinds(left), _kinds(right)
    met = ours.keys() & theirs.keys()
    return not any(None in ours[kind] | theirs[kind] or ours[kind] & theirs[kind] for kind in met)


def _kinds(parts: tuple[Hint, ...]) -> dict[str, set[str | None]]:
    """Return the types that alternatives have, and of each the records; None stands for no certain one."""
    found: dict[str, set[str | None]] = {}
    for part in parts:
        name = str(part[1]) if part[0] == "record" else None
        found.setdefault(HEADS.get(part[0], str(part[0])), set()).add(name)
    return found


def parts_known(hint: Hint, count: int) -> list[Hint]:
    """Return what is known of each item of a value that is unpacked into so many."""
    if hint[0] == "tuple" and len(hint) == count + 1:
        return list(hint[1:])
    return [tuple(hint[1]) if hint[0] in ("list", "rest", "dict") else ANY] * count


class Known:
    """The inferred types of the expressions of one function."""

    def __init__(self, names: Declarations, scope: Scope) -> None:
        """Look among the function's locals, then among the contract's declarations."""
        self.names = names
        self.scope = scope
        self._noted: dict[int, Hint] = {}

    def note(self, node: ast.expr, hint: Hint) -> None:
        """Remember what a comprehension gives, whose variables are gone when it is asked about."""
        self._noted[id(node)] = bounded(hint)

    def of(self, node: ast.expr) -> Hint:
        """Return what is known of a value."""
        noted = self._noted.get(id(node))
        if noted is not None:
            return noted
        look = _LOOKS.get(type(node))
        return ANY if look is None else look(self, node)

    def items(self, node: ast.expr) -> Hint:
        """Return what is known of each item of what is walked."""
        if isinstance(node, ast.Call):
            found = self._lazy(node)
            if found is not None:
                return found
        return self._item(self.of(node))

    def _item(self, hint: Hint) -> Hint:
        if hint[0] in ("list", "rest", "dict"):
            return tuple(hint[1])
        if hint[0] == "str":
            return STR
        if hint[0] == "tuple" and 1 < len(hint) <= KNOWN_PARTS_MAX:
            found = hint[1]
            for part in hint[2:]:
                found = either(found, part)
            return tuple(found)
        return ANY

    def _lazy(self, node: ast.Call) -> Hint | None:
        func, given = node.func, node.args
        if isinstance(func, ast.Name) and self.scope.find(func.id) is None:
            if func.id == "range":
                return INT
            if func.id == "enumerate" and given:
                return bounded(("tuple", INT, self.items(given[0])))
            if func.id == "zip":
                return bounded(("tuple", *[self.items(part) for part in given]))
            if func.id == "reversed" and given:
                return self.items(given[0])
        if isinstance(func, ast.Attribute) and func.attr in ("keys", "values", "items"):
            held = self.of(func.value)
            if held[0] != "dict":
                return ANY
            key, value = held[1:]
            pair = bounded(("tuple", key, value))
            return pair if func.attr == "items" else tuple(key if func.attr == "keys" else value)
        return None

    def _constant(self, node: ast.Constant) -> Hint:
        return _CONSTANTS.get(type(node.value), ANY)

    def _name(self, node: ast.Name) -> Hint:
        if self.scope.find(node.id) is not None:
            return self.scope.known(node.id)
        constant = self.names.constants.get(node.id)
        return ANY if constant is None else constant.hint

    def _attribute(self, node: ast.Attribute) -> Hint:
        base = node.value
        if isinstance(base, ast.Name) and base.id == "ctx" and self.scope.find("ctx") is None:
            return CONTEXT.get(node.attr, ANY)
        dotted = linked_name(self.names, self.scope, node)
        if dotted is not None:
            return self.names.constants[dotted].hint if dotted in self.names.constants else ANY
        record = record_in(self.of(base))
        return (record and self.names.records[record].hint_of(node.attr)) or ANY

    def _subscript(self, node: ast.Subscript) -> Hint:
        base = node.value
        if isinstance(base, ast.Name) and self.scope.find(base.id) is None and base.id in self.names.maps:
            return self.names.maps[base.id][1]
        held = self.of(base)
        if isinstance(node.slice, ast.Slice):
            return held if held[0] in ("list", "rest", "str", "bytes") else ANY
        if held[0] == "dict":
            return tuple(held[2])
        if held[0] == "tuple":
            place = node.slice.value if isinstance(node.slice, ast.Constant) else None
            if type(place) is int and 0 <= place < len(held) - 1:
                return tuple(held[1 + place])
        return self._item(held) if held[0] in ("list", "rest", "str") else ANY

    def _display(self, node: ast.List) -> Hint:
        if not node.elts or any(isinstance(item, ast.Starred) for item in node.elts):
            return ("list", ANY)
        return bounded(("list", self._all(node.elts)))

    def _tuple(self, node: ast.Tuple) -> Hint:
        if any(isinstance(item, ast.Starred) for item in node.elts):
            return ("rest", ANY)
        return bounded(("tuple", *[self.of(item) for item in node.elts]))

    def _dict(self, node: ast.Dict) -> Hint:
        known = None not in node.keys and node.values
        return bounded(("dict", ANY, self._all(node.values) if known else ANY))

    def _all(self, nodes: list[ast.expr]) -> Hint:
        found = last = self.of(nodes[0])
        for node in nodes[1:]:
            more = self.of(node)
            if more is not last:
                found, last = either(found, more), more
        return found

    def _either(self, node: ast.IfExp | ast.BoolOp) -> Hint:
        return self._all([node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values)

    def _truth(self, _: ast.expr) -> Hint:
        return BOOL

    def _text(self, _: ast.expr) -> Hint:
        return STR

    # --- calls --------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Hint:
        func = node.func
        if isinstance(func, ast.Attribute):
            return self._method(node, func)
        if not isinstance(func, ast.Name) or self.scope.find(func.id) is not None:
            return ANY
        name = func.id
        if name in self.names.functions:
            return self.names.functions[name].returns
        if name in self.names.records:
            return ("record", name)
        if name in _LISTS:
            return bounded(("list", self.items(node.args[0]) if node.args else ANY))
        if name in ("max", "min") and len(node.args) == 1 and not self._default(node):
            return self.items(node.args[0])
        return _BUILTINS.get(name, ANY)

    def _default(self, node: ast.Call) -> bool:
        return any(keyword.arg == "default" for keyword in node.keywords)

    def _method(self, node: ast.Call, func: ast.Attribute) -> Hint:
        base, name = func.value, func.attr
        if isinstance(base, ast.Name) and self.scope.find(base.id) is None:
            found = self._declared(node, base.id, name)
            if found is not None:
                return found
        held = self.of(base)
        if held[0] == "interface":
            method = self.names.interfaces[held[1]].methods.get(name)
            return ANY if method is None else method.returns
        if name == "copy":
            return held
        if name in ("get", "pop", "setdefault") and held[0] == "dict":
            return self._found(node, tuple(held[2]), 1, missing=name == "get")
        return self._item(held) if name == "pop" and held[0] == "list" else ANY

    def _declared(self, node: ast.Call, owner: str, name: str) -> Hint | None:
        """Return what a method of a declared name gives; None when the name is a plain value."""
        names = self.names
        if owner in names.libraries:
            dotted = f"{owner}.{name}"
            if dotted in names.records:
                return ("record", dotted)
            return names.linked[dotted].returns if dotted in names.linked else ANY
        if owner in names.maps:
            key, value = names.maps[owner]
            return ("list", key) if name == "page" else self._found(node, value, 1, missing=True)
        if owner in names.variables:
            return names.variables[owner][0] if name == "get" else NONE_HINT
        if owner in names.seen_as:
            method = names.interfaces[names.seen_as[owner]].methods.get(name)
            return ANY if method is None else method.returns
        return None

    def _found(self, node: ast.Call, value: Hint, place: int, *, missing: bool) -> Hint:
        """Return what a search gives: a value, or what stands at `place` of the arguments, or None."""
        if len(node.args) > place:
            return either(value, self.of(node.args[place]))
        return either(value, NONE_HINT) if missing else value


_LOOKS: dict[type[ast.expr], Callable[..., Hint]] = {
    ast.Constant: Known._constant,
    ast.Name: Known._name,
    ast.Attribute: Known._attribute,
    ast.Subscript: Known._subscript,
    ast.Call: Known._call,
    ast.List: Known._display,
    ast.Tuple: Known._tuple,
    ast.Dict: Known._dict,
    ast.IfExp: Known._either,
    ast.BoolOp: Known._either,
    ast.Compare: Known._truth,
    ast.JoinedStr: Known._text,
}
