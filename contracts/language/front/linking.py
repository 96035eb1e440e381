"""Linking: a contract gets the functions, records and constants of a library, each under `alias.name`."""

from __future__ import annotations

from dataclasses import replace

from contracts.language.folding import Folder
from contracts.language.front.declarations import Declarations, Exports
from contracts.language.hints import Hint
from contracts.language.ir import Node
from contracts.language.records import record_of


def link(names: Declarations, alias: str, library: Exports, folder: Folder) -> None:
    """Let a contract use what a library has, each under `alias.name`, and tell the folder of it."""
    names.libraries[alias] = library
    for name, record in library.records.items():
        shape = f"{alias}.{name}", tuple([_qualified_field(part, alias) for part in record.shape()[1]])
        names.records[shape[0]] = record_of(shape, names.records)
        folder.define(names.records[shape[0]])
    for name, signature in library.signatures.items():
        params = tuple([(param, qualified(hint, alias)) for param, hint in signature.params])
        names.linked[f"{alias}.{name}"] = replace(
            signature, name=f"{alias}.{name}", params=params, returns=qualified(signature.returns, alias)
        )
    for name, constant in library.constants.items():
        node = constant.node
        if node[0] == "global":
            names.makers.append(("linked", alias, node[1]))
            folder.link(alias, node[1])
            node = ("global", len(names.makers) - 1)
        hint = qualified(constant.hint, alias)
        names.constants[f"{alias}.{name}"] = replace(constant, node=node, hint=hint)
    names.summaries.update({f"{alias}.{name}": summary for name, summary in library.summaries.items()})


def _qualified_field(part: Node, alias: str) -> Node:
    return (part[0], qualified(part[1], alias), *part[2:])


def qualified(hint: Hint, alias: str) -> Hint:
    """Return a hint of a library as the contract that calls it `alias` knows it."""
    if hint[0] == "record":
        return ("record", f"{alias}.{hint[1]}")
    return (hint[0], *[qualified(part, alias) for part in hint[1:]])
