"""What our own node knows of a job that is not proposed yet: rows, guards' answers, and the job to be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from chain.client.answers import RpcError
from chain.client.client import Client
from privcompute.causes import CODE
from privcompute.job.inputs import joined_versions
from privcompute.job.proposal import Obstacle, ProposalFacts, obstacle
from privcompute.job.view import PROPOSED, JobSpec, JobView, job_id_of
from privcompute.pages.derived import Following

LOOKUPS_AT_ONCE = 16
COUNTS = "READ_ONLY"
"""What becomes of a question that changes nothing, where a policy contract counts its answers."""


async def read_facts(client: Client, spec: JobSpec, initiator: str) -> ProposalFacts:
    """Read every row that decides about a proposal."""
    grants = [one.grant for one in spec.inputs]
    terms = await _rows(client, "grants", "grants", grants)
    profiles = [spec.profile, *(row["profile"] for row in terms.values() if row is not None)]
    versions = {
        one.dataset: await client.state("datasets", "versions", (one.dataset, one.version))
        for one in spec.inputs
    }
    schemas = {
        name: await client.state("datasets", "schemas", (name.partition("/")[0], row["schema"]))
        for name, row in versions.items()
        if row is not None
    }
    joins = sum("join" in one.columns.values() for one in spec.inputs)
    joined = joined_versions(spec) if joins > 1 else b""
    return ProposalFacts(
        now_ms=(await client.header(await client.head())).time,
        initiator=initiator,
        proposals=await client.state("jobs", "initiators", initiator),
        orgs=await _rows(client, "orgs", "orgs", [initiator, *(one.org for one in spec.participants)]),
        program=await client.state("programs" if spec.page else "jobs", "programs", spec.program),
        profiles=await _rows(client, "grants", "profiles", profiles),
        grants=terms,
        standing=await _rows(client, "grants", "standing", grants),
        open_jobs=await _rows(client, "grants", "open_jobs", grants),
        partners=await _rows(client, "grants", "partners", grants),
        returns=await _rows(client, "grants", "returns", grants),
        datasets=await _rows(client, "datasets", "datasets", [one.dataset for one in spec.inputs]),
        keys={name: row["key"] for name, row in schemas.items() if row is not None},
        identifiers={name: row["identifier"] for name, row in versions.items() if row is not None},
        joined=joined,
        join=await client.state("jobs", "joins", joined) if joined else None,
    )


async def _rows(client: Client, contract: str, map_name: str, keys: Sequence[str]) -> dict[str, Any]:
    names, found = list(dict.fromkeys(keys)), []
    for at in range(0, len(names), LOOKUPS_AT_ONCE):
        some = names[at : at + LOOKUPS_AT_ONCE]
        found += await asyncio.gather(*[client.state(contract, map_name, name) for name in some])
    return dict(zip(names, found, strict=True))


def hypothetical(spec: JobSpec, facts: ProposalFacts) -> JobView:
    """Return the job as the ledger would show it once it was proposed."""
    return JobView(
        id=job_id_of(dict(spec.raw)),
        spec=spec,
        state=PROPOSED,
        entered_height=0,
        initiator=facts.initiator,
        deadline_ms=0,
        owners=tuple(facts.grants[one.grant]["owner"] for one in spec.inputs),
        roots=(),
        accepted=frozenset(),
        bound=frozenset(),
        transcripts=frozenset(),
        reveals=frozenset(),
        results=frozenset(),
        signed=frozenset(),
        running_height=0,
        revealed_height=0,
    )


async def ask_guards(
    client: Client,
    spec: JobSpec,
    facts: ProposalFacts,
    found: Sequence[Obstacle],
    follows: Following,
) -> tuple[list[Obstacle], list[str]]:
    """Ask the ledger's own guard of each grant, and through it its policy; return what rows do not tell.

    `found` is what they tell; `follows` is what follows of the page. The second list says of which policies
    only a proposal gets an answer.
    """
    known = {(one.about, one.code) for one in found}
    denied: list[Obstacle] = []
    unsaid: list[str] = []
    for one in spec.inputs:
        code = await _refusal(client, spec, facts.initiator, one.grant, follows)
        if not code or any((about, code) in known for about in (one.grant, one.dataset)):
            continue
        policy = facts.grants[one.grant]["policy"]
        if code == COUNTS:
            said = f"what policy contract {policy} of grant {one.grant} says, which counts when it is asked"
            unsaid.append(said)
            continue
        whose = f"its policy contract {policy} refuses it" if policy else "its guard refuses it"
        shown = code if CODE.fullmatch(code) else "POLICY_DENIED"
        denied.append(obstacle(one.grant, shown, f"{whose} (our node's word, not proved)"))
    return denied, unsaid


async def _refusal(client: Client, spec: JobSpec, initiator: str, grant: str, follows: Following) -> str:
    """Return the code with which a grant's guard refuses; "" when it does not."""
    raw: Any = spec.raw
    shared = {name: raw[name] for name in ("program", "purpose", "profile", "min_group", "parameters")}
    use = shared | {
        **next(item for item in raw["inputs"] if item["grant"] == grant),
        "job": job_id_of(raw),
        "initiator": initiator,
        "participants": [party.org for party in spec.participants],
        "receivers": raw["receivers"],
        "membership": {one.name: list(follows.membership.get(one.name, ())) for one in spec.inputs},
        "epsilon": {one.name: follows.epsilon.get(one.name, 0) for one in spec.inputs},
        "inputs": raw["inputs"],
    }
    try:
        await client.view("grants", "covers", {"id": grant, "use": use, "phase": PROPOSED})
    except RpcError as refused:
        if not refused.verdict:
            raise
        return str(refused.verdict)
    return ""
