"""What a preflight says of a job is what the contracts would say of it: every code, on the same state."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from chain.client.answers import RpcError
from chain.primitives.values import Value
from privcompute.cli.proposal_facts import ask_guards, hypothetical, read_facts
from privcompute.job.proposal import following_obstacles, proposal_obstacles, what_is_left
from privcompute.job.view import job_id_of, parse_spec
from privcompute.pages.derived import Following
from tests.unit.contracts.system.founding import Refused
from tests.unit.contracts.system.test_readme import (
    CASES,
    DAY_MS,
    GUARD,
    HOUR_MS,
    YES,
    joined_hash,
    judged,
    partnered,
    put,
    ruled,
)

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

NEVER_MADE = {"BAD_SPEC", "BAD_ID", "BAD_NONCE", "JOB_EXISTS", "BAD_INPUTS", "BAD_DEADLINES"}
NEVER_MADE |= {"PROFILE_NOT_OFFERED", "BAD_HASH"}
"""Codes of specs that `build_spec` does not make in the way of the table: profiles follow of the page."""
NEVER_MADE |= {"ACCOUNT_EPSILON", "ACCOUNT_DELTA", "ACCOUNT_FIGURES", "TOO_MANY_RETURNS_TODAY"}
"""What accounts refuse is asked of them beside: `room_obstacles`, in test_dataset_account."""
SAID_AS = {"UNKNOWN_ORG": "ORG_NOT_ACTIVE"}
PROPOSED = [code for method, code in CASES if method == "jobs.propose" and code not in NEVER_MADE]
POLICIES = ("POLICY_FROZEN", "POLICY_NOT_ACTIVE", "POLICY_SHAPE", "POLICY_DENIED")


class NodeOfWorld:
    """A client of a node whose state is that of a world."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def state(self, contract: str, map_name: str, key: Value) -> Any:
        return self.world.read(contract, map_name, key)

    async def head(self) -> int:
        return self.world.height

    async def header(self, _: int) -> Any:
        return SimpleNamespace(time=self.world.time)

    async def view(self, contract: str, method: str, args: dict[str, Value]) -> Any:
        try:
            return self.world.ask(f"{contract}.{method}", **args)
        except Refused as refused:
            data = {"code": "call_failed", "verdict": refused.args[0]}
            raise RpcError(-32000, "refused", data) from None


def followed(world: World, raw: Any, by: str) -> Following:
    """Return what grants are asked of a job, as it follows of the page."""
    inputs = [
        {name: one[name] for name in ("name", "dataset", "version")} | {"columns": list(one["columns"])}
        for one in raw["inputs"]
    ]
    asked = {"id": raw["program"], "inputs": inputs, "parameters": raw["parameters"], "initiator": by}
    try:
        found = world.ask("programs.derive", **asked)
    except Refused:
        return Following({}, {})
    return Following(found["membership"], {name: one["epsilon"] for name, one in found["charges"].items()})


async def preflight(
    world: World, raw: Any, by: str = "bank", over: Following | None = None
) -> tuple[list[Any], list[str], Any]:
    """Return what is found before a proposal, what only the proposal would tell, and the facts."""
    client: Any = NodeOfWorld(world)
    spec = parse_spec(job_id_of(raw), raw)
    facts = await read_facts(client, spec, by)
    follows = over if over is not None else followed(world, raw, by)
    found = [*proposal_obstacles(spec, facts), *following_obstacles(spec, facts, follows)]
    denied, unsaid = await ask_guards(client, spec, facts, found, follows)
    return [*found, *denied], unsaid, facts


async def codes(world: World, raw: Any, by: str = "bank", over: Following | None = None) -> set[str]:
    found, _, _ = await preflight(world, raw, by, over)
    assert all(one.do or one.says for one in found)
    return {one.code for one in found}


async def test_nothing_is_found_of_a_job_that_may_be_proposed(world: World) -> None:
    raw = world.spec()
    found, unsaid, facts = await preflight(world, raw)
    assert (found, unsaid) == ([], [])
    assert hypothetical(parse_spec(job_id_of(raw), raw), facts).owners == ("bank", "bureau", "registry")
    assert world.outcome("bank", "jobs.propose", spec=raw) == ""


@pytest.mark.parametrize("code", PROPOSED)
async def test_every_code_of_a_refused_proposal_is_found_before_it(world: World, code: str) -> None:
    case = CASES["jobs.propose", code]
    args: Any = {"spec": world.spec()}
    case.before(world, args)
    args |= case.args(world) if callable(case.args) else case.args
    assert SAID_AS.get(code, code) in await codes(world, args["spec"], case.who or "bank")


@pytest.mark.parametrize("code", list(GUARD))
async def test_every_code_of_the_guard_of_a_grant_is_found_before_a_proposal(world: World, code: str) -> None:
    """Where a policy does not answer, the guard itself is asked."""
    before, over = GUARD[code]
    if before is not None:
        before(world)
    spec, by = world.spec(), over.get("initiator", "bank")
    for name, value in over.items():
        if name in ("dataset", "version", "columns"):
            spec["inputs"][1][name] = value  # type: ignore[index,call-overload]
        elif name == "id":
            spec["inputs"][1]["grant"] = value  # type: ignore[index,call-overload]
        elif name == "participants":
            parties: Any = spec["participants"]
            parties[2] = {"org": "rival", "role": "owner", "agent_key": parties[2]["agent_key"]}
        elif name not in ("initiator", "membership", "epsilon"):
            spec[name] = value
    told = {"membership", "epsilon"} & over.keys()
    follows = Following(over.get("membership", {}), over.get("epsilon", {})) if told else None
    assert code in await codes(world, spec, by, follows)


async def test_everything_in_the_way_is_told_at_once_and_once(world: World) -> None:
    world.do("bureau", "grants.suspend", id="bank/g-bureau", reason="")
    world.do("registry", "grants.revoke", id="bank/g-registry", reason="")
    raw = world.spec(purpose="marketing", min_group=3)
    judged(world, raw, "too few")
    found, _, _ = await preflight(world, raw)
    assert sorted((one.about, one.code) for one in found) == sorted(
        [
            *((f"bank/g-{org}", "PURPOSE_MISMATCH") for org in ("bank", "bureau", "registry")),
            *((f"bank/g-{org}", "MIN_GROUP_TOO_LOW") for org in ("bank", "bureau", "registry")),
            ("bank/g-bureau", "GRANT_SUSPENDED"),
            ("bank/g-registry", "GRANT_REVOKED"),
            ("the join", "JOIN_TOO_SMALL"),
            ("the join", "JOIN_NOT_JUDGED"),
        ]
    )
    assert all(one.do for one in found)


async def test_a_policy_that_counts_is_said_to_answer_only_a_proposal(world: World) -> None:
    counts = "asked = Var(int)\n\n\n" + YES.replace("@view", "@export(nested=True)")
    ruled(world, counts.replace("    return", "    asked.set(1)\n    return"))
    found, unsaid, _ = await preflight(world, world.spec())
    assert found == []
    assert unsaid == ["what policy contract rules of grant bank/g-bureau says, which counts when it is asked"]


async def test_what_a_request_itself_gets_wrong_is_found(world: World) -> None:
    late = {**dict.fromkeys(("accept", "bind", "run", "reveal", "commit", "certify"), HOUR_MS), "run": 5}
    twice = world.spec()
    twice["inputs"] = [twice["inputs"][0], twice["inputs"][0]]  # type: ignore[index]
    assert "BAD_DEADLINES" in await codes(world, world.spec(deadlines=late))
    assert "BAD_INPUTS" in await codes(world, twice)


async def test_what_is_left_of_a_grant_is_counted(world: World) -> None:
    job = world.job_at("accepted")
    world.put("grants", "returns", "bank/g-bureau", {"day": world.time // DAY_MS, "today": 2, "ever": 11})
    raw = world.spec()
    world.put("grants", "partners", "bank/g-bureau", [bytes(32)])
    _, _, facts = await preflight(world, raw)
    left = what_is_left("bank/g-bureau", facts)
    assert (left.runs, left.sets, left.answers_today, left.answers) == (1, 2, 1, 1)
    world.advance(DAY_MS)
    _, _, facts = await preflight(world, raw)
    assert what_is_left("bank/g-bureau", facts).answers_today == 1, "twelve ever bound those of a new day"
    assert world.read("jobs", "jobs", job)["state"] == "accepted", "asking changes nothing"


async def test_a_set_of_versions_that_was_joined_before_is_no_new_partner(world: World) -> None:
    raw = world.spec()
    partnered(world)
    assert await codes(world, raw) == {"PARTNER_VERSIONS"}
    known = world.read("grants", "partners", "bank/g-bureau")
    world.put("grants", "partners", "bank/g-bureau", [*known[1:], joined_hash(raw)])
    assert await codes(world, raw) == set()


async def test_runs_that_other_jobs_hold_are_not_left(world: World) -> None:
    put(world, "grants", "standing", "bank/g-bureau", used=1, reserved=1)
    assert await codes(world, world.spec()) == {"QUOTA_EXHAUSTED"}
