"""Contracts of members that histories put into force: their sources, and what the model knows of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from contracts.language.faults import ContractRejected
from contracts.runtime import ContractRuntime


@dataclass(frozen=True, slots=True)
class Trait:
    """What a source does, in the model's words."""

    answers: bool = True
    """Whether contracts can ask it `allow`."""
    denies: Mapping[str, str] | None = None
    """Phase -> code of its refusal; "*" stands for every phase."""
    counts_to: int = 0
    """How many times it says yes; it writes when it is asked. 0: it does not count."""
    init: tuple[str, ...] | None = None
    """Arguments of its @init, or None."""
    init_fails: str = ""
    migrate: tuple[str, ...] | None = None
    exports: frozenset[str] = frozenset({"act"})
    answer: int = 1
    """What `act` returns."""

    @property
    def migrates(self) -> bool:
        """Whether it has a @migrate."""
        return self.migrate is not None

    def refuses(self, phase: str) -> str:
        """Return the code with which it refuses a phase, or an empty text."""
        denies = self.denies or {}
        return denies.get(phase, denies.get("*", ""))

    def begin(self, upgrade: bool, arguments: Mapping[str, Any]) -> str:
        """Return how putting it into force with these arguments fails, or an empty text."""
        wanted = self.migrate if upgrade else self.init
        if wanted is None:
            return "UNKNOWN_METHOD" if arguments else ""
        if set(arguments) != set(wanted):
            return "BAD_ARGUMENTS"
        return "" if upgrade else self.init_fails


@dataclass(frozen=True, slots=True)
class Code:
    """A source that compiles."""

    source_hash: bytes
    ir_hash: bytes
    engine: int
    abi: dict[str, Any]
    size: int
    trait: Trait


_ACT = "\n\n@export\ndef act() -> int:\n    return {answer}\n"
_ALLOW = "@view\ndef allow(job: dict, phase: str) -> bool:\n    return {says}\n" + _ACT
_COUNTS = """asked = Var(int, 0)


@export(nested=True)
def allow(job: dict, phase: str) -> bool:
    require(ctx.caller == "contract:grants", "GRANTS_ONLY")
    asked.set(asked.get() + 1)
    return asked.get() <= 12
"""
_YES = _ALLOW.format(says="True", answer=1)
BROKEN = "import os\n"
SOURCES: dict[str, tuple[str, Trait]] = {
    "yes": (_YES, Trait()),
    "no": (_ALLOW.format(says="False", answer=2), Trait(denies={"*": "POLICY_DENIED"}, answer=2)),
    "not-at-reveal": (
        _ALLOW.format(says='phase != "reveal"', answer=3),
        Trait(denies={"reveal": "POLICY_DENIED"}, answer=3),
    ),
    "reverts": (
        '@view\ndef allow(job: dict, phase: str) -> bool:\n    require(False, "NEVER")\n    return True\n'
        + _ACT.format(answer=4),
        Trait(denies={"*": "NEVER"}, answer=4),
    ),
    "counts": (
        _COUNTS + _ACT.format(answer=5),
        Trait(counts_to=12, exports=frozenset({"act", "allow"}), answer=5),
    ),
    "shapeless": (_ACT.format(answer=6).lstrip(), Trait(answers=False, answer=6)),
    "with-init": (
        "limit = Var(int, 0)\n\n\n@init\ndef setup(most: int):\n    limit.set(most)\n\n\n"
        + _ALLOW.format(says="True", answer=7),
        Trait(init=("most",), answer=7),
    ),
    "init-fails": (
        '@init\ndef setup():\n    require(False, "NOT_TODAY")\n\n\n' + _ALLOW.format(says="True", answer=8),
        Trait(init=(), init_fails="NOT_TODAY", answer=8),
    ),
    "migrates": (
        "step = Var(int, 0)\n\n\n@migrate\ndef move(to: int):\n    step.set(to)\n\n\n"
        + _ALLOW.format(says="True", answer=9),
        Trait(migrate=("to",), answer=9),
    ),
}
_TRAITS = dict(SOURCES.values())


@cache
def code_of(source: str) -> Code | None:
    """Return what the compiler and the model know of a source; None if it is refused."""
    trait = _TRAITS.get(source)
    if trait is None:
        return None
    try:
        program = ContractRuntime().program(source)
    except ContractRejected as refused:
        raise AssertionError(f"a source of the fuzzer is refused: {refused}") from refused
    return Code(program.source_hash, program.ir_hash, program.engine, program.abi, program.size, trait)
