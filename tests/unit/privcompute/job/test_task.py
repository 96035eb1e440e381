"""Three agents run whole jobs over real TLS, under the real contracts; only the ledger is one process.

The consortium of four real nodes runs in tests/functional; here every moment of a job can be picked: a
revocation between computing and reveal, a restart between two transactions, data changed after registration.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chain.client.signing import TransactionFailed
from chain.ledger.block import Receipt
from chain.primitives.crypto import ZERO_HASH, PrivateKey, verify
from chain.primitives.possession import prove_possession
from chain.primitives.runtimeport import map_key
from chain.primitives.values import Value, decode_stored
from contracts.testing import CallFailed, LocalChain, key_of
from privcompute.agent.agent import Agent
from privcompute.agent.desk import ReleaseDesk
from privcompute.config import AgentFiles, LocalPolicy
from privcompute.data import private_files
from privcompute.data import results as results_module
from privcompute.data import sealed as sealed_module
from privcompute.data.commitments import SEED_BYTES, input_commitment, result_commitment
from privcompute.data.datasets import DatasetStore, prepare
from privcompute.data.declared import cut
from privcompute.data.evidence import EvidenceLog
from privcompute.data.exposed import ExposedStore, Taken, TakenOfColumn
from privcompute.data.private_files import NotWritten
from privcompute.data.proposals import propose
from privcompute.data.results import JoinStore, ResultStore, canonical
from privcompute.data.schema import schema_seal
from privcompute.data.sealed import SealedStore
from privcompute.data.sources import DataSource, open_source
from privcompute.errors import HolderRefused
from privcompute.job import failures, release, steps
from privcompute.job import store as store_module
from privcompute.job import task as task_module
from privcompute.job.chain_reader import ChainReader
from privcompute.job.environment import AgentIdentity, AgentStores, ComputePlace, JobEnvironment, OwnNode
from privcompute.job.holding import HandedPart, HeldShares, shares_digest
from privcompute.job.inputs import joined_versions
from privcompute.job.machine import RECHECK_MS
from privcompute.job.restoring import restore_result
from privcompute.job.runner import JobRun
from privcompute.job.store import JobProgress, JobStore, StatusBoard
from privcompute.job.task import JobTask
from privcompute.job.view import job_id_of, parse_spec, stage_hash
from privcompute.job.worker import JobWorker
from privcompute.mpc.opening import component_commitment
from privcompute.net.asking import ask
from privcompute.net.cancellation import Cancellation
from privcompute.net.listener import PeerListener
from tests.unit.privcompute.job.test_enforcement import VIEW

ORGS = ("bank", "bureau", "registry")
NAMES = {"bank": "loans", "bureau": "scores", "registry": "people"}
"""What pages call the dataset of each."""
GRANTED = {"person": "join-only", "amount": "plain", "kind": "plain"}
EXACT = "exact-aggregate"
"""The constraint that allows exact sums and no more."""
COMMON, MINUTE_MS = 60, 60_000
HELD = {"bank": range(80), "bureau": range(20, 90), "registry": [*range(20, 80), 400]}


def agent_key(org: str) -> PrivateKey:
    return key_of(f"{org}/agent")


class OneProcessLedger:
    """The system contracts in memory, as an agent's client and account see them."""

    def __init__(self) -> None:
        self.chain = LocalChain.consortium(*ORGS)
        self.tasks: dict[str, JobTask] = {}
        self.before: dict[str, Callable[[str], Awaitable[None]]] = {}
        """Method of `jobs` -> what happens just before an agent's call of it (given its organisation)."""

    async def state(self, contract: str, map_name: str, key: Value) -> Value | None:
        stored = self.chain.state.get(contract, map_key(map_name, key))
        return None if stored is None else decode_stored(stored)

    def do(self, org: str, contract: str, method: str, /, **args: Value) -> Value:
        return self.chain.as_(org).call(contract, method, gas=8_000_000, **args)

    def record(self, map_name: str, key: Value) -> Any:
        return self.chain.entry("jobs", map_name, key)


class OneProcessAccount:
    """Signs as one organisation's agent."""

    def __init__(self, ledger: OneProcessLedger, org: str) -> None:
        self.ledger, self.org = ledger, org

    async def send(
        self, contract: str, method: str, args: Mapping[str, Value], *, gas_limit: int = 0
    ) -> Receipt | None:
        hook = self.ledger.before.get(method)
        if hook is not None:
            await hook(self.org)
        try:
            self.ledger.chain.send(agent_key(self.org).public, contract, method, args, gas_limit)
        except CallFailed as failed:
            outcome = failed.outcome
            receipt = Receipt(bytes(32), 1, 0, outcome.status, outcome.code, b"", outcome.gas_used, ())
            raise TransactionFailed(receipt, f"{contract}.{method}") from None
        for task in self.ledger.tasks.values():
            task.poke()
        return None


class World:
    """Three organisations with data, grants and agents."""

    def __init__(self, ledger: OneProcessLedger, folder: Path, agents: dict[str, JobEnvironment]) -> None:
        self.ledger, self.folder, self.agents = ledger, folder, agents

    def grant_all(self, program: str, amount: str = "plain") -> None:
        """Grant the bank every column for a program, amounts under a constraint."""
        for org in ORGS:
            terms: dict[str, Value] = {
                "id": f"bank/g-{org}",
                "dataset": f"{org}/data",
                "version": 1,
                "columns": GRANTED | {"amount": amount},
                "purpose": "research",
                "legal_basis": "consent",
                "asked_because": "",
                "programs": [program],
                "receivers": list(ORGS),
                "co_parties": list(ORGS),
                "membership": list(ORGS),
                "profile": "rep3",
                "not_before": 0,
                "expires": self.ledger.chain.time + 600 * MINUTE_MS,
                "quota_runs": 3,
                "min_group": 5,
                "run_epsilon": 10**10,
                "policy": "",
            }
            self.ledger.do("bank", "grants", "request", **terms)
            self.ledger.do(org, "grants", "approve", id=f"bank/g-{org}", terms={})

    def spec(
        self,
        program: str,
        parameters: dict[str, Value],
        orgs: tuple[str, ...] = ORGS,
        **changes: Value,
    ) -> dict[str, Value]:
        """Return a spec that names what follows of a program's page, with these owners."""
        inputs: list[Value] = [
            {"name": NAMES[org], "dataset": f"{org}/data", "version": 1, "columns": sorted(GRANTED)}
            for org in orgs
        ]
        view = self.ledger.chain.view
        asked = {"id": program, "inputs": inputs, "parameters": parameters, "initiator": "bank"}
        found: Any = view("programs", "derive", **asked)
        spec: dict[str, Value] = {
            "program": program,
            "page": found["page"],
            "plan": found["plan"],
            "parameters": parameters,
            "purpose": "research",
            "profile": "rep3",
            "min_group": 5,
            "inputs": [
                {
                    "name": NAMES[org],
                    "grant": f"bank/g-{org}",
                    "dataset": f"{org}/data",
                    "version": 1,
                    "columns": found["uses"][NAMES[org]],
                }
                for org in orgs
            ],
            "participants": [
                {
                    "org": org,
                    "role": "owner" if org in orgs else "compute",
                    "agent_key": agent_key(org).public,
                }
                for org in ORGS
            ],
            "receivers": found["receivers"],
            "deadlines": dict.fromkeys(
                ("accept", "bind", "run", "reveal", "commit", "certify"), 60 * MINUTE_MS
            ),
            "nonce": bytes(16),
        }
        return spec | changes

    def propose(self, program: str, parameters: dict[str, Value], nonce: int = 0, min_group: int = 5) -> str:
        """Propose a job of all owners, as the bank."""
        spec = self.spec(program, parameters, nonce=bytes([nonce]) * 16, min_group=min_group)
        job = self.ledger.do("bank", "jobs", "propose", spec=spec)
        assert job == job_id_of(spec)
        return str(job)

    def accept(self, org: str, job: str) -> None:
        """Accept a job in the name of an organisation's agent."""
        plan = self.ledger.record("specs", job)["plan"]
        args: dict[str, Value] = {"job": job, "plan": plan}
        self.ledger.chain.send(agent_key(org).public, "jobs", "accept", args, 8_000_000)

    def figures(self, org: str, job: str) -> dict[str, Any]:
        """Return the figures that an organisation's agent keeps of a job."""
        result = self.agents[org].stores.results.load(job)
        assert result is not None
        return {one["name"]: one["value"] for one in result.values["figures"]}

    async def run(self, job: str, orgs: tuple[str, ...] = ORGS) -> str:
        """Let every agent work on the job to its end; return the state it ended in."""
        for org in orgs:
            self.ledger.tasks[org] = self.task(org, job)
        async with asyncio.timeout(30), self.desks():
            await asyncio.gather(*[self._live(org, job) for org in orgs])
        return str(self.ledger.record("jobs", job)["state"])

    @asynccontextmanager
    async def desks(self) -> AsyncIterator[None]:
        """Have every agent hand out what it holds, as a running one does."""
        every = [
            asyncio.create_task(ReleaseDesk(agent).run(lambda _: True, lambda _: None, lambda: None))
            for agent in self.agents.values()
        ]
        try:
            yield
        finally:
            for one in every:
                one.cancel()
            await asyncio.gather(*every, return_exceptions=True)

    def task(self, org: str, job: str) -> JobTask:
        return JobTask(self.agents[org], job, on_checked=lambda: None)

    def demand(self, org: str, **terms: Any) -> None:
        """Change an owner's own policy."""
        agent = self.agents[org]
        policy = agent.identity.policy.model_copy(update=terms)
        self.agents[org] = replace(agent, identity=replace(agent.identity, policy=policy))

    async def _live(self, org: str, job: str) -> None:
        """Run an agent's task; one that was killed is started again from its files."""
        while True:
            task = self.ledger.tasks[org]
            running = asyncio.create_task(task.run())
            self.ledger.before[f"kill {org}"] = lambda _, running=running: _cancel(running)
            try:
                return await running
            except asyncio.CancelledError:
                self.ledger.tasks[org] = self.task(org, job)

    def evidence(self, org: str, kind: str) -> list[Any]:
        return [entry.body for entry in self.agents[org].stores.evidence.entries() if entry.kind == kind]


def keep_away(monkeypatch: pytest.MonkeyPatch, org: str) -> None:
    """Let an agent that has met the others never connect to compute with them."""
    connect = JobRun.connect

    def stay(run: JobRun) -> None:
        if run.plan.spec.participants[run.plan.me].org != org:
            return connect(run)
        return run._cancellation.pause(60)

    monkeypatch.setattr(JobRun, "connect", stay)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


def csv_of(org: str) -> str:
    rows = [f"p{number},{number * 3 + len(org)},{number % 3}" for number in HELD[org]]
    return "\n".join(["person,amount,kind", *rows]) + "\n"


def make_agent(ledger: OneProcessLedger, org: str, folder: Path, listener: PeerListener) -> JobEnvironment:
    data = folder / "agent"
    data.mkdir(parents=True)
    (folder / "data.csv").write_text(csv_of(org))
    files = AgentFiles(base=folder, genesis=folder, key=folder, data_dir=data)
    store = DatasetStore(files.datasets)
    seed = org.encode().ljust(SEED_BYTES, b"s")
    source = DataSource(folder / "data.csv")
    schema = propose(open_source(source), ["person"]).schema
    local, _ = prepare(f"{org}/data", 1, source, schema, seed)
    store.save(local)
    (columns,) = cut(schema)
    sealed = schema_seal(schema)
    ledger.do(org, "datasets", "declare", schema=sealed, key=["person"], columns=columns)
    ledger.do(
        org,
        "datasets",
        "register",
        id=local.id,
        schema=sealed,
        root=local.root,
        size_bucket="<=100",
        approvers=[org],
        threshold=1,
        description="",
    )
    client: Any = ledger
    account: Any = OneProcessAccount(ledger, org)
    listener.accept_keys([agent_key(other).public for other in ORGS])
    return JobEnvironment(
        identity=AgentIdentity(org, agent_key(org), LocalPolicy()),
        node=OwnNode(ChainReader(client), account),
        stores=AgentStores(
            datasets=store,
            results=ResultStore(files.results),
            joins=JoinStore(files.joins),
            exposed=ExposedStore(files.exposed),
            held=SealedStore(files.held, agent_key(org)),
            jobs=JobStore(files.jobs),
            board=StatusBoard(files.status),
            evidence=EvidenceLog(files.evidence),
        ),
        place=ComputePlace.under(LocalPolicy(jobs_at_once=1), listener),
        now_ms=lambda: ledger.chain.time,
    )


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    ledger = OneProcessLedger()
    monkeypatch.setattr(failures, "OTHERS_FIRST_S", 0.0)
    async with AsyncExitStack() as stack:
        agents = {}
        for org in ORGS:
            listener = stack.enter_context(closing(PeerListener("127.0.0.1", 0, agent_key(org), ())))
            address = f"127.0.0.1:{listener.address[1]}"
            key = agent_key(org)
            agent = {"agent_key": key.public, "proof": prove_possession(key, ZERO_HASH, org)}
            ledger.do(org, "orgs", "set_agent", agent_address=address, **agent)
            agents[org] = make_agent(ledger, org, tmp_path / org, listener)
        yield World(ledger, tmp_path, agents)


STATISTICS, JOIN, JOINED = "joint-statistics", "private-join", "rows in common"


def mean_of(org: str) -> dict[str, Value]:
    """Parameters of the mean of an organisation's amounts, for the bank."""
    return {"receivers": ["bank"], "columns": [[NAMES[org], "amount"]], "figures": ["mean"]}


FIGURES = mean_of("bureau")


async def test_a_job_runs_from_proposal_to_certificate(world: World) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    assert await world.run(job) == "certified"

    result = world.agents["bank"].stores.results.load(job)
    assert result is not None
    expected = np.mean([number * 3 + len("bureau") for number in range(20, 80)])
    found = world.figures("bank", job)
    assert found[JOINED] == COMMON
    assert float(found["mean of scores.amount"]) == pytest.approx(expected, abs=1e-4)
    assert result.profile == "rep3"
    assert world.agents["bureau"].stores.results.load(job) is None, "only receivers hold the result"

    certificate = world.ledger.record("certificates", job)
    for org in ORGS:
        assert verify(agent_key(org).public, certificate["digest"], certificate["signatures"][org])
    committed = world.ledger.record("results", (job, "bank"))
    assert committed["hash"] == result_commitment(result.salt, result.shares, canonical(result.values))
    assert committed["metrics"] == {"shares": result.shares.hex()}, "nothing of the values is public"
    assert all(agent.stores.jobs.unfinished() == [] for agent in world.agents.values())


async def test_what_an_owner_finds_on_its_own_data_ends_the_job_before_it_binds(
    world: World,
) -> None:
    """It was found after the join, and a run of every owner's grant was spent."""
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES, min_group=len(HELD["bureau"]))
    assert await world.run(job) == "aborted"
    assert all(world.ledger.record("bindings", (job, org)) is None for org in ("registry",))
    assert {world.ledger.chain.entry("grants", "standing", f"bank/g-{org}")["used"] for org in ORGS} == {0}
    (said,) = world.evidence("registry", "abort")
    assert said["cause"] == "DATA_TOO_FEW_ROWS"
    assert "61 rows" in said["text"], "the owner alone is told what is wrong"
    assert not any(world.evidence(org, "stage") for org in ORGS)


async def test_rows_that_were_joined_once_are_judged_before_they_are_joined_again(
    world: World,
) -> None:
    world.grant_all(STATISTICS)
    assert await world.run(world.propose(STATISTICS, FIGURES)) == "certified"
    world.demand("bureau", min_joined_rows=COMMON + 1)
    again = world.propose(STATISTICS, FIGURES, nonce=1)
    assert await world.run(again) == "aborted"
    (said,) = world.evidence("bureau", "abort")
    assert said["cause"] == "DATA_TOO_FEW_ROWS"
    assert world.ledger.record("jobs", again)["join_height"] == 0


def joins(world: World, job: str) -> Any:
    view = parse_spec(job, world.ledger.record("specs", job))
    return world.ledger.record("joins", joined_versions(view))


async def test_owners_state_on_the_ledger_that_the_joined_rows_suffice(world: World) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    assert await world.run(job) == "certified"
    assert joins(world, job)["outcome"] == "suffices"
    assert set(joins(world, job)["said"]) == set(ORGS)


async def test_too_few_joined_rows_are_stated_before_anybody_learns_which_they_are(world: World) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES, min_group=COMMON + 1)
    assert await world.run(job) == "aborted"
    assert joins(world, job)["outcome"] == "too few"
    assert not any(agent.stores.joins.folder.exists() for agent in world.agents.values())


def used(world: World) -> set[int]:
    return {world.ledger.chain.entry("grants", "standing", f"bank/g-{org}")["used"] for org in ORGS}


async def test_more_exact_figures_than_joined_rows_allow_end_a_job_before_anybody_learns_a_row(
    world: World,
) -> None:
    """All 70 rows of the bureau in groups of 16 allow two figures, the 60 joined ones one."""
    world.grant_all(STATISTICS, EXACT)
    first, again = (world.propose(STATISTICS, FIGURES, nonce, min_group=16) for nonce in (0, 1))
    assert await world.run(first) == "aborted"
    end = world.ledger.chain.entry("jobs", "ends", first)
    facts = {"dataset": "bureau/data", "version": 1, "column": "amount", "stage": "join"}
    assert (end["by"], end["cause"], end["detail"]) == ("bureau", "EXACT_FIGURES_SPENT", facts)
    assert not any(agent.stores.joins.folder.exists() for agent in world.agents.values())
    assert used(world) == {1}
    assert await world.run(again) == "aborted"


async def test_figures_that_an_account_gave_away_before_count_with_those_of_a_job(world: World) -> None:
    """A mean is a sum and a count: two jobs take four of the five figures of 60 people in groups of six."""
    world.grant_all(STATISTICS, EXACT)
    for nonce in (0, 1):
        assert await world.run(world.propose(STATISTICS, FIGURES, nonce, min_group=6)) == "certified"
    last = world.propose(STATISTICS, FIGURES, 2, min_group=6)
    assert await world.run(last) == "aborted"
    end = world.ledger.chain.entry("jobs", "ends", last)
    assert (end["cause"], end["detail"]["stage"]) == ("EXACT_FIGURES_SPENT", "data")
    assert used(world) == {2}, "the run of the last one returns"


async def test_rows_of_exact_figures_are_held_against_those_of_earlier_jobs_after_a_restart(
    world: World,
) -> None:
    """What was remembered lacks one of the joined people, as if another version had held it."""
    world.grant_all(STATISTICS, EXACT)
    assert await world.run(world.propose(STATISTICS, FIGURES)) == "certified"
    agent = world.agents["bureau"]
    store = ExposedStore(agent.stores.exposed.folder)
    world.agents["bureau"] = replace(agent, stores=replace(agent.stores, exposed=store))
    remembered = store.memory("bureau/data@1")
    assert remembered.open == {}
    (name,) = remembered.settled.columns["amount"].sets
    version, marks = store.set_of(name)
    assert len(marks) == COMMON
    fewer = store.keep_set("bureau/data@1", "amount", version, marks[1:])
    taken = replace(remembered.settled.columns["amount"], sets=frozenset({fewer}))
    for path in store.folder.glob("*/given.json"):
        path.unlink()
    store.take("bureau/data@1", "earlier", Taken(columns={"amount": taken}))
    job = world.propose(STATISTICS, FIGURES, 1)
    assert await world.run(job) == "aborted"
    assert world.ledger.chain.entry("jobs", "ends", job)["cause"] == "EXACT_ROWS_TOO_NEAR"


def spent(world: World) -> tuple[float, float]:
    """Return what open jobs, and others, took of the limit of the bureau's amounts."""
    found = world.agents["bureau"].stores.exposed.memory("bureau/data@1")
    none = TakenOfColumn()
    opened = sum(one.columns.get("amount", none).part for one in found.open.values())
    return float(opened), float(found.settled.columns.get("amount", none).part)


@pytest.mark.parametrize(
    ("method", "left", "stays"),
    [("commit_transcript", 0.0, 0.0), ("commit_result", 0.0, 0.4), ("certify", 0.0, 0.4)],
)
async def test_an_aborted_job_took_figures_only_if_its_result_could_be_opened(
    world: World, method: str, left: float, stays: float
) -> None:
    """Two figures of 60 rows in groups of six; whoever aborts once it has its shares pays for them."""
    world.grant_all(STATISTICS, EXACT)
    job = world.propose(STATISTICS, FIGURES, min_group=6)
    seen = []

    async def abort(_: str) -> None:
        if not seen:
            seen.append(spent(world))
            said = {"job": job, "cause": "STOPPED", "detail": {}, "evidence": bytes([1]) * 32}
            world.ledger.do("bank", "jobs", "abort", **said)
            for task in world.ledger.tasks.values():
                task.poke()

    world.ledger.before[method] = abort
    assert await world.run(job) == "aborted"
    assert seen == [(0.4 - stays, stays)]
    assert spent(world) == (left, stays)


async def test_the_evidence_log_opens_what_the_ledger_holds(world: World) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    assert await world.run(job) == "certified"
    (bound,) = world.evidence("bureau", "bound")
    opened = input_commitment(
        bytes.fromhex(bound["nonce"]["$bytes"]),
        bytes.fromhex(bound["root"]["$bytes"]),
        bound["columns"],
        bound["filter"],
        bound["rows"],
    )
    assert opened == world.ledger.record("bindings", (job, "bureau"))["commitment"]
    stages = world.evidence("bureau", "stage")
    assert [stage["kind"] for stage in stages] == ["join", "setup", "compute", "seal"]
    head = world.ledger.record("stage_heads", (job, "bureau"))
    assert head == {"count": 4, "hash": bytes.fromhex(stages[-1]["hash"]["$bytes"])}


async def test_a_grant_revoked_after_computing_stops_the_result(world: World) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)

    async def revoke(_: str) -> None:
        if world.ledger.chain.entry("grants", "standing", "bank/g-bureau")["status"] == "active":
            world.ledger.do("bureau", "grants", "revoke", id="bank/g-bureau", reason="objection")

    world.ledger.before["approve_reveal"] = revoke
    assert await world.run(job) == "aborted"
    assert all(agent.stores.results.load(job) is None for agent in world.agents.values())
    said = [body for org in ORGS for body in world.evidence(org, "abort")]
    assert "GRANT_REVOKED" in [body["detail"].get("code", body["cause"]) for body in said]
    assert not world.evidence("bureau", "released")


class Owner(StatusBoard):
    """Somebody who reads what the agent posts, and revokes a grant at some step; time flies after it."""

    def __init__(self, world: World, org: str, step: str) -> None:
        super().__init__(world.agents[org].stores.board.folder)
        self.ledger, self.org, self.step = world.ledger, org, step
        self.steps: list[str] = []
        agent = world.agents[org]
        world.agents[org] = replace(agent, stores=replace(agent.stores, board=self), now_ms=self.now_ms)

    def post(self, progress: JobProgress, now_ms: int) -> None:
        if progress.step == self.step and self.step not in self.steps:
            self.ledger.do(self.org, "grants", "revoke", id=f"bank/g-{self.org}", reason="objection")
        self.steps.append(progress.step)
        super().post(progress, now_ms)

    def now_ms(self) -> int:
        """Return the ledger's time; an hour has 720 of these looks at it."""
        if self.step in self.steps:
            self.ledger.chain.time += RECHECK_MS
        return self.ledger.chain.time


async def test_a_grant_revoked_while_a_party_keeps_the_others_waiting_ends_the_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run itself would not end for an hour: the revocation must not wait for it."""
    monkeypatch.setattr(task_module, "TICK_S", 0.01)
    world.grant_all(STATISTICS)
    owner = Owner(world, "registry", "connecting")
    job = world.propose(STATISTICS, FIGURES)
    keep_away(monkeypatch, "bureau")
    assert await world.run(job) == "aborted"
    assert "connecting" in owner.steps
    assert [body["cause"] for body in world.evidence("registry", "abort")] == ["GRANT_REVOKED"]


async def test_a_grant_revoked_while_a_job_waits_for_a_slot_ends_the_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier job computes at the bureau for ever; nothing was bound, and no run is used or held."""
    monkeypatch.setattr(task_module, "TICK_S", 0.01)
    world.grant_all(STATISTICS)
    world.agents["bureau"].place.slots.take("an earlier job")
    owner = Owner(world, "registry", "waiting for bureau to have a slot")
    job = world.propose(STATISTICS, FIGURES)
    assert await world.run(job) == "aborted"
    assert owner.step in owner.steps
    assert "connecting" not in owner.steps
    assert [body["cause"] for body in world.evidence("registry", "abort")] == ["GRANT_REVOKED"]
    assert world.ledger.record("jobs", job)["bound"] == []
    assert runs(world) == [(0, 0)] * 3
    assert {org: sorted(agent.place.slots.taken) for org, agent in world.agents.items()} == {
        "bank": [],
        "bureau": ["an earlier job"],
        "registry": [],
    }


async def certified(world: World, jobs: list[str], tasks: list[JobTask]) -> None:
    """Let these tasks run until the jobs are certified."""
    world.ledger.tasks = {str(number): task for number, task in enumerate(tasks)}
    async with asyncio.timeout(60), world.desks():
        running = [asyncio.create_task(task.run()) for task in tasks]
        try:
            while any(world.ledger.record("jobs", job)["state"] != "certified" for job in jobs):
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                running = [task for task in running if task not in done]
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize("turned", [(0, 0, 0), (0, 1, 2), (2, 0, 1)])
async def test_three_jobs_of_the_same_three_agents_all_end_in_whatever_order_each_agent_sees_them(
    world: World, turned: tuple[int, ...]
) -> None:
    world.grant_all(STATISTICS)
    jobs = [world.propose(STATISTICS, figures) for figures in map(mean_of, ORGS)]
    tasks = [
        world.task(org, job)
        for org, turn in zip(ORGS, turned, strict=True)
        for job in jobs[turn:] + jobs[:turn]
    ]
    await certified(world, jobs, tasks)


async def test_nothing_waits_behind_a_job_whose_party_never_comes(world: World) -> None:
    """The bureau's agent takes part in the second job alone; each agent computes one job at a time."""
    world.grant_all(STATISTICS)
    stuck, other = [world.propose(STATISTICS, figures) for figures in map(mean_of, ORGS[:2])]
    world.accept("bureau", stuck)
    tasks = [world.task(org, stuck) for org in ("bank", "registry")]
    await certified(world, [other], tasks + [world.task(org, other) for org in ORGS])
    record = world.ledger.record("jobs", stuck)
    assert (record["state"], record["bound"]) == ("accepted", [])


async def test_a_party_that_never_comes_is_named_by_everybody_who_met(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "MEETING_SHARE", 0.000_2)
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    world.accept("bureau", job)
    world.ledger.tasks = {org: world.task(org, job) for org in ("bank", "registry")}
    async with asyncio.timeout(30):
        await asyncio.gather(*[task.run() for task in world.ledger.tasks.values()])
    assert world.ledger.record("jobs", job)["state"] == "aborted"
    said = [body for org in ("bank", "registry") for body in world.evidence(org, "abort")]
    assert {(body["cause"], body["detail"]["org"]) for body in said} == {("MPC_NOT_MET", "bureau")}
    assert runs(world) == [(0, 0)] * 3


async def test_an_agent_with_two_slots_computes_two_jobs_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.grant_all(STATISTICS)
    for org, agent in world.agents.items():
        place = ComputePlace.under(LocalPolicy(jobs_at_once=2), agent.place.listener)
        world.agents[org] = replace(agent, place=place)
    everybody = threading.Barrier(2 * len(ORGS), timeout=30)
    compute = JobRun.compute

    def together(run: JobRun) -> HeldShares:
        everybody.wait()
        return compute(run)

    monkeypatch.setattr(JobRun, "compute", together)
    jobs = [world.propose(STATISTICS, figures) for figures in map(mean_of, ORGS[:2])]
    await certified(world, jobs, [world.task(org, job) for org in ORGS for job in jobs])
    assert not any(agent.place.slots.taken for agent in world.agents.values())


async def test_an_agent_killed_while_it_computes_aborts_by_name_when_it_returns(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    killed: list[str] = []
    seal = JobRun._seal

    def seal_once_killed(run: JobRun, *what: Any) -> dict[str, bytes]:
        if run.plan.me == ORGS.index("bureau"):
            run._cancellation.pause(30.0)
        return seal(run, *what)

    monkeypatch.setattr(JobRun, "_seal", seal_once_killed)

    async def kill(org: str) -> None:
        if org == "bureau" and not killed:
            killed.append(org)
            await world.ledger.before["kill bureau"](org)

    world.ledger.before["commit_stage"] = kill
    assert await world.run(job) == "aborted"
    reasons = {body["cause"] for org in ORGS for body in world.evidence(org, "abort")}
    assert reasons & {"AGENT_RESTARTED", "MPC_PEER_GONE"}
    assert all(agent.stores.results.load(job) is None for agent in world.agents.values())


@pytest.mark.parametrize(
    "method", ["accept", "bind", "commit_transcript", "approve_reveal", "commit_result", "certify"]
)
@pytest.mark.parametrize("whom", ["bank", "registry"])
async def test_an_agent_killed_between_two_steps_resumes(world: World, method: str, whom: str) -> None:
    """The bank is the receiver; from its transcript on, each finds what it holds on its disk."""
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    killed: list[str] = []

    async def kill(org: str) -> None:
        if org == whom and not killed:
            killed.append(org)
            await world.ledger.before[f"kill {whom}"](org)

    world.ledger.before[method] = kill
    assert await world.run(job) == "certified"
    assert killed == [whom] or (method, whom) == ("commit_result", "registry")


async def test_an_agent_that_restarts_lets_the_others_in_before_it_meets_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It let them in with its next sweep alone, up to a minute later, while they knocked in vain."""
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    for org in ORGS:
        world.accept(org, job)
    happened: list[str] = []
    met = asyncio.Event()

    async def meet(*_: Any, **__: Any) -> None:
        happened.append("meets")
        met.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(JobWorker, "meet", meet)
    restarted = JobTask(world.agents["bank"], job, on_checked=lambda: happened.append("lets them in"))
    running = asyncio.create_task(restarted.run())
    async with asyncio.timeout(30):
        await met.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert happened == ["lets them in", "meets"]


async def test_a_job_that_waits_for_decisions_leaves_the_turn_to_compute_to_the_next(world: World) -> None:
    """Approvals may take days, and a party that gives none must not hold up other jobs meanwhile."""
    world.grant_all(STATISTICS)
    jobs = [world.propose(STATISTICS, figures) for figures in (FIGURES, mean_of("registry"))]
    everybody, waiting = asyncio.Event(), []

    async def wait_for_both(org: str) -> None:
        waiting.append(org)
        if len(waiting) == len(jobs) * len(ORGS):
            everybody.set()
        await everybody.wait()

    world.ledger.before["approve_reveal"] = wait_for_both
    for job in jobs:
        for org in ORGS:
            world.ledger.tasks[f"{org} {job}"] = world.task(org, job)
    async with asyncio.timeout(30), world.desks(), asyncio.TaskGroup() as running:
        for task in world.ledger.tasks.values():
            running.create_task(task.run())
    assert {world.ledger.record("jobs", job)["state"] for job in jobs} == {"certified"}
    assert not any(agent.place.slots.taken for agent in world.agents.values())


@pytest.mark.parametrize("setting", ["max_jobs_per_organisation", "max_waiting_jobs"])
async def test_one_organisations_proposals_take_no_more_than_their_share_of_an_agent(
    world: World, setting: str
) -> None:
    world.grant_all(STATISTICS)
    world.demand("bureau", **{setting: 2})
    client: Any = world.ledger
    agent = Agent(world.agents["bureau"], client, world.folder / "cursor.json")
    world.ledger.tasks = agent._jobs
    jobs = [world.propose(STATISTICS, mean_of(org)) for org in ORGS]
    rejected = asyncio.Event()

    async def note(_: str) -> None:
        rejected.set()

    world.ledger.before["reject"] = note
    try:
        for job in jobs:
            agent._begin(job, "bank")
        async with asyncio.timeout(30):
            await rejected.wait()
            while jobs[2] in agent._jobs:
                await asyncio.wait(agent._running, return_when=asyncio.FIRST_COMPLETED)
        states = [world.ledger.record("jobs", job)["state"] for job in jobs]
        assert states == ["proposed", "proposed", "rejected"]
        assert [body["cause"] for body in world.evidence("bureau", "reject")] == ["AGENT_BUSY"]
        agent._begin(bytes(32).hex(), "registry")
        assert agent._jobs[bytes(32).hex()]._refused_busy == (setting == "max_waiting_jobs"), "its own share"
    finally:
        running = list(agent._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize(
    ("setting", "value", "ends", "reason"),
    [
        ("refused_purposes", ("research",), "rejected", "LOCAL_PURPOSE_REFUSED"),
        ("refused_organisations", ("bank",), "rejected", "LOCAL_ORGANISATION_REFUSED"),
        ("min_joined_rows", COMMON + 1, "aborted", "ROWS_BELOW_OWNER_MINIMUM"),
        ("min_joined_rows", COMMON + 2, "aborted", "DATA_TOO_FEW_ROWS"),
        ("max_party_rows", 50, "aborted", "policy.max_party_rows"),
    ],
)
async def test_what_an_owner_demands_beyond_the_chain_ends_a_job(
    world: World, setting: str, value: Any, ends: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.grant_all(STATISTICS)
    world.demand("registry", **{setting: value})
    job = world.propose(STATISTICS, FIGURES)
    assert await world.run(job) == ends
    said = [body["cause"] for kind in ("reject", "abort") for body in world.evidence("registry", kind)]
    assert reason in " ".join([*said, caplog.text])


async def test_a_grant_may_be_revoked_while_an_owner_waits_before_the_reveal(world: World) -> None:
    world.grant_all(STATISTICS)
    world.demand("registry", reveal_wait_ms=1)
    waited: list[str] = []

    class Person(StatusBoard):
        """Somebody who reads what the agent posts, and objects while it waits."""

        def post(self, progress: JobProgress, now_ms: int) -> None:
            if progress.step == "waiting before the reveal":
                waited.append(progress.job)
                world.ledger.do("registry", "grants", "revoke", id="bank/g-registry", reason="objection")
            super().post(progress, now_ms)

    agent = world.agents["registry"]
    board = Person(agent.stores.board.folder)
    world.agents["registry"] = replace(agent, stores=replace(agent.stores, board=board))
    job = world.propose(STATISTICS, FIGURES)
    assert await world.run(job) == "aborted"
    assert waited == [job]
    assert all(each.stores.results.load(job) is None for each in world.agents.values())


async def test_a_party_that_never_connects_holds_a_job_no_longer_than_the_owner_allows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger gives this job an hour; the bank's own agent.toml gives it a second."""
    world.grant_all(STATISTICS)
    for org in ("bank", "registry"):
        world.demand(org, job_time_max_ms=1_000)
    job = world.propose(STATISTICS, FIGURES)
    keep_away(monkeypatch, "bureau")
    assert await world.run(job) == "aborted"
    said = [body for org in ("bank", "registry") for body in world.evidence(org, "abort")]
    reasons = {f"{body['cause']}: {body['detail'].get('org')}" for body in said}
    assert reasons & {"MPC_PEER_TIMEOUT: bureau", "MPC_PEER_GONE: bureau"}
    assert "MPC_PEER_TIMEOUT: registry" not in reasons


async def test_data_changed_since_registration_end_the_job_before_any_traffic(world: World) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    path = world.folder / "registry" / "data.csv"
    path.write_text(path.read_text().replace("p30,", "p300,"))
    assert await world.run(job) == "aborted"
    assert [body["cause"] for body in world.evidence("registry", "abort")] == ["DATA_CHANGED"]
    assert not world.evidence("bank", "stage")
    runs = world.ledger.chain.entry("grants", "standing", "bank/g-registry")
    assert (runs["used"], runs["reserved"]) == (0, 0), "the run returns, nothing ran"


async def test_fewer_joined_rows_than_an_owner_asks_for_end_the_job(world: World) -> None:
    world.grant_all(STATISTICS)
    world.demand("bureau", min_joined_rows=COMMON + 1)
    job = world.propose(STATISTICS, FIGURES)
    assert await world.run(job) == "aborted"
    least = {"least": COMMON + 1, "stage": "join"}
    said = [(body["cause"], body["detail"]) for body in world.evidence("bureau", "abort")]
    assert said == [("ROWS_BELOW_OWNER_MINIMUM", least)]
    end = world.ledger.chain.entry("jobs", "ends", job)
    assert (end["by"], end["cause"], end["detail"]) == ("bureau", "ROWS_BELOW_OWNER_MINIMUM", least)


def runs(world: World) -> list[tuple[int, int]]:
    standing = [world.ledger.chain.entry("grants", "standing", f"bank/g-{org}") for org in ORGS]
    return [(one["used"], one["reserved"]) for one in standing]


async def test_no_agent_sends_a_message_about_data_before_its_node_shows_that_a_join_began(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is first announces it; the runs of all are used before anybody's data move."""
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    seen: list[int] = []
    compute = JobRun.compute

    def look(run: JobRun) -> HeldShares:
        seen.append(world.ledger.record("jobs", job)["join_height"])
        return compute(run)

    monkeypatch.setattr(JobRun, "compute", look)
    assert await world.run(job) == "certified"
    assert len(seen) == len(ORGS)
    assert all(height > 0 for height in seen)
    assert runs(world) == [(1, 0)] * 3


async def test_a_job_that_ends_before_data_moved_costs_no_run(world: World) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)

    async def revoke(_: str) -> None:
        if world.ledger.chain.entry("grants", "standing", "bank/g-bureau")["status"] == "active":
            world.ledger.do("bureau", "grants", "revoke", id="bank/g-bureau", reason="objection")

    world.ledger.before["begin_join"] = revoke
    assert await world.run(job) == "aborted"
    assert not any(world.evidence(org, "stage") for org in ORGS)
    assert runs(world) == [(0, 0)] * 3


async def test_owners_that_had_sent_nothing_say_so_and_the_runs_return(world: World) -> None:
    """The requester announces, and stops; the other two were about to announce."""
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    stopped = asyncio.Event()

    async def stop(org: str) -> None:
        if org != "bank":
            await stopped.wait()
            return
        agent = agent_key("bank").public
        world.ledger.chain.send(agent, "jobs", "begin_join", {"job": job}, 8_000_000)
        world.ledger.do("bank", "jobs", "abort", job=job, cause="CANCELLED", detail={}, evidence=bytes(32))
        stopped.set()

    world.ledger.before["begin_join"] = stop
    assert await world.run(job) == "aborted"
    record = world.ledger.record("jobs", job)
    assert sorted(record["disclaimed"]) == ["bureau", "registry"]
    assert runs(world) == [(0, 0)] * 3
    assert all(agent.stores.jobs.unfinished() == [] for agent in world.agents.values())


async def test_owners_that_had_sent_say_nothing_and_the_runs_stay_used(world: World) -> None:
    world.grant_all(STATISTICS)
    world.demand("bureau", min_joined_rows=COMMON + 1)
    job = world.propose(STATISTICS, FIGURES)
    assert await world.run(job) == "aborted"
    assert world.ledger.record("jobs", job)["disclaimed"] == []
    assert runs(world) == [(1, 0)] * 3


async def test_a_private_join_tells_its_figures_to_nobody_before_the_reveal(world: World) -> None:
    world.grant_all(JOIN)
    job = world.propose(JOIN, {"receivers": ["bank"]})
    seen: list[bool] = []

    async def look(_: str) -> None:
        seen.append(any(agent.stores.results.load(job) is not None for agent in world.agents.values()))

    world.ledger.before["approve_reveal"] = look
    assert await world.run(job) == "certified"
    assert seen == [False] * 3
    rows = {org: {f"which rows of {NAMES[org]}": [1] * COMMON} for org in ORGS}
    assert world.figures("bank", job) == {JOINED: COMMON} | rows["bank"]
    assert world.figures("bureau", job) == rows["bureau"]


# --- what is held, and handed out again -------------------------------------------------------------


def asked(world: World, job: str, asker: str, holder: str) -> dict[str, bytes]:
    """Ask a holder's agent for its part of a job, as another participant's agent would."""
    place = world.agents[holder].place
    peer = (*place.listener.address, agent_key(holder).public)
    return ask(
        bytes.fromhex(job),
        ORGS.index(asker),
        ORGS.index(holder),
        peer,
        agent_key(asker),
        1 << 20,
        Cancellation(),
    )


class Scene(StatusBoard):
    """Something that happens when an agent posts a step of a job, once."""

    def __init__(self, world: World, org: str, step: str, act: Callable[[], object]) -> None:
        agent = world.agents[org]
        super().__init__(agent.stores.board.folder)
        self.step, self.act, self.acted = step, act, False
        world.agents[org] = replace(agent, stores=replace(agent.stores, board=self))

    def post(self, progress: JobProgress, now_ms: int) -> None:
        super().post(progress, now_ms)
        if progress.step == self.step and not self.acted:
            self.acted = True
            self.act()


RELEASING = "releasing shares"


async def test_what_is_held_is_handed_out_from_the_reveal_to_the_end_of_its_time_and_always_the_same(
    world: World,
) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    early: list[str] = []

    async def ask_early(org: str) -> None:
        if org != "bank":
            return
        with pytest.raises(HolderRefused) as refused:
            await asyncio.to_thread(asked, world, job, "bank", "bureau")
        early.append(str(refused.value))

    world.ledger.before["approve_reveal"] = ask_early
    assert await world.run(job) == "certified"
    assert ["NOT_REVEALED" in text for text in early] == [True]

    async with world.desks():
        parts = [
            await asyncio.to_thread(asked, world, job, "bank", holder) for holder in ("bureau", "registry")
        ]
        again = [
            await asyncio.to_thread(asked, world, job, "bank", holder) for holder in ("bureau", "registry")
        ]
        assert parts == again
        assert [sorted(part) for part in parts] == [
            ["component-1-0", "component-2-0"],
            ["component-0-0", "component-2-0"],
        ]
        assert parts[0]["component-2-0"] == parts[1]["component-2-0"], "two hold each share"
        assert await asyncio.to_thread(asked, world, job, "registry", "bureau") == {}, "it receives nothing"
    held = world.agents["bureau"].stores.held
    assert held.jobs() == [job]
    world.ledger.chain.time += world.agents["bureau"].identity.policy.keep_shares_ms
    desk = ReleaseDesk(world.agents["bureau"])
    await desk.sweep(lambda _: False, lambda _: None)
    assert held.jobs() == []


@pytest.mark.parametrize("damage", [b"", None], ids=["damaged", "missing"])
async def test_a_result_that_is_lost_later_is_made_again_as_it_was_committed(
    world: World, damage: bytes | None
) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    assert await world.run(job) == "certified"
    bank = world.agents["bank"]
    before, path = bank.stores.results.load(job), bank.stores.results.folder / f"{job}.json"
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    view = await bank.node.reader.job(job)
    assert view is not None
    async with world.desks():
        assert await restore_result(bank, view)
        assert not await restore_result(bank, view), "it is there"
        assert not await restore_result(world.agents["bureau"], view), "it receives nothing"
    assert bank.stores.results.load(job) == before


async def test_a_disk_that_stays_full_beyond_the_deadline_loses_no_result_that_was_paid_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is used and every owner approved: the receiver's agent fetches again once there is room."""
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    written = private_files.write_private

    def full(path: Path, content: bytes) -> None:
        if path.parent.name == "results":
            world.ledger.chain.time += 61 * MINUTE_MS
            raise NotWritten(path, OSError(errno.ENOSPC, "No space left on device"))
        written(path, content)

    monkeypatch.setattr(results_module, "write_private", full)
    assert await world.run(job) == "expired"
    bank, bureau = world.agents["bank"], world.agents["bureau"]
    view = await bank.node.reader.job(job)
    assert view is not None
    desk = ReleaseDesk(bank)
    desk.keep(view)
    assert list(desk.views()) == [view], "the agent looks after it at its next sweep"
    async with world.desks():
        with pytest.raises(NotWritten):
            await restore_result(bank, view)
        monkeypatch.setattr(results_module, "write_private", written)
        assert await restore_result(bank, view)
        assert not await restore_result(bank, view), "it is there"
        assert not await restore_result(bureau, view), "it receives nothing"
    result = bank.stores.results.load(job)
    assert result is not None
    assert world.figures("bank", job)[JOINED] == COMMON
    assert [entry["hash"]["$bytes"] for entry in world.evidence("bank", "result")] == [result.hash.hex()]
    world.ledger.chain.time += bureau.identity.policy.keep_shares_ms
    await ReleaseDesk(bureau).sweep(lambda _: False, lambda _: None)
    assert bureau.stores.held.jobs() == [], "for a stated time"


@pytest.mark.parametrize(
    ("ended", "released"),
    [
        ({"state": "expired"}, True),
        ({"state": "expired", "disputes": 1}, False),
        ({"state": "expired", "revealed_height": 0}, False),
        ({"state": "expired", "reveals": frozenset({"bank"})}, False),
        ({"state": "aborted"}, False),
        ({"state": "disputed"}, False),
        ({"state": "certified"}, True),
    ],
)
def test_shares_are_released_after_an_end_only_if_a_deadline_alone_came_in_between(
    ended: dict[str, Any], released: bool
) -> None:
    view = replace(VIEW, reveals=frozenset(VIEW.owners), revealed_height=9)
    assert replace(view, **ended).may_release is released


async def test_a_holder_that_hands_out_another_share_is_named_with_evidence_and_nothing_is_committed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    honest = HandedPart.to

    def lie(self: HandedPart, *who: Any) -> dict[str, bytes]:
        given = honest(self, *who)
        if self.me == ORGS.index("bureau") and "component-2-0" in given:
            given["component-2-0"] = given["component-2-0"][:-1] + b"\0"
        return given

    monkeypatch.setattr(HandedPart, "to", lie)
    assert await world.run(job) == "aborted"
    said = [(body["cause"], body["detail"]["org"]) for body in world.evidence("bank", "abort")]
    assert said == [("MPC_PEER_MISBEHAVED", "bureau")]
    (kept,) = world.evidence("bank", "lie")
    assert (kept["party"], kept["label"]) == ("bureau", "component-2-0")
    assert component_commitment(bytes.fromhex(kept["given"]["$bytes"])).hex() != kept["committed"]["$bytes"]
    assert world.agents["bank"].stores.results.load(job) is None
    assert world.ledger.record("results", (job, "bank")) is None
    assert all(agent.stores.held.jobs() == [] for agent in world.agents.values())


async def test_a_committed_stage_covers_the_shares_and_a_result_names_them(world: World) -> None:
    """What a holder hands out can be held against the ledger: all else in the hash is there."""
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    assert await world.run(job) == "certified"
    holding = HeldShares.decode(world.agents["bureau"].stores.held.load(job))
    assert sorted(holding.commitments) == ["component-0-0", "component-1-0", "component-2-0"]
    assert {label: component_commitment(record) for label, record in holding.components.items()} == {
        label: holding.commitments[label] for label in ("component-1-0", "component-2-0")
    }
    for org in ORGS:
        shown = world.ledger.record("stages", (job, org, 3))
        channels = world.ledger.record("transcripts", (job, org))
        figures = (shown["bytes"], shown["rounds"], holding.commitments)
        assert shown["hash"] == stage_hash(job, 3, "seal", shown["previous"], channels, *figures)
    result = world.agents["bank"].stores.results.load(job)
    assert result is not None
    assert result.shares == shares_digest(holding.commitments)


async def test_nobody_signs_a_result_that_names_other_shares(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    digest_of = steps.shares_digest
    monkeypatch.setattr(steps, "shares_digest", lambda made: digest_of(made | {"component-0-0": bytes(32)}))

    async def honest_again(_: str) -> None:
        monkeypatch.setattr(steps, "shares_digest", digest_of)

    world.ledger.before["commit_result"] = honest_again
    assert await world.run(job) == "aborted"
    reasons = {body["cause"] for org in ORGS for body in world.evidence(org, "abort")}
    assert "RESULT_OF_OTHER_SHARES" in reasons


@pytest.mark.parametrize(("program", "parameters"), [(STATISTICS, FIGURES), (JOIN, {"receivers": ["bank"]})])
@pytest.mark.parametrize("lost", [False, True], ids=["killed", "killed and its share lost"])
async def test_a_receiver_that_is_killed_at_the_release_gets_its_result_again(
    world: World, program: str, parameters: dict[str, Value], lost: bool
) -> None:
    world.grant_all(program)
    job = world.propose(program, parameters)

    def kill() -> None:
        if lost:
            world.agents["bank"].stores.held.destroy(job)
        world.ledger.tasks["bank"]._spawn(world.ledger.before["kill bank"]("bank"))

    scene = Scene(world, "bank", RELEASING, kill)
    assert await world.run(job) == "certified"
    assert scene.acted
    assert world.figures("bank", job)[JOINED] == COMMON


async def test_a_holder_that_is_gone_at_the_release_costs_no_result(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other holder of each share has the same; the third share is the receiver's own."""
    monkeypatch.setattr(release, "OTHER_HOLDER_S", 0.0)
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    registry = world.agents["registry"]
    Scene(world, "bank", RELEASING, lambda: registry.place.listener.accept_keys(()))
    assert await world.run(job) == "certified"


async def test_shares_that_are_lost_before_the_reveal_end_the_job_by_name(world: World) -> None:
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    killed: list[str] = []

    async def kill(org: str) -> None:
        if org == "registry" and not killed:
            killed.append(org)
            world.agents[org].stores.held.destroy(job)
            await world.ledger.before[f"kill {org}"](org)

    world.ledger.before["commit_transcript"] = kill
    assert await world.run(job) == "aborted"
    assert [body["cause"] for body in world.evidence("registry", "abort")] == ["AGENT_RESTARTED"]


@pytest.mark.parametrize("org", ["bank", "bureau"])
async def test_a_disk_that_is_full_for_a_while_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, org: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every durable write of the agent is refused twice, wherever it comes in the job."""
    monkeypatch.setattr(task_module, "WRITE_AGAIN_S", (0.0, 0.0))
    world.grant_all(STATISTICS)
    job = world.propose(STATISTICS, FIGURES)
    refused: Counter[str] = Counter()

    def full(path: Path) -> None:
        where = path.name if path.parent.name == "agent" else path.parent.name
        if f"/{org}/" in str(path) and refused[where] < 2:
            refused[where] += 1
            raise NotWritten(path, OSError(errno.ENOSPC, "No space left on device"))

    written, appended = private_files.write_private, EvidenceLog.append

    def write(path: Path, content: bytes) -> None:
        full(path)
        written(path, content)

    def append(self: EvidenceLog, *entry: Any) -> Any:
        full(self.path)
        return appended(self, *entry)

    for module in (results_module, sealed_module, store_module):
        monkeypatch.setattr(module, "write_private", write)
    monkeypatch.setattr(EvidenceLog, "append", append)
    assert await world.run(job) == "certified"
    places = {"jobs", "held", "joins", "evidence.jsonl"} | ({"results"} if org == "bank" else set())
    assert {where for where, count in refused.items() if count == 2} == places
    assert "No space left on device" in caplog.text
    assert "make room there" in caplog.text
    kinds = [entry.kind for entry in world.agents[org].stores.evidence.entries()]
    assert kinds.count("stage") == 4, "what waited for the disk is written down in the end"
