"""Lowering of calls: functions of the contract, builtins, host functions, methods, events, contracts."""

from __future__ import annotations

import ast
from operator import itemgetter

from chain.primitives.values import encode_value
from contracts.language.front.binding import bound, check_count, check_fit, listed
from contracts.language.front.declarations import Signature
from contracts.language.front.expressions import Lowering
from contracts.language.front.known import record_in
from contracts.language.front.lower_remote import interface_of, is_contract, lower_remote, lower_remote_as
from contracts.language.front.refusals import Refusal, check_code
from contracts.language.front.scope import linked_name
from contracts.language.front.suggestions import near_ones, unknown_member, unknown_name
from contracts.language.hints import ANY
from contracts.language.ir import Node
from contracts.language.records import Record
from contracts.language.vocabulary import (
    BUILTINS,
    DECLARATIONS,
    HOST,
    ITERATING,
    KEYED,
    LAZY,
    METHODS,
    MUTATING,
    REPLACED_METHODS,
    STATIC,
    VIEWS,
)

NONE: Node = ("const", encode_value(None))
NOTHING: Node = ()
"""An argument that is not given."""
TYPES = frozenset({"int", "str", "bytes", "bool", "list", "dict", "tuple"})
PAGE_DEFAULT = 100
"""Keys of a page whose limit is not given."""
_WALKS = frozenset({"page", "keys", "values", "items"})
_MAP_METHODS = {"get": (1, 2)}
_COUNTS: dict[str, tuple[int, int]] = {}
"""Of each method: the least and the most arguments that it takes, of whatever type the receiver is."""
for _methods in METHODS.values():
    for _name, (_least, _most) in _methods.items():
        _fewest, _greatest = _COUNTS.get(_name, (_least, _most))
        _COUNTS[_name] = min(_fewest, _least), max(_greatest, _most)
_UNCHECKED = MUTATING | {"get"}
"""Methods of a dict that a record does not have: they know nothing of fields."""


def lower_call(low: Lowering, node: ast.Call) -> Node:
    """Return the IR of any call."""
    func = node.func
    if isinstance(func, ast.Attribute):
        return _attribute_call(low, node, func)
    if not isinstance(func, ast.Name):
        raise Refusal(func, "FUNCTION_VALUE", "only named functions can be called", "name(…)")
    name = func.id
    if low.scope.find(name) is not None:
        raise Refusal(
            func, "FUNCTION_VALUE", f"{name} is a value here, not a function", "another name for the local"
        )
    if name in low.names.functions:
        return _own_function(low, node, low.names.functions[name])
    if name in low.names.events:
        return _event(low, node, name)
    if name in low.names.records:
        return _construct(low, node, low.names.records[name])
    if name == "require":
        return _require(low, node)
    if name == "isinstance":
        return _isinstance(low, node)
    if name in HOST:
        return ("host", name, *_positional(low, node, name, *HOST[name]))
    if name in BUILTINS:
        return _builtin(low, node, name)
    raise _no_function(low, func, name)


def _no_function(low: Lowering, func: ast.Name, name: str) -> Refusal:
    if name in LAZY:
        instead = f"list({name}(…)), or walk it in a for loop"
        return Refusal(func, "LAZY", f"{name}(…) is not a value, it can only be walked", instead)
    if name in DECLARATIONS:
        instead = f"NAME = {name}(…) at the top level"
        return Refusal(func, "DECLARATION", f"{name} is declared at the top level", instead)
    kind = low.names.kind_of(name)
    if kind == "an interface":
        instead = f"policy: {name} = Contract(name), then policy.method(…)"
        return Refusal(func, "INTERFACE", f"{name} is an interface, which nothing makes", instead)
    if kind:
        instead = "a function, an Event, or a method of what the name stands for"
        return Refusal(func, "NOT_A_FUNCTION", f"{name} is {kind}, it cannot be called", instead)
    return unknown_name(low.names, func, name, [*low.names.functions, *low.names.events])


def _positional(low: Lowering, node: ast.Call, name: str, least: int, most: int) -> list[Node]:
    check_count(node, name, least, most)
    return [low.expr(argument) for argument in node.args]


def lower_lazy(low: Lowering, node: ast.Call, name: str) -> Node:
    """Return the IR of range, enumerate, zip or reversed where it is walked."""
    check_count(node, name, *LAZY[name])
    if name == "range":
        return ("lazy", name, *[low.expr(argument) for argument in node.args])
    if name == "reversed" and isinstance(node.args[0], ast.GeneratorExp):
        reason = "a generator cannot be walked backwards"
        raise Refusal(node.args[0], "GENERATOR", reason, "reversed([x for x in xs])")
    if name == "enumerate":
        start = [low.expr(argument) for argument in node.args[1:]]
        return ("lazy", name, low.iterable(node.args[0]), *start)
    return ("lazy", name, *[low.iterable(argument) for argument in node.args])


def _builtin(low: Lowering, node: ast.Call, name: str) -> Node:
    if name in KEYED and node.keywords:
        return _keyed(low, node, name)
    check_count(node, name, *BUILTINS[name])
    walks = name in ITERATING or (name in ("max", "min") and len(node.args) == 1)
    lower = low.iterable if walks else low.readonly if name == "len" else low.expr
    return ("builtin", name, *[lower(argument) for argument in node.args])


_BY_NAME = {
    "sorted": ("key", "reverse"),
    "sort": ("key", "reverse"),
    "max": ("key", "default"),
    "min": ("key", "default"),
}


def _keyed(
    low: Lowering, node: ast.Call, name: str, receiver: Node | None = None, sorted_one: ast.expr | None = None
) -> Node:
    """Return ("keyed", name, key, reverse or default, arguments…); NOTHING stands for what is not given."""
    given = {str(keyword.arg): keyword.value for keyword in node.keywords}
    if len(given) < len(node.keywords) or not set(given) <= set(_BY_NAME[name]):
        reason = f"{name}() takes {' and '.join(_BY_NAME[name])} by name, each once"
        shape = "" if name == "sort" else "items, "
        raise Refusal(node.keywords[0], "ARGUMENTS", reason, f"{name}({shape}key=…, {_BY_NAME[name][1]}=…)")
    several = name in ("max", "min") and len(node.args) > 1 and "default" not in given
    if len(node.args) != (receiver is None) and not several:
        only = "no argument but these" if receiver is not None else "one thing to walk"
        raise Refusal(
            node, "ARGUMENTS", f"{name}() takes {only}", f"{name}({'items, ' * (receiver is None)}key=…)"
        )
    lower = low.expr if several else low.iterable
    arguments = [receiver] if receiver is not None else [lower(argument) for argument in node.args]
    other = low.expr(given[_BY_NAME[name][1]]) if _BY_NAME[name][1] in given else NOTHING
    if "key" in given:
        walked = sorted_one if sorted_one is not None else None if several else node.args[0]
        item = ANY if walked is None else low.known.items(walked)
        return ("keyed", name, low.key_function(given["key"], f"{name}()", item), other, *arguments)
    if name in ("sorted", "sort"):
        return ("builtin" if name == "sorted" else "method", name, *arguments, other)
    return ("keyed", name, NOTHING, other, *arguments)


def _own_function(low: Lowering, node: ast.Call, signature: Signature) -> Node:
    if signature.once:
        raise Refusal(
            node, "LIFECYCLE_CALL", f"@{signature.kind} runs once, by the lifecycle", "a helper that both use"
        )
    low.scope.called.add(signature.name)
    params, places = signature.params, signature.places
    given = bound(node, signature.name, params, places, signature.defaults)
    return _given("call", signature.name, [(place, low.expr(value)) for place, value in given], len(params))


def _given(kind: str, name: str, given: list[tuple[int, Node]], count: int) -> Node:
    """Return (kind, name, arguments…), or (kind_some, name, places, arguments…) when some are left out.

    What is left out is no part of the call: its defaults stand once, with the function or record. Else a
    source could have every default written out by every call, and pay for neither product.
    """
    given.sort(key=itemgetter(0))
    values = [value for _, value in given]
    if len(given) == count:
        return (kind, name, *values)
    return (f"{kind}_some", name, tuple([place for place, _ in given]), *values)


def _linked_call(low: Lowering, node: ast.Call, func: ast.Attribute, dotted: str) -> Node:
    """A call of a library's function, or a record of it."""
    signature = low.names.linked.get(dotted)
    if signature is None:
        record = None if func.attr.startswith("_") else low.names.records.get(dotted)
        if record is not None:
            return _construct(low, node, record)
        if dotted in low.names.constants:
            reason = f"{dotted} is a constant, it cannot be called"
            raise Refusal(func, "NOT_A_FUNCTION", reason, f"{dotted} alone")
        raise unknown_member(low.names, func, dotted)
    params, given = signature.params, []
    for place, value in bound(node, dotted, params, signature.places, signature.defaults):
        name, hint = params[place]
        given.append((place, low.expr(value)))
        check_fit(value, f"{dotted}(): argument {name}", low.known.of(value), hint)
    return _given("call", dotted, given, len(params))


def _construct(low: Lowering, node: ast.Call, record: Record) -> Node:
    """A record: fields in order or by name; those with a default may be left out."""
    given = []
    for place, value in bound(node, record.name, record.fields, record.places, record.defaults):
        name, hint = record.fields[place]
        given.append((place, low.expr(value)))
        check_fit(value, f"{record.name}.{name}", low.known.of(value), hint)
    return _given("record", record.name, given, len(record.fields))


def _event(low: Lowering, node: ast.Call, name: str) -> Node:
    fields = [field for field, _ in low.names.events[name]]
    shape = f"{name}({listed([f'{field}=…' for field in fields])})"
    if node.args:
        raise Refusal(
            node,
            "ARGUMENTS",
            f"{name}() takes its fields by name",
            shape,
        )
    given = [keyword.arg for keyword in node.keywords]
    if len(given) != len(set(given)) or set(given) != set(fields):
        reason = f"{name}() takes exactly the fields {listed(fields) or '(none)'}"
        raise Refusal(node, "ARGUMENTS", reason, shape)
    pairs = [(str(keyword.arg), low.expr(keyword.value)) for keyword in node.keywords]
    return ("emit", name, *pairs)


def _require(low: Lowering, node: ast.Call) -> Node:
    if node.keywords or len(node.args) != 2:
        raise Refusal(
            node, "ARGUMENTS", "require() takes a condition and a code", 'require(condition, "CODE")'
        )
    code = node.args[1]
    if isinstance(code, ast.Constant):
        check_code(code, code.value)
        return ("require", low.expr(node.args[0]), code.value)
    return ("require_any", low.expr(node.args[0]), low.expr(code))


def _isinstance(low: Lowering, node: ast.Call) -> Node:
    check_count(node, "isinstance", 2, 2)
    wanted = node.args[1]
    parts = wanted.elts if isinstance(wanted, ast.Tuple) else [wanted]
    names = [part.id for part in parts if isinstance(part, ast.Name) and part.id in TYPES]
    if len(names) != len(parts) or not names:
        raise Refusal(wanted, "ARGUMENTS", "isinstance() takes types", ", ".join(sorted(TYPES)))
    return ("isinstance", low.expr(node.args[0]), *names)


def _attribute_call(low: Lowering, node: ast.Call, func: ast.Attribute) -> Node:
    base, name = func.value, func.attr
    dotted = linked_name(low.names, low.scope, func)
    if dotted is not None:
        return _linked_call(low, node, func, dotted)
    if isinstance(base, ast.Name) and low.scope.find(base.id) is None:
        special = _special(low, node, base, name)
        if special is not None:
            return special
    if isinstance(base, ast.Call) and is_contract(base):
        return lower_remote(low, node, _positional(low, base, "Contract", 1, 1)[0], name)
    if isinstance(base, ast.Name) and (interface := interface_of(low, base.id)) is not None:
        return lower_remote_as(low, node, base.id, interface, name)
    if name in VIEWS:
        raise Refusal(
            func, "LAZY", f".{name}() is not a value, it can only be walked", f"list(value.{name}())"
        )
    if name not in _COUNTS:
        instead = REPLACED_METHODS.get(name) or ", ".join(near_ones(low.names, name, _COUNTS))
        instead = instead or 'the methods of "Statements and expressions" in contracts/README.md'
        raise Refusal(func, "UNKNOWN_METHOD", f"no value has a method {name}", instead)
    record = record_in(low.known.of(base)) if name in _UNCHECKED else None
    if record is not None:
        reason = f"{record} is a record, whose fields have names"
        raise Refusal(func, "RECORD", reason, "value.field, value.field = …")
    receiver = low.expr(base) if name in MUTATING else low.readonly(base)
    if name == "sort" and (node.keywords or node.args):
        return _keyed(low, node, name, receiver, base)
    if name == "join" and len(node.args) == 1 and not node.keywords:
        return ("method", name, receiver, low.iterable(node.args[0]))
    return ("method", name, receiver, *_positional(low, node, name, *_COUNTS[name]))


def _special(low: Lowering, node: ast.Call, base: ast.Name, name: str) -> Node | None:
    """Return the IR of a method on a declared name; None when the base is a plain value."""
    owner, names = base.id, low.names
    if owner in names.maps:
        if name == "page" and owner in names.ordered:
            return _page(low, node, owner)
        if name in _WALKS and owner not in names.ordered:
            reason = f"a Map without an order cannot be walked: .{name}()"
            raise Refusal(
                node, "MAP_METHOD", reason, f"{owner} = Map(…, ordered=True), then {owner}.page(after, limit)"
            )
        if name not in _MAP_METHODS:
            instead = "m[key], m[key] = value, key in m, del m[key], m.get(key, default)"
            instead += ", m.page(after, limit)" if owner in names.ordered else ""
            raise Refusal(node, "MAP_METHOD", f"a Map has no method {name}", instead)
        arguments = _positional(low, node, f"{owner}.get", 1, 2)
        return ("map_find", owner, arguments[0], arguments[1] if len(arguments) == 2 else NONE)
    if owner in names.variables:
        return _variable(low, node, owner, name)
    if owner in names.contracts and owner not in names.seen_as:
        return lower_remote(low, node, ("const", encode_value(names.contracts[owner])), name)
    if (owner, name) in STATIC and not names.kind_of(owner):
        return ("static", owner, name, *_positional(low, node, f"{owner}.{name}", *STATIC[owner, name]))
    if owner == "date" and not names.kind_of(owner):
        known = ", ".join(f"date.{method}" for kind, method in STATIC if kind == "date")
        raise Refusal(node, "UNKNOWN_METHOD", f"date.{name} does not exist", known)
    if owner in TYPES:
        raise Refusal(node, "UNKNOWN_METHOD", f"{owner}.{name} does not exist", "a method of a value")
    return None


def _page(low: Lowering, node: ast.Call, owner: str) -> Node:
    """`m.page(after, limit, prefix)`, each of which may be left out."""
    names = ("after", "limit", "prefix")
    given = dict(zip(names, node.args, strict=False))
    by_name = {str(keyword.arg): keyword.value for keyword in node.keywords}
    twice = len(node.args) > 3 or len(by_name) < len(node.keywords) or given.keys() & by_name.keys()
    if twice or not set(by_name) <= set(names):
        raise Refusal(node, "ARGUMENTS", "page() takes after, limit and prefix", f"{owner}.page(after, 100)")
    given |= by_name
    lowered = {name: low.expr(value) for name, value in given.items()}
    limit = ("const", encode_value(PAGE_DEFAULT))
    return (
        "map_page",
        owner,
        lowered.get("after", NONE),
        lowered.get("limit", limit),
        lowered.get("prefix", NONE),
    )


def _variable(low: Lowering, node: ast.Call, owner: str, name: str) -> Node:
    if name == "get":
        check_count(node, f"{owner}.get", 0, 0)
        return ("var_get", owner)
    if name == "set":
        return ("var_set", owner, _positional(low, node, f"{owner}.set", 1, 1)[0])
    raise Refusal(node, "VAR_METHOD", f"a Var has no method {name}", "v.get() and v.set(value)")
