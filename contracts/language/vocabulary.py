"""The names that the language provides, and how many arguments each takes."""

from __future__ import annotations

import re

from contracts.language.hints import Hint

ANY_NUMBER = 250
FORMAT_SPEC = re.compile(r"(?:[ !$%&(-\[\]-z|~]?[<>^])?[+ ]?0?(?:[1-9][0-9]{0,2})?[,_]?[dxXbos]?")
"""The format of a field: fill and alignment, sign, zeros, width, thousands, kind; no point, so no float."""
FORMATS = "{n:>8} {n:08} {n:+} {n:,} {n:x} {n:b} {text:<20}; for cents {n // 100}.{n % 100:02}"

BUILTINS: dict[str, tuple[int, int]] = {
    "abs": (1, 1),
    "all": (1, 1),
    "any": (1, 1),
    "bool": (0, 1),
    "chr": (1, 1),
    "dict": (0, 1),
    "divmod": (2, 2),
    "int": (1, 1),
    "len": (1, 1),
    "list": (0, 1),
    "max": (1, ANY_NUMBER),
    "min": (1, ANY_NUMBER),
    "ord": (1, 1),
    "sorted": (1, 1),
    "str": (1, 1),
    "sum": (1, 1),
    "tuple": (0, 1),
}
"""Builtins that return a value; `isinstance` and the lazy ones are handled by the lowering."""
KEYED = frozenset({"max", "min", "sorted"})
"""Builtins that take `key=`; the method `sort` does, too."""
KEYS = frozenset({"abs", "bool", "int", "len", "max", "min", "ord", "str", "sum"})
"""Builtins that may be that key."""
PURE = frozenset({"encode", "sha256"})
"""Host functions that a module-level constant may call."""
ITERATING = frozenset({"all", "any", "dict", "list", "sorted", "sum", "tuple"})
"""Builtins whose one argument is walked; `max` and `min` too when they have one argument."""
LAZY = {"enumerate": (1, 2), "range": (1, 3), "reversed": (1, 1), "zip": (1, 16)}
"""Only where something is walked: after `in` of a loop, or inside list(...), sum(...) and the like."""
VIEWS = frozenset({"keys", "values", "items"})

_OF_BOTH: dict[str, tuple[int, int]] = {
    "count": (1, 1),
    "endswith": (1, 1),
    "find": (1, 1),
    "index": (1, 1),
    "join": (1, 1),
    "replace": (2, 3),
    "rfind": (1, 1),
    "startswith": (1, 1),
}
METHODS: dict[str, dict[str, tuple[int, int]]] = {
    "str": {
        "encode": (0, 1),
        "isascii": (0, 0),
        "islower": (0, 0),
        "isupper": (0, 0),
        "lower": (0, 0),
        "partition": (1, 1),
        "removeprefix": (1, 1),
        "removesuffix": (1, 1),
        "split": (0, 2),
        "upper": (0, 0),
        "zfill": (1, 1),
        "isspace": (0, 0),
        "isdigit": (0, 0),
        "isalpha": (0, 0),
        "isalnum": (0, 0),
        "strip": (0, 1),
        "lstrip": (0, 1),
        "rstrip": (0, 1),
        **_OF_BOTH,
    },
    "bytes": {"decode": (0, 1), "hex": (0, 0), **_OF_BOTH},
    "int": {"bit_length": (0, 0), "to_bytes": (2, 2)},
    "tuple": {"index": (1, 1), "count": (1, 1)},
    "list": {
        "append": (1, 1),
        "clear": (0, 0),
        "copy": (0, 0),
        "count": (1, 1),
        "extend": (1, 1),
        "index": (1, 1),
        "insert": (2, 2),
        "pop": (0, 1),
        "remove": (1, 1),
        "reverse": (0, 0),
        "sort": (0, 1),
    },
    "dict": {
        "clear": (0, 0),
        "copy": (0, 0),
        "get": (1, 2),
        "pop": (1, 2),
        "setdefault": (1, 2),
        "update": (1, 1),
    },
}
"""The methods of values: type of the receiver -> name -> (least, most) number of arguments."""
MUTATING = frozenset(
    {"append", "extend", "insert", "pop", "remove", "reverse", "sort", "clear", "setdefault", "update"}
)
"""Methods that change their receiver."""

HOST: dict[str, tuple[int, int]] = {
    "call_init": (3, 3),
    "call_migrate": (3, 3),
    "compile_contract": (1, 1),
    "compile_library": (1, 1),
    "encode": (1, 1),
    "merkle_verify": (5, 5),
    "sha256": (1, 1),
    "trace_page": (4, 4),
    "verify_signature": (3, 3),
}
STATIC = {
    ("bytes", "fromhex"): (1, 1),
    ("date", "add_days"): (2, 2),
    ("date", "add_months"): (2, 2),
    ("date", "day"): (1, 1),
    ("date", "iso"): (1, 1),
    ("date", "parse"): (1, 1),
    ("date", "parts"): (1, 1),
    ("date", "weekday"): (1, 1),
    ("int", "from_bytes"): (2, 2),
}
"""Functions that stand behind a name and a point; a contract's own `date` hides them."""

CONTEXT: dict[str, Hint] = {
    "block_time": ("int",),
    "caller": ("str",),
    "chain_id": ("str",),
    "contract": ("str",),
    "height": ("int",),
    "org": ("str",),
    "origin": ("str",),
    "roles": ("rest", ("str",)),
    "signer": ("str",),
    "tx_id": ("str",),
}
DECLARATIONS = frozenset({"Map", "Var", "Event", "Contract", "Error", "Library"})
KINDS = frozenset({"init", "export", "view", "migrate"})
RESERVED = DECLARATIONS | frozenset(HOST) | {"ctx", "require", "isinstance", "Record", "Protocol"}
"""Names that a contract may not give to anything of its own."""

REPLACED: dict[str, str] = {
    "print": "an Event, or a result",
    "set": "a list, or a dict of True",
    "frozenset": "a tuple",
    "float": "int, in a smaller unit",
    "round": "integer arithmetic: (x + half) // unit",
    "pow": "**, and % for a modulus when the numbers are small",
    "map": "a list comprehension",
    "filter": "a list comprehension with if",
    "type": "isinstance(value, int)",
    "repr": "str(value)",
    "format": "an f-string",
    "hex": "value.hex() of bytes",
    "bytes": 'bytes.fromhex(text), text.encode() or a b"…" literal',
    "hash": "sha256(encode(value))",
    "iter": "a for loop",
    "next": "a for loop",
    "open": "state: a contract reads nothing else",
    "input": "arguments",
    "now": "ctx.block_time",
    "time": "ctx.block_time, in milliseconds",
    "msg": "ctx.caller, ctx.org",
    "block": "ctx.height, ctx.block_time",
    "self": "the names of the top level, without self",
    "bin": "a loop over number % 2 and number // 2",
    "oct": "a loop over number % 8 and number // 8",
    "hasattr": '"key" in value, for a dict',
    "getattr": 'value["key"], or value.get("key")',
    "setattr": 'value["key"] = …',
    "callable": "functions are not values",
    "object": "a dict",
    "complex": "int",
    "bytearray": "bytes, joined with +",
    "memoryview": "a slice of bytes",
    "ascii": "str(value)",
    "vars": "a dict",
    "dir": "the keys of a dict",
    "id": "==",
    "eval": "functions, and values of state",
    "exec": "functions, and values of state",
    "super": "functions",
    "slice": "value[low:high]",
    "Any": "Value",
    "Optional": "T | None",
    "Union": "A | B",
    "List": "list[T]",
    "Dict": "dict[K, V]",
    "Tuple": "tuple[A, B]",
    "Literal": "the type, and a require(…)",
    "Exception": 'Denied = Error("DENIED"), then raise Denied',
    "ValueError": 'Denied = Error("DENIED"), then raise Denied',
    "Decimal": "int, in a smaller unit",
    "datetime": "ctx.block_time, in milliseconds, and date.parse(…), date.iso(…)",
    "timedelta": "date.add_days(ms, n), date.add_months(ms, n)",
}
REPLACED_METHODS: dict[str, str] = {
    "format": "an f-string",
    "splitlines": 'text.split("\\n")',
    "rsplit": "text.split(…), or text.rfind(…) and slices",
    "rpartition": "text.rfind(…) and slices",
    "title": "text[:1].upper() + text[1:].lower(), word by word",
    "capitalize": "text[:1].upper() + text[1:].lower()",
    "swapcase": "text.upper() or text.lower()",
    "casefold": "text.lower()",
    "ljust": 'f"{text:<10}"',
    "rjust": 'f"{text:>10}"',
    "center": 'f"{text:^10}"',
    "rindex": "text.rfind(part)",
    "translate": "text.replace(old, new)",
    "expandtabs": 'text.replace("\\t", " ")',
    "popitem": "take a key of the dict, then value.pop(key)",
    "fromkeys": "{key: value for key in keys}",
    "has_key": "key in value",
    "add": "value.append(item), for a list",
    "discard": "value.remove(item), when it is there",
    "push": "value.append(item)",
    "size": "len(value)",
    "length": "len(value)",
    "isnumeric": "text.isdigit()",
    "isdecimal": "text.isdigit()",
}
REPLACED_CONTEXT: dict[str, str] = {
    "sender": "ctx.caller, or ctx.org for a member",
    "now": "ctx.block_time",
    "time": "ctx.block_time",
    "timestamp": "ctx.block_time",
    "block_number": "ctx.height",
    "block_height": "ctx.height",
    "number": "ctx.height",
    "owner": 'a Var that @init sets: owner = Var(str, "")',
    "this": "ctx.contract",
    "entry": "ctx.origin, for records only",
    "role": '"steward" in ctx.roles',
    "key": "ctx.signer",
    "txid": "ctx.tx_id",
}
REPLACED_TYPES: dict[str, str] = {
    "Any": "Value",
    "object": "Value",
    "Optional": "T | None",
    "Union": "A | B",
    "List": "list[T]",
    "Sequence": "list[T]",
    "Dict": "dict[K, V]",
    "Mapping": "dict[K, V]",
    "Tuple": "tuple[A, B]",
    "Set": "list[T], or dict[T, bool]",
    "set": "list[T], or dict[T, bool]",
    "float": "int, in a smaller unit",
    "Literal": "the type of the values, and a require(…)",
    "Callable": "functions are not values",
    "NoReturn": "None",
}
