"""Builders of state and events: closures of Map, Var and Event, which enforce their hints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chain.primitives.runtimeport import var_key
from chain.primitives.values import Value, encode_value
from contracts.language.back.builder import Build, Builder
from contracts.language.faults import LimitExceeded, Reverted
from contracts.language.hints import SUBJECT, Hint, holds_record, wanted
from contracts.language.ir import Node
from contracts.language.limits import EVENT_SUBJECTS_MAX, GAS_SUBJECT_ITEM, GAS_TYPES, NESTING_MAX
from contracts.language.run import host
from contracts.language.run.checks import Check, CheckedRecords, checker, exact_type
from contracts.language.run.encoding import EVENT, encode
from contracts.language.run.machine import Closure, Frame, Machine
from contracts.language.run.operators import Operator
from contracts.language.run.ordered import Index
from contracts.language.run.payments import need
from contracts.language.run.record_checks import misfit
from contracts.language.run.values import type_name, wrong_type

KeyMaker = Callable[[Machine, Value], bytes]


def key_maker(b: Build, name: str) -> KeyMaker:
    """Return the function from a Map's key to its state key, which enforces the key's hint."""
    return b.once(("key", name), lambda: _key_maker(b.declared.maps[name][0], name))


def _key_maker(hint: Hint, name: str) -> KeyMaker:
    check, prefix = checker(hint), name.encode() + b"/"
    if hint == ("str",):
        return _text_key_maker(name, prefix)

    def make(m: Machine, key: Value) -> bytes:
        if not check(m, key):
            raise wrong_type(f"{name}[…]: a key is {wanted(hint)}, not {type_name(key)}")
        return host.entry_key(m, prefix, key)

    exact = exact_type(hint)
    if exact is None:
        return make

    def make_plain(m: Machine, key: Value) -> bytes:
        if type(key) is not exact:
            raise wrong_type(f"{name}[…]: a key is {wanted(hint)}, not {type_name(key)}")
        return host.entry_key(m, prefix, key)

    return make_plain


def _text_key_maker(name: str, prefix: bytes) -> KeyMaker:
    """The commonest key: a text, whose encoding is a length byte and UTF-8 when it is short."""
    heads = [prefix + bytes((0xA0 + length,)) for length in range(32)]

    def make(m: Machine, key: Value) -> bytes:
        if type(key) is not str:
            raise wrong_type(f"{name}[…]: a key is str, not {type_name(key)}")
        if len(key) < 32:
            data = key.encode()
            if len(data) < 32:
                return heads[len(data)] + data
        return host.entry_key(m, prefix, key)

    return make


def value_check(hint: Hint, what: str, records: CheckedRecords) -> Callable[[Machine, Value], None]:
    """Return the function that enforces the hint of what is stored."""
    check: Check = checker(hint, records)
    exact = exact_type(hint)

    def enforce_plain(_: Machine, value: Value) -> None:
        if type(value) is not exact:
            raise wrong_type(f"{what} holds {wanted(hint)}, not {type_name(value)}")

    if exact is not None:
        return enforce_plain

    def enforce(m: Machine, value: Value) -> None:
        if not check(m, value):
            raise wrong_type(f"{what} holds {wanted(hint)}, not {misfit(m, hint, value, records)}")

    return enforce


def loader(b: Build, hint: Hint, what: str) -> Callable[[Machine, bytes], Any]:
    """Return the function that loads a row, checks the records in it and completes them with defaults."""
    if not holds_record(hint):
        return host.load
    records = b.declared.records
    fill = checker(hint, records, fill=True)

    def load(m: Machine, place: bytes) -> Any:
        value = host.load(m, place)
        if value is not host.ABSENT and not fill(m, value):
            found = misfit(m, hint, value, records)
            raise wrong_type(f"{what} was stored as {found}, and is {wanted(hint)} now: @migrate changes it")
        return value

    return load


def map_loader(b: Build, name: str) -> Callable[[Machine, bytes], Any]:
    """Return the function that loads an entry of a Map."""
    return b.once(("load", name), lambda: loader(b, b.declared.maps[name][1], f"{name}[…]"))


def _no_entry(name: str) -> Reverted:
    return Reverted("KEY_ERROR", f"{name} has no such entry")


def _map_get(b: Build, node: Node) -> Closure:
    name, make, key = node[1], key_maker(b, node[1]), b.expr(node[2])
    load = map_loader(b, name)

    def run(f: Frame) -> Any:
        m = f[0]
        value = load(m, make(m, key(f)))
        if value is host.ABSENT:
            raise _no_entry(name)
        return value

    return run


def _map_find(b: Build, node: Node) -> Closure:
    make, key, default = key_maker(b, node[1]), b.expr(node[2]), b.expr(node[3])
    load = map_loader(b, node[1])

    def run(f: Frame) -> Any:
        m = f[0]
        place, other = make(m, key(f)), default(f)
        value = load(m, place)
        return other if value is host.ABSENT else value

    return run


def _map_has(b: Build, node: Node) -> Closure:
    make, key, absent = key_maker(b, node[1]), b.expr(node[2]), node[3]

    def run(f: Frame) -> Any:
        m = f[0]
        return host.present(m, make(m, key(f))) is not absent

    return run


def _index(b: Build, name: str) -> Index:
    return b.once(("index", name), lambda: Index(name, b.declared.maps[name][0]))


def map_store(b: Build, node: Node) -> Callable[[Frame, Any], None]:
    """Return the closure that stores a value as `m[key]`."""
    make, key, keep = key_maker(b, node[1]), b.expr(node[2]), _keeper(b, node[1])

    def put(f: Frame, value: Any) -> None:
        m, name = f[0], key(f)
        keep(m, name, make(m, name), value)

    return put


def _keeper(b: Build, name: str) -> Callable[[Machine, Value, bytes, Any], None]:
    """Return what stores a checked value of a Map: (machine, key, the key's place, value)."""
    return b.once(("keep", name), lambda: _new_keeper(b, name))


def _new_keeper(b: Build, name: str) -> Callable[[Machine, Value, bytes, Any], None]:
    enforce = value_check(b.declared.maps[name][1], name, b.declared.records)

    def keep(m: Machine, _: Value, place: bytes, value: Any) -> None:
        enforce(m, value)
        host.store(m, place, value)

    if name not in b.declared.ordered:
        return keep
    index = _index(b, name)

    def keep_in_order(m: Machine, key: Value, place: bytes, value: Any) -> None:
        enforce(m, value)
        host.store(m, place, value)
        index.add(m, key)

    return keep_in_order


def map_augment(b: Build, place: Node, value: Node, work: Operator) -> Closure:
    """Return the closure of `m[key] op= value`.

    The key is computed once, and what is stored goes where the entry was read: the value may change what the
    key was computed from. The order is key, entry, value (The Python Language Reference, 7.2.1).
    """
    name, make, key = place[1], key_maker(b, place[1]), b.expr(place[2])
    load, keep, inner = map_loader(b, name), _keeper(b, name), b.expr(value)

    def run(f: Frame) -> Any:
        m, held = f[0], key(f)
        where = make(m, held)
        entry = load(m, where)
        if entry is host.ABSENT:
            raise _no_entry(name)
        keep(m, held, where, work(m, entry, inner(f)))

    return run


def map_delete(b: Build, node: Node) -> Closure:
    """Return the closure of `del m[key]`."""
    make, key = key_maker(b, node[1]), b.expr(node[2])

    def run(f: Frame) -> Any:
        m = f[0]
        host.remove(m, make(m, key(f)))

    if node[1] not in b.declared.ordered:
        return run
    index = _index(b, node[1])

    def run_in_order(f: Frame) -> Any:
        m, name = f[0], key(f)
        host.remove(m, make(m, name))
        index.discard(m, name)

    return run_in_order


def _map_page(b: Build, node: Node) -> Closure:
    """A part of the keys in their order: `after` is a key, or None; a prefix is a text, bytes or a tuple."""
    name, (after, limit, prefix) = node[1], b.all(node[2:])
    key, index = b.declared.maps[name][0], _index(b, name)
    fits, begins = b.once(("page", name), lambda: (checker(key), _prefix_check(key)))

    def run(f: Frame) -> Any:
        m, last, most, begin = f[0], after(f), limit(f), prefix(f)
        if last is not None and not fits(m, last):
            raise wrong_type(f"{name}.page(): after is a key, {wanted(key)}, or None, not {type_name(last)}")
        if begin is not None and not begins(m, begin):
            raise wrong_type(f"{name}.page(): no key {wanted(key)} begins with such a {type_name(begin)}")
        return index.page(m, last, need(most, int, "page: the limit"), begin)

    return run


def _prefix_check(key: Hint) -> Check:
    """Return the test of what a key may begin with: no number begins with one."""
    if key[0] != "tuple":
        return (lambda _, __: False) if key == ("int",) else checker(key)
    parts = [checker(part) for part in key[1:]]

    def begins(m: Machine, value: Value) -> bool:
        if type(value) is not tuple or not 0 < len(value) <= len(parts):
            return False
        m.charge(GAS_TYPES + 2 * len(value))
        return all(part(m, item) for part, item in zip(parts, value, strict=False))

    return begins


def _var_get(b: Build, node: Node) -> Closure:
    name, (hint, default) = node[1], b.declared.variables[node[1]]
    place = var_key(name)
    load = b.once(("load var", name), lambda: loader(b, hint, name))
    make = None if default is None else b.expr(default)

    def run(f: Frame) -> Any:
        value = load(f[0], place)
        if value is not host.ABSENT:
            return value
        if make is None:
            raise Reverted("KEY_ERROR", f"{name} has no default and was never set")
        return make(f)

    return run


def _var_set(b: Build, node: Node) -> Closure:
    name, inner = node[1], b.expr(node[2])
    place = var_key(name)
    enforce = b.once(
        ("var", name), lambda: value_check(b.declared.variables[name][0], name, b.declared.records)
    )

    def run(f: Frame) -> Any:
        m, value = f[0], inner(f)
        enforce(m, value)
        host.store(m, place, value)

    return run


@dataclass(frozen=True, slots=True)
class _Shape:
    """What every emission of one Event shares: fields in canonical order, their encoded names and checks."""

    places: Mapping[str, int]
    head: bytes
    keys: list[bytes]
    checks: Mapping[str, Callable[[Machine, Value], None]]
    tagged: list[int]
    """Places of the fields that name subjects."""


def _shape(name: str, fields: Mapping[str, Hint], records: CheckedRecords) -> _Shape:
    order = sorted(fields)
    count = len(order)
    places = {field: place for place, field in enumerate(order)}
    return _Shape(
        places,
        bytes((0x80 + count,)) if count < 16 else b"\xde" + count.to_bytes(2, "big"),
        [encode_value(field) for field in order],
        {field: value_check(hint, f"{name}({field}=…)", records) for field, hint in fields.items()},
        [places[field] for field, hint in fields.items() if names_subjects(hint)],
    )


def _emit(b: Build, node: Node) -> Closure:
    """Fields are computed in the order written, then encoded in canonical order behind prepared keys."""
    name = node[1]
    shape = b.once(("event", name), lambda: _shape(name, dict(b.declared.events[name]), b.declared.records))
    given = [(shape.places[field], b.expr(value), shape.checks[field]) for field, value in node[2:]]
    head, keys, tagged, count = shape.head, shape.keys, shape.tagged, len(shape.keys)

    def run(f: Frame) -> Any:
        m = f[0]
        fields: list[Any] = [None] * count
        for place, value, check in given:
            fields[place] = item = value(f)
            check(m, item)
        subjects: list[str] = []
        for place in tagged:
            gather(m, fields[place], subjects)
        parts, size = [head], 0
        for key, item in zip(keys, fields, strict=True):
            data = encode(m, item, EVENT, NESTING_MAX - 1)
            size += len(data)
            if size > EVENT.most:
                raise EVENT.refuse()
            parts += key, data
        host.announce(m, name, b"".join(parts), subjects)

    return run


def names_subjects(hint: Hint) -> bool:
    """Tell whether a field's hint holds `subject` anywhere that `gather` looks."""
    return hint == SUBJECT or (
        hint[0] in ("list", "rest", "union", "tuple") and any(map(names_subjects, hint[1:]))
    )


def gather(m: Machine, value: Value, subjects: list[str]) -> None:
    """Add the subjects of a field's value, each once; refuse more than an event may name."""
    if type(value) is str:
        if value not in subjects:
            subjects.append(value)
            if len(subjects) > EVENT_SUBJECTS_MAX:
                raise LimitExceeded("SUBJECTS", f"an event names at most {EVENT_SUBJECTS_MAX} subjects")
    elif type(value) is list or type(value) is tuple:
        m.charge(GAS_SUBJECT_ITEM * len(value))
        for item in value:
            gather(m, item, subjects)


BUILDERS: dict[str, Builder] = {
    "emit": _emit,
    "map_find": _map_find,
    "map_get": _map_get,
    "map_has": _map_has,
    "map_page": _map_page,
    "var_get": _var_get,
    "var_set": _var_set,
}
