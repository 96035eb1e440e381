"""Calls about jobs: forward mostly, with late, wrong and lying parties among them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from tests.page_of_uses import parameters_of
from tests.rules.base import digest
from tests.rules.chain import seeded
from tests.rules.draw import DAY_MS, HOUR_MS, Dice, Drawn
from tests.rules.model_jobs import ALLOWED, Job
from tests.rules.terms import USES

EVIDENCE = bytes([9]) * 32
OFFERED = ("join", "aggregate", "noisy", "encrypted", "plain")
"""What the page of these histories can do with a column."""
REASONS = (("STOPPED", {}), ("A", {"note": "n" * 128, "least": 1 - 2**63}), ("MPC_TIME_OVER", {"late": True}))
NO_REASONS = (
    ("enough", {}),
    ("1ST", {}),
    ("A" * 65, {}),
    ("STOPPED", {"note": "n" * 129}),
    ("STOPPED", {"rows": 2**63}),
    ("STOPPED", {"rows": [1]}),
    ("STOPPED", {"Rows": 1}),
    ("STOPPED", dict.fromkeys("abcdefghi", 1)),
)


# --- proposals


def propose(dice: Dice) -> Drawn:
    """Propose a job under grants that one member holds."""
    model = dice.model
    usable = [g for g in model.grants.values() if g.status == "active" and model.time < g.terms["expires"]]
    grantees = sorted({grant.grantee for grant in usable})
    org = dice.pick(grantees)
    if org is None:
        return None
    own = [grant for grant in usable if grant.grantee == org]
    kin = own[0] if dice.busy == org and dice.often(0.8) else dice.pick(own)
    same = [
        g for g in own if g.purpose == kin.purpose and set(g.terms["programs"]) & set(kin.terms["programs"])
    ]
    chosen = [kin, *(g for g in dice.some(same, 3) if g.id != kin.id)][:3]
    if dice.often(0.03):
        chosen = [dice.pick(model.grants.values())]
    programs = set.intersection(*(set(grant.terms["programs"]) for grant in chosen)) or {"statistics"}
    receivers = set.intersection(*(set(grant.terms["receivers"]) for grant in chosen)) or {org}
    spec = {
        "program": dice.pick(sorted(programs)),
        "purpose": kin.purpose if dice.often(0.98) else "other",
        "min_group": max(grant.terms["min_group"] for grant in chosen) - dice.often(0.03) + dice.often(0.03),
        "inputs": [_input(dice, grant) | {"name": f"d{place}"} for place, grant in enumerate(chosen)],
        "receivers": dice.some(sorted(receivers), 2),
        "deadlines": {name: _deadline(dice, name) for name in ALLOWED.values()},
        "nonce": dice.chance.randbytes(16),
    }
    spec["participants"] = _participants(dice, {grant.owner for grant in chosen}, spec["receivers"], chosen)
    spec["profile"] = _profile(dice, len(spec["participants"]))
    spec = _followed(dice, spec, org)
    if dice.often(0.04):
        spec |= dice.pick(_ODD_SPECS)
    return dice.signer(org, "steward", "agent"), "jobs.propose", {"spec": spec}


def _followed(dice: Dice, spec: dict[str, Any], org: str) -> dict[str, Any]:
    """Return the spec with what follows of its page, now and then with what does not."""
    if spec["program"] == "private-join":
        inputs = [one | {"columns": {"id": "join"}} for one in spec["inputs"]]
        spec |= {"inputs": inputs, "parameters": {"receivers": spec["receivers"], "tell_owners": False}}
    else:
        spec["parameters"] = parameters_of(spec)
    if dice.often(0.06):
        spec["parameters"] |= dice.pick(({"receivers": ["arbiter"]}, {"figures": ["most"]}, {"sellers": []}))
    found = dice.model.followed(spec, org)
    spec |= {name: EVIDENCE if isinstance(found, str) else found[name] for name in ("page", "plan")}
    if dice.often(0.08):
        one, *others = spec["inputs"]
        spec |= dice.pick(
            (
                {"plan": EVIDENCE},
                {"page": EVIDENCE},
                {"plan": b""},
                {"inputs": [one | {"columns": {"id": "plain"}}, *others]},
                {"inputs": [one | {"columns": one["columns"] | {"age": "compare"}}, *others]},
                {"inputs": [one | {"name": "d1"}, *others]},
                {"receivers": ["arbiter"]},
            )
        )
    return spec


def _profile(dice: Dice, parties: int) -> str:
    """Return a profile that so many parties can run, or, now and then, any."""
    fitting = "rep3" if parties == 3 and dice.often(0.9) else "dh-psi"
    return fitting if dice.often(0.95) else str(dice.pick(("rep3", "dealer", "ot2", "dh-psi")))


_ODD_SPECS: tuple[dict[str, Any], ...] = (
    {"program": "unknown"},
    {"nonce": b""},
    {"min_group": True},
    {"profile": "rep4"},
    {"inputs": []},
    {"receivers": []},
    {"deadlines": {"accept": 1}},
    {"fee": 1},
    {"parameters": {"x": "y" * 8_192}},
)


def _deadline(dice: Dice, name: str) -> int:
    long = DAY_MS if name == "bind" and dice.often(0.99) else 20 * DAY_MS
    return int(dice.pick((HOUR_MS, DAY_MS, long, long))) if dice.often(0.99) else 999


def _input(dice: Dice, grant: Any) -> dict[str, Any]:
    columns = {
        name: dice.pick(sorted(USES[constraint] & set(OFFERED)) or ["plain"])
        for name, constraint in grant.terms["columns"].items()
        if dice.often(0.8)
    }
    if "id" in grant.terms["columns"] and dice.often(0.97):
        columns = {name: use if use != "join" else "encrypted" for name, use in columns.items()}
        columns["id"] = "join"
    if dice.often(0.03) or not columns:
        columns = {name: dice.pick(OFFERED) for name in ("id", "age")}
    version = grant.version if dice.often(0.98) else dice.pick((grant.version + 1, True))
    return {"grant": grant.id, "dataset": grant.dataset, "version": version, "columns": columns}


def _participants(
    dice: Dice, owners: set[str], receivers: list[str], chosen: list[Any]
) -> list[dict[str, Any]]:
    helpers = set.intersection(*(set(g.terms["co_parties"]) | {g.owner, g.grantee} for g in chosen))
    names = sorted(owners) if dice.often(0.98) else sorted(owners)[1:]
    names += [name for name in receivers if name not in names]
    spare = [name for name in sorted(helpers) if name not in names and dice.model.has(name, "compute")]
    if spare and (len(names) < 2 or dice.often(0.2)):
        names.append(dice.pick(spare))
    found = []
    for name in names:
        role = "owner" if name in owners else "receiver" if name in receivers else "compute"
        agent = dice.model.orgs[name].agent_key if name in dice.model.orgs else EVIDENCE
        if dice.often(0.02):
            role, agent = dice.pick((("compute", agent), (role, EVIDENCE), ("boss", agent)))
        found.append({"org": name, "role": role, "agent_key": agent})
    return found


# --- the life of a job


def _open_job(dice: Dice) -> Job | None:
    waiting = [job for job in dice.model.jobs.values() if not job.final]
    if dice.often(0.9):
        waiting = [job for job in waiting if job.deadline >= dice.model.time] or waiting
    return dice.pick(waiting[-4:])


def forward(dice: Dice) -> Drawn:
    """Let a party do what the job waits for."""
    job = _open_job(dice)
    return None if job is None else forward_job(dice, job)


def forward_job(dice: Dice, job: Job) -> Drawn:
    """Let a party do what this job waits for."""
    if not job.silent:
        return None
    org = dice.pick(job.silent) if dice.often(0.95) else dice.member()
    if org is None:
        return None
    target, args = {
        "proposed": _accept,
        "accepted": _bind,
        "running": _run,
        "computed": _approve,
        "revealed": _result,
        "committed": _certify,
    }[job.state](dice, job, org)
    return dice.signer(org, "agent"), f"jobs.{target}", {"job": job.id, **args}


def _accept(dice: Dice, job: Job, *_: Any) -> tuple[str, dict[str, Any]]:
    return "accept", {"plan": job.spec["plan"] if dice.often(0.99) else EVIDENCE}


def _bind(_: Dice, job: Job, org: str) -> tuple[str, dict[str, Any]]:
    return "bind", {"commitment": _said(job, org, "bind")}


def _run(dice: Dice, job: Job, org: str) -> tuple[str, dict[str, Any]]:
    if dice.often(0.7 if job.join_height == 0 else 0.02):
        return "begin_join", {}
    before = dice.model.stages.get((job.id, org), [])
    if before and dice.often(0.7):
        return _transcript(dice, job, org)
    if dice.often(0.02):
        return _transcript(dice, job, org)
    previous = before[-1][0]["hash"] if before else bytes(32)
    number = len(before) + (0 if dice.often(0.98) else 1)
    return "commit_stage", _stage(job, org, number, previous if dice.often(0.98) else EVIDENCE)


def _stage(job: Job, org: str, number: int, previous: bytes) -> dict[str, Any]:
    return {
        "stage": number,
        "kind": "share",
        "hash": _said(job, org, f"stage{number}"),
        "previous": previous,
        "bytes_sent": 1_000,
        "rounds": 1,
        "cpu_ms": 5,
    }


def _transcript(dice: Dice, job: Job, org: str) -> tuple[str, dict[str, Any]]:
    channels = {other: _channel(job, org, other) for other in job.parties if other != org}
    if channels and dice.often(0.03):
        channels[dice.pick(sorted(channels))] = dice.bytes32()
    if dice.often(0.02):
        channels = dict(list(channels.items())[1:])
    profile = job.spec["profile"] if dice.often(0.98) else "dealer"
    return "commit_transcript", {"profile": profile, "channels": channels}


def _approve(*_: Any) -> tuple[str, dict[str, Any]]:
    return "approve_reveal", {}


def _result(dice: Dice, job: Job, org: str) -> tuple[str, dict[str, Any]]:
    metrics = {"rounds": 3} if dice.often(0.99) else {"x": "y" * 4_096}
    return "commit_result", {"hash": _said(job, org, "result"), "schema": "figures", "metrics": metrics}


def _certify(dice: Dice, job: Job, org: str) -> tuple[str, dict[str, Any]]:
    sealed = digest(dice.model.body(job)) if dice.often(0.98) else EVIDENCE
    party = next((party for party in job.spec["participants"] if party["org"] == org), None)
    name = dice.names.get(party["agent_key"], org) if party else org
    return "certify", {
        "digest": sealed,
        "signature": seeded(name if dice.often(0.98) else "nobody").sign(sealed),
    }


def _said(job: Job, org: str, what: str) -> bytes:
    return sha256(f"{job.id}/{org}/{what}".encode()).digest()


def _channel(job: Job, one: str, other: str) -> bytes:
    return _said(job, "/".join(sorted((one, other))), "channel")


def again(dice: Dice) -> Drawn:
    """Repeat a step, or say something else where a party has said something already."""
    model = dice.model
    said: list[tuple[str, str, str, dict[str, Any]]] = []
    for (job, org), stages in list(model.stages.items())[-6:]:
        stage = {name: value for name, value in stages[0][0].items() if name != "bytes"}
        said.append((job, org, "commit_stage", {**stage, "bytes_sent": stages[0][0]["bytes"]}))
    for (job, org), channels in list(model.channels.items())[-4:]:
        profile = model.jobs[job].spec["profile"]
        said.append((job, org, "commit_transcript", {"profile": profile, "channels": channels}))
    for (job, org), (result, _) in list(model.outcomes.items())[-3:]:
        said.append((job, org, "commit_result", result))
    for (job, org), (commitment, _) in list(model.commitments.items())[-3:]:
        said.append((job, org, "bind", {"commitment": commitment}))
    for (job, org), signature in list(model.signatures.items())[-2:]:
        said.append((job, org, "certify", {"digest": EVIDENCE, "signature": signature}))
    for job in list(model.jobs.values())[-4:]:
        said += [(job.id, org, "approve_reveal", {}) for org in job.reveals]
    found = dice.pick(said)
    if found is None:
        return None
    job_id, org, method, args = found
    if dice.often(0.35):
        args = _otherwise(dice, method, args)
    return dice.signer(org, "agent"), f"jobs.{method}", {"job": job_id, **args}


def _otherwise(dice: Dice, method: str, args: dict[str, Any]) -> dict[str, Any]:
    if method == "commit_stage":
        return args | dice.pick(
            ({"hash": dice.bytes32()}, {"rounds": 2}, {"kind": "other"}, {"bytes_sent": 1})
        )
    if method == "commit_transcript":
        other = dice.pick(sorted(args["channels"]))
        return args | {"channels": {**args["channels"], other: dice.bytes32()}}
    if method == "commit_result":
        return args | dice.pick(({"hash": dice.bytes32()}, {"schema": "none"}, {"metrics": {}}))
    if method == "bind":
        return {"commitment": dice.bytes32()}
    return args | ({"signature": bytes(64)} if method == "certify" else {})


def end(dice: Dice) -> Drawn:
    """End a job, or try to."""
    job = _open_job(dice) if dice.often(0.93) else dice.pick(dice.model.jobs.values())
    if job is None:
        return None
    late = not job.final and dice.model.time > job.deadline
    method = dice.chance.choices(("expire", "abort", "reject"), (12 if late else 2, 2, 2))[0]
    if method == "expire":
        return dice.signer(dice.member()), "jobs.expire", {"job": job.id}
    org = dice.pick((*job.parties, job.initiator)) if dice.often(0.9) else dice.member()
    cause, detail = dice.pick(REASONS) if dice.often(0.75) else dice.pick(NO_REASONS)
    args: dict[str, Any] = {"job": job.id, "cause": cause, "detail": detail}
    if method == "abort":
        args["evidence"] = EVIDENCE if dice.often(0.7) else b""
    return dice.signer(org, "steward", "agent"), f"jobs.{method}", args


def refuse(dice: Dice) -> Drawn:
    """Let an owner that should bind end the job instead: it has answered something about its data."""
    job = dice.pick([job for job in dice.model.jobs.values() if job.state == "accepted"][-4:])
    org = None if job is None else dice.pick([org for org in job.owners if org != job.initiator])
    if job is None or org is None:
        return None
    cause, detail = REASONS[0]
    args = {"job": job.id, "cause": cause, "detail": detail, "evidence": EVIDENCE}
    return dice.signer(org, "agent"), "jobs.abort", args


def judge_join(dice: Dice) -> Drawn:
    """State whether joined rows suffice, mostly of a job whose join began."""
    jobs = [job for job in dice.model.jobs.values() if job.join_height > 0]
    job = dice.pick(jobs[-4:]) if jobs and dice.often(0.95) else dice.pick(dice.model.jobs.values())
    if job is None:
        return None
    org = dice.pick(job.owners) if dice.often(0.95) else dice.pick(job.parties)
    return dice.signer(org, "agent"), "jobs.judge_join", {"job": job.id, "suffices": dice.often(0.9)}


def disclaim(dice: Dice) -> Drawn:
    """State that one sent nothing, mostly of a job that ended after its join began."""
    ended = dice.often(0.9)
    jobs = [job for job in dice.model.jobs.values() if job.final is ended and job.join_height > 0]
    job = dice.pick(jobs[-4:]) if jobs and dice.often(0.9) else dice.pick(dice.model.jobs.values())
    if job is None:
        return None
    silent = [org for org in job.owners if org not in (*job.disclaimed, job.initiator)]
    org = dice.pick(silent) if silent and dice.often(0.9) else dice.pick(job.parties)
    return dice.signer(org, "agent"), "jobs.disclaim", {"job": job.id}


def report(dice: Dice) -> Drawn:
    """Accuse somebody."""
    job = _open_job(dice) if dice.often(0.6) else dice.pick(list(dice.model.jobs.values())[-6:])
    if job is None:
        return None
    auditors = [org for org in dice.model.members() if dice.model.has(org, "auditor")]
    org = dice.pick((*job.parties, *auditors)) if dice.often(0.95) else dice.member()
    against = dice.pick(job.parties) if dice.often(0.95) else dice.member()
    args = {"job": job.id, "kind": "late", "against": against, "evidence": EVIDENCE}
    return dice.signer(org, "steward", "agent"), "jobs.report", args


def decide_dispute(dice: Dice) -> Drawn:
    """Decide a dispute, or let it lapse."""
    every = [dispute for disputes in dice.model.disputes.values() for dispute in disputes]
    waiting = [dispute for dispute in every if dispute.status == "open"]
    found = dice.pick(waiting) if waiting and dice.often(0.95) else dice.pick(every)
    if found is None:
        return None
    args: dict[str, Any] = {"job": found.job, "number": found.number}
    if (dice.model.time > found.until and dice.often(0.8)) or dice.often(0.1):
        return dice.signer(dice.member()), "jobs.lapse", args
    auditors = [org for org in dice.model.members() if dice.model.has(org, "auditor")]
    org = dice.pick(auditors) if auditors and dice.often(0.95) else dice.member()
    outcome = "dismissed" if dice.often(0.7) else "upheld"
    blamed = [] if outcome == "dismissed" else dice.some(found.against, 2)
    if dice.often(0.1):
        blamed = dice.some(dice.model.jobs[found.job].parties, 2) if dice.often(0.5) else []
    args |= {"outcome": outcome if dice.often(0.99) else "perhaps", "blamed": blamed, "evidence": EVIDENCE}
    return dice.signer(org, "steward"), "jobs.resolve", args


# --- questions


def ask(dice: Dice) -> Drawn:
    """Ask a view."""
    target, args = dice.pick(_QUESTIONS)(dice)
    return None if None in args.values() else ("?", target, args)


def _covers(dice: Dice) -> tuple[str, dict[str, Any]]:
    job = dice.pick(dice.model.jobs.values())
    if job is None:
        return "grants.state_of", {"id": dice.pick(dice.model.grants)}
    return covers_question(dice, job, 0)


def covers_question(dice: Dice, job: Job, number: int) -> tuple[str, dict[str, Any]]:
    """Ask the guard about one input of a job."""
    use = job.use(number)
    fields = {name: getattr(use, name) for name in use.__dataclass_fields__ if name != "grant"}
    fields |= {"participants": list(use.participants), "receivers": list(use.receivers)}
    phase = dice.pick(("proposed", "accepted", "running", "reveal"))
    return "grants.covers", {"id": use.grant, "use": fields, "phase": phase}


def whole_use(job: Job) -> dict[str, Any]:
    """Return what `jobs` tells `grants` of a job, with all its inputs."""
    use = job.use(0)
    own = ("grant", "dataset", "version", "columns", "name")
    fields = {name: getattr(use, name) for name in use.__dataclass_fields__ if name not in own}
    fields |= {"participants": list(use.participants), "receivers": list(use.receivers)}
    return {**fields, "inputs": job.spec["inputs"]}


def _of_grant(dice: Dice) -> tuple[str, dict[str, Any]]:
    job = dice.pick(dice.model.jobs.values())
    if job is not None and dice.often(0.2):
        return "grants.stand", {"use": whole_use(job)}
    method = dice.pick(("state_of", "runs_of", "open_jobs_of", "grant_of", "ballot_for"))
    return f"grants.{method}", {"id": dice.pick(dice.model.grants)}


def _of_job(dice: Dice) -> tuple[str, dict[str, Any]]:
    method = dice.pick(("missing", "spec_of", "certificate_body"))
    return f"jobs.{method}", {"job" if method == "certificate_body" else "id": dice.pick(dice.model.jobs)}


def _of_contract(dice: Dice) -> tuple[str, dict[str, Any]]:
    method = dice.pick(("policy_fault", "is_active", "votes_needed", "contract_of", "library_of"))
    if method == "library_of":
        return "lifecycle.library_of", {"source_hash": dice.pick(dice.model.published) or bytes(32)}
    return f"lifecycle.{method}", {"name": dice.pick(dice.model.deployed)}


def _of_proposal(dice: Dice) -> tuple[str, dict[str, Any]]:
    place = dice.pick(dice.model.proposals)
    if isinstance(place, tuple):
        return "lifecycle.readiness", {"name": place[0], "seq": place[1]}
    return f"governance.{dice.pick(('readiness', 'check_proposal'))}", {"seq": place}


def _of_members(dice: Dice) -> tuple[str, dict[str, Any]]:
    org = dice.pick(dice.model.orgs)
    return dice.pick(
        (
            ("orgs.active_members", {}),
            ("orgs.has_role", {"id": org, "role": dice.pick(("owner", "auditor"))}),
            ("orgs.org_of", {"id": org}),
            ("governance.votes_needed", {"kind": dice.pick(("contract", "expel_org", "set_terms", "tax"))}),
            ("governance.rotation_free", {"name": dice.pick([node.name for node in dice.model.nodes])}),
            ("datasets.usable", {"id": dice.pick(dice.model.datasets)}),
            ("datasets.dataset_of", {"id": dice.pick(dice.model.datasets)}),
            (
                "datasets.columns_of",
                {"id": dice.pick(dice.model.datasets), "version": 1, "names": ["age", "id"]},
            ),
            (
                "datasets.join_fault",
                {"inputs": [[name, 1, ["id"]] for name in dice.some(dice.model.datasets)]},
            ),
        )
    )


_QUESTIONS = (_covers, _of_grant, _of_grant, _of_job, _of_contract, _of_proposal, _of_members)
