"""Builders of blocks and control flow; their closures return None to go on, or BREAK, CONTINUE, RETURN.

A straight run of statements is one block: it pays the certain gas of all of them at once and then runs them.
What a statement computes with values of unknown size is paid by the operation itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts.language.back import build_plain
from contracts.language.back.build_walks import target
from contracts.language.back.builder import Build, Builder, watched
from contracts.language.faults import Halt, OutOfGas
from contracts.language.ir import Node
from contracts.language.limits import GAS_BRANCH, GAS_LOOP, GAS_NODE
from contracts.language.run.machine import LOCALS, RESULT, Closure, Frame
from contracts.language.run.walks import changed_while_walked, walk

BREAK, CONTINUE, RETURN = 1, 2, 3
_CONTROL = frozenset({"if", "while", "for"})
_JUMPS = frozenset({"return", "break", "continue", "raise"})


def block(b: Build, nodes: tuple[Node, ...]) -> Closure:
    """Return the closure of a list of statements, which pays for each straight run before running it."""
    before, b.cost = b.cost, 0
    made: list[Closure] = []
    run: list[Closure] = []
    line = nodes[0][1] if nodes else 0
    for node in nodes:
        b.cost += GAS_NODE
        run.append(watched(b, node[1], BUILDERS[node[0]](b, node)))
        if node[0] in _CONTROL or node[0] in _JUMPS:
            made.append(_straight(b.cost, line, run, signals=True))
            b.cost, run, line = 0, [], node[1]
        if node[0] in _JUMPS:
            break  # what follows is never reached
    if run:
        made.append(_straight(b.cost, line, run, signals=False))
    b.cost = before
    if not made:
        return lambda _: None
    return made[0] if len(made) == 1 else _sequence(made)


def spent(line: int) -> OutOfGas:
    """Return the halt of a call whose gas ended at this line."""
    halt = OutOfGas()
    halt.at(line)
    return halt


def _straight(cost: int, line: int, closures: list[Closure], *, signals: bool) -> Closure:
    """One straight run, paid for at once; only its last statement may change the flow."""
    if len(closures) == 1:
        return _run_one(cost, line, closures[0])
    if not signals:
        return _run_plain(cost, line, tuple(closures))
    plain, last = tuple(closures[:-1]), closures[-1]

    def run(f: Frame) -> Any:
        m = f[0]
        m.gas -= cost
        if m.gas < 0:
            raise spent(line)
        for closure in plain:
            closure(f)
        return last(f)

    return run


def _run_one(cost: int, line: int, only: Closure) -> Closure:
    def run(f: Frame) -> Any:
        m = f[0]
        m.gas -= cost
        if m.gas < 0:
            raise spent(line)
        return only(f)

    return run


def _run_plain(cost: int, line: int, closures: tuple[Closure, ...]) -> Closure:
    def run(f: Frame) -> Any:
        m = f[0]
        m.gas -= cost
        if m.gas < 0:
            raise spent(line)
        for closure in closures:
            closure(f)

    return run


def _sequence(made: list[Closure]) -> Closure:
    runs = tuple(made)

    def run(f: Frame) -> Any:
        for closure in runs:
            signal = closure(f)
            if signal is not None:
                return signal
        return None

    return run


# --- control ---------------------------------------------------------------------------------------------


def _return(b: Build, node: Node) -> Closure:
    line, inner = node[1], b.expr(node[2])

    def run(f: Frame) -> Any:
        try:
            f[RESULT] = inner(f)
        except Halt as halt:
            halt.at(line)
            raise
        return RETURN

    return run


def _jump(signal: int) -> Callable[[Build, Node], Closure]:
    def builder(_: Build, __: Node) -> Closure:
        return lambda _: signal

    return builder


def _if(b: Build, node: Node) -> Closure:
    """The first test is part of the run before; each later one pays when it is reached."""
    branches = node[2]
    b.cost += GAS_BRANCH
    tests = [_test(b, branches[0][0], b.expr(branches[0][1]))]
    tests += [watched(b, line, _test(b, line, b.optional(test))) for line, test, _ in branches[1:]]
    bodies = [block(b, body) for _, _, body in branches]
    otherwise = block(b, node[3]) if node[3] else None
    if len(branches) == 1:
        return _if_one(tests[0], bodies[0], otherwise)
    pairs = list(zip(tests, bodies, strict=True))

    def run(f: Frame) -> Any:
        for test, body in pairs:
            if test(f):
                return body(f)
        return None if otherwise is None else otherwise(f)

    return run


def _if_one(test: Closure, body: Closure, otherwise: Closure | None) -> Closure:
    if otherwise is None:
        return lambda f: body(f) if test(f) else None
    other = otherwise
    return lambda f: body(f) if test(f) else other(f)


def _test(_: Build, line: int, inner: Closure) -> Closure:
    def run(f: Frame) -> Any:
        try:
            return inner(f)
        except Halt as halt:
            halt.at(line)
            raise

    return run


def _while(b: Build, node: Node) -> Closure:
    inner, cost = b.apart(node[2])
    line, test, body = node[1], _test(b, node[1], inner), block(b, node[3])
    cost += GAS_LOOP

    def run(f: Frame) -> Any:
        m = f[0]
        while True:
            m.gas -= cost
            if m.gas < 0:
                raise spent(line)
            if not test(f):
                return None
            signal = body(f)
            if signal is not None:
                if signal == BREAK:
                    return None
                if signal == RETURN:
                    return signal

    return run


def _for(b: Build, node: Node) -> Closure:
    line, walked = node[1], b.expr(node[3])
    before, b.cost = b.cost, GAS_LOOP
    put = target(b, node[2])
    cost, b.cost = b.cost, before
    slot = LOCALS + node[2][1] if node[2][0] == "local" else 0
    apart = node[2][0] == "unpack"
    body = block(b, node[4])

    def run(f: Frame) -> Any:
        m = f[0]
        try:
            items, gas, room, held = walk(m, walked(f), apart=apart)
            turn, size = cost + gas, len(held or ())
            for item in items:
                m.gas -= turn
                if m.gas < 0:
                    raise spent(line)
                if room:
                    m.allocate(room)
                if slot:
                    f[slot] = item
                else:
                    put(f, item)
                signal = body(f)
                if signal is not None:
                    if signal == BREAK:
                        return None
                    if signal == RETURN:
                        return signal
                if held is not None and len(held) != size:
                    raise changed_while_walked()
        except Halt as halt:
            halt.at(line)  # unless it passed a line of the body
            raise

    return run


BUILDERS: dict[str, Builder] = {
    **build_plain.BUILDERS,
    "break": _jump(BREAK),
    "continue": _jump(CONTINUE),
    "for": _for,
    "if": _if,
    "return": _return,
    "while": _while,
}
