"""What `assent contract check` and `assent contract run` do, as functions: no network, no ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from chain.primitives.errors import DecodeError
from chain.primitives.execution import ARGS_BYTES_MAX, OK, REJECTED, Outcome
from chain.primitives.jsonvalue import from_json, to_json
from chain.primitives.values import Value, decode_stored, encode_value
from contracts.language.builder import Function
from contracts.language.faults import ContractRejected, Diagnostic, Reverted
from contracts.language.limits import DEFAULT_GAS, GAS_TRANSACTION
from contracts.language.machine import Machine
from contracts.language.program import Program, analyse, compile_source
from contracts.risks import find_risks
from contracts.runtime import ContractRuntime, guarded, invoke
from contracts.testing import BLOCK_MS, LocalChain, key_of

NAME = "contract"
ORG = "tester"


class BadArguments(DecodeError):
    """Arguments of a run that are not JSON values of the language: the text says which and what to give."""

    code = "bad_arguments"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What checking one source found."""

    diagnostics: tuple[Diagnostic, ...]
    program: Program | None
    warnings: tuple[Diagnostic, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as one JSON object."""
        found = [asdict(item) for item in self.diagnostics]
        if self.program is None:
            return {"status": REJECTED, "diagnostics": found}
        return {
            "status": OK,
            "source_hash": self.program.source_hash.hex(),
            "ir_hash": self.program.ir_hash.hex(),
            "engine": self.program.engine,
            "abi": to_json(self.program.abi),
            "diagnostics": found,
            "warnings": [asdict(item) for item in self.warnings],
        }


def check_source(source: str, name: str) -> CheckReport:
    """Check and compile a source without running it, and look for what may not do what is meant."""
    try:
        program = compile_source(source, name)
    except ContractRejected as rejected:
        return CheckReport(rejected.diagnostics, None)
    _, names, _ = analyse(source)
    return CheckReport((), program, tuple(find_risks(names)) if names else ())


def parse_arguments(text: str) -> Any:
    """Read `--args`: a JSON object of arguments by name, or an array in order; raise BadArguments."""
    try:
        given = from_json(json.loads(text))
        encoded = encode_value(given)
    except RecursionError:
        raise BadArguments("--args: nested too deep; values nest at most 32 levels") from None
    except UnicodeEncodeError:
        raise BadArguments("--args: half of a surrogate pair; give well-formed Unicode") from None
    except (ValueError, DecodeError) as error:
        raise BadArguments(f'--args: {error}; give a JSON object such as {{"amount": 5}}') from None
    if type(given) not in (dict, list):
        raise BadArguments("--args: give a JSON object of arguments by name, or an array in order")
    if len(encoded) > ARGS_BYTES_MAX:
        raise BadArguments(f"--args: {len(encoded)} bytes encoded, at most {ARGS_BYTES_MAX}")
    return given


def run_source(
    source: str,
    call: str,
    args: Mapping[str, Value] | Sequence[Value],
    *,
    gas: int = DEFAULT_GAS,
    init: Mapping[str, Value] | None = None,
) -> dict[str, Any]:
    """Run one function of a source on an empty chain, as `run_outcome` does; return the verdict as JSON.

    {"status", "result", "code", "gas", "line", "detail"}; in `result`, bytes are {"$bytes": hex}.
    """
    return verdict_of(run_outcome(source, call, args, gas=gas, init=init))


def run_outcome(
    source: str,
    call: str,
    args: Mapping[str, Value] | Sequence[Value],
    *,
    gas: int = DEFAULT_GAS,
    init: Mapping[str, Value] | None = None,
) -> Outcome:
    """Run one function of a source on an empty chain; any function may be named, decorated or not.

    With `init`, the contract is deployed first and its @init is run with these arguments.
    """
    runtime = ContractRuntime()
    chain = LocalChain(ORG, runtime=runtime)
    try:
        program = runtime.program(source, NAME)
        if init is not None:
            chain.deploy(source, NAME, init)
    except ContractRejected as rejected:
        first = rejected.diagnostics[0]
        return Outcome(REJECTED, first.rule, line=first.line, detail=str(rejected))
    machine = _machine(runtime, chain, gas)
    return guarded(machine, gas, NAME, partial(_work, machine, program, call, args))


def _machine(runtime: ContractRuntime, chain: LocalChain, gas: int) -> Machine:
    machine = Machine(gas, chain.state, runtime)
    machine.height, machine.block_time, machine.tx_id = chain.height, chain.time + BLOCK_MS, bytes(32).hex()
    machine.org, machine.roles, machine.signer = ORG, ("admin",), key_of(ORG).public.hex()
    machine.caller = machine.origin = f"org:{ORG}"
    return machine


def _work(machine: Machine, program: Program, call: str, args: Any) -> bytes:
    function = program.functions.get(call)
    if function is None:
        known = ", ".join(program.functions) or "none"
        raise Reverted("UNKNOWN_METHOD", f"there is no function {call}; there is {known}")
    try:
        encoded = encode_value(_named(function, args))
    except DecodeError as error:
        raise Reverted("BAD_ARGUMENTS", str(error)) from None
    machine.charge(GAS_TRANSACTION + len(encoded))
    return invoke(machine, NAME, function, encoded)


def _named(function: Function, args: Any) -> dict[str, Value]:
    if isinstance(args, Mapping):
        return dict(args)
    extra = [f"argument {place}" for place in range(len(function.names), len(args))]
    return dict(zip([*function.names, *extra], args, strict=False))


def verdict_of(outcome: Outcome) -> dict[str, Any]:
    """Return the one JSON object that `assent contract run --json` prints."""
    done = outcome.status == OK
    return {
        "status": outcome.status,
        "result": to_json(decode_stored(outcome.result)) if done else None,
        "code": None if done else outcome.code,
        "gas": outcome.gas_used,
        "line": outcome.line or None,
        "detail": None if done else outcome.detail,
    }
