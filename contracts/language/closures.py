"""The table of builders, and what it makes of a whole program."""

from __future__ import annotations

from collections.abc import Mapping

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
from contracts.language.builder import Build, Builder, Function, Parts, Watch, scratch_machine
from contracts.language.ir import Node, frames
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


def build_functions(program: Node, watch: Watch | None = None) -> dict[str, Function]:
    """Turn the IR of a program into its functions, ready to be entered; `watch` is told each line."""
    _, _, constants, records, maps, variables, events, interfaces, definitions = program
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
        parts.add_constant(TABLE, node, scratch)
    functions = {node[1]: _head(node, known) for node in definitions}
    for node in definitions:
        build = Build(TABLE, functions, parts)
        build.watch = watch
        functions[node[1]].body = block(build, node[-1])
    return functions


def _head(node: Node, records: Mapping[str, Record]) -> Function:
    _, name, kind, nested, line, params, returns, slots, body = node
    made = Function(name, kind, nested, line, tuple([param[:2] for param in params]), returns, records)
    made.defaults = {param[0]: decode_stored(param[2][1]) for param in params if len(param) == 3}
    made.padding = [UNSET] * (slots - len(params))
    made.template = [*[made.defaults.get(param, UNSET) for param in made.names], *made.padding]
    made.frames = FRAMES_PER_CALL + frames(body)
    return made
