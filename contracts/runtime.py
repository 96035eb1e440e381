"""Runs contracts for the ledger: finds code and sender in the state, meters the whole transaction, collects effects.

`ContractRuntime` does no input or output and keeps nothing between calls but a cache of compiled code, keyed by
(source hash, engine). It may be used from several threads.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial

from chain.primitives.codec import Value, decode_stored, decode_value, encode_value
from chain.primitives.errors import DecodeError
from chain.primitives.execution import (
    ARGS_BYTES_MAX,
    OK,
    OUT_OF_GAS,
    RESULT_BYTES_MAX,
    Call,
    Outcome,
    StateReader,
    map_key,
)
from contracts.language.build_calls import enter
from contracts.language.builder import Function
from contracts.language.faults import ContractRejected, Halt, HostTrouble, LimitExceeded, Reverted
from contracts.language.limits import (
    CONTRACT_DEPTH_MAX,
    ENGINE,
    GAS_COMPILE,
    GAS_COMPILE_BYTE,
    GAS_STATE_READ,
    GAS_TRANSACTION,
    RECURSION_LIMIT,
)
from contracts.language.machine import UNSET, Machine
from contracts.language.program import Program, compile_source
from contracts.language.values import book, encode, isolate

CACHE_PROGRAMS = 256
GENESIS_GAS = 10**10
GENESIS_BYTES = 10**8
LIFECYCLE, ORGS = "lifecycle", "orgs"
_PUBLIC = ("export", "view")


class ContractRuntime:
    """The production interpreter behind the `Runtime` port."""

    def __init__(self, *, cache_programs: int = CACHE_PROGRAMS) -> None:
        """Make room for the interpreter's own frames, so that no verdict depends on the host's stack."""
        if sys.getrecursionlimit() < RECURSION_LIMIT:
            sys.setrecursionlimit(RECURSION_LIMIT)
        self._programs: OrderedDict[tuple[bytes, int], Program] = OrderedDict()
        self._cache_programs = cache_programs
        self._lock = threading.Lock()

    # --- the port -----------------------------------------------------------------------------------------

    def execute(self, call: Call, state: StateReader) -> Outcome:
        """Run an exported method (or a view) for a transaction of a registered key."""
        return self._run(call, state, read_only=False)

    def view(self, call: Call, state: StateReader) -> Outcome:
        """Run a @view method for anyone; writes and events are refused."""
        return self._run(call, state, read_only=True)

    def bootstrap(
        self,
        sources: Mapping[str, str],
        init_args: Mapping[str, Mapping[str, Value]],
        *,
        time: int,
        state: StateReader,
    ) -> Outcome:
        """Install contracts at height 0, in order, running each @init; raise when one is refused or fails."""
        machine = Machine(GENESIS_GAS, state, self)
        machine.written = machine.memory = GENESIS_BYTES
        machine.caller, machine.signer, machine.tx_id, machine.block_time = (
            "genesis",
            "",
            bytes(32).hex(),
            time,
        )
        for name, source in sources.items():
            program = self._compiled(source, name)
            record = {
                "name": name,
                "seq": 1,
                "source_hash": program.source_hash,
                "ir_hash": program.ir_hash,
                "engine": ENGINE,
                "active_at": 0,
                "status": "active",
                "system": True,
                "frozen_until": 0,
            }
            machine.writes[LIFECYCLE, map_key("active", name)] = encode_value(record)
            machine.writes[LIFECYCLE, map_key("sources", program.source_hash)] = encode_value(source)
            machine.writes[LIFECYCLE, map_key("latest", name)] = encode_value(1)
        for name, source in sources.items():
            machine.caller, machine.contract = "genesis", name
            self._lifecycle_function(
                machine, name, self._compiled(source, name), dict(init_args.get(name, {})), "init"
            )
        return Outcome(
            OK, gas_used=GENESIS_GAS - machine.gas, writes=machine.writes, events=tuple(machine.events)
        )

    def program(self, source: str, name: str = "contract") -> Program:
        """Return the compiled program of a source; raise ContractRejected when it is refused."""
        return self._compiled(source, name)

    # --- one transaction ----------------------------------------------------------------------------------

    def _run(self, call: Call, state: StateReader, *, read_only: bool) -> Outcome:
        machine = Machine(call.gas_limit, state, self)
        machine.tx_id, machine.height, machine.block_time = call.tx_id.hex(), call.height, call.block_time
        machine.read_only = read_only
        work: Callable[[], bytes] = partial(self._transaction, machine, call, read_only)
        return guarded(machine, call.gas_limit, call.contract, work)

    def _transaction(self, machine: Machine, call: Call, read_only: bool) -> bytes:
        machine.charge(GAS_TRANSACTION + len(call.args))
        known = self._sender(machine, call.sender)
        if not known and not read_only:
            raise Reverted("UNKNOWN_SENDER", f"key {call.sender.hex()[:16]} signs for no organisation")
        machine.caller = f"org:{machine.org}"
        program, frozen = self._active(machine, call.contract)
        function = _method(program, call.contract, call.method, frozen)
        if read_only and function.kind != "view":
            raise Reverted("NOT_A_VIEW", f"{call.contract}.{call.method} is not a @view")
        args = _arguments(machine, call.args)
        machine.contract, machine.running = call.contract, (call.contract,)
        machine.read_only = read_only or function.kind == "view"
        result = enter(machine, function, bind(machine, function, [], args))
        data = encode(machine, result)
        machine.charge(len(data))
        if len(data) > RESULT_BYTES_MAX:
            raise LimitExceeded("RESULT_BYTES", f"a result of {len(data)} bytes, at most {RESULT_BYTES_MAX}")
        return data

    def _sender(self, machine: Machine, sender: bytes) -> bool:
        """Fill in who signs; a revoked key still signs for the heights up to its revocation."""
        machine.signer = sender.hex()
        stored = machine.state.get(ORGS, map_key("keys", machine.signer))
        record = None if stored is None else decode_stored(stored)
        if type(record) is not dict or type(record.get("org")) is not str:
            return False
        if not key_signs(record, machine.height):
            return False
        machine.org = record["org"]
        machine.roles = tuple([role for role in record.get("roles", ()) if type(role) is str])
        return True

    # --- code ---------------------------------------------------------------------------------------------

    def _active(self, machine: Machine, name: str) -> tuple[Program, bool]:
        """Return the program in force at this height, and whether it is frozen."""
        stored = _lifecycle_read(machine, map_key("active", name))
        record = None if stored is None else decode_stored(stored)
        if type(record) is dict and record.get("active_at", 0) > machine.height:
            record = record.get("previous")
        if type(record) is not dict:
            raise Reverted("UNKNOWN_CONTRACT", f"no contract {name} is active at height {machine.height}")
        if record.get("status") == "revoked":
            raise Reverted("CONTRACT_REVOKED", f"contract {name} is revoked")
        until = record.get("frozen_until", 0)
        frozen = record.get("status") == "frozen" and (not until or machine.height <= until)
        return self._stored_program(
            machine, name, record["source_hash"], record.get("engine", ENGINE)
        ), frozen

    def _stored_program(self, machine: Machine, name: str, source_hash: bytes, engine: int) -> Program:
        if engine != ENGINE:
            raise HostTrouble(
                f"contract {name} needs engine {engine}; this node has engine {ENGINE}: update it"
            )
        found = self._cached(source_hash, engine)
        if found is not None:
            return found
        stored = _lifecycle_read(machine, map_key("sources", source_hash))
        if stored is None:
            raise Reverted("UNKNOWN_SOURCE", f"contract {name}: no source with hash {source_hash.hex()[:16]}")
        return self._compiled(decode_stored(stored), name)

    def _compiled(self, source: str, name: str) -> Program:
        program = compile_source(source, name)
        with self._lock:
            self._programs[program.source_hash, program.engine] = program
            while len(self._programs) > self._cache_programs:
                self._programs.popitem(last=False)
        return program

    def _cached(self, source_hash: bytes, engine: int) -> Program | None:
        with self._lock:
            found = self._programs.get((source_hash, engine))
            if found is not None:
                self._programs.move_to_end((source_hash, engine))
            return found

    # --- what running contracts ask for (language.machine.Services) ----------------------------------------

    def remote(
        self, machine: Machine, contract: str, method: str, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """Call another contract: copies cross over, the callee sees the caller, no contract is entered twice."""
        if contract in machine.running:
            raise Reverted("REENTRANT", f"contract {contract} is already running in this transaction")
        if len(machine.running) >= CONTRACT_DEPTH_MAX:
            raise LimitExceeded("CONTRACT_DEPTH", f"at most {CONTRACT_DEPTH_MAX} contracts call one another")
        machine.charge(2 * GAS_STATE_READ)
        program, frozen = self._active(machine, contract)
        function = _method(program, contract, method, frozen)
        given = [isolate(machine, value) for value in args]
        by_name = {name: isolate(machine, value) for name, value in named.items()}
        frame = bind(machine, function, given, by_name)
        outer = machine.contract, machine.caller, machine.running, machine.read_only
        machine.caller, machine.contract = f"contract:{machine.contract}", contract
        machine.running = (*machine.running, contract)
        machine.read_only = machine.read_only or function.kind == "view"
        result = isolate(machine, enter(machine, function, frame))
        machine.contract, machine.caller, machine.running, machine.read_only = outer
        return result

    def compile_source(self, machine: Machine, source: str) -> Value:
        """Compile for the lifecycle; the gas is paid before, per byte of source."""
        machine.charge(GAS_COMPILE + GAS_COMPILE_BYTE * len(source.encode()))
        try:
            program = self._compiled(source, "source")
        except ContractRejected as rejected:
            raise Reverted("REJECTED_SOURCE", str(rejected)) from None
        made = {
            "source_hash": program.source_hash,
            "ir_hash": program.ir_hash,
            "engine": program.engine,
            "abi": program.abi,
        }
        return isolate(machine, made)

    def start(self, machine: Machine, contract: str, source_hash: bytes, args: Value, kind: str) -> Value:
        """Run @init or @migrate of a stored source as a contract, for the lifecycle."""
        machine.charge(2 * GAS_STATE_READ)
        program = self._stored_program(machine, contract, source_hash, ENGINE)
        outer = machine.contract, machine.caller, machine.running
        machine.caller, machine.contract = f"contract:{machine.contract}", contract
        machine.running = (*machine.running, contract)
        result = self._lifecycle_function(machine, contract, program, isolate(machine, args), kind)
        machine.contract, machine.caller, machine.running = outer
        return result

    def _lifecycle_function(
        self, machine: Machine, contract: str, program: Program, args: dict[str, Value], kind: str
    ) -> Value:
        function = program.of_kind(kind)
        if function is None:
            if args:
                raise Reverted("NO_SUCH_METHOD", f"contract {contract} has no @{kind} to take arguments")
            return None
        return isolate(machine, enter(machine, function, bind(machine, function, [], args)))


def guarded(machine: Machine, gas_limit: int, contract: str, work: Callable[[], bytes]) -> Outcome:
    """Run to a verdict; anything that is not a verdict is host trouble, and the replica must stop."""
    try:
        result = work()
    except Halt as halt:
        used = gas_limit if halt.status == OUT_OF_GAS else gas_limit - max(0, machine.gas)
        detail = f"{contract}: {halt}"
        return Outcome(halt.status, halt.reason, gas_used=used, line=halt.line, detail=detail)
    except HostTrouble:
        raise
    except Exception as trouble:
        raise HostTrouble(
            f"contract {contract}: {type(trouble).__name__} in the interpreter; stop this node and report it"
        ) from trouble
    return Outcome(
        OK,
        result=result,
        gas_used=gas_limit - machine.gas,
        writes=machine.writes,
        events=tuple(machine.events),
    )


def key_signs(record: Mapping[str, Value], height: int) -> bool:
    """Tell whether a key's record lets it sign at this height."""
    if height < record.get("since", 0):
        return False
    return record.get("status") == "active" or 0 < height <= record.get("until", 0)


def bind(machine: Machine, function: Function, args: list[Value], named: dict[str, Value]) -> list[object]:
    """Return the frame of a call from outside, or revert with BAD_ARGUMENTS."""
    names = [name for name, _ in function.params]
    given = dict(zip(names, args, strict=False))
    unknown = [name for name in named if name not in names or name in given]
    given.update(named)
    missing = [name for name in names if name not in given]
    if len(args) > len(names) or unknown or missing:
        detail = f"{function.name}({', '.join(names)}): missing {missing}, unknown or twice {unknown}"
        raise Reverted(
            "BAD_ARGUMENTS", detail if len(args) <= len(names) else f"{function.name}: too many arguments"
        )
    for place, name in enumerate(names):
        check = function.checks[place]
        if check is not None and not check(machine, given[name]):
            raise Reverted("BAD_ARGUMENTS", f"{function.name}(): argument {name} is against its hint")
    return [machine, None, *[given[name] for name in names], *[UNSET] * (function.locals - len(names))]


def _method(program: Program, contract: str, method: str, frozen: bool) -> Function:
    function = program.functions.get(method)
    if function is None or function.kind not in _PUBLIC:
        raise Reverted("UNKNOWN_METHOD", f"contract {contract} exports no method {method}")
    if frozen and function.kind != "view":
        raise Reverted("CONTRACT_FROZEN", f"contract {contract} is frozen: it answers views only")
    return function


def _arguments(machine: Machine, data: bytes) -> dict[str, Value]:
    try:
        args = decode_value(data, max_bytes=ARGS_BYTES_MAX)
    except DecodeError as error:
        raise Reverted("BAD_ARGUMENTS", str(error)) from None
    if type(args) is not dict or any(type(name) is not str for name in args):
        raise Reverted("BAD_ARGUMENTS", "the arguments are a dict from name to value")
    book(machine, args)
    return args


def _lifecycle_read(machine: Machine, key: bytes) -> bytes | None:
    place = (LIFECYCLE, key)
    return machine.writes[place] if place in machine.writes else machine.state.get(*place)
