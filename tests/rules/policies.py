"""Contracts of members that histories put into force: their sources, and what the model knows of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from contracts.check import among
from contracts.language.faults import ContractRejected
from contracts.language.ir import source_hash
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
    libraries: Mapping[str, bytes] = field(default_factory=dict)
    """The hashes of the libraries that it names, by its names for them."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A library that compiles."""

    source_hash: bytes
    ir_hash: bytes
    engine: int
    size: int
    length: int
    """Bytes of its source."""


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
SHARED = "REVEAL = 'reveal'\n\n\ndef early(phase: str) -> bool:\n    return phase != REVEAL\n"
LIBRARIES = (SHARED, *[f"LIMIT = {number}\n" for number in range(40)])
"""What histories publish: one that contracts name, and more than one organisation may have."""
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
    "shared": (
        f'lib = Library("{source_hash(SHARED).hex()}")\n\n\n'
        + _ALLOW.format(says="lib.early(phase)", answer=10),
        Trait(denies={"reveal": "POLICY_DENIED"}, answer=10),
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
        program = ContractRuntime().program(source, find=among(LIBRARIES))
    except ContractRejected as refused:
        raise AssertionError(f"a source of the fuzzer is refused: {refused}") from refused
    named = {name: library.source_hash for name, library in program.libraries.items()}
    hashes = program.source_hash, program.ir_hash
    return Code(*hashes, program.engine, program.abi, program.size, trait, named)


@cache
def library_of(source: str) -> Shared | None:
    """Return what the compiler knows of a library; None if it is refused."""
    if source not in LIBRARIES:
        return None
    made = ContractRuntime().library(source)
    return Shared(made.source_hash, made.ir_hash, made.engine, made.size, len(source.encode()))
