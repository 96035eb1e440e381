"""Random histories: quotas add up, nothing runs or is revealed without cover, every open state can end."""

from __future__ import annotations

import random
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.crypto import PrivateKey
from chain.primitives.values import encode_value

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
HOUR_MS = 3_600_000
ORDER = ("proposed", "accepted", "running", "computed", "revealed", "committed", "certified")
FINAL = ("certified", "aborted", "expired", "rejected")

STEPS = 150
WEIGHTS = {
    "forward": 120,
    "propose": 20,
    "abort": 3,
    "reject": 3,
    "expire": 4,
    "disclaim": 8,
    "report": 4,
    "resolve": 8,
    "wait": 3,
    "suspend": 4,
    "resume": 12,
    "revoke": 1,
    "narrow": 1,
    "suspend-dataset": 3,
    "resume-dataset": 12,
}


class History:
    """Plays random steps and keeps, beside the chain, the least that must be true of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.jobs: list[str] = []
        self.reached: dict[str, list[str]] = {}

    def attempt(self, who: str, target: str, **args: Any) -> bool:
        """Make a call that may be refused; a refusal changes nothing and has a stable code."""
        world = self.world
        world.advance(50)
        before = dict(world.state)
        key = PrivateKey(sha256(who.encode()).digest())
        outcome = world.run(key, target, **args)
        if outcome.status != "ok":
            assert outcome.code == outcome.code.upper() != "", outcome
            assert world.state == before
        return outcome.status == "ok"

    def play(self, step: str, pick: int, who: str) -> None:
        world = self.world
        if step == "propose":
            spec = world.spec()
            if self.attempt("bank", "jobs.propose", spec=spec):
                self.jobs.append(sha256(encode_value(spec)).hexdigest())
            return
        if step in ("suspend", "revoke"):
            self.attempt(who, f"grants.{step}", id=f"bank/g-{who}", reason="")
        elif step == "resume":
            self.attempt(who, "grants.resume", id=f"bank/g-{who}")
        elif step == "narrow":
            self.attempt(who, "grants.narrow", id=f"bank/g-{who}", terms={"quota_runs": 1 + pick})
        elif step == "suspend-dataset":
            self.attempt(who, "datasets.suspend", id=f"{who}/data", reason="")
        elif step == "resume-dataset":
            self.attempt(who, "datasets.resume", id=f"{who}/data")
        elif step == "wait":
            world.advance(HOUR_MS // 3)
        elif self.jobs:
            # The four youngest jobs are at work at the same time.
            self.on_job(step, self.jobs[-4:][pick % len(self.jobs[-4:])], who)

    def on_job(self, step: str, job: str, who: str) -> None:
        one = bytes([1]) * 32
        if step == "forward":
            for name in PARTIES:
                self.forward(job, name)
        elif step == "abort":
            self.attempt(who, "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=one)
        elif step == "reject":
            self.attempt(who, "jobs.reject", job=job, cause="STOPPED", detail={})
        elif step == "expire":
            self.attempt("rival", "jobs.expire", job=job)
        elif step == "disclaim":
            self.attempt(f"{who}/agent", "jobs.disclaim", job=job)
        elif step == "report":
            against = "bureau" if who == "bank" else "bank"
            self.attempt(who, "jobs.report", job=job, kind="late", against=against, evidence=one)
        else:
            number = self.world.read("jobs", "jobs", job)["disputes"]
            args = {"job": job, "number": number, "outcome": "dismissed", "blamed": [], "evidence": one}
            self.attempt("regulator", "jobs.resolve", **args)

    def forward(self, job: str, name: str) -> None:
        """Let one party do what the job's state asks of it."""
        world, agent = self.world, f"{name}/agent"
        state = world.state_of(job)
        if state == "proposed":
            self.attempt(agent, "jobs.accept", job=job, plan=self.world.plan_of(job))
        elif state == "accepted":
            self.attempt(agent, "jobs.bind", job=job, commitment=sha256(agent.encode()).digest())
        elif state == "running" and world.read("jobs", "transcripts", (job, name)) is None:
            if world.read("jobs", "stage_heads", (job, name)) is None:
                if world.read("jobs", "jobs", job)["join_height"] == 0:
                    self.attempt(agent, "jobs.begin_join", job=job)
                if world.read("jobs", "jobs", job)["join_height"] == 0:
                    return
                world.stage(job, name) if world.time < self.deadline(job) - 200 else None
            channels = {other: one_channel(job, name, other) for other in PARTIES if other != name}
            self.attempt(agent, "jobs.commit_transcript", job=job, profile="rep3", channels=channels)
        elif state == "computed":
            self.attempt(agent, "jobs.approve_reveal", job=job)
        elif state == "revealed":
            args = {"job": job, "hash": bytes([1]) * 32, "schema": "", "metrics": {}}
            self.attempt(agent, "jobs.commit_result", **args)
        elif state == "committed":
            digest = sha256(encode_value(world.ask("jobs.certificate_body", job=job))).digest()
            signature = PrivateKey(sha256(agent.encode()).digest()).sign(digest)
            self.attempt(agent, "jobs.certify", job=job, digest=digest, signature=signature)

    def deadline(self, job: str) -> int:
        return int(self.world.read("jobs", "jobs", job)["deadline"])

    # --- what must be true after every step

    def check(self) -> None:
        world = self.world
        states = {job: world.state_of(job) for job in self.jobs}
        for name in PARTIES:
            self.check_quota(f"bank/g-{name}", states)
        for job, state in states.items():
            record = world.read("jobs", "jobs", job)
            assert state in FINAL or record["deadline"] >= record["since"] > 0
            assert (world.read("jobs", "certificates", job) is not None) == (state == "certified")
            known = self.reached.setdefault(job, [state])
            if known[-1] != state:
                assert known[-1] not in FINAL
                self.check_entry(job, state, known[-1])
                known.append(state)

    def check_quota(self, grant: str, states: dict[str, str]) -> None:
        """used + reserved <= runs; both are exactly what the histories of the jobs say."""
        runs, (used, reserved) = (
            self.world.read("grants", "grants", grant)["quota_runs"],
            self.world.quota(grant),
        )
        live = self.world.live(grant)
        assert min(used, reserved) >= 0
        assert used + reserved <= runs
        assert reserved == sum(1 for held in live.values() if held == "reserved")
        records = [self.world.read("jobs", "jobs", job) for job in self.jobs]
        assert used == sum(spent(record, grant) for record in records)
        self.check_returns(grant, records)
        assert sorted(live) == sorted(job for job, state in states.items() if state not in FINAL)

    def check_returns(self, grant: str, records: list[Any]) -> None:
        """No more runs of jobs that ran come back in a day than may."""
        back = [one for one in records if one["running_height"] > 0 and grant in one["returned"]]
        days = [one["ended_at"] // (24 * HOUR_MS) for one in back]
        assert max((days.count(day) for day in days), default=0) <= 3

    def check_entry(self, job: str, state: str, before: str) -> None:
        """Whoever enters accepted, running or revealed does so under grants that are active now."""
        if before == "disputed" or state not in ("accepted", "running", "revealed"):
            return
        for name in PARTIES:
            grant = self.world.read("grants", "grants", f"bank/g-{name}")
            assert self.world.read("grants", "standing", f"bank/g-{name}")["status"] == "active"
            assert self.world.time < grant["expires"]
            assert self.world.read("datasets", "datasets", f"{name}/data")["status"] == "active"
            wanted = {"accepted": "reserved", "running": "reserved", "revealed": "revealed"}[state]
            assert self.world.live(f"bank/g-{name}")[job] == wanted


def spent(record: Any, grant: str) -> bool:
    """Tell whether a job has used a run of a grant, by its own record."""
    ran = record["join_height"] if record["state"] not in FINAL else record["running_height"]
    return ran > 0 and grant not in record["returned"]


def one_channel(job: str, a: str, b: str) -> bytes:
    return sha256("/".join([job, *sorted((a, b))]).encode()).digest()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_histories_keep_every_invariant(fresh: Callable[[], World], seed: int) -> None:
    chance = random.Random(seed)
    history = History(fresh())
    for step in chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=STEPS):
        history.play(step, chance.randrange(4), chance.choice(PARTIES))
        history.check()
    # Every state that is not final has a deadline that anyone can trigger.
    history.world.advance(30 * 24 * HOUR_MS)
    for job in history.jobs:
        if history.world.state_of(job) not in FINAL:
            history.world.do("rival", "jobs.expire", job=job)
    history.check()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(kills=st.lists(st.sampled_from(ORDER[:-1]), min_size=1, max_size=8), runs=st.integers(1, 6))
def test_a_run_returns_only_if_the_job_died_before_data_moved(
    fresh: Callable[[], World], kills: list[str], runs: int
) -> None:
    world = fresh()
    for name in PARTIES:
        world.do(name, "grants.narrow", id=f"bank/g-{name}", terms={"quota_runs": runs})
    used = free = 0
    for state in kills:
        if used == runs:
            assert world.refusal("bank", "jobs.propose", spec=world.spec()) == "QUOTA_EXHAUSTED"
            break
        job = world.job_at(state)
        world.do("bank", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=bytes([1]) * 32)
        free += state == "running"
        used += state not in ("proposed", "accepted") and (state != "running" or free > 3)
        assert world.quota("bank/g-bureau") == (used, 0)
