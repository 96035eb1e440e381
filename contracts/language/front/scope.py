"""The scope of one function: the slots of its locals, and what is known of each at one point of its body."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

from contracts.language.front.declarations import Declarations
from contracts.language.front.refusals import Refusal
from contracts.language.hints import ANY, Hint, bounded, either
from contracts.language.vocabulary import RESERVED


class Scope:
    """The slots of one function's locals, and which of them are certainly assigned at this point."""

    def __init__(self, params: list[str], local_names: list[str]) -> None:
        """Give slots to parameters first, then to the other locals in order of appearance."""
        self.slots = {name: slot for slot, name in enumerate(dict.fromkeys([*params, *local_names]))}
        self.count = len(self.slots)
        self.params = frozenset(params)
        self.assigned = (1 << len(set(params))) - 1
        """The slots, as bits, of locals that are certainly assigned: branches copy and join it."""
        self.called: set[str] = set()
        self.inner: list[dict[str, int]] = []
        self.declared: dict[str, Hint] = {}
        """Hints of locals that have one: of parameters and annotated names."""
        self._learned: list[dict[str, Hint]] = [{}]
        """What assignments so far tell of the others, of the function and of each comprehension."""

    def find(self, name: str) -> tuple[int, bool] | None:
        """Return (slot, certainly assigned) of a local, or None."""
        for names in reversed(self.inner):
            if name in names:
                return names[name], True
        slot = self.slots.get(name)
        return None if slot is None else (slot, bool(self.assigned >> slot & 1))

    def assign(self, name: str) -> int:
        """Return the slot of a local that is assigned from here on."""
        slot = self.slots[name]
        self.assigned |= 1 << slot
        return slot

    def learn(self, name: str, hint: Hint) -> None:
        """Note that a local may hold a value of this hint from here on."""
        learned = self._learned[-1 if self.inner and name in self.inner[-1] else 0]
        learned[name] = either(learned[name], hint) if name in learned else bounded(hint)

    def known(self, name: str) -> Hint:
        """Return what is known of the type of a local."""
        for names, learned in zip(reversed(self.inner), reversed(self._learned), strict=False):
            if name in names:
                return learned.get(name, ANY)
        return self.declared.get(name) or self._learned[0].get(name, ANY)

    def fresh(self, name: str) -> int:
        """Return a new slot for a comprehension's variable in the innermost comprehension."""
        names = self.inner[-1]
        if name not in names:
            names[name] = self.count
            self.count += 1
        return names[name]

    @contextmanager
    def comprehension(self) -> Iterator[None]:
        """Open the scope of one comprehension."""
        self.inner.append({})
        self._learned.append({})
        yield
        self.inner.pop()
        self._learned.pop()


def assigned_names(body: list[ast.stmt]) -> list[str]:
    """Return the names that a function body assigns, in order; not those of comprehensions and lambdas."""
    found: list[str] = []
    for statement in body:
        _collect(statement, found)
    return found


def _collect(node: ast.AST, found: list[str]) -> None:
    if isinstance(node, (ast.ListComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)):
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        found.append(node.id)
    for child in ast.iter_child_nodes(node):
        _collect(child, found)


def check_new_name(names: Declarations, node: ast.AST, name: str) -> None:
    """Refuse a local that hides a declaration or a name of the language."""
    if name in RESERVED:
        raise Refusal(node, "RESERVED_NAME", f"{name} belongs to the language", "another name")
    kind = names.kind_of(name)
    if kind:
        raise Refusal(node, "HIDDEN_NAME", f"{name} is {kind} of this contract", "another name for the local")


def linked_name(names: Declarations, scope: Scope, node: ast.AST) -> str | None:
    """Return `library.name` where something of a library is named, whether it has it or not; else None."""
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
        return None
    owner = node.value.id
    return f"{owner}.{node.attr}" if owner in names.libraries and scope.find(owner) is None else None
