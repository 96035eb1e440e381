"""A consortium in memory: the production runtime over a dict, five organisations, three datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import pytest

from chain.primitives.crypto import PrivateKey
from chain.primitives.runtimeport import OK, Call, Event, Outcome, StateKey, map_key, var_key
from chain.primitives.values import Value, decode_value, encode_value
from contracts.runtime import ContractRuntime
from contracts.system import default_init, sources, standard_pages
from tests.page_of_uses import PAGE, parameters_of
from tests.schemas import column, declaring, seal_of
from tests.unit.contracts.system.founding import CHAIN_ID, LIMITS, ORGS, VALIDATING, Refused, node_of, seeded

START_MS = 1_760_000_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PARTIES = ("bank", "bureau", "registry")
COLUMNS = {"id": "join-only", "income": "aggregate-only", "age": "plain"}
USED = {"id": "join", "income": "encrypted"}
SCHEMA = [
    column("id", "text", "identifier"),
    column("income", "decimal"),
    column("age", "integer"),
    column("secret", "text", "sensitive"),
]
PAGES = {"statistics": PAGE, "scoring": PAGE.replace("people all", "persons all")}
_RUNTIME = ContractRuntime()


class World:
    """State, clock and a few habits; every call goes through the production runtime."""

    def __init__(
        self,
        orgs: Mapping[str, list[str]] = ORGS,
        pages: Mapping[str, str] = PAGES,
        texts: Mapping[str, str] | None = None,
    ) -> None:
        self.state: dict[StateKey, bytes] = {}
        self.height = 0
        self.time = START_MS
        self.events: list[Event] = []
        self.gas: dict[str, int] = {}
        self._calls = 0
        members = [_member(name, roles) for name, roles in orgs.items()]
        nodes = [node_of(name) for name in orgs if name in VALIDATING]
        init = {
            **default_init(),
            "orgs": {"orgs": members},
            "governance": {"nodes": nodes, "limits": dict(LIMITS)},
            "programs": {"pages": {**standard_pages(), **pages}},
        }
        self._apply(_RUNTIME.bootstrap(texts or sources(), init, time=self.time, state=self))
        self.advance()

    # --- the ledger's side

    def get(self, namespace: str, key: bytes) -> bytes | None:
        return self.state.get((namespace, key))

    def _apply(self, outcome: Outcome) -> None:
        for key, data in outcome.writes.items():
            if data is None:
                self.state.pop(key, None)
            else:
                self.state[key] = data
        self.events.extend(outcome.events)

    def advance(self, ms: int = 100, blocks: int = 1) -> None:
        """Let blocks pass, `ms` in all."""
        self.time += ms
        self.height += blocks

    def fork(self) -> World:
        """Return a copy that goes its own way."""
        other = object.__new__(World)
        other.__dict__.update(self.__dict__)
        other.state, other.events, other.gas = dict(self.state), list(self.events), dict(self.gas)
        return other

    # --- calls

    def run(self, signer: PrivateKey, target: str, /, gas: int = 10_000_000, **args: Value) -> Outcome:
        contract, method = target.split(".")
        self._calls += 1
        tx_id = sha256(self._calls.to_bytes(8, "big")).digest()
        call = Call(
            contract, method, encode_value(args), signer.public, tx_id, gas, self.height, self.time, CHAIN_ID
        )
        outcome = _RUNTIME.execute(call, self)
        if outcome.status == OK:
            self._apply(outcome)
            self.gas[target] = max(outcome.gas_used, self.gas.get(target, 0))
        return outcome

    def do(self, who: str, target: str, /, **args: Value) -> Any:
        """Call as an organisation's admin (`bank`) or one of its other keys (`bank/agent`)."""
        self.advance()
        outcome = self.run(seeded(who), target, **args)
        if outcome.status != OK:
            raise Refused(outcome.code or outcome.status, outcome.detail)
        return decode_value(outcome.result, max_bytes=1 << 20)

    def refusal(self, who: str, target: str, /, **args: Value) -> str:
        """Return the code of a call that must be refused; nothing may change."""
        code = self.outcome(who, target, **args)
        assert code, f"{target} was not refused"
        return code

    def ask(self, target: str, /, **args: Value) -> Any:
        contract, method = target.split(".")
        call = Call(
            contract,
            method,
            encode_value(args),
            seeded("bank").public,
            bytes(32),
            10_000_000,
            self.height,
            self.time,
            CHAIN_ID,
        )
        outcome = _RUNTIME.view(call, self)
        if outcome.status != OK:
            raise Refused(outcome.code or outcome.status, outcome.detail)
        return decode_value(outcome.result, max_bytes=1 << 20)

    def read(self, contract: str, name: str, key: Value) -> Any:
        data = self.state.get((contract, map_key(name, key)))
        return None if data is None else decode_value(data, max_bytes=1 << 20)

    def put(self, contract: str, name: str, key: Value, value: Value) -> None:
        """Put an entry straight into the state, past every contract."""
        self.state[contract, map_key(name, key)] = encode_value(value)

    def variable(self, contract: str, name: str) -> Any:
        data = self.state.get((contract, var_key(name)))
        return None if data is None else decode_value(data, max_bytes=1 << 20)

    def trail(self, subject: str) -> list[str]:
        """Return the names of a subject's events in order; a GrantUsed by its phase."""
        return [_label(event) for event in self.events if subject in event.subjects]

    # --- habits

    def declare(self, owner: str, columns: Sequence[dict[str, Any]] = SCHEMA) -> bytes:
        """Have a schema sealed, if it is not; return its seal."""
        seal = seal_of(columns)
        if self.read("datasets", "schemas", (owner, seal)) is None:
            for method, args in declaring(columns):
                self.do(owner, f"datasets.{method}", **args)
        return seal

    def register(
        self, owner: str, dataset: str, columns: Sequence[dict[str, Any]] = SCHEMA, **over: Value
    ) -> None:
        args: dict[str, Value] = {
            "id": dataset,
            "schema": self.declare(owner, columns),
            "root": sha256(dataset.encode()).digest(),
            "size_bucket": "100-1000",
            "approvers": [owner],
            "threshold": 1,
            "description": "",
        }
        self.do(owner, "datasets.register", **{**args, **over})

    def request(self, grant: str, dataset: str, by: str = "bank", **over: Value) -> None:
        self.do(by, "grants.request", **{**self.terms(grant, dataset), **over})

    def terms(self, grant: str, dataset: str) -> dict[str, Value]:
        return {
            "id": grant,
            "dataset": dataset,
            "version": 1,
            "columns": dict(COLUMNS),
            "purpose": "credit-risk",
            "legal_basis": "consent 2026-1",
            "asked_because": "",
            "programs": ["statistics"],
            "receivers": ["bank"],
            "co_parties": list(PARTIES),
            "membership": list(PARTIES),
            "profile": "rep3",
            "not_before": 0,
            "expires": START_MS + 30 * DAY_MS,
            "quota_runs": 2,
            "run_epsilon": 10**9,
            "min_group": 10,
            "policy": "",
        }

    def granted(self, grant: str, dataset: str, owner: str, **over: Value) -> None:
        self.request(grant, dataset, **over)
        self.do(owner, "grants.approve", id=grant, terms={})

    def spec(self, **over: Any) -> dict[str, Any]:
        """Return a job as it is proposed: page and plan are what follows, unless told otherwise."""
        self._calls += 1
        plain: dict[str, Any] = {
            "program": "statistics",
            "purpose": "credit-risk",
            "profile": "rep3",
            "min_group": 10,
            "inputs": [self.use(f"bank/g-{name}", f"{name}/data") for name in PARTIES],
            "participants": [_party(name) for name in PARTIES],
            "receivers": ["bank"],
            "deadlines": dict.fromkeys(("accept", "bind", "run", "reveal", "commit", "certify"), HOUR_MS),
            "nonce": self._calls.to_bytes(16, "big"),
        }
        spec = {**plain, **over}
        spec["inputs"] = [{"name": f"d{place}", **one} for place, one in enumerate(spec["inputs"])]
        asked = parameters_of(spec)
        return {"parameters": asked, **self._followed(spec, over.get("parameters", asked)), **spec}

    def _followed(self, spec: dict[str, Any], parameters: Value) -> dict[str, Any]:
        """Return page and plan of a job; zeros where nothing follows, as what is refused anyway."""
        inputs = [
            {name: one[name] for name in ("name", "dataset", "version")} | {"columns": list(one["columns"])}
            for one in spec["inputs"]
        ]
        try:
            asked = {"id": spec["program"], "inputs": inputs, "parameters": parameters, "initiator": "bank"}
            found = self.ask("programs.derive", **asked)
        except Refused:
            return {"page": bytes(32), "plan": bytes(32)}
        return {name: found[name] for name in ("page", "plan")}

    @staticmethod
    def use(grant: str, dataset: str, columns: dict[str, str] | None = None) -> dict[str, Any]:
        return {"grant": grant, "dataset": dataset, "version": 1, "columns": dict(columns or USED)}

    def propose(self, **over: Value) -> str:
        job: str = self.do("bank", "jobs.propose", spec=self.spec(**over))
        return job

    def accept(self, job: str, *parties: str) -> None:
        for name in parties or PARTIES:
            self.do(f"{name}/agent", "jobs.accept", job=job, plan=self.plan_of(job))

    def plan_of(self, job: str) -> bytes:
        """Return the plan that the parties of a job agree to run."""
        return bytes(self.read("jobs", "specs", job)["plan"])

    def bind(self, job: str, *parties: str) -> None:
        for name in parties or PARTIES:
            commitment = sha256(f"{job}/{name}".encode()).digest()
            self.do(f"{name}/agent", "jobs.bind", job=job, commitment=commitment)

    def begin(self, job: str, name: str = "bank") -> None:
        """Let an owner announce that data move."""
        self.do(f"{name}/agent", "jobs.begin_join", job=job)

    def stage(self, job: str, name: str, number: int = 0, **over: Value) -> str:
        if self.read("jobs", "jobs", job)["join_height"] == 0:
            self.begin(job)
        before = sha256(f"{job}/{name}/{number - 1}".encode()).digest()
        args: dict[str, Value] = {
            "job": job,
            "stage": number,
            "kind": "share",
            "hash": sha256(f"{job}/{name}/{number}".encode()).digest(),
            "previous": before if number else bytes(32),
            "bytes_sent": 1_000,
            "rounds": 1,
            "cpu_ms": 5,
        }
        state: str = self.do(f"{name}/agent", "jobs.commit_stage", **{**args, **over})
        return state

    def transcript(self, job: str, name: str, **over: bytes) -> str:
        channels = {other: channel(job, name, other) for other in PARTIES if other != name}
        state: str = self.do(
            f"{name}/agent",
            "jobs.commit_transcript",
            job=job,
            profile="rep3",
            channels={**channels, **over},
        )
        return state

    def compute(self, job: str) -> None:
        for name in PARTIES:
            self.stage(job, name)
            self.transcript(job, name)

    def reveal(self, job: str, *parties: str) -> None:
        for name in parties or PARTIES:
            self.do(f"{name}/agent", "jobs.approve_reveal", job=job)

    def result(self, job: str, name: str = "bank", **over: Value) -> str:
        args: dict[str, Value] = {
            "job": job,
            "hash": sha256(job.encode()).digest(),
            "schema": "figures",
            "metrics": {"rounds": 3},
        }
        state: str = self.do(f"{name}/agent", "jobs.commit_result", **{**args, **over})
        return state

    def sign(self, job: str, *parties: str) -> None:
        digest = sha256(encode_value(self.ask("jobs.certificate_body", job=job))).digest()
        for name in parties or PARTIES:
            signature = seeded(f"{name}/agent").sign(digest)
            self.do(f"{name}/agent", "jobs.certify", job=job, digest=digest, signature=signature)

    def job_at(self, state: str, **over: Value) -> str:
        """Return a job that has just entered this state."""
        job = self.propose(**over)
        steps: list[tuple[str, Callable[[str], object]]] = [
            ("accepted", self.accept),
            ("running", self.bind),
            ("computed", self.compute),
            ("revealed", self.reveal),
            ("committed", self.result),
            ("certified", self.sign),
        ]
        for reached, step in steps if state != "proposed" else []:
            step(job)
            if reached == state:
                break
        assert self.read("jobs", "jobs", job)["state"] == state
        return job

    def brink(self, phase: str) -> Callable[[], str]:
        """Bring a job to the brink of a phase; the answer tries the last step and returns what refused it."""
        if phase == "proposed":
            return lambda: self.outcome("bank", "jobs.propose", spec=self.spec())
        job = self.job_at({"accepted": "proposed", "running": "accepted", "reveal": "computed"}[phase])
        args: dict[str, Value] = {"job": job}
        if phase == "accepted":
            self.accept(job, "bank", "bureau")
            args["plan"] = self.plan_of(job)
        elif phase == "running":
            self.bind(job, "bank", "bureau")
            args["commitment"] = bytes(32)
        else:
            self.reveal(job, "bank", "bureau")
        step = {"accepted": "accept", "running": "bind", "reveal": "approve_reveal"}[phase]
        return lambda: self.outcome("registry/agent", f"jobs.{step}", **args)

    def outcome(self, who: str, target: str, /, **args: Value) -> str:
        """Call; return the code of the refusal, or "" when it was done."""
        before = dict(self.state)
        try:
            self.do(who, target, **args)
        except Refused as refused:
            assert self.state == before
            return str(refused.args[0])
        return ""

    def policy(self, name: str, source: str) -> None:
        """Have a majority put a contract into force."""
        seq = self.do("bank", "lifecycle.propose", name=name, source=source, arguments={}, terms={})
        voted = self.read("lifecycle", "proposals", f"{name}/{seq}")["hash"]
        for who in ("bureau", "registry"):
            self.do(who, "lifecycle.approve", name=name, seq=seq, hash=voted)
        self.do("bank", "lifecycle.commit", name=name, seq=seq)
        self.advance()

    def decide(self, kind: str, **payload: Value) -> None:
        """Have the consortium decide something."""
        voters = ("regulator", "registry", "bank", "rival", "bureau")
        first, *others = [name for name in voters if self.is_active(name) and name not in payload.values()]
        proposal = {"kind": kind, "payload": payload, "reason": "", "not_before": 0}
        seq = self.do(first, "governance.propose", **proposal)
        voted = self.read("governance", "proposals", seq)["hash"]
        for name in others:
            self.do(name, "governance.approve", seq=seq, hash=voted)
        self.do(first, "governance.commit", seq=seq)
        self.advance()

    def is_active(self, org: str) -> bool:
        return bool(self.read("orgs", "orgs", org)["status"] == "active")

    def fields(self, name: str) -> dict[str, Any]:
        """Return the fields of the last event of this name."""
        event = next(event for event in reversed(self.events) if event.name == name)
        found: dict[str, Any] = decode_value(event.fields, max_bytes=1 << 20)
        return found

    def state_of(self, job: str) -> str:
        return str(self.read("jobs", "jobs", job)["state"])

    def quota(self, grant: str) -> tuple[int, int]:
        """Return (used, reserved)."""
        runs = self.ask("grants.runs_of", id=grant)
        return runs["used"], runs["reserved"]

    def live(self, grant: str) -> dict[str, str]:
        """Return what each open job holds of a grant."""
        listed = self.read("grants", "open_jobs", grant) or []
        return {job: self.read("grants", "live", (grant, job)) or "proposed" for job in listed}


def channel(job: str, a: str, b: str) -> bytes:
    """Return what both ends of a channel name."""
    return sha256("/".join([job, *sorted((a, b))]).encode()).digest()


def _party(name: str) -> dict[str, Value]:
    return {"org": name, "role": "owner", "agent_key": seeded(f"{name}/agent").public}


def _member(name: str, roles: list[str]) -> dict[str, Value]:
    return {
        "id": name,
        "name": name.title(),
        "roles": roles,
        "keys": [
            {"key": seeded(name).public, "roles": ["admin"]},
            {"key": seeded(f"{name}/steward").public, "roles": ["steward"]},
        ],
        "agent_key": b"" if roles == ["auditor"] else seeded(f"{name}/agent").public,
        "agent_address": "" if roles == ["auditor"] else "127.0.0.1:7000",
    }


def _label(event: Event) -> str:
    if event.name != "GrantUsed":
        return event.name
    return str(decode_value(event.fields, max_bytes=1 << 20)["phase"])


@pytest.fixture(scope="session")
def _bare() -> World:
    return World()


@pytest.fixture(scope="session")
def _ready(_bare: World) -> World:
    world = _bare.fork()
    for name in PARTIES:
        world.register(name, f"{name}/data")
        world.granted(f"bank/g-{name}", f"{name}/data", name)
    return world


@pytest.fixture
def bare(_bare: World) -> World:
    """The consortium just after genesis."""
    return _bare.fork()


@pytest.fixture
def world(_ready: World) -> World:
    """Three datasets, and a grant of two runs on each to the bank: `g-bank`, `g-bureau`, `g-registry`."""
    return _ready.fork()


@pytest.fixture(scope="session")
def fresh(_bare: World) -> Callable[[], World]:
    """The same with grants of six runs, as a factory for properties that need many."""
    world = _bare.fork()
    for name in PARTIES:
        world.register(name, f"{name}/data")
        world.granted(f"bank/g-{name}", f"{name}/data", name, quota_runs=6)
    return world.fork


@pytest.fixture(scope="session")
def new_world() -> type[World]:
    """What makes a consortium of other members, for those who need one."""
    return World
