"""The names that the language provides, and how many arguments each takes."""

from __future__ import annotations

from contracts.language.hints import Hint

ANY_NUMBER = 250

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
ITERATING = frozenset({"all", "any", "dict", "list", "sorted", "sum", "tuple"})
"""Builtins whose one argument is walked; `max` and `min` too when they have one argument."""
LAZY = {"enumerate": (1, 2), "range": (1, 3), "reversed": (1, 1), "zip": (1, 16)}
"""Only where something is walked: after `in` of a loop, or inside list(...), sum(...) and the like."""
VIEWS = frozenset({"keys", "values", "items"})

HOST: dict[str, tuple[int, int]] = {
    "call_init": (3, 3),
    "call_migrate": (3, 3),
    "compile_contract": (1, 1),
    "encode": (1, 1),
    "merkle_verify": (5, 5),
    "sha256": (1, 1),
    "verify_signature": (3, 3),
}
STATIC = {("bytes", "fromhex"): (1, 1), ("int", "from_bytes"): (2, 2)}

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
DECLARATIONS = frozenset({"Map", "Var", "Event", "Contract", "Error"})
KINDS = frozenset({"init", "export", "view", "migrate"})
RESERVED = DECLARATIONS | frozenset(HOST) | {"ctx", "require", "isinstance"}
"""Names that a contract may not give to anything of its own."""

REPLACED: dict[str, str] = {
    "print": "an Event, or a result",
    "set": "a list, or a dict of True",
    "frozenset": "a tuple",
    "float": "int, in a smaller unit",
    "round": "integer arithmetic: (x + half) // unit",
    "pow": "the ** operator",
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
}
