"""Verdicts of runs that fail, diagnostics of sources that are refused, and host trouble, which is neither."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chain.primitives.errors import AssentError
from chain.primitives.runtimeport import LIMIT, OUT_OF_GAS, REJECTED, REVERTED, TraceFrame

CODE_PATTERN = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
"""A code with which a contract refuses."""

DIAGNOSTICS_MAX = 20
"""Reasons that a refusal lists, in source order: each may quote much of the source."""


class Halt(AssentError):
    """A verdict that stops a call: status and reason go into the receipt, line and trace are for people."""

    code = "halt"
    status = REVERTED

    def __init__(self, reason: str, detail: str = "") -> None:
        """Stop with a stable reason; the detail never reaches a receipt."""
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.line = 0
        self.here = 0
        self.trace: list[TraceFrame] = []

    def __str__(self) -> str:
        """One line that names code, place and detail."""
        several = len({frame.contract for frame in self.trace}) > 1
        where = " < ".join(
            f"{frame.contract + '.' if several else ''}{frame.function}{_of(frame)}, line {frame.line}"
            for frame in self.trace
        )
        return " ".join(part for part in (self.reason, f"in {where}" if where else "", self.detail) if part)

    def at(self, line: int) -> None:
        """Remember the innermost line, and the line in the function that the halt is passing through."""
        self.line = self.line or line
        self.here = self.here or line

    def leave(self, contract: str, function: str, library: str = "") -> None:
        """Remember one function that the halt passes through; the trace keeps the innermost eight."""
        if len(self.trace) < 8:
            self.trace.append(TraceFrame(contract, function, self.here, library))
        self.here = 0


def _of(frame: TraceFrame) -> str:
    return f" of library {frame.library[:16]}" if frame.library else ""


class Reverted(Halt):
    """The verdict of a contract that refused, or did what the language refuses at run time."""

    code = "reverted"
    status = REVERTED


class OutOfGas(Halt):
    """The verdict of a call whose gas limit is used up; no construct of the language can catch it."""

    code = "out_of_gas"
    status = OUT_OF_GAS

    def __init__(self, reason: str = "OUT_OF_GAS", detail: str = "") -> None:
        """Stop for want of gas."""
        super().__init__(reason, detail)


class LimitExceeded(Halt):
    """The verdict of a value beyond a cap of the language: too large, too many elements, nested too deep."""

    code = "limit"
    status = LIMIT


class HostTrouble(AssentError):
    """A failure of the host (memory, stack, a fault of ours): it is no verdict, and the replica must stop."""

    code = "host_trouble"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One reason why a source is refused: where, which rule, and what to write instead."""

    rule: str
    line: int
    column: int
    reason: str
    instead: str

    def render(self, file: str, degree: str = "") -> str:
        """Return `file:line:column: RULE: reason; instead: …`; `degree` stands before the rule."""
        return (
            f"{file}:{self.line}:{self.column}: {degree}{self.rule}: {self.reason}; instead: {self.instead}"
        )


class ContractRejected(AssentError):
    """A refusal of a source: every diagnostic says what is wrong, where, and how to write it instead."""

    code = REJECTED

    def __init__(self, name: str, diagnostics: Sequence[Diagnostic]) -> None:
        """Refuse the source called `name`."""
        super().__init__("\n".join(item.render(name) for item in diagnostics))
        self.diagnostics = tuple(diagnostics)
