"""The functions behind `assent contract check` and `assent contract run`; they need no network."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any

from chain.primitives.errors import DecodeError
from chain.primitives.jsonvalue import from_json, to_json
from chain.primitives.runtimeport import ARGS_BYTES_MAX, OK, REJECTED, Outcome
from chain.primitives.values import Value, decode_stored, encode_value
from contracts.language.back.builder import Function
from contracts.language.faults import ContractRejected, Diagnostic, Reverted
from contracts.language.front.checker import parse
from contracts.language.front.library_rules import declarations
from contracts.language.front.tokens import precheck
from contracts.language.ir import source_hash
from contracts.language.library import HASH_TEXT, Find, Library
from contracts.language.limits import DEFAULT_GAS, GAS_TRANSACTION, LIBRARIES_MAX
from contracts.language.program import Program, analyse, compile_library, compile_source
from contracts.language.run.machine import Machine
from contracts.risks import find_risks
from contracts.runtime import ContractRuntime, guarded, invoke
from contracts.testing import BLOCK_MS, LocalChain, key_of

NAME = "contract"
ORG = "tester"


class BadArguments(DecodeError):
    """The error of arguments that are not JSON values of the language: it says which, and what to give."""

    code = "bad_arguments"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The findings of a check of one source."""

    diagnostics: tuple[Diagnostic, ...]
    program: Program | Library | None
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


def check_source(source: str, name: str, libraries: Sequence[str] = ()) -> CheckReport:
    """Check and compile a source without running it, and look for what may not do what is meant.

    `libraries` are the sources among which the libraries are that it names.
    """
    find = among(libraries)
    try:
        program = compile_source(source, name, find=find)
    except ContractRejected as rejected:
        return CheckReport(rejected.diagnostics, None)
    _, names, _ = analyse(source, find)
    return CheckReport((), program, tuple(find_risks(names)) if names else ())


def check_library(source: str, name: str) -> CheckReport:
    """Check and compile a source as a library."""
    try:
        return CheckReport((), compile_library(source, name))
    except ContractRejected as rejected:
        return CheckReport(rejected.diagnostics, None)


def among(sources: Sequence[str]) -> Find:
    """Return a `Find` that knows the libraries among these sources, by hashes that it computes itself."""
    texts = _by_hash(sources)

    def find(wanted: bytes, room: int) -> Library | None:
        text = texts.get(wanted)
        return None if text is None else compile_library(text, "library", room=room)

    return find


def _by_hash(sources: Sequence[str]) -> dict[bytes, str]:
    return {source_hash(text): text for text in sources if is_text(text)}


def is_text(source: str) -> bool:
    """Tell whether a source is well-formed Unicode, so that it can have a hash."""
    return not any("\ud800" <= letter <= "\udfff" for letter in source)


def libraries_of(source: str) -> dict[str, bytes]:
    """Return the hashes of the libraries that a source names, by its names for them; {} if it is refused."""
    scan = precheck(source)
    tree = None if scan.found else parse(source)[0]
    named: dict[str, bytes] = {}
    for name, call in [] if tree is None else declarations(tree):
        text = call.args[0].value if len(call.args) == 1 and isinstance(call.args[0], ast.Constant) else None
        if isinstance(text, str) and HASH_TEXT.fullmatch(text):
            named[name] = bytes.fromhex(text)
    return dict(islice(named.items(), LIBRARIES_MAX))


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
    libraries: Sequence[str] = (),
) -> dict[str, Any]:
    """Run one function of a source on an empty chain, as `run_outcome` does; return the verdict as JSON.

    {"status", "result", "code", "gas", "line", "detail"}; in `result`, bytes are {"$bytes": hex}.
    """
    return verdict_of(run_outcome(source, call, args, gas=gas, init=init, libraries=libraries))


def run_outcome(
    source: str,
    call: str,
    args: Mapping[str, Value] | Sequence[Value],
    *,
    gas: int = DEFAULT_GAS,
    init: Mapping[str, Value] | None = None,
    libraries: Sequence[str] = (),
) -> Outcome:
    """Run one function of a source on an empty chain; any function may be named, decorated or not.

    With `init`, the contract is deployed first and its @init is run with these arguments. `libraries` are the
    sources among which the libraries are that it names.
    """
    runtime = ContractRuntime()
    chain = LocalChain(ORG, runtime=runtime)
    try:
        program = runtime.program(source, NAME, among(libraries))
        if init is not None:
            texts = _by_hash(libraries)
            for library in program.libraries.values():
                chain.library(texts[library.source_hash])
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
