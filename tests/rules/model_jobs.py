"""Jobs: what may be proposed, who must take part, and how a job leaves one state for the next."""

# ruff: noqa: A002 (arguments have the names that the contracts give them)
from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from chain.primitives.values import encode_value
from tests.rules.base import DAY_MS, Refused, distinct
from tests.rules.model_accounts import NOISE, Accounts
from tests.rules.model_uses import FINAL, Use
from tests.rules.pages import job_facts

SPEC_FIELDS = {
    "program", "parameters", "purpose", "profile", "min_group", "inputs", "participants", "receivers",
    "deadlines", "nonce", "page", "plan",
}  # fmt: skip
INPUT_FIELDS = {"name", "grant", "dataset", "version", "columns"}
SPEC_BYTES_MAX, PARAMETERS_BYTES_MAX = 32_768, 8_192
INPUTS_MAX, PARTIES_MAX, COLUMNS_MAX = 8, 8, 1_024
MIN_GROUP_MAX = 10**9
OPEN_JOBS_MAX, PROPOSALS_A_DAY_MAX = 256, 1_000
DEADLINE_MS = range(1_000, 2_592_000_001)
BIND_MS = range(1_000, 86_400_001)
CAUSE, FACT = re.compile(r"[A-Z][A-Z0-9_]{0,63}"), re.compile(r"[a-z_]{1,32}")
ALLOWED = {
    "proposed": "accept",
    "accepted": "bind",
    "running": "run",
    "computed": "reveal",
    "revealed": "commit",
    "committed": "certify",
}


@dataclass(frozen=True, slots=True)
class Job:
    """A job; who did what stands in tuples in the order of doing."""

    id: str
    spec: dict[str, Any]
    initiator: str
    owners: tuple[str, ...]
    """Owner of each input's dataset."""
    roots: tuple[bytes, ...]
    membership: dict[str, list[str]]
    """Who learns which rows of each input's dataset are joined."""
    epsilon: dict[str, int]
    """What each input's account is charged, in 10^-9."""
    state: str
    deadline: int
    since: int
    height: int
    proposed_at: int
    accepted: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    transcripts: tuple[str, ...] = ()
    reveals: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()
    running_height: int = 0
    join_height: int = 0
    revealed_height: int = 0
    ended_at: int = 0
    resume: str = ""
    returned: tuple[str, ...] = ()
    """Grants to which a run came back."""
    disclaimed: tuple[str, ...] = ()

    @property
    def parties(self) -> tuple[str, ...]:
        """Who takes part."""
        return tuple(party["org"] for party in self.spec["participants"])

    @property
    def day(self) -> int:
        """On which day (UTC) it was proposed."""
        return self.proposed_at // DAY_MS

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.state in FINAL

    def use(self, number: int) -> Use:
        """Return what it wants of an input's grant."""
        item, spec = self.spec["inputs"][number], self.spec
        return Use(
            self.id, item["grant"], self.initiator, spec["program"], spec["purpose"], spec["profile"],
            spec["min_group"], item["dataset"], item["version"], item["columns"], self.parties,
            tuple(spec["receivers"]), item["name"], self.membership, self.epsilon,
        )  # fmt: skip

    @property
    def grants(self) -> list[str]:
        """The grants of its inputs."""
        return [item["grant"] for item in self.spec["inputs"]]

    @property
    def silent(self) -> list[str]:
        """Whose step is not in, of those for which the state waits."""
        wanted, done = {
            "proposed": (self.parties, self.accepted),
            "accepted": (self.owners, self.bound),
            "running": (self.parties, self.transcripts),
            "computed": (self.owners, self.reveals),
            "revealed": (tuple(self.spec["receivers"]), self.results),
            "committed": (self.parties, self.signed),
        }.get(self.state, ((), ()))
        return [org for org in dict.fromkeys(wanted) if org not in done]


@dataclass(frozen=True, slots=True)
class Asked:
    """What owners said about whether dataset versions join enough rows."""

    min_group: int
    job: str
    outcome: str = ""
    said: tuple[str, ...] = ()


def versions_of(spec: dict[str, Any]) -> bytes:
    """Return the hash of the dataset versions that a job joins; nothing for fewer than two."""
    joined = [
        f"{item['dataset']}@{item['version']}"
        for item in spec["inputs"]
        if "join" in item["columns"].values()
    ]
    named = encode_value(["assent/joined-versions", sorted(joined)])
    return sha256(named).digest() if len(joined) > 1 else b""


def _counted(column: dict[str, Any]) -> list[Any]:
    """Return what a page needs of a column: its type, categories, bins, bounds, rule for missing cells."""
    categories = len(column["categories"])
    missing = bool(categories) and column["missing"] == "category"
    bins = max(len(column["edges"]) - 1, 0)
    return [column["type"], categories + missing, bins, column["low"], column["high"], column["missing"]]


class Jobs(Accounts):
    """The rules of contract `jobs` about a job's life up to its run."""

    def __init__(self, chain_id: bytes) -> None:
        """Start without jobs."""
        super().__init__(chain_id)
        self.jobs: dict[str, Job] = {}
        self.commitments: dict[tuple[str, str], tuple[bytes, int]] = {}
        self.ends: dict[str, dict[str, Any]] = {}
        """How jobs ended without a certificate."""
        self.joins: dict[bytes, Asked] = {}

    def is_open(self, job: str) -> bool:
        """Tell whether a job has not ended."""
        return not self.jobs[job].final

    # --- proposing

    def jobs_propose(self, spec: dict[str, Any]) -> str:
        """Propose a job."""
        org = self.role("steward", "agent")
        self.must(self.has(org, "user"), "ORG_ROLE_MISSING")
        encoded = encode_value(spec)
        self.need(len(encoded) <= SPEC_BYTES_MAX, "SPEC_TOO_LONG")
        follows = self._spec(spec, org)
        epsilon = {name: charge["epsilon"] for name, charge in follows["charges"].items()}
        ident = sha256(encoded).hexdigest()
        self.must(ident not in self.jobs, "JOB_EXISTS")
        mine = [job for job in self.jobs.values() if job.initiator == org and not job.final]
        self.must(len(mine) < OPEN_JOBS_MAX, "TOO_MANY_JOBS_OF_ORG")
        today = [job for job in self.jobs.values() if job.initiator == org and job.day == self.time // DAY_MS]
        self.must(len(today) < PROPOSALS_A_DAY_MAX, "TOO_MANY_JOBS_TODAY")
        grants = [self.grants.get(item["grant"]) for item in spec["inputs"]]
        owners = tuple(grant.owner if grant else "" for grant in grants)
        roots = tuple(self.versions[g.dataset][g.version - 1].root if g else b"" for g in grants)
        job = Job(ident, spec, org, owners, roots, follows["membership"], epsilon, "", 0, 0, 0, self.time)
        self.reach("grants")
        self.guard_all(job, range(len(grants)), "proposed")
        for grant in job.grants:
            if grant in self.grants:
                self.joins_with(grant, versions_of(spec))
        self._profile(job)
        self._roles(job)
        self._joined(spec)
        charges = self._charges(job)
        self.go()
        if charges:
            self.charged[ident] = org, charges
        for grant in job.grants:
            self.jobs_of.setdefault(grant, []).append(ident)
        job = self.jobs[ident] = self.entered(job, "proposed")
        for grant in job.grants:
            self.tell_used(grant, ident, "proposed", "")
        self.tell(
            "jobs.JobProposed", ["job", "program", "participants"],
            job=f"job:{ident}", program=f"program:{spec['program']}", purpose=spec["purpose"],
            profile=spec["profile"], inputs=spec["inputs"], receivers=spec["receivers"],
            participants=[f"org:{party}" for party in job.parties], deadline=job.deadline,
            page=spec["page"], plan=spec["plan"],
        )  # fmt: skip
        return ident

    def _charges(self, job: Job) -> list[dict[str, Any]]:
        """Return what a job is charged, for which the accounts of its datasets have room."""
        self.reach("accounts")
        follows = "" if self.is_broken else self.followed(job.spec, job.initiator)
        if isinstance(follows, str):
            return []
        found = []
        for item, owner in zip(job.spec["inputs"], job.owners, strict=True):
            charge = follows["charges"][item["name"]]
            if charge["figures"] or any(charge[name] for name in NOISE):
                named = {name: item[name] for name in ("grant", "dataset", "version")}
                found.append({**charge, **named, "input": item["name"], "owner": owner})
        entries = [(one, self.account_of_version(one["dataset"], one["version"])) for one in found]
        for fault in self.room_faults(entries, job.initiator):
            self.must(False, fault)
        return found

    def _joined(self, spec: dict[str, Any]) -> None:
        """Require joins by whole keys, of identifiers of one meaning, that were not found too small."""
        joined = []
        for item in spec["inputs"]:
            names = [name for name, use in item["columns"].items() if use == "join"]
            if names:
                joined.append([item["dataset"], item["version"], names])
        if joined and not self.is_broken:
            fault = self.datasets_join_fault(joined)
            self.must(fault == "", fault)
        self._judged(spec)

    def _judged(self, spec: dict[str, Any]) -> None:
        """Require that versions which were joined sufficed, for as many rows."""
        asked = self.joins.get(versions_of(spec))
        if asked is not None:
            self.must(asked.outcome != "too few", "JOIN_TOO_SMALL")
            self.must(spec["min_group"] <= asked.min_group, "JOIN_NOT_JUDGED")

    def _spec(self, spec: dict[str, Any], org: str) -> dict[str, Any]:
        """Require a spec as it should be; return what follows of its page."""
        self.need(spec.keys() == SPEC_FIELDS, "BAD_SPEC")
        self.ident(spec["program"], spec["purpose"])
        self.reach("programs")
        known = self.page_of(spec["program"])
        self.need(known is not None, "UNKNOWN_PROGRAM")
        self.must(self.program_stands(spec), "PROGRAM_NOT_ACTIVE")
        self.must(len(encode_value(spec["parameters"])) <= PARAMETERS_BYTES_MAX, "BAD_PARAMETERS")
        self.exact(spec["min_group"], int)
        self.must(1 <= spec["min_group"] <= MIN_GROUP_MAX, "BAD_MIN_GROUP")
        self._inputs(spec["inputs"])
        self._parties(spec)
        found = self._page(spec, org)
        self.must(spec["profile"] in found["profiles"], "PROFILE_NOT_OFFERED")
        deadlines = spec["deadlines"]
        fine = deadlines.keys() == set(ALLOWED.values())
        fine = fine and deadlines["bind"] in BIND_MS
        self.must(fine and all(ms in DEADLINE_MS for ms in deadlines.values()), "BAD_DEADLINES")
        self.must(len(spec["nonce"]) == 16, "BAD_NONCE")
        return found

    def _page(self, spec: dict[str, Any], org: str) -> dict[str, Any]:
        """Require what follows of the page, and nothing else; return it."""
        self.hash(spec["page"], spec["plan"])
        self.reach("datasets")
        names: list[str] = []
        for item in spec["inputs"]:
            self.datasets_columns_of(item["dataset"], item["version"], list(item["columns"]))
            self.need(item["name"] not in names, "BAD_INPUTS")
            names.append(item["name"])
        found = self.followed(spec, org)
        self.need(not isinstance(found, str), str(found))
        assert not isinstance(found, str)
        self.must((found["page"], found["plan"]) == (spec["page"], spec["plan"]), "PLAN_DIFFERS")
        for item in spec["inputs"]:
            self.must(item["columns"] == found["uses"].get(item["name"]), "USES_DIFFER")
        self.must(sorted(spec["receivers"]) == found["receivers"], "RECEIVERS_DIFFER")
        return found

    def program_stands(self, spec: dict[str, Any]) -> bool:
        """Tell whether members have not retired the program of a job."""
        known = self.page_of(spec["program"])
        return known is not None and known[1]

    def followed(self, spec: dict[str, Any], org: str) -> dict[str, Any] | str:
        """Return what follows of an organisation's spec, or the code with which its page is refused."""
        known, datasets = self.page_of(spec["program"]), []
        for item in spec["inputs"]:
            versions = self.versions.get(item["dataset"], [])
            if known is None or item["version"] not in range(1, len(versions) + 1):
                return "REJECTED_PAGE"
            schema = self._declared(versions[item["version"] - 1])
            columns = {one["name"]: one for one in self.columns_of(item["dataset"], item["version"])}
            if not columns.keys() >= item["columns"].keys():
                return "REJECTED_PAGE"
            declared = {name: _counted(columns[name]) for name in item["columns"]}
            owner = self.datasets[item["dataset"]].owner
            one = {"name": item["name"], "owner": owner, "key": list(schema.key), "columns": declared}
            datasets.append(one)
        return "REJECTED_PAGE" if known is None else job_facts(known[0], datasets, spec["parameters"], org)

    def _inputs(self, inputs: list[dict[str, Any]]) -> None:
        self.need(1 <= len(inputs) <= INPUTS_MAX, "BAD_INPUTS")
        for item in inputs:
            self.need(item.keys() == INPUT_FIELDS, "BAD_INPUTS")
            self.exact(item["version"], int)
            self.must(item["version"] >= 1 and len(item["columns"]) > 0, "BAD_INPUTS")
        self.must(distinct([item["grant"] for item in inputs]), "BAD_INPUTS")
        self.must(sum(len(item["columns"]) for item in inputs) <= COLUMNS_MAX, "TOO_MANY_COLUMNS")

    def _parties(self, spec: dict[str, Any]) -> None:
        parties, receivers = spec["participants"], spec["receivers"]
        fine = all(party.keys() == {"org", "role", "agent_key"} for party in parties)
        self.need(fine and 2 <= len(parties) <= PARTIES_MAX, "BAD_PARTICIPANTS")
        names = [party["org"] for party in parties]
        self.must(distinct(names), "BAD_PARTICIPANTS")
        fine = 1 <= len(receivers) <= PARTIES_MAX and distinct(receivers)
        self.must(fine and set(names).issuperset(receivers), "BAD_RECEIVERS")

    def _roles(self, job: Job) -> None:
        for party in job.spec["participants"]:
            org = party["org"]
            self.need(org in self.orgs, "UNKNOWN_ORG")
            self._party_fits(party)
            self.must(self.orgs[org].agent_key != b"", "NO_AGENT")
            fits = {
                "owner": org in job.owners,
                "compute": self.has(org, "compute"),
                "receiver": org in job.spec["receivers"],
            }
            self.must(fits.get(party["role"], False), "PARTICIPANT_ROLE")
        self.must(set(job.parties).issuperset(job.owners), "OWNER_NOT_PARTICIPANT")

    def _profile(self, job: Job) -> None:
        profile = self.profiles[job.spec["profile"]]
        runs_with = range(profile["parties_min"], profile["parties_max"] + 1)
        self.must(len(job.parties) in runs_with, "PROFILE_PARTIES")
        brought = Counter(job.owners)
        self.must(max(brought.values()) <= profile["datasets_max"], "PROFILE_DATASETS")

    def _party_fits(self, party: dict[str, Any]) -> None:
        self.must(self.is_member(party["org"]), "ORG_NOT_ACTIVE")
        self.must(self.orgs[party["org"]].agent_key == party["agent_key"], "AGENT_KEY_MISMATCH")

    # --- what is asked again at every phase

    def standing_job(self, job: Job) -> None:
        """Require what a job needs beside its grants."""
        self.reach("programs")
        self.must(self.program_stands(job.spec), "PROGRAM_NOT_ACTIVE")
        self.must(self.is_member(job.initiator), "ORG_NOT_ACTIVE")
        for party in job.spec["participants"]:
            self._party_fits(party)

    def awaited(self, job: Job) -> list[str]:
        """Return for whom a job waits: who has kept the others from their steps, else who is silent."""
        if job.state not in ("proposed", "accepted", "computed"):
            return job.silent
        unfit = self.unfit(job)
        if unfit:
            return unfit
        self.reach("programs")
        if not self.program_stands(job.spec):
            return []
        self.reach("grants")
        uses = [job.use(number) for number in range(len(job.grants))]
        if not self.lets_pass(uses):
            return []
        if job.state == "proposed":
            self.reach("accounts")
            return job.silent if self.accounts_stands(job.id) else []
        return job.silent

    def unfit(self, job: Job) -> list[str]:
        """Return who is no member with the agent that the job names: it keeps the others from their steps."""
        parties = job.spec["participants"]
        changed = {
            party["org"]
            for party in parties
            if not self.is_member(party["org"]) or self.orgs[party["org"]].agent_key != party["agent_key"]
        }
        gone = [] if self.is_member(job.initiator) else [job.initiator]
        return [org for org in dict.fromkeys([*job.parties, *gone]) if org in {*changed, *gone}]

    def absent(self, job: Job) -> list[str]:
        """Return whom the end of a late job names: nobody who never agreed, or may have waited for others."""
        if job.state == "accepted" and not job.bound:
            return self.unfit(job)
        return [] if job.state == "proposed" else self.awaited(job)

    def guard_all(self, job: Job, numbers: Any, phase: str) -> None:
        """Ask the guard of some inputs' grants."""
        for number in numbers:
            try:
                self.guard(job.use(number), phase)
            except Refused as refused:
                for code in refused.codes:
                    self.must(False, code)

    def known_job(self, job: str) -> Job:
        """Return a job, or refuse."""
        self.need(job in self.jobs, "UNKNOWN_JOB")
        return self.jobs[job]

    def waiting(self, job: str, state: str) -> Job:
        """Return a job that waits in this state, or refuse."""
        found = self.known_job(job)
        self.must(found.state == state, "WRONG_STATE")
        self.must(found.state != state or self.time <= found.deadline, "DEADLINE_PASSED")
        return found

    def entered(self, job: Job, state: str) -> Job:
        """Return a job as it enters a state."""
        ms = job.spec["deadlines"][ALLOWED[state]]
        return replace(job, state=state, since=self.time, height=self.height, deadline=self.time + ms)

    def tell_job(self, event: str, job: str, subjects: tuple[str, ...] = (), /, **fields: Any) -> None:
        """Announce something about a job."""
        self.tell(f"jobs.{event}", ["job", *subjects], job=f"job:{job}", **fields)

    # --- accepting and binding

    def jobs_accept(self, job: str, plan: bytes) -> str:
        """Take part."""
        org = self.role("agent")
        found = self.waiting(job, "proposed")
        self.must(org in found.parties, "NOT_PARTICIPANT")
        self.must(org not in found.accepted, "ALREADY_ACCEPTED")
        if found.state != "proposed":
            self.go()
        self.standing_job(found)
        self.must(found.spec["plan"] == plan, "PLAN_DIFFERS")
        self.reach("grants")
        self.guard_all(found, range(len(found.owners)), "accepted")
        last = len(found.accepted) + 1 == len(found.parties)
        self.has_room(job, "" if last else org)
        self.go()
        for owner, grant in zip(found.owners, found.grants, strict=True):
            if owner == org:
                self.reserve(grant, job)
        if last:
            self.book(job)
        found = replace(found, accepted=(*found.accepted, org))
        self.tell_job("JobAccepted", job, plan=plan)
        if last:
            found = self.entered(found, "accepted")
            self.tell_job("JobReady", job, deadline=found.deadline)
        self.jobs[job] = found
        return found.state

    def jobs_reject(self, job: str, cause: str, detail: dict[str, Any]) -> None:
        """Refuse to take part: the job ends."""
        org = self.role("steward", "agent")
        self._says_why(cause, detail)
        found = self.waiting(job, "proposed")
        self.must(org in found.parties, "NOT_PARTICIPANT")
        self.reach_ends(found)
        self.go()
        self.end_job(found, "rejected")
        self._put_end(found, "party", [], cause, detail, b"")
        self.tell_job("JobRejected", job, cause=cause, detail=detail)

    def jobs_bind(self, job: str, commitment: bytes) -> str:
        """Commit to one's input."""
        org = self.role("agent")
        self.hash(commitment)
        said = self.commitments.get((job, org))
        if said is not None:
            self.must(said[0] == commitment, "ALREADY_BOUND")
            self.go()
            return self.jobs[job].state
        found = self.waiting(job, "accepted")
        self.must(org in found.owners, "NOT_DATA_OWNER")
        if found.state != "accepted":
            self.go()
        bound = (*found.bound, org)
        last = set(bound) == set(found.owners)
        if last:
            self.standing_job(found)
            self._judged(found.spec)
            self.reach("grants")
            self.guard_all(found, range(len(found.owners)), "running")
        self.go()
        self.commitments[job, org] = (commitment, self.height)
        self.tell_job("JobBound", job, commitment=commitment)
        found = replace(found, bound=bound)
        if last:
            for grant in found.grants:
                self.tell_used(grant, job, "running", "")
            found = self.entered(replace(found, running_height=self.height), "running")
            self.tell_job("JobRunning", job, deadline=found.deadline)
        self.jobs[job] = found
        return found.state

    def jobs_begin_join(self, job: str) -> str:
        """Say that data are about to move."""
        org = self.role("agent")
        found = self.known_job(job)
        self.must(org in found.owners, "NOT_DATA_OWNER")
        if found.join_height > 0:
            self.go()
            return found.state
        self.waiting(job, "running")
        if found.state != "running":
            self.go()
        self.reach("programs")
        self.must(self.program_stands(found.spec), "PROGRAM_NOT_ACTIVE")
        self._judged(found.spec)
        joined = versions_of(found.spec)
        self.reach("grants")
        for grant in found.grants:
            self.in_force(grant)
            self.joins_with(grant, joined)
        self.reach("accounts")
        self.go()
        for grant in found.grants:
            if joined and joined not in self.partners.setdefault(grant, []):
                self.partners[grant].append(joined)
            self.consume(grant, job)
        self.settle(job, "reserved", "spent")
        if joined and (joined not in self.joins or self.joins[joined].outcome == ""):
            self.joins[joined] = Asked(found.spec["min_group"], job)
        self.jobs[job] = replace(found, join_height=self.height)
        self.tell_job("JoinBegun", job)
        return found.state

    def jobs_judge_join(self, job: str, suffices: bool) -> str:
        """Say whether the joined rows suffice."""
        org = self.role("agent")
        found = self.known_job(job)
        self.must(org in found.owners, "NOT_DATA_OWNER")
        self.must(found.join_height > 0, "JOIN_NOT_BEGUN")
        self.must(not found.final or self.time <= found.ended_at + 7 * DAY_MS, "DEADLINE_PASSED")
        joined = versions_of(found.spec)
        self.must(found.join_height == 0 or joined in self.joins, "NOTHING_JOINED")
        self.go()
        asked = self.joins[joined]
        if asked.job != job or asked.outcome or org in asked.said:
            return asked.outcome
        said = (*asked.said, org)
        every = "suffices" if set(said) >= set(found.owners) else ""
        asked = self.joins[joined] = replace(asked, said=said, outcome=every if suffices else "too few")
        self.tell_job("JoinJudged", job, joined=joined, suffices=suffices, outcome=asked.outcome)
        return asked.outcome

    # --- ends

    def reach_ends(self, job: Job) -> None:
        """Require that the contracts which hear of a job's end can be called."""
        self.reach("grants")
        if job.join_height == 0:
            self.reach("accounts")

    def end_job(self, job: Job, outcome: str, refused: tuple[str, ...] = ()) -> None:
        """Let a job end; its open grants learn it."""
        ended = replace(job, state=outcome, since=self.time, height=self.height, deadline=0)
        self.jobs[job.id] = ended = replace(ended, ended_at=self.time, resume="")
        answered = {*job.bound, *refused}
        returned = [grant for grant in job.grants if self.let_go(grant, job.id, outcome, answered)]
        self.jobs[job.id] = replace(ended, returned=tuple(returned))
        self.settle(job.id, "reserved", "returned", returned)
        self.settle(job.id, "reserved", "spent")

    def jobs_disclaim(self, job: str) -> str:
        """Say that one sent nothing."""
        org = self.role("agent")
        found = self.known_job(job)
        self.must(org in found.owners, "NOT_DATA_OWNER")
        self.must(org != found.initiator, "OWN_CASE")
        if org in found.disclaimed:
            self.go()
            return found.state
        fits = found.state in ("aborted", "expired") and found.join_height > 0
        self.must(fits, "WRONG_STATE")
        self.must(not found.final or self.time <= found.ended_at + 7 * DAY_MS, "DEADLINE_PASSED")
        self.must(not self.has_stage(job, org), "STAGE_COMMITTED")
        disclaimed = (*found.disclaimed, org)
        every = set(found.owners) <= {*disclaimed, found.initiator}
        if every:
            self.reach("grants")
            self.reach("accounts")
        self.go()
        back = [grant for grant in found.grants if self.comes_back(grant)] if every else list(found.returned)
        for grant in back if every else []:
            self.used.remove((grant, job))
            self.tell_used(grant, job, "returned", "run returned")
        if every:
            self.settle(job, "spent", "returned", back)
        self.jobs[job] = replace(found, disclaimed=disclaimed, returned=tuple(back))
        self.tell_job("ReleaseDisclaimed", job, returned=back)
        return found.state

    def has_stage(self, job: str, org: str) -> bool:
        """Tell whether a party committed a stage."""
        raise NotImplementedError

    def _says_why(self, cause: str, detail: dict[str, Any]) -> None:
        self.must(CAUSE.fullmatch(cause) is not None, "BAD_CAUSE")
        self.must(len(detail) <= 8 and all(FACT.fullmatch(name) for name in detail), "BAD_DETAIL")
        for fact in detail.values():
            short = type(fact) is str and len(fact) <= 128
            small = type(fact) in (int, bool) and abs(fact) < 2**63
            self.must(short or small, "BAD_DETAIL")

    def _put_end(
        self, job: Job, origin: str, missing: list[str], cause: str, detail: dict[str, Any], evidence: bytes
    ) -> None:
        """Keep how a job, as it was before, has just ended."""
        self.ends[job.id] = {
            "state": self.jobs[job.id].state,
            "phase": job.state,
            "origin": origin,
            "by": self.signer.org,
            "cause": cause,
            "detail": detail,
            "missing": missing,
            "evidence": evidence,
            "height": self.height,
        }

    def abort_job(
        self,
        job: Job,
        missing: list[str],
        origin: str,
        cause: str,
        detail: dict[str, Any],
        evidence: bytes,
        refused: tuple[str, ...] = (),
    ) -> None:
        """End a job before its time; who refuses to bind has answered."""
        self.end_job(job, "aborted", refused)
        self._put_end(job, origin, missing, cause, detail, evidence)
        absent = [f"org:{org}" for org in missing]
        said = {"phase": job.state, "missing": absent, "evidence": evidence}
        self.tell_job("JobAborted", job.id, ("missing",), **said, cause=cause, detail=detail)

    def jobs_abort(self, job: str, cause: str, detail: dict[str, Any], evidence: bytes) -> None:
        """End a job."""
        org = self.role("steward", "agent")
        self._says_why(cause, detail)
        found = self.known_job(job)
        self.must(not found.final, "WRONG_STATE")
        self.must(org in (found.initiator, *found.parties), "NOT_PARTICIPANT")
        self.must(len(evidence) in (0, 32), "BAD_HASH")
        reached = found.resume or found.state
        self.must(evidence != b"" or reached in ("proposed", "accepted"), "EVIDENCE_REQUIRED")
        self.reach_ends(found)
        self.go()
        late = self.time > found.deadline
        refused = (org,) if reached == "accepted" and org != found.initiator else ()
        absent = self.absent(found) if late else []
        self.abort_job(found, absent, "party", cause, detail, evidence, refused)

    def jobs_expire(self, job: str) -> None:
        """End a job that is late."""
        found = self.known_job(job)
        self.must(not found.final, "WRONG_STATE")
        self.must(self.time > found.deadline, "TOO_EARLY")
        self.reach_ends(found)
        self.go()
        absent = self.absent(found)
        self.end_job(found, "expired")
        self._put_end(found, "deadline", absent, "DEADLINE_PASSED", {}, b"")
        missing = [f"org:{org}" for org in absent]
        self.tell_job("JobExpired", job, ("missing",), phase=found.state, missing=missing)

    # --- views

    def jobs_spec_of(self, id: str) -> dict[str, Any]:
        """Answer with the spec."""
        return self.known_job(id).spec

    def jobs_missing(self, id: str) -> list[str]:
        """Answer whom the job waits for."""
        return self.awaited(self.known_job(id))
