"""LocalChain, for authors' tests: the runtime of nodes over a state in memory.

chain = LocalChain()
chain.deploy(Path("policy.py"), "policy")
bank = chain.as_("bank")
bank.call("policy", "allow", job={"purpose": "credit"}, phase="proposed")
with chain.expect_revert("DENIED"):
    bank.call("policy", "allow", job={}, phase="proposed")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path

from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from chain.primitives.runtimeport import OK, Call, Outcome, StateKey, TraceFrame, map_key, var_key
from chain.primitives.values import Value, decode_stored, encode_value
from contracts import system, tracebacks
from contracts.coverage import Coverage, FileCoverage
from contracts.language.faults import ContractRejected, Halt
from contracts.language.limits import DEFAULT_GAS
from contracts.language.program import Program
from contracts.replicas import Replicas, Run
from contracts.runtime import ContractRuntime, failed, library_rows
from contracts.versions import LIFECYCLE

BLOCK_MS = 1_000
ADOPT_GAS = 10_000_000
ROLES = ("admin", "steward", "agent")


@lru_cache(32)
def _compiled(source: str, name: str) -> Program:
    return ContractRuntime().program(source, name)


class ConsortiumRuntime(ContractRuntime):
    """A runtime that begins with system contracts compiled: a process compiles each text once, for all."""

    def __init__(self, sources: Mapping[str, str] | None = None) -> None:
        """Keep the programs of these contracts, which name no libraries, or of those of the package."""
        super().__init__()
        texts = system.sources() if sources is None else sources
        self.compiled = {name: _compiled(source, name) for name, source in texts.items()}
        for program in self.compiled.values():
            self._programs.keep(program)


class CallFailed(AssentError):
    """The error of a call that did not end `ok`: a traceback of contracts, functions and source lines."""

    code = "call_failed"

    def __init__(self, outcome: Outcome, what: str, sources: tracebacks.Sources) -> None:
        """Keep the whole outcome for inspection; `what` names the call."""
        super().__init__(tracebacks.render(outcome, what, sources))
        self.outcome = outcome


class KitError(AssentError):
    """The error of a test that asks what this chain cannot do: it says how to start one that can."""

    code = "local_chain"


class Memory:
    """A state in a dict."""

    def __init__(self) -> None:
        """Start empty."""
        self.rows: dict[StateKey, bytes] = {}

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None."""
        return self.rows.get((namespace, key))

    def apply(self, writes: Mapping[StateKey, bytes | None]) -> None:
        """Apply a transaction's writes."""
        for place, data in writes.items():
            if data is None:
                self.rows.pop(place, None)
            else:
                self.rows[place] = data


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """One event, decoded."""

    contract: str
    name: str
    fields: dict[str, Value]
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of a chain, which `LocalChain.restore` brings back."""

    rows: dict[StateKey, bytes]
    height: int
    time: int
    events: int


def key_of(org: str) -> PrivateKey:
    """Return the test key of an organisation: derived from its name, the same in every test."""
    return PrivateKey(sha256(f"assent/local-chain/{org}".encode()).digest())


class Account:
    """An account: it signs the calls of one organisation."""

    def __init__(self, chain: LocalChain, org: str) -> None:
        """Sign as this organisation."""
        self.chain = chain
        self.org = org
        self.public = key_of(org).public

    def call(self, contract: str, method: str, /, *, gas: int = DEFAULT_GAS, **args: Value) -> Value:
        """Send one transaction; return the result, or raise CallFailed."""
        __tracebackhide__ = True
        return self.chain.send(self.public, contract, method, args, gas)

    def view(self, contract: str, method: str, /, **args: Value) -> Value:
        """Ask a view."""
        __tracebackhide__ = True
        return self.chain.ask(self.public, contract, method, args)


class LocalChain:
    """A chain of one process: every call is a block of its own, a second after the last."""

    def __init__(
        self,
        *orgs: str,
        runtime: ContractRuntime | None = None,
        replicas: Replicas | None = None,
        coverage: Coverage | None = None,
    ) -> None:
        """Start an empty chain; organisations are known as soon as `as_` names them.

        With `replicas`, every call also runs on each of them, and must have the same outcome to the byte.
        With `coverage`, it gathers which lines of the contracts ran; a given runtime must have its watcher.
        """
        self.runtime = runtime or ContractRuntime(watcher=coverage.watcher if coverage else None)
        self.replicas = replicas
        self._coverage = coverage
        self._files: dict[str, str] = {}
        self.state = Memory()
        self.height = 1
        self.time = 1_700_000_000_000
        self.events: list[SeenEvent] = []
        self.last: Outcome = Outcome(OK)
        self.members: tuple[str, ...] = ()
        """Organisations of a chain with system contracts; empty on any other."""
        self._sent = 0
        for org in orgs:
            self.as_(org)

    # --- setting up ---------------------------------------------------------------------------------------

    @classmethod
    def consortium(
        cls,
        *orgs: str,
        init: Mapping[str, Mapping[str, Value]] | None = None,
        runtime: ContractRuntime | None = None,
        replicas: Replicas | None = None,
        coverage: Coverage | None = None,
    ) -> LocalChain:
        """Start a chain with the real system contracts and these organisations as members, all roles each."""
        if runtime is None and coverage is None:
            runtime = ConsortiumRuntime()
        chain = cls(runtime=runtime, replicas=replicas, coverage=coverage)
        chain.members = orgs
        members = [_member(org) for org in orgs]
        arguments = {
            **system.default_init(),
            "orgs": {"orgs": members},
            "governance": {"nodes": [], "limits": {}},
            **(init or {}),
        }
        chain._install(system.sources(), arguments)
        return chain

    def deploy(self, source: str | Path, name: str, init: Mapping[str, Value] | None = None) -> None:
        """Install a contract (a file, or its text) in a block of its own, without votes, running its @init.

        Its `ctx` is that of a chain: `caller` is "contract:lifecycle", and no member is in it.
        """
        __tracebackhide__ = True
        self.advance(height=1, time=BLOCK_MS)
        self._sent += 1
        self._install({name: self._read(source, name)}, {name: init or {}})

    def adopt(self, source: str | Path, name: str, arguments: Mapping[str, Value] | None = None) -> int:
        """Take a contract or its next version through governance; return its version.

        The first member proposes, the others approve, the first commits; `arguments` are those of @init, or
        of @migrate when the name is in use. Needs `LocalChain.consortium`.
        """
        __tracebackhide__ = True
        if not self.members:
            raise KitError("this chain has no lifecycle; start it with LocalChain.consortium(org, …)")
        first, *others = [self.as_(org) for org in self.members]
        text = self._read(source, name)
        proposal = {"name": name, "source": text, "arguments": dict(arguments or {}), "terms": {}}
        seq = first.call(LIFECYCLE, "propose", gas=ADOPT_GAS, **proposal)
        approval = {
            "name": name,
            "seq": seq,
            "hash": self.entry(LIFECYCLE, "proposals", f"{name}/{seq}")["hash"],
        }
        for other in others:
            other.call(LIFECYCLE, "approve", **approval)
        first.call(LIFECYCLE, "commit", gas=ADOPT_GAS, name=name, seq=seq)
        return int(seq)

    def library(self, source: str | Path) -> str:
        """Put a library (a file, or its text) on the ledger; return its hash, by which contracts name it.

        On a chain with system contracts the first member publishes it.
        """
        __tracebackhide__ = True
        text = self._read(source, "library")
        try:
            made = self.runtime.library(text, self._files[text])
        except ContractRejected as refused:
            raise ContractRejected(self._files[text], refused.diagnostics) from None
        digest = made.source_hash
        found = self.entry(LIFECYCLE, "libraries", digest)
        if found is not None and not found["withdrawn"]:
            return digest.hex()
        if self.members:
            self.as_(self.members[0]).call(LIFECYCLE, "publish", gas=ADOPT_GAS, source=text)
        else:
            self.write(library_rows(made, text))
        return digest.hex()

    def _read(self, source: str | Path, name: str) -> str:
        """Return the text of a contract, remembering what to call it in tracebacks and coverage."""
        text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source
        self._files[text] = _shown(source) if isinstance(source, Path) else name
        if self._coverage is not None:
            self._coverage.call_it(text, self._files[text])
        return text

    def _install(self, sources: Mapping[str, str], init: Mapping[str, Mapping[str, Value]]) -> None:
        work = self.runtime.bootstrap
        __tracebackhide__ = True
        install = work if self.replicas is None else partial(self.replicas.install, work)
        try:
            outcome = install(
                sources, init, time=self.time, state=self.state, height=self.height, tx_id=self._tx_id()
            )
            self._accept(outcome)
        except ContractRejected as refused:
            name = ", ".join(self._files.get(source, name) for name, source in sources.items())
            raise ContractRejected(name, refused.diagnostics) from None
        except Halt as halt:
            self.last = failed(halt, ", ".join(sources), 0)
            raise CallFailed(self.last, "@init", self._given(sources)) from None

    def _given(self, sources: Mapping[str, str]) -> tracebacks.Sources:
        """Return where to find sources that are not in the state, because installing them failed."""

        def find(frame: TraceFrame) -> tracebacks.Source | None:
            if frame.library:
                return self._source_at(frame)
            text = sources.get(frame.contract)
            return None if text is None else tracebacks.Source(self._files.get(text, frame.contract), text)

        return find

    def as_(self, org: str) -> Account:
        """Return an organisation's account; on a chain without system contracts this makes it a member."""
        account = Account(self, org)
        place = ("orgs", map_key("keys", account.public.hex()))
        if not self.members and place not in self.state.rows:
            record = {"org": org, "roles": list(ROLES), "status": "active", "since": 0, "until": 0}
            self.write({place: encode_value(record)})
        return account

    # --- calls --------------------------------------------------------------------------------------------

    def call(self, contract: str, method: str, /, *, gas: int = DEFAULT_GAS, **args: Value) -> Value:
        """Send one transaction as organisation `tester`."""
        return self.as_("tester").call(contract, method, gas=gas, **args)

    def view(self, contract: str, method: str, /, **args: Value) -> Value:
        """Ask a view as organisation `tester`."""
        return self.as_("tester").view(contract, method, **args)

    def send(self, sender: bytes, contract: str, method: str, args: Mapping[str, Value], gas: int) -> Value:
        """Send one transaction of this key in a block of its own."""
        __tracebackhide__ = True
        self.advance(height=1, time=BLOCK_MS)
        self._sent += 1
        call = self._call(sender, contract, method, args, gas)
        outcome = self.execute(call)
        self._check(outcome, call)
        self._accept(outcome)
        return decode_stored(outcome.result)

    def execute(self, call: Call) -> Outcome:
        """Run one call on the runtime without applying it."""
        self.last = self._run("execute", self.runtime.execute, call)
        return self.last

    def _run(self, kind: str, work: Run, call: Call) -> Outcome:
        if self.replicas is None:
            return work(call, self.state)
        return self.replicas.follow(kind, work, call, self.state)

    def ask(self, sender: bytes, contract: str, method: str, args: Mapping[str, Value]) -> Value:
        """Ask a view with this key."""
        __tracebackhide__ = True
        call = self._call(sender, contract, method, args, 10 * DEFAULT_GAS)
        self.last = outcome = self._run("view", self.runtime.view, call)
        self._check(outcome, call)
        return decode_stored(outcome.result)

    def _call(self, sender: bytes, contract: str, method: str, args: Mapping[str, Value], gas: int) -> Call:
        packed = encode_value(dict(args))
        return Call(contract, method, packed, sender, self._tx_id(), gas, self.height, self.time)

    def _tx_id(self) -> bytes:
        return sha256(f"local transaction {self._sent}".encode()).digest()

    def _check(self, outcome: Outcome, call: Call) -> None:
        __tracebackhide__ = True
        if outcome.status != OK:
            raise CallFailed(outcome, f"{call.contract}.{call.method}", self._source_at)

    def _accept(self, outcome: Outcome) -> None:
        self.last = outcome
        self.write(outcome.writes)
        for event in outcome.events:
            self.events.append(
                SeenEvent(event.contract, event.name, decode_stored(event.fields), event.subjects)
            )

    def write(self, writes: Mapping[StateKey, bytes | None]) -> None:
        """Put rows straight into the state, past every contract."""
        self.state.apply(writes)

    # --- looking ------------------------------------------------------------------------------------------

    def source_of(self, contract: str) -> tracebacks.Source | None:
        """Return the source in force of a contract and the file that it came from, or None."""
        record = self.entry(LIFECYCLE, "active", contract)
        text = None if record is None else self.entry(LIFECYCLE, "sources", record["source_hash"])
        return None if text is None else tracebacks.Source(self._files.get(text, contract), text)

    def _source_at(self, frame: TraceFrame) -> tracebacks.Source | None:
        """Return the source in which a frame is."""
        if not frame.library:
            return self.source_of(frame.contract)
        text = self.entry(LIFECYCLE, "sources", bytes.fromhex(frame.library))
        return None if text is None else tracebacks.Source(self._files.get(text, "library"), text)

    def coverage(self) -> list[FileCoverage]:
        """Return which lines ran of each contract that was deployed or adopted here."""
        if self._coverage is None:
            raise KitError("nothing was gathered; start it with LocalChain(coverage=Coverage())")
        return self._coverage.report()

    def gas_of(self) -> int:
        """Return the gas that the last call used."""
        return self.last.gas_used

    def trail(self, subject: str) -> list[SeenEvent]:
        """Return the events of one subject ("org:bank", "grant:g1"), in order."""
        return [event for event in self.events if subject in event.subjects]

    def entry(self, contract: str, map_name: str, key: Value) -> Value:
        """Return a Map's entry straight from the state, or None."""
        data = self.state.get(contract, map_key(map_name, key))
        return None if data is None else decode_stored(data)

    def variable(self, contract: str, name: str) -> Value:
        """Return a Var straight from the state, or None when it was never set."""
        data = self.state.get(contract, var_key(name))
        return None if data is None else decode_stored(data)

    def advance(self, *, height: int = 0, time: int = 0) -> None:
        """Let blocks and milliseconds pass."""
        self.height += height
        self.time += time

    @contextmanager
    def expect_revert(self, code: str) -> Iterator[None]:
        """Expect that the block ends with a call that fails with exactly this code."""
        __tracebackhide__ = True
        try:
            yield
        except CallFailed as failed:
            if failed.outcome.code != code:
                raise AssertionError(f"expected {code}, got {failed}") from failed
            return
        raise AssertionError(f"expected {code}, but the call succeeded")

    def snapshot(self) -> Snapshot:
        """Return what `restore` needs to come back here."""
        return Snapshot(copy(self.state.rows), self.height, self.time, len(self.events))

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot."""
        gone = {place: None for place in self.state.rows if place not in snapshot.rows}
        self.write({**snapshot.rows, **gone})
        self.height, self.time = snapshot.height, snapshot.time
        del self.events[snapshot.events :]


def _shown(file: Path) -> str:
    """Return a file's path from the working directory when it lies under it."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def _member(org: str) -> dict[str, Value]:
    public = key_of(org).public
    return {
        "id": org,
        "name": org,
        "roles": ["owner", "user", "compute", "auditor", "operator"],
        "keys": [{"key": public, "roles": list(ROLES)}],
        "agent_key": key_of(f"{org}/agent").public,
        "agent_address": "127.0.0.1:1",
    }
