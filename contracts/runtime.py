"""The contract runtime: it finds code and sender in the state, runs the call, and collects writes and events.

`ContractRuntime` does no input or output and keeps nothing between calls but the compiled code in force
(`programs`). It may be used from several threads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial

from chain.primitives.acts import act_digest
from chain.primitives.contractrecords import ORGS
from chain.primitives.errors import DecodeError
from chain.primitives.runtimeport import (
    ARGS_BYTES_MAX,
    OK,
    OUT_OF_GAS,
    SIGNER_REFUSALS,
    Call,
    Outcome,
    StateKey,
    StateReader,
    map_key,
    var_key,
)
from chain.primitives.values import Value, decode_stored, decode_value, encode_value
from contracts.engines import CURRENT, engine_of
from contracts.language.back.build_calls import enter
from contracts.language.back.builder import Function
from contracts.language.faults import ContractRejected, Halt, HostTrouble, LimitExceeded, Reverted
from contracts.language.ir import source_hash
from contracts.language.library import Find, Library, no_library
from contracts.language.limits import (
    CONTRACT_DEPTH_MAX,
    GAS_ARGS_BYTES,
    GAS_REMOTE,
    GAS_TRANSACTION,
    RECURSION_LIMIT,
    SOURCE_TOKENS_MAX,
)
from contracts.language.program import Program, Watcher
from contracts.language.run.encoding import COPY, RESULT, book, encode, isolate, measure
from contracts.language.run.machine import Frame, Machine
from contracts.libraries import Shelf
from contracts.pages.facts import brief_facts, whole_facts
from contracts.pages.faults import PageRefused
from contracts.programs import Programs
from contracts.versions import LIFECYCLE, Directory

GENESIS_GAS = 10**10
GENESIS_BYTES = 10**8
BY_LIFECYCLE = f"contract:{LIFECYCLE}"
"""`ctx.caller` of @init and @migrate, at genesis too: members decide about contracts, none of them calls."""
BY_RUNTIME = "runtime"
"""`ctx.caller` of the function of `orgs` that is asked before a call; a member's begins with "org:"."""
OVERSEER = "oversee"
_PUBLIC = ("export", "view")

# Room for the interpreter's own frames (limits.STACK_MAX), so that no verdict depends on the host's stack.
# Done once, at import: the limit belongs to the process, and changing it around calls would race.
sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION_LIMIT))


class ContractRuntime:
    """The runtime of nodes, behind the `Runtime` port (`chain/primitives/runtimeport.py`)."""

    def __init__(self, *, watcher: Watcher | None = None) -> None:
        """Start with nothing compiled; a watcher, for authors' tools, learns which lines run."""
        self._watcher = watcher
        self._programs = Programs()
        self._directory = Directory()
        self._shelf = Shelf(self._directory, self._programs, watcher)

    # --- the port -----------------------------------------------------------------------------------------

    def execute(self, call: Call, state: StateReader) -> Outcome:
        """Run an exported method (or a view) for a transaction of a registered key."""
        return self._run(call, state, self._transaction)

    def view(self, call: Call, state: StateReader) -> Outcome:
        """Run a @view method for anyone; writes and events are refused."""
        return self._run(call, state, self._question)

    def bootstrap(
        self,
        sources: Mapping[str, str],
        init_args: Mapping[str, Mapping[str, Value]],
        *,
        time: int,
        state: StateReader,
        height: int = 0,
        tx_id: bytes = bytes(32),
    ) -> Outcome:
        """Install contracts, in order, running each @init; raise when one is refused or fails.

        At genesis the height is 0 and no transaction does it; an author's chain installs later.
        """
        machine = Machine(GENESIS_GAS, state, self)
        machine.written = machine.memory = GENESIS_BYTES
        machine.tx_id, machine.block_time, machine.height = tx_id.hex(), time, height
        programs = {name: self._founding(machine, source, name) for name, source in sources.items()}
        for name, program in programs.items():
            _install(machine, name, sources[name], program)
        for name, program in programs.items():
            machine.caller, machine.contract, machine.running = BY_LIFECYCLE, name, (name,)
            self._once(machine, name, program, dict(init_args.get(name, {})), "init")
        used = GENESIS_GAS - machine.gas
        return Outcome(OK, gas_used=used, writes=machine.writes, events=tuple(machine.events))

    def program(self, source: str, name: str = "contract", find: Find = no_library) -> Program:
        """Return the compiled program of a source; raise ContractRejected when it is refused."""
        return engine_of(CURRENT, name).contract(source, name, self._watcher, None, find)

    def library(self, source: str, name: str = "library") -> Library:
        """Return a compiled library; raise ContractRejected when it is refused."""
        return engine_of(CURRENT, name).library(source, name, self._watcher, None, SOURCE_TOKENS_MAX)

    # --- one transaction ----------------------------------------------------------------------------------

    def _run(self, call: Call, state: StateReader, work: Callable[[Machine, Call], bytes]) -> Outcome:
        machine = Machine(call.gas_limit, state, self)
        machine.tx_id, machine.height, machine.block_time = call.tx_id.hex(), call.height, call.block_time
        machine.chain_id = call.chain_id.hex()
        return guarded(machine, call.gas_limit, call.contract, partial(work, machine, call))

    def _transaction(self, machine: Machine, call: Call) -> bytes:
        machine.charge(GAS_TRANSACTION + len(call.args) // GAS_ARGS_BYTES)
        refusal = self._directory.identify(machine, call.sender)
        if refusal:
            raise Reverted(refusal, f"key {call.sender.hex()[:16]}: {SIGNER_REFUSALS[refusal]}")
        function = self._method(machine, call.contract, call.method)
        if function.kind == "view" or not self._directory.oversees(machine, call.contract, call.method):
            return self._call(machine, call, function)
        answer = self._oversee(machine, call)
        if answer["now"]:
            return self._call(machine, call, function)
        # Noted only if it could be done now: what another key is asked for is never a call that is refused.
        kept = machine.keep()
        self._call(machine, call, function)
        machine.restore(kept)
        data = encode(machine, answer, RESULT)
        machine.charge(len(data))
        return data

    def _oversee(self, machine: Machine, call: Call) -> Value:
        """Ask `orgs` whether a call is to be done now, or noted until other keys see it."""
        overseer = self._method(machine, ORGS, OVERSEER)
        given: dict[str, Value] = {
            "call": f"{call.contract}.{call.method}",
            "digest": act_digest(call.contract, call.method, call.args),
            "args": _arguments(machine, call.args),
        }
        machine.charge(GAS_REMOTE)
        machine.caller, machine.contract, machine.running = BY_RUNTIME, ORGS, (ORGS,)
        return isolate(machine, enter(machine, overseer, bind(machine, overseer, [], given)))

    def _question(self, machine: Machine, call: Call) -> bytes:
        machine.charge(GAS_TRANSACTION + len(call.args) // GAS_ARGS_BYTES)
        self._directory.identify(machine, call.sender)
        machine.asked = True
        function = self._method(machine, call.contract, call.method)
        if function.kind != "view":
            raise Reverted("NOT_A_VIEW", f"{call.contract}.{call.method} is not a @view")
        return self._call(machine, call, function)

    def _call(self, machine: Machine, call: Call, function: Function) -> bytes:
        machine.caller = machine.origin = f"org:{machine.org}" if machine.org else ""
        return invoke(machine, call.contract, function, call.args)

    # --- code ---------------------------------------------------------------------------------------------

    def _method(self, machine: Machine, contract: str, method: str) -> Function:
        """Return the method in force at this height, or revert with why there is none."""
        record = self._directory.active(machine, contract)
        if record is None:
            raise Reverted("UNKNOWN_CONTRACT", f"there is no contract {contract}")
        if record.active_at > machine.height:
            raise Reverted("NOT_YET_ACTIVE", f"contract {contract} is active from height {record.active_at}")
        if record.status == "revoked":
            raise Reverted("CONTRACT_REVOKED", f"contract {contract} is revoked")
        program = self._stored(machine, contract, record.source_hash, record.engine)
        function = program.functions.get(method)
        if function is None or function.kind not in _PUBLIC:
            raise Reverted("UNKNOWN_METHOD", f"contract {contract} exports no method {method}")
        view = function.kind == "view"
        # A transaction may read a frozen contract itself, but nothing else rests on what that says.
        if record.frozen(machine.height) and not (view and (machine.asked or not machine.running)):
            raise Reverted("CONTRACT_FROZEN", f"contract {contract} is frozen: it answers questions only")
        if view:
            return function
        access = record.access.get(method)
        if access is not None and not access.admits(machine):
            raise Reverted("ACCESS_DENIED", f"{contract}.{method} is open to {access} only")
        return function

    def _stored(self, machine: Machine, name: str, source_hash: bytes, engine: int) -> Program:
        """Return the program of code in force, which is compiled once and then kept."""
        found = self._programs.get(source_hash, engine)
        if found is not None:
            return found
        source = self._directory.source(machine, source_hash)
        if source is None:
            raise Reverted("UNKNOWN_SOURCE", f"contract {name}: no source with hash {source_hash.hex()[:16]}")
        return self._installed(machine, source, name, engine)

    def _founding(self, machine: Machine, source: str, name: str) -> Program:
        """Return the program of a first contract: who founds many chains compiles its source once."""
        known = self._programs.get(source_hash(source), CURRENT)
        return known if known is not None else self._installed(machine, source, name, CURRENT)

    def _installed(self, machine: Machine, source: str, name: str, engine: int) -> Program:
        compile_ = engine_of(engine, f"contract {name}").contract
        program = compile_(source, name, self._watcher, None, self._shelf.in_force(machine, engine))
        self._programs.keep(program)
        return program

    # --- what running contracts ask for (language.machine.Services) ---------------------------------------

    def remote(
        self, machine: Machine, contract: str, method: str, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """Call another contract that lets contracts call: copies cross over, none is entered twice."""
        if contract in machine.running:
            raise Reverted("REENTRANT", f"contract {contract} is already running in this transaction")
        if len(machine.running) >= CONTRACT_DEPTH_MAX:
            raise LimitExceeded("CONTRACT_DEPTH", f"at most {CONTRACT_DEPTH_MAX} contracts call one another")
        machine.charge(GAS_REMOTE)
        function = self._method(machine, contract, method)
        if not function.nested:
            raise Reverted(
                "DIRECT_ONLY",
                f"{contract}.{method} answers members alone; @export(nested=True) lets contracts call it",
            )
        given = [isolate(machine, value) for value in args]
        by_name = {name: isolate(machine, value) for name, value in named.items()}
        frame = bind(machine, function, given, by_name)
        outer = machine.contract, machine.caller, machine.running, machine.read_only, machine.nested
        machine.caller, machine.contract, machine.nested = f"contract:{machine.contract}", contract, True
        machine.running = (*machine.running, contract)
        machine.read_only = machine.read_only or function.kind == "view"
        try:
            return isolate(machine, enter(machine, function, frame))
        finally:
            machine.contract, machine.caller, machine.running, machine.read_only, machine.nested = outer

    def compile_source(self, machine: Machine, source: str) -> Value:
        """Compile for the lifecycle, at its expense; nothing of it is kept."""
        try:
            find = self._shelf.for_proposal(machine, CURRENT)
            program = engine_of(CURRENT, "source").contract(source, "source", self._watcher, machine, find)
        except ContractRejected as rejected:
            raise Reverted("REJECTED_SOURCE", str(rejected)) from None
        made: dict[str, Value] = {
            "source_hash": program.source_hash,
            "ir_hash": program.ir_hash,
            "engine": program.engine,
            "abi": program.abi,
            "size": program.size,
            "libraries": {name: library.source_hash for name, library in program.libraries.items()},
        }
        return isolate(machine, made)

    def compile_library(self, machine: Machine, source: str) -> Value:
        """Compile a library for the lifecycle, at its expense; nothing of it is kept."""
        try:
            compile_ = engine_of(CURRENT, "library").library
            library = compile_(source, "library", self._watcher, machine, SOURCE_TOKENS_MAX)
        except ContractRejected as rejected:
            raise Reverted("REJECTED_SOURCE", str(rejected)) from None
        made: dict[str, Value] = {
            "source_hash": library.source_hash,
            "ir_hash": library.ir_hash,
            "engine": library.engine,
            "size": library.size,
        }
        return isolate(machine, made)

    def trace_page(
        self, machine: Machine, source: str, datasets: Value, parameters: Value, initiator: str
    ) -> Value:
        """Derive what follows of a page for the contract `programs`, at the expense of the call."""
        try:
            if datasets:
                made = brief_facts(source, datasets, parameters, machine, initiator)
            else:
                made = whole_facts(source, datasets, parameters, machine)
        except PageRefused as refused:
            raise _of_page(refused) from None
        return isolate(machine, made)

    def start(self, machine: Machine, contract: str, source_hash: bytes, args: Value, kind: str) -> Value:
        """Run @init or @migrate of a stored source as a contract, for the lifecycle.

        The member who happens to commit is nobody's caller: such a function finds no organisation in `ctx`,
        here as at genesis.
        """
        if contract in machine.running:
            raise Reverted("REENTRANT", f"contract {contract} is already running in this transaction")
        machine.charge(GAS_REMOTE)
        record = self._directory.active(machine, contract)
        if record is None or record.source_hash != source_hash:
            raise Reverted("UNKNOWN_CONTRACT", f"{contract} is not committed with this source")
        program = self._stored(machine, contract, source_hash, record.engine)
        copied = isolate(machine, args)
        outer = machine.contract, machine.caller, machine.running, machine.nested, machine.origin
        machine.caller, machine.contract, machine.nested, machine.origin = BY_LIFECYCLE, contract, True, ""
        machine.running = (*machine.running, contract)
        try:
            return self._once(machine, contract, program, copied, kind)
        finally:
            machine.contract, machine.caller, machine.running, machine.nested, machine.origin = outer

    def _once(
        self, machine: Machine, contract: str, program: Program, args: dict[str, Value], kind: str
    ) -> Value:
        function = program.of_kind(kind)
        if function is not None:
            return isolate(machine, enter(machine, function, bind(machine, function, [], args)))
        if args:
            raise Reverted("UNKNOWN_METHOD", f"contract {contract} has no @{kind} to take arguments")
        return None


def invoke(machine: Machine, contract: str, function: Function, args: bytes) -> bytes:
    """Run one function of a contract with encoded arguments; return the encoded result."""
    given = _arguments(machine, args)
    machine.contract, machine.running = contract, (contract,)
    machine.read_only = function.kind == "view"
    data = encode(machine, enter(machine, function, bind(machine, function, [], given)), RESULT)
    machine.charge(len(data))
    return data


def guarded(machine: Machine, gas_limit: int, contract: str, work: Callable[[], bytes]) -> Outcome:
    """Run to a verdict; anything that is not a verdict is host trouble, and the replica must stop."""
    try:
        result = work()
    except Halt as halt:
        used = gas_limit if halt.status == OUT_OF_GAS else gas_limit - machine.gas
        return failed(halt, contract, used)
    except HostTrouble:
        raise
    except Exception as trouble:
        what = type(trouble).__name__
        raise HostTrouble(f"contract {contract}: {what} in the interpreter: stop this node") from trouble
    used = gas_limit - machine.gas
    return Outcome(OK, result=result, gas_used=used, writes=machine.writes, events=tuple(machine.events))


def failed(halt: Halt, contract: str, used: int) -> Outcome:
    """Return the outcome of a call that ended with a halt."""
    return Outcome(
        halt.status,
        halt.reason,
        gas_used=used,
        line=halt.line,
        detail=f"{contract}: {halt}",
        trace=tuple(halt.trace),
        why=halt.detail,
    )


def bind(machine: Machine, function: Function, args: list[Value], named: dict[str, Value]) -> Frame:
    """Return the frame of a call from outside, or revert with BAD_ARGUMENTS."""
    names = function.names
    if not args and named.keys() == function.name_set:
        return _frame(machine, function, named)
    if len(args) > len(names):
        raise Reverted("BAD_ARGUMENTS", f"{function.name}() takes {len(names)} arguments, not {len(args)}")
    given = named if not args else {**dict(zip(names, args, strict=False)), **named}
    known = sum([name in given for name in names])
    missing = [name for name in names if name not in given and name not in function.defaults]
    if missing or known != len(given) or len(args) + len(named) != len(given):
        detail = f"{function.name}({', '.join(names)}): given {', '.join(sorted(named)) or 'no names'}"
        raise Reverted("BAD_ARGUMENTS", detail)
    return _frame(machine, function, {**function.defaults, **given} if function.defaults else given)


def _frame(machine: Machine, function: Function, given: Mapping[str, Value]) -> Frame:
    """Return a frame; records in it, which nothing shares yet, get the defaults of missing fields."""
    frame = [machine, None, *[given[name] for name in function.names], *function.padding]
    for place, fill in function.fills:
        fill(machine, frame[place])
    return frame


def _install(machine: Machine, name: str, source: str, program: Program) -> None:
    """Write what the lifecycle would have written, had it existed."""
    version: dict[str, Value] = {
        "seq": 1,
        "source_hash": program.source_hash,
        "ir_hash": program.ir_hash,
        "engine": program.engine,
        "size": program.size,
        "active_at": 0,
        "approved_by": [],
        "access": {},
        "policy": False,
        "libraries": {alias: library.source_hash for alias, library in program.libraries.items()},
    }
    record = {"name": name, "status": "active", "frozen_until": 0, "system": True, "next": {}}
    entry = {"name": name, "by": "genesis", "committed_at": 0}
    counted, code = var_key("name_count"), var_key("code_bytes")
    count = _number(machine, counted)
    used = [program.source_hash, *[library.source_hash for library in program.libraries.values()]]
    uses = [map_key("source_uses", one) for one in used]
    rows = {
        map_key("active", name): version | record,
        map_key("history", f"{name}/1"): version | entry,
        map_key("versions", f"{name}/0"): [1, 0],
        map_key("numbers", name): {"latest": 1, "open": 0, "versions": 1, "code": program.size},
        map_key("sources", program.source_hash): source,
        map_key("names", count): name,
        counted: count + 1,
        code: _number(machine, code) + program.size,
        **{place: _number(machine, place) + 1 for place in uses},
    }
    maps = program.abi["maps"]
    if ordered := program.abi.get("ordered"):
        rows[map_key("orders", name)] = {each: maps[each][0] for each in ordered}
    machine.writes.update({(LIFECYCLE, key): encode_value(value) for key, value in rows.items()})


def library_rows(library: Library, source: str) -> dict[StateKey, bytes]:
    """Return what the lifecycle would have written for a published library, had it existed."""
    found: dict[str, Value] = {
        "by": "genesis",
        "bytes": len(source.encode()),
        "ir_hash": library.ir_hash,
        "engine": library.engine,
        "size": library.size,
        "published_at": 0,
        "open": 0,
        "withdrawn": False,
    }
    rows: dict[bytes, Value] = {
        map_key("libraries", library.source_hash): found,
        map_key("sources", library.source_hash): source,
        map_key("source_uses", library.source_hash): 1,
    }
    return {(LIFECYCLE, key): encode_value(value) for key, value in rows.items()}


def _of_page(refused: PageRefused) -> Reverted:
    """Return what a transaction ends with: a missing domain is the owner's to register, not the author's."""
    if any(one.rule == "DOMAIN_NOT_REGISTERED" for one in refused.diagnostics):
        return Reverted("DOMAIN_NOT_REGISTERED", str(refused))
    return Reverted("REJECTED_PAGE", str(refused))


def _number(machine: Machine, place: bytes) -> int:
    """Return a number that `lifecycle` keeps, 0 where it keeps none."""
    stored = machine.writes.get((LIFECYCLE, place)) or machine.state.get(LIFECYCLE, place)
    return 0 if stored is None else int(decode_stored(stored))


def _arguments(machine: Machine, data: bytes) -> dict[str, Value]:
    machine.allocate(len(data))
    try:
        args = decode_value(data, max_bytes=ARGS_BYTES_MAX)
    except DecodeError as error:
        raise Reverted("BAD_ARGUMENTS", str(error)) from None
    if type(args) is not dict or not all(type(name) is str for name in args):
        raise Reverted("BAD_ARGUMENTS", "the arguments are a dict from name to value")
    measure(machine, args, COPY)
    book(machine, args)
    return args
