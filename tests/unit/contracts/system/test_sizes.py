"""Whatever size can be proposed can also go all the way, and can be ended from every state.

Every quantity stands at its bound at once: names of members, datasets, grants, columns and programs, inputs,
participants, receivers, parameters, open jobs of each grant, reports, stages' figures, metrics and texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.values import encode_value
from tests.schemas import column
from tests.unit.contracts.system.founding import Refused, seeded

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS
DAY_MS = 24 * HOUR_MS
SPEC_BYTES_MAX = 32_768
NAMES_BYTES_MAX = 16_384
OPEN_JOBS_MAX = 64
WIDE = "\U0001f600"
"""A character of four bytes."""
TEXT = WIDE * 256
DETAIL = {letter * 32: WIDE * 128 for letter in "abcdefgh"}
MEMBERS = [f"{number:02}".ljust(64, "m") for number in range(32)]
PARTIES, AUDITOR, INITIATOR = MEMBERS[:8], MEMBERS[8], MEMBERS[0]
PROGRAM_ID = "p" * 64
PAGE = '''"""How many rows all share; of each dataset a sum of `widths` columns stays shares."""

PAD = "{pad}"


def run(*tables, receivers=("tables1",), widths=(0, 0), more=("",)):
    rows = join(tables)
    for receiver in receivers:
        release(count(rows), to=receiver, exact=True, name="n")
    for place, table in enumerate(tables):
        names = [str(number) + PAD for number in range(1000 + {keys}, 1000 + {keys} + widths[place])]
        if widths[place] > 0:
            total = rows[name_of(table)][names[0]]
            for at, name in enumerate(names):
                if at > 0:
                    total = total + rows[name_of(table)][name]
            keep(total, name=str(place))
'''
"""Columns have the names 1000…, 1001…; the first `keys` of them are the key."""
PLAN_COLUMNS_MAX, KEY_COLUMNS_MAX = 256, 8
ONE = bytes([1]) * 32
POLICY = """
counts = Map(str, int)

@export(nested=True)
def allow(job: dict, phase: str) -> bool:
    counts[job["grant"]] = counts.get(job["grant"], 0) + 1
    return True
"""


@dataclass(frozen=True)
class Shape:
    """Who takes part, and what names columns have."""

    owners: int
    profile: str
    pad: str
    keys: int
    columns: int
    """Of each dataset."""

    @property
    def page(self) -> str:
        return PAGE.replace("{pad}", self.pad).replace("{keys}", str(self.keys))

    @property
    def names(self) -> list[str]:
        return [f"{1_000 + number}{self.pad}" for number in range(self.columns)]


SHAPES = {
    "eight owners, keys of eight columns": Shape(8, "dh-psi", WIDE * 60, KEY_COLUMNS_MAX, 8),
    "three owners, many short names": Shape(3, "rep3", "c", 1, 86),
    "three owners, 64 letters": Shape(3, "rep3", "x" * 60, 1, 86),
    "three owners, 64 characters of four bytes": Shape(3, "rep3", WIDE * 60, 1, 60),
}


class Large:
    """A consortium of 32 members whose grants, jobs and texts are as large as the contracts take them."""

    def __init__(self, world: World, shape: Shape) -> None:
        self.world, self.shape, self.names = world, shape, shape.names
        self.parties = PARTIES[: shape.owners]
        self.grants = {owner: f"{INITIATOR}/{owner[:2].ljust(63, 'g')}" for owner in self.parties}
        self.count = 0

    def prepare(self) -> None:
        world = self.world
        for owner in self.parties:
            keys = [column(name, "text", "identifier") for name in self.names[: self.shape.keys]]
            others = [column(name, "decimal") for name in self.names[self.shape.keys :]]
            schema = world.declare(owner, [*keys, *others])
            args = {"schema": schema, "root": ONE, "size_bucket": TEXT, "threshold": 2, "description": TEXT}
            approvers = [AUDITOR, *MEMBERS[9:24]]
            world.do(owner, "datasets.register", id=self.dataset(owner), approvers=approvers, **args)
            self.request(owner)
            for approver in approvers[:2]:
                world.do(approver, "grants.approve", id=self.grants[owner], terms={})

    @staticmethod
    def dataset(owner: str) -> str:
        return f"{owner}/{'d' * 63}"

    def request(self, owner: str) -> None:
        programs = [PROGRAM_ID, *[f"{number:02}".ljust(64, "q") for number in range(31)]]
        self.world.do(
            INITIATOR,
            "grants.request",
            id=self.grants[owner],
            dataset=self.dataset(owner),
            version=1,
            columns=self.constraints("encrypted-only"),
            purpose="u" * 64,
            legal_basis=TEXT,
            asked_because=TEXT,
            programs=programs,
            receivers=MEMBERS,
            co_parties=MEMBERS,
            membership=MEMBERS,
            profile=self.shape.profile,
            not_before=0,
            expires=self.world.time + 300 * DAY_MS,
            quota_runs=1_000_000,
            run_epsilon=10**12,
            min_group=10**9,
            policy="rules",
        )

    def constraints(self, other: str) -> dict[str, str]:
        keys = self.names[: self.shape.keys]
        return {name: "join-only" if name in keys else other for name in self.names}

    def spec(self, columns: int = 0, parameters: int = 0) -> dict[str, Any]:
        """Return a spec with so many columns beside the keys, and bytes of parameters."""
        self.count += 1
        count, keys = len(self.parties), self.shape.keys
        widths = [columns // count + (number < columns % count) for number in range(count)]
        asked: dict[str, Any] = {"receivers": self.parties, "widths": widths, "more": []}
        while (left := parameters - len(encode_value(asked))) > 4:
            asked["more"].append("y" * min(250, left - 4))
        inputs = [
            {
                "name": f"d{place}",
                "grant": self.grants[owner],
                "dataset": self.dataset(owner),
                "version": 1,
                "columns": dict(sorted({
                    **dict.fromkeys(self.names[:keys], "join"),
                    **dict.fromkeys(self.names[keys : keys + width], "encrypted"),
                }.items())),
            }
            for place, (owner, width) in enumerate(zip(self.parties, widths, strict=True))
        ]  # fmt: skip
        spec: dict[str, Any] = {
            "program": PROGRAM_ID,
            "parameters": asked,
            "purpose": "u" * 64,
            "profile": self.shape.profile,
            "min_group": 10**9,
            "inputs": inputs,
            "participants": [
                {"org": name, "role": "compute", "agent_key": seeded(f"{name}/agent").public}
                for name in self.parties
            ],
            "receivers": self.parties,
            "deadlines": dict.fromkeys(("accept", "bind", "run", "reveal", "commit", "certify"), HOUR_MS),
            "nonce": self.count.to_bytes(16, "big"),
        }
        return spec | {"page": ONE, "plan": ONE}

    def followed(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Return a spec with its page and plan."""
        inputs = [
            {name: one[name] for name in ("name", "dataset", "version")} | {"columns": list(one["columns"])}
            for one in spec["inputs"]
        ]
        asked = {"id": PROGRAM_ID, "inputs": inputs, "parameters": spec["parameters"], "initiator": "bank"}
        found = self.world.ask("programs.derive", **asked)
        return spec | {name: found[name] for name in ("page", "plan")}

    @property
    def most(self) -> int:
        """The most columns that are no keys: as many as a plan reads, and as fit into a spec."""
        rooms = len(self.parties) * (len(self.names) - self.shape.keys)
        rooms = min(rooms, PLAN_COLUMNS_MAX - len(self.parties) * self.shape.keys)
        fits = range(rooms + 1)
        return max(n for n in fits if len(encode_value(self.spec(n, 8_180))) <= SPEC_BYTES_MAX)

    def largest(self) -> dict[str, Any]:
        """Return the largest spec that is taken."""
        return self.followed(self.spec(self.most, 8_180))

    def smallest(self) -> dict[str, Any]:
        return self.followed(self.spec())

    def propose(self, spec: dict[str, Any]) -> str:
        job: str = self.world.do(INITIATOR, "jobs.propose", spec=spec)
        return job

    # --- the steps of a job, every party at once

    def accept(self, job: str) -> None:
        plan = self.world.plan_of(job)
        for name in self.parties:
            self.world.do(f"{name}/agent", "jobs.accept", job=job, plan=plan)

    def bind(self, job: str) -> None:
        for name in self.parties:
            self.world.do(f"{name}/agent", "jobs.bind", job=job, commitment=ONE)

    def compute(self, job: str) -> None:
        figure = 2**63 - 1
        self.world.do(f"{self.parties[0]}/agent", "jobs.begin_join", job=job)
        for name in self.parties:
            args = {"kind": "k" * 64, "bytes_sent": figure, "rounds": figure, "cpu_ms": figure}
            stage = {"stage": 0, "hash": ONE, "previous": bytes(32), **args}
            self.world.do(f"{name}/agent", "jobs.commit_stage", job=job, **stage)
            self.transcript(job, name)

    def transcript(self, job: str, name: str, said: bytes = ONE) -> None:
        channels = {other: said for other in self.parties if other != name}
        args = {"job": job, "profile": self.shape.profile, "channels": channels}
        self.world.do(f"{name}/agent", "jobs.commit_transcript", **args)

    def reveal(self, job: str) -> None:
        for name in self.parties:
            self.world.do(f"{name}/agent", "jobs.approve_reveal", job=job)

    def commit(self, job: str) -> None:
        metrics = {"m": "x" * 4_090}
        assert len(encode_value(metrics)) == 4_096
        for name in self.parties:
            args = {"job": job, "hash": ONE, "schema": TEXT, "metrics": metrics}
            self.world.do(f"{name}/agent", "jobs.commit_result", **args)

    def certify(self, job: str) -> None:
        digest = sha256(encode_value(self.world.ask("jobs.certificate_body", job=job))).digest()
        for name in self.parties:
            signature = seeded(f"{name}/agent").sign(digest)
            self.world.do(f"{name}/agent", "jobs.certify", job=job, digest=digest, signature=signature)

    def steps(self) -> list[tuple[str, Callable[[str], None]]]:
        return [
            ("accepted", self.accept),
            ("running", self.bind),
            ("computed", self.compute),
            ("revealed", self.reveal),
            ("committed", self.commit),
            ("certified", self.certify),
        ]

    def report(self, job: str) -> None:
        """Everybody who may reports as often as it may."""
        for name in [*self.parties, AUDITOR]:
            against = self.parties[1] if name == self.parties[0] else self.parties[0]
            for _ in range(2):
                args = {"job": job, "kind": "k" * 64, "against": against, "evidence": ONE}
                self.world.do(name, "jobs.report", **args)


@pytest.fixture(scope="module", params=list(SHAPES))
def _prepared(request: pytest.FixtureRequest, new_world: type[World]) -> Large:
    roles = {name: ["owner", "user", "compute", "auditor"] for name in PARTIES}
    others = {name: ["auditor"] for name in MEMBERS[8:]}
    shape = SHAPES[request.param]
    large = Large(new_world({**roles, **others}, {PROGRAM_ID: shape.page}), shape)
    world = large.world
    seq = world.do(INITIATOR, "lifecycle.propose", name="rules", source=POLICY, arguments={}, terms={})
    voted = world.read("lifecycle", "proposals", f"rules/{seq}")["hash"]
    for name in MEMBERS[1:20]:
        world.do(name, "lifecycle.approve", name="rules", seq=seq, hash=voted)
    world.do(INITIATOR, "lifecycle.commit", name="rules", seq=seq)
    world.advance()
    large.prepare()
    return large


@pytest.fixture
def large(_prepared: Large) -> Large:
    """The same consortium, whose state the test may change."""
    return Large(_prepared.world.fork(), _prepared.shape)


def test_the_largest_job_goes_all_the_way_beside_as_many_others_as_a_grant_has(large: Large) -> None:
    world, spec = large.world, large.largest()
    columns = sum(len(item["columns"]) for item in spec["inputs"])
    assert len(encode_value(spec)) > SPEC_BYTES_MAX - 400 or columns in (64, 163, PLAN_COLUMNS_MAX)
    for _ in range(OPEN_JOBS_MAX - 1):
        large.propose(large.smallest())
    job = large.propose(spec)
    assert world.refusal(INITIATOR, "jobs.propose", spec=large.smallest()) == "TOO_MANY_JOBS"
    for state, step in large.steps():
        step(job)
        assert world.state_of(job) == state
    body = world.read("jobs", "certificates", job)["body"]
    assert len(encode_value(body)) < 32_768


@pytest.mark.parametrize("reached", ["proposed", "accepted", "running", "computed", "revealed", "committed"])
def test_the_largest_job_can_be_ended_by_anyone_after_every_deadline(large: Large, reached: str) -> None:
    world = large.world
    job = large.propose(large.largest())
    for state, step in large.steps():
        if world.state_of(job) == reached:
            break
        step(job)
        assert world.state_of(job) == state
    other = world.fork()
    other.do(large.parties[2], "jobs.abort", job=job, cause="C" * 64, detail=DETAIL, evidence=ONE)
    assert other.state_of(job) == "aborted"
    Large(world, large.shape).report(job)
    assert world.state_of(job) == "disputed"
    world.advance(WEEK_MS + 1_000)
    world.do(MEMBERS[31], "jobs.expire", job=job)
    for number in range(1, 2 * len(large.parties) + 3):
        world.do(MEMBERS[31], "jobs.lapse", job=job, number=number)
    assert world.state_of(job) == "expired"
    for grant in large.grants.values():
        assert world.live(grant) == {}
        used = reached not in ("proposed", "accepted", "running")
        assert world.quota(grant) == (int(used), 0)


def test_transcripts_of_which_no_two_agree_fit_in_one_dispute_each(large: Large) -> None:
    job = large.propose(large.largest())
    for _, step in large.steps()[:2]:
        step(job)
    world = large.world
    world.do(f"{large.parties[0]}/agent", "jobs.begin_join", job=job)
    for name in large.parties:
        stage = {"stage": 0, "kind": "k", "hash": ONE, "previous": bytes(32)}
        figures = {"bytes_sent": 0, "rounds": 0, "cpu_ms": 0}
        world.do(f"{name}/agent", "jobs.commit_stage", job=job, **stage, **figures)
    for number, name in enumerate(large.parties[:-1]):
        if number < len(large.parties) - 2:
            large.transcript(job, name)
    liar = large.parties[-1]
    large.transcript(job, liar, bytes([9]) * 32)
    assert world.state_of(job) == "aborted"
    assert world.read("jobs", "jobs", job)["disputes"] == len(large.parties) - 2


def test_a_grant_with_every_open_job_is_narrowed_suspended_revoked_and_its_dataset_retired(
    large: Large,
) -> None:
    world, owner = large.world, PARTIES[0]
    grant, dataset = large.grants[owner], large.dataset(owner)
    for _ in range(OPEN_JOBS_MAX):
        large.propose(large.smallest())
    world.do(owner, "grants.narrow", id=grant, terms={"columns": large.constraints("encrypted-only")})
    world.do(owner, "grants.suspend", id=grant, reason=TEXT)
    world.do(owner, "grants.resume", id=grant)
    world.do(owner, "datasets.suspend", id=dataset, reason=TEXT)
    world.do(owner, "datasets.resume", id=dataset)
    for over in ({}, {"retired": True}):
        other = world.fork()
        if over:
            other.do(owner, "datasets.retire", id=dataset, reason=TEXT)
        other.do(owner, "grants.revoke", id=grant, reason=TEXT)
        assert other.ask("grants.state_of", id=grant) == "revoked"
    world.advance(301 * DAY_MS)
    world.do(MEMBERS[31], "grants.expire", id=grant)


def test_the_largest_request_is_approved_rejected_taken_back_and_settled(large: Large) -> None:
    world, owner = large.world, PARTIES[0]
    large.grants[owner] = f"{INITIATOR}/{'h' * 63}"
    large.request(owner)
    grant = large.grants[owner]
    approvers = [AUDITOR, *MEMBERS[9:24]]
    # Each approver offers terms of its own, as long as the request itself.
    for number, name in enumerate(approvers[:14]):
        columns = large.constraints("encrypted-only")
        terms = {"columns": columns, "min_group": 10**9, "quota_runs": 999_000 + number}
        assert world.do(name, "grants.approve", id=grant, terms=terms) == "requested"
        if number % 2:
            world.do(name, "grants.retract", id=grant)
            world.do(name, "grants.reject", id=grant, reason=TEXT)
    for step in ("reject", "withdraw", "expire", "activate"):
        other = world.fork()
        if step == "reject":
            for name in approvers[14:]:
                other.do(name, "grants.reject", id=grant, reason=TEXT)
            for name in approvers[:12:2]:
                other.do(name, "grants.retract", id=grant)
                other.do(name, "grants.reject", id=grant, reason=TEXT)
            assert other.ask("grants.state_of", id=grant) == "rejected"
        elif step == "withdraw":
            other.do(INITIATOR, "grants.withdraw", id=grant)
        elif step == "expire":
            other.advance(31 * DAY_MS)
            other.do(MEMBERS[31], "grants.expire", id=grant)
        else:
            other.do(
                owner, "datasets.set_approvers", id=large.dataset(owner), approvers=approvers, threshold=1
            )
            assert other.do(MEMBERS[31], "grants.settle", id=grant) == "active"
        assert not [
            key for key in other.state if key[0] == "grants" and key[1].startswith((b"ballots/", b"offers/"))
        ]


def test_one_column_more_than_fits_is_refused_by_name(large: Large) -> None:
    if large.shape.keys > 1:
        return  # all columns are keys already
    with pytest.raises(Refused, match=r"SPEC_TOO_LONG|REJECTED_PAGE|COLUMN"):
        large.propose(large.followed(large.spec(large.most + 1, 8_180)))
