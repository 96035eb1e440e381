"""LocalChain: the production interpreter over a state in memory, for authors' tests.

chain = LocalChain()
chain.deploy(open("policy.py").read(), "policy")
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
from functools import partial
from hashlib import sha256

from chain.primitives.codec import Value, decode_stored, encode_value
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from chain.primitives.execution import OK, Call, Outcome, StateKey, map_key, var_key
from contracts.language.limits import DEFAULT_GAS
from contracts.replicas import Replicas, Run
from contracts.runtime import ContractRuntime

BLOCK_MS = 1_000
ROLES = ("admin", "steward", "agent")


class CallFailed(AssentError):
    """A call that did not end `ok`: the text names contract, function, line and code."""

    code = "call_failed"

    def __init__(self, outcome: Outcome) -> None:
        """Keep the whole outcome for inspection."""
        super().__init__(outcome.detail or outcome.code)
        self.outcome = outcome


class Memory:
    """State in a dict."""

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
    """Everything that `LocalChain.restore` brings back."""

    rows: dict[StateKey, bytes]
    height: int
    time: int
    events: int


def key_of(org: str) -> PrivateKey:
    """Return the test key of an organisation: derived from its name, the same in every test."""
    return PrivateKey(sha256(f"assent/local-chain/{org}".encode()).digest())


class Account:
    """Calls of one organisation."""

    def __init__(self, chain: LocalChain, org: str) -> None:
        """Sign as this organisation."""
        self.chain = chain
        self.org = org
        self.public = key_of(org).public

    def call(self, contract: str, method: str, /, *, gas: int = DEFAULT_GAS, **args: Value) -> Value:
        """Send one transaction; return the result, or raise CallFailed."""
        return self.chain.send(self.public, contract, method, args, gas)

    def view(self, contract: str, method: str, /, **args: Value) -> Value:
        """Ask a view."""
        return self.chain.ask(self.public, contract, method, args)


class LocalChain:
    """A chain of one process: every call is a block of its own, a second after the last."""

    def __init__(
        self, *orgs: str, runtime: ContractRuntime | None = None, replicas: Replicas | None = None
    ) -> None:
        """Start an empty chain; organisations are known as soon as `as_` names them.

        With `replicas`, every call also runs on each of them, and must have the same outcome to the byte.
        """
        self.runtime = runtime or ContractRuntime()
        self.replicas = replicas
        self.state = Memory()
        self.height = 1
        self.time = 1_700_000_000_000
        self.events: list[SeenEvent] = []
        self.last: Outcome = Outcome(OK)
        self.system = False
        self._sent = 0
        for org in orgs:
            self.as_(org)

    # --- setting up ---------------------------------------------------------------------------------------

    @classmethod
    def consortium(
        cls,
        *orgs: str,
        init: Mapping[str, Mapping[str, Value]] | None = None,
        replicas: Replicas | None = None,
    ) -> LocalChain:
        """Start a chain with the real system contracts and these organisations as members, all roles each."""
        from contracts import system

        chain = cls(replicas=replicas)
        chain.system = True
        members = [_member(org) for org in orgs]
        arguments = {
            **system.default_init(),
            "orgs": {"orgs": members},
            "governance": {"nodes": [], "limits": {}},
            **(init or {}),
        }
        chain._install(system.sources(), arguments)
        return chain

    def deploy(self, source: str, name: str, init: Mapping[str, Value] | None = None) -> None:
        """Install a contract at once, without governance, running its @init."""
        self._install({name: source}, {name: init or {}})

    def _install(self, sources: Mapping[str, str], init: Mapping[str, Mapping[str, Value]]) -> None:
        work = self.runtime.bootstrap
        install = work if self.replicas is None else partial(self.replicas.install, work)
        self._accept(install(sources, init, time=self.time, state=self.state))

    def as_(self, org: str) -> Account:
        """Return an organisation's account; on a chain without system contracts this makes it a member."""
        account = Account(self, org)
        place = ("orgs", map_key("keys", account.public.hex()))
        if not self.system and place not in self.state.rows:
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
        self.advance(height=1, time=BLOCK_MS)
        self._sent += 1
        outcome = self.execute(self._call(sender, contract, method, args, gas))
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
        call = self._call(sender, contract, method, args, 10 * DEFAULT_GAS)
        self.last = outcome = self._run("view", self.runtime.view, call)
        if outcome.status != OK:
            raise CallFailed(outcome)
        return decode_stored(outcome.result)

    def _call(self, sender: bytes, contract: str, method: str, args: Mapping[str, Value], gas: int) -> Call:
        tx_id = sha256(f"local transaction {self._sent}".encode()).digest()
        return Call(contract, method, encode_value(dict(args)), sender, tx_id, gas, self.height, self.time)

    def _accept(self, outcome: Outcome) -> None:
        self.last = outcome
        if outcome.status != OK:
            raise CallFailed(outcome)
        self.write(outcome.writes)
        for event in outcome.events:
            self.events.append(
                SeenEvent(event.contract, event.name, decode_stored(event.fields), event.subjects)
            )

    def write(self, writes: Mapping[StateKey, bytes | None]) -> None:
        """Put rows straight into the state, past every contract."""
        self.state.apply(writes)

    # --- looking ------------------------------------------------------------------------------------------

    def gas_of(self) -> int:
        """Return the gas that the last call used."""
        return self.last.gas_used

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
