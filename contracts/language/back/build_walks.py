"""Builders of iteration: closures of iterables and comprehensions, and of the targets that they assign."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from contracts.language.back.build_records import put_field
from contracts.language.back.build_state import map_store
from contracts.language.back.builder import Build, Builder
from contracts.language.faults import OutOfGas, Reverted
from contracts.language.ir import Node
from contracts.language.limits import (
    GAS_COMPREHENSION,
    GAS_DICT,
    GAS_DISPLAY,
    GAS_ITEMS,
    GAS_LAZY,
    GAS_LOOP,
    GAS_METHOD,
    GAS_NODE,
    GAS_UNPACK,
    GAS_UNPACK_PART,
    MEM_CONTAINER,
    MEM_DICT,
    MEM_ENTRY,
    MEM_ITEM,
)
from contracts.language.run.builtins import FUNCTIONS
from contracts.language.run.machine import LOCALS, Closure, Frame
from contracts.language.run.operators import set_item
from contracts.language.run.payments import count_cap, entry_cap, need, pay_key, pay_merge, put
from contracts.language.run.values import check_key, type_name, wrong_type
from contracts.language.run.walks import Lazy, changed_while_walked, collect, view_of, walk

Store = Callable[[Frame, Any], None]
Emit = Callable[[Frame, Any], None]
Walked = tuple[Any, int, int, Any]
"""What `walk` returns."""
Pull = Callable[[Frame, Walked], Iterator[Any]]


def _lazy(b: Build, node: Node) -> Closure:
    work, arguments = FUNCTIONS[node[1]], b.all(node[2:])
    b.cost += GAS_METHOD
    return lambda f: work(f[0], *[argument(f) for argument in arguments])


def _entries(b: Build, node: Node) -> Closure:
    name, inner = node[1], b.expr(node[2])
    b.cost += GAS_METHOD
    return lambda f: view_of(f[0], inner(f), name)


def target(b: Build, node: Node) -> Store:
    """Return the closure that assigns a value to a local, an item, or a tuple of targets."""
    b.cost += GAS_NODE
    if node[0] == "local":
        return _to_local(LOCALS + node[1])
    if node[0] == "unpack":
        b.cost += GAS_UNPACK + GAS_UNPACK_PART * (len(node) - 1)
        return _unpack([target(b, part) for part in node[1:]])
    if node[0] == "item":
        return _to_item(b, node)
    if node[0] == "field":
        return put_field(b, node)
    return map_store(b, node)


def _to_local(slot: int) -> Store:
    def put(f: Frame, value: Any) -> None:
        f[slot] = value

    return put


def _to_item(b: Build, node: Node) -> Store:
    held, key = b.expr(node[1]), b.expr(node[2])
    b.cost += GAS_DICT

    def put(f: Frame, value: Any) -> None:
        x = held(f)
        set_item(f[0], x, key(f), value)

    return put


def _unpack(parts: list[Store]) -> Store:
    count = len(parts)

    def put(f: Frame, value: Any) -> None:
        if type(value) is not tuple and type(value) is not list:
            raise wrong_type(f"{type_name(value)} cannot be unpacked")
        if len(value) != count:
            raise Reverted("VALUE_ERROR", f"{len(value)} items where {count} are unpacked")
        for part, item in zip(parts, list(value), strict=True):
            part(f, item)

    return put


def _listcomp(b: Build, node: Node) -> Closure:
    before, b.cost = b.cost, 0
    element = b.expr(node[2])
    cost, b.cost = b.cost, before

    def emit(f: Frame, made: list[Any]) -> None:
        m = f[0]
        m.gas -= cost
        if m.gas < 0:
            raise OutOfGas
        made.append(element(f))
        m.allocate(MEM_ITEM)
        if len(made) > 9_999:
            count_cap(len(made))

    return _comprehension(b, node[1], emit, list)


def _dictcomp(b: Build, node: Node) -> Closure:
    before, b.cost = b.cost, GAS_DICT
    name, element = b.expr(node[2]), b.expr(node[3])
    cost, b.cost = b.cost, before

    def emit(f: Frame, made: dict[Any, Any]) -> None:
        m = f[0]
        m.charge(cost)
        key = name(f)
        check_key(key)
        pay_key(m, key)
        put(m, made, key, element(f))
        m.allocate(MEM_ENTRY)

    return _comprehension(b, node[1], emit, dict)


def _comprehension(b: Build, clauses: Node, emit: Emit, kind: type) -> Closure:
    first = b.expr(clauses[0][1])
    step = emit
    for place in range(len(clauses) - 1, 0, -1):
        walked, cost = b.apart(clauses[place][1])
        step = _nest(walked, cost, _clause(b, clauses[place], step), _apart(clauses[place]))
    body, apart = _clause(b, clauses[0], step), _apart(clauses[0])
    size = MEM_CONTAINER if kind is list else MEM_DICT

    def run(f: Frame) -> Any:
        m = f[0]
        m.allocate(size)
        made = kind()
        _each(f, first(f), body, made, apart)
        return made

    return run


def _each(f: Frame, value: Any, body: Callable[[Frame, Any, Any], None], made: Any, apart: bool) -> None:
    """Do the body for each item of what is walked."""
    m = f[0]
    items, gas, room, held = walk(m, value, apart=apart)
    size = len(held or ())
    for item in items:
        if gas:
            m.charge(gas)
            m.allocate(room)
        body(f, made, item)
        if held is not None and len(held) != size:
            raise changed_while_walked()


def _generator(b: Build, node: Node) -> Closure:
    """Items are computed when they are asked for; only what the first clause walks is there before."""
    clauses = node[1]
    first, apart = b.expr(clauses[0][1]), _apart(clauses[0])
    element, cost = b.apart(node[2])
    pull = _last(b, clauses[-1], element, cost + GAS_LAZY)
    for place in range(len(clauses) - 1, 0, -1):
        walked, cost = b.apart(clauses[place][1])
        pull = _outer(b, clauses[place - 1], pull, walked, cost + GAS_LAZY, _apart(clauses[place]))

    def run(f: Frame) -> Any:
        return Lazy(pull(f, walk(f[0], first(f), apart=apart)), 0, 0, 0, pulled=True)

    return run


def _last(b: Build, clause: Node, element: Closure, cost: int) -> Pull:
    turn = _pull_turn(b, clause)

    def pull(f: Frame, walked: Walked) -> Iterator[Any]:
        m = f[0]
        for _ in turn(f, walked):
            m.charge(cost)
            yield element(f)

    return pull


def _outer(b: Build, clause: Node, inner: Pull, walked: Closure, cost: int, apart: bool) -> Pull:
    turn = _pull_turn(b, clause)

    def pull(f: Frame, outside: Walked) -> Iterator[Any]:
        m = f[0]
        for _ in turn(f, outside):
            m.charge(cost)
            yield from inner(f, walk(m, walked(f), apart=apart))

    return pull


def _pull_turn(b: Build, clause: Node) -> Pull:
    """Assign each item that passes the tests of one clause; what is walked keeps its size."""
    before, b.cost = b.cost, GAS_LOOP + GAS_COMPREHENSION
    put = target(b, clause[0])
    tests = [b.expr(test) for test in clause[2]]
    cost, b.cost = b.cost, before

    def turn(f: Frame, walked: Walked) -> Iterator[None]:
        m, (items, gas, room, held) = f[0], walked
        size = len(held or ())
        for item in items:
            m.charge(cost + gas)
            m.allocate(room)
            put(f, item)
            if all(test(f) for test in tests):
                yield
            if held is not None and len(held) != size:
                raise changed_while_walked()

    return turn


def _spread(b: Build, node: Node) -> Closure:
    """A list or tuple with `*items` in it."""
    parts = [(part[0] == "star", b.expr(part[1] if part[0] == "star" else part)) for part in node[2:]]
    b.cost += GAS_DISPLAY + GAS_ITEMS * len(parts)
    convert = tuple if node[1] == "tuple" else list

    def run(f: Frame) -> Any:
        m, made = f[0], list[Any]()
        m.allocate(MEM_CONTAINER)
        for star, part in parts:
            if star:
                more = collect(m, part(f))
                count_cap(len(made) + len(more))
                m.allocate(MEM_ITEM * len(more))
                made += more
            else:
                m.allocate(MEM_ITEM)
                made.append(part(f))
        count_cap(len(made))
        return made if convert is list else tuple(made)

    return run


def _spread_dict(b: Build, node: Node) -> Closure:
    """A dict with `**entries` in it; a key that comes twice keeps its place and takes the later value."""
    parts = [
        (None, b.expr(part[1])) if part[0] == "star" else (b.expr(part[0]), b.expr(part[1]))
        for part in node[1:]
    ]
    b.cost += GAS_DISPLAY + GAS_DICT * len(parts)

    def run(f: Frame) -> Any:
        m, made = f[0], dict[Any, Any]()
        m.allocate(MEM_DICT)
        for name, part in parts:
            if name is None:
                more = need(part(f), dict, "** in a dict")
                m.allocate(MEM_ENTRY * len(more))
                most = pay_merge(m, made, more)
                made.update(more)
                entry_cap(len(made), most)
            else:
                key = name(f)
                check_key(key)
                pay_key(m, key)
                m.allocate(MEM_ENTRY)
                put(m, made, key, part(f))
        return made

    return run


def _apart(clause: Node) -> bool:
    return bool(clause[0][0] == "unpack")


def _nest(walked: Closure, cost: int, body: Callable[[Frame, Any, Any], None], apart: bool) -> Emit:
    def step(f: Frame, made: Any) -> None:
        f[0].charge(cost)
        _each(f, walked(f), body, made, apart)

    return step


def _clause(b: Build, clause: Node, step: Emit) -> Callable[[Frame, Any, Any], None]:
    """One turn of `for target in … if tests`: pay, assign, test, go on."""
    before, b.cost = b.cost, GAS_LOOP + GAS_COMPREHENSION
    put = target(b, clause[0])
    tests = [b.expr(test) for test in clause[2]]
    cost, b.cost = b.cost, before

    def turn(f: Frame, made: Any, item: Any) -> None:
        m = f[0]
        m.gas -= cost
        if m.gas < 0:
            raise OutOfGas
        put(f, item)
        for test in tests:
            if not test(f):
                return
        step(f, made)

    return turn


BUILDERS: dict[str, Builder] = {
    "dictcomp": _dictcomp,
    "entries": _entries,
    "generator": _generator,
    "lazy": _lazy,
    "listcomp": _listcomp,
    "spread": _spread,
    "spread_dict": _spread_dict,
}
