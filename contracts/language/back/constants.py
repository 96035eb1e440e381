"""Constant folding: the code of a module-level constant runs once, on a scratch machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chain.primitives.values import Value
from contracts.language.back.builder import Build, Declared, Global, MadeOnce, charged
from contracts.language.back.table import TABLE
from contracts.language.folding import Folded
from contracts.language.hints import Hint
from contracts.language.ir import Node
from contracts.language.limits import INLINE_BYTES_MAX
from contracts.language.records import Record
from contracts.language.run.checks import CheckedRecord, checker
from contracts.language.run.encoding import CONSTANT, encode, encoded
from contracts.language.run.machine import UNSET, Closure, Machine
from contracts.language.run.record_checks import checked_record
from contracts.language.run.values import immutable


class ConstantTable:
    """The module-level constants of one program, by number: each may name those before it."""

    def __init__(self, scratch: Machine, declared: Declared, shared: MadeOnce) -> None:
        """Compute on this machine, which meters all of them together."""
        self.made: list[Global] = []
        self._scratch = scratch
        self._declared = declared
        self._shared = shared

    def compute(self, node: Node) -> Global:
        """Return the constant that an expression makes; it is no part of the table yet.

        ("scope", slots, node) is an expression with comprehensions: their locals get a frame of their own.
        """
        b = Build(TABLE, {}, self._declared, self.made, self._shared)
        slots = 0
        if node[0] == "scope":
            _, slots, node = node
        made = b.expr(node)
        if slots:
            made = _framed(made, slots)
        self._scratch.charge(b.cost)
        value = made([self._scratch, None])
        encode(self._scratch, value, CONSTANT)
        return Global(value, None if immutable(value) else charged(made, b.cost))


def _framed(made: Closure, slots: int) -> Closure:
    padding = [UNSET] * slots
    return lambda f: made([f[0], None, *padding])


class ConstantFolder:
    """Computes the constants of a source while the front end lowers it (`folding.Folder`)."""

    def __init__(self, scratch: Machine, libraries: Mapping[str, Sequence[Global]]) -> None:
        """Compute on this machine; `libraries` are tables of constants, by the source's names for them."""
        self._scratch = scratch
        self._libraries = libraries
        self._records: dict[str, CheckedRecord] = {}
        self._table = ConstantTable(scratch, Declared(self._records), MadeOnce())

    def define(self, record: Record) -> None:
        """Let constants be of this record; the records that its fields name were defined before."""
        self._records[record.name] = checked_record(record, self._records)

    def link(self, alias: str, number: int) -> None:
        """Let the next entry of the table of constants be this one of a library's table."""
        self._table.made.append(self._libraries[alias][number])

    def fold(self, node: Node, hint: Hint) -> Folded:
        """Compute a constant; one that is small and cannot change stands where it is used, not in the table.

        Raises Halt when it cannot be made within the caps.
        """
        made = self._table.compute(node)
        value = made.value
        fits = checker(hint, self._records)(self._scratch, value)
        mutable = not immutable(value)
        if not mutable and len(data := encoded(value)) <= INLINE_BYTES_MAX:
            return Folded(("const", data), value, mutable=False, flat=True, fits=fits)
        self._table.made.append(made)
        number = len(self._table.made) - 1
        return Folded(("global", number), value, mutable=mutable, flat=_is_flat(value), fits=fits)


def _is_flat(value: Value) -> bool:
    """Tell whether a value is a list or dict of what cannot change."""
    if type(value) not in (list, dict):
        return False
    return all(immutable(part) for part in (value.values() if type(value) is dict else value))
