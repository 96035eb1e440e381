"""The lowering: it makes the IR of a program, or of a library, of a checked syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from contracts.language.faults import DIAGNOSTICS_MAX, Diagnostic
from contracts.language.folding import Folder
from contracts.language.front.annotations import hint_of
from contracts.language.front.declarations import Constant, Declarations, Exports
from contracts.language.front.lost_changes import find_lost
from contracts.language.front.lower_class import base_of, define_interface, define_record
from contracts.language.front.lower_constant import lower_constant, lower_default
from contracts.language.front.lower_declaration import declare, text_argument
from contracts.language.front.lower_head import declare_function
from contracts.language.front.lower_remote import is_contract
from contracts.language.front.lower_stmt import lower_function
from contracts.language.front.refusals import TOO_LARGE, Refusal
from contracts.language.hints import ANY, Hint
from contracts.language.ir import Node, parts_left
from contracts.language.limits import ENGINE, IR_PARTS_FREE, IR_PARTS_PER_TOKEN
from contracts.language.vocabulary import BUILTINS, DECLARATIONS, LAZY, RESERVED

NO_LIBRARIES: Mapping[str, Exports] = {}


def lower(
    tree: ast.Module,
    folder: Folder,
    tokens: int,
    libraries: Mapping[str, Exports] = NO_LIBRARIES,
    kind: str = "program",
) -> tuple[Node, Declarations, list[Diagnostic]]:
    """Return the IR of a program, its declarations, and the reasons to refuse it; `folder` folds constants.

    The program has at most so many parts as this number of tokens pays for: it is hashed, built and kept.
    `libraries` are those that it names, by its names for them: their records and constants are parts of it,
    for which their own tokens paid. `kind` is "program" or "library".
    """
    room = _parts_paid(tokens)
    names, found = Declarations(room=room), list[Diagnostic]()
    for place, statement in enumerate(tree.body):
        if len(found) >= DIAGNOSTICS_MAX:
            break  # each may quote much of the source
        try:
            _declare(names, statement, place == 0, folder, libraries)
        except Refusal as refusal:
            found.append(refusal.diagnostic)
    for once in ("init", "migrate"):
        several = [signature for signature in names.functions.values() if signature.kind == once]
        if len(several) > 1:
            found.append(
                Diagnostic("DECORATOR", several[1].line, 1, f"a second @{once}", f"one @{once} a contract")
            )
    functions = tuple([lower_function(names, signature, found) for signature in names.functions.values()])
    if not found:
        lost = find_lost(names)
        found += lost.lost
        names.summaries = lost.summaries
    program = (
        kind,
        ENGINE,
        tuple(names.makers),
        tuple([record.shape() for record in names.records.values()]),
        tuple([(name, *hints, *["ordered"] * (name in names.ordered)) for name, hints in names.maps.items()]),
        tuple([(name, *parts) for name, parts in names.variables.items()]),
        tuple(names.events.items()),
        tuple([interface.shape() for interface in names.interfaces.values()]),
        *[(name, one.source_hash, one.ir_hash) for name, one in names.libraries.items()],
        functions,
    )
    room += sum([_parts_paid(library.tokens) for library in libraries.values()])
    if not found and parts_left(program, room) < 0:
        found.append(Refusal(tree, *TOO_LARGE).diagnostic)
    found.sort(key=lambda item: (item.line, item.column))
    return program, names, found[:DIAGNOSTICS_MAX]


def _parts_paid(tokens: int) -> int:
    return IR_PARTS_FREE + IR_PARTS_PER_TOKEN * tokens


def _declare(
    names: Declarations, node: ast.stmt, first: bool, folder: Folder, libraries: Mapping[str, Exports]
) -> None:
    if isinstance(node, ast.FunctionDef):
        _check_fresh(names, node, node.name)
        return declare_function(names, node, folder)
    if isinstance(node, ast.ClassDef):
        return _class(names, node, folder)
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and first
    ):
        return None
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Tuple):
        return _several(names, node, node.targets[0], folder)
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        name, value, hint = node.targets[0].id, node.value, ANY
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        if isinstance(node.annotation, ast.Name) and node.annotation.id in names.interfaces:
            return _seen_as(names, node, node.target.id, node.annotation.id)
        name, value, hint = node.target.id, node.value, hint_of(node.annotation, names.records)
    else:
        reason = "the top level holds only functions, declarations and constants"
        raise Refusal(node, "TOP_LEVEL", reason, "NAME = value, or a def")
    _check_fresh(names, node, name)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in DECLARATIONS:
        return declare(names, name, value, folder, libraries)
    names.constants[name] = lower_constant(names, value, hint, folder)
    return None


def _class(names: Declarations, node: ast.ClassDef, folder: Folder) -> None:
    base = base_of(node)
    _check_fresh(names, node, node.name)

    def hint(annotation: ast.expr | None) -> Hint:
        return hint_of(annotation, names.records)

    if base == "Protocol":
        define_interface(names, node, hint)
    else:
        define_record(names, node, hint, lambda *of: lower_default(names, of, folder))
        folder.define(names.records[node.name])


def _seen_as(names: Declarations, node: ast.AnnAssign, name: str, interface: str) -> None:
    """`policy: Policy = Contract("data-rules")`."""
    _check_fresh(names, node, name)
    call = node.value
    if not isinstance(call, ast.Call) or not is_contract(call) or call.keywords:
        reason = f"{interface} is an interface: only a contract is called through it"
        raise Refusal(node, "INTERFACE", reason, f'{name}: {interface} = Contract("name")')
    names.contracts[name] = text_argument(call, "Contract")
    names.seen_as[name] = interface


def _several(names: Declarations, node: ast.Assign, targets: ast.Tuple, folder: Folder) -> None:
    """`A, B = 1, 2`: as many constants; none of them is there before all are made."""
    value = node.value
    plain = isinstance(value, ast.Tuple) and not any(isinstance(item, ast.Starred) for item in value.elts)
    if not isinstance(value, ast.Tuple) or not plain or len(value.elts) != len(targets.elts):
        raise Refusal(node, "TOP_LEVEL", "as many names as values", "A, B = 1, 2, or a line for each")
    made: dict[str, Constant] = {}
    for target, item in zip(targets.elts, value.elts, strict=True):
        if not isinstance(target, ast.Name):
            raise Refusal(target, "TOP_LEVEL", "the top level names constants", "A, B = 1, 2")
        _check_fresh(names, node, target.id)
        if target.id in made:
            raise Refusal(node, "TWICE", f"{target.id} is defined twice", "another name")
        made[target.id] = lower_constant(names, item, ANY, folder)
    names.constants.update(made)


def _check_fresh(names: Declarations, node: ast.stmt, name: str) -> None:
    if name in RESERVED or name in BUILTINS or name in LAZY:
        raise Refusal(node, "RESERVED_NAME", f"{name} belongs to the language", "another name")
    if names.kind_of(name):
        raise Refusal(node, "TWICE", f"{name} is defined twice", "another name")
