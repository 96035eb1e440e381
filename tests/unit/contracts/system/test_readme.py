"""The page of the system contracts holds line by line: every method, argument and code of its tables.

The tables of datasets, accounts, grants and jobs are read from the page. Each method stands there once with
its signature, and for each code of its row there is a call here that is refused with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.values import encode_value
from contracts.check import check_source
from contracts.system import sources
from tests.schemas import column, declaring, seal_of
from tests.unit.contracts.system.founding import seeded

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PAGE = Path(__file__).parents[4] / "contracts/system/README.md"
PARTIES = ("bank", "bureau", "registry")
ROW = re.compile(r"^\| `(\w+)\((.*?)\)( -> \w+)?` \| (.*)\|$")
CODE = re.compile(r"`([A-Z][A-Z0-9_]+)`")
ONE = bytes([1]) * 32
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
GENERAL = {"DIRECT_ONLY", "KEY_ROLE_MISSING"}
"""Codes of every method that a member calls; the page lists them under its conventions."""
COLUMN = column("id", "text", "identifier")
OTHERS = [column(f"c{number}", "decimal") for number in range(64)]
YES = "@view\ndef allow(job: dict, phase: str) -> bool:\n    return True\n"
Args = dict[str, Any]
CHARGE = {"dataset": "bureau/data", "version": 1, "epsilon": 1, "delta": 0, "rho": 1, "figures": {"age": 1}}


# --- what the page says

RULES = {"name": "rules", "seq": 1}
"""The version that is voted about."""


def section(contract: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    return text[text.index(f"\n## {contract}\n") :].split("\n## ", 2)[1]


def rows(contract: str) -> dict[str, tuple[str, str]]:
    """Return method -> (signature, the rest of its row)."""
    found = {}
    for line in section(contract).splitlines():
        row = ROW.match(line)
        if row is not None:
            assert row[1] not in found, f"{contract}.{row[1]} stands there twice"
            found[row[1]] = f"({row[2]}){row[3] or ''}", row[4]
    return found


def codes_of(contract: str, method: str) -> set[str]:
    said = rows(contract)[method][1]
    if (contract, method) == ("jobs", "propose"):
        table = section("jobs").split("| key | value |")[1].split("Job id =")[0]
        said += table + section("jobs").split("`spec` (exactly")[1].split("\n")[0]
    return set(CODE.findall(said)) - GENERAL - {"READ_ONLY"}


def guard_codes() -> set[str]:
    return set(CODE.findall(section("grants").split("The **guard**")[1].split("**Policy contract.**")[0]))


# --- a call of each method that is done, after a few steps


@dataclass(frozen=True, slots=True)
class Good:
    """Who calls, with which arguments, after what."""

    who: str
    args: Callable[[World], Args]


def job_in(state: str, **args: Any) -> Callable[[World], Args]:
    return lambda w: {"job": w.job_at(state), **args}


def registration(world: World) -> Args:
    plain = {"root": ONE, "size_bucket": "", "approvers": ["bureau"], "threshold": 1, "description": ""}
    return {"id": "bureau/new", "schema": world.declare("bureau", [COLUMN]), **plain}


def first_part(_: World) -> Args:
    return next(args for _, args in declaring([COLUMN, *OTHERS]))


def second_part(world: World) -> Args:
    """The part that seals a schema whose first part is declared."""
    (_, first), (_, second) = declaring([COLUMN, *OTHERS])
    world.do("bureau", "datasets.declare", **first)
    return second


def draft(world: World) -> Args:
    return {"owner": "bureau", "schema": second_part(world)["schema"]}


def joined_otherwise(world: World) -> Args:
    world.register("bureau", "bureau/numbered", [column("id", "integer", "identifier"), *OTHERS])
    world.granted("bank/g-numbered", "bureau/numbered", "bureau", columns={"id": "join-only"})
    numbered = world.use("bank/g-numbered", "bureau/numbered", {"id": "join"})
    *owners, third = world.spec()["participants"]
    parties = [*owners, third | {"role": "compute"}]
    return {
        "spec": world.spec(inputs=[world.use("bank/g-bank", "bank/data"), numbered], participants=parties)
    }


def joined_hash(spec: Any) -> bytes:
    """Name the versions that a spec joins, as the page says."""
    versions = sorted(f"{one['dataset']}@{one['version']}" for one in spec["inputs"])
    return sha256(encode_value(["assent/joined-versions", versions])).digest()


def judged(world: World, spec: Any, outcome: str) -> None:
    """Owners have answered about these versions, for one row."""
    row = {"min_group": 1, "outcome": outcome, "said": [], "job": "00"}
    world.put("jobs", "joins", joined_hash(spec), row)


def partnered(world: World) -> None:
    world.put("grants", "partners", "bank/g-bureau", [bytes([n]) * 32 for n in range(3)])


def bound_but_one(world: World, args: Args, outcome: str) -> None:
    """Let all owners bind but the bank, whose turn it is."""
    world.bind(args["job"], *[name for name in PARTIES if name != "bank"])
    judged_job(world, args, outcome)


def judged_job(world: World, args: Args, outcome: str) -> None:
    judged(world, world.read("jobs", "specs", args["job"]), outcome)


def joining(world: World) -> Args:
    job = world.job_at("running")
    world.begin(job)
    return {"job": job, "suffices": True}


def forget_join(world: World, job: str) -> None:
    """Leave a job that joins one dataset."""
    spec = world.read("jobs", "specs", job)
    for one in spec["inputs"][1:]:
        one["columns"] = {"age": "aggregate"}
    world.put("jobs", "specs", job, spec)


def unsealed(world: World, _: Args) -> None:
    second_part(world)


def requested(world: World, **args: Any) -> Args:
    """A request whose dataset has three approvers, of whom two decide."""
    approvers = ["bureau", "registry", "regulator"]
    world.register("bureau", "bureau/shared", approvers=approvers, threshold=2)
    world.request("bank/g1", "bureau/shared")
    return {"id": "bank/g1", **args}


def voted(world: World) -> Args:
    args = requested(world)
    world.do("registry", "grants.approve", **args, terms={})
    return args


def settled(world: World) -> Args:
    args = voted(world)
    world.do("bureau", "datasets.set_approvers", id="bureau/shared", approvers=["registry"], threshold=1)
    return args


def suspended(kind: str, name: str) -> Callable[[World], Args]:
    def prepare(world: World) -> Args:
        world.do("bureau", f"{kind}.suspend", id=name, reason="")
        return {"id": name}

    return prepare


def expiring(world: World) -> Args:
    world.advance(31 * DAY_MS)
    return {"id": "bank/g-bureau"}


def stage(world: World) -> Args:
    figures = {"bytes_sent": 0, "rounds": 0, "cpu_ms": 0}
    job = world.job_at("running")
    world.begin(job, "bureau")
    return {"job": job, "stage": 0, "kind": "share", "hash": ONE, "previous": bytes(32), **figures}


def stopped(world: World) -> Args:
    """An owner announced that data move, and the job ended before another one sent any."""
    job = world.job_at("running")
    world.begin(job)
    world.do("bank", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=ONE)
    return {"job": job}


def computed_and_stopped(world: World) -> Args:
    job = world.job_at("running")
    world.stage(job, "bureau")
    world.do("bank", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=ONE)
    return {"job": job}


def transcript(world: World) -> Args:
    job = world.job_at("running")
    world.stage(job, "bank")
    return {"job": job, "profile": "rep3", "channels": {"bureau": ONE, "registry": ONE}}


def signature(world: World) -> Args:
    job = world.job_at("committed")
    digest = sha256(encode_value(world.ask("jobs.certificate_body", job=job))).digest()
    return {"job": job, "digest": digest, "signature": seeded("bank/agent").sign(digest)}


def overdue(world: World) -> Args:
    job = world.job_at("running")
    world.advance(HOUR_MS)
    return {"job": job}


def reported(world: World) -> Args:
    job = world.job_at("running")
    world.do("bank", "jobs.report", job=job, kind="late", against="bureau", evidence=ONE)
    return {"job": job, "number": 1}


def decided(world: World) -> Args:
    return reported(world) | {"outcome": "upheld", "blamed": ["bureau"], "evidence": ONE}


def lapsing(world: World) -> Args:
    args = reported(world)
    world.advance(WEEK_MS + 1)
    return args


def use(world: World) -> Args:
    spec = world.spec()
    plain = {
        name: spec[name] for name in ("program", "purpose", "profile", "min_group", "parameters", "inputs")
    }
    named = {"job": "none", "grant": "bank/g-bureau", "initiator": "bank", "participants": list(PARTIES)}
    names = [f"d{place}" for place in range(len(PARTIES))]
    told = {"membership": {name: list(PARTIES) for name in names}, "epsilon": dict.fromkeys(names, 0)}
    asked = {**plain, **named, **told, **spec["inputs"][1], "receivers": ["bank"]}
    return {"id": "bank/g-bureau", "use": asked, "phase": "proposed"}


def noisy_job(world: World) -> Args:
    """A job that releases a figure with noise of each dataset."""
    return job_of_uses(world, {"id": "join", "income": "noisy"})


def exact_job(world: World) -> Args:
    """A job that releases a figure without noise of each dataset."""
    return job_of_uses(world, {"id": "join", "age": "aggregate"})


def job_of_uses(world: World, columns: dict[str, str]) -> Args:
    inputs = [world.use(f"bank/g-{name}", f"{name}/data", columns) for name in PARTIES]
    return {"spec": world.spec(inputs=inputs)}


def capped(cap: str) -> Callable[[World, Args], object]:
    """An owner allows nothing more of one kind."""
    return lambda w, _: w.do("bureau", "accounts.lower_caps", id="bureau/data", caps={cap: 0})


def gave_back(owner: str) -> Callable[[World, Args], object]:
    """As many reservations of the bank came back today in an owner's account as may."""
    key = f"{owner}/data", 1, "bank"
    return lambda w, _: w.put("accounts", "returns", key, {"day": w.time // DAY_MS, "returned": 24})


def charged_too_much(over: dict[str, Any]) -> Callable[[World, Args], object]:
    """What a job is charged at the bank is more than any account has room for."""
    none = {"epsilon": 0, "delta": 0, "rho": 0, "figures": {}}
    named = {"input": "d0", "grant": "bank/g-bank", "dataset": "bank/data", "version": 1, "owner": "bank"}
    booking = {"grantee": "bank", "charges": [{**named, **none, **over}]}
    return lambda w, args: w.put("accounts", "bookings", args["job"], booking)


def begun_anew(world: World) -> Args:
    """A second version, which begins an account of its own."""
    args = {"schema": world.declare("bureau", [COLUMN]), "root": ONE, "size_bucket": ""}
    world.do("bureau", "datasets.new_version", id="bureau/data", **args)
    return {"id": "bureau/data", "version": 2, "reason": "other people"}


def proposed_job(world: World) -> Args:
    job = world.propose()
    return {"job": job, "plan": world.plan_of(job)}


GOOD: dict[str, Good] = {
    "datasets.declare": Good("bureau", first_part),
    "datasets.extend": Good("bureau", second_part),
    "datasets.withdraw": Good("bureau", draft),
    "datasets.register": Good("bureau", registration),
    "datasets.new_version": Good(
        "bureau",
        lambda w: {
            "id": "bureau/data",
            "schema": w.declare("bureau", [COLUMN]),
            "root": ONE,
            "size_bucket": "",
        },
    ),
    "datasets.set_approvers": Good(
        "bureau", lambda _: {"id": "bureau/data", "approvers": ["bank"], "threshold": 1}
    ),
    "datasets.suspend": Good("bureau", lambda _: {"id": "bureau/data", "reason": ""}),
    "datasets.resume": Good("bureau", suspended("datasets", "bureau/data")),
    "datasets.retire": Good("bureau", lambda _: {"id": "bureau/data", "reason": ""}),
    "datasets.dataset_of": Good("view", lambda _: {"id": "bureau/data"}),
    "datasets.version_of": Good("view", lambda _: {"id": "bureau/data", "version": 1}),
    "datasets.schema_of": Good("view", draft),
    "datasets.columns_of": Good("view", lambda _: {"id": "bureau/data", "version": 1, "names": ["age"]}),
    "datasets.declared_of": Good("view", lambda _: {"id": "bureau/data", "version": 1, "names": ["age"]}),
    "datasets.offer_of": Good("view", lambda _: {"id": "bureau/data", "version": 1, "names": ["age"]}),
    "datasets.join_fault": Good("view", lambda _: {"inputs": [["bureau/data", 1, ["id"]]]}),
    "datasets.approvers_of": Good("view", lambda _: {"id": "bureau/data"}),
    "datasets.usable": Good("view", lambda _: {"id": "bureau/data"}),
    "accounts.set_caps": Good("bureau", lambda _: {"id": "bureau/data", "caps": {"figures": 201}}),
    "accounts.lower_caps": Good("bureau", lambda _: {"id": "bureau/data", "caps": {"figures": 0}}),
    "accounts.begin": Good("bureau", begun_anew),
    "accounts.caps_of": Good("view", lambda _: {"id": "bureau/data"}),
    "accounts.account_of": Good("view", lambda _: {"id": "bureau/data", "version": 1}),
    "accounts.share_of": Good("view", lambda _: {"id": "bureau/data", "version": 1, "grantee": "bank"}),
    "accounts.left": Good(
        "view", lambda _: {"id": "bureau/data", "version": 1, "grantee": "bank", "columns": ["age"]}
    ),
    "accounts.fault_of": Good("view", lambda _: {"grantee": "bank", "charges": [CHARGE]}),
    "accounts.booking_of": Good("view", lambda w: {"job": w.propose()}),
    "accounts.stands": Good("view", lambda w: {"job": w.propose()}),
    "grants.request": Good("bank", lambda w: w.terms("bank/g1", "bureau/data")),
    "grants.approve": Good("registry", partial(requested, terms={})),
    "grants.reject": Good("registry", partial(requested, reason="")),
    "grants.retract": Good("registry", voted),
    "grants.settle": Good("rival", settled),
    "grants.withdraw": Good("bank", requested),
    "grants.narrow": Good("bureau", lambda _: {"id": "bank/g-bureau", "terms": {"min_group": 11}}),
    "grants.suspend": Good("bureau", lambda _: {"id": "bank/g-bureau", "reason": ""}),
    "grants.resume": Good("bureau", suspended("grants", "bank/g-bureau")),
    "grants.revoke": Good("bureau", lambda _: {"id": "bank/g-bureau", "reason": ""}),
    "grants.expire": Good("rival", expiring),
    "grants.covers": Good("view", use),
    "grants.grant_of": Good("view", lambda _: {"id": "bank/g-bureau"}),
    "grants.runs_of": Good("view", lambda _: {"id": "bank/g-bureau"}),
    "grants.open_jobs_of": Good("view", lambda _: {"id": "bank/g-bureau"}),
    "grants.ballot_for": Good("view", voted),
    "grants.state_of": Good("view", lambda _: {"id": "bank/g-bureau"}),
    "grants.stand": Good("view", lambda w: {"use": use(w)["use"]}),
    "grants.profile_of": Good("view", lambda _: {"name": "rep3"}),
    "jobs.propose": Good("bank", lambda w: {"spec": w.spec()}),
    "jobs.accept": Good("bank/agent", proposed_job),
    "jobs.reject": Good("bank/agent", job_in("proposed", cause="STOPPED", detail={})),
    "jobs.bind": Good("bank/agent", job_in("accepted", commitment=ONE)),
    "jobs.begin_join": Good("bank/agent", job_in("running")),
    "jobs.judge_join": Good("bank/agent", joining),
    "jobs.disclaim": Good("bureau/agent", stopped),
    "jobs.commit_stage": Good("bank/agent", stage),
    "jobs.commit_transcript": Good("bank/agent", transcript),
    "jobs.approve_reveal": Good("bank/agent", job_in("computed")),
    "jobs.commit_result": Good("bank/agent", job_in("revealed", hash=ONE, schema="", metrics={})),
    "jobs.certify": Good("bank/agent", signature),
    "jobs.abort": Good("bank/agent", job_in("running", cause="STOPPED", detail={}, evidence=ONE)),
    "jobs.expire": Good("rival", overdue),
    "jobs.report": Good("bank", job_in("running", kind="late", against="bureau", evidence=ONE)),
    "jobs.resolve": Good("regulator", decided),
    "jobs.lapse": Good("rival", lapsing),
    "jobs.job_of": Good("view", lambda w: {"id": w.propose()}),
    "jobs.spec_of": Good("view", lambda w: {"id": w.propose()}),
    "jobs.missing": Good("view", lambda w: {"id": w.propose()}),
    "jobs.certificate_body": Good("view", job_in("committed")),
    "jobs.dispute_of": Good("view", reported),
}


def call(world: World, method: str, who: str, args: Args) -> str:
    """Call or ask; return the code of the refusal, or ""."""
    if who != "view":
        return world.outcome(who, method, **args)
    try:
        world.ask(method, **args)
    except Exception as refused:
        return str(refused.args[0])
    return ""


# --- for every code a call that is refused with it


@dataclass(frozen=True, slots=True)
class Case:
    """How the good call becomes one that is refused: another caller, other arguments, or a step before it."""

    who: str = ""
    args: Args | Callable[[World], Args] = field(default_factory=dict)
    before: Callable[[World, Args], object] = lambda *_: None


def proposed_today(world: World, count: int) -> None:
    row = {"open": 0, "day": world.time // DAY_MS, "today": count}
    world.put("jobs", "initiators", "bank", row)


def spent(org: str, contract: str = "grants", **acts: int) -> Case:
    """The organisation has done as much today as it may."""
    return Case(before=lambda w, _: w.put(contract, "daily", org, {"day": w.time // DAY_MS, **acts}))


def put(world: World, contract: str, name: str, key: Any, **fields: Any) -> None:
    world.put(contract, name, key, {**world.read(contract, name, key), **fields})


def policies(method: str, wrap: Callable[[str], Args]) -> dict[tuple[str, str], Case]:
    """The five ways in which a policy cannot answer."""

    def frozen(world: World, _: Args) -> None:
        world.policy("rules", YES)
        world.do("rival", "lifecycle.freeze", name="rules", seq=1, reason="")

    def ahead(world: World, _: Args) -> None:
        world.policy("rules", YES)
        put(world, "lifecycle", "active", "rules", active_at=world.height + 100)

    def shapeless(world: World, _: Args) -> None:
        world.policy("rules", YES.replace("allow", "other"))

    return {
        (method, "POLICY_UNKNOWN"): Case(args=wrap("none")),
        (method, "POLICY_SYSTEM"): Case(args=wrap("orgs")),
        (method, "POLICY_NOT_ACTIVE"): Case(args=wrap("rules"), before=ahead),
        (method, "POLICY_FROZEN"): Case(args=wrap("rules"), before=frozen),
        (method, "POLICY_SHAPE"): Case(args=wrap("rules"), before=shapeless),
    }


def schemas(method: str) -> dict[tuple[str, str], Case]:
    """What every version is held to."""
    return {
        (method, "BAD_HASH"): Case(args={"root": b"1"}),
        (method, "TEXT_TOO_LONG"): Case(args={"size_bucket": "x" * 257}),
        (method, "UNKNOWN_SCHEMA"): Case(args={"schema": ONE}),
        (method, "SCHEMA_NOT_SEALED"): Case(args={"schema": seal_of([COLUMN, *OTHERS])}, before=unsealed),
    }


def counted(world: World, **row: int) -> None:
    world.put("datasets", "schema_counts", "bureau", {"drafts": 1, "sealed": 1, **row})


def columns_added(method: str) -> dict[tuple[str, str], Case]:
    """What every part of a schema is held to."""

    def with_columns(*columns: Args) -> Case:
        return Case(args={"columns": list(columns)})

    wide = [column("w", categories=[f"{number:03}".ljust(64, "\U0001f600") for number in range(256)])]
    return {
        (method, "BAD_PART"): with_columns(),
        (method, "COLUMN_EXISTS"): with_columns(*[column("x")] * 2),
        (method, "SCHEMA_TOO_LONG"): with_columns(*wide),
        (method, "BAD_COLUMN"): with_columns(column("x", "money")),
        (method, "BAD_KEY"): with_columns(column("x", "text", "identifier")),
    }


def approving(method: str) -> dict[tuple[str, str], Case]:
    return {
        (method, "BAD_APPROVERS"): Case(args={"approvers": []}),
        (method, "UNKNOWN_ORG"): Case(args={"approvers": ["nobody"]}),
        (method, "BAD_THRESHOLD"): Case(args={"threshold": 2}),
    }


def owners(method: str, *, reason: bool, before: str) -> dict[tuple[str, str], Case]:
    """What every act of an owner on its dataset is held to; `before` is the act after which it is refused."""

    def act(world: World, _: Args) -> None:
        args = {} if before == "resume" else {"reason": ""}
        world.do("bureau", f"datasets.{before}", id="bureau/data", **args)

    found = {
        (method, "NOT_OWNER"): Case(who="bank"),
        (method, "UNKNOWN_DATASET"): Case(args={"id": "bureau/none"}),
        (method, "WRONG_STATE"): Case(before=act),
    }
    return found | ({(method, "TEXT_TOO_LONG"): Case(args={"reason": "x" * 257})} if reason else {})


def on_grant(method: str, *, reason: bool = False) -> dict[tuple[str, str], Case]:
    """What every act of an owner on a grant is held to."""

    def act(world: World, _: Args) -> None:
        world.do("bureau", "grants.revoke", id="bank/g-bureau", reason="")

    found = {
        (method, "NOT_OWNER"): Case(who="bank"),
        (method, "UNKNOWN_GRANT"): Case(args={"id": "bank/none"}),
        (method, "WRONG_STATE"): Case(before=act),
    }
    return found | ({(method, "TEXT_TOO_LONG"): Case(args={"reason": "x" * 257})} if reason else {})


def on_request(method: str) -> dict[tuple[str, str], Case]:
    """What every act on an open request is held to."""
    return {
        (method, "UNKNOWN_GRANT"): Case(args={"id": "bank/none"}),
        (method, "WRONG_STATE"): Case(args={"id": "bank/g-bureau"}),
        (method, "DEADLINE_PASSED"): Case(before=lambda w, _: w.advance(30 * DAY_MS)),
    }


def narrowing(method: str) -> dict[tuple[str, str], Case]:
    return {
        (method, "BAD_TERMS"): Case(args={"terms": {"purpose": "x"}}),
        (method, "NOT_NARROWER"): Case(args={"terms": {"quota_runs": 3}}),
        (method, "BAD_TERM"): Case(args={"terms": {"expires": 0}}),
        (method, "BAD_MIN_GROUP"): Case(args={"terms": {"min_group": 10**9 + 1}}),
        **policies(method, lambda name: {"terms": {"policy": name}}),
    }


def in_state(method: str, stranger: str, code: str = "NOT_PARTICIPANT") -> dict[tuple[str, str], Case]:
    """What every step of a job is held to: its state, its deadline, and whose it is."""

    def gone(world: World, args: Args) -> None:
        world.do("bank", "jobs.abort", job=args["job"], cause="STOPPED", detail={}, evidence=ONE)

    return {
        (method, "UNKNOWN_JOB"): Case(args={"job": "00"}),
        (method, "WRONG_STATE"): Case(before=gone),
        (method, "DEADLINE_PASSED"): Case(before=lambda w, _: w.advance(HOUR_MS + 1)),
        (method, code): Case(who=stranger),
    }


def twice(method: str, **over: Any) -> Case:
    """The party commits, equivocates elsewhere, and then here."""

    def before(world: World, args: Args) -> None:
        assert call(world, method, "bank/agent", args) == ""
        known = world.read("jobs", "stages", (args["job"], "bank", 0))
        known.pop("height")
        known["bytes_sent"] = known.pop("bytes")
        again = {"job": args["job"], **known, "rounds": 99}
        assert world.outcome("bank/agent", "jobs.commit_stage", **again) == ""

    return Case(args=over, before=before)


def respec(**over: Any) -> Case:
    return Case(args=lambda w: {"spec": w.spec() | over})


def with_party(**over: Any) -> Case:
    def spec(world: World) -> Args:
        made = world.spec()
        made["participants"][1] = {**made["participants"][1], **over}
        return {"spec": made}

    return Case(args=spec)


def joined_by_age(world: World) -> Args:
    inputs = [world.use(f"bank/g-{name}", f"{name}/data", {"age": "join"}) for name in PARTIES]
    parameters = {"receivers": ["bank"], "uses": [[["age", "join"]]] * 3, "on": "age"}
    return {"spec": world.spec(inputs=inputs, parameters=parameters)}


def long_spec(world: World) -> Args:
    columns = {f"{number:03}" + "x" * 60: "plain" for number in range(256)}
    spec = world.spec()
    for item in spec["inputs"]:
        item["columns"] = columns
    return {"spec": spec}


def wide_spec(world: World) -> Args:
    spec = world.spec()
    for item in spec["inputs"]:
        item["columns"] = {str(number): "plain" for number in range(342)}
    return {"spec": spec}


def agentless(world: World) -> Args:
    """The regulator has no agent."""
    for name in PARTIES:
        with_it = ["bank", *PARTIES[1:], "regulator"]
        world.granted(f"bank/r-{name}", f"{name}/data", name, receivers=["regulator"], co_parties=with_it)
    inputs = [world.use(f"bank/r-{name}", f"{name}/data", {"id": "join"}) for name in PARTIES]
    spec = world.spec(inputs=inputs, receivers=["regulator"], profile="dh-psi")
    spec["participants"].append({"org": "regulator", "role": "receiver", "agent_key": b""})
    return {"spec": spec}


def crowded(world: World, profile: str) -> Args:
    """A fourth party computes."""
    parties = [*PARTIES, "rival"]
    for name in PARTIES:
        world.granted(f"bank/c-{name}", f"{name}/data", name, co_parties=parties)
    inputs = [world.use(f"bank/c-{name}", f"{name}/data") for name in PARTIES]
    spec = world.spec(inputs=inputs, profile=profile)
    spec["participants"].append(rival(world))
    return spec


def without_third(world: World) -> Args:
    """Three datasets are joined among two parties."""
    inputs = [world.use(f"bank/g-{name}", f"{name}/data", {"id": "join"}) for name in PARTIES]
    return {"inputs": inputs, "participants": world.spec()["participants"][:2], "profile": "dh-psi"}


def rival(world: World) -> Args:
    """Return the rival as a party that computes."""
    key = world.ask("orgs.org_of", id="rival")["agent_key"]
    return {"org": "rival", "role": "compute", "agent_key": key}


def two_of_one_owner(world: World) -> Args:
    world.register("bureau", "bureau/d-2")
    world.granted("bank/g-2", "bureau/d-2", "bureau")
    inputs = [world.use(f"bank/g-{name}", f"{name}/data") for name in PARTIES]
    return {"spec": world.spec(inputs=[*inputs, world.use("bank/g-2", "bureau/d-2")])}


def full(world: World, name: str) -> None:
    world.put("grants", "active_grants", name, [f"bank/x-{number}" for number in range(256)])


def ready(world: World, args: Args) -> None:
    """One more approval makes the request active."""
    world.do("regulator", "grants.approve", id=args["id"], terms={})


def ready_and(step: Callable[[World], object]) -> Callable[[World, Args], object]:
    def before(world: World, args: Args) -> None:
        ready(world, args)
        step(world)

    return before


CASES: dict[tuple[str, str], Case] = {
    # --- datasets
    ("datasets.declare", "ORG_ROLE_MISSING"): Case(who="regulator"),
    ("datasets.declare", "BAD_HASH"): Case(args={"schema": b"1"}),
    ("datasets.declare", "SCHEMA_EXISTS"): Case(
        before=lambda w, args: w.do("bureau", "datasets.declare", **args)
    ),
    ("datasets.declare", "TOO_MANY_DRAFTS"): Case(before=lambda w, _: counted(w, drafts=8)),
    ("datasets.declare", "TOO_MANY_SCHEMAS"): Case(before=lambda w, _: counted(w, sealed=4_095)),
    **columns_added("datasets.declare"),
    ("datasets.declare", "TOO_MANY_PARTS_TODAY"): spent("bureau", "datasets", parts=256),
    ("datasets.extend", "TOO_MANY_PARTS_TODAY"): spent("bureau", "datasets", parts=256),
    ("datasets.extend", "UNKNOWN_SCHEMA"): Case(args={"schema": ONE}),
    ("datasets.extend", "WRONG_STATE"): Case(
        before=lambda w, args: w.do("bureau", "datasets.extend", **args)
    ),
    ("datasets.extend", "DEADLINE_PASSED"): Case(before=lambda w, _: w.advance(WEEK_MS)),
    ("datasets.extend", "PART_NOT_NEXT"): Case(args={"part": 2}),
    ("datasets.extend", "TOO_MANY_COLUMNS"): Case(
        before=lambda w, args: put(w, "datasets", "schemas", ("bureau", args["schema"]), columns=1_024)
    ),
    **columns_added("datasets.extend"),
    ("datasets.withdraw", "TOO_EARLY"): Case(who="rival"),
    ("datasets.withdraw", "UNKNOWN_SCHEMA"): Case(args={"schema": ONE}),
    ("datasets.withdraw", "WRONG_STATE"): Case(
        args=lambda w: {"schema": w.read("datasets", "versions", ("bureau/data", 1))["schema"]}
    ),
    ("datasets.register", "ORG_ROLE_MISSING"): Case(who="regulator", args={"id": "regulator/new"}),
    ("datasets.register", "BAD_ID"): Case(args={"id": "bureau/New"}),
    ("datasets.register", "ID_NOT_OWN"): Case(args={"id": "bank/new"}),
    ("datasets.register", "DATASET_EXISTS"): Case(args={"id": "bureau/data"}),
    ("datasets.register", "TOO_MANY_DATASETS"): Case(
        before=lambda w, _: w.put("datasets", "counts", "bureau", 1_000)
    ),
    ("datasets.register", "TOO_MANY_DATASETS_TODAY"): spent("bureau", "datasets", registrations=200),
    **schemas("datasets.register"),
    **approving("datasets.register"),
    **owners("datasets.new_version", reason=False, before="retire"),
    **schemas("datasets.new_version"),
    ("datasets.new_version", "TOO_MANY_VERSIONS_TODAY"): spent("bureau", "datasets", versions=1_000),
    ("datasets.new_version", "TOO_MANY_VERSIONS"): Case(
        before=lambda w, _: put(w, "datasets", "datasets", "bureau/data", version=10_000)
    ),
    **owners("datasets.set_approvers", reason=False, before="retire"),
    ("datasets.set_approvers", "TOO_MANY_CHANGES_TODAY"): spent("bureau", "datasets", changes=500),
    ("datasets.resume", "TOO_MANY_CHANGES_TODAY"): spent("bureau", "datasets", changes=500),
    **approving("datasets.set_approvers"),
    **owners("datasets.suspend", reason=True, before="suspend"),
    **owners("datasets.resume", reason=False, before="resume"),
    **owners("datasets.retire", reason=True, before="retire"),
    ("datasets.dataset_of", "UNKNOWN_DATASET"): Case(args={"id": "none"}),
    ("datasets.version_of", "UNKNOWN_VERSION"): Case(args={"version": 2}),
    ("datasets.offer_of", "UNKNOWN_DATASET"): Case(args={"id": "none"}),
    ("datasets.offer_of", "DATASET_NOT_ACTIVE"): Case(
        before=lambda w, _: w.do("bureau", "datasets.suspend", id="bureau/data", reason="")
    ),
    ("datasets.offer_of", "UNKNOWN_VERSION"): Case(args={"version": 2}),
    ("datasets.offer_of", "UNKNOWN_COLUMN"): Case(args={"names": ["shoe-size"]}),
    ("datasets.schema_of", "UNKNOWN_SCHEMA"): Case(args={"schema": ONE}),
    ("datasets.columns_of", "UNKNOWN_DATASET"): Case(args={"id": "none"}),
    ("datasets.declared_of", "UNKNOWN_DATASET"): Case(args={"id": "none"}),
    ("datasets.columns_of", "UNKNOWN_VERSION"): Case(args={"version": 2}),
    ("datasets.declared_of", "UNKNOWN_VERSION"): Case(args={"version": 2}),
    ("datasets.columns_of", "UNKNOWN_COLUMN"): Case(args={"names": ["shoe-size"]}),
    ("datasets.declared_of", "UNKNOWN_COLUMN"): Case(args={"names": ["shoe-size"]}),
    ("datasets.join_fault", "UNKNOWN_VERSION"): Case(args={"inputs": [["bureau/data", 2, ["id"]]]}),
    ("datasets.approvers_of", "UNKNOWN_DATASET"): Case(args={"id": "none"}),
    # --- grants
    ("grants.request", "ORG_ROLE_MISSING"): Case(who="registry", args={"id": "registry/g1"}),
    ("grants.request", "BAD_ID"): Case(args={"id": "g1"}),
    ("grants.request", "ID_NOT_OWN"): Case(args={"id": "bureau/g1"}),
    ("grants.request", "TEXT_TOO_LONG"): Case(args={"legal_basis": "x" * 257}),
    ("grants.request", "GRANT_EXISTS"): Case(args={"id": "bank/g-bureau"}),
    ("grants.request", "UNKNOWN_DATASET"): Case(args={"dataset": "bureau/none"}),
    ("grants.request", "DATASET_NOT_ACTIVE"): Case(
        before=lambda w, _: w.do("bureau", "datasets.suspend", id="bureau/data", reason="")
    ),
    ("grants.request", "UNKNOWN_VERSION"): Case(args={"version": 2}),
    ("grants.request", "BAD_COLUMNS"): Case(args={"columns": {}}),
    ("grants.request", "UNKNOWN_COLUMN"): Case(args={"columns": {"wealth": "plain"}}),
    ("grants.request", "BAD_CONSTRAINT"): Case(args={"columns": {"age": "free"}}),
    ("grants.request", "BAD_PROGRAMS"): Case(args={"programs": []}),
    ("grants.request", "BAD_RECEIVERS"): Case(args={"receivers": []}),
    ("grants.request", "BAD_ORGS"): Case(args={"co_parties": ["bank", "bank"]}),
    ("grants.request", "UNKNOWN_ORG"): Case(args={"receivers": ["nobody"]}),
    ("grants.request", "UNKNOWN_PROFILE"): Case(args={"profile": "rot13"}),
    ("grants.request", "BAD_TERM"): Case(args={"expires": 1}),
    ("grants.request", "BAD_QUOTA"): Case(args={"quota_runs": 0}),
    ("grants.request", "BAD_EPSILON"): Case(args={"run_epsilon": -1}),
    ("grants.request", "BAD_MIN_GROUP"): Case(args={"min_group": 0}),
    **policies("grants.request", lambda name: {"policy": name}),
    ("grants.request", "THRESHOLD_OUT_OF_REACH"): Case(
        before=lambda w, _: w.do(
            "bureau", "datasets.set_approvers", id="bureau/data", approvers=["bank"], threshold=1
        )
    ),
    ("grants.request", "TOO_MANY_REQUESTS"): Case(
        before=lambda w, _: w.put("grants", "asked", "bank", {"bank/data": 256})
    ),
    ("grants.request", "TOO_MANY_REQUESTS_OF_DATASET"): Case(
        before=lambda w, _: w.put("grants", "asked", "bank", {"bureau/data": 16})
    ),
    ("grants.request", "TOO_MANY_REQUESTS_TODAY"): spent("bank", requests=500),
    ("grants.request", "TOO_MANY_REQUESTS_OF_DATASET_TODAY"): Case(
        before=lambda w, _: put(w, "grants", "asked_today", ("bank", "bureau/data"), count=32)
    ),
    **on_request("grants.approve"),
    **narrowing("grants.approve"),
    ("grants.approve", "NOT_APPROVER"): Case(who="rival"),
    ("grants.approve", "DATASET_NOT_ACTIVE"): Case(
        before=lambda w, _: w.do("bureau", "datasets.retire", id="bureau/shared", reason="")
    ),
    ("grants.approve", "OWN_REQUEST"): Case(
        who="bank",
        before=lambda w, _: w.do(
            "bureau",
            "datasets.set_approvers",
            id="bureau/shared",
            approvers=["bank", "registry"],
            threshold=1,
        ),
    ),
    ("grants.approve", "ALREADY_VOTED"): Case(who="regulator", before=ready),
    ("grants.approve", "ORG_NOT_ACTIVE"): Case(
        before=ready_and(lambda w: w.decide("suspend_org", org="bank"))
    ),
    ("grants.approve", "TOO_MANY_GRANTS"): Case(before=ready_and(lambda w: full(w, "bureau/shared"))),
    **on_request("grants.reject"),
    ("grants.reject", "NOT_APPROVER"): Case(who="rival"),
    ("grants.reject", "ALREADY_VOTED"): Case(who="regulator", before=ready),
    ("grants.reject", "TEXT_TOO_LONG"): Case(args={"reason": "x" * 257}),
    **on_request("grants.retract"),
    ("grants.retract", "NOT_VOTED"): Case(who="regulator"),
    ("grants.retract", "TOO_MANY_CHANGES_TODAY"): spent("registry", changes=500),
    **on_request("grants.settle"),
    ("grants.settle", "ORG_NOT_ACTIVE"): Case(before=lambda w, _: w.decide("suspend_org", org="bank")),
    ("grants.settle", "TOO_MANY_GRANTS"): Case(before=lambda w, _: full(w, "bureau/shared")),
    ("grants.settle", "NOT_DECIDED"): Case(
        before=lambda w, _: w.do("registry", "grants.retract", id="bank/g1")
    ),
    **on_request("grants.withdraw"),
    ("grants.withdraw", "NOT_REQUESTER"): Case(who="registry"),
    **on_grant("grants.narrow"),
    ("grants.narrow", "TOO_MANY_CHANGES_TODAY"): spent("bureau", changes=500),
    ("grants.resume", "TOO_MANY_CHANGES_TODAY"): spent("bureau", changes=500),
    **narrowing("grants.narrow"),
    ("grants.narrow", "QUOTA_IN_USE"): Case(
        args={"terms": {"quota_runs": 1}}, before=lambda w, _: [w.job_at("accepted"), w.job_at("running")]
    ),
    **on_grant("grants.suspend", reason=True),
    **on_grant("grants.resume"),
    **on_grant("grants.revoke", reason=True),
    ("grants.expire", "UNKNOWN_GRANT"): Case(args={"id": "bank/none"}),
    ("grants.expire", "WRONG_STATE"): Case(before=lambda w, args: w.do("rival", "grants.expire", **args)),
    ("grants.expire", "TOO_EARLY"): Case(
        before=lambda w, _: put(w, "grants", "grants", "bank/g-bureau", expires=w.time + DAY_MS)
    ),
    **{
        (f"grants.{view}", "UNKNOWN_GRANT"): Case(args={"id": "bank/none"})
        for view in ("grant_of", "runs_of", "open_jobs_of", "ballot_for", "state_of")
    },
    ("grants.stand", "UNKNOWN_GRANT"): Case(
        args=lambda w: {"use": {**use(w)["use"], "inputs": [{**w.spec()["inputs"][0], "grant": "bank/none"}]}}
    ),
    ("grants.profile_of", "UNKNOWN_PROFILE"): Case(args={"name": "none"}),
    # --- jobs: proposal
    ("jobs.propose", "ORG_ROLE_MISSING"): Case(who="registry"),
    ("jobs.propose", "BAD_SPEC"): respec(extra=1),
    ("jobs.propose", "SPEC_TOO_LONG"): Case(args=long_spec),
    ("jobs.propose", "BAD_ID"): respec(purpose="Any Purpose"),
    ("jobs.propose", "BAD_HASH"): respec(page=b"1"),
    ("jobs.propose", "UNKNOWN_PROGRAM"): respec(program="none"),
    ("jobs.propose", "PROGRAM_NOT_ACTIVE"): Case(
        before=lambda w, _: put(w, "programs", "programs", "statistics", status="retired")
    ),
    ("jobs.propose", "BAD_PARAMETERS"): respec(parameters={"x": "y" * 9_000}),
    ("jobs.propose", "PROFILE_NOT_OFFERED"): respec(profile="rep4"),
    ("jobs.propose", "BAD_MIN_GROUP"): respec(min_group=10**9 + 1),
    ("jobs.propose", "BAD_INPUTS"): respec(inputs=[]),
    ("jobs.propose", "TOO_MANY_COLUMNS"): Case(args=wide_spec),
    ("jobs.propose", "BAD_PARTICIPANTS"): with_party(org="bank"),
    ("jobs.propose", "UNKNOWN_ORG"): Case(
        args=with_party(org="nobody").args,
        before=lambda w, _: [
            put(w, "grants", "grants", f"bank/g-{name}", co_parties=[*PARTIES, "nobody"]) for name in PARTIES
        ],
    ),
    ("jobs.propose", "ORG_NOT_ACTIVE"): Case(before=lambda w, _: w.decide("suspend_org", org="bureau")),
    ("jobs.propose", "PARTICIPANT_ROLE"): with_party(role="king"),
    ("jobs.propose", "AGENT_KEY_MISMATCH"): with_party(agent_key=ONE),
    ("jobs.propose", "NO_AGENT"): Case(args=agentless),
    ("jobs.propose", "PROFILE_PARTIES"): Case(args=lambda w: {"spec": crowded(w, "rep3")}),
    ("jobs.propose", "PROFILE_DATASETS"): Case(args=two_of_one_owner),
    ("jobs.propose", "OWNER_NOT_PARTICIPANT"): Case(args=lambda w: {"spec": w.spec(**without_third(w))}),
    ("jobs.propose", "BAD_RECEIVERS"): respec(receivers=["bank", "bank"]),
    ("jobs.propose", "BAD_DEADLINES"): respec(deadlines={}),
    ("jobs.propose", "BAD_NONCE"): respec(nonce=bytes(15)),
    ("jobs.propose", "IDENTIFIERS_DIFFER"): Case(args=joined_otherwise),
    ("jobs.propose", "JOIN_NOT_BY_KEY"): Case(args=joined_by_age),
    ("jobs.propose", "JOIN_TOO_SMALL"): Case(before=lambda w, args: judged(w, args["spec"], "too few")),
    ("jobs.propose", "JOIN_NOT_JUDGED"): Case(before=lambda w, args: judged(w, args["spec"], "")),
    ("jobs.propose", "PARTNER_VERSIONS"): Case(before=lambda w, _: partnered(w)),
    ("jobs.propose", "JOB_EXISTS"): Case(before=lambda w, args: w.do("bank", "jobs.propose", **args)),
    ("jobs.propose", "TOO_MANY_JOBS_OF_ORG"): Case(
        before=lambda w, _: w.put("jobs", "initiators", "bank", {"open": 256, "day": 0, "today": 0})
    ),
    ("jobs.propose", "TOO_MANY_JOBS_TODAY"): Case(before=lambda w, _: proposed_today(w, 1_000)),
    # --- jobs: steps
    **in_state("jobs.accept", "rival/agent"),
    ("jobs.accept", "ALREADY_ACCEPTED"): Case(before=lambda w, args: w.accept(args["job"], "bank")),
    ("jobs.accept", "PLAN_DIFFERS"): Case(args={"plan": ONE}),
    **in_state("jobs.reject", "rival/agent"),
    ("jobs.reject", "BAD_CAUSE"): Case(args={"cause": "enough is enough"}),
    ("jobs.reject", "BAD_DETAIL"): Case(args={"detail": {"note": "x" * 129}}),
    **in_state("jobs.bind", "rival/agent", "NOT_DATA_OWNER"),
    ("jobs.bind", "BAD_HASH"): Case(args={"commitment": b"1"}),
    ("jobs.bind", "ALREADY_BOUND"): Case(before=lambda w, args: w.bind(args["job"], "bank")),
    ("jobs.bind", "JOIN_TOO_SMALL"): Case(before=lambda w, args: bound_but_one(w, args, "too few")),
    ("jobs.bind", "JOIN_NOT_JUDGED"): Case(before=lambda w, args: bound_but_one(w, args, "")),
    ("jobs.begin_join", "PROGRAM_NOT_ACTIVE"): Case(
        before=lambda w, _: put(w, "programs", "programs", "statistics", status="retired")
    ),
    ("jobs.begin_join", "JOIN_TOO_SMALL"): Case(before=lambda w, args: judged_job(w, args, "too few")),
    ("jobs.begin_join", "JOIN_NOT_JUDGED"): Case(before=lambda w, args: judged_job(w, args, "")),
    ("jobs.begin_join", "PARTNER_VERSIONS"): Case(before=lambda w, _: partnered(w)),
    ("jobs.judge_join", "UNKNOWN_JOB"): Case(args={"job": "00"}),
    ("jobs.judge_join", "NOT_DATA_OWNER"): Case(who="rival/agent"),
    ("jobs.judge_join", "JOIN_NOT_BEGUN"): Case(args=lambda w: {"job": w.job_at("running")}),
    ("jobs.judge_join", "NOTHING_JOINED"): Case(before=lambda w, args: forget_join(w, args["job"])),
    ("jobs.judge_join", "DEADLINE_PASSED"): Case(
        before=lambda w, args: [
            w.do("bank", "jobs.abort", job=args["job"], cause="ENOUGH", detail={}, evidence=ONE),
            w.advance(WEEK_MS + 1),
        ]
    ),
    **in_state("jobs.begin_join", "rival/agent", "NOT_DATA_OWNER"),
    **{
        ("jobs.begin_join", code): Case(before=lambda w, _, step=step: step(w))
        for code, step in {
            "GRANT_REVOKED": lambda w: w.do("bureau", "grants.revoke", id="bank/g-bureau", reason=""),
            "GRANT_SUSPENDED": lambda w: w.do("bureau", "grants.suspend", id="bank/g-bureau", reason=""),
            "GRANT_EXPIRED": lambda w: put(w, "grants", "grants", "bank/g-bureau", expires=w.time),
            "DATASET_NOT_ACTIVE": lambda w: w.do("bureau", "datasets.suspend", id="bureau/data", reason=""),
        }.items()
    },
    ("jobs.disclaim", "NOT_DATA_OWNER"): Case(who="rival/agent"),
    ("jobs.disclaim", "OWN_CASE"): Case(who="bank/agent"),
    ("jobs.disclaim", "UNKNOWN_JOB"): Case(args={"job": "00"}),
    ("jobs.disclaim", "WRONG_STATE"): Case(args=lambda w: {"job": w.job_at("running")}),
    ("jobs.disclaim", "DEADLINE_PASSED"): Case(before=lambda w, _: w.advance(WEEK_MS + 1)),
    ("jobs.disclaim", "STAGE_COMMITTED"): Case(args=computed_and_stopped),
    ("jobs.commit_stage", "JOIN_NOT_BEGUN"): Case(args=lambda w: {"job": w.job_at("running")}),
    **in_state("jobs.commit_stage", "rival/agent"),
    ("jobs.commit_stage", "BAD_ID"): Case(args={"kind": "Share"}),
    ("jobs.commit_stage", "BAD_HASH"): Case(args={"previous": b"1"}),
    ("jobs.commit_stage", "BAD_STAGE"): Case(args={"rounds": -1}),
    ("jobs.commit_stage", "TRANSCRIPT_CLOSED"): Case(
        args={"stage": 1},
        before=lambda w, args: [w.stage(args["job"], "bank"), w.transcript(args["job"], "bank")],
    ),
    ("jobs.commit_stage", "STAGE_NOT_CONTIGUOUS"): Case(args={"stage": 1}),
    ("jobs.commit_stage", "TOO_MANY_STAGES"): Case(args={"stage": 256}),
    ("jobs.commit_stage", "STAGE_CHAIN_BROKEN"): Case(args={"previous": ONE}),
    ("jobs.commit_stage", "ALREADY_RECORDED"): twice("jobs.commit_stage", cpu_ms=7),
    **in_state("jobs.commit_transcript", "rival/agent"),
    ("jobs.commit_transcript", "STAGE_MISSING"): Case(args=lambda w: {"job": w.job_at("running")}),
    ("jobs.commit_transcript", "PROFILE_MISMATCH"): Case(args={"profile": "dealer"}),
    ("jobs.commit_transcript", "BAD_CHANNELS"): Case(args={"channels": {"bureau": ONE}}),
    ("jobs.commit_transcript", "BAD_HASH"): Case(args={"channels": {"bureau": ONE, "registry": b"1"}}),
    ("jobs.commit_transcript", "ALREADY_RECORDED"): twice(
        "jobs.commit_transcript", channels={"bureau": bytes(32), "registry": ONE}
    ),
    **in_state("jobs.approve_reveal", "rival/agent", "NOT_DATA_OWNER"),
    **in_state("jobs.commit_result", "bureau/agent", "NOT_RECEIVER"),
    ("jobs.commit_result", "BAD_HASH"): Case(args={"hash": b"1"}),
    ("jobs.commit_result", "TEXT_TOO_LONG"): Case(args={"schema": "x" * 257}),
    ("jobs.commit_result", "BAD_METRICS"): Case(args={"metrics": {"x": "y" * 5_000}}),
    ("jobs.commit_result", "ALREADY_RECORDED"): twice("jobs.commit_result", schema="other"),
    **in_state("jobs.certify", "rival/agent"),
    ("jobs.certify", "ALREADY_SIGNED"): Case(
        args={"signature": bytes(64)}, before=lambda w, args: w.sign(args["job"], "bank")
    ),
    ("jobs.certify", "DIGEST_MISMATCH"): Case(args={"digest": ONE}),
    ("jobs.certify", "BAD_SIGNATURE"): Case(args={"signature": bytes(64)}),
    # --- jobs: ends and disputes
    ("jobs.abort", "NOT_PARTICIPANT"): Case(who="rival"),
    ("jobs.abort", "UNKNOWN_JOB"): Case(args={"job": "00"}),
    ("jobs.abort", "WRONG_STATE"): Case(before=lambda w, args: w.do("bank", "jobs.abort", **args)),
    ("jobs.abort", "BAD_CAUSE"): Case(args={"cause": "enough is enough"}),
    ("jobs.abort", "BAD_DETAIL"): Case(args={"detail": {"note": "x" * 129}}),
    ("jobs.abort", "BAD_HASH"): Case(args={"evidence": b"1"}),
    ("jobs.abort", "EVIDENCE_REQUIRED"): Case(args={"evidence": b""}),
    **{
        (f"accounts.{method}", code): Case(who=who, args=args)
        for method in ("set_caps", "lower_caps", "begin")
        for code, who, args in (
            ("NOT_OWNER", "bank", {}),
            ("UNKNOWN_DATASET", "", {"id": "bureau/none"}),
        )
    },
    **{
        (f"accounts.{method}", "WRONG_STATE"): Case(
            before=lambda w, _: w.do("bureau", "datasets.retire", id="bureau/data", reason="")
        )
        for method in ("set_caps", "lower_caps", "begin")
    },
    **{
        (f"accounts.{method}", "TOO_MANY_CHANGES_TODAY"): spent("bureau", "accounts", changes=200)
        for method in ("set_caps", "begin")
    },
    **{
        (f"accounts.{method}", "BAD_CAPS"): Case(args={"caps": {"rows": 1}})
        for method in ("set_caps", "lower_caps")
    },
    **{
        ("jobs.propose", code): Case(args=noisy_job, before=capped(cap))
        for code, cap in (("ACCOUNT_EPSILON", "epsilon"), ("ACCOUNT_DELTA", "delta"))
    },
    ("jobs.propose", "ACCOUNT_FIGURES"): Case(args=exact_job, before=capped("figures")),
    ("jobs.propose", "TOO_MANY_RETURNS_TODAY"): Case(args=noisy_job, before=gave_back("bureau")),
    ("jobs.accept", "TOO_MANY_RETURNS_TODAY"): Case(
        before=lambda w, args: (charged_too_much({"epsilon": 1})(w, args), gave_back("bank")(w, args))
    ),
    **{
        ("jobs.accept", code): Case(before=charged_too_much(charge))
        for code, charge in (
            ("ACCOUNT_EPSILON", {"epsilon": 10**12, "rho": 10**24}),
            ("ACCOUNT_DELTA", {"delta": 10**16}),
            ("ACCOUNT_FIGURES", {"figures": {"age": 10**7}}),
        )
    },
    ("accounts.lower_caps", "CAP_RAISED"): Case(args={"caps": {"figures": 201}}),
    ("accounts.begin", "TEXT_TOO_LONG"): Case(args={"reason": "x" * 257}),
    ("accounts.begin", "NO_REASON"): Case(args={"reason": " "}),
    ("accounts.begin", "UNKNOWN_VERSION"): Case(args={"version": 3}),
    ("accounts.begin", "ACCOUNT_EXISTS"): Case(args={"version": 1}),
    ("accounts.begin", "VERSION_CHARGED"): Case(
        before=lambda w, _: w.put(
            "accounts", "accounts", ("bureau/data", 1), {"spent": {}, "reserved": {}, "through": 2}
        )
    ),
    ("accounts.begin", "TOO_MANY_ACCOUNTS"): Case(
        before=lambda w, _: w.put("accounts", "begun", "bureau/data", [1] * 256)
    ),
    ("accounts.fault_of", "UNKNOWN_DATASET"): Case(args={"charges": [{**CHARGE, "dataset": "bureau/none"}]}),
    ("accounts.fault_of", "UNKNOWN_VERSION"): Case(args={"charges": [{**CHARGE, "version": 2}]}),
    **{
        (f"accounts.{view}", code): Case(args=args)
        for view in ("account_of", "share_of", "left")
        for code, args in (
            ("UNKNOWN_DATASET", {"id": "bureau/none"}),
            ("UNKNOWN_VERSION", {"version": 2}),
        )
    },
    ("jobs.expire", "UNKNOWN_JOB"): Case(args={"job": "00"}),
    ("jobs.expire", "WRONG_STATE"): Case(before=lambda w, args: w.do("rival", "jobs.expire", **args)),
    ("jobs.expire", "TOO_EARLY"): Case(args=lambda w: {"job": w.propose()}),
    ("jobs.report", "UNKNOWN_JOB"): Case(args={"job": "00"}),
    ("jobs.report", "BAD_ID"): Case(args={"kind": "EQUIVOCATION"}),
    ("jobs.report", "BAD_HASH"): Case(args={"evidence": b"1"}),
    ("jobs.report", "NOT_PARTICIPANT"): Case(who="rival"),
    ("jobs.report", "OWN_CASE"): Case(args={"against": "bank"}),
    ("jobs.report", "TOO_MANY_REPORTS"): Case(
        before=lambda w, args: [w.do("bank", "jobs.report", **args) for _ in range(2)]
    ),
    ("jobs.report", "DEADLINE_PASSED"): Case(
        before=lambda w, args: [
            w.do("bank", "jobs.abort", job=args["job"], cause="STOPPED", detail={}, evidence=ONE),
            w.advance(WEEK_MS),
        ]
    ),
    ("jobs.resolve", "ORG_ROLE_MISSING"): Case(who="rival"),
    ("jobs.resolve", "NOT_NEUTRAL"): Case(
        args={"number": 2},
        before=lambda w, args: w.do(
            "regulator", "jobs.report", job=args["job"], kind="late", against="bank", evidence=ONE
        ),
    ),
    ("jobs.resolve", "UNKNOWN_DISPUTE"): Case(args={"number": 9}),
    ("jobs.resolve", "WRONG_STATE"): Case(before=lambda w, args: w.do("regulator", "jobs.resolve", **args)),
    ("jobs.resolve", "DEADLINE_PASSED"): Case(before=lambda w, _: w.advance(WEEK_MS + 1)),
    ("jobs.resolve", "BAD_HASH"): Case(args={"evidence": b"1"}),
    ("jobs.resolve", "BAD_OUTCOME"): Case(args={"outcome": "maybe"}),
    ("jobs.resolve", "NOT_DISMISSIBLE"): Case(
        args={"number": 2, "outcome": "dismissed", "blamed": []},
        before=lambda w, args: (
            put(w, "jobs", "disputes", (args["job"], 1), number=2)
            or w.put(
                "jobs",
                "disputes",
                (args["job"], 2),
                {**w.read("jobs", "disputes", (args["job"], 1)), "origin": "contract"},
            )
        ),
    ),
    ("jobs.resolve", "BAD_BLAME"): Case(args={"blamed": ["registry"]}),
    ("jobs.lapse", "UNKNOWN_DISPUTE"): Case(args={"number": 9}),
    ("jobs.lapse", "WRONG_STATE"): Case(before=lambda w, args: w.do("rival", "jobs.lapse", **args)),
    ("jobs.lapse", "TOO_EARLY"): Case(args=reported),
    **{(f"jobs.{view}", "UNKNOWN_JOB"): Case(args={"id": "00"}) for view in ("job_of", "spec_of", "missing")},
    ("jobs.certificate_body", "UNKNOWN_JOB"): Case(args={"job": "00"}),
    ("jobs.certificate_body", "WRONG_STATE"): Case(args=lambda w: {"job": w.propose()}),
    ("jobs.dispute_of", "UNKNOWN_DISPUTE"): Case(args={"number": 9}),
}


# --- the tests


@pytest.mark.parametrize("contract", ["datasets", "accounts", "grants", "jobs"])
def test_the_table_lists_every_method_that_members_call_with_its_signature(contract: str) -> None:
    program = check_source(sources()[contract], contract).program
    assert program is not None
    abi = program.abi["methods"]
    page = rows(contract)
    inner = section(contract).split("For contract `jobs` only")[1:]  # what contracts call, not members
    called = set(re.findall(r"`(\w+)\(", inner[0].split("State:")[0])) if inner else set()
    assert set(page) | called == set(abi)
    for name, (signature_text, _) in page.items():
        method = abi[name]
        params = ", ".join(f"{param}: {hint}" for param, hint in method["params"])
        returns = "" if method["returns"] == "Value" else f" -> {method['returns']}"
        assert signature_text == f"({params}){returns}", name


@pytest.mark.parametrize("contract", ["datasets", "accounts", "grants", "jobs"])
def test_every_code_of_a_row_has_a_call_here_and_every_call_stands_there(contract: str) -> None:
    said = {
        (f"{contract}.{method}", code) for method in rows(contract) for code in codes_of(contract, method)
    }
    assert said == {key for key in CASES if key[0].startswith(f"{contract}.")}


@pytest.mark.parametrize("contract", ["datasets", "accounts", "grants", "jobs"])
def test_the_page_names_every_code_of_the_contract(contract: str) -> None:
    raised = set(re.findall(r'"([A-Z][A-Z0-9_]+)"\)$', sources()[contract], re.MULTILINE))
    assert len(raised) > 10
    assert raised - set(CODE.findall(section(contract))) - GENERAL == {"BAD_PROFILE"} & raised


@pytest.mark.parametrize("method", list(GOOD))
def test_each_method_does_what_its_row_says_when_nothing_is_in_the_way(world: World, method: str) -> None:
    good = GOOD[method]
    assert call(world, method, good.who, good.args(world)) == ""


@pytest.mark.parametrize(("method", "code"), list(CASES), ids=lambda value: str(value))
def test_each_code_of_a_row_refuses_what_it_says(world: World, method: str, code: str) -> None:
    good, case = GOOD[method], CASES[method, code]
    args = good.args(world)
    case.before(world, args)
    over = case.args(world) if callable(case.args) else case.args
    assert call(world, method, case.who or good.who, {**args, **over}) == code


GUARD: dict[str, tuple[Callable[[World], object] | None, Args]] = {
    "UNKNOWN_GRANT": (None, {"id": "bank/none"}),
    "NOT_GRANTEE": (None, {"initiator": "rival"}),
    "GRANT_REVOKED": (lambda w: w.do("bureau", "grants.revoke", id="bank/g-bureau", reason=""), {}),
    "GRANT_SUSPENDED": (lambda w: w.do("bureau", "grants.suspend", id="bank/g-bureau", reason=""), {}),
    "GRANT_EXPIRED": (lambda w: w.advance(31 * DAY_MS), {}),
    "GRANT_NOT_ACTIVE": (lambda w: w.request("bank/g1", "bureau/data"), {"id": "bank/g1"}),
    "GRANT_NOT_YET_VALID": (
        lambda w: put(w, "grants", "grants", "bank/g-bureau", not_before=w.time + DAY_MS),
        {},
    ),
    "DATASET_NOT_ACTIVE": (lambda w: w.do("bureau", "datasets.suspend", id="bureau/data", reason=""), {}),
    "DATASET_NOT_GRANTED": (None, {"dataset": "bank/data"}),
    "VERSION_NOT_GRANTED": (None, {"version": 2}),
    "PURPOSE_MISMATCH": (None, {"purpose": "marketing"}),
    "PROGRAM_NOT_GRANTED": (None, {"program": "scoring"}),
    "COLUMN_NOT_GRANTED": (None, {"columns": {"secret": "plain"}}),
    "CONSTRAINT_VIOLATED": (None, {"columns": {"income": "plain"}}),
    "PROFILE_TOO_WEAK": (None, {"profile": "dealer"}),
    "MIN_GROUP_TOO_LOW": (None, {"min_group": 9}),
    "CO_PARTY_NOT_GRANTED": (None, {"participants": ["bank", "bureau", "rival"]}),
    "RECEIVER_NOT_GRANTED": (None, {"receivers": ["bureau"]}),
    "MEMBERSHIP_NOT_GRANTED": (None, {"membership": {"d1": ["rival"]}}),
    "EPSILON_NOT_GRANTED": (None, {"epsilon": {"d1": 10**9 + 1}}),
    "QUOTA_EXHAUSTED": (
        lambda w: put(w, "grants", "standing", "bank/g-bureau", used=2, revealed=2),
        {},
    ),
    "TOO_MANY_JOBS": (
        lambda w: w.put("grants", "open_jobs", "bank/g-bureau", [str(number) for number in range(64)]),
        {},
    ),
    "POLICY_FROZEN": (
        lambda w: [ruled(w), w.do("rival", "lifecycle.freeze", name="rules", seq=1, reason="")],
        {},
    ),
    "POLICY_NOT_ACTIVE": (
        lambda w: [
            ruled(w),
            [w.do(who, "lifecycle.revoke", **RULES, reason="") for who in PARTIES],
        ],
        {},
    ),
    "POLICY_SHAPE": (lambda w: [ruled(w), w.policy("rules", YES.replace("allow", "permit"))], {}),
    "POLICY_DENIED": (lambda w: ruled(w, YES.replace("True", "False")), {}),
}


def ruled(world: World, source: str = YES) -> None:
    world.policy("rules", source)
    world.do("bureau", "grants.narrow", id="bank/g-bureau", terms={"policy": "rules"})


def test_the_guard_has_a_call_here_for_every_code_of_the_page() -> None:
    assert set(GUARD) == guard_codes()


@pytest.mark.parametrize("code", list(GUARD))
def test_the_guard_refuses_what_the_page_says(world: World, code: str) -> None:
    change, over = GUARD[code]
    if change is not None:
        change(world)
    args = use(world)
    args["id"] = over.get("id", args["id"])
    args["use"] |= {name: value for name, value in over.items() if name != "id"}
    assert call(world, "grants.covers", "view", args) == code


def test_the_guard_asks_in_the_order_of_the_page(world: World) -> None:
    """All at once: what comes first on the page is what a call that breaks everything is refused with."""
    paragraph = section("grants").split("in this order:")[1].split("**Policy contract.**")[0]
    own = set(GUARD) - {
        "UNKNOWN_GRANT",
        "CONSTRAINT_VIOLATED",
    }  # of another grant; of each column with the one before
    order = [code for code in CODE.findall(paragraph) if code in own and GUARD[code][0] is None]
    assert len(order) > 8
    good = use(world)
    for first in range(len(order)):
        broken = dict(good["use"])
        for code in order[first:]:
            broken |= GUARD[code][1]
        assert call(world, "grants.covers", "view", good | {"use": broken}) == order[first]
