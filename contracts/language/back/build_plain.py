"""Builders of plain statements: closures that compute, change or refuse, and note their line on a halt."""

from __future__ import annotations

from typing import Any

from contracts.language.back.build_records import augment_field
from contracts.language.back.build_state import map_augment, map_delete
from contracts.language.back.build_walks import target
from contracts.language.back.builder import Build, Builder
from contracts.language.faults import Halt, Reverted
from contracts.language.ir import Node
from contracts.language.limits import GAS_DICT, GAS_NODE, GAS_OPERATOR
from contracts.language.run.machine import LOCALS, Closure, Frame
from contracts.language.run.operators import SMALL, Operator, delete_item, get_item, in_place, set_item


def _expr(b: Build, node: Node) -> Closure:
    return _noted(node[1], b.expr(node[2]))


def _assign(b: Build, node: Node) -> Closure:
    line, inner = node[1], b.expr(node[3])
    if node[2][0] == "local":
        b.cost += GAS_NODE
        return _assign_local(line, LOCALS + node[2][1], inner)
    put = target(b, node[2])

    def run(f: Frame) -> Any:
        try:
            put(f, inner(f))
        except Halt as halt:
            halt.at(line)
            raise

    return run


def _assign_local(line: int, slot: int, inner: Closure) -> Closure:
    def run(f: Frame) -> Any:
        try:
            f[slot] = inner(f)
        except Halt as halt:
            halt.at(line)
            raise

    return run


def _assign_all(b: Build, node: Node) -> Closure:
    line, inner = node[1], b.expr(node[3])
    puts = [target(b, part) for part in node[2]]

    def run(f: Frame) -> Any:
        try:
            value = inner(f)
            for put in puts:
                put(f, value)
        except Halt as halt:
            halt.at(line)
            raise

    return run


def _augment(b: Build, node: Node) -> Closure:
    _, line, symbol, place, current, value = node
    b.cost += GAS_OPERATOR
    if place[0] == "local":
        return _augment_local(b, line, symbol, LOCALS + place[1], b.expr(current), b.expr(value))
    if place[0] == "item":
        return _augment_item(b, line, symbol, place, value)
    if place[0] == "field":
        return _noted(line, augment_field(b, place, value, in_place(symbol)))
    return _noted(line, map_augment(b, place, value, in_place(symbol)))


def _noted(line: int, inner: Closure) -> Closure:
    def run(f: Frame) -> Any:
        try:
            inner(f)
        except Halt as halt:
            halt.at(line)
            raise

    return run


def _augment_local(b: Build, line: int, symbol: str, slot: int, read: Closure, inner: Closure) -> Closure:
    work = in_place(symbol)
    if symbol == "+":
        return _add_local(line, slot, work, read, inner)
    b.cost += GAS_OPERATOR

    def run(f: Frame) -> Any:
        try:
            f[slot] = work(f[0], read(f), inner(f))
        except Halt as halt:
            halt.at(line)
            raise

    return run


def _add_local(line: int, slot: int, work: Operator, read: Closure, inner: Closure) -> Closure:
    def run(f: Frame) -> Any:
        try:
            x = read(f)
            y = inner(f)
            if type(x) is int and type(y) is int and -SMALL < (z := x + y) < SMALL:
                f[slot] = z
            else:
                f[slot] = work(f[0], x, y)
        except Halt as halt:
            halt.at(line)
            raise

    return run


def _augment_item(b: Build, line: int, symbol: str, place: Node, value: Node) -> Closure:
    held, key, inner, work = b.expr(place[1]), b.expr(place[2]), b.expr(value), in_place(symbol)
    b.cost += 2 * GAS_DICT

    def run(f: Frame) -> Any:
        try:
            m, x, k = f[0], held(f), key(f)
            set_item(m, x, k, work(m, get_item(m, x, k), inner(f)))
        except Halt as halt:
            halt.at(line)
            raise

    return run


def _delete(b: Build, node: Node) -> Closure:
    line, place = node[1], node[2]
    remove = map_delete(b, place) if place[0] == "map" else _delete_item(b, place)

    def run(f: Frame) -> Any:
        try:
            remove(f)
        except Halt as halt:
            halt.at(line)
            raise

    return run


def _delete_item(b: Build, place: Node) -> Closure:
    held, key = b.expr(place[1]), b.expr(place[2])
    b.cost += GAS_DICT
    return lambda f: delete_item(f[0], held(f), key(f))


def _assert(b: Build, node: Node) -> Closure:
    line, condition, message = node[1], b.expr(node[2]), node[3]

    def run(f: Frame) -> Any:
        try:
            if not condition(f):
                raise Reverted("ASSERTION", message)
        except Halt as halt:
            halt.at(line)
            raise

    return run


def _raise(_: Build, node: Node) -> Closure:
    line, code = node[1], node[2]

    def run(_: Frame) -> Any:
        halt = Reverted(code)
        halt.at(line)
        raise halt

    return run


BUILDERS: dict[str, Builder] = {
    "assert": _assert,
    "assign": _assign,
    "assign_all": _assign_all,
    "augment": _augment,
    "delete": _delete,
    "expr": _expr,
    "raise": _raise,
}
