"""Check and run a contract file without a network: what `assent contract check` and `run` do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chain.primitives.codec import Value, decode_value
from chain.primitives.errors import AssentError
from chain.primitives.execution import OK, REJECTED, RESULT_BYTES_MAX
from chain.primitives.jsonvalue import to_json
from contracts.language.build_calls import enter
from contracts.language.faults import ContractRejected, Diagnostic, Reverted
from contracts.language.machine import Machine
from contracts.language.program import analyse, compile_source
from contracts.language.values import encode, isolate
from contracts.runtime import ContractRuntime, bind, guarded

FILE_BYTES_MAX = 1_048_576
AUTHOR = "author"


class ContractFileUnreadable(AssentError):
    """A contract file that is missing, too large or not UTF-8: name the right file."""

    code = "contract_file"


@dataclass(frozen=True, slots=True)
class _NoState:
    """The empty state that a file runs on."""

    def get(self, namespace: str, key: bytes) -> bytes | None:  # noqa: ARG002 (a port)
        return None


def read_source(path: Path) -> str:
    """Return a contract file's text; raise ContractFileUnreadable."""
    try:
        raw = path.read_bytes()
        if len(raw) > FILE_BYTES_MAX:
            raise ContractFileUnreadable(f"{path}: {len(raw)} bytes, at most {FILE_BYTES_MAX}")
        return raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ContractFileUnreadable(f"{path}: cannot be read as UTF-8 text ({error})") from None


def check_source(source: str) -> list[Diagnostic]:
    """Return every reason why a source would be refused at deployment; empty when it is a contract."""
    return analyse(source)[2]


def run_source(source: str, function: str, args: dict[str, Value], gas: int) -> dict[str, Any]:
    """Run one function of a source on empty state; return the verdict as a JSON-ready object."""
    try:
        program = compile_source(source, "file")
    except ContractRejected as rejected:
        first = rejected.diagnostics[0]
        return _verdict(REJECTED, None, first.rule, 0, first.line, str(rejected))
    runtime = ContractRuntime()
    machine = Machine(gas, _NoState(), runtime)
    machine.org, machine.caller, machine.contract = AUTHOR, f"org:{AUTHOR}", "file"
    machine.running = ("file",)

    def work() -> bytes:
        found = program.functions.get(function)
        if found is None:
            raise Reverted("UNKNOWN_METHOD", f"no function {function!r}: {', '.join(program.functions)}")
        return encode(machine, enter(machine, found, bind(machine, found, [], isolate(machine, args))))

    outcome = guarded(machine, gas, "file", work)
    result = None
    if outcome.status == OK:
        result = to_json(decode_value(outcome.result, max_bytes=max(RESULT_BYTES_MAX, len(outcome.result))))
    return _verdict(outcome.status, result, outcome.code, outcome.gas_used, outcome.line, outcome.detail)


def _verdict(status: str, result: Any, code: str, gas: int, line: int, detail: str) -> dict[str, Any]:
    return {"status": status, "result": result, "code": code, "gas": gas, "line": line, "detail": detail}
