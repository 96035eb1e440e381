"""The ABI: what callers need to know of a program, or of a library, as a contract value."""

from __future__ import annotations

from collections.abc import Mapping

from chain.primitives.values import Value, decode_stored
from contracts.language.front.declarations import Constant, Declarations, Signature
from contracts.language.hints import hint_text
from contracts.language.ir import Node
from contracts.language.records import Record


def library_abi(
    signatures: Mapping[str, Signature], records: Mapping[str, Record], constants: Mapping[str, Constant]
) -> Value:
    """Return what contracts may use of a library, as a contract value."""
    return {
        "functions": {name: _function_abi(signature) for name, signature in signatures.items()},
        "records": {name: _record_abi(record) for name, record in records.items()},
        "constants": {name: hint_text(constant.hint) for name, constant in constants.items()},
    }


def _method_abi(signature: Signature) -> dict[str, Value]:
    """Return what callers need of a method; `defaults` only where an argument may be left out."""
    found: dict[str, Value] = {"kind": signature.kind, "nested": signature.nested, **_head_abi(signature)}
    if signature.defaults:
        found["defaults"] = _values(signature.defaults)
    if signature.guard is not None:
        found["only"] = signature.guard.shown()
    return found


def _function_abi(signature: Signature) -> dict[str, Value]:
    found = _head_abi(signature)
    return found | {"defaults": _values(signature.defaults)} if signature.defaults else found


def _head_abi(signature: Signature) -> dict[str, Value]:
    return {
        "params": [[name, hint_text(hint)] for name, hint in signature.params],
        "returns": hint_text(signature.returns),
    }


def _wanted_abi(method: Signature) -> dict[str, Value]:
    """Return what an interface wants of a method; `optional` only where callers may leave something out."""
    found = _head_abi(method)
    return found | {"optional": list(method.defaults)} if method.defaults else found


def _values(defaults: Mapping[str, Node]) -> dict[str, Value]:
    return {name: decode_stored(node[1]) for name, node in defaults.items()}


def _record_abi(record: Record) -> dict[str, Value]:
    """Return the fields of a record; `defaults` only where some may be left out."""
    found: dict[str, Value] = {"fields": [[name, hint_text(hint)] for name, hint in record.fields]}
    return found | {"defaults": _values(record.defaults)} if record.defaults else found


def abi_of(names: Declarations) -> Value:
    """Return the ABI of a contract, which deployment fixes; what few contracts have stands only in theirs."""
    found: dict[str, Value] = {
        "methods": {
            signature.name: _method_abi(signature) for signature in names.functions.values() if signature.kind
        },
        "maps": {name: [hint_text(key), hint_text(value)] for name, (key, value) in names.maps.items()},
        "vars": {name: hint_text(hint) for name, (hint, _) in names.variables.items()},
        "events": {
            name: [[field, hint_text(hint)] for field, hint in fields]
            for name, fields in names.events.items()
        },
        "errors": sorted(set(names.errors.values())),
        "contracts": sorted(set(names.contracts.values())),
    }
    rare: dict[str, Value] = {
        "ordered": sorted(names.ordered),
        "records": {name: _record_abi(record) for name, record in names.records.items()},
        "interfaces": {
            name: {method.name: _wanted_abi(method) for method in interface.methods.values()}
            for name, interface in names.interfaces.items()
        },
        "libraries": {name: library.source_hash for name, library in names.libraries.items()},
        "seen_as": {names.contracts[name]: interface for name, interface in names.seen_as.items()},
    }
    return found | {name: value for name, value in rare.items() if value}
