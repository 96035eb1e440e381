"""Lowering of expressions: names are resolved, calls are bound, and what is not a value is refused."""

from __future__ import annotations

import ast

from chain.primitives.values import encode_value
from contracts.language.front.binding import check_count, check_fit
from contracts.language.front.checker import REFERENCE
from contracts.language.front.declarations import Constant, Declarations
from contracts.language.front.known import Known, parts_known, record_in
from contracts.language.front.lower_calls import TYPES, lower_call, lower_lazy
from contracts.language.front.refusals import Refusal
from contracts.language.front.scope import Scope, check_new_name, linked_name
from contracts.language.front.suggestions import near_ones, unknown_member, unknown_name
from contracts.language.hints import ANY, Hint, parts_of
from contracts.language.ir import Node
from contracts.language.vocabulary import BUILTINS, CONTEXT, KEYS, LAZY, REPLACED, REPLACED_CONTEXT, VIEWS

BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.LShift: "<<", ast.RShift: ">>", ast.BitOr: "|", ast.BitAnd: "&", ast.BitXor: "^",
}  # fmt: skip
UNARY: dict[type[ast.unaryop], str] = {ast.USub: "-", ast.UAdd: "+", ast.Invert: "~"}
COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.In: "in", ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip


FIELDS_SHOWN = 6
"""Fields of a record that the refusal of a misspelt one names when none is like it."""


class Expressions:
    """The lowering of the expressions of one function, or of one constant."""

    def __init__(self, names: Declarations, scope: Scope) -> None:
        """Resolve names first among the locals, then among the contract's declarations."""
        self.names = names
        self.scope = scope
        self.known = Known(names, scope)

    def expr(self, node: ast.expr) -> Node:
        """Return the IR of an expression that must be a value."""
        method = getattr(self, "_" + type(node).__name__.lower(), None)
        if method is None:
            reason = f"{type(node).__name__} is not in the language here"
            raise Refusal(node, "NOT_IN_LANGUAGE", reason, REFERENCE)
        lowered: Node = method(node)
        self.names.spend(node, lowered)
        return lowered

    def iterable(self, node: ast.expr) -> Node:
        """Return the IR of something that is walked: a value, range(…), enumerate(…), d.items() …"""
        if isinstance(node, ast.Call):
            func = node.func
            if isinstance(func, ast.Name) and func.id in LAZY and self.scope.find(func.id) is None:
                return lower_lazy(self, node, func.id)
            if isinstance(func, ast.Attribute) and func.attr in VIEWS and not self._is_map(func.value):
                check_count(node, func.attr, 0, 0)
                return ("entries", func.attr, self.readonly(func.value))
        if isinstance(node, ast.GeneratorExp):
            return self._generator(node)
        return self.readonly(node)

    def readonly(self, node: ast.expr) -> Node:
        """Return the IR of a value that is only looked at, so a constant table need not be copied."""
        if isinstance(node, ast.Name) and self.scope.find(node.id) is None:
            constant = self.names.constants.get(node.id)
            return self._table_of(constant) or self.expr(node)
        dotted = linked_name(self.names, self.scope, node)
        return (dotted and self._table_of(self.names.constants.get(dotted))) or self.expr(node)

    def _table_of(self, constant: Constant | None) -> Node | None:
        table = constant is not None and constant.mutable and constant.flat
        return ("table", constant.node[1]) if constant is not None and table else None

    def _constant(self, node: ast.Constant) -> Node:
        if node.value is Ellipsis:
            raise Refusal(node, "NOT_IN_LANGUAGE", "... is not in the language", "pass")
        return ("const", encode_value(node.value))

    def _name(self, node: ast.Name) -> Node:
        local = self.scope.find(node.id)
        if local is not None:
            if self.scope.known(node.id)[0] == "interface":
                reason = f"{node.id} is a contract, not a value"
                raise Refusal(node, "NOT_A_VALUE", reason, f"{node.id}.method(…)")
            return ("local", local[0], local[1])
        constant = self.names.constants.get(node.id)
        if constant is not None:
            return constant.node
        raise self._not_a_value(node)

    def _not_a_value(self, node: ast.Name) -> Refusal:
        kind = self.names.kind_of(node.id)
        if kind == "a function" or node.id in BUILTINS:
            reason = f"{node.id} is a function, and functions are not values"
            call = f"call it: {node.id}(…)"
            type_test = f"; to test a type: isinstance(value, {node.id})" if node.id in TYPES else ""
            return Refusal(node, "FUNCTION_VALUE", reason, call + type_test)
        if kind:
            instead = {
                "a Map": f"{node.id}[key]",
                "a Var": f"{node.id}.get()",
                "an Error": f"raise {node.id}",
                "an Event": f"{node.id}(field=…)",
                "a Contract": f"{node.id}.method(…)",
                "a Library": f"{node.id}.function(…)",
                "a record": f"{node.id}(field=…)",
                "an interface": f"name: {node.id} = Contract(…), then name.method(…)",
            }
            return Refusal(node, "NOT_A_VALUE", f"{node.id} is {kind}, not a value", instead[kind])
        if node.id == "date":
            return Refusal(
                node, "NOT_A_VALUE", "date is not a value", "date.parse(text), date.iso(ms) and the like"
            )
        if node.id == "ctx":
            return Refusal(node, "NOT_A_VALUE", "ctx is not a value", f"ctx.{', ctx.'.join(CONTEXT)}")
        return unknown_name(self.names, node, node.id, [*self.scope.slots, *self.names.all_names()])

    def _attribute(self, node: ast.Attribute) -> Node:
        if isinstance(node.value, ast.Name) and node.value.id == "ctx":
            if node.attr in CONTEXT:
                return ("ctx", node.attr)
            known = REPLACED_CONTEXT.get(node.attr) or ", ".join(f"ctx.{name}" for name in CONTEXT)
            raise Refusal(node, "UNKNOWN_CONTEXT", f"ctx.{node.attr} does not exist", known)
        dotted = linked_name(self.names, self.scope, node)
        if dotted is not None:
            return self._linked(node, dotted)
        base = node.value.id if isinstance(node.value, ast.Name) else ""
        if base in REPLACED and self.scope.find(base) is None and not self.names.kind_of(base):
            raise Refusal(node, "NOT_IN_LANGUAGE", f"{base} is not in the language", REPLACED[base])
        _, hint = self._record_field(node)
        self.names.field_hints[id(node)] = hint
        return ("field", self.readonly(node.value), node.attr)

    def _linked(self, node: ast.Attribute, dotted: str) -> Node:
        """A constant of a library."""
        constant = self.names.constants.get(dotted)
        if constant is not None:
            return constant.node
        if dotted in self.names.linked:
            reason = f"{dotted} is a function, and functions are not values"
            raise Refusal(node, "FUNCTION_VALUE", reason, f"call it: {dotted}(…)")
        if dotted in self.names.records and not node.attr.startswith("_"):
            raise Refusal(node, "NOT_A_VALUE", f"{dotted} is a record, not a value", f"{dotted}(field=…)")
        raise unknown_member(self.names, node, dotted)

    def _record_field(self, node: ast.Attribute) -> tuple[str, Hint]:
        """Return the record that is asked for a field, and the field's hint."""
        held = self.known.of(node.value)
        name = record_in(held)
        if name is None:
            raise self._no_field(node, held)
        record = self.names.records[name]
        hint = record.hint_of(node.attr)
        if hint is None:
            fields = [field for field, _ in record.fields]
            near = near_ones(self.names, node.attr, fields) or fields[:FIELDS_SHOWN]
            instead = ", ".join(f".{field}" for field in near)
            raise Refusal(node, "UNKNOWN_FIELD", f"{name} has no field {node.attr}", instead)
        return name, hint

    def _no_field(self, node: ast.Attribute, held: Hint) -> Refusal:
        attr = node.attr
        fitting = next((record.name for record in self.names.records.values() if record.hint_of(attr)), None)
        what = node.value.id if isinstance(node.value, ast.Name) else "name"
        instead = f'value["{attr}"] for a dict, or call a method'
        if fitting is not None and held == ANY:
            instead = f"say what it is: {what}: {fitting} = …"
        return Refusal(node, "ATTRIBUTE", f"values have no attributes such as .{attr}", instead)

    def field_place(self, node: ast.Attribute, given: Hint) -> Node:
        """Return the IR of a field that is set; `given` is what is known of the new value."""
        if isinstance(node.value, ast.Name) and node.value.id == "ctx":
            raise Refusal(node, "TARGET", "ctx cannot be changed", "a Var or a Map")
        dotted = linked_name(self.names, self.scope, node)
        if dotted is not None:
            raise Refusal(node, "TARGET", f"{dotted} is the library's, and cannot be changed", "a local")
        name, hint = self._record_field(node)
        self.names.field_hints[id(node)] = hint
        check_fit(node, f"{name}.{node.attr}", given, hint)
        return ("field", self.expr(node.value), node.attr, name)

    def check_subscript(self, node: ast.Subscript) -> None:
        """Refuse `record["field"]`: a field is read and set by its name."""
        name = record_in(self.known.of(node.value))
        if name is not None and len(parts_of(self.known.of(node.value))) == 1:
            key = node.slice.value if isinstance(node.slice, ast.Constant) else None
            reason = f"{name} is a record, whose fields have names"
            raise Refusal(node, "RECORD", reason, f"value.{key if isinstance(key, str) else 'field'}")

    def _call(self, node: ast.Call) -> Node:
        return lower_call(self, node)

    def _list(self, node: ast.List) -> Node:
        return self._display("list", node.elts)

    def _tuple(self, node: ast.Tuple) -> Node:
        return self._display("tuple", node.elts)

    def _display(self, kind: str, items: list[ast.expr]) -> Node:
        if not any(isinstance(item, ast.Starred) for item in items):
            return (kind, *[self.expr(item) for item in items])
        parts = [
            ("star", self.iterable(item.value)) if isinstance(item, ast.Starred) else self.expr(item)
            for item in items
        ]
        return ("spread", kind, *parts)

    def _starred(self, node: ast.Starred) -> Node:
        reason = "a star stands in a list, a tuple or, twice, in a dict alone"
        raise Refusal(node, "STAR", reason, "[*one, *other], or each item by its name")

    def _lambda(self, node: ast.Lambda) -> Node:
        raise Refusal(node, "LAMBDA", "a lambda is the key= of sorted, min, max or sort alone", "a def")

    def _generatorexp(self, node: ast.GeneratorExp) -> Node:
        reason = "a generator is not a value: it stands where it is walked, as in sum(x for x in xs)"
        raise Refusal(node, "GENERATOR", reason, "a list comprehension: [x for x in xs]")

    def _dict(self, node: ast.Dict) -> Node:
        if None not in node.keys:
            return (
                "dict",
                *[self._entry(key, value) for key, value in zip(node.keys, node.values, strict=True)],
            )
        parts = [
            ("star", self.readonly(value)) if key is None else self._entry(key, value)
            for key, value in zip(node.keys, node.values, strict=True)
        ]
        return ("spread_dict", *parts)

    def _entry(self, key: ast.expr | None, value: ast.expr) -> Node:
        assert key is not None  # a ** is told apart by the caller
        if (instead := _no_key(key)) is not None:
            raise Refusal(key, "DICT_KEY", "the keys of a dict are texts, or ints in 0..2^60-1", instead)
        return self.expr(key), self.expr(value)

    def _listcomp(self, node: ast.ListComp) -> Node:
        with self.scope.comprehension():
            clauses = self._clauses(node.generators)
            made = self.expr(node.elt)
            self.known.note(node, ("list", self.known.of(node.elt)))
            return ("listcomp", clauses, made)

    def _dictcomp(self, node: ast.DictComp) -> Node:
        with self.scope.comprehension():
            clauses = self._clauses(node.generators)
            key, value = self.expr(node.key), self.expr(node.value)
            self.known.note(node, ("dict", self.known.of(node.key), self.known.of(node.value)))
            return ("dictcomp", clauses, key, value)

    def _generator(self, node: ast.GeneratorExp) -> Node:
        with self.scope.comprehension():
            clauses = self._clauses(node.generators)
            made = self.expr(node.elt)
            self.known.note(node, ("list", self.known.of(node.elt)))
            return ("generator", clauses, made)

    def key_function(self, node: ast.expr, what: str, item: Hint) -> Node:
        """Return the IR of a `key=`: a function of the contract, a builtin, or a lambda of one argument.

        `item` is what is known of its argument.
        """
        if isinstance(node, ast.Lambda):
            return self._key_lambda(node, item)
        signature = self.names.linked.get(linked_name(self.names, self.scope, node) or "")
        if isinstance(node, ast.Name) and self.scope.find(node.id) is None:
            signature = self.names.functions.get(node.id)
        if signature is not None and not signature.once and signature.takes(1):
            self.scope.called.update({signature.name} & self.names.functions.keys())
            return ("key_call", signature.name)
        if isinstance(node, ast.Name) and self.scope.find(node.id) is None and node.id in KEYS:
            return ("key_builtin", node.id)
        reason = f"the key of {what} is a function of one argument"
        known = f"a function of this contract, a lambda, or one of {', '.join(sorted(KEYS))}"
        raise Refusal(node, "ARGUMENTS", reason, known)

    def _key_lambda(self, node: ast.Lambda, item: Hint) -> Node:
        args = node.args
        extra = args.vararg or args.kwarg or args.kwonlyargs or args.posonlyargs or args.defaults
        if len(args.args) != 1 or extra:
            raise Refusal(node, "LAMBDA", "a key takes one argument", "lambda item: item[0]")
        with self.scope.comprehension():
            check_new_name(self.names, args.args[0], args.args[0].arg)
            slot = self.scope.fresh(args.args[0].arg)
            self.scope.learn(args.args[0].arg, item)
            return ("key_lambda", slot, self.expr(node.body))

    def _clauses(self, generators: list[ast.comprehension]) -> Node:
        clauses = []
        for clause in generators:
            walked = self.iterable(clause.iter)
            target = self._inner_target(clause.target, self.known.items(clause.iter))
            clauses.append((target, walked, tuple([self.expr(test) for test in clause.ifs])))
        return tuple(clauses)

    def _inner_target(self, node: ast.expr, known: Hint) -> Node:
        if isinstance(node, ast.Name):
            check_new_name(self.names, node, node.id)
            slot = self.scope.fresh(node.id)
            self.scope.learn(node.id, known)
            return ("local", slot)
        if isinstance(node, (ast.Tuple, ast.List)):
            each = parts_known(known, len(node.elts))
            parts = [self._inner_target(item, part) for item, part in zip(node.elts, each, strict=True)]
            return ("unpack", *parts)
        if isinstance(node, ast.Starred):
            return self._starred(node)
        reason = "a comprehension's variable is a name, or a tuple of names"
        raise Refusal(node, "TARGET", reason, "[… for name in items]")

    def _boolop(self, node: ast.BoolOp) -> Node:
        return ("and" if isinstance(node.op, ast.And) else "or", *[self.expr(item) for item in node.values])

    def _unaryop(self, node: ast.UnaryOp) -> Node:
        if isinstance(node.op, ast.Not):
            return ("not", self.expr(node.operand))
        inner = node.operand
        if isinstance(node.op, ast.USub) and isinstance(inner, ast.Constant) and type(inner.value) is int:
            return ("const", encode_value(-inner.value))
        return ("unary", UNARY[type(node.op)], self.expr(inner))

    def _binop(self, node: ast.BinOp) -> Node:
        text = isinstance(node.left, ast.JoinedStr) or (
            isinstance(node.left, ast.Constant) and isinstance(node.left.value, (str, bytes))
        )
        if isinstance(node.op, ast.Mod) and text:
            raise Refusal(node, "PERCENT_FORMAT", "% does not format text", 'an f-string: f"{name}"')
        return ("binary", BINARY[type(node.op)], self.expr(node.left), self.expr(node.right))

    def _ifexp(self, node: ast.IfExp) -> Node:
        return ("choose", self.expr(node.test), self.expr(node.body), self.expr(node.orelse))

    def _compare(self, node: ast.Compare) -> Node:
        left, first = node.left, None
        if isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id == "type":
            first = self.expr(left)  # which says what to write; the type on the other side is no second fault
        parts: list[Node] = []
        for operator, right in zip(node.ops, node.comparators, strict=True):
            symbol = COMPARE[type(operator)]
            if symbol in ("is", "is not") and not (isinstance(right, ast.Constant) and right.value is None):
                raise Refusal(right, "IS", "`is` compares with None only", "==")
            walked = symbol in ("in", "not in")
            held = self._held(right) if walked else self.expr(right)
            if held[0] == "map" and len(node.ops) > 1:
                raise Refusal(
                    node, "MAP_CHAIN", "a Map inside a chained comparison", "two comparisons and `and`"
                )
            parts.append((symbol, held))
        first = first or self.expr(left)  # once: what is lowered twice doubles with each level
        if len(parts) == 1:
            return ("compare", parts[0][0], first, parts[0][1])
        return ("chain", first, *parts)

    def _is_map(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self.names.maps and self.scope.find(node.id) is None

    def _held(self, node: ast.expr) -> Node:
        if isinstance(node, ast.Name) and self._is_map(node):
            return ("map", node.id)
        return self.readonly(node)

    def _joinedstr(self, node: ast.JoinedStr) -> Node:
        """Join neighbouring plain parts and drop empty ones: parsers differ in how they cut them."""
        parts: list[Node] = []
        plain = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                plain += str(part.value)
            elif isinstance(part, ast.FormattedValue):
                parts += [("const", encode_value(plain))] if plain else []
                parts.append(self._field(part))
                plain = ""
        parts += [("const", encode_value(plain))] if plain else []
        return ("format", *parts)

    def _field(self, part: ast.FormattedValue) -> Node:
        inner = self.expr(part.value)
        if not isinstance(part.format_spec, ast.JoinedStr):
            return inner
        spec = "".join(
            [str(piece.value) for piece in part.format_spec.values if isinstance(piece, ast.Constant)]
        )
        return ("spec", inner, spec) if spec else inner

    def _subscript(self, node: ast.Subscript) -> Node:
        base = node.value
        if isinstance(base, ast.Name) and base.id in self.names.maps and self.scope.find(base.id) is None:
            return ("map_get", base.id, self.map_key(node))
        if isinstance(node.slice, ast.Slice):
            cut = node.slice
            bounds = [
                ("none",) if part is None else self.expr(part) for part in (cut.lower, cut.upper, cut.step)
            ]
            return ("slice", self.readonly(base), *bounds)
        self.check_subscript(node)
        return ("item", self.readonly(base), self.expr(node.slice))

    def map_key(self, node: ast.Subscript) -> Node:
        """Return the IR of the key in `m[key]`."""
        if isinstance(node.slice, ast.Slice):
            raise Refusal(node, "MAP_SLICE", "a Map has single entries, not slices", "m[key]")
        return self.expr(node.slice)


def _no_key(node: ast.expr) -> str | None:
    """Return what to write instead of a literal that is no key of a dict; None when it may be one."""
    if isinstance(node, ast.Tuple):
        return 'one text, f"{a}/{b}"; or a Map, whose keys may be tuples'
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and isinstance(node.operand, ast.Constant)
    ):
        return "str(number)"
    if isinstance(node, ast.Constant):
        kinds = {bytes: "key.hex()", bool: "1 and 0, or texts", type(None): 'a text, such as ""'}
        return kinds.get(type(node.value))
    return None
