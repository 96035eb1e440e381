"""Scenarios of data use in memory, for tests of policies: datasets, grants, and jobs in all their phases.

use = DataUse("hospital", "insurer", "registry")
use.chain.adopt(Path("policy.py"), "policy", {…})
use.grant("hospital", to="insurer", policy="policy")  # grant insurer/hospital on hospital/data
job = use.propose("insurer", ["hospital"])      # the policy is asked with phase "proposed"
use.accept(job); use.start(job); use.reveal(job)  # "accepted", "running", "reveal"
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from chain.primitives.schema_seal import sealed_by
from chain.primitives.values import Value, encode_value
from contracts.coverage import Coverage
from contracts.replicas import Replicas
from contracts.runtime import ContractRuntime
from contracts.testing import Account, LocalChain, key_of

GAS = 10_000_000
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
PROGRAM = "statistics"
PAGE = '''"""How many rows the first dataset has, for each receiver; all incomes stay shares."""


def run(*tables, receivers=("tables1",), epsilon_micro=0):
    for receiver in receivers:
        release(count(tables[0]), to=receiver, exact=True, name="rows")
    for table in tables:
        keep(table.income, name="incomes of " + name_of(table))
'''
PROFILE, PARTIES = "rep3", 3
"""Three organisations run it, each with one dataset at most."""
HELPERS = ("computing-1", "computing-2")
"""Members that make up three, beside one or two organisations."""
COLUMNS = {"income": "aggregate-only"}
USED = {"income": "encrypted"}
DECLARED: dict[str, Value] = {
    "name": "income",
    "type": "decimal",
    "sensitivity": "personal",
    "unit": "EUR",
    "missing": "refuse",
    "coding": [],
    "low": None,
    "high": None,
    "categories": [],
    "edges": [],
    "normalise": [],
}
"""The only column of every dataset, as its owner declares it."""
SEAL = sealed_by([], [encode_value(DECLARED)])
PHASES = ("accept", "bind", "run", "reveal", "commit", "certify")


class DataUse:
    """A consortium in memory; every organisation owns one dataset, `dataset_of(org)`."""

    def __init__(
        self,
        *orgs: str,
        runtime: ContractRuntime | None = None,
        replicas: Replicas | None = None,
        coverage: Coverage | None = None,
    ) -> None:
        """Start the chain, with one program and one dataset for each organisation."""
        self.orgs = (*orgs, *HELPERS[: max(0, PARTIES - len(orgs))])
        init = {"programs": {"pages": {PROGRAM: PAGE}}}
        self.chain = LocalChain.consortium(
            *self.orgs, init=init, runtime=runtime, replicas=replicas, coverage=coverage
        )
        self._count = 0
        for org in orgs:
            self._dataset(org)

    def admin(self, org: str) -> Account:
        """Return the account of an organisation's admin key."""
        return self.chain.as_(org)

    def agent(self, org: str) -> Account:
        """Return the account of an organisation's agent."""
        return self.chain.as_(f"{org}/agent")

    # --- what owners do -----------------------------------------------------------------------------------

    def _dataset(self, org: str) -> None:
        self.admin(org).call("datasets", "declare", gas=GAS, schema=SEAL, key=[], columns=[DECLARED])
        self.admin(org).call(
            "datasets",
            "register",
            gas=GAS,
            id=self.dataset_of(org),
            schema=SEAL,
            root=_hash(org),
            size_bucket="100-1000",
            approvers=[org],
            threshold=1,
            description="",
        )

    def version(self, org: str) -> int:
        """Publish a new version of an organisation's dataset; return its number."""
        self._count += 1
        root = _hash(f"{org}/{self._count}")
        bucket = "100-1000"
        new = self.admin(org).call(
            "datasets",
            "new_version",
            gas=GAS,
            id=self.dataset_of(org),
            schema=SEAL,
            root=root,
            size_bucket=bucket,
        )
        return int(new)

    def grant(self, owner: str, *, to: str, policy: str, name: str = "", **terms: Value) -> str:
        """Request a grant on an owner's dataset and have the owner approve it; return its id."""
        grant = self.grant_of(to, name or owner)
        plain: dict[str, Value] = {
            "version": 1,
            "columns": dict(COLUMNS),
            "purpose": "research",
            "legal_basis": "contract 7",
            "asked_because": "",
            "programs": [PROGRAM],
            "receivers": [to],
            "co_parties": list(self.orgs),
            "membership": list(self.orgs),
            "profile": PROFILE,
            "not_before": 0,
            "expires": self.chain.time + YEAR_MS,
            "quota_runs": 100,
            "run_epsilon": 10**9,
            "min_group": 10,
        }
        request = {**plain, "id": grant, "dataset": self.dataset_of(owner), "policy": policy, **terms}
        self.admin(to).call("grants", "request", gas=GAS, **request)
        self.admin(owner).call("grants", "approve", gas=GAS, id=grant, terms={})
        return grant

    @staticmethod
    def dataset_of(owner: str) -> str:
        """Return the id of an organisation's dataset."""
        return f"{owner}/data"

    @staticmethod
    def grant_of(to: str, name: str) -> str:
        """Return the id of a grant of an organisation; unless told otherwise it has the owner's name."""
        return f"{to}/{name}"

    # --- a job --------------------------------------------------------------------------------------------

    def propose(self, by: str, owners: list[str], **spec: Value) -> str:
        """Propose a job on the grants `BY/OWNER`; others compute, so that there are three. Returns its id."""
        self._count += 1
        parties = list(dict.fromkeys((*owners, by, *self.orgs)))[: max(PARTIES, len(owners))]
        plain: dict[str, Any] = {
            "program": PROGRAM,
            "purpose": "research",
            "profile": PROFILE,
            "min_group": 10,
            "inputs": [self.input(self.grant_of(by, owner), owner) for owner in owners],
            "participants": [self._party(org, owners) for org in parties],
            "receivers": [by],
            "deadlines": dict.fromkeys(PHASES, HOUR_MS),
            "nonce": self._count.to_bytes(16, "big"),
        }
        asked: dict[str, Any] = {**plain, **spec}
        asked["inputs"] = [{"name": f"d{number}", **one} for number, one in enumerate(asked["inputs"])]
        asked["parameters"] = {"receivers": sorted(asked["receivers"]), **asked.get("parameters", {})}
        return str(
            self.admin(by).call("jobs", "propose", gas=GAS, spec={**self._followed(asked, by), **asked})
        )

    def _followed(self, spec: dict[str, Any], by: str) -> dict[str, Value]:
        """Return the page of an organisation's job, and the plan that follows of it."""
        inputs: list[Value] = [
            {name: one[name] for name in ("name", "dataset", "version")} | {"columns": list(one["columns"])}
            for one in spec["inputs"]
        ]
        found: Any = self.chain.view(
            "programs",
            "derive",
            id=spec["program"],
            inputs=inputs,
            parameters=spec["parameters"],
            initiator=by,
        )
        return {"page": found["page"], "plan": found["plan"]}

    def input(self, grant: str, owner: str, version: int = 1) -> dict[str, Value]:
        """Return one input of a job: a version of an owner's dataset under a grant."""
        dataset = self.dataset_of(owner)
        return {"grant": grant, "dataset": dataset, "version": version, "columns": dict(USED)}

    def accept(self, job: str) -> None:
        """Have every party accept; the last one reserves the runs."""
        plan = self.chain.entry("jobs", "specs", job)["plan"]
        for org in self.parties_of(job):
            self.agent(org).call("jobs", "accept", gas=GAS, job=job, plan=plan)

    def start(self, job: str) -> None:
        """Have every owner bind its inputs; with the last one the job runs."""
        for owner in self.owners_of(job):
            self.agent(owner).call("jobs", "bind", gas=GAS, job=job, commitment=_hash(f"{job}/{owner}"))

    def reveal(self, job: str) -> None:
        """Have every party commit what it computed, and every owner release the result."""
        self.compute(job)
        self.release(job)

    def compute(self, job: str) -> None:
        """Let data move, which uses the runs; have every party commit its stage and transcript."""
        self.agent(self.owners_of(job)[0]).call("jobs", "begin_join", gas=GAS, job=job)
        for org in self.parties_of(job):
            self._compute(job, org)

    def release(self, job: str) -> None:
        """Have every owner approve the reveal."""
        for owner in self.owners_of(job):
            self.agent(owner).call("jobs", "approve_reveal", gas=GAS, job=job)

    def parties_of(self, job: str) -> list[str]:
        """Return the organisations that take part in a job."""
        return [one["org"] for one in self.chain.entry("jobs", "specs", job)["participants"]]

    def owners_of(self, job: str) -> list[str]:
        """Return the owners of a job's inputs, each once."""
        return list(dict.fromkeys(self.chain.entry("jobs", "jobs", job)["owners"]))

    def state_of(self, job: str) -> str:
        """Return the state that a job is in."""
        return str(self.chain.entry("jobs", "jobs", job)["state"])

    def started(self, by: str, owners: list[str], **spec: Value) -> str:
        """Return a job that is running."""
        job = self.propose(by, owners, **spec)
        self.accept(job)
        self.start(job)
        return job

    def _compute(self, job: str, org: str) -> None:
        agent = self.agent(org)
        stage = {"stage": 0, "kind": "share", "hash": _hash(f"{job}/{org}"), "previous": bytes(32)}
        agent.call("jobs", "commit_stage", gas=GAS, job=job, bytes_sent=1_000, rounds=1, cpu_ms=5, **stage)
        channels = {
            other: _hash("/".join([job, *sorted((org, other))]))
            for other in self.parties_of(job)
            if other != org
        }
        agent.call("jobs", "commit_transcript", gas=GAS, job=job, profile=PROFILE, channels=channels)

    @staticmethod
    def _party(org: str, owners: list[str]) -> dict[str, Value]:
        role = "owner" if org in owners else "compute"
        return {"org": org, "role": role, "agent_key": key_of(f"{org}/agent").public}


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()
