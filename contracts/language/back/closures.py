"""The entry of the back end: it makes functions, ready to be entered, of the IR of a whole program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chain.primitives.values import decode_stored
from contracts.language.back.build_stmt import block
from contracts.language.back.builder import Build, Declared, Function, Global, MadeOnce, Watch
from contracts.language.back.constants import ConstantTable
from contracts.language.back.table import TABLE
from contracts.language.ir import Node, frames
from contracts.language.records import record_of
from contracts.language.run.checks import CheckedRecord, CheckedRecords
from contracts.language.run.machine import UNSET
from contracts.language.run.record_checks import checked_record
from contracts.language.run.scratch import scratch_machine

FRAMES_PER_CALL = 6


@dataclass(frozen=True, slots=True)
class Built:
    """The code of a program or library: its functions by name, and its table of constants."""

    functions: dict[str, Function]
    constants: list[Global]


def build(program: Node, watch: Watch | None, libraries: Mapping[str, Built]) -> Built:
    """Turn the IR of a program into functions, ready to be entered; `watch` is told each line.

    Of the libraries, by the program's names for them, it takes functions and constants as they are.
    """
    _, _, constants, *_, definitions = program
    declared, shared = _declared(program), MadeOnce()
    table = ConstantTable(scratch_machine(), declared, shared)
    for node in constants:
        linked = node[0] == "linked"
        table.made.append(libraries[node[1]].constants[node[2]] if linked else table.compute(node))
    functions = {node[1]: _head(node, declared.records) for node in definitions}
    callable_ = functions | _linked(libraries)
    for node in definitions:
        b = Build(TABLE, callable_, declared, table.made, shared)
        b.watch = watch
        functions[node[1]].body = block(b, node[-1])
    return Built(functions, table.made)


def _declared(program: Node) -> Declared:
    _, _, _, records, maps, variables, events, interfaces, *_ = program
    known: dict[str, CheckedRecord] = {}
    for shape in records:
        known[shape[0]] = checked_record(record_of(shape, known), known)
    return Declared(
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


def _linked(libraries: Mapping[str, Built]) -> dict[str, Function]:
    return {
        f"{alias}.{name}": function
        for alias, library in libraries.items()
        for name, function in library.functions.items()
    }


def _head(node: Node, records: CheckedRecords) -> Function:
    _, name, kind, nested, line, params, returns, slots, body = node
    made = Function(name, kind, nested, line, tuple([param[:2] for param in params]), returns, records)
    made.defaults = {param[0]: decode_stored(param[2][1]) for param in params if len(param) == 3}
    made.padding = [UNSET] * (slots - len(params))
    made.template = [*[made.defaults.get(param, UNSET) for param in made.names], *made.padding]
    made.frames = FRAMES_PER_CALL + frames(body)
    return made
