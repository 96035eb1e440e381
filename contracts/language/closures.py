"""The table of builders, and what it makes of a whole program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chain.primitives.values import decode_stored
from contracts.language import (
    build_calls,
    build_expr,
    build_keyed,
    build_operators,
    build_records,
    build_remote,
    build_state,
    build_walks,
)
from contracts.language.build_stmt import block
from contracts.language.builder import Build, Builder, Function, Global, Parts, Watch, scratch_machine
from contracts.language.ir import Node, frames
from contracts.language.library import Library
from contracts.language.machine import UNSET
from contracts.language.records import Record, record_of

TABLE: dict[str, Builder] = {
    **build_expr.BUILDERS,
    **build_operators.BUILDERS,
    **build_calls.BUILDERS,
    **build_keyed.BUILDERS,
    **build_records.BUILDERS,
    **build_remote.BUILDERS,
    **build_state.BUILDERS,
    **build_walks.BUILDERS,
}
FRAMES_PER_CALL = 6


@dataclass(frozen=True, slots=True)
class Built:
    """What the IR of a program becomes."""

    functions: dict[str, Function]
    constants: list[Global]


def build(program: Node, watch: Watch | None, libraries: Mapping[str, Library]) -> Built:
    """Turn the IR of a program into functions, ready to be entered; `watch` is told each line.

    Of the libraries, by the program's names for them, it takes functions and constants as they are.
    """
    _, _, constants, records, maps, variables, events, interfaces, *_, definitions = program
    known: dict[str, Record] = {}
    for shape in records:
        known[shape[0]] = record_of(shape, known)
    parts = Parts(
        known,
        {name: (key, value) for name, key, value, *_ in maps},
        frozenset([name for name, _, _, *more in maps if more]),
        {name: (hint, default) for name, hint, default in variables},
        dict(events),
        {
            name: {method: (dict(params), returns) for method, params, returns in methods}
            for name, methods in interfaces
        },
    )
    scratch = scratch_machine()
    for node in constants:
        if node[0] == "linked":
            parts.constants.append(libraries[node[1]].made[node[2]])
        else:
            parts.add_constant(TABLE, node, scratch)
    functions = {node[1]: _head(node, known) for node in definitions}
    callable_ = functions | _linked(libraries)
    for node in definitions:
        b = Build(TABLE, callable_, parts)
        b.watch = watch
        functions[node[1]].body = block(b, node[-1])
    return Built(functions, parts.constants)


def _linked(libraries: Mapping[str, Library]) -> dict[str, Function]:
    return {
        f"{alias}.{name}": function
        for alias, library in libraries.items()
        for name, function in library.functions.items()
    }


def _head(node: Node, records: Mapping[str, Record]) -> Function:
    _, name, kind, nested, line, params, returns, slots, body = node
    made = Function(name, kind, nested, line, tuple([param[:2] for param in params]), returns, records)
    made.defaults = {param[0]: decode_stored(param[2][1]) for param in params if len(param) == 3}
    made.padding = [UNSET] * (slots - len(params))
    made.template = [*[made.defaults.get(param, UNSET) for param in made.names], *made.padding]
    made.frames = FRAMES_PER_CALL + frames(body)
    return made
